"""Slices that lie unevenly or sheared, brought to an orthogonal grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sammed.io.dicom.images.arrangement import Arrangement


def resample(
    slices: NDArray[np.generic], arrangement: Arrangement, fill: float
) -> NDArray[np.generic]:
    """Put slices onto the grid of their arrangement.

    Each slice is first shifted within its plane, then slices of the grid that none lies on are
    mixed from the two next to them; both linearly. A slice whose pixels lie on the grid is copied
    exactly.

    Parameters
    ----------
    slices : (n, rows, columns) or (n, rows, columns, 3)
        As acquired, sorted.
    arrangement
        With ``offsets``: the place (k, j, i) of each slice's first pixel on the grid.
    fill
        Value where no slice reaches.

    Returns
    -------
    (k, j, i) or (k, j, i, 3), same dtype
    """
    offsets = arrangement.offsets
    if offsets is None:
        return slices
    depth, rows, columns = arrangement.shape
    grid = np.empty((depth, rows, columns, *slices.shape[3:]), slices.dtype)
    places = offsets[:, 0]
    shifted = _Shifted(slices, offsets, (rows, columns), fill)
    for k in range(depth):
        above = min(int(np.searchsorted(places, k - 1e-6)), len(places) - 1)
        below = max(above - 1, 0)
        nearest = above if abs(places[above] - k) <= abs(places[below] - k) else below
        if abs(places[nearest] - k) < 0.02 or above == below:
            grid[k] = shifted[nearest]
            continue
        part = float((k - places[below]) / (places[above] - places[below]))
        part = min(max(part, 0.0), 1.0)
        grid[k] = _mix(shifted[below], shifted[above], part)
    return grid


class _Shifted:
    """The slices on the enlarged canvas, two of them kept."""

    def __init__(
        self,
        slices: NDArray[np.generic],
        offsets: NDArray[np.float64],
        size: tuple[int, int],
        fill: float,
    ) -> None:
        self.slices, self.offsets, self.size, self.fill = slices, offsets, size, fill
        self._kept: dict[int, NDArray[np.generic]] = {}

    def __getitem__(self, s: int) -> NDArray[np.generic]:
        if s not in self._kept:
            self._kept = {n: a for n, a in self._kept.items() if n >= s - 1}
            _, row, column = self.offsets[s]
            self._kept[s] = shift(self.slices[s], float(row), float(column), self.size, self.fill)
        return self._kept[s]


def shift(
    image: NDArray[np.generic],
    row: float,
    column: float,
    size: tuple[int, int],
    fill: float,
) -> NDArray[np.generic]:
    """An image put onto a larger canvas with its first pixel at a continuous place.

    Parameters
    ----------
    image : (rows, columns) or (rows, columns, 3)
        What to move.
    row, column
        Place of its first pixel on the canvas, px, at least 0.
    size
        Rows and columns of the canvas.
    fill
        Value outside of the image; pixels at its rim are never mixed with it.

    Returns
    -------
    Array of the canvas's size, same dtype
        Linear between pixels; exact for whole shifts.
    """
    row, column = (round(v) if abs(v - round(v)) < 1e-6 else v for v in (row, column))
    canvas = np.full((*size, *image.shape[2:]), fill, image.dtype)
    moved = _shift_axis(_shift_axis(image, row % 1, 0), column % 1, 1)
    r, c = int(np.floor(row)), int(np.floor(column))
    rows, columns = min(moved.shape[0], size[0] - r), min(moved.shape[1], size[1] - c)
    canvas[r : r + rows, c : c + columns] = moved[:rows, :columns]
    return canvas


def _shift_axis(image: NDArray[np.generic], part: float, axis: int) -> NDArray[np.generic]:
    """Shift by a part of a pixel; one pixel longer, its ends repeat the rim."""
    if not part:
        return image
    width = [(1, 1) if a == axis else (0, 0) for a in range(image.ndim)]
    padded = np.moveaxis(np.pad(image, width, mode="edge"), axis, 0)
    return np.moveaxis(_mix(padded[1:], padded[:-1], part), 0, axis)


def _mix(a: NDArray[np.generic], b: NDArray[np.generic], part: float) -> NDArray[np.generic]:
    mixed = (1 - part) * a.astype(np.float32) + part * b.astype(np.float32)
    return (np.rint(mixed) if a.dtype.kind in "iu" else mixed).astype(a.dtype)
