"""What the user says about an object: boxes, points, painted slices, strokes.

Everything here is in canonical voxel indices (z, y, x) of one volume. Text and files in the
file's own indices or in millimetres are read in `sammed.prompts.text` and `sammed.prompts.files`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar, get_args

from sammed.errors import LabelError, PromptError
from sammed.imaging.boxes import Box3D
from sammed.imaging.geometry import Shape3
from sammed.imaging.volume import MAX_LABEL
from sammed.prompts.interactions import (
    KINDS,
    NAMES,
    BoxPrompt,
    Interaction,
    LassoPrompt,
    MaskPrompt,
    PointPrompt,
    ScribblePrompt,
    check_block,
    check_stroke,
    locates,
    order_of,
)

Propagate = Literal["auto", "between", "off"]
PROPAGATE: tuple[str, ...] = get_args(Propagate)

MOST_CANDIDATES = 3
"""Candidate masks among which a user chooses, at most: those of segment-anything."""


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
    candidate
        Which of the model's candidate masks is meant on prompted slices, from 1 to
        `MOST_CANDIDATES`; 0: the engine chooses, or takes their mean.
    scribbles, lassos
        Strokes.
    interactions
        All of them, in order; what is given of a kind beside replaces what they hold of it.
    structure
        Which structure of a model that knows some by their names it is, where its own name is
        another; empty: what it is called.

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
    candidate: int
    structure: str

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
        candidate: int = 0,
        structure: str = "",
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
            ("candidate", candidate),
            ("structure", structure),
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
        how += [f"candidate {self.candidate}"] if self.candidate else []
        how += [f"structure {self.structure!r}"] if self.structure else []
        return f"ObjectPrompts({', '.join([repr(self.name), *label, *said, *how])})"

    @property
    def known_as(self) -> str:
        """The name by which a model may know it: the structure that it is, else its own name."""
        return self.structure or self.name

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
        if (self.propagate, self.candidate, self.structure) != (
            other.propagate,
            other.candidate,
            other.structure,
        ):
            return False
        if ordered:
            return self.interactions == other.interactions
        return all(self._of(kind) == other._of(kind) for kind in KINDS)

    @property
    def is_empty(self) -> bool:
        """Whether nothing says where the object is (negative points and strokes do not)."""
        return not any(locates(said) for said in self.interactions)

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
            if not locates(said):
                continue
            if isinstance(said, Box3D):
                yield said
            elif isinstance(said, PointPrompt):
                z, y, x = said.at
                yield Box3D(z, y, x, z + 1, y + 1, x + 1)
            else:
                yield said.block

    def check(self, shape: Shape3, named: Collection[str] = ()) -> None:
        """Make sure that the prompts make sense on a volume of that shape.

        Parameters
        ----------
        shape
            Extents (z, y, x).
        named
            Names of structures that need no prompt, since the model knows them.

        Raises
        ------
        PromptError
            If a box is empty or beyond the volume, a point outside, the mask on another grid, or
            nothing says where the object is.
        """
        for box in self.boxes:
            check_block(box.block, shape, self.name)
        for block in self.blocks:
            check_block(block, shape, self.name)
        for point in self.points:
            if not all(0 <= p < n for p, n in zip(point.at, shape, strict=True)):
                raise PromptError(
                    f"a point of {self.name!r} lies outside the volume: voxel {point.at}, "
                    f"the volume has {shape} (z, y, x)"
                )
        for stroke in self.interactions:
            if isinstance(stroke, (ScribblePrompt, LassoPrompt)):
                check_stroke(stroke, shape, self.name)
        if self.mask is not None and self.mask.shape != shape:
            raise PromptError(
                f"the mask of {self.name!r} has shape {self.mask.shape}, expected {shape}"
            )
        self._check_choices()
        if self.is_empty and self.known_as not in named:
            raise PromptError(
                f"nothing says where {self.name!r} is; give it a box, a positive point or a mask"
            )

    def _check_choices(self) -> None:
        if self.propagate not in PROPAGATE:
            raise PromptError(
                f"unknown propagation {self.propagate!r}; expected one of {', '.join(PROPAGATE)}"
            )
        if self.candidate not in range(MOST_CANDIDATES + 1):
            raise PromptError(
                f"candidate {self.candidate!r} of {self.name!r} is none; expected 1 to "
                f"{MOST_CANDIDATES}, or 0 to leave the choice to the engine"
            )


def in_order(obj: ObjectPrompts, order: Sequence[str]) -> ObjectPrompts:
    """The same prompts in an order that is given by their kinds, see `order_of`.

    Raises
    ------
    PromptError
        If it names more or fewer of a kind than there are.
    """
    waiting: dict[str, list[Interaction]] = {name: [] for name in NAMES.values()}
    for said in obj.interactions:
        waiting[NAMES[type(said)]].append(said)
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
    if wanted[: len(before)] == before:  # the same, perhaps from another file
        same = iter(wanted)
        return (*(next(same) if isinstance(one, kind) else one for one in said), *same)
    return (*(one for one in said if not isinstance(one, kind)), *wanted)


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

    def check(self, shape: Shape3, named: Collection[str] = ()) -> None:
        """Check every object on a volume of that shape; see `ObjectPrompts.check`."""
        if not self.objects:
            raise PromptError("no prompt: give --box, --point, --mask or --prompts")
        for obj in self.objects:
            obj.check(shape, named)


def with_object(
    objects: tuple[ObjectPrompts, ...], one: ObjectPrompts
) -> tuple[ObjectPrompts, ...]:
    """The objects with another one, or with it in place of that of its name, whose label it keeps.

    Examples
    --------
    >>> two = (ObjectPrompts("liver", 3), ObjectPrompts("spleen"))
    >>> with_object(two, ObjectPrompts("liver", candidate=2))
    (ObjectPrompts('liver', label 3, candidate 2), ObjectPrompts('spleen'))
    """
    former = {obj.name: obj for obj in objects}.get(one.name)
    if former is None:
        return (*objects, one)
    one = one if one.label else replace(one, label=former.label)
    return tuple(one if obj.name == one.name else obj for obj in objects)


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
        If two parts give one object a mask each, or say that it is different structures.
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
    if a.structure and b.structure and a.structure != b.structure:
        raise PromptError(f"{a.name!r} is two structures, {a.structure!r} and {b.structure!r}")
    return replace(
        a,
        label=a.label or b.label,
        interactions=(*a.interactions, *b.interactions),
        propagate=b.propagate if b.propagate != "auto" else a.propagate,
        candidate=b.candidate or a.candidate,
        structure=a.structure or b.structure,
    )
