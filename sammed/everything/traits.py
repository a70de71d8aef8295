"""How likely regions are things, by what the dense network sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.everything.coarse import Float
from sammed.everything.regions import Region
from sammed.models.dense.borders import Borders

RING = 3
"""Pixels round a region that its salience is compared with."""


@dataclass(frozen=True)
class Traits:
    """What the dense network says of a region.

    Attributes
    ----------
    contrast
        Chance of a border on its surface, less that within it: 1 of a perfect thing, negative where
        there are more borders in it than round it.
    border_inside
        Mean chance of a border within it.
    thing, thing_around
        Mean chance to be part of a thing, in it and in the voxels beside it.
    nothing
        Mean chance in it to be of no kind that is a thing; 0 if that is not asked.
    surface
        Voxels of it that lie at its surface.
    """

    contrast: float
    border_inside: float
    thing: float
    thing_around: float
    nothing: float
    surface: int


def traits_of(region: Region, borders: Borders, none: Float | None = None) -> Traits:
    """What the dense network says of a region.

    Parameters
    ----------
    region
        On the coarse grid.
    borders
        From `sammed.everything.learned.learned_borders`.
    none : (z, y, x) float32
        Chance of each voxel to be of no kind that is a thing; ``None``: not asked.
    """
    around, mask = _widened(region, borders.border.shape, 1)
    core = ndimage.binary_erosion(mask, border_value=1)
    rim = ndimage.binary_dilation(mask) & ~mask
    surface = mask & ~core
    chance, thing = borders.border[around], borders.thing[around]
    at_border = max(_mean(chance, surface), _mean(chance, rim))
    inside = _mean(chance, core if core.any() else mask)
    return Traits(
        at_border - inside,
        inside,
        _mean(thing, mask),
        _mean(thing, rim),
        0.0 if none is None else _mean(none[around], mask),
        int(np.count_nonzero(surface)),
    )


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
