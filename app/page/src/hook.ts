/** `window.__livesam`: what tests and benchmarks read. It shows what is there and changes nothing. */

import { effect } from "@preact/signals";
import { paintLayer } from "./canvas/painter";
import type { StageHandle } from "./canvas/stage";
import type { Annotator } from "./state/annotator";
import type { Sample } from "./state/latency";

export interface Hook {
  /** The current mask as the painter paints it, one "0" or "1" a pixel of the image, or null. */
  painted(): string | null;
  /** Milliseconds of the last clicks, stage by stage. */
  latencies(): readonly Sample[];
  /** Once nothing is on its way, the image is ready, and all masks are painted. */
  whenSettled(): Promise<void>;
  steps(): number;
  /** Accepted ones of this image. */
  objects(): number;
  size(): [width: number, height: number];
  /** A pixel of the image on the screen, in CSS pixels of the window. */
  onScreen(x: number, y: number): [number, number];
}

export function hook(annotator: Annotator, stage: () => StageHandle | null): Hook {
  return {
    painted() {
      const mask = annotator.mask.value;
      if (!mask) return null;
      const context = new OffscreenCanvas(mask.width, mask.height).getContext("2d", { willReadFrequently: true })!;
      paintLayer(context, { scale: 1, x: 0, y: 0 }, { mask, color: "#ffffff", opacity: 1, line: 0 });
      const { data } = context.getImageData(0, 0, mask.width, mask.height);
      let bits = "";
      for (let at = 3; at < data.length; at += 4) bits += data[at]! > 127 ? "1" : "0";
      return bits;
    },
    latencies: () => annotator.latency.samples.value,
    async whenSettled() {
      const there = () => annotator.settled.value && !annotator.latency.painting.value;
      while (!there())
        await new Promise<void>((done) => {
          const stop = effect(() => {
            if (there()) setTimeout(() => (stop(), done()));
          });
        });
    },
    steps: () => annotator.steps.value.length,
    objects: () => annotator.objects.all.value.length,
    size: () => [annotator.image.value?.width ?? 0, annotator.image.value?.height ?? 0],
    onScreen(x, y) {
      const rect = document.querySelector(".stage")!.getBoundingClientRect();
      const view = stage()!.view();
      return [rect.left + view.x + x * view.scale, rect.top + view.y + y * view.scale];
    },
  };
}
