"""A synthetic slab: a few slices of an image, and everything in it that could be asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sammed.synthesis.canvas import Target
from sammed.synthesis.colour import photograph
from sammed.synthesis.fields import Array
from sammed.synthesis.rendering import render
from sammed.synthesis.scenes import compose
from sammed.synthesis.shapes import Space
from sammed.synthesis.tissues import Palette

COLOUR_SHARE = 0.11
"""Share of slabs that are colour photographs of one slice."""

DEEP_SHARE = 0.5
"""Share of slabs that hold most of their objects from end to end."""


@dataclass(frozen=True)
class Slab:
    """An image with its targets.

    Attributes
    ----------
    image : (z, y, x) or (1, y, x, 3) float32
        In [0, 1]; colour has a last axis of length 3 and one slice.
    targets
        Everything that could be asked for.
    pixel : (float, float)
        Height and width of a pixel, in units of the smaller one.
    slice_step
        Distance of the slices, in the same unit.
    by_hand
        Whether people drew the targets: then they are taken as they are.
    """

    image: Array
    targets: list[Target]
    pixel: tuple[float, float] = (1.0, 1.0)
    slice_step: float = 1.0
    by_hand: bool = False

    @property
    def colour(self) -> bool:
        """Whether the image is a colour photograph."""
        return self.image.ndim == 4


def make_slab(seed: int | tuple[int, ...]) -> Slab:
    """Draw a slab; the same seed gives the same slab.

    Parameters
    ----------
    seed
        Anything that ``numpy.random.default_rng`` takes.
    """
    rng = np.random.default_rng(seed)
    if rng.random() < COLOUR_SHARE:
        return Slab(*photograph(rng))
    return _scene(rng, *(_deep(rng) if rng.random() < DEEP_SHARE else _thin(rng)))


def make_block(seed: int | tuple[int, ...], widths: tuple[int, int] = (40, 112)) -> Slab:
    """Draw a volume about as deep as wide, in grey; the same seed gives the same volume.

    Parameters
    ----------
    seed
        Anything that ``numpy.random.default_rng`` takes.
    widths
        Least and most pixels across.
    """
    rng = np.random.default_rng(seed)
    width = int(np.exp(rng.uniform(*np.log(widths))))
    step = float(np.exp(rng.uniform(np.log(0.8), np.log(5.0))))
    depth = int(np.clip(width * rng.uniform(0.4, 1.0) / step, 6, 64))
    return _scene(rng, width, depth, step)


def _scene(rng: np.random.Generator, width: int, depth: int, step: float) -> Slab:
    """A painted scene of ``depth`` slices, ``step`` px apart."""
    thickness = step / width
    warp = float(rng.choice((0.0, 0.01, 0.025, 0.05)))
    space = Space(rng, (depth, width, width), thickness, warp)
    palette = Palette(rng)
    canvas = compose(space, palette)
    image, targets = render(canvas, palette), canvas.targets()
    if rng.random() < 0.12 and width >= 90:
        return _flattened(rng, image, targets, step)
    return Slab(image, targets, slice_step=step)


def _thin(rng: np.random.Generator) -> tuple[int, int, float]:
    """Width in px, number of slices, and their distance in px: most objects go on beyond."""
    width = int(np.exp(rng.uniform(np.log(56), np.log(184))))
    thickest = 1.2 + 5.0 * width / 184  # coarse pixels go with slices about as thick
    return (
        width,
        int(rng.integers(5, 10)),
        float(np.exp(rng.uniform(np.log(0.6), np.log(thickest)))),
    )


def _deep(rng: np.random.Generator) -> tuple[int, int, float]:
    """The same where most objects begin and end within the slab."""
    width = int(np.exp(rng.uniform(np.log(56), np.log(112))))
    return width, int(rng.integers(10, 17)), float(np.exp(rng.uniform(np.log(1.5), np.log(5.0))))


def _flattened(rng: np.random.Generator, image: Array, targets: list[Target], step: float) -> Slab:
    """The slab with rows (or columns) joined: slices across the acquisition plane."""
    factor = int(rng.integers(2, 5))
    axis = int(rng.integers(1, 3))
    count = image.shape[axis] // factor * factor
    keep = [slice(None)] * 3
    keep[axis] = slice(0, count)
    shape = list(image.shape)
    shape[axis : axis + 1] = [count // factor, factor]

    def joined(array: Array) -> Array:
        return np.asarray(array[tuple(keep)].reshape(shape).mean(axis + 1), np.float32)

    kept = [Target(t.kind, joined(t.mask.astype(np.float32)) > 0.5) for t in targets]
    kept = [t for t in kept if np.count_nonzero(t.mask) >= 8]
    pixel = (float(factor), 1.0) if axis == 1 else (1.0, float(factor))
    return Slab(joined(image), kept, pixel, step)
