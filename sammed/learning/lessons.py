"""A case as a look shows it, ready for patches to be drawn from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammed.imaging.volume import Volume
from sammed.models.learned.plan import Brightness, Look, resampled, seen

MOST_SPOTS = 4000
"""Places of a structure that are remembered; patches are drawn round them."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """One case in the order of a look's axes, see `Look.order`.

    Attributes
    ----------
    id
        Of the case.
    image : (c, d, h, w) float32
        As the look shows it.
    classes : (d, h, w) uint8
        Number of the structure in the plan, from 1; 0 is background.
    spots
        Class → (n, 3) places of it, some of them.
    unknown : (classes,) bool
        Which classes the label map says nothing of.
    """

    id: str
    image: NDArray[np.float32]
    classes: NDArray[np.uint8]
    spots: Mapping[int, NDArray[np.int32]]
    unknown: NDArray[np.bool_]


def make_lesson(
    id: str,
    volume: Volume,
    labels: NDArray[np.unsignedinteger],
    structures: Mapping[int, str],
    look: Look,
    brightness: Brightness,
    unknown: Collection[int] = (),
) -> Lesson:
    """A case for one look.

    Parameters
    ----------
    id
        Of the case.
    volume
        The scan.
    labels : (z, y, x)
        On its grid; values that are no structure are background.
    structures
        Value → name, see `Plan`.
    look, brightness
        Of the plan.
    unknown
        Values of structures that the label map says nothing of.
    """
    image = seen(volume, look, brightness)
    shape = look.shape_of(volume.shape, volume.spacing)
    classes = np.zeros(shape, np.uint8)
    best = np.full(shape, 0.5, np.float32)
    for number, value in enumerate(structures, 1):
        share = resampled((labels == value).astype(np.float32)[None], shape)[0]
        classes[share >= best] = number
        best = np.maximum(best, share)
    order = look.order
    image = np.ascontiguousarray(image.transpose(0, *(axis + 1 for axis in order)))
    classes = np.ascontiguousarray(classes.transpose(order))
    undrawn = np.array([False, *(value in unknown for value in structures)])
    return Lesson(id, image, classes, _spots(classes, len(structures)), undrawn)


def _spots(classes: NDArray[np.uint8], count: int) -> dict[int, NDArray[np.int32]]:
    rng = np.random.default_rng(classes.shape)
    spots = {}
    for number in range(1, count + 1):
        places = np.argwhere(classes == number).astype(np.int32)
        if len(places) > MOST_SPOTS:
            places = places[rng.choice(len(places), MOST_SPOTS, replace=False)]
        if len(places):
            spots[number] = places
    return spots
