/** The image with all that lies over it: two canvases, so that a new mask does not draw the image again. */

import { effect, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Annotator } from "../state/annotator";
import { looks } from "../state/looks";
import type { Box } from "../wire/types";
import { Stroke } from "./brush";
import { Gestures, type Meanings } from "./gestures";
import { paintBox, paintLayer, paintRing, paintSteps } from "./painter";
import { layers } from "./scene";
import { type View, fit, moved, toImage, zoomed } from "./view";

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
    <div
      ref={element}
      class={`stage ${holding.value ? "stage--pan" : painting ? "stage--paint" : ""}`}
      tabIndex={0}
      role="application"
      aria-roledescription="annotation canvas"
      aria-label={label(annotator)}
    >
      <canvas class="stage__image" aria-hidden="true" style={{ filter: `contrast(${looks.contrast.value}) brightness(${looks.brightness.value})` }} />
      <canvas class="stage__over" aria-hidden="true" />
    </div>
  );
}

function label(annotator: Annotator): string {
  const image = annotator.image.value;
  if (!image) return "No image is open";
  return `${image.name}, ${image.width} by ${image.height} pixels. Click adds, right click removes, drag draws a box. Alt with arrow keys moves a cross; period adds there, comma removes.`;
}

class Screen implements StageHandle {
  private readonly base: HTMLCanvasElement;
  private readonly over: HTMLCanvasElement;
  private readonly gestures: Gestures;
  private readonly stops: (() => void)[] = [];
  private place: View = { scale: 1, x: 0, y: 0 };
  private shown = ""; // the image that the view was fitted to
  private box: Box | null = null; // being drawn
  private stroke: Stroke | null = null;
  private pointer: [number, number] | null = null; // in pixels of the image
  private cross: [number, number] | null = null;
  private asked = 0; // the next frame
  private stale = { base: true };

  constructor(
    private readonly element: HTMLElement,
    private readonly annotator: Annotator,
    private readonly onHold: (space: boolean) => void,
  ) {
    [this.base, this.over] = [...element.querySelectorAll("canvas")] as [HTMLCanvasElement, HTMLCanvasElement];
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
      this.later(true);
    }));
    this.stops.push(effect(() => {
      layers(annotator);
      void [annotator.steps.value, looks.tool.value, looks.brush.value];
      this.later(false);
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
    this.later(false);
  }

  clickCross(positive: boolean): void {
    if (this.cross) this.annotator.click(...this.cross, positive, performance.now());
    else this.nudge(0, 0);
  }

  private go(view: View): void {
    this.place = view;
    this.later(true);
  }

  private meanings(): Meanings {
    const { annotator } = this;
    const at = (x: number, y: number) => toImage(this.place, x, y);
    const boxAt = ([x0, y0, x1, y1]: Box): Box => [...at(x0, y0), ...at(x1, y1)];
    return {
      click: (x, y, positive, since) => annotator.click(...at(x, y), positive, since),
      box: (box, since) => annotator.box(boxAt(box), since),
      drawing: (box) => {
        this.box = box && boxAt(box);
        this.later(false);
      },
      pan: (dx, dy) => this.go(moved(this.place, dx, dy)),
      zoom: (factor, x, y) => this.go(zoomed(this.place, factor, x, y)),
      hover: (x, y) => {
        this.pointer = at(x, y);
        if (looks.tool.value !== "click") this.later(false);
        else if (looks.hover.value) void annotator.hover(...this.pointer);
      },
      leave: () => {
        this.pointer = null;
        annotator.preview.value = null;
        this.later(false);
      },
      paints: () => looks.tool.value !== "click" && annotator.ready.value,
      stroke: (x, y, phase, since) => this.brushed(at(x, y), phase, since),
    };
  }

  private brushed(place: [number, number], phase: "begin" | "go" | "end", since: number): void {
    const image = this.annotator.image.value;
    if (!image) return;
    this.pointer = place;
    if (phase === "begin")
      this.stroke = new Stroke(this.annotator.mask.value, image.width, image.height, looks.brush.value / 2, looks.tool.value === "brush" ? 1 : 0);
    if (!this.stroke) return;
    this.stroke.to(...place);
    if (phase === "end") {
      this.annotator.paint(this.stroke.mask, since);
      this.stroke = null;
    }
    this.later(false);
  }

  private resize(): void {
    const ratio = window.devicePixelRatio || 1;
    for (const canvas of [this.base, this.over]) {
      canvas.width = Math.round(this.element.clientWidth * ratio);
      canvas.height = Math.round(this.element.clientHeight * ratio);
    }
    if (this.annotator.image.value) this.fit();
    this.later(true);
  }

  private later(base: boolean): void {
    this.stale.base ||= base;
    if (!this.asked) this.asked = requestAnimationFrame(() => this.draw());
  }

  private draw(): void {
    this.asked = 0;
    const begun = performance.now();
    if (this.stale.base) this.drawImage();
    this.stale.base = false;
    const context = this.cleared(this.over);
    if (!this.annotator.bitmap.value) return;
    const { place, annotator, stroke } = this;
    for (const layer of layers(annotator)) {
      const current = stroke !== null && layer.mask === annotator.mask.value;
      if (!current) paintLayer(context, place, layer);
    }
    if (stroke?.mask) paintLayer(context, place, { mask: stroke.mask, color: annotator.colorOf(annotator.label.value), opacity: looks.opacity.value, line: 1.75 });
    paintSteps(context, place, annotator.steps.value);
    if (this.box) paintBox(context, place, this.box);
    if (this.cross) paintRing(context, place, ...this.cross, 5 / place.scale);
    if (this.pointer && looks.tool.value !== "click") paintRing(context, place, ...this.pointer, looks.brush.value / 2);
    annotator.latency.drawn(begun);
  }

  private drawImage(): void {
    const context = this.cleared(this.base);
    const bitmap = this.annotator.bitmap.value;
    if (!bitmap) return;
    context.imageSmoothingEnabled = this.place.scale < 3; // from there on single pixels are wanted
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0);
  }

  /** Empty, and in pixels of the image. */
  private cleared(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
    const context = canvas.getContext("2d")!;
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    const { scale, x, y } = this.place;
    context.setTransform(scale * ratio, 0, 0, scale * ratio, x * ratio, y * ratio);
    return context;
  }
}
