/** The page's link: one WebSocket, opened again when it breaks. */

import { signal } from "@preact/signals";
import { decodeFrame, encodeFrame } from "./frames";
import type { Header } from "./types";
import { type LinkState, type Sent, Waiting, type Wire } from "./wire";

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 4000;

export class Socket implements Wire {
  readonly state = signal<LinkState>("connecting");
  /** Why the server closed the link, in its own words. */
  readonly why = signal("");
  onEvent: (header: Header) => void = () => undefined;
  onOpen: (again: boolean) => void = () => undefined;
  private readonly waiting = new Waiting();
  private socket: WebSocket | null = null;
  private was_open = false;
  private wait_ms = FIRST_WAIT_MS;

  constructor(private readonly url: string) {}

  open(): void {
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.state.value = "open";
      this.why.value = "";
      this.onOpen(this.was_open);
      this.was_open = true;
    };
    socket.onmessage = (message: MessageEvent<string | ArrayBuffer>) => {
      this.wait_ms = FIRST_WAIT_MS; // it not only took the call but talks
      const reply = decodeFrame(message.data);
      if (this.waiting.settle(reply)) return;
      if (reply.header.event === "closing") this.why.value = String(reply.header.why ?? "");
      this.onEvent(reply.header);
    };
    socket.onclose = () => {
      this.state.value = "lost";
      this.socket = null;
      this.waiting.failAll();
      setTimeout(() => this.open(), this.wait_ms);
      this.wait_ms = Math.min(this.wait_ms * 2, LONGEST_WAIT_MS);
    };
    this.socket = socket;
  }

  send(op: string, fields: object = {}, payload?: Uint8Array): Sent {
    const sent = this.waiting.next();
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(encodeFrame({ id: sent.id, op, ...fields }, payload));
    else this.waiting.fail(sent.id);
    return sent;
  }
}
