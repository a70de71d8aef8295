"""Regions of like brightness, cut where they are narrow: components of trees of thresholds.

A thing is often joined to others of its brightness by narrow bridges. So the voxels of a range of
brightness are parted into the basins of their distance to the range's border, from which all that
is narrower than twice a radius was taken first; one layer of regions for each range and radius.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.everything.coarse import Coarse, Float, require_skimage
from sammed.everything.layers import Labels

PARTS = (3, 5)
"""Ranges of brightness that hold equally many voxels each."""

RADII = (0.0, 1.0, 2.0, 4.0)
"""What is narrower than twice as many voxels is no bridge; 0 parts nothing."""

SMOOTH = 0.7
"""Deviation in voxels of the filter before thresholds are taken."""


def shells(coarse: Coarse, area: NDArray[np.bool_], check: Callable[[], None]) -> Iterator[Labels]:
    """Labelled layers of the coarse grid, one after the other.

    Parameters
    ----------
    coarse
        The image.
    area : (z, y, x) bool
        Where.
    check
        May raise to stop.
    """
    require_skimage()
    for channel in coarse.image:
        check()
        smooth = ndimage.gaussian_filter(channel, [SMOOTH * s for s in coarse.sigmas])
        for low, high in ranges(smooth[area]):
            check()
            inside = area & (smooth >= low) & (smooth <= high)
            if inside.any():
                yield from _parted(inside, coarse, check)


def ranges(values: Float) -> list[tuple[float, float]]:
    """Where each range of brightness begins and ends; those of no width are left out."""
    found = []
    for parts in PARTS:
        edges = np.quantile(values, np.linspace(0, 1, parts + 1))
        found += [(float(a), float(b)) for a, b in pairwise(edges) if b > a]
    return list(dict.fromkeys(found))


def _parted(
    inside: NDArray[np.bool_], coarse: Coarse, check: Callable[[], None]
) -> Iterator[Labels]:
    from skimage.segmentation import watershed

    least = min(s for s, n in zip(coarse.spacing, coarse.shape, strict=True) if n > 1)
    distance = ndimage.distance_transform_edt(inside, _sampling(coarse, least))
    for radius in RADII:
        check()
        cores, count = ndimage.label(distance > radius)
        if not count:
            return
        if radius:
            cores = watershed(-distance, cores, mask=inside)
        yield np.asarray(cores, np.int32)


def _sampling(coarse: Coarse, least: float) -> list[float]:
    """Voxel sizes in the shortest one's; across a flat image there is no way out."""
    return [s / least if n > 1 else 1e6 for s, n in zip(coarse.spacing, coarse.shape, strict=True)]
