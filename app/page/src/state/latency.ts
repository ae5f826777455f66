/** Milliseconds from a click to its mask on the screen, as the user has them, and where they went. */

import { batch, computed, signal } from "@preact/signals";

const KEPT = 200;

/** Times of one answer, on the clock of `performance.now()`. */
export interface Marks {
  /** When the user did it. */
  since: number;
  sent: number;
  came: number;
  /** What the server says of its own time, in milliseconds; `server` is all of it. */
  stages: Readonly<Record<string, number>>;
}

interface Drawn extends Marks {
  taken: number;
  painted: () => void;
}

/** Milliseconds of each stage; those of the page and `server` add up to `total`. */
export type Sample = Readonly<Record<string, number>>;

export class Latency {
  readonly samples = signal<readonly Sample[]>([]);
  private readonly totals = computed(() => this.samples.value.map((one) => one.total!));
  readonly p50 = computed(() => quantile(this.totals.value, 0.5));
  readonly p95 = computed(() => quantile(this.totals.value, 0.95));
  private marks: Drawn | null = null;
  /** A mask has come that is not on the screen yet. */
  readonly painting = signal(false);

  /** The mask that answers is unpacked, and about to be painted; `painted` is called once it is, unless a newer one comes. */
  expect(marks: Marks, painted: () => void): void {
    this.marks = { ...marks, painted, taken: performance.now() };
    this.painting.value = true;
  }

  /**
   * The mask was drawn, begun at this time. The end is taken in the first task after the frame that shows it.
   * @param inFrame whether that frame has begun; else it is the next one
   */
  drawn(begun: number, inFrame: boolean): void {
    const { marks } = this;
    if (marks === null) return;
    this.marks = null;
    const drawn = performance.now();
    if (inFrame) this.end(marks, begun, drawn, drawn);
    else requestAnimationFrame(() => this.end(marks, begun, drawn, performance.now()));
  }

  private end(marks: Drawn, begun: number, drawn: number, frame: number): void {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      const { since, sent, came, taken, stages, painted } = marks;
      const now = performance.now();
      const server = stages.server ?? 0;
      const page = {
        send: sent - since, wire: came - sent - server, unpack: taken - came,
        draw: drawn - begun, frame: begun - taken + frame - drawn, paint: now - frame,
      };
      this.samples.value = [...this.samples.value.slice(1 - KEPT), { ...stages, server, ...page, total: now - since }];
      channel.port1.close();
      batch(() => {
        painted();
        this.painting.value = this.marks !== null;
      });
    };
    channel.port2.postMessage(null);
  }
}

export function quantile(samples: readonly number[], q: number): number | null {
  if (samples.length === 0) return null;
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)]!;
}
