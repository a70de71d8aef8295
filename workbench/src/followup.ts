/** Lesions then and now: a row each, which leads to where it is. */

import type { App } from "./app";
import { THEN, type Beside } from "./beside";
import { button, css, element, icon, number } from "./dom";
import { ICONS } from "./icons";
import { millilitres } from "./objects";
import type { FollowUp, Lesion, Voxel } from "./protocol";

export function followUpPanel(app: App, beside: Beside, phases: { show: () => void }): HTMLElement {
  const body = element("div", {});
  let closed: FollowUp | null = null;
  const panel = element("section", { class: "panel follow-up", "aria-label": "Lesions then and now", hidden: "" }, [body]);
  const side = button(["Then and now side by side"], "Then and now side by side: the earlier scan beside this one", () => phases.show(), { class: "wide" });
  const render = () => {
    const { table } = beside;
    panel.hidden = !table || closed?.by === table.by;
    if (!table || panel.hidden) return;
    body.replaceChildren(
      element("h2", { class: "closing" }, [
        title(table),
        button([icon(ICONS.close)], "Close the table", () => {
          closed = table;
          render();
        }, { class: "link" }),
      ]),
      rows(app, table),
      ...(beside.layers.some((layer) => layer.phase.name === THEN) ? [side] : []),
    );
  };
  app.on(["beside"], () => {
    if (beside.last) closed = null; // it was asked for again
    render();
  });
  app.on(["objects", "masks", "scan"], render);
  return panel;
}

function title(table: FollowUp): string {
  return table.days ? `Then and now, ${Math.round(table.days)} days apart` : "Then and now";
}

function rows(app: App, table: FollowUp): HTMLElement {
  const head = element("tr", {}, ["Lesion", "Then", "Now", "Change", "%"].map((text, n) => element("th", { scope: "col", class: n ? "figure" : "" }, [text])));
  const body = [...table.rows.map((lesion) => row(app, table, lesion)), ...table.new.map((spot) => newRow(app, spot))];
  return element("table", { class: "lesions" }, [element("caption", { class: "small" }, ["ml; click on one to go there"]), element("thead", {}, [head]), element("tbody", {}, body)]);
}

interface Now {
  ml: number;
  /** What there is to say beside the number. */
  note: string;
}

/** As it was found, or what a person has made of it since. */
function now(app: App, lesion: Lesion): Now {
  const object = app.object(lesion.name);
  if (lesion.state === "outside" && !object) return { ml: 0, note: "outside this scan" };
  if (!object?.mask.count) return { ml: 0, note: lesion.state === "gone" ? "gone" : "not in the list" };
  if (object.mask.count !== lesion.voxels) return { ml: millilitres(app.scan!, object), note: "as you drew it" };
  return { ml: lesion.now_ml, note: lesion.doubling_days ? pace(lesion.doubling_days) : "" };
}

function pace(days: number): string {
  return days > 0 ? `doubles in ${Math.round(days)} days` : `halves in ${Math.round(-days)} days`;
}

function row(app: App, table: FollowUp, lesion: Lesion): HTMLElement {
  const found = now(app, lesion);
  const known = found.note !== "outside this scan" && found.note !== "not in the list";
  const change = found.ml - lesion.before_ml;
  const percent = lesion.before_ml ? (100 * change) / lesion.before_ml : 0;
  const object = app.object(lesion.name);
  const cells: (Node | string)[][] = [
    [
      element("span", { class: "dot", style: `background:${object ? css(object.colour) : "#5a6472"}` }),
      button([lesion.name], `Go to ${lesion.name}`, () => go(app, lesion), { class: "link" }),
      ...(found.note ? [element("small", { class: found.note === "gone" ? "gone" : "" }, [found.note])] : []),
    ],
    [number(lesion.before_ml)],
    [known ? number(found.ml) : "–"],
    [known ? signed(change, number) : "–"],
    [known ? signed(percent, (v) => v.toFixed(0)) : "–"],
  ];
  const colour = !known || Math.abs(percent) < 5 ? "" : change > 0 ? "grown" : "shrunk";
  const line = element("tr", { class: object?.name === app.selected ? "selected" : "", title: `${lesion.how}\n${table.moved}` }, cells.map((c, n) => element("td", { class: n ? `figure ${n > 2 ? colour : ""}` : "" }, c)));
  line.addEventListener("click", () => go(app, lesion));
  return line;
}

function newRow(app: App, spot: { ml: number; at: Voxel }): HTMLElement {
  const look = () => app.lookAt(spot.at);
  const line = element("tr", { title: "It looks as the lesions do, and was not there; it is told, not drawn" }, [
    element("td", {}, [element("span", { class: "dot ring" }), button(["new-looking"], "Go to the new-looking spot", look, { class: "link" })]),
    element("td", { class: "figure" }, ["–"]),
    element("td", { class: "figure" }, [number(spot.ml)]),
    element("td", { class: "figure grown" }, [signed(spot.ml, number)]),
    element("td", { class: "figure" }, [""]),
  ]);
  line.addEventListener("click", look);
  return line;
}

function go(app: App, lesion: Lesion): void {
  const object = app.object(lesion.name);
  if (object) app.select(object.name);
  if (lesion.at) app.lookAt(lesion.at);
  else app.say(`${lesion.name} lies outside this scan`);
}

function signed(value: number, write: (value: number) => string): string {
  return `${value < 0 ? "−" : "+"}${write(Math.abs(value))}`;
}
