import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { Stage, type StageHandle } from "./canvas/stage";
import { Header } from "./panels/header";
import { Help } from "./panels/help";
import { Labels } from "./panels/labels";
import { LearningPanel } from "./panels/learning";
import { Looks } from "./panels/looks";
import { Notices } from "./panels/notices";
import { Objects } from "./panels/objects";
import { CompareLegend, ProposalBar } from "./panels/proposals";
import { Thumbnails } from "./panels/thumbnails";
import { Toolbar } from "./panels/toolbar";
import { Button } from "./panels/button";
import { hook } from "./hook";
import { press } from "./state/actions";
import { looks } from "./state/looks";
import type { Store } from "./state/store";

export function App({ store }: { store: Store }) {
  const stage = useRef<StageHandle | null>(null);
  const help = useSignal(false);
  const panel = useSignal(false); // open on a narrow screen
  const { annotator } = store;
  useEffect(() => {
    document.documentElement.dataset.theme = looks.theme.value;
  }, [looks.theme.value]);
  useEffect(() => {
    Object.assign(window, { __livesam: hook(annotator, () => stage.current) });
    const key = (event: KeyboardEvent) => {
      if (help.value || !stage.current) return;
      const extra = {
        next: () => void store.step(1),
        previous: () => void store.step(-1),
        done: () => void store.step(1, true),
        help: () => void (help.value = true),
      };
      if (press(event, annotator, stage.current, extra)) event.preventDefault();
    };
    addEventListener("keydown", key);
    addEventListener("keyup", key);
    return () => {
      removeEventListener("keydown", key);
      removeEventListener("keyup", key);
    };
  }, []);
  return (
    <div class="page">
      <Header store={store} onHelp={() => (help.value = true)} onPanel={() => (panel.value = !panel.value)} />
      {store.empty.value || store.trouble.value ? (
        <Nothing store={store} />
      ) : (
        <>
          <Thumbnails store={store} />
          <main class="middle">
            <Toolbar annotator={annotator} stage={() => stage.current} step={(by, done) => void store.step(by, done)} />
            <div class="stage-frame">
              <Stage annotator={annotator} onReady={(handle) => (stage.current = handle)} />
              <Busy store={store} />
              <Notices annotator={annotator} />
            </div>
            <ProposalBar annotator={annotator} />
            <CompareLegend annotator={annotator} />
            <Caption store={store} />
          </main>
          <aside class={panel.value ? "panel panel--open" : "panel"} aria-label="Labels, objects and learning">
            <Labels store={store} />
            <Objects annotator={annotator} />
            <LearningPanel store={store} />
            <Looks annotator={annotator} />
          </aside>
        </>
      )}
      <Help open={help.value} onClose={() => (help.value = false)} />
    </div>
  );
}

/** The empty folder and the server that answers nonsense: what it is, and what to do. */
function Nothing({ store }: { store: Store }) {
  const trouble = store.trouble.value;
  return (
    <main class="nothing">
      {trouble ? (
        <>
          <h1>{trouble.title}</h1>
          <p>{trouble.text}</p>
          <p>See what the terminal of livesam serve says, then load this page again.</p>
          <button type="button" class="button button--primary" onClick={() => location.reload()}>
            Load again
          </button>
        </>
      ) : (
        <>
          <h1>No images in this folder</h1>
          <p>
            Put JPEG, PNG, WebP, BMP or TIFF files into <code>{store.info.value?.folder}</code>, then load this page again.
          </p>
          <p>
            Or start with another folder: <code>livesam serve FOLDER</code>
          </p>
          <button type="button" class="button button--primary" onClick={() => location.reload()}>
            Load again
          </button>
        </>
      )}
    </main>
  );
}

function Busy({ store }: { store: Store }) {
  const { annotator } = store;
  const state = store.socket.state.value;
  if (state === "lost" && store.socket.turnedAway.value) {
    const { why } = store.socket;
    return (
      <div class="floating floating--bad" role="alert">
        <span>
          <strong>The server is running{why.value === "idle" ? "" : ", and turned this page away"}.</strong>{" "}
          {why.value === "idle" ? "It let this page go because nothing was done here for long." : `It says: ${why.value}.`} What you have accepted is saved.
        </span>
        <button type="button" class="button" onClick={() => store.socket.tryAgain()}>
          Try again
        </button>
      </div>
    );
  }
  if (state === "lost")
    return (
      <div class="floating floating--bad" role="alert">
        <span>
          <strong>The server is away.</strong> {store.socket.why.value || "What you have accepted is saved; what you are clicking now is kept here."} Start it again with{" "}
          <code>livesam serve</code>; the page goes on by itself.
        </span>
      </div>
    );
  if (annotator.broken.value !== null)
    return (
      <div class="floating floating--bad" role="alert">
        <span>
          <strong>This image cannot be opened.</strong> {annotator.broken.value}
        </span>
        <Button label="Next image" action="next" onClick={() => void store.step(1)} />
      </div>
    );
  if (annotator.image.value && !annotator.ready.value) return <div class="floating floating--quiet">Preparing the image…</div>;
  return null;
}

function Caption({ store }: { store: Store }) {
  const { annotator } = store;
  const image = annotator.image.value;
  const answer = annotator.mask.value && annotator.iou.value !== null ? `quality ${annotator.iou.value.toFixed(2)}, decoder v${annotator.version.value}` : "";
  return (
    <footer class="caption">
      <span class="caption__name">{image ? image.name : ""}</span>
      {image && (
        <span>
          {image.width} × {image.height}
        </span>
      )}
      <span>{answer}</span>
      {annotator.editing.value && <span class="chip">editing {annotator.editing.value.label || "an object"} again</span>}
    </footer>
  );
}
