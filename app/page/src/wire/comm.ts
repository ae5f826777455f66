/** The notebook's link: the messages of the page's socket, through a Jupyter comm. */

import { signal } from "@preact/signals";
import type { Header } from "./types";
import { type LinkState, type Sent, Waiting, type Wire } from "./wire";

/** As anywidget hands it to `render`. */
export interface Model {
  send(content: object, callbacks?: undefined, buffers?: ArrayBuffer[]): void;
  on(event: "msg:custom", told: (header: Header, buffers: DataView[]) => void): void;
  off(event: "msg:custom", told: (header: Header, buffers: DataView[]) => void): void;
}

export class Comm implements Wire {
  readonly state = signal<LinkState>("open");
  onEvent: (header: Header) => void = () => undefined;
  onOpen: (again: boolean) => void = () => undefined;
  private readonly waiting = new Waiting();

  constructor(private readonly model: Model) {
    model.on("msg:custom", this.told);
  }

  close(): void {
    this.model.off("msg:custom", this.told);
    this.waiting.failAll();
  }

  send(op: string, fields: object = {}, payload?: Uint8Array): Sent {
    const sent = this.waiting.next();
    this.model.send({ id: sent.id, op, ...fields }, undefined, payload ? [payload.slice().buffer] : []);
    return sent;
  }

  private told = (header: Header, buffers: DataView[]): void => {
    const [first] = buffers;
    const payload = first ? new Uint8Array(first.buffer, first.byteOffset, first.byteLength) : new Uint8Array(0);
    if (!this.waiting.settle({ header, payload, came: performance.now() })) this.onEvent(header);
  };
}
