/** The voxels of one object as they come from the server: a block that grows, and previews of slices over it. */

import { blockShape, isEmpty, planeAxes, union } from "./geometry";
import type { Axis, Block, MaskEntry, Partial, Voxel } from "./protocol";

const NOTHING: Block = [0, 0, 0, 0, 0, 0];

export interface SliceMask {
  /** rows × cols of the whole slice, 0 or 1. */
  data: Uint8Array;
  rows: number;
  cols: number;
}

export class ObjectMask {
  private block: Block = [...NOTHING];
  private data = new Uint8Array(0);
  private previews: Partial[] = [];
  /** Counts changes, so that what is drawn from it can be kept until the next. */
  version = 0;
  private voxels: number | null = 0;

  constructor(private readonly shape: Voxel) {}

  /** What an answer says; previews are over. */
  apply(entry: MaskEntry): void {
    this.previews = [];
    this.version += 1;
    this.voxels = null;
    if (entry.removed || entry.replace) {
      this.block = [...NOTHING];
      this.data = new Uint8Array(0);
    }
    if (entry.removed || entry.data === null || isEmpty(entry.block)) return;
    if (isEmpty(this.block)) {
      this.block = [...entry.block];
      this.data = entry.data.slice();
      return;
    }
    this.grow(union(this.block, entry.block));
    copyInto(entry.data, entry.block, this.data, this.block);
  }

  /** What a slice will be, told before the answer. */
  preview(partial: Partial): void {
    this.previews = this.previews.filter((p) => p.axis !== partial.axis || p.index !== partial.index);
    this.previews.push(partial);
    this.version += 1;
  }

  dropPreviews(): void {
    if (!this.previews.length) return;
    this.previews = [];
    this.version += 1;
  }

  get isEmpty(): boolean {
    return this.count === 0 && this.previews.every((p) => p.data === null);
  }

  get bounds(): Block {
    return [...this.block];
  }

  /** Voxels, without previews. */
  get count(): number {
    this.voxels ??= this.data.reduce((sum, v) => sum + v, 0);
    return this.voxels;
  }

  /** The object on one slice, previews included; null where it has nothing. */
  slice(axis: Axis, index: number): SliceMask | null {
    const [rowAxis, colAxis] = planeAxes(axis);
    const rows = this.shape[rowAxis];
    const cols = this.shape[colAxis];
    const whole = this.previews.find((p) => p.axis === axis && p.index === index);
    const data = new Uint8Array(rows * cols);
    if (whole) {
      if (whole.data) paste(whole.data, whole.block, axis, index, data, cols);
    } else {
      paste(this.data, this.block, axis, index, data, cols);
      for (const preview of this.previews) this.cross(preview, axis, index, data, rows, cols);
    }
    return data.includes(1) ? { data, rows, cols } : null;
  }

  /** The line that a preview of another plane makes on this slice. */
  private cross(preview: Partial, axis: Axis, index: number, data: Uint8Array, rows: number, cols: number): void {
    if (preview.axis === axis) return;
    const [rowAxis] = planeAxes(axis);
    const alongCols = preview.axis === rowAxis; // then it is one row of this slice
    for (let n = 0; n < (alongCols ? cols : rows); n++) {
      data[alongCols ? preview.index * cols + n : n * cols + preview.index] = 0;
    }
    if (preview.data) paste(preview.data, preview.block, axis, index, data, cols, true);
  }

  private grow(block: Block): void {
    if (block.every((v, n) => v === this.block[n])) return;
    const [z, y, x] = blockShape(block);
    const data = new Uint8Array(z * y * x);
    copyInto(this.data, this.block, data, block);
    this.block = block;
    this.data = data;
  }
}

/** Copy a block's voxels to where they lie in another block that holds it. */
function copyInto(from: Uint8Array, fromBlock: Block, to: Uint8Array, toBlock: Block): void {
  if (isEmpty(fromBlock)) return;
  const [depth, height, width] = blockShape(fromBlock);
  const [, toHeight, toWidth] = blockShape(toBlock);
  for (let z = 0; z < depth; z++) {
    for (let y = 0; y < height; y++) {
      const at = (z * height + y) * width;
      const row = (z + fromBlock[0] - toBlock[0]) * toHeight + (y + fromBlock[1] - toBlock[1]);
      to.set(from.subarray(at, at + width), row * toWidth + fromBlock[2] - toBlock[2]);
    }
  }
}

/** Write what a block has on a slice into rows × cols. */
function paste(
  from: Uint8Array,
  block: Block,
  axis: Axis,
  index: number,
  to: Uint8Array,
  cols: number,
  onlyOnes = false,
): void {
  if (isEmpty(block) || index < block[axis]! || index >= block[axis + 3]!) return;
  const shape = blockShape(block);
  const strides = [shape[1] * shape[2], shape[2], 1];
  const [rowAxis, colAxis] = planeAxes(axis);
  const start = (index - block[axis]!) * strides[axis]!;
  for (let r = 0; r < shape[rowAxis]; r++) {
    let at = start + r * strides[rowAxis]!;
    let out = (r + block[rowAxis]!) * cols + block[colAxis]!;
    for (let c = 0; c < shape[colAxis]; c++, at += strides[colAxis]!, out++) {
      if (from[at] || !onlyOnes) to[out] = from[at]!;
    }
  }
}

/** The edges between voxels inside and outside, as a path in voxel edges (x along columns, y along rows). */
export function outline(mask: SliceMask): Path2D {
  const path = new Path2D();
  for (const [x0, y0, x1, y1] of edges(mask)) {
    path.moveTo(x0, y0);
    path.lineTo(x1, y1);
  }
  return path;
}

/** Straight runs of edges, each [x0, y0, x1, y1]. */
export function edges({ data, rows, cols }: SliceMask): [number, number, number, number][] {
  const lines: [number, number, number, number][] = [];
  const at = (r: number, c: number) => (r < 0 || c < 0 || r >= rows || c >= cols ? 0 : data[r * cols + c]!);
  for (let r = 0; r <= rows; r++) {
    let start = -1;
    for (let c = 0; c <= cols; c++) {
      const differs = c < cols && at(r - 1, c) !== at(r, c);
      if (differs && start < 0) start = c;
      if (!differs && start >= 0) {
        lines.push([start, r, c, r]);
        start = -1;
      }
    }
  }
  for (let c = 0; c <= cols; c++) {
    let start = -1;
    for (let r = 0; r <= rows; r++) {
      const differs = r < rows && at(r, c - 1) !== at(r, c);
      if (differs && start < 0) start = r;
      if (!differs && start >= 0) {
        lines.push([c, start, c, r]);
        start = -1;
      }
    }
  }
  return lines;
}
