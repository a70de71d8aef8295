"""What the user says about an object: boxes, points, painted slices, strokes.

Everything here is in canonical voxel indices (z, y, x) of one volume. Text and files in the
file's own indices or in millimetres are read in `sammed.prompts.text` and `sammed.prompts.files`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, floor
from typing import Any, Literal, TypeVar, get_args

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

_Kind = TypeVar("_Kind", bound=Interaction)


@dataclass(frozen=True, init=False, repr=False)
class ObjectPrompts:
    """All prompts of one object, in the order in which they were given.

    Each kind can be given, and asked for, by itself: ``replace(obj, points=...)`` replaces the
    points and leaves the rest where it is. What is new of a kind comes last.

    Parameters
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
    scribbles, lassos
        Strokes.
    interactions
        All of them, in order; what is given of a kind beside replaces what they hold of it.

    Examples
    --------
    >>> from dataclasses import replace
    >>> obj = ObjectPrompts("liver", blocks=(Box3D(1, 2, 3, 4, 5, 6),))
    >>> clicked = replace(obj, points=(PointPrompt((2, 3, 4)),))
    >>> [type(said).__name__ for said in clicked.interactions]
    ['Box3D', 'PointPrompt']
    >>> clicked
    ObjectPrompts('liver', 1 3D box, 1 point)
    """

    name: str
    label: int
    interactions: tuple[Interaction, ...]
    propagate: Propagate

    def __init__(
        self,
        name: str = "object",
        label: int = 0,
        boxes: Iterable[BoxPrompt] | None = None,
        blocks: Iterable[Box3D] | None = None,
        points: Iterable[PointPrompt] | None = None,
        mask: MaskPrompt | Literal["as before"] | None = "as before",
        propagate: Propagate = "auto",
        *,
        scribbles: Iterable[ScribblePrompt] | None = None,
        lassos: Iterable[LassoPrompt] | None = None,
        interactions: Iterable[Interaction] = (),
    ) -> None:
        said: tuple[Interaction, ...] = tuple(interactions)
        for kind, given in (
            (BoxPrompt, boxes),
            (Box3D, blocks),
            (PointPrompt, points),
            (MaskPrompt, None if mask == "as before" else () if mask is None else (mask,)),
            (ScribblePrompt, scribbles),
            (LassoPrompt, lassos),
        ):
            if given is not None:
                said = _with(said, kind, tuple(given))
        for field_, value in (
            ("name", name),
            ("label", label),
            ("interactions", said),
            ("propagate", propagate),
        ):
            object.__setattr__(self, field_, value)

    def __repr__(self) -> str:
        counts = [
            (len(self.boxes), "box", "boxes"),
            (len(self.blocks), "3D box", "3D boxes"),
            (len(self.points), "point", "points"),
            (0 if self.mask is None else 1, "painted mask", "painted masks"),
            (len(self.scribbles), "scribble", "scribbles"),
            (len(self.lassos), "lasso", "lassos"),
        ]
        said = [f"{n} {one if n == 1 else more}" for n, one, more in counts if n]
        label = [f"label {self.label}"] if self.label else []
        how = [] if self.propagate == "auto" else [f"propagate {self.propagate}"]
        return f"ObjectPrompts({', '.join([repr(self.name), *label, *said, *how])})"

    def _of(self, kind: type[_Kind]) -> tuple[_Kind, ...]:
        return tuple(said for said in self.interactions if isinstance(said, kind))

    @property
    def boxes(self) -> tuple[BoxPrompt, ...]:
        """Its boxes on slices."""
        return self._of(BoxPrompt)

    @property
    def blocks(self) -> tuple[Box3D, ...]:
        """Its 3D boxes."""
        return self._of(Box3D)

    @property
    def points(self) -> tuple[PointPrompt, ...]:
        """Its points."""
        return self._of(PointPrompt)

    @property
    def mask(self) -> MaskPrompt | None:
        """Its painted slices."""
        return next(iter(self._of(MaskPrompt)), None)

    @property
    def scribbles(self) -> tuple[ScribblePrompt, ...]:
        """Its scribbles."""
        return self._of(ScribblePrompt)

    @property
    def lassos(self) -> tuple[LassoPrompt, ...]:
        """Its lassos."""
        return self._of(LassoPrompt)

    def with_(self, *interactions: Interaction) -> ObjectPrompts:
        """The same object with more said about it."""
        return replace(self, interactions=(*self.interactions, *interactions))

    def replaced(self, **kinds: Any) -> ObjectPrompts:
        """The same object with what it holds of some kinds replaced: ``replaced(points=())``."""
        return replace(self, **kinds)

    def says_as(self, other: ObjectPrompts, ordered: bool = False) -> bool:
        """Whether the same is said of the object, whatever its name and label.

        Parameters
        ----------
        other
            Of the same volume.
        ordered
            Whether the order of different kinds counts, see `ModelSpec.ordered`.
        """
        if self.propagate != other.propagate:
            return False
        if ordered:
            return self.interactions == other.interactions
        return all(self._of(kind) == other._of(kind) for kind in KINDS)

    @property
    def is_empty(self) -> bool:
        """Whether nothing says where the object is (negative points and strokes do not)."""
        return not any(_locates(said) for said in self.interactions)

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
        for said in self.interactions:
            if not _locates(said):
                continue
            if isinstance(said, Box3D):
                yield said
            elif isinstance(said, PointPrompt):
                z, y, x = said.at
                yield Box3D(z, y, x, z + 1, y + 1, x + 1)
            elif isinstance(said, MaskPrompt):
                yield Box3D.from_mask(said.voxels)
            else:
                yield said.block

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
        for stroke in self.interactions:
            if isinstance(stroke, (ScribblePrompt, LassoPrompt)):
                _check_stroke(stroke, shape, self.name)
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


KINDS: tuple[type[Interaction], ...] = (
    BoxPrompt,
    Box3D,
    PointPrompt,
    MaskPrompt,
    ScribblePrompt,
    LassoPrompt,
)
"""All kinds, in the order in which an object lists them if it was not told another."""

_NAMES = dict(zip(KINDS, ("box", "box3d", "point", "mask", "scribble", "lasso"), strict=True))


def order_of(interactions: Iterable[Interaction]) -> list[str]:
    """The kinds of interactions, one by one, as files and messages name them.

    Examples
    --------
    >>> order_of([PointPrompt((1, 2, 3)), Box3D(0, 0, 0, 1, 1, 1)])
    ['point', 'box3d']
    """
    return [_NAMES[type(said)] for said in interactions]


def in_order(obj: ObjectPrompts, order: Sequence[str]) -> ObjectPrompts:
    """The same prompts in an order that is given by their kinds, see `order_of`.

    Raises
    ------
    PromptError
        If it names more or fewer of a kind than there are.
    """
    waiting: dict[str, list[Interaction]] = {name: [] for name in _NAMES.values()}
    for said in obj.interactions:
        waiting[_NAMES[type(said)]].append(said)
    if Counter(order_of(obj.interactions)) != Counter(order):
        raise PromptError(
            f"{obj.name!r} has the prompts {order_of(obj.interactions)}, "
            f"but its order says {list(order)}"
        )
    return obj.replaced(interactions=tuple(waiting[name].pop(0) for name in order))


def _with(
    said: tuple[Interaction, ...], kind: type[Interaction], wanted: tuple[Interaction, ...]
) -> tuple[Interaction, ...]:
    """Interactions with those of a kind replaced: what stays keeps its place, the new is last."""
    before = tuple(one for one in said if isinstance(one, kind))
    if wanted[: len(before)] == before:
        return (*said, *wanted[len(before) :])
    return (*(one for one in said if not isinstance(one, kind)), *wanted)


def _locates(said: Interaction) -> bool:
    """Whether it says where the object is, not only where it is not."""
    if isinstance(said, MaskPrompt):
        return bool(said.voxels.any())
    return isinstance(said, (BoxPrompt, Box3D)) or said.positive


def _check_stroke(stroke: ScribblePrompt | LassoPrompt, shape: Shape3, name: str) -> None:
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
    _check_block(
        stroke.block, shape, name, "lasso" if isinstance(stroke, LassoPrompt) else "scribble"
    )


def _check_block(block: Box3D, shape: Shape3, name: str, what: str = "box") -> None:
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
        interactions=(*a.interactions, *b.interactions),
        propagate=b.propagate if b.propagate != "auto" else a.propagate,
    )
