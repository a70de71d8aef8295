"""Where chains of an object may run: within each of its 3D boxes, else in the whole stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sammed.engine.prompted_slices import PromptedSlice, SlicePrompts, middle, slice_prompts
from sammed.engine.propagation import Limits
from sammed.imaging.boxes import Box2D, Box3D
from sammed.prompts import ObjectPrompts
from sammed.views.slices import SliceStack

FRAME_MARGIN = 0.1
"""Within a 3D box, boxes on slices may exceed its outline by this share of its size."""

Range = tuple[Limits, SlicePrompts | None]
"""Where a chain may go, and the slice from which it starts if nothing else is said."""


def ranges_of(obj: ObjectPrompts, stack: SliceStack) -> list[Range]:
    """Where chains may run: each 3D box with its middle slice, else the whole stack."""
    if not obj.blocks:
        return [(Limits(0, len(stack), Box2D(0, 0, *stack.shape)), None)]
    starts = (
        None
        if only_limits(obj, block, stack)
        else replace(middle(block, stack.axis), candidate=obj.candidate)
        for block in obj.blocks
    )
    return [(block_limits(b, stack), start) for b, start in zip(obj.blocks, starts, strict=True)]


def first_told(
    obj: ObjectPrompts, axis: int, prompts: Mapping[int, SlicePrompts], ranges: Sequence[Range]
) -> dict[int, SlicePrompts]:
    """In each range the first point, or points of a stroke, that were said to lie in the object."""
    first: dict[int, int] = {}
    for index in told_by_points(obj, axis, prompts):
        for number in holders(index, ranges):
            first.setdefault(number, index)
    return {index: _said_first(obj, axis, prompts[index]) for index in sorted(set(first.values()))}


def opening(obj: ObjectPrompts, axis: int) -> ObjectPrompts:
    """An object without the clicks that correct it: what is said of it on slices that tell of it.

    Boxes and painted slices tell where it is, with the points on them; where there are none, the
    first point or stroke that was said to lie in it.
    """
    prompts = slice_prompts(obj, axis)
    telling = {index for index, said in prompts.items() if said.locates}
    telling = telling or set(told_by_points(obj, axis, prompts)[:1])
    told = [point for point in obj.points if point.at[axis] in telling]
    return obj if len(told) == len(obj.points) else obj.replaced(points=told)


def _said_first(obj: ObjectPrompts, axis: int, said: SlicePrompts) -> SlicePrompts:
    """What was said first of a slice, without what was said of it later."""
    own = [p for p in obj.points if p.at[axis] == said.index]
    start = next(p for p in own if p.positive)
    together = [p for p in own if p == start or (start.stroke and p.stroke == start.stroke)]
    return slice_prompts(obj.replaced(points=together), axis)[said.index]


def told_by_points(obj: ObjectPrompts, axis: int, prompts: Mapping[int, SlicePrompts]) -> list[int]:
    """Those of the prompted slices on which points lie in the object, as they were said."""
    told = (p.at[axis] for p in obj.points if p.positive)
    return list(dict.fromkeys(index for index in told if index in prompts))


def block_limits(block: Box3D, stack: SliceStack) -> Limits:
    """Where a chain may go within a 3D box."""
    low, high = block.range(stack.axis)
    outline = block.across(stack.axis)
    rows, cols = outline.shape
    frame = outline.expand(FRAME_MARGIN * rows, FRAME_MARGIN * cols).clip(stack.shape)
    return Limits(low, high, frame, known=True)


def only_limits(obj: ObjectPrompts, block: Box3D, stack: SliceStack) -> bool:
    """Whether a 3D box covers whole slices, and other prompts say where on them the object is."""
    told = obj.mask is not None or any(point.positive for point in obj.points)
    return told and block.across(stack.axis).clip(stack.shape) == Box2D(0, 0, *stack.shape)


def holders(index: int, ranges: Sequence[Range]) -> list[int]:
    """Numbers of the ranges that hold a slice."""
    return [n for n, (limits, _) in enumerate(ranges) if limits.low <= index < limits.high]


def owner(index: int, box: Box2D, ranges: Sequence[Range]) -> int:
    """Of the ranges that hold a slice, the one whose frame holds most of a box on it."""
    return max(holders(index, ranges), key=lambda n: box.intersection(ranges[n][0].frame).area)


def boxes_to_start(located: dict[int, SlicePrompts], ranges: Sequence[Range]) -> list[Range]:
    """The 3D boxes in which no other prompt says where the object is."""
    owners = set()
    for index, said in located.items():
        painted = () if said.painted is None else (Box2D.from_mask(said.painted),)
        owners |= {owner(index, box, ranges) for box in (*said.boxes, *painted)}
    return [own for n, own in enumerate(ranges) if own[1] is not None and n not in owners]


def prompted_in(
    number: int, ranges: Sequence[Range], prompted: dict[int, PromptedSlice]
) -> list[PromptedSlice]:
    """Prompted slices in a range, in order, with the components that lie in no other range."""
    own = []
    for index in sorted(prompted):
        if number not in holders(index, ranges):
            continue
        one = prompted[index]
        parts = enumerate(one.parts)
        own.append(one.only([n for n, p in parts if owner(index, p.box, ranges) == number]))
    return [one for one in own if one.parts]
