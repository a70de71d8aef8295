/** Windows over the page: saving, keys, questions. The browser's own dialog keeps the keyboard inside. */

import type { App } from "./app";
import { button, element } from "./dom";
import { ServerError, type Answer, type SaveFormat } from "./protocol";

export function dialog(title: string, body: (Node | string)[], buttons: HTMLElement[]): HTMLDialogElement {
  const id = `title-${title.replace(/\W+/g, "-").toLowerCase()}`;
  const made = element("dialog", { "aria-labelledby": id }, [
    element("h2", { id }, [title]),
    ...body,
    element("div", { class: "buttons" }, buttons),
  ]);
  made.addEventListener("close", () => made.remove());
  made.addEventListener("keydown", (event) => event.stopPropagation());
  document.body.append(made);
  made.showModal();
  return made;
}

/** A question; resolves to whether it was answered with the button that acts. */
export async function ask(title: string, text: string, act: string): Promise<boolean> {
  return (await askWhich(title, [element("p", {}, [text])], [act])) === act;
}

/** A question with several answers, the last one the usual; null if it is not answered. */
export function askWhich(title: string, body: Node[], answers: string[]): Promise<string | null> {
  return new Promise((resolve) => {
    const buttons = answers.map((answer, n) =>
      button([answer], answer, () => {
        resolve(answer);
        shown.close();
      }, n === answers.length - 1 ? { class: "primary" } : {}),
    );
    const shown = dialog(title, body, [button(["Cancel"], "Cancel", () => shown.close()), ...buttons]);
    shown.addEventListener("close", () => resolve(null));
  });
}

const KEYS: [string, string][] = [
  ["B", "box: drag it round the structure"],
  ["3", "3D box: drag it, drag its faces on the other planes, Enter"],
  ["P / O", "click inside / outside"],
  ["S / L", "scribble / lasso; X changes between inside and outside"],
  ["D / E", "paint / erase; [ and ] change the brush"],
  ["V", "look around: move the crosshair"],
  ["A", "a new structure: its name; in a project the next one that nothing is drawn of"],
  ["Tab, F2, Delete", "go through the page; rename; remove the structure in hand"],
  ["N / Shift+N", "the next doubtful slice / the one before"],
  ["C", "the next of the model’s masks: whole, part, part of a part"],
  ["Enter", "confirm a 3D box; go on after a stop"],
  ["Esc", "drop what is half drawn; stop what runs"],
  ["Ctrl+Z / Ctrl+Y", "undo / redo"],
  ["Ctrl+S", "save"],
  ["Ctrl+Enter", "in a project: accept the case, and open the next one"],
  ["F", "the plane under the mouse large, or all again"],
  ["H / M / T", "hide the masks / what was drawn and the crosshair / fill or outline"],
  ["W", "the next intensity window"],
  ["R", "fit the planes to their places"],
  ["Arrows, Page keys, Space", "on a plane: crosshair, slice, and the tool’s button"],
  ["Wheel, Ctrl+wheel", "slices, zoom"],
  ["Right drag, middle drag", "window, pan"],
];

export function showKeys(): void {
  const table = element("table", { class: "keys" }, KEYS.map(([key, what]) =>
    element("tr", {}, [element("th", { scope: "row" }, [key]), element("td", {}, [what])]),
  ));
  const shown = dialog("Keys", [table], [button(["Close"], "Close", () => shown.close(), { class: "primary" })]);
}

const CHOSEN_AT_FIRST = new Set(["nifti", "prompts"]);

/** Which files, under which names; nothing is replaced without a question. */
export function showSave(app: App): void {
  const { scan, hello } = app;
  if (!scan || !hello) return;
  const rows = hello.formats.map((format) => saveRow(format, scan.output.stem));
  const status = element("p", { class: "warn", role: "alert" });
  const save = button(["Save"], "Save", () => void write(false), { class: "primary" });
  const shown = dialog(
    "Save",
    [
      element("p", {}, ["Into ", element("code", {}, [scan.output.folder])]),
      element("table", { class: "save" }, rows.map((r) => r.row)),
      status,
    ],
    [button(["Cancel"], "Cancel", () => shown.close()), save],
  );

  async function write(force: boolean): Promise<void> {
    const files = rows.filter((r) => r.wanted.checked).map((r) => ({ format: r.format.id, name: r.name.value.trim() }));
    if (!files.length) {
      status.textContent = "Choose at least one kind of file.";
      return;
    }
    save.disabled = true;
    status.textContent = "";
    const colours = Object.fromEntries(app.objects.map((o) => [o.name, o.colour]));
    try {
      const answer = await app.connection.request<Answer & { written: string[]; notes?: string[] }>("save", { files, force, colours });
      app.take(answer);
      app.say([`saved ${answer.written.join(", ")}`, ...(answer.notes ?? [])].join("; "), "done");
      shown.close();
    } catch (error) {
      save.disabled = false;
      if (error instanceof ServerError && error.code === "exists") await replace(error);
      else status.textContent = error instanceof Error ? error.message : String(error);
    }
  }

  async function replace(error: ServerError): Promise<void> {
    const there = (error.details.files as string[] | undefined) ?? [];
    const names = there.map((path) => path.split(/[\\/]/).at(-1)).join(", ");
    if (await ask("Replace?", `${names || "A file of that name"} exists already in this folder.`, "Replace")) await write(true);
  }
}

function saveRow(format: SaveFormat, stem: string): { row: HTMLElement; format: SaveFormat; wanted: HTMLInputElement; name: HTMLInputElement } {
  const wanted = element("input", { type: "checkbox", id: `save-${format.id}`, ...(format.available ? {} : { disabled: "" }) });
  wanted.checked = format.available && CHOSEN_AT_FIRST.has(format.id);
  const name = element("input", {
    type: "text",
    "aria-label": `File name of ${format.label}`,
    spellcheck: "false",
    ...(format.available ? {} : { disabled: "" }),
  });
  name.value = stem + format.suffix;
  name.addEventListener("input", () => (wanted.checked = true));
  const why = format.available ? [] : [element("small", {}, [format.why])];
  const row = element("tr", {}, [
    element("td", {}, [wanted]),
    element("td", {}, [element("label", { for: `save-${format.id}` }, [format.label]), ...why]),
    element("td", {}, [name]),
  ]);
  return { row, format, wanted, name };
}
