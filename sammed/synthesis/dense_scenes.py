"""Scenes of which every voxel is known: what it belongs to, and which things lie in larger ones.

For the dense network. Five kinds of volumes: the generator's; parts of label maps of real anatomy;
cells packed side by side, some hollow, some parted by thin septa, as organs lie in a belly; chains
of links and tubes among such cells; and drawn trunks.
Intensities are always drawn (SynthSeg: Billot et al. 2023, doi:10.1016/j.media.2023.102789).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.synthesis.canvas import Canvas, Target
from sammed.synthesis.dense_chains import strung
from sammed.synthesis.fields import Array, smooth_noise
from sammed.synthesis.label_maps import open_map
from sammed.synthesis.label_scenes import PATCH, cut, paint
from sammed.synthesis.rendering import render
from sammed.synthesis.scenes import compose
from sammed.synthesis.shapes import Space
from sammed.synthesis.source import Source
from sammed.synthesis.tissues import Palette
from sammed.synthesis.torso import FIRST, make_torso

Labels = NDArray[np.int32]
Shape3 = tuple[int, int, int]

KINDS: dict[str, float] = {
    "generator": 0.1, "packed": 0.1, "strung": 0.06, "anatomy": 0.12, "torso": 0.62,
}  # fmt: skip
"""Kinds of scenes, and how often each is drawn where there are label maps."""

TURNED_SHARE = 0.1
"""Share of the trunks that lie in any direction."""

NO_THING = ("ghost", "parcel", "body", "cavity_fat", "muscle")
"""Kinds of the generator's targets that cannot be seen, or hold nearly everything."""

LARGEST = 0.35
"""What fills a larger share of a scene is no thing but what things lie in."""

THICK_SHARE = 0.35
"""Share of the scenes whose voxels are longer along one axis."""

WIDTHS = (56, 112)
"""Least and most pixels across."""

FLAT, MOST_REPAINTED = 0.03, 3
"""Deviation below which an image shows nothing and is painted again, so many times."""

HOLLOW, LESION = 2000, 3000
"""First numbers of cores and of lesions."""


@dataclass(frozen=True, eq=False)
class DenseScene:
    """An image, and what each voxel belongs to.

    Attributes
    ----------
    image : (z, y, x) float32
        In [0, 1].
    outer : (z, y, x) int32
        The largest thing that a voxel is a part of, else the tissue it is; all of one number.
    inner : (z, y, x) int32
        The smallest.
    things : (z, y, x) bool
        Where things are.
    step
        Distance of the slices in pixels.
    kind : (z, y, x) uint8
        Which of `sammed.models.dense.net.KINDS` each voxel is; ``None``: none of them.
    upright
        Whether its axes point as those of volumes do: up, to the back, to the left.
    """

    image: Array
    outer: Labels
    inner: Labels
    things: NDArray[np.bool_]
    step: float
    kind: NDArray[np.uint8] | None = None
    upright: bool = False

    def objects(self, least: int) -> list[NDArray[np.bool_]]:
        """All things of at least so many voxels, large and small, each once."""
        found = []
        for level in (self.outer, self.inner):
            here = np.where(self.things, level, 0)
            values = np.unique(here)
            masks = [here == v for v in values[values != 0]]
            found += [m for m in masks if np.count_nonzero(m) >= least]
        unique: list[NDArray[np.bool_]] = []
        for mask in found:
            if not any(np.array_equal(mask, other) for other in unique):
                unique.append(mask)
        return unique


def make_dense_scene(seed: int | tuple[int, ...], source: Source) -> DenseScene:
    """Draw a scene; the same seed gives the same scene.

    Parameters
    ----------
    seed
        Anything that ``numpy.random.default_rng`` takes.
    source
        Its label maps, if it has any, are drawn from as well.
    """
    rng = np.random.default_rng(seed)
    kinds = {k: s for k, s in KINDS.items() if k != "anatomy" or source.chosen}
    shares = np.array(list(kinds.values()))
    kind = str(rng.choice(list(kinds), p=shares / shares.sum()))
    if kind == "torso":
        return _trunk(rng)
    shape, step = _grid(rng)
    if kind == "generator":
        return _generated(rng, shape, step)
    if kind in ("packed", "strung"):
        outer = cells(rng, shape, step)
        outer, look = strung(rng, outer, step) if kind == "strung" else (outer, outer)
        return _painted(rng, outer, outer != PATCH, step, look)
    else:
        outer, things = _anatomy(rng, shape, step, source.chosen)
    return _painted(rng, outer, things, step, outer)


def _grid(rng: np.random.Generator) -> tuple[Shape3, float]:
    width = int(np.exp(rng.uniform(*np.log(WIDTHS))))
    thick = rng.random() < THICK_SHARE
    step = float(np.exp(rng.uniform(np.log(1.2), np.log(5.0)))) if thick else 1.0
    depth = int(np.clip(width * rng.uniform(0.6, 1.0) / step, 12, 96))
    return (depth, width, width), step


def _trunk(rng: np.random.Generator) -> DenseScene:
    torso = make_torso(rng)
    upright = bool(rng.random() >= TURNED_SHARE)
    things = torso.outer >= FIRST
    return DenseScene(
        torso.image, torso.outer, torso.inner, things, torso.step, torso.kind, upright
    )


def _generated(rng: np.random.Generator, shape: Shape3, step: float) -> DenseScene:
    warp = float(rng.choice((0.0, 0.01, 0.025, 0.05)))
    space, palette = Space(rng, shape, step / shape[1], warp), Palette(rng)
    canvas = compose(space, palette)
    targets = [t for t in canvas.targets() if t.kind not in NO_THING]
    outer, inner, things = levels(canvas, targets)
    return DenseScene(render(canvas, palette), outer, inner, things, step)


def levels(canvas: Canvas, targets: list[Target]) -> tuple[Labels, Labels, NDArray[np.bool_]]:
    """The largest and the smallest target that each voxel is in, else its instance; and where any.

    Parameters
    ----------
    canvas
        As painted.
    targets
        What is a thing on it.
    """
    inner = canvas.instance.astype(np.int32)
    outer, things = inner.copy(), np.zeros(inner.shape, bool)
    sized = [(int(np.count_nonzero(t.mask)), t.mask) for t in targets]
    sized = sorted(((n, m) for n, m in sized if n <= LARGEST * inner.size), key=lambda one: -one[0])
    first = canvas.count + 1
    for number, (_, mask) in enumerate(sized):
        inner[mask] = first + number
        outer[mask & ~things] = first + number
        things |= mask
    return outer, inner, things


def cells(rng: np.random.Generator, shape: Shape3, step: float) -> Labels:
    """A volume filled with bumpy cells of all sizes; between some of them thin septa of one tissue.

    Parameters
    ----------
    rng
        Source of randomness.
    shape, step
        The grid, and the distance of its slices in pixels.

    Returns
    -------
    (z, y, x) int32
        `PATCH` is what surrounds and parts cells, the others are numbered from 1.
    """
    count = int(np.exp(rng.uniform(np.log(4), np.log(26))))
    z, y, x = (
        ((np.arange(n, dtype=np.float32) + 0.5) * s / shape[1]) for n, s in
        zip(shape, (step, 1.0, 1.0), strict=True)
    )  # fmt: skip
    extent = np.array([shape[0] * step / shape[1], 1.0, 1.0])
    frequency = float(np.exp(rng.uniform(np.log(2.0), np.log(7.0))))
    knots = tuple(
        max(1, min(n // 3, round(frequency * e))) for n, e in zip(shape, extent, strict=True)
    )
    bumps = np.float32(rng.uniform(0.0, 0.5))
    waves = [smooth_noise(rng, shape, knots) for _ in range(3)]
    best, second = np.full((2, *shape), np.float32(-1e9))
    winner = np.zeros(shape, np.int32)
    gap = np.zeros(count + 1, np.float32)
    usual = float(rng.choice((0.0, 0.6, 1.5, 3.0), p=(0.3, 0.25, 0.3, 0.15)))
    for number in range(1, count + 1):
        centre = rng.uniform(-0.05, 1.05, 3) * extent
        radius = float(np.exp(rng.uniform(np.log(0.05), np.log(0.4))))
        squash = np.exp(rng.normal(0, 0.45, 3))
        dz, dy, dx = (
            ((a - np.float32(c)) / np.float32(radius * s)) ** 2
            for a, c, s in zip((z, y, x), centre, squash, strict=True)
        )
        distance = np.sqrt(dz[:, None, None] + dy[None, :, None] + dx)
        field = np.float32(radius) * (1 - distance)
        field += np.float32(radius) * bumps * np.float32(rng.normal()) * waves[number % 3]
        better = field > best
        second = np.where(better, best, np.maximum(second, field))
        best = np.where(better, field, best)
        winner[better] = number
        gap[number] = usual * float(rng.uniform(0, 2)) * float(rng.random() < 0.7)
    if rng.random() < 0.8:  # what lies far from all is none of them
        winner[best < np.float32(rng.uniform(-0.25, 0.0))] = 0
    parted = (best - second) * shape[1] < gap[winner]
    return np.where(parted | (winner == 0), PATCH, winner).astype(np.int32)


def _anatomy(
    rng: np.random.Generator, shape: Shape3, step: float, maps: tuple[Path, ...]
) -> tuple[Labels, NDArray[np.bool_]]:
    """Part of a label map, round one of its labels; what nobody labelled is filled with cells."""
    source = open_map(_one(rng, maps))
    label = int(rng.choice(source.present))
    low, high = source.bounds[label - 1, :, 0], source.bounds[label - 1, :, 1]
    own = float(((high - low) * source.spacing).max())
    pixel = own * float(np.exp(rng.uniform(np.log(1.3), np.log(8.0)))) / shape[1]
    finest, coarsest = 0.6 * float(source.spacing.min()), 260.0 / shape[1]
    pixel = float(np.clip(pixel, finest, max(finest, coarsest)))
    centre = (low + high) / 2 + rng.uniform(-0.35, 0.35, 3) * (high - low)
    labels = cut(rng, source, centre, shape, np.array((step, 1.0, 1.0)) * pixel).astype(np.int32)
    things = labels > 0
    around = cells(rng, shape, step)
    return np.where(things, labels, PATCH + np.where(around == PATCH, 0, around)), things


def _one(rng: np.random.Generator, maps: tuple[Path, ...]) -> Path:
    """A map, each folder of maps as often as another."""
    folders = sorted({p.name.rpartition("__")[0] for p in maps})
    chosen = folders[int(rng.integers(len(folders)))]
    among = [p for p in maps if p.name.rpartition("__")[0] == chosen]
    return among[int(rng.integers(len(among)))]


def _painted(
    rng: np.random.Generator, outer: Labels, things: NDArray[np.bool_], step: float, look: Labels
) -> DenseScene:
    """Paint what things look like: by the numbers of ``look``, and each filling by its own."""
    inner = _filled(rng, outer, things)
    painted = np.where(inner == outer, look, inner).astype(np.int16)
    image = paint(rng, painted, step)
    for _ in range(MOST_REPAINTED):
        if image.std() >= FLAT:
            break
        image = paint(rng, painted, step)
    return DenseScene(image, outer, inner, things, step)


def _filled(rng: np.random.Generator, outer: Labels, things: NDArray[np.bool_]) -> Labels:
    """Some things are hollow, some hold another."""
    inner = outer.copy()
    hollow = float(rng.choice((0.1, 0.5), p=(0.7, 0.3)))
    labelled = np.where(things, outer, 0)
    for index, found in enumerate(ndimage.find_objects(labelled)):
        chance = rng.random()
        if found is None or chance > hollow + 0.15:
            continue
        part = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in found)  # what ends at the
        mask = labelled[part] == index + 1  # scene's edge goes on there
        if np.count_nonzero(mask) < 60 or mask.all():
            continue
        depth = ndimage.distance_transform_edt(mask)
        deepest = float(depth.max())
        if chance < hollow:
            wall = max(1.0, float(rng.uniform(0.1, 0.6)) * deepest)
            core = depth > wall
            inner[part][core] = HOLLOW + index
            if rng.random() < 0.5:  # gas above fluid
                level = int(mask.shape[1] * rng.uniform(0.3, 0.7))
                core[:, level:] = False
                inner[part][core] = HOLLOW + 300 + index
        elif deepest >= 4:
            spots = np.argwhere(depth > 0.4 * deepest)
            centre = spots[int(rng.integers(len(spots)))]
            radius = deepest * float(rng.uniform(0.25, 0.6))
            grid = np.ogrid[tuple(slice(0, n) for n in mask.shape)]
            away = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
            inner[part][(away < radius**2) & mask] = LESION + index
    return inner
