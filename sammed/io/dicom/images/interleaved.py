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
MAX_GROUPS = 100


def take_apart(stack: Stack) -> tuple[Stack, ...]:
    """The volumes whose slices are interleaved in a stack; the stack itself if it is one.

    Slices that an element sorts into evenly spaced stacks, of which at least two lie within each
    other, are several volumes if the headers state the spacing of these (SpacingBetweenSlices), or
    if together they are not evenly spaced. If the headers state the spacing of all slices together
    they are one. If they state neither, the element decides (`PHYSICAL`), and for the others
    whether slices of that thickness would overlap.

    Parameters
    ----------
    stack
        Sorted along its normal, no two slices at one position.

    Returns
    -------
    tuple of Stack
        In the order of the element's values; a note where it was in doubt.
    """
    if stack.is_picture or len(stack.planes) < 2 * MIN_SLICES:
        return (stack,)
    d = distances(stack.planes)
    doubts = []
    for name in _varying(stack.planes):
        groups = _groups(name, stack.planes)
        step = _common_step(groups, d)
        if step is None or not _within_each_other(groups):
            continue
        several, certain = _are_several(name, stack.planes, d, step)
        if several:
            return tuple(_parts(stack, name, groups))
        if not certain:
            doubts.append(_doubt(name, groups, d))
    return (replace(stack, notes=(*stack.notes, *doubts[:1])),)


def _varying(planes: Sequence[Plane]) -> list[str]:
    names = dict.fromkeys(name for p in planes for name in p.keys)
    return sorted(
        (name for name in names if len({p.keys.get(name) for p in planes}) > 1),
        key=split_priority,
    )


def _groups(name: str, planes: Sequence[Plane]) -> dict[Key | None, list[int]]:
    groups: dict[Key | None, list[int]] = defaultdict(list)
    for k, plane in enumerate(planes):
        groups[plane.keys.get(name)].append(k)
    return groups


def _common_step(groups: dict[Key | None, list[int]], d: NDArray[np.float64]) -> float | None:
    """Spacing in mm that all groups of slices have, but for missing ones; None if they do not."""
    sizes = [len(ks) for ks in groups.values()]
    if min(sizes) < MIN_SLICES or max(sizes) <= MIN_SLICES or len(sizes) > MAX_GROUPS:
        return None
    gaps = [np.diff(d[ks]) for ks in groups.values()]
    step = float(np.median(np.concatenate(gaps)))
    for found in gaps:
        counts = np.rint(found / step)
        if counts.min() < 1 or np.abs(found - counts * step).max() > _tolerance(step):
            return None
    return step


def _within_each_other(groups: dict[Key | None, list[int]]) -> bool:
    """Whether slices of a group lie between slices of another."""
    ends = sorted((ks[0], ks[-1]) for ks in groups.values())
    return any(b[0] < a[1] for a, b in combinations(ends, 2) if a[0] < b[0])


def _are_several(
    name: str, planes: Sequence[Plane], d: NDArray[np.float64], step: float
) -> tuple[bool, bool]:
    """Whether groups of slices ``step`` mm apart are several volumes, and if that is certain."""
    gaps = np.diff(d)
    together = float(np.median(gaps))
    if np.abs(gaps - together).max() > _tolerance(together):
        return True, True
    stated = {p.spacing_between for p in planes}
    if _all_near(stated, step):
        return True, True
    if _all_near(stated, together):
        return False, name not in PHYSICAL
    if name in PHYSICAL:
        return True, True
    return _all_near({p.slice_thickness for p in planes}, step), False


def _all_near(stated: Iterable[float | None], step: float) -> bool:
    return all(s is not None and abs(s - step) <= _tolerance(step) for s in stated)


def _tolerance(step: float) -> float:
    return max(SAME_SHARE * step, min(SAME_MM, 0.1 * step))


def _parts(stack: Stack, name: str, groups: dict[Key | None, list[int]]) -> Iterable[Stack]:
    for value, ks in sorted(groups.items(), key=lambda item: sort_key((item[0],))):
        label = ", ".join(filter(None, (stack.label, label_of((name,), (value,)))))
        yield from take_apart(Stack(tuple(stack.planes[k] for k in ks), label, stack.notes))


def _doubt(name: str, groups: dict[Key | None, list[int]], d: NDArray[np.float64]) -> str:
    values = sorted(groups, key=lambda value: sort_key((value,)))
    shown = " and ".join(map(value_of, values[:3]))
    more = f" and {len(values) - 3} more" if len(values) > 3 else ""
    return (
        f"slices of different {split_name(name)} ({shown}{more}) lie between each other; read as "
        f"one volume of {float(np.median(np.diff(d))):.4g} mm spacing: the headers do not say that "
        "they are several"
    )
