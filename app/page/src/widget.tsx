/** The notebook's widget: the page's canvas and tools on one image of a session that lives in the kernel. */

import { render as draw } from "preact";
import { useEffect, useRef } from "preact/hooks";
import css from "../canvas.css";
import type { StageHandle } from "./canvas/stage";
import { Stage } from "./canvas/stage";
import { Notices } from "./panels/notices";
import { Toolbar } from "./panels/toolbar";
import { press } from "./state/actions";
import { Annotator } from "./state/annotator";
import type { Backend } from "./state/backend";
import { Comm, type Model } from "./wire/comm";
import { maskOf } from "./wire/frames";
import type { ImageDetails, Label } from "./wire/types";

function backend(wire: Comm): Backend {
  return {
    wire,
    details: async () => (await wire.send("details").reply).header as unknown as ImageDetails,
    pixels: async () => {
      const { payload } = await wire.send("pixels").reply;
      return createImageBitmap(new Blob([payload.slice()], { type: "image/png" }));
    },
    objectMask: async (object) => maskOf(await wire.send("mask", { object }).reply),
    remove: (object) => wire.send("delete", { object }).reply,
    relabel: (object, label) => wire.send("relabel", { object, label }).reply,
  };
}

function Widget({ annotator }: { annotator: Annotator }) {
  const stage = useRef<StageHandle | null>(null);
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const elsewhere = () => annotator.say("That is on the page of livesam serve.");
    const key = (event: KeyboardEvent) => {
      if (!stage.current || !press(event, annotator, stage.current, { compare: elsewhere, propose: elsewhere })) return;
      event.preventDefault();
      event.stopPropagation(); // the notebook has keys of its own
    };
    root.current!.addEventListener("keydown", key);
    root.current!.addEventListener("keyup", key);
  }, []);
  const { label, labels, objects } = annotator;
  const { length } = objects.all.value;
  return (
    <div class="livesam" ref={root}>
      <Toolbar annotator={annotator} stage={() => stage.current} />
      <div class="stage-frame">
        <Stage annotator={annotator} onReady={(handle) => (stage.current = handle)} />
        <Notices annotator={annotator} />
      </div>
      <div class="toolbar">
        <label>
          Label{" "}
          <select value={label.value} onChange={(event) => (label.value = event.currentTarget.value)}>
            {labels.value.map((one) => (
              <option key={one.name}>{one.name}</option>
            ))}
          </select>
        </label>
        <span>
          {length} {length === 1 ? "object" : "objects"} accepted
        </span>
      </div>
    </div>
  );
}

function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  const wire = new Comm(model);
  const annotator = new Annotator(backend(wire));
  const host = document.createElement("div");
  el.append(host);
  const shadow = host.attachShadow({ mode: "open" }); // its styles and the notebook's do not meet
  const style = document.createElement("style");
  style.textContent = css;
  const root = document.createElement("div");
  shadow.append(style, root);
  draw(<Widget annotator={annotator} />, root);
  void (async () => {
    try {
      const { header } = await wire.send("details").reply;
      annotator.labels.value = header.labels as Label[];
      annotator.label.value = annotator.labels.value[0]?.name ?? "";
      await annotator.open(String(header.id));
    } catch (error) {
      annotator.fail(error);
    }
  })();
  return () => {
    draw(null, root);
    wire.close();
  };
}

export default { render };
