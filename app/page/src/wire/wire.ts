/** How the canvas talks to whoever segments: a WebSocket on the page, a Jupyter comm in a notebook. */

import type { Signal } from "@preact/signals";
import type { Reply } from "./frames";
import type { Header } from "./types";

export type LinkState = "connecting" | "open" | "lost";

export interface Sent {
  id: number;
  /** On the clock of `performance.now()`. */
  at: number;
  reply: Promise<Reply>;
}

export interface Wire {
  readonly state: Signal<LinkState>;
  /** Numbers rise; an answer to an older question than the latest is stale. */
  send(op: string, fields?: object, payload?: Uint8Array): Sent;
  /** Told each message that answers nothing. */
  onEvent: (header: Header) => void;
  /** Told each time the link is there, and whether it was there before. */
  onOpen: (again: boolean) => void;
}

/** The link went away before the answer came. */
export class LinkLost extends Error {
  constructor() {
    super("the server went away before it answered");
  }
}

/** The server's own words. */
export class Refused extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** Questions that wait for their answers. */
export class Waiting {
  private readonly open = new Map<number, { resolve(reply: Reply): void; reject(why: Error): void }>();
  private last = 0;

  next(): Sent {
    const id = ++this.last;
    const reply = new Promise<Reply>((resolve, reject) => this.open.set(id, { resolve, reject }));
    reply.catch(() => undefined); // whoever does not wait for it is told by the link's state
    return { id, at: performance.now(), reply };
  }

  /** Whether it was an answer. */
  settle(reply: Reply): boolean {
    const { re, error } = reply.header;
    if (re === undefined) return false;
    const one = this.open.get(re);
    this.open.delete(re);
    if (error) one?.reject(new Refused(error.code, error.message));
    else one?.resolve(reply);
    return true;
  }

  failAll(): void {
    const all = [...this.open.values()];
    this.open.clear();
    for (const one of all) one.reject(new LinkLost());
  }

  fail(id: number): void {
    const one = this.open.get(id);
    this.open.delete(id);
    one?.reject(new LinkLost());
  }
}
