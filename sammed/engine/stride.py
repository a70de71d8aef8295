"""Propagation that encodes every N-th slice and fills the rest in between.

A coarse walk visits the slices whose index is a multiple of the stride, the same ones for every
object, so that objects share their encodes. Between two decoded masks that agree, the masks in
between are interpolated by signed distance (Raya and Udupa 1990, doi:10.1109/42.52980); where they
disagree, the slice in the middle is decoded as well, and so on. Beyond the last slice that the
coarse walk accepted, a walk from slice to slice looks for the object's true end.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.engine.propagation import Asking, Chain, Course, Limits, OnSlice, Rules, Stop, walk
from sammed.engine.slice_mask import SliceResult, overlap
from sammed.views.slices import OUTSIDE_LOGIT

AGREEMENT = 0.7
"""Decoded masks with less IoU than this disagree: the slice in their middle is decoded too."""

_AT_THE_END = ("limit", "edge")
"""Reasons to stop that say nothing against the last slice's neighbour."""

Float = NDArray[np.float32]


def stride_walk(
    asking: Asking,
    course: Course,
    rules: Rules,
    on_slice: OnSlice | None = None,
    stride: int = 1,
) -> Chain:
    """Propagate as `sammed.engine.propagation.walk` does, decoding every ``stride``-th slice.

    Parameters
    ----------
    asking, course, rules, on_slice
        See `sammed.engine.propagation.walk`.
    stride
        1 decodes every slice.

    Returns
    -------
    Chain
        Without gaps; interpolated masks are called so in their ``prompt``.
    """
    coarse = walk(asking, course, rules, on_slice, stride)
    if stride == 1:
        return coarse
    start, target = course.start, course.target
    decoded = [start, *coarse.slices]
    if target is not None and coarse.stop.reason in _AT_THE_END:
        decoded.append(target)
        tail = Chain((), coarse.stop)
    else:
        rest = _up_to_rejected(decoded[-1].index, coarse.stop, stride, course.limits)
        after = replace(course, start=decoded[-1], limits=rest, reference=start)
        tail = walk(asking, after, rules, on_slice)
        if rest is not course.limits and tail.stop.reason in _AT_THE_END:
            tail = Chain(tail.slices, replace(coarse.stop, index=tail.stop.index))
    slices: list[SliceResult] = []
    for first, last in pairwise(decoded):
        slices += [*_between(asking, first, last, course, rules, on_slice), last]
    if decoded[-1] is target:
        slices.pop()
    return Chain((*slices, *tail.slices), tail.stop)


def _up_to_rejected(last: int, stop: Stop, stride: int, limits: Limits) -> Limits:
    """Where to look for the end: up to the slice that the coarse walk rejected, if it did."""
    if stop.reason in _AT_THE_END:
        return limits
    if stop.direction > 0:
        return replace(limits, high=(last // stride + 1) * stride)
    return replace(limits, low=(last - 1) // stride * stride + 1)


def interpolate(
    first: SliceResult,
    last: SliceResult,
    indices: range,
    pixel_mm: tuple[float, float] = (1.0, 1.0),
) -> list[SliceResult]:
    """Masks between two masks, by linear interpolation of their signed distances.

    Parameters
    ----------
    first, last
        Masks on two slices; neither is empty.
    indices
        Slices between them.
    pixel_mm
        (row, col) spacing of the slices.

    Returns
    -------
    list of SliceResult
        One a slice that is not empty; logits are distances in px of the finer spacing.
    """
    region = first.region.union(last.region)
    a, b = (_signed_distance(r.on(region) > 0, pixel_mm) for r in (first, last))
    found = []
    for index in indices:
        share = (index - first.index) / (last.index - first.index)
        logits = (1 - share) * a + share * b
        np.clip(logits, OUTSIDE_LOGIT, -OUTSIDE_LOGIT, out=logits)
        result = SliceResult(
            index,
            region,
            logits,
            (1 - share) * first.predicted_iou + share * last.predicted_iou,
            (1 - share) * first.stability + share * last.stability,
            (1 - share) * first.present + share * last.present,
            "interpolated",
        )
        if result.area:
            found.append(result)
    return found


def _between(
    asking: Asking,
    first: SliceResult,
    last: SliceResult,
    course: Course,
    rules: Rules,
    on_slice: OnSlice | None,
) -> list[SliceResult]:
    """Slices between two decoded ones, in walking order."""
    direction = 1 if last.index > first.index else -1
    indices = range(first.index + direction, last.index, direction)
    if not indices:
        return []
    if overlap(first, last)[0] < AGREEMENT:
        middle = (first.index + last.index) // 2
        only = Limits(middle, middle + 1, course.limits.frame, known=True)
        there = Course(first, direction, only, target=last)
        for seen in walk(asking, there, rules, on_slice).slices:
            before = _between(asking, first, seen, course, rules, on_slice)
            return [*before, seen, *_between(asking, seen, last, course, rules, on_slice)]
    found = interpolate(first, last, indices, asking.decoder.stack.pixel_mm)
    for result in found:
        if on_slice:
            on_slice(result)
    return found


def _signed_distance(mask: NDArray[np.bool_], pixel_mm: tuple[float, float]) -> Float:
    """Distance to the mask's edge in px of the finer spacing, positive inside."""
    sampling = np.divide(pixel_mm, min(pixel_mm))
    inside = ndimage.distance_transform_edt(np.pad(mask, 1), sampling)
    outside = ndimage.distance_transform_edt(np.pad(~mask, 1, constant_values=True), sampling)
    return np.asarray(inside - outside, np.float32)[1:-1, 1:-1]
