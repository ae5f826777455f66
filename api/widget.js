var m,ut,Ne,D,He,he,ct,ue,ht,Ie,je,ni,Q=Symbol.for("pv"),de={},pe=[],oi=/^m(i|n|o|s|text|space)$/,Ue=Array.isArray,De=pe.slice,V=Object.assign;function B(i){i&&i.parentNode&&i.remove()}function dt(i,e,t){var n,o,r,a={},s=arguments.length;for(r in e)r=="key"?n=e[r]:r=="ref"&&typeof i!="function"?o=e[r]:a[r]=e[r];return s>2&&(a.children=s>3?De.call(arguments,2):t),Y(i,a,n,o,null)}function Y(i,e,t,n,o){var r={type:i,props:e,key:t,ref:n,__k:null,__:null,__b:0,__e:null,__c:null,constructor:Q,__v:o||++ut,__i:-1,__u:0};return!o&&m.vnode&&m.vnode(r),r}function j(i){return i.children}function K(i,e){this.props=i,this.context=e,this.__g=0}function R(i,e){if(e==null)return i.__&&R(i.__,i.__i+1);for(var t;e<i.__k.length;e++)if((t=i.__k[e])&&t.__e)return t.__e;return typeof i.type!="function"||i.props.__P?null:R(i)}function ri(i){var e,t=i.__v,n=t.__e,o=[],r=[],a=i.__P;a&&((e=V({constructor:Q},t)).__v=t.__v+1,m.vnode&&m.vnode(e),Re(a,e,t,i.__n,a.namespaceURI,32&t.__u?[n]:null,o,n||R(t),32&t.__u,r),e.__v=t.__v,e.__.__k[e.__i]=e,bt(o,e,r),t.__=t.__e=null,e.__e!=n&&pt(e))}function pt(i){if((i=i.__)&&i.__c&&!i.props.__P)return i.__e=null,i.__k.some(function(e){return e&&(i.__e=e.__e)}),pt(i)}function st(i){(8&i.__g||(i.__g|=8,D.push(i),he++))&&He==m.debounceRendering||((He=m.debounceRendering)||queueMicrotask)(ft)}function ft(){try{for(var i,e=1;D.length;)D.length>e&&D.sort(ct),i=D.shift(),e=D.length,8&i.__g&&ri(i)}finally{(he=D.length)&&(He||queueMicrotask)(ft)}}function vt(i,e,t,n,o,r,a,s,l,h,c){var _,g,u,v,C,y,w=n.__k||pe,b=e.length;for(l=ai(t,e,w,l,b),_=0;_<b;_++)(u=t.__k[_])!=null&&(g=~u.__i&&w[u.__i]||de,u.__i=_,y=Re(i,u,g,o,r,a,s,l,h,c),v=u.__e,(g.ref!=u.ref||8&g.__u)&&(g.ref&&$e(g.ref,null,u,g),u.ref&&c.push(u.ref,u.__c||v,u)),C=C||v,4&u.__u?(l=mt(u,l,i,!g.__v),g.__e&&(g.__e=null)):typeof u.type=="function"&&y!==void 0?l=y:v&&(l=v.nextSibling),u.__u&=-21);return t.__e=C,l}function ai(i,e,t,n,o){var r,a,s,l,h,c,_,g,u,v=t.length,C=v,y=0,w=0,b=i.__k=Array(o);for(r=0;r<o;r++)(a=e[r])!=null&&typeof a!="boolean"&&typeof a!="function"?(typeof a!="object"||a.constructor===String?a=b[r]=Y(null,a):Ue(a)?a=b[r]=Y(j,{children:a}):a.constructor===Q&&a.__b?a=b[r]=Y(a.type,a.props,a.key,a.ref,a.__v):b[r]=a,l=r+y,a.__=i,a.__b=i.__b+1,s=null,~(h=a.__i=si(a,t,l,C))&&(C--,(s=t[h])&&(s.__u|=2)),s&&s.__v?(a.__u|=16,h==l-1?y--:h==l+1?y++:h!=l&&(h>l?y--:y++,w=1)):(~h||(o>v?y--:o<v&&y++),typeof a.type!="function"&&(a.__u|=4))):b[r]=null;if(w){for(c=[],_=[],r=0;r<o;r++)if((a=b[r])&&16&a.__u){for(y=0,g=c.length;y<g;)c[u=y+g>>1]<a.__i?y=u+1:g=u;c[y]=a.__i,_[r]=y+1}for(y=c.length;r--;)_[r]&&(_[r]==y?y--:b[r].__u|=4)}if(C)for(r=0;r<v;r++)!(s=t[r])||2&s.__u||(s.__e==n&&(n=R(s)),We(s,s));return n}function mt(i,e,t,n){var o,r,a,s;if(typeof i.type=="function"){if(i.props.__P)return e;if(o=i.__k)for(r=0;r<o.length;r++)o[r]&&(o[r].__=i,e=mt(o[r],e,t,!1));return e}for(e&&!e.parentNode&&(e=R(i))&&!e.parentNode&&(e=null),a=i.__e,s=e;s&&s.nodeType==8;)s=s.nextSibling;for(a!=s&&(!n&&t.moveBefore&&a.parentNode?t.moveBefore(a,e):t.insertBefore(a,e||null)),e=a;(e=e&&e.nextSibling)&&e.nodeType==8&&!e.data.startsWith("$s"););return e}function si(i,e,t,n){var o,r=i.key,a=i.type,s=e[t],l=s&&!(2&s.__u);if(s===null&&r==null||l&&r==s.key&&a==s.type)return t;if(n>(l?1:0)){for(o=t-1;o>=0;o--)if((s=e[o])&&!(2&s.__u)&&r==s.key&&a==s.type)return o;for(o=t+1;o<e.length;o++)if((s=e[o])&&!(2&s.__u)&&r==s.key&&a==s.type)return o}return-1}function lt(i,e,t){t==null&&(t=""),e[0]=="-"?i.setProperty(e,t):i[e]=t}function le(i,e,t,n,o){var r,a;if(e=="style")if(typeof t=="string")i.style.cssText=t;else{if(typeof n=="string"&&(i.style.cssText=n=""),n)for(e in n)t&&e in t||lt(i.style,e);if(t)for(e in t)n&&t[e]==n[e]||lt(i.style,e,t[e])}else if(e[0]=="o"&&e[1]=="n")typeof t!="function"&&(t=null),typeof n!="function"&&(n=null),(i.__e||(i.__e={}))[e]=t,t&&n||(a=je[e]||(je[e]=li(e)),(i.__a||(i.__a={}))[e]=Ie,r=e!=(e=e.replace(ht,"$1")),(e=e.slice(2))[0]<"a"&&(e=e.toLowerCase()),t?i.addEventListener(e,a,r):i.removeEventListener(e,a,r));else{if(o=="http://www.w3.org/2000/svg")e=e.replace(/xlink(H|:h)/,"h").replace(/sName$/,"s");else if(e!="width"&&e!="height"&&e!="href"&&e!="list"&&e!="form"&&e!="tabIndex"&&e!="download"&&e!="rowSpan"&&e!="colSpan"&&e!="role"&&e!="popover"&&e in i)try{return void(i[e]=t??"")}catch{}if(typeof t=="function")return;t==null||t===!1&&e[4]!="-"?i.removeAttribute(e):i.setAttribute(e,e=="popover"&&t==1?"":t)}}function li(i){return function(e){var t=this.__e;if(t){if(t=t[i],e[ue]==null)e[ue]=Ie++;else if(e[ue]<this.__a[i])return;return t(m.event?m.event(e):e)}}}function Re(i,e,t,n,o,r,a,s,l,h){var c,_,g,u,v,C,y,w,b,T,x,Oe,rt,se,W,at,U,z,N=e.type;if(e.constructor!==Q)return null;128&t.__u&&(l=32&t.__u,c=t.__c.__z)&&(e.__u|=l,_=r=[],c.nodeType==8?s=ce(c,r):r.push(c),s=r[0]||s),(c=m.__b)&&c(e);e:if(typeof N=="function"){g=a.length;try{if(w=e.props,b=(c=N.prototype)&&c.render,T=(c=N.contextType)&&n[c.__c],x=c?T?T.props.value:c.__:n,(u=t.__c)?(e.__c=u,2&u.__g&&(u.__g|=1)):(b?e.__c=u=new N(w,x):(e.__c=u=new K(w,x),u.constructor=N,u.render=ci),T&&T.sub(u),u.state||(u.state={}),u.__n=n,u.__g|=8,u.__h=[],u.__k=[]),b&&(u.__s||(u.__s=u.state),N.getDerivedStateFromProps&&(u.__s==u.state&&(u.__s=V({},u.__s)),V(u.__s,N.getDerivedStateFromProps(w,u.__s)))),v=u.props,C=u.state,u.__v=e,t.__c){if(w!==v&&b&&!N.getDerivedStateFromProps&&u.componentWillReceiveProps&&u.componentWillReceiveProps(w,x),e.__v==t.__v&&!(8&u.__g)||!(4&u.__g)&&u.shouldComponentUpdate&&u.shouldComponentUpdate(w,u.__s,x)===!1){e.__v!=t.__v&&(u.props=w,u.state=u.__s,u.__g&=-9),e.__e=t.__e,e.__k=t.__k,e.__k.some(function(O){O&&(O.__=e)}),pe.push.apply(u.__h,u.__k),u.__k=[],u.__h.length&&a.push(u),s=R(t);break e}u.componentWillUpdate&&u.componentWillUpdate(w,u.__s,x),b&&u.componentDidUpdate&&u.__h.push(function(){u.componentDidUpdate(v,C,y)})}else b&&!N.getDerivedStateFromProps&&u.componentWillMount&&u.componentWillMount(),b&&u.componentDidMount&&u.__h.push(u.componentDidMount);u.context=x,u.props=w,u.__P=i,u.__g&=-5,Oe=m.__r,rt=b?25:0;do u.__g&=-9,Oe&&Oe(e),c=u.render(u.props,u.state=u.__s,u.context);while(8&u.__g&&++rt<25);b&&(pe.push.apply(u.__h,u.__k),u.__k=[]),u.state=u.__s,u.getChildContext&&(n=V({},n,u.getChildContext())),b&&t.__c&&u.getSnapshotBeforeUpdate&&(y=u.getSnapshotBeforeUpdate(v,C)),se=c&&c.type===j&&c.key==null?c.props.children:c,w.__P&&(c=s,o=(i=w.__P).namespaceURI,l=r=null,t.props&&t.props.__P!=i&&(t.__k.some(function(O){O&&We(O,O)}),t.__k=null),s=t.__k?R(t,0):null),s=vt(i,Ue(se)?se:[se],e,t,n,o,r,a,s,l,h),w.__P&&(e.__e=null,s=c),e.__u&=-161,_&&_.some(B),u.__h.length&&a.push(u),1&u.__g&&(u.__g&=-4)}catch(O){if(a.length=g,e.__v=null,l||r)if(O&&O.then){if(e.__u|=128|l,r){for(~(U=r.indexOf(s||void 0))||(U=r.length);(z=r[U-1])&&z.nodeType==8;)U--;for(;U<r.length;U++)if(z=r[U])if(r[U]=null,W){if(z==at)break}else{if(z.nodeType!=8)break;z.data.startsWith("$s")&&(at=ce(W=z))}}if(!W){for(;s&&s.nodeType==8&&s.nextSibling;)s=s.nextSibling;W=s}(c=ce(W=e.__c.__z||(e.__c.__z=W)))?(e.__e=W,s=c):e.__e=s,s=s&&s.nextSibling}else r&&r.some(B);else e.__e=t.__e;e.__k||(e.__k=t.__k||[]),O&&O.then||_t(e),m.__e(O,e,t)}}else s=e.__e=ui(t.__e,e,t,n,o,r,a,l,h,i);return(c=m.diffed)&&c(e),s}function ce(i,e){if(i&&i.nodeType==8&&i.data.startsWith("$s"))for(var t=1;i=i.nextSibling;){if(i.nodeType==8){if(i.data.startsWith("$s"))t++;else if(i.data.startsWith("/$s")&&!--t)return i}e&&e.push(i)}}function _t(i){i&&(i.__c&&(i.__c.__g|=4),i.__k&&i.__k.some(_t))}function bt(i,e,t){for(var n=0;n<t.length;)$e(t[n++],t[n++],t[n++]);m.__c&&m.__c(e,i),i.some(function(o){try{i=o.__h,o.__h=[],i.some(function(r){r.call(o)})}catch(r){m.__e(r,o.__v)}})}function ui(i,e,t,n,o,r,a,s,l,h){var c,_,g,u,v,C,y,w,b=t.props||de,T=e.props,x=e.type;if(x=="svg"?o="http://www.w3.org/2000/svg":x=="math"?o="http://www.w3.org/1998/Math/MathML":o||(o="http://www.w3.org/1999/xhtml"),r){for(c=0;c<r.length;c++)if((v=r[c])&&(x?v.localName==x:v.nodeType==3)){i=v,r[c]=null;break}}if(!i){if(w=h.ownerDocument||document,!x)return w.createTextNode(T);i=w.createElementNS(o,x,T.is?T:h),s&&(m.__m&&m.__m(e,r),s=!1),r=null}if(x){if(h=x=="template"&&i.content||i,r=x=="textarea"&&T.defaultValue!=null?null:r&&De.call(h.childNodes),!s&&r)for(b={},c=0;c<i.attributes.length;c++)b[(v=i.attributes[c]).name]=v.value;for(c in b)v=b[c],c=="dangerouslySetInnerHTML"?g=v:c=="children"||c in T||c=="value"&&"defaultValue"in T||c=="checked"&&"defaultChecked"in T||le(i,c,null,v,o);for(c in T)v=T[c],c=="children"?u=v:c=="dangerouslySetInnerHTML"?_=v:c=="value"?C=v:c=="checked"?y=v:s&&typeof v!="function"||b[c]===v||le(i,c,v,b[c],o);_?(s||g&&(_.__html==g.__html||_.__html==i.innerHTML)||(i.innerHTML=_.__html),e.__k=[]):(g&&(i.textContent=""),(x=="foreignObject"||o=="http://www.w3.org/1998/Math/MathML"&&oi.test(x))&&(o="http://www.w3.org/1999/xhtml"),vt(h,Ue(u)?u:[u],e,t,n,o,r,a,r?r[0]:t.__k&&R(t,0),s,l),r&&r.some(B)),s&&x!="textarea"||(c="value",x=="progress"&&C==null?i.removeAttribute(c):C==null||C===i[c]&&(x!="progress"||C)||le(i,c,C,b[c],o),c="checked",y!=null&&y!=i[c]&&le(i,c,y,b[c],o))}else b===T||s&&i.data==T||(i.data=T);return i}function $e(i,e,t,n){try{typeof i=="function"?e?e.__x=i(e)||1:n&&(n=n.__c||n.__e)&&(e=n.__x)&&(n.__x=null,typeof e=="function"?e():i(null)):i.current=e}catch(o){m.__e(o,t)}}function We(i,e,t){var n,o,r,a;if(m.unmount&&m.unmount(i),!(n=i.ref)||n.current&&n.current!=i.__e||$e(n,null,e,i),n=i.__c){if(n.componentWillUnmount)try{n.componentWillUnmount()}catch(s){m.__e(s,e)}n.__P=n.__n=null}if(n=i.__k)for(a=0;a<n.length;a++)n[a]&&We(n[a],e,typeof i.type!="function"||t&&!i.props.__P);!t&&(n=i.__c)&&(n=n.__z)&&(o=ce(n,r=[]))&&(n==i.__e&&r.some(B),B(o),B(n)),t||B(i.__e),i.__e=i.__c=i.__=null}function ci(i,e,t){return this.constructor(i,t)}function ze(i,e){var t,n,o,r;m.__&&m.__(i,e),e.nodeType==9&&(e=e.documentElement),n=(t=i&&32&i.__u)?null:e.__k,e.__k=Y(j,{children:[i]}),o=[],r=[],Re(e,e.__k,n||de,de,e.namespaceURI,n?null:e.firstChild?De.call(e.childNodes):null,o,n?n.__e:e.firstChild,t,r),bt(o,e.__k,r),e.__k.props.children=null}m={__e:function(i,e,t,n){for(var o,r,a;e=e.__;)if((o=e.__c)&&!(1&o.__g)){o.__g|=4;try{if((a=(r=o.constructor)&&r.getDerivedStateFromError)&&o.setState(r.getDerivedStateFromError(i)),o.componentDidCatch&&(o.componentDidCatch(i,n||{}),a=1),a&&8&o.__g)return void(o.__g|=2)}catch(s){i=s}}throw he=0,i}},ut=0,Ne=function(i){return i!=null&&i.constructor===Q},K.prototype.setState=function(i,e){var t=this.__s;t&&t!=this.state||(t=this.__s=V({},this.state)),typeof i=="function"&&(i=i(V({},t),this.props)),i&&(V(t,i),this.__v&&(e&&this.__k.push(e),st(this)))},K.prototype.forceUpdate=function(i){this.__v&&(this.__g|=4,i&&this.__h.push(i),st(this))},K.prototype.render=j,D=[],he=0,ct=function(i,e){return i.__v.__b-e.__v.__b},ue=Symbol(),ht=/(PointerCapture)$|Capture$/i,Ie=0,je={},ni=0;var fe,P,Be,gt,hi=Object.is,Ve=0,Tt=[],qe=[],S=m,yt=S.__b,kt=S.__r,wt=S.diffed,xt=S.__c,Mt=S.unmount,St=S.__;function Et(i,e){S.__h&&S.__h(P,i,Ve||e),Ve=0;var t=P.__H||(P.__H={__:[],__h:[]});return i>=t.__.length&&t.__.push({}),t.__[i]}function q(i,e){var t=Et(fe++,3);!S.__s&&Pt(t.__H,e)&&(t.__P=!0,t.__=i,t.u=e,P.__H.__h.push(t))}function G(i){return Ve=5,ve(function(){return{current:i}},[])}function ve(i,e){var t=Et(fe++,7);return Pt(t.__H,e)&&(t.__=i(),t.__H=e),t.__}function di(){var i;do{for(;i=qe.shift();)try{ee(i)}catch(t){S.__e(t,{__:(i=i.__P)&&i.__v})}for(;i=Tt.shift();){var e=i.__H;if(i.__P&&e)try{e.__h.some(ee),e.__h.some(Fe),e.__h=[]}catch(t){e.__h=[],S.__e(t,i.__v)}}}while(qe.length)}S.__b=function(i){P=null,yt&&yt(i)},S.__=function(i,e){i&&e.__k&&e.__k.__m&&(i.__m=e.__k.__m),St&&St(i,e)},S.__r=function(i){kt&&kt(i),fe=0;var e=(P=i.__c).__H;e&&(Be==P?P.__h=[]:(e.__h.some(ee),e.__h.some(Fe),fe=0),e.__h=[],e.__.some(function(t){t.__N&&(t.__=t.__N),t.u=t.__N=void 0})),Be=P},S.diffed=function(i){wt&&wt(i);var e=i.__c;e&&e.__H&&(e.__H.__h.length&&Ct(Tt.push(e)),e.__H.__.some(function(t){t.u&&(t.__H=t.u)})),Be=P=null},S.__c=function(i,e){e.some(function(t){try{t.__h.some(ee),t.__h=t.__h.filter(function(n){return!n.__||Fe(n)})}catch(n){t.__h=[function(){throw n}]}}),xt&&xt(i,e)},S.unmount=function(i){Mt&&Mt(i);var e,t,n=i.__c;n&&n.__H&&(n.__H.__.some(function(o){try{if(o.__P&&o.__c){if(t===void 0){for(t=i.__;t&&(!t.__c||!t.__c.__P);)t=t.__;t=t&&t.__c}o.__P=t,Ct(qe.push(o))}else ee(o)}catch(r){e=r}}),n.__H=void 0,e&&S.__e(e,n.__v))};var At=typeof requestAnimationFrame=="function";function pi(i){var e,t=function(){clearTimeout(n),At&&cancelAnimationFrame(e),setTimeout(i)},n=setTimeout(t,35);At&&(e=requestAnimationFrame(t))}function Ct(i){i!=1&&gt==S.requestAnimationFrame||((gt=S.requestAnimationFrame)||pi)(di)}function ee(i){var e=P,t=i.__c;typeof t=="function"&&(i.__c=void 0,t()),P=e}function Fe(i){var e=P;i.__c=i.__(),P=e}function Pt(i,e){return!i||i.length!=e.length||e.some(function(t,n){return!hi(t,i[n])})}var Lt=`/* Colours, buttons and the stage: what the page and the notebook's widget share. Every colour pair of text has AA contrast. */

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
  outline-offset: -2px !important;
}

.stage--pan {
  cursor: grab;
}

.stage--paint {
  cursor: none;
}

.stage canvas {
  position: absolute;
  inset: 0;
  width: 100%;
  height: 100%;
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
`;var vi=Symbol.for("preact-signals");function ge(){if(I>1)I--;else{var i,e=!1;for((function(){var o=_e;for(_e=void 0;o!==void 0;){var r=o.S;if(r.v===o.v)for(var a=r.t;a!==void 0;a=a.x)a.i===o.i&&(a.i=r.i);o=o.o}})();ie!==void 0;){var t=ie;for(ie=void 0,me++;t!==void 0;){var n=t.u;if(t.u=void 0,t.f&=-3,!(8&t.f)&&Ht(t))try{t.c()}catch(o){e||(i=o,e=!0)}t=n}}if(me=0,I--,e)throw i}}function M(i){if(I>0)return i();Ke=++mi,I++;try{return i()}finally{ge()}}var te,k=void 0;function ne(i){var e=k,t=te;k=void 0,te=void 0;try{return i()}finally{k=e,te=t}}var ie=void 0,I=0,me=0,mi=0,Ke=0,_e=void 0,be=0;function Ot(i){if(k!==void 0){var e=i.n;if(e===void 0||e.t!==k)return e={i:0,S:i,p:k.s,n:void 0,t:k,e:void 0,x:void 0,r:e},k.s!==void 0&&(k.s.n=e),k.s=e,i.n=e,32&k.f&&i.S(e),e;if(e.i===-1)return e.i=0,e.n!==void 0&&(e.n.p=e.p,e.p!==void 0&&(e.p.n=e.n),e.p=k.s,e.n=void 0,k.s.n=e,k.s=e),e}}function A(i,e){this.v=i,this.i=0,this.n=void 0,this.t=void 0,this.l=0,this.W=e?.watched,this.Z=e?.unwatched,this.name=e?.name}A.prototype.brand=vi;A.prototype.h=function(){return!0};A.prototype.S=function(i){var e=this,t=this.t;t!==i&&i.e===void 0&&(i.x=t,this.t=i,t!==void 0?t.e=i:ne(function(){var n;(n=e.W)==null||n.call(e)}))};A.prototype.U=function(i){var e=this;if(this.t!==void 0){var t=i.e,n=i.x;t!==void 0&&(t.x=n,i.e=void 0),n!==void 0&&(n.e=t,i.x=void 0),i===this.t&&(this.t=n,n===void 0&&ne(function(){var o;(o=e.Z)==null||o.call(e)}))}};A.prototype.subscribe=function(i){var e=this;return H(function(){var t=e.value;ne(function(){return i(t)})},{name:"sub"})};A.prototype.valueOf=function(){return this.value};A.prototype.toString=function(){return this.value+""};A.prototype.toJSON=function(){return this.value};A.prototype.peek=function(){var i=this;return ne(function(){return i.value})};Object.defineProperty(A.prototype,"value",{get:function(){var i=Ot(this);return i!==void 0&&(i.i=this.i),this.v},set:function(i){if(i!==this.v){if(me>100)throw new Error("Cycle detected");(function(t){I!==0&&me===0&&t.l!==Ke&&(t.l=Ke,_e={S:t,v:t.v,i:t.i,o:_e})})(this),this.v=i,this.i++,be++,I++;try{for(var e=this.t;e!==void 0;e=e.x)e.t.N()}finally{ge()}}}});function p(i,e){return new A(i,e)}function Ht(i){for(var e=i.s;e!==void 0;e=e.n)if(e.S.i!==e.i||!e.S.h()||e.S.i!==e.i)return!0;return!1}function jt(i){for(var e=i.s;e!==void 0;e=e.n){var t=e.S.n;if(t!==void 0&&(e.r=t),e.S.n=e,e.i=-1,e.n===void 0){i.s=e;break}}}function Nt(i){for(var e=i.s,t=void 0;e!==void 0;){var n=e.p;e.i===-1?(e.S.U(e),n!==void 0&&(n.n=e.n),e.n!==void 0&&(e.n.p=n)):t=e,e.S.n=e.r,e.r!==void 0&&(e.r=void 0),e=n}i.s=t}function F(i,e){A.call(this,void 0,e),this.x=i,this.s=void 0,this.g=be-1,this.f=4}F.prototype=new A;F.prototype.h=function(){if(this.f&=-3,1&this.f)return!1;if((36&this.f)==32||(this.f&=-5,this.g===be))return!0;if(this.g=be,this.f|=1,this.i>0&&!Ht(this))return this.f&=-2,!0;var i=k;try{jt(this),k=this;var e=this.x();(16&this.f||this.v!==e||this.i===0)&&(this.v=e,this.f&=-17,this.i++)}catch(t){this.v=t,this.f|=16,this.i++}return k=i,Nt(this),this.f&=-2,!0};F.prototype.S=function(i){if(this.t===void 0){this.f|=36;for(var e=this.s;e!==void 0;e=e.n)e.S.S(e)}A.prototype.S.call(this,i)};F.prototype.U=function(i){if(this.t!==void 0&&(A.prototype.U.call(this,i),this.t===void 0)){this.f&=-33;for(var e=this.s;e!==void 0;e=e.n)e.S.U(e)}};F.prototype.N=function(){if(!(2&this.f)){this.f|=6;for(var i=this.t;i!==void 0;i=i.x)i.t.N()}};Object.defineProperty(F.prototype,"value",{get:function(){if(1&this.f)throw new Error("Cycle detected");var i=Ot(this);if(this.h(),i!==void 0&&(i.i=this.i),16&this.f)throw this.v;return this.v}});function L(i,e){return new F(i,e)}function It(i){var e=i.j;if(i.j=void 0,typeof e=="function"){I++;var t=k;k=void 0;try{e()}catch(n){throw i.f&=-2,i.f|=8,Ge(i),n}finally{k=t,ge()}}}function Ge(i){for(var e=i.s;e!==void 0;e=e.n)e.S.U(e);i.x=void 0,i.s=void 0,It(i)}function _i(i){if(k!==this)throw new Error("Out-of-order effect");Nt(this),k=i,this.f&=-2;try{8&this.f&&Ge(this)}finally{ge()}}function X(i,e){this.x=i,this.j=void 0,this.s=void 0,this.u=void 0,this.f=32,this.name=e?.name,te&&te.push(this)}X.prototype.c=function(){var i=this.S();try{if(8&this.f||this.x===void 0)return;var e=this.x();typeof e=="function"&&(this.j=e)}finally{i()}};X.prototype.S=function(){if(1&this.f)throw new Error("Cycle detected");this.f|=1,this.f&=-9,It(this),jt(this),I++;var i=k;return k=this,_i.bind(this,i)};X.prototype.N=function(){2&this.f||(this.f|=2,this.u=ie,ie=this)};X.prototype.d=function(){this.f|=8,1&this.f||Ge(this)};X.prototype.dispose=function(){this.d()};function H(i,e){var t=new X(i,e);try{t.c()}catch(o){throw t.d(),o}var n=t.d.bind(t);return n[Symbol.dispose]=n,n}var Ut,ke,ye,bi=typeof window<"u"&&!!window.__PREACT_SIGNALS_DEVTOOLS__;var Dt=[];H(function(){Ut=this.N})();function J(i,e){m[i]=e.bind(null,m[i]||function(){})}function oe(i){if(ye){var e=ye;ye=void 0,e()}ye=i&&i.S()}function Rt(i){var e=this,t=i.data,n=Xe(t);n.name="ReactiveDom",n.value=t;var o=ve(function(){for(var s=e,l=e.__v;l=l.__;)if(l.__c){l.__c.__$f|=4;break}var h=L(function(){var u=n.value.value;return u===0?0:u===!0?"":u||""}),c=L(function(){return!Array.isArray(h.value)&&!Ne(h.value)}),_=H(function(){if(this.N=$t,c.value){var u=h.value;s.__v&&s.__v.__e&&s.__v.__e.nodeType===3&&(s.__v.__e.data=u)}}),g=e.__$u.d;return e.__$u.d=function(){_(),g.call(this)},[c,h]},[]),r=o[0],a=o[1];return r.value?a.peek():a.value}Rt.displayName="ReactiveTextNode";Object.defineProperties(A.prototype,{constructor:{configurable:!0,value:dt(j,null).constructor},type:{configurable:!0,value:Rt},props:{configurable:!0,get:function(){var i=this;return{data:{get value(){return i.value}}}}},__b:{configurable:!0,value:1}});J("__b",function(i,e){if(oe(),ke=void 0,typeof e.type=="string"){var t,n=e.props;for(var o in n)if(o!=="children"){var r=n[o];r instanceof A&&(t||(e.__np=t={}),t[o]=r,n[o]=r.peek())}}i(e)});J("__r",function(i,e){if(i(e),e.type!==j){oe();var t,n=e.__c;n&&(n.__$f&=-2,(t=n.__$u)===void 0&&(n.__$u=t=(function(o,r){var a;return H(function(){a=this},{name:r}),a.c=o,a})((function(o){return function(){var r;bi&&((r=this.y)==null||r.call(this)),o.__$f|=1,o.setState({})}})(n),typeof e.type=="function"?e.type.displayName||e.type.name:""))),ke=n,oe(t)}});J("__e",function(i,e,t,n){oe(),ke=void 0,i(e,t,n)});J("diffed",function(i,e){oe(),ke=void 0;var t;if(typeof e.type=="string"&&(t=e.__e)){var n=e.__np,o=e.props,r=t.U;if(r)for(var a in r){var s=r[a];s===void 0||n&&a in n||(s.d(),r[a]=void 0)}if(n){r||(r={},t.U=r);for(var l in n){var h=r[l],c=n[l];h===void 0?(h=gi(t,l,c,o),r[l]=h):h.o(c,o)}}}i(e)});function gi(i,e,t,n){var o=e in i&&i.ownerSVGElement===void 0,r=p(t);return{o:function(a,s){r.value=a,n=s},d:H(function(){this.N=$t;var a=r.value.value;n[e]!==a&&(n[e]=a,o?i[e]=a:a!=null&&(a!==!1||e[4]==="-")?i.setAttribute(e,a):i.removeAttribute(e))})}}J("unmount",function(i,e){if(typeof e.type=="string"){var t=e.__e;if(t){var n=t.U;if(n){t.U=void 0;for(var o in n){var r=n[o];r&&r.d()}}}var a=e.__np;if(a){var s=e.props;for(var l in a)s[l]=a[l]}e.__np=void 0}else{var h=e.__c;if(h){h.__$f|=8;var c=h.__$u;c&&(h.__$u=void 0,c.d())}}i(e)});J("__h",function(i,e,t,n){n<3&&(e.__$f|=2),i(e,t,n)});K.prototype.shouldComponentUpdate=function(i,e){if(this.__R)return!0;var t=this.__$u,n=t&&t.s!==void 0;for(var o in e)return!0;if(this.__f||typeof this.u=="boolean"&&this.u===!0){var r=2&this.__$f;if(!(n||r||4&this.__$f)||1&this.__$f)return!0}else if(!(n||4&this.__$f)||3&this.__$f)return!0;for(var a in i)if(a!=="__source"&&i[a]!==this.props[a])return!0;for(var s in this.props)if(!(s in i))return!0;return!1};function Xe(i,e){return ve(function(){return p(i,e)},[])}var yi=function(i){queueMicrotask(function(){queueMicrotask(i)})};function ki(){M(function(){for(var i;i=Dt.shift();)Ut.call(i)})}function $t(){Dt.push(this)===1&&(m.requestAnimationFrame||yi)(ki)}function we(i,e){let t=e;try{let r=localStorage.getItem(`livesam.${i}`);r!==null&&(t=JSON.parse(r))}catch{}let n=p(t),o=t;return H(()=>{if(n.value!==o){o=n.value;try{localStorage.setItem(`livesam.${i}`,JSON.stringify(o))}catch{}}}),n}var f={tool:p("click"),brush:we("brush",12),opacity:we("opacity",.45),contrast:p(1),brightness:p(1),hover:we("hover",!1),theme:we("theme","auto"),masks:p(!0)};var Z=class i{constructor(e,t,n,o){this.width=e;this.height=t;this.box=n;this.pixels=o}width;height;box;pixels;tinted=new Map;edge=null;static whole(e,t,n){let[o,r,a,s]=[e,t,0,0];for(let h=0,c=0;h<t;h++)for(let _=0;_<e;_++,c++)n[c]&&(_<o&&(o=_),_>=a&&(a=_+1),h<r&&(r=h),s=h+1);if(a===0)return null;let l=new Uint8Array((a-o)*(s-r));for(let h=r;h<s;h++)l.set(n.subarray(h*e+o,h*e+a),(h-r)*(a-o));return new i(e,t,[o,r,a,s],l)}get cropWidth(){return this.box[2]-this.box[0]}get cropHeight(){return this.box[3]-this.box[1]}filled(){let e=new Uint8Array(this.width*this.height);for(let t=0;t<this.cropHeight;t++)e.set(this.pixels.subarray(t*this.cropWidth,(t+1)*this.cropWidth),(this.box[1]+t)*this.width+this.box[0]);return e}has(e,t){let[n,o,r,a]=this.box,[s,l]=[Math.floor(e),Math.floor(t)];return s<n||s>=r||l<o||l>=a?!1:this.pixels[(l-o)*this.cropWidth+s-n]===1}tint(e){let t=this.tinted.get(e);if(!t){t=new OffscreenCanvas(this.cropWidth,this.cropHeight);let n=t.getContext("2d"),o=n.createImageData(this.cropWidth,this.cropHeight),[r,a,s]=[1,3,5].map(c=>parseInt(e.slice(c,c+2),16)),l=(255<<24|s<<16|a<<8|r)>>>0,h=new Uint32Array(o.data.buffer);for(let c=0;c<h.length;c++)this.pixels[c]&&(h[c]=l);n.putImageData(o,0,0),this.tinted.set(e,t)}return t}outline(){if(this.edge)return this.edge;let e=new Path2D,[t,n,[o,r]]=[this.cropWidth,this.cropHeight,this.box],a=(s,l)=>s<0||l<0||s>=t||l>=n?0:this.pixels[l*t+s];for(let s=0;s<=n;s++)for(let l=0;l<t;){if(a(l,s)===a(l,s-1)){l++;continue}let h=l;for(;l<t&&a(l,s)!==a(l,s-1);)l++;e.moveTo(o+h,r+s),e.lineTo(o+l,r+s)}for(let s=0;s<=t;s++)for(let l=0;l<n;){if(a(s,l)===a(s-1,l)){l++;continue}let h=l;for(;l<n&&a(s,l)!==a(s-1,l);)l++;e.moveTo(o+s,r+h),e.lineTo(o+s,r+l)}return this.edge=e,e}};var xe=class{constructor(e,t,n,o,r){this.width=t;this.height=n;this.radius=o;this.value=r;this.pixels=e?e.filled():new Uint8Array(t*n)}width;height;radius;value;pixels;last=null;to(e,t){let[n,o]=this.last??[e,t],r=Math.max(1,Math.ceil(Math.hypot(e-n,t-o)/Math.max(.5,this.radius/2)));for(let a=1;a<=r;a++)this.dab(n+(e-n)*a/r,o+(t-o)*a/r);this.last=[e,t]}dab(e,t){let n=this.radius,[o,r]=[Math.max(0,Math.floor(t-n)),Math.min(this.height-1,Math.floor(t+n))];for(let l=o;l<=r;l++){let h=n*n-(l+.5-t)**2;if(h<0)continue;let c=Math.sqrt(h),_=Math.max(0,Math.round(e-c)),g=Math.min(this.width,Math.round(e+c));g>_&&this.pixels.fill(this.value,l*this.width+_,l*this.width+g)}let[a,s]=[Math.floor(e),Math.floor(t)];a>=0&&s>=0&&a<this.width&&s<this.height&&(this.pixels[s*this.width+a]=this.value)}get mask(){return Z.whole(this.width,this.height,this.pixels)}};var Me=class{constructor(e,t){this.stage=e;this.means=t;e.addEventListener("pointerdown",this.down),e.addEventListener("pointermove",this.move),e.addEventListener("pointerup",this.up),e.addEventListener("pointercancel",this.cancel),e.addEventListener("pointerleave",()=>t.leave()),e.addEventListener("contextmenu",n=>n.preventDefault()),e.addEventListener("wheel",this.wheel,{passive:!1})}stage;means;space=!1;press=null;fingers=new Map;place(e){let t=this.stage.getBoundingClientRect();return[e.clientX-t.left,e.clientY-t.top]}down=e=>{let[t,n]=this.place(e);if(this.stage.setPointerCapture?.(e.pointerId),e.pointerType==="touch"&&(this.fingers.set(e.pointerId,[t,n]),this.fingers.size>1))return this.giveUp();let o=e.button===1||e.button===0&&this.space,r=e.button===0&&!o&&this.means.paints();e.button===1&&e.preventDefault(),this.press={id:e.pointerId,x:t,y:n,button:e.button,shift:e.shiftKey,mode:o?"pan":r?"paint":"undecided",timer:null},r?this.means.stroke(t,n,"begin",e.timeStamp):e.pointerType==="touch"&&(this.press.timer=setTimeout(()=>this.longPress(),450))};longPress(){let e=this.press;e?.mode==="undecided"&&(e.mode="over",navigator.vibrate?.(15),this.means.click(e.x,e.y,!1,performance.now()))}move=e=>{let[t,n]=this.place(e);if(this.fingers.size>1&&this.fingers.has(e.pointerId))return this.pinch(e.pointerId,t,n);this.fingers.has(e.pointerId)&&this.fingers.set(e.pointerId,[t,n]);let o=this.press;if(!o||o.id!==e.pointerId){e.pointerType!=="touch"&&this.means.hover(t,n);return}if(o.mode==="pan")this.means.pan(t-o.x,n-o.y),[o.x,o.y]=[t,n];else if(o.mode==="paint"){for(let r of e.getCoalescedEvents?.()??[])this.means.stroke(...this.place(r),"go",e.timeStamp);this.means.stroke(t,n,"go",e.timeStamp)}else if(o.mode==="undecided"){let r=e.pointerType==="touch"?10:4;Math.hypot(t-o.x,n-o.y)>r&&o.button===0&&(o.mode="box"),o.mode==="box"&&o.timer&&clearTimeout(o.timer)}o.mode==="box"&&this.means.drawing([o.x,o.y,t,n])};up=e=>{let[t,n]=this.place(e);this.fingers.delete(e.pointerId);let o=this.press;!o||o.id!==e.pointerId||(this.press=null,o.timer&&clearTimeout(o.timer),o.mode==="undecided"&&o.button!==1&&this.means.click(o.x,o.y,o.button===0&&!o.shift,e.timeStamp),o.mode==="paint"&&this.means.stroke(t,n,"end",e.timeStamp),o.mode==="box"&&(this.means.drawing(null),this.means.box([Math.min(o.x,t),Math.min(o.y,n),Math.max(o.x,t),Math.max(o.y,n)],e.timeStamp)))};cancel=e=>{this.fingers.delete(e.pointerId),this.giveUp()};giveUp(){let e=this.press;this.press=null,e?.timer&&clearTimeout(e.timer),e?.mode==="box"&&this.means.drawing(null),e?.mode==="paint"&&this.means.stroke(e.x,e.y,"end",performance.now())}pinch(e,t,n){let o=[...this.fingers].find(([h])=>h!==e)[1],[r,a]=this.fingers.get(e);this.fingers.set(e,[t,n]);let s=Math.hypot(r-o[0],a-o[1]),l=Math.hypot(t-o[0],n-o[1]);this.means.pan((t-r)/2,(n-a)/2),s>8&&this.means.zoom(l/s,(t+o[0])/2,(n+o[1])/2)}wheel=e=>{e.preventDefault();let t=e.deltaMode===WheelEvent.DOM_DELTA_LINE?16:1,n=e.ctrlKey?.01:.0015;this.means.zoom(Math.exp(-e.deltaY*t*n),...this.place(e))}};var Se="rgba(0, 0, 0, 0.55)";function Je(i,e,t){let[n,o]=t.mask.box;if(i.imageSmoothingEnabled=e.scale<1,i.globalAlpha=t.opacity,t.opacity>0&&i.drawImage(t.mask.tint(t.color),n,o),i.globalAlpha=1,t.line===0)return;let r=t.mask.outline();i.lineJoin="round",i.setLineDash([]),i.strokeStyle=Se,i.lineWidth=(t.line+1.5)/e.scale,i.stroke(r),t.dashed&&i.setLineDash([5/e.scale,4/e.scale]),i.strokeStyle=t.color,i.lineWidth=t.line/e.scale,i.stroke(r),i.setLineDash([])}function Wt(i,e,t){let n=t.findLast(o=>o.op==="box");n?.op==="box"&&Ze(i,e,n.box);for(let o of t)o.op==="click"&&wi(i,e,o.x,o.y,o.positive)}function wi(i,e,t,n,o){let r=1/e.scale;i.beginPath(),i.arc(t,n,7*r,0,2*Math.PI),i.fillStyle=o?"#1b7f3b":"#c62f2f",i.fill(),i.lineWidth=1.5*r,i.strokeStyle="#fff",i.stroke(),i.beginPath(),i.moveTo(t-3.5*r,n),i.lineTo(t+3.5*r,n),o&&(i.moveTo(t,n-3.5*r),i.lineTo(t,n+3.5*r)),i.lineWidth=2*r,i.stroke()}function Ze(i,e,[t,n,o,r]){for(let[a,s]of[[Se,3.5],["#fff",1.5]])i.strokeStyle=a,i.lineWidth=s/e.scale,i.setLineDash(a===Se?[]:[6/e.scale,4/e.scale]),i.strokeRect(t,n,o-t,r-n);i.setLineDash([])}function Ye(i,e,t,n,o){for(let[r,a]of[[Se,3],["#fff",1.25]])i.beginPath(),i.arc(t,n,o,0,2*Math.PI),i.strokeStyle=r,i.lineWidth=a/e.scale,i.stroke()}var xi="#56b4e9",Mi="#e69f00",Si="#f0e442";function Qe(i){let e=[],t=f.opacity.value,n=i.editing.value?.id;if(f.masks.value)for(let r of i.objects.all.value){let a=i.objects.masks.value.get(r.id);a&&r.id!==n&&e.push({mask:a,color:i.colorOf(r.label),opacity:t*.7,line:1})}i.proposals.all.value.forEach((r,a)=>{let s=a===i.proposals.at.value;e.push({mask:r.mask,color:Si,opacity:s?t:0,line:s?2.5:1.25,dashed:!s})});let o=i.colorOf(i.label.value);if(i.comparison.value.length>0)for(let{mask:r,entry:a}of i.comparison.value)r&&e.push({mask:r,color:a.name==="original"?Mi:xi,opacity:.12,line:2,dashed:a.name==="original"});else i.mask.value?e.push({mask:i.mask.value,color:o,opacity:t,line:1.75}):i.preview.value&&e.push({mask:i.preview.value,color:o,opacity:t*.6,line:1,dashed:!0});return e}function zt(i,e,t,n){let o=Math.min(24,t/20),r=Math.min((t-2*o)/i,(n-2*o)/e,8);return{scale:r,x:(t-i*r)/2,y:(n-e*r)/2}}function et(i,e,t,n){let o=Math.min(40,Math.max(.02,i.scale*e)),r=o/i.scale;return{scale:o,x:t-(t-i.x)*r,y:n-(n-i.y)*r}}function Bt(i,e,t){return{...i,x:i.x+e,y:i.y+t}}function Vt(i,e,t){return[(e-i.x)/i.scale,(t-i.y)/i.scale]}var Ai=Symbol.for("pv"),Ci=0;function d(i,e,t,n,o,r){e||(e={});var a,s,l=e;if("ref"in l&&typeof i!="function")for(s in l={},e)s=="ref"?a=e[s]:l[s]=e[s];var h={type:i,props:l,key:t,ref:a,__k:null,__:null,__b:0,__e:null,__c:null,constructor:Ai,__v:--Ci,__i:-1,__u:0};return(o||r)&&(h.__source=o,h.__self=r),m.vnode&&m.vnode(h),h}function qt({annotator:i,onReady:e}){let t=G(null),n=Xe(!1);q(()=>{let r=new tt(t.current,i,a=>n.value=a);return e(r),()=>r.close()},[i]);let o=f.tool.value!=="click";return d("div",{ref:t,class:`stage ${n.value?"stage--pan":o?"stage--paint":""}`,tabIndex:0,role:"application","aria-roledescription":"annotation canvas","aria-label":Ti(i),children:[d("canvas",{class:"stage__image","aria-hidden":"true",style:{filter:`contrast(${f.contrast.value}) brightness(${f.brightness.value})`}}),d("canvas",{class:"stage__over","aria-hidden":"true"})]})}function Ti(i){let e=i.image.value;return e?`${e.name}, ${e.width} by ${e.height} pixels. Click adds, right click removes, drag draws a box. Alt with arrow keys moves a cross; period adds there, comma removes.`:"No image is open"}var tt=class{constructor(e,t,n){this.element=e;this.annotator=t;this.onHold=n;[this.base,this.over]=[...e.querySelectorAll("canvas")],this.gestures=new Me(e,this.meanings());let o=new ResizeObserver(()=>this.resize());o.observe(e),this.stops.push(()=>o.disconnect()),this.stops.push(H(()=>{let[r,a]=[t.image.value,t.bitmap.value];r&&a&&this.shown!==r.id&&(this.shown=r.id,this.cross=null,this.fit()),this.later(!0)})),this.stops.push(H(()=>{Qe(t),t.steps.value,f.tool.value,f.brush.value,this.later(!1)}))}element;annotator;onHold;base;over;gestures;stops=[];place={scale:1,x:0,y:0};shown="";box=null;stroke=null;pointer=null;cross=null;asked=0;stale={base:!0};close(){this.stops.forEach(e=>e()),cancelAnimationFrame(this.asked)}view(){return this.place}fit(){let e=this.annotator.image.value;e&&this.go(zt(e.width,e.height,this.element.clientWidth,this.element.clientHeight))}zoom(e){this.go(et(this.place,e,this.element.clientWidth/2,this.element.clientHeight/2))}actual(){this.zoom(1/this.place.scale)}hold(e){this.gestures.space=e,this.onHold(e)}nudge(e,t){let n=this.annotator.image.value;if(!n)return;let[o,r]=this.cross??[n.width/2,n.height/2],a=(s,l)=>Math.min(l-1,Math.max(0,s));this.cross=[a(o+e/this.place.scale,n.width),a(r+t/this.place.scale,n.height)],this.later(!1)}clickCross(e){this.cross?this.annotator.click(...this.cross,e,performance.now()):this.nudge(0,0)}go(e){this.place=e,this.later(!0)}meanings(){let{annotator:e}=this,t=(o,r)=>Vt(this.place,o,r),n=([o,r,a,s])=>[...t(o,r),...t(a,s)];return{click:(o,r,a,s)=>e.click(...t(o,r),a,s),box:(o,r)=>e.box(n(o),r),drawing:o=>{this.box=o&&n(o),this.later(!1)},pan:(o,r)=>this.go(Bt(this.place,o,r)),zoom:(o,r,a)=>this.go(et(this.place,o,r,a)),hover:(o,r)=>{this.pointer=t(o,r),f.tool.value!=="click"?this.later(!1):f.hover.value&&e.hover(...this.pointer)},leave:()=>{this.pointer=null,e.preview.value=null,this.later(!1)},paints:()=>f.tool.value!=="click"&&e.ready.value,stroke:(o,r,a,s)=>this.brushed(t(o,r),a,s)}}brushed(e,t,n){let o=this.annotator.image.value;o&&(this.pointer=e,t==="begin"&&(this.stroke=new xe(this.annotator.mask.value,o.width,o.height,f.brush.value/2,f.tool.value==="brush"?1:0)),this.stroke&&(this.stroke.to(...e),t==="end"&&(this.annotator.paint(this.stroke.mask,n),this.stroke=null),this.later(!1)))}resize(){let e=window.devicePixelRatio||1;for(let t of[this.base,this.over])t.width=Math.round(this.element.clientWidth*e),t.height=Math.round(this.element.clientHeight*e);this.annotator.image.value&&this.fit(),this.later(!0)}later(e){this.stale.base||=e,this.asked||(this.asked=requestAnimationFrame(()=>this.draw()))}draw(){this.asked=0,this.stale.base&&this.drawImage(),this.stale.base=!1;let e=this.cleared(this.over);if(!this.annotator.bitmap.value)return;let{place:t,annotator:n,stroke:o}=this;for(let r of Qe(n))o!==null&&r.mask===n.mask.value||Je(e,t,r);o?.mask&&Je(e,t,{mask:o.mask,color:n.colorOf(n.label.value),opacity:f.opacity.value,line:1.75}),Wt(e,t,n.steps.value),this.box&&Ze(e,t,this.box),this.cross&&Ye(e,t,...this.cross,5/t.scale),this.pointer&&f.tool.value!=="click"&&Ye(e,t,...this.pointer,f.brush.value/2),n.latency.drawn()}drawImage(){let e=this.cleared(this.base),t=this.annotator.bitmap.value;t&&(e.imageSmoothingEnabled=this.place.scale<3,e.imageSmoothingQuality="high",e.drawImage(t,0,0))}cleared(e){let t=e.getContext("2d"),n=window.devicePixelRatio||1;t.setTransform(1,0,0,1,0,0),t.clearRect(0,0,e.width,e.height);let{scale:o,x:r,y:a}=this.place;return t.setTransform(o*n,0,0,o*n,r*n,a*n),t}};var Ei=3500,Pi=9e3;function Ft({annotator:i}){let e=i.notice.value;return q(()=>{if(!e)return;let t=setTimeout(()=>i.notice.value=null,e.bad?Pi:Ei);return()=>clearTimeout(t)},[e]),d("div",{class:"notices",role:"status","aria-live":e?.bad?"assertive":"polite",children:e&&d("div",{class:e.bad?"notice notice--bad":"notice",children:e.text})})}var Li=[["Object","accept","enter f","Accept the mask"],["Object","rough","shift+enter","Accept a rough mask (teaches less)"],["Object","undo","ctrl+z","Undo"],["Object","redo","ctrl+shift+z ctrl+y","Redo"],["Object","reset","escape","Start the object over"],["Object","cycle","tab","Next of the masks that the first click could mean"],["Object","compare","c","Compare with the original decoder"],["Tools","click","v","Click and box"],["Tools","brush","b","Brush"],["Tools","eraser","e","Eraser"],["Tools","smaller","[","Smaller brush"],["Tools","larger","]","Larger brush"],["Segment the rest","propose","g","Look for more like the accepted ones"],["Segment the rest","take","y","Accept the proposal"],["Segment the rest","drop","n","Discard the proposal"],["Images","next","d arrowright","Next image"],["Images","previous","a arrowleft","Previous image"],["Images","done","shift+d","This image is done, next one"],["View","zoomIn","+ =","Zoom in (or the wheel)"],["View","zoomOut","-","Zoom out"],["View","fit","0","Whole image"],["View","actual","z","One pixel to one"],["View","masks","m","Show or hide accepted masks"],["View","hover","h","Preview under the mouse, on or off"],["View","help","?","This sheet"],["Without a mouse","up","alt+arrowup","Move the cross up (Shift: one pixel)"],["Without a mouse","down","alt+arrowdown","Move the cross down"],["Without a mouse","left","alt+arrowleft","Move the cross left"],["Without a mouse","right","alt+arrowright","Move the cross right"],["Without a mouse","add",".","Add at the cross"],["Without a mouse","remove",",","Remove at the cross"]],Gt=Li.map(([i,e,t,n])=>({group:i,action:e,keys:t.split(" "),text:n}));var Kt=new Map(Gt.flatMap(i=>i.keys.map(e=>[e,i.action])));function Xt(i){let e=i.key.toLowerCase(),t=`${i.ctrlKey||i.metaKey?"ctrl+":""}${i.altKey?"alt+":""}`,n=Kt.get(t+e),o=i.shiftKey?Kt.get(`${t}shift+${e}`):void 0;return o||(i.shiftKey&&/^[a-z]$|^enter$|^tab$/.test(e)?null:n??null)}var Oi={arrowright:"\u2192",arrowleft:"\u2190",arrowup:"\u2191",arrowdown:"\u2193",escape:"Esc",enter:"Enter",tab:"Tab",ctrl:"Ctrl",shift:"Shift",alt:"Alt"};function Hi(i){return(i.length===1?[i]:i.split("+")).map(t=>Oi[t]??t.toUpperCase()).join("+")}function it(i){return Hi(Gt.find(e=>e.action===i).keys[0])}var ji={click:"M4 3l5.5 13 2-5.2L17 9z",brush:"M16.5 3.5l-7 7M9 10c2 .4 2.7 2 2 3.7-.7 1.8-3.500 2.800-7 2.300 1.200-.8 1.300-1.800 1.500-3C5.900 11 7.500 9.700 9 10z",eraser:"M8.500 16.500H16M11 4.500l5 5-6.500 7H7l-4-4z M7 8.500l5 5",undo:"M7 4L3.500 7.500 7 11M3.500 7.500H12a4.500 4.500 0 0 1 0 9H8",redo:"M13 4l3.500 3.500L13 11M16.500 7.500H8a4.500 4.500 0 0 0 0 9h4",reset:"M5 5l10 10M15 5L5 15",accept:"M4 10.500l4 4 8-9",previous:"M12 4l-6 6 6 6",next:"M8 4l6 6-6 6",cycle:"M4 8V4h8v8h-4M8 8h8v8H8z",compare:"M10 3v14M8 6H4v8h4M12 6h4v8h-4",rest:"M4 4h4v4H4zM12 4h4v4h-4zM4 12h4v4H4zM14 11.500v5M11.500 14h5",fit:"M4 8V4h4M12 4h4v4M16 12v4h-4M8 16H4v-4",plus:"M10 4v12M4 10h12",minus:"M4 10h12",edit:"M4 16l.8-3.200L13 4.600l2.400 2.400-8.200 8.200z",remove:"M4.500 6h11M8 6V4h4v2M6 6l.8 10h6.400L14 6",help:"M7.500 7.500a2.500 2.500 0 1 1 3.600 2.300c-.8.400-1.100.9-1.100 1.700M10 14.500v.3",light:"M10 6.500a3.500 3.500 0 1 0 0 7 3.500 3.500 0 0 0 0-7zM10 2v2M10 16v2M2 10h2M16 10h2M4.300 4.300l1.400 1.400M14.300 14.300l1.400 1.400M4.300 15.700l1.400-1.400M14.300 5.700l1.400-1.400",dark:"M16 11.500A6.500 6.500 0 0 1 8.500 4a6.500 6.500 0 1 0 7.500 7.500z",auto:"M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM10 3v14M13 4v12",out:"M10 3v9M6.500 8.500L10 12l3.500-3.500M4 16h12",done:"M3.500 10.500l3.500 3.500 6-7M10.500 13.500l.5.500 6-7",panel:"M3 4h14v12H3zM12 4v12"};function Jt({name:i}){return d("svg",{class:"icon",viewBox:"0 0 20 20",width:"18",height:"18","aria-hidden":"true",focusable:"false",children:d("path",{d:ji[i],fill:"none",stroke:"currentColor","stroke-width":"1.6","stroke-linecap":"round","stroke-linejoin":"round"})})}function E({icon:i,label:e,action:t,onClick:n,pressed:o,disabled:r,primary:a,quiet:s,children:l}){return d("button",{type:"button",class:`button ${a?"button--primary":""} ${s?"button--quiet":""}`,title:t?`${e} (${it(t)})`:e,"aria-label":e,"aria-pressed":o,"aria-keyshortcuts":t?it(t):void 0,disabled:r,onClick:h=>{n(),h.detail>0&&h.currentTarget.getRootNode().querySelector(".stage")?.focus({preventScroll:!0})},children:[i&&d(Jt,{name:i}),!s&&d("span",{children:l??e})]})}function Zt({annotator:i,stage:e,step:t}){let{tool:n}=f,o=n.value!=="click",r=i.ready.value,a=i.candidates.value.length,s=i.steps.value.length===1&&i.steps.value[0].op==="click";return d("div",{class:"toolbar",role:"toolbar","aria-label":"Tools",children:[d("div",{class:"group",children:[d(E,{quiet:!0,icon:"click",label:"Click and box",action:"click",pressed:!o,onClick:()=>n.value="click"}),d(E,{quiet:!0,icon:"brush",label:"Brush",action:"brush",pressed:n.value==="brush",onClick:()=>n.value="brush"}),d(E,{quiet:!0,icon:"eraser",label:"Eraser",action:"eraser",pressed:n.value==="eraser",onClick:()=>n.value="eraser"}),o&&d("label",{class:"range",title:"Brush size ([ and ])",children:[d("span",{class:"unseen",children:"Brush size in pixels"}),d("input",{type:"range",min:1,max:120,value:f.brush.value,onInput:l=>f.brush.value=Number(l.currentTarget.value)}),d("output",{children:[f.brush.value," px"]})]})]}),d("div",{class:"group",children:[d(E,{quiet:!0,icon:"undo",label:"Undo",action:"undo",disabled:i.steps.value.length===0,onClick:()=>i.undo()}),d(E,{quiet:!0,icon:"redo",label:"Redo",action:"redo",disabled:i.undone.value.length===0,onClick:()=>i.redo()}),d(E,{quiet:!0,icon:"reset",label:"Start over",action:"reset",disabled:!i.started.value,onClick:()=>i.reset()}),d(E,{quiet:!0,icon:"cycle",label:"Other masks for this click",action:"cycle",disabled:!s,onClick:()=>{i.cycle()}}),a>0&&d("span",{class:"chip",children:[i.choice.value+1," of ",a]})]}),d("div",{class:"group",children:[d(E,{primary:!0,icon:"accept",label:"Accept",action:"accept",disabled:!i.mask.value,onClick:()=>{i.accept()}}),d(E,{label:"Rough",action:"rough",disabled:!i.mask.value,onClick:()=>{i.accept(!0)}})]}),d("div",{class:"group group--end",children:[d(E,{quiet:!0,icon:"minus",label:"Zoom out",action:"zoomOut",disabled:!r,onClick:()=>e()?.zoom(.8)}),d(E,{quiet:!0,icon:"fit",label:"Whole image",action:"fit",disabled:!r,onClick:()=>e()?.fit()}),d(E,{quiet:!0,icon:"plus",label:"Zoom in",action:"zoomIn",disabled:!r,onClick:()=>e()?.zoom(1.25)}),t&&d(j,{children:[d("span",{class:"rule"}),d(E,{quiet:!0,icon:"previous",label:"Previous image",action:"previous",onClick:()=>t(-1)}),d(E,{quiet:!0,icon:"done",label:"This image is done, next",action:"done",onClick:()=>t(1,!0)}),d(E,{quiet:!0,icon:"next",label:"Next image",action:"next",onClick:()=>t(1)})]})]})]})}var Ni=12;function Yt(i,e,t,n){let o=i.target;if(o.matches("input:not([type=range]):not([type=checkbox]), select, textarea")||o.closest("button, a, summary, [role=menuitem], input")!==null&&["Enter"," ","Tab"].includes(i.key)||o.matches("input[type=range]")&&i.key.startsWith("Arrow"))return!1;if(i.key===" ")return t.hold(i.type==="keydown"),!0;if(i.type!=="keydown")return!1;if(/^[1-9]$/.test(i.key)&&!i.ctrlKey&&!i.altKey&&!i.metaKey){let l=e.labels.value[Number(i.key)-1];return l&&(e.label.value=l.name),l!==void 0}let a=Xt(i);if(a===null||a==="cycle"&&!(e.steps.value.length===1&&e.steps.value[0].op==="click"))return!1;let s=n[a]??Ii(a,e,t,i.shiftKey);return s?.(),s!==void 0}function Ii(i,e,t,n){let o=n?t.view().scale:Ni;return{undo:()=>e.undo(),redo:()=>e.redo(),reset:()=>e.reset(),accept:()=>{e.accept()},rough:()=>{e.accept(!0)},cycle:()=>{e.cycle()},compare:()=>{e.compare()},click:()=>{f.tool.value="click"},brush:()=>{f.tool.value="brush"},eraser:()=>{f.tool.value="eraser"},smaller:()=>{f.brush.value=Math.max(1,Math.round(f.brush.value/1.25))},larger:()=>{f.brush.value=Math.min(400,Math.round(f.brush.value*1.25)+1)},propose:()=>{e.proposals.ask()},take:()=>{e.proposals.decide(!0)},drop:()=>{e.proposals.decide(!1)},fit:()=>t.fit(),actual:()=>t.actual(),zoomIn:()=>t.zoom(1.25),zoomOut:()=>t.zoom(.8),masks:()=>{f.masks.value=!f.masks.value},hover:()=>{f.hover.value=!f.hover.value},left:()=>t.nudge(-o,0),right:()=>t.nudge(o,0),up:()=>t.nudge(0,-o),down:()=>t.nudge(0,o),add:()=>t.clickCross(!0),remove:()=>t.clickCross(!1)}[i]}var zn=new Uint8Array(0);function Ui(i,e,t){let n=e+7>>3;if(i.length<n*t)throw new Error(`a mask of ${e} x ${t} came with ${i.length} bytes`);let o=new Uint8Array(e*t);for(let r=0;r<t;r++){let a=r*n;for(let s=0,l=r*e;s<e;s++,l++)o[l]=i[a+(s>>3)]>>7-(s&7)&1}return o}function Qt(i,e,t){let n=e+7>>3,o=new Uint8Array(n*t);for(let r=0;r<t;r++)for(let a=0;a<e;a++)i[r*e+a]&&(o[r*n+(a>>3)]|=128>>(a&7));return o}function re(i){let{width:e,height:t,box:n}=i.header;return ei(e??0,t??0,n??null,i.payload)}function ae(i,e,t){return(i.header.masks??[]).map(n=>({entry:n,mask:ei(e,t,n.box,i.payload.subarray(n.offset,n.offset+n.length))}))}function ei(i,e,t,n){return t===null||t[2]<=t[0]||t[3]<=t[1]?null:new Z(i,e,t,Ui(n,t[2]-t[0],t[3]-t[1]))}var $=class extends Error{constructor(){super("the server went away before it answered")}},nt=class extends Error{constructor(t,n){super(n);this.code=t}code},Ae=class{open=new Map;last=0;next(){let e=++this.last,t=new Promise((n,o)=>this.open.set(e,{resolve:n,reject:o}));return t.catch(()=>{}),{id:e,reply:t}}settle(e){let{re:t,error:n}=e.header;if(t===void 0)return!1;let o=this.open.get(t);return this.open.delete(t),n?o?.reject(new nt(n.code,n.message)):o?.resolve(e),!0}failAll(){let e=[...this.open.values()];this.open.clear();for(let t of e)t.reject(new $)}fail(e){let t=this.open.get(e);this.open.delete(e),t?.reject(new $)}};var Di=200,Ce=class{samples=p([]);p50=L(()=>ti(this.samples.value,.5));p95=L(()=>ti(this.samples.value,.95));since=null;underWay=0;get painting(){return this.since!==null||this.underWay>0}expect(e){this.since=e}drawn(){let e=this.since;if(e===null)return;this.since=null,this.underWay++;let t=new MessageChannel;t.port1.onmessage=()=>{this.samples.value=[...this.samples.value.slice(1-Di),performance.now()-e],t.port1.close(),this.underWay--},t.port2.postMessage(null)}};function ti(i,e){if(i.length===0)return null;let t=[...i].sort((n,o)=>n-o);return t[Math.min(t.length-1,Math.ceil(e*t.length)-1)]}var Te=class{constructor(e){this.owner=e}owner;all=p([]);masks=p(new Map);onCount=()=>{};clear(){this.all.value=[],this.masks.value=new Map}add(e,t,n=null){let o=n?.id??e.id,r=new Map(this.masks.value);r.delete(o),t&&r.set(e.id,t),this.set([...this.all.value.filter(a=>a.id!==o&&a.id!==e.id),e],r),this.owner.say(`Saved ${e.label||"the object"}: ${e.clicks} ${e.clicks===1?"click":"clicks"}.`)}async remove(e){await this.owner.track(async()=>{await this.owner.backend.remove(e.id);let t=new Map(this.masks.value);t.delete(e.id),this.set(this.all.value.filter(n=>n.id!==e.id),t),this.owner.say(`Deleted ${e.label||"the object"}.`)})}async relabel(e,t){await this.owner.track(async()=>{await this.owner.backend.relabel(e.id,t),this.all.value=this.all.value.map(n=>n.id===e.id?{...n,label:t}:n)})}async loadMasks(){let e=this.owner.image.value?.id;for(let t of this.all.value){if(this.masks.value.has(t.id))continue;let n=await this.owner.backend.objectMask(t.id).catch(()=>null);if(this.owner.image.value?.id!==e)return;n&&(this.masks.value=new Map(this.masks.value).set(t.id,n))}}set(e,t){M(()=>{this.all.value=e,this.masks.value=t}),this.onCount(this.owner.image.value.id,e.length)}};var Ee=class{constructor(e){this.owner=e}owner;all=p([]);at=p(0);busy=p(!1);current=L(()=>this.all.value[this.at.value]??null);clear(){M(()=>{this.all.value=[],this.at.value=0})}async ask(){let e=this.owner.image.value;if(!e||this.busy.value)return;if(this.owner.started.value)return this.owner.say("Accept or reset the current object first.");if(this.owner.objects.all.value.length===0)return this.owner.say("Accept an object or two first; then livesam looks for more like them.");this.busy.value=!0,this.owner.say("Looking for more like these\u2026");let t=await this.owner.track(()=>this.owner.wire.send("propose",{label:this.owner.label.value}).reply);if(this.busy.value=!1,!t||this.owner.image.value?.id!==e.id)return;let n=ae(t,e.width,e.height);M(()=>{this.all.value=n.flatMap(({entry:r,mask:a})=>a?[{id:r.id,mask:a,iou:r.iou}]:[]),this.at.value=0});let o=this.all.value.length;this.owner.say(o?`${o} found: Y accepts, N discards.`:"Found nothing alike on this image.")}async decide(e){let t=this.current.value;if(!t)return;this.without(t);let n=e?{proposal:t.id,label:this.owner.label.value}:{proposal:t.id},o=await this.owner.track(()=>this.owner.wire.send(e?"take":"drop",n).reply);o?.header.object&&this.owner.objects.add(o.header.object,t.mask),o&&this.all.value.length===0&&this.owner.say("All proposals are decided.")}async dropAll(){for(;this.current.value;)await this.decide(!1)}select(e){this.at.value=e}without(e){M(()=>{this.all.value=this.all.value.filter(t=>t!==e),this.at.value=Math.min(this.at.value,Math.max(0,this.all.value.length-1))})}};function ot(i,e){if(e.op==="click")return i.send("click",{x:e.x,y:e.y,positive:e.positive});if(e.op==="box"){let[n,o,r,a]=e.box;return i.send("box",{x0:n,y0:o,x1:r,y1:a})}let{mask:t}=e;return i.send("paint",{box:t.box},Qt(t.pixels,t.cropWidth,t.cropHeight))}function ii(i,e){let t=null;for(let n of e)t=ot(i,n),n.op==="click"&&n.choice!==void 0&&(i.send("candidates"),t=i.send("choose",{index:n.choice}));return t}var Pe=class{constructor(e){this.backend=e}backend;image=p(null);bitmap=p(null);ready=p(!1);steps=p([]);undone=p([]);mask=p(null);iou=p(null);version=p(null);candidates=p([]);choice=p(0);preview=p(null);comparison=p([]);editing=p(null);labels=p([]);label=p("");notice=p(null);waiting=p(0);latency=new Ce;objects=new Te(this);proposals=new Ee(this);catchingUp=p(!1);live=L(()=>this.wire.state.value==="open"&&!this.catchingUp.value);settled=L(()=>this.live.value&&this.ready.value&&this.waiting.value===0&&this.saving.value===null);started=L(()=>this.steps.value.length>0||this.editing.value!==null);latest=0;hovering=null;saving=p(null);levels=null;get wire(){return this.backend.wire}say(e,t=!1){this.notice.value={text:e,bad:t}}fail(e){e instanceof $||this.say(e instanceof Error?e.message:String(e),!0)}colorOf(e){return this.labels.value.find(t=>t.name===e)?.color??"#2f9e8f"}async open(e){M(()=>{this.forget(),this.ready.value=!1,this.bitmap.value=null,this.objects.clear(),this.proposals.clear(),this.levels=null});let t=this.wire.send("open",{image:e});this.latest=t.id;try{let n=await this.backend.details(e);if(this.latest!==t.id)return;M(()=>{this.image.value=n,this.objects.all.value=n.objects});let o=await this.backend.pixels(e,null);if(this.image.value?.id!==e||(this.bitmap.value=o,await t.reply,this.image.value?.id!==e))return;this.ready.value=!0,await this.objects.loadMasks()}catch(n){this.fail(n)}}async setLevels(e){let t=this.image.value;if(t){this.levels=e;try{let n=await this.backend.pixels(t.id,e);this.levels===e&&this.image.value?.id===t.id&&(this.bitmap.value=n)}catch(n){this.fail(n)}}}click(e,t,n,o){let r=this.image.value;if(!(!r||!this.ready.value)&&!(e<0||t<0||e>=r.width||t>=r.height)){if(!n&&this.steps.value.length===0&&!this.editing.value)return this.say("Click on the object first; then remove what does not belong to it.");this.advance({op:"click",x:e,y:t,positive:n},o)}}box(e,t){let n=this.image.value;if(!n||!this.ready.value)return;let[o,r]=[Math.max(0,e[0]),Math.max(0,e[1])],[a,s]=[Math.min(n.width,e[2]),Math.min(n.height,e[3])];a-o>=1&&s-r>=1&&this.advance({op:"box",box:[o,r,a,s]},t)}paint(e,t){if(!this.image.value||!this.ready.value)return;if(!e)return this.say("Nothing would be left of the object: Esc starts it over.");let n=this.mask.value;this.mask.value=e,this.advance({op:"paint",mask:e},t,()=>this.mask.value=n)}advance(e,t,n=()=>{}){M(()=>{this.steps.value=[...this.steps.value,e],this.undone.value=[],this.aside()}),this.live.value&&this.show(ot(this.wire,e),t,()=>{this.steps.value=this.steps.value.filter(o=>o!==e),n()})}undo(){let e=this.steps.value.at(-1);if(!e)return this.say("Nothing to undo.");M(()=>{this.steps.value=this.steps.value.slice(0,-1),this.undone.value=[...this.undone.value,e],this.aside()}),this.live.value&&this.show(this.wire.send("undo"),performance.now())}redo(){let e=this.undone.value.at(-1);if(!e)return this.say("Nothing to redo.");M(()=>{this.undone.value=this.undone.value.slice(0,-1),this.steps.value=[...this.steps.value,e],this.aside()}),this.live.value&&this.show(this.wire.send("redo"),performance.now())}reset(){if(!this.started.value)return;this.forget();let e=this.wire.send("reset");this.latest=e.id,e.reply.catch(t=>this.fail(t)),this.say("Started over.")}async track(e){this.waiting.value++;try{return await e()}catch(t){this.fail(t);return}finally{this.waiting.value--}}async cycle(){let[e,...t]=this.steps.value;if(!e||t.length>0||e.op!=="click")return this.say("Other masks are offered after the first click only.");let n=this.image.value;if(this.candidates.value.length===0){let r=await this.track(()=>this.wire.send("candidates").reply);if(!r||this.steps.value[0]!==e||this.steps.value.length>1)return;this.candidates.value=ae(r,n.width,n.height),this.choice.value=this.shownCandidate()}let o=this.candidates.value.length;o!==0&&(this.choice.value=(this.choice.value+1)%o,this.steps.value=[{...e,choice:this.choice.value}],this.show(this.wire.send("choose",{index:this.choice.value}),performance.now()),this.say(`Mask ${this.choice.value+1} of ${o}.`))}shownCandidate(){let e=t=>String(t.mask?.box)===String(this.mask.value?.box);return Math.max(0,this.candidates.value.findIndex(e))}async hover(e,t){let n=this.image.value;if(!n||!this.ready.value||this.started.value||this.hovering!==null)return;if(e<0||t<0||e>=n.width||t>=n.height)return void(this.preview.value=null);let o=this.wire.send("preview",{x:e,y:t});this.hovering=o.id;try{let r=await o.reply;!this.started.value&&this.image.value?.id===n.id&&(this.preview.value=re(r))}catch{}finally{this.hovering=null}}async compare(){let e=this.image.value;if(!e)return;if(this.comparison.value.length>0)return void(this.comparison.value=[]);if(!this.started.value)return this.say("Click on an object first; then compare.");let t=await this.track(()=>this.wire.send("compare").reply);t&&(this.comparison.value=ae(t,e.width,e.height))}async accept(e=!1){let t=this.image.value;if(!t||this.saving.value)return;if(!this.mask.value)return this.say("Nothing to accept yet: click on an object.");if(!this.live.value)return this.say("The server is away: accept when it is back.",!0);let n=this.label.value,[o,r]=[this.mask.value,this.editing.value];this.saving.value={steps:this.steps.value,mask:o,editing:r,known:this.objects.all.value.length};let a=this.wire.send("accept",{label:n,rough:e});this.latest=a.id,this.forget();try{let{header:s}=await a.reply;s.object&&this.image.value?.id===t.id&&this.objects.add(s.object,o,r),this.saving.value=null}catch(s){s instanceof $||(this.takeBack(),this.fail(s))}}edit(e){if(this.started.value)return this.say("Accept or reset the current object first.");M(()=>{this.editing.value=e,this.mask.value=this.objects.masks.value.get(e.id)??null,e.label&&(this.label.value=e.label)}),this.show(this.wire.send("edit",{object:e.id}),performance.now(),()=>this.editing.value=null)}async resume(){let e=this.image.value;if(!e)return;let[t,n]=[this.saving.value,this.editing.value];this.saving.value=null;let o=this.wire.send("open",{image:e.id});this.latest=o.id;let r=await this.backend.details(e.id);if(await o.reply,this.image.value?.id!==e.id)return;M(()=>{this.image.value=r,this.objects.all.value=r.objects,this.undone.value=[],this.ready.value=!0}),t&&(t.editing!==null||r.objects.length<=t.known)&&!this.started.value&&M(()=>{this.steps.value=t.steps,this.editing.value=t.editing});let a=this.editing.value??n,s=a?this.wire.send("edit",{object:a.id}):null;s=ii(this.wire,this.steps.value)??s,this.catchingUp.value=!1,s&&this.show(s,performance.now()),this.objects.loadMasks(),this.bitmap.value||(this.bitmap.value=await this.backend.pixels(e.id,this.levels))}show(e,t,n=()=>{}){this.latest=e.id,this.waiting.value++,e.reply.then(o=>{this.latest===e.id&&this.take(o,t)}).catch(o=>{o instanceof $||n(),this.fail(o)}).finally(()=>this.waiting.value--)}take(e,t){let{iou:n,version:o}=e.header;M(()=>{this.mask.value=re(e),this.iou.value=n??null,this.version.value=o??null,this.latency.expect(t)})}aside(){this.preview.value=null,this.comparison.value=[],this.candidates.value=[],this.choice.value=0}forget(){M(()=>{this.steps.value=[],this.undone.value=[],this.mask.value=null,this.iou.value=null,this.editing.value=null,this.aside()})}takeBack(){let e=this.saving.value;this.saving.value=null,!(!e||this.started.value)&&M(()=>{this.steps.value=e.steps,this.mask.value=e.mask,this.editing.value=e.editing})}};var Le=class{constructor(e){this.model=e;e.on("msg:custom",this.told)}model;state=p("open");onEvent=()=>{};onOpen=()=>{};waiting=new Ae;close(){this.model.off("msg:custom",this.told),this.waiting.failAll()}send(e,t={},n){let o=this.waiting.next();return this.model.send({id:o.id,op:e,...t},void 0,n?[n.slice().buffer]:[]),o}told=(e,t)=>{let[n]=t,o=n?new Uint8Array(n.buffer,n.byteOffset,n.byteLength):new Uint8Array(0);this.waiting.settle({header:e,payload:o})||this.onEvent(e)}};function Ri(i){return{wire:i,details:async()=>(await i.send("details").reply).header,pixels:async()=>{let{payload:e}=await i.send("pixels").reply;return createImageBitmap(new Blob([e.slice()],{type:"image/png"}))},objectMask:async e=>re(await i.send("mask",{object:e}).reply),remove:e=>i.send("delete",{object:e}).reply,relabel:(e,t)=>i.send("relabel",{object:e,label:t}).reply}}function $i({annotator:i}){let e=G(null),t=G(null);q(()=>{let s=()=>i.say("That is on the page of livesam serve."),l=h=>{!e.current||!Yt(h,i,e.current,{compare:s,propose:s})||(h.preventDefault(),h.stopPropagation())};t.current.addEventListener("keydown",l),t.current.addEventListener("keyup",l)},[]);let{label:n,labels:o,objects:r}=i,{length:a}=r.all.value;return d("div",{class:"livesam",ref:t,children:[d(Zt,{annotator:i,stage:()=>e.current}),d("div",{class:"stage-frame",children:[d(qt,{annotator:i,onReady:s=>e.current=s}),d(Ft,{annotator:i})]}),d("div",{class:"toolbar",children:[d("label",{children:["Label"," ",d("select",{value:n.value,onChange:s=>n.value=s.currentTarget.value,children:o.value.map(s=>d("option",{children:s.name},s.name))})]}),d("span",{children:[a," ",a===1?"object":"objects"," accepted"]})]})]})}function Wi({model:i,el:e}){let t=new Le(i),n=new Pe(Ri(t)),o=document.createElement("div");e.append(o);let r=o.attachShadow({mode:"open"}),a=document.createElement("style");a.textContent=Lt;let s=document.createElement("div");return r.append(a,s),ze(d($i,{annotator:n}),s),(async()=>{try{let{header:l}=await t.send("details").reply;n.labels.value=l.labels,n.label.value=n.labels.value[0]?.name??"",await n.open(String(l.id))}catch(l){n.fail(l)}})(),()=>{ze(null,s),t.close()}}var wo={render:Wi};export{wo as default};
