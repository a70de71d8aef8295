/** Phases side by side: the same slice of each, under one crosshair, scrolling together. */

import type { App } from "./app";
import { THEN, type Beside, type Layer } from "./beside";
import { button, element, icon } from "./dom";
import { dialog } from "./dialogs";
import { dropZone } from "./examples";
import { AXES, PLANE_NAMES } from "./geometry";
import { ICONS } from "./icons";
import { PlaneView } from "./plane";
import type { Axis, Preset } from "./protocol";
import { Strip } from "./strip";
import { upload, type Sent } from "./uploads";
import type { Shows } from "./volume";

const ALIGN: [string, string][] = [
  ["auto", "moved only if there is good reason"],
  ["header", "where its file says"],
  ["rigid", "turned and shifted"],
  ["deformable", "turned, shifted and bent"],
  ["none", "voxel by voxel"],
];

interface Tile {
  root: HTMLElement;
  /** One plane each, made when it is first shown. */
  planes: Map<Axis, PlaneView>;
  shows: Shows;
  place: HTMLElement;
  layer: Layer | null;
}

export class Phases {
  readonly root: HTMLElement;
  private axis: Axis = 0;
  private tiles: Tile[] = [];
  private readonly row = element("div", { class: "phase-row" });
  private readonly strips = element("div", { class: "phase-strip" });
  private readonly axes: HTMLButtonElement[];
  private key = "";

  constructor(
    private readonly app: App,
    private readonly beside: Beside,
    private readonly listen: (plane: PlaneView) => void,
    private readonly shown: (open: boolean) => void,
  ) {
    this.axes = AXES.map((axis) => button([PLANE_NAMES[axis]], `${PLANE_NAMES[axis]} slices`, () => this.turn(axis), { role: "radio" }));
    const bar = element("div", { class: "phase-bar" }, [
      element("div", { class: "follow", role: "radiogroup", "aria-label": "Which slices" }, this.axes),
      button(["Add a phase"], "Add a phase or channel of the same person", () => void this.showAdd()),
      element("span", { class: "gap" }),
      button(["Back to three planes"], "Back to three planes", () => this.toggle(false)),
    ]);
    this.root = element("div", { class: "phases", hidden: "" }, [bar, element("div", { class: "phase-body" }, [this.row, this.strips])]);
    this.strips.append(...AXES.map((axis) => new Strip(app, axis, beside).root));
    app.on(["beside", "scan"], () => this.arrange());
  }

  get open(): boolean {
    return !this.root.hidden;
  }

  /** Shown or not; where there is no other phase yet, one is asked for. */
  async turnOn(): Promise<void> {
    if (this.open || this.beside.layers.length) this.toggle(!this.open);
    else await this.showAdd();
  }

  toggle(open: boolean): void {
    this.root.hidden = !open;
    this.shown(open);
    this.arrange();
    this.app.tell("beside", "view");
  }

  fit(): void {
    for (const tile of this.tiles) tile.planes.get(this.axis)?.fit();
  }

  private turn(axis: Axis): void {
    this.axis = axis;
    this.arrange();
    this.app.tell("view");
  }

  private arrange(): void {
    const { app, beside } = this;
    if (this.open && !beside.layers.length) {
      this.toggle(false);
      return;
    }
    if (!this.open || !app.scan) return;
    const key = `${app.scan.id} ${beside.name} ${beside.layers.map((l) => l.phase.id).join()}`;
    if (key !== this.key) {
      this.key = key;
      this.tiles = [this.tile(null), ...beside.layers.map((layer) => this.tile(layer))];
      this.row.replaceChildren(...this.tiles.map((tile) => tile.root));
      this.row.dataset.count = String(this.tiles.length);
    }
    this.axes.forEach((made, axis) => made.setAttribute("aria-checked", String(axis === this.axis)));
    [...this.strips.children].forEach((strip, axis) => ((strip as HTMLElement).hidden = axis !== this.axis));
    const planes = this.tiles.map((tile) => this.plane(tile));
    for (const plane of planes) plane.peers = planes.filter((other) => other !== plane);
    this.tiles.forEach((tile, n) => tile.place.replaceChildren(planes[n]!.root));
  }

  private plane(tile: Tile): PlaneView {
    let plane = tile.planes.get(this.axis);
    if (!plane) {
      const own = tile.layer?.phase.name === THEN ? this.beside.then : null;
      plane = new PlaneView(this.app, this.axis, tile.shows, own);
      this.listen(plane);
      tile.planes.set(this.axis, plane);
    }
    return plane;
  }

  private tile(layer: Layer | null): Tile {
    const place = element("div", { class: "phase-place" });
    const name = layer ? layer.phase.name : this.beside.name || "this scan";
    const root = element("section", { class: "phase", "aria-label": name, "data-phase": name }, [
      element("header", {}, [
        element("strong", {}, [name]),
        element("span", { class: "small", title: layer?.phase.said ?? "" }, [layer ? layer.phase.said : "what is drawn on any of them is drawn on all"]),
        ...(layer ? [windowOf(this.app, layer), button([icon(ICONS.close)], `Take ${name} away`, () => void this.remove(name), { class: "link" })] : []),
      ]),
      place,
    ]);
    return { root, place, layer, shows: layer ?? this.app, planes: new Map<Axis, PlaneView>() };
  }

  private async remove(name: string): Promise<void> {
    try {
      await this.beside.removePhase(name);
    } catch (error) {
      this.app.fail(error);
    }
  }

  /** Which scan, what it is called, and whether it is moved. */
  async showAdd(): Promise<void> {
    const { app } = this;
    const scan = element("select", { id: "phase-scan" });
    const name = element("input", { type: "text", id: "phase-name", placeholder: "such as arterial", spellcheck: "false", autocomplete: "off" });
    const align = element("select", { id: "phase-align" }, ALIGN.map(([value, text]) => element("option", { value }, [text])));
    const status = element("p", { class: "status small", role: "status" });
    const act = button(["Add"], "Add", () => void add(), { class: "primary" });
    const ready = () => (act.disabled = !scan.value || !name.value.trim());
    const offer = (id: string, text: string) => {
      scan.append(element("option", { value: id }, [text]));
      scan.value = id;
      name.value ||= text.replace(/\.(nii|nrrd|mha|mhd|dcm|zip)(\.gz)?$/i, "");
      ready();
    };
    const failed = (error: unknown) => {
      status.className = "status warn";
      status.textContent = error instanceof Error ? error.message : String(error);
    };
    const send = (files: Sent[]) => {
      upload<{ phase: { id: string; name: string } }>(app.connection, files, (text) => (status.textContent = text), { path: "/api/upload-beside", as: "phase" })
        .then((answer) => {
          status.textContent = "";
          offer(answer.phase.id, answer.phase.name);
        })
        .catch(failed);
    };
    const add = async () => {
      shown.close();
      if (await this.beside.addPhase(scan.value, name.value.trim(), align.value)) this.toggle(true);
    };
    try {
      const listed = await app.connection.request<{ series: { id: string; name: string }[] }>("others");
      for (const one of listed.series) scan.append(element("option", { value: one.id }, [one.name]));
    } catch (error) {
      app.fail(error);
      return;
    }
    scan.value = "";
    scan.addEventListener("change", () => {
      name.value ||= scan.selectedOptions[0]?.textContent ?? "";
      ready();
    });
    name.addEventListener("input", ready);
    ready();
    const shown = dialog(
      "Phases side by side",
      [
        element("p", {}, ["Another phase or channel of the same person is shown beside this scan, on its grid and under the same crosshair."]),
        dropZone("Drop the other phase here", "a file, or a folder of DICOM. It stays on this computer.", send, failed),
        status,
        element("label", { class: "setting" }, [element("span", {}, ["Scan"]), scan, element("small", {}, ["what you dropped, or another series of this study"])]),
        element("label", { class: "setting" }, [element("span", {}, ["Name"]), name]),
        element("label", { class: "setting" }, [element("span", {}, ["Aligned"]), align]),
      ],
      [button(["Cancel"], "Cancel", () => shown.close()), act],
    );
    shown.classList.add("wide");
  }
}

function windowOf(app: App, layer: Layer): HTMLElement {
  const { presets } = layer.phase;
  const choice = element("select", { "aria-label": `Intensity window of ${layer.phase.name}`, title: "Intensity window; or drag with the right button" }, [
    ...presets.map((p: Preset) => element("option", { value: p.name }, [p.name])),
    element("option", { value: "\0own", hidden: "" }, ["own"]),
  ]);
  choice.addEventListener("change", () => {
    const preset = presets.find((p) => p.name === choice.value);
    if (preset) layer.setWindow(preset.low, preset.high);
  });
  const told = () => (choice.value = presets.find((p) => p.low === layer.window[0] && p.high === layer.window[1])?.name ?? "\0own");
  app.on(["view"], told);
  told();
  return choice;
}
