/** A canvas over a part of the stage. What a browser has to composite anew is all of a canvas, so it is no larger than what is on it. */

import type { Box } from "../wire/types";
import type { View } from "./view";

const GRID = 32; // CSS pixels: what moves a little stays on the same canvas

export class Surface {
  private area: Box = [0, 0, 0, 0];
  private ratio = 1;

  constructor(readonly canvas: HTMLCanvasElement) {}

  /** Empty, and in pixels of the image; covers at least these CSS pixels of the stage. Null where that is nothing. */
  begin(needed: Box | null, width: number, height: number, view: View): CanvasRenderingContext2D | null {
    const context = this.canvas.getContext("2d")!;
    const ratio = window.devicePixelRatio || 1;
    const area = needed === null ? ([0, 0, 0, 0] as Box) : onGrid(needed, width, height);
    if (String(area) !== String(this.area) || ratio !== this.ratio) this.cover(area, ratio);
    else {
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    }
    if (area[2] <= area[0] || area[3] <= area[1]) return null;
    const { scale, x, y } = view;
    context.setTransform(scale * ratio, 0, 0, scale * ratio, (x - area[0]) * ratio, (y - area[1]) * ratio);
    return context;
  }

  private cover(area: Box, ratio: number): void {
    const [x0, y0, x1, y1] = area;
    const { canvas } = this;
    [canvas.width, canvas.height] = [Math.round((x1 - x0) * ratio), Math.round((y1 - y0) * ratio)];
    Object.assign(canvas.style, { left: `${x0}px`, top: `${y0}px`, width: `${x1 - x0}px`, height: `${y1 - y0}px` });
    [this.area, this.ratio] = [area, ratio];
  }
}

function onGrid([x0, y0, x1, y1]: Box, width: number, height: number): Box {
  const low = (value: number) => Math.max(0, Math.floor(value / GRID) * GRID);
  const high = (value: number, end: number) => Math.min(end, Math.ceil(value / GRID) * GRID);
  return [low(x0), low(y0), high(x1, width), high(y1, height)];
}

/** The smallest box around two. */
export function around(one: Box | null, other: Box): Box {
  return one === null
    ? other
    : [Math.min(one[0], other[0]), Math.min(one[1], other[1]), Math.max(one[2], other[2]), Math.max(one[3], other[3])];
}
