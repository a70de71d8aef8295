"""A box touches its object on every side: masks are moved part of the way to where they do so too.

A mask that ends before the box is rather too small, one that reaches its sides even with a higher
border is rather too large. Boxes are drawn by hand, so only a part of the way is gone. For models
whose logits say how sure they are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sammed.engine.fusion import BORDERS
from sammed.engine.object_volume import ObjectVolume
from sammed.engine.slice_mask import SliceResult
from sammed.imaging.boxes import Box2D, Box3D

SPAN = 0.96
"""A mask that is as long as this share of its box counts as long as the box."""

ON_SLICE, IN_BLOCK = 0.35, 0.5
"""Shares of the way that the border is moved towards a box on a slice and towards a 3D box. All
chosen on real cases."""


def fit_box(result: SliceResult, box: Box2D) -> SliceResult:
    """A slice's mask, moved towards the box that was drawn for it.

    Parameters
    ----------
    result
        Where nothing was found, it stays so.
    box
        In slice px.
    """
    if not result.area or box.is_empty:
        return result
    shift = ON_SLICE * _border(result.logits, box.shape)
    return replace(result, logits=result.logits - np.float32(shift))


def fit_block(volume: ObjectVolume, block: Box3D) -> ObjectVolume:
    """An object, moved towards its 3D box; what lies beyond the box does not count.

    Parameters
    ----------
    volume
        Where nothing was found, it stays so.
    block
        Its 3D box.
    """
    if block.is_empty or not volume.mask.any():
        return volume
    shift = IN_BLOCK * _border(volume.on(block), block.shape)
    return ObjectVolume(volume.block, volume.logits - np.float16(shift))


def _border(logits: NDArray[np.float32], lengths: tuple[int, ...]) -> float:
    """The logit at which a mask's border would touch its box of these lengths, within `BORDERS`.

    As high as it may be with the mask as long as its box along two axes: of a 3D box's three, one
    may be off by a process that is too thin to be found.
    """
    axes = set(range(logits.ndim))
    spans = [_spanning(logits.max(tuple(axes - {a})), lengths[a]) for a in axes]
    return float(np.clip(sorted(spans)[-2], *BORDERS))


def _spanning(profile: NDArray[np.float32], length: int) -> float:
    """The highest border with which a mask is `SPAN` of a length long; -inf if it never is."""
    apart = int(np.ceil(SPAN * length)) - 1
    if apart >= len(profile):
        return -np.inf
    before = np.maximum.accumulate(profile)[: len(profile) - apart]
    after = np.maximum.accumulate(profile[::-1])[::-1][apart:]
    return float(np.minimum(before, after).max())
