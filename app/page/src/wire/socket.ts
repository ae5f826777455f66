/** The page's link: one WebSocket, opened again when it breaks. */

import { signal } from "@preact/signals";
import { decodeFrame, encodeFrame } from "./frames";
import type { Header } from "./types";
import { type LinkState, type Sent, Waiting, type Wire } from "./wire";

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 4000;
const POLICY = 1008; // RFC 6455

export class Socket implements Wire {
  readonly state = signal<LinkState>("connecting");
  /** Why the server closed the link, in its own words. */
  readonly why = signal("");
  /** The server runs and does not want this page now: it is asked again when the user says so. */
  readonly turnedAway = signal(false);
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
      const reply = decodeFrame(message.data);
      const { re, error, event, why } = reply.header;
      if (typeof re === "number" && !error) this.wait_ms = FIRST_WAIT_MS; // it not only took the call but answers
      if (error?.code === "at_capacity") this.turnedAway.value = true;
      if (this.waiting.settle(reply)) return;
      if (event === "closing") {
        this.why.value = String(why ?? "");
        if (why === "idle") this.turnedAway.value = true;
      }
      this.onEvent(reply.header);
    };
    socket.onclose = ({ code }) => {
      if (code === POLICY) this.turnedAway.value = true;
      this.state.value = "lost";
      this.socket = null;
      this.waiting.failAll();
      if (this.turnedAway.value) return;
      setTimeout(() => this.open(), this.wait_ms);
      this.wait_ms = Math.min(this.wait_ms * 2, LONGEST_WAIT_MS);
    };
    this.socket = socket;
  }

  /** After the server turned this page away. */
  tryAgain(): void {
    if (!this.turnedAway.value) return;
    this.turnedAway.value = false;
    this.state.value = "connecting";
    this.open();
  }

  send(op: string, fields: object = {}, payload?: Uint8Array): Sent {
    const sent = this.waiting.next();
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(encodeFrame({ id: sent.id, op, ...fields }, payload));
    else this.waiting.fail(sent.id);
    return sent;
  }
}
