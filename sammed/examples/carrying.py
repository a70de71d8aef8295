"""One labelled scan laid onto another: found coarsely, bent, bent again round each object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.imaging import geometry
from sammed.imaging import registration as reg
from sammed.imaging.boxes import Box3D
from sammed.imaging.geometry import Affine
from sammed.imaging.volume import LabelVolume, Volume

MARGIN_MM = 25.0
"""Round an object; what lies within is bent once more."""

UNSURE = 0.75
"""Correlation of the bent images below which an object is looked for by itself as well: pictures of
the heart, whose chests differ, have 0.4 to 0.7, hippocampi 0.87, abdomens 0.91."""

SECTION_MM = 8.0
"""Round an object of a picture; what lies within is looked for in another at any size. Of 60
pictures of the heart, by ``python -m benchmarks.sections``: Dice 0.75 with it, 0.70 with 14 mm,
0.52 with 25."""

SECTION_MARGIN_MM = 15.0
"""Round an object of a picture; what lies within is bent once it was found."""

NEARLY_ALL = 0.6
"""Objects whose neighbourhood is a larger share of the image have been bent with it already."""

RIM_MM = 6.0
"""How far beyond an object it is looked whether both scans show the same."""

LIKENESS_MM = 2.0
"""Width of the Gaussian in which the two are compared voxel by voxel, see `voting`."""

FEW_VOXELS = 400_000
"""Neighbourhoods are compared on every n-th voxel if they have more."""

Bool3 = NDArray[np.bool_]
Float3 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Carried:
    """An object of an example, on the new scan's grid.

    Attributes
    ----------
    block
        Where it may be, in canonical voxels; elsewhere the example says that it is not.
    chance : (z, y, x) float32
        On the block, [0, 1]: of being the object, by this example.
    covered : (z, y, x) bool
        On the block: what the example shows at all.
    weight : (z, y, x) float32
        On the block: how alike both scans are there, [0, 1].
    likeness
        Correlation of both in the object and its rim, -1 to 1.
    kept
        Volume in the new scan / volume in the example.
    contrast
        Step of the values from rim to object in the new scan / in the example, where it has any.
    least_stretch
        The smallest Jacobian in the object; 0 and less where space is folded.
    """

    block: Box3D
    chance: Float3
    covered: Bool3
    weight: Float3
    likeness: float
    kept: float
    contrast: float
    least_stretch: float

    @property
    def mask(self) -> Bool3:
        """Where it is likely, on the block."""
        return self.chance > 0.5


@dataclass(frozen=True, eq=False)
class Laid:
    """An example laid onto the new scan as a whole.

    Attributes
    ----------
    alignment
        From the new scan to the example.
    similarity
        Correlation of both after the affine part.
    """

    alignment: reg.Alignment
    similarity: float


@dataclass(frozen=True, eq=False)
class Target:
    """The new scan, with what is needed of it again and again."""

    volume: Volume
    grey: reg.Grey
    values: Float3

    @classmethod
    def of(cls, volume: Volume) -> Target:
        """A volume, prepared."""
        prepared = reg.grey(volume)
        return cls(volume, prepared, prepared.values(volume.shape))


def lay(target: Target, example: Volume, check: Callable[[], None] | None = None) -> Laid:
    """Find an example in the new scan and bring the two together, as a whole.

    Raises
    ------
    InputError
        If one is a slice and the other is not, or all its voxels have one value.
    """
    moving = reg.grey(example)
    found = reg.coarse(target.grey, moving)
    if check:
        check()
    close = reg.affine(target.grey, moving, found, check=check)
    return Laid(close, close.similarity)


def bend(
    target: Target, example: Volume, laid: Laid, check: Callable[[], None] | None = None
) -> reg.Alignment:
    """The whole example, bent onto the new scan."""
    even = not same_units(target.volume, example)
    return reg.deformed(target.grey, reg.grey(example), laid.alignment, check=check, contrast=even)


def same_units(a: Volume, b: Volume) -> bool:
    """Whether the same value means the same tissue in both: in CT it does."""
    return a.modality == b.modality == "CT"


def carry(
    target: Target,
    example: Volume,
    labels: LabelVolume,
    values: Mapping[str, int],
    whole: reg.Alignment,
    check: Callable[[], None] | None = None,
    done: Callable[[], None] = lambda: None,
) -> dict[str, Carried]:
    """Objects of an example on the new scan, each bent once more in its neighbourhood.

    Parameters
    ----------
    target, example, labels
        The new scan, the labelled one and its labels.
    values
        Name → value in ``labels``; values that do not occur are left out.
    whole
        What `bend` gave.
    check
        Called often; may raise.
    done
        Called after each object that the example has.
    """
    moving = reg.grey(example)
    theirs = moving.values(example.shape)
    places: dict[Box3D, reg.Alignment] = {}
    found: dict[str, Carried] = {}
    for name, value in values.items():
        mask = labels.voxels == value
        if not mask.any():
            continue
        if target.grey.flat >= 0 and whole.similarity < UNSURE:
            found[name] = _section(target, example, moving, theirs, mask, check)
            done()
            continue
        best = _nowhere()
        block = _neighbourhood(target.volume, whole, mask, example.affine)
        if not block.is_empty:
            near = places.get(_wide(places, block) or block)
            if near is None:
                near = _closer(target, example, moving, whole, block, check)
                places[block] = near
            best = _carried(target, example, theirs, mask, near, block)
        if whole.similarity < UNSURE:
            for start in _others(target, moving, mask, example.affine, check):
                other = _from(target, example, moving, theirs, mask, start, check)
                best = max(best, other, key=lambda one: one.likeness)
        found[name] = best
        done()
        if check:
            check()
    return found


def _section(
    target: Target,
    example: Volume,
    moving: reg.Grey,
    theirs: Float3,
    mask: Bool3,
    check: Callable[[], None] | None,
) -> Carried:
    """An object of a picture that is unlike as a whole: looked for by itself, at any size."""
    spacing = [s if n > 1 else 1e6 for s, n in zip(example.spacing, mask.shape, strict=True)]
    near = ndimage.distance_transform_edt(~mask, spacing) <= SECTION_MM
    start = reg.sized(target.grey, moving, near, check)
    margin = SECTION_MARGIN_MM
    block = _neighbourhood(target.volume, start, mask, example.affine, margin)
    if block.is_empty:
        return _nowhere()
    region = reg.region_of(target.grey, block)
    even = not same_units(target.volume, example)
    bent = reg.deformed(target.grey, moving, start, region=region, check=check, contrast=even)
    onto = part_of_grid(target.volume.affine, block)
    before = start.carry(mask.astype(np.float32), example.affine, onto, block.shape)
    found = _carried(target, example, theirs, mask, bent, block)
    size = _kept(before, onto, mask, example)  # a section of an organ may have any: it is no sign
    return replace(found, kept=found.kept / max(size, 1e-6))


def _others(
    target: Target,
    moving: reg.Grey,
    mask: Bool3,
    affine: Affine,
    check: Callable[[], None] | None,
) -> list[reg.Alignment]:
    """Where else an object may lie: where its neighbourhood is found again, and in the middle."""
    box = Box3D.from_mask(mask)
    wide = [int(np.ceil(MARGIN_MM / s)) for s in geometry.spacing(affine)]
    low = [max(0, a - w) for a, w in zip(box.low, wide, strict=True)]
    high = [min(n, b + w) for n, b, w in zip(mask.shape, box.high, wide, strict=True)]
    if check:
        check()
    piece = reg.part_of(moving, Box3D(*low, *high))
    return [reg.coarse(target.grey, piece), reg.middles(target.grey, moving)]


def _from(
    target: Target,
    example: Volume,
    moving: reg.Grey,
    theirs: Float3,
    mask: Bool3,
    start: reg.Alignment,
    check: Callable[[], None] | None,
) -> Carried:
    """The object, from a place where it may be: fitted in its neighbourhood alone."""
    block = _neighbourhood(target.volume, start, mask, example.affine)
    if block.is_empty:
        return _nowhere()
    region = reg.region_of(target.grey, block)
    close = reg.affine(target.grey, moving, start, region=region, check=check)
    block = _neighbourhood(target.volume, close, mask, example.affine)
    if block.is_empty:
        return _nowhere()
    region = reg.region_of(target.grey, block)
    even = not same_units(target.volume, example)
    bent = reg.deformed(target.grey, moving, close, region=region, check=check, contrast=even)
    return _carried(target, example, theirs, mask, bent, block)


def _closer(
    target: Target,
    example: Volume,
    moving: reg.Grey,
    whole: reg.Alignment,
    block: Box3D,
    check: Callable[[], None] | None,
) -> reg.Alignment:
    if np.prod(block.shape) > NEARLY_ALL * np.prod(target.volume.shape) and _small(target):
        return whole
    region = reg.region_of(target.grey, block)
    even = not same_units(target.volume, example)
    return reg.deformed(target.grey, moving, whole, region=region, check=check, contrast=even)


def _small(target: Target) -> bool:
    """Whether the whole image was bent on voxels of its own, so that a part has no finer ones."""
    return bool(np.prod(target.volume.shape, dtype=np.int64) <= reg.FINE)


def _wide(places: Mapping[Box3D, reg.Alignment], block: Box3D) -> Box3D | None:
    """A neighbourhood that was looked at and holds nearly the same."""
    for other in places:
        common = np.prod(other.intersection(block).shape)
        if common >= 0.8 * max(np.prod(block.shape), np.prod(other.shape)):
            return other
    return None


def _nowhere() -> Carried:
    nothing = np.zeros((0, 0, 0), np.float32)
    return Carried(Box3D(0, 0, 0, 0, 0, 0), nothing, nothing > 0, nothing, 0.0, 0.0, 0.0, 0.0)


def _neighbourhood(
    volume: Volume, whole: reg.Alignment, mask: Bool3, affine: Affine, margin: float = MARGIN_MM
) -> Box3D:
    """Where an object may be in the new scan, with so many mm round it."""
    there = whole.carry(mask.astype(np.uint8), affine, volume.affine, volume.shape, nearest=True)
    if not there.any():
        return Box3D(0, 0, 0, 0, 0, 0)
    box = Box3D.from_mask(there != 0)
    wide = [int(np.ceil(margin / s)) for s in volume.spacing]
    low = [max(0, a - w) for a, w in zip(box.low, wide, strict=True)]
    high = [min(n, b + w) for n, b, w in zip(volume.shape, box.high, wide, strict=True)]
    return Box3D(*low, *high)


def _carried(
    target: Target,
    example: Volume,
    theirs: Float3,
    mask: Bool3,
    alignment: reg.Alignment,
    block: Box3D,
) -> Carried:
    onto, shape = part_of_grid(target.volume.affine, block), block.shape
    chance = alignment.carry(mask.astype(np.float32), example.affine, onto, shape)
    shown = alignment.carry(np.ones(mask.shape, np.float32), example.affine, onto, shape) > 0.5
    looks = alignment.carry(theirs, example.affine, onto, shape)
    values = target.values[block.slices]
    every = [max(1, round((np.prod(shape) / FEW_VOXELS) ** (1 / 3)))] * 3
    thin = tuple(slice(None, None, step) for step in every)
    spacing = [s * step for s, step in zip(target.volume.spacing, every, strict=True)]
    local = reg.local_likeness(values[thin], looks[thin], spacing, LIKENESS_MM)
    weight = _full(np.asarray((local + 1) / 2, np.float32), shape)
    inside = chance[thin] > 0.5
    rim = _rim(inside, spacing) & shown[thin]
    here, there = values[thin], looks[thin]
    return Carried(
        block,
        chance,
        shown,
        weight,
        _correlation(here, there, inside | rim),
        _kept(chance, onto, mask, example),
        _contrast(here, there, inside, rim),
        _least_stretch(alignment, onto, shape, chance),
    )


def part_of_grid(affine: Affine, block: Box3D) -> Affine:
    """The affine of a block of a grid."""
    part = affine.copy()
    part[:3, 3] = geometry.apply_affine(affine, np.array(block.low, np.float64))
    return part


def _full(values: Float3, shape: tuple[int, ...]) -> Float3:
    if values.shape == shape:
        return values
    zoom = [n / m for n, m in zip(shape, values.shape, strict=True)]
    grown = ndimage.zoom(values, zoom, order=1, grid_mode=True, mode="nearest")
    return np.asarray(grown[tuple(slice(0, n) for n in shape)], np.float32)


def _rim(inside: Bool3, spacing: list[float]) -> Bool3:
    if not inside.any():
        return inside
    away = ndimage.distance_transform_edt(~inside, spacing)
    return np.asarray((away > 0) & (away <= max(RIM_MM, 1.5 * min(spacing))))


def _correlation(a: Float3, b: Float3, where: Bool3) -> float:
    if np.count_nonzero(where) < 8:
        return 0.0
    x, y = a[where], b[where]
    if x.std() < 1e-6 or y.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])


def _contrast(here: Float3, there: Float3, inside: Bool3, rim: Bool3) -> float:
    """Step from rim to object, as a share of the example's; 1 where the example has none."""
    if not inside.any() or not rim.any():
        return 0.0
    theirs = float(there[inside].mean() - there[rim].mean())
    spread = float(there[inside].std() + there[rim].std()) / 2
    if abs(theirs) < 0.5 * spread or abs(theirs) < reg.FLATTEST:
        return 1.0
    return float(here[inside].mean() - here[rim].mean()) / theirs


def _kept(chance: Float3, onto: Affine, mask: Bool3, example: Volume) -> float:
    there = np.count_nonzero(chance > 0.5) * geometry.voxel_volume_ml(onto)
    return there / (np.count_nonzero(mask) * geometry.voxel_volume_ml(example.affine))


def _least_stretch(
    alignment: reg.Alignment, onto: Affine, shape: tuple[int, int, int], chance: Float3
) -> float:
    if not alignment.deforms or min(shape) < 3:
        return 1.0
    inside = chance > 0.5
    if not inside.any():
        return 0.0
    return float(np.quantile(alignment.stretch(onto, shape)[inside], 0.02))
