/** Which model, in which plane, under which window: what `sammed segment` takes as options. */

import type { App } from "./app";
import { button, element } from "./dom";
import { dialog } from "./dialogs";

const PLANES: Record<string, string> = {
  auto: "where the object's boxes are, else the best one",
  axial: "axial slices",
  coronal: "coronal slices",
  sagittal: "sagittal slices",
  all: "all three, and their mean",
};

export function showSettings(app: App): void {
  const { scan, hello } = app;
  if (!scan || !hello) return;
  const usable = hello.models.filter((m) => m.available);
  const known = usable.some((m) => m.name === scan.model);
  const names = known ? usable.map((m) => m.name) : [scan.model, ...usable.map((m) => m.name)];
  const model = choice(names, scan.model, (name) => {
    const about = usable.find((m) => m.name === name);
    return about ? `${name}: ${about.description}` : name;
  });
  const plane = choice(hello.planes, String(scan.options.plane ?? "auto"), (name) => PLANES[name] ?? name);
  const window = element("input", { type: "text", list: "known-windows", spellcheck: "false" });
  window.value = String(scan.options.window ?? "auto");
  const windows = element("datalist", { id: "known-windows" }, hello.windows.filter((w) => w !== "W/L").map((w) => element("option", { value: w })));
  const status = element("p", { class: "warn", role: "alert" });
  const apply = button(["Apply"], "Apply", () => void act(), { class: "primary" });
  const shown = dialog(
    "Model",
    [
      row("Model", model),
      row("Plane", plane),
      row("Window", window, "auto, a preset, or width/level such as 400/40"),
      windows,
      element("p", { class: "small" }, ["What you drew stays and is computed again; the steps before cannot be undone any more."]),
      status,
    ],
    [button(["Cancel"], "Cancel", () => shown.close()), apply],
  );

  async function act(): Promise<void> {
    apply.disabled = true;
    status.textContent = "";
    const options = { ...scan!.options, plane: plane.value, window: window.value.trim() || "auto" };
    try {
      await app.connection.request("settings", { model: model.value, options });
      app.scan = { ...scan!, model: model.value, options };
      shown.close();
      app.tell("history");
      await app.refresh();
    } catch (error) {
      apply.disabled = false;
      status.textContent = error instanceof Error ? error.message : String(error);
    }
  }
}

function choice(values: string[], chosen: string, words: (value: string) => string): HTMLSelectElement {
  const select = element("select", {}, values.map((value) => element("option", { value }, [words(value)])));
  select.value = chosen;
  return select;
}

function row(name: string, control: HTMLElement, hint = ""): HTMLElement {
  return element("label", { class: "setting" }, [element("span", {}, [name]), control, ...(hint ? [element("small", {}, [hint])] : [])]);
}
