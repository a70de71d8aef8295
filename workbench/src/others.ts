/** The panel of other scans: what can be asked of them, what came of it, and what was missing. */

import type { App } from "./app";
import type { Beside } from "./beside";
import { css, button, element, icon, number } from "./dom";
import { showCompare, showTake } from "./examples";
import { ICONS } from "./icons";
import { saysNothing, type LabelledObject } from "./objects";
import type { Account } from "./protocol";

export function othersPanel(app: App, beside: Beside, phases: { turnOn: () => Promise<void>; open: boolean }): HTMLElement {
  const take = button([icon(ICONS.copy), "Take from another scan"], "Take from another scan: one that is labelled", () => void showTake(app, beside));
  const compare = button([icon(ICONS.clock), "Compare with an earlier scan"], "Compare with an earlier scan: what became of each lesion", () => void showCompare(app, beside));
  const side = button([icon(ICONS.beside), "Phases side by side"], "Phases side by side: others of the same person", () => void phases.turnOn());
  const result = element("div", { class: "found", "aria-live": "polite" });
  app.on(["beside", "objects", "masks", "scan", "connection", "busy"], () => {
    for (const one of [take, compare]) one.disabled = app.looksOn || Boolean(app.busy);
    side.setAttribute("aria-pressed", String(phases.open));
    result.replaceChildren(...outcome(app, beside));
  });
  return element("section", { class: "panel others", "aria-label": "Other scans" }, [
    element("h2", {}, ["Other scans"]),
    element("div", { class: "stack" }, [take, compare, side]),
    result,
  ]);
}

function outcome(app: App, beside: Beside): HTMLElement[] {
  if (beside.problem) return [closing(app, "That did not work", () => (beside.problem = "")), element("p", { class: "warn" }, [beside.problem])];
  if (!beside.last) return [];
  const told = Object.entries(beside.last.accounts).filter(([, account]) => !beside.last!.inTable || account.left_alone);
  if (!told.length) return [];
  const lines = told.map(([name, account]) => line(app, name, account));
  return [closing(app, beside.last.title, () => (beside.last = null)), element("ul", {}, lines), ...advice(beside.last.accounts)];
}

function closing(app: App, title: string, close: () => unknown): HTMLElement {
  return element("h3", { class: "closing" }, [
    title,
    button([icon(ICONS.close)], "Close this list", () => {
      close();
      app.tell("beside");
    }, { class: "link" }),
  ]);
}

function line(app: App, name: string, account: Account): HTMLElement {
  const object = app.object(name);
  if (account.missing) {
    return element("li", { class: "missing" }, [
      element("span", { class: "mark" }, ["–"]),
      element("span", {}, [element("strong", {}, [name]), ": not found", element("small", {}, [account.missing])]),
    ]);
  }
  const go = () => {
    if (!object) return;
    app.select(name);
    app.goTo(object);
  };
  const what = account.left_alone ? "was there already; yours stays" : `${number(account.ml ?? 0)} ml${agreed(account)}`;
  return element("li", {}, [
    element("span", { class: "dot", style: `background:${object ? css(object.colour) : "transparent"}` }),
    element("span", {}, [button([name], `Go to ${name}`, go, { class: "link" }), ` ${what}`]),
  ]);
}

function agreed(account: Account): string {
  if (account.agreement !== null && account.agreement !== undefined) return ` · examples agree by ${account.agreement.toFixed(2)}`;
  if (account.likeness !== null && account.likeness !== undefined) return ` · alike there by ${account.likeness.toFixed(2)}`;
  return "";
}

function advice(accounts: Record<string, Account>): HTMLElement[] {
  const all = Object.values(accounts);
  const found = all.filter((a) => !a.missing && !a.left_alone).length;
  if (!found) return [];
  return [element("p", { class: "small" }, ["Look each one through. Ctrl+Z takes all of them back; clicks and painting mend them."])];
}

/** Whether it is as another scan showed it, and nothing was said of it since. */
export function isAsTaken(object: LabelledObject, account: Account | undefined): account is Account {
  if (!account || account.missing || account.left_alone || !object.prompts.mask) return false;
  return saysNothing({ ...object.prompts, mask: null }) && object.mask.count === account.voxels;
}

/** Of an object that another scan has shown: which, and how far it is to be trusted. */
export function whence(account: Account | undefined): HTMLElement[] {
  if (!account || account.missing || account.left_alone) return [];
  const parts = [element("p", { class: "said" }, [`Taken from ${account.by}`])];
  if (account.agreement !== null && account.agreement !== undefined) {
    parts.push(element("p", { class: "small" }, [`${account.examples} examples agree by Dice ${account.agreement.toFixed(2)}`]));
  }
  if (account.likeness !== null && account.likeness !== undefined) {
    parts.push(element("p", { class: "small" }, [`The scans look alike there by ${account.likeness.toFixed(2)} (1: the same)`]));
  }
  if (account.model) parts.push(element("p", { class: "small" }, [`The model’s own look: ${account.model}`]));
  if (account.how) parts.push(element("p", { class: "small" }, [account.how]));
  return parts;
}
