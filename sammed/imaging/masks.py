"""What is measured of masks alone, or of an image on both sides of a mask's border."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]


def dice(a: Mask, b: Mask) -> float:
    """Dice coefficient of two masks of equal shape, in [0, 1]; 1 if both are empty.

    Dice 1945, doi:10.2307/1932409.

    Examples
    --------
    >>> dice(np.array([True, True, False]), np.array([True, False, False]))
    0.6666666666666666
    """
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 2 * int(np.count_nonzero(a & b)) / total if total else 1.0


def border_step(values: NDArray[np.float32], mask: Mask) -> float:
    """The step across a border, in deviations of the two voxels' width on both sides of it.

    Parameters
    ----------
    values, mask : (z, y, x)
        An image and an object in it.

    Examples
    --------
    >>> values = np.tile(np.array([0, 1, 0, 1, 8, 9, 8, 9], np.float32), (4, 4, 1))
    >>> border_step(values, values > 4)
    16.0
    """
    inner = mask & ~ndimage.binary_erosion(mask, iterations=2)
    outer = ndimage.binary_dilation(mask, iterations=2) & ~mask
    if not inner.any() or not outer.any():
        return 0.0
    spread = float(np.sqrt((values[inner].var() + values[outer].var()) / 2))
    return abs(float(values[inner].mean() - values[outer].mean())) / max(spread, 1e-6)
