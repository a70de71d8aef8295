"""Smooth random fields on a voxel grid, made by separable matrix products."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_AXIS_STD = (151.0 / 315.0) ** 0.5
"""Root mean square weight of a cubic B-spline row: what one axis takes off the deviation."""


@lru_cache(maxsize=512)
def spline_matrix(size: int, cells: int) -> Array:
    """Cubic B-spline weights from control points to samples.

    Parameters
    ----------
    size
        Number of samples, spread evenly over the cells.
    cells
        Number of spline cells; there are ``cells + 3`` control points.

    Returns
    -------
    weights : (size, cells + 3) float32
        Rows sum to 1.
    """
    position = (np.arange(size) + 0.5) / size * cells
    cell = np.minimum(position.astype(int), cells - 1)
    t = position - cell
    weights = np.zeros((size, cells + 3), np.float32)
    rows = np.arange(size)
    weights[rows, cell] = (1 - t) ** 3 / 6
    weights[rows, cell + 1] = (3 * t**3 - 6 * t**2 + 4) / 6
    weights[rows, cell + 2] = (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6
    weights[rows, cell + 3] = t**3 / 6
    return weights


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int, int], cells: tuple[int, int, int]
) -> Array:
    """A smooth Gaussian field of about unit deviation.

    Parameters
    ----------
    rng
        Source of randomness.
    shape
        Grid (z, y, x) of the field.
    cells
        Number of bumps along each axis, at least 1.

    Returns
    -------
    field : shape float32
    """
    control = rng.standard_normal([c + 3 for c in cells], dtype=np.float32)
    mz, my, mx = (spline_matrix(n, c) for n, c in zip(shape, cells, strict=True))
    field = np.tensordot(mz, control, (1, 0))
    field = np.matmul(np.matmul(my, field), mx.T)
    return np.asarray(field / np.float32(_AXIS_STD**3), np.float32)


class NoisePool:
    """A few noise fields of rising frequency, handed out mirrored at random.

    Drawing a new field for each shape would cost more than the shapes themselves.
    """

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int, int], depth: float) -> None:
        """Make the fields; ``depth`` is the slab's thickness as a fraction of its width."""
        self._rng = rng
        self.frequencies = (2, 3, 5, 8, 13, 21, 34)
        self._fields = [
            smooth_noise(rng, shape, (max(1, min(shape[0], round(f * depth))), f, f))
            for f in self.frequencies
        ]

    def take(self, frequency: float) -> Array:
        """A field with about ``frequency`` bumps across the slab, mirrored at random."""
        index = int(np.argmin([abs(np.log(f / frequency)) for f in self.frequencies]))
        step = [int(s) for s in self._rng.choice((-1, 1), 3)]
        field = self._fields[index][:: step[0], :: step[1], :: step[2]]
        return field if self._rng.random() < 0.5 else -field
