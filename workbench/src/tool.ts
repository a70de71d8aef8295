/** What a tool is, and what all tools share. */

import type { App } from "./app";
import { saysNothing } from "./objects";
import type { Place, PlaneView } from "./plane";
import type { Prompts } from "./protocol";

export interface Tool {
  readonly id: ToolId;
  readonly cursor: string;
  down(at: Place): void;
  move(at: Place): void;
  up(at: Place): void;
  /** Drop what is half done; whether there was something. */
  cancel(): boolean;
  /** Say what is half done; whether there was something. */
  finish(): boolean;
  draw(ctx: CanvasRenderingContext2D, plane: PlaneView): void;
}

export type ToolId = "look" | "box" | "box3d" | "inside" | "outside" | "scribble" | "lasso" | "paint" | "erase";

export const NEAR_PIXELS = 8;

/** What is set for all tools. */
export interface Hand {
  readonly app: App;
  /** Whether scribbles and lassos say inside. */
  positive: boolean;
  /** Radius of the brush. */
  brushMm: number;
}

export abstract class Idle implements Tool {
  abstract readonly id: ToolId;
  readonly cursor: string = "crosshair";
  constructor(protected readonly tools: Hand) {}
  protected get app(): App {
    return this.tools.app;
  }
  abstract down(at: Place): void;
  move(_at: Place): void {
    // most tools do nothing before the button is down
  }
  up(_at: Place): void {
    // nor after
  }
  cancel(): boolean {
    return false;
  }
  finish(): boolean {
    return false;
  }
  draw(_ctx: CanvasRenderingContext2D, _plane: PlaneView): void {
    // nothing half done to be seen
  }
}

/** A tool that is dragged over one slice, from pressing to letting go. */
export abstract class Drag extends Idle {
  protected plane: PlaneView | null = null;
  private index = -1;

  override cancel(): boolean {
    const had = this.plane !== null;
    this.plane?.draw();
    this.plane = null;
    return had;
  }

  protected begin(at: Place): void {
    this.plane = at.plane;
    this.index = at.plane.index;
  }

  /** The plane that was drawn on, if it still shows the slice that was drawn on. */
  protected end(): PlaneView | null {
    const { plane } = this;
    this.cancel();
    if (!plane || plane.index === this.index) return plane;
    this.app.say("the slice changed while you drew, so nothing was taken; draw it again", "error");
    return null;
  }
}

/** The prompts, with the kind that was added at the end of their order; null: nothing was added, only changed. */
export function appended(prompts: Prompts, former: Prompts, kind: string | null): Prompts {
  const known = former.order?.length || saysNothing(former); // without one the server goes by kinds
  return { ...prompts, order: known ? [...(former.order ?? []), ...(kind ? [kind] : [])] : [] };
}
