"""Outlines of masks and back: closed polygons in pixel coordinates, (row, col), centres whole.

Outlines run half-way between the pixels inside and the pixels outside, so that filling them at
pixel centres gives back the same mask, to the pixel.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]
"""(n, 2) float64, (row, col); the last point joins the first."""

COLLINEAR_PX = 1e-9


def outline(mask: NDArray[np.bool_]) -> list[Polygon]:
    """Closed polygons round the parts of a mask, one a part.

    A hole is joined to the polygon round it by a channel of no width (the keyhole technique of
    DICOM PS3.3 C.8.8.6.3), so every part is one polygon whatever it encloses.

    Parameters
    ----------
    mask : (rows, cols) bool
        Pixels that touch at a corner only are different parts.

    Returns
    -------
    list of (n, 2) float64
        (row, col) in px.

    Examples
    --------
    >>> mask = np.zeros((3, 3), bool); mask[1, 1] = True
    >>> outline(mask)[0].tolist()
    [[1.0, 0.5], [0.5, 1.0], [1.0, 1.5], [1.5, 1.0]]
    """
    from contourpy import FillType, contour_generator

    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return []
    corner = np.array([rows[0], cols[0]]) - 1
    cropped = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    padded = np.pad(cropped, 1).astype(np.float64)
    generator = contour_generator(z=padded, fill_type=FillType.OuterOffset)
    polygons = []
    for points, offsets in zip(*generator.filled(0.5, 2.0), strict=True):
        rings = [
            points[first : last - 1, ::-1]  # the last point repeats the first
            for first, last in pairwise(offsets)
        ]
        polygons.append(_without_collinear(_keyhole(rings, padded)) + corner)
    return polygons


def fill(polygons: Iterable[Polygon], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels whose centres lie inside of an odd number of polygons.

    So a polygon within another cuts a hole, a third within the second is an island, and the two
    sides of a keyhole's channel cancel. Parts outside of the image are cut off.

    Parameters
    ----------
    polygons : (n, 2) each
        (row, col) in px.
    shape
        Rows and columns of the image.

    Returns
    -------
    (rows, cols) bool

    Examples
    --------
    >>> square = np.array([[0.5, 0.5], [0.5, 2.5], [2.5, 2.5], [2.5, 0.5]])
    >>> fill([square], (4, 4)).astype(int).tolist()
    [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    height, width = shape
    flips = np.zeros((height, width + 1), np.uint8)
    for polygon in polygons:
        rows, cols = _crossings(polygon, height)
        first = np.clip(np.ceil(cols), 0, width).astype(np.intp)
        np.bitwise_xor.at(flips, (rows, first), 1)
    inside = np.bitwise_xor.accumulate(flips, axis=1)
    return inside[:, :width].astype(bool)


def _crossings(polygon: Polygon, height: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Where the polygon's edges cross the lines of pixel centres: row, column."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    low = np.clip(np.ceil(np.minimum(start[:, 0], end[:, 0])), 0, height).astype(np.intp)
    high = np.clip(np.ceil(np.maximum(start[:, 0], end[:, 0])), 0, height).astype(np.intp)
    count = np.maximum(high - low, 0)
    edge = np.repeat(np.arange(len(polygon)), count)
    within = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    rows = low[edge] + within
    rise = end[edge, 0] - start[edge, 0]
    share = (rows - start[edge, 0]) / rise
    return rows, start[edge, 1] + share * (end[edge, 1] - start[edge, 1])


def _keyhole(rings: list[Polygon], mask: NDArray[np.floating]) -> Polygon:
    """Join holes (all rings but the first) to the ring round them.

    The channel goes from a hole's leftmost point along its row to the left until it meets another
    ring, at a vertex of that one. Channels neither cross nor touch anything on their way.
    """
    if len(rings) == 1:
        return rings[0]
    owner = np.concatenate([np.full(len(ring), number) for number, ring in enumerate(rings)])
    points = np.concatenate(rings)
    place = np.concatenate([np.arange(len(ring)) for ring in rings])
    on_row = np.flatnonzero(points[:, 0] == np.round(points[:, 0]))
    on_row = on_row[np.argsort(_key(points[on_row], mask))]
    keys = _key(points[on_row], mask)
    background = np.where(mask > 0, -1, np.arange(mask.shape[1]))
    last_background = np.maximum.accumulate(background, axis=1)
    joints: list[list[tuple[int, Polygon]]] = [[] for _ in rings]
    leftmost = [int(np.argmin(ring[:, 1])) for ring in rings]
    holes = sorted(range(1, len(rings)), key=lambda h: -rings[h][leftmost[h], 1])
    for hole in holes:  # from the right: what hangs on a hole is there before the hole is hung up
        row, col = rings[hole][leftmost[hole]]
        met = np.array([[row, last_background[int(row), int(col)] + 0.5]])
        vertex = on_row[np.searchsorted(keys, _key(met, mask)[0])]
        whole = _spliced(rings[hole], joints[hole])
        begin = int(np.argmin(whole[:, 1]))
        joints[owner[vertex]].append((int(place[vertex]), np.roll(whole, -begin, axis=0)))
    return _spliced(rings[0], joints[0])


def _key(points: Polygon, mask: NDArray[np.floating]) -> NDArray[np.intp]:
    """A number for each crossing of a row, from the pixel on its left."""
    whole = points.astype(np.intp)
    return whole[:, 0] * mask.shape[1] + whole[:, 1]


def _spliced(ring: Polygon, joints: list[tuple[int, Polygon]]) -> Polygon:
    """The ring with a visit to each joined hole: there, round it, and back on the same way."""
    pieces, done = [], 0
    for at, hole in sorted(joints, key=lambda joint: joint[0]):
        pieces += [ring[done : at + 1], hole, hole[:1]]
        done = at
    return np.concatenate([*pieces, ring[done:]])


def _without_collinear(polygon: Polygon) -> Polygon:
    """Drop points on a straight way on; where it turns back (a channel's end) they stay."""
    before = polygon - np.roll(polygon, 1, axis=0)
    after = np.roll(polygon, -1, axis=0) - polygon
    cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    straight = (np.abs(cross) < COLLINEAR_PX) & ((before * after).sum(axis=1) > 0)
    return polygon[~straight]
