var _,dt,Re,U,Ne,de,pt,ce,ft,Ue,De,li,ee=Symbol.for("pv"),pe={},fe=[],ui=/^m(i|n|o|s|text|space)$/,Be=Array.isArray,$e=fe.slice,V=Object.assign;function z(i){i&&i.parentNode&&i.remove()}function vt(i,e,t){var n,o,r,a={},s=arguments.length;for(r in e)r=="key"?n=e[r]:r=="ref"&&typeof i!="function"?o=e[r]:a[r]=e[r];return s>2&&(a.children=s>3?$e.call(arguments,2):t),Q(i,a,n,o,null)}function Q(i,e,t,n,o){var r={type:i,props:e,key:t,ref:n,__k:null,__:null,__b:0,__e:null,__c:null,constructor:ee,__v:o||++dt,__i:-1,__u:0};return!o&&_.vnode&&_.vnode(r),r}function j(i){return i.children}function K(i,e){this.props=i,this.context=e,this.__g=0}function B(i,e){if(e==null)return i.__&&B(i.__,i.__i+1);for(var t;e<i.__k.length;e++)if((t=i.__k[e])&&t.__e)return t.__e;return typeof i.type!="function"||i.props.__P?null:B(i)}function ci(i){var e,t=i.__v,n=t.__e,o=[],r=[],a=i.__P;a&&((e=V({constructor:ee},t)).__v=t.__v+1,_.vnode&&_.vnode(e),We(a,e,t,i.__n,a.namespaceURI,32&t.__u?[n]:null,o,n||B(t),32&t.__u,r),e.__v=t.__v,e.__.__k[e.__i]=e,kt(o,e,r),t.__=t.__e=null,e.__e!=n&&mt(e))}function mt(i){if((i=i.__)&&i.__c&&!i.props.__P)return i.__e=null,i.__k.some(function(e){return e&&(i.__e=e.__e)}),mt(i)}function ct(i){(8&i.__g||(i.__g|=8,U.push(i),de++))&&Ne==_.debounceRendering||((Ne=_.debounceRendering)||queueMicrotask)(_t)}function _t(){try{for(var i,e=1;U.length;)U.length>e&&U.sort(pt),i=U.shift(),e=U.length,8&i.__g&&ci(i)}finally{(de=U.length)&&(Ne||queueMicrotask)(_t)}}function bt(i,e,t,n,o,r,a,s,l,h,c){var f,b,u,m,C,y,x=n.__k||fe,g=e.length;for(l=hi(t,e,x,l,g),f=0;f<g;f++)(u=t.__k[f])!=null&&(b=~u.__i&&x[u.__i]||pe,u.__i=f,y=We(i,u,b,o,r,a,s,l,h,c),m=u.__e,(b.ref!=u.ref||8&b.__u)&&(b.ref&&ze(b.ref,null,u,b),u.ref&&c.push(u.ref,u.__c||m,u)),C=C||m,4&u.__u?(l=gt(u,l,i,!b.__v),b.__e&&(b.__e=null)):typeof u.type=="function"&&y!==void 0?l=y:m&&(l=m.nextSibling),u.__u&=-21);return t.__e=C,l}function hi(i,e,t,n,o){var r,a,s,l,h,c,f,b,u,m=t.length,C=m,y=0,x=0,g=i.__k=Array(o);for(r=0;r<o;r++)(a=e[r])!=null&&typeof a!="boolean"&&typeof a!="function"?(typeof a!="object"||a.constructor===String?a=g[r]=Q(null,a):Be(a)?a=g[r]=Q(j,{children:a}):a.constructor===ee&&a.__b?a=g[r]=Q(a.type,a.props,a.key,a.ref,a.__v):g[r]=a,l=r+y,a.__=i,a.__b=i.__b+1,s=null,~(h=a.__i=di(a,t,l,C))&&(C--,(s=t[h])&&(s.__u|=2)),s&&s.__v?(a.__u|=16,h==l-1?y--:h==l+1?y++:h!=l&&(h>l?y--:y++,x=1)):(~h||(o>m?y--:o<m&&y++),typeof a.type!="function"&&(a.__u|=4))):g[r]=null;if(x){for(c=[],f=[],r=0;r<o;r++)if((a=g[r])&&16&a.__u){for(y=0,b=c.length;y<b;)c[u=y+b>>1]<a.__i?y=u+1:b=u;c[y]=a.__i,f[r]=y+1}for(y=c.length;r--;)f[r]&&(f[r]==y?y--:g[r].__u|=4)}if(C)for(r=0;r<m;r++)!(s=t[r])||2&s.__u||(s.__e==n&&(n=B(s)),Ve(s,s));return n}function gt(i,e,t,n){var o,r,a,s;if(typeof i.type=="function"){if(i.props.__P)return e;if(o=i.__k)for(r=0;r<o.length;r++)o[r]&&(o[r].__=i,e=gt(o[r],e,t,!1));return e}for(e&&!e.parentNode&&(e=B(i))&&!e.parentNode&&(e=null),a=i.__e,s=e;s&&s.nodeType==8;)s=s.nextSibling;for(a!=s&&(!n&&t.moveBefore&&a.parentNode?t.moveBefore(a,e):t.insertBefore(a,e||null)),e=a;(e=e&&e.nextSibling)&&e.nodeType==8&&!e.data.startsWith("$s"););return e}function di(i,e,t,n){var o,r=i.key,a=i.type,s=e[t],l=s&&!(2&s.__u);if(s===null&&r==null||l&&r==s.key&&a==s.type)return t;if(n>(l?1:0)){for(o=t-1;o>=0;o--)if((s=e[o])&&!(2&s.__u)&&r==s.key&&a==s.type)return o;for(o=t+1;o<e.length;o++)if((s=e[o])&&!(2&s.__u)&&r==s.key&&a==s.type)return o}return-1}function ht(i,e,t){t==null&&(t=""),e[0]=="-"?i.setProperty(e,t):i[e]=t}function ue(i,e,t,n,o){var r,a;if(e=="style")if(typeof t=="string")i.style.cssText=t;else{if(typeof n=="string"&&(i.style.cssText=n=""),n)for(e in n)t&&e in t||ht(i.style,e);if(t)for(e in t)n&&t[e]==n[e]||ht(i.style,e,t[e])}else if(e[0]=="o"&&e[1]=="n")typeof t!="function"&&(t=null),typeof n!="function"&&(n=null),(i.__e||(i.__e={}))[e]=t,t&&n||(a=De[e]||(De[e]=pi(e)),(i.__a||(i.__a={}))[e]=Ue,r=e!=(e=e.replace(ft,"$1")),(e=e.slice(2))[0]<"a"&&(e=e.toLowerCase()),t?i.addEventListener(e,a,r):i.removeEventListener(e,a,r));else{if(o=="http://www.w3.org/2000/svg")e=e.replace(/xlink(H|:h)/,"h").replace(/sName$/,"s");else if(e!="width"&&e!="height"&&e!="href"&&e!="list"&&e!="form"&&e!="tabIndex"&&e!="download"&&e!="rowSpan"&&e!="colSpan"&&e!="role"&&e!="popover"&&e in i)try{return void(i[e]=t??"")}catch{}if(typeof t=="function")return;t==null||t===!1&&e[4]!="-"?i.removeAttribute(e):i.setAttribute(e,e=="popover"&&t==1?"":t)}}function pi(i){return function(e){var t=this.__e;if(t){if(t=t[i],e[ce]==null)e[ce]=Ue++;else if(e[ce]<this.__a[i])return;return t(_.event?_.event(e):e)}}}function We(i,e,t,n,o,r,a,s,l,h){var c,f,b,u,m,C,y,x,g,T,M,Ie,lt,le,$,ut,R,W,I=e.type;if(e.constructor!==ee)return null;128&t.__u&&(l=32&t.__u,c=t.__c.__z)&&(e.__u|=l,f=r=[],c.nodeType==8?s=he(c,r):r.push(c),s=r[0]||s),(c=_.__b)&&c(e);e:if(typeof I=="function"){b=a.length;try{if(x=e.props,g=(c=I.prototype)&&c.render,T=(c=I.contextType)&&n[c.__c],M=c?T?T.props.value:c.__:n,(u=t.__c)?(e.__c=u,2&u.__g&&(u.__g|=1)):(g?e.__c=u=new I(x,M):(e.__c=u=new K(x,M),u.constructor=I,u.render=vi),T&&T.sub(u),u.state||(u.state={}),u.__n=n,u.__g|=8,u.__h=[],u.__k=[]),g&&(u.__s||(u.__s=u.state),I.getDerivedStateFromProps&&(u.__s==u.state&&(u.__s=V({},u.__s)),V(u.__s,I.getDerivedStateFromProps(x,u.__s)))),m=u.props,C=u.state,u.__v=e,t.__c){if(x!==m&&g&&!I.getDerivedStateFromProps&&u.componentWillReceiveProps&&u.componentWillReceiveProps(x,M),e.__v==t.__v&&!(8&u.__g)||!(4&u.__g)&&u.shouldComponentUpdate&&u.shouldComponentUpdate(x,u.__s,M)===!1){e.__v!=t.__v&&(u.props=x,u.state=u.__s,u.__g&=-9),e.__e=t.__e,e.__k=t.__k,e.__k.some(function(H){H&&(H.__=e)}),fe.push.apply(u.__h,u.__k),u.__k=[],u.__h.length&&a.push(u),s=B(t);break e}u.componentWillUpdate&&u.componentWillUpdate(x,u.__s,M),g&&u.componentDidUpdate&&u.__h.push(function(){u.componentDidUpdate(m,C,y)})}else g&&!I.getDerivedStateFromProps&&u.componentWillMount&&u.componentWillMount(),g&&u.componentDidMount&&u.__h.push(u.componentDidMount);u.context=M,u.props=x,u.__P=i,u.__g&=-5,Ie=_.__r,lt=g?25:0;do u.__g&=-9,Ie&&Ie(e),c=u.render(u.props,u.state=u.__s,u.context);while(8&u.__g&&++lt<25);g&&(fe.push.apply(u.__h,u.__k),u.__k=[]),u.state=u.__s,u.getChildContext&&(n=V({},n,u.getChildContext())),g&&t.__c&&u.getSnapshotBeforeUpdate&&(y=u.getSnapshotBeforeUpdate(m,C)),le=c&&c.type===j&&c.key==null?c.props.children:c,x.__P&&(c=s,o=(i=x.__P).namespaceURI,l=r=null,t.props&&t.props.__P!=i&&(t.__k.some(function(H){H&&Ve(H,H)}),t.__k=null),s=t.__k?B(t,0):null),s=bt(i,Be(le)?le:[le],e,t,n,o,r,a,s,l,h),x.__P&&(e.__e=null,s=c),e.__u&=-161,f&&f.some(z),u.__h.length&&a.push(u),1&u.__g&&(u.__g&=-4)}catch(H){if(a.length=b,e.__v=null,l||r)if(H&&H.then){if(e.__u|=128|l,r){for(~(R=r.indexOf(s||void 0))||(R=r.length);(W=r[R-1])&&W.nodeType==8;)R--;for(;R<r.length;R++)if(W=r[R])if(r[R]=null,$){if(W==ut)break}else{if(W.nodeType!=8)break;W.data.startsWith("$s")&&(ut=he($=W))}}if(!$){for(;s&&s.nodeType==8&&s.nextSibling;)s=s.nextSibling;$=s}(c=he($=e.__c.__z||(e.__c.__z=$)))?(e.__e=$,s=c):e.__e=s,s=s&&s.nextSibling}else r&&r.some(z);else e.__e=t.__e;e.__k||(e.__k=t.__k||[]),H&&H.then||yt(e),_.__e(H,e,t)}}else s=e.__e=fi(t.__e,e,t,n,o,r,a,l,h,i);return(c=_.diffed)&&c(e),s}function he(i,e){if(i&&i.nodeType==8&&i.data.startsWith("$s"))for(var t=1;i=i.nextSibling;){if(i.nodeType==8){if(i.data.startsWith("$s"))t++;else if(i.data.startsWith("/$s")&&!--t)return i}e&&e.push(i)}}function yt(i){i&&(i.__c&&(i.__c.__g|=4),i.__k&&i.__k.some(yt))}function kt(i,e,t){for(var n=0;n<t.length;)ze(t[n++],t[n++],t[n++]);_.__c&&_.__c(e,i),i.some(function(o){try{i=o.__h,o.__h=[],i.some(function(r){r.call(o)})}catch(r){_.__e(r,o.__v)}})}function fi(i,e,t,n,o,r,a,s,l,h){var c,f,b,u,m,C,y,x,g=t.props||pe,T=e.props,M=e.type;if(M=="svg"?o="http://www.w3.org/2000/svg":M=="math"?o="http://www.w3.org/1998/Math/MathML":o||(o="http://www.w3.org/1999/xhtml"),r){for(c=0;c<r.length;c++)if((m=r[c])&&(M?m.localName==M:m.nodeType==3)){i=m,r[c]=null;break}}if(!i){if(x=h.ownerDocument||document,!M)return x.createTextNode(T);i=x.createElementNS(o,M,T.is?T:h),s&&(_.__m&&_.__m(e,r),s=!1),r=null}if(M){if(h=M=="template"&&i.content||i,r=M=="textarea"&&T.defaultValue!=null?null:r&&$e.call(h.childNodes),!s&&r)for(g={},c=0;c<i.attributes.length;c++)g[(m=i.attributes[c]).name]=m.value;for(c in g)m=g[c],c=="dangerouslySetInnerHTML"?b=m:c=="children"||c in T||c=="value"&&"defaultValue"in T||c=="checked"&&"defaultChecked"in T||ue(i,c,null,m,o);for(c in T)m=T[c],c=="children"?u=m:c=="dangerouslySetInnerHTML"?f=m:c=="value"?C=m:c=="checked"?y=m:s&&typeof m!="function"||g[c]===m||ue(i,c,m,g[c],o);f?(s||b&&(f.__html==b.__html||f.__html==i.innerHTML)||(i.innerHTML=f.__html),e.__k=[]):(b&&(i.textContent=""),(M=="foreignObject"||o=="http://www.w3.org/1998/Math/MathML"&&ui.test(M))&&(o="http://www.w3.org/1999/xhtml"),bt(h,Be(u)?u:[u],e,t,n,o,r,a,r?r[0]:t.__k&&B(t,0),s,l),r&&r.some(z)),s&&M!="textarea"||(c="value",M=="progress"&&C==null?i.removeAttribute(c):C==null||C===i[c]&&(M!="progress"||C)||ue(i,c,C,g[c],o),c="checked",y!=null&&y!=i[c]&&ue(i,c,y,g[c],o))}else g===T||s&&i.data==T||(i.data=T);return i}function ze(i,e,t,n){try{typeof i=="function"?e?e.__x=i(e)||1:n&&(n=n.__c||n.__e)&&(e=n.__x)&&(n.__x=null,typeof e=="function"?e():i(null)):i.current=e}catch(o){_.__e(o,t)}}function Ve(i,e,t){var n,o,r,a;if(_.unmount&&_.unmount(i),!(n=i.ref)||n.current&&n.current!=i.__e||ze(n,null,e,i),n=i.__c){if(n.componentWillUnmount)try{n.componentWillUnmount()}catch(s){_.__e(s,e)}n.__P=n.__n=null}if(n=i.__k)for(a=0;a<n.length;a++)n[a]&&Ve(n[a],e,typeof i.type!="function"||t&&!i.props.__P);!t&&(n=i.__c)&&(n=n.__z)&&(o=he(n,r=[]))&&(n==i.__e&&r.some(z),z(o),z(n)),t||z(i.__e),i.__e=i.__c=i.__=null}function vi(i,e,t){return this.constructor(i,t)}function qe(i,e){var t,n,o,r;_.__&&_.__(i,e),e.nodeType==9&&(e=e.documentElement),n=(t=i&&32&i.__u)?null:e.__k,e.__k=Q(j,{children:[i]}),o=[],r=[],We(e,e.__k,n||pe,pe,e.namespaceURI,n?null:e.firstChild?$e.call(e.childNodes):null,o,n?n.__e:e.firstChild,t,r),kt(o,e.__k,r),e.__k.props.children=null}_={__e:function(i,e,t,n){for(var o,r,a;e=e.__;)if((o=e.__c)&&!(1&o.__g)){o.__g|=4;try{if((a=(r=o.constructor)&&r.getDerivedStateFromError)&&o.setState(r.getDerivedStateFromError(i)),o.componentDidCatch&&(o.componentDidCatch(i,n||{}),a=1),a&&8&o.__g)return void(o.__g|=2)}catch(s){i=s}}throw de=0,i}},dt=0,Re=function(i){return i!=null&&i.constructor===ee},K.prototype.setState=function(i,e){var t=this.__s;t&&t!=this.state||(t=this.__s=V({},this.state)),typeof i=="function"&&(i=i(V({},t),this.props)),i&&(V(t,i),this.__v&&(e&&this.__k.push(e),ct(this)))},K.prototype.forceUpdate=function(i){this.__v&&(this.__g|=4,i&&this.__h.push(i),ct(this))},K.prototype.render=j,U=[],de=0,pt=function(i,e){return i.__v.__b-e.__v.__b},ce=Symbol(),ft=/(PointerCapture)$|Capture$/i,Ue=0,De={},li=0;var ve,L,Fe,wt,mi=Object.is,Ge=0,Lt=[],Ke=[],S=_,xt=S.__b,Mt=S.__r,St=S.diffed,At=S.__c,Ct=S.unmount,Tt=S.__;function Ot(i,e){S.__h&&S.__h(L,i,Ge||e),Ge=0;var t=L.__H||(L.__H={__:[],__h:[]});return i>=t.__.length&&t.__.push({}),t.__[i]}function q(i,e){var t=Ot(ve++,3);!S.__s&&jt(t.__H,e)&&(t.__P=!0,t.__=i,t.u=e,L.__H.__h.push(t))}function X(i){return Ge=5,me(function(){return{current:i}},[])}function me(i,e){var t=Ot(ve++,7);return jt(t.__H,e)&&(t.__=i(),t.__H=e),t.__}function _i(){var i;do{for(;i=Ke.shift();)try{te(i)}catch(t){S.__e(t,{__:(i=i.__P)&&i.__v})}for(;i=Lt.shift();){var e=i.__H;if(i.__P&&e)try{e.__h.some(te),e.__h.some(Xe),e.__h=[]}catch(t){e.__h=[],S.__e(t,i.__v)}}}while(Ke.length)}S.__b=function(i){L=null,xt&&xt(i)},S.__=function(i,e){i&&e.__k&&e.__k.__m&&(i.__m=e.__k.__m),Tt&&Tt(i,e)},S.__r=function(i){Mt&&Mt(i),ve=0;var e=(L=i.__c).__H;e&&(Fe==L?L.__h=[]:(e.__h.some(te),e.__h.some(Xe),ve=0),e.__h=[],e.__.some(function(t){t.__N&&(t.__=t.__N),t.u=t.__N=void 0})),Fe=L},S.diffed=function(i){St&&St(i);var e=i.__c;e&&e.__H&&(e.__H.__h.length&&Et(Lt.push(e)),e.__H.__.some(function(t){t.u&&(t.__H=t.u)})),Fe=L=null},S.__c=function(i,e){e.some(function(t){try{t.__h.some(te),t.__h=t.__h.filter(function(n){return!n.__||Xe(n)})}catch(n){t.__h=[function(){throw n}]}}),At&&At(i,e)},S.unmount=function(i){Ct&&Ct(i);var e,t,n=i.__c;n&&n.__H&&(n.__H.__.some(function(o){try{if(o.__P&&o.__c){if(t===void 0){for(t=i.__;t&&(!t.__c||!t.__c.__P);)t=t.__;t=t&&t.__c}o.__P=t,Et(Ke.push(o))}else te(o)}catch(r){e=r}}),n.__H=void 0,e&&S.__e(e,n.__v))};var Pt=typeof requestAnimationFrame=="function";function bi(i){var e,t=function(){clearTimeout(n),Pt&&cancelAnimationFrame(e),setTimeout(i)},n=setTimeout(t,35);Pt&&(e=requestAnimationFrame(t))}function Et(i){i!=1&&wt==S.requestAnimationFrame||((wt=S.requestAnimationFrame)||bi)(_i)}function te(i){var e=L,t=i.__c;typeof t=="function"&&(i.__c=void 0,t()),L=e}function Xe(i){var e=L;i.__c=i.__(),L=e}function jt(i,e){return!i||i.length!=e.length||e.some(function(t,n){return!mi(t,i[n])})}var Ht=`/* Colours, buttons and the stage: what the page and the notebook's widget share. Every colour pair of text has AA contrast. */

.page,
.livesam {
  --ground: light-dark(#f4f6f6, #15191a);
  --raised: light-dark(#ffffff, #1d2324);
  --stage: light-dark(#d9dedd, #0d1011);
  --line: light-dark(#d5dbda, #313a3b);
  --text: light-dark(#1b2424, #e6ecea);
  --soft: light-dark(#566463, #9fadaa);
  --accent: light-dark(#0f6e63, #4fc3b2);
  --on-accent: light-dark(#ffffff, #06201c);
  --tinted: light-dark(#dcefec, #1e3a37);
  --hover: light-dark(#e9eeed, #283031);
  --bad: light-dark(#a52222, #ff9c93);
  --bad-ground: light-dark(#fdecea, #3d1c1a);
  --shadow: 0 4px 18px rgb(0 0 0 / 18%);
  font: 13px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  color: var(--text);
}

:is(.page, .livesam) *,
:is(.page, .livesam) *::before {
  box-sizing: border-box;
}

:is(.page, .livesam) :focus-visible {
  outline: 2px solid var(--accent);
  outline-offset: 1px;
}

kbd {
  display: inline-block;
  min-width: 1.5em;
  padding: 0 4px;
  border: 1px solid var(--line);
  border-radius: 4px;
  font: 11px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace;
  text-align: center;
  color: var(--soft);
}

.button--primary kbd {
  border-color: currentColor;
  color: inherit;
}

.icon {
  flex: none;
  display: block;
}

.button {
  display: inline-flex;
  align-items: center;
  justify-content: center;
  gap: 6px;
  min-height: 32px;
  padding: 0 10px;
  border: 1px solid var(--line);
  border-radius: 7px;
  background: var(--raised);
  color: var(--text);
  font: inherit;
  white-space: nowrap;
  cursor: pointer;
}

.button:hover:not(:disabled) {
  background: var(--hover);
}

.button:disabled {
  opacity: 0.4;
  cursor: default;
}

.button[aria-pressed="true"] {
  background: var(--tinted);
  border-color: var(--accent);
  color: var(--accent);
}

.button--quiet {
  width: 32px;
  padding: 0;
  border-color: transparent;
  background: transparent;
}

.button--primary {
  background: var(--accent);
  border-color: var(--accent);
  color: var(--on-accent);
  font-weight: 600;
}

.button--primary:hover:not(:disabled) {
  background: color-mix(in srgb, var(--accent) 88%, var(--text));
}

.group {
  display: flex;
  align-items: center;
  gap: 4px;
}

.group--end {
  margin-left: auto;
}

.group--wrap {
  flex-wrap: wrap;
  gap: 6px;
}

.rule {
  width: 1px;
  height: 20px;
  margin: 0 4px;
  background: var(--line);
}

.chip {
  padding: 1px 8px;
  border-radius: 10px;
  background: var(--tinted);
  color: var(--accent);
  font-size: 12px;
  font-weight: 600;
  white-space: nowrap;
}

.toolbar {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 4px 14px;
  padding: 6px 10px;
  border-bottom: 1px solid var(--line);
  background: var(--raised);
}

.range {
  display: flex;
  align-items: center;
  gap: 6px;
  margin-left: 4px;
}

.range input {
  width: 90px;
}

input[type="range"],
input[type="checkbox"] {
  accent-color: var(--accent);
}

.stage-frame {
  position: relative;
  flex: 1;
  min-height: 0;
  overflow: hidden;
  background: var(--stage);
}

.stage {
  position: absolute;
  inset: 0;
  cursor: crosshair;
  touch-action: none;
  user-select: none;
  -webkit-user-select: none;
  -webkit-touch-callout: none;
}

.stage:focus-visible {
  outline: none !important;
}

/* The stage's ring, beside it: an outline of its own would be composited again, all of it, with every mask. */
.stage__focus {
  position: absolute;
  inset: 0;
  pointer-events: none;
}

.stage:focus-visible + .stage__focus {
  border: 2px solid var(--accent);
}

.stage--pan {
  cursor: grab;
}

.stage--paint {
  cursor: none;
}

.stage canvas {
  position: absolute;
}

.floating {
  position: absolute;
  left: 50%;
  bottom: 16px;
  transform: translateX(-50%);
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  justify-content: center;
  gap: 6px 10px;
  width: max-content;
  max-width: calc(100% - 24px);
  padding: 8px 12px;
  border: 1px solid var(--line);
  border-radius: 10px;
  background: var(--raised);
  box-shadow: var(--shadow);
}

.bar {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  justify-content: center;
  gap: 6px 10px;
  padding: 6px 12px;
  border-top: 1px solid var(--line);
  background: var(--raised);
}

.floating--bad {
  top: 16px;
  bottom: auto;
  border-color: var(--bad);
  background: var(--bad-ground);
}

.floating--bad strong {
  color: var(--bad);
}

.floating--quiet {
  pointer-events: none;
  color: var(--soft);
}

.key {
  width: 18px;
  border-top: 3px solid;
}

.key--now {
  border-color: #56b4e9;
}

.key--original {
  border-top-style: dashed;
  border-color: #e69f00;
}

.notices {
  position: absolute;
  left: 50%;
  top: 12px;
  z-index: 5;
  width: max-content;
  transform: translateX(-50%);
  pointer-events: none;
}

.notice {
  max-width: min(560px, 90vw);
  padding: 7px 14px;
  border-radius: 9px;
  background: light-dark(#233030, #e6ecea);
  color: light-dark(#ffffff, #172020);
  box-shadow: var(--shadow);
}

.notice--bad {
  border: 1px solid var(--bad);
  background: var(--bad-ground);
  color: var(--bad);
}

.unseen {
  position: absolute;
  width: 1px;
  height: 1px;
  overflow: hidden;
  clip-path: inset(50%);
  white-space: nowrap;
}

@media (prefers-reduced-motion: reduce) {
  :is(.page, .livesam) * {
    transition: none !important;
    scroll-behavior: auto !important;
  }
}

@media (pointer: coarse) {
  .button {
    min-height: 40px;
  }

  .button--quiet {
    width: 40px;
  }
}

.livesam {
  color-scheme: light dark;
  display: flex;
  flex-direction: column;
  overflow: hidden;
  height: 560px;
  border: 1px solid var(--line);
  border-radius: 10px;
  background: var(--ground);
}

.livesam select {
  min-height: 30px;
  padding: 0 6px;
  border: 1px solid var(--line);
  border-radius: 6px;
  background: var(--raised);
  color: inherit;
  font: inherit;
}
`;var yi=Symbol.for("preact-signals");function ye(){if(N>1)N--;else{var i,e=!1;for((function(){var o=be;for(be=void 0;o!==void 0;){var r=o.S;if(r.v===o.v)for(var a=r.t;a!==void 0;a=a.x)a.i===o.i&&(a.i=r.i);o=o.o}})();ne!==void 0;){var t=ne;for(ne=void 0,_e++;t!==void 0;){var n=t.u;if(t.u=void 0,t.f&=-3,!(8&t.f)&&Nt(t))try{t.c()}catch(o){e||(i=o,e=!0)}t=n}}if(_e=0,N--,e)throw i}}function w(i){if(N>0)return i();Je=++ki,N++;try{return i()}finally{ye()}}var ie,k=void 0;function F(i){var e=k,t=ie;k=void 0,ie=void 0;try{return i()}finally{k=e,ie=t}}var ne=void 0,N=0,_e=0,ki=0,Je=0,be=void 0,ge=0;function It(i){if(k!==void 0){var e=i.n;if(e===void 0||e.t!==k)return e={i:0,S:i,p:k.s,n:void 0,t:k,e:void 0,x:void 0,r:e},k.s!==void 0&&(k.s.n=e),k.s=e,i.n=e,32&k.f&&i.S(e),e;if(e.i===-1)return e.i=0,e.n!==void 0&&(e.n.p=e.p,e.p!==void 0&&(e.p.n=e.n),e.p=k.s,e.n=void 0,k.s.n=e,k.s=e),e}}function A(i,e){this.v=i,this.i=0,this.n=void 0,this.t=void 0,this.l=0,this.W=e?.watched,this.Z=e?.unwatched,this.name=e?.name}A.prototype.brand=yi;A.prototype.h=function(){return!0};A.prototype.S=function(i){var e=this,t=this.t;t!==i&&i.e===void 0&&(i.x=t,this.t=i,t!==void 0?t.e=i:F(function(){var n;(n=e.W)==null||n.call(e)}))};A.prototype.U=function(i){var e=this;if(this.t!==void 0){var t=i.e,n=i.x;t!==void 0&&(t.x=n,i.e=void 0),n!==void 0&&(n.e=t,i.x=void 0),i===this.t&&(this.t=n,n===void 0&&F(function(){var o;(o=e.Z)==null||o.call(e)}))}};A.prototype.subscribe=function(i){var e=this;return P(function(){var t=e.value;F(function(){return i(t)})},{name:"sub"})};A.prototype.valueOf=function(){return this.value};A.prototype.toString=function(){return this.value+""};A.prototype.toJSON=function(){return this.value};A.prototype.peek=function(){var i=this;return F(function(){return i.value})};Object.defineProperty(A.prototype,"value",{get:function(){var i=It(this);return i!==void 0&&(i.i=this.i),this.v},set:function(i){if(i!==this.v){if(_e>100)throw new Error("Cycle detected");(function(t){N!==0&&_e===0&&t.l!==Je&&(t.l=Je,be={S:t,v:t.v,i:t.i,o:be})})(this),this.v=i,this.i++,ge++,N++;try{for(var e=this.t;e!==void 0;e=e.x)e.t.N()}finally{ye()}}}});function p(i,e){return new A(i,e)}function Nt(i){for(var e=i.s;e!==void 0;e=e.n)if(e.S.i!==e.i||!e.S.h()||e.S.i!==e.i)return!0;return!1}function Dt(i){for(var e=i.s;e!==void 0;e=e.n){var t=e.S.n;if(t!==void 0&&(e.r=t),e.S.n=e,e.i=-1,e.n===void 0){i.s=e;break}}}function Rt(i){for(var e=i.s,t=void 0;e!==void 0;){var n=e.p;e.i===-1?(e.S.U(e),n!==void 0&&(n.n=e.n),e.n!==void 0&&(e.n.p=n)):t=e,e.S.n=e.r,e.r!==void 0&&(e.r=void 0),e=n}i.s=t}function G(i,e){A.call(this,void 0,e),this.x=i,this.s=void 0,this.g=ge-1,this.f=4}G.prototype=new A;G.prototype.h=function(){if(this.f&=-3,1&this.f)return!1;if((36&this.f)==32||(this.f&=-5,this.g===ge))return!0;if(this.g=ge,this.f|=1,this.i>0&&!Nt(this))return this.f&=-2,!0;var i=k;try{Dt(this),k=this;var e=this.x();(16&this.f||this.v!==e||this.i===0)&&(this.v=e,this.f&=-17,this.i++)}catch(t){this.v=t,this.f|=16,this.i++}return k=i,Rt(this),this.f&=-2,!0};G.prototype.S=function(i){if(this.t===void 0){this.f|=36;for(var e=this.s;e!==void 0;e=e.n)e.S.S(e)}A.prototype.S.call(this,i)};G.prototype.U=function(i){if(this.t!==void 0&&(A.prototype.U.call(this,i),this.t===void 0)){this.f&=-33;for(var e=this.s;e!==void 0;e=e.n)e.S.U(e)}};G.prototype.N=function(){if(!(2&this.f)){this.f|=6;for(var i=this.t;i!==void 0;i=i.x)i.t.N()}};Object.defineProperty(G.prototype,"value",{get:function(){if(1&this.f)throw new Error("Cycle detected");var i=It(this);if(this.h(),i!==void 0&&(i.i=this.i),16&this.f)throw this.v;return this.v}});function O(i,e){return new G(i,e)}function Ut(i){var e=i.j;if(i.j=void 0,typeof e=="function"){N++;var t=k;k=void 0;try{e()}catch(n){throw i.f&=-2,i.f|=8,Ze(i),n}finally{k=t,ye()}}}function Ze(i){for(var e=i.s;e!==void 0;e=e.n)e.S.U(e);i.x=void 0,i.s=void 0,Ut(i)}function wi(i){if(k!==this)throw new Error("Out-of-order effect");Rt(this),k=i,this.f&=-2;try{8&this.f&&Ze(this)}finally{ye()}}function J(i,e){this.x=i,this.j=void 0,this.s=void 0,this.u=void 0,this.f=32,this.name=e?.name,ie&&ie.push(this)}J.prototype.c=function(){var i=this.S();try{if(8&this.f||this.x===void 0)return;var e=this.x();typeof e=="function"&&(this.j=e)}finally{i()}};J.prototype.S=function(){if(1&this.f)throw new Error("Cycle detected");this.f|=1,this.f&=-9,Ut(this),Dt(this),N++;var i=k;return k=this,wi.bind(this,i)};J.prototype.N=function(){2&this.f||(this.f|=2,this.u=ne,ne=this)};J.prototype.d=function(){this.f|=8,1&this.f||Ze(this)};J.prototype.dispose=function(){this.d()};function P(i,e){var t=new J(i,e);try{t.c()}catch(o){throw t.d(),o}var n=t.d.bind(t);return n[Symbol.dispose]=n,n}var Bt,we,ke,xi=typeof window<"u"&&!!window.__PREACT_SIGNALS_DEVTOOLS__;var $t=[];P(function(){Bt=this.N})();function Z(i,e){_[i]=e.bind(null,_[i]||function(){})}function oe(i){if(ke){var e=ke;ke=void 0,e()}ke=i&&i.S()}function Wt(i){var e=this,t=i.data,n=Ye(t);n.name="ReactiveDom",n.value=t;var o=me(function(){for(var s=e,l=e.__v;l=l.__;)if(l.__c){l.__c.__$f|=4;break}var h=O(function(){var u=n.value.value;return u===0?0:u===!0?"":u||""}),c=O(function(){return!Array.isArray(h.value)&&!Re(h.value)}),f=P(function(){if(this.N=zt,c.value){var u=h.value;s.__v&&s.__v.__e&&s.__v.__e.nodeType===3&&(s.__v.__e.data=u)}}),b=e.__$u.d;return e.__$u.d=function(){f(),b.call(this)},[c,h]},[]),r=o[0],a=o[1];return r.value?a.peek():a.value}Wt.displayName="ReactiveTextNode";Object.defineProperties(A.prototype,{constructor:{configurable:!0,value:vt(j,null).constructor},type:{configurable:!0,value:Wt},props:{configurable:!0,get:function(){var i=this;return{data:{get value(){return i.value}}}}},__b:{configurable:!0,value:1}});Z("__b",function(i,e){if(oe(),we=void 0,typeof e.type=="string"){var t,n=e.props;for(var o in n)if(o!=="children"){var r=n[o];r instanceof A&&(t||(e.__np=t={}),t[o]=r,n[o]=r.peek())}}i(e)});Z("__r",function(i,e){if(i(e),e.type!==j){oe();var t,n=e.__c;n&&(n.__$f&=-2,(t=n.__$u)===void 0&&(n.__$u=t=(function(o,r){var a;return P(function(){a=this},{name:r}),a.c=o,a})((function(o){return function(){var r;xi&&((r=this.y)==null||r.call(this)),o.__$f|=1,o.setState({})}})(n),typeof e.type=="function"?e.type.displayName||e.type.name:""))),we=n,oe(t)}});Z("__e",function(i,e,t,n){oe(),we=void 0,i(e,t,n)});Z("diffed",function(i,e){oe(),we=void 0;var t;if(typeof e.type=="string"&&(t=e.__e)){var n=e.__np,o=e.props,r=t.U;if(r)for(var a in r){var s=r[a];s===void 0||n&&a in n||(s.d(),r[a]=void 0)}if(n){r||(r={},t.U=r);for(var l in n){var h=r[l],c=n[l];h===void 0?(h=Mi(t,l,c,o),r[l]=h):h.o(c,o)}}}i(e)});function Mi(i,e,t,n){var o=e in i&&i.ownerSVGElement===void 0,r=p(t);return{o:function(a,s){r.value=a,n=s},d:P(function(){this.N=zt;var a=r.value.value;n[e]!==a&&(n[e]=a,o?i[e]=a:a!=null&&(a!==!1||e[4]==="-")?i.setAttribute(e,a):i.removeAttribute(e))})}}Z("unmount",function(i,e){if(typeof e.type=="string"){var t=e.__e;if(t){var n=t.U;if(n){t.U=void 0;for(var o in n){var r=n[o];r&&r.d()}}}var a=e.__np;if(a){var s=e.props;for(var l in a)s[l]=a[l]}e.__np=void 0}else{var h=e.__c;if(h){h.__$f|=8;var c=h.__$u;c&&(h.__$u=void 0,c.d())}}i(e)});Z("__h",function(i,e,t,n){n<3&&(e.__$f|=2),i(e,t,n)});K.prototype.shouldComponentUpdate=function(i,e){if(this.__R)return!0;var t=this.__$u,n=t&&t.s!==void 0;for(var o in e)return!0;if(this.__f||typeof this.u=="boolean"&&this.u===!0){var r=2&this.__$f;if(!(n||r||4&this.__$f)||1&this.__$f)return!0}else if(!(n||4&this.__$f)||3&this.__$f)return!0;for(var a in i)if(a!=="__source"&&i[a]!==this.props[a])return!0;for(var s in this.props)if(!(s in i))return!0;return!1};function Ye(i,e){return me(function(){return p(i,e)},[])}var Si=function(i){queueMicrotask(function(){queueMicrotask(i)})};function Ai(){w(function(){for(var i;i=$t.shift();)Bt.call(i)})}function zt(){$t.push(this)===1&&(_.requestAnimationFrame||Si)(Ai)}function xe(i,e){let t=e;try{let r=localStorage.getItem(`livesam.${i}`);r!==null&&(t=JSON.parse(r))}catch{}let n=p(t),o=t;return P(()=>{if(n.value!==o){o=n.value;try{localStorage.setItem(`livesam.${i}`,JSON.stringify(o))}catch{}}}),n}var v={tool:p("click"),brush:xe("brush",12),opacity:xe("opacity",.45),contrast:p(1),brightness:p(1),hover:xe("hover",!1),theme:xe("theme","auto"),masks:p(!0)};var Y=class i{constructor(e,t,n,o){this.width=e;this.height=t;this.box=n;this.pixels=o}width;height;box;pixels;tinted=new Map;edge=null;static whole(e,t,n){let[o,r,a,s]=[e,t,0,0];for(let h=0,c=0;h<t;h++)for(let f=0;f<e;f++,c++)n[c]&&(f<o&&(o=f),f>=a&&(a=f+1),h<r&&(r=h),s=h+1);if(a===0)return null;let l=new Uint8Array((a-o)*(s-r));for(let h=r;h<s;h++)l.set(n.subarray(h*e+o,h*e+a),(h-r)*(a-o));return new i(e,t,[o,r,a,s],l)}get cropWidth(){return this.box[2]-this.box[0]}get cropHeight(){return this.box[3]-this.box[1]}get area(){return this.pixels.reduce((e,t)=>e+t,0)}filled(){let e=new Uint8Array(this.width*this.height);for(let t=0;t<this.cropHeight;t++)e.set(this.pixels.subarray(t*this.cropWidth,(t+1)*this.cropWidth),(this.box[1]+t)*this.width+this.box[0]);return e}has(e,t){let[n,o,r,a]=this.box,[s,l]=[Math.floor(e),Math.floor(t)];return s<n||s>=r||l<o||l>=a?!1:this.pixels[(l-o)*this.cropWidth+s-n]===1}tint(e){let t=this.tinted.get(e);if(!t){t=new OffscreenCanvas(this.cropWidth,this.cropHeight);let n=t.getContext("2d"),o=n.createImageData(this.cropWidth,this.cropHeight),[r,a,s]=[1,3,5].map(c=>parseInt(e.slice(c,c+2),16)),l=(255<<24|s<<16|a<<8|r)>>>0,h=new Uint32Array(o.data.buffer);for(let c=0;c<h.length;c++)this.pixels[c]&&(h[c]=l);n.putImageData(o,0,0),this.tinted.set(e,t)}return t}outline(){if(this.edge)return this.edge;let e=new Path2D,[t,n,[o,r]]=[this.cropWidth,this.cropHeight,this.box],a=t+2,s=new Uint8Array(a*(n+2));for(let l=0;l<n;l++)s.set(this.pixels.subarray(l*t,l*t+t),(l+1)*a+1);for(let l=0;l<=n;l++)for(let h=0,c=(l+1)*a+1;h<t;h++,c++){if(s[c]===s[c-a])continue;let f=h;for(;h<t&&s[c]!==s[c-a];)h++,c++;e.moveTo(o+f,r+l),e.lineTo(o+h,r+l)}for(let l=0;l<=t;l++)for(let h=0,c=a+l+1;h<n;h++,c+=a){if(s[c]===s[c-1])continue;let f=h;for(;h<n&&s[c]!==s[c-1];)h++,c+=a;e.moveTo(o+l,r+f),e.lineTo(o+l,r+h)}return this.edge=e,e}};var Me=class{constructor(e,t,n,o,r){this.width=t;this.height=n;this.radius=o;this.value=r;this.pixels=e?e.filled():new Uint8Array(t*n)}width;height;radius;value;pixels;last=null;to(e,t){let[n,o]=this.last??[e,t],r=Math.max(1,Math.ceil(Math.hypot(e-n,t-o)/Math.max(.5,this.radius/2)));for(let a=1;a<=r;a++)this.dab(n+(e-n)*a/r,o+(t-o)*a/r);this.last=[e,t]}dab(e,t){let n=this.radius,[o,r]=[Math.max(0,Math.floor(t-n)),Math.min(this.height-1,Math.floor(t+n))];for(let l=o;l<=r;l++){let h=n*n-(l+.5-t)**2;if(h<0)continue;let c=Math.sqrt(h),f=Math.max(0,Math.round(e-c)),b=Math.min(this.width,Math.round(e+c));b>f&&this.pixels.fill(this.value,l*this.width+f,l*this.width+b)}let[a,s]=[Math.floor(e),Math.floor(t)];a>=0&&s>=0&&a<this.width&&s<this.height&&(this.pixels[s*this.width+a]=this.value)}get mask(){return Y.whole(this.width,this.height,this.pixels)}};var Se=class{constructor(e,t){this.stage=e;this.means=t;e.addEventListener("pointerdown",this.down),e.addEventListener("pointermove",this.move),e.addEventListener("pointerup",this.up),e.addEventListener("pointercancel",this.cancel),e.addEventListener("pointerleave",()=>t.leave()),e.addEventListener("contextmenu",n=>n.preventDefault()),e.addEventListener("wheel",this.wheel,{passive:!1})}stage;means;space=!1;press=null;fingers=new Map;place(e){let t=this.stage.getBoundingClientRect();return[e.clientX-t.left,e.clientY-t.top]}down=e=>{let[t,n]=this.place(e);if(this.stage.setPointerCapture?.(e.pointerId),e.pointerType==="touch"&&(this.fingers.set(e.pointerId,[t,n]),this.fingers.size>1))return this.giveUp();let o=e.button===1||e.button===0&&this.space,r=e.button===0&&!o&&this.means.paints();e.button===1&&e.preventDefault(),this.press={id:e.pointerId,x:t,y:n,button:e.button,shift:e.shiftKey,mode:o?"pan":r?"paint":"undecided",timer:null},r?this.means.stroke(t,n,"begin",e.timeStamp):e.pointerType==="touch"&&(this.press.timer=setTimeout(()=>this.longPress(),450))};longPress(){let e=this.press;e?.mode==="undecided"&&(e.mode="over",navigator.vibrate?.(15),this.means.click(e.x,e.y,!1,performance.now()))}move=e=>{let[t,n]=this.place(e);if(this.fingers.size>1&&this.fingers.has(e.pointerId))return this.pinch(e.pointerId,t,n);this.fingers.has(e.pointerId)&&this.fingers.set(e.pointerId,[t,n]);let o=this.press;if(!o||o.id!==e.pointerId){e.pointerType!=="touch"&&this.means.hover(t,n);return}if(o.mode==="pan")this.means.pan(t-o.x,n-o.y),[o.x,o.y]=[t,n];else if(o.mode==="paint"){for(let r of e.getCoalescedEvents?.()??[])this.means.stroke(...this.place(r),"go",e.timeStamp);this.means.stroke(t,n,"go",e.timeStamp)}else if(o.mode==="undecided"){let r=e.pointerType==="touch"?10:4;Math.hypot(t-o.x,n-o.y)>r&&o.button===0&&(o.mode="box"),o.mode==="box"&&o.timer&&clearTimeout(o.timer)}o.mode==="box"&&this.means.drawing([o.x,o.y,t,n])};up=e=>{let[t,n]=this.place(e);this.fingers.delete(e.pointerId);let o=this.press;!o||o.id!==e.pointerId||(this.press=null,o.timer&&clearTimeout(o.timer),o.mode==="undecided"&&o.button!==1&&this.means.click(o.x,o.y,o.button===0&&!o.shift,e.timeStamp),o.mode==="paint"&&this.means.stroke(t,n,"end",e.timeStamp),o.mode==="box"&&(this.means.drawing(null),this.means.box([Math.min(o.x,t),Math.min(o.y,n),Math.max(o.x,t),Math.max(o.y,n)],e.timeStamp)))};cancel=e=>{this.fingers.delete(e.pointerId),this.giveUp()};giveUp(){let e=this.press;this.press=null,e?.timer&&clearTimeout(e.timer),e?.mode==="box"&&this.means.drawing(null),e?.mode==="paint"&&this.means.stroke(e.x,e.y,"end",performance.now())}pinch(e,t,n){let o=[...this.fingers].find(([h])=>h!==e)[1],[r,a]=this.fingers.get(e);this.fingers.set(e,[t,n]);let s=Math.hypot(r-o[0],a-o[1]),l=Math.hypot(t-o[0],n-o[1]);this.means.pan((t-r)/2,(n-a)/2),s>8&&this.means.zoom(l/s,(t+o[0])/2,(n+o[1])/2)}wheel=e=>{e.preventDefault();let t=e.deltaMode===WheelEvent.DOM_DELTA_LINE?16:1,n=e.ctrlKey?.01:.0015;this.means.zoom(Math.exp(-e.deltaY*t*n),...this.place(e))}};var Ae="rgba(0, 0, 0, 0.55)";function Vt(i,e,t){let[n,o]=t.mask.box;if(i.imageSmoothingEnabled=e.scale<1,i.globalAlpha=t.opacity,t.opacity>0&&i.drawImage(t.mask.tint(t.color),n,o),i.globalAlpha=1,t.line===0)return;let r=t.mask.outline();i.lineJoin="round",i.setLineDash([]),i.strokeStyle=Ae,i.lineWidth=(t.line+1.5)/e.scale,i.stroke(r),t.dashed&&i.setLineDash([5/e.scale,4/e.scale]),i.strokeStyle=t.color,i.lineWidth=t.line/e.scale,i.stroke(r),i.setLineDash([])}function qt(i,e,t){let n=t.findLast(o=>o.op==="box");n?.op==="box"&&Qe(i,e,n.box);for(let o of t)o.op==="click"&&Ci(i,e,o.x,o.y,o.positive)}function Ci(i,e,t,n,o){let r=1/e.scale;i.beginPath(),i.arc(t,n,7*r,0,2*Math.PI),i.fillStyle=o?"#1b7f3b":"#c62f2f",i.fill(),i.lineWidth=1.5*r,i.strokeStyle="#fff",i.stroke(),i.beginPath(),i.moveTo(t-3.5*r,n),i.lineTo(t+3.5*r,n),o&&(i.moveTo(t,n-3.5*r),i.lineTo(t,n+3.5*r)),i.lineWidth=2*r,i.stroke()}function Qe(i,e,[t,n,o,r]){for(let[a,s]of[[Ae,3.5],["#fff",1.5]])i.strokeStyle=a,i.lineWidth=s/e.scale,i.setLineDash(a===Ae?[]:[6/e.scale,4/e.scale]),i.strokeRect(t,n,o-t,r-n);i.setLineDash([])}function et(i,e,t,n,o){for(let[r,a]of[[Ae,3],["#fff",1.25]])i.beginPath(),i.arc(t,n,o,0,2*Math.PI),i.strokeStyle=r,i.lineWidth=a/e.scale,i.stroke()}var Ti="#56b4e9",Pi="#e69f00",Ei="#f0e442";function tt(i){let e=[],t=v.opacity.value,n=i.editing.value?.id;if(v.masks.value)for(let o of i.objects.all.value){let r=i.objects.masks.value.get(o.id);r&&o.id!==n&&e.push({mask:r,color:i.colorOf(o.label),opacity:t*.7,line:1})}return i.proposals.all.value.forEach((o,r)=>{let a=r===i.proposals.at.value;e.push({mask:o.mask,color:Ei,opacity:a?t:0,line:a?2.5:1.25,dashed:!a})}),e}function Ce(i){let e=[],t=v.opacity.value,n=i.colorOf(i.label.value);if(i.comparison.value.length>0)for(let{mask:o,entry:r}of i.comparison.value)o&&e.push({mask:o,color:r.name==="original"?Pi:Ti,opacity:.12,line:2,dashed:r.name==="original"});else i.mask.value?e.push({mask:i.mask.value,color:n,opacity:t,line:1.75}):i.preview.value&&e.push({mask:i.preview.value,color:n,opacity:t*.6,line:1,dashed:!0});return e}var Te=class{constructor(e){this.canvas=e}canvas;area=[0,0,0,0];ratio=1;begin(e,t,n,o){let r=this.canvas.getContext("2d"),a=window.devicePixelRatio||1,s=e===null?[0,0,0,0]:Li(e,t,n);if(String(s)!==String(this.area)||a!==this.ratio?this.cover(s,a):(r.setTransform(1,0,0,1,0,0),r.clearRect(0,0,this.canvas.width,this.canvas.height)),s[2]<=s[0]||s[3]<=s[1])return null;let{scale:l,x:h,y:c}=o;return r.setTransform(l*a,0,0,l*a,(h-s[0])*a,(c-s[1])*a),r}cover(e,t){let[n,o,r,a]=e,{canvas:s}=this;[s.width,s.height]=[Math.round((r-n)*t),Math.round((a-o)*t)],Object.assign(s.style,{left:`${n}px`,top:`${o}px`,width:`${r-n}px`,height:`${a-o}px`}),[this.area,this.ratio]=[e,t]}};function Li([i,e,t,n],o,r){let a=l=>Math.max(0,Math.floor(l/32)*32),s=(l,h)=>Math.min(h,Math.ceil(l/32)*32);return[a(i),a(e),s(t,o),s(n,r)]}function it(i,e){return i===null?e:[Math.min(i[0],e[0]),Math.min(i[1],e[1]),Math.max(i[2],e[2]),Math.max(i[3],e[3])]}function Ft(i,e,t,n){let o=Math.min(24,t/20),r=Math.min((t-2*o)/i,(n-2*o)/e,40);return{scale:r,x:(t-i*r)/2,y:(n-e*r)/2}}function nt(i,e,t,n){let o=Math.min(40,Math.max(.02,i.scale*e)),r=o/i.scale;return{scale:o,x:t-(t-i.x)*r,y:n-(n-i.y)*r}}function Gt(i,e,t){return{...i,x:i.x+e,y:i.y+t}}function Kt(i,e,t){return[(e-i.x)/i.scale,(t-i.y)/i.scale]}var Oi=Symbol.for("pv"),ji=0;function d(i,e,t,n,o,r){e||(e={});var a,s,l=e;if("ref"in l&&typeof i!="function")for(s in l={},e)s=="ref"?a=e[s]:l[s]=e[s];var h={type:i,props:l,key:t,ref:a,__k:null,__:null,__b:0,__e:null,__c:null,constructor:Oi,__v:--ji,__i:-1,__u:0};return(o||r)&&(h.__source=o,h.__self=r),_.vnode&&_.vnode(h),h}var Hi=9,re=3,Xt=5;function Jt({annotator:i,onReady:e}){let t=X(null),n=Ye(!1);q(()=>{let r=new ot(t.current,i,a=>n.value=a);return e(r),()=>r.close()},[i]);let o=v.tool.value!=="click";return d(j,{children:[d("div",{ref:t,class:`stage ${n.value?"stage--pan":o?"stage--paint":""}`,tabIndex:0,role:"application","aria-roledescription":"annotation canvas","aria-label":Ni(i),children:[d("canvas",{"aria-hidden":"true",style:{filter:Ii()}}),d("canvas",{"aria-hidden":"true"}),d("canvas",{"aria-hidden":"true"}),d("canvas",{"aria-hidden":"true"})]}),d("div",{class:"stage__focus"})]})}function Ii(){let[i,e]=[v.contrast.value,v.brightness.value];return i===1&&e===1?"none":`contrast(${i}) brightness(${e})`}function Ni(i){let e=i.image.value;return e?`${e.name}, ${e.width} by ${e.height} pixels. Click adds, right click removes, drag draws a box. Alt with arrow keys moves a cross; period adds there, comma removes.`:"No image is open"}var ot=class{constructor(e,t,n){this.element=e;this.annotator=t;this.onHold=n;let o=[...e.querySelectorAll("canvas")].map(a=>new Te(a));[this.base,this.rest,this.over,this.marks]=o,this.gestures=new Se(e,this.meanings());let r=new ResizeObserver(()=>this.resize());r.observe(e),this.stops.push(()=>r.disconnect()),this.stops.push(P(()=>{let[a,s]=[t.image.value,t.bitmap.value];a&&s&&this.shown!==a.id&&(this.shown=a.id,this.cross=null,this.fit()),this.later("base")})),this.stops.push(P(()=>{tt(t),this.later("rest")})),this.stops.push(P(()=>{Ce(t),this.later("over")})),this.stops.push(P(()=>{t.steps.value,v.tool.value,v.brush.value,this.later("marks")})),this.stops.push(P(()=>{t.latency.painting.value&&F(()=>this.draw(!1))}))}element;annotator;onHold;base;rest;over;marks;gestures;stops=[];place={scale:1,x:0,y:0};shown="";fitted=!0;box=null;stroke=null;pointer=null;cross=null;asked=0;stale={base:!0,rest:!0,over:!0,marks:!0};close(){this.stops.forEach(e=>e()),cancelAnimationFrame(this.asked)}view(){return this.place}fit(){let e=this.annotator.image.value;e&&this.go(Ft(e.width,e.height,this.element.clientWidth,this.element.clientHeight)),this.fitted=!0}zoom(e){this.go(nt(this.place,e,this.element.clientWidth/2,this.element.clientHeight/2))}actual(){this.zoom(1/this.place.scale)}hold(e){this.gestures.space=e,this.onHold(e)}nudge(e,t){let n=this.annotator.image.value;if(!n)return;let[o,r]=this.cross??[n.width/2,n.height/2],a=(s,l)=>Math.min(l-1,Math.max(0,s));this.cross=[a(o+e/this.place.scale,n.width),a(r+t/this.place.scale,n.height)],this.later("marks")}clickCross(e){this.cross?this.annotator.click(...this.cross,e,performance.now()):this.nudge(0,0)}go(e){this.place=e,this.fitted=!1,this.later("base")}meanings(){let{annotator:e}=this,t=(o,r)=>Kt(this.place,o,r),n=([o,r,a,s])=>[...t(o,r),...t(a,s)];return{click:(o,r,a,s)=>e.click(...t(o,r),a,s),box:(o,r)=>e.box(n(o),r),drawing:o=>{this.box=o&&n(o),this.later("marks")},pan:(o,r)=>this.go(Gt(this.place,o,r)),zoom:(o,r,a)=>this.go(nt(this.place,o,r,a)),hover:(o,r)=>{this.pointer=t(o,r),v.tool.value!=="click"?this.later("marks"):v.hover.value&&e.hover(...this.pointer)},leave:()=>{this.pointer=null,e.preview.value=null,this.later("marks")},paints:()=>v.tool.value!=="click"&&e.ready.value,stroke:(o,r,a,s)=>this.brushed(t(o,r),a,s)}}brushed(e,t,n){let o=this.annotator.image.value;o&&(this.pointer=e,t==="begin"&&(this.stroke=new Me(this.annotator.mask.value,o.width,o.height,v.brush.value/2,v.tool.value==="brush"?1:0)),this.stroke&&(this.stroke.to(...e),t==="end"&&(this.annotator.paint(this.stroke.mask,n),this.stroke=null),this.later("over","marks")))}resize(){this.fitted&&this.fit(),this.later("base")}later(...e){for(let t of e)this.stale[t]=!0;this.asked||(this.asked=requestAnimationFrame(()=>this.draw(!0)))}draw(e){cancelAnimationFrame(this.asked),this.asked=0;let t=performance.now(),{stale:n,annotator:o}=this,r=o.bitmap.value!==null;n.base&&this.drawImage(),(n.base||n.rest)&&this.drawLayers(this.rest,r?tt(o):[]),(n.base||n.over)&&this.drawLayers(this.over,r?this.currentLayers():[]),(n.base||n.marks)&&this.drawMarks(r),this.stale={base:!1,rest:!1,over:!1,marks:!1},r&&o.latency.drawn(t,e)}begin(e,t){return e.begin(t,this.element.clientWidth,this.element.clientHeight,this.place)}get everything(){return[0,0,this.element.clientWidth,this.element.clientHeight]}drawImage(){let e=this.annotator.bitmap.value,t=this.begin(this.base,this.everything);!e||!t||(t.imageSmoothingEnabled=this.place.scale<3,t.imageSmoothingQuality="high",t.drawImage(e,0,0))}drawLayers(e,t){let n=t.reduce((r,{mask:a})=>it(r,this.onScreen(a.box,re)),null),o=this.begin(e,n);if(o)for(let r of t)Vt(o,this.place,r)}currentLayers(){let{stroke:e,annotator:t}=this;if(e===null)return Ce(t);let n=Ce(t).filter(r=>r.mask!==t.mask.value),{mask:o}=e;return o?[...n,{mask:o,color:t.colorOf(t.label.value),opacity:v.opacity.value,line:1.75}]:n}drawMarks(e){let{place:t}=this,n=this.begin(this.marks,e?this.marked():null);n&&(qt(n,t,this.annotator.steps.value),this.box&&Qe(n,t,this.box),this.cross&&et(n,t,...this.cross,Xt/t.scale),this.pointer&&v.tool.value!=="click"&&et(n,t,...this.pointer,v.brush.value/2))}marked(){let e=null,t=(o,r)=>e=it(e,this.onScreen(o,r));for(let o of this.annotator.steps.value)o.op==="click"&&t([o.x,o.y,o.x,o.y],Hi),o.op==="box"&&t(o.box,re);this.box&&t(this.box,re),this.cross&&t([...this.cross,...this.cross],Xt+re);let n=v.brush.value/2*this.place.scale+re;return this.pointer&&v.tool.value!=="click"&&t([...this.pointer,...this.pointer],n),e}onScreen([e,t,n,o],r){let{scale:a,x:s,y:l}=this.place;return[e*a+s-r,t*a+l-r,n*a+s+r,o*a+l+r]}};var Di=3500,Ri=9e3;function Zt({annotator:i}){let e=i.notice.value;return q(()=>{if(!e)return;let t=setTimeout(()=>i.notice.value=null,e.bad?Ri:Di);return()=>clearTimeout(t)},[e]),d("div",{class:"notices",role:"status","aria-live":e?.bad?"assertive":"polite",children:e&&d("div",{class:e.bad?"notice notice--bad":"notice",children:e.text})})}var Ui=[["Object","accept","enter f","Accept the mask"],["Object","rough","shift+enter","Accept a rough mask (teaches less)"],["Object","undo","ctrl+z","Undo"],["Object","redo","ctrl+shift+z ctrl+y","Redo"],["Object","reset","escape","Start the object over"],["Object","cycle","tab","Next of the masks that the first click could mean"],["Object","compare","c","Compare with the original decoder"],["Tools","click","v","Click and box"],["Tools","brush","b","Brush"],["Tools","eraser","e","Eraser"],["Tools","smaller","[","Smaller brush"],["Tools","larger","]","Larger brush"],["Segment the rest","propose","g","Look for more like the accepted ones"],["Segment the rest","take","y","Accept the proposal"],["Segment the rest","drop","n","Discard the proposal"],["Images","next","d arrowright","Next image"],["Images","previous","a arrowleft","Previous image"],["Images","done","shift+d","This image is done, next one"],["View","zoomIn","+ =","Zoom in (or the wheel)"],["View","zoomOut","-","Zoom out"],["View","fit","0","Whole image"],["View","actual","z","One pixel to one"],["View","masks","m","Show or hide accepted masks"],["View","hover","h","Preview under the mouse, on or off"],["View","help","?","This sheet"],["Without a mouse","up","alt+arrowup","Move the cross up (Shift: one pixel)"],["Without a mouse","down","alt+arrowdown","Move the cross down"],["Without a mouse","left","alt+arrowleft","Move the cross left"],["Without a mouse","right","alt+arrowright","Move the cross right"],["Without a mouse","add",".","Add at the cross"],["Without a mouse","remove",",","Remove at the cross"]],Qt=Ui.map(([i,e,t,n])=>({group:i,action:e,keys:t.split(" "),text:n}));var Yt=new Map(Qt.flatMap(i=>i.keys.map(e=>[e,i.action])));function ei(i){let e=i.key.toLowerCase(),t=`${i.ctrlKey||i.metaKey?"ctrl+":""}${i.altKey?"alt+":""}`,n=Yt.get(t+e),o=i.shiftKey?Yt.get(`${t}shift+${e}`):void 0;return o||(i.shiftKey&&/^[a-z]$|^enter$|^tab$/.test(e)?null:n??null)}var Bi={arrowright:"\u2192",arrowleft:"\u2190",arrowup:"\u2191",arrowdown:"\u2193",escape:"Esc",enter:"Enter",tab:"Tab",ctrl:"Ctrl",shift:"Shift",alt:"Alt"};function $i(i){return(i.length===1?[i]:i.split("+")).map(t=>Bi[t]??t.toUpperCase()).join("+")}function rt(i){return $i(Qt.find(e=>e.action===i).keys[0])}var Wi={click:"M4 3l5.5 13 2-5.2L17 9z",brush:"M16.5 3.5l-7 7M9 10c2 .4 2.7 2 2 3.7-.7 1.8-3.500 2.800-7 2.300 1.200-.8 1.300-1.800 1.500-3C5.900 11 7.500 9.700 9 10z",eraser:"M8.500 16.500H16M11 4.500l5 5-6.500 7H7l-4-4z M7 8.500l5 5",undo:"M7 4L3.500 7.500 7 11M3.500 7.500H12a4.500 4.500 0 0 1 0 9H8",redo:"M13 4l3.500 3.500L13 11M16.500 7.500H8a4.500 4.500 0 0 0 0 9h4",reset:"M5 5l10 10M15 5L5 15",accept:"M4 10.500l4 4 8-9",previous:"M12 4l-6 6 6 6",next:"M8 4l6 6-6 6",cycle:"M4 8V4h8v8h-4M8 8h8v8H8z",compare:"M10 3v14M8 6H4v8h4M12 6h4v8h-4",rest:"M4 4h4v4H4zM12 4h4v4h-4zM4 12h4v4H4zM14 11.500v5M11.500 14h5",fit:"M4 8V4h4M12 4h4v4M16 12v4h-4M8 16H4v-4",plus:"M10 4v12M4 10h12",minus:"M4 10h12",edit:"M4 16l.8-3.200L13 4.600l2.400 2.400-8.200 8.200z",remove:"M4.500 6h11M8 6V4h4v2M6 6l.8 10h6.400L14 6",help:"M7.500 7.500a2.500 2.500 0 1 1 3.600 2.300c-.8.400-1.100.9-1.100 1.700M10 14.500v.3",light:"M10 6.500a3.500 3.500 0 1 0 0 7 3.500 3.500 0 0 0 0-7zM10 2v2M10 16v2M2 10h2M16 10h2M4.300 4.300l1.400 1.400M14.300 14.300l1.400 1.400M4.300 15.700l1.400-1.400M14.300 5.700l1.400-1.400",dark:"M16 11.500A6.500 6.500 0 0 1 8.500 4a6.500 6.500 0 1 0 7.500 7.500z",auto:"M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM10 3v14M13 4v12",out:"M10 3v9M6.500 8.500L10 12l3.500-3.500M4 16h12",done:"M3.500 10.500l3.500 3.500 6-7M10.500 13.500l.5.500 6-7",panel:"M3 4h14v12H3zM12 4v12"};function ti({name:i}){return d("svg",{class:"icon",viewBox:"0 0 20 20",width:"18",height:"18","aria-hidden":"true",focusable:"false",children:d("path",{d:Wi[i],fill:"none",stroke:"currentColor","stroke-width":"1.6","stroke-linecap":"round","stroke-linejoin":"round"})})}function E({icon:i,label:e,action:t,onClick:n,pressed:o,disabled:r,primary:a,quiet:s,children:l}){return d("button",{type:"button",class:`button ${a?"button--primary":""} ${s?"button--quiet":""}`,title:t?`${e} (${rt(t)})`:e,"aria-label":e,"aria-pressed":o,"aria-keyshortcuts":t?rt(t):void 0,disabled:r,onClick:h=>{n(),h.detail>0&&h.currentTarget.getRootNode().querySelector(".stage")?.focus({preventScroll:!0})},children:[i&&d(ti,{name:i}),!s&&d("span",{children:l??e})]})}function ii({annotator:i,stage:e,step:t}){let{tool:n}=v,o=n.value!=="click",r=i.ready.value,a=i.candidates.value.length,s=i.steps.value.length===1&&i.steps.value[0].op==="click";return d("div",{class:"toolbar",role:"toolbar","aria-label":"Tools",children:[d("div",{class:"group",children:[d(E,{quiet:!0,icon:"click",label:"Click and box",action:"click",pressed:!o,onClick:()=>n.value="click"}),d(E,{quiet:!0,icon:"brush",label:"Brush",action:"brush",pressed:n.value==="brush",onClick:()=>n.value="brush"}),d(E,{quiet:!0,icon:"eraser",label:"Eraser",action:"eraser",pressed:n.value==="eraser",onClick:()=>n.value="eraser"}),o&&d("label",{class:"range",title:"Brush size ([ and ])",children:[d("span",{class:"unseen",children:"Brush size in pixels"}),d("input",{type:"range",min:1,max:120,value:v.brush.value,onInput:l=>v.brush.value=Number(l.currentTarget.value)}),d("output",{children:[v.brush.value," px"]})]})]}),d("div",{class:"group",children:[d(E,{quiet:!0,icon:"undo",label:"Undo",action:"undo",disabled:i.steps.value.length===0,onClick:()=>i.undo()}),d(E,{quiet:!0,icon:"redo",label:"Redo",action:"redo",disabled:i.undone.value.length===0,onClick:()=>i.redo()}),d(E,{quiet:!0,icon:"reset",label:"Start over",action:"reset",disabled:!i.started.value,onClick:()=>i.reset()}),d(E,{quiet:!0,icon:"cycle",label:"Other masks for this click",action:"cycle",disabled:!s,onClick:()=>{i.cycle()}}),a>0&&d("span",{class:"chip",children:[i.choice.value+1," of ",a]})]}),d("div",{class:"group",children:[d(E,{primary:!0,icon:"accept",label:"Accept",action:"accept",disabled:!i.mask.value,onClick:()=>{i.accept()}}),d(E,{label:"Rough",action:"rough",disabled:!i.mask.value,onClick:()=>{i.accept(!0)}})]}),d("div",{class:"group group--end",children:[d(E,{quiet:!0,icon:"minus",label:"Zoom out",action:"zoomOut",disabled:!r,onClick:()=>e()?.zoom(.8)}),d(E,{quiet:!0,icon:"fit",label:"Whole image",action:"fit",disabled:!r,onClick:()=>e()?.fit()}),d(E,{quiet:!0,icon:"plus",label:"Zoom in",action:"zoomIn",disabled:!r,onClick:()=>e()?.zoom(1.25)}),t&&d(j,{children:[d("span",{class:"rule"}),d(E,{quiet:!0,icon:"previous",label:"Previous image",action:"previous",onClick:()=>t(-1)}),d(E,{quiet:!0,icon:"done",label:"This image is done, next",action:"done",onClick:()=>t(1,!0)}),d(E,{quiet:!0,icon:"next",label:"Next image",action:"next",onClick:()=>t(1)})]})]})]})}var zi=12;function ni(i,e,t,n){let o=i.target;if(o.matches("input:not([type=range]):not([type=checkbox]), select, textarea")||o.closest("button, a, summary, [role=menuitem], input")!==null&&["Enter"," ","Tab"].includes(i.key)||o.matches("input[type=range]")&&i.key.startsWith("Arrow"))return!1;if(i.key===" ")return t.hold(i.type==="keydown"),!0;if(i.type!=="keydown")return!1;if(/^[1-9]$/.test(i.key)&&!i.ctrlKey&&!i.altKey&&!i.metaKey){let l=e.labels.value[Number(i.key)-1];return l&&(e.label.value=l.name),l!==void 0}let a=ei(i);if(a===null||a==="cycle"&&!(e.steps.value.length===1&&e.steps.value[0].op==="click"))return!1;let s=n[a]??Vi(a,e,t,i.shiftKey);return s?.(),s!==void 0}function Vi(i,e,t,n){let o=n?t.view().scale:zi;return{undo:()=>e.undo(),redo:()=>e.redo(),reset:()=>e.reset(),accept:()=>{e.accept()},rough:()=>{e.accept(!0)},cycle:()=>{e.cycle()},compare:()=>{e.compare()},click:()=>{v.tool.value="click"},brush:()=>{v.tool.value="brush"},eraser:()=>{v.tool.value="eraser"},smaller:()=>{v.brush.value=Math.max(1,Math.round(v.brush.value/1.25))},larger:()=>{v.brush.value=Math.min(400,Math.round(v.brush.value*1.25)+1)},propose:()=>{e.proposals.ask()},take:()=>{e.proposals.decide(!0)},drop:()=>{e.proposals.decide(!1)},fit:()=>t.fit(),actual:()=>t.actual(),zoomIn:()=>t.zoom(1.25),zoomOut:()=>t.zoom(.8),masks:()=>{v.masks.value=!v.masks.value},hover:()=>{v.hover.value=!v.hover.value},left:()=>t.nudge(-o,0),right:()=>t.nudge(o,0),up:()=>t.nudge(0,-o),down:()=>t.nudge(0,o),add:()=>t.clickCross(!0),remove:()=>t.clickCross(!1)}[i]}var Yn=new Uint8Array(0);function qi(i,e,t){let n=e+7>>3;if(i.length<n*t)throw new Error(`a mask of ${e} x ${t} came with ${i.length} bytes`);let o=new Uint8Array(e*t);for(let r=0;r<t;r++){let a=r*n;for(let s=0,l=r*e;s<e;s++,l++)o[l]=i[a+(s>>3)]>>7-(s&7)&1}return o}function oi(i,e,t){let n=e+7>>3,o=new Uint8Array(n*t);for(let r=0;r<t;r++)for(let a=0;a<e;a++)i[r*e+a]&&(o[r*n+(a>>3)]|=128>>(a&7));return o}function ae(i){let{width:e,height:t,box:n}=i.header;return ri(e??0,t??0,n??null,i.payload)}function se(i,e,t){return(i.header.masks??[]).map(n=>({entry:n,mask:ri(e,t,n.box,i.payload.subarray(n.offset,n.offset+n.length))}))}function ri(i,e,t,n){return t===null||t[2]<=t[0]||t[3]<=t[1]?null:new Y(i,e,t,qi(n,t[2]-t[0],t[3]-t[1]))}var D=class extends Error{constructor(){super("the server went away before it answered")}},at=class extends Error{constructor(t,n){super(n);this.code=t}code},Pe=class{open=new Map;last=0;next(){let e=++this.last,t=new Promise((n,o)=>this.open.set(e,{resolve:n,reject:o}));return t.catch(()=>{}),{id:e,at:performance.now(),reply:t}}settle(e){let{re:t,error:n}=e.header;if(t===void 0)return!1;let o=this.open.get(t);return this.open.delete(t),n?o?.reject(new at(n.code,n.message)):o?.resolve(e),!0}failAll(){let e=[...this.open.values()];this.open.clear();for(let t of e)t.reject(new D)}fail(e){let t=this.open.get(e);this.open.delete(e),t?.reject(new D)}};var Fi=200,Ee=class{samples=p([]);totals=O(()=>this.samples.value.map(e=>e.total));p50=O(()=>ai(this.totals.value,.5));p95=O(()=>ai(this.totals.value,.95));marks=null;painting=p(!1);expect(e,t){this.marks={...e,painted:t,taken:performance.now()},this.painting.value=!0}drawn(e,t){let{marks:n}=this;if(n===null)return;this.marks=null;let o=performance.now();t?this.end(n,e,o,o):requestAnimationFrame(()=>this.end(n,e,o,performance.now()))}end(e,t,n,o){let r=new MessageChannel;r.port1.onmessage=()=>{let{since:a,sent:s,came:l,taken:h,stages:c,painted:f}=e,b=performance.now(),u=c.server??0,m={send:s-a,wire:l-s-u,unpack:h-l,draw:n-t,frame:t-h+o-n,paint:b-o};this.samples.value=[...this.samples.value.slice(1-Fi),{...c,server:u,...m,total:b-a}],r.port1.close(),w(()=>{f(),this.painting.value=this.marks!==null})},r.port2.postMessage(null)}};function ai(i,e){if(i.length===0)return null;let t=[...i].sort((n,o)=>n-o);return t[Math.min(t.length-1,Math.ceil(e*t.length)-1)]}var Le=class{constructor(e){this.owner=e}owner;all=p([]);masks=p(new Map);onCount=()=>{};clear(){this.all.value=[],this.masks.value=new Map}add(e,t,n=null){let o=n?.id??e.id,r=new Map(this.masks.value);r.delete(o),t&&r.set(e.id,t),this.set([...this.all.value.filter(a=>a.id!==o&&a.id!==e.id),e],r),this.owner.say(`Saved ${e.label||"the object"}: ${e.clicks} ${e.clicks===1?"click":"clicks"}.`)}async remove(e){await this.owner.track(async()=>{await this.owner.backend.remove(e.id);let t=new Map(this.masks.value);t.delete(e.id),this.set(this.all.value.filter(n=>n.id!==e.id),t),this.owner.say(`Deleted ${e.label||"the object"}.`)})}async relabel(e,t){await this.owner.track(async()=>{await this.owner.backend.relabel(e.id,t),this.all.value=this.all.value.map(n=>n.id===e.id?{...n,label:t}:n)})}async loadMasks(){let e=this.owner.image.value?.id;for(let t of this.all.value){if(this.masks.value.has(t.id))continue;let n=await this.owner.backend.objectMask(t.id).catch(()=>null);if(this.owner.image.value?.id!==e)return;n&&(this.masks.value=new Map(this.masks.value).set(t.id,n))}}set(e,t){w(()=>{this.all.value=e,this.masks.value=t}),this.onCount(this.owner.image.value.id,e.length)}};var Oe=class{constructor(e){this.owner=e}owner;all=p([]);at=p(0);busy=p(!1);current=O(()=>this.all.value[this.at.value]??null);clear(){w(()=>{this.all.value=[],this.at.value=0})}async ask(){let e=this.owner.image.value;if(!e||this.busy.value)return;if(this.owner.started.value)return this.owner.say("Accept or reset the current object first.");if(this.owner.objects.all.value.length===0)return this.owner.say("Accept an object or two first; then livesam looks for more like them.");this.busy.value=!0,this.owner.say("Looking for more like these\u2026");let t=await this.owner.track(()=>this.owner.wire.send("propose",{label:this.owner.label.value}).reply);if(this.busy.value=!1,!t||this.owner.image.value?.id!==e.id)return;let n=se(t,e.width,e.height);w(()=>{this.all.value=n.flatMap(({entry:r,mask:a})=>a?[{id:r.id,mask:a,iou:r.iou}]:[]),this.at.value=0});let o=this.all.value.length;this.owner.say(o?`${o} found: Y accepts, N discards.`:"Found nothing alike on this image.")}async decide(e){let t=this.current.value;if(!t)return;this.without(t);let n=e?{proposal:t.id,label:this.owner.label.value}:{proposal:t.id},o=await this.owner.track(()=>this.owner.wire.send(e?"take":"drop",n).reply);o?.header.object&&this.owner.objects.add(o.header.object,t.mask),o&&this.all.value.length===0&&this.owner.say("All proposals are decided.")}async dropAll(){for(;this.current.value;)await this.decide(!1)}select(e){this.at.value=e}without(e){w(()=>{this.all.value=this.all.value.filter(t=>t!==e),this.at.value=Math.min(this.at.value,Math.max(0,this.all.value.length-1))})}};function st(i,e){if(e.op==="click")return i.send("click",{x:e.x,y:e.y,positive:e.positive});if(e.op==="box"){let[n,o,r,a]=e.box;return i.send("box",{x0:n,y0:o,x1:r,y1:a})}let{mask:t}=e;return i.send("paint",{box:t.box},oi(t.pixels,t.cropWidth,t.cropHeight))}function si(i,e){let t=null;for(let n of e)t=st(i,n),n.op==="click"&&n.choice!==void 0&&(i.send("candidates"),t=i.send("choose",{index:n.choice}));return t}var je=class{constructor(e){this.backend=e}backend;image=p(null);bitmap=p(null);ready=p(!1);broken=p(null);steps=p([]);undone=p([]);mask=p(null);iou=p(null);version=p(null);candidates=p([]);choice=p(0);preview=p(null);comparison=p([]);editing=p(null);labels=p([]);label=p("");notice=p(null);waiting=p(0);latency=new Ee;objects=new Le(this);proposals=new Oe(this);catchingUp=p(!1);live=O(()=>this.wire.state.value==="open"&&!this.catchingUp.value);settled=O(()=>this.live.value&&this.ready.value&&this.waiting.value===0&&this.saving.value===null&&this.accepting.value===null);accepting=p(null);later=[];started=O(()=>this.steps.value.length>0||this.editing.value!==null);latest=0;hovering=null;saving=p(null);levels=null;get wire(){return this.backend.wire}say(e,t=!1){this.notice.value={text:e,bad:t}}fail(e){e instanceof D||this.say(e instanceof Error?e.message:String(e),!0)}colorOf(e){return this.labels.value.find(t=>t.name===e)?.color??"#2f9e8f"}async open(e){this.later=[],w(()=>{this.forget(),this.broken.value=null,this.ready.value=!1,this.bitmap.value=null,this.objects.clear(),this.proposals.clear(),this.levels=null});let t=this.wire.send("open",{image:e});this.latest=t.id;try{let n=await this.backend.details(e);if(this.latest!==t.id)return;w(()=>{this.image.value=n,this.objects.all.value=n.objects});let o=await this.backend.pixels(e,null);if(this.image.value?.id!==e||(this.bitmap.value=o,await t.reply,this.image.value?.id!==e))return;this.ready.value=!0}catch(n){if(n instanceof D||this.latest!==t.id)return this.fail(n);w(()=>{this.image.value=this.bitmap.value=null,this.broken.value=n instanceof Error?n.message:String(n)});return}await this.objects.loadMasks().catch(n=>this.fail(n))}async setLevels(e){let t=this.image.value;if(t){this.levels=e;try{let n=await this.backend.pixels(t.id,e);this.levels===e&&this.image.value?.id===t.id&&(this.bitmap.value=n)}catch(n){this.fail(n)}}}click(e,t,n,o){if(this.postponed(()=>this.click(e,t,n,o)))return;let r=this.image.value;if(!(!r||!this.ready.value)&&!(e<0||t<0||e>=r.width||t>=r.height)){if(!n&&this.steps.value.length===0&&!this.editing.value)return this.say("Click on the object first; then remove what does not belong to it.");this.advance({op:"click",x:e,y:t,positive:n},o)}}box(e,t){if(this.postponed(()=>this.box(e,t)))return;let n=this.image.value;if(!n||!this.ready.value)return;let[o,r]=[Math.max(0,e[0]),Math.max(0,e[1])],[a,s]=[Math.min(n.width,e[2]),Math.min(n.height,e[3])];a-o>=1&&s-r>=1&&this.advance({op:"box",box:[o,r,a,s]},t)}paint(e,t){if(this.postponed(()=>this.paint(e,t))||!this.image.value||!this.ready.value)return;if(!e)return this.say("Nothing would be left of the object: Esc starts it over.");let n=this.mask.value;this.mask.value=e,this.advance({op:"paint",mask:e},t,()=>this.mask.value=n)}advance(e,t,n=()=>{}){w(()=>{this.steps.value=[...this.steps.value,e],this.undone.value=[],this.aside()}),this.live.value&&this.show(st(this.wire,e),t,()=>{this.steps.value=this.steps.value.filter(o=>o!==e),n()})}undo(){if(this.postponed(()=>this.undo()))return;let e=this.steps.value.at(-1);if(!e)return this.say("Nothing to undo.");w(()=>{this.steps.value=this.steps.value.slice(0,-1),this.undone.value=[...this.undone.value,e],this.aside()}),this.live.value&&this.show(this.wire.send("undo"),performance.now())}redo(){if(this.postponed(()=>this.redo()))return;let e=this.undone.value.at(-1);if(!e)return this.say("Nothing to redo.");w(()=>{this.undone.value=this.undone.value.slice(0,-1),this.steps.value=[...this.steps.value,e],this.aside()}),this.live.value&&this.show(this.wire.send("redo"),performance.now())}reset(){if(this.postponed(()=>this.reset())||!this.started.value)return;this.forget();let e=this.wire.send("reset");this.latest=e.id,e.reply.catch(t=>this.fail(t)),this.say("Started over.")}async track(e){this.waiting.value++;try{return await e()}catch(t){this.fail(t);return}finally{this.waiting.value--}}async cycle(){if(this.postponed(()=>{this.cycle()}))return;let[e,...t]=this.steps.value;if(!e||t.length>0||e.op!=="click")return this.say("Other masks are offered after the first click only.");let n=this.image.value;if(this.candidates.value.length===0){let r=await this.track(()=>this.wire.send("candidates").reply);if(!r||this.steps.value[0]!==e||this.steps.value.length>1)return;this.candidates.value=se(r,n.width,n.height),this.choice.value=this.shownCandidate()}let o=this.candidates.value.length;o!==0&&(this.choice.value=(this.choice.value+1)%o,this.steps.value=[{...e,choice:this.choice.value}],this.show(this.wire.send("choose",{index:this.choice.value}),performance.now()),this.say(`Mask ${this.choice.value+1} of ${o}.`))}shownCandidate(){let e=t=>String(t.mask?.box)===String(this.mask.value?.box);return Math.max(0,this.candidates.value.findIndex(e))}async hover(e,t){let n=this.image.value;if(!n||!this.ready.value||this.started.value||this.hovering!==null)return;if(e<0||t<0||e>=n.width||t>=n.height)return void(this.preview.value=null);let o=this.wire.send("preview",{x:e,y:t});this.hovering=o.id;try{let r=await o.reply;!this.started.value&&this.image.value?.id===n.id&&(this.preview.value=ae(r))}catch{}finally{this.hovering=null}}async compare(){let e=this.image.value;if(!e)return;if(this.comparison.value.length>0)return void(this.comparison.value=[]);if(!this.started.value)return this.say("Click on an object first; then compare.");let t=await this.track(()=>this.wire.send("compare").reply);t&&(this.comparison.value=se(t,e.width,e.height))}async accept(e=!1){if(this.postponed(()=>{this.accept(e)}))return;let t=this.image.value;if(!t||this.saving.value)return;if(!this.live.value)return this.say("The server is away: accept when it is back.",!0);let n=this.save(t,this.label.value,e);this.accepting.value=n,await n,w(()=>{this.accepting.value=null;for(let o of this.later.splice(0))o()})}async save(e,t,n){if(await this.answered(),this.image.value?.id!==e.id||!this.live.value)return;let[o,r]=[this.mask.value,this.editing.value];if(!o)return this.say("Nothing to accept yet: click on an object.");this.saving.value={steps:this.steps.value,mask:o,editing:r,known:this.objects.all.value.length};let a=this.wire.send("accept",{label:t,rough:n});this.latest=a.id,this.forget();try{let{object:s}=(await a.reply).header;if(this.saving.value=null,!s||this.image.value?.id!==e.id)return;this.objects.add(s,s.area===o.area?o:null,r),this.objects.loadMasks()}catch(s){if(s instanceof D)return;this.later=[],this.takeBack(),this.fail(s)}}postponed(e){return this.accepting.value===null?!1:(this.later.push(e),!0)}async answered(){for(;this.waiting.value>0;)await new Promise(e=>{let t=P(()=>{this.waiting.value===0&&setTimeout(()=>(t(),e()))})})}edit(e){if(!this.postponed(()=>this.edit(e))){if(this.started.value)return this.say("Accept or reset the current object first.");w(()=>{this.editing.value=e,this.mask.value=this.objects.masks.value.get(e.id)??null,e.label&&(this.label.value=e.label)}),this.show(this.wire.send("edit",{object:e.id}),performance.now(),()=>this.editing.value=null)}}async resume(){let e=this.image.value;if(!e)return;let[t,n]=[this.saving.value,this.editing.value];this.saving.value=null;let o=this.wire.send("open",{image:e.id});this.latest=o.id;let r=await this.backend.details(e.id);if(await o.reply,this.image.value?.id!==e.id)return;w(()=>{this.image.value=r,this.objects.all.value=r.objects,this.undone.value=[],this.ready.value=!0}),t&&(t.editing!==null||r.objects.length<=t.known)&&!this.started.value&&w(()=>{this.steps.value=t.steps,this.editing.value=t.editing});let a=this.editing.value??n,s=a?this.wire.send("edit",{object:a.id}):null;s=si(this.wire,this.steps.value)??s,this.catchingUp.value=!1,s&&this.show(s,performance.now()),this.objects.loadMasks(),this.bitmap.value||(this.bitmap.value=await this.backend.pixels(e.id,this.levels))}show(e,t,n=()=>{}){this.latest=e.id,this.waiting.value++,e.reply.then(o=>{this.latest===e.id&&this.take(o,t,e.at)}).catch(o=>{o instanceof D||n(),this.fail(o)}).finally(()=>this.waiting.value--)}take(e,t,n){let{iou:o,version:r,stages:a={}}=e.header,s=ae(e);this.mask.value=s,this.latency.expect({since:t,sent:n,came:e.came,stages:a},()=>{this.mask.value===s&&(this.iou.value=o??null,this.version.value=r??null)})}aside(){this.preview.value=null,this.comparison.value.length>0&&(this.comparison.value=[]),this.candidates.value.length>0&&(this.candidates.value=[]),this.choice.value=0}forget(){w(()=>{this.steps.value=[],this.undone.value=[],this.mask.value=null,this.iou.value=null,this.editing.value=null,this.aside()})}takeBack(){let e=this.saving.value;this.saving.value=null,!(!e||this.started.value)&&w(()=>{this.steps.value=e.steps,this.mask.value=e.mask,this.editing.value=e.editing})}};var He=class{constructor(e){this.model=e;e.on("msg:custom",this.told)}model;state=p("open");onEvent=()=>{};onOpen=()=>{};waiting=new Pe;close(){this.model.off("msg:custom",this.told),this.waiting.failAll()}send(e,t={},n){let o=this.waiting.next();return this.model.send({id:o.id,op:e,...t},void 0,n?[n.slice().buffer]:[]),o}told=(e,t)=>{let[n]=t,o=n?new Uint8Array(n.buffer,n.byteOffset,n.byteLength):new Uint8Array(0);this.waiting.settle({header:e,payload:o,came:performance.now()})||this.onEvent(e)}};function Gi(i){return{wire:i,details:async()=>(await i.send("details").reply).header,pixels:async()=>{let{payload:e}=await i.send("pixels").reply;return createImageBitmap(new Blob([e.slice()],{type:"image/png"}))},objectMask:async e=>ae(await i.send("mask",{object:e}).reply),remove:e=>i.send("delete",{object:e}).reply,relabel:(e,t)=>i.send("relabel",{object:e,label:t}).reply}}function Ki({annotator:i}){let e=X(null),t=X(null);q(()=>{let s=()=>i.say("That is on the page of livesam serve."),l=h=>{!e.current||!ni(h,i,e.current,{compare:s,propose:s})||(h.preventDefault(),h.stopPropagation())};t.current.addEventListener("keydown",l),t.current.addEventListener("keyup",l)},[]);let{label:n,labels:o,objects:r}=i,{length:a}=r.all.value;return d("div",{class:"livesam",ref:t,children:[d(ii,{annotator:i,stage:()=>e.current}),d("div",{class:"stage-frame",children:[d(Jt,{annotator:i,onReady:s=>e.current=s}),d(Zt,{annotator:i})]}),d("div",{class:"toolbar",children:[d("label",{children:["Label"," ",d("select",{value:n.value,onChange:s=>n.value=s.currentTarget.value,children:o.value.map(s=>d("option",{children:s.name},s.name))})]}),d("span",{children:[a," ",a===1?"object":"objects"," accepted"]})]})]})}function Xi({model:i,el:e}){let t=new He(i),n=new je(Gi(t)),o=document.createElement("div");e.append(o);let r=o.attachShadow({mode:"open"}),a=document.createElement("style");a.textContent=Ht;let s=document.createElement("div");return r.append(a,s),qe(d(Ki,{annotator:n}),s),(async()=>{try{let{header:l}=await t.send("details").reply;n.labels.value=l.labels,n.label.value=n.labels.value[0]?.name??"",await n.open(String(l.id))}catch(l){n.fail(l)}})(),()=>{qe(null,s),t.close()}}var Oo={render:Xi};export{Oo as default};
