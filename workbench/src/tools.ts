/** What the left button does: each tool turns a drag on a plane into a prompt for the object in hand. */

import type { App, Change } from "./app";
import { Brush } from "./brush";
import { css } from "./dom";
import { AXES, between, blockOnSlice, clamp, onPlane, planeAxes } from "./geometry";
import { saysNothing, type LabelledObject } from "./objects";
import type { Place, PlaneView } from "./plane";
import type { Block, Prompts, Voxel } from "./protocol";
import { Drag, Idle, NEAR_PIXELS, appended, type Hand, type Tool, type ToolId } from "./tool";

/** Moves the crosshair. */
class Look extends Idle {
  readonly id = "look";
  private held = false;
  override down(at: Place): void {
    this.held = true;
    this.app.lookAt(at.voxel);
  }
  override move(at: Place): void {
    if (this.held) this.app.lookAt(at.voxel);
  }
  override up(): void {
    this.held = false;
  }
}

interface Rectangle {
  r0: number;
  c0: number;
  r1: number;
  c1: number;
}

/** Which sides of a rectangle are near a place on the screen. */
function sidesNear(at: Place, box: Rectangle): { row: "r0" | "r1" | null; col: "c0" | "c1" | null } | null {
  const [x, y] = at.plane.screen(at.row, at.col);
  const [x0, y0] = at.plane.screen(box.r0, box.c0);
  const [x1, y1] = at.plane.screen(box.r1, box.c1);
  const inX = x > Math.min(x0, x1) - NEAR_PIXELS && x < Math.max(x0, x1) + NEAR_PIXELS;
  const inY = y > Math.min(y0, y1) - NEAR_PIXELS && y < Math.max(y0, y1) + NEAR_PIXELS;
  if (!inX || !inY) return null;
  const col = Math.abs(x - x0) < NEAR_PIXELS ? "c0" : Math.abs(x - x1) < NEAR_PIXELS ? "c1" : null;
  const row = Math.abs(y - y0) < NEAR_PIXELS ? "r0" : Math.abs(y - y1) < NEAR_PIXELS ? "r1" : null;
  return row || col ? { row, col } : null;
}

/** A dragged rectangle in whole voxels, inside the slice. */
function whole(plane: PlaneView, from: [number, number], to: [number, number]): Rectangle {
  const [rows, cols] = plane.extent;
  return {
    r0: clamp(Math.floor(Math.min(from[0], to[0])), 0, rows - 1),
    r1: clamp(Math.ceil(Math.max(from[0], to[0])), 1, rows),
    c0: clamp(Math.floor(Math.min(from[1], to[1])), 0, cols - 1),
    c1: clamp(Math.ceil(Math.max(from[1], to[1])), 1, cols),
  };
}

function tooSmall(box: Rectangle): boolean {
  return box.r1 - box.r0 < 2 || box.c1 - box.c0 < 2;
}

/** A box on one slice; near the sides of one that is there, it is resized. */
class BoxTool extends Drag {
  override readonly id: ToolId = "box";
  protected from: [number, number] = [0, 0];
  protected to: [number, number] = [0, 0];
  protected lockRow = false;
  protected lockCol = false;

  override down(at: Place): void {
    const target = this.app.target();
    if (!target) return;
    this.begin(at);
    this.lockRow = this.lockCol = false;
    this.from = this.to = [at.row, at.col];
    const known = this.rectangleOf(target, at.plane);
    const sides = known && sidesNear(at, known);
    if (known && sides) this.resize(known, sides, at);
  }

  override move(at: Place): void {
    if (!this.plane || at.plane !== this.plane) return;
    this.to = [this.lockRow ? this.to[0] : at.row, this.lockCol ? this.to[1] : at.col];
    this.plane.draw();
  }

  override up(at: Place): void {
    this.move(at);
    const plane = this.end();
    if (!plane) return;
    const box = whole(plane, this.from, this.to);
    const target = this.app.target();
    if (!target || tooSmall(box)) {
      this.app.lookAt(at.voxel); // a click, not a drag
      return;
    }
    this.take(target, plane, box);
  }

  override draw(_ctx: CanvasRenderingContext2D, plane: PlaneView): void {
    if (plane !== this.plane) return;
    const box = whole(plane, this.from, this.to);
    plane.rectangle(box.r0, box.c0, box.r1, box.c1, css(this.app.current?.colour ?? [255, 255, 255]), 2, []);
  }

  protected rectangleOf(target: LabelledObject, plane: PlaneView): Rectangle | null {
    for (const { axis, block } of target.prompts.boxes) {
      const box = onPlane(block, plane.axis, plane.index);
      if (axis === plane.axis && box.cuts) return box;
    }
    return null;
  }

  protected take(target: LabelledObject, plane: PlaneView, box: Rectangle): void {
    const block = blockOnSlice(plane.axis, plane.index, box.r0, box.c0, box.r1, box.c1);
    const { axis, index } = plane;
    if (saysNothing(target.prompts)) this.app.lookAt(plane.place((box.r0 + box.r1) / 2, (box.c0 + box.c1) / 2).voxel);
    this.app.edit(target, (now) => {
      const elsewhere = now.boxes.filter((b) => b.axis !== axis || b.block[axis] !== index);
      const prompts: Prompts = { ...now, boxes: [...elsewhere, { axis, block }] };
      return elsewhere.length < now.boxes.length ? { ...prompts, order: [] } : appended(prompts, now, "box");
    });
  }

  private resize(known: Rectangle, sides: NonNullable<ReturnType<typeof sidesNear>>, at: Place): void {
    const fixed: [number, number] = [sides.row === "r0" ? known.r1 : known.r0, sides.col === "c0" ? known.c1 : known.c0];
    this.from = fixed;
    this.lockRow = sides.row === null;
    this.lockCol = sides.col === null;
    this.to = [this.lockRow ? known.r1 : at.row, this.lockCol ? known.c1 : at.col];
  }
}

/** A box in three dimensions: drawn on one plane, its other faces dragged on the other planes, then Enter. */
class Box3DTool extends BoxTool {
  override readonly id = "box3d";
  pending: Block | null = null;

  override finish(): boolean {
    const target = this.app.target();
    if (!this.pending || !target) return false;
    const block = this.pending;
    this.pending = null;
    this.app.edit(target, (now) => {
      const prompts = { ...now, blocks: [{ block }] };
      return now.blocks.length ? { ...prompts, order: [] } : appended(prompts, now, "box3d");
    });
    return true;
  }

  override cancel(): boolean {
    const had = super.cancel() || this.pending !== null;
    this.pending = null;
    this.app.tell("tool");
    return had;
  }

  override draw(ctx: CanvasRenderingContext2D, plane: PlaneView): void {
    super.draw(ctx, plane);
    if (!this.pending || plane === this.plane) return;
    const box = onPlane(this.pending, plane.axis, plane.index);
    const dash = box.cuts ? [] : [2, 4];
    plane.rectangle(box.r0, box.c0, box.r1, box.c1, css(this.app.current?.colour ?? [255, 255, 255]), 2, dash);
  }

  protected override rectangleOf(target: LabelledObject, plane: PlaneView): Rectangle | null {
    const block = this.pending ?? target.prompts.blocks[0]?.block;
    return block ? onPlane(block, plane.axis, plane.index) : null;
  }

  protected override take(target: LabelledObject, plane: PlaneView, box: Rectangle): void {
    const former = this.pending ?? target.prompts.blocks[0]?.block;
    const block = blockOnSlice(plane.axis, plane.index, box.r0, box.c0, box.r1, box.c1);
    const kept = former && overlaps(onPlane(former, plane.axis, plane.index), box);
    const range = kept ? ([former[plane.axis], former[plane.axis + 3]] as [number, number]) : this.guessRange(plane, box);
    block[plane.axis] = range[0];
    block[plane.axis + 3] = range[1];
    this.pending = block;
    this.app.tell("tool");
  }

  /** As deep as the shorter side of the rectangle is long, to be dragged right on the other planes. */
  private guessRange(plane: PlaneView, box: Rectangle): [number, number] {
    const { rowMm, colMm } = plane.frame;
    const depth = Math.min((box.r1 - box.r0) * rowMm, (box.c1 - box.c0) * colMm);
    const scan = this.app.scan!;
    const half = Math.max(1, Math.round(depth / scan.spacing[plane.axis] / 2));
    return [Math.max(plane.index - half, 0), Math.min(plane.index + half + 1, scan.shape[plane.axis])];
  }
}

function overlaps(a: Rectangle, b: Rectangle): boolean {
  return a.r0 < b.r1 && b.r0 < a.r1 && a.c0 < b.c1 && b.c0 < a.c1;
}

/** One voxel that belongs to the object, or does not; on one that is there, it is taken away. */
class PointTool extends Idle {
  constructor(
    tools: Hand,
    override readonly id: "inside" | "outside",
  ) {
    super(tools);
  }

  override down(at: Place): void {
    const target = this.app.target();
    if (!target) return;
    const added = { at: at.voxel, positive: this.id === "inside" };
    if (!target.prompts.points.some((p) => this.isAt(p.at, at))) this.app.lookAt(at.voxel);
    this.app.edit(target, (now) => {
      const others = now.points.filter((p) => !this.isAt(p.at, at));
      if (others.length < now.points.length) return { ...now, points: others, order: [] };
      return appended({ ...now, points: [...others, added] }, now, "point");
    });
  }

  private isAt(voxel: Voxel, at: Place): boolean {
    const { axis } = at.plane;
    const [rows, cols] = planeAxes(axis);
    if (voxel[axis] !== at.plane.index) return false;
    const [x, y] = at.plane.screen(voxel[rows] + 0.5, voxel[cols] + 0.5);
    const [px, py] = at.plane.screen(at.row, at.col);
    return Math.hypot(x - px, y - py) < NEAR_PIXELS;
  }
}

/** A stroke through the object or beside it, and a closed outline. */
class StrokeTool extends Drag {
  private places: [number, number][] = [];

  constructor(
    tools: Hand,
    override readonly id: "scribble" | "lasso",
  ) {
    super(tools);
  }

  override down(at: Place): void {
    if (!this.app.target()) return;
    this.begin(at);
    this.places = [[at.row, at.col]];
  }

  override move(at: Place): void {
    if (at.plane !== this.plane || !this.plane) return;
    const [rows, cols] = this.plane.extent;
    this.places.push([clamp(at.row, 0, rows - 1e-3), clamp(at.col, 0, cols - 1e-3)]);
    this.plane.draw();
  }

  override up(at: Place): void {
    this.move(at);
    const plane = this.end();
    const target = plane && this.app.target();
    if (!target || this.places.length < 3) return;
    const drawn = this.id === "scribble" ? this.stroke(plane) : this.closed(plane);
    this.app.edit(target, (now) => appended(drawn(now), now, this.id));
  }

  override draw(_ctx: CanvasRenderingContext2D, plane: PlaneView): void {
    if (plane !== this.plane) return;
    const colour = css(this.app.current?.colour ?? [255, 255, 255]);
    plane.paintLine(this.places, colour, this.tools.positive, this.id === "lasso");
  }

  private stroke(plane: PlaneView): Change {
    const cells = this.places.map(([r, c]) => [Math.floor(r), Math.floor(c)] as [number, number]);
    const line = cells.slice(1).reduce((all, cell) => [...all, ...between(all.at(-1)!, cell)], [cells[0]!]);
    const voxels = line.map(([r, c]) => plane.place(r + 0.5, c + 0.5).voxel);
    for (const voxel of voxels) voxel[plane.axis] = plane.index;
    const stroke = { voxels, positive: this.tools.positive };
    return (now) => ({ ...now, scribbles: [...now.scribbles, stroke] });
  }

  private closed(plane: PlaneView): Change {
    const outline = this.places.map(([r, c]) => [Math.round(r * 100) / 100, Math.round(c * 100) / 100] as [number, number]);
    const lasso = { axis: plane.axis, index: plane.index, outline, positive: this.tools.positive };
    return (now) => ({ ...now, lassos: [...now.lassos, lasso] });
  }
}

/** All tools, and which is in hand. */
export class Toolbox implements Hand {
  readonly tools: Record<ToolId, Tool>;
  positive = true;
  brushMm = 4;
  private id: ToolId = "box";

  constructor(readonly app: App) {
    this.tools = {
      look: new Look(this),
      box: new BoxTool(this),
      box3d: new Box3DTool(this),
      inside: new PointTool(this, "inside"),
      outside: new PointTool(this, "outside"),
      scribble: new StrokeTool(this, "scribble"),
      lasso: new StrokeTool(this, "lasso"),
      paint: new Brush(this, "paint"),
      erase: new Brush(this, "erase"),
    };
    app.on(["scan"], () => {
      for (const tool of Object.values(this.tools)) tool.cancel();
      const spacing = app.scan?.spacing ?? [1, 1, 1];
      this.brushMm = 4 * Math.min(...AXES.map((a) => spacing[a]));
    });
  }

  get tool(): Tool {
    return this.tools[this.id];
  }

  use(id: ToolId): void {
    this.tool.cancel();
    this.id = id;
    this.app.tell("tool");
  }

  get pendingBox(): Block | null {
    return (this.tools.box3d as Box3DTool).pending;
  }

  resizeBrush(factor: number): void {
    this.brushMm = clamp(this.brushMm * factor, 0.2, 200);
    this.app.tell("tool");
  }
}
