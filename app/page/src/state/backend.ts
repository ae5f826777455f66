/** What the annotator needs besides the wire; the page gets it over HTTP, the notebook over the same comm. */

import type { Mask } from "../canvas/mask";
import type { Id, ImageDetails } from "../wire/types";
import type { Wire } from "../wire/wire";

export interface Backend {
  readonly wire: Wire;
  details(image: string): Promise<ImageDetails>;
  /** @param levels which values become black and white, for deep images */
  pixels(image: string, levels: [low: number, high: number] | null): Promise<ImageBitmap>;
  objectMask(object: Id): Promise<Mask | null>;
  remove(object: Id): Promise<unknown>;
  relabel(object: Id, label: string): Promise<unknown>;
}
