/** Every key, once: the handler, the sheet and the hints on buttons read this table. */

export type Action =
  | "undo" | "redo" | "reset" | "accept" | "rough" | "next" | "previous" | "done" | "cycle" | "click" | "brush" | "eraser"
  | "smaller" | "larger" | "take" | "drop" | "propose" | "compare" | "fit" | "actual" | "zoomIn" | "zoomOut" | "masks"
  | "hover" | "help" | "left" | "right" | "up" | "down" | "add" | "remove";

export interface Binding {
  action: Action;
  /** As `event.key` has it, lower case; `ctrl+`, `shift+` and `alt+` before it. */
  keys: string[];
  text: string;
  group: string;
}

const rows: [group: string, action: Action, keys: string, text: string][] = [
  ["Object", "accept", "enter f", "Accept the mask"],
  ["Object", "rough", "shift+enter", "Accept a rough mask (teaches less)"],
  ["Object", "undo", "ctrl+z", "Undo"],
  ["Object", "redo", "ctrl+shift+z ctrl+y", "Redo"],
  ["Object", "reset", "escape", "Start the object over"],
  ["Object", "cycle", "tab", "Next of the masks that the first click could mean"],
  ["Object", "compare", "c", "Compare with the original decoder"],
  ["Tools", "click", "v", "Click and box"],
  ["Tools", "brush", "b", "Brush"],
  ["Tools", "eraser", "e", "Eraser"],
  ["Tools", "smaller", "[", "Smaller brush"],
  ["Tools", "larger", "]", "Larger brush"],
  ["Segment the rest", "propose", "g", "Look for more like the accepted ones"],
  ["Segment the rest", "take", "y", "Accept the proposal"],
  ["Segment the rest", "drop", "n", "Discard the proposal"],
  ["Images", "next", "d arrowright", "Next image"],
  ["Images", "previous", "a arrowleft", "Previous image"],
  ["Images", "done", "shift+d", "This image is done, next one"],
  ["View", "zoomIn", "+ =", "Zoom in (or the wheel)"],
  ["View", "zoomOut", "-", "Zoom out"],
  ["View", "fit", "0", "Whole image"],
  ["View", "actual", "z", "One pixel to one"],
  ["View", "masks", "m", "Show or hide accepted masks"],
  ["View", "hover", "h", "Preview under the mouse, on or off"],
  ["View", "help", "?", "This sheet"],
  ["Without a mouse", "up", "alt+arrowup", "Move the cross up (Shift: one pixel)"],
  ["Without a mouse", "down", "alt+arrowdown", "Move the cross down"],
  ["Without a mouse", "left", "alt+arrowleft", "Move the cross left"],
  ["Without a mouse", "right", "alt+arrowright", "Move the cross right"],
  ["Without a mouse", "add", ".", "Add at the cross"],
  ["Without a mouse", "remove", ",", "Remove at the cross"],
];

export const BINDINGS: readonly Binding[] = rows.map(([group, action, keys, text]) => ({ group, action, keys: keys.split(" "), text }));

/** What the mouse and fingers do; for the sheet. */
export const POINTER: readonly [string, string][] = [
  ["Click, tap", "Add to the object"],
  ["Right click, Shift+click, long press", "Remove from the object"],
  ["Drag", "Draw a box"],
  ["Wheel, two fingers", "Zoom"],
  ["Space+drag, middle drag, two fingers", "Move the image"],
  ["1 to 9", "Choose a label"],
];

const byKey = new Map(BINDINGS.flatMap((one) => one.keys.map((key) => [key, one.action] as const)));

export function actionOf(event: KeyboardEvent): Action | null {
  const key = event.key.toLowerCase();
  const modifiers = `${event.ctrlKey || event.metaKey ? "ctrl+" : ""}${event.altKey ? "alt+" : ""}`;
  const plain = byKey.get(modifiers + key);
  const shifted = event.shiftKey ? byKey.get(`${modifiers}shift+${key}`) : undefined;
  if (shifted) return shifted;
  // Shift makes another character of a sign key, and one pixel of a step of the cross; with letters it means nothing.
  return event.shiftKey && /^[a-z]$|^enter$|^tab$/.test(key) ? null : (plain ?? null);
}

const NAMES: Record<string, string> = {
  arrowright: "→", arrowleft: "←", arrowup: "↑", arrowdown: "↓", escape: "Esc", enter: "Enter", tab: "Tab", ctrl: "Ctrl", shift: "Shift", alt: "Alt",
};

export function written(key: string): string {
  const parts = key.length === 1 ? [key] : key.split("+");
  return parts.map((part) => NAMES[part] ?? part.toUpperCase()).join("+");
}

/** The first key of an action, for a button's hint. */
export function hint(action: Action): string {
  return written(BINDINGS.find((one) => one.action === action)!.keys[0]!);
}
