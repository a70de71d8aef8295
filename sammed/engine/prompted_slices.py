"""From an object's prompts to its prompted slices, between which it is propagated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sammed.engine.box_fit import fit_box
from sammed.engine.decoding import SliceDecoder
from sammed.engine.slice_mask import (
    ClickedPoint,
    SlicePrompt,
    SliceResult,
    SliceStroke,
    painted,
    unite,
)
from sammed.errors import PromptError
from sammed.imaging.boxes import Box2D, Box3D
from sammed.models.recipe import BoxFit
from sammed.prompts import MaskPrompt, ObjectPrompts
from sammed.views.slices import PLANES

CLICK_MARGIN = 0.05
"""A corrected slice is looked at in the box of its former mask, widened by this share."""


@dataclass(frozen=True)
class SlicePrompts:
    """Everything that the user says about one object on one slice.

    Attributes
    ----------
    index
        The slice.
    boxes
        In slice px; several are components.
    points
        In slice px.
    painted : (height, width) bool or None
        The slice as the user painted it.
    depth
        Where the slice lies in the 3D box whose outline ``boxes`` holds: -1 and 1 at its faces.
    prior
        A mask that the object is expected to resemble, of a single box.
    outline
        Whether a box is the outline of a 3D box, which few slices of the object fill.
    final
        Whether no chain starts from this slice, see `with_final`.
    candidate
        Which of the model's masks is meant, see `ObjectPrompts`.
    strokes
        Scribbles of which ``points`` holds points, for models that know scribbles.
    """

    index: int
    boxes: tuple[Box2D, ...] = ()
    points: tuple[ClickedPoint, ...] = ()
    painted: NDArray[np.bool_] | None = field(default=None, compare=False)
    painted_key: int = 0
    depth: float = 0.0
    prior: SliceResult | None = None
    outline: bool = False
    final: bool = False
    candidate: int = 0
    strokes: tuple[SliceStroke, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether all that it says is boxes, drawn for this slice."""
        more = self.points or self.outline or self.candidate or self.painted is not None
        return bool(self.boxes) and not more

    @property
    def adds(self) -> bool:
        """Whether it says that something of the object is on this slice."""
        return self.locates or any(point.positive for point in self.points)

    @property
    def locates(self) -> bool:
        """Whether it says by itself where the object is on this slice (points do not)."""
        return bool(self.boxes) or self.painted is not None


@dataclass(frozen=True, eq=False)
class PromptedSlice:
    """A prompted slice with its accepted masks, one a component.

    Attributes
    ----------
    index
        The slice.
    parts
        As the model answered: chains start from these.
    boxes
        Of each part the box that was drawn for it; empty if none was.
    fit
        How far parts are moved towards their boxes, if at all.
    """

    index: int
    parts: tuple[SliceResult, ...]
    boxes: tuple[Box2D, ...] = ()
    fit: BoxFit | None = None

    @cached_property
    def shown(self) -> SliceResult:
        """All parts as one mask, each moved towards its box."""
        if not self.boxes or self.fit is None:
            return unite(self.parts)
        pairs = zip(self.parts, self.boxes, strict=True)
        return unite([fit_box(part, box, self.fit) for part, box in pairs])

    def only(self, numbers: Sequence[int]) -> PromptedSlice:
        """Some of its parts."""
        boxes = self.boxes and tuple(self.boxes[n] for n in numbers)
        return replace(self, parts=tuple(self.parts[n] for n in numbers), boxes=boxes)


def object_axis(obj: ObjectPrompts, default: int) -> int:
    """Canonical axis across which an object is segmented.

    That of its boxes; without boxes that across which its painted slices lie; else the default.
    Painted slices lie across an axis if no two neighbouring slices across it are painted; where
    that holds of several axes (a line, a voxel), the default counts if it is one, else the axis
    with the fewest painted slices.

    Raises
    ------
    PromptError
        If its boxes lie on slices of different planes.
    """
    axes = {box.axis for box in obj.boxes}
    if len(axes) > 1:
        raise PromptError(
            f"the boxes of {obj.name!r} lie on slices of different planes; "
            "expected one plane for each object"
        )
    if axes:
        return axes.pop()
    return default if obj.mask is None else _painted_axis(obj.mask, default)


def _painted_axis(mask: MaskPrompt, default: int) -> int:
    counts = {}
    for axis in sorted(range(3), key=lambda a: a != default):
        at = mask.slices(axis)
        if len(at) and (np.diff(at) > 1).all():
            counts[axis] = len(at)
        if default in counts:
            break  # the usual case, and a look at all voxels takes its time
    return default if default in counts or not counts else min(counts, key=lambda a: counts[a])


def check_plane(obj: ObjectPrompts, axis: int) -> None:
    """Make sure that an object's boxes lie on slices across ``axis``.

    Raises
    ------
    PromptError
        If one does not.
    """
    names = list(PLANES)
    for box in obj.boxes:
        if box.axis != axis:
            raise PromptError(
                f"the box of {obj.name!r} lies on {names[box.axis]} slice {box.index}, but the "
                f"plane is {names[axis]}; leave the plane at auto, or draw the box in that plane"
            )


def check_ranges(obj: ObjectPrompts, axis: int) -> None:
    """Make sure that no prompt lies on a slice beyond the object's 3D boxes.

    Negative points may: there the object is not, anyway.

    Raises
    ------
    PromptError
        If one does.
    """
    ranges = [block.range(axis) for block in obj.blocks]
    for index, said in slice_prompts(obj, axis).items():
        within = not ranges or any(low <= index < high for low, high in ranges)
        if not within and (said.locates or any(p.positive for p in said.points)):
            raise PromptError(
                f"{obj.name!r} has a prompt on {list(PLANES)[axis]} slice {index}, which its 3D "
                f"box excludes (slices {min(r[0] for r in ranges)} to "
                f"{max(r[1] for r in ranges) - 1}); enlarge the 3D box"
            )


def slice_prompts(obj: ObjectPrompts, axis: int) -> dict[int, SlicePrompts]:
    """Prompts of one object by slice across an axis; 3D boxes are not among them."""
    boxes: dict[int, list[Box2D]] = {}
    for box in obj.boxes:
        boxes.setdefault(box.index, []).append(box.box)
    points: dict[int, list[ClickedPoint]] = {}
    for point in obj.points:
        row, col = (p for a, p in enumerate(point.at) if a != axis)
        clicked = ClickedPoint(row, col, point.positive)
        points.setdefault(point.at[axis], []).append(clicked)
    masks: dict[int, NDArray[np.bool_]] = {}
    if obj.mask is not None:
        for index in obj.mask.slices(axis):
            masks[int(index)] = np.take(obj.mask.voxels, index, axis=axis)
    return {
        index: SlicePrompts(
            index,
            tuple(boxes.get(index, ())),
            tuple(points.get(index, ())),
            masks.get(index),
            hash(masks[index].tobytes()) if index in masks else 0,
            candidate=obj.candidate,
            strokes=_strokes(obj, axis, index),
        )
        for index in sorted({*boxes, *points, *masks})
    }


def _strokes(obj: ObjectPrompts, axis: int, index: int) -> tuple[SliceStroke, ...]:
    """What scribbles pass on a slice, of those for which points on it stand."""
    drawn = dict.fromkeys(p.drawn for p in obj.points if p.drawn and p.at[axis] == index)
    strokes = []
    for one in drawn:
        here = one.voxels[one.voxels[:, axis] == index]
        strokes.append(SliceStroke(np.delete(here, axis, axis=1), one.positive))
    return tuple(strokes)


def with_final(
    prompts: Mapping[int, SlicePrompts], propagate: str, slices: int
) -> dict[int, SlicePrompts]:
    """The same prompts, with those marked from which no chain starts and that say boxes alone.

    Parameters
    ----------
    prompts
        Of one object, by slice: all that chains may start from.
    propagate
        ``"auto"``, ``"between"`` or ``"off"``.
    slices
        Number of slices of the stack.
    """
    low, high = min(prompts, default=0), max(prompts, default=0)

    def followed(index: int) -> bool:
        """Whether a chain reaches this slice."""
        if propagate == "off" or index in prompts or not 0 <= index < slices:
            return False
        return propagate == "auto" or low < index < high

    return {
        i: replace(said, final=said.plain and not (followed(i - 1) or followed(i + 1)))
        for i, said in prompts.items()
    }


def decode_prompted(decoder: SliceDecoder, prompts: SlicePrompts) -> PromptedSlice:
    """Segment a prompted slice from the prompts on it.

    A painted slice is taken as it is; points on it correct it. Each box gives one component: a
    positive point goes to the box that holds it (else the nearest), a negative one to all.
    """
    if prompts.painted is not None:
        part = painted(prompts.index, prompts.painted)
        if prompts.points:
            return correct_prompted(decoder, prompts, part)
        return PromptedSlice(prompts.index, (part,))
    if not prompts.boxes:
        asked = [
            SlicePrompt(
                None,
                prompts.points,
                name="strokes" if prompts.strokes else "points",
                candidate=prompts.candidate,
                strokes=prompts.strokes,
            )
        ]
    else:
        by_box = _points_by_box(prompts.boxes, prompts.points)
        stroked = _strokes_by_box(prompts.boxes, prompts.strokes)
        asked = [
            SlicePrompt(
                box,
                tuple(points),
                prompts.prior,
                _name(prompts, bool(points)),
                prompts.depth,
                final=prompts.final,
                candidate=prompts.candidate,
                strokes=tuple(strokes),
            )
            for box, points, strokes in zip(prompts.boxes, by_box, stroked, strict=True)
        ]
    return PromptedSlice(prompts.index, tuple(decoder.decode(prompts.index, asked)))


def _name(prompts: SlicePrompts, points: bool) -> str:
    """What a boxed slice is asked with, in words."""
    return "box" + " + mask" * (prompts.prior is not None) + " + points" * points


def correct_prompted(
    decoder: SliceDecoder, prompts: SlicePrompts, former: SliceResult
) -> PromptedSlice:
    """Segment a slice again with clicks on it, starting from its former mask."""
    rows, cols = former.box.shape
    box = former.box.expand(max(1, CLICK_MARGIN * rows), max(1, CLICK_MARGIN * cols))
    said = SlicePrompt(points=prompts.points, strokes=prompts.strokes)
    for shown in said.shown:
        box = box.union(shown.expand(1))
    more = "strokes" if prompts.strokes else "points"
    asked = replace(
        said, box=box.clip(decoder.stack.shape), prior=former, name=f"box + mask + {more}"
    )
    return PromptedSlice(prompts.index, tuple(decoder.decode(prompts.index, [asked])))


def middle(block: Box3D, axis: int) -> SlicePrompts:
    """The middle slice of a 3D box, prompted by the box's outline."""
    low, high = block.range(axis)
    index = (low + high - 1) // 2
    boxes, depth = (block.across(axis),), depth_in(low, high, index)
    return SlicePrompts(index, boxes, depth=depth, outline=high - low > 1)


def depth_in(low: int, high: int, index: int) -> float:
    """Where a slice lies in the half-open range ``low`` to ``high``: -1 and 1 are its ends."""
    return (2 * index + 1 - low - high) / (high - low)


def _points_by_box(
    boxes: Sequence[Box2D], points: Sequence[ClickedPoint]
) -> list[list[ClickedPoint]]:
    by_box: list[list[ClickedPoint]] = [[] for _ in boxes]
    for point in points:
        if not point.positive:
            for own in by_box:
                own.append(point)
            continue
        away = [_distance(point, box) for box in boxes]
        by_box[int(np.argmin(away))].append(point)
    return by_box


def _strokes_by_box(
    boxes: Sequence[Box2D], strokes: Sequence[SliceStroke]
) -> list[list[SliceStroke]]:
    """Each scribble to the box that holds or is nearest to its middle; one outside to all."""
    by_box: list[list[SliceStroke]] = [[] for _ in boxes]
    for stroke in strokes:
        row, col = stroke.pixels[len(stroke.pixels) // 2]
        away = [_distance(ClickedPoint(int(row), int(col)), box) for box in boxes]
        for own in by_box if not stroke.positive else [by_box[int(np.argmin(away))]]:
            own.append(stroke)
    return by_box


def _distance(point: ClickedPoint, box: Box2D) -> float:
    dr = max(box.r0 - point.row, 0, point.row - box.r1 + 1)
    dc = max(box.c0 - point.col, 0, point.col - box.c1 + 1)
    return float(np.hypot(dr, dc))
