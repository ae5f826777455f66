/** A mask: which pixels of a box are the object's. Immutable; keeps what was drawn of it. */

import type { Box } from "../wire/types";

export class Mask {
  private readonly tinted = new Map<string, OffscreenCanvas>();
  private edge: Path2D | null = null;

  /**
   * @param width of the image
   * @param height of the image
   * @param box of the crop
   * @param pixels one byte a pixel of the crop, 0 or 1, row by row
   */
  constructor(
    readonly width: number,
    readonly height: number,
    readonly box: Box,
    readonly pixels: Uint8Array,
  ) {}

  /** From one byte a pixel of the whole image; null where none is set. */
  static whole(width: number, height: number, pixels: Uint8Array): Mask | null {
    let [x0, y0, x1, y1] = [width, height, 0, 0];
    for (let y = 0, at = 0; y < height; y++)
      for (let x = 0; x < width; x++, at++)
        if (pixels[at]) {
          if (x < x0) x0 = x;
          if (x >= x1) x1 = x + 1;
          if (y < y0) y0 = y;
          y1 = y + 1;
        }
    if (x1 === 0) return null;
    const crop = new Uint8Array((x1 - x0) * (y1 - y0));
    for (let y = y0; y < y1; y++) crop.set(pixels.subarray(y * width + x0, y * width + x1), (y - y0) * (x1 - x0));
    return new Mask(width, height, [x0, y0, x1, y1], crop);
  }

  get cropWidth(): number {
    return this.box[2] - this.box[0];
  }

  get cropHeight(): number {
    return this.box[3] - this.box[1];
  }

  /** Pixels of the object. */
  get area(): number {
    return this.pixels.reduce((sum, one) => sum + one, 0);
  }

  /** One byte a pixel of the whole image. */
  filled(): Uint8Array {
    const whole = new Uint8Array(this.width * this.height);
    for (let y = 0; y < this.cropHeight; y++)
      whole.set(
        this.pixels.subarray(y * this.cropWidth, (y + 1) * this.cropWidth),
        (this.box[1] + y) * this.width + this.box[0],
      );
    return whole;
  }

  has(x: number, y: number): boolean {
    const [x0, y0, x1, y1] = this.box;
    const [column, row] = [Math.floor(x), Math.floor(y)];
    if (column < x0 || column >= x1 || row < y0 || row >= y1) return false;
    return this.pixels[(row - y0) * this.cropWidth + column - x0] === 1;
  }

  /** The crop in one opaque colour (`#rrggbb`), clear elsewhere. */
  tint(color: string): OffscreenCanvas {
    let canvas = this.tinted.get(color);
    if (!canvas) {
      canvas = new OffscreenCanvas(this.cropWidth, this.cropHeight);
      const context = canvas.getContext("2d")!;
      const data = context.createImageData(this.cropWidth, this.cropHeight);
      const [r, g, b] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)) as [number, number, number];
      // One 32-bit word a pixel; all machines that run browsers are little-endian.
      const word = ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
      const words = new Uint32Array(data.data.buffer);
      for (let i = 0; i < words.length; i++) if (this.pixels[i]) words[i] = word;
      context.putImageData(data, 0, 0);
      this.tinted.set(color, canvas);
    }
    return canvas;
  }

  /** The edges between its pixels and others, in pixels of the image. */
  outline(): Path2D {
    if (this.edge) return this.edge;
    const path = new Path2D();
    const [w, h, [ox, oy]] = [this.cropWidth, this.cropHeight, this.box];
    const wide = w + 2; // a border of nothing, so that no pixel has to ask whether it has neighbours
    const padded = new Uint8Array(wide * (h + 2));
    for (let y = 0; y < h; y++) padded.set(this.pixels.subarray(y * w, y * w + w), (y + 1) * wide + 1);
    for (let y = 0; y <= h; y++)
      for (let x = 0, at = (y + 1) * wide + 1; x < w; x++, at++) {
        if (padded[at] === padded[at - wide]) continue;
        const from = x;
        while (x < w && padded[at] !== padded[at - wide]) x++, at++;
        path.moveTo(ox + from, oy + y);
        path.lineTo(ox + x, oy + y);
      }
    for (let x = 0; x <= w; x++)
      for (let y = 0, at = wide + x + 1; y < h; y++, at += wide) {
        if (padded[at] === padded[at - 1]) continue;
        const from = y;
        while (y < h && padded[at] !== padded[at - 1]) y++, (at += wide);
        path.moveTo(ox + x, oy + from);
        path.lineTo(ox + x, oy + y);
      }
    this.edge = path;
    return path;
  }
}
