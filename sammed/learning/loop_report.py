"""What protocol L writes: a table of what was labelled, a summary, and a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sammed.evaluation import html
from sammed.evaluation.annotator import BOX_S, CLICK_S, LOOK_S, PAINT_S
from sammed.evaluation.figures import Curve, Drawing, curves
from sammed.evaluation.report import environment
from sammed.evaluation.results import csv_text
from sammed.evaluation.tables import Table
from sammed.io import atomic_text
from sammed.learning.loop_trial import ALONE, CHANCE, LOOP, Labelled, LoopPlan, LoopResult, as_rows

FORMAT = "sammed-loop/1"
OUTPUTS = ("labelled.csv", "summary.json", "report.html")


def write_loop(
    result: LoopResult, plan: LoopPlan, out: Path, command: str, title: str
) -> dict[str, Any]:
    """Write `OUTPUTS` into a folder.

    Parameters
    ----------
    result, plan
        Of the simulation.
    out
        An existing folder.
    command
        The command line, for the record.
    title
        Head of the report.

    Returns
    -------
    dict
        The summary, as in ``summary.json``.
    """
    rows = as_rows(result)
    columns = list(rows[0]) if rows else []
    atomic_text(out / "labelled.csv", csv_text(columns, (r.values() for r in rows)), force=True)
    summary = {
        "format": FORMAT,
        "facts": facts(plan, command),
        "rounds": [_round(one, number) for one, number in _rounds(result)],
        "reached": [asdict(one) for one in result.reached],
        "prompts": {arm: result.prompts(arm) for arm in (LOOP, ALONE)},
        "seconds": {arm: result.seconds(arm) for arm in (LOOP, ALONE)},
        "loop_over_no_loop": share(result),
        "notes": list(result.notes),
    }
    atomic_text(out / "summary.json", json.dumps(summary, indent=1, allow_nan=False), force=True)
    page = html.loop_page(tables(result, plan), figures(result), facts(plan, command), title)
    atomic_text(out / "report.html", page, force=True)
    return summary


def share(result: LoopResult) -> float | None:
    """Prompts with the loop over those without it; ``None`` if none were needed without it."""
    alone = result.prompts(ALONE)
    return round(result.prompts(LOOP) / alone, 3) if alone else None


def facts(plan: LoopPlan, command: str) -> dict[str, str]:
    """How it was simulated, name and value."""
    wishes, person = plan.wishes, plan.person
    learned = f"{wishes.steps} steps" if wishes.steps is not None else f"{wishes.minutes:g} minutes"
    return {
        **environment(),
        "command": command,
        "rounds": ", ".join(map(str, plan.rounds)),
        "learned after each": f"{learned}, {wishes.what}",
        "order": plan.order,
        "the person": f"stops at Dice {person.target:g} or after {person.most} prompts, throws "
        f"proposals below {person.discard:g} away, paints slices once a click brings less than "
        f"{person.helps:g}",
        "seconds assumed": f"{LOOK_S:g} a look, {BOX_S:g} a 3D box, {CLICK_S:g} a click, "
        f"{PAINT_S:g} a painted slice",
        "seed": str(plan.seed),
    }


def _rounds(result: LoopResult) -> list[tuple[list[Labelled], int]]:
    numbers = sorted({one.round for one in result.labelled if one.arm == LOOP})
    return [([o for o in result.labelled if o.round == number], number) for number in numbers]


def _round(labelled: Sequence[Labelled], number: int) -> dict[str, Any]:
    found: dict[str, Any] = {"round": number}
    for arm in (LOOP, ALONE):
        own = [one for one in labelled if one.arm == arm]
        if own:
            found[arm] = {
                "cases": len({one.case for one in own}),
                "before": round(float(np.mean([one.before for one in own])), 4),
                "after": round(float(np.mean([one.after for one in own])), 4),
                "painted_a_case": round(
                    sum(one.painted for one in own) / len({one.case for one in own}), 2
                ),
                "prompts_a_case": round(
                    sum(one.prompts for one in own) / len({one.case for one in own}), 2
                ),
                "seconds_a_case": round(
                    sum(one.seconds for one in own) / len({one.case for one in own}), 1
                ),
            }
    return found


def tables(result: LoopResult, plan: LoopPlan) -> list[Table]:
    """The rounds, the whole, and what is found without a prompt."""
    lines = []
    for labelled, number in _rounds(result):
        told = _round(labelled, number)
        for arm in (LOOP, ALONE):
            if arm in told:
                one = told[arm]
                lines.append(
                    (f"{number}, {arm}", str(one["cases"]), f"{one['before']:.3f}",
                     f"{one['after']:.3f}", f"{one['prompts_a_case']:.1f}",
                     f"{one['painted_a_case']:.1f}", f"{one['seconds_a_case']:.0f}")
                )  # fmt: skip
    head = ("Round", "Cases", "Dice before", "Dice after", "Prompts a case", "Painted", "s a case")
    rounds = Table(head, tuple(lines), caption="What the simulated person had to do.")
    whole = Table(
        ("In all", "Prompts", "Minutes of the person"),
        tuple(
            (arm, str(result.prompts(arm)), f"{result.seconds(arm) / 60:.1f}")
            for arm in (LOOP, ALONE)
        ),
        caption=f"Prompts with the loop over those without: {share(result)}",
    )
    reached = Table(
        ("Learned from", "Cases", "Minutes", "Dice", "95 % interval"),
        tuple(
            (f"{one.arm}, round {one.round}", str(one.cases), f"{one.minutes:g}",
             f"{one.dice:.3f}", "–" if one.low is None else f"{one.low:.3f} to {one.high:.3f}")
            for one in result.reached
        ),
        caption=f"Without a prompt, on {plan.untouched} cases of other people.",
    )  # fmt: skip
    return [rounds, whole, reached]


def figures(result: LoopResult) -> list[Drawing]:
    """Prompts against cases, and what is found without a prompt."""
    drawn = [Curve(arm, *_running(result, arm)) for arm in (LOOP, ALONE)]
    reached = []
    for arm in (LOOP, CHANCE):
        own = [one for one in result.reached if one.arm == arm]
        if own:
            reached.append(
                Curve(arm, tuple(float(o.cases) for o in own), tuple(o.dice for o in own))
            )
    return [
        Drawing(
            "Prompts that the person had to give, against the cases that are labelled.",
            curves(drawn, "cases labelled", "prompts in all"), narrow=True,
        ),
        Drawing(
            "Dice without a prompt on cases that were never touched, against the cases learned "
            "from.",
            curves(reached, "cases learned from", "Dice"), narrow=True,
        ),
    ]  # fmt: skip


def _running(result: LoopResult, arm: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    cases: dict[str, int] = {}
    for one in result.labelled:
        if one.arm == arm:
            cases[one.case] = cases.get(one.case, 0) + one.prompts
    at = tuple(float(n) for n in range(len(cases) + 1))
    return at, (0.0, *(float(n) for n in np.cumsum(list(cases.values()))))
