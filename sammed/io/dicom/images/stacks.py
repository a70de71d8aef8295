"""One series, one or several stacks of slices: orientations, echoes, time points, duplicates."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sammed.errors import GeometryError, IrregularSpacingError, OrientationError
from sammed.io.dicom import tags
from sammed.io.dicom.images.planes import Key, Plane, split_name, split_priority
from sammed.io.dicom.images.strays import (
    Sameness,
    without_copies,
    without_localizers,
    without_screenshots,
)

SAME_ORIENTATION = 1e-3
"""Direction cosines that differ by less belong to one orientation (0.06 degrees)."""

SAME_POSITION_MM = 0.01
"""Slices nearer to each other than this, along their normal, lie at one position."""

SAME_POSITION_SHARE = 0.05
"""And so do images of which the furthest are no further apart than this share of a slice."""

MAX_ORIENTATIONS = 12
_NEEDS_GEOMETRY = {"CT", "MR", "PT"}


@dataclass(frozen=True)
class Stack:
    """Planes of one orientation, no two at one position, sorted along their normal.

    Attributes
    ----------
    planes
        In the order of the file array's k.
    label
        What tells it from the other stacks of the series, ``""`` if it is the only one.
    notes
        What was left out, or decided.
    """

    planes: tuple[Plane, ...]
    label: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_picture(self) -> bool:
        """Whether it is a single picture that does not say where it lies."""
        return not self.planes[0].has_geometry


def split(planes: Sequence[Plane], same_pixels: Sameness) -> tuple[Stack, ...]:
    """The stacks that the planes of one series form.

    Parameters
    ----------
    planes
        Of one series, in any order.
    same_pixels
        Whether two planes hold the same real-world pixels; asked only of planes at one position.

    Returns
    -------
    tuple of Stack
        At least one.

    Raises
    ------
    OrientationError
        If position or orientation is missing or malformed, or the orientations form no stacks.
    GeometryError
        If the pixel spacing is missing, zero or negative.
    IrregularSpacingError
        If different images lie at one position and nothing tells them apart.
    """
    planes, notes = without_localizers(planes)
    planes, screenshots = without_screenshots(planes)
    planes, copies = without_copies(planes, same_pixels)
    notes += screenshots + copies
    if not any(p.has_geometry for p in planes) and not _needs_geometry(planes[0]):
        pictures = sorted(planes, key=lambda p: (p.order, p.name))
        several = len(pictures) > 1
        return tuple(
            Stack((p,), f"picture {i}" if several else "", notes) for i, p in enumerate(pictures)
        )
    check_geometry(planes)
    stacks: list[Stack] = []
    groups = _by_orientation(planes)
    for group in groups:
        named = _plane_name(group[0]) if len(groups) > 1 else ""
        for stack in _by_position(group, same_pixels):
            label = ", ".join(filter(None, (named, stack.label)))
            stacks.append(replace(stack, label=label, notes=notes + stack.notes))
    return tuple(stacks)


def normal(plane: Plane) -> NDArray[np.float64]:
    """Unit normal of a plane that has an orientation, (3,) float64, LPS."""
    o = np.asarray(plane.orientation, np.float64)
    n = np.cross(o[:3], o[3:])
    return np.asarray(n / np.linalg.norm(n), np.float64)


def distances(planes: Sequence[Plane]) -> NDArray[np.float64]:
    """Positions of planes along the first one's normal, (n,) float64, mm."""
    return np.array([p.position for p in planes], np.float64) @ normal(planes[0])


def _needs_geometry(plane: Plane) -> bool:
    return tags.text(plane.file.header, "Modality") in _NEEDS_GEOMETRY


def check_geometry(planes: Sequence[Plane]) -> None:
    """Make sure that every plane says where it lies.

    Raises
    ------
    OrientationError
        If a position or orientation is missing, or its axes are not two orthogonal unit vectors.
    GeometryError
        If the pixel spacing is missing, zero or negative.
    """
    _require(planes, lambda p: p.position is None, "ImagePositionPatient", OrientationError)
    _require(planes, lambda p: p.orientation is None, "ImageOrientationPatient", OrientationError)
    _require(planes, lambda p: p.spacing is None, "PixelSpacing", GeometryError)
    for p in planes:
        if min(p.spacing or (0.0,)) <= 0:
            raise GeometryError(
                f"{p.name} has PixelSpacing {_join(p.spacing or ())} mm; expected two positive "
                "numbers: repair its header"
            )
        _check_axes(p)


def _check_axes(plane: Plane) -> None:
    o = np.asarray(plane.orientation, np.float64)
    lengths = np.linalg.norm(o[:3]), np.linalg.norm(o[3:])
    if max(abs(length - 1) for length in lengths) > 0.01 or abs(float(o[:3] @ o[3:])) > 0.01:
        raise OrientationError(
            f"{plane.name} has ImageOrientationPatient {_join(plane.orientation or ())}; "
            "expected two orthogonal unit vectors: repair its header"
        )


def _require(
    planes: Sequence[Plane],
    lacks: Callable[[Plane], bool],
    keyword: str,
    error: type[GeometryError],
) -> None:
    lacking = [p for p in planes if lacks(p)]
    if lacking:
        raise error(
            f"{len(lacking)} of {len(planes)} images have no usable {keyword} "
            f"(first: {lacking[0].name}), so they cannot be placed in the patient; "
            "export the series again with its geometry"
        )


def _by_orientation(planes: Sequence[Plane]) -> list[list[Plane]]:
    groups: list[list[Plane]] = []
    cosines: list[NDArray[np.float64]] = []
    for p in planes:
        o = np.asarray(p.orientation, np.float64)
        for group, other in zip(groups, cosines, strict=True):
            if np.abs(o - other).max() <= SAME_ORIENTATION:
                group.append(p)
                break
        else:
            groups.append([p])
            cosines.append(o)
        if len(groups) > MAX_ORIENTATIONS:
            raise OrientationError(
                f"the images have more than {MAX_ORIENTATIONS} different orientations, so they "
                "form no stack of parallel slices (a radial or rotating series, or localisers)"
            )
    return sorted(groups, key=len, reverse=True)


def _plane_name(plane: Plane) -> str:
    axis = int(np.argmax(np.abs(normal(plane))))
    return ("sagittal", "coronal", "axial")[axis]


def _by_position(planes: Sequence[Plane], same_pixels: Sameness) -> list[Stack]:
    """Split planes of one orientation so that no two of a stack lie at one position."""
    places = _places(planes)
    if len(places) == len(planes):
        return [Stack(_sorted(planes))]
    names = _explaining(places)
    if names:
        groups: dict[tuple[Key | None, ...], list[Plane]] = defaultdict(list)
        for p in planes:
            groups[tuple(p.keys.get(name) for name in names)].append(p)
        ordered = sorted(groups.items(), key=lambda item: sort_key(item[0]))
        return [Stack(_sorted(group), label_of(names, values)) for values, group in ordered]
    kept = [_distinct(place, same_pixels) for place in places]
    dropped = len(planes) - sum(map(len, kept))
    notes = (f"{dropped} duplicate image{_s(dropped)} left out",) if dropped else ()
    return [replace(stack, notes=notes) for stack in _by_rank(kept)]


def _places(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Planes at one position together, positions ascending."""
    d = distances(planes)
    order = np.argsort(d, kind="stable")
    steps = np.diff(d[order])
    apart = steps[steps > 1e-4]
    tolerance = min(SAME_POSITION_MM, 0.1 * float(np.median(apart))) if len(apart) else np.inf
    thickness = planes[0].thickness
    if thickness and float(np.ptp(d)) <= min(SAME_POSITION_MM, SAME_POSITION_SHARE * thickness):
        tolerance = np.inf  # one slice several times, placed to the micrometre
    places: list[list[Plane]] = [[planes[order[0]]]]
    for index, step in zip(order[1:], steps, strict=True):
        if step > tolerance:
            places.append([])
        places[-1].append(planes[index])
    return [sorted(place, key=lambda p: (p.order, p.name)) for place in places]


def _explaining(places: Sequence[Sequence[Plane]]) -> tuple[str, ...]:
    """Elements by whose values no two planes at one position are alike; empty if none do.

    As few as possible, and such as make few, large groups: a trigger time that differs from slice
    to slice explains nothing.
    """
    crowded = [place for place in places if len(place) > 1]
    varying = [
        name
        for name in dict.fromkeys(name for place in crowded for p in place for name in p.keys)
        if any(len({p.keys.get(name) for p in place}) > 1 for place in crowded)
    ]
    varying.sort(key=split_priority)
    highest = max(len(place) for place in crowded)
    for exact in (True, False):
        for count in (1, 2, 3):
            for names in combinations(varying, count):
                if _tells_apart(names, places, highest, exact):
                    return names
    return ()


def _tells_apart(
    names: tuple[str, ...], places: Sequence[Sequence[Plane]], highest: int, exact: bool
) -> bool:
    sizes: Counter[tuple[Key | None, ...]] = Counter()
    for place in places:
        values = [tuple(p.keys.get(name) for name in names) for p in place]
        if len(set(values)) < len(values):
            return False
        sizes.update(values)
    if exact:
        return len(sizes) == highest
    return len(places) > 1 and min(sizes.values()) > 1


def _distinct(place: Sequence[Plane], same_pixels: Sameness) -> list[Plane]:
    kept: list[Plane] = []
    for p in place:
        if not any(same_pixels(p, other) for other in kept):
            kept.append(p)
    return kept


def _by_rank(places: Sequence[Sequence[Plane]]) -> list[Stack]:
    """The n-th image at each position, by instance number, makes the n-th stack."""
    counts = {len(place) for place in places}
    if counts == {1}:
        return [Stack(_sorted([place[0] for place in places]))]
    if len(counts) > 1:
        crowded = max(places, key=len)
        raise IrregularSpacingError(
            f"the positions of the series hold {min(counts)} to {max(counts)} different images "
            f"each, and nothing in their headers sorts them into complete stacks (most: "
            f"{crowded[0].name} and {len(crowded) - 1} more at one position); it is no one volume: "
            "export it again, or give a folder with one image at each position"
        )
    return [
        Stack(_sorted([place[n] for place in places]), f"image {n + 1} at each position")
        for n in range(counts.pop())
    ]


def _sorted(planes: Iterable[Plane]) -> tuple[Plane, ...]:
    planes = list(planes)
    return tuple(planes[i] for i in np.argsort(distances(planes), kind="stable"))


def sort_key(values: tuple[Key | None, ...]) -> tuple[tuple[int, float, str], ...]:
    """Sorts values of elements: none, then numbers, then texts."""
    return tuple(
        (0, v, "") if isinstance(v, float) else (1, 0.0, v) if v else (-1, 0.0, "") for v in values
    )


def label_of(names: tuple[str, ...], values: tuple[Key | None, ...]) -> str:
    """What people call a stack, by the elements that tell it from others."""
    parts = []
    for name, found in zip(names, values, strict=True):
        parts.append(f"{split_name(name)} {value_of(found)}")
    return ", ".join(parts)


def value_of(found: Key | None) -> str:
    """What people are shown of an element's value."""
    return f"{found:g}" if isinstance(found, float) else str(found or "none")


def _join(values: Iterable[float]) -> str:
    return "\\".join(f"{v:g}" for v in values)


def _s(count: int) -> str:
    return "" if count == 1 else "s"
