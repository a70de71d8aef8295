"""What the dense networks are for: how many things of what they have not seen are candidates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammed.everything.coarse import Coarse, lightness_and_colour
from sammed.everything.learned import learned_borders, picture_borders
from sammed.everything.recall import best_ious, unasked
from sammed.everything.regions import Region
from sammed.models.dense.borders import PICTURE_WEIGHTS, DenseReader, PictureReader, load_dense
from sammed.models.dense.net import OF_PICTURES
from sammed.synthesis.dense_pictures import DRAWN, Picture, make_picture
from sammed.synthesis.dense_scenes import DenseScene, make_dense_scene
from sammed.synthesis.source import mapped
from sammed.training.validation import SEED

LEAST_VOXELS = 60
"""Smaller things are not counted."""

ALONE, BOTH = "the image alone", "the network as well"
"""Sources of candidates."""

Told = Callable[[int, int], None]


def scene_recall(
    weights: Path | None,
    scenes: int,
    label_maps: Path | None,
    told: Told = lambda done, total: None,
) -> dict[str, NDArray[np.float64]]:
    """Best IoU of candidates with all things of held-back scenes, without the network and with it.

    Parameters
    ----------
    weights
        Of the dense network; ``None``: the shipped ones.
    scenes
        How many.
    label_maps
        Folder of label maps; of their subjects those that are not trained on are drawn from.
    told
        Told how many are done.

    Returns
    -------
    dict
        Source → (n, 1 + len(WITHIN)), see `sammed.everything.recall.best_ious`.
    """
    reader = DenseReader(load_dense(weights)[0])
    source = replace(mapped(label_maps), held_back=True)
    found: dict[str, list[NDArray[np.float64]]] = {ALONE: [], BOTH: []}
    for number in range(scenes):
        told(number, scenes)
        scene = make_dense_scene((SEED, 9, number), source)
        things = [Region.of(mask) for mask in scene.objects(LEAST_VOXELS)]
        if not things:
            continue
        coarse, area = as_coarse(scene), np.ones(scene.image.shape, bool)
        for name, seen in zip(
            found, (None, learned_borders(coarse, lambda: None, reader)), strict=True
        ):
            found[name].append(best_ious(coarse, area, things, seen))
    return {name: np.concatenate(each) for name, each in found.items()}


@dataclass(frozen=True)
class PictureRecall:
    """What was found in held-back pictures.

    Attributes
    ----------
    ious
        As `scene_recall` gives them, of what a person would outline.
    single
        Kind of picture → Dice of the most salient candidate alone with all that a person would
        outline, the mean over pictures that show any.
    """

    ious: dict[str, NDArray[np.float64]]
    single: dict[str, float]


def picture_recall(
    weights: Path | None, pictures: int, told: Told = lambda done, total: None
) -> PictureRecall:
    """Candidates of held-back pictures, without the network and with it; no model is asked.

    Parameters
    ----------
    weights
        Of the dense network of pictures; ``None``: the shipped ones.
    pictures
        How many, of all kinds in turn.
    told
        Told how many are done.
    """
    reader = PictureReader(load_dense(weights or PICTURE_WEIGHTS, OF_PICTURES)[0])
    ious: dict[str, list[NDArray[np.float64]]] = {ALONE: [], BOTH: []}
    single: dict[str, list[float]] = {}
    for number in range(pictures):
        told(number, pictures)
        kind = list(DRAWN)[number % len(DRAWN)]
        picture = make_picture(np.random.default_rng((SEED, 10, number)), kind)
        wanted = np.zeros_like(picture.inside) if picture.salient is None else picture.salient
        wanted = wanted & picture.inside
        values = np.unique(picture.outer[0][wanted])
        masks = [(picture.outer[0] == v) & wanted for v in values]
        things = [Region.of(m[None]) for m in masks if np.count_nonzero(m) >= LEAST_VOXELS]
        if not things:
            continue
        coarse, area = picture_as_coarse(picture), picture.inside[None]
        seen = picture_borders(coarse, area, lambda: None, reader)
        for name, borders in zip(ious, (None, seen), strict=True):
            ious[name].append(best_ious(coarse, area, things, borders))
        found = unasked(coarse, area, seen).candidates
        first = max(found, key=lambda c: c.salience, default=None)
        whole = Region.of(wanted[None])
        shared = first.region.shared(whole) / (first.region.size + whole.size) if first else 0.0
        single.setdefault(kind, []).append(2 * shared)
    return PictureRecall(
        {name: np.concatenate(each) for name, each in ious.items()},
        {kind: float(np.mean(dice)) for kind, dice in single.items()},
    )


def as_coarse(scene: DenseScene) -> Coarse:
    """A scene as an image on a coarse grid."""
    spacing = (scene.step, 1.0, 1.0)
    affine = np.diag([*spacing, 1.0])
    return Coarse(scene.image[None], affine, spacing, _shape(scene.image))


def picture_as_coarse(picture: Picture) -> Coarse:
    """A picture as an image on a coarse grid."""
    image = lightness_and_colour(picture.rgb)[:, None]
    return Coarse(image, np.eye(4), (1.0, 1.0, 1.0), _shape(image[0]))


def _shape(image: NDArray[np.float32]) -> tuple[int, int, int]:
    z, y, x = image.shape
    return z, y, x
