"""Boxed slices side by side: each is seen once more, with the masks of the slices beside it.

A box says where the object is on its slice, the neighbours say what it looks like. The mean of
both answers is better than either. Only for models whose slices are cheap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from sammed.anchors import Anchor, SlicePrompts
from sammed.boxes import Box2D
from sammed.decoding import SliceDecoder, SlicePrompt, SliceResult, unite
from sammed.fusion import LOUDEST
from sammed.propagation import blend

MARGIN = 0.15
"""Of the neighbours' masks, what lies in the box widened by this share counts."""


def side_by_side(prompts: Mapping[int, SlicePrompts]) -> dict[int, tuple[int, ...]]:
    """Slices that have boxes and no more, next to slices that have boxes too: index → neighbours.

    A clicked or painted slice is as the user left it.
    """
    boxed = {index for index, said in prompts.items() if said.boxes}
    plain = (index for index in sorted(boxed) if prompts[index].plain)
    beside = {i: tuple(j for j in (i - 1, i + 1) if j in boxed) for i in plain}
    return {index: found for index, found in beside.items() if found}


def look_again(
    decoder: SliceDecoder, prompts: SlicePrompts, first: Anchor, beside: Sequence[Anchor]
) -> Anchor:
    """A boxed slice with its neighbours' masks in mind.

    Parameters
    ----------
    decoder
        Of the plane.
    prompts
        The slice's boxes.
    first
        What was found from them alone, one mask a box.
    beside
        The boxed slices before and after, one or both.

    Returns
    -------
    Anchor
        For each box the mean of the first answer and of that with the neighbours' mean as the mask
        prompt; the first one where the neighbours have nothing in the box.
    """
    around = [unite(anchor.parts) for anchor in beside]
    asked: dict[int, SlicePrompt] = {}
    for number, box in enumerate(prompts.boxes):
        prior = _mean(around, prompts.index, box, decoder.stack.shape)
        if prior.area:
            asked[number] = SlicePrompt(box, prior=prior, name="box + mask")
    answers = decoder.decode(prompts.index, list(asked.values()))
    parts = list(first.parts)
    for number, answer in zip(asked, answers, strict=True):
        both = blend(first.parts[number], answer, 0.5)
        if both is not None and both.area:
            parts[number] = both
    return replace(first, parts=tuple(parts))


def _mean(
    around: Sequence[SliceResult], index: int, box: Box2D, shape: tuple[int, int]
) -> SliceResult:
    """The mean of neighbouring masks round a box; logits count up to `LOUDEST`."""
    rows, cols = box.shape
    region = box.expand(MARGIN * rows + 1, MARGIN * cols + 1).clip(shape)
    logits = np.mean([np.clip(r.on(region), -LOUDEST, LOUDEST) for r in around], axis=0)
    return SliceResult(index, region, np.asarray(logits, np.float32))
