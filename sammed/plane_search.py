"""In which plane a 3D box is traced: the one in which the model is surest of what it finds.

A 3D box outlines the object in three planes. Round some objects one outline fits much better than
the others, and in some planes a chain goes astray; the mean predicted IoU of the traced slices,
times the probability that the object is there, tells which. Only for models whose slices are cheap.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sammed.anchors import check_ranges
from sammed.errors import PromptError
from sammed.prompts import ObjectPrompts
from sammed.tracing import Trace

LEAST_SLICES = 3
"""A plane in which the 3D box has fewer slices is not tried."""

MOST_STRETCH = 3.0
"""Nor is one whose pixels are longer than wide by more than this."""

HABIT = 0.02
"""By how much the model must be surer in another plane than in the usual one."""


def planes_to_try(
    obj: ObjectPrompts, usual: int, spacing: tuple[float, float, float]
) -> tuple[int, ...]:
    """Canonical axes across which an object may be traced, the usual one first.

    Parameters
    ----------
    obj
        Its prompts; only 3D boxes, perhaps with points, leave a choice.
    usual
        The axis that the object has otherwise.
    spacing
        Voxel size (z, y, x) in mm.
    """
    if not obj.blocks or obj.boxes or obj.mask is not None or obj.propagate != "auto":
        return (usual,)
    return (usual, *(a for a in range(3) if a != usual and _fits(obj, a, spacing)))


def surest_plane(traces: Mapping[int, Trace], usual: int) -> int:
    """The axis whose trace the model is surest of; the usual one if about as sure."""

    def sureness(axis: int) -> float:
        results = [result for result in traces[axis].slices.values() if result.area]
        found = [result.predicted_iou * result.present for result in results]
        return float(np.mean(found)) + (HABIT if axis == usual else 0.0) if found else 0.0

    return max(traces, key=sureness, default=usual)


def _fits(obj: ObjectPrompts, axis: int, spacing: tuple[float, float, float]) -> bool:
    height, width = (mm for a, mm in enumerate(spacing) if a != axis)
    if max(height, width) > MOST_STRETCH * min(height, width):
        return False
    if any(high - low < LEAST_SLICES for low, high in (b.range(axis) for b in obj.blocks)):
        return False
    try:
        check_ranges(obj, axis)
    except PromptError:  # a point beside the box in that plane
        return False
    return True
