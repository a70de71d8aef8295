"""Slices into a volume, planes into one, objects into one label map; and the clean-up between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammed.engine.object_volume import NOTHING, NOWHERE, ObjectVolume
from sammed.views.slices import OUTSIDE_LOGIT

LOUDEST = 4.0
"""Logits beyond this count as this where planes are weighed: a probability of 98 %."""

UNTRACED = 1e-5
"""Weight of a slice that a plane's trace did not reach."""

BIAS, TEMPERATURE = 1.5, 2.5
"""Logits of joined planes become probabilities as ``sigmoid((logit - BIAS) / TEMPERATURE)``: they
are too loud, and too large where sure. Chosen on real cases, for the built-in network."""

BORDERS = (-3.0, 2.0)
"""Within these logits an object's border may be moved."""


def fuse_planes(planes: Sequence[ObjectVolume]) -> ObjectVolume:
    """Mean of the logits of one object segmented in several planes."""
    seen = [plane for plane in planes if not plane.block.is_empty]
    if not seen:
        return NOTHING
    block = NOWHERE
    for plane in seen:
        block = block.union(plane.block)
    mean = sum(plane.on(block) for plane in seen) / np.float32(len(seen))
    return ObjectVolume(block, np.asarray(mean, np.float16))


@dataclass(frozen=True, eq=False)
class PlaneView:
    """One object as it was traced in one plane.

    Attributes
    ----------
    volume
        The stacked slices.
    axis
        Across which they lie.
    weights
        How much each slice counts, by index.
    """

    volume: ObjectVolume
    axis: int
    weights: Mapping[int, float]


def weigh_planes(views: Sequence[PlaneView]) -> ObjectVolume:
    """Mean of the logits of one object traced in several planes, weighted slice by slice.

    Logits count up to `LOUDEST`, so that no plane can shout the others down; a slice that was not
    traced says "no" with the weight `UNTRACED`.
    """
    seen = [view for view in views if not view.volume.block.is_empty]
    if not seen:
        return NOTHING
    block = NOWHERE
    for view in seen:
        block = block.union(view.volume.block)
    total = np.zeros(block.shape, np.float32)
    weight = np.zeros(block.shape, np.float32)
    for view in seen:
        low, high = block.range(view.axis)
        line = np.array([view.weights.get(i, UNTRACED) for i in range(low, high)], np.float32)
        shape = [1, 1, 1]
        shape[view.axis] = high - low
        line = line.reshape(shape)
        logits = view.volume.on(block)
        np.clip(logits, -LOUDEST, LOUDEST, out=logits)
        total += line * logits
        weight += line
    return ObjectVolume(block, np.asarray(total / weight, np.float16))


def balanced(volume: ObjectVolume) -> ObjectVolume:
    """The object with its border where the expected Dice is largest.

    A probability of one half is the best border only of an object that is found nearly without
    error; the less sure the model is, the more of the doubtful voxels belong inside (Lipton,
    Elkan and Narayanaswamy 2014, doi:10.1007/978-3-662-44851-9_15). The logits are shifted so that
    the border lies at 0 again.
    """
    known = volume.logits[volume.logits > OUTSIDE_LOGIT]
    if not known.size:
        return volume
    logits = np.sort(known.astype(np.float32))[::-1]
    chance = 1 / (1 + np.exp(-(logits - BIAS) / TEMPERATURE))
    inside = np.cumsum(chance, dtype=np.float64)
    expected = 2 * inside / (np.arange(1, len(logits) + 1) + inside[-1])
    last = int(np.argmax(expected))
    border = float(np.clip(logits[last : last + 2].mean(), *BORDERS))
    return ObjectVolume(volume.block, volume.logits - np.float16(border))


def promised_iou(logits: NDArray[np.floating]) -> float:
    """The IoU that a mask would have if its own probabilities were right, [0, 1].

    Parameters
    ----------
    logits
        Of any shape; > 0 is the mask.
    """
    chance = 1 / (1 + np.exp(-logits.astype(np.float32)))
    inside = logits > 0
    either = float(np.maximum(chance, inside).sum())
    return float(chance[inside].sum()) / either if either > 0 else 0.0
