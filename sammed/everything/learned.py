"""What the dense networks say of an image on its coarse grid: where the borders of things are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sammed.everything.coarse import Coarse, Float
from sammed.models.dense.borders import (
    PICTURE_WEIGHTS,
    WEIGHTS,
    Borders,
    DenseReader,
    PictureReader,
    load_dense,
)
from sammed.models.dense.net import OF_PICTURES

COLOURLESS = 0.5
"""What CIELAB's two colours are where there is none."""


def learned_borders(
    coarse: Coarse, check: Callable[[], None], reader: DenseReader | None = None
) -> Borders:
    """What the dense network sees of a volume.

    Of a CT it sees the window of soft tissue alone: with the wide one beside it, fewer organs were
    regions of its borders (research/30-everything.md).

    Parameters
    ----------
    coarse
        The image.
    check
        Called before each pass; may raise to stop.
    reader
        The network; ``None``: the shipped one.

    Raises
    ------
    WeightsNotFoundError, WeightsMismatchError
        If the network's weights are not whole.
    """
    return (reader or _shipped()).read(coarse.image[0], coarse.spacing, check)


def picture_borders(
    coarse: Coarse,
    area: NDArray[np.bool_],
    check: Callable[[], None],
    reader: PictureReader | None = None,
) -> Borders:
    """What the dense network of pictures sees of a picture or a single slice.

    Parameters
    ----------
    coarse, check, reader
        As of `learned_borders`.
    area : (z, y, x) bool
        Where the picture is; elsewhere is its frame.

    Raises
    ------
    WeightsNotFoundError, WeightsMismatchError
        If the network's weights are not whole.
    """
    axis = coarse.shape.index(1)
    seen = (reader or _shipped_of_pictures()).read(
        _coloured(coarse, axis), np.take(area, 0, axis), check
    )
    answers = {f.name: getattr(seen, f.name) for f in fields(Borders)}
    return Borders(**{n: np.expand_dims(a, axis) for n, a in answers.items() if a is not None})


def _coloured(coarse: Coarse, axis: int) -> Float:
    """A picture as (3, y, x); a slice is one without colours."""
    image = np.take(coarse.image, 0, axis + 1)
    if len(image) == 3:
        return image
    none = np.full_like(image[0], COLOURLESS)
    return np.stack([image[0], none, none])


@lru_cache(maxsize=1)
def _shipped() -> DenseReader:
    return DenseReader(load_dense(WEIGHTS)[0])


@lru_cache(maxsize=1)
def _shipped_of_pictures() -> PictureReader:
    return PictureReader(load_dense(PICTURE_WEIGHTS, OF_PICTURES)[0])
