/** Binary frames: uint32 little-endian length of the header, the header as JSON, the payload. */

import { Mask } from "../canvas/mask";
import type { Box, Header, MaskEntry } from "./types";

export interface Reply {
  header: Header;
  payload: Uint8Array;
  /** When it was there, on the clock of `performance.now()`. */
  came: number;
}

const NOTHING = new Uint8Array(0);

export function decodeFrame(data: string | ArrayBuffer): Reply {
  const came = performance.now();
  if (typeof data === "string") return { header: JSON.parse(data) as Header, payload: NOTHING, came };
  const length = new DataView(data).getUint32(0, true);
  const text = new TextDecoder().decode(new Uint8Array(data, 4, length));
  return { header: JSON.parse(text) as Header, payload: new Uint8Array(data, 4 + length), came };
}

export function encodeFrame(header: object, payload?: Uint8Array): string | ArrayBuffer {
  const text = JSON.stringify(header);
  if (payload === undefined) return text;
  const head = new TextEncoder().encode(text);
  const frame = new Uint8Array(4 + head.length + payload.length);
  new DataView(frame.buffer).setUint32(0, head.length, true);
  frame.set(head, 4);
  frame.set(payload, 4 + head.length);
  return frame.buffer;
}

/** Bits of a crop as `np.packbits` writes them, each row padded to whole bytes: one byte a pixel, 0 or 1. */
export function unpackBits(bits: Uint8Array, width: number, height: number): Uint8Array {
  const stride = (width + 7) >> 3;
  if (bits.length < stride * height) throw new Error(`a mask of ${width} x ${height} came with ${bits.length} bytes`);
  const pixels = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const row = y * stride;
    for (let x = 0, at = y * width; x < width; x++, at++) pixels[at] = (bits[row + (x >> 3)]! >> (7 - (x & 7))) & 1;
  }
  return pixels;
}

export function packBits(pixels: Uint8Array, width: number, height: number): Uint8Array {
  const stride = (width + 7) >> 3;
  const bits = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) if (pixels[y * width + x]) bits[y * stride + (x >> 3)]! |= 0x80 >> (x & 7);
  return bits;
}

/** The mask of a frame of kind "mask"; null where nothing is segmented. */
export function maskOf(reply: Reply): Mask | null {
  const { width, height, box } = reply.header;
  return cropped(width ?? 0, height ?? 0, box ?? null, reply.payload);
}

export interface NamedMask {
  entry: MaskEntry;
  mask: Mask | null;
}

/** All masks of a frame of kind "masks". */
export function masksOf(reply: Reply, width: number, height: number): NamedMask[] {
  return (reply.header.masks ?? []).map((entry) => ({
    entry,
    mask: cropped(width, height, entry.box, reply.payload.subarray(entry.offset, entry.offset + entry.length)),
  }));
}

function cropped(width: number, height: number, box: Box | null, bits: Uint8Array): Mask | null {
  if (box === null || box[2] <= box[0] || box[3] <= box[1]) return null;
  return new Mask(width, height, box, unpackBits(bits, box[2] - box[0], box[3] - box[1]));
}
