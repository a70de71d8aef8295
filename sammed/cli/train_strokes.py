"""``sammed train strokes``: train what the built-in network makes of strokes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sammed.cli.console import set_verbosity
from sammed.cli.options import Quiet
from sammed.cli.training import (
    Checkpoint,
    Init,
    Minutes,
    Out,
    Rate,
    Seed,
    Steps,
    ValidateEvery,
    progress,
    say_end,
)


def strokes(
    out: Out = Path("runs/strokes"),
    minutes: Minutes = 60.0,
    resume: Checkpoint = None,
    init: Init = None,
    steps: Steps = None,
    seed: Seed = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the trainer.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Views in a batch.")] = 8,
    rate: Rate = 1.5e-3,
    validate_every: ValidateEvery = 10.0,
    score: Annotated[
        bool, typer.Option("--score", help="Train nothing: score --init, or what is shipped.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train the branch of the built-in network that hears strokes, on synthetic images.

    The shipped network stays as it is; what it answers without strokes does not change. Validated
    on cases that are held back, with the branch and with three points of each stroke in its place.
    Ctrl-C keeps what was learned, and --resume goes on from there.

    For example:

      sammed train strokes --minutes 60 --out runs/strokes

      sammed train strokes --minutes 60 --resume runs/strokes/last.pt --out runs/strokes

      sammed train strokes --score --init runs/strokes/compact_strokes.safetensors

      sammed segment ct.nii.gz --scribble '60,58;63,60@46' --model \
runs/strokes/compact_strokes.safetensors
    """
    set_verbosity(quiet, verbose=False)
    from sammed.training.stroke_task import StrokesOptions, score_strokes, train_strokes

    if score:
        typer.echo(score_strokes(init))
        return
    options = StrokesOptions(
        out=out,
        minutes=minutes,
        steps=steps,
        resume=resume,
        init=init,
        seed=seed,
        threads=threads,
        batch=batch,
        rate=rate,
        validate_every=validate_every,
    )
    with progress(quiet) as show:
        trainer = train_strokes(options, show)
    say_end(trainer, f"strokes --resume {trainer.checkpoint} --out {trainer.out}", quiet)
