/** What to do next, in one line: the page always says it. */

import type { App } from "./app";
import { isAsBefore, isDraft } from "./objects";
import { duration } from "./dom";
import type { Progress } from "./protocol";
import type { ToolId } from "./tool";
import type { Toolbox } from "./tools";

const WITH_TOOL: Record<ToolId, string> = {
  look: "Click to move the crosshair; B takes the box again",
  box: "Drag a box round the structure on any plane",
  box3d: "Drag a box round the structure where it is largest",
  inside: "Click where the structure is missing",
  outside: "Click where the mask should not be",
  scribble: "Draw a stroke through the structure",
  lasso: "Draw round the structure",
  paint: "Paint; the slice counts as right when you let go",
  erase: "Erase; the slice counts as right when you let go",
};

export function hint(app: App, tools: Toolbox): string {
  if (app.looksOn) return "Another page works on this scan; this one looks on";
  const { busy, current } = app;
  if (busy) return working(app);
  if (tools.pendingBox) return "Drag the faces of the box on the other planes until it holds the structure, then press Enter";
  if (!current) return `${WITH_TOOL[tools.tool.id]}, or name it first with A`;
  if (isDraft(current)) return `${WITH_TOOL[tools.tool.id]}: ${current.name}`;
  if (current.run?.error) return "Nothing was found: draw the box a little larger, or click inside the structure";
  if ((tools.tool.id === "scribble" || tools.tool.id === "lasso") && !tools.positive) return "Draw where the structure is not; X changes back";
  if (tools.tool.id !== "box") return WITH_TOOL[tools.tool.id];
  const look = isAsBefore(app.scan, current) ? "Look it through" : "Look it through (N: the next doubtful slice)";
  return `${look}. Wrong: P or O and click. Right: ${onward(app)}`;
}

/** What comes when the structure in hand is right. */
function onward(app: App): string {
  if (!app.scan?.case) return "A for the next structure, Ctrl+S to save";
  const left = app.objects.filter(isDraft);
  return left.length ? `A for ${left[0]!.name}, then Ctrl+Enter accepts the case` : "Ctrl+Enter accepts the case";
}

function working(app: App): string {
  const progress = app.busy?.progress;
  if (!progress) return `${app.busy!.what} …  Esc stops`;
  if (progress.text) return `${progress.text}${timeLeft(progress)}  ·  Esc stops`;
  const total = progress.total === null ? "" : ` of ${progress.total}`;
  const slices = progress.done === 1 && !total ? "slice" : "slices";
  return `${progress.object}: ${progress.done}${total} ${slices}${timeLeft(progress)}  ·  Esc stops`;
}

function timeLeft(progress: Progress): string {
  return progress.seconds_left ? `, ${duration(progress.seconds_left)} left` : "";
}
