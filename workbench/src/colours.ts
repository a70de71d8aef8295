/** Colours of structures. */

import type { Colour } from "./protocol";

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
