"""A box touches its object on every side: masks are moved part of the way to where they do so too.

A mask that ends before the box is rather too small, one that reaches its sides even with a higher
border is rather too large. Boxes are drawn by hand, so only a part of the way is gone. For models
whose logits say how sure they are.

The tightness of a box as a prior: Lempitsky et al. 2009, "Image segmentation with a bounding box
prior", doi:10.1109/ICCV.2009.5459262; for networks Kervadec et al. 2020, "Bounding boxes for weakly
supervised segmentation: Global constraints get close to full supervision", arXiv:2004.06816.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sammed.engine.object_volume import ObjectVolume
from sammed.engine.slice_mask import SliceResult
from sammed.imaging.boxes import Box2D, Box3D
from sammed.models.recipe import BoxFit


def fit_box(result: SliceResult, box: Box2D, fit: BoxFit) -> SliceResult:
    """A slice's mask, moved towards the box that was drawn for it.

    Parameters
    ----------
    result
        Where nothing was found, it stays so.
    box
        In slice px.
    fit
        How far it is moved.
    """
    if not result.area or box.is_empty:
        return result
    shift = fit.on_slice * _border(result.logits, box.shape, fit)
    return replace(result, logits=result.logits - np.float32(shift))


def fit_block(volume: ObjectVolume, block: Box3D, fit: BoxFit) -> ObjectVolume:
    """An object, moved towards its 3D box; what lies beyond the box does not count.

    Parameters
    ----------
    volume
        Where nothing was found, it stays so.
    block
        Its 3D box.
    fit
        How far it is moved.
    """
    if block.is_empty or not volume.mask.any():
        return volume
    shift = fit.in_block * _border(volume.on(block), block.shape, fit)
    return ObjectVolume(volume.block, volume.logits - np.float16(shift))


def _border(logits: NDArray[np.float32], lengths: tuple[int, ...], fit: BoxFit) -> float:
    """The logit at which a mask's border would touch its box of these lengths, within limits.

    As high as it may be with the mask as long as its box along two axes: of a 3D box's three, one
    may be off by a process that is too thin to be found.
    """
    axes = set(range(logits.ndim))
    profiles = ((logits.max(tuple(axes - {a})), lengths[a]) for a in axes)
    spans = [_spanning(profile, length, fit.span) for profile, length in profiles]
    return float(np.clip(sorted(spans)[-2], fit.lowest, fit.highest))


def _spanning(profile: NDArray[np.float32], length: int, span: float) -> float:
    """The highest border with which a mask is a share of a length long; -inf if it never is.

    Two places that far apart must both lie above the border: what is highest up to the first and
    what is highest from the second on.
    """
    apart = int(np.ceil(span * length)) - 1
    if apart >= len(profile):
        return -np.inf
    before = np.maximum.accumulate(profile)[: len(profile) - apart]
    after = np.maximum.accumulate(profile[::-1])[::-1][apart:]
    return float(np.minimum(before, after).max())
