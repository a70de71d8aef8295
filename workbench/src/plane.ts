/** One plane: the slice, the masks on it, what was drawn, and where one points. */

import type { App } from "./app";
import { noPrompts, type LabelledObject } from "./objects";
import {
  PLANE_NAMES,
  clamp,
  fitted,
  letters,
  onPlane,
  planeAxes,
  rowsUp,
  toPlane,
  toScreen,
  type Placement,
  type PlaneFrame,
} from "./geometry";
import { outline, type ObjectMask, type SliceMask } from "./masks";
import type { Axis, Voxel } from "./protocol";
import { css, element } from "./dom";
import type { Shows } from "./volume";

/** A place on a plane: continuous voxel edges along rows and columns, and the voxel there. */
export interface Place {
  plane: PlaneView;
  row: number;
  col: number;
  voxel: Voxel;
}

/** What a tool draws while it is used, on top of all else. */
export type Drawer = (ctx: CanvasRenderingContext2D, plane: PlaneView) => void;

interface DrawnMask {
  key: string;
  mask: SliceMask | null;
  fill: HTMLCanvasElement | null;
  path: Path2D | null;
}

export class PlaneView {
  readonly root: HTMLElement;
  readonly canvas: HTMLCanvasElement;
  placement: Placement | null = null;
  drawer: Drawer | null = null;
  private readonly ctx: CanvasRenderingContext2D;
  private readonly picture = document.createElement("canvas");
  private pictureKey = "";
  private readonly base = document.createElement("canvas");
  private baseKey = "";
  private drawn = new Map<LabelledObject, DrawnMask>();
  private width = 0;
  private height = 0;
  private due = false;

  /** Others that are to show the same part as this one. */
  peers: PlaneView[] = [];

  constructor(
    private readonly app: App,
    readonly axis: Axis,
    readonly shows: Shows = app,
    /** Masks that it has of its own, instead of those of the scan. */
    private readonly own: ReadonlyMap<string, ObjectMask> | null = null,
  ) {
    const name = PLANE_NAMES[axis];
    this.canvas = element("canvas", { class: "slice", tabindex: "0", role: "application", "aria-label": `${name} plane` });
    this.root = element("section", { class: "plane", "data-axis": String(axis), "aria-label": name }, [this.canvas]);
    // drawn by the processor: pictures that change all the time are quicker so where graphics are software
    this.ctx = this.canvas.getContext("2d", { alpha: false, willReadFrequently: true })!;
    new ResizeObserver(() => this.resize()).observe(this.canvas);
    app.on(["scan"], () => {
      this.placement = null;
      this.pictureKey = this.baseKey = "";
      this.drawn.clear();
      this.draw();
    });
    app.on(["view", "masks", "objects", "tool"], () => this.draw());
    app.on(["preview"], () => {
      if (app.came.some((p) => p.axis !== axis || p.index === this.index)) this.draw();
    });
  }

  get index(): number {
    return this.app.crosshair[this.axis];
  }

  get frame(): PlaneFrame {
    const [rows, cols] = planeAxes(this.axis);
    const spacing = this.app.scan!.spacing;
    return { width: this.width, height: this.height, rowMm: spacing[rows], colMm: spacing[cols], up: rowsUp(this.axis) };
  }

  get extent(): [number, number] {
    const [rows, cols] = planeAxes(this.axis);
    return [this.app.scan!.shape[rows], this.app.scan!.shape[cols]];
  }

  fit(): void {
    this.placed(null);
  }

  private placed(placement: Placement | null): void {
    for (const plane of [this, ...this.peers]) {
      plane.placement = placement;
      plane.draw();
    }
  }

  /** The place under CSS pixels of the canvas, inside the slice or just outside it. */
  placeAt(x: number, y: number): Place {
    const [row, col] = toPlane(this.frame, this.placement ?? this.fitted(), x, y);
    return this.place(row, col);
  }

  place(row: number, col: number): Place {
    const [rowAxis, colAxis] = planeAxes(this.axis);
    const [rows, cols] = this.extent;
    const voxel: Voxel = [...this.app.crosshair];
    voxel[rowAxis] = clamp(Math.floor(row), 0, rows - 1);
    voxel[colAxis] = clamp(Math.floor(col), 0, cols - 1);
    return { plane: this, row, col, voxel };
  }

  /** CSS pixels of a place. */
  screen(row: number, col: number): [number, number] {
    return toScreen(this.frame, this.placement ?? this.fitted(), row, col);
  }

  /** CSS pixels of a voxel along the columns: how large it is seen. */
  get voxelPixels(): number {
    return (this.placement ?? this.fitted()).scale * this.frame.colMm;
  }

  zoom(factor: number, x: number, y: number): void {
    const before = this.placement ?? this.fitted();
    const [row, col] = toPlane(this.frame, before, x, y);
    const scale = clamp(before.scale * factor, this.fitted().scale / 4, 400);
    const [newRow, newCol] = toPlane(this.frame, { ...before, scale }, x, y);
    this.placed({ scale, row: before.row + row - newRow, col: before.col + col - newCol });
  }

  pan(dx: number, dy: number): void {
    const at = this.placement ?? this.fitted();
    const { rowMm, colMm, up } = this.frame;
    const down = dy / (rowMm * at.scale);
    this.placed({ ...at, row: at.row - (up ? -down : down), col: at.col - dx / (colMm * at.scale) });
  }

  draw(): void {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.paint();
    });
  }

  private fitted(): Placement {
    return fitted(this.frame, ...this.extent);
  }

  private resize(): void {
    const { width, height } = this.canvas.getBoundingClientRect();
    this.width = width;
    this.height = height;
    this.canvas.width = Math.round(width * devicePixelRatio);
    this.canvas.height = Math.round(height * devicePixelRatio);
    this.paint();
  }

  private paint(): void {
    const { ctx, app } = this;
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    ctx.fillStyle = "#000";
    ctx.fillRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.shows.volume || !app.scan || !this.width || !this.height) return;
    const at = this.placement ?? this.fitted();
    ctx.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    this.paintSlice(at);
    if (app.masksShown) {
      for (const object of this.own ? this.theirs(this.own) : app.objects) if (object.visible) this.paintMask(object, at);
    }
    ctx.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    if (app.marksShown) {
      for (const object of app.objects) if (object.visible) this.paintPrompts(object);
      this.paintCrosshair();
    }
    this.drawer?.(ctx, this);
    this.paintLetters();
  }

  /** From voxel edges of the slice to CSS pixels. */
  private matrix(at: Placement): DOMMatrix {
    const { width, height, rowMm, colMm, up } = this.frame;
    const sx = colMm * at.scale;
    const sy = rowMm * at.scale * (up ? -1 : 1);
    return new DOMMatrix([sx, 0, 0, sy, width / 2 - at.col * sx, height / 2 - at.row * sy]);
  }

  private paintSlice(at: Placement): void {
    const { ctx, canvas } = this;
    const key = `${this.sliceKey} ${at.scale} ${at.row} ${at.col} ${canvas.width} ${canvas.height} ${devicePixelRatio}`;
    if (key !== this.baseKey) {
      this.drawBase(at);
      this.baseKey = key;
    }
    ctx.save();
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    ctx.drawImage(this.base, 0, 0);
    ctx.restore();
  }

  private get sliceKey(): string {
    const [low, high] = this.shows.window;
    return `${this.index} ${low} ${high}`;
  }

  /** The slice as large as it is seen; what lies over it changes far more often. */
  private drawBase(at: Placement): void {
    const { shows, base, canvas } = this;
    if (this.sliceKey !== this.pictureKey) {
      const image = shows.volume!.picture(this.axis, this.index, ...shows.window);
      this.picture.width = image.width;
      this.picture.height = image.height;
      this.picture.getContext("2d")!.putImageData(image, 0, 0);
      this.pictureKey = this.sliceKey;
    }
    base.width = canvas.width;
    base.height = canvas.height;
    const ctx = base.getContext("2d", { alpha: false, willReadFrequently: true })!;
    const m = this.matrix(at);
    ctx.scale(devicePixelRatio, devicePixelRatio);
    ctx.transform(m.a, m.b, m.c, m.d, m.e, m.f);
    ctx.imageSmoothingEnabled = this.voxelPixels < 12; // larger, one wants to see the voxels
    ctx.imageSmoothingQuality = this.voxelPixels < 1 ? "high" : "low";
    ctx.drawImage(this.picture, 0, 0, this.extent[1], this.extent[0]);
  }

  private paintMask(object: LabelledObject, at: Placement): void {
    const { ctx, app } = this;
    const drawn = this.drawnMask(object);
    if (!drawn.mask) return;
    const m = this.matrix(at);
    ctx.save();
    if (app.opacity > 0) {
      ctx.save();
      ctx.transform(m.a, m.b, m.c, m.d, m.e, m.f);
      ctx.imageSmoothingEnabled = false;
      ctx.globalAlpha = app.opacity;
      ctx.drawImage(drawn.fill!, 0, 0);
      ctx.restore();
    }
    if (app.outlines) {
      const path = new Path2D();
      path.addPath(drawn.path!, m);
      ctx.lineJoin = "round";
      ctx.lineCap = "square";
      ctx.lineWidth = object.name === app.selected ? 2 : 1.25;
      ctx.strokeStyle = css(object.colour);
      ctx.stroke(path);
    }
    ctx.restore();
  }

  /** Objects with the masks that they have here, of whatever has become of them. */
  private theirs(own: ReadonlyMap<string, ObjectMask>): LabelledObject[] {
    const made = [...own].map(([name, mask]) => ({ ...(this.app.object(name) ?? strange(name)), mask }));
    return made.map((object) => {
      const known = [...this.drawn.keys()].find((o) => o.name === object.name);
      return known ? Object.assign(known, object) : object;
    });
  }

  private drawnMask(object: LabelledObject): DrawnMask {
    const key = `${this.index} ${object.mask.version} ${object.colour.join()}`;
    const kept = this.drawn.get(object);
    if (kept?.key === key) return kept;
    const mask = object.mask.slice(this.axis, this.index);
    const drawn: DrawnMask = { key, mask, fill: null, path: null };
    if (mask) {
      drawn.fill = kept?.fill ?? document.createElement("canvas");
      fillWith(drawn.fill, mask, object.colour);
      drawn.path = outline(mask);
    }
    this.drawn.set(object, drawn);
    return drawn;
  }

  // -- what was drawn by hand -----------------------------------------------------------------

  private paintPrompts(object: LabelledObject): void {
    const { prompts } = object;
    const strong = object.name === this.app.selected;
    const colour = css(object.colour);
    for (const { block } of prompts.blocks) this.paintBlock(onPlane(block, this.axis, this.index), colour, strong);
    for (const { axis, block } of prompts.boxes) {
      const box = onPlane(block, this.axis, this.index);
      if (axis === this.axis && box.cuts) this.rectangle(box.r0, box.c0, box.r1, box.c1, colour, strong ? 2 : 1, []);
    }
    for (const lasso of prompts.lassos) {
      if (lasso.axis === this.axis && lasso.index === this.index) this.paintLine(lasso.outline, colour, lasso.positive, true);
    }
    const [rowAxis, colAxis] = planeAxes(this.axis);
    for (const stroke of prompts.scribbles) {
      const here = stroke.voxels.filter((v) => v[this.axis] === this.index);
      if (here.length) {
        this.paintLine(here.map((v) => [v[rowAxis] + 0.5, v[colAxis] + 0.5]), colour, stroke.positive, false);
      }
    }
    for (const point of prompts.points) {
      if (point.at[this.axis] === this.index) this.paintPoint(point.at[rowAxis] + 0.5, point.at[colAxis] + 0.5, point.positive);
    }
  }

  private paintBlock(box: { r0: number; c0: number; r1: number; c1: number; cuts: boolean }, colour: string, strong: boolean): void {
    if (box.cuts) this.rectangle(box.r0, box.c0, box.r1, box.c1, colour, strong ? 2 : 1, [7, 4]);
  }

  rectangle(r0: number, c0: number, r1: number, c1: number, colour: string, width: number, dash: number[]): void {
    const [x0, y0] = this.screen(r0, c0);
    const [x1, y1] = this.screen(r1, c1);
    const { ctx } = this;
    ctx.save();
    ctx.setLineDash(dash);
    ctx.lineWidth = width + 2;
    ctx.strokeStyle = "rgba(0, 0, 0, 0.55)";
    ctx.strokeRect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
    ctx.lineWidth = width;
    ctx.strokeStyle = colour;
    ctx.strokeRect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
    ctx.restore();
  }

  /** A line through places; what it says is outside is dashed. */
  paintLine(places: [number, number][], colour: string, positive: boolean, closed: boolean): void {
    const { ctx } = this;
    ctx.save();
    ctx.beginPath();
    places.forEach(([row, col], n) => {
      const [x, y] = this.screen(row, col);
      if (n) ctx.lineTo(x, y);
      else ctx.moveTo(x, y);
    });
    if (closed) ctx.closePath();
    ctx.lineJoin = ctx.lineCap = "round";
    ctx.lineWidth = 4.5;
    ctx.strokeStyle = "rgba(0, 0, 0, 0.55)";
    ctx.stroke();
    ctx.lineWidth = 2.5;
    ctx.strokeStyle = positive ? colour : "#ff5c5c";
    if (!positive) ctx.setLineDash([5, 4]);
    ctx.stroke();
    ctx.restore();
  }

  paintPoint(row: number, col: number, positive: boolean): void {
    const { ctx } = this;
    const [x, y] = this.screen(row, col);
    ctx.save();
    ctx.beginPath();
    ctx.arc(x, y, 6, 0, 2 * Math.PI);
    ctx.fillStyle = positive ? "#35d07f" : "#ff5c5c";
    ctx.fill();
    ctx.lineWidth = 1.5;
    ctx.strokeStyle = "#000";
    ctx.stroke();
    ctx.beginPath();
    ctx.moveTo(x - 3, y);
    ctx.lineTo(x + 3, y);
    if (positive) {
      ctx.moveTo(x, y - 3);
      ctx.lineTo(x, y + 3);
    }
    ctx.strokeStyle = "#000";
    ctx.stroke();
    ctx.restore();
  }

  private paintCrosshair(): void {
    const { ctx, app } = this;
    const [rowAxis, colAxis] = planeAxes(this.axis);
    const [x, y] = this.screen(app.crosshair[rowAxis] + 0.5, app.crosshair[colAxis] + 0.5);
    const gap = 14;
    ctx.save();
    ctx.strokeStyle = "rgba(120, 190, 255, 0.55)";
    ctx.lineWidth = 1;
    ctx.beginPath();
    ctx.moveTo(0, y);
    ctx.lineTo(x - gap, y);
    ctx.moveTo(x + gap, y);
    ctx.lineTo(this.width, y);
    ctx.moveTo(x, 0);
    ctx.lineTo(x, y - gap);
    ctx.moveTo(x, y + gap);
    ctx.lineTo(x, this.height);
    ctx.stroke();
    ctx.restore();
  }

  private paintLetters(): void {
    const { ctx, app } = this;
    const text = letters(this.axis);
    ctx.save();
    ctx.font = "600 13px system-ui, sans-serif";
    ctx.fillStyle = "rgba(255, 255, 255, 0.9)";
    ctx.strokeStyle = "rgba(0, 0, 0, 0.7)";
    ctx.lineWidth = 3;
    ctx.lineJoin = "round";
    const write = (words: string, x: number, y: number) => {
      ctx.strokeText(words, x, y);
      ctx.fillText(words, x, y);
    };
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    if (!app.scan!.colour) {
      write(text.left, 12, this.height / 2);
      write(text.right, this.width - 12, this.height / 2);
      write(text.top, this.width / 2, 12);
      write(text.bottom, this.width / 2, this.height - 12);
    }
    ctx.textAlign = "left";
    ctx.font = "12px system-ui, sans-serif";
    write(`${PLANE_NAMES[this.axis]}  ${this.index + 1} / ${app.scan!.shape[this.axis]}`, 10, 14);
    ctx.restore();
  }
}

/** An object that this scan has not, or not any more. */
function strange(name: string): Omit<LabelledObject, "mask"> {
  return { name, label: 0, colour: [200, 205, 210], prompts: noPrompts(name), run: null, visible: true, locked: true };
}

function fillWith(canvas: HTMLCanvasElement, mask: SliceMask, colour: readonly number[]): void {
  canvas.width = mask.cols;
  canvas.height = mask.rows;
  const image = new ImageData(mask.cols, mask.rows);
  const pixels = new Uint32Array(image.data.buffer);
  const rgba = (0xff000000 | (colour[2]! << 16) | (colour[1]! << 8) | colour[0]!) >>> 0;
  for (let n = 0; n < mask.data.length; n++) if (mask.data[n]) pixels[n] = rgba;
  canvas.getContext("2d")!.putImageData(image, 0, 0);
}
