"""What the user says about an object: boxes, points, painted slices.

Everything here is in canonical voxel indices (z, y, x) of one volume. Text and files in the
file's own indices or in millimetres are read in `sammed.prompts.text` and `sammed.prompts.files`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sammed.errors import LabelError, PromptError
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.geometry import Shape3
from sammed.imaging.volume import MAX_LABEL

Propagate = Literal["auto", "between", "off"]
PROPAGATE: tuple[str, ...] = get_args(Propagate)


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
    """One voxel that belongs to the object (positive) or does not."""

    at: Shape3
    positive: bool = True


@dataclass(frozen=True, eq=False)
class MaskPrompt:
    """Slices that the user has painted: taken as they are, and as a start for their neighbours.

    Attributes
    ----------
    voxels : (z, y, x) bool
        A slice across the segmented plane counts as painted if any of its voxels is true.
    source
        The file that it was read from, for the prompt file; empty if painted in memory.
    """

    voxels: NDArray[np.bool_]
    source: str = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MaskPrompt) and (
            other is self or np.array_equal(self.voxels, other.voxels)
        )

    __hash__ = None  # type: ignore[assignment]

    def slices(self, axis: int) -> NDArray[np.intp]:
        """Indices of the painted slices across an axis."""
        others = tuple(a for a in range(3) if a != axis)
        return np.flatnonzero(self.voxels.any(axis=others))


@dataclass(frozen=True)
class ObjectPrompts:
    """All prompts of one object.

    Attributes
    ----------
    name
        Unique within a run.
    label
        Its value in the label map, 1..65535; 0 asks for the next free one.
    boxes
        Rectangles on slices; several on one slice are components, whose masks are united.
    blocks
        3D boxes; together their extents are a hard limit for the object.
    points
        Positive and negative voxels.
    mask
        Painted slices.
    propagate
        ``"auto"``: outward until the object ends; ``"between"``: only between the prompted
        slices; ``"off"``: the prompted slices alone.
    """

    name: str = "object"
    label: int = 0
    boxes: tuple[BoxPrompt, ...] = ()
    blocks: tuple[Box3D, ...] = ()
    points: tuple[PointPrompt, ...] = ()
    mask: MaskPrompt | None = None
    propagate: Propagate = "auto"

    @property
    def is_empty(self) -> bool:
        """Whether nothing says where the object is (negative points alone do not)."""
        where = self.boxes or self.blocks or any(p.positive for p in self.points)
        return not where and (self.mask is None or not self.mask.voxels.any())

    def extent(self) -> Box3D:
        """Smallest block that holds all boxes, positive points and painted voxels."""
        extent = Box3D(0, 0, 0, 0, 0, 0)
        for block in self._where():
            extent = extent.union(block)
        return extent

    def limit(self, shape: Shape3) -> Box3D:
        """The block that the object must stay within: its 3D boxes' extent, else the volume."""
        if not self.blocks:
            return Box3D(0, 0, 0, *shape)
        limit = self.blocks[0]
        for block in self.blocks[1:]:
            limit = limit.union(block)
        return limit

    def _where(self) -> Iterator[Box3D]:
        yield from (b.block for b in self.boxes)
        yield from self.blocks
        for point in self.points:
            if point.positive:
                z, y, x = point.at
                yield Box3D(z, y, x, z + 1, y + 1, x + 1)
        if self.mask is not None:
            yield Box3D.from_mask(self.mask.voxels)

    def check(self, shape: Shape3) -> None:
        """Make sure that the prompts make sense on a volume of that shape.

        Raises
        ------
        PromptError
            If a box is empty or beyond the volume, a point outside, the mask on another grid, or
            nothing says where the object is.
        """
        for box in self.boxes:
            _check_block(box.block, shape, self.name)
        for block in self.blocks:
            _check_block(block, shape, self.name)
        for point in self.points:
            if not all(0 <= p < n for p, n in zip(point.at, shape, strict=True)):
                raise PromptError(
                    f"a point of {self.name!r} lies outside the volume: voxel {point.at}, "
                    f"the volume has {shape} (z, y, x)"
                )
        if self.mask is not None and self.mask.voxels.shape != shape:
            raise PromptError(
                f"the mask of {self.name!r} has shape {self.mask.voxels.shape}, expected {shape}"
            )
        if self.propagate not in PROPAGATE:
            raise PromptError(
                f"unknown propagation {self.propagate!r}; expected one of {', '.join(PROPAGATE)}"
            )
        if self.is_empty:
            raise PromptError(
                f"nothing says where {self.name!r} is; give it a box, a positive point or a mask"
            )


def _check_block(block: Box3D, shape: Shape3, name: str) -> None:
    if block.is_empty:
        raise PromptError(
            f"a box of {name!r} is empty or inverted: from {block.low} to {block.high} (z, y, x); "
            "expected each end greater than its start (half-open)"
        )
    if block.clip(shape) != block:
        raise PromptError(
            f"a box of {name!r} reaches outside the volume: from {block.low} to {block.high}, "
            f"the volume has {shape} voxels (z, y, x)"
        )


@dataclass(frozen=True)
class PromptSet:
    """The objects of a run, with distinct names and label values.

    Attributes
    ----------
    objects
        In the order in which they were given.
    notes
        What the reader decided (a box in millimetres was clipped, ...).
    """

    objects: tuple[ObjectPrompts, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __iter__(self) -> Iterator[ObjectPrompts]:
        return iter(self.objects)

    def __len__(self) -> int:
        return len(self.objects)

    def check(self, shape: Shape3) -> None:
        """Check every object on a volume of that shape; see `ObjectPrompts.check`."""
        if not self.objects:
            raise PromptError("no prompt: give --box, --point, --mask or --prompts")
        for obj in self.objects:
            obj.check(shape)


def with_labels(objects: Iterable[ObjectPrompts]) -> tuple[ObjectPrompts, ...]:
    """Give every object a label value: its own, or the lowest that is free.

    Raises
    ------
    LabelError
        If two objects share a name or a value, or a value is not in 1..65535.
    """
    objects = tuple(objects)
    taken: dict[int, str] = {}
    names: set[str] = set()
    for obj in objects:
        if obj.name in names:
            raise LabelError(f"two objects are called {obj.name!r}; give each its own name")
        names.add(obj.name)
        if obj.label == 0:
            continue
        if not 1 <= obj.label <= MAX_LABEL:
            raise LabelError(f"label {obj.label} of {obj.name!r} is not in 1..{MAX_LABEL}")
        if obj.label in taken:
            raise LabelError(
                f"label {obj.label} is given to both {taken[obj.label]!r} and {obj.name!r}"
            )
        taken[obj.label] = obj.name
    free = (value for value in range(1, MAX_LABEL + 1) if value not in taken)
    return tuple(obj if obj.label else replace(obj, label=next(free)) for obj in objects)


def merge(parts: Sequence[ObjectPrompts]) -> tuple[ObjectPrompts, ...]:
    """Join prompts that name the same object, in order of first appearance.

    Raises
    ------
    LabelError
        If two parts give one object different labels.
    PromptError
        If two parts give one object a mask each.
    """
    merged: dict[str, ObjectPrompts] = {}
    for part in parts:
        known = merged.get(part.name)
        merged[part.name] = part if known is None else _join(known, part)
    return tuple(merged.values())


def _join(a: ObjectPrompts, b: ObjectPrompts) -> ObjectPrompts:
    if a.label and b.label and a.label != b.label:
        raise LabelError(f"{a.name!r} has two labels, {a.label} and {b.label}")
    if a.mask is not None and b.mask is not None:
        raise PromptError(f"{a.name!r} has two masks; join them into one file")
    return replace(
        a,
        label=a.label or b.label,
        boxes=a.boxes + b.boxes,
        blocks=a.blocks + b.blocks,
        points=a.points + b.points,
        mask=a.mask or b.mask,
        propagate=b.propagate if b.propagate != "auto" else a.propagate,
    )
