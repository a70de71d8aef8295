"""How the dense network of pictures learns: as that of volumes does, and what is salient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sammed.models.dense.net import OF_PICTURES, SALIENT, DenseArchitecture, DenseNet, dense_planes
from sammed.synthesis.dense_picture_samples import PictureSample, draw_pictures
from sammed.synthesis.source import GENERATOR, Source
from sammed.training import stream
from sammed.training.dense_task import Arrays, dense_loss
from sammed.training.validation import SEED

SALIENT_WEIGHT = 1.0
"""Of the loss of what is salient."""


def make_chunk(seed: int, index: int, size: int, source: Source = GENERATOR) -> list[PictureSample]:
    """The samples of one chunk: a function of its arguments alone."""
    return stream.first_samples(lambda n: draw_pictures((seed, index, n), source), size)


def pack(rng: np.random.Generator, samples: list[PictureSample]) -> Arrays:
    """A batch as plain arrays, each sample turned and mirrored anew."""
    turned = [sample.turned(rng) for sample in samples]
    return {f.name: np.stack([getattr(t, f.name) for t in turned]) for f in fields(PictureSample)}


def batches(plan: stream.StreamPlan, start: int, source: Source = GENERATOR) -> Iterator[Arrays]:
    """Packed batches from step ``start`` on, in this process."""
    return stream.drawn(plan, start, partial(make_chunk, source=source), pack)


class PictureTask:
    """The dense network of pictures, as `sammed.training.task.Task` wants it.

    Parameters
    ----------
    source
        Of the volumes that slices are taken of.
    architecture
        Its shape.
    """

    weights_name = "dense_pictures.safetensors"

    def __init__(
        self, source: Source = GENERATOR, architecture: DenseArchitecture | None = None
    ) -> None:
        self._architecture = architecture or OF_PICTURES
        self.source, self.tag = source, self._architecture.tag

    @property
    def batches(self) -> stream.Batches:
        """Pictures and what each pixel is."""
        return partial(batches, source=self.source)

    def network(self) -> DenseNet:
        """A network with random weights."""
        return DenseNet(self._architecture).to(memory_format=torch.channels_last)

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


def as_tensors(arrays: Arrays) -> dict[str, Tensor]:
    """A batch as the network takes it."""
    return {name: torch.from_numpy(a).float() for name, a in arrays.items()}


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
    return (entropy * known).sum() / known.sum().clamp_min(1) + apart.sum() / told.sum().clamp_min(
        1
    )


@lru_cache(maxsize=2)
def fixed_batches(size: int, source: Source = GENERATOR) -> tuple[Arrays, ...]:
    """The synthetic validation set: pictures that are not trained on."""
    samples = make_chunk(SEED, 0, size, replace(source, held_back=True))
    rng = np.random.default_rng(SEED)
    return tuple(pack(rng, samples[i : i + 8]) for i in range(0, size, 8))


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
    for arrays in fixed_batches(size, source):
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
