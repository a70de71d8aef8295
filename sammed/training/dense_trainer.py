"""Runs of the dense network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sammed.models.dense.borders import load_dense
from sammed.models.dense.net import OF_PICTURES, DenseArchitecture
from sammed.synthesis.source import mapped
from sammed.training.dense_pictures import PictureTask, validate_pictures
from sammed.training.dense_task import DenseTask, validate_dense
from sammed.training.stream import StreamPlan
from sammed.training.trainer import OnProgress, Recipe, Trainer

CHUNK, WINDOW, REPLAY = 48, 6, 3.0
"""Patches made at once, chunks that are kept to draw from, how often a patch is used."""

REPORT_EVERY = 50
"""Steps between reports."""

VALIDATED = 64
"""Patches in a validation."""

PICTURE_CHUNK, PICTURE_WINDOW, PICTURE_REPLAY = 96, 5, 4.0
"""The same of pictures, which are made sooner."""

COLUMNS = [
    "step", "views", "minutes", "rate", "views_per_second", "loss",
    "thing", "border", "inner", "depth", "salient", "kind",
    "val_thing", "val_border", "val_inner", "val_depth", "val_salient", "val_kind",
]  # fmt: skip
"""Columns of a run's metrics.csv."""


@dataclass(frozen=True)
class DenseOptions:
    """What a run of the dense network is told.

    Attributes
    ----------
    out
        Folder of the run.
    minutes, steps
        When to stop.
    resume
        Go on from the run's checkpoint, if there is one.
    init
        Weights file to start from; ``None``: random weights.
    label_maps
        Folder of label maps, as they are or prepared.
    batch, rate, seed, validate_every
        As on the command line.
    validation
        Patches in a validation; 0: none is made.
    architecture
        Its shape.
    pictures
        Train the network of pictures, not that of volumes.
    """

    out: Path = Path("runs/dense")
    minutes: float = 60.0
    steps: int | None = None
    resume: bool = False
    init: Path | None = None
    label_maps: Path | None = None
    batch: int = 2
    rate: float = 1e-3
    seed: int = 0
    validate_every: float = 10.0
    validation: int = VALIDATED
    architecture: DenseArchitecture | None = None
    pictures: bool = False


def dense_trainer(options: DenseOptions) -> Trainer:
    """A run as it is told, not begun yet; resumed if it is to be and can be.

    Raises
    ------
    InputError
        If there are no label maps.
    UnreadableFileError
        If the checkpoint is of another network.
    """
    of_pictures = PICTURE_CHUNK, PICTURE_WINDOW, PICTURE_REPLAY
    chunk, window, replay = of_pictures if options.pictures else (CHUNK, WINDOW, REPLAY)
    plan = StreamPlan(options.seed, options.batch, chunk, window, replay)
    recipe = Recipe(
        minutes=options.minutes,
        steps=options.steps,
        seed=options.seed,
        stream=plan,
        rate=options.rate,
        average=0.998 if options.pictures else 0.985,
        bfloat16=None,
        validate_every=options.validate_every,
    )
    task = (PictureTask if options.pictures else DenseTask)(
        mapped(options.label_maps), options.architecture
    )
    trainer = Trainer(recipe, options.out, task)
    trainer.columns, trainer.report_every = COLUMNS, REPORT_EVERY
    if options.resume and trainer.checkpoint.is_file():
        trainer.resume(trainer.checkpoint)
    elif options.init:
        like = OF_PICTURES if options.pictures else None
        trainer.start_from(load_dense(options.init, like)[0].state_dict())
    return trainer


def train_dense(options: DenseOptions, on_progress: OnProgress | None = None) -> Trainer:
    """Train the dense network; checkpoint, weights and metrics are left in a folder.

    Parameters
    ----------
    options
        How.
    on_progress
        Called after every step.

    Returns
    -------
    trainer
        After the run; ``interrupted`` says whether Ctrl-C ended it.

    Raises
    ------
    InputError, UnreadableFileError
        As `dense_trainer` does.
    """
    torch.set_num_threads(1)  # more wait for each other
    trainer = dense_trainer(options)
    source = mapped(options.label_maps)

    def validate(net: Any) -> dict[str, float]:
        judge = validate_pictures if options.pictures else validate_dense
        return judge(net, options.validation, source)

    trainer.run(on_progress, validate if options.validation else None)
    return trainer
