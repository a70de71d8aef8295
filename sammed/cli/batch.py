"""``sammed batch``: segment many scans with the prompts of each."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sammed.cli.console import put, say, set_verbosity
from sammed.cli.crew import say_outcomes, sayer, scans_meter
from sammed.cli.explained import Examples, ExamplesFolder, Mirror
from sammed.cli.options import (
    Device,
    Force,
    Json,
    Plane,
    Quiet,
    Scheduler,
    Threads,
    Verbose,
    Window,
    Workers,
)


def batch(
    scans: Annotated[
        str,
        typer.Argument(
            help="Table (.csv, .json) with columns image, prompts, box, objects, output, id, "
            "series, frame; a folder or quoted glob of scans; or a project's folder: the scans of "
            "its cases."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output",
            help="Folder of the label maps (ID.nii.gz) and of the record; a run resumes in it.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="A model of `sammed models list`, or a file: of weights, or a .sammed of "
            "`sammed learn`.",
        ),
    ] = "compact",
    object_: Annotated[
        list[str] | None,
        typer.Option(
            "--object",
            help="What a learned model or examples show, by name; default: all. Repeatable.",
        ),
    ] = None,
    example: Examples = None,
    examples: ExamplesFolder = None,
    mirror: Mirror = False,
    window: Window = "auto",
    plane: Plane = "auto",
    device: Device = "auto",
    threads: Threads = None,
    workers: Workers = 1,
    scheduler: Scheduler = "",
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:  # fmt: skip
    """Segment many scans, each with its own prompts; give the command again to go on.

    A scan whose files, model and settings have not changed is not segmented again. One that fails
    is recorded with its reason and does not stop the others; the exit code is then 5.

    For example:

      sammed batch scans.csv -o out --workers 4

      sammed batch 'scans/*.nii.gz' -o out --model study.sammed --scheduler tcp://head:8786

      sammed batch study/ -o out --model study/study.sammed

      sammed batch 'scans/*.nii.gz' -o out --examples labelled/ --object liver
    """
    set_verbosity(quiet, verbose)
    from sammed.engine.settings import Settings
    from sammed.many.runner import check_all_done
    from sammed.many.segmenting import batch as run

    with scans_meter(quiet) as show:
        outcomes = run(
            scans, output, model=model, settings=Settings(plane=plane, window=window),
            objects=object_ or (), examples=[*(example or ()), *([examples] if examples else ())],
            mirror=mirror, device=device, threads=threads, workers=workers,
            scheduler=scheduler, force=force, progress=show, say=sayer(quiet),
        )  # fmt: skip
    if as_json:
        put([asdict(one) for one in outcomes])
    say_outcomes(outcomes, quiet)
    if not quiet:
        say(f"label maps, reports and prompts are in {output}, the record in {output / 'record'}")
    check_all_done(outcomes)
