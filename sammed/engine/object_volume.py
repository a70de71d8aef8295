"""One object's logits in a block of the canonical grid."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sammed.engine.slice_mask import SliceResult
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.geometry import Shape3
from sammed.imaging.masks import dice
from sammed.views.slices import OUTSIDE_LOGIT

NOWHERE = Box3D(0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class ObjectVolume:
    """One object's logits in a block of the canonical grid; elsewhere it is absent.

    Attributes
    ----------
    block
        Where.
    logits : (z, y, x) float16
        On the block; > 0 is foreground.
    """

    block: Box3D
    logits: NDArray[np.float16]

    @cached_property
    def tight(self) -> Box3D:
        """The smallest block that holds what is foreground; empty if nothing is."""
        found, (z, y, x) = Box3D.from_mask(self.mask), self.block.low
        return Box3D(
            found.z0 + z, found.y0 + y, found.x0 + x, found.z1 + z, found.y1 + y, found.x1 + x
        )

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """(z, y, x) bool on the block."""
        return positive(self.logits)

    def mask_in(self, shape: Shape3) -> NDArray[np.bool_]:
        """Its voxels in the whole volume, (z, y, x) bool."""
        return self.mask_on(Box3D(0, 0, 0, *shape))

    def mask_on(self, block: Box3D) -> NDArray[np.bool_]:
        """Its voxels on another block, (z, y, x) bool."""
        mask = np.zeros(block.shape, bool)
        common = self.block.intersection(block)
        if not common.is_empty:
            mask[common.slices_in(block)] = self.mask[common.slices_in(self.block)]
        return mask

    def probabilities_in(self, shape: Shape3) -> NDArray[np.float16]:
        """Its probability in the whole volume, (z, y, x) float16 in [0, 1]."""
        dense = np.zeros(shape, np.float16)
        dense[self.block.slices] = 1 / (1 + np.exp(-self.logits.astype(np.float32)))
        return dense

    def across(self, axis: int, index: int) -> SliceResult:
        """Its cross-section with one slice, as a mask that a prompt can refer to."""
        low, high = self.block.range(axis)
        if not low <= index < high:
            return SliceResult(index, Box2D(0, 0, 0, 0), np.zeros((0, 0), np.float32))
        logits = np.take(self.logits, index - low, axis=axis).astype(np.float32)
        return SliceResult(index, self.block.across(axis), logits)

    def on(self, block: Box3D) -> NDArray[np.float32]:
        """Logits on another block, `OUTSIDE_LOGIT` where nothing is known."""
        logits = np.full(block.shape, OUTSIDE_LOGIT, np.float32)
        common = self.block.intersection(block)
        if not common.is_empty:
            logits[common.slices_in(block)] = self.logits[common.slices_in(self.block)]
        return logits


def positive(logits: NDArray[np.float16]) -> NDArray[np.bool_]:
    """Where half precision numbers are > 0; none may be NaN.

    Their order is that of their bits as integers, which is a hundred times as quick to find.

    Examples
    --------
    >>> positive(np.array([-np.inf, -1, -0.0, 0.0, 6e-8, 2, np.inf], np.float16)).astype(int)
    array([0, 0, 0, 0, 1, 1, 1])
    """
    return np.asarray(logits.view(np.int16) > 0)


def dice_of(one: ObjectVolume, other: ObjectVolume) -> float:
    """Dice of two objects, see `sammed.imaging.masks.dice`."""
    block = one.block.union(other.block)
    return dice(one.mask_on(block), other.mask_on(block))


NOTHING = ObjectVolume(NOWHERE, np.zeros((0, 0, 0), np.float16))


def stack(slices: Mapping[int, SliceResult], axis: int) -> ObjectVolume:
    """Stack masks of slices across an axis into a block of the canonical grid."""
    found = {i: r for i, r in slices.items() if r.area}
    if not found:
        return NOTHING
    region = Box2D(0, 0, 0, 0)
    for result in found.values():
        region = region.union(result.region)
    low, high = min(found), max(found) + 1
    logits = np.full((high - low, *region.shape), OUTSIDE_LOGIT, np.float16)
    for index, result in found.items():
        r, c = result.region.r0 - region.r0, result.region.c0 - region.c0
        h, w = result.region.shape
        logits[index - low, r : r + h, c : c + w] = result.logits
    first, last = [region.r0, region.c0], [region.r1, region.c1]
    first.insert(axis, low)
    last.insert(axis, high)
    return ObjectVolume(Box3D(*first, *last), np.moveaxis(logits, 0, axis))


def keep_slices(volume: ObjectVolume, axis: int, indices: Collection[int]) -> ObjectVolume:
    """The object on some slices across an axis; on all others it is absent."""
    kept = _on_slices(volume.block, axis, indices)
    if kept.all():
        return volume
    return ObjectVolume(volume.block, np.where(kept, volume.logits, np.float16(OUTSIDE_LOGIT)))


def with_slices(
    volume: ObjectVolume, other: ObjectVolume, axis: int, indices: Collection[int]
) -> ObjectVolume:
    """The object with some slices across an axis taken from another.

    Examples
    --------
    >>> one, two = (ObjectVolume(Box3D(z, 0, 0, z + 2, 1, 1), np.full((2, 1, 1), v, np.float16))
    ...             for z, v in ((0, 1), (1, 5)))
    >>> with_slices(one, two, 0, [1]).logits.ravel().tolist()
    [1.0, 5.0, -10.0]
    """
    block = volume.block.union(other.block)
    taken = _on_slices(block, axis, indices)
    logits = np.where(taken, other.on(block), volume.on(block))
    return ObjectVolume(block, logits.astype(np.float16))


def _on_slices(block: Box3D, axis: int, indices: Collection[int]) -> NDArray[np.bool_]:
    """Which slices of a block across an axis are meant, of a shape that fits its logits."""
    shape = [1, 1, 1]
    shape[axis] = -1
    return np.array([i in indices for i in range(*block.range(axis))], bool).reshape(shape)
