/** The page: a folder of images, what was learned, and how it is looked at. */

import { batch, computed, signal } from "@preact/signals";
import { bitmap, change, get, maskFrom, save, upload, whose } from "../wire/http";
import { Socket } from "../wire/socket";
import type { Header, ImageDetails, ImageItem, ImageList, Info, Label, Learning } from "../wire/types";
import { Annotator } from "./annotator";
import type { Backend } from "./backend";

const FIRST_LABEL: Label = { name: "object", color: "#2f9e8f" };
const READY_AGAIN_MS = 500; // until the model is open
const PAGE = 200; // images asked for at once

export type Trouble = { title: string; text: string };

export class Store {
  readonly info = signal<Info | null>(null);
  readonly trouble = signal<Trouble | null>(null);
  readonly total = signal(0);
  readonly done = signal(0);
  readonly items = signal<ReadonlyMap<number, ImageItem>>(new Map());
  readonly at = signal(-1);
  readonly learning = signal<Learning | null>(null);
  readonly empty = computed(() => this.info.value !== null && this.total.value === 0);
  readonly socket: Socket;
  readonly annotator: Annotator;
  private readonly asked = new Set<number>();
  private returns = 0; // of the server

  constructor() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new Socket(`${scheme}://${location.host}/api/${whose("session")}`);
    this.annotator = new Annotator(backend(this.socket));
    this.annotator.objects.onCount = (image, objects) => this.counted(image, objects);
    this.socket.onEvent = (header) => this.told(header);
    this.socket.onOpen = (again) => void (again ? this.returned() : this.begin());
  }

  start(): void {
    this.socket.open();
  }

  private async begin(): Promise<void> {
    try {
      await this.refresh();
      if (this.total.value === 0) return;
      if (this.annotator.labels.value.length === 0) await this.setLabels([FIRST_LABEL]);
      await this.load(0);
      await this.go(await this.firstOpen());
    } catch (error) {
      this.trouble.value = { title: "The server did not answer as expected", text: String(error instanceof Error ? error.message : error) };
    }
  }

  private async returned(): Promise<void> {
    this.asked.clear();
    this.trouble.value = null;
    if (this.at.value < 0) return this.begin();
    const mine = ++this.returns;
    this.annotator.catchingUp.value = true;
    try {
      await this.refresh();
      await this.load(this.at.value);
      if (mine !== this.returns) return; // it went away and came back once more
      this.annotator.say("The server is back.");
      await this.annotator.resume(); // which may have worse to say
    } catch (error) {
      this.annotator.fail(error);
    } finally {
      if (mine === this.returns) this.annotator.catchingUp.value = false;
    }
  }

  private async refresh(): Promise<void> {
    let info = await get<Info>("info");
    for (; !info.ready; info = await get<Info>("info")) await new Promise((done) => setTimeout(done, READY_AGAIN_MS));
    const learning = await get<Learning>(whose("learning"));
    batch(() => {
      this.info.value = info;
      this.learning.value = learning;
      this.annotator.labels.value = info.labels;
      if (!info.labels.some((one) => one.name === this.annotator.label.value)) this.annotator.label.value = info.labels[0]?.name ?? FIRST_LABEL.name;
    });
    const list = await get<ImageList>("images?offset=0&limit=1");
    this.total.value = list.total;
    this.done.value = list.done;
  }

  /** The image that this browser was at, while it is there; else what the server says. */
  private async firstOpen(): Promise<number> {
    const known = remembered(this.folder);
    if (known && known.at < this.total.value) {
      await this.load(known.at);
      for (const [at, item] of this.items.value) if (item.id === known.id) return at;
    }
    return this.info.value?.index ?? 0;
  }

  private get folder(): string {
    return this.info.value?.folder ?? "";
  }

  /** Images around a place in the list. */
  async load(at: number): Promise<void> {
    const offset = Math.floor(at / PAGE) * PAGE;
    if (this.asked.has(offset)) return;
    this.asked.add(offset);
    try {
      const list = await get<ImageList>(`images?offset=${offset}&limit=${PAGE}`);
      const items = new Map(this.items.value);
      list.items.forEach((item, i) => items.set(offset + i, item));
      batch(() => {
        this.items.value = items;
        this.total.value = list.total;
        this.done.value = list.done;
      });
    } catch (error) {
      this.asked.delete(offset);
      throw error;
    }
  }

  async go(at: number): Promise<void> {
    await this.annotator.accepting.value;
    if (at < 0 || at >= this.total.value) return this.annotator.say(at < 0 ? "This is the first image." : "This is the last image.");
    await this.load(at).catch((error) => this.annotator.fail(error));
    const item = this.items.value.get(at);
    if (!item) return;
    this.at.value = at;
    remember(this.folder, { id: item.id, at });
    await this.annotator.open(item.id);
  }

  /** @param done mark the image that is left */
  async step(by: number, done = false): Promise<void> {
    await this.annotator.accepting.value;
    if (this.annotator.started.value && this.annotator.mask.value)
      return this.annotator.say("Accept (Enter) or reset (Esc) the current object first.");
    if (done) await this.setDone(true);
    await this.go(this.at.value + by);
  }

  async setDone(done: boolean): Promise<void> {
    const item = this.items.value.get(this.at.value);
    if (!item || (item.state === "done") === done) return;
    try {
      await change("POST", `images/${item.id}/done`, { done });
      this.update(this.at.value, { state: done ? "done" : item.objects > 0 ? "started" : "new" });
      this.done.value += done ? 1 : -1;
    } catch (error) {
      this.annotator.fail(error);
    }
  }

  private counted(image: string, objects: number): void {
    for (const [at, item] of this.items.value)
      if (item.id === image)
        this.update(at, { objects, state: item.state === "done" ? "done" : objects > 0 ? "started" : "new" });
  }

  private update(at: number, fields: Partial<ImageItem>): void {
    const item = this.items.value.get(at);
    if (item) this.items.value = new Map(this.items.value).set(at, { ...item, ...fields });
  }

  /** False where the server refused them: then all is as before. */
  async setLabels(labels: readonly Label[], chosen = this.annotator.label.value): Promise<boolean> {
    const { annotator } = this;
    const [before, last] = [annotator.labels.value, annotator.label.value];
    [annotator.labels.value, annotator.label.value] = [labels, chosen];
    try {
      await change("PUT", "labels", labels);
      return true;
    } catch (error) {
      [annotator.labels.value, annotator.label.value] = [before, last];
      annotator.fail(error);
      return false;
    }
  }

  async setLearning(enabled: boolean): Promise<void> {
    await this.learned(() => change("POST", whose("learning"), { enabled }));
  }

  async rollBack(version: number): Promise<void> {
    await this.learned(() => change("POST", whose("learning/rollback"), { version }));
    this.annotator.say(`Back at version ${version}.`);
  }

  private async learned(call: () => Promise<unknown>): Promise<void> {
    try {
      await call();
      this.learning.value = await get<Learning>(whose("learning"));
    } catch (error) {
      this.annotator.fail(error);
    }
  }

  /** Export to a file; by a link alone nobody would be told what the server says against it. */
  async save(path: string, name: string): Promise<void> {
    this.annotator.say(`Exporting ${name}…`);
    try {
      await save(path);
      this.annotator.say(`Exported ${name}.`);
    } catch (error) {
      this.annotator.fail(error);
    }
  }

  async takeIn(format: string, file: File): Promise<void> {
    try {
      const said = await upload<{ objects: number; images: number; skipped: string[] }>(`import/${format}`, file);
      this.annotator.say(`Imported ${said.objects} objects on ${said.images} images${said.skipped.length ? `; skipped ${said.skipped.length}` : ""}.`);
      this.asked.clear();
      await this.refresh();
      await this.load(this.at.value);
      await this.annotator.open(this.items.value.get(this.at.value)!.id);
    } catch (error) {
      this.annotator.fail(error);
    }
  }

  private told(header: Header): void {
    if (header.event === "learning") this.learning.value = header as unknown as Learning;
  }
}

function backend(wire: Socket): Backend {
  return {
    wire,
    details: (image) => get<ImageDetails>(`images/${image}`),
    pixels: (image, levels) => bitmap(`images/${image}/pixels${levels ? `?low=${levels[0]}&high=${levels[1]}` : ""}`),
    objectMask: (object) => maskFrom(`objects/${object}/mask`),
    remove: (object) => change("DELETE", `objects/${object}`),
    relabel: (object, label) => change("PATCH", `objects/${object}`, { label }),
  };
}

type Place = { id: string; at: number };

const keyOf = (folder: string) => `livesam.image:${folder}`;

function remember(folder: string, place: Place): void {
  try {
    localStorage.setItem(keyOf(folder), JSON.stringify(place));
  } catch {
    // storage is switched off
  }
}

/** Which image of a folder this browser was at. */
function remembered(folder: string): Place | null {
  try {
    const { id, at } = JSON.parse(localStorage.getItem(keyOf(folder)) ?? "{}");
    return typeof id === "string" && Number.isInteger(at) && at >= 0 ? { id, at } : null;
  } catch {
    return null;
  }
}
