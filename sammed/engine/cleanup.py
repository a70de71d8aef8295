"""What is done to an object once its slices are stacked: smooth, fill, select components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.engine.object_volume import ObjectVolume, positive
from sammed.views.slices import OUTSIDE_LOGIT

Components = Literal["prompted", "largest", "all"]


COMPONENTS: tuple[str, ...] = get_args(Components)


_TOUCHING = np.ones((3, 3, 3), bool)  # voxels that share a corner belong together


@dataclass(frozen=True)
class Cleanup:
    """What is done to an object once its slices are stacked.

    Attributes
    ----------
    components
        ``"prompted"`` keeps the 3D components that reach a prompted slice, ``"largest"`` the
        largest one, ``"all"`` everything.
    fill_holes
        Fill cavities that are closed in 3D.
    smooth_mm
        Standard deviation of a Gaussian over the logits, in mm; 0 leaves them. An object on a
        single slice is smoothed within it.
    """

    components: Components = "prompted"
    fill_holes: bool = False
    smooth_mm: float = 0.0


def clean(
    volume: ObjectVolume,
    options: Cleanup,
    spacing: tuple[float, float, float],
    prompted: NDArray[np.bool_] | None = None,
) -> ObjectVolume:
    """Smooth, fill and select components, in this order.

    Parameters
    ----------
    volume
        One object.
    options
        What to do.
    spacing
        Voxel size (z, y, x) in mm.
    prompted : (z, y, x) bool or None
        On the object's block: voxels of prompted slices, for ``components="prompted"``.
    """
    if volume.block.is_empty:
        return volume
    logits = volume.logits
    if options.smooth_mm > 0:
        sizes = zip(spacing, logits.shape, strict=True)
        sigma = [options.smooth_mm / mm if n > 1 else 0.0 for mm, n in sizes]
        smooth = ndimage.gaussian_filter(
            logits.astype(np.float32), sigma, mode="constant", cval=OUTSIDE_LOGIT
        )
        logits = smooth.astype(np.float16)
    mask = positive(logits)
    kept = ndimage.binary_fill_holes(mask) if options.fill_holes else mask
    kept = select_components(kept, options.components, prompted)
    if kept is mask:
        return ObjectVolume(volume.block, logits)
    logits = np.where(kept & ~mask, np.float16(0.5), logits)
    logits = np.where(mask & ~kept, np.float16(OUTSIDE_LOGIT), logits)
    return ObjectVolume(volume.block, logits)


def select_components(
    mask: NDArray[np.bool_], which: str, prompted: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """The 3D components of a mask that are wanted; the mask itself if that is all of them."""
    if which == "all":
        return mask
    parts, n = ndimage.label(mask, _TOUCHING)
    if n <= 1:
        return mask
    wanted = np.zeros(n + 1, bool)
    if which == "prompted" and prompted is not None:
        wanted[parts[prompted & mask]] = True
    if not wanted.any():
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        wanted[int(np.argmax(sizes))] = True
    wanted[0] = False
    return wanted[parts] & mask
