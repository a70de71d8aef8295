/** The brush: a slice is right as it is painted, and its neighbours follow it. */

import type { LabelledObject } from "./objects";
import { css } from "./dom";
import { PLANE_NAMES, blockOnSlice } from "./geometry";
import type { Place, PlaneView } from "./plane";
import type { Axis, Prompts } from "./protocol";
import { Drag, appended, type Hand } from "./tool";

/** A brush: the slice is right as it is painted, and its neighbours follow it. */
export class Brush extends Drag {
  private data = new Uint8Array(0);
  private last: [number, number] = [0, 0];
  private hover: Place | null = null;

  constructor(
    tools: Hand,
    override readonly id: "paint" | "erase",
  ) {
    super(tools);
  }

  override down(at: Place): void {
    const target = this.app.target();
    if (!target || !this.allowed(target, at.plane.axis)) return;
    const [rows, cols] = at.plane.extent;
    this.begin(at);
    this.data = target.mask.slice(at.plane.axis, at.plane.index)?.data.slice() ?? new Uint8Array(rows * cols);
    this.last = [at.row, at.col];
    this.dab(at.row, at.col);
  }

  override move(at: Place): void {
    const before = this.hover?.plane;
    this.hover = at;
    if (before && before !== at.plane) before.draw();
    if (this.plane === at.plane && this.plane) {
      const [r0, c0] = this.last;
      const steps = Math.max(1, Math.ceil(Math.hypot(at.row - r0, at.col - c0)));
      for (let n = 1; n <= steps; n++) this.dab(r0 + ((at.row - r0) * n) / steps, c0 + ((at.col - c0) * n) / steps);
      this.last = [at.row, at.col];
    }
    at.plane.draw();
  }

  override up(): void {
    const plane = this.end();
    const target = plane && this.app.target();
    if (!target) return;
    const [rows, cols] = plane.extent;
    const block = blockOnSlice(plane.axis, plane.index, 0, 0, rows, cols);
    const painted = { name: target.name, axis: plane.axis, index: plane.index, block, data: this.data };
    target.mask.preview(painted); // to be seen until the answer comes
    const change = (now: Prompts) => appended({ ...now, mask: now.mask ?? block }, now, now.mask ? null : "mask");
    this.app.edit(target, change, [{ block, data: this.data }]);
  }

  override draw(ctx: CanvasRenderingContext2D, plane: PlaneView): void {
    if (this.plane === plane) this.drawPainted(ctx, plane);
    if (this.hover?.plane !== plane) return;
    const [x, y] = plane.screen(this.hover.row, this.hover.col);
    ctx.beginPath();
    ctx.arc(x, y, this.tools.brushMm * (plane.voxelPixels / plane.frame.colMm), 0, 2 * Math.PI);
    ctx.strokeStyle = this.id === "paint" ? "#fff" : "#ff8f8f";
    ctx.lineWidth = 1;
    ctx.stroke();
  }

  private drawPainted(ctx: CanvasRenderingContext2D, plane: PlaneView): void {
    const [rows, cols] = plane.extent;
    ctx.fillStyle = css(this.app.current?.colour ?? [255, 255, 255]);
    ctx.globalAlpha = 0.55;
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < cols; c++) {
        if (!this.data[r * cols + c]) continue;
        const start = c;
        while (c < cols && this.data[r * cols + c]) c++;
        const [x0, y0] = plane.screen(r, start);
        const [x1, y1] = plane.screen(r + 1, c);
        ctx.fillRect(x0, Math.min(y0, y1), x1 - x0, Math.abs(y1 - y0));
      }
    }
    ctx.globalAlpha = 1;
  }

  /** A structure is followed along one axis: painted elsewhere, its slices would be taken for empty beside the stroke. */
  private allowed(target: LabelledObject, axis: Axis): boolean {
    const along = target.run?.axis ?? target.prompts.boxes[0]?.axis ?? (target.prompts.mask ? axis : null);
    if (along === null || along === axis) return true;
    this.app.say(`“${target.name}” is followed through ${PLANE_NAMES[along].toLowerCase()} slices; paint on that plane`, "error");
    return false;
  }

  private dab(row: number, col: number): void {
    const plane = this.plane!;
    const { rowMm, colMm } = plane.frame;
    const [rows, cols] = plane.extent;
    const radius = this.tools.brushMm;
    const value = this.id === "paint" ? 1 : 0;
    const reach = [radius / rowMm, radius / colMm] as const;
    for (let r = Math.max(0, Math.floor(row - reach[0])); r <= Math.min(rows - 1, Math.floor(row + reach[0])); r++) {
      for (let c = Math.max(0, Math.floor(col - reach[1])); c <= Math.min(cols - 1, Math.floor(col + reach[1])); c++) {
        const away = Math.hypot((r + 0.5 - row) * rowMm, (c + 0.5 - col) * colMm);
        if (away <= radius || (r === Math.floor(row) && c === Math.floor(col))) this.data[r * cols + c] = value;
      }
    }
    plane.draw();
  }
}
