"""Predicted beside true IoU of every slice of a result."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from sammed.evaluation.results import csv_text

Bool3 = NDArray[np.bool_]

PredictedSlice = tuple[range, float]
"""Slices of the reference's grid (one, unless protocol D made them thicker), predicted IoU."""


@dataclass(frozen=True)
class SliceScore:
    """One slice of a result.

    Attributes
    ----------
    case, object, model, protocol, variant, seed, step
        Of which result, see `sammed.evaluation.results.Row`.
    plane
        In which the object was traced.
    slice
        Canonical index on the grid of the reference, as in the column ``stops`` of the results;
        the first of those that a slice of protocol D's thicker ones stands for.
    predicted_iou
        As the engine reports it to the user.
    true_iou
        Of the result's cross-section with that of the reference.
    """

    case: str
    object: str
    model: str
    protocol: str
    variant: str
    seed: int
    step: int
    plane: str
    slice: int
    predicted_iou: float
    true_iou: float


def true_ious(
    predicted: Iterable[PredictedSlice], mask: Bool3, reference: Bool3, axis: int
) -> list[tuple[int, float, float]]:
    """The true IoU of each slice for which one was predicted.

    Parameters
    ----------
    predicted
        Slices across ``axis``, and what was predicted of them.
    mask, reference : (z, y, x) bool
        The result and the reference.
    axis
        Canonical axis across which the object was traced.

    Returns
    -------
    list of (slice, predicted IoU, true IoU)
        Without slices on which both are empty: nothing can be right or wrong there.

    Examples
    --------
    >>> mask, reference = np.zeros((2, 3, 1, 4), bool)
    >>> mask[1, 0, :3] = reference[1, 0, 1:] = reference[2] = True
    >>> true_ious([(range(0, 1), 0.9), (range(1, 2), 0.7)], mask, reference, 0)
    [(1, 0.7, 0.5)]
    """
    others = tuple(a for a in range(3) if a != axis)
    common, either = ((m.sum(axis=others)) for m in (mask & reference, mask | reference))
    return [
        (at.start, iou, float(common[at].sum() / area))
        for at, iou in ((slice(s.start, s.stop), iou) for s, iou in predicted)
        if (area := either[at].sum()) and math.isfinite(iou)
    ]


def to_csv(scores: Iterable[SliceScore]) -> str:
    """Slices as CSV text with a header; numbers to six digits."""
    return csv_text([f.name for f in fields(SliceScore)], (vars(s).values() for s in scores))
