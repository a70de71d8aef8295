"""A region as a tight block and the voxels in it; how two regions overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.imaging.boxes import Box3D
from sammed.imaging.geometry import Shape3

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Region:
    """Voxels of one grid.

    Attributes
    ----------
    block
        Holds all of them.
    mask : (z, y, x) bool
        On the block.
    """

    block: Box3D
    mask: Mask

    @classmethod
    def of(cls, mask: Mask, origin: Sequence[int] = (0, 0, 0)) -> Region:
        """The region of a mask whose first voxel lies at ``origin``; its block is tight."""
        tight = Box3D.from_mask(mask)
        low = [a + b for a, b in zip(tight.low, origin, strict=True)]
        high = [a + b for a, b in zip(tight.high, origin, strict=True)]
        return cls(Box3D(*low, *high), np.ascontiguousarray(mask[tight.slices]))

    @cached_property
    def size(self) -> int:
        """Number of voxels."""
        return int(np.count_nonzero(self.mask))

    @cached_property
    def filled(self) -> Region:
        """With the holes of its slices filled: what lies in them lies in it."""
        axis = int(np.argmin(self.mask.shape))
        slices = [ndimage.binary_fill_holes(s) for s in np.moveaxis(self.mask, axis, 0)]
        return Region(self.block, np.moveaxis(np.array(slices, bool), 0, axis))

    @property
    def is_empty(self) -> bool:
        """Whether there is none."""
        return self.size == 0

    def shared(self, other: Region) -> int:
        """How many voxels two regions have in common."""
        common = self.block.intersection(other.block)
        if common.is_empty:
            return 0
        mine = self.mask[common.slices_in(self.block)]
        return int(np.count_nonzero(mine & other.mask[common.slices_in(other.block)]))

    def iou(self, other: Region) -> float:
        """Intersection over union, 0 if both are empty.

        Examples
        --------
        >>> a = Region.of(np.ones((2, 2, 2), bool))
        >>> a.iou(Region.of(np.ones((2, 2, 1), bool)))
        0.5
        """
        common = self.shared(other)
        return common / (self.size + other.size - common) if common else 0.0

    def share_in(self, other: Region) -> float:
        """Which share of this one lies in another."""
        return self.shared(other) / self.size if self.size else 0.0

    def mask_in(self, shape: Shape3) -> Mask:
        """The region in a whole volume, (z, y, x) bool."""
        whole = np.zeros(shape, bool)
        whole[self.block.slices] = self.mask
        return whole
