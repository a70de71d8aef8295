"""Training samples for the dense network of pictures: whole pictures on a square, or parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.everything.coarse import lightness_and_colour
from sammed.models.dense.borders import standardised
from sammed.synthesis.dense_pictures import MOSTLY, Picture, make_pictures
from sammed.synthesis.dense_samples import at_border, depth_of
from sammed.synthesis.source import Source

SQUARE = 160
"""Pixels along each side of a sample."""

JITTER = 3
"""A frame is taken for up to so many pixels less of picture than there is."""


@dataclass(frozen=True, eq=False)
class PictureSample:
    """A picture; ``s`` is `SQUARE`.

    Attributes
    ----------
    image, standard : (3, s, s) float16
        CIELAB in [0, 1], and standardised by the neighbourhood; 0 beyond the picture.
    inside, thing, border, inner : (s, s) uint8
        As of `sammed.synthesis.dense_samples.DenseSample`.
    depth : (s, s) float16
        The same.
    salient, told : (s, s) uint8
        What a person would outline, and whether anybody can say.
    """

    image: NDArray[np.float16]
    standard: NDArray[np.float16]
    inside: NDArray[np.uint8]
    thing: NDArray[np.uint8]
    border: NDArray[np.uint8]
    inner: NDArray[np.uint8]
    depth: NDArray[np.float16]
    salient: NDArray[np.uint8]
    told: NDArray[np.uint8]

    def turned(self, rng: np.random.Generator) -> PictureSample:
        """The same, turned and mirrored at random."""
        quarters, mirrored = int(rng.integers(4)), bool(rng.random() < 0.5)

        def turn(a: NDArray[Any]) -> NDArray[Any]:
            turned = np.rot90(a, quarters, (-2, -1))
            return turned[..., ::-1] if mirrored else turned

        arrays: dict[str, Any] = {name: turn(a) for name, a in vars(self).items()}
        return PictureSample(**arrays)


def draw_pictures(seed: tuple[int, ...], source: Source) -> list[PictureSample]:
    """Samples of a picture or of some slices; the same seed gives the same samples."""
    rng = np.random.default_rng((*seed, 1))
    return [sample_of(picture, rng) for picture in make_pictures(seed, source)]


def draw_slices(seed: tuple[int, ...], source: Source) -> list[PictureSample]:
    """The same, most of which are slices of volumes."""
    rng = np.random.default_rng((*seed, 1))
    return [sample_of(picture, rng) for picture in make_pictures(seed, source, MOSTLY)]


def sample_of(picture: Picture, rng: np.random.Generator) -> PictureSample:
    """A picture on a square: a part of one that is larger, any place of it."""
    inside = _jittered(rng, picture.inside)
    image = lightness_and_colour(picture.rgb) * inside
    stretch = np.ones(2)
    standard = np.stack([standardised(channel, stretch) for channel in image]) * inside
    border = at_border(picture.outer)
    shape = inside.shape
    salient = np.zeros(shape, bool) if picture.salient is None else picture.salient
    arrays = {
        "image": image.astype(np.float16),
        "standard": standard.astype(np.float16),
        "inside": inside.astype(np.uint8),
        "thing": picture.things[0].astype(np.uint8),
        "border": border[0].astype(np.uint8),
        "inner": at_border(picture.inner)[0].astype(np.uint8),
        "depth": depth_of(picture.outer, border, 1.0)[0].astype(np.float16),
        "salient": salient.astype(np.uint8),
        "told": np.full(shape, picture.salient is not None, np.uint8),
    }
    low = [int(rng.integers(max(n - SQUARE, 0) + 1)) for n in shape]
    part = tuple(slice(a, a + SQUARE) for a in low)
    pad = [(0, max(0, SQUARE - n)) for n in shape]
    squares: dict[str, Any] = {
        name: np.pad(a[(..., part[0], part[1])], [(0, 0)] * (a.ndim - 2) + pad)
        for name, a in arrays.items()
    }
    return PictureSample(**squares)


def _jittered(rng: np.random.Generator, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if inside.all():
        return inside
    less = int(rng.integers(JITTER + 1))
    return ndimage.binary_erosion(inside, iterations=less, border_value=1) if less else inside
