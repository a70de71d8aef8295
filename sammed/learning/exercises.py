"""Accepted cases as what a promptable network learns from: structures, each seen from each side.

An exercise is a structure with what lies round it, cut out across one axis; every time it is
drawn, it is turned, stretched, bent and lit anew. Views, prompts and 3D boxes are drawn from it as
from synthetic slabs (`sammed.synthesis`), so that the geometry is the engine's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sammed.imaging.boxes import Box3D
from sammed.imaging.intensity import resolve_window
from sammed.imaging.volume import Volume
from sammed.learning.judging import Taught
from sammed.learning.patches import smooth_noise
from sammed.models.compact.recipe import RECIPE
from sammed.models.learned.plan import resampled
from sammed.synthesis.canvas import Target
from sammed.synthesis.slab import Slab
from sammed.views.slices import PLANES, choose_plane

Random = np.random.Generator

WIDEST = 144
"""Pixels of a structure's longer side in a slice; larger ones are seen more coarsely, as views of
96 px show them anyway."""

AROUND = 2.3
"""Side of what is cut out over the structure's longer side: a view of a loose box, turned."""

BEYOND = 3
"""Slices before and after the structure that are cut out with it."""

MOST_SAMPLES = 4_000_000
"""Of one exercise; larger ones are seen more coarsely."""

MOST_BYTES = 1 << 29
"""Of all exercises; beyond, some of them are left out by chance."""

TURN, STRETCH, BEND = 0.35, 0.15, 0.02
"""Most radians, most log of a stretch, and bends as shares of the side."""


@dataclass(frozen=True, eq=False)
class Exercise:
    """A structure of one case, seen across one axis.

    Attributes
    ----------
    structure
        Its name.
    image : (z, y, x) or (1, y, x, 3) uint8
        Windowed, slices first.
    mask : (z, y, x) bool
        What was drawn.
    spacing
        Of slices, rows and columns in mm.
    solid
        Whether it is seen as a whole, in a 3D box, and not slice by slice.
    """

    structure: str
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    spacing: tuple[float, float, float]
    solid: bool = False

    @property
    def nbytes(self) -> int:
        """Of memory."""
        return self.image.nbytes + self.mask.nbytes


def make_exercises(
    cases: Iterable[Taught], structures: Mapping[int, str], seed: int
) -> list[Exercise]:
    """The exercises of some cases, in an order by chance.

    Parameters
    ----------
    cases
        Accepted ones.
    structures
        Value → name.
    seed
        Of the order, and of what is left out where there is too much for the memory.
    """
    found: list[Exercise] = []
    rng = np.random.default_rng([seed, 3])
    for case in cases:
        for value, name in structures.items():
            mask = np.asarray(case.labels == value)
            if mask.any():
                found += _of_structure(case.volume, mask, name)
        while sum(one.nbytes for one in found) > MOST_BYTES:
            found.pop(int(rng.integers(len(found))))
    return [found[n] for n in rng.permutation(len(found))]


def _of_structure(volume: Volume, mask: NDArray[np.bool_], name: str) -> Iterator[Exercise]:
    box = Box3D.from_mask(mask)
    window = resolve_window("auto", volume, volume.voxels[box.slices])
    own = PLANES[choose_plane("auto", volume)]
    for axis in _axes(volume, box, own):
        yield _cut(volume, mask, box, axis, window.apply, name, solid=False)
    if min(box.shape) > 1 and not volume.is_colour:
        yield _cut(volume, mask, box, own, window.apply, name, solid=True)


def _axes(volume: Volume, box: Box3D, own: int) -> Iterator[int]:
    """The axes across which the engine looks at a 3D box: see `Planes`."""
    yield own
    planes = RECIPE.planes
    if planes is None or volume.is_colour:
        return
    for axis in range(3):
        height, width = (mm for a, mm in enumerate(volume.spacing) if a != axis)
        stretched = max(height, width) > planes.most_stretch * min(height, width)
        if axis != own and not stretched and box.shape[axis] >= planes.least_slices:
            yield axis


def _cut(
    volume: Volume,
    mask: NDArray[np.bool_],
    box: Box3D,
    axis: int,
    windowed: object,
    name: str,
    solid: bool,
) -> Exercise:
    low, high = np.array(box.low), np.array(box.high)
    mm = np.array(volume.spacing)
    others = [a for a in range(3) if a != axis]
    reach = np.zeros(3)
    if solid:
        reach = 0.5 * (high - low) + 2
    else:
        longest = float(((high - low) * mm)[others].max())
        reach[others] = (AROUND * longest / mm - (high - low))[others] / 2 + 2
        reach[axis] = BEYOND
    first = np.maximum(low - np.maximum(np.ceil(reach), 0), 0).astype(int)
    last = np.minimum(high + np.maximum(np.ceil(reach), 0), volume.shape).astype(int)
    part = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    image = windowed(volume.voxels[part])  # type: ignore[operator]
    cut = mask[part].astype(np.float32)
    wanted = _shape(cut.shape, (high - low).tolist(), axis, solid)
    if wanted != cut.shape:
        channels = np.moveaxis(image, -1, 0) if volume.is_colour else image[None]
        shrunk = resampled(np.concatenate([channels, cut[None]]).astype(np.float32), wanted)
        cut = shrunk[-1]
        image = np.moveaxis(shrunk[:-1], 0, -1) if volume.is_colour else shrunk[0]
    spacing = mm * np.array(mask[part].shape) / np.array(wanted)
    order = [axis, *others]
    image = image.transpose(*order, *range(3, image.ndim))
    z, y, x = (float(spacing[a]) for a in order)
    return Exercise(
        name,
        np.ascontiguousarray(np.rint(image * 255).clip(0, 255).astype(np.uint8)),
        np.ascontiguousarray(cut.transpose(order) > 0.5),
        (z, y, x),
        solid,
    )


def _shape(
    shape: Sequence[int], object_: Sequence[int], axis: int, solid: bool
) -> tuple[int, int, int]:
    """Samples after what is too large has been made coarser; slices stay, unless it is solid."""
    free = [a for a in range(3) if solid or a != axis]
    shares = [min(1.0, WIDEST / max(object_[a] for a in free))] * 3
    total = prod(n * (shares[0] if a in free else 1.0) for a, n in enumerate(shape))
    more = min(1.0, (MOST_SAMPLES / total) ** (1 / len(free)))
    z, y, x = (max(1, round(n * shares[a] * more)) if a in free else n for a, n in enumerate(shape))
    return z, y, x


def slab_of(exercise: Exercise, rng: Random) -> Slab:
    """An exercise as it looks this time; the same state of the generator gives the same.

    Parameters
    ----------
    exercise
        See `Exercise`.
    rng
        Source of randomness.
    """
    image = torch.from_numpy(exercise.image.astype(np.float32) / 255)
    colour = image.ndim == 4
    planes = image[0].permute(2, 0, 1) if colour else image
    grid = _grid(rng, exercise)
    moved = functional.grid_sample(planes[None], grid, padding_mode="border", align_corners=False)
    shown = _lit(rng, moved[0])
    mask = torch.from_numpy(exercise.mask.astype(np.float32))
    seen = functional.grid_sample(mask[None], grid, align_corners=False)[0].numpy() > 0.5
    _, row, column = exercise.spacing
    unit = min(row, column)
    return Slab(
        shown.permute(1, 2, 0)[None].numpy() if colour else shown.numpy(),
        [Target(exercise.structure, seen)] if seen.any() else [],
        (row / unit, column / unit),
        exercise.spacing[0] / unit,
        by_hand=True,
    )


def _grid(rng: Random, exercise: Exercise) -> Tensor:
    """(1, y, x, 2): where in a slice each sample comes from, the same on all slices."""
    height, width = exercise.mask.shape[1:]
    _, row, column = exercise.spacing
    size = np.array((height * row, width * column))
    angle = float(rng.uniform(-TURN, TURN))
    turn = np.array(((np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))))
    matrix = turn * np.exp(rng.uniform(-STRETCH, STRETCH, 2)) * rng.choice((-1, 1), 2)
    y, x = (np.linspace(-1, 1, n, endpoint=False) + 1 / n for n in (height, width))
    places = np.stack(np.meshgrid(y * size[0], x * size[1], indexing="ij"))
    places = np.tensordot(matrix, places, 1) / size[:, None, None]
    middle = np.argwhere(exercise.mask.any(0)).mean(0)
    centre = (middle + 0.5) / (height, width) * 2 - 1
    places += (centre - matrix @ (centre * size) / size)[:, None, None]
    if rng.random() < 0.5:
        every = max(4, max(height, width) // 6)
        bends = smooth_noise(rng, 2, (1, height, width), every)[:, 0]
        places += bends * float(rng.uniform(0, 2 * BEND))
    return torch.from_numpy(places[::-1].transpose(1, 2, 0)[None].astype(np.float32).copy())


def _lit(rng: Random, image: Tensor) -> Tensor:
    """Other contrast, brightness, sharpness and noise; within [0, 1]."""
    if rng.random() < 0.2:
        image = functional.avg_pool2d(image[None], 3, 1, 1, count_include_pad=False)[0]
    if rng.random() < 0.5:
        image = image.clamp(min=0) ** float(np.exp(rng.uniform(-0.35, 0.35)))
    if rng.random() < 0.5:
        image = image * float(np.exp(rng.uniform(-0.2, 0.2))) + float(rng.uniform(-0.1, 0.1))
    if rng.random() < 0.4:
        noise = torch.from_numpy(rng.standard_normal(tuple(image.shape), np.float32))
        image = image + noise * float(rng.uniform(0, 0.04))
    return image.clamp(0, 1)
