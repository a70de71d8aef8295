/** Keys of the whole page; those of a plane are in pointer.ts. */

import type { App } from "./app";
import type { Casework } from "./cases";
import { ask, showKeys, showSave } from "./dialogs";
import { nextCandidate, nextDoubtful } from "./panels";
import type { ToolId } from "./tool";
import type { Toolbox } from "./tools";

export interface Layout {
  toggleLarge: () => void;
  fit: () => void;
}

const TOOLS: Record<string, ToolId> = {
  b: "box",
  "3": "box3d",
  p: "inside",
  o: "outside",
  s: "scribble",
  l: "lasso",
  d: "paint",
  e: "erase",
  v: "look",
};

export function listenToKeys(app: App, tools: Toolbox, layout: Layout, cases: Casework): void {
  const plain: Record<string, () => void> = {
    n: () => nextDoubtful(app, 1),
    N: () => nextDoubtful(app, -1),
    a: () => {
      if (!cases.nextDraft()) document.getElementById("new-name")?.focus();
    },
    x: () => {
      tools.positive = !tools.positive;
      app.tell("tool");
    },
    f: () => layout.toggleLarge(),
    r: () => layout.fit(),
    h: () => {
      app.masksShown = !app.masksShown;
      app.tell("view");
    },
    m: () => {
      app.marksShown = !app.marksShown;
      app.tell("view");
    },
    t: () => {
      app.opacity = app.opacity > 0 ? 0 : 0.4;
      app.tell("view");
    },
    w: () => nextWindow(app),
    c: () => nextCandidate(app),
    "[": () => tools.resizeBrush(1 / 1.25),
    "]": () => tools.resizeBrush(1.25),
    "?": () => showKeys(),
    Enter: () => {
      if (!tools.tool.finish()) app.compute();
    },
    Escape: () => {
      if (!tools.tool.cancel()) app.stop();
    },
    Delete: () => void removeCurrent(app),
  };
  const withControl: Record<string, () => void> = {
    z: () => app.undo(),
    Z: () => app.redo(),
    y: () => app.redo(),
    s: () => (app.scan?.case ? app.say("what you draw is kept as you draw it; Ctrl+Enter accepts the case") : showSave(app)),
    Enter: () => void cases.accept(),
  };
  document.addEventListener("keydown", (event) => {
    if (!app.scan || document.body.dataset.between === "yes" || typing(event)) return;
    const table = event.ctrlKey || event.metaKey ? withControl : event.altKey ? {} : plain;
    const tool = event.ctrlKey || event.metaKey || event.altKey ? undefined : TOOLS[event.key.toLowerCase()];
    const act = tool && !event.shiftKey ? () => tools.use(tool) : table[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

/** Whether the key goes into a field; a focused button keeps its own Enter and Space. */
function typing(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement;
  if (target instanceof HTMLInputElement) {
    if (event.key === "Escape") target.blur();
    return target.type !== "checkbox" && target.type !== "range";
  }
  if (target instanceof HTMLSelectElement) return true;
  return target instanceof HTMLButtonElement && !event.ctrlKey && !event.metaKey && (event.key === "Enter" || event.key === " ");
}

async function removeCurrent(app: App): Promise<void> {
  const object = app.current;
  if (!object || object.locked) return;
  if (await ask("Remove?", `“${object.name}” and what was drawn for it. Undo brings it back.`, "Remove")) app.remove(object);
}

export function nextWindow(app: App): void {
  const presets = app.scan?.presets ?? [];
  if (!presets.length) return;
  const [low, high] = app.window;
  const now = presets.findIndex((p) => p.low === low && p.high === high);
  const next = presets[(now + 1) % presets.length]!;
  app.setWindow(next.low, next.high);
  app.say(`window: ${next.name}`);
}
