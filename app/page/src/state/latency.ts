/** Milliseconds from a click to its mask on the screen, as the user has them. */

import { computed, signal } from "@preact/signals";

const KEPT = 200;

export class Latency {
  readonly samples = signal<readonly number[]>([]);
  readonly p50 = computed(() => quantile(this.samples.value, 0.5));
  readonly p95 = computed(() => quantile(this.samples.value, 0.95));
  private since: number | null = null;
  private underWay = 0;

  get painting(): boolean {
    return this.since !== null || this.underWay > 0;
  }

  /** The mask that answers the event of this time is about to be painted. */
  expect(since: number): void {
    this.since = since;
  }

  /** A frame was drawn; the time is taken in the next task, when the browser has painted it. */
  drawn(): void {
    const since = this.since;
    if (since === null) return;
    this.since = null;
    this.underWay++;
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      this.samples.value = [...this.samples.value.slice(1 - KEPT), performance.now() - since];
      channel.port1.close();
      this.underWay--;
    };
    channel.port2.postMessage(null);
  }
}

export function quantile(samples: readonly number[], q: number): number | null {
  if (samples.length === 0) return null;
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)]!;
}
