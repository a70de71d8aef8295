"""Boxed slices are looked at again: in a mirror, with the slices beside them, from other planes.

A box says where the object is on its slice, its neighbours say what it looks like, and a mirror
shows it as if it were another one, closer if it is large. The mean of all answers is better than
any. Only for models whose slices are cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from sammed.engine.decoding import SliceDecoder
from sammed.engine.fusion import PlaneView, weigh_planes
from sammed.engine.object_volume import ObjectVolume, stack
from sammed.engine.prompted_slices import PromptedSlice, SlicePrompts
from sammed.engine.slice_mask import SlicePrompt, SliceResult, blend, unite
from sammed.imaging.boxes import Box2D, Box3D
from sammed.models.recipe import Recipe, SecondLook

FromOtherPlanes = Callable[[ObjectVolume, Box3D], Sequence[PlaneView]]
"""An object as it looks from other planes, given what was found and the block of its boxes."""


def beside(prompts: Mapping[int, SlicePrompts]) -> dict[int, tuple[int, ...]]:
    """Slices that have boxes and no more, and which of the slices next to them have boxes too.

    A clicked or painted slice is as the user left it.
    """
    boxed = {index for index, said in prompts.items() if said.boxes}
    plain = (index for index in sorted(boxed) if prompts[index].plain)
    return {i: tuple(j for j in (i - 1, i + 1) if j in boxed) for i in plain}


def runs(
    prompts: Mapping[int, SlicePrompts], axis: int, least: int
) -> dict[Box3D, tuple[int, ...]]:
    """Slices side by side that have boxes and no more, and the block that holds their boxes.

    Parameters
    ----------
    prompts
        Of one object, by slice.
    axis
        Canonical axis across which the slices lie.
    least
        Shorter runs are left out.
    """
    found: list[list[int]] = []
    for index in (i for i in sorted(prompts) if prompts[i].plain):
        if found and index == found[-1][-1] + 1:
            found[-1].append(index)
        else:
            found.append([index])
    return {_block(prompts, run, axis): tuple(run) for run in found if len(run) >= least}


def look_again(
    decoder: SliceDecoder,
    prompts: SlicePrompts,
    first: PromptedSlice,
    around: Sequence[PromptedSlice],
    look: SecondLook,
) -> PromptedSlice:
    """A boxed slice in a mirror, with its neighbours' masks in mind.

    Parameters
    ----------
    decoder
        Of the plane.
    prompts
        The slice's boxes.
    first
        What was found from them alone, one mask a box.
    around
        The boxed slices before and after, where there are any.
    look
        How.

    Returns
    -------
    PromptedSlice
        For each box the mean of the first answer and of that in the mirror, with the neighbours'
        mean as the mask prompt where they have anything in the box.
    """
    united = [unite(one.parts) for one in around]
    asked = [_mirrored(decoder, prompts, box, united, look) for box in prompts.boxes]
    parts = list(first.parts)
    for number, answer in enumerate(decoder.decode(prompts.index, asked)):
        both = blend(first.parts[number], answer, 0.5)
        if both is not None and both.area:
            parts[number] = both
    return replace(first, parts=tuple(parts))


def look_across(
    prompted: Sequence[PromptedSlice],
    axis: int,
    block: Box3D,
    across: FromOtherPlanes,
    recipe: Recipe,
) -> dict[int, PromptedSlice]:
    """A run of boxed slices, averaged with what is seen of the object from other planes.

    Parameters
    ----------
    prompted
        The run, from `runs`, with the boxes of each.
    axis
        Canonical axis across which its slices lie.
    block
        Holds their boxes.
    across
        How the object looks from other planes.
    recipe
        Of the model.

    Returns
    -------
    dict
        Slice index → prompted slice; empty if there is no other plane to look from.
    """
    volume = stack({a.index: unite(a.parts) for a in prompted}, axis)
    views = across(volume, block)
    if not views:
        return {}
    own = PlaneView(volume, axis, dict.fromkeys((a.index for a in prompted), 1.0))
    joined = weigh_planes([own, *views], recipe.fusion)
    margin = recipe.second_look.margin if recipe.second_look else 0.0
    return {a.index: _agreed(a, joined.across(axis, a.index), margin) for a in prompted}


def _mirrored(
    decoder: SliceDecoder,
    prompts: SlicePrompts,
    box: Box2D,
    around: Sequence[SliceResult],
    look: SecondLook,
) -> SlicePrompt:
    """A box in a mirror, with the neighbours' mean as the mask prompt if that says anything."""
    slices = decoder.stack
    share = look.closer if max(box.shape) > decoder.model.spec.view_size else 1.0
    plain = SlicePrompt(box, mirrored=True, share=share, final=prompts.final)
    width = min(n * mm for n, mm in zip(box.shape, slices.pixel_mm, strict=True))
    if not around or slices.slice_mm > look.far * width:
        return plain
    region = _widened(box, look.margin).clip(slices.shape)
    loudest = decoder.recipe.fusion.loudest
    logits = np.mean([np.clip(r.on(region), -loudest, loudest) for r in around], axis=0)
    prior = SliceResult(prompts.index, region, np.asarray(logits, np.float32))
    return replace(plain, prior=prior, name="box + mask") if prior.area else plain


def _agreed(one: PromptedSlice, section: SliceResult, margin: float) -> PromptedSlice:
    """A slice's masks with the logits of a section through the joined volume.

    A pixel near several boxes goes to the mask that was surest of it.
    """
    parts = list(one.parts)
    for number, (part, box) in enumerate(zip(one.parts, one.boxes, strict=True)):
        region = part.region.union(_widened(box, margin).intersection(section.region))
        own = part.on(region)
        others = [p.on(region) for n, p in enumerate(one.parts) if n != number]
        mine = np.all([own >= other for other in others], axis=0) if others else True
        moved = replace(part, region=region, logits=np.where(mine, section.on(region), own))
        if moved.area:
            parts[number] = moved
    return replace(one, parts=tuple(parts))


def _widened(box: Box2D, margin: float) -> Box2D:
    rows, cols = box.shape
    return box.expand(margin * rows + 1, margin * cols + 1)


def _block(prompts: Mapping[int, SlicePrompts], run: Sequence[int], axis: int) -> Box3D:
    """The block that holds the boxes of a run of slices."""
    block = Box3D(0, 0, 0, 0, 0, 0)
    for index in run:
        for box in prompts[index].boxes:
            block = block.union(Box3D.on_slice(box, axis, index))
    return block
