"""How the dense network learns: patches of synthetic scenes, its loss, its validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from functools import lru_cache, partial
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sammed.models.dense.net import (
    KINDS,
    NO_THING,
    OF_VOLUMES,
    OUTPUTS,
    DenseArchitecture,
    DenseNet,
    dense_planes,
    together,
    unpack,
)
from sammed.models.dense.net import (
    pack as packed,
)
from sammed.synthesis.dense_samples import UNKNOWN, draw_dense
from sammed.synthesis.source import GENERATOR, Source
from sammed.training import stream
from sammed.training.validation import SEED

WEIGHTS = {"thing": 0.3, "border": 1.0, "inner": 0.7, "depth": 1.0, "kind": 0.7}
"""Of the parts of the loss."""

DEPTH_SCALE = 4.0
"""Of the squared error of depths, to be about as large as the others."""

OFTEN = 0.35, 0.05
"""Share of the cells that kinds are learned from: of those that hold a thing, of others, which are
most of a scene."""

Arrays = dict[str, NDArray[Any]]


class Sample(Protocol):
    """A dataclass of arrays: a patch or a picture, and what each of its voxels is."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def turned(self, rng: np.random.Generator) -> Sample:
        """The same, turned and mirrored at random."""


Draw = Callable[[tuple[int, ...], Source], Sequence[Sample]]
"""Draws the samples of one scene or picture; a function of its module, for other processes."""


def make_chunk(draw: Draw, seed: int, index: int, size: int, source: Source) -> list[Sample]:
    """The samples of one chunk: a function of its arguments alone."""
    return stream.first_samples(lambda n: list(draw((seed, index, n), source)), size)


def pack(rng: np.random.Generator, samples: list[Sample]) -> Arrays:
    """A batch as plain arrays, each sample turned and mirrored anew."""
    turned = [sample.turned(rng) for sample in samples]
    return {f.name: np.stack([getattr(t, f.name) for t in turned]) for f in fields(samples[0])}


def batches(draw: Draw, source: Source, plan: stream.StreamPlan, start: int) -> Iterator[Arrays]:
    """Packed batches from step ``start`` on, in this process."""
    return stream.drawn(plan, start, partial(make_chunk, draw, source=source), pack)


class DenseTask:
    """The dense network, as `sammed.training.task.Task` wants it.

    Parameters
    ----------
    source
        Where the scenes come from.
    architecture
        Its shape.
    """

    weights_name = "dense.safetensors"
    usual = OF_VOLUMES

    def __init__(
        self, source: Source = GENERATOR, architecture: DenseArchitecture | None = None
    ) -> None:
        self._architecture = architecture or self.usual
        self.source, self.tag = source, self._architecture.tag

    @property
    def draw(self) -> Draw:
        """What draws its samples."""
        return draw_dense

    @property
    def batches(self) -> stream.Batches:
        """Patches or pictures, and what each voxel is."""
        return partial(batches, self.draw, self.source)

    def network(self) -> DenseNet:
        """A network with random weights."""
        net = DenseNet(self._architecture)
        flat = self._architecture.dims == 2
        return net.to(memory_format=torch.channels_last if flat else torch.channels_last_3d)

    def loss(
        self, net: Any, arrays: Arrays, rng: np.random.Generator, half: bool
    ) -> tuple[Tensor, dict[str, float], int]:
        """Entropy and Dice of things and borders, squared error of depths."""
        net.train()
        batch = as_tensors(arrays)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            features = net.features(planes_of(batch))
            logits = unpack(net.answer(features[0]))
            kind = torch.zeros(())
            if net.kind is not None:
                kind = kind_loss(net.kind, features, batch["kind"], rng)
        loss, parts = dense_loss(logits.float(), batch)
        loss, parts["kind"] = loss + WEIGHTS["kind"] * kind, kind
        return loss, {k: float(v.detach()) for k, v in parts.items()}, len(logits)


def as_tensors(arrays: Arrays) -> dict[str, Tensor]:
    """A batch as the network takes it."""
    return {name: torch.from_numpy(a).float() for name, a in arrays.items()}


@torch.no_grad()
def planes_of(batch: dict[str, Tensor]) -> Tensor:
    """A batch as `DenseNet` takes it."""
    shown = batch["image"][:, None], batch["standard"][:, None], batch["inside"]
    planes = dense_planes(*shown, batch["stretch"])
    return planes.contiguous(memory_format=torch.channels_last_3d)


def dense_loss(logits: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss within the image, and its parts.

    Parameters
    ----------
    logits : (n, len(OUTPUTS), s, s, s)
        Of the network; of pictures without the last axis.
    batch
        What each voxel is, by name.
    """
    inside = batch["inside"]
    count = inside.sum().clamp_min(1)
    parts: dict[str, Tensor] = {}
    for index, name in enumerate(OUTPUTS):
        target, found = batch[name], logits[:, index]
        if name == "depth":
            error = (torch.sigmoid(found) - target).square() * inside
            parts[name] = DEPTH_SCALE * error.sum() / count
            continue
        entropy = functional.binary_cross_entropy_with_logits(found, target, reduction="none")
        parts[name] = (entropy * inside).sum() / count
        if name != "thing":
            chance = torch.sigmoid(found) * inside
            both = (chance * target).flatten(1).sum(1)
            total = (chance.square() + target).flatten(1).sum(1)
            parts[name] = parts[name] + (1 - (2 * both + 8) / (total + 8)).mean()
    loss = sum((WEIGHTS[name] * value for name, value in parts.items()), torch.zeros(()))
    return loss, {"loss": loss.detach()} | {k: v.detach() for k, v in parts.items()}


def kind_loss(
    answer: nn.Conv3d, features: list[Tensor], kind: Tensor, rng: np.random.Generator
) -> Tensor:
    """Entropy of kinds in some of the cells of 2 x 2 x 2 voxels whose kinds are known.

    Parameters
    ----------
    answer
        The network's last layer that answers kinds.
    features
        Of `DenseNet.features`.
    kind : (n, s, s, s)
        Which of `KINDS` a voxel is, or `UNKNOWN`.
    rng
        Chooses the cells.
    """
    cells = packed(kind[:, None]).movedim(1, -1).long()
    organs = ((cells >= NO_THING) & (cells != UNKNOWN)).any(-1)
    known = (cells != UNKNOWN).all(-1)
    share = torch.where(organs, *OFTEN) * known
    taken = torch.from_numpy(rng.random(tuple(share.shape), np.float32)) < share
    if not taken.any():
        return torch.zeros(())
    weight, bias = answer.weight.flatten(1), answer.bias
    rows = functional.linear(together(features).movedim(1, -1)[taken], weight, bias)
    logits = rows.float().unflatten(1, (len(KINDS), -1))
    return functional.cross_entropy(logits, cells[taken])


@lru_cache(maxsize=4)
def fixed_batches(draw: Draw, size: int, source: Source) -> tuple[Arrays, ...]:
    """The synthetic validation set: scenes or pictures that are not trained on."""
    samples = make_chunk(draw, SEED, 0, size, replace(source, held_back=True))
    rng = np.random.default_rng(SEED)
    return tuple(pack(rng, samples[i : i + 8]) for i in range(0, size, 8))


@torch.no_grad()
def validate_dense(net: Any, size: int = 64, source: Source = GENERATOR) -> dict[str, float]:
    """Dice of borders and things, the mean error of depths, the share of right kinds of organs.

    On the fixed synthetic set.

    Parameters
    ----------
    net
        The dense network, in evaluation mode.
    size
        Number of patches.
    source
        Of what the set is made; of label maps, those that are not trained on.
    """
    sums: dict[str, NDArray[np.float64]] = {n: np.zeros(2) for n in (*OUTPUTS, "kind")}
    for arrays in fixed_batches(draw_dense, size, source):
        batch = as_tensors(arrays)
        logits = net(planes_of(batch))
        chance = torch.sigmoid(logits[:, : len(OUTPUTS)])
        inside = batch["inside"]
        if logits.shape[1] > len(OUTPUTS):
            organ = (batch["kind"] >= NO_THING) & (batch["kind"] != UNKNOWN)
            right = logits[:, len(OUTPUTS) :].argmax(1) == batch["kind"]
            sums["kind"] += float(right[organ].sum()), float(organ.sum())
        for index, name in enumerate(OUTPUTS):
            found, target = chance[:, index], batch[name]
            if name == "depth":
                error = ((found - target).abs() * inside).sum()
                sums[name] += float(error), float(inside.sum())
                continue
            hit = (found > 0.5) * inside
            sums[name] += 2 * float((hit * target).sum()), float((hit + target * inside).sum())
    return {name: float(a / max(b, 1e-9)) for name, (a, b) in sums.items()}
