/** Small helpers to build the page. Text is set as text, never as HTML. */

type Child = Node | string;

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  children: Child[] = [],
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** A button; `title` is its tooltip and its name for screen readers. */
export function button(
  content: Child[],
  title: string,
  press: () => void,
  attributes: Record<string, string> = {},
): HTMLButtonElement {
  const made = element("button", { type: "button", title, "aria-label": title, ...attributes }, content);
  made.addEventListener("click", press);
  return made;
}

export function css(colour: readonly number[]): string {
  return `rgb(${colour.join(", ")})`;
}

/** An icon of 24 units, drawn with lines. */
export function icon(path: string): SVGSVGElement {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(ns, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

/** Seconds in words: "about 2 min", "4 s". */
export function duration(seconds: number): string {
  return seconds >= 90 ? `about ${Math.round(seconds / 60)} min` : `${Math.max(1, Math.round(seconds))} s`;
}

export function number(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toFixed(digits);
}
