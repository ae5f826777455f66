import type { Annotator } from "../state/annotator";
import { Button } from "./button";
import { Icon } from "./icon";

export function Objects({ annotator }: { annotator: Annotator }) {
  const objects = annotator.objects.all.value;
  const { proposals } = annotator;
  return (
    <section class="section section--grow" aria-labelledby="objects">
      <h2 id="objects">
        Objects <span class="count">{objects.length}</span>
      </h2>
      {objects.length === 0 ? (
        <p class="hint">
          Click on something in the image. Right click takes away what does not belong. <kbd>Enter</kbd> accepts.
        </p>
      ) : (
        <ul class="rows rows--scroll">
          {objects.map((object, at) => (
            <li key={object.id} class={annotator.editing.value?.id === object.id ? "row row--on" : "row"}>
              <span class="dot" style={{ background: annotator.colorOf(object.label) }} />
              <select class="row__name" aria-label={`Label of object ${at + 1}`} value={object.label} onChange={(event) => void annotator.objects.relabel(object, event.currentTarget.value)}>
                {!annotator.labels.value.some((one) => one.name === object.label) && <option value={object.label}>{object.label || "no label"}</option>}
                {annotator.labels.value.map((label) => (
                  <option key={label.name} value={label.name}>
                    {label.name}
                  </option>
                ))}
              </select>
              <span class="row__note">{note(object.source, object.clicks)}</span>
              <button type="button" class="row__act" title="Edit again" aria-label={`Edit object ${at + 1} again`} onClick={() => annotator.edit(object)}>
                <Icon name="edit" />
              </button>
              <button type="button" class="row__act" title="Delete" aria-label={`Delete object ${at + 1}`} onClick={() => void annotator.objects.remove(object)}>
                <Icon name="remove" />
              </button>
            </li>
          ))}
        </ul>
      )}
      <Button icon="rest" label="Segment the rest" action="propose" disabled={objects.length === 0 || proposals.busy.value} onClick={() => void proposals.ask()}>
        {proposals.busy.value ? "Looking…" : "Segment the rest"} <kbd>G</kbd>
      </Button>
    </section>
  );
}

function note(source: string, clicks: number): string {
  if (source === "proposal") return "proposed";
  if (source === "import") return "imported";
  return `${clicks} ${clicks === 1 ? "click" : "clicks"}`;
}
