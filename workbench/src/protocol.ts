/** The messages between page and server; docs/worker.md describes those that the worker knows too. */

/** Half-open: z0, y0, x0, z1, y1, x1. */
export type Block = [number, number, number, number, number, number];
/** A voxel (z, y, x); the axes grow to superior, posterior, left. */
export type Voxel = [number, number, number];
export type Axis = 0 | 1 | 2;
export type Colour = [number, number, number];
export type Matrix = number[][];

export interface ArrayReference {
  frame: number;
  dtype: string;
  shape: number[];
}

export interface Preset {
  name: string;
  low: number;
  high: number;
}

export interface Scan {
  /** Another one each time something is opened. */
  id: string;
  name: string;
  where: string;
  shape: Voxel;
  spacing: [number, number, number];
  affine: Matrix;
  to_file: Matrix;
  codes: string;
  oblique_degrees: number;
  modality: string;
  colour: boolean;
  single_slice: boolean;
  dtype: string;
  range: [number, number];
  window: [number, number];
  presets: Preset[];
  notes: string[];
  file: { format: string; series: string | null };
  shown: { dtype: string; shape: number[]; step: Voxel; note: string | null };
  output: { folder: string; stem: string };
  restored: { objects: number; when: string; edits: number } | null;
  model: string;
  options: Record<string, string | boolean>;
  dirty: boolean;
  case?: Case;
}

/** Which case of a project the scan is. */
export interface Case {
  id: string;
  state: "todo" | "proposed" | "accepted" | "refused";
  /** Dice that a proposal is thought to have, by structure. */
  estimated: Record<string, number>;
  note: string;
}

export interface Structure {
  name: string;
  value: number;
}

export interface Project {
  name: string;
  folder: string;
  structures: Structure[];
  accepted: number;
  total: number;
  /** What is to be said when no case waits. */
  says: string;
  commands: { command: string; what: string }[];
  notes: string[];
}

/** A case in the list of all. */
export interface CaseLine {
  id: string;
  subject: string;
  state: string;
  minutes: number;
  prompted: number;
  estimate: number;
  note: string;
  here: boolean;
}

export interface Choice {
  id: string;
  number?: number | null;
  description?: string;
  modality?: string;
  shape?: number[];
  spacing?: number[];
  date?: string;
  thumbnail?: string | null;
  name?: string;
  note?: string | null;
}

export interface Recent {
  id: string;
  name: string;
  where: string;
  when: string;
}

export interface KnownModel {
  name: string;
  description: string;
  license: string;
  available: boolean;
}

export interface SaveFormat {
  id: string;
  label: string;
  suffix: string;
  available: boolean;
  why: string;
}

export interface Hello {
  sammed: string;
  role: "works" | "looks_on";
  models: KnownModel[];
  planes: string[];
  windows: string[];
  scan: Scan | null;
  choices: Choice[] | null;
  recent: Recent[];
  names: { name: string; colour: Colour }[];
  colours: Colour[];
  formats: SaveFormat[];
  project: Project | null;
}

export interface BoxPrompt {
  axis: Axis;
  block: Block;
}
export interface PointPrompt {
  at: Voxel;
  positive: boolean;
}
export interface ScribblePrompt {
  voxels: Voxel[];
  positive: boolean;
}
export interface LassoPrompt {
  axis: Axis;
  index: number;
  outline: [number, number][];
  positive: boolean;
}
export type Propagate = "auto" | "between" | "off";

/** All that is said of an object, as `put` takes it; of painted slices the server tells the block alone. */
export interface Prompts {
  name: string;
  label?: number;
  boxes: BoxPrompt[];
  blocks: { block: Block }[];
  points: PointPrompt[];
  scribbles: ScribblePrompt[];
  lassos: LassoPrompt[];
  mask?: Block | null;
  order?: string[];
  propagate: Propagate;
  /** Which of the model's masks is meant on prompted slices, 1 to 3; 0: the engine chooses. */
  candidate?: number;
}

export interface SliceRecord {
  index: number;
  predicted_iou: number | null;
  present: number | null;
  area_mm2: number | null;
  prompt: string;
  retries: number;
}

export interface Run {
  plane: string;
  axis: Axis;
  error: string | null;
  prompted: number[];
  stops: { index: number; reason: string; text: string }[];
  slices: SliceRecord[];
}

export interface MaskEntry {
  name: string;
  block: Block;
  data: Uint8Array | null;
  replace: boolean;
  removed: boolean;
}

export interface Partial {
  name: string;
  axis: Axis;
  index: number;
  block: Block;
  data: Uint8Array | null;
}

export interface Progress {
  done: number;
  total: number | null;
  object: string;
  plane: string;
  seconds_left: number | null;
  /** In words, where it is no segmentation. */
  text?: string;
}

/** What every answer that changes the session carries, as far as it changed. */
export interface Answer {
  objects?: string[];
  can_undo?: boolean;
  can_redo?: boolean;
  dirty?: boolean;
  stale?: string[];
  masks?: MaskEntry[];
  runs?: Record<string, Run>;
  prompts?: Prompts[];
  window?: string;
}

/** Labelled scans that can be taken from. */
export interface Labelled {
  id: string;
  name: string;
  where: string;
  kind: "example" | "folder" | "prior";
}

/** What is to be said of an object that another scan has shown. */
export interface Account {
  by: string;
  /** How many examples voted. */
  examples?: number | null;
  /** Mean Dice of their masks; null of a single one. */
  agreement?: number | null;
  likeness?: number | null;
  /** What became of the model's own look. */
  model?: string | null;
  how?: string;
  missing?: string;
  ml?: number;
  voxels?: number;
  /** There was one of that name, and it stays. */
  left_alone?: boolean;
}

/** A lesion then and now. */
export interface Lesion {
  name: string;
  before_ml: number;
  now_ml: number;
  change_ml: number;
  percent: number | null;
  doubling_days: number | null;
  state: "there" | "gone" | "outside";
  how: string;
  at: Voxel | null;
  voxels: number;
}

export interface FollowUp {
  by: string;
  days: number;
  moved: string;
  rows: Lesion[];
  new: { ml: number; at: Voxel }[];
}

/** Another scan of the same person on the grid of this one. */
export interface Phase {
  name: string;
  said: string;
  range: [number, number];
  window: [number, number];
  presets: Preset[];
  shown: Scan["shown"];
  /** Another one each time it is put there. */
  id: string;
}

/** What lies beside the scan. */
export interface BesideTold {
  name: string;
  phases: Phase[];
  taken: Record<string, Account>;
  table: FollowUp | null;
  then: MaskEntry[];
  days: number;
  /** Labelled scans that the command line names. */
  asked: string[];
  /** Whether one of them is an earlier scan of the same person. */
  compares: boolean;
}

/** What went wrong, as a program tells it apart; empty if the server did not say. */
export function codeOf(error: unknown): string {
  return error instanceof ServerError ? error.code : "";
}

export class ServerError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly details: Record<string, unknown> = {},
  ) {
    super(message);
  }
}
