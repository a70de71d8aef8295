"""Boxes as values: half-open, integer, and aware of which axes they span."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammed.errors import PromptError
from sammed.imaging.geometry import Affine, apply_affine

FARTHEST = 1e9
"""Corners are not taken to lie farther than this many voxels from the first one."""


@dataclass(frozen=True, order=True)
class Box2D:
    """A half-open rectangle of one slice: rows ``r0 <= r < r1``, columns ``c0 <= c < c1``."""

    r0: int
    c0: int
    r1: int
    c1: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in px; not positive if the box is empty."""
        return self.r1 - self.r0, self.c1 - self.c0

    @property
    def is_empty(self) -> bool:
        """Whether it holds no pixel."""
        return self.r1 <= self.r0 or self.c1 <= self.c0

    @property
    def area(self) -> int:
        """Number of pixels."""
        return 0 if self.is_empty else (self.r1 - self.r0) * (self.c1 - self.c0)

    @property
    def centre(self) -> tuple[float, float]:
        """(row, col) of the middle, in edge coordinates (pixel i covers [i, i + 1))."""
        return (self.r0 + self.r1) / 2, (self.c0 + self.c1) / 2

    @property
    def slices(self) -> tuple[slice, slice]:
        """For indexing a (row, col) array; the box must lie inside it."""
        return slice(self.r0, self.r1), slice(self.c0, self.c1)

    def as_array(self) -> NDArray[np.float64]:
        """``[r0, c0, r1, c1]`` as float64."""
        return np.array([self.r0, self.c0, self.r1, self.c1], np.float64)

    def clip(self, shape: tuple[int, int]) -> Box2D:
        """The part inside an image of that (height, width); may be empty."""
        h, w = shape
        return Box2D(
            min(max(self.r0, 0), h),
            min(max(self.c0, 0), w),
            min(max(self.r1, 0), h),
            min(max(self.c1, 0), w),
        )

    def expand(self, rows: float, cols: float | None = None) -> Box2D:
        """Grown by that many px on each side (rounded outward); negative shrinks."""
        cols = rows if cols is None else cols
        dr, dc = int(np.ceil(rows)), int(np.ceil(cols))
        return Box2D(self.r0 - dr, self.c0 - dc, self.r1 + dr, self.c1 + dc)

    def union(self, other: Box2D) -> Box2D:
        """Smallest box that holds both; an empty one does not count."""
        if self.is_empty:
            return other
        if other.is_empty:
            return self
        return Box2D(
            min(self.r0, other.r0),
            min(self.c0, other.c0),
            max(self.r1, other.r1),
            max(self.c1, other.c1),
        )

    def intersection(self, other: Box2D) -> Box2D:
        """The common part; may be empty."""
        return Box2D(
            max(self.r0, other.r0),
            max(self.c0, other.c0),
            min(self.r1, other.r1),
            min(self.c1, other.c1),
        )

    def mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """(height, width) bool, true inside the box."""
        mask = np.zeros(shape, bool)
        mask[self.clip(shape).slices] = True
        return mask

    def jitter(self, fraction: float, rng: np.random.Generator, shape: tuple[int, int]) -> Box2D:
        """Each side moved by up to ``fraction`` of the box's extent along that axis.

        The shift of a side is uniform in ``[-fraction, fraction] * extent``, rounded to px, then
        clipped to the image, as in SAM.MD (Roy et al. 2023, arXiv:2304.05396). At least one
        pixel remains.
        """
        h, w = self.shape
        shift = rng.uniform(-fraction, fraction, 4) * np.array([h, w, h, w])
        r0, c0, r1, c1 = (int(v) for v in np.rint(self.as_array() + shift))
        r0, c0 = min(max(r0, 0), shape[0] - 1), min(max(c0, 0), shape[1] - 1)
        return Box2D(r0, c0, max(r1, r0 + 1), max(c1, c0 + 1)).clip(shape)

    @classmethod
    def from_mask(cls, mask: NDArray[np.bool_]) -> Box2D:
        """Tight box of a (row, col) mask; ``Box2D(0, 0, 0, 0)`` if it is empty.

        Examples
        --------
        >>> m = np.zeros((5, 7), bool); m[1:3, 4] = True
        >>> Box2D.from_mask(m)
        Box2D(r0=1, c0=4, r1=3, c1=5)
        """
        rows = np.flatnonzero(mask.any(axis=1))
        if not len(rows):
            return cls(0, 0, 0, 0)
        cols = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
        return cls(int(rows[0]), int(cols[0]), int(rows[-1]) + 1, int(cols[-1]) + 1)


@dataclass(frozen=True, order=True)
class Box3D:
    """A half-open block of voxels, canonical index (z, y, x)."""

    z0: int
    y0: int
    x0: int
    z1: int
    y1: int
    x1: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Extents (z, y, x) in voxels."""
        return self.z1 - self.z0, self.y1 - self.y0, self.x1 - self.x0

    @property
    def is_empty(self) -> bool:
        """Whether it holds no voxel."""
        return min(self.shape) <= 0

    @property
    def low(self) -> tuple[int, int, int]:
        """First voxel (z, y, x)."""
        return self.z0, self.y0, self.x0

    @property
    def high(self) -> tuple[int, int, int]:
        """One past the last voxel (z, y, x)."""
        return self.z1, self.y1, self.x1

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """For indexing a (z, y, x) array; the box must lie inside it."""
        return slice(self.z0, self.z1), slice(self.y0, self.y1), slice(self.x0, self.x1)

    def clip(self, shape: tuple[int, int, int]) -> Box3D:
        """The part inside a volume of that shape; may be empty."""
        low = [min(max(v, 0), n) for v, n in zip(self.low, shape, strict=True)]
        high = [min(max(v, 0), n) for v, n in zip(self.high, shape, strict=True)]
        return Box3D(*low, *high)

    def intersection(self, other: Box3D) -> Box3D:
        """The common part; may be empty."""
        low = [max(a, b) for a, b in zip(self.low, other.low, strict=True)]
        high = [min(a, b) for a, b in zip(self.high, other.high, strict=True)]
        return Box3D(*low, *high)

    def slices_in(self, block: Box3D) -> tuple[slice, slice, slice]:
        """Its part of an array that holds another block's voxels.

        Examples
        --------
        >>> Box3D(2, 3, 4, 5, 6, 7).slices_in(Box3D(1, 1, 1, 9, 9, 9))
        (slice(1, 4, None), slice(2, 5, None), slice(3, 6, None))
        """
        z, y, x = (
            slice(a - start, b - start)
            for a, b, start in zip(self.low, self.high, block.low, strict=True)
        )
        return z, y, x

    def union(self, other: Box3D) -> Box3D:
        """Smallest box that holds both; an empty one does not count."""
        if self.is_empty:
            return other
        if other.is_empty:
            return self
        low = [min(a, b) for a, b in zip(self.low, other.low, strict=True)]
        high = [max(a, b) for a, b in zip(self.high, other.high, strict=True)]
        return Box3D(*low, *high)

    def range(self, axis: int) -> tuple[int, int]:
        """Half-open range along one axis (0 z, 1 y, 2 x)."""
        return self.low[axis], self.high[axis]

    def across(self, axis: int) -> Box2D:
        """The rectangle on slices across ``axis``: the two other axes, in order."""
        r, c = (a for a in range(3) if a != axis)
        return Box2D(self.low[r], self.low[c], self.high[r], self.high[c])

    def corners(self, affine: Affine) -> NDArray[np.float64]:
        """All eight corners in LPS mm, (8, 3) float64; they lie on voxel faces."""
        low, high = np.array(self.low) - 0.5, np.array(self.high) - 0.5
        pick = np.array([[z, y, x] for z in (0, 1) for y in (0, 1) for x in (0, 1)], bool)
        return apply_affine(affine, np.where(pick, high, low))

    @classmethod
    def on_slice(cls, box: Box2D, axis: int, index: int) -> Box3D:
        """A rectangle on one slice across ``axis`` as a block one voxel thick."""
        low, high = [box.r0, box.c0], [box.r1, box.c1]
        low.insert(axis, index)
        high.insert(axis, index + 1)
        return cls(*low, *high)

    @classmethod
    def from_mask(cls, mask: NDArray[np.bool_]) -> Box3D:
        """Tight box of a (z, y, x) mask; ``Box3D(0, 0, 0, 0, 0, 0)`` if it is empty."""
        ranges = []
        for axis in range(3):
            others = tuple(a for a in range(3) if a != axis)
            hits = np.flatnonzero(mask.any(axis=others))
            if not len(hits):
                return cls(0, 0, 0, 0, 0, 0)
            ranges.append((int(hits[0]), int(hits[-1]) + 1))
        (z0, z1), (y0, y1), (x0, x1) = ranges
        return cls(z0, y0, x0, z1, y1, x1)

    @classmethod
    def from_index_corners(cls, corners: NDArray[np.floating], tolerance: float = 1e-3) -> Box3D:
        """Smallest block that holds continuous index corners, (n, 3), voxel faces at halves.

        A corner less than ``tolerance`` voxels beyond a face counts as on it.

        Raises
        ------
        PromptError
            If the corners span no volume.
        """
        corners = np.clip(corners, -FARTHEST, FARTHEST)
        low = np.floor(corners.min(axis=0) + 0.5 + tolerance).astype(int)
        high = np.ceil(corners.max(axis=0) + 0.5 - tolerance).astype(int)
        if (high <= low).any():
            raise PromptError(
                f"the box is empty: it spans {(high - low).tolist()} voxels (z, y, x); "
                "expected at least one along each axis"
            )
        return cls(*(int(v) for v in low), *(int(v) for v in high))
