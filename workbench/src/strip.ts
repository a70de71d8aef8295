/** Beside a plane: where one is, and for the object in hand how sure each slice is and where its chain stopped. */

import type { App } from "./app";
import type { Beside } from "./beside";
import { element } from "./dom";
import { PLANE_NAMES, clamp } from "./geometry";
import { isAsTaken } from "./others";
import type { Account, Axis, Run } from "./protocol";

/** Below it a slice is doubtful: worth a look before the others. */
export const DOUBTFUL = 0.8;

/** From red over yellow to green; predicted IoU below 0.5 is as red as it gets. */
export function trustColour(iou: number | null): string {
  if (iou === null) return "#5a6472";
  const share = clamp((iou - 0.5) / 0.45, 0, 1);
  return `hsl(${Math.round(share * 130)} 65% 48%)`;
}

export function trustWord(iou: number | null): string {
  if (iou === null) return "not judged";
  return iou < 0.65 ? "doubtful" : iou < DOUBTFUL ? "look at it" : "sure";
}

export class Strip {
  readonly root: HTMLCanvasElement;
  private due = false;

  constructor(
    private readonly app: App,
    readonly axis: Axis,
    private readonly beside: Beside,
  ) {
    this.root = element("canvas", {
      class: "strip",
      tabindex: "0",
      role: "slider",
      "aria-label": `${PLANE_NAMES[axis]} slice`,
      "aria-orientation": "vertical",
      "aria-valuenow": "0",
    });
    new ResizeObserver(() => this.draw()).observe(this.root);
    app.on(["scan", "view", "masks", "objects", "beside"], () => this.draw());
    this.root.addEventListener("pointerdown", (event) => {
      this.root.setPointerCapture(event.pointerId);
      this.goTo(event.offsetY);
    });
    this.root.addEventListener("pointermove", (event) => {
      if (event.buttons & 1) this.goTo(event.offsetY);
      if (app.scan) this.root.title = this.words(this.indexAt(event.offsetY));
    });
    this.root.addEventListener("keydown", (event) => this.key(event));
  }

  private get count(): number {
    return this.app.scan?.shape[this.axis] ?? 1;
  }

  private get run(): Run | null {
    const run = this.app.current?.run ?? null;
    return run?.axis === this.axis ? run : null;
  }

  /** What is to be said of the object in hand, if it is as another scan showed it. */
  private get taken(): Account | null {
    const { current } = this.app;
    const account = current && this.beside.taken[current.name];
    return current && isAsTaken(current, account) ? account : null;
  }

  private indexAt(y: number): number {
    const share = clamp(y / this.root.clientHeight, 0, 0.9999);
    return Math.floor((this.upwards ? 1 - share : share) * this.count);
  }

  /** The head and the back are where they are on the other planes. */
  private get upwards(): boolean {
    return this.axis === 0;
  }

  private goTo(y: number): void {
    if (this.app.scan) this.app.scrollTo(this.axis, this.indexAt(y));
  }

  private key(event: KeyboardEvent): void {
    const at = this.app.crosshair[this.axis];
    const step: Record<string, number> = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10 };
    const ends: Record<string, number> = { Home: 0, End: this.count - 1 };
    if (event.key in step) this.app.scrollTo(this.axis, at + step[event.key]!);
    else if (event.key in ends) this.app.scrollTo(this.axis, ends[event.key]!);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  private words(index: number): string {
    const { run } = this;
    const lines = [`slice ${index + 1} of ${this.count}`];
    const record = run?.slices.find((s) => s.index === index);
    if (record && this.taken) lines.push(`as ${this.taken.by} showed it`);
    else if (record) {
      const by = run!.prompted.includes(index) ? "drawn by hand" : "by the model";
      const iou = record.predicted_iou;
      lines.push(`${by}; ${trustWord(iou)}${iou === null ? "" : ` (predicted IoU ${iou.toFixed(2)})`}`);
    }
    const stop = run?.stops.find((s) => s.index === index);
    if (stop) lines.push(`ends here: ${stop.text}`);
    return lines.join("\n");
  }

  private draw(): void {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.paint();
    });
  }

  /** How sure each slice is, which were drawn, and where the chain ends. */
  private paintRun(ctx: CanvasRenderingContext2D, run: Run, top: (index: number) => number, each: number, width: number): void {
    const { taken } = this;
    for (const slice of run.slices) {
      ctx.fillStyle = trustColour(taken ? (taken.agreement ?? null) : slice.predicted_iou);
      ctx.fillRect(4, top(slice.index), width - 8, Math.max(each, 1));
    }
    for (const index of taken ? [] : run.prompted) {
      ctx.fillStyle = "#fff";
      ctx.fillRect(width - 5, top(index) + each / 2 - 1.5, 5, 3);
    }
    for (const stop of run.stops) {
      ctx.fillStyle = stop.reason === "absent" || stop.reason === "limit" ? "#8aa0b8" : "#ffb020";
      ctx.fillRect(0, top(stop.index) + each / 2 - 1, width - 4, 2);
    }
  }

  private paint(): void {
    const { root, app, count } = this;
    const { clientWidth: width, clientHeight: height } = root;
    if (!width || !height) return;
    root.width = width * devicePixelRatio;
    root.height = height * devicePixelRatio;
    const ctx = root.getContext("2d")!;
    ctx.scale(devicePixelRatio, devicePixelRatio);
    const each = height / count;
    const top = (index: number) => (this.upwards ? height - (index + 1) * each : index * each);
    ctx.fillStyle = "#20262e";
    ctx.fillRect(4, 0, width - 8, height);
    const { run } = this;
    if (run) this.paintRun(ctx, run, top, each, width);
    const here = top(app.crosshair[this.axis]) + each / 2;
    ctx.strokeStyle = "#000";
    ctx.lineWidth = 4;
    ctx.strokeRect(1.5, here - 3, width - 3, 6);
    ctx.strokeStyle = "#7cc4ff";
    ctx.lineWidth = 2;
    ctx.strokeRect(1.5, here - 3, width - 3, 6);
    root.setAttribute("aria-valuemin", "1");
    root.setAttribute("aria-valuemax", String(count));
    root.setAttribute("aria-valuenow", String(app.crosshair[this.axis] + 1));
    root.setAttribute("aria-valuetext", this.words(app.crosshair[this.axis]).replace(/\n/g, ", "));
  }
}

/** Slices of a run from the most doubtful on, prompted ones last of all. */
export function byDoubt(run: Run): number[] {
  const prompted = new Set(run.prompted);
  const judged = run.slices.filter((s) => !prompted.has(s.index));
  return judged.sort((a, b) => (a.predicted_iou ?? 0) - (b.predicted_iou ?? 0)).map((s) => s.index);
}
