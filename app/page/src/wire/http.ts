/** The server's HTTP half. */

import { Mask } from "../canvas/mask";
import { Refused } from "./wire";

/** A path about the decoder that this page was opened for, by `?domain=` and `?private=`. */
export function whose(path: string): string {
  const asked = new URLSearchParams(location.search);
  const kept = new URLSearchParams();
  for (const name of ["domain", "private"]) {
    const value = asked.get(name);
    if (value) kept.set(name, value);
  }
  return kept.size > 0 ? `${path}?${kept}` : path;
}

async function answer(response: Response): Promise<Response> {
  if (response.ok) return response;
  let said = `${response.status} ${response.statusText}`;
  try {
    const body = (await response.json()) as { detail?: unknown; error?: { message?: string } };
    said = body.error?.message ?? (typeof body.detail === "string" ? body.detail : said);
  } catch {
    // no JSON: the status has to do
  }
  throw new Refused(String(response.status), said);
}

export async function get<T>(path: string): Promise<T> {
  return (await answer(await fetch(`/api/${path}`))).json() as Promise<T>;
}

export async function change<T>(method: "POST" | "PUT" | "PATCH" | "DELETE", path: string, body?: unknown): Promise<T> {
  const headers = body === undefined ? undefined : { "Content-Type": "application/json" };
  const response = await answer(
    await fetch(`/api/${path}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) }),
  );
  return (response.status === 204 ? undefined : await response.json()) as T;
}

export async function upload<T>(path: string, file: Blob): Promise<T> {
  return (await answer(await fetch(`/api/${path}`, { method: "POST", body: file }))).json() as Promise<T>;
}

/** Have the browser save what a path answers. */
export async function save(path: string): Promise<void> {
  const response = await answer(await fetch(`/api/${path}`));
  const link = document.createElement("a");
  link.download = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") ?? "")?.[1] ?? "";
  link.href = URL.createObjectURL(await response.blob());
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // by then it is read
}

export async function bitmap(path: string): Promise<ImageBitmap> {
  return createImageBitmap(await (await answer(await fetch(`/api/${path}`))).blob());
}

/** A mask from a grey PNG of the image's size. */
export async function maskFrom(path: string): Promise<Mask | null> {
  const picture = await bitmap(path);
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(picture, 0, 0);
  const rgba = context.getImageData(0, 0, picture.width, picture.height).data;
  const pixels = new Uint8Array(picture.width * picture.height);
  for (let i = 0; i < pixels.length; i++) pixels[i] = rgba[4 * i]! > 127 ? 1 : 0;
  return Mask.whole(picture.width, picture.height, pixels);
}
