"""``sammed evaluate --protocol E``: what is found without a prompt, against floors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sammed.cli.console import meter, put, say
from sammed.errors import InputError, PartlyFailedError

if TYPE_CHECKING:
    from sammed.evaluation.manifest import Case
    from sammed.evaluation.tables import Table
    from sammed.evaluation.unprompted import Score, Trial

FORMAT = "sammed-unprompted/1"
OUTPUTS = ("objects.csv", "summary.json", "report.html")

METHODS = (
    "Nothing was prompted. Proposals of each source are ranked by its own score and compared with "
    "all references by IoU. AR@n: recall averaged over IoU 0.5 to 0.95 within the first n. False: "
    "proposals a case with an IoU of 0.5 with no reference, real things without a reference among "
    "them. Single: Dice of the best-scored proposal alone, of pictures."
)


def run_things_protocol(
    cases: list[Case],
    models: Mapping[str, str],
    floors: bool,
    most: int,
    out: Path | None,
    device: str,
    threads: int | None,
    title: str,
    command: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Propose for each case, write, and show the table.

    Raises
    ------
    InputError
        If there is no folder for the results.
    PartlyFailedError
        If some cases could not be run.
    """
    if out is None:
        raise InputError("say where the results go: --out FOLDER")
    from sammed.evaluation.report import make_folder
    from sammed.evaluation.unprompted import run
    from sammed.everything.coarse import require_skimage
    from sammed.models import registry

    require_skimage()
    make_folder(out)
    built = {
        name: registry.build(what, device=device, threads=threads) for name, what in models.items()
    }
    with meter(quiet, every=30) as draw:
        trial = run(cases, built, floors, lambda case, n, total: draw(case, "", n, total), most)
    summary = write(trial, out, title, command)
    say(f"wrote {', '.join(str(out / name) for name in OUTPUTS)}")
    broken = sorted({(one.case, one.error) for one in trial.outcomes if one.error})
    for case, error in broken:
        say(f"case {case} could not be run: {error}")
    if as_json:
        put(summary)
    else:
        typer.echo(table(trial.scores()).markdown())
    if broken:
        raise PartlyFailedError(f"{len(broken)} of {len(cases)} cases could not be run, see above")


def write(trial: Trial, out: Path, title: str, command: str) -> dict[str, Any]:
    """Write `OUTPUTS` into a folder; the summary."""
    from sammed.evaluation import html
    from sammed.evaluation.report import environment
    from sammed.evaluation.results import csv_text
    from sammed.io import atomic_text

    columns = ("case", "subject", "source", "object", "ml", "best_iou", "rank_of_best", "proposals")
    lines = [
        (
            one.case, obj.subject, one.source, obj.name, obj.ml, obj.best(),
            int(obj.ious.argmax()) + 1 if len(obj.ious) else None, one.proposals,
        )
        for one in trial.outcomes
        for obj in one.objects
    ]  # fmt: skip
    scores = trial.scores()
    facts = {**environment(), "command": command}
    summary = {"format": FORMAT, "facts": facts, "scores": [asdict(score) for score in scores]}
    errors = [f"{one.case}: {one.error}" for one in trial.outcomes if one.error]
    page = html.study_page(METHODS, [table(scores)], [], facts, errors, title)
    atomic_text(out / "objects.csv", csv_text(columns, lines), force=True)
    atomic_text(out / "summary.json", json.dumps(summary, indent=1), force=True)
    atomic_text(out / "report.html", page, force=True)
    return summary


def table(scores: list[Score]) -> Table:
    """All scores, a line each."""
    from sammed.evaluation.tables import Table
    from sammed.evaluation.unprompted import FLOORS, WITHIN

    heads = (
        "source", "objects", *(f"AR@{n}" for n in WITHIN), "best IoU", "best of 20", "≥ 0.5",
        "≥ 0.5 in 100", "≥ 0.75", "false", "single", "s",
    )  # fmt: skip
    lines = tuple(
        (
            score.source if score.group == "all" else f"{score.source}, {score.group}",
            str(score.objects),
            *(f"{score.recall[n]:.3f}" for n in WITHIN),
            *(
                f"{value:.3f}"
                for value in (
                    score.best, score.best_of_20, score.found, score.within_100, score.found_well,
                )
            ),
            f"{score.false:.1f}",
            "–" if score.single is None else f"{score.single:.3f}",
            f"{score.seconds:.1f}",
        )
        for score in scores
    )  # fmt: skip
    return Table(heads, lines, tuple(score.source in FLOORS for score in scores))
