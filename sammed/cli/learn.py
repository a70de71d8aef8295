"""``sammed learn``: what a project's accepted cases teach, judged before it is used."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sammed.cli.console import duration, meter, put, say, set_verbosity
from sammed.cli.options import Device, Json, Quiet
from sammed.errors import Cancelled

if TYPE_CHECKING:
    from sammed.learning.outcome import Outcome, Progress

SECONDS_A_LINE = 15
"""Between lines of progress where there is no terminal."""

NICENESS = 10
"""How far the work steps back behind other programs."""


def learn(
    folder: Annotated[Path, typer.Argument(help="Folder of the project.")],
    minutes: Annotated[float, typer.Option(min=0.01, help="How long to learn.")] = 5.0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that was stopped.")
    ] = False,
    what: Annotated[
        str,
        typer.Option(
            "--what",
            help="segmenter: finds structures without a prompt. promptable: compact, or what --of "
            "names, tuned so that a box or a click goes further. both: six tenths of the minutes "
            "for the former.",
        ),
    ] = "both",
    of: Annotated[
        str,
        typer.Option(
            "--of",
            metavar="MODEL",
            help="Tune segment-anything's mask decoder instead of compact: vit_b, vit_l, vit_h, "
            "medsam, or a checkpoint file. Some slices of each case are embedded once and kept.",
        ),
    ] = "",
    lora: Annotated[
        int | None,
        typer.Option(
            "--lora",
            metavar="RANK",
            min=1,
            help="With --of: learn in the encoder, too, by branches of that rank (say 4). For a "
            "GPU: each step goes through the encoder and back.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="Steps of each network instead of minutes: the same seed, the same model."
        ),
    ] = None,
    from_scratch: Annotated[
        bool,
        typer.Option(
            "--from-scratch",
            help="Begin the segmenter with random weights, not with what synthetic scenes taught.",
        ),
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Default: the project's.")] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Default: one a core.")
    ] = None,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Learn a project's structures from its accepted cases: to find them, and from prompts.

    Some people's cases are held back to judge what was learned; what is worse than what is there
    is not used. It steps back behind other programs; Ctrl-C stops at once, and --resume goes on.

    For example:

      sammed learn study/ --minutes 10

      sammed learn study/ --what promptable --minutes 5

      sammed learn study/ --what promptable --of vit_b

      sammed learn study/ --what promptable --of vit_b --lora 4 --device cuda
    """
    set_verbosity(quiet, verbose=False)
    step_back()
    from sammed.learning.course import Wishes
    from sammed.learning.course import learn as run
    from sammed.learning.phases import check_what
    from sammed.learning.rounds import stopped_round
    from sammed.learning.training import Recipe
    from sammed.models.devices import resolve_device, set_threads
    from sammed.project.folder import Project
    from sammed.training.interrupts import Interrupts

    set_threads(threads or os.cpu_count() or 1)
    wishes = Wishes(
        minutes, steps, seed, check_what(what), device=resolve_device(device), of=of,
        lora=lora or 0, recipe=Recipe(pretrained=not from_scratch),
    )  # fmt: skip
    wishes.check()
    project = Project(folder)
    stopped = stopped_round(project)
    if stopped is not None and not resume:
        say(f"round {stopped.number} was stopped and is given up; --resume would have gone on")
    if lora and wishes.device == "cpu" and not quiet:
        say("LoRA goes through the encoder and back at every step, which is meant for a GPU "
            "(--device cuda); how many seconds a step takes on this processor is told while it "
            "goes on")  # fmt: skip
    with Interrupts() as interrupts, _progress(quiet) as show:
        try:
            outcome = run(project, wishes, resume=resume, told=show, shield=interrupts.shield)
        except KeyboardInterrupt:
            raise Cancelled(f"stopped; 'sammed learn {folder} --resume' goes on") from None
    if as_json:
        put(outcome.report)
    elif not quiet:
        _say_outcome(outcome)


def step_back() -> None:
    """Let other programs have the processor first; before PyTorch is loaded.

    Threads that wait for each other sleep: where they spin, as they do by default, they take the
    cores from each other as soon as another program has one of them.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if hasattr(os, "nice"):
        os.nice(max(0, NICENESS - os.nice(0)))


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[Progress], None]]:
    with meter(quiet, count=False, every=SECONDS_A_LINE) as draw:

        def show(progress: Progress) -> None:
            beside = f"{100 * progress.share:.0f} %"
            if progress.pace is not None:
                pace = progress.pace
                beside += f", loss {pace.loss:.3f}, {_speed(pace.steps_per_second)}"
            if progress.seconds_left:
                beside += f", {duration(progress.seconds_left)} left"
            draw(progress.doing, beside, progress.share, 1.0)

        yield show


def _speed(steps_per_second: float) -> str:
    """Steps a second, or seconds a step."""
    if 0 < steps_per_second < 0.5:
        return f"{1 / steps_per_second:.1f} s a step"
    return f"{steps_per_second:.1f} steps/s"


def _say_outcome(outcome: Outcome) -> None:
    for note in outcome.report["notes"]:
        say(f"note: {note}")
    for line in round_lines(outcome.report):
        say(line)
    say(f"wrote {outcome.file}")


def round_lines(report: Mapping[str, Any]) -> list[str]:
    """What came of a round: of each half that was learned what it reaches, and the verdict."""
    from sammed.learning.card import gained_lines, reached_lines

    lines = []
    if report["verdict"]:
        lines += reached_lines(report["reached"], report["rehearsed"])
        lines += [calibration_line(report["calibration"])]
        lines += [f"without a prompt, round {report['round']}: {_verdict(report['verdict'])}"]
    if report["prompted"]["verdict"]:
        said = report["prompted"]
        lines += gained_lines(said["gained"], report["rehearsed"])
        lines += [f"from prompts, round {report['round']}: {_verdict(said['verdict'])}"]
    return lines


def _verdict(said: dict[str, Any]) -> str:
    figures = ""
    if "difference" in said:
        figures = f": {said['before']:.3f} before, {said['after']:.3f} now"
    how = "used from now on" if said["used"] else "not used"
    return f"{how} ({said['why']}{figures})"


def _people(said: dict[str, Any]) -> str:
    return "person" if said["people"] == 1 else "people"


def calibration_line(said: dict[str, Any]) -> str:
    """How far estimated Dice can be trusted, in a line."""
    if not said or not said["people"]:
        return "estimated Dice of proposals: not measured, no case was held back"
    measured = f"on {said['structures']} structures of {said['people']} held-back {_people(said)}"
    if said["error"] is None:
        return f"estimated Dice of proposals: {measured}, too few to say how far it is right"
    r = "undefined" if said["r"] is None else f"{said['r']:.2f}"
    return f"estimated Dice of proposals: r = {r}, mean error {said['error']:.3f} {measured}"
