/** Mouse, pen and keyboard on a plane: the left button is the tool's, the others look. */

import type { App } from "./app";
import { clamp, planeAxes, rowsUp } from "./geometry";
import type { Place, PlaneView } from "./plane";
import type { Toolbox } from "./tools";

type Held = "tool" | "pan" | "window" | "cross" | null;

export function listen(app: App, tools: Toolbox, plane: PlaneView, pointed: (at: Place | null) => void): void {
  const { canvas } = plane;
  let held: Held = null;
  let last = { x: 0, y: 0 };
  let wheel = 0;

  const place = (event: MouseEvent) => plane.placeAt(event.offsetX, event.offsetY);

  plane.drawer = (ctx, view) => tools.tool.draw(ctx, view);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());

  canvas.addEventListener("pointerdown", (event) => {
    if (!app.volume) return;
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    last = { x: event.offsetX, y: event.offsetY };
    held = whatIsHeld(event);
    if (held === "cross") app.lookAt(place(event).voxel);
    if (held === "tool") tools.tool.down(place(event));
    event.preventDefault();
  });

  canvas.addEventListener("pointermove", (event) => {
    if (!app.volume) return;
    const at = place(event);
    const dx = event.offsetX - last.x;
    const dy = event.offsetY - last.y;
    last = { x: event.offsetX, y: event.offsetY };
    pointed(at);
    canvas.style.cursor = held === "pan" ? "grabbing" : tools.tool.cursor;
    if (held === "pan") plane.pan(dx, dy);
    else if (held === "window") dragWindow(plane, dx, dy);
    else if (held === "cross") app.lookAt(at.voxel);
    else tools.tool.move(at);
  });

  const release = (event: PointerEvent) => {
    if (held === "tool") tools.tool.up(place(event));
    held = null;
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", () => {
    tools.tool.cancel();
    held = null;
  });
  canvas.addEventListener("pointerleave", () => pointed(null));
  canvas.addEventListener("dblclick", () => tools.tool.id === "look" && plane.fit());

  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      if (!app.volume) return;
      if (event.ctrlKey || event.metaKey) {
        plane.zoom(Math.exp(-event.deltaY / 300), event.offsetX, event.offsetY);
        return;
      }
      wheel += event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * 40 : event.deltaY;
      const steps = Math.trunc(wheel / 40);
      wheel -= steps * 40;
      if (steps) app.scrollTo(plane.axis, plane.index + (rowsUp(plane.axis) ? steps : -steps));
    },
    { passive: false },
  );

  canvas.addEventListener("keydown", (event) => keyOnPlane(app, tools, plane, event));
}

function whatIsHeld(event: PointerEvent): Held {
  if (event.button === 1 || (event.button === 0 && event.altKey)) return "pan";
  if (event.button === 2) return "window";
  return event.shiftKey ? "cross" : "tool";
}

/** To the right: wider; up: brighter, as on a reading station. */
function dragWindow({ shows }: PlaneView, dx: number, dy: number): void {
  const [low, high] = shows.window;
  const [least, most] = shows.volume!.scan.range;
  const step = Math.max((most - least) / 1500, (high - low) / 400);
  const width = Math.max(high - low + dx * step, (most - least) / 4000);
  const level = (low + high) / 2 + dy * step;
  shows.setWindow(level - width / 2, level + width / 2);
}

let pressedAt: PlaneView | null = null;

/** Arrows move the crosshair, Page keys the slice; Space is the tool's button, pressed and released. */
function keyOnPlane(app: App, tools: Toolbox, plane: PlaneView, event: KeyboardEvent): void {
  if (!app.volume || event.ctrlKey || event.metaKey || event.altKey) return;
  const [rowAxis, colAxis] = planeAxes(plane.axis);
  const step = event.shiftKey ? 10 : 1;
  const up = rowsUp(plane.axis) ? step : -step;
  const moves: Record<string, [number, number]> = {
    ArrowUp: [rowAxis, up],
    ArrowDown: [rowAxis, -up],
    ArrowLeft: [colAxis, -step],
    ArrowRight: [colAxis, step],
    PageUp: [plane.axis, step],
    PageDown: [plane.axis, -step],
  };
  const move = moves[event.key];
  if (move) {
    const [axis, by] = move as [0 | 1 | 2, number];
    app.scrollTo(axis, clamp(app.crosshair[axis] + by, 0, app.scan!.shape[axis] - 1));
    if (pressedAt === plane) tools.tool.move(underCrosshair(app, plane));
  } else if (event.key === " ") {
    if (pressedAt === plane) {
      pressedAt = null;
      tools.tool.up(underCrosshair(app, plane));
    } else {
      pressedAt = plane;
      tools.tool.down(underCrosshair(app, plane));
    }
  } else if (event.key === "+" || event.key === "-") {
    const [x, y] = plane.screen(app.crosshair[rowAxis] + 0.5, app.crosshair[colAxis] + 0.5);
    plane.zoom(event.key === "+" ? 1.25 : 0.8, x, y);
  } else return;
  event.preventDefault();
  event.stopPropagation();
}

function underCrosshair(app: App, plane: PlaneView): Place {
  const [rowAxis, colAxis] = planeAxes(plane.axis);
  return plane.place(app.crosshair[rowAxis] + 0.5, app.crosshair[colAxis] + 0.5);
}
