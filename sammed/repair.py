"""Clicks and painted slices on an object that a 3D box gave: local repairs of its volume.

A clicked slice is seen again with the object's mask on it as the mask prompt; a painted one is
taken as it is. From there the correction walks on for a few slices, counting less with each, and
ends early where the model finds what is there already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sammed.anchors import SlicePrompts, correct_anchor, decode_anchor
from sammed.decoding import SliceDecoder, SlicePrompt, SliceResult, overlap, unite
from sammed.fusion import ObjectVolume, stack
from sammed.propagation import Limits, blend

REACH = 6
"""Slices on each side of a clicked one that its correction may change."""

SETTLED = 0.9
"""A slice on which the answer has this IoU with what is there ends the walk."""

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
        Called with each corrected slice.

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
        corrected[index] = _corrected(decoder, slices, index, said)
        slices[index] = corrected[index]
        if on_slice:
            on_slice(corrected[index])
        for direction in (-1, 1):
            _walk_on(decoder, slices, clicked, index, direction, limits)
    return stack(slices, axis), corrected


def _corrected(
    decoder: SliceDecoder, slices: Slices, index: int, said: SlicePrompts
) -> SliceResult:
    if said.painted is not None:
        return unite(decode_anchor(decoder, said).parts)
    nearest = min(slices, key=lambda i: abs(i - index))
    return unite(correct_anchor(decoder, said, _moved(slices[nearest], index)).parts)


def _walk_on(
    decoder: SliceDecoder,
    slices: Slices,
    clicked: Mapping[int, SlicePrompts],
    start: int,
    direction: int,
    limits: Limits,
) -> None:
    last = slices[start]
    for away in range(1, REACH + 1):
        index = start + direction * away
        if not limits.low <= index < limits.high or index in clicked or not last.area:
            return
        there = slices.get(index)
        box = last.box if there is None else last.box.union(there.box)
        asked = SlicePrompt(box.intersection(limits.frame), prior=last, name="box + mask")
        answer = decoder.decode(index, [asked])[0]
        if not answer.area or (there is not None and overlap(answer, there)[0] >= SETTLED):
            return
        last = blend(answer, there, away / (REACH + 1)) or answer
        slices[index] = last


def _moved(result: SliceResult, index: int) -> SliceResult:
    return SliceResult(index, result.region, result.logits, prompt=result.prompt)
