"""Where synthetic volumes come from: the generator, and label maps of real anatomy if there are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.folders import home
from sammed.synthesis.canvas import Target
from sammed.synthesis.fields import Array
from sammed.synthesis.label_maps import prepare_folder, split
from sammed.synthesis.label_scenes import make_label_scene
from sammed.synthesis.slab import Slab, make_block
from sammed.synthesis.torso_slabs import make_trunk

OF_LABELS = ("anatomy", "guest", "union", "core", "shell")
"""Kinds of targets that come from label maps."""

LABEL_SHARE = 0.5
"""Share of the volumes that are drawn from label maps, if there are any."""

UNSEEN_SHARE = 0.3
"""Share of the objects of label maps that are asked for though nothing sets them apart."""

FAINT = 0.03
"""Difference of mean brightness to what is around them below which that is so."""


@dataclass(frozen=True)
class Source:
    """Where volumes come from.

    Attributes
    ----------
    maps
        Prepared label maps; without any, volumes are the generator's alone.
    held_back
        Use the maps that are not trained on.
    trunks
        Share of the volumes that are drawn trunks.
    """

    maps: tuple[Path, ...] = ()
    held_back: bool = False
    trunks: float = 0.0

    @property
    def chosen(self) -> tuple[Path, ...]:
        """The maps that this source draws from."""
        return _split(self.maps)[self.held_back]


GENERATOR = Source()
"""The generator alone."""


def mapped(folder: Path | None, trunks: float = 0.0) -> Source:
    """The source of a folder of label maps, as they are or prepared; ``None``: the generator.

    Parameters
    ----------
    folder
        Where they are.
    trunks
        Share of the volumes that are drawn trunks.

    Raises
    ------
    InputError
        If there are no label maps.
    """
    if folder is None:
        return Source(trunks=trunks)
    return Source(tuple(prepare_folder(folder, home() / "label-maps")), trunks=trunks)


@lru_cache(maxsize=4)
def _split(maps: tuple[Path, ...]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    return split(maps)


def make_volume(
    seed: int | tuple[int, ...], source: Source, widths: tuple[int, int] | None = None
) -> Slab:
    """A synthetic volume: a trunk, of label maps, or of the generator; the same seed, the same.

    Parameters
    ----------
    seed
        Of the volume.
    source
        Where it comes from.
    widths
        Least and most pixels across a volume of the generator; ``None``: as it likes.
    """
    key = seed if isinstance(seed, tuple) else (seed,)
    if source.trunks and np.random.default_rng((*key, 4)).random() < source.trunks:
        return make_trunk(seed)
    if source.maps and np.random.default_rng((*key, 3)).random() < LABEL_SHARE:
        return make_label_scene(seed, source.chosen)
    return make_block(seed, widths) if widths else make_block(seed)


def unseen(rng: np.random.Generator, volume: Slab, target: Target, mask: NDArray[np.bool_]) -> bool:
    """Whether an object of a label map is not asked for, as nothing sets it apart; mostly so."""
    asked = target.kind not in OF_LABELS or rng.random() < UNSEEN_SHARE
    return not asked and _faint(volume.image, mask)


def _faint(image: Array, mask: NDArray[np.bool_]) -> bool:
    """Whether an object is on the mean about as bright as the two voxels around it."""
    (found,) = ndimage.find_objects(mask.astype(np.uint8))
    part = tuple(slice(max(s.start - 2, 0), s.stop + 2) for s in found)
    inside = mask[part]
    around = ndimage.binary_dilation(inside, iterations=2) & ~inside
    if not around.any():
        return True
    values = image[part]
    return abs(float(values[inside].mean()) - float(values[around].mean())) < FAINT
