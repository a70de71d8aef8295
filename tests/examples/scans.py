"""Small bodies with organs, in pairs of people, for what examples explain."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from scipy import ndimage

from sammed.imaging.volume import LabelVolume, Volume
from sammed.synthesis.abdomens import ORGANS, make_abdomen

SLICES = 20


@cache
def body(seed: int) -> tuple[Volume, LabelVolume]:
    return make_abdomen(seed, slices=SLICES)


def without(seed: int, organ: str) -> Volume:
    """A body from which an organ was taken: fat fills its place."""
    volume, labels = body(seed)
    rng = np.random.default_rng(seed)
    voxels = volume.voxels.copy()
    gone = labels.voxels == ORGANS[organ]
    voxels[gone] = np.rint(rng.normal(-80, 12, np.count_nonzero(gone))).astype(voxels.dtype)
    return replace(volume, voxels=voxels)


def only(labels: LabelVolume, *organs: str) -> LabelVolume:
    """A label map with some of the organs alone."""
    values = [ORGANS[name] for name in organs]
    kept = np.where(np.isin(labels.voxels, values), labels.voxels, 0)
    return replace(labels, voxels=kept, names={v: n for n, v in ORGANS.items() if n in organs})


def reversed_left_right(volume: Volume, labels: LabelVolume) -> tuple[Volume, LabelVolume]:
    """Voxels mirrored while the affine says what it said: a wrong header."""
    turned = replace(volume, voxels=np.ascontiguousarray(volume.voxels[:, :, ::-1]))
    drawn = replace(labels, voxels=np.ascontiguousarray(labels.voxels[:, :, ::-1]))
    return turned, replace(drawn, grid=turned.grid)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * np.count_nonzero(a & b) / max(np.count_nonzero(a) + np.count_nonzero(b), 1))


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], mm: float, spacing):
    """(z, y, x) bool."""
    grid = np.indices(shape)
    away = sum(((g - c) * s) ** 2 for g, c, s in zip(grid, centre, spacing, strict=True))
    return np.sqrt(away) < mm


def blurred(values: np.ndarray, seed: int, noise: float = 6.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(values, 0.5)
    return np.rint(smooth + noise * rng.standard_normal(values.shape)).astype(np.int16)
