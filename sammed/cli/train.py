"""``sammed train``: train the built-in network on synthetic images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    model: Annotated[
        str, typer.Argument(help="What to train: 'compact', or 'locator', its part for 3D boxes.")
    ] = "compact",
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for checkpoint, weights and metrics.")
    ] = Path("runs/compact"),
    minutes: Annotated[float, typer.Option(min=0.0, help="How long to train.")] = 5.0,
    resume: Annotated[
        Path | None, typer.Option(help="Continue from this checkpoint (last.pt).")
    ] = None,
    init: Annotated[
        str, typer.Option(help="'random', 'shipped', or a .safetensors file to start from.")
    ] = "random",
    steps: Annotated[int | None, typer.Option(help="Stop at this step.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights and data.")] = 0,
    threads: Annotated[int | None, typer.Option(help="CPU threads of the trainer.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Views (or 3D boxes) in a batch.")] = 8,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    cases: Annotated[
        Path | None, typer.Option(help="cases.json of real volumes, for validation only.")
    ] = None,
    validate_every: Annotated[float, typer.Option(help="Minutes between validations.")] = 5.0,
    teacher: Annotated[
        str | None, typer.Option(help="Stay close to these weights: 'shipped' or a file.")
    ] = None,
    boxes_only: Annotated[
        bool, typer.Option("--boxes-only", help="Views with a box and no other prompt.")
    ] = False,
) -> None:
    """Train the built-in network on synthetic images.

    Example: sammed train compact --minutes 5 --out runs/mine
    Example: sammed train locator --minutes 60 --out runs/locator
    Example: sammed train compact --boxes-only --init shipped --teacher shipped --out runs/boxes
    """
    from sammed.training.commands import run_training

    run_training(
        model=model,
        out=out,
        minutes=minutes,
        resume=resume,
        init=init,
        steps=steps,
        seed=seed,
        threads=threads,
        batch=batch,
        rate=rate,
        cases=cases,
        validate_every=validate_every,
        teacher=teacher,
        boxes_only=boxes_only,
    )
