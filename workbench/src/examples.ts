/** Choosing labelled scans: to take structures from, or to compare with. */

import type { App } from "./app";
import type { Beside } from "./beside";
import { button, element, icon } from "./dom";
import { dialog } from "./dialogs";
import { ICONS } from "./icons";
import type { Labelled } from "./protocol";
import { chosen, takesDrops, upload, type Sent } from "./uploads";

interface Listed {
  others: Labelled[];
}

/** Which labelled scans, what of them, and how. */
export async function showTake(app: App, beside: Beside): Promise<void> {
  const list = await chooser(app, "checkbox", (o) => o.kind !== "prior");
  if (!list) return;
  const names = element("input", { type: "text", id: "wanted", list: "known-names", placeholder: "all that is labelled there", spellcheck: "false", autocomplete: "off" });
  const mirror = element("input", { type: "checkbox", id: "mirror" });
  const replace = element("input", { type: "checkbox", id: "replace" });
  const act = button(["Take"], "Take", () => {
    const wanted = names.value.split(/[,;]/).map((n) => n.trim()).filter(Boolean);
    shown.close();
    beside.take(list.chosen(), wanted, mirror.checked, replace.checked);
  }, { class: "primary" });
  list.changed(() => (act.disabled = !list.chosen().length));
  const shown = dialog(
    "Take from another scan",
    [
      element("p", {}, ["A scan that somebody has labelled shows where things are in this one. Several of them vote, and five are better than one."]),
      list.root,
      element("label", { class: "setting" }, [element("span", {}, ["Structures"]), names, element("small", {}, ["names with commas between them, such as liver, left kidney"])]),
      tick(mirror, "Left may stand for right", "in a mirror: else an example of the right kidney says nothing of the left one"),
      tick(replace, "Replace structures of the same name", "else yours stay as they are; undo brings them back, and locked ones always stay"),
    ],
    [button(["Cancel"], "Cancel", () => shown.close()), act],
  );
  shown.classList.add("wide");
}

/** Which earlier scan, and how long ago. */
export async function showCompare(app: App, beside: Beside): Promise<void> {
  const list = await chooser(app, "radio", (o) => o.kind !== "folder");
  if (!list) return;
  const days = element("input", { type: "number", min: "0", max: "40000", step: "1", id: "days", placeholder: "not known" });
  if (beside.days) days.value = String(beside.days);
  const replace = element("input", { type: "checkbox", id: "replace" });
  const act = button(["Compare"], "Compare", () => {
    shown.close();
    beside.followUp(list.chosen()[0]!, Number(days.value) || 0, replace.checked);
  }, { class: "primary" });
  list.changed(() => (act.disabled = !list.chosen().length));
  const shown = dialog(
    "Compare with an earlier scan",
    [
      element("p", {}, ["The same person, with the lesions drawn as they were then. Each one keeps its name, and a table says what became of it."]),
      list.root,
      element("label", { class: "setting" }, [element("span", {}, ["Days between"]), days, element("small", {}, ["for doubling times; DICOM says it by itself"])]),
      tick(replace, "Replace structures of the same name", "else yours stay as they are; undo brings them back, and locked ones always stay"),
    ],
    [button(["Cancel"], "Cancel", () => shown.close()), act],
  );
  shown.classList.add("wide");
}

function tick(input: HTMLInputElement, text: string, hint: string): HTMLElement {
  return element("div", { class: "tick" }, [input, element("label", { for: input.id }, [text, element("small", {}, [hint])])]);
}

interface Chooser {
  root: HTMLElement;
  chosen: () => string[];
  changed: (call: () => void) => void;
}

/** The labelled scans that are known, and a place to drop others; null if the server does not answer. */
async function chooser(app: App, kind: "checkbox" | "radio", fits: (one: Labelled) => boolean): Promise<Chooser | null> {
  let listed: Listed;
  try {
    listed = await app.connection.request<Listed & Record<string, unknown>>("others");
  } catch (error) {
    app.fail(error);
    return null;
  }
  const list = element("ul", { class: "labelled" });
  const status = element("p", { class: "status small", role: "status" });
  let tell: () => void = () => undefined;
  const add = (one: Labelled, checked: boolean) => {
    const input = element("input", { type: kind, name: "labelled", id: one.id, value: one.id });
    input.checked = checked;
    input.addEventListener("change", () => tell());
    list.append(element("li", {}, [input, element("label", { for: one.id }, [element("strong", {}, [one.name]), element("small", {}, [one.where])])]));
  };
  const first = listed.others.filter(fits);
  for (const one of first) add(one, one.where !== "" && (kind === "radio" ? one.kind === "prior" : first.length === 1));
  const failed = (error: unknown) => {
    status.className = "status warn";
    status.textContent = error instanceof Error ? error.message : String(error);
  };
  const send = (files: Sent[]) => {
    const say = (text: string) => {
      status.className = "status small";
      status.textContent = text;
    };
    upload<Listed>(app.connection, files, say, { path: "/api/upload-beside", as: "labelled" })
      .then((answer) => {
        say("");
        for (const one of answer.others) add(one, true);
        tell();
      })
      .catch(failed);
  };
  const zone = dropZone("Drop a scan and its label map here, both at once", "or a folder of scans with label maps beside them. They stay on this computer.", send, failed);
  return {
    root: element("div", {}, [list, zone, status]),
    chosen: () => [...list.querySelectorAll<HTMLInputElement>("input:checked")].map((input) => input.value),
    changed: (call) => {
      tell = call;
      call();
    },
  };
}

/** A place for files, with buttons for those who do not drag. */
export function dropZone(title: string, text: string, send: (files: Sent[]) => void, failed: (error: unknown) => void): HTMLElement {
  const files = element("input", { type: "file", multiple: "", class: "hidden", tabindex: "-1", "aria-hidden": "true" });
  const folder = element("input", { type: "file", class: "hidden", webkitdirectory: "", tabindex: "-1", "aria-hidden": "true" });
  for (const input of [files, folder]) input.addEventListener("change", () => send(chosen(input)));
  const zone = element("div", { class: "drop small-drop" }, [
    icon(ICONS.file),
    element("strong", {}, [title]),
    element("span", {}, [text]),
    element("div", { class: "buttons" }, [
      button(["Choose files"], "Choose files", () => files.click()),
      button(["Choose a folder"], "Choose a folder", () => folder.click()),
    ]),
    files,
    folder,
  ]);
  takesDrops(zone, send, failed);
  return zone;
}
