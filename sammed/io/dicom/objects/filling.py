"""Outlines of one structure on one slice, as others draw them, become its pixels.

The standard leaves open what several CLOSED_PLANAR outlines of an ROI on a slice mean together
(DICOM PS3.3 C.8.8.6.3). An outline within another one is a hole, one within that an island; those
that overlap in part were drawn to be united; and one that is there twice counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammed.io.dicom.objects.contours import Polygon, fill

Mask = NDArray[np.bool_]

SAME_PX = 0.25
"""Outlines nowhere further from each other are the same one, rounded."""

ROUNDED_PX = 1.0
"""Up to here they are, unless one lies within the other: that is a thin wall."""

WITHIN_SHARE = 0.95
"""An outline lies within another one if this share of its pixels does: holes poke out a little."""

_CHUNK = 1 << 20


@dataclass
class Remarks:
    """How often outlines were not simply filled.

    Attributes
    ----------
    repeated
        Outlines that were there before.
    united
        Outlines that overlap others in part.
    poking
        Holes and islands that leave the outline round them a little.
    empty
        Outlines that enclose no pixel's centre.
    """

    repeated: int = 0
    united: int = 0
    poking: int = 0
    empty: int = 0


def fill_together(
    outlines: Sequence[Polygon], shape: tuple[int, int], remarks: Remarks, *, even_odd: bool = False
) -> Mask:
    """The pixels that the outlines of a structure on a slice enclose together.

    Parameters
    ----------
    outlines : (n, 2) each
        (row, col) in px; each of them by the even-odd rule, so that keyholes come out right.
    shape
        Rows and columns of the slice.
    remarks
        Counts what was found.
    even_odd
        Pixels in an odd number of outlines, whatever these look like (CLOSEDPLANAR_XOR).

    Returns
    -------
    (rows, cols) bool

    Examples
    --------
    >>> def square(low, high):
    ...     return np.array([[low, low], [low, high], [high, high], [high, low]], float) - 0.5
    >>> found = Remarks()
    >>> fill_together([square(1, 6), square(2, 5), square(5, 7)], (7, 7), found).sum()
    np.int64(19)
    >>> found
    Remarks(repeated=0, united=1, poking=0, empty=0)
    """
    kept = _without_repetitions(outlines)
    remarks.repeated += len(outlines) - len(kept)
    masks = [_filled(polygon, shape) for polygon in kept]
    remarks.empty += sum(not mask.any() for mask in masks)
    masks = [mask for mask in masks if mask.any()]
    if len(masks) == 1:
        return masks[0]
    covered = np.zeros(shape, np.uint16)
    for mask in masks:
        covered += mask
    if even_odd:
        return np.asarray(covered % 2 == 1)
    if covered.max(initial=0) <= 1:
        return np.asarray(covered == 1)
    return _joined(masks, remarks)


def _filled(polygon: Polygon, shape: tuple[int, int]) -> Mask:
    """`fill` of one outline, on the rows that it crosses only."""
    mask = np.zeros(shape, bool)
    first = int(np.clip(np.floor(polygon[:, 0].min()), 0, shape[0]))
    last = int(np.clip(np.ceil(polygon[:, 0].max()) + 1, first, shape[0]))
    mask[first:last] = fill([polygon - (first, 0)], (last - first, shape[1]))
    return mask


def _joined(masks: list[Mask], remarks: Remarks) -> Mask:
    """Masks that overlap in part united, then holes and islands by how deep they lie."""
    before = len(masks)
    united = _united(masks)
    remarks.united += before - len(united)
    sizes = [int(np.count_nonzero(mask)) for mask in united]
    order = sorted(range(len(united)), key=lambda i: -sizes[i])
    depths: dict[int, int] = {}
    for place, i in enumerate(order):
        around = [j for j in order[:place] if _within(united[i], united[j], sizes[i])]
        depths[i] = len(around)
        remarks.poking += any((united[i] & ~united[j]).any() for j in around)
    result = np.zeros_like(masks[0])
    for i in sorted(order, key=lambda i: depths[i]):
        if depths[i] % 2:
            result &= ~united[i]
        else:
            result |= united[i]
    return result


def _within(inner: Mask, outer: Mask, size: int) -> bool:
    return int(np.count_nonzero(inner & outer)) >= WITHIN_SHARE * size


def _united(masks: list[Mask]) -> list[Mask]:
    """Masks, with those that overlap and are not within each other made one."""
    united: list[Mask] = []
    for mask in masks:
        new = mask
        while partners := [i for i, other in enumerate(united) if _overlap_in_part(new, other)]:
            for i in reversed(partners):
                new = new | united.pop(i)
        united.append(new)
    return united


def _overlap_in_part(a: Mask, b: Mask) -> bool:
    shared = int(np.count_nonzero(a & b))
    if not shared:
        return False
    return shared < WITHIN_SHARE * min(int(np.count_nonzero(a)), int(np.count_nonzero(b)))


def _without_repetitions(outlines: Sequence[Polygon]) -> list[Polygon]:
    kept: list[Polygon] = []
    for outline in outlines:
        if not any(_same(outline, other) for other in kept):
            kept.append(outline)
    return kept


def _same(a: Polygon, b: Polygon) -> bool:
    """Whether two outlines are one, from wherever and in whichever direction it was drawn."""
    ends = [np.concatenate([p.min(axis=0), p.max(axis=0)]) for p in (a, b)]
    if np.abs(ends[0] - ends[1]).max() > ROUNDED_PX:
        return False
    apart = max(_distances(a, b).max(), _distances(b, a).max())
    if apart <= SAME_PX:
        return True
    nested = _inside(a, b).all() or _inside(b, a).all()
    return bool(apart <= ROUNDED_PX and not nested)


def _distances(points: Polygon, polygon: Polygon) -> NDArray[np.float64]:
    """From each point to the nearest point of a closed polygon, (n,) px."""
    start = polygon
    along = np.roll(polygon, -1, axis=0) - start
    length = np.maximum((along**2).sum(axis=1), 1e-12)
    found = np.empty(len(points))
    step = max(1, _CHUNK // len(polygon))
    for first in range(0, len(points), step):
        offset = points[first : first + step, None] - start
        share = np.clip((offset * along).sum(axis=2) / length, 0, 1)
        gap = offset - share[:, :, None] * along
        found[first : first + step] = np.sqrt((gap**2).sum(axis=2).min(axis=1))
    return found


def _inside(points: Polygon, polygon: Polygon) -> NDArray[np.bool_]:
    """Whether each point lies within a polygon, by the even-odd rule, (n,) bool."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    rise = np.where(end[:, 0] == start[:, 0], 1.0, end[:, 0] - start[:, 0])
    found = np.empty(len(points), bool)
    step = max(1, _CHUNK // len(polygon))
    for first in range(0, len(points), step):
        row, col = points[first : first + step, :1], points[first : first + step, 1:]
        crosses = (start[:, 0] <= row) != (end[:, 0] <= row)
        at = start[:, 1] + (row - start[:, 0]) / rise * (end[:, 1] - start[:, 1])
        found[first : first + step] = (crosses & (at < col)).sum(axis=1) % 2
    return found
