/** "Segment the rest": masks that look like what was accepted, taken or dropped one by one. */

import { batch, computed, signal } from "@preact/signals";
import type { Mask } from "../canvas/mask";
import { masksOf } from "../wire/frames";
import type { Annotator } from "./annotator";

export interface Proposal {
  id: string;
  mask: Mask;
  iou: number;
}

export class Proposals {
  readonly all = signal<readonly Proposal[]>([]);
  readonly at = signal(0);
  readonly busy = signal(false);
  readonly current = computed(() => this.all.value[this.at.value] ?? null);

  constructor(private readonly owner: Annotator) {}

  clear(): void {
    batch(() => {
      this.all.value = [];
      this.at.value = 0;
    });
  }

  async ask(): Promise<void> {
    const image = this.owner.image.value;
    if (!image || this.busy.value) return;
    if (this.owner.started.value) return this.owner.say("Accept or reset the current object first.");
    if (this.owner.objects.value.length === 0)
      return this.owner.say("Accept an object or two first; then livesam looks for more like them.");
    this.busy.value = true;
    this.owner.say("Looking for more like these…");
    try {
      const reply = await this.owner.wire.send("propose", { label: this.owner.label.value }).reply;
      if (this.owner.image.value?.id !== image.id) return;
      const found = masksOf(reply, image.width, image.height);
      batch(() => {
        this.all.value = found.flatMap(({ entry, mask }) => (mask ? [{ id: entry.id!, mask, iou: entry.iou }] : []));
        this.at.value = 0;
      });
      const count = this.all.value.length;
      this.owner.say(count ? `${count} found: Y accepts, N discards.` : "Found nothing alike on this image.");
    } catch (error) {
      this.owner.fail(error);
    } finally {
      this.busy.value = false;
    }
  }

  async decide(take: boolean): Promise<void> {
    const one = this.current.value;
    if (!one) return;
    this.without(one);
    try {
      const sent = this.owner.wire.send(take ? "take" : "drop", take ? { id: one.id, label: this.owner.label.value } : { id: one.id });
      const { header } = await sent.reply;
      if (header.object) this.owner.add(header.object, one.mask);
      if (this.all.value.length === 0) this.owner.say("All proposals are decided.");
    } catch (error) {
      this.owner.fail(error);
    }
  }

  async dropAll(): Promise<void> {
    while (this.current.value) await this.decide(false);
  }

  select(at: number): void {
    this.at.value = at;
  }

  private without(one: Proposal): void {
    batch(() => {
      this.all.value = this.all.value.filter((other) => other !== one);
      this.at.value = Math.min(this.at.value, Math.max(0, this.all.value.length - 1));
    });
  }
}
