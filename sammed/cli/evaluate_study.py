"""``sammed evaluate --study``: Dice against the number of prompts, or the size of voxels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sammed.cli.console import meter, put, say
from sammed.errors import InputError, PartlyFailedError

if TYPE_CHECKING:
    from sammed.evaluation.studies import Study


def run_study_command(
    study: Study, out: Path | None, title: str, command: str, quiet: bool, as_json: bool
) -> None:
    """Run, write, and show the tables.

    Raises
    ------
    InputError
        If there is no folder for the results.
    PartlyFailedError
        If some of the cases could not be run.
    """
    if out is None:
        raise InputError("say where the results go: --out FOLDER")
    from sammed.evaluation.figures import require_matplotlib
    from sammed.evaluation.report import make_folder
    from sammed.evaluation.studies import run_study
    from sammed.evaluation.study_report import OUTPUTS, study_tables, write_study

    require_matplotlib()
    make_folder(out)
    with meter(quiet, every=30) as show:
        rows, errors = run_study(study, out, lambda case, n, of: show(case, "", n, of))
    summary = write_study(study, rows, errors, out, command, title)
    say(f"wrote {', '.join(str(out / name) for name in OUTPUTS)}")
    for error in errors:
        say(error)
    if as_json:
        put(summary)
    else:
        typer.echo("\n\n".join(table.markdown() for table in study_tables(rows)))
    if errors:
        raise PartlyFailedError(
            f"{len(errors)} of {len(study.cases)} cases could not be run, see above; the results "
            "are those of the others"
        )
