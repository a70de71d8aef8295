import { describe, expect, it } from "vitest";

import { ObjectMask, edges } from "../src/masks";
import type { Block, MaskEntry, Voxel } from "../src/protocol";

const SHAPE: Voxel = [3, 4, 5];

function entry(block: Block, data: number[] | null, more: Partial<MaskEntry> = {}): MaskEntry {
  return { name: "a", block, data: data && Uint8Array.from(data), replace: false, removed: false, ...more };
}

/** All voxels by way of axial slices. */
function dense(mask: ObjectMask): number[] {
  return [0, 1, 2].flatMap((z) => [...(mask.slice(0, z)?.data ?? new Uint8Array(20))]);
}

describe("an object's voxels", () => {
  it("are where the block says, on all three planes", () => {
    const mask = new ObjectMask(SHAPE);
    mask.apply(entry([1, 2, 3, 2, 3, 4], [1]));
    expect(mask.count).toBe(1);
    expect(mask.slice(0, 1)!.data.indexOf(1)).toBe(2 * 5 + 3);
    expect(mask.slice(1, 2)!.data.indexOf(1)).toBe(1 * 5 + 3);
    expect(mask.slice(2, 3)!.data.indexOf(1)).toBe(1 * 4 + 2);
    expect(mask.slice(0, 0)).toBeNull();
  });

  it("take further blocks, which may erase", () => {
    const mask = new ObjectMask(SHAPE);
    mask.apply(entry([0, 0, 0, 1, 2, 2], [1, 1, 1, 1]));
    mask.apply(entry([0, 1, 1, 3, 2, 2], [0, 1, 1]));
    const expected = new Array<number>(60).fill(0);
    for (const at of [0, 1, 5, 26, 46]) expected[at] = 1;
    expect(dense(mask)).toEqual(expected);
    expect(mask.count).toBe(5);
  });

  it("are replaced or removed as a whole", () => {
    const mask = new ObjectMask(SHAPE);
    mask.apply(entry([0, 0, 0, 1, 1, 1], [1]));
    mask.apply(entry([2, 3, 4, 3, 4, 5], [1], { replace: true }));
    expect(mask.slice(0, 0)).toBeNull();
    expect(mask.count).toBe(1);
    mask.apply(entry([0, 0, 0, 0, 0, 0], null, { removed: true }));
    expect(mask.isEmpty).toBe(true);
  });

  it("show a preview on its plane and as a line on the others, until the answer", () => {
    const mask = new ObjectMask(SHAPE);
    mask.apply(entry([1, 0, 0, 2, 4, 5], new Array<number>(20).fill(1)));
    const before = mask.version;
    mask.preview({ name: "a", axis: 0, index: 1, block: [1, 1, 1, 2, 2, 2], data: Uint8Array.from([1]) });
    expect(mask.version).toBeGreaterThan(before);
    expect([...mask.slice(0, 1)!.data].filter(Boolean)).toHaveLength(1);
    expect(mask.slice(1, 1)!.data.indexOf(1)).toBe(1 * 5 + 1);
    expect(mask.slice(1, 0)).toBeNull();
    expect(mask.slice(2, 1)!.data.indexOf(1)).toBe(1 * 4 + 1);
    expect(mask.count).toBe(20);
    mask.dropPreviews();
    expect([...mask.slice(0, 1)!.data].filter(Boolean)).toHaveLength(20);
  });
});

describe("outlines", () => {
  it("run along the edges of voxels", () => {
    const data = Uint8Array.from([0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
    expect(edges({ data, rows: 3, cols: 4 })).toEqual([
      [1, 1, 3, 1],
      [1, 2, 3, 2],
      [1, 1, 1, 2],
      [3, 1, 3, 2],
    ]);
  });

  it("close at the border of the picture", () => {
    const lines = edges({ data: Uint8Array.from([1]), rows: 1, cols: 1 });
    expect(lines).toHaveLength(4);
  });
});
