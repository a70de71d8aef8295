"""``sammed evaluate --protocol L``: the labelling loop with a simulated person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sammed.cli.console import meter, put, say
from sammed.errors import InputError, OutputError

if TYPE_CHECKING:
    from sammed.evaluation.manifest import Case
    from sammed.learning.course import Wishes
    from sammed.learning.loop_trial import LoopPlan


def loop_wishes(minutes: float, steps: int | None, what: str) -> Wishes:
    """What is learned after each round.

    Raises
    ------
    InputError
        If there is no such thing.
    """
    from sammed.learning.course import Wishes
    from sammed.learning.phases import check_what

    return Wishes(minutes, steps, what=check_what(what))


def loop_plan(
    rounds: str, wishes: Wishes, target: float, untouched: int, order: str, chance: bool, seed: int
) -> LoopPlan:
    """The plan that the options ask for.

    Raises
    ------
    InputError
        If one makes no sense.
    """
    from sammed.evaluation.annotator import Annotator
    from sammed.learning.loop_trial import LoopPlan
    from sammed.project.order import check_order

    try:
        counts = tuple(int(part) for part in rounds.split(","))
    except ValueError:
        counts = ()
    if not counts or min(counts) < 1:
        raise InputError(f"--rounds {rounds!r} is no list of cases to label; expected e.g. 3,5,12")
    return LoopPlan(
        counts, untouched, wishes, Annotator(target), check_order(order), chance, seed=seed
    )


def run_loop_protocol(
    cases: list[Case],
    plan: LoopPlan,
    out: Path | None,
    title: str,
    command: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Simulate, write, and show the tables.

    Raises
    ------
    InputError, OutputError
        If there is no folder for the results, or a loop lies in it already.
    """
    if out is None:
        raise InputError("say where the results go: --out FOLDER")
    from sammed.evaluation.figures import require_matplotlib
    from sammed.evaluation.report import make_folder
    from sammed.learning.loop_report import OUTPUTS, tables, write_loop
    from sammed.learning.loop_trial import run_loop

    require_matplotlib()
    make_folder(out)
    folder = out / "projects"
    if folder.exists():
        raise OutputError(f"{folder} is there already; a loop starts anew: give another --out")
    with meter(quiet, count=False, every=30) as draw:
        result = run_loop(
            cases, plan, folder, lambda doing, share: draw(doing, f"{100 * share:.0f} %", share, 1)
        )
    summary: dict[str, Any] = write_loop(result, plan, out, command, title)
    for note in result.notes:
        say(f"note: {note}")
    say(f"wrote {', '.join(str(out / name) for name in OUTPUTS)}")
    if as_json:
        put(summary)
    else:
        typer.echo("\n\n".join(table.markdown() for table in tables(result, plan)))
