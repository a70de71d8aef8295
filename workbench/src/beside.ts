/** Other scans beside the one that is open: what they showed of it, and what they are asked. */

import type { App } from "./app";
import { ObjectMask } from "./masks";
import { isDraft } from "./objects";
import { codeOf, type Account, type Answer, type BesideTold, type FollowUp, type Phase, type Progress } from "./protocol";
import { ShownVolume, type Shows } from "./volume";

/** What the earlier scan of a follow-up is called as a phase; it has drawings of its own. */
export const THEN = "then";

/** A phase as it is shown: its voxels once they are here, under a window of its own. */
export class Layer implements Shows {
  volume: ShownVolume | null = null;
  window: [number, number];

  constructor(
    private readonly app: App,
    readonly phase: Phase,
  ) {
    const [low, high] = app.window; // values mean the same in both, as in CT: then as the scan itself is seen
    const same = phase.presets.some((p) => p.low === low && p.high === high);
    this.window = same ? [low, high] : [...phase.window];
  }

  setWindow(low: number, high: number): void {
    this.window = [low, Math.max(high, low + 1e-6)];
    this.app.tell("view");
  }
}

/** What came of asking another scan. */
interface Explained extends Answer {
  found?: Record<string, Account>;
  put?: string[];
  notes?: string[];
  table?: FollowUp | null;
}

export class Beside {
  /** What the scan that is open is called among the phases. */
  name = "";
  layers: Layer[] = [];
  taken: Record<string, Account> = {};
  table: FollowUp | null = null;
  /** Where lesions were, on the earlier scan as a phase. */
  then = new Map<string, ObjectMask>();
  days = 0;
  /** Labelled scans that the command line names, and whether one of them is an earlier one. */
  asked: string[] = [];
  compares = false;
  /** What was found last: names, and of what is missing why. */
  last: { title: string; accounts: Record<string, Account>; inTable: boolean } | null = null;
  /** What went wrong last. */
  problem = "";
  private of = "";

  constructor(readonly app: App) {}

  /** What the server has beside the scan: after it was opened, and when that has changed. */
  async load(): Promise<void> {
    const { app } = this;
    if (!app.scan) return;
    if (this.of !== app.scan.id) Object.assign(this, { last: null, problem: "", layers: [], of: app.scan.id });
    const told = await app.connection.request<BesideTold>("beside");
    this.name = told.name;
    this.taken = told.taken;
    this.table = told.table;
    this.days = told.days;
    this.asked = told.asked;
    this.compares = told.compares;
    this.then = new Map(told.then.map((entry) => [entry.name, this.mask(entry)]));
    await this.fetchLayers(told.phases);
    app.tell("beside", "objects", "view");
  }

  private mask(entry: BesideTold["then"][number]): ObjectMask {
    const mask = new ObjectMask(this.app.scan!.shape);
    mask.apply(entry);
    return mask;
  }

  private async fetchLayers(phases: Phase[]): Promise<void> {
    const { app } = this;
    const known = new Map(this.layers.map((layer) => [layer.phase.id, layer]));
    this.layers = phases.map((phase) => known.get(phase.id) ?? new Layer(app, phase));
    for (const layer of this.layers) {
      if (layer.volume) continue;
      const response = await app.connection.fetch(`/api/volume?phase=${encodeURIComponent(layer.phase.name)}`);
      if (!response.ok) throw new Error(`${layer.phase.name} could not be read: sammed answered ${response.status}`);
      layer.volume = new ShownVolume(layer.phase, await response.arrayBuffer());
    }
  }

  /** Take objects from labelled scans: one step of undo. */
  take(others: string[], objects: string[], mirror: boolean, replace: boolean): void {
    const fields = { others, objects, mirror, replace: this.replaceable(replace) };
    this.ask("take", fields, "taking from another scan", "Taken from another scan");
  }

  /** Look what became of each lesion of an earlier scan: one step of undo. */
  followUp(other: string, days: number, replace: boolean): void {
    const fields = { other, days, replace: this.replaceable(replace) };
    this.ask("follow_up", fields, "comparing with the earlier scan", "Compared with the earlier scan");
  }

  /** Names that may be replaced: never those that are locked. */
  private replaceable(any: boolean): string[] {
    return any ? this.app.objects.filter((o) => !o.locked && !isDraft(o)).map((o) => o.name) : [];
  }

  private ask(what: string, fields: Record<string, unknown>, words: string, title: string): void {
    const { app } = this;
    this.problem = "";
    this.last = null;
    app.tell("beside");
    app.do(async () => {
      const answer = await this.long<Explained>(what, fields, words);
      this.last = { title, accounts: answer.found ?? {}, inTable: Boolean(answer.table) };
      for (const note of answer.notes ?? []) app.say(note);
      void this.load().catch((error: unknown) => app.fail(error));
      const first = answer.put?.[0];
      if (first) setTimeout(() => this.show(first));
      return answer;
    }, what);
  }

  private show(name: string): void {
    this.app.select(name);
  }

  /** Another scan of the same person beside this one. */
  async addPhase(scan: string, name: string, align: string): Promise<boolean> {
    try {
      await this.long("add_phase", { scan, name, align }, `adding ${name}`);
      await this.load();
      return true;
    } catch {
      return false; // it was told
    }
  }

  async removePhase(name: string): Promise<void> {
    await this.app.connection.request("remove_phase", { name });
    await this.load();
  }

  /** A request that takes long, and can be stopped. */
  private async long<T>(what: string, fields: Record<string, unknown>, words: string): Promise<T> {
    const { app } = this;
    this.problem = "";
    app.busy = { progress: null, what: words };
    app.tell("busy", "beside");
    try {
      return await app.connection.request<T>(what, fields, (event, message) => {
        if (event !== "progress") return;
        app.busy = { progress: message as unknown as Progress, what: words };
        app.tell("busy");
      });
    } catch (error) {
      if (codeOf(error) === "cancelled") app.say("stopped; nothing was changed");
      else this.problem = error instanceof Error ? error.message : String(error);
      throw error;
    } finally {
      app.busy = null;
      app.tell("busy", "beside");
    }
  }
}
