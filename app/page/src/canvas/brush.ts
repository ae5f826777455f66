/** Painting on a mask by hand, for what clicks do not reach. */

import { Mask } from "./mask";

/** One stroke on a copy of the mask. */
export class Stroke {
  private readonly pixels: Uint8Array;
  private last: [number, number] | null = null;

  constructor(
    from: Mask | null,
    private readonly width: number,
    private readonly height: number,
    private readonly radius: number,
    private readonly value: 0 | 1,
  ) {
    this.pixels = from ? from.filled() : new Uint8Array(width * height);
  }

  /** Go on to a point, in pixels of the image. */
  to(x: number, y: number): void {
    const [fromX, fromY] = this.last ?? [x, y];
    const steps = Math.max(1, Math.ceil(Math.hypot(x - fromX, y - fromY) / Math.max(0.5, this.radius / 2)));
    for (let i = 1; i <= steps; i++) this.dab(fromX + ((x - fromX) * i) / steps, fromY + ((y - fromY) * i) / steps);
    this.last = [x, y];
  }

  private dab(x: number, y: number): void {
    const r = this.radius;
    const [top, bottom] = [Math.max(0, Math.floor(y - r)), Math.min(this.height - 1, Math.floor(y + r))];
    for (let row = top; row <= bottom; row++) {
      const reach = r * r - (row + 0.5 - y) ** 2;
      if (reach < 0) continue;
      const half = Math.sqrt(reach);
      const from = Math.max(0, Math.round(x - half));
      const to = Math.min(this.width, Math.round(x + half));
      if (to > from) this.pixels.fill(this.value, row * this.width + from, row * this.width + to);
    }
    const [column, line] = [Math.floor(x), Math.floor(y)]; // the thinnest brush paints the pixel that it is on
    if (column >= 0 && line >= 0 && column < this.width && line < this.height) this.pixels[line * this.width + column] = this.value;
  }

  get mask(): Mask | null {
    return Mask.whole(this.width, this.height, this.pixels);
  }
}
