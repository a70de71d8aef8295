"""Several planes into one object: their mean, its border, what it promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammed.engine.object_volume import NOTHING, NOWHERE, ObjectVolume
from sammed.models.recipe import Border, Fusion
from sammed.views.slices import OUTSIDE_LOGIT


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
        How much each slice counts beside the same place in other planes, by its index along
        ``axis``; relative to each other, not negative.
    """

    volume: ObjectVolume
    axis: int
    weights: Mapping[int, float]


def weigh_planes(views: Sequence[PlaneView], fusion: Fusion) -> ObjectVolume:
    """Mean of the logits of one object traced in several planes, weighted slice by slice.

    Logits count up to ``fusion.loudest``, so that no plane can shout the others down; a slice that
    was not traced says "no" with the weight ``fusion.untraced``.
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
        line = np.array(
            [view.weights.get(i, fusion.untraced) for i in range(low, high)], np.float32
        )
        shape = [1, 1, 1]
        shape[view.axis] = high - low
        line = line.reshape(shape)
        logits = view.volume.on(block)
        np.clip(logits, -fusion.loudest, fusion.loudest, out=logits)
        total += line * logits
        weight += line
    return ObjectVolume(block, np.asarray(total / weight, np.float16))


def balanced(volume: ObjectVolume, border: Border) -> ObjectVolume:
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
    chance = 1 / (1 + np.exp(-(logits - border.bias) / border.temperature))
    inside = np.cumsum(chance, dtype=np.float64)
    expected = 2 * inside / (np.arange(1, len(logits) + 1) + inside[-1])
    last = int(np.argmax(expected))
    shift = float(np.clip(logits[last : last + 2].mean(), border.lowest, border.highest))
    return ObjectVolume(volume.block, volume.logits - np.float16(shift))


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
