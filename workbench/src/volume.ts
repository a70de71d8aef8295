/** The voxels that are shown, and slices of them as pictures. */

import { typed, type Numbers } from "./connection";
import { AXES, planeAxes } from "./geometry";
import type { Axis, Scan, Voxel } from "./protocol";

/** What there must be said of voxels to show them. */
export type Described = Pick<Scan, "shown" | "range">;

/** What a plane shows: voxels, under a window. */
export interface Shows {
  readonly volume: ShownVolume | null;
  readonly window: [number, number];
  setWindow(low: number, high: number): void;
}

export class ShownVolume {
  readonly voxels: Numbers;
  readonly shape: Voxel;
  private readonly channels: number;

  constructor(
    readonly scan: Described,
    buffer: ArrayBuffer,
  ) {
    this.voxels = typed(scan.shown.dtype, buffer);
    this.shape = scan.shown.shape.slice(0, 3) as Voxel;
    this.channels = scan.shown.shape.length > 3 ? scan.shown.shape[3]! : 1;
  }

  /** The value at a voxel of the scan; of colours the three of them. */
  valueAt(voxel: Voxel): number[] {
    const at = this.offset(voxel);
    return Array.from({ length: this.channels }, (_, c) => this.voxels[at + c]!);
  }

  /** A slice of the scan as RGBA under a window; rows and columns as `planeAxes` says, as many as are shown. */
  picture(axis: Axis, index: number, low: number, high: number): ImageData {
    const [rowAxis, colAxis] = planeAxes(axis);
    const rows = this.shape[rowAxis];
    const cols = this.shape[colAxis];
    const image = new ImageData(cols, rows);
    const pixels = new Uint32Array(image.data.buffer);
    const strides = this.strides();
    const start = this.shownIndex(axis, index) * strides[axis];
    if (this.channels >= 3) this.colours(pixels, start, rows, cols, strides[rowAxis], strides[colAxis]);
    else this.greys(pixels, start, rows, cols, strides[rowAxis], strides[colAxis], low, high);
    return image;
  }

  private greys(
    pixels: Uint32Array,
    start: number,
    rows: number,
    cols: number,
    rowStride: number,
    colStride: number,
    low: number,
    high: number,
  ): void {
    const factor = 255 / Math.max(high - low, 1e-9);
    let n = 0;
    for (let r = 0; r < rows; r++) {
      let at = start + r * rowStride;
      for (let c = 0; c < cols; c++, at += colStride) {
        const grey = (this.voxels[at]! - low) * factor;
        const byte = grey > 0 ? (grey < 255 ? grey | 0 : 255) : 0; // NaN is black
        pixels[n++] = 0xff000000 | (byte << 16) | (byte << 8) | byte;
      }
    }
  }

  private colours(
    pixels: Uint32Array,
    start: number,
    rows: number,
    cols: number,
    rowStride: number,
    colStride: number,
  ): void {
    const scale = this.voxels instanceof Uint8Array ? 1 : 255 / Math.max(this.scan.range[1], 1e-9);
    const byte = (at: number) => Math.min(Math.max(this.voxels[at]! * scale, 0), 255) | 0;
    let n = 0;
    for (let r = 0; r < rows; r++) {
      let at = start + r * rowStride;
      for (let c = 0; c < cols; c++, at += colStride) {
        pixels[n++] = 0xff000000 | (byte(at + 2) << 16) | (byte(at + 1) << 8) | byte(at);
      }
    }
  }

  private strides(): Voxel {
    const [, y, x] = this.shape;
    return [y * x * this.channels, x * this.channels, this.channels];
  }

  private shownIndex(axis: Axis, index: number): number {
    return Math.min(Math.floor(index / this.scan.shown.step[axis]), this.shape[axis] - 1);
  }

  private offset(voxel: Voxel): number {
    const strides = this.strides();
    return AXES.reduce<number>((sum, axis) => sum + this.shownIndex(axis, voxel[axis]) * strides[axis], 0);
  }
}
