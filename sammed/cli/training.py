"""What the ``sammed train`` commands share: options, how far a run is, what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sammed.cli.console import duration, meter, say
from sammed.errors import Cancelled

if TYPE_CHECKING:
    from sammed.training.pace import Progress
    from sammed.training.trainer import Trainer

SECONDS_A_LINE = 30
"""Between lines of progress where there is no terminal."""

Out = Annotated[
    Path, typer.Option("--out", "-o", help="Folder for checkpoint, weights and metrics.")
]
Minutes = Annotated[float, typer.Option(min=0.0, help="How long to train.")]
Steps = Annotated[int | None, typer.Option(help="Stop at this step.")]
Seed = Annotated[int, typer.Option(help="Seed of weights and data.")]
Rate = Annotated[float, typer.Option(help="Peak learning rate.")]
ValidateEvery = Annotated[float, typer.Option(help="Minutes between validations.")]
Checkpoint = Annotated[Path | None, typer.Option(help="Continue from this checkpoint (last.pt).")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the folder's checkpoint, if it has one.")
]
Init = Annotated[
    Path | None, typer.Option(help="A .safetensors file of such weights to start from.")
]
LabelMaps = Annotated[Path | None, typer.Option(help="Folder of label maps to draw from as well.")]


@contextmanager
def progress(quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Step, loss, speed, validation and time left on stderr."""
    with meter(quiet, count=False, every=SECONDS_A_LINE) as draw:
        draw("making the first samples", "", 0.0, 1.0)

        def show(progress: Progress) -> None:
            beside = [f"{progress.views_per_second:.0f} views/s"]
            if progress.dice is not None:
                beside.append(f"validation Dice {progress.dice:.3f}")
            left = f"{duration(progress.seconds_left)} left"
            beside.append("validating" if progress.validating else left)
            draw(f"step {progress.step} loss {progress.loss:.3f}", ", ".join(beside),
                 progress.share, 1.0)  # fmt: skip

        yield show


def say_end(trainer: Trainer, goes_on: str, quiet: bool) -> None:
    """What came of a run, and how to go on: with the arguments ``goes_on``.

    Raises
    ------
    Cancelled
        If Ctrl-C ended it.
    """
    weights = trainer.out / trainer.task.weights_name
    if trainer.interrupted:
        raise Cancelled(
            f"stopped at step {trainer.step}; {trainer.checkpoint} and {weights.name} are kept; go "
            f"on with: sammed train {goes_on}"
        )
    if not quiet:
        say(f"{trainer.step} steps, {trainer.views} samples; wrote {weights}")
