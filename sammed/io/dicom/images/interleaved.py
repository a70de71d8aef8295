"""Several volumes whose slices lie between each other's: echoes, phases, acquisitions.

Planes at one position are told apart in `sammed.io.dicom.images.stacks`. Here no two planes share
a position, and yet they are several volumes: two echoes offset by half a slice look like one volume
of twice as many slices. One MR volume is acquired in interleaved packages, too, so what the headers
say of the spacing decides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sammed.io.dicom.images.planes import PHYSICAL, Key, Plane, split_name, split_priority
from sammed.io.dicom.images.stacks import Stack, distances, label_of, sort_key, value_of

SAME_SHARE = 0.01
SAME_MM = 0.06
"""Positions and spacings that differ by no more, relative or in mm, are the same."""

MIN_SLICES = 2
MAX_DOUBTS = 2

_Groups = dict[Key | None, list[int]]
"""Value of an element → the slices that have it, ascending."""


def take_apart(stack: Stack) -> tuple[Stack, ...]:
    """The volumes whose slices are interleaved in a stack; the stack itself if it is one.

    Slices that an element sorts into evenly spaced stacks, of which at least two lie within each
    other, are several volumes if the headers state the spacing of these (SpacingBetweenSlices), or
    if together they are not evenly spaced. If the headers state the spacing of all slices together
    they are one. If they state neither, the element decides (`PHYSICAL`), and for the others
    whether slices of that thickness would overlap. `PHYSICAL` elements also take uneven slices
    apart that are no even stacks either: interpolation would mix what they tell apart.

    Parameters
    ----------
    stack
        Sorted along its normal, no two slices at one position.

    Returns
    -------
    tuple of Stack
        In the order of the element's values; a note where it was in doubt.
    """
    if stack.is_picture or len(stack.planes) < MIN_SLICES:
        return (stack,)
    d = distances(stack.planes)
    doubts = []
    for name in _varying(stack.planes):
        groups = _groups(name, stack.planes)
        several, doubt = _judged(name, groups, stack.planes, d)
        if several:
            return tuple(_parts(stack, name, groups))
        doubts += [doubt] if doubt else []
    return (replace(stack, notes=(*stack.notes, *doubts[:MAX_DOUBTS])),)


def _judged(
    name: str, groups: _Groups, planes: Sequence[Plane], d: NDArray[np.float64]
) -> tuple[bool, str]:
    """Whether the slices that an element sorts are several volumes; else what there is to say."""
    physical = name in PHYSICAL
    sizes = [len(ks) for ks in groups.values()]
    if len(sizes) > len(planes) / 2 or not _within_each_other(groups):
        return False, _difference(name, groups) if physical else ""
    if physical and not _is_even(d):
        return True, ""
    step = _common_step(groups, d)
    if step is None or min(sizes) < MIN_SLICES or (max(sizes) <= MIN_SLICES and not physical):
        return False, _difference(name, groups) if physical else ""
    several, certain = _are_several(physical, planes, d, step)
    return several, "" if certain else _doubt(name, groups, d)


def _varying(planes: Sequence[Plane]) -> list[str]:
    names = dict.fromkeys(name for p in planes for name in p.keys)
    return sorted(
        (name for name in names if len({p.keys.get(name) for p in planes}) > 1),
        key=split_priority,
    )


def _groups(name: str, planes: Sequence[Plane]) -> _Groups:
    groups: _Groups = defaultdict(list)
    for k, plane in enumerate(planes):
        groups[plane.keys.get(name)].append(k)
    return groups


def _common_step(groups: _Groups, d: NDArray[np.float64]) -> float | None:
    """Spacing in mm that all groups of slices have, but for missing ones; None if they do not."""
    gaps = [np.diff(d[ks]) for ks in groups.values() if len(ks) > 1]
    step = float(np.median(np.concatenate(gaps)))
    for found in gaps:
        counts = np.rint(found / step)
        if counts.min() < 1 or np.abs(found - counts * step).max() > _tolerance(step):
            return None
    return step


def _within_each_other(groups: _Groups) -> bool:
    """Whether slices of a group lie between slices of another."""
    ends = sorted((ks[0], ks[-1]) for ks in groups.values())
    return any(b[0] < a[1] for a, b in combinations(ends, 2))


def _are_several(
    physical: bool, planes: Sequence[Plane], d: NDArray[np.float64], step: float
) -> tuple[bool, bool]:
    """Whether groups of slices ``step`` mm apart are several volumes, and if that is certain."""
    together = float(np.median(np.diff(d)))
    stated = {p.spacing_between for p in planes}
    if not _is_even(d) or _all_near(stated, step):
        return True, True
    if _all_near(stated, together):
        return False, not physical
    if physical:
        return True, True
    return _all_near({p.slice_thickness for p in planes}, step), False


def _is_even(d: NDArray[np.float64]) -> bool:
    gaps = np.diff(d)
    step = float(np.median(gaps))
    return bool(np.abs(gaps - step).max() <= _tolerance(step))


def _all_near(stated: Iterable[float | None], step: float) -> bool:
    return all(s is not None and abs(s - step) <= _tolerance(step) for s in stated)


def _tolerance(step: float) -> float:
    return max(SAME_SHARE * step, min(SAME_MM, 0.1 * step))


def _parts(stack: Stack, name: str, groups: _Groups) -> Iterable[Stack]:
    for value in _in_order(groups):
        label = ", ".join(filter(None, (stack.label, label_of((name,), (value,)))))
        planes = tuple(stack.planes[k] for k in groups[value])
        yield from take_apart(Stack(planes, label, stack.notes))


def _in_order(groups: _Groups) -> list[Key | None]:
    return sorted(groups, key=lambda value: sort_key((value,)))


def _difference(name: str, groups: _Groups) -> str:
    return f"slices of different {split_name(name)} ({_shown(groups)}) are read as one volume"


def _doubt(name: str, groups: _Groups, d: NDArray[np.float64]) -> str:
    return (
        f"slices of different {split_name(name)} ({_shown(groups)}) lie between each other; read "
        f"as one volume of {float(np.median(np.diff(d))):.4g} mm spacing: the headers do not say "
        "that they are several"
    )


def _shown(groups: _Groups) -> str:
    values = _in_order(groups)
    more = f" and {len(values) - 3} more" if len(values) > 3 else ""
    return " and ".join(map(value_of, values[:3])) + more
