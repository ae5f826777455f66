/** The image with all that lies over it: a canvas for each kind, so that what has changed is all that is drawn and composited again. */

import { effect, untracked, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Annotator } from "../state/annotator";
import { looks } from "../state/looks";
import type { Box } from "../wire/types";
import { Stroke } from "./brush";
import { Gestures, type Meanings } from "./gestures";
import { type Layer, paintBox, paintLayer, paintRing, paintSteps } from "./painter";
import { current, resting } from "./scene";
import { Surface, around } from "./surface";
import { type View, fit, moved, toImage, zoomed } from "./view";

// Half of what is drawn around a point or a line, in CSS pixels.
const DISC_PX = 9;
const LINE_PX = 3;
const CROSS_PX = 5;

/** What keys and buttons ask of the stage. */
export interface StageHandle {
  fit(): void;
  zoom(factor: number): void;
  actual(): void;
  /** The space bar, which turns dragging into panning. */
  hold(space: boolean): void;
  /** Where the keyboard's cross is moved, and clicks. */
  nudge(dx: number, dy: number): void;
  clickCross(positive: boolean): void;
  view(): View;
}

export function Stage({ annotator, onReady }: { annotator: Annotator; onReady: (handle: StageHandle) => void }) {
  const element = useRef<HTMLDivElement>(null);
  const holding = useSignal(false);
  useEffect(() => {
    const screen = new Screen(element.current!, annotator, (space) => (holding.value = space));
    onReady(screen);
    return () => screen.close();
  }, [annotator]);
  const painting = looks.tool.value !== "click";
  return (
    <>
      <div
        ref={element}
        class={`stage ${holding.value ? "stage--pan" : painting ? "stage--paint" : ""}`}
        tabIndex={0}
        role="application"
        aria-roledescription="annotation canvas"
        aria-label={label(annotator)}
      >
        <canvas aria-hidden="true" style={{ filter: filter() }} />
        <canvas aria-hidden="true" />
        <canvas aria-hidden="true" />
        <canvas aria-hidden="true" />
      </div>
      <div class="stage__focus" />
    </>
  );
}

/** None where it changes nothing: a browser without a GPU takes 10 ms a frame for one that is there. */
function filter(): string {
  const [contrast, brightness] = [looks.contrast.value, looks.brightness.value];
  return contrast === 1 && brightness === 1 ? "none" : `contrast(${contrast}) brightness(${brightness})`;
}

function label(annotator: Annotator): string {
  const image = annotator.image.value;
  if (!image) return "No image is open";
  return `${image.name}, ${image.width} by ${image.height} pixels. Click adds, right click removes, drag draws a box. Alt with arrow keys moves a cross; period adds there, comma removes.`;
}

class Screen implements StageHandle {
  private readonly base: Surface; // the image
  private readonly rest: Surface; // accepted objects and proposals
  private readonly over: Surface; // the current object
  private readonly marks: Surface; // its clicks and box, and the pointer's
  private readonly gestures: Gestures;
  private readonly stops: (() => void)[] = [];
  private place: View = { scale: 1, x: 0, y: 0 };
  private shown = ""; // the image that the view was fitted to
  private fitted = true; // nobody has zoomed or moved it since
  private box: Box | null = null; // being drawn
  private stroke: Stroke | null = null;
  private pointer: [number, number] | null = null; // in pixels of the image
  private cross: [number, number] | null = null;
  private asked = 0; // the next frame
  private stale = { base: true, rest: true, over: true, marks: true };

  constructor(
    private readonly element: HTMLElement,
    private readonly annotator: Annotator,
    private readonly onHold: (space: boolean) => void,
  ) {
    const surfaces = [...element.querySelectorAll("canvas")].map((canvas) => new Surface(canvas));
    [this.base, this.rest, this.over, this.marks] = surfaces as [Surface, Surface, Surface, Surface];
    this.gestures = new Gestures(element, this.meanings());
    const resized = new ResizeObserver(() => this.resize());
    resized.observe(element);
    this.stops.push(() => resized.disconnect());
    this.stops.push(effect(() => {
      const [image, bitmap] = [annotator.image.value, annotator.bitmap.value];
      if (image && bitmap && this.shown !== image.id) {
        this.shown = image.id;
        this.cross = null;
        this.fit();
      }
      this.later("base");
    }));
    this.stops.push(effect(() => {
      resting(annotator);
      this.later("rest");
    }));
    this.stops.push(effect(() => {
      current(annotator);
      this.later("over");
    }));
    this.stops.push(effect(() => {
      void [annotator.seen.value, looks.tool.value, looks.brush.value];
      this.later("marks");
    }));
    // An answer is drawn while the browser waits for its next frame, not in it.
    this.stops.push(effect(() => {
      if (annotator.latency.painting.value) untracked(() => this.draw(false));
    }));
  }

  close(): void {
    this.stops.forEach((stop) => stop());
    cancelAnimationFrame(this.asked);
  }

  view(): View {
    return this.place;
  }

  fit(): void {
    const image = this.annotator.image.value;
    if (image) this.go(fit(image.width, image.height, this.element.clientWidth, this.element.clientHeight));
    this.fitted = true;
  }

  zoom(factor: number): void {
    this.go(zoomed(this.place, factor, this.element.clientWidth / 2, this.element.clientHeight / 2));
  }

  actual(): void {
    this.zoom(1 / this.place.scale);
  }

  hold(space: boolean): void {
    this.gestures.space = space;
    this.onHold(space);
  }

  nudge(dx: number, dy: number): void {
    const image = this.annotator.image.value;
    if (!image) return;
    const [x, y] = this.cross ?? [image.width / 2, image.height / 2];
    const inside = (value: number, end: number) => Math.min(end - 1, Math.max(0, value));
    this.cross = [inside(x + dx / this.place.scale, image.width), inside(y + dy / this.place.scale, image.height)];
    this.later("marks");
  }

  clickCross(positive: boolean): void {
    if (this.cross) this.annotator.click(...this.cross, positive, performance.now());
    else this.nudge(0, 0);
  }

  private go(view: View): void {
    this.place = view;
    this.fitted = false;
    this.later("base");
  }

  private meanings(): Meanings {
    const { annotator } = this;
    const at = (x: number, y: number) => toImage(this.place, x, y);
    const boxAt = ([x0, y0, x1, y1]: Box): Box => [...at(x0, y0), ...at(x1, y1)];
    return {
      press: (x, y, positive) => annotator.press(...at(x, y), positive),
      click: (x, y, positive, since) => annotator.click(...at(x, y), positive, since),
      box: (box, since) => annotator.box(boxAt(box), since),
      drawing: (box) => {
        this.box = box && boxAt(box);
        this.later("marks");
      },
      pan: (dx, dy) => this.go(moved(this.place, dx, dy)),
      zoom: (factor, x, y) => this.go(zoomed(this.place, factor, x, y)),
      hover: (x, y) => {
        this.pointer = at(x, y);
        if (looks.tool.value !== "click") this.later("marks");
        else if (looks.hover.value) void annotator.hover(...this.pointer);
      },
      leave: () => {
        this.pointer = null;
        annotator.preview.value = null;
        this.later("marks");
      },
      paints: () => looks.tool.value !== "click" && annotator.ready.value,
      stroke: (x, y, phase, since) => this.brushed(at(x, y), phase, since),
    };
  }

  private brushed(place: [number, number], phase: "begin" | "go" | "end" | "cancel", since: number): void {
    const image = this.annotator.image.value;
    if (!image) return;
    this.pointer = place;
    if (phase === "begin")
      this.stroke = new Stroke(this.annotator.mask.value, image.width, image.height, looks.brush.value / 2, looks.tool.value === "brush" ? 1 : 0);
    if (!this.stroke) return;
    if (phase === "cancel") this.stroke = null;
    else this.stroke.to(...place);
    if (this.stroke && phase === "end") {
      this.annotator.paint(this.stroke.mask, since);
      this.stroke = null;
    }
    this.later("over", "marks");
  }

  private resize(): void {
    if (this.fitted) this.fit();
    this.later("base");
  }

  /** Draw these in the next frame; with the image all that lies over it, too. */
  private later(...what: (keyof Screen["stale"])[]): void {
    for (const one of what) this.stale[one] = true;
    if (!this.asked) this.asked = requestAnimationFrame(() => this.draw(true));
  }

  /** @param inFrame whether the browser has begun the frame that will show it */
  private draw(inFrame: boolean): void {
    cancelAnimationFrame(this.asked);
    this.asked = 0;
    const begun = performance.now();
    const { stale, annotator } = this;
    const there = annotator.bitmap.value !== null;
    if (stale.base) this.drawImage();
    if (stale.base || stale.rest) this.drawLayers(this.rest, there ? resting(annotator) : []);
    if (stale.base || stale.over) this.drawLayers(this.over, there ? this.currentLayers() : []);
    if (stale.base || stale.marks) this.drawMarks(there);
    this.stale = { base: false, rest: false, over: false, marks: false };
    if (there) annotator.latency.drawn(begun, inFrame);
  }

  private begin(surface: Surface, needed: Box | null): CanvasRenderingContext2D | null {
    return surface.begin(needed, this.element.clientWidth, this.element.clientHeight, this.place);
  }

  private get everything(): Box {
    return [0, 0, this.element.clientWidth, this.element.clientHeight];
  }

  private drawImage(): void {
    const bitmap = this.annotator.bitmap.value;
    const context = this.begin(this.base, this.everything);
    if (!bitmap || !context) return;
    context.imageSmoothingEnabled = this.place.scale < 3; // from there on single pixels are wanted
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0);
  }

  private drawLayers(surface: Surface, layers: readonly Layer[]): void {
    const needed = layers.reduce<Box | null>((found, { mask }) => around(found, this.onScreen(mask.box, LINE_PX)), null);
    const context = this.begin(surface, needed);
    if (context) for (const layer of layers) paintLayer(context, this.place, layer);
  }

  private currentLayers(): Layer[] {
    const { stroke, annotator } = this;
    if (stroke === null) return current(annotator);
    const others = current(annotator).filter((layer) => layer.mask !== annotator.mask.value);
    const { mask } = stroke;
    return mask ? [...others, { mask, color: annotator.colorOf(annotator.label.value), opacity: looks.opacity.value, line: 1.75 }] : others;
  }

  private drawMarks(there: boolean): void {
    const { place } = this;
    const context = this.begin(this.marks, there ? this.marked() : null);
    if (!context) return;
    paintSteps(context, place, this.annotator.seen.value);
    if (this.box) paintBox(context, place, this.box);
    if (this.cross) paintRing(context, place, ...this.cross, CROSS_PX / place.scale);
    if (this.pointer && looks.tool.value !== "click") paintRing(context, place, ...this.pointer, looks.brush.value / 2);
  }

  /** What clicks, boxes and the pointer cover, in CSS pixels of the stage; null for nothing. */
  private marked(): Box | null {
    let found: Box | null = null;
    const add = (box: Box, margin: number) => (found = around(found, this.onScreen(box, margin)));
    for (const step of this.annotator.seen.value) {
      if (step.op === "click") add([step.x, step.y, step.x, step.y], DISC_PX);
      if (step.op === "box") add(step.box, LINE_PX);
    }
    if (this.box) add(this.box, LINE_PX);
    if (this.cross) add([...this.cross, ...this.cross], CROSS_PX + LINE_PX);
    const reach = (looks.brush.value / 2) * this.place.scale + LINE_PX;
    if (this.pointer && looks.tool.value !== "click") add([...this.pointer, ...this.pointer], reach);
    return found;
  }

  private onScreen([x0, y0, x1, y1]: Box, margin: number): Box {
    const { scale, x, y } = this.place;
    return [x0 * scale + x - margin, y0 * scale + y - margin, x1 * scale + x + margin, y1 * scale + y + margin];
  }
}
