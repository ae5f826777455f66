/** What each key does on the annotator; the page adds images and its sheet. */

import type { StageHandle } from "../canvas/stage";
import type { Annotator } from "./annotator";
import { type Action, actionOf } from "./keys";
import { looks } from "./looks";

const STEP_PX = 12; // of the screen, a step of the keyboard's cross

export type Extra = Partial<Record<Action, () => void>>;

/** Whether the key was taken. */
export function press(event: KeyboardEvent, annotator: Annotator, stage: StageHandle, extra: Extra): boolean {
  const target = event.target as HTMLElement;
  if (target.matches("input:not([type=range]):not([type=checkbox]), select, textarea")) return false;
  const onControl = target.closest("button, a, summary, [role=menuitem], input") !== null;
  if (onControl && ["Enter", " ", "Tab"].includes(event.key)) return false; // that is the control's own
  if (target.matches("input[type=range]") && event.key.startsWith("Arrow")) return false;
  if (event.key === " ") {
    stage.hold(event.type === "keydown");
    return true;
  }
  if (event.type !== "keydown") return false;
  if (/^[1-9]$/.test(event.key) && !event.ctrlKey && !event.altKey && !event.metaKey) {
    const label = annotator.labels.value[Number(event.key) - 1];
    if (label) annotator.label.value = label.name;
    return label !== undefined;
  }
  const action = actionOf(event);
  if (action === null) return false;
  // Tab leaves the stage where it has nothing to offer, so that no keyboard is trapped.
  if (action === "cycle" && !(annotator.steps.value.length === 1 && annotator.steps.value[0]!.op === "click")) return false;
  const run = extra[action] ?? own(action, annotator, stage, event.shiftKey);
  run?.();
  return run !== undefined;
}

function own(action: Action, annotator: Annotator, stage: StageHandle, shift: boolean): (() => void) | undefined {
  const step = shift ? stage.view().scale : STEP_PX;
  const table: Extra = {
    undo: () => annotator.undo(),
    redo: () => annotator.redo(),
    reset: () => annotator.reset(),
    accept: () => void annotator.accept(),
    rough: () => void annotator.accept(true),
    cycle: () => void annotator.cycle(),
    compare: () => void annotator.compare(),
    click: () => void (looks.tool.value = "click"),
    brush: () => void (looks.tool.value = "brush"),
    eraser: () => void (looks.tool.value = "eraser"),
    smaller: () => void (looks.brush.value = Math.max(1, Math.round(looks.brush.value / 1.25))),
    larger: () => void (looks.brush.value = Math.min(400, Math.round(looks.brush.value * 1.25) + 1)),
    propose: () => void annotator.proposals.ask(),
    take: () => void annotator.proposals.decide(true),
    drop: () => void annotator.proposals.decide(false),
    fit: () => stage.fit(),
    actual: () => stage.actual(),
    zoomIn: () => stage.zoom(1.25),
    zoomOut: () => stage.zoom(0.8),
    masks: () => void (looks.masks.value = !looks.masks.value),
    hover: () => void (looks.hover.value = !looks.hover.value),
    left: () => stage.nudge(-step, 0),
    right: () => stage.nudge(step, 0),
    up: () => stage.nudge(0, -step),
    down: () => stage.nudge(0, step),
    add: () => stage.clickCross(true),
    remove: () => stage.clickCross(false),
  };
  return table[action];
}
