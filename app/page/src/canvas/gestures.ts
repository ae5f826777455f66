/** Mouse, pen and fingers on the stage, told as what the user means. Positions are CSS pixels of the stage. */

export interface Meanings {
  /** A button is down that is likely to become a click. */
  press(x: number, y: number, positive: boolean): void;
  click(x: number, y: number, positive: boolean, since: number): void;
  /** While a box is drawn; null when that ends. */
  drawing(box: [number, number, number, number] | null): void;
  box(box: [number, number, number, number], since: number): void;
  pan(dx: number, dy: number): void;
  zoom(factor: number, x: number, y: number): void;
  hover(x: number, y: number): void;
  leave(): void;
  /** Whether the pointer paints now instead of clicking. */
  paints(): boolean;
  stroke(x: number, y: number, phase: "begin" | "go" | "end" | "cancel", since: number): void;
}

const STILL_PX = 4; // a press that moves less is a click
const STILL_TOUCH_PX = 10;
const LONG_PRESS_MS = 450;

interface Press {
  id: number;
  x: number;
  y: number;
  button: number;
  shift: boolean;
  mode: "undecided" | "box" | "pan" | "paint" | "over";
  timer: ReturnType<typeof setTimeout> | null;
}

export class Gestures {
  space = false; // the space bar is held
  private press: Press | null = null;
  private readonly fingers = new Map<number, [number, number]>();

  constructor(
    private readonly stage: HTMLElement,
    private readonly means: Meanings,
  ) {
    stage.addEventListener("pointerdown", this.down);
    stage.addEventListener("pointermove", this.move);
    stage.addEventListener("pointerup", this.up);
    stage.addEventListener("pointercancel", this.cancel);
    stage.addEventListener("pointerleave", () => means.leave());
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("wheel", this.wheel, { passive: false });
  }

  private place(event: PointerEvent | WheelEvent): [number, number] {
    const rect = this.stage.getBoundingClientRect();
    return [event.clientX - rect.left, event.clientY - rect.top];
  }

  private down = (event: PointerEvent): void => {
    const [x, y] = this.place(event);
    this.stage.setPointerCapture?.(event.pointerId);
    if (event.pointerType === "touch") {
      this.fingers.set(event.pointerId, [x, y]);
      if (this.fingers.size > 1) return this.giveUp();
    }
    const pan = event.button === 1 || (event.button === 0 && this.space);
    const paint = event.button === 0 && !pan && this.means.paints();
    if (event.button === 1) event.preventDefault();
    this.press = { id: event.pointerId, x, y, button: event.button, shift: event.shiftKey, mode: pan ? "pan" : paint ? "paint" : "undecided", timer: null };
    if (paint) this.means.stroke(x, y, "begin", event.timeStamp);
    else if (!pan && event.button !== 1) this.means.press(x, y, event.button === 0 && !event.shiftKey);
    if (!paint && event.pointerType === "touch") this.press.timer = setTimeout(() => this.longPress(), LONG_PRESS_MS);
  };

  private longPress(): void {
    const press = this.press;
    if (press?.mode !== "undecided") return;
    press.mode = "over";
    navigator.vibrate?.(15);
    this.means.click(press.x, press.y, false, performance.now());
  }

  private move = (event: PointerEvent): void => {
    const [x, y] = this.place(event);
    if (this.fingers.size > 1 && this.fingers.has(event.pointerId)) return this.pinch(event.pointerId, x, y);
    this.fingers.has(event.pointerId) && this.fingers.set(event.pointerId, [x, y]);
    const press = this.press;
    if (!press || press.id !== event.pointerId) {
      if (event.pointerType !== "touch") this.means.hover(x, y);
      return;
    }
    if (press.mode === "pan") {
      this.means.pan(x - press.x, y - press.y);
      [press.x, press.y] = [x, y];
    } else if (press.mode === "paint") {
      for (const one of event.getCoalescedEvents?.() ?? []) this.means.stroke(...this.place(one), "go", event.timeStamp);
      this.means.stroke(x, y, "go", event.timeStamp);
    } else if (press.mode === "undecided") {
      const still = event.pointerType === "touch" ? STILL_TOUCH_PX : STILL_PX;
      if (Math.hypot(x - press.x, y - press.y) > still && press.button === 0) press.mode = "box";
      if (press.mode === "box" && press.timer) clearTimeout(press.timer);
    }
    if (press.mode === "box") this.means.drawing([press.x, press.y, x, y]);
  };

  private up = (event: PointerEvent): void => {
    const [x, y] = this.place(event);
    this.fingers.delete(event.pointerId);
    const press = this.press;
    if (!press || press.id !== event.pointerId) return;
    this.press = null;
    if (press.timer) clearTimeout(press.timer);
    if (press.mode === "undecided" && press.button !== 1)
      this.means.click(press.x, press.y, press.button === 0 && !press.shift, event.timeStamp);
    if (press.mode === "paint") this.means.stroke(x, y, "end", event.timeStamp);
    if (press.mode === "box") {
      this.means.drawing(null);
      this.means.box([Math.min(press.x, x), Math.min(press.y, y), Math.max(press.x, x), Math.max(press.y, y)], event.timeStamp);
    }
  };

  private cancel = (event: PointerEvent): void => {
    this.fingers.delete(event.pointerId);
    this.giveUp();
  };

  /** A second finger came down: the first meant no click. */
  private giveUp(): void {
    const press = this.press;
    this.press = null;
    if (press?.timer) clearTimeout(press.timer);
    if (press?.mode === "box") this.means.drawing(null);
    if (press?.mode === "paint") this.means.stroke(press.x, press.y, "cancel", performance.now());
  }

  private pinch(id: number, x: number, y: number): void {
    const other = [...this.fingers].find(([finger]) => finger !== id)![1];
    const [oldX, oldY] = this.fingers.get(id)!;
    this.fingers.set(id, [x, y]);
    const before = Math.hypot(oldX - other[0], oldY - other[1]);
    const now = Math.hypot(x - other[0], y - other[1]);
    this.means.pan((x - oldX) / 2, (y - oldY) / 2);
    if (before > 8) this.means.zoom(now / before, (x + other[0]) / 2, (y + other[1]) / 2);
  }

  private wheel = (event: WheelEvent): void => {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    // A trackpad's pinch comes as a wheel with Ctrl and small steps.
    const speed = event.ctrlKey ? 0.01 : 0.0015;
    this.means.zoom(Math.exp(-event.deltaY * lines * speed), ...this.place(event));
  };
}
