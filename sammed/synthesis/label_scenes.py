"""Scenes drawn from label maps: real shapes and neighbourhoods, invented appearance.

Labels are cut out in any plane, warped, and get random intensities, one draw a label and image
(SynthSeg: Billot et al. 2023, doi:10.1016/j.media.2023.102789). Some borders vanish, some labels
are joined, some are hollowed; objects of other maps are packed among them, or into a cube of their
own (anatomix: Dey et al. 2024, arXiv:2411.02372).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from sammed.synthesis.canvas import Canvas, Target
from sammed.synthesis.fields import smooth_noise
from sammed.synthesis.label_maps import LabelMap, open_map
from sammed.synthesis.rendering import render
from sammed.synthesis.shapes import Space
from sammed.synthesis.slab import Slab
from sammed.synthesis.tissues import Palette, Tissue

Labels = NDArray[np.int16]

PACKED_SHARE = 0.25
"""Share of the scenes that are objects packed into a cube, and no anatomy."""

GUESTS_SHARE = 0.3
"""Share of the anatomies that get a few objects of other maps."""

MERGED_SHARE = 0.3
"""Share of the labels that look like a neighbour: their border is deleted."""

LEAST_VOXELS = 30
"""Smaller objects are not asked for."""

FLAT, MOST_REPAINTED = 0.03, 3
"""Deviation below which an image shows nothing (all of it beyond the window, say) and is painted
again, so many times."""

KINDS = ("fat", "fluid", "muscle", "organ", "organ", "vessel", "lesion", "marrow", "cortex", "lung")
"""What labels are made of; a palette knows them."""

GUEST, PATCH, CORE = 300, 600, 900
"""First number of packed objects, of patches of what nobody labelled, of cores."""

Shape = tuple[int, int, int]


def make_label_scene(seed: int | tuple[int, ...], maps: Sequence[Path]) -> Slab:
    """Draw a scene from label maps; the same seed gives the same scene.

    Parameters
    ----------
    seed
        Anything that ``numpy.random.default_rng`` takes.
    maps
        Prepared label maps, at least one.

    Returns
    -------
    Slab
        In units of its smaller pixel, as wide as deep or less deep.
    """
    rng = np.random.default_rng(seed)
    shape, step = _grid(rng)
    if rng.random() < PACKED_SHARE:
        labels = _patches(rng, np.zeros(shape, np.int16))
        labels = _pack(rng, labels, step, maps, int(rng.integers(4, 12)))
    else:
        labels = _anatomy(rng, shape, step, open_map(_one(rng, maps)))
        labels = _patches(rng, labels)
        if rng.random() < GUESTS_SHARE:
            labels = _pack(rng, labels, step, maps, int(rng.integers(1, 4)))
    targets = _targets(rng, labels)
    labels = _hollowed(rng, labels, targets)
    image = paint(rng, labels, step)
    for _ in range(MOST_REPAINTED):
        if image.std() >= FLAT:
            break
        image = paint(rng, labels, step)
    return Slab(image, targets, slice_step=step)


def _one(rng: np.random.Generator, maps: Sequence[Path]) -> Path:
    """A map, each folder of maps as often as another."""
    folders = sorted({p.name.rpartition("__")[0] for p in maps})
    chosen = folders[int(rng.integers(len(folders)))]
    among = [p for p in maps if p.name.rpartition("__")[0] == chosen]
    return among[int(rng.integers(len(among)))]


def _grid(rng: np.random.Generator) -> tuple[Shape, float]:
    """Voxels of a scene, and how many pixels its slices are apart."""
    width = int(np.exp(rng.uniform(np.log(48), np.log(100))))
    thick = rng.random() < 0.6
    step = float(np.exp(rng.uniform(0.0, np.log(6.0)))) if thick else float(rng.uniform(0.8, 1.2))
    depth = int(np.clip(width * rng.uniform(0.5, 1.0) / step, 6, 80))
    return (depth, width, width), step


def _anatomy(rng: np.random.Generator, shape: Shape, step: float, source: LabelMap) -> Labels:
    """Part of a map: round one of its labels, from closely to all there is."""
    label = int(rng.choice(source.present))
    low, high = source.bounds[label - 1, :, 0], source.bounds[label - 1, :, 1]
    own = float(((high - low) * source.spacing).max())
    pixel = own * float(np.exp(rng.uniform(np.log(1.3), np.log(8.0)))) / shape[1]
    finest, coarsest = 0.6 * float(source.spacing.min()), 260.0 / shape[1]
    pixel = float(np.clip(pixel, finest, max(finest, coarsest)))
    centre = (low + high) / 2 + rng.uniform(-0.35, 0.35, 3) * (high - low)
    return cut(rng, source, centre, shape, np.array((step, 1.0, 1.0)) * pixel)


def cut(
    rng: np.random.Generator,
    source: LabelMap,
    centre: NDArray[np.floating],
    shape: Shape,
    spacing: NDArray[np.floating],
) -> Labels:
    """Labels on a grid that lies in a map at any angle, stretched and warped.

    Parameters
    ----------
    rng
        Source of randomness.
    source
        The map.
    centre : (3,)
        Of the grid, in voxels of the map.
    shape, spacing
        The grid: voxels and their size (z, y, x) in mm.

    Returns
    -------
    (z, y, x) int16
        0 also beyond the map.
    """
    turn = _rotation(rng) * np.exp(rng.normal(0, 0.1, 3))
    size = np.array(shape) * spacing
    amount = float(rng.choice((0.0, 0.015, 0.04), p=(0.2, 0.5, 0.3))) * float(size.max())
    cells = tuple(
        max(1, min(n // 3, round(4 * s / size.max()))) for n, s in zip(shape, size, strict=True)
    )
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)]
    z, y, x = (a.astype(np.float32) for a in axes)
    flat = np.zeros(shape, np.int64)
    known = np.ones(shape, bool)
    for axis in range(3):
        row = turn[axis].astype(np.float32)
        place = (row[0] * z)[:, None, None] + (row[1] * y)[None, :, None] + row[2] * x
        if amount:
            place = place + np.float32(amount) * smooth_noise(rng, shape, cells)
        index = np.rint(place / source.spacing[axis] + np.float32(centre[axis])).astype(np.int32)
        n = source.labels.shape[axis]
        known &= (index >= 0) & (index < n)
        flat = flat * n + np.clip(index, 0, n - 1)
    return np.asarray(np.where(known, source.labels.reshape(-1)[flat], 0), np.int16)


def _rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """As scanned, a little tilted, or in any direction; axes are mirrored and swapped later."""
    if rng.random() < 0.5:
        return Rotation.from_rotvec(rng.normal(0, 0.15, 3)).as_matrix()
    return Rotation.random(random_state=rng).as_matrix()


def _patches(rng: np.random.Generator, labels: Labels) -> Labels:
    """What nobody labelled is one thing, or several that fit together."""
    count = int(rng.integers(1, 7))
    if count > 1:
        frequency = float(np.exp(rng.uniform(np.log(2.0), np.log(6.0))))
        cells = tuple(max(1, min(n // 3, round(frequency))) for n in labels.shape)
        waves = [smooth_noise(rng, labels.shape, cells) for _ in range(count)]
        winner = np.argmax(np.stack(waves), 0)
        return np.where(labels == 0, PATCH + winner, labels).astype(np.int16)
    return np.where(labels == 0, PATCH, labels).astype(np.int16)


def _pack(
    rng: np.random.Generator, labels: Labels, step: float, maps: Sequence[Path], count: int
) -> Labels:
    """Objects of other maps among the labels, at any place, in any direction and size."""
    packed = labels.copy()
    sources = [open_map(_one(rng, maps)) for _ in range(1 + count // 4)]
    width = labels.shape[1]
    for number in range(count):
        source = sources[int(rng.integers(len(sources)))]
        label = int(rng.choice(source.present))
        low, high = source.bounds[label - 1, :, 0], source.bounds[label - 1, :, 1]
        side = float(width * np.exp(rng.uniform(np.log(0.12), np.log(0.7))))
        shape = (max(3, round(side / step)), max(6, round(side)), max(6, round(side)))
        pixel = float(((high - low) * source.spacing).max()) * 1.15 / side
        part = cut(rng, source, (low + high) / 2, shape, np.array((step, 1.0, 1.0)) * pixel)
        place = [int(rng.integers(-n // 3, m - n + n // 3 + 1) if m > n - 2 * (n // 3) else 0)
                 for n, m in zip(shape, labels.shape, strict=True)]  # fmt: skip
        _paste(packed, part == label, place, GUEST + number)
    return packed


def _paste(labels: Labels, mask: NDArray[np.bool_], place: Sequence[int], value: int) -> None:
    there = tuple(
        slice(max(p, 0), min(p + n, m))
        for p, n, m in zip(place, mask.shape, labels.shape, strict=True)
    )
    part = tuple(slice(s.start - p, s.stop - p) for s, p in zip(there, place, strict=True))
    if all(s.stop > s.start for s in there):
        labels[there][mask[part]] = value


def neighbours(labels: Labels) -> list[tuple[int, int]]:
    """Pairs of labels that touch across faces, each once, the smaller first.

    Examples
    --------
    >>> neighbours(np.array([[[1, 1, 2], [3, 1, 2]]], np.int16))
    [(1, 2), (1, 3)]
    """
    pairs: set[tuple[int, int]] = set()
    for axis in range(3):
        n = labels.shape[axis]
        one = np.take(labels, range(n - 1), axis).ravel()
        other = np.take(labels, range(1, n), axis).ravel()
        differ = one != other
        low = np.minimum(one[differ], other[differ]).astype(np.int32)
        high = np.maximum(one[differ], other[differ]).astype(np.int32)
        codes = np.unique(low * 4096 + high)
        pairs |= {(int(c) // 4096, int(c) % 4096) for c in codes}
    return sorted(pairs)


def _targets(rng: np.random.Generator, labels: Labels) -> list[Target]:
    """What could be asked for: each label that is a thing, and some of them with a neighbour."""
    counts = np.bincount(labels.ravel())
    things = [int(v) for v in np.flatnonzero(counts >= LEAST_VOXELS) if 0 < v < PATCH]
    targets = [Target("guest" if v >= GUEST else "anatomy", labels == v) for v in things]
    pairs = [p for p in neighbours(labels) if p[0] in things and p[1] in things]
    for index in rng.permutation(len(pairs))[: 1 + len(things) // 3]:
        group = set(pairs[index])
        beside = [p for p in pairs if len(group & set(p)) == 1]
        if beside and rng.random() < 0.3:
            group |= set(beside[int(rng.integers(len(beside)))])
        targets.append(Target("union", np.isin(labels, list(group))))
    return targets


def _hollowed(rng: np.random.Generator, labels: Labels, targets: list[Target]) -> Labels:
    """Some things get a core that looks otherwise; the shell and the core can be asked for."""
    hollow = labels.copy()
    for target in list(targets):
        if target.kind == "union" or rng.random() > 0.12:
            continue
        (part,) = ndimage.find_objects(target.mask.astype(np.uint8))
        depth = ndimage.distance_transform_edt(np.pad(target.mask[part], 1))[1:-1, 1:-1, 1:-1]
        core = depth > float(rng.uniform(0.25, 0.6)) * float(depth.max())
        if np.count_nonzero(core) < LEAST_VOXELS:
            continue
        whole = np.zeros_like(target.mask)
        whole[part] = core
        hollow[whole] = CORE + len(targets)
        targets.append(Target("core", whole))
        targets.append(Target("shell", target.mask & ~whole))
    return hollow


def paint(rng: np.random.Generator, labels: Labels, step: float) -> NDArray[np.float32]:
    """An image of labels in which each has an intensity and a texture of its own, mostly.

    Parameters
    ----------
    rng
        Source of randomness.
    labels : (z, y, x) int16
        At least 0.
    step
        Pixels between slices.

    Returns
    -------
    image : (z, y, x) float32
        In [0, 1].
    """
    shape: Shape = labels.shape
    space, palette = Space(rng, shape, step / shape[1], 0.0), Palette(rng)
    values = np.unique(labels)
    tissues = {int(v): _tissue(rng, palette, int(v)) for v in values}
    for low, high in neighbours(labels):
        if rng.random() < MERGED_SHARE / 2:  # a label has about two neighbours of its own
            tissues[high] = tissues[low]
    canvas = Canvas.filled(space, tissues[int(values[0])])
    tables = np.zeros((3, int(values[-1]) + 1), np.float32)
    for value, tissue in tissues.items():
        tables[:, value] = tissue.mean, tissue.fine, tissue.coarse
    canvas.mean, canvas.fine, canvas.coarse = (table[labels] for table in tables)
    return render(canvas, palette)


def _tissue(rng: np.random.Generator, palette: Palette, value: int) -> Tissue:
    """What a label is made of; the first patch is often air."""
    if value == PATCH and rng.random() < 0.5:
        return palette.draw("air")
    tissue = palette.draw(KINDS[int(rng.integers(len(KINDS)))])
    if rng.random() < 0.35:
        tissue = replace(tissue, mean=float(rng.uniform(0, 1)))
    return palette.heterogeneous(tissue) if rng.random() < 0.15 else tissue
