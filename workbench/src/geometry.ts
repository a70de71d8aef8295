/** Planes, blocks, and the way between voxels and the screen. Arrays are (z, y, x), C order. */

import type { Axis, Block, Matrix, Voxel } from "./protocol";

export const AXES: readonly Axis[] = [0, 1, 2];
export const PLANE_NAMES = ["Axial", "Coronal", "Sagittal"] as const;

/** The axes that a plane shows: down the rows and along the columns. */
export function planeAxes(axis: Axis): [Axis, Axis] {
  return axis === 0 ? [1, 2] : axis === 1 ? [0, 2] : [0, 1];
}

/** Whether rows grow upwards on the screen: the head is up. */
export function rowsUp(axis: Axis): boolean {
  return axis !== 0;
}

const LETTERS: readonly [string, string][] = [
  ["I", "S"],
  ["A", "P"],
  ["R", "L"],
];

/** Letters at the left, right, top and bottom of a plane: the patient's left is on the right. */
export function letters(axis: Axis): { left: string; right: string; top: string; bottom: string } {
  const [rows, cols] = planeAxes(axis);
  const [first, last] = LETTERS[rows]!;
  const up = rowsUp(axis);
  return {
    left: LETTERS[cols]![0],
    right: LETTERS[cols]![1],
    top: up ? last : first,
    bottom: up ? first : last,
  };
}

export function isEmpty(block: Block): boolean {
  return block[3] <= block[0] || block[4] <= block[1] || block[5] <= block[2];
}

export function blockShape(block: Block): Voxel {
  return [block[3] - block[0], block[4] - block[1], block[5] - block[2]];
}

export function union(a: Block, b: Block): Block {
  if (isEmpty(a)) return [...b];
  if (isEmpty(b)) return [...a];
  return [0, 1, 2].map((i) => Math.min(a[i]!, b[i]!)).concat([3, 4, 5].map((i) => Math.max(a[i]!, b[i]!))) as Block;
}

/** A rectangle on a slice as a block one voxel thick. */
export function blockOnSlice(axis: Axis, index: number, r0: number, c0: number, r1: number, c1: number): Block {
  const [rows, cols] = planeAxes(axis);
  const block: Block = [0, 0, 0, 0, 0, 0];
  block[axis] = index;
  block[axis + 3] = index + 1;
  block[rows] = r0;
  block[rows + 3] = r1;
  block[cols] = c0;
  block[cols + 3] = c1;
  return block;
}

/** Where a block lies on a plane: rows, columns, and whether the slice cuts it. */
export function onPlane(block: Block, axis: Axis, index: number): { r0: number; c0: number; r1: number; c1: number; cuts: boolean } {
  const [rows, cols] = planeAxes(axis);
  return {
    r0: block[rows]!,
    r1: block[rows + 3]!,
    c0: block[cols]!,
    c1: block[cols + 3]!,
    cuts: block[axis]! <= index && index < block[axis + 3]!,
  };
}

export function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}

export function applyMatrix(matrix: Matrix, at: readonly number[]): Voxel {
  return [0, 1, 2].map(
    (row) => matrix[row]![0]! * at[0]! + matrix[row]![1]! * at[1]! + matrix[row]![2]! * at[2]! + matrix[row]![3]!,
  ) as Voxel;
}

/** How a plane lies in its rectangle on the screen: positions are voxel edges, voxel i covers i to i + 1. */
export interface Placement {
  /** CSS pixels a mm. */
  scale: number;
  /** What is in the middle, in voxel edges along rows and columns. */
  row: number;
  col: number;
}

export interface PlaneFrame {
  width: number;
  height: number;
  /** mm a voxel along rows and columns. */
  rowMm: number;
  colMm: number;
  up: boolean;
}

export function toScreen(frame: PlaneFrame, at: Placement, row: number, col: number): [number, number] {
  const down = (row - at.row) * frame.rowMm * at.scale;
  return [frame.width / 2 + (col - at.col) * frame.colMm * at.scale, frame.height / 2 + (frame.up ? -down : down)];
}

export function toPlane(frame: PlaneFrame, at: Placement, x: number, y: number): [number, number] {
  const down = (y - frame.height / 2) / (frame.rowMm * at.scale);
  return [at.row + (frame.up ? -down : down), at.col + (x - frame.width / 2) / (frame.colMm * at.scale)];
}

/** The placement in which all of the slice is seen. */
export function fitted(frame: PlaneFrame, rows: number, cols: number): Placement {
  const margin = 0.98;
  const scale = Math.min(frame.width / (cols * frame.colMm), frame.height / (rows * frame.rowMm)) * margin;
  return { scale: Math.max(scale, 1e-6), row: rows / 2, col: cols / 2 };
}

/** Voxels that a stroke from one place on a slice to the next goes through, without the first. */
export function between(from: [number, number], to: [number, number]): [number, number][] {
  const steps = Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]));
  return Array.from({ length: steps }, (_, n) => [
    Math.round(from[0] + ((to[0] - from[0]) * (n + 1)) / steps),
    Math.round(from[1] + ((to[1] - from[1]) * (n + 1)) / steps),
  ]);
}
