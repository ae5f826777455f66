import { type Signal, useSignal } from "@preact/signals";
import type { Annotator } from "../state/annotator";
import { looks } from "../state/looks";

export function Looks({ annotator }: { annotator: Annotator }) {
  const image = annotator.image.value;
  return (
    <details class="section">
      <summary>
        <h2>View</h2>
      </summary>
      <Slider name="Mask opacity" value={looks.opacity} min={0} max={1} step={0.05} />
      <Slider name="Contrast" value={looks.contrast} min={0.25} max={4} step={0.05} />
      <Slider name="Brightness" value={looks.brightness} min={0.25} max={4} step={0.05} />
      {image?.deep && <Levels key={image.id} annotator={annotator} range={image.range} />}
      <label class="check">
        <input type="checkbox" checked={looks.masks.value} onChange={(event) => (looks.masks.value = event.currentTarget.checked)} />
        Accepted masks <kbd>M</kbd>
      </label>
      <label class="check">
        <input type="checkbox" checked={looks.hover.value} onChange={(event) => (looks.hover.value = event.currentTarget.checked)} />
        Preview under the mouse <kbd>H</kbd>
      </label>
      <button
        type="button"
        class="link"
        onClick={() => {
          looks.opacity.value = 0.45;
          looks.contrast.value = looks.brightness.value = 1;
        }}
      >
        Back to the usual view
      </button>
    </details>
  );
}

function Slider({ name, value, min, max, step }: { name: string; value: Signal<number>; min: number; max: number; step: number }) {
  return (
    <label class="slider">
      <span>{name}</span>
      <input type="range" min={min} max={max} step={step} value={value.value} onInput={(event) => (value.value = Number(event.currentTarget.value))} />
      <output>{value.value.toFixed(2)}</output>
    </label>
  );
}

/** Which values of a deep image are black and white. */
function Levels({ annotator, range: [low, high] }: { annotator: Annotator; range: [number, number] }) {
  const step = (high - low) / 500 || 1;
  const asked = useSignal({ low, high });
  const set = (end: "low" | "high", value: number) => {
    asked.value = { ...asked.value, [end]: value };
    if (asked.value.low < asked.value.high) void annotator.setLevels([asked.value.low, asked.value.high]);
  };
  return (
    <>
      {(["low", "high"] as const).map((end) => (
        <label key={end} class="slider">
          <span>{end === "low" ? "Black at" : "White at"}</span>
          <input type="range" min={low} max={high} step={step} value={asked.value[end]} onChange={(event) => set(end, Number(event.currentTarget.value))} />
          <output>{Math.round(asked.value[end])}</output>
        </label>
      ))}
    </>
  );
}
