"""A tiny cohort on disk: two images with two objects each, one broken case."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sammed import io
from sammed.imaging.volume import LabelVolume, Volume, make_grid
from sammed.models.protocols import ALL_PROMPTS, Embedding, ModelSpec, ViewMask

SHAPE = (9, 40, 44)
SPACING = (2.5, 0.8, 0.7)


def oblique():
    a = np.radians(12)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn[:, ::-1] * np.array(SPACING)
    affine[:3, 3] = (-20, 14, 33)
    return affine


def ellipsoid(centre, radii):
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    return (((grid - np.array(centre)) / np.array(radii)) ** 2).sum(-1) <= 1


def scene(seed):
    """Voxels and labels of two bright ellipsoids on a dark, noisy ground."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.uint8)
    labels[ellipsoid((4, 13, 12), (3.2, 8, 7))] = 1
    labels[ellipsoid((5, 28, 31), (2.4, 6, 9))] = 2
    voxels = rng.normal(20, 4, SHAPE)
    voxels[labels == 1] += 100
    voxels[labels == 2] += 60
    return voxels.astype(np.float32), labels


@pytest.fixture
def volume():
    voxels, _ = scene(0)
    return Volume.from_array(voxels, oblique(), modality="MR")


@pytest.fixture
def labels():
    _, values = scene(0)
    grid = make_grid(oblique(), SHAPE)
    return LabelVolume(grid.reorientation.apply(values), grid, {1: "round", 2: "long"})


@pytest.fixture
def cohort(tmp_path):
    return write_cohort(tmp_path / "data")


def write_cohort(folder):
    """Path of a ``cases.json`` with the cases one, two (sound) and broken."""
    folder.mkdir()
    entries = []
    for seed, name in enumerate(("one", "two")):
        voxels, values = scene(seed)
        grid = make_grid(oblique(), SHAPE)
        io.write_volume(Volume.from_file_array(voxels, grid), folder / f"{name}.nii.gz")
        label = LabelVolume(grid.reorientation.apply(values), grid, {1: "round", 2: "long"})
        io.write_labels(label, folder / f"{name}_label.nii.gz")
        entries.append(
            {
                "id": name,
                "area": "phantom",
                "modality": "MR",
                "image": f"{name}.nii.gz",
                "label": f"{name}_label.nii.gz",
                "labels": {"1": "round", "2": "long", "7": "nowhere"},
                "truth": "manual",
            }
        )
    (folder / "broken.nii.gz").write_bytes(b"no image")
    entries.append({**entries[0], "id": "broken", "image": "broken.nii.gz"})
    path = folder / "cases.json"
    path.write_text(json.dumps({"format": "sammed-cases/1", "cases": entries}))
    return path


class Bright:
    """A model that segments what is bright inside the box: whole slices, all kinds of prompts."""

    def __init__(self):
        self.encoded = 0

    @property
    def spec(self):
        return ModelSpec("bright", view_size=88, mask_size=88, prompts=ALL_PROMPTS)

    def encode(self, views):
        self.encoded += len(views)
        extent = views.pixels.shape[2:]
        return [Embedding({"pixels": p[0]}, extent) for p in views.pixels]

    def decode(self, embedding, prompts):
        logits = np.full((88, 88), -8.0, np.float32)
        h, w = embedding.extent
        logits[:h, :w] = (embedding.arrays["pixels"] - 0.35) * 20
        return [self._answer(logits, p) for p in prompts]

    def _answer(self, logits, prompt):
        at = np.arange(88) + 0.5
        inside = np.ones((88, 88), bool)
        if prompt.box is not None:
            r0, c0, r1, c1 = prompt.box
            inside = ((at >= r0) & (at < r1))[:, None] & ((at >= c0) & (at < c1))
        mask = np.where(inside, logits, -8.0).astype(np.float32)
        return ViewMask(mask[None], np.ones(1, np.float32))
