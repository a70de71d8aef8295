"""The plan of what is learned, from the cases themselves.

nnU-Net's rules (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z) for spacing, brightness and
which axes are halved; patches as large as two cores are quick with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.errors import InputError
from sammed.imaging.intensity import ct_offset
from sammed.imaging.volume import Volume
from sammed.models.learned.net import multiples
from sammed.models.learned.pieces import is_whole
from sammed.models.learned.plan import Brightness, Kind, Look, Mm3, Plan, Size3

SOLID_SAMPLES = 100_000
"""Most samples of a solid patch: two of them are a step of a tenth of a second on two cores."""

FLAT_SAMPLES = 160 * 160
"""Most of a slice."""

MOST_FINE = 40
"""Patches that the fine look may need for a scan; beyond, its samples are made coarser."""

TWO_LOOKS = 4.0
"""A scan of more patches than this is looked at coarsely first."""

FLAT_RATIO = 4.5
"""Slices thicker than this many pixels are looked at one by one..."""

FLAT_SLICES = 4
"""... and so are scans with no more slices than this."""

UNEVEN = 3.0
"""Voxels so much longer than wide take the finer spacings of the cases along their long axis."""

SIDES = re.compile(r"(?:^|[^a-z])(left|right|links|rechts|l|r)(?:$|[^a-z])", re.IGNORECASE)
"""Names of structures of one side: a scan in a mirror would show them on the other."""

FEW_WHOLE = 3
"""Label maps in which a structure is one piece before it is thought to be one everywhere."""

TAKEN = 20_000
"""Voxels of structures that a case adds to the statistics of brightness."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What a plan takes from a case.

    Attributes
    ----------
    shape, spacing
        Of the scan (z, y, x).
    kind
        Of its brightness.
    inside
        Some values of voxels in structures.
    whole
        Value of each structure that it has → whether that is one piece.
    """

    shape: Size3
    spacing: Mm3
    kind: Kind
    inside: NDArray[np.float32]
    whole: Mapping[int, bool]


def fingerprint(volume: Volume, labels: NDArray[np.unsignedinteger]) -> Fingerprint:
    """Of one case.

    Parameters
    ----------
    volume
        The scan.
    labels : (z, y, x)
        On its grid.
    """
    kind: Kind = "scan"
    if volume.is_colour:
        kind = "colour"
    elif volume.modality == "CT" or (not volume.modality and ct_offset(volume) == 0):
        kind = "ct"
    inside = volume.voxels[labels > 0].astype(np.float32).ravel()
    if len(inside) > TAKEN:
        inside = inside[:: -(-len(inside) // TAKEN)]
    return Fingerprint(volume.shape, volume.spacing, kind, inside, _whole_ones(labels))


def _whole_ones(labels: NDArray[np.unsignedinteger]) -> dict[int, bool]:
    return {
        value: is_whole(labels[place] == value)
        for value, place in enumerate(ndimage.find_objects(labels), 1)
        if place is not None
    }


def make_plan(prints: Sequence[Fingerprint], structures: Mapping[int, str]) -> Plan:
    """The plan for some cases.

    Parameters
    ----------
    prints
        Of the cases that are learned from, at least one.
    structures
        Value → name.

    Raises
    ------
    InputError
        If there is nothing to learn.
    """
    if not prints or not structures:
        raise InputError("nothing to learn from: expected cases, and a structure in one of them")
    spacing = _spacing(prints)
    shape = _shape(prints, spacing)
    mirrors: tuple[int, ...] = (2,)
    if any(SIDES.search(name.replace("_", " ")) for name in structures.values()):
        mirrors = ()
    brightness = _brightness(prints)
    flat = _flat_axis(shape, spacing)
    if flat is not None:
        look = _flat_look(flat, shape, spacing)
        looks: tuple[Look, ...] = (_evened(look) if brightness.kind == "scan" else look,)
        mirrors = tuple(axis for axis in mirrors if axis != flat)
    else:
        looks = _solid_looks(shape, spacing)
    single = tuple(value for value in structures if _is_single(value, prints))
    return Plan(dict(structures), looks, brightness, mirrors, single)


def _is_single(value: int, prints: Sequence[Fingerprint]) -> bool:
    each = [one.whole[value] for one in prints if value in one.whole]
    return len(each) >= FEW_WHOLE and all(each)


def _spacing(prints: Sequence[Fingerprint]) -> Mm3:
    """Medians; along an axis of long voxels the finer ones of the cases."""
    all_ = np.array([one.spacing for one in prints])
    middle = np.median(all_, axis=0)
    longest = int(middle.argmax())
    if middle[longest] > UNEVEN * np.delete(middle, longest).max():
        finer = float(np.percentile(all_[:, longest], 10))
        middle[longest] = max(finer, float(np.delete(middle, longest).max()))
    return float(middle[0]), float(middle[1]), float(middle[2])


def _shape(prints: Sequence[Fingerprint], spacing: Mm3) -> Size3:
    """Median extents in samples."""
    sizes = [
        [n * own / mm for n, own, mm in zip(one.shape, one.spacing, spacing, strict=True)]
        for one in prints
    ]
    z, y, x = (max(1, round(float(n))) for n in np.median(sizes, axis=0))
    return z, y, x


def _flat_axis(shape: Size3, spacing: Mm3) -> int | None:
    thick = int(np.argmax(spacing))
    others = [mm for axis, mm in enumerate(spacing) if axis != thick]
    few = int(np.argmin(shape))
    if shape[few] <= FLAT_SLICES:
        return few
    return thick if spacing[thick] > FLAT_RATIO * max(others) else None


def _flat_look(axis: int, shape: Size3, spacing: Mm3) -> Look:
    own = [0.0 if a == axis else mm for a, mm in enumerate(spacing)]
    bare = Look((own[0], own[1], own[2]), (1, 64, 64), axis, width=24, levels=5)
    order = bare.order
    patch = _patch([shape[a] for a in order[1:]], [own[a] for a in order[1:]], FLAT_SAMPLES)
    levels = _levels([max(8, n) for n in patch])
    return _whole(Look(bare.spacing, (1, patch[0], patch[1]), axis, width=24, levels=levels))


def _evened(look: Look) -> Look:
    """The same look, which also sees slices standardised by a quarter of a patch."""
    return replace(look, local=2 * (max(look.patch) // 8) + 1)


def _solid_looks(shape: Size3, spacing: Mm3) -> tuple[Look, ...]:
    if prod(shape) <= TWO_LOOKS * SOLID_SAMPLES:
        return (_solid_look(shape, spacing),)
    coarse = _coarser(spacing, shape, SOLID_SAMPLES)
    fine = _coarser(spacing, shape, MOST_FINE * SOLID_SAMPLES)
    return (
        _solid_look(_extents(shape, spacing, coarse), coarse),
        _solid_look(_extents(shape, spacing, fine), fine),
    )


def _solid_look(shape: Size3, spacing: Mm3) -> Look:
    patch = _patch(shape, spacing, SOLID_SAMPLES)
    bare = Look(spacing, (patch[0], patch[1], patch[2]), None, levels=_levels(patch))
    return _whole(bare)


def _patch(shape: Sequence[int], mm: Sequence[float], most: int) -> list[int]:
    """The whole scan, or as much of it as is allowed, about as long in mm along each axis."""
    patch = [float(n) for n in shape]
    while prod(patch) > most:
        longest = int(np.argmax([n * one for n, one in zip(patch, mm, strict=True)]))
        patch[longest] *= 0.97
    return [max(1, round(n)) for n in patch]


def _levels(patch: Sequence[int]) -> int:
    """As many as leave five places along the longest axis, at most five."""
    return int(np.clip(np.floor(np.log2(max(patch) / 5)) + 1, 2, 5))


def _whole(look: Look) -> Look:
    """The same look with a patch that can be halved as often as its network does."""
    of = multiples(look)
    z, y, x = (-(-n // by) * by for n, by in zip(look.patch, of, strict=True))
    return replace(look, patch=(z, y, x))


def _coarser(spacing: Mm3, shape: Size3, most: int) -> Mm3:
    """Spacings at which a scan has no more samples than that; the finest axes give way first."""
    mm = list(spacing)
    while prod(n * own / one for n, own, one in zip(shape, spacing, mm, strict=True)) > most:
        mm[int(np.argmin(mm))] *= 1.03
    return mm[0], mm[1], mm[2]


def _extents(shape: Size3, spacing: Mm3, to: Mm3) -> Size3:
    z, y, x = (max(1, round(n * a / b)) for n, a, b in zip(shape, spacing, to, strict=True))
    return z, y, x


def _brightness(prints: Sequence[Fingerprint]) -> Brightness:
    kinds = {one.kind for one in prints}
    if "colour" in kinds:
        return Brightness("colour")
    if kinds != {"ct"}:
        return Brightness("scan")
    inside = np.concatenate([one.inside for one in prints])
    if not len(inside):
        return Brightness("scan")
    low, high = (float(v) for v in np.percentile(inside, [0.5, 99.5]))
    inside = inside.clip(low, high)
    return Brightness("ct", low, high, float(inside.mean()), max(float(inside.std()), 1.0))
