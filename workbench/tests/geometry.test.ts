import { describe, expect, it } from "vitest";

import {
  AXES,
  applyMatrix,
  between,
  blockOnSlice,
  fitted,
  letters,
  onPlane,
  planeAxes,
  rowsUp,
  toPlane,
  toScreen,
  union,
  type PlaneFrame,
} from "../src/geometry";

const FRAME: PlaneFrame = { width: 400, height: 300, rowMm: 2, colMm: 0.5, up: true };

describe("planes", () => {
  it("come back from the screen to the voxel", () => {
    for (const up of [true, false]) {
      const frame = { ...FRAME, up };
      const at = fitted(frame, 80, 200);
      for (const [row, col] of [[0, 0], [80, 200], [12.25, 7.5]] as const) {
        const [x, y] = toScreen(frame, at, row, col);
        const [r, c] = toPlane(frame, at, x, y);
        expect(r).toBeCloseTo(row, 6);
        expect(c).toBeCloseTo(col, 6);
      }
    }
  });

  it("show the whole slice in mm when fitted", () => {
    const at = fitted(FRAME, 80, 200);
    const [x0, y0] = toScreen(FRAME, at, 80, 0);
    const [x1, y1] = toScreen(FRAME, at, 0, 200);
    expect(x0).toBeGreaterThanOrEqual(0);
    expect(y0).toBeGreaterThanOrEqual(0);
    expect(x1).toBeLessThanOrEqual(400);
    expect(y1).toBeLessThanOrEqual(300);
    expect((y1 - y0) / (x1 - x0)).toBeCloseTo((80 * 2) / (200 * 0.5), 6);
  });

  it("have the head up and the patient's left on the right", () => {
    expect(AXES.map(rowsUp)).toEqual([false, true, true]);
    expect(letters(0)).toEqual({ left: "R", right: "L", top: "A", bottom: "P" });
    expect(letters(1)).toEqual({ left: "R", right: "L", top: "S", bottom: "I" });
    expect(letters(2)).toEqual({ left: "A", right: "P", top: "S", bottom: "I" });
  });
});

describe("blocks", () => {
  it("on a slice are one voxel thick and come back", () => {
    for (const axis of AXES) {
      const block = blockOnSlice(axis, 7, 1, 2, 3, 5);
      expect(block[axis + 3]! - block[axis]!).toBe(1);
      expect(onPlane(block, axis, 7)).toEqual({ r0: 1, c0: 2, r1: 3, c1: 5, cuts: true });
      expect(onPlane(block, axis, 8).cuts).toBe(false);
      expect(planeAxes(axis)).not.toContain(axis);
    }
  });

  it("unite, and nothing adds nothing", () => {
    expect(union([0, 0, 0, 1, 1, 1], [2, 3, 4, 3, 4, 5])).toEqual([0, 0, 0, 3, 4, 5]);
    expect(union([0, 0, 0, 0, 0, 0], [2, 3, 4, 3, 4, 5])).toEqual([2, 3, 4, 3, 4, 5]);
  });
});

it("strokes leave no gaps", () => {
  const line = between([0, 0], [3, 7]);
  expect(line.at(-1)).toEqual([3, 7]);
  let last: [number, number] = [0, 0];
  for (const cell of line) {
    expect(Math.max(Math.abs(cell[0] - last[0]), Math.abs(cell[1] - last[1]))).toBe(1);
    last = cell;
  }
});

it("a matrix maps indices to the patient", () => {
  const matrix = [[0, 0, 2, 10], [0, 3, 0, 20], [4, 0, 0, 30], [0, 0, 0, 1]];
  expect(applyMatrix(matrix, [1, 2, 3])).toEqual([16, 26, 34]);
});
