/** What is open, what is said of it, and what came of that: the page's state and all that changes it. */

import { Connection, SentArray } from "./connection";
import { colourOf } from "./colours";
import { clamp, isEmpty } from "./geometry";
import { ObjectMask } from "./masks";
import { isDraft, noPrompts, saysNothing, standing, type LabelledObject, type PaintedSlice } from "./objects";
import { Pace, markWhenDrawn } from "./pace";
import type { ShownVolume } from "./volume";
import {
  codeOf,
  type Answer,
  type Axis,
  type Colour,
  type Hello,
  type MaskEntry,
  type Partial as PartialSlice,
  type Progress,
  type Prompts,
  type Scan,
  type Structure,
  type Voxel,
} from "./protocol";

/** Not worth a word: it was stopped, the connection tells of itself, or nothing is open any more. */
const QUIET = new Set(["cancelled", "lost", "no_volume"]);

/** How what is said of an object changes. */
export type Change = (now: Prompts) => Prompts;

export interface Busy {
  progress: Progress | null;
  what: string;
}

/** What listeners are told: what has changed since they last looked. */
export type Topic = "scan" | "objects" | "masks" | "preview" | "view" | "busy" | "history" | "message" | "tool" | "connection" | "beside";

export interface Message {
  text: string;
  kind: "note" | "error" | "done";
}

export class App {
  hello: Hello | null = null;
  scan: Scan | null = null;
  volume: ShownVolume | null = null;
  objects: LabelledObject[] = [];
  selected = "";
  crosshair: Voxel = [0, 0, 0];
  window: [number, number] = [0, 1];
  opacity = 0.4;
  outlines = true;
  masksShown = true;
  /** Whether crosshair and prompts are drawn. */
  marksShown = true;
  canUndo = false;
  canRedo = false;
  dirty = false;
  busy: Busy | null = null;
  looksOn = false;
  lost = false;
  ended = false;
  message: Message | null = null;
  /** Where the doubtful slices were last gone to. */
  doubtful: { name: string; rank: number } | null = null;
  /** Slices that came since they were last drawn. */
  came: PartialSlice[] = [];

  private listeners: { topics: Topic[]; call: () => void }[] = [];
  private jobs: (() => Promise<void>)[] = [];
  private working = false;
  private stale = false;
  private segmenting = false;
  private superseded = false;
  private readonly previews = new Pace(250, () => {
    this.tell("preview", "busy");
    if (this.came.length) markWhenDrawn("slice");
    this.came = [];
  });
  /** Undos and the like that are under way: what is drawn meanwhile is said of what they lead to. */
  private history = 0;

  constructor(readonly connection: Connection) {}

  on(topics: Topic[], call: () => void): void {
    this.listeners.push({ topics, call });
  }

  tell(...topics: Topic[]): void {
    for (const listener of this.listeners) if (listener.topics.some((t) => topics.includes(t))) listener.call();
  }

  say(text: string, kind: Message["kind"] = "note"): void {
    this.message = { text, kind };
    this.tell("message");
  }

  fail(error: unknown): void {
    if (QUIET.has(codeOf(error))) return;
    this.say(error instanceof Error ? error.message : String(error), "error");
  }

  // -- where one looks ----------------------------------------------------------------------

  opened(scan: Scan, volume: ShownVolume): void {
    const same = this.volume !== null && this.scan?.id === scan.id;
    this.scan = scan;
    this.volume = volume;
    if (!same) {
      this.keepOnly([]);
      this.crosshair = scan.shape.map((n) => Math.floor(n / 2)) as Voxel;
      this.window = [...scan.window];
    }
    this.dirty = scan.dirty;
    this.tell("scan", "objects", "masks", "view", "history");
  }

  closed(): void {
    Object.assign(this, { scan: null, volume: null, objects: [], selected: "", dirty: false });
  }

  lookAt(voxel: Voxel): void {
    if (!this.scan) return;
    const shape = this.scan.shape;
    this.crosshair = voxel.map((v, n) => clamp(Math.floor(v), 0, shape[n]! - 1)) as Voxel;
    this.tell("view");
  }

  scrollTo(axis: Axis, index: number): void {
    const voxel: Voxel = [...this.crosshair];
    voxel[axis] = index;
    this.lookAt(voxel);
  }

  setWindow(low: number, high: number): void {
    this.window = [low, Math.max(high, low + 1e-6)];
    this.tell("view");
  }

  // -- objects ------------------------------------------------------------------------------

  get current(): LabelledObject | undefined {
    return this.objects.find((o) => o.name === this.selected);
  }

  object(name: string): LabelledObject | undefined {
    return this.objects.find((o) => o.name === name);
  }

  select(name: string): void {
    this.selected = name;
    this.doubtful = null;
    this.tell("objects", "masks");
  }

  /** Bring an object into view, if the crosshair is not in it. */
  goTo(object: LabelledObject): void {
    const block = object.mask.bounds;
    const away = this.crosshair.some((v, n) => v < block[n]! || v >= block[n + 3]!);
    if (!isEmpty(block) && away) this.lookAt([0, 1, 2].map((n) => (block[n]! + block[n + 3]!) / 2) as Voxel);
  }

  /** A new object, of which nothing is said yet; the server hears of it with its first prompt. */
  add(name: string): LabelledObject | null {
    const wanted = name.trim() || this.freeName();
    if (this.object(wanted)) {
      this.say(`there is a structure called “${wanted}” already; it is the one you work on now`);
      this.select(wanted);
      return null;
    }
    const label = 1 + this.objects.reduce((most, o) => Math.max(most, o.label), 0);
    const added = this.make({ ...noPrompts(wanted), label });
    this.objects.push(added);
    this.select(wanted);
    return added;
  }

  /** The object that the next prompt is for; a first one is made if there is none. */
  target(): LabelledObject | null {
    if (this.looksOn) {
      this.say("another page works on this scan; this one looks on", "error");
      return null;
    }
    const current = this.current ?? this.add("");
    if (current?.locked) {
      this.say(`“${current.name}” is locked; unlock it in the list to change it`, "error");
      return null;
    }
    return current;
  }

  /** Say more of an object, or otherwise: one step of undo, and what is stale is computed. */
  edit(object: LabelledObject, change: Change, painted: PaintedSlice[] = []): void {
    performance.mark("edit");
    const changed = this.history ? null : this.changed(object, change, painted);
    this.do(() => this.connection.request<Answer>("put", changed ?? this.changed(object, change, painted)), "put");
  }

  /** What is now said of an object, as the server takes it; an object that undo took away is there again. */
  private changed(object: LabelledObject, change: Change, painted: PaintedSlice[]): Record<string, unknown> {
    let now = this.object(object.name);
    if (!now) {
      now = Object.assign(object, { prompts: noPrompts(object.name) });
      this.objects.push(now);
    }
    now.prompts = change(now.prompts);
    this.tell("objects", "masks");
    const parts = painted.map((p) => {
      const shape = [0, 1, 2].map((n) => p.block[n + 3]! - p.block[n]!);
      return { block: p.block, data: new SentArray(p.data, shape) };
    });
    return { object: { ...now.prompts, label: now.label, mask: parts.length ? parts : undefined }, keep_mask: true };
  }

  remove(object: LabelledObject): void {
    if (isDraft(object)) {
      this.keepOnly(this.objects.filter((o) => o !== object));
      return;
    }
    this.do(() => this.connection.request<Answer>("remove", { name: object.name }), "remove", () => this.keepOnly(this.objects.filter((o) => o.name !== object.name)));
  }

  rename(object: LabelledObject, to: string): void {
    const name = to.trim();
    if (!name || name === object.name) return;
    const done = () => {
      if (this.selected === object.name) this.selected = name;
      object.name = name;
      object.prompts = { ...object.prompts, name };
      if (!object.ownColour) object.colour = this.colourOf(name, object.label);
      this.keepOnly(this.objects.filter((o) => o === object || o.name !== name));
    };
    const other = this.object(name);
    if (other && !isDraft(other)) this.say(`there is a structure called “${name}” already`, "error");
    else if (isDraft(object)) done();
    else this.do(() => this.renamed(object.name, name, done), "rename");
  }

  /** The object has its new name before the answer is taken, which speaks of that. */
  private async renamed(from: string, to: string, done: () => void): Promise<Answer> {
    const answer = await this.connection.request<Answer>("rename", { name: from, to });
    done();
    return answer;
  }

  undo(): void {
    if (this.canUndo || this.working) this.do(() => this.connection.request<Answer>("undo"), "undo");
  }

  redo(): void {
    if (this.canRedo || this.working) this.do(() => this.connection.request<Answer>("redo"), "redo");
  }

  /** Stop what runs: the last result stays, the prompts too. */
  stop(): void {
    this.stale = false;
    this.superseded ||= this.busy !== null && this.busy.what !== "segmenting"; // something else is stopped, and tells of it
    if (this.segmenting || this.busy) this.connection.cancel(true);
  }

  /** Compute what is stale, also after a stop. */
  compute(): void {
    this.stale = true;
    void this.work();
  }

  /** All that there is, from the server: after a reload, a break, or a change by another page. */
  async refresh(): Promise<void> {
    const answer = await this.connection.request<Answer>("show");
    const locked = new Set(this.objects.filter((o) => o.locked).map((o) => o.name));
    const hidden = new Set(this.objects.filter((o) => !o.visible).map((o) => o.name));
    const drafts = this.objects.filter((o) => saysNothing(o.prompts));
    this.objects = [];
    this.take(answer);
    for (const object of this.objects) {
      object.locked = locked.has(object.name);
      object.visible = !hidden.has(object.name);
    }
    this.keepOnly([...this.objects, ...drafts.filter((d) => !this.object(d.name))]);
    this.tell("history");
    if (answer.stale?.length && !this.looksOn) this.compute();
  }

  // -- the queue: one request after the other, then what is stale --------------------------------

  do(ask: () => Promise<Answer>, what: string, done?: () => void): void {
    if (this.segmenting) {
      this.superseded = true;
      this.connection.cancel();
    }
    this.stale = true;
    const history = what !== "put";
    if (history) this.history += 1;
    this.jobs.push(async () => {
      try {
        const answer = await ask();
        if (history) this.history -= 1;
        this.take(answer);
        done?.();
      } catch (error) {
        if (history) this.history -= 1;
        this.fail(error);
        this.dropPreviews(); // painted, and not taken
        if (codeOf(error) === "lost") this.say("the connection broke: look whether the last step is there, else draw it again", "error");
        if (what === "put" && !this.lost) this.take(await this.connection.request<Answer>("objects"));
      }
    });
    void this.work();
  }

  /** Whether something that was asked for is still to come. */
  get isWorking(): boolean {
    return this.working;
  }

  private async work(): Promise<void> {
    if (this.working) return;
    this.working = true;
    this.tell("busy");
    try {
      for (;;) {
        const asked = this.jobs.shift()?.(); // what it makes stale is asked for at once, not after the answer
        const stale = this.stale && !this.jobs.length;
        if (!asked && !stale) break;
        await Promise.all([asked, stale ? this.segment() : null]);
      }
    } catch (error) {
      this.fail(error);
    } finally {
      this.working = false;
      this.tell("busy");
    }
  }

  private async segment(): Promise<void> {
    this.stale = false;
    this.segmenting = true;
    this.superseded = false;
    const waited = setTimeout(() => {
      this.busy ??= { progress: null, what: "segmenting" };
      this.tell("busy");
    }, 120);
    try {
      const answer = await this.connection.request<Answer>("segment", { partial: true, every: true }, (event, message) => {
        if (event === "progress") this.busy = { progress: message as unknown as Progress, what: "segmenting" };
        else this.preview(message as unknown as PartialSlice);
        this.previews.ask();
      });
      this.take(answer);
      this.sayWhatFailed(answer);
    } catch (error) {
      if (!this.superseded) this.dropPreviews();
      if (codeOf(error) === "cancelled" && !this.superseded) this.say("stopped; what you drew is kept, Enter goes on");
      this.fail(error);
    } finally {
      clearTimeout(waited);
      this.segmenting = false;
      this.busy = null;
      this.tell("busy");
      markWhenDrawn("object");
    }
  }

  private dropPreviews(): void {
    for (const object of this.objects) object.mask.dropPreviews();
    this.tell("masks");
  }

  private preview(partial: PartialSlice): void {
    this.object(partial.name)?.mask.preview(partial);
    this.came.push(partial);
  }

  private sayWhatFailed(answer: Answer): void {
    for (const [name, run] of Object.entries(answer.runs ?? {})) {
      if (run.error && name === this.selected) this.say(`${name}: ${run.error}`, "error");
    }
  }

  /** What an answer says has changed. */
  take(answer: Answer): void {
    if (answer.prompts) this.takePrompts(answer.prompts);
    for (const entry of answer.masks ?? []) this.takeMask(entry);
    for (const [name, run] of Object.entries(answer.runs ?? {})) {
      const object = this.object(name);
      if (object) object.run = run;
    }
    if (answer.can_undo !== undefined) this.canUndo = answer.can_undo;
    if (answer.can_redo !== undefined) this.canRedo = answer.can_redo;
    if (answer.dirty !== undefined) this.dirty = answer.dirty;
    this.tell("objects", "masks", "history");
  }

  private takePrompts(all: Prompts[]): void {
    const before = new Map(this.objects.map((o) => [o.name, o]));
    const drafts = this.objects.filter((o) => saysNothing(o.prompts) && !all.some((p) => p.name === o.name));
    const there = all.map((prompts) => {
      const known = before.get(prompts.name);
      if (!known) return this.make(prompts);
      known.prompts = prompts;
      known.label = prompts.label ?? known.label;
      return known;
    });
    this.keepOnly([...there, ...drafts]);
  }

  private takeMask(entry: MaskEntry): void {
    const object = this.object(entry.name);
    if (!object) return;
    object.mask.apply(entry);
    if (entry.removed) object.run = null;
  }

  /** These objects and no others, but for the project's structures, which always stand there. */
  private keepOnly(objects: LabelledObject[]): void {
    this.objects = standing(objects, this.structures, (prompts) => this.make(prompts));
    if (!this.current) this.selected = this.objects[0]?.name ?? "";
    this.tell("objects", "masks");
  }

  private get structures(): Structure[] {
    return this.hello?.project?.structures ?? [];
  }

  private make(prompts: Prompts): LabelledObject {
    const label = prompts.label ?? this.objects.length + 1;
    return {
      name: prompts.name,
      label,
      colour: this.colourOf(prompts.name, label),
      prompts,
      mask: new ObjectMask(this.scan!.shape),
      run: null,
      visible: true,
      locked: false,
    };
  }

  private colourOf(name: string, label: number): Colour {
    const others = this.objects.filter((o) => o.name !== name).map((o) => o.colour);
    return colourOf(name, label, this.structures, this.hello, others);
  }

  private freeName(): string {
    for (let n = this.objects.length + 1; ; n++) if (!this.object(`structure ${n}`)) return `structure ${n}`;
  }
}
