"""``sammed evaluate PREDICTION REFERENCE``: two label maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sammed.cli.console import put, say
from sammed.errors import InputError

if TYPE_CHECKING:
    from sammed.evaluation.label_maps import LabelScores


def check_maps(maps: list[Path], cases: Path | None, images: Path | None) -> None:
    """Make sure that there are two label maps, and no cohort beside them.

    Raises
    ------
    InputError
        If not.
    """
    if len(maps) != 2:
        raise InputError(f"found {len(maps)} label map; expected two: PREDICTION REFERENCE")
    if cases or images:
        raise InputError("give two label maps, or a cohort (--cases, --images), not both")


def score_maps(
    maps: list[Path],
    labels: Path | None,
    tolerance: float,
    resample: bool,
    out: Path | None,
    title: str,
    command: str,
) -> LabelScores:
    """Score two label maps; with a folder for it, write their report.

    Parameters
    ----------
    maps
        The prediction and the reference.
    labels
        Which values are scored, see `sammed.evaluation.objects.read_names`.
    tolerance, resample
        Of NSD in mm; whether the prediction is put on the reference's grid.
    out
        The folder.
    title, command
        Head of the report, and the command line for it.
    """
    from sammed.evaluation.label_maps import score_files
    from sammed.evaluation.objects import read_names
    from sammed.evaluation.report import write_label_report
    from sammed.io.output import check_folder

    if out:
        check_folder(out)
    names = read_names(labels) if labels else None
    found = score_files(maps[0], maps[1], names, tolerance, resample)
    if out:
        write_label_report(found, out, command, title)
    return found


def show_scores(found: LabelScores, out: Path | None, quiet: bool, as_json: bool) -> None:
    """Print the scores of two label maps."""
    for note in () if quiet else found.notes:
        say(f"note: {note}")
    if out and not quiet:
        say(f"wrote {out / 'report.html'}")
    if as_json:
        put(found.as_json())
    else:
        typer.echo(found.table().markdown())
