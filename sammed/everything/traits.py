"""How likely regions are things, by the borders that the dense network sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.everything.coarse import Float
from sammed.everything.regions import Region
from sammed.models.dense.borders import Borders


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
    shape = borders.border.shape
    low = [max(v - 1, 0) for v in region.block.low]
    high = [min(v + 1, n) for v, n in zip(region.block.high, shape, strict=True)]
    around = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    mask = np.zeros([b - a for a, b in zip(low, high, strict=True)], bool)
    place = zip(region.block.low, region.block.high, low, strict=True)
    mask[tuple(slice(a - c, b - c) for a, b, c in place)] = region.mask
    core = ndimage.binary_erosion(mask, border_value=1)
    rim = ndimage.binary_dilation(mask) & ~mask
    chance = borders.border[around]
    surface = max(_mean(chance, mask & ~core), _mean(chance, rim))
    return surface - _mean(chance, core if core.any() else mask)


def _mean(values: Float, where: NDArray[np.bool_]) -> float:
    return float(values[where].mean()) if where.any() else 0.0
