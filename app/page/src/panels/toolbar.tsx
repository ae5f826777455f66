import type { StageHandle } from "../canvas/stage";
import type { Annotator } from "../state/annotator";
import { looks } from "../state/looks";
import { Button } from "./button";

interface Props {
  annotator: Annotator;
  stage: () => StageHandle | null;
  /** To the images before and after; a notebook has none. */
  step?: (by: number, done?: boolean) => void;
}

export function Toolbar({ annotator, stage, step }: Props) {
  const { tool } = looks;
  const painting = tool.value !== "click";
  const ready = annotator.ready.value;
  const candidates = annotator.candidates.value.length;
  const first = annotator.seen.value.length === 1 && annotator.seen.value[0]!.op === "click";
  return (
    <div class="toolbar" role="toolbar" aria-label="Tools">
      <div class="group">
        <Button quiet icon="click" label="Click and box" action="click" pressed={!painting} onClick={() => (tool.value = "click")} />
        <Button quiet icon="brush" label="Brush" action="brush" pressed={tool.value === "brush"} onClick={() => (tool.value = "brush")} />
        <Button quiet icon="eraser" label="Eraser" action="eraser" pressed={tool.value === "eraser"} onClick={() => (tool.value = "eraser")} />
        {painting && (
          <label class="range" title="Brush size ([ and ])">
            <span class="unseen">Brush size in pixels</span>
            <input type="range" min={1} max={120} value={looks.brush.value} onInput={(event) => (looks.brush.value = Number(event.currentTarget.value))} />
            <output>{looks.brush.value} px</output>
          </label>
        )}
      </div>
      <div class="group">
        <Button quiet icon="undo" label="Undo" action="undo" disabled={annotator.seen.value.length === 0} onClick={() => annotator.undo()} />
        <Button quiet icon="redo" label="Redo" action="redo" disabled={annotator.undone.value.length === 0} onClick={() => annotator.redo()} />
        <Button quiet icon="reset" label="Start over" action="reset" disabled={!annotator.begun.value} onClick={() => annotator.reset()} />
        <Button quiet icon="cycle" label="Other masks for this click" action="cycle" disabled={!first} onClick={() => void annotator.cycle()} />
        {candidates > 0 && <span class="chip">{annotator.choice.value + 1} of {candidates}</span>}
      </div>
      <div class="group">
        <Button primary icon="accept" label="Accept" action="accept" disabled={!annotator.mask.value} onClick={() => void annotator.accept()} />
        <Button label="Rough" action="rough" disabled={!annotator.mask.value} onClick={() => void annotator.accept(true)} />
      </div>
      <div class="group group--end">
        <Button quiet icon="minus" label="Zoom out" action="zoomOut" disabled={!ready} onClick={() => stage()?.zoom(0.8)} />
        <Button quiet icon="fit" label="Whole image" action="fit" disabled={!ready} onClick={() => stage()?.fit()} />
        <Button quiet icon="plus" label="Zoom in" action="zoomIn" disabled={!ready} onClick={() => stage()?.zoom(1.25)} />
        {step && (
          <>
            <span class="rule" />
            <Button quiet icon="previous" label="Previous image" action="previous" onClick={() => step(-1)} />
            <Button quiet icon="done" label="This image is done, next" action="done" onClick={() => step(1, true)} />
            <Button quiet icon="next" label="Next image" action="next" onClick={() => step(1)} />
          </>
        )}
      </div>
    </div>
  );
}
