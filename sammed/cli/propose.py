"""``sammed propose``: what nobody prompted, in an image; or in a project, as it has learned."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sammed.cli.console import put, say, set_verbosity
from sammed.cli.crew import sayer, scans_meter
from sammed.cli.options import (
    IMAGES,
    Device,
    Force,
    Frame,
    Json,
    Quiet,
    Scheduler,
    Series,
    Threads,
    Window,
    Workers,
)
from sammed.errors import InputError


def propose(
    path: Annotated[
        Path,
        typer.Argument(metavar="IMAGE|PROJECT", help=f"{IMAGES}; or the folder of a project."),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Image: label map of the things found.")
    ] = None,
    within: Annotated[
        str,
        typer.Option(
            "--within",
            help="Image: where to look: body, image, a label map (FILE or FILE#LABEL), or a box "
            "i0,j0,k0,i1,j1,k1.",
        ),
    ] = "body",
    min_ml: Annotated[
        float | None, typer.Option("--min-ml", min=0, help="Image: smallest thing, in ml.")
    ] = None,
    most: Annotated[
        int, typer.Option("--max", min=1, help="Image: at most so many things.")
    ] = 50,
    like: Annotated[
        Path | None,
        typer.Option("--like", help="Image: prompt file; things like its objects come first."),
    ] = None,
    known: Annotated[
        Path | None,
        typer.Option("--known", help="Image: label map; what it does not cover comes first."),
    ] = None,
    table: Annotated[
        Path | None, typer.Option("--table", help="Image: the things as a CSV file.")
    ] = None,
    preview: Annotated[
        Path | None, typer.Option("--preview", help="Image: PNG of the things in three planes.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Image: the report; default: beside the output.")
    ] = None,
    window: Window = "auto",
    frame: Frame = None,
    series: Series = None,
    force: Force = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Image: who judges, default compact. Project: a .sammed file, default its own.",
        ),
    ] = None,
    accept_above: Annotated[
        float | None,
        typer.Option(
            "--accept-above", min=0.0, max=1.0,
            help="Project: accept proposals with an estimated Dice of at least this in every "
            "structure.",
        ),
    ] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Project: take back all that --accept-above accepted.")
    ] = False,
    device: Device = "cpu",
    threads: Threads = None,
    workers: Workers = 1,
    scheduler: Scheduler = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Find things that nobody prompted in an image, or label the cases of a project.

    In an image: organs, lesions, whatever stands out, each with a score, as a label map, a prompt
    file from which each can be edited, and a report. In a project (a folder with a project.toml):
    every case that is to do, with an estimated Dice; what the same model proposed is not done
    again.

    For example:

      sammed propose ct.nii.gz -o things.nii.gz --table things.csv --preview things.png

      sammed propose ct.nii.gz -o lesions.nii.gz --within organs.nii.gz#1 --max 10

      sammed propose study/ --accept-above 0.9

      sammed propose study/ --workers 8
    """
    set_verbosity(quiet, verbose=False)
    if not (path / "project.toml").is_file() and (output is not None or not path.is_dir()):
        from sammed.cli.things import Asked, propose_things

        if accept_above is not None or undo or workers > 1 or scheduler:
            raise InputError(
                f"{path} is an image; --accept-above, --undo, --workers and --scheduler are for "
                "projects"
            )
        propose_things(
            Asked(
                path, output, within, min_ml, most, like, known, model or "compact", window, table,
                preview, report, frame, series, device, threads, force, as_json, quiet,
            )
        )  # fmt: skip
        return
    of_images = {
        "-o": output, "--like": like, "--known": known, "--table": table, "--preview": preview,
        "--report": report, "--min-ml": min_ml, "--frame": frame, "--series": series,
        "--within": within if within != "body" else None, "--max": most if most != 50 else None,
        "--window": window if window != "auto" else None,
    }  # fmt: skip
    if given := [option for option, value in of_images.items() if value is not None]:
        raise InputError(f"{path} is a project; {', '.join(given)}: for images")
    if undo and (accept_above is not None or model is not None):
        raise InputError(
            "--undo takes back what --accept-above accepted, whatever model proposed it; give it "
            "alone"
        )
    _propose_cases(
        path, model, accept_above, undo, device, threads, workers, scheduler, as_json, quiet
    )


def _propose_cases(
    folder: Path,
    model: str | None,
    accept_above: float | None,
    undo: bool,
    device: str,
    threads: int | None,
    workers: int,
    scheduler: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Label every case of a project that is to do, each with an estimated Dice."""
    from sammed.cli.learn import calibration_line, step_back

    step_back()
    from sammed.learning.proposing import propose as run
    from sammed.learning.proposing import undo_accepted
    from sammed.many.crew import Crew
    from sammed.many.runner import check_all_done
    from sammed.models.devices import resolve_device, set_threads
    from sammed.project.folder import Project

    project = Project(folder)
    if undo:
        undone = undo_accepted(project, say)
        if as_json:
            put({"undone": undone})
            return
        say(f"{len(undone)} cases are proposals again: {', '.join(undone) or 'none'}")
        return
    set_threads(threads)
    with scans_meter(quiet) as show:
        found = run(
            project, model=Path(model) if model else None, accept_above=accept_above,
            device=resolve_device(device), threads=threads, crew=Crew(workers, scheduler),
            told=show, say=sayer(quiet),
        )  # fmt: skip
    if as_json:
        put({
            "cases": [asdict(one) for one in found.proposals], "skipped": list(found.skipped),
            "accepted": [*found.taken, *(one.case for one in found.proposals if one.accepted)],
        })  # fmt: skip
    elif not quiet:
        for one in sorted(found.proposals, key=lambda one: -sum(one.estimated.values())):
            told = ", ".join(f"{name} {dice:.2f}" for name, dice in one.estimated.items())
            how = " (accepted)" if one.accepted else ""
            if not one.error:
                say(f"{one.case}: estimated Dice {told}{how}")
        say(calibration_line(found.calibration.as_dict()))
        before = f"{len(found.skipped)} proposed before"
        if found.taken:
            before += f", of which {len(found.taken)} are accepted now: {', '.join(found.taken)}"
        say(f"{len(found.proposals)} cases, {before}")
    for one in found.proposals:
        if one.error:
            say(f"{one.case} failed: {one.error}")
    check_all_done(found.outcomes, "case")
