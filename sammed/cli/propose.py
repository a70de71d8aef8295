"""``sammed propose``: label the rest of a project with what it learned."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sammed.cli.console import put, say, set_verbosity
from sammed.cli.crew import sayer, scans_meter
from sammed.cli.options import Device, Json, Quiet, Scheduler, Threads, Workers


def propose(
    folder: Annotated[Path, typer.Argument(help="Folder of the project.")],
    model: Annotated[
        Path | None, typer.Option("--model", help="A .sammed file; default: the project's.")
    ] = None,
    accept_above: Annotated[
        float | None,
        typer.Option(
            "--accept-above", min=0.0, max=1.0,
            help="Accept proposals with an estimated Dice of at least this in every structure.",
        ),
    ] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take back all that --accept-above accepted.")
    ] = False,
    device: Device = "cpu",
    threads: Threads = None,
    workers: Workers = 1,
    scheduler: Scheduler = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Label every case that is to do, each with an estimated Dice; people look at the doubtful.

    What was proposed by the same model is not done again, so that it can be stopped and resumed.

    For example:

      sammed propose study/ --accept-above 0.9

      sammed propose study/ --workers 8
    """
    set_verbosity(quiet, verbose=False)
    from sammed.cli.learn import calibration_line, step_back
    from sammed.learning.proposing import propose as run
    from sammed.learning.proposing import undo_accepted
    from sammed.many.crew import Crew
    from sammed.many.runner import check_all_done
    from sammed.models.devices import resolve_device, set_threads
    from sammed.project.folder import Project

    project = Project(folder)
    if undo:
        undone = undo_accepted(project)
        say(f"{len(undone)} cases are proposals again: {', '.join(undone) or 'none'}")
        return
    step_back()
    set_threads(threads)
    with scans_meter(quiet) as show:
        found = run(
            project, model=model, accept_above=accept_above, device=resolve_device(device),
            threads=threads, crew=Crew(workers, scheduler), told=show, say=sayer(quiet),
        )  # fmt: skip
    if as_json:
        put({"cases": [asdict(one) for one in found.proposals], "skipped": list(found.skipped)})
    elif not quiet:
        for one in sorted(found.proposals, key=lambda one: -sum(one.estimated.values())):
            told = ", ".join(f"{name} {dice:.2f}" for name, dice in one.estimated.items())
            how = " (accepted)" if one.accepted else ""
            if not one.error:
                say(f"{one.case}: estimated Dice {told}{how}")
        say(calibration_line(found.calibration.as_dict()))
        say(f"{len(found.proposals)} cases, {len(found.skipped)} proposed before")
    for one in found.proposals:
        if one.error:
            say(f"{one.case} failed: {one.error}")
    check_all_done(found.outcomes, "case")
