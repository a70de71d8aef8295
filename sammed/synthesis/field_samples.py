"""Training samples for the network for volumes: fields round objects of synthetic volumes.

The geometry is that of `sammed.models.compact.field`. Which part of a volume is seen depends on
what the user is supposed to have said; the prompts themselves are drawn later, by the trainer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sammed.models.compact.field import Field
from sammed.synthesis.blocks import drawn, some_slices
from sammed.synthesis.canvas import Target
from sammed.synthesis.fields import Array
from sammed.synthesis.recipes import choose
from sammed.synthesis.slab import Slab
from sammed.synthesis.source import Source, make_volume, unseen

FAMILIES: dict[str, float] = {"box": 0.44, "slice": 0.28, "free": 0.18, "close": 0.10}
"""What the user says first, and how often: a 3D box, a box on one slice, points or strokes or
painted slices; and of a 3D box a part seen closely, with a coarse answer to refine."""

FEW_SHARE = 0.08
"""Share of the volumes of which one slice, as pictures have, or a few are left. Without any, a
network lost pictures altogether while it became better at all else (research/29-volumes.md)."""

WIDTHS = (48, 128)
"""Least and most pixels across a volume of the generator."""

LEAST_VOXELS, LEAST_SAMPLES = 30, 24
"""Smaller objects are not asked for: in the volume, on the field."""


@dataclass(frozen=True)
class FieldSample:
    """What a field shows, and what is asked for; ``s`` samples a side.

    Attributes
    ----------
    image : (s, s, s) float16
        Brightness in [0, 1]; 0 beyond the image.
    target : (s, s, s) uint8
        The object.
    edges : (3, 2) float32
        Where the image begins and ends, in samples: its voxels lie between, of equal size.
    voxel : (3,) float32
        Size of a voxel in samples.
    step : (3,) float32
        From one sample to the next, in units of length.
    beyond : (6,) uint8
        Whether the object goes on beyond each face (z low, z high, y low, ...).
    family : int
        Which of `FAMILIES`.
    box : (3, 2) float32
        Edges in samples of the 3D box, or of the box on one slice, one voxel thick; NaN without.
    axis : int
        Across which that slice lies; 0 without.
    kind
        What drew the target.
    """

    image: NDArray[np.float16]
    target: NDArray[np.uint8]
    edges: Array
    voxel: Array
    step: Array
    beyond: NDArray[np.uint8]
    family: int
    box: Array
    axis: int
    kind: str


def field_volume(seed: tuple[int, ...], source: Source) -> Slab:
    """A synthetic volume, of few slices now and then; the same seed gives the same."""
    rng = np.random.default_rng((*seed, 2))
    volume = make_volume(seed, source, WIDTHS)
    return _few_slices(rng, volume) if rng.random() < FEW_SHARE else volume


def _few_slices(rng: np.random.Generator, volume: Slab) -> Slab:
    """One to five slices of a volume."""
    count = min(int(rng.choice((1, 1, 1, 2, 3, 4, 5))), len(volume.image))
    first = int(rng.integers(len(volume.image) - count + 1))
    part = slice(first, first + count)
    targets = [Target(t.kind, t.mask[part]) for t in volume.targets if t.mask[part].any()]
    return replace(volume, image=volume.image[part], targets=targets)


def draw_fields(seed: tuple[int, ...], count: int, size: int, source: Source) -> list[FieldSample]:
    """Samples of one synthetic volume; the same seed gives the same samples.

    Parameters
    ----------
    seed
        Seed of the volume and of everything drawn from it.
    count
        At most so many; fewer (even none) if the volume offers nothing to ask for.
    size
        Samples along each side of a field.
    source
        Where the volume comes from.
    """
    volume = field_volume(seed, source)
    rng = np.random.default_rng((*seed, 1))
    names, shares = list(FAMILIES), list(FAMILIES.values())
    samples: list[FieldSample] = []
    for _ in range(count if volume.targets else 0):
        target = choose(rng, volume.targets)
        if target.kind == "body" and rng.random() < 0.8:
            continue
        family = int(rng.choice(len(names), p=shares))
        boxed = names[family] in ("box", "close")
        if target.kind == "ghost" and not boxed:  # it fills its box, and nothing else shows it
            continue
        mask = drawn(rng, some_slices(rng, target.mask) if boxed else target.mask)
        if np.count_nonzero(mask) < LEAST_VOXELS:
            continue
        if unseen(rng, volume, target, mask):
            continue
        sample = _sample(rng, volume, mask, family, size, target.kind)
        if np.count_nonzero(sample.target) >= LEAST_SAMPLES:
            samples.append(sample)
    return samples


def _sample(
    rng: np.random.Generator,
    volume: Slab,
    mask: NDArray[np.bool_],
    family: int,
    size: int,
    kind: str,
) -> FieldSample:
    spacing = np.array((volume.slice_step, *volume.pixel))
    name = list(FAMILIES)[family]
    axis, box = 0, np.full((3, 2), np.nan)
    if name == "slice":
        axis = _axis(rng, spacing)
        box = _slice_box(rng, mask, axis)
        field = _round_slice(rng, box, axis, spacing, mask.shape, size)
    elif name == "free":
        field = _round_point(rng, mask, spacing, size)
    else:
        box = jittered(rng, _bounds(mask), mask.shape)
        field = _round_box(rng, box, size) if name == "box" else _close(rng, mask, box, size)
    cube = field.cube(mask.shape)
    inner = field.block(mask.shape)
    seen = cube.sample(mask[cube.used].astype(np.float32)) > 0.5
    return FieldSample(
        cube.sample(volume.image[cube.used]).astype(np.float16),
        seen.astype(np.uint8),
        field.spans((0, 0, 0), mask.shape).astype(np.float32),
        (1 / field.step).astype(np.float32),
        (field.step * spacing).astype(np.float32),
        np.array([part.any() for part in _outside(mask, inner.low, inner.high)], np.uint8),
        family,
        field.spans(box[:, 0].tolist(), box[:, 1].tolist()).astype(np.float32),
        axis,
        kind,
    )


def _outside(
    mask: NDArray[np.bool_], low: Sequence[int], high: Sequence[int]
) -> list[NDArray[np.bool_]]:
    """The parts of a mask beyond each face of a block, and within its sides."""
    parts = []
    for axis in range(3):
        for end in (slice(0, low[axis]), slice(high[axis], None)):
            where = [slice(a, b) for a, b in zip(low, high, strict=True)]
            where[axis] = end
            parts.append(mask[tuple(where)])
    return parts


def _bounds(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """First and one past the last voxel along each axis, (3, 2)."""
    filled = [
        np.flatnonzero(mask.any(tuple(a for a in range(3) if a != axis))) for axis in range(3)
    ]
    return np.array([(f[0], f[-1] + 1) for f in filled], float)


def jittered(
    rng: np.random.Generator, box: NDArray[np.float64], shape: Sequence[int]
) -> NDArray[np.float64]:
    """A box whose faces are off by up to 15 % of its size, now and then wider still.

    Parameters
    ----------
    rng
        Source of randomness.
    box : (d, 2)
        Whole numbers, half-open.
    shape
        Of the image along these ``d`` axes.

    Returns
    -------
    (d, 2)
        Whole numbers within the image.
    """
    sizes = box[:, 1] - box[:, 0]
    amount = float(rng.choice((0.0, 0.03, 0.07, 0.15), p=(0.25, 0.3, 0.3, 0.15)))
    low = box[:, 0] + rng.uniform(-amount, amount, len(box)) * sizes
    high = box[:, 1] + rng.uniform(-amount, amount, len(box)) * sizes
    if rng.random() < 0.15:  # drawn by hand, with room on some sides
        low -= rng.exponential(0.12, len(box)).clip(0, 0.5) * sizes * (rng.random(len(box)) < 0.5)
        high += rng.exponential(0.12, len(box)).clip(0, 0.5) * sizes * (rng.random(len(box)) < 0.5)
    most = np.array(shape, float)
    first = np.clip(np.rint(low), 0, most - 1)
    return np.stack((first, np.clip(np.rint(high), first + 1, most)), 1)


def _round_box(rng: np.random.Generator, box: NDArray[np.float64], size: int) -> Field:
    """The field of a 3D box: it fills 55 to 85 % of each side, not quite in the middle."""
    field = Field.round(
        box[:, 0].tolist(), box[:, 1].tolist(), float(rng.uniform(0.55, 0.85)), size
    )
    return _shifted(rng, field, 0.04)


def _close(
    rng: np.random.Generator, mask: NDArray[np.bool_], box: NDArray[np.float64], size: int
) -> Field:
    """A part of a 3D box round a voxel at the object's edge."""
    part = (box[:, 1] - box[:, 0]) * rng.uniform(0.3, 0.8) + 1
    voxels = np.argwhere(mask)
    centre = voxels[int(rng.integers(len(voxels)))] + rng.uniform(-0.3, 0.3, 3) * part
    return Field.between(centre - part / 2, centre + part / 2, size)


def _axis(rng: np.random.Generator, spacing: NDArray[np.float64]) -> int:
    """Across which axis a slice lies: mostly the one with the thickest slices."""
    return int(np.argmax(spacing)) if rng.random() < 0.7 else int(rng.integers(3))


def _slice_box(rng: np.random.Generator, mask: NDArray[np.bool_], axis: int) -> NDArray[np.float64]:
    """A box round the object on one of its slices, one voxel thick."""
    others = tuple(a for a in range(3) if a != axis)
    areas = mask.sum(others).astype(float)
    index = int(rng.choice(len(areas), p=areas / areas.sum()))
    section = np.take(mask, [index], axis)
    box = _bounds(section)
    sides = list(others)
    box[sides] = jittered(rng, box[sides], [mask.shape[a] for a in sides])
    box[axis] = index, index + 1
    return box


def _round_slice(
    rng: np.random.Generator,
    box: NDArray[np.float64],
    axis: int,
    spacing: NDArray[np.float64],
    shape: Sequence[int],
    size: int,
) -> Field:
    """The field of a box on a slice: about as deep as wide, for nobody knows the extent."""
    lengths = (box[:, 1] - box[:, 0]) * spacing
    share = float(rng.uniform(0.4, 0.8))
    extents = lengths / share
    across = float(np.delete(lengths, axis).max()) * float(np.exp(rng.uniform(-0.7, 0.9))) / share
    extents[axis] = max(across, 3 * spacing[axis])
    return _shifted(rng, Field.about(box.mean(1), extents / spacing, shape, size), 0.05)


def _round_point(
    rng: np.random.Generator, mask: NDArray[np.bool_], spacing: NDArray[np.float64], size: int
) -> Field:
    """The field of points: of any size, for nobody knows how large the object is."""
    bounds = _bounds(mask)
    largest = float(((bounds[:, 1] - bounds[:, 0]) * spacing).max())
    side = largest * float(np.exp(rng.uniform(np.log(0.6), np.log(4.0))))
    extents = np.maximum(side * np.exp(rng.normal(0, 0.2, 3)) / spacing, 3)
    voxels = np.argwhere(mask)
    centre = voxels[int(rng.integers(len(voxels)))] + 0.5 + rng.uniform(-0.2, 0.2, 3) * extents
    return Field.about(centre, extents, mask.shape, size)


def _shifted(rng: np.random.Generator, field: Field, amount: float) -> Field:
    low, high = np.array(field.low), np.array(field.high)
    move = rng.uniform(-amount, amount, 3) * (high - low)
    return Field.between(low + move, high + move, field.size)
