"""A cohort of synthetic abdomens: the same five organs in bodies of their own.

As the sample's, but sizes, shapes, places, contrast, noise, voxels and field of view differ from
one to the next. Nothing is taken from a patient.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.imaging.volume import LabelVolume, Volume

ORGANS: Mapping[str, int] = {
    "liver": 1,
    "spleen": 2,
    "kidney_right": 3,
    "kidney_left": 4,
    "aorta": 5,
}
"""Name → value."""

Array = NDArray[np.float32]

_PLACES: Mapping[str, tuple[tuple[float, ...], ...]] = {
    "liver": ((0.34, -0.10, -0.36, 0.52, 0.52, 0.36), (0.44, -0.26, -0.06, 0.30, 0.30, 0.34)),
    "spleen": ((0.42, 0.20, 0.50, 0.34, 0.34, 0.17),),
    "kidney_right": ((-0.34, 0.36, -0.40, 0.40, 0.20, 0.15),),
    "kidney_left": ((-0.26, 0.36, 0.42, 0.42, 0.20, 0.15),),
    "aorta": ((0.0, 0.27, 0.05, 9.0, 0.085, 0.072),),
}
"""Ellipsoids: centre and radii (z, y, x) in halves of the body's extents."""

_HU: Mapping[str, float] = {
    "liver": 105.0,
    "spleen": 120.0,
    "kidney_right": 160.0,
    "kidney_left": 160.0,
    "aorta": 150.0,
}


def make_abdomen(seed: int, slices: int = 40) -> tuple[Volume, LabelVolume]:
    """A CT of an abdomen and its organs; the same seed gives the same.

    Parameters
    ----------
    seed
        Of everything in it.
    slices
        About so many; other extents follow.

    Examples
    --------
    >>> volume, labels = make_abdomen(3, slices=12)
    >>> volume.modality, labels.names[2]
    ('CT', 'spleen')
    """
    rng = np.random.default_rng([seed, 77])
    shape = tuple(round(slices * part * rng.uniform(0.92, 1.08)) for part in (1.0, 2.0, 2.4))
    z, y, x = _positions(rng, (shape[0], shape[1], shape[2]))
    labels, hu = _painted(rng, z, y, x)
    hu = ndimage.gaussian_filter(hu, (0.3, 0.5, 0.5))
    noise = ndimage.gaussian_filter(rng.standard_normal(hu.shape), (0, 0.6, 0.6))
    hu = hu + rng.uniform(8, 22) * noise / noise.std()
    voxels = np.clip(np.rint(hu), -1024, 1500).astype(np.int16)
    mm = [260 / shape[0], 300 / shape[1], 360 / shape[2]]
    affine = np.eye(4)
    affine[:3, :3] = np.diag(mm)[[2, 1, 0]] * rng.uniform(0.9, 1.1)
    volume = Volume.from_array(voxels, affine, modality="CT")
    names = {value: name for name, value in ORGANS.items()}
    return volume, LabelVolume(labels, volume.grid, names)


def _positions(rng: np.random.Generator, shape: tuple[int, int, int]) -> tuple[Array, Array, Array]:
    """Where each voxel lies in the body, bent; other fields of view show more or less of it."""
    found = []
    for axis, n in enumerate(shape):
        reach = rng.uniform(0.8, 1.0) if axis == 0 else rng.uniform(0.95, 1.15)
        shift = rng.uniform(-0.12, 0.12) if axis == 0 else rng.uniform(-0.05, 0.05)
        places = ((np.arange(n) + 0.5) / n * 2 - 1) * reach + shift
        grid = places.reshape([-1 if a == axis else 1 for a in range(3)])
        found.append((grid + 0.04 * _waves(rng, shape, 6)).astype(np.float32))
    return found[0], found[1], found[2]


def _painted(
    rng: np.random.Generator, z: Array, y: Array, x: Array
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    def ellipsoid(at: tuple[float, ...]) -> NDArray[np.bool_]:
        cz, cy, cx = (c + rng.normal(0, 0.03) for c in at[:3])
        rz, ry, rx = (r * np.exp(rng.normal(0, 0.1)) for r in at[3:])
        return np.asarray(((z - cz) / rz) ** 2 + ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1)

    shape = (z.shape[0], z.shape[1], z.shape[2])
    hu = np.full(shape, -1000.0)
    body = (y / 0.86) ** 2 + (x / 0.90) ** 2 < 1
    muscle = (y / 0.74) ** 2 + (x / 0.79) ** 2 < 1
    cavity = (y / 0.66) ** 2 + (x / 0.71) ** 2 < 1
    spine = ((y - 0.52) / 0.17) ** 2 + (x / 0.14) ** 2 < 1
    for region, mean, rough, size in (
        (body, -95, 8, 8), (muscle, 48, 6, 10), (cavity, -80, 14, 14), (spine, 210, 45, 20),
    ):  # fmt: skip
        hu[region] = (mean + rough * _waves(rng, shape, size))[region]
    bowel = (_waves(rng, shape, 12) > 0.8) & cavity & (z < 0.1) & (y < 0.25)
    hu[bowel] = (30 + 22 * _waves(rng, shape, 18))[bowel]
    labels = np.zeros(shape, np.uint8)
    phase = rng.uniform(-25, 25)
    for name, value in ORGANS.items():
        there = np.zeros(shape, bool)
        for at in _PLACES[name]:
            there |= ellipsoid(at)
        there &= (cavity if name != "aorta" else body) & ~spine
        labels[there] = value
        level = _HU[name] + phase * (1.5 if "kidney" in name else 1) + rng.normal(0, 6)
        hu[there] = (level + 5 * _waves(rng, shape, 16))[there]
    return labels, hu


def _waves(rng: np.random.Generator, shape: tuple[int, int, int], knots: int) -> Array:
    """Smooth noise of unit deviation, with so many knots along each axis."""
    coarse = rng.standard_normal([min(knots, n) for n in shape])
    zoom = [n / c for n, c in zip(shape, coarse.shape, strict=True)]
    fine = ndimage.zoom(coarse, zoom, order=2, grid_mode=True, mode="reflect")
    return np.asarray(fine / max(float(fine.std()), 1e-6), np.float32)
