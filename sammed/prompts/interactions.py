"""What can be said about an object: a box, a point, painted slices, a stroke."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field
from math import ceil, floor
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sammed.errors import PromptError
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.geometry import Shape3


@dataclass(frozen=True)
class BoxPrompt:
    """A rectangle on one slice.

    Attributes
    ----------
    axis
        Canonical axis (0 z, 1 y, 2 x) across which the slice lies.
    index
        Slice index along that axis.
    box
        In (row, col) of that slice: the two other axes in order.
    """

    axis: int
    index: int
    box: Box2D

    @property
    def block(self) -> Box3D:
        """The same as a block one voxel thick."""
        return Box3D.on_slice(self.box, self.axis, self.index)


@dataclass(frozen=True)
class PointPrompt:
    """One voxel that belongs to the object (positive) or does not.

    Attributes
    ----------
    at
        Canonical (z, y, x).
    positive
        Whether it belongs to the object.
    stroke
        Of points that stand for a stroke: which one, from 1; they are said together.
    drawn
        The stroke itself, where the model that is to be asked knows strokes.
    """

    at: Shape3
    positive: bool = True
    stroke: int = field(default=0, repr=False)
    drawn: ScribblePrompt | None = field(default=None, repr=False)


class MaskPrompt:
    """Slices that the user has painted: taken as they are, and as a start for their neighbours.

    What is painted is kept packed, since every edit of a mask is a new one.

    Parameters
    ----------
    voxels : (z, y, x) bool
        A slice across the segmented plane counts as painted if any of its voxels is true.
    source
        The file that it was read from, for the prompt file; empty if painted in memory.

    Attributes
    ----------
    shape
        Extents (z, y, x) of the volume.
    block
        Smallest block that holds what is painted.
    """

    __hash__ = None  # type: ignore[assignment]
    _whole: ClassVar[tuple[MaskPrompt, NDArray[np.bool_]] | None] = None

    def __init__(self, voxels: NDArray[np.bool_], source: str = "") -> None:
        z, y, x = voxels.shape
        self.shape: Shape3 = (z, y, x)
        self.block = Box3D.from_mask(voxels)
        self.source = source
        painted = voxels[self.block.slices]
        self._bits = zlib.compress(np.packbits(painted).tobytes(), 1)
        self._slices = tuple(
            np.flatnonzero(painted.any(axis=tuple(a for a in range(3) if a != axis)))
            + self.block.low[axis]
            for axis in range(3)
        )

    def __repr__(self) -> str:
        return f"MaskPrompt({np.count_nonzero(self.painted)} voxels in {self.block})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MaskPrompt):
            return False
        same = (self.shape, self.block) == (other.shape, other.block)
        return other is self or (same and self._bits == other._bits)

    @property
    def painted(self) -> NDArray[np.bool_]:
        """(z, y, x) bool of the block."""
        bits = np.frombuffer(zlib.decompress(self._bits), np.uint8)
        size = int(np.prod(self.block.shape))
        return np.unpackbits(bits, count=size).view(bool).reshape(self.block.shape)

    @property
    def voxels(self) -> NDArray[np.bool_]:
        """(z, y, x) bool of the whole volume, read-only; made when asked, the last one is kept."""
        kept = MaskPrompt._whole
        if kept is not None and kept[0] is self:
            return kept[1]
        voxels = np.zeros(self.shape, bool)
        voxels[self.block.slices] = self.painted
        voxels.flags.writeable = False
        MaskPrompt._whole = (self, voxels)
        return voxels

    def read_from(self, source: str) -> MaskPrompt:
        """The same, as it would be read from a file."""
        same = copy(self)
        same.source = source
        return same

    def slices(self, axis: int) -> NDArray[np.intp]:
        """Indices of the painted slices across an axis."""
        return self._slices[axis]


@dataclass(frozen=True, eq=False, repr=False)
class ScribblePrompt:
    """A stroke through the object (positive) or beside it, as the voxels that it passes.

    Attributes
    ----------
    voxels : (n, 3) int
        Canonical (z, y, x) voxels in drawing order, on one slice or on several.
    positive
        Whether they belong to the object.
    """

    voxels: NDArray[np.intp]
    positive: bool = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScribblePrompt) and (
            other is self
            or (other.positive == self.positive and np.array_equal(self.voxels, other.voxels))
        )

    def __hash__(self) -> int:
        return hash((self.positive, self.voxels.tobytes()))

    def __repr__(self) -> str:
        return f"ScribblePrompt({len(self.voxels)} voxels, positive={self.positive})"

    @property
    def block(self) -> Box3D:
        """Smallest block that holds it."""
        low, high = self.voxels.min(0), self.voxels.max(0) + 1
        return Box3D(*(int(v) for v in (*low, *high)))


@dataclass(frozen=True)
class LassoPrompt:
    """A closed outline round a part of the object (positive) or of what is beside it.

    Attributes
    ----------
    axis, index
        The slice, as in `BoxPrompt`.
    outline
        Corners (row, col) of the polygon in slice px, edge coordinates: pixel i covers [i, i + 1).
    positive
        Whether what it surrounds belongs to the object.
    """

    axis: int
    index: int
    outline: tuple[tuple[float, float], ...]
    positive: bool = True

    @property
    def box(self) -> Box2D:
        """Smallest box of whole pixels that holds the outline."""
        rows, cols = zip(*self.outline, strict=True)
        low, high = (floor(min(rows)), floor(min(cols))), (ceil(max(rows)), ceil(max(cols)))
        return Box2D(*low, *high)

    @property
    def block(self) -> Box3D:
        """The same box as a block one voxel thick."""
        return Box3D.on_slice(self.box, self.axis, self.index)


Interaction = BoxPrompt | Box3D | PointPrompt | MaskPrompt | ScribblePrompt | LassoPrompt
"""One thing that the user says about an object; a `Box3D` is a 3D box."""


KINDS: tuple[type[Interaction], ...] = (
    BoxPrompt,
    Box3D,
    PointPrompt,
    MaskPrompt,
    ScribblePrompt,
    LassoPrompt,
)
"""All kinds, in the order in which an object lists them if it was not told another."""


NAMES = dict(zip(KINDS, ("box", "box3d", "point", "mask", "scribble", "lasso"), strict=True))


def order_of(interactions: Iterable[Interaction]) -> list[str]:
    """The kinds of interactions, one by one, as files and messages name them.

    Examples
    --------
    >>> order_of([PointPrompt((1, 2, 3)), Box3D(0, 0, 0, 1, 1, 1)])
    ['point', 'box3d']
    """
    return [NAMES[type(said)] for said in interactions]


def locates(said: Interaction) -> bool:
    """Whether it says where the object is, not only where it is not."""
    if isinstance(said, MaskPrompt):
        return not said.block.is_empty
    return isinstance(said, (BoxPrompt, Box3D)) or said.positive


def check_stroke(stroke: ScribblePrompt | LassoPrompt, shape: Shape3, name: str) -> None:
    """Make sure that a stroke is one, and lies in the volume.

    Raises
    ------
    PromptError
        If it does not.
    """
    if isinstance(stroke, LassoPrompt):
        if len(stroke.outline) < 3:
            raise PromptError(
                f"a lasso of {name!r} has {len(stroke.outline)} corners; expected at least 3"
            )
        if not np.isfinite(stroke.outline).all():
            raise PromptError(f"a lasso of {name!r} has corners that are no numbers")
    elif stroke.voxels.ndim != 2 or stroke.voxels.shape[1] != 3 or not len(stroke.voxels):
        raise PromptError(
            f"a scribble of {name!r} has voxels of shape {stroke.voxels.shape}; expected (n, 3)"
        )
    check_block(
        stroke.block, shape, name, "lasso" if isinstance(stroke, LassoPrompt) else "scribble"
    )


def check_block(block: Box3D, shape: Shape3, name: str, what: str = "box") -> None:
    """Make sure that a prompt of an object is not empty and lies in the volume.

    Raises
    ------
    PromptError
        If it does not.
    """
    if block.is_empty:
        raise PromptError(
            f"a {what} of {name!r} is empty or inverted: from {block.low} to {block.high} "
            "(z, y, x); expected each end greater than its start (half-open)"
        )
    if block.clip(shape) != block:
        raise PromptError(
            f"a {what} of {name!r} reaches outside the volume: from {block.low} to {block.high}, "
            f"the volume has {shape} voxels (z, y, x)"
        )
