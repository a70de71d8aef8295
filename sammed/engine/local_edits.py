"""Clicks and painted slices on an object that a 3D box gave: local repairs of its volume.

A clicked slice is seen again with the object's mask on it as the mask prompt; mask and answer are
both pushed towards what the clicks say. A painted slice is taken as it is. What that changed is
carried on to the slices beside it, less with each: an error is about as deep as it is wide, and
what was right there stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.engine.clicks import Push, push_of
from sammed.engine.decoding import SliceDecoder
from sammed.engine.object_volume import ObjectVolume, stack
from sammed.engine.prompted_slices import SlicePrompts, correct_prompted, decode_prompted
from sammed.engine.propagation import Limits
from sammed.engine.slice_mask import SliceResult, unite
from sammed.imaging.boxes import Box2D

Slices = dict[int, SliceResult]


def repair(
    decoder: SliceDecoder,
    volume: ObjectVolume,
    clicked: Mapping[int, SlicePrompts],
    limits: Limits,
    on_slice: Callable[[SliceResult], None] | None = None,
) -> tuple[ObjectVolume, Slices]:
    """Correct an object where it was clicked.

    Parameters
    ----------
    decoder
        Of the plane in which the clicks are seen.
    volume
        The object so far.
    clicked
        Points and painted slices, by slice.
    limits
        Slices that the object may have.
    on_slice
        Called with each clicked or painted slice.

    Returns
    -------
    volume
        Corrected.
    corrected
        The clicked and painted slices.
    """
    axis = decoder.stack.axis
    slices = {i: volume.across(axis, i) for i in range(*volume.block.range(axis))}
    slices = {i: result for i, result in slices.items() if result.area}
    corrected: Slices = {}
    clicked = {i: said for i, said in clicked.items() if limits.low <= i < limits.high}
    for index, said in clicked.items():
        if index not in slices and not said.adds:
            continue  # nothing is there, as it says
        before, after = _on(slices, index), _corrected(decoder, slices, index, said)
        corrected[index] = slices[index] = after
        if on_slice:
            on_slice(after)
        _carry_on(slices, before, after, clicked, limits, decoder)
    return stack(slices, axis), corrected


def _on(slices: Slices, index: int) -> SliceResult:
    """The object on a slice, empty where it is not."""
    nothing = SliceResult(index, Box2D(0, 0, 0, 0), np.zeros((0, 0), np.float32))
    return slices.get(index, nothing)


def _corrected(
    decoder: SliceDecoder, slices: Slices, index: int, said: SlicePrompts
) -> SliceResult:
    if said.painted is not None:
        return unite(decode_prompted(decoder, said).parts)
    found = [i for i, result in slices.items() if result.area] or list(slices)
    nearest = slices[min(found, key=lambda i: abs(i - index))]
    former = SliceResult(index, nearest.region, nearest.logits, prompt=nearest.prompt)
    push = push_of(former, said.points, decoder.recipe)
    pushed = push.on(former)
    answer = correct_prompted(decoder, said, pushed if pushed.area else former)
    return push.on(unite(answer.parts))


def _carry_on(
    slices: Slices,
    before: SliceResult,
    after: SliceResult,
    clicked: Mapping[int, SlicePrompts],
    limits: Limits,
    decoder: SliceDecoder,
) -> None:
    """Change the slices on both sides as a clicked one has changed, up to the next clicked."""
    across, clicks, loudest = decoder.stack, decoder.recipe.clicks, decoder.recipe.fusion.loudest
    region = before.region.union(after.region)
    was, now = (np.clip(r.on(region), -loudest, loudest) for r in (before, after))
    half = _half_width((was > 0) ^ (now > 0), across.pixel_mm)
    if not half:
        return
    from_slice_to_slice = clicks.fade ** (across.slice_mm / half)
    for direction in (-1, 1):
        index, share = after.index + direction, from_slice_to_slice
        while limits.low <= index < limits.high and index not in clicked and share > clicks.faded:
            push = Push(region, np.float32(share) * (now - was), loudest)
            slices[index] = push.on(_on(slices, index))
            index, share = index + direction, share * from_slice_to_slice


def _half_width(changed: NDArray[np.bool_], pixel_mm: tuple[float, float]) -> float:
    """Radius in mm of the largest disc among changed pixels."""
    return float(ndimage.distance_transform_edt(np.pad(changed, 1), pixel_mm).max())
