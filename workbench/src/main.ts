/** The page of `sammed open`: it connects, shows what is open, and hands over to tools and panels. */

import "./style.css";

import { App } from "./app";
import { statusBar, toolBar, topBar } from "./bars";
import { Beside } from "./beside";
import { Casework } from "./cases";
import { Connection } from "./connection";
import { button, element } from "./dom";
import { showCompare, showTake } from "./examples";
import { followUpPanel } from "./followup";
import { AXES } from "./geometry";
import { listenToKeys } from "./keys";
import { othersPanel } from "./others";
import { objectsPanel, trustPanel } from "./panels";
import { Phases } from "./phases";
import { PlaneView } from "./plane";
import { listen } from "./pointer";
import type { Hello, Scan } from "./protocol";
import { Scene3D } from "./scene3d";
import { startPage } from "./start";
import { Strip } from "./strip";
import { Toolbox } from "./tools";
import { ShownVolume } from "./volume";

function stored(key: string, make: () => string): string {
  const known = sessionStorage.getItem(key);
  if (known) return known;
  const made = make();
  sessionStorage.setItem(key, made);
  return made;
}

/** The token comes once, in the address; it is kept for reloads of this page alone. */
function takeToken(): string {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    sessionStorage.setItem("token", token);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token") ?? "";
}

const page = stored("page", () => crypto.randomUUID());
const token = takeToken();

const connection = new Connection(token, {
  onPush: (event, message) => void pushed(event, message).catch((error: unknown) => app.fail(error)),
  onState: (state) => {
    app.lost = state !== "open";
    cover.hidden = state === "open" || app.ended;
    coverText.textContent =
      state === "refused"
        ? "sammed does not answer. If it was ended, start it again; your work is in its journal."
        : "The connection to sammed is lost; trying again …";
    if (state === "open") void greet();
  },
});
const app = new App(connection);
const tools = new Toolbox(app);
const beside = new Beside(app);
const cases = new Casework(app, async (scan) => (scan ? open(scan) : showStart()));
const coverText = element("p", {}, [token ? "Connecting …" : "Open the address that sammed printed: it holds the key to this page."]);
const cover = element("div", { class: "cover", role: "alert" }, [coverText]);

const planes = AXES.map((axis) => new PlaneView(app, axis));
const scene = new Scene3D(app);
const grid = element("div", { class: "grid" });
const tiles = planes.map((plane) => element("div", { class: "tile", "data-axis": String(plane.axis) }, [plane.root, new Strip(app, plane.axis, beside).root]));
const sceneTile = element("div", { class: "tile", "data-axis": "3" }, [scene.root]);
grid.append(tiles[0]!, sceneTile, tiles[1]!, tiles[2]!);

let under = 0;
const all = [...tiles, sceneTile];
all.forEach((tile, n) => {
  tile.addEventListener("pointerenter", () => (under = n));
  tile.addEventListener("focusin", () => (under = n));
});
const layout = {
  toggleLarge: () => {
    if (app.scan?.single_slice) return;
    const large = grid.classList.toggle("large");
    for (const tile of all) tile.classList.toggle("shown", large && tile === all[under]);
  },
  fit: () => {
    for (const plane of planes) plane.fit();
    phases.fit();
  },
};

const status = statusBar(app, tools);
const phases = new Phases(app, beside, (plane) => listen(app, tools, plane, status.pointed), (open) => (grid.hidden = open));
for (const plane of planes) listen(app, tools, plane, status.pointed);
app.on(["tool"], () => {
  for (const plane of planes) plane.draw();
});
app.on(["busy"], () => (document.body.dataset.working = app.isWorking ? "yes" : "no"));

const lookOn = element("div", { class: "looks-on", role: "status", hidden: "" }, [
  "Another page works on this scan. ",
  button(["Work here"], "Work on this page", () => void connection.request("take_over").then(() => worksHere(true)).catch((e: unknown) => app.fail(e))),
]);
const work = element("main", { class: "work" }, [
  toolBar(app, tools),
  element("div", { class: "views" }, [grid, phases.root]),
  element("aside", {}, [
    cases.panel(),
    objectsPanel(app),
    followUpPanel(app, beside, { show: () => phases.toggle(true) }),
    othersPanel(app, beside, phases),
    trustPanel(app, beside),
  ]),
]);
const start = startPage(app, cases, (scan) => void open(scan).catch((error: unknown) => app.fail(error)));
document.body.append(topBar(app, layout), lookOn, start, work, status.root, cover);
listenToKeys(app, tools, layout, cases);
window.addEventListener("beforeunload", (event) => {
  if (app.dirty && !app.ended && !app.looksOn && app.busy) event.preventDefault();
});

function worksHere(works: boolean): void {
  app.looksOn = !works;
  lookOn.hidden = works;
  app.tell("connection", "objects", "history");
}

async function greet(): Promise<void> {
  try {
    const hello = await connection.request<Hello>("hello", { protocol: 1, page });
    app.hello = hello;
    worksHere(hello.role === "works");
    if (hello.scan) await open(hello.scan);
    else showStart();
    if (hello.project?.notes.length) app.say(hello.project.notes.join("; "));
  } catch (error) {
    app.fail(error);
  }
}

function showStart(): void {
  app.closed();
  app.tell("connection", "scan");
  document.body.dataset.shows = "start";
}

/** The scan is shown first; the page is opened once what is said of it and lies beside it is here too. */
async function open(scan: Scan): Promise<void> {
  document.body.dataset.opened = "no";
  const same = app.volume && app.scan?.id === scan.id;
  let volume = app.volume;
  if (!same || !volume) {
    const response = await connection.fetch("/api/volume");
    if (!response.ok) throw new Error(`the scan could not be read: sammed answered ${response.status}`);
    volume = new ShownVolume(scan, await response.arrayBuffer());
  }
  document.body.dataset.shows = "work";
  grid.classList.toggle("single", scan.single_slice);
  const flat = AXES.find((axis) => scan.shape[axis] === 1) ?? 0;
  tiles.forEach((tile, n) => tile.classList.toggle("flat", n === flat));
  app.opened(scan, volume);
  await app.refresh();
  await beside.load();
  app.tell("connection", "tool");
  performance.mark("opened");
  if (!same) startWith(scan);
  document.body.dataset.opened = "yes";
  if (!same && scan.restored?.objects) {
    app.say(`your work of ${scan.restored.when} is back: ${scan.restored.objects} structures, ${scan.restored.edits} edits`, "done");
  }
}

/** What the command line asks for besides the scan is at hand at once. */
function startWith(scan: Scan): void {
  phases.toggle(beside.layers.length > 0);
  if (app.looksOn || scan.restored || !beside.asked.length) return;
  void (beside.compares ? showCompare(app, beside) : showTake(app, beside));
}

async function pushed(event: string, message: Record<string, unknown>): Promise<void> {
  if (event === "note") app.say(String(message.text));
  else if (event === "looks_on") worksHere(false);
  else if (event === "works") {
    worksHere(true);
    await app.refresh();
  } else if (event === "scan") await greet();
  else if (event === "changed") {
    await app.refresh();
    await beside.load();
  }
  else if (event === "ended") {
    app.ended = true;
    connection.close();
    cover.hidden = false;
    coverText.textContent = "sammed has ended. This page can be closed.";
  }
}

if (token) connection.open();
app.tell("tool", "view", "busy");
