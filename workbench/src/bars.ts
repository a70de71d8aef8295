/** The bars round the planes: what is open and what can be done above, tools at the left, where one points below. */

import type { App } from "./app";
import { button, element, icon, number } from "./dom";
import { ask, showKeys, showSave } from "./dialogs";
import { applyMatrix } from "./geometry";
import { hint } from "./hints";
import { ICONS } from "./icons";
import type { Layout } from "./keys";
import type { Place } from "./plane";
import { showSettings } from "./settings";
import type { ToolId } from "./tool";
import type { Toolbox } from "./tools";

const TOOLS: [ToolId, string, string][] = [
  ["box", "Box", "B"],
  ["box3d", "3D box", "3"],
  ["inside", "Click inside", "P"],
  ["outside", "Click outside", "O"],
  ["scribble", "Scribble", "S"],
  ["lasso", "Lasso", "L"],
  ["paint", "Paint", "D"],
  ["erase", "Erase", "E"],
  ["look", "Look around", "V"],
];

export function toolBar(app: App, tools: Toolbox): HTMLElement {
  const buttons = TOOLS.map(([id, name, key]) => {
    const made = button([icon(ICONS[id]), element("kbd", { "aria-hidden": "true", "data-key": key })], `${name} (${key})`, () => tools.use(id), { "data-tool": id });
    return [id, made] as const;
  });
  const sign = button([element("span", { class: "sign" }, ["+"])], "Scribble and lasso say: inside (X)", () => {
    tools.positive = !tools.positive;
    app.tell("tool");
  }, { "data-tool": "sign" });
  const brush = element("output", { class: "brush", title: "Radius of the brush, [ and ]" });
  app.on(["tool", "scan"], () => {
    for (const [id, made] of buttons) made.setAttribute("aria-pressed", String(tools.tool.id === id));
    const words = `Scribble and lasso say: ${tools.positive ? "inside" : "outside"} (X)`;
    sign.title = words;
    sign.setAttribute("aria-label", words);
    sign.firstElementChild!.textContent = tools.positive ? "+" : "−";
    sign.classList.toggle("negative", !tools.positive);
    sign.hidden = tools.tool.id !== "scribble" && tools.tool.id !== "lasso";
    brush.hidden = tools.tool.id !== "paint" && tools.tool.id !== "erase";
    brush.textContent = `${number(tools.brushMm)} mm`;
  });
  return element("nav", { class: "tools", "aria-label": "Tools" }, [...buttons.map(([, made]) => made), sign, brush]);
}

export function topBar(app: App, layout: Layout): HTMLElement {
  const title = element("div", { class: "title" });
  const undo = button([icon(ICONS.undo)], "Undo (Ctrl+Z)", () => app.undo());
  const redo = button([icon(ICONS.redo)], "Redo (Ctrl+Y)", () => app.redo());
  const save = button([icon(ICONS.save), "Save"], "Save (Ctrl+S)", () => showSave(app), { class: "primary" });
  const large = button([icon(ICONS.four)], "One plane large, or all (F)", () => layout.toggleLarge());
  const model = button(["compact"], "Model, plane and window of the model", () => showSettings(app), { class: "model" });
  const quit = button([icon(ICONS.power)], "End sammed", () => void end(app));
  app.on(["history", "scan", "connection"], () => {
    undo.disabled = !app.canUndo || app.looksOn;
    redo.disabled = !app.canRedo || app.looksOn;
    save.disabled = app.looksOn;
    save.hidden = Boolean(app.scan?.case);
    save.classList.toggle("dirty", app.dirty);
    const name = app.scan?.model.split(/[\\/]/).at(-1) ?? "";
    model.textContent = name;
    model.setAttribute("aria-label", `${name}: model, plane and window of the model`);
    model.disabled = app.looksOn;
    document.title = app.scan?.case?.id ?? `${app.dirty ? "● " : ""}${app.scan?.name ?? "sammed"}`;
  });
  app.on(["scan", "connection"], () => title.replaceChildren(...scanTitle(app)));
  return element("header", { class: "top" }, [
    element("h1", { class: "brand" }, ["sammed"]),
    title,
    element("span", { class: "gap" }),
    model,
    element("span", { class: "separator" }),
    ...windowControls(app),
    element("span", { class: "separator" }),
    ...maskControls(app),
    element("span", { class: "separator" }),
    large,
    undo,
    redo,
    save,
    button([icon(ICONS.help)], "Keys (?)", showKeys),
    quit,
  ]);
}

function scanTitle(app: App): HTMLElement[] {
  const { scan } = app;
  if (!scan) return [];
  const notes = [...scan.notes, ...(scan.shown.note ? [scan.shown.note] : [])];
  if (scan.oblique_degrees > 0.5) notes.push(`scanned ${scan.oblique_degrees.toFixed(0)}° off the body’s axes; shown on its own grid`);
  const parts = [element("strong", { title: scan.where }, [scan.name]), element("span", {}, [scan.file.series ?? scan.modality])];
  if (notes.length) {
    parts.push(
      element("details", { class: "notes" }, [
        element("summary", { title: "What was read and assumed" }, [notes.length === 1 ? "1 note" : `${notes.length} notes`]),
        element("ul", {}, notes.map((n) => element("li", {}, [n]))),
      ]),
    );
  }
  return parts;
}

function windowControls(app: App): HTMLElement[] {
  const choice = element("select", { "aria-label": "Intensity window (W)", title: "Intensity window (W); or drag with the right button" });
  const numbers = element("output", { class: "window" });
  choice.addEventListener("change", () => void chooseWindow(app, choice.value));
  app.on(["scan"], () => {
    const presets = app.scan?.presets ?? [];
    choice.replaceChildren(
      ...presets.map((p) => element("option", { value: p.name }, [p.name])),
      element("option", { value: "\0model" }, ["as the model sees it"]),
      element("option", { value: "\0own", hidden: "" }, ["own"]),
    );
    choice.hidden = numbers.hidden = app.scan?.colour ?? false;
  });
  app.on(["scan", "view"], () => {
    const [low, high] = app.window;
    const known = app.scan?.presets.find((p) => p.low === low && p.high === high);
    choice.value = known?.name ?? "\0own";
    numbers.textContent = `${number(low)} … ${number(high)}`;
  });
  return [choice, numbers];
}

async function chooseWindow(app: App, name: string): Promise<void> {
  const preset = app.scan?.presets.find((p) => p.name === name);
  if (preset) app.setWindow(preset.low, preset.high);
  else if (name === "\0model") {
    try {
      const seen = await app.connection.request<{ low: number; high: number; chosen: boolean }>("window");
      app.setWindow(seen.low, seen.high);
      if (!seen.chosen) app.say("the model chooses its window with the first box; this is the one it would take now");
    } catch (error) {
      app.fail(error);
    }
  }
}

function maskControls(app: App): HTMLElement[] {
  const opacity = element("input", { type: "range", min: "0", max: "1", step: "0.05", "aria-label": "How opaque masks are", title: "How opaque masks are (T: fill or outline)" });
  opacity.addEventListener("input", () => {
    app.opacity = Number(opacity.value);
    app.tell("view");
  });
  const lines = button(["Outline"], "Outline of masks", () => {
    app.outlines = !app.outlines;
    app.tell("view");
  });
  const shown = button([icon(ICONS.eye)], "Hide all masks (H)", () => {
    app.masksShown = !app.masksShown;
    app.tell("view");
  });
  app.on(["view", "scan"], () => {
    opacity.value = String(app.opacity);
    lines.setAttribute("aria-pressed", String(app.outlines));
    shown.setAttribute("aria-pressed", String(!app.masksShown));
    const words = app.masksShown ? "Hide all masks (H)" : "Show all masks (H)";
    shown.title = words;
    shown.setAttribute("aria-label", words);
    shown.replaceChildren(icon(app.masksShown ? ICONS.eye : ICONS.eyeOff));
  });
  return [shown, opacity, lines];
}

async function end(app: App): Promise<void> {
  if (app.dirty && !app.scan?.case && !(await ask("End without saving?", "What you did since the last save stays in the journal: open the scan again and it is there.", "End"))) return;
  try {
    await app.connection.request("quit", { force: true });
  } catch (error) {
    app.fail(error);
  }
}

/** Where one points, what to do next, how far the work is. */
export function statusBar(app: App, tools: Toolbox): { root: HTMLElement; pointed: (at: Place | null) => void } {
  const where = element("output", { class: "where" });
  const next = element("p", { class: "hint", role: "status", "aria-live": "polite" });
  const progress = element("progress", { "aria-label": "How far the work is", hidden: "" });
  const stop = button([icon(ICONS.stop), "Stop"], "Stop (Esc)", () => app.stop(), { class: "stop", hidden: "" });
  const message = element("p", { class: "message", role: "alert" });
  let timer = 0;
  app.on(["objects", "busy", "tool", "scan", "connection"], () => {
    const text = hint(app, tools);
    if (next.textContent !== text) next.textContent = text;
    const told = app.busy?.progress;
    stop.hidden = !app.busy;
    progress.hidden = !told?.total; // one that only moves to and fro takes time from the model
    if (told?.total) {
      progress.max = told.total;
      progress.value = told.done;
    }
  });
  app.on(["message"], () => {
    clearTimeout(timer);
    message.className = `message ${app.message?.kind ?? ""}`;
    message.textContent = app.message?.text ?? "";
    next.classList.add("covered");
    const seconds = app.message?.kind === "error" ? 12 : 7;
    timer = window.setTimeout(() => {
      message.textContent = "";
      next.classList.remove("covered");
    }, seconds * 1000);
  });
  const pointed = (at: Place | null) => {
    where.textContent = at && app.volume ? place(app, at) : "";
  };
  return { root: element("footer", { class: "status-bar" }, [next, progress, stop, message, where]), pointed };
}

function place(app: App, at: Place): string {
  const scan = app.scan!;
  const file = applyMatrix(scan.to_file, at.voxel).map((v) => Math.round(v));
  const [l, p, s] = applyMatrix(scan.affine, at.voxel);
  const side = (value: number, plus: string, minus: string) => `${value >= 0 ? plus : minus} ${Math.abs(value).toFixed(1)}`;
  const value = at.plane.shows.volume!.valueAt(at.voxel).map((v) => (Number.isInteger(v) ? String(v) : v.toPrecision(4)));
  const unit = scan.modality === "CT" ? " HU" : "";
  return `voxel ${file.join(", ")}   ${side(l, "L", "R")}  ${side(p, "P", "A")}  ${side(s, "S", "I")} mm   ${value.join(" ")}${unit}`;
}
