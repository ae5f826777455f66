/** "Segment the rest": masks that look like what was accepted, taken or dropped one by one. */

import { batch, computed, signal } from "@preact/signals";
import type { Mask } from "../canvas/mask";
import { masksOf } from "../wire/frames";
import type { Id } from "../wire/types";
import type { Annotator } from "./annotator";

export interface Proposal {
  id: Id;
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
    if (this.owner.objects.all.value.length === 0)
      return this.owner.say("Accept an object or two first; then livesam looks for more like them.");
    const steps = this.owner.steps.value;
    this.busy.value = true;
    this.owner.say("Looking for more like these…");
    const reply = await this.owner.track(() => this.owner.wire.send("propose", { label: this.owner.label.value }).reply);
    this.busy.value = false;
    if (!reply || this.owner.image.value !== image || this.owner.steps.value !== steps) return; // the user went on
    const found = masksOf(reply, image.width, image.height);
    batch(() => {
      this.all.value = found.flatMap(({ entry, mask }) => (mask ? [{ id: entry.id!, mask, iou: entry.iou }] : []));
      this.at.value = 0;
    });
    const count = this.all.value.length;
    this.owner.say(count ? `${count} found: Y accepts, N discards.` : "Found nothing alike on this image.");
  }

  async decide(take: boolean): Promise<void> {
    const one = this.current.value;
    if (!one) return;
    this.without(one);
    const said = take ? { proposal: one.id, label: this.owner.label.value } : { proposal: one.id };
    const reply = await this.owner.track(() => this.owner.wire.send(take ? "take" : "drop", said).reply);
    if (reply?.header.object) this.owner.objects.add(reply.header.object, one.mask);
    if (reply && this.all.value.length === 0) this.owner.say("All proposals are decided.");
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
