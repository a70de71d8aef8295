/** Work through a project: which case it is, how far the project is, and what ends a case. */

import type { App } from "./app";
import { askWhich, dialog } from "./dialogs";
import { button, duration, element, icon } from "./dom";
import { ICONS } from "./icons";
import { isDraft } from "./objects";
import { ServerError, type Case, type CaseLine, type Project, type SaveFormat, type Scan } from "./protocol";

/** What comes of a request after which another case may be open. */
interface Gone {
  scan: Scan | null;
  project: Project;
  formats: SaveFormat[];
  notes: string[];
  accepted?: string;
  refused?: string;
  seconds?: number;
  prompted?: number;
}

const ACTIVE_MS = 10_000;
const STATES: Record<string, string> = { todo: "to do" };
const LEAVE_OUT = "Leave it out";
const ADD = "Add it to the project";
const EMPTY = "Accept it as empty";

export class Casework {
  private going = false;
  private waiting: (() => void)[] = [];
  private told = 0;

  constructor(
    readonly app: App,
    private readonly opened: (scan: Scan | null) => Promise<void>,
  ) {
    app.on(["busy"], () => {
      if (!app.isWorking) for (const call of this.waiting.splice(0)) call();
    });
    for (const event of ["pointermove", "pointerdown", "keydown", "wheel"]) {
      document.addEventListener(event, () => this.active(), { passive: true, capture: true });
    }
  }

  /** The person is at it; the server hears of it now and then, and counts the time. */
  private active(): void {
    const { app } = this;
    if (!app.scan?.case || app.looksOn || app.lost || this.going || Date.now() - this.told < ACTIVE_MS) return;
    this.told = Date.now();
    app.connection.request("active").catch((error: unknown) => app.fail(error));
  }

  /** Take the next structure that nothing is drawn of; false if there is none. */
  nextDraft(): boolean {
    const { app } = this;
    const after = app.objects.findIndex((o) => o.name === app.selected) + 1;
    const draft = [...app.objects.slice(after), ...app.objects.slice(0, after)].find((o) => isDraft(o) && o.name !== app.selected);
    if (!app.scan?.case || !draft) return false;
    app.select(draft.name);
    return true;
  }

  async accept(more: { add?: string[]; leave_out?: string[]; empty?: boolean } = {}): Promise<void> {
    try {
      await this.go("accept", more, "accepting");
    } catch (error) {
      if (error instanceof ServerError && error.code === "surplus") await this.askAbout(error, more);
      else if (error instanceof ServerError && error.code === "empty") await this.askEmpty(error, more);
      else await this.failed(error);
    }
  }

  private async askAbout(error: ServerError, more: { add?: string[]; leave_out?: string[]; empty?: boolean }): Promise<void> {
    const add = [...(more.add ?? [])];
    const leave = [...(more.leave_out ?? [])];
    for (const name of error.details.names as string[]) {
      const text = [element("p", {}, [error.message]), element("p", {}, [`What is to become of “${name}”?`])];
      const answer = await askWhich(`“${name}” is no structure of the project`, text, [LEAVE_OUT, ADD]);
      if (answer === null) return;
      (answer === ADD ? add : leave).push(name);
    }
    await this.accept({ ...more, add, leave_out: leave });
  }

  private async askEmpty(error: ServerError, more: { add?: string[]; leave_out?: string[] }): Promise<void> {
    const text = [element("p", {}, [error.message]), element("p", {}, ["If none of the structures is in this scan, accept it as empty."])];
    if ((await askWhich("Nothing is drawn", text, [EMPTY])) === EMPTY) await this.accept({ ...more, empty: true });
  }

  async refuse(): Promise<void> {
    const why = element("input", { type: "text", id: "why", autocomplete: "off", spellcheck: "false" });
    const body = [
      element("p", {}, ["It is not learned from, not proposed for and not exported. It can be opened and accepted later."]),
      element("label", { for: "why" }, ["Why? "]),
      why,
    ];
    if ((await askWhich(`Refuse ${this.case?.id}?`, body, ["Refuse"])) === null) return;
    await this.try("refuse", { why: why.value.trim() }, "refusing");
  }

  skip(): Promise<void> {
    return this.try("skip", {}, "opening the next case");
  }

  open(id: string): Promise<void> {
    return this.try("open_case", { case: id }, `opening ${id}`);
  }

  private get case(): Case | undefined {
    return this.app.scan?.case;
  }

  private async try(what: string, fields: Record<string, unknown>, words: string): Promise<void> {
    try {
      await this.go(what, fields, words);
    } catch (error) {
      await this.failed(error);
    }
  }

  private async failed(error: unknown): Promise<void> {
    if (this.app.scan) await this.app.refresh();
    this.app.fail(error);
  }

  /** Ask, once all that was drawn has reached the server, and show what is open then. */
  private async go(what: string, fields: Record<string, unknown>, words: string): Promise<void> {
    const { app } = this;
    if (this.going || !app.hello?.project) return;
    if (app.looksOn) throw new Error("another page works on this scan; this one looks on");
    this.hold(true);
    try {
      if (app.isWorking) await new Promise<void>((resolve) => this.waiting.push(resolve));
      app.busy = { progress: null, what: words };
      app.tell("busy");
      await this.arrive(await app.connection.request<Gone>(what, fields));
    } finally {
      app.busy = app.isWorking ? app.busy : null;
      this.hold(false);
    }
  }

  /** Nothing is drawn between two cases: it would be said of the wrong one. */
  private hold(on: boolean): void {
    this.going = on;
    document.querySelector<HTMLElement>("main.work")!.inert = on;
    document.body.dataset.between = on ? "yes" : "no";
    this.app.tell("busy", "connection");
  }

  private async arrive(answer: Gone): Promise<void> {
    const { app } = this;
    app.hello!.project = answer.project;
    app.hello!.formats = answer.formats;
    await this.opened(answer.scan);
    const said: string[] = [];
    if (answer.accepted) said.push(`${answer.accepted} is accepted, ${effort(answer)}`);
    if (answer.refused) said.push(`${answer.refused} is refused`);
    if (answer.scan?.case) said.push(`this is ${answer.scan.case.id}${answer.scan.restored?.objects ? ", with what was drawn on it before" : ""}`);
    app.say([...said, ...answer.notes].join("; "), answer.notes.length ? "note" : "done");
  }

  // -- what is seen -------------------------------------------------------------------------

  /** Over the list of structures: the case in hand, and what can become of it. */
  panel(): HTMLElement {
    const { app } = this;
    const head = element("div", { class: "case-head" });
    const accept = button(
      [icon(ICONS.tick), "Accept", element("kbd", { "aria-hidden": "true" }, ["Ctrl+Enter"])],
      "Accept (Ctrl+Enter): it is right, and the next case comes",
      () => void this.accept(),
      { class: "primary accept" },
    );
    const rest = [
      button(["Skip"], "Skip: later; what is drawn stays", () => void this.skip()),
      button(["Refuse"], "Refuse: not to be used", () => void this.refuse()),
      button(["All cases"], "All cases, and who works on which", () => void this.showAll()),
    ];
    const panel = element("section", { class: "panel case", "aria-label": "The case", hidden: "" }, [head, accept, element("div", { class: "case-rest" }, rest)]);
    app.on(["scan", "connection"], () => {
      panel.hidden = !this.case;
      for (const one of [accept, ...rest.slice(0, 2)]) one.disabled = app.looksOn || this.going;
      if (this.case) head.replaceChildren(...about(this.case, app.hello!.project!));
    });
    return panel;
  }

  /** When no case is open: what can be done with the project, and its cases. */
  over(): HTMLElement {
    const project = this.app.hello!.project!;
    const rows = element("div", { class: "all-cases" }, ["reading …"]);
    void this.fill(rows, () => undefined);
    return element("div", {}, [
      element("h2", { class: "large" }, [`${project.name}: ${project.accepted} of ${project.total} accepted`]),
      element("p", {}, [project.says]),
      ...project.notes.map((note) => element("p", { class: "warn" }, [note])),
      ...commands(project),
      element("h2", {}, ["All cases"]),
      rows,
    ]);
  }

  private async showAll(): Promise<void> {
    const rows = element("div", { class: "all-cases" }, ["reading …"]);
    const next = element("details", {}, [element("summary", {}, ["Let what was accepted be learned"]), ...commands(this.app.hello!.project!)]);
    const shown = dialog("All cases", [rows, next], [button(["Close"], "Close", () => shown.close(), { class: "primary" })]);
    shown.classList.add("wide");
    await this.fill(rows, () => shown.close());
  }

  private async fill(place: HTMLElement, chosen: () => void): Promise<void> {
    try {
      const answer = await this.app.connection.request<{ cases: CaseLine[]; project: Project }>("cases");
      const heads = ["Case", "", "Est. Dice", "min", "Prompts", ""].map((text, n) => element("th", { scope: "col", class: n > 1 && n < 5 ? "figure" : "" }, [text]));
      const lines = answer.cases.map((line) => this.line(line, chosen));
      place.replaceChildren(element("table", {}, [element("thead", {}, [element("tr", {}, heads)]), element("tbody", {}, lines)]));
      place.querySelector(".here")?.scrollIntoView({ block: "center" });
    } catch (error) {
      place.replaceChildren(element("p", { class: "warn" }, [error instanceof Error ? error.message : String(error)]));
    }
  }

  private line(line: CaseLine, chosen: () => void): HTMLElement {
    const open = () => {
      chosen();
      void this.open(line.id);
    };
    const name = line.here ? element("strong", {}, [line.id]) : button([line.id], `Open ${line.id}`, open, { class: "link" });
    return element("tr", line.here ? { class: "here" } : {}, [
      element("td", {}, [name]),
      element("td", { class: `state ${line.state.replace(" ", "-")}` }, [STATES[line.state] ?? line.state, ...(line.here ? [" · open here"] : [])]),
      element("td", { class: "figure" }, [line.estimate ? line.estimate.toFixed(2) : ""]),
      element("td", { class: "figure" }, [line.minutes ? line.minutes.toFixed(1) : ""]),
      element("td", { class: "figure" }, [line.prompted ? String(line.prompted) : ""]),
      element("td", { class: "small" }, [line.note]),
    ]);
  }
}

/** What a case took, in words. */
function effort(answer: Gone): string {
  const prompts = answer.prompted ?? 0;
  return `${duration(answer.seconds ?? 0)} and ${prompts} ${prompts === 1 ? "prompt" : "prompts"}`;
}

function about(now: Case, project: Project): HTMLElement[] {
  const dice = Object.values(now.estimated);
  const mean = dice.reduce((sum, d) => sum + d, 0) / Math.max(dice.length, 1);
  const state = now.state === "proposed" ? `proposed${dice.length ? `, estimated Dice ${mean.toFixed(2)}` : ""}: look it through, mend, accept` : (STATES[now.state] ?? now.state);
  const bar = element("progress", { max: String(project.total), value: String(project.accepted), "aria-label": "How many cases are accepted" });
  return [
    element("h2", {}, [`case ${now.id}: `, element("span", {}, [`${project.accepted} of ${project.total} accepted`])]),
    bar,
    element("p", { class: "small" }, [now.note ? `${state} (${now.note})` : state]),
  ];
}

/** What comes after: commands for a terminal, to be copied. */
function commands(project: Project): HTMLElement[] {
  return [
    element("dl", { class: "commands" }, project.commands.flatMap(({ command, what }) => [
      element("dt", {}, [what]),
      element("dd", {}, [element("code", {}, [command]), button(["Copy"], `Copy: ${command}`, () => void navigator.clipboard.writeText(command))]),
    ])),
  ];
}
