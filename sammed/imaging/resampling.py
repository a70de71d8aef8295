"""Linear resampling along one axis as a small matrix; several axes are resampled one by one."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


@lru_cache(maxsize=64)
def shrink_weights(low: float, high: float, n_out: int, n_in: int) -> tuple[Float, int, int]:
    """Triangle-filter weights from pixels ``0 .. n_in`` to ``n_out`` cells of ``[low, high)``.

    Bilinear when magnifying, antialiased when shrinking (as PIL); positions outside the input
    contribute 0. Returns (n_out, used) float32 and the range of inputs used.

    Examples
    --------
    >>> weights, start, stop = shrink_weights(0, 4, 2, 4)
    >>> weights.tolist(), start, stop
    ([[0.375, 0.375, 0.125, 0.0], [0.0, 0.125, 0.375, 0.375]], 0, 4)
    """
    step = (high - low) / n_out
    support = max(1.0, step)
    centres = low + (np.arange(n_out) + 0.5) * step
    first = int(np.floor(low - support)) - 1
    last = int(np.ceil(high + support)) + 1
    positions = np.arange(first, last) + 0.5
    weights = np.maximum(0.0, 1 - np.abs(centres[:, None] - positions[None]) / support)
    weights /= weights.sum(axis=1, keepdims=True)
    start, stop = min(max(first, 0), n_in), min(max(last, 0), n_in)
    used = weights[:, max(start - first, 0) : max(stop - first, 0)]
    return np.ascontiguousarray(used[:, : stop - start], np.float32), start, stop


def bilinear_weights(positions: NDArray[np.floating], n: int) -> Float:
    """(len(positions), n) weights of linear interpolation at continuous indices, clamped.

    Examples
    --------
    >>> bilinear_weights(np.array([0.25, 9.0]), 3).tolist()
    [[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]]
    """
    positions = np.clip(positions, 0, n - 1)
    left = np.minimum(positions.astype(int), max(n - 2, 0))
    share = (positions - left).astype(np.float32)
    weights = np.zeros((len(positions), n), np.float32)
    rows = np.arange(len(positions))
    weights[rows, left] = 1 - share
    weights[rows, np.minimum(left + 1, n - 1)] += share
    return weights
