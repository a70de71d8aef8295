"""How what segmenters begin with is learned: scenes of which every voxel is known.

The scenes, and what is asked of their voxels, are the dense network's; the network is the one that
``sammed learn`` teaches.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sammed.models.compact.quantization import four_bit
from sammed.models.dense.net import SALIENT
from sammed.models.learned.plan import local_contrast
from sammed.models.learned.pretrained import (
    FLAT,
    SOLID,
    PretrainedArchitecture,
    PretrainedNet,
    read_pretrained,
)
from sammed.synthesis.dense_picture_samples import draw_slices
from sammed.synthesis.dense_samples import UNKNOWN, draw_dense
from sammed.synthesis.source import GENERATOR, Source, mapped
from sammed.training.dense_pictures import SALIENT_WEIGHT, salient_loss
from sammed.training.dense_task import (
    WEIGHTS,
    Arrays,
    DenseTask,
    Draw,
    as_tensors,
    dense_loss,
    fixed_batches,
)
from sammed.training.dense_trainer import (
    CHUNK,
    COLUMNS,
    PICTURE_CHUNK,
    PICTURE_WINDOW,
    REPLAY,
    REPORT_EVERY,
    VALIDATED,
    WINDOW,
)
from sammed.training.stream import StreamPlan
from sammed.training.trainer import OnProgress, Recipe, Trainer

SMALLEST_SD = 0.02
"""Of brightness, by which a patch is divided."""

UNEVEN = 0.3
"""Share of the slices that are shown without what is standardised locally, as CT is later."""

BRIGHTER, SHIFTED = 0.25, 0.4
"""How much brightness is changed: spread of the logarithm of its factor, and of what is added."""


class SolidTask(DenseTask):
    """What segmenters of solid patches begin with."""

    weights_name = "solid.safetensors"
    beginning: ClassVar[PretrainedArchitecture] = SOLID

    def __init__(self, source: Source = GENERATOR) -> None:
        self.source, self.tag = source, self.beginning.tag

    @property
    def draw(self) -> Draw:
        """What draws its samples."""
        return draw_dense

    def network(self) -> Any:
        """A network with random weights."""
        return PretrainedNet(self.beginning)

    def loss(
        self, net: Any, arrays: Arrays, rng: np.random.Generator, half: bool
    ) -> tuple[Tensor, dict[str, float], int]:
        """Entropy and Dice of things and borders, squared error of depths, entropy of kinds."""
        net.train()
        batch = as_tensors(arrays)
        image = self.shown(batch, rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits, kinds = net(image)
        loss, parts = self._loss(logits.float(), None if kinds is None else kinds.float(), batch)
        return loss, {k: float(v.detach()) for k, v in parts.items()}, len(logits)

    def shown(self, batch: dict[str, Tensor], rng: np.random.Generator | None) -> Tensor:
        """A batch as the network sees it, (n, channels, ...); jolted by ``rng``, if one is given.

        Brightness is standardised within the image, as a learned model's plan does it with scans.
        """
        inside = batch["inside"][:, None]
        image = batch["image"]
        image = (image[:, None] if image.ndim == inside.ndim - 1 else image[:, :1]) * inside
        axes = tuple(range(1, image.ndim))
        count = inside.sum(axes, keepdim=True).clamp_min(1)
        mean = image.sum(axes, keepdim=True) / count
        variance = ((image - mean).square() * inside).sum(axes, keepdim=True) / count
        image = (image - mean) / (variance.sqrt() + SMALLEST_SD)
        if rng is not None:
            shape = (len(image), *[1] * (image.ndim - 1))
            factor, added = rng.normal(0, BRIGHTER, shape), rng.normal(0, SHIFTED, shape)
            image = image * torch.from_numpy(np.exp(factor)).float()
            image = image + torch.from_numpy(added).float()
        return image * inside

    def _loss(
        self, logits: Tensor, kinds: Tensor | None, batch: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        loss, parts = dense_loss(logits, batch)
        kind = batch["kind"].long()
        known = kind != UNKNOWN
        parts["kind"] = torch.zeros(())
        if kinds is not None and known.any():
            coarse = torch.where(known, kind, -1)[:, ::2, ::2, ::2]
            if (coarse >= 0).any():
                parts["kind"] = functional.cross_entropy(kinds, coarse, ignore_index=-1)
        return loss + WEIGHTS["kind"] * parts["kind"], parts


class FlatTask(SolidTask):
    """What segmenters of slices and pictures begin with."""

    weights_name = "flat.safetensors"
    beginning = FLAT

    @property
    def draw(self) -> Draw:
        """What draws its samples."""
        return draw_slices

    def shown(self, batch: dict[str, Tensor], rng: np.random.Generator | None) -> Tensor:
        """Brightness, and what is standardised locally; of some slices alone the first."""
        look = self.beginning.look
        plain = super().shown(batch, None)
        local = torch.from_numpy(
            np.concatenate([local_contrast(one.numpy()[:, None], look) for one in plain])
        )
        if rng is not None:
            local = local * torch.from_numpy(rng.random((len(local), 1, 1, 1)) >= UNEVEN).float()
        return torch.cat((super().shown(batch, rng), local), 1)

    def _loss(
        self, logits: Tensor, kinds: Tensor | None, batch: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        loss, parts = dense_loss(logits[:, :-1], batch)
        parts[SALIENT] = salient_loss(logits[:, -1], batch)
        return loss + SALIENT_WEIGHT * parts[SALIENT], parts


@torch.no_grad()
def validate_pretrained(net: Any, task: SolidTask, size: int = VALIDATED) -> dict[str, float]:
    """Dice of things and borders on the fixed synthetic set.

    Parameters
    ----------
    net
        In evaluation mode.
    task
        That it was trained for.
    size
        Number of samples.
    """
    sums = {name: np.zeros(2) for name in ("thing", "border", "inner")}
    for arrays in fixed_batches(task.draw, size, task.source):
        batch = as_tensors(arrays)
        logits, _ = net(task.shown(batch, None))
        for index, name in enumerate(sums):
            found, target = (logits[:, index] > 0) * batch["inside"], batch[name]
            both = float((found * target).sum())
            sums[name] += 2 * both, float((found + target * batch["inside"]).sum())
    return {name: float(both / max(total, 1e-9)) for name, (both, total) in sums.items()}


@dataclass(frozen=True)
class PretrainingOptions:
    """What a run is told.

    Attributes
    ----------
    out
        Folder of the run.
    flat
        For slices and pictures, not for solid patches.
    minutes, steps
        When to stop.
    resume
        Go on from the run's checkpoint, if there is one.
    init
        Weights file to start from; ``None``: random weights.
    label_maps
        Folder of label maps, as they are or prepared.
    batch, rate, seed, validate_every
        As on the command line; ``batch`` 0: two patches, or four slices.
    validation
        Samples in a validation; 0: none is made.
    """

    out: Path = Path("runs/segmenter")
    flat: bool = False
    minutes: float = 60.0
    steps: int | None = None
    resume: bool = False
    init: Path | None = None
    label_maps: Path | None = None
    batch: int = 0
    rate: float = 2e-3
    seed: int = 0
    validate_every: float = 10.0
    validation: int = VALIDATED


def train_segmenter(options: PretrainingOptions, on_progress: OnProgress | None = None) -> Trainer:
    """Train what segmenters begin with; checkpoint, weights and metrics are left in a folder.

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
    InputError
        If there are no label maps.
    WeightsNotFoundError, UnreadableFileError, WeightsMismatchError
        If what is started from, or the checkpoint, is missing or of another network.
    """
    torch.set_num_threads(1)  # more wait for each other
    source = mapped(options.label_maps)
    task = FlatTask(source) if options.flat else SolidTask(source)
    chunk, window = (PICTURE_CHUNK, PICTURE_WINDOW) if options.flat else (CHUNK, WINDOW)
    batch = options.batch or (4 if options.flat else 2)
    recipe = Recipe(
        minutes=options.minutes,
        steps=options.steps,
        seed=options.seed,
        stream=StreamPlan(options.seed, batch, chunk, window, REPLAY),
        rate=options.rate,
        average=0.995,
        bfloat16=None,
        validate_every=options.validate_every,
    )
    trainer = Trainer(recipe, options.out, task)
    trainer.columns, trainer.report_every = COLUMNS, REPORT_EVERY
    trainer.kernels = four_bit  # a beginning needs no more
    if options.resume and trainer.checkpoint.is_file():
        trainer.resume(trainer.checkpoint)
    elif options.init:
        trainer.start_from(read_pretrained(options.init, task.beginning))

    def validate(net: Any) -> dict[str, float]:
        return validate_pretrained(net, task, options.validation)

    trainer.run(on_progress, validate if options.validation else None)
    return trainer
