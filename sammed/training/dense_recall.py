"""What the dense network is for: how many things of scenes it has not seen are candidates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammed.everything.coarse import Coarse
from sammed.everything.learned import learned_borders
from sammed.everything.recall import best_ious
from sammed.everything.regions import Region
from sammed.models.dense.borders import DenseReader, load_dense
from sammed.synthesis.dense_scenes import DenseScene, make_dense_scene
from sammed.synthesis.source import mapped
from sammed.training.validation import SEED

LEAST_VOXELS = 60
"""Smaller things are not counted."""


def scene_recall(
    weights: Path | None,
    scenes: int,
    label_maps: Path | None,
    told: Callable[[int, int], None] = lambda done, total: None,
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
    found: dict[str, list[NDArray[np.float64]]] = {"the image alone": [], "the network as well": []}
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


def as_coarse(scene: DenseScene) -> Coarse:
    """A scene as an image on a coarse grid."""
    spacing = (scene.step, 1.0, 1.0)
    affine = np.diag([*spacing, 1.0])
    return Coarse(scene.image[None], affine, spacing, _shape(scene))


def _shape(scene: DenseScene) -> tuple[int, int, int]:
    z, y, x = scene.image.shape
    return z, y, x
