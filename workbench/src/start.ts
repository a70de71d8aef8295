/** Before a scan is open: drop or choose one, take one of the last, or choose among several series. */

import type { App } from "./app";
import type { Casework } from "./cases";
import { button, element, icon } from "./dom";
import { ICONS } from "./icons";
import type { Choice, SaveFormat, Scan } from "./protocol";
import { chosen, takesDrops, upload, type Sent } from "./uploads";

type Opened = (scan: Scan) => void;

/** What came of choosing: a scan, or more to choose from. */
interface Laid {
  scan?: Scan | null;
  choices?: Choice[] | null;
  formats?: SaveFormat[];
}

function laid(app: App, answer: Laid, opened: Opened): void {
  if (answer.formats) app.hello!.formats = answer.formats;
  app.hello!.choices = answer.choices ?? null;
  if (answer.scan) opened(answer.scan);
  else app.tell("connection");
}

export function startPage(app: App, cases: Casework, opened: Opened): HTMLElement {
  const status = element("p", { class: "status", role: "status" });
  const failed = (error: unknown) => {
    status.className = "status warn";
    status.textContent = error instanceof Error ? error.message : String(error);
  };
  const choose = async (id: string) => {
    status.className = "status";
    status.textContent = "reading …";
    try {
      const answer = await app.connection.request<Laid>("choose", { choice: id }, (_, message) => {
        if (typeof message.text === "string") status.textContent = message.text;
      });
      laid(app, answer, opened);
    } catch (error) {
      failed(error);
    }
  };
  const body = element("div", { class: "start-body" });
  const render = () => {
    const choices = app.hello?.choices;
    if (app.hello?.project) {
      if (!app.scan) body.replaceChildren(cases.over());
      return;
    }
    body.replaceChildren(choices?.length ? series(choices, choose) : welcome(app, choose, status, opened, failed));
  };
  app.on(["connection"], render);
  app.on(["message"], () => {
    if (app.scan || !app.message) return;
    status.className = `status ${app.message.kind === "error" ? "warn" : ""}`;
    status.textContent = app.message.text;
  });
  return element("main", { class: "start" }, [body, status]);
}

function series(choices: Choice[], choose: (id: string) => Promise<void>): HTMLElement {
  const cards = choices.map((choice) => {
    const picture = choice.thumbnail
      ? element("img", { src: choice.thumbnail, alt: "", width: "112", height: "112" })
      : element("span", { class: "no-picture" }, [icon(ICONS.file)]);
    const size = choice.shape ? choice.shape.slice().reverse().join(" × ") : "";
    const spacing = choice.spacing ? `${choice.spacing.slice().reverse().map((s) => s.toFixed(2).replace(/\.?0+$/, "")).join(" × ")} mm` : "";
    const number = choice.number === null || choice.number === undefined ? "" : `${choice.number}: `;
    return button(
      [
        picture,
        element("span", { class: "words" }, [
          element("strong", {}, [`${number}${choice.description ?? choice.name ?? "without a name"}`]),
          element("span", {}, [[choice.modality, size, spacing].filter(Boolean).join(" · ")]),
          element("span", {}, [choice.date ?? ""]),
          element("span", { class: "warn" }, [choice.note ?? ""]),
        ]),
      ],
      `Open ${choice.description ?? choice.name ?? choice.id}`,
      () => void choose(choice.id),
      { class: "card" },
    );
  });
  return element("div", {}, [element("h2", { class: "large" }, ["Which one?"]), element("p", {}, [`There are ${choices.length} series.`]), element("div", { class: "cards" }, cards)]);
}

function welcome(
  app: App,
  choose: (id: string) => Promise<void>,
  status: HTMLElement,
  opened: Opened,
  failed: (error: unknown) => void,
): HTMLElement {
  const tell = (text: string) => {
    status.className = "status";
    status.textContent = text;
  };
  const send = (files: Sent[]) => void upload<Laid>(app.connection, files, tell).then((answer) => {
    laid(app, answer, opened);
  }).catch(failed);
  const oneFile = element("input", { type: "file", class: "hidden", tabindex: "-1", "aria-hidden": "true" });
  const folder = element("input", { type: "file", class: "hidden", webkitdirectory: "", tabindex: "-1", "aria-hidden": "true" });
  for (const input of [oneFile, folder]) {
    input.addEventListener("change", () => send(chosen(input)));
  }
  const zone = element("div", { class: "drop" }, [
    icon(ICONS.file),
    element("h2", { class: "large" }, ["Drop a scan here"]),
    element("p", {}, ["NIfTI, NRRD, MetaImage, a DICOM folder or archive, a picture. It stays on this computer."]),
    element("div", { class: "buttons" }, [
      button(["Choose a file"], "Choose a file", () => oneFile.click(), { class: "primary" }),
      button(["Choose a folder"], "Choose a folder", () => folder.click()),
    ]),
    oneFile,
    folder,
  ]);
  takesDrops(zone, send, failed);
  const parts: HTMLElement[] = [zone];
  const recent = app.hello?.recent ?? [];
  if (recent.length) {
    parts.push(
      element("h2", {}, ["The last ones"]),
      element("ul", { class: "recent" }, recent.map((r) =>
        element("li", {}, [
          button([element("strong", {}, [r.name]), element("span", {}, [r.where]), element("span", {}, [whenOpened(r.when)])], `Open ${r.name}`, () => void choose(r.id)),
        ]),
      )),
    );
  }
  return element("div", {}, parts);
}

function whenOpened(when: string): string {
  const at = new Date(when);
  return Number.isNaN(at.valueOf()) ? when : at.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}
