"""Runs of the network for volumes: the loop of the others, on a GPU too, in pieces on a CPU."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sammed.errors import BackendUnavailableError, InputError
from sammed.models.compact.field import FIELD_SIZE
from sammed.models.compact.locator import load_locator
from sammed.models.compact.volume_model import load_volume_net
from sammed.models.compact.volume_net import VolumeArchitecture, VolumeNet
from sammed.synthesis.source import Source, mapped
from sammed.training.grow_volume import can_grow, grow_from_locator
from sammed.training.pool import Pool
from sammed.training.stream import StreamPlan
from sammed.training.trainer import OnProgress, Recipe, Trainer, has_bfloat16
from sammed.training.volume_batches import make_chunk, pack
from sammed.training.volume_task import VolumeTask
from sammed.training.volume_validation import COLUMNS, validate_volumes

CHUNK = 32
"""Samples that a worker makes at once: about a second's work."""

GPU_BATCH, CPU_BATCH = 48, 8
GPU_CAPACITY, CPU_CAPACITY = 16_384, 384
"""Samples that are kept to draw from: 0.8 MB each with fields of 64 samples a side."""

GPU_REPORT, CPU_REPORT = 100, 50
"""Steps between reports."""

VALIDATED = 96
"""Samples in a validation."""

GPU_VALIDATE, CPU_VALIDATE = 2.0, 30.0
"""Minutes between validations."""


@dataclass(frozen=True)
class VolumeOptions:
    """What a run of the network for volumes is told.

    Attributes
    ----------
    out
        Folder of the run, or the weights file to write in it.
    minutes, steps
        When to stop.
    resume
        Go on from the run's checkpoint, if there is one.
    init
        Weights file to start from; ``None``: grown from the shipped locator, if the architecture
        has room for it.
    label_maps
        Folder of label maps, as they are or prepared.
    device
        ``"cpu"``, ``"cuda"``.
    workers
        Processes that make data; ``None``: 1 on the CPU, else all cores but one.
    batch, rate, seed, size, validate_every
        As on the command line; ``None`` depends on the device.
    validation
        Samples in a validation; ``None``: `VALIDATED`, 0: none is made.
    compiled
        Compile the network.
    bfloat16
        Compute in bfloat16; ``None``: on a GPU, and where the processor has instructions for it.
        (Of fields of 32 samples PyTorch's gradients then differ from run to run; from 48 on they
        do not.)
    architecture
        Its shape.
    """

    out: Path = Path("runs/volume")
    minutes: float = 60.0
    steps: int | None = None
    resume: bool = False
    init: Path | None = None
    label_maps: Path | None = None
    device: str = "cpu"
    workers: int | None = None
    batch: int | None = None
    rate: float = 1e-3
    seed: int = 0
    size: int = FIELD_SIZE
    validate_every: float | None = None
    validation: int | None = None
    compiled: bool = False
    bfloat16: bool | None = None
    architecture: VolumeArchitecture | None = None

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.out.parent if self.out.suffix == ".safetensors" else self.out

    @property
    def on_gpu(self) -> bool:
        """Whether it runs beside the CPU."""
        return torch.device(self.device).type != "cpu"


class VolumeTrainer(Trainer):
    """A run of the network for volumes.

    Parameters
    ----------
    recipe, out, task
        As of `Trainer`.
    workers
        Processes that make data. One on the CPU: the same seed gives the same run.
    """

    task: VolumeTask

    def __init__(self, recipe: Recipe, out: Path, task: VolumeTask, workers: int = 1) -> None:
        super().__init__(recipe, out, task)
        self._workers = workers
        self._gpu = torch.device(task.device).type != "cpu"
        self.columns = COLUMNS
        self.report_every = GPU_REPORT if self._gpu else CPU_REPORT

    def _stream(self) -> Any:
        if self._workers == 1 and not self._gpu:
            return super()._stream()
        plan, task = self.recipe.stream, self.task
        make = partial(_chunk, plan.seed, size=task.size, source=task.source)
        return Pool(
            make,
            workers=self._workers,
            capacity=GPU_CAPACITY if self._gpu else CPU_CAPACITY,
            batch=plan.batch,
            device=task.device,
            seed=plan.seed,
            start=self.step,
        )

    def _gradients(
        self, arrays: dict[str, Any], rng: np.random.Generator
    ) -> tuple[dict[str, float], int]:
        """Summed over the pieces of a batch."""
        self.net.train()
        self.net.zero_grad(set_to_none=True)
        batch, rounds = self.task.prepared(arrays, rng)
        totals: dict[str, Any] = {}
        for start in range(0, len(batch), self.task.piece):
            piece = batch.rows(slice(start, start + self.task.piece))
            share = len(piece) / len(batch)
            loss, parts = self.task.piece_loss(self.net, piece, rounds, rng, self.half)
            (loss * share).backward()
            for name, value in parts.items():
                totals[name] = totals.get(name, 0.0) + value * share
        return {name: float(value) for name, value in totals.items()}, len(batch)


def _cpu_piece(size: int) -> int:
    """Samples learned from at once: a piece's backward pass takes less than half a second."""
    return max(1, 2 * 48**3 // size**3)


def _chunk(seed: int, index: int, *, size: int, source: Source) -> dict[str, Any]:
    samples = make_chunk(seed, index, CHUNK, size=size, source=source)
    return pack(np.random.default_rng(0), samples)


def volume_trainer(options: VolumeOptions) -> VolumeTrainer:
    """A run as it is told, not begun yet; resumed if it is to be and can be.

    Raises
    ------
    InputError
        If fields are of a size that the network cannot take, or there are no label maps.
    BackendUnavailableError
        If the device cannot be used.
    UnreadableFileError
        If the checkpoint is of another network.
    """
    if options.size % 16 or options.size < 32:
        raise InputError(
            f"fields of {options.size} samples; expected a multiple of 16, at least 32"
        )
    source = mapped(options.label_maps)
    gpu = options.on_gpu
    batch = options.batch or (GPU_BATCH if gpu else CPU_BATCH)
    recipe = Recipe(
        minutes=options.minutes,
        steps=options.steps,
        seed=options.seed,
        stream=StreamPlan(seed=options.seed, batch=batch, chunk=CHUNK, window=12, replay=2.0),
        rate=options.rate,
        bfloat16=(gpu or has_bfloat16()) if options.bfloat16 is None else options.bfloat16,
        validate_every=options.validate_every or (GPU_VALIDATE if gpu else CPU_VALIDATE),
    )
    task = VolumeTask(
        source,
        options.architecture,
        options.size,
        batch if gpu else _cpu_piece(options.size),
        options.device,
        options.compiled,
    )
    workers = options.workers or (max(1, (os.cpu_count() or 2) - 1) if gpu else 1)
    try:
        trainer = VolumeTrainer(recipe, options.folder, task, workers)
    except (RuntimeError, AssertionError) as error:
        raise BackendUnavailableError(
            f"device {options.device!r} cannot be used ({error}); try --device cpu"
        ) from error
    if options.out.suffix == ".safetensors":
        task.weights_name = options.out.name
    if options.resume and trainer.checkpoint.is_file():
        trainer.resume(trainer.checkpoint)
    else:
        trainer.start_from(_first_weights(options.init, task.network()))
    return trainer


def _first_weights(init: Path | None, net: VolumeNet) -> dict[str, Tensor]:
    """Of a file, or grown from the shipped locator, or random."""
    if init:
        return load_volume_net(init)[0].state_dict()
    locator = load_locator()[0]
    if can_grow(net, locator):
        grow_from_locator(net, locator)
    return net.state_dict()


def train_volumes(options: VolumeOptions, on_progress: OnProgress | None = None) -> VolumeTrainer:
    """Train the network for volumes; checkpoint, weights and metrics are left in a folder.

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
    InputError, BackendUnavailableError, UnreadableFileError
        As `volume_trainer` does.
    """
    if options.on_gpu:
        torch.backends.cudnn.benchmark = True  # all batches have one shape
    else:
        torch.set_num_threads(1)  # more wait for each other
    trainer = volume_trainer(options)

    count = VALIDATED if options.validation is None else options.validation

    def validate(net: Any) -> dict[str, float]:
        return validate_volumes(net, trainer.task, trainer.half, count)

    trainer.run(on_progress, validate if count else None)
    return trainer
