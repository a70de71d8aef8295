/** Colours of structures. */

import type { Colour, Hello, Structure } from "./protocol";

/** A colour that is seen on a black ground: dark ones are made lighter, their hue stays. */
export function seen(colour: Colour): Colour {
  const light = (0.21 * colour[0] + 0.72 * colour[1] + 0.07 * colour[2]) / 255;
  const mix = Math.max(0, 0.42 - light) / (1 - light);
  return colour.map((c) => Math.round(c + (255 - c) * mix)) as Colour;
}

/** Whether two colours are told apart at a glance. */
export function apart(a: Colour, b: Colour): boolean {
  return Math.hypot(...a.map((c, n) => c - b[n]!)) > 110;
}

/** Of a project's structure the colour of its value; else the usual one of the name, or one that others do not have. */
export function colourOf(name: string, label: number, structures: Structure[], hello: Hello | null, others: Colour[]): Colour {
  const palette = hello?.colours ?? [];
  const value = structures.find((s) => s.name === name)?.value;
  const own = seen(palette[((value ?? label) - 1) % Math.max(palette.length, 1)] ?? [230, 72, 34]);
  const known = hello?.names.find((n) => n.name.toLowerCase() === name.toLowerCase());
  const usual = known && !structures.length && seen(known.colour);
  return usual && others.every((other) => apart(other, usual)) ? usual : own;
}

/** `#rrggbb`, as colour fields have it. */
export function hex(colour: Colour): string {
  return `#${colour.map((c) => c.toString(16).padStart(2, "0")).join("")}`;
}

export function fromHex(text: string): Colour {
  return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16)) as Colour;
}
