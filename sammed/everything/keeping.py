"""Which of many proposals stay, in which order, and which is a part of which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sammed.everything.candidates import Candidate
from sammed.everything.regions import Region
from sammed.imaging.boxes import Box3D
from sammed.imaging.masks import border_step

SAME = 0.65
"""Two masks with a larger IoU are one thing: the one with the higher score stays."""

PART = 0.85
"""Of which so much lies in a larger thing is a part of that."""

LARGER = 1.3
"""By so much at least."""

LEAST_STEP = 0.25
"""Step across the border, in deviations of the voxels on both sides."""

LAG = 3
"""Voxels apart: noise knows nothing of itself there, even if it was smoothed a little."""

LEAST_LIKE_ITSELF = 0.1
"""Correlation of an image with itself `LAG` voxels on, below which it is noise."""

EVEN = 1e-4
"""Deviation of brightness in [0, 1] below which all is of one value, but for rounding."""

SEEN_VOXELS = 2
"""Voxels on both sides of a border that are looked at."""


def is_kept(region: Region, kept: Sequence[Region]) -> bool:
    """Whether a region is another thing than all those that are kept already.

    By masks, not by boxes: what lies in a larger thing, as a lesion in an organ, is another.
    """
    return all(not _may_be_one(region, other) or region.iou(other) <= SAME for other in kept)


def _may_be_one(a: Region, b: Region) -> bool:
    return min(a.size, b.size) > SAME * max(a.size, b.size)


def parents(regions: Sequence[Region]) -> list[int]:
    """Index of the smallest larger region that each is a part of, -1 if there is none.

    What lies in a hole of a region, as a cyst that an organ's mask leaves out, is a part of it.
    """
    found = []
    for n, region in enumerate(regions):
        larger = [
            (other.size, m)
            for m, other in enumerate(regions)
            if m != n
            and other.size >= LARGER * region.size
            and region.share_in(other.filled) >= PART
        ]
        found.append(min(larger)[1] if larger else -1)
    return found


def step_across(image: NDArray[np.float32], region: Region) -> float:
    """How clear the border of a region is: the largest step of all channels.

    Parameters
    ----------
    image : (c, z, y, x)
        Not smoothed.
    region
        On its grid.
    """
    shape = image.shape[1:]
    low = [max(v - SEEN_VOXELS, 0) for v in region.block.low]
    high = [min(v + SEEN_VOXELS, n) for v, n in zip(region.block.high, shape, strict=True)]
    around = Box3D(*low, *high)
    mask = np.zeros(around.shape, bool)
    mask[region.block.slices_in(around)] = region.mask
    if 1 in shape:
        axis = shape.index(1)
        flat = np.take(mask, 0, axis)
        return max(border_step(np.take(c[around.slices], 0, axis), flat) for c in image)
    return max(border_step(c[around.slices], mask) for c in image)


def is_noise(image: NDArray[np.float32], area: NDArray[np.bool_]) -> bool:
    """Whether no channel shows anything but noise: it is unlike itself a few voxels on.

    Parameters
    ----------
    image : (c, z, y, x)
        Not smoothed.
    area : (z, y, x) bool
        Where.
    """
    lagged = [axis for axis in range(3) if area.shape[axis] > 2 * LAG]
    alike = [_like_itself(c, area, axis) for c in image for axis in lagged]
    return max(alike, default=0.0) < LEAST_LIKE_ITSELF


def _like_itself(values: NDArray[np.float32], area: NDArray[np.bool_], axis: int) -> float:
    here, there = [slice(None)] * 3, [slice(None)] * 3
    here[axis], there[axis] = slice(None, -LAG), slice(LAG, None)
    both = area[tuple(here)] & area[tuple(there)]
    a, b = values[tuple(here)][both], values[tuple(there)][both]
    if len(a) < 2 or min(a.std(), b.std()) < EVEN:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def for_it(candidate: Candidate, salience: float) -> tuple[float, ...]:
    """What speaks for a candidate besides the model's looks: its chance; of pictures, salience.

    Salience counts twice: where there is one thing to outline, that is the first.

    Parameters
    ----------
    candidate
        With its chance.
    salience
        Of the mask that became of it, or its own.
    """
    return (candidate.chance, *([salience] * 2 if candidate.salience < 1 else []))


def score_of(*measures: float) -> float:
    """One score of several measures in [0, 1]: their geometric mean.

    Examples
    --------
    >>> round(score_of(0.9, 0.4), 2)
    0.6
    """
    return float(np.prod(np.clip(measures, 0, 1)) ** (1 / len(measures)))
