/** One structure on the page, and what is said of it. */

import { isEmpty } from "./geometry";
import type { ObjectMask } from "./masks";
import type { Block, Colour, Prompts, Run, Scan, Structure } from "./protocol";

export interface LabelledObject {
  name: string;
  label: number;
  colour: Colour;
  /** Whether a person chose the colour. */
  ownColour?: boolean;
  prompts: Prompts;
  mask: ObjectMask;
  run: Run | null;
  visible: boolean;
  locked: boolean;
}

export function noPrompts(name: string): Prompts {
  return { name, boxes: [], blocks: [], points: [], scribbles: [], lassos: [], mask: null, order: [], propagate: "auto" };
}

export function saysNothing(prompts: Prompts): boolean {
  const { boxes, blocks, points, scribbles, lassos, mask } = prompts;
  return !boxes.length && !blocks.length && !points.length && !scribbles.length && !lassos.length && (!mask || isEmpty(mask));
}

/** Whether what is said of it leaves open which of the model's masks is meant: a box, a click, a stroke does. */
export function isAmbiguous({ boxes, points, scribbles, lassos }: Prompts): boolean {
  return boxes.length + points.length + scribbles.length + lassos.length > 0;
}

/** Whether the server has not heard of it yet. */
export function isDraft(object: LabelledObject): boolean {
  return saysNothing(object.prompts) && !object.run && !object.mask.count;
}

/** Whether it is as the label map of the case had it, but for what was painted since. */
export function isAsBefore(scan: Scan | null, { prompts }: LabelledObject): boolean {
  const known = scan?.case !== undefined && scan.case.state !== "todo";
  return known && Boolean(prompts.mask) && saysNothing({ ...prompts, mask: null });
}

/** The structures of a project first, in their order and whether or not something is said of them; then all else. */
export function standing(
  objects: LabelledObject[],
  structures: Structure[],
  make: (prompts: Prompts) => LabelledObject,
): LabelledObject[] {
  const first = structures.map(({ name, value }) => objects.find((o) => o.name === name) ?? make({ ...noPrompts(name), label: value }));
  return [...first, ...objects.filter((o) => !first.includes(o))];
}

/** ml of an object. */
export function millilitres(scan: Scan, object: LabelledObject): number {
  const [z, y, x] = scan.spacing;
  return (object.mask.count * z * y * x) / 1000;
}

/** A slice as it was painted: a block one voxel thick, 0 or 1. */
export interface PaintedSlice {
  block: Block;
  data: Uint8Array;
}
