/** One user at one image: what was said, what the server answered, what is to be seen. Nothing is drawn here. */

import { batch, computed, effect, signal } from "@preact/signals";
import type { Mask } from "../canvas/mask";
import { type NamedMask, type Reply, maskOf, masksOf } from "../wire/frames";
import type { AnnotatedObject, Box, ImageDetails, Label } from "../wire/types";
import { LinkLost, type Sent } from "../wire/wire";
import type { Backend } from "./backend";
import { Latency } from "./latency";
import { Objects } from "./objects";
import { Proposals } from "./proposals";
import { type Step, say, sayAgain } from "./steps";

const SOON_MS = 80; // nobody sees a click's mark come later by that

export interface Notice {
  text: string;
  bad: boolean;
}

/** What is being accepted, until the server says that it is saved. */
interface Saving {
  image: string;
  steps: readonly Step[];
  mask: Mask;
  editing: AnnotatedObject | null;
  said: { label: string; rough: boolean; key: string };
}

/** Nobody else's: by it the server knows an accept that is said again. */
function freshKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Annotator {
  readonly image = signal<ImageDetails | null>(null);
  readonly bitmap = signal<ImageBitmap | null>(null);
  readonly ready = signal(false); // the image is encoded
  readonly broken = signal<string | null>(null); // why the chosen image cannot be opened
  readonly steps = signal<readonly Step[]>([]);
  readonly undone = signal<readonly Step[]>([]);
  /** The steps as they are seen: with their answer, where that comes soon, so that a browser draws one frame and not two. */
  readonly seen = signal<readonly Step[]>([]);
  private together: ReturnType<typeof setTimeout> | null = null; // until then
  readonly mask = signal<Mask | null>(null);
  readonly iou = signal<number | null>(null);
  readonly version = signal<number | null>(null);
  readonly candidates = signal<readonly NamedMask[]>([]);
  readonly choice = signal(0);
  readonly preview = signal<Mask | null>(null);
  readonly comparison = signal<readonly NamedMask[]>([]);
  readonly editing = signal<AnnotatedObject | null>(null);
  readonly labels = signal<readonly Label[]>([]);
  readonly label = signal("");
  readonly notice = signal<Notice | null>(null);
  readonly waiting = signal(0); // answers that have not come
  readonly latency = new Latency();
  readonly objects = new Objects(this);
  readonly proposals = new Proposals(this);

  /** The link is new, and the server does not know yet what was said before. */
  readonly catchingUp = signal(false);
  /** What is said reaches the server at once; else it is kept, and said when the server is back. */
  readonly live = computed(() => this.wire.state.value === "open" && !this.catchingUp.value);
  /** The image is ready, and no answer is outstanding. */
  readonly settled = computed(
    () =>
      this.live.value && this.ready.value && this.waiting.value === 0 && this.saving.value === null && this.accepting.value === null,
  );
  /** An accept that has not been answered. */
  readonly accepting = signal<Promise<void> | null>(null);
  private later: (() => void)[] = []; // what is said meanwhile
  readonly started = computed(() => this.steps.value.length > 0 || this.editing.value !== null);
  /** The same as it is seen. */
  readonly begun = computed(() => this.seen.value.length > 0 || this.editing.value !== null);
  private latest = 0; // the newest question whose answer is shown
  private hovering: number | null = null;
  private readonly saving = signal<Saving | null>(null);
  private levels: [number, number] | null = null;

  constructor(readonly backend: Backend) {
    effect(() => {
      const steps = this.steps.value;
      if (this.together === null) this.seen.value = steps;
    });
  }

  get wire() {
    return this.backend.wire;
  }

  say(text: string, bad = false): void {
    this.notice.value = { text, bad };
  }

  fail(error: unknown): void {
    if (error instanceof LinkLost) return; // the link's state says so
    this.say(error instanceof Error ? error.message : String(error), true);
  }

  colorOf(label: string): string {
    return this.labels.value.find((one) => one.name === label)?.color ?? "#2f9e8f";
  }

  async open(id: string): Promise<void> {
    this.later = [];
    batch(() => {
      this.forget();
      this.broken.value = null;
      this.ready.value = false;
      this.bitmap.value = null;
      this.objects.clear();
      this.proposals.clear();
      this.levels = null;
    });
    const opened = this.wire.send("open", { image: id });
    this.latest = opened.id;
    try {
      const details = await this.backend.details(id);
      if (this.latest !== opened.id) return;
      batch(() => {
        this.image.value = details;
        this.objects.all.value = details.objects;
      });
      const bitmap = await this.backend.pixels(id, null);
      if (this.image.value?.id !== id) return;
      this.bitmap.value = bitmap;
      await opened.reply;
      if (this.image.value?.id !== id) return;
      this.ready.value = true;
    } catch (error) {
      if (error instanceof LinkLost || this.latest !== opened.id) return this.fail(error);
      batch(() => {
        this.image.value = this.bitmap.value = null;
        this.broken.value = error instanceof Error ? error.message : String(error);
      });
      return;
    }
    await this.objects.loadMasks().catch((error) => this.fail(error));
  }

  async setLevels(levels: [number, number]): Promise<void> {
    const image = this.image.value;
    if (!image) return;
    this.levels = levels;
    try {
      const bitmap = await this.backend.pixels(image.id, levels);
      if (this.levels === levels && this.image.value?.id === image.id) this.bitmap.value = bitmap;
    } catch (error) {
      this.fail(error);
    }
  }

  /** The button is down: the server may think already about the click that is to come. */
  press(x: number, y: number, positive: boolean): void {
    const image = this.image.value;
    if (!image || !this.ready.value || !this.live.value || this.accepting.value !== null) return;
    if (x < 0 || y < 0 || x >= image.width || y >= image.height || !(positive || this.started.value)) return;
    this.wire.send("press", { x, y, positive }).reply.catch(() => undefined); // the click asks again, and says what is wrong
  }

  /** @param since when the user did it, on the clock of `performance.now()` */
  click(x: number, y: number, positive: boolean, since: number): void {
    if (this.postponed(() => this.click(x, y, positive, since))) return;
    const image = this.image.value;
    if (!image || !this.ready.value) return;
    if (x < 0 || y < 0 || x >= image.width || y >= image.height) return;
    if (!positive && this.steps.value.length === 0 && !this.editing.value)
      return this.say("Click on the object first; then remove what does not belong to it.");
    this.advance({ op: "click", x, y, positive }, since);
  }

  box(box: Box, since: number): void {
    if (this.postponed(() => this.box(box, since))) return;
    const image = this.image.value;
    if (!image || !this.ready.value) return;
    const [x0, y0] = [Math.max(0, box[0]), Math.max(0, box[1])];
    const [x1, y1] = [Math.min(image.width, box[2]), Math.min(image.height, box[3])];
    if (x1 - x0 >= 1 && y1 - y0 >= 1) this.advance({ op: "box", box: [x0, y0, x1, y1] }, since);
  }

  paint(mask: Mask | null, since: number): void {
    if (this.postponed(() => this.paint(mask, since))) return;
    if (!this.image.value || !this.ready.value) return;
    if (!mask) return this.say("Nothing would be left of the object: Esc starts it over.");
    const before = this.mask.value;
    this.mask.value = mask;
    this.advance({ op: "paint", mask }, since, () => (this.mask.value = before));
  }

  private advance(step: Step, since: number, refused: () => void = () => undefined): void {
    if (this.live.value) this.together ??= setTimeout(() => this.seeSteps(), SOON_MS);
    batch(() => {
      this.steps.value = [...this.steps.value, step];
      this.undone.value = [];
      this.aside();
    });
    if (!this.live.value) return;
    this.show(say(this.wire, step), since, () => {
      this.steps.value = this.steps.value.filter((one) => one !== step);
      refused();
    });
  }

  undo(): void {
    if (this.postponed(() => this.undo())) return;
    const last = this.steps.value.at(-1);
    if (!last) return this.say("Nothing to undo.");
    batch(() => {
      this.steps.value = this.steps.value.slice(0, -1);
      this.undone.value = [...this.undone.value, last];
      this.aside();
    });
    if (this.live.value) this.show(this.wire.send("undo"), performance.now());
  }

  redo(): void {
    if (this.postponed(() => this.redo())) return;
    const next = this.undone.value.at(-1);
    if (!next) return this.say("Nothing to redo.");
    batch(() => {
      this.undone.value = this.undone.value.slice(0, -1);
      this.steps.value = [...this.steps.value, next];
      this.aside();
    });
    if (this.live.value) this.show(this.wire.send("redo"), performance.now());
  }

  reset(): void {
    if (this.postponed(() => this.reset())) return;
    if (!this.started.value) return;
    this.forget();
    const sent = this.wire.send("reset");
    this.latest = sent.id;
    sent.reply.catch((error) => this.fail(error));
    this.say("Started over.");
  }

  /** Count a question as outstanding until it is answered, and say what went wrong. */
  async track<T>(work: () => Promise<T>): Promise<T | undefined> {
    this.waiting.value++;
    try {
      return await work();
    } catch (error) {
      this.fail(error);
      return undefined;
    } finally {
      this.waiting.value--;
    }
  }

  /** The next of the masks that the first click could mean. */
  async cycle(): Promise<void> {
    if (this.postponed(() => void this.cycle())) return;
    const [first, ...more] = this.steps.value;
    if (!first || more.length > 0 || first.op !== "click")
      return this.say("Other masks are offered after the first click only.");
    const image = this.image.value!;
    if (this.candidates.value.length === 0) {
      const reply = await this.track(() => this.wire.send("candidates").reply);
      if (!reply || this.steps.value[0] !== first || this.steps.value.length > 1) return;
      this.candidates.value = masksOf(reply, image.width, image.height);
      this.choice.value = this.shownCandidate();
    }
    const count = this.candidates.value.length;
    if (count === 0) return;
    this.choice.value = (this.choice.value + 1) % count;
    this.steps.value = [{ ...first, choice: this.choice.value }];
    this.show(this.wire.send("choose", { index: this.choice.value }), performance.now());
    this.say(`Mask ${this.choice.value + 1} of ${count}.`);
  }

  /** The candidate that is on the screen already. */
  private shownCandidate(): number {
    const same = (one: NamedMask) => String(one.mask?.box) === String(this.mask.value?.box);
    return Math.max(0, this.candidates.value.findIndex(same));
  }

  async hover(x: number, y: number): Promise<void> {
    const image = this.image.value;
    if (!image || !this.ready.value || this.started.value || this.hovering !== null) return;
    if (x < 0 || y < 0 || x >= image.width || y >= image.height) return void (this.preview.value = null);
    const sent = this.wire.send("preview", { x, y });
    this.hovering = sent.id;
    try {
      const reply = await sent.reply;
      if (!this.started.value && this.image.value?.id === image.id) this.preview.value = maskOf(reply);
    } catch {
      // the next movement asks again
    } finally {
      this.hovering = null;
    }
  }

  async compare(): Promise<void> {
    const image = this.image.value;
    if (!image) return;
    if (this.comparison.value.length > 0) return void (this.comparison.value = []);
    if (!this.started.value) return this.say("Click on an object first; then compare.");
    const [steps, editing] = [this.steps.value, this.editing.value];
    const reply = await this.track(() => this.wire.send("compare").reply);
    const same = this.image.value === image && this.steps.value === steps && this.editing.value === editing;
    if (reply && same) this.comparison.value = masksOf(reply, image.width, image.height);
  }

  /** Accept what the last answer shows; what is said until that is done comes after it. */
  async accept(rough = false): Promise<void> {
    if (this.postponed(() => void this.accept(rough))) return;
    const image = this.image.value;
    if (!image) return;
    if (!this.live.value || this.saving.value) {
      this.later = []; // it was meant for the object after this one
      return this.say("The server is away: accept when it is back.", true);
    }
    const accepting = this.save(image, this.label.value, rough);
    this.accepting.value = accepting;
    await accepting;
    batch(() => {
      this.accepting.value = null;
      while (this.accepting.value === null && this.later.length > 0) this.later.shift()!();
    });
  }

  private async save(image: ImageDetails, label: string, rough: boolean): Promise<void> {
    await this.answered();
    if (this.image.value?.id !== image.id) return;
    const [mask, editing] = [this.mask.value, this.editing.value];
    if (!this.live.value || !mask) {
      this.later = []; // it was meant for the object after this one
      if (mask) return this.say("The server went away before this object was accepted: accept it when it is back.", true);
      return this.say("Nothing to accept yet: click on an object.");
    }
    const saving = { image: image.id, steps: this.steps.value, mask, editing, said: { label, rough, key: freshKey() } };
    this.saving.value = saving;
    const sent = this.wire.send("accept", saving.said);
    this.latest = sent.id;
    this.forget();
    try {
      this.saved(saving, await sent.reply);
    } catch (error) {
      if (error instanceof LinkLost) return; // resume says it again
      this.later = []; // it was meant for the next object, and this one is here again
      this.takeBack();
      this.fail(error);
    }
  }

  private saved({ image, mask, editing }: Saving, reply: Reply): void {
    const { object } = reply.header;
    this.saving.value = null;
    if (!object || this.image.value?.id !== image) return;
    this.objects.add(object, object.area === mask.area ? mask : null, editing);
    void this.objects.loadMasks(); // what the server has, where it is not what was shown
  }

  /** While an object is being accepted, what is said waits: it is about the next one. */
  private postponed(again: () => void): boolean {
    if (this.accepting.value === null) return false;
    this.later.push(again);
    return true;
  }

  /** No answer is outstanding. */
  private async answered(): Promise<void> {
    while (this.waiting.value > 0)
      await new Promise<void>((done) => {
        const stop = effect(() => {
          // in a task of its own: whoever waited for the answer may have another question
          if (this.waiting.value === 0) setTimeout(() => (stop(), done()));
        });
      });
  }

  edit(object: AnnotatedObject): void {
    if (this.postponed(() => this.edit(object))) return;
    if (this.started.value) return this.say("Accept or reset the current object first.");
    batch(() => {
      this.editing.value = object;
      this.mask.value = this.objects.masks.value.get(object.id) ?? null;
      if (object.label) this.label.value = object.label;
    });
    this.show(this.wire.send("edit", { object: object.id }), performance.now(), () => (this.editing.value = null));
  }

  /**
   * The server is back: first what may not have been saved, then the same image, and what was said about the current object.
   * @throws it went away again, or has not this image any more
   */
  async resume(): Promise<void> {
    if (this.saving.value) await this.saveAgain(this.saving.value);
    const image = this.image.value;
    if (!image) return;
    const opened = this.wire.send("open", { image: image.id });
    this.latest = opened.id;
    const details = await this.backend.details(image.id);
    await opened.reply;
    if (this.image.value?.id !== image.id) return;
    batch(() => {
      this.image.value = details;
      this.objects.all.value = details.objects;
      this.undone.value = [];
      this.ready.value = true;
    });
    const { editing, steps } = this;
    let last = editing.value ? this.wire.send("edit", { object: editing.value.id }) : null;
    last = sayAgain(this.wire, steps.value) ?? last;
    this.catchingUp.value = false; // what is said from here on comes after that
    if (last) this.show(last, performance.now());
    void this.objects.loadMasks();
    if (!this.bitmap.value) this.bitmap.value = await this.backend.pixels(image.id, this.levels);
  }

  /**
   * All of an object once more, under the same key: one that had arrived stays the one that it is.
   * @throws the server went away again
   */
  private async saveAgain(saving: Saving): Promise<void> {
    this.wire.send("open", { image: saving.image });
    if (saving.editing) this.wire.send("edit", { object: saving.editing.id });
    sayAgain(this.wire, saving.steps);
    try {
      this.saved(saving, await this.wire.send("accept", saving.said).reply);
    } catch (error) {
      if (error instanceof LinkLost) throw error;
      this.takeBack();
      this.say(`${saving.said.label} could not be saved: ${(error as Error).message}`, true);
    }
  }

  /** Show the answer, unless a newer question was asked meanwhile. */
  private show(sent: Sent, since: number, undo: () => void = () => undefined): void {
    this.latest = sent.id;
    this.waiting.value++;
    sent.reply
      .then((reply) => {
        if (this.latest === sent.id) this.take(reply, since, sent.at);
      })
      .catch((error) => {
        if (!(error instanceof LinkLost)) undo();
        this.seeSteps();
        this.fail(error);
      })
      .finally(() => this.waiting.value--);
  }

  private seeSteps(): void {
    if (this.together !== null) clearTimeout(this.together);
    this.together = null;
    this.seen.value = this.steps.value;
  }

  private take(reply: Reply, since: number, sent: number): void {
    const { iou, version, stages = {} } = reply.header;
    const mask = maskOf(reply);
    this.mask.value = mask;
    this.seeSteps();
    // What is written about the mask comes after it: a browser composites one rectangle around all that has changed.
    this.latency.expect({ since, sent, came: reply.came, stages }, () => {
      if (this.mask.value !== mask) return;
      this.iou.value = iou ?? null;
      this.version.value = version ?? null;
    });
  }

  /** What belongs to the step before. */
  private aside(): void {
    this.preview.value = null;
    if (this.comparison.value.length > 0) this.comparison.value = []; // a new array is a change
    if (this.candidates.value.length > 0) this.candidates.value = [];
    this.choice.value = 0;
  }

  private forget(): void {
    batch(() => {
      this.steps.value = [];
      this.undone.value = [];
      this.mask.value = null;
      this.iou.value = null;
      this.editing.value = null;
      this.aside();
    });
  }

  private takeBack(): void {
    const saved = this.saving.value;
    this.saving.value = null;
    if (!saved || this.started.value || this.image.value?.id !== saved.image) return;
    batch(() => {
      this.steps.value = saved.steps;
      this.mask.value = saved.mask;
      this.editing.value = saved.editing;
    });
  }
}
