"""How likely regions are things, by what the dense network sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.everything.coarse import Float
from sammed.everything.regions import Region
from sammed.models.dense.borders import Borders

RING = 3
"""Pixels round a region that its salience is compared with."""


def contrast_of(region: Region, borders: Borders) -> float:
    """Chance of a border on the surface of a region, less that within it: 1 of a perfect thing.

    Parameters
    ----------
    region
        On the coarse grid.
    borders
        From `sammed.everything.learned.learned_borders`.

    Returns
    -------
    float
        At most 1; negative where there are more borders in the region than round it.
    """
    around, mask = _widened(region, borders.border.shape, 1)
    core = ndimage.binary_erosion(mask, border_value=1)
    rim = ndimage.binary_dilation(mask) & ~mask
    chance = borders.border[around]
    surface = max(_mean(chance, mask & ~core), _mean(chance, rim))
    return surface - _mean(chance, core if core.any() else mask)


def salience_of(region: Region, salient: Float) -> float:
    """How well a region is all of what a person would outline, as the network of pictures sees it.

    The Dice that the region alone is expected to have; or half of how much more salient it is than
    what lies round it, if that is more: of many things that are salient, as glands are, each is.

    Parameters
    ----------
    region
        On the coarse grid.
    salient : (z, y, x) float32
        Chance of each voxel to be salient.
    """
    here = salient[region.block.slices]
    whole = 2 * float(here[region.mask].sum()) / (region.size + float(salient.sum()))
    around, mask = _widened(region, salient.shape, RING)
    ring = ndimage.binary_dilation(mask, iterations=RING) & ~mask
    apart = _mean(salient[around], mask) - _mean(salient[around], ring)
    return max(whole, apart / 2, 0.0)


def _widened(
    region: Region, shape: tuple[int, ...], by: int
) -> tuple[tuple[slice, ...], NDArray[np.bool_]]:
    """A block that is wider by so many voxels, and the region in it."""
    low = [max(v - by, 0) for v in region.block.low]
    high = [min(v + by, n) for v, n in zip(region.block.high, shape, strict=True)]
    mask = np.zeros([b - a for a, b in zip(low, high, strict=True)], bool)
    place = zip(region.block.low, region.block.high, low, strict=True)
    mask[tuple(slice(a - c, b - c) for a, b, c in place)] = region.mask
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True)), mask


def _mean(values: Float, where: NDArray[np.bool_]) -> float:
    return float(values[where].mean()) if where.any() else 0.0
