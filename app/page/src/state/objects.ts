/** The accepted objects of the image, with their masks. */

import { batch, signal } from "@preact/signals";
import type { Mask } from "../canvas/mask";
import type { AnnotatedObject, Id } from "../wire/types";
import type { Annotator } from "./annotator";

export class Objects {
  readonly all = signal<readonly AnnotatedObject[]>([]);
  readonly masks = signal<ReadonlyMap<Id, Mask>>(new Map());
  /** Told when their number has changed. */
  onCount: (image: string, objects: number) => void = () => undefined;

  constructor(private readonly owner: Annotator) {}

  clear(): void {
    this.all.value = [];
    this.masks.value = new Map();
  }

  /** An accepted object is there, or there again. */
  add(object: AnnotatedObject, mask: Mask | null, instead: AnnotatedObject | null = null): void {
    const gone = instead?.id ?? object.id;
    const masks = new Map(this.masks.value);
    masks.delete(gone);
    if (mask) masks.set(object.id, mask);
    this.set([...this.all.value.filter((one) => one.id !== gone && one.id !== object.id), object], masks);
    this.owner.say(`Saved ${object.label || "the object"}: ${object.clicks} ${object.clicks === 1 ? "click" : "clicks"}.`);
  }

  async remove(object: AnnotatedObject): Promise<void> {
    await this.owner.track(async () => {
      await this.owner.backend.remove(object.id);
      const masks = new Map(this.masks.value);
      masks.delete(object.id);
      this.set(this.all.value.filter((one) => one.id !== object.id), masks);
      this.owner.say(`Deleted ${object.label || "the object"}.`);
    });
  }

  async relabel(object: AnnotatedObject, label: string): Promise<void> {
    await this.owner.track(async () => {
      await this.owner.backend.relabel(object.id, label);
      this.all.value = this.all.value.map((one) => (one.id === object.id ? { ...one, label } : one));
    });
  }

  async loadMasks(): Promise<void> {
    const image = this.owner.image.value?.id;
    for (const object of this.all.value) {
      if (this.masks.value.has(object.id)) continue;
      const mask = await this.owner.backend.objectMask(object.id).catch(() => null);
      if (this.owner.image.value?.id !== image) return;
      if (mask) this.masks.value = new Map(this.masks.value).set(object.id, mask);
    }
  }

  private set(all: readonly AnnotatedObject[], masks: ReadonlyMap<Id, Mask>): void {
    batch(() => {
      this.all.value = all;
      this.masks.value = masks;
    });
    this.onCount(this.owner.image.value!.id, all.length);
  }
}
