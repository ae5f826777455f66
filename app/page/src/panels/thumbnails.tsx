import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Store } from "../state/store";

const PITCH = { column: 104, row: 116 }; // CSS pixels from one thumbnail to the next; style.css has the same
const BEYOND = 4; // drawn on either side of what is seen

/** All images, of which only those near the window are in the document: 10,000 scroll as 10 do. */
export function Thumbnails({ store }: { store: Store }) {
  const root = useRef<HTMLElement>(null);
  const seen = useSignal({ from: 0, to: 12, across: false });
  const total = store.total.value;
  const measure = () => {
    const element = root.current;
    if (!element) return;
    const across = getComputedStyle(element).flexDirection === "row";
    const pitch = across ? PITCH.row : PITCH.column;
    const [start, length] = across ? [element.scrollLeft, element.clientWidth] : [element.scrollTop, element.clientHeight];
    const from = Math.max(0, Math.floor(start / pitch) - BEYOND);
    const to = Math.min(store.total.value, Math.ceil((start + length) / pitch) + BEYOND);
    if (from !== seen.value.from || to !== seen.value.to || across !== seen.value.across) seen.value = { from, to, across };
    for (const at of [from, to - 1]) if (at >= 0) store.load(at).catch((error) => store.annotator.fail(error));
  };
  useEffect(() => {
    const resized = new ResizeObserver(measure);
    resized.observe(root.current!);
    return () => resized.disconnect();
  }, []);
  useEffect(measure, [total]);
  useEffect(() => bringIn(root.current!, store.at.value), [store.at.value]);
  const { from, to, across } = seen.value;
  const pitch = across ? PITCH.row : PITCH.column;
  const place = (at: number) => (across ? { left: `${at * pitch}px` } : { top: `${at * pitch}px` });
  return (
    <nav class="thumbnails" ref={root} aria-label="Images" onScroll={measure}>
      <div class="thumbnails__all" style={across ? { width: `${total * pitch}px` } : { height: `${total * pitch}px` }}>
        {Array.from({ length: Math.max(0, Math.min(to, total) - from) }, (_, i) => from + i).map((at) => (
          <div key={at} class="thumbnails__place" style={place(at)}>
            <Thumbnail store={store} at={at} />
          </div>
        ))}
      </div>
    </nav>
  );
}

function Thumbnail({ store, at }: { store: Store; at: number }) {
  const item = store.items.value.get(at);
  if (!item) return <div class="thumbnail thumbnail--empty" />;
  const state = item.state === "done" ? "done" : item.objects > 0 ? `${item.objects}` : "";
  return (
    <button
      type="button"
      class={`thumbnail ${at === store.at.value ? "thumbnail--on" : ""}`}
      aria-current={at === store.at.value}
      aria-label={`${item.name}, ${item.state === "done" ? "done" : `${item.objects} objects`}`}
      title={item.name}
      onClick={() => void store.step(at - store.at.value)}
    >
      <Preview key={item.id} id={item.id} />
      <span class="thumbnail__name">{item.name}</span>
      {state && <span class={`badge ${item.state === "done" ? "badge--done" : ""}`}>{state}</span>}
    </button>
  );
}

function Preview({ id }: { id: string }) {
  const broken = useSignal(false);
  if (broken.value) return <span class="thumbnail__broken">no preview</span>;
  return <img src={`/api/images/${id}/thumbnail`} alt="" loading="lazy" decoding="async" draggable={false} onError={() => (broken.value = true)} />;
}

/** Scroll just so far that the image at hand is seen. */
function bringIn(element: HTMLElement, at: number): void {
  if (at < 0) return;
  const across = getComputedStyle(element).flexDirection === "row";
  const pitch = across ? PITCH.row : PITCH.column;
  const [start, length] = across ? [element.scrollLeft, element.clientWidth] : [element.scrollTop, element.clientHeight];
  const wanted = at * pitch < start ? at * pitch : (at + 1) * pitch > start + length ? (at + 1) * pitch - length : start;
  if (wanted !== start) element.scrollTo(across ? { left: wanted } : { top: wanted });
}
