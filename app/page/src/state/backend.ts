/** What the annotator needs besides the wire; the page gets it over HTTP, the notebook over the same comm. */

import type { Mask } from "../canvas/mask";
import type { ImageDetails } from "../wire/types";
import type { Wire } from "../wire/wire";

export interface Backend {
  readonly wire: Wire;
  details(image: string): Promise<ImageDetails>;
  /** @param levels which values become black and white, for deep images */
  pixels(image: string, levels: [low: number, high: number] | null): Promise<ImageBitmap>;
  objectMask(object: string): Promise<Mask | null>;
  remove(object: string): Promise<unknown>;
  relabel(object: string, label: string): Promise<unknown>;
}
