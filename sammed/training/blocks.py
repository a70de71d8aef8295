"""Batches of 3D boxes for the locator, and its validation on a fixed set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sammed.imaging.masks import dice
from sammed.models.compact.cubes import BOX_SHARE
from sammed.models.compact.locator_net import Blocks, LocatorNet, block_planes
from sammed.synthesis import torso_slabs
from sammed.synthesis.blocks import BlockSample, draw_blocks
from sammed.synthesis.source import GENERATOR, OF_LABELS, Source
from sammed.training import stream
from sammed.training.corrections import said_of
from sammed.training.validation import SEED

PER_VOLUME = 14
"""Samples drawn from one synthetic volume."""

CLICKS = 3
"""Clicks after which a validation looks again."""


def make_chunk(seed: int, index: int, size: int, source: Source = GENERATOR) -> list[BlockSample]:
    """The samples of one chunk: a function of its arguments alone."""
    return stream.first_samples(lambda n: draw_blocks((seed, index, n), PER_VOLUME, source), size)


def pack(rng: np.random.Generator, samples: list[BlockSample]) -> dict[str, NDArray[Any]]:
    """A batch as plain arrays, each sample turned and mirrored anew."""
    cubes = []
    constants = []
    for sample in samples:
        order = rng.permutation(3)
        flips = tuple(slice(None, None, int(step)) for step in rng.choice((-1, 1), 3))
        cubes.append(
            [c.transpose(order)[flips] for c in (sample.image, sample.inside, sample.target)]
        )
        constants.append((sample.extent[order], sample.voxels[order]))
    image, inside, target = (np.stack([c[i] for c in cubes]) for i in range(3))
    extent, voxels = (np.stack([c[i] for c in constants]) for i in range(2))
    return {"image": image, "inside": inside, "target": target, "extent": extent, "voxels": voxels}


def unpack(arrays: dict[str, NDArray[Any]]) -> tuple[Blocks, Tensor]:
    """The batch that `pack` made: what is shown, and the target (n, s, s, s) float32."""
    tensors = {name: torch.from_numpy(array).float() for name, array in arrays.items()}
    target = tensors.pop("target")
    return Blocks(**tensors), target


def batches(
    plan: stream.StreamPlan, start: int, source: Source = GENERATOR
) -> Iterator[dict[str, NDArray[Any]]]:
    """Packed batches from step ``start`` on, in this process."""
    return stream.drawn(plan, start, partial(make_chunk, source=source), pack)


def block_logits(
    net: LocatorNet, shown: Blocks, half: bool = False, said: Tensor | None = None
) -> Tensor:
    """The locator's answer, (n, s, s, s) float32 logits; ``said`` as `LocatorNet` hears it."""
    with torch.no_grad():
        planes = block_planes(shown).contiguous(memory_format=torch.channels_last_3d)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        logits: Tensor = net(planes) if said is None else net(planes, said)
    return logits.float()


@lru_cache(maxsize=2)
def fixed_batches(
    size: int, source: Source = GENERATOR
) -> tuple[tuple[Blocks, Tensor, list[str]], ...]:
    """The synthetic validation set: what is shown, what is asked for, and what drew it."""
    samples = make_chunk(SEED, 0, size, replace(source, held_back=True))
    rng = np.random.default_rng(SEED)
    parts = [samples[i : i + 32] for i in range(0, size, 32)]
    return tuple((*unpack(pack(rng, part)), [_origin(s.kind) for s in part]) for part in parts)


def _origin(kind: str) -> str:
    """What drew a target of that kind."""
    if kind in OF_LABELS:
        return "anatomy"
    return "trunks" if kind in torso_slabs.KINDS else "shapes"


@torch.no_grad()
def validate_blocks(net: Any, size: int = 256, source: Source = GENERATOR) -> dict[str, float]:
    """Mean Dice of 3D boxes on the fixed synthetic set, and of the inscribed ellipsoid.

    Parameters
    ----------
    net
        The locator, in evaluation mode.
    size
        Number of samples.
    source
        Of what the set is made; of label maps, those that are not trained on.

    Returns
    -------
    dict
        ``block`` and ``block_ellipsoid`` of all samples, ``block_clicked`` after `CLICKS` clicks
        into the errors of the answer; where they are of several origins also
        ``block_shapes``, ``block_anatomy`` and ``block_trunks``: of the generator's objects, of
        those of label maps and of drawn trunks.
    """
    scores, floors, clicked, origins = [], [], [], list[str]()
    rng = np.random.default_rng(SEED)
    for shown, target, drawn_by in fixed_batches(size, source):
        logits = block_logits(net, shown)
        floor = inscribed_ellipsoid(target.shape[-1])
        origins += drawn_by
        told = [
            said_of(rng, answer, wanted, voxels, CLICKS)
            for answer, wanted, voxels in zip(logits, target > 0, shown.voxels, strict=True)
        ]
        after = block_logits(net, shown, said=torch.stack(told))
        for answer, again, wanted in zip(logits > 0, after > 0, target > 0, strict=True):
            scores.append(dice(answer.numpy(), wanted.numpy()))
            clicked.append(dice(again.numpy(), wanted.numpy()))
            floors.append(dice(floor, wanted.numpy()))
    measured = {
        "block": float(np.mean(scores)),
        "block_clicked": float(np.mean(clicked)),
        "block_ellipsoid": float(np.mean(floors)),
    }
    if source != GENERATOR:
        for origin in sorted(set(origins)):
            of_it = np.array(origins) == origin
            measured[f"block_{origin}"] = float(np.mean(np.array(scores)[of_it]))
    return measured


def inscribed_ellipsoid(size: int) -> NDArray[np.bool_]:
    """The ellipsoid that fills the 3D box on its cube, (size, size, size) bool."""
    axis = ((np.arange(size) + 0.5) / size * 2 - 1) / BOX_SHARE
    square = axis**2
    total = square[:, None, None] + square[None, :, None] + square[None, None, :]
    return np.asarray(total <= 1)
