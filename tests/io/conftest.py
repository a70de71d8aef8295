"""Volumes, labels and real cases for the tests of reading and writing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sammed.imaging.volume import LabelVolume, Volume

SHAPE = (5, 7, 11)
SPACING = (2.5, 0.8, 0.7)
DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def oblique_affine() -> np.ndarray:
    """Index (k, j, i) to LPS mm, asymmetric in every respect."""
    rotation = Rotation.from_euler("xyz", [10, 20, -15], degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = rotation[:, [2, 1, 0]] * SPACING
    affine[:3, 3] = [-123.456789, 45.678901, -934.56789]
    return affine


def cases() -> list[dict[str, Any]]:
    """Real image + label pairs; none where the data is absent."""
    listing = DATA / "cases.json"
    return json.loads(listing.read_text())["cases"] if listing.is_file() else []


@pytest.fixture
def volume() -> Volume:
    voxels = np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16)
    return Volume.from_array(voxels, oblique_affine())


@pytest.fixture
def labels(volume: Volume) -> LabelVolume:
    voxels = np.zeros(volume.shape, np.uint8)
    voxels[1:4, 2:5, 3:9] = 1
    voxels[2:5, 4:6, 1:4] = 3
    return LabelVolume(voxels, volume.grid, {1: "liver <left>", 3: "spleen"}, {3: (10, 20, 30)})
