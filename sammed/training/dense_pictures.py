"""How the dense network of pictures learns: as that of volumes does, and what is salient."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sammed.models.dense.net import OF_PICTURES, SALIENT, dense_planes
from sammed.synthesis.dense_picture_samples import draw_pictures
from sammed.synthesis.source import GENERATOR, Source
from sammed.training.dense_task import (
    Arrays,
    DenseTask,
    Draw,
    as_tensors,
    dense_loss,
    fixed_batches,
)

SALIENT_WEIGHT = 1.0
"""Of the loss of what is salient."""


class PictureTask(DenseTask):
    """The dense network of pictures; slices of volumes are among them."""

    weights_name = "dense_pictures.safetensors"
    usual = OF_PICTURES

    @property
    def draw(self) -> Draw:
        """What draws its samples."""
        return draw_pictures

    def loss(
        self, net: nn.Module, arrays: Arrays, rng: np.random.Generator, half: bool
    ) -> tuple[Tensor, dict[str, float], int]:
        """That of volumes, and of what is salient where that is told."""
        del rng
        net.train()
        batch = as_tensors(arrays)
        logits = answer(net, batch, half)
        loss, parts = dense_loss(logits[:, :-1], batch)
        parts[SALIENT] = salient_loss(logits[:, -1], batch)
        loss = loss + SALIENT_WEIGHT * parts[SALIENT]
        return loss, {k: float(v.detach()) for k, v in parts.items()}, len(logits)


def answer(net: nn.Module, batch: dict[str, Tensor], half: bool = False) -> Tensor:
    """The network's logits for a batch, (n, outputs, s, s) float32."""
    with torch.no_grad():
        sides = torch.ones((len(batch["image"]), 2))
        planes = dense_planes(batch["image"], batch["standard"], batch["inside"], sides)
        planes = planes.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        logits: Tensor = net(planes)
    return logits.float()


def salient_loss(logits: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Entropy and Dice of what is salient, within those pictures of which it is told.

    Parameters
    ----------
    logits : (n, s, s)
    batch
        What each pixel is, by name.
    """
    known, target = batch["inside"] * batch["told"], batch[SALIENT]
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    chance = torch.sigmoid(logits) * known
    both = (chance * target).sum((1, 2))
    total = chance.sum((1, 2)) + (target * known).sum((1, 2))
    told = batch["told"].amax((1, 2))
    apart = (1 - (2 * both + 20) / (total + 20)) * told
    mean = (entropy * known).sum() / known.sum().clamp_min(1)
    return mean + apart.sum() / told.sum().clamp_min(1)


@torch.no_grad()
def validate_pictures(net: Any, size: int = 96, source: Source = GENERATOR) -> dict[str, float]:
    """Dice of things, borders, and of what is salient, the mean over pictures that show any.

    Parameters
    ----------
    net
        The network, in evaluation mode.
    size
        Number of pictures.
    source
        Of the volumes that slices are taken of.
    """
    dice: dict[str, list[float]] = {name: [] for name in ("thing", "border", "inner", SALIENT)}
    errors: list[float] = []
    for arrays in fixed_batches(draw_pictures, size, source):
        batch = as_tensors(arrays)
        chance = torch.sigmoid(answer(net, batch))
        inside = batch["inside"]
        for index, name in enumerate(net.architecture.outputs):
            found = chance[:, index]
            if name == "depth":
                errors.append(float(((found - batch[name]).abs() * inside).sum() / inside.sum()))
                continue
            known = inside * batch["told"] if name == SALIENT else inside
            dice[name] += _dice((found > 0.5) * known, batch[name] * known)
    means: dict[str, NDArray[np.float64]] = {k: np.array(v) for k, v in dice.items()}
    return {k: float(v.mean()) if len(v) else 0.0 for k, v in means.items()} | {
        "depth": float(np.mean(errors))
    }


def _dice(found: Tensor, target: Tensor) -> list[float]:
    """Of each picture that shows any."""
    both, total = (found * target).sum((1, 2)), (found + target).sum((1, 2))
    return [float(2 * b / t) for b, t, n in zip(both, total, target.sum((1, 2)), strict=True) if n]
