"""Training samples of the 3D kind: what lies round a 3D box, and the object that it outlines.

The geometry is the locator's, `sammed.models.compact.cubes`: a cube of `BLOCK_SIZE` samples in
which the 3D box always fills the same middle part, whatever its size in voxels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.models.compact.cubes import Cube
from sammed.models.compact.locator_net import BLOCK_SIZE
from sammed.synthesis.canvas import Target
from sammed.synthesis.fields import Array
from sammed.synthesis.recipes import choose
from sammed.synthesis.slab import Slab
from sammed.synthesis.source import GENERATOR, Source, make_volume, unseen

CUT_SHARE = 0.4
"""Share of the samples whose object may go on beyond the image."""

PART_SHARE = 0.2
"""Share of the samples that ask for a part of an object: not all of its slices."""

LEAST_VOXELS = 30
"""Smaller objects are not asked for."""


@dataclass(frozen=True)
class BlockSample:
    """What a 3D box shows; ``s`` is `BLOCK_SIZE`.

    Attributes
    ----------
    image : (s, s, s) float16
        Brightness in [0, 1]; 0 beyond the image.
    inside : (s, s, s) uint8
        1 within the image.
    target : (s, s, s) uint8
        The object.
    extent : (3,) float32
        Size of the 3D box (z, y, x), in units of the pixel.
    voxels : (3,) float32
        The same, in voxels.
    kind
        What drew the target.
    """

    image: NDArray[np.float16]
    inside: NDArray[np.uint8]
    target: NDArray[np.uint8]
    extent: Array
    voxels: Array
    kind: str


def draw_blocks(
    seed: int | tuple[int, ...], count: int, source: Source = GENERATOR
) -> list[BlockSample]:
    """Samples of one synthetic volume; the same seed gives the same samples.

    Parameters
    ----------
    seed
        Seed of the volume and of everything drawn from it.
    count
        At most so many; fewer (even none) if the volume offers nothing to ask for.
    source
        Where the volume comes from.
    """
    key = seed if isinstance(seed, tuple) else (seed,)
    return blocks_of(make_volume(seed, source), np.random.default_rng((*key, 1)), count)


def blocks_of(slab: Slab, rng: np.random.Generator, count: int) -> list[BlockSample]:
    """Samples of a volume, as `draw_blocks` draws them.

    Parameters
    ----------
    slab
        A volume with what could be asked for, in grey.
    rng
        Source of randomness.
    count
        At most so many.
    """
    whole = [t for t in slab.targets if _ended(t)]
    samples = []
    for _ in range(count):
        choice = slab.targets if rng.random() < CUT_SHARE or not whole else whole
        if not choice:
            break
        target = choose(rng, choice)
        if target.kind == "body" and rng.random() < 0.8:
            continue
        if np.count_nonzero(target.mask) < LEAST_VOXELS:
            continue
        if not unseen(rng, slab, target, target.mask):
            samples.append(_sample(rng, slab, target))
    return samples


def _ended(target: Target) -> bool:
    """Whether an object lies within the image, and touches none of its first and last slices."""
    return not (target.mask[0].any() or target.mask[-1].any())


def _sample(rng: np.random.Generator, slab: Slab, target: Target) -> BlockSample:
    image, mask = slab.image, some_slices(rng, target.mask)
    if not slab.by_hand:
        mask = drawn(rng, mask)
    spacing = np.array((slab.slice_step, *slab.pixel), np.float32)
    order = rng.permutation(3)
    image, mask, spacing = image.transpose(order), mask.transpose(order), spacing[order]
    flips = tuple(slice(None, None, int(step)) for step in rng.choice((-1, 1), 3))
    image, mask = image[flips], mask[flips]
    low, high = _jittered(rng, mask)
    sizes = (high - low).astype(np.float32)
    cube = Cube.round(low.tolist(), high.tolist(), image.shape, BLOCK_SIZE)
    return BlockSample(
        cube.sample(image[cube.used]).astype(np.float16),
        cube.inside.astype(np.uint8),
        (cube.sample(mask[cube.used].astype(np.float32)) > 0.5).astype(np.uint8),
        sizes * spacing,
        sizes,
        target.kind,
    )


def some_slices(rng: np.random.Generator, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Now and then an object on some of its slices only: nobody drew it on the others."""
    filled = np.flatnonzero(mask.any((1, 2)))
    if rng.random() > PART_SHARE or len(filled) < 4:
        return mask
    count = int(len(filled) * rng.uniform(0.4, 0.9))
    first = filled[int(rng.integers(len(filled) - count + 1))]
    part = np.zeros_like(mask)
    part[first : first + count] = mask[first : first + count]
    return part


def drawn(rng: np.random.Generator, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask as a person might draw it, slice by slice: smoother, a little off the edge."""
    if rng.random() < 0.6:
        return mask
    sigma = float(rng.uniform(0.4, 1.1))
    soft = ndimage.gaussian_filter(mask.astype(np.float32), (0, sigma, sigma), truncate=2.5)
    drawn = np.asarray(soft > rng.uniform(0.38, 0.58))
    kept = np.count_nonzero(drawn & mask)
    return drawn if kept > 0.7 * np.count_nonzero(mask) else mask


def _jittered(
    rng: np.random.Generator, mask: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and one past the last voxel of a box round a mask, its faces a little off."""
    bounds = ndimage.find_objects(mask.astype(np.uint8))[0]
    low = np.array([b.start for b in bounds], float)
    high = np.array([b.stop for b in bounds], float)
    sizes = high - low
    amount = float(rng.choice((0.0, 0.03, 0.06, 0.12), p=(0.2, 0.3, 0.35, 0.15)))
    low = low + rng.uniform(-amount, amount, 3) * sizes
    high = high + rng.uniform(-amount, amount, 3) * sizes
    if rng.random() < 0.2:  # drawn by hand, with room on some sides; specks widen boxes
        low -= rng.exponential(0.12, 3).clip(0, 0.5) * sizes * (rng.random(3) < 0.5)
        high += rng.exponential(0.12, 3).clip(0, 0.5) * sizes * (rng.random(3) < 0.5)
    first = np.clip(np.rint(low), 0, np.array(mask.shape) - 1).astype(np.int64)
    last = np.clip(np.rint(high), first + 1, mask.shape).astype(np.int64)
    return first, last
