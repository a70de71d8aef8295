"""Strokes as a view shows them: one soft plane, from which the thinnest stroke does not vanish."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sammed.views.slices import View

SOFTNESS = 1.0
"""Deviation, in cells of the plane, with which a stroke fades beyond the pixels that it passes."""


def stroke_plane(view: View, pixels: NDArray[np.integer], m: int) -> NDArray[np.float32]:
    """How near each cell of a view is to the pixels that strokes pass.

    Each pixel is 1 where it lies in the view, as large as it is seen there, and fades round about.
    So a stroke of single pixels is a solid line where the view magnifies, and still a line where
    many pixels are one cell; an average over cells would lose it there.

    Parameters
    ----------
    view
        What is seen of the slice; may be mirrored.
    pixels : (n, 2) int
        (row, col) of the slice, in any order.
    m
        Cells along each side of the plane, which covers the view's padded square.

    Returns
    -------
    (m, m) float32
        In [0, 1]; 0 without pixels.

    Examples
    --------
    >>> view = View(0, (0.0, 0.0, 40.0, 40.0), (8, 8), 8)
    >>> line = np.array([(21, col) for col in range(10, 30)])
    >>> stroke_plane(view, line, 8)[:, 4].astype(float).round(2).tolist()
    [0.0, 0.03, 0.24, 0.78, 1.0, 0.55, 0.11, 0.01]
    """
    if not len(pixels):
        return np.zeros((m, m), np.float32)
    corners = view.points(np.stack((pixels, np.asarray(pixels) + 1), axis=1)) * (m / view.size)
    near = np.exp(-0.5 * (_gaps(np.sort(corners, axis=1), m) / SOFTNESS) ** 2)
    lines, line = np.unique(np.asarray(pixels)[:, 0], return_inverse=True)
    across = np.zeros((len(lines), m), np.float32)
    np.maximum.at(across, line, near[:, 1])
    down = np.zeros_like(across)
    down[line] = near[:, 0]
    plane = np.zeros((m, m), np.float32)
    for rows, cols in zip(down, across, strict=True):  # pixels of a row share how near rows are
        np.maximum(plane, rows[:, None] * cols, out=plane)
    return plane


def _gaps(corners: NDArray[np.floating], m: int) -> NDArray[np.float32]:
    """Distance of cells' middles from pixels along both axes, (n, 2, m); 0 within them."""
    cells = (np.arange(m) + 0.5)[None, None]
    low, high = corners[:, 0, :, None], corners[:, 1, :, None]
    return np.maximum(np.maximum(low - cells, cells - high), 0).astype(np.float32)
