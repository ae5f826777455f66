import { useSignal } from "@preact/signals";
import type { Store } from "../state/store";
import { Icon } from "./icon";

/** Apart from each other in hue and lightness, and on most photos. */
const COLORS = ["#2f9e8f", "#d9588b", "#e0a100", "#4c7bd9", "#8fb339", "#a35bd6", "#e4572e", "#3aa7d8", "#c49a6c"];

export function Labels({ store }: { store: Store }) {
  const { annotator } = store;
  const labels = annotator.labels.value;
  const adding = useSignal("");
  const add = async (event: Event) => {
    event.preventDefault();
    const name = adding.value.trim();
    if (!name) return;
    if (labels.some((one) => one.name === name)) return annotator.say(`There is a label ${name} already.`, true);
    const color = COLORS[labels.length % COLORS.length]!;
    if (await store.setLabels([...labels, { name, color }], name)) adding.value = "";
  };
  return (
    <section class="section" aria-labelledby="labels">
      <h2 id="labels">Labels</h2>
      <ul class="rows" role="radiogroup" aria-labelledby="labels">
        {labels.map((label, at) => (
          <li key={label.name} class={label.name === annotator.label.value ? "row row--on" : "row"}>
            <input
              type="color"
              class="swatch"
              aria-label={`Colour of ${label.name}`}
              value={label.color}
              onChange={(event) => void store.setLabels(labels.map((one) => (one === label ? { ...one, color: event.currentTarget.value } : one)))}
            />
            <button type="button" class="row__name" role="radio" aria-checked={label.name === annotator.label.value} onClick={() => (annotator.label.value = label.name)}>
              {label.name}
            </button>
            {at < 9 && <kbd>{at + 1}</kbd>}
            <button
              type="button"
              class="row__act"
              title={`Take ${label.name} off the list`}
              aria-label={`Take ${label.name} off the list`}
              onClick={() => void store.setLabels(labels.filter((one) => one !== label))}
            >
              <Icon name="reset" />
            </button>
          </li>
        ))}
      </ul>
      <form class="add" onSubmit={(event) => void add(event)}>
        <input type="text" maxLength={64} placeholder="New label" aria-label="New label" value={adding.value} onInput={(event) => (adding.value = event.currentTarget.value)} />
        <button type="submit" class="button" disabled={!adding.value.trim()}>
          Add
        </button>
      </form>
    </section>
  );
}
