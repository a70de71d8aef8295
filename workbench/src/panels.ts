/** The right side: the structures, what is said of the one in hand, and how far it is to be trusted. */

import type { App } from "./app";
import type { Beside } from "./beside";
import { fromHex, hex } from "./colours";
import { button, element, icon, number } from "./dom";
import { ICONS } from "./icons";
import { PLANE_NAMES } from "./geometry";
import { isAmbiguous, isAsBefore, millilitres, saysNothing, type LabelledObject } from "./objects";
import { isAsTaken, whence } from "./others";
import type { Account, Propagate } from "./protocol";
import { DOUBTFUL, byDoubt, trustColour, trustWord } from "./strip";

export function objectsPanel(app: App): HTMLElement {
  const list = element("ul", { class: "objects", "aria-label": "Structures" });
  const name = element("input", {
    type: "text",
    id: "new-name",
    list: "known-names",
    placeholder: "name of a new structure",
    "aria-label": "Name of a new structure",
    autocomplete: "off",
    spellcheck: "false",
  });
  const form = element("form", { class: "new-object" }, [
    name,
    element("button", { type: "submit", title: "Add a structure (A)", "aria-label": "Add a structure" }, [icon(ICONS.plus)]),
  ]);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    app.add(name.value);
    name.value = "";
    name.blur();
  });
  const known = element("datalist", { id: "known-names" });
  app.on(["connection", "scan"], () =>
    known.replaceChildren(...(app.hello?.names ?? []).map((n) => element("option", { value: n.name }))),
  );
  app.on(["objects", "masks", "scan"], () => {
    const focused = document.activeElement?.getAttribute("data-key");
    list.replaceChildren(...app.objects.map((object) => row(app, object)));
    if (focused) list.querySelector<HTMLElement>(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  });
  return element("section", { class: "panel", "aria-label": "Structures" }, [element("h2", {}, ["Structures"]), list, form, known]);
}

function row(app: App, object: LabelledObject): HTMLElement {
  const selected = object.name === app.selected;
  const pick = button(
    [element("span", { class: "name" }, [object.name])],
    `Work on ${object.name}; double-click to rename`,
    () => {
      app.select(object.name);
      app.goTo(object);
    },
    { class: "pick", "aria-pressed": String(selected), "data-key": `pick ${object.name}` },
  );
  pick.addEventListener("dblclick", () => renameIn(app, object, pick));
  pick.addEventListener("keydown", (event) => {
    if (event.key === "F2") renameIn(app, object, pick);
  });
  const ml = object.mask.count ? `${number(millilitres(app.scan!, object))} ml` : saysNothing(object.prompts) ? "–" : "…";
  const estimate = app.scan?.case?.estimated[object.name];
  return element("li", { class: selected ? "selected" : "" }, [
    swatch(app, object),
    pick,
    ...(estimate === undefined ? [] : [element("span", { class: "estimate", title: "Proposed; Dice that it is thought to have" }, [estimate.toFixed(2)])]),
    element("span", { class: "ml" }, [ml]),
    button([icon(object.visible ? ICONS.eye : ICONS.eyeOff)], object.visible ? `Hide ${object.name}` : `Show ${object.name}`, () => {
      object.visible = !object.visible;
      app.tell("objects", "masks");
    }, { "aria-pressed": String(!object.visible), "data-key": `eye ${object.name}` }),
    button([icon(object.locked ? ICONS.lock : ICONS.unlock)], object.locked ? `Unlock ${object.name}` : `Lock ${object.name}`, () => {
      object.locked = !object.locked;
      app.tell("objects");
    }, { "aria-pressed": String(object.locked), "data-key": `lock ${object.name}` }),
    button([icon(ICONS.bin)], `Remove ${object.name}`, () => app.remove(object), {
      ...(object.locked ? { disabled: "" } : {}),
      "data-key": `bin ${object.name}`,
    }),
  ]);
}

/** The colour, to be changed; it is saved with the masks in formats that have colours. */
function swatch(app: App, object: LabelledObject): HTMLElement {
  const words = `Colour of ${object.name}`;
  const input = element("input", { type: "color", class: "swatch", title: words, "aria-label": words, "data-key": `colour ${object.name}` });
  input.value = hex(object.colour);
  input.addEventListener("change", () => {
    object.colour = fromHex(input.value);
    object.ownColour = true;
    app.tell("objects", "masks");
  });
  return input;
}

function renameIn(app: App, object: LabelledObject, place: HTMLElement): void {
  const input = element("input", { type: "text", class: "rename", list: "known-names", "aria-label": `New name of ${object.name}` });
  input.value = object.name;
  place.replaceWith(input);
  input.focus();
  input.select();
  let over = false;
  const end = (keep: boolean) => {
    if (over) return;
    over = true;
    if (keep) app.rename(object, input.value);
    app.tell("objects");
  };
  input.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter") end(true);
    if (event.key === "Escape") end(false);
  });
  input.addEventListener("blur", () => end(true));
}

const MEND = "Where it is wrong: O and click outside, P and click inside, or D and E to paint";

const FOLLOW: [Propagate, string, string][] = [
  ["auto", "Follow it", "The structure is followed through its neighbours until it ends"],
  ["between", "Between", "Only between the slices that you drew on"],
  ["off", "These slices only", "Only the slices that you drew on"],
];

/** What is said of the object in hand, and how sure the model is of what came of it. */
export function trustPanel(app: App, beside: Beside): HTMLElement {
  const body = element("div", { class: "trust" });
  const render = () => body.replaceChildren(...(app.current ? about(app, app.current, beside.taken[app.current.name]) : []));
  app.on(["objects", "masks", "scan", "history", "beside"], render);
  return element("section", { class: "panel", "aria-label": "The structure in hand", "aria-live": "polite" }, [body]);
}

function about(app: App, object: LabelledObject, account: Account | undefined): HTMLElement[] {
  const parts: HTMLElement[] = [element("h2", {}, [object.name]), ...(object.prompts.mask ? whence(account) : [])];
  if (isAsTaken(object, account)) return [...parts, element("p", { class: "small" }, [MEND])];
  if (!saysNothing(object.prompts)) parts.push(said(object), followChoice(app, object));
  if (isAmbiguous(object.prompts)) parts.push(candidateChoice(app, object));
  if (isAsBefore(app.scan, object)) return [parts[0]!, ...asBefore(app, object)];
  const { run } = object;
  if (run?.error) parts.push(element("p", { class: "warn" }, [run.error]));
  else if (run?.slices.length) parts.push(...trust(app, object));
  return parts;
}

function asBefore(app: App, object: LabelledObject): HTMLElement[] {
  const estimate = app.scan?.case?.estimated[object.name];
  const what = estimate === undefined ? "As the label map of the case has it" : `Proposed, with an estimated Dice of ${estimate.toFixed(2)}`;
  return [
    element("p", { class: "said" }, [what]),
    element("p", { class: "small" }, [MEND]),
  ];
}

function said(object: LabelledObject): HTMLElement {
  const { boxes, blocks, points, scribbles, lassos, mask } = object.prompts;
  const counted: [number, string, string][] = [
    [boxes.length, "box", "boxes"],
    [blocks.length, "3D box", "3D boxes"],
    [points.filter((p) => p.positive).length, "click inside", "clicks inside"],
    [points.filter((p) => !p.positive).length, "click outside", "clicks outside"],
    [scribbles.length, "scribble", "scribbles"],
    [lassos.length, "lasso", "lassos"],
  ];
  const words = counted.filter(([n]) => n).map(([n, one, more]) => `${n} ${n === 1 ? one : more}`);
  if (mask) words.push("painted slices");
  return element("p", { class: "said" }, [`You drew: ${words.join(", ")}`]);
}

function followChoice(app: App, object: LabelledObject): HTMLElement {
  const choice = element("div", { class: "follow", role: "radiogroup", "aria-label": "How far the structure is followed" });
  for (const [value, text, title] of FOLLOW) {
    const chosen = object.prompts.propagate === value;
    choice.append(
      button([text], title, () => app.edit(object, (now) => ({ ...now, propagate: value })), {
        role: "radio",
        "aria-checked": String(chosen),
        ...(object.locked ? { disabled: "" } : {}),
      }),
    );
  }
  return choice;
}

const CANDIDATES: [string, string][] = [
  ["Best mask", "The engine chooses among the model’s masks, or takes their mean (C for the next)"],
  ["1", "The model’s first mask: of segment-anything the whole"],
  ["2", "The model’s second mask: of segment-anything a part"],
  ["3", "The model’s third mask: of segment-anything a part of a part"],
];

function candidateChoice(app: App, object: LabelledObject): HTMLElement {
  const choice = element("div", { class: "follow", role: "radiogroup", "aria-label": "Which of the model’s masks is meant" });
  CANDIDATES.forEach(([text, title], candidate) =>
    choice.append(
      button([text], title, () => app.edit(object, (now) => ({ ...now, candidate })), {
        role: "radio",
        "aria-checked": String((object.prompts.candidate ?? 0) === candidate),
        ...(object.locked ? { disabled: "" } : {}),
      }),
    ),
  );
  return choice;
}

/** The next of the model's masks for the structure in hand; after the last one the engine chooses again. */
export function nextCandidate(app: App): void {
  const object = app.current;
  if (!object || object.locked || !isAmbiguous(object.prompts)) return;
  const candidate = ((object.prompts.candidate ?? 0) + 1) % CANDIDATES.length;
  app.edit(object, (now) => ({ ...now, candidate }));
  app.say(candidate ? `mask ${candidate} of 3` : "the best mask");
}

function trust(app: App, object: LabelledObject): HTMLElement[] {
  const run = object.run!;
  const judged = run.slices.filter((s) => s.predicted_iou !== null);
  const mean = judged.reduce((sum, s) => sum + s.predicted_iou!, 0) / Math.max(judged.length, 1);
  const doubtful = judged.filter((s) => s.predicted_iou! < DOUBTFUL && !run.prompted.includes(s.index)).length;
  const plane = PLANE_NAMES[run.axis].toLowerCase();
  const parts: HTMLElement[] = [
    element("p", { class: "mean" }, [
      element("span", { class: "dot", style: `background:${trustColour(judged.length ? mean : null)}` }),
      `${run.slices.length} ${plane} slices, ${trustWord(judged.length ? mean : null)}`,
      element("small", {}, [judged.length ? ` predicted IoU ${mean.toFixed(2)}` : ""]),
    ]),
    element("p", { class: "small" }, [doubtful ? `${doubtful} of them are worth a look; N goes to the worst` : "no slice stands out; N goes through them from the least sure on"]),
  ];
  if (run.stops.length) {
    const ends = run.stops.map((stop) =>
      element("li", {}, [button([`slice ${stop.index + 1}`], `Go to slice ${stop.index + 1}`, () => app.scrollTo(run.axis, stop.index), { class: "link" }), ` ${stop.text}`]),
    );
    parts.push(element("h3", {}, ["Where it ends"]), element("ul", { class: "stops" }, ends));
  }
  return parts;
}

/** The next doubtful slice of the object in hand: the worst first. */
export function nextDoubtful(app: App, step: 1 | -1): void {
  const object = app.current;
  const run = object?.run;
  if (!object || !run?.slices.length) {
    app.say("nothing has been segmented yet that could be doubtful");
    return;
  }
  const order = byDoubt(run);
  if (!order.length) {
    app.say("all slices of this structure were drawn by hand");
    return;
  }
  const rank = app.doubtful?.name === object.name ? (app.doubtful.rank + step + order.length) % order.length : 0;
  app.doubtful = { name: object.name, rank };
  const index = order[rank]!;
  const record = run.slices.find((s) => s.index === index)!;
  app.scrollTo(run.axis, index);
  const iou = record.predicted_iou;
  app.say(`slice ${index + 1}: ${trustWord(iou)}${iou === null ? "" : `, predicted IoU ${iou.toFixed(2)}`} (${rank + 1} of ${order.length}, the least sure first)`);
}
