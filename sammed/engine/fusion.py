"""Several planes into one object: their mean, its border, its doubt, what it promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sammed.engine.object_volume import NOTHING, NOWHERE, ObjectVolume
from sammed.imaging.boxes import Box3D
from sammed.imaging.masks import dice
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
    logits = np.empty(block.shape, np.float16)
    for z in range(block.z0, block.z1):  # one slice at a time stays in the processor's cache
        logits[z - block.z0] = _weighed(seen, replace(block, z0=z, z1=z + 1), fusion)[0]
    return ObjectVolume(block, logits)


def _weighed(views: Sequence[PlaneView], block: Box3D, fusion: Fusion) -> NDArray[np.float32]:
    """The weighted mean of their logits on a block."""
    total = np.zeros(block.shape, np.float32)
    weight = np.zeros(block.shape, np.float32)
    for view in views:
        low, high = block.range(view.axis)
        line = np.array(
            [view.weights.get(i, fusion.untraced) for i in range(low, high)], np.float32
        )
        shape = [1, 1, 1]
        shape[view.axis] = high - low
        line = line.reshape(shape)
        logits = view.volume.on(block)
        np.clip(logits, -fusion.loudest, fusion.loudest, out=logits)
        logits *= line
        total += logits
        weight += line
    total /= weight
    return total


def balanced(volume: ObjectVolume, border: Border) -> ObjectVolume:
    """The object with its border where the expected Dice is largest.

    A probability of one half is the best border only of an object that is found nearly without
    error; the less sure the model is, the more of the doubtful voxels belong inside (Lipton,
    Elkan and Narayanaswamy 2014, doi:10.1007/978-3-662-44851-9_15). The logits are shifted so that
    the border lies at 0 again. Voxels of one logit are in or out together, so they are counted
    rather than sorted.
    """
    bits = np.bincount(volume.logits.view(np.uint16).ravel(), minlength=1 << 16)
    logits = np.arange(1 << 16).astype(np.uint16).view(np.float16).astype(np.float32)
    known = np.flatnonzero((bits > 0) & (logits > OUTSIDE_LOGIT))
    if not known.size:
        return volume
    known = known[np.argsort(-logits[known])]
    logits, count = logits[known], bits[known]
    chance = 1 / (1 + np.exp(-(logits - border.bias) / border.temperature))
    inside = np.cumsum(count * chance, dtype=np.float64)
    expected = 2 * inside / (np.cumsum(count) + inside[-1])
    last = int(np.argmax(expected))
    shift = float(np.clip(logits[last : last + 2].mean(), border.lowest, border.highest))
    return ObjectVolume(volume.block, volume.logits - np.float16(shift))


def within_doubt(
    volume: ObjectVolume, seen: ObjectVolume, views: Sequence[PlaneView], block: Box3D
) -> ObjectVolume:
    """An object that loses no more of what its planes show than they leave in doubt.

    Planes that err independently are twice as far from each other as from the truth, and their mean
    is nearer to it than each of them. So what else is known of the object (how it looks as a whole,
    where the expected Dice is largest, its box) may take away half of the planes' mean distance,
    which is 1 - Dice: much if they are unsure, nearly nothing if they agree. What it adds is not
    limited: of an unsure object all planes may show the core alone.

    Parameters
    ----------
    volume
        The object with all that is known of it.
    seen
        The mean of its planes alone, on the same block.
    views
        Its planes. Fewer than two that show it do not tell how much is in doubt.
    block
        The 3D box, in which planes are compared.

    Returns
    -------
    ObjectVolume
        ``volume``; if it has lost more, nowhere below the field as far on the way from ``seen`` to
        it as may be.
    """
    masks = [mask for view in views if (mask := view.volume.mask_on(block)).any()]
    apart = [1 - dice(a, b) for a, b in combinations(masks, 2)]
    kept = volume.mask_on(seen.block)
    lost = seen.mask & ~kept
    if not apart or not lost.any():
        return volume
    start, end = seen.logits.astype(np.float32), volume.on(seen.block)
    when = start[lost] / (start[lost] - end[lost])  # shares of the way
    when.sort()
    count = np.arange(1, len(when) + 1)
    distance = count / (2 * np.count_nonzero(seen.mask) - count)
    allowed = int(np.searchsorted(distance, np.mean(apart) / 2, side="right"))
    if allowed == len(when):
        return volume
    share = np.concatenate([[0], when])[allowed : allowed + 2].mean()
    start -= end
    start *= 1 - share  # how far before its end the way is held
    end += np.maximum(start, 0, out=start)
    return ObjectVolume(seen.block, end.astype(np.float16))


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
