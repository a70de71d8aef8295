"""Labelled regions of the coarse grid: how much border each has, and how steep it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammed.everything.coarse import Coarse, Float

Labels = NDArray[np.int32]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Faces:
    """Where two regions of a labelled grid meet.

    Attributes
    ----------
    first, second : (n,) int
        The two labels, ``first < second``; 0 is outside.
    area : (n,) float
        Of the faces between them, in mm² (mm of a picture).
    step : (n,) float
        The image's gradient summed over them, by area.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    area: Floats
    step: Floats


def faces(labels: Labels, gradient: Float, spacing: tuple[float, float, float]) -> Faces:
    """The borders between all regions that touch.

    Parameters
    ----------
    labels : (z, y, x) int32
        0 is outside.
    gradient : (z, y, x) float32
        Of the image.
    spacing
        (z, y, x) in mm.
    """
    most = int(labels.max()) + 1
    keys, areas, steps = [], [], []
    for axis in range(3):
        if labels.shape[axis] == 1:
            continue
        area = float(np.prod([s for a, s in enumerate(spacing) if a != axis]))
        near = [slice(None)] * 3
        far = [slice(None)] * 3
        near[axis], far[axis] = slice(None, -1), slice(1, None)
        a, b = labels[tuple(near)], labels[tuple(far)]
        apart = a != b
        low, high = np.minimum(a[apart], b[apart]), np.maximum(a[apart], b[apart])
        steep = np.maximum(gradient[tuple(near)][apart], gradient[tuple(far)][apart])
        keys.append(low.astype(np.int64) * most + high)
        areas.append(np.full(len(low), area))
        steps.append(steep * area)
    key = np.concatenate(keys) if keys else np.empty(0, np.int64)
    pairs, which = np.unique(key, return_inverse=True)
    count = len(pairs)
    return Faces(
        pairs // most,
        pairs % most,
        *(
            np.bincount(which, np.concatenate(each) if each else None, count).astype(np.float64)
            for each in (areas, steps)
        ),
    )


LEAST_TEXTURE = 0.005
"""Gradient of regions without any texture, lest noise alone decide among them."""


def promise(
    size: Floats,
    area: Floats,
    step: Floats,
    texture: Floats,
    coarse: Coarse,
    *,
    round_ones: bool = True,
) -> Floats:
    """How much regions look like things, from the image alone: steep borders, smooth, round.

    The mean gradient on the border, over the root of the mean gradient inside, times the share that
    the border of a ball (disc) of the same size would have of the region's.

    Parameters
    ----------
    size : (n,)
        In voxels.
    area, step : (n,)
        Of their borders, see `Faces`.
    texture : (n,)
        Sum of the gradient inside.
    coarse
        The image.
    round_ones
        Whether roundness counts. Where a network says where borders are it does not: it has seen
        that vessels and bones are not round.
    """
    area = np.maximum(area, 1e-9)
    smooth = np.sqrt(texture / np.maximum(size, 1) + LEAST_TEXTURE)
    if not round_ones:
        return np.asarray(step / area / smooth)
    if coarse.is_flat:
        pixel = _pixel(coarse)
        thickness = np.prod(coarse.spacing) / pixel
        ball = 2 * np.sqrt(np.pi * size * pixel) * thickness
    else:
        ball = np.cbrt(36 * np.pi) * np.cbrt(size * np.prod(coarse.spacing)) ** 2
    return np.asarray(step / area / smooth * (ball / area))


def _pixel(coarse: Coarse) -> float:
    return float(np.prod([s for s, n in zip(coarse.spacing, coarse.shape, strict=True) if n > 1]))


def measured(labels: Labels, coarse: Coarse) -> tuple[Floats, Floats]:
    """Size in voxels and promise of each label from 0 on."""
    met = faces(labels, coarse.gradient, coarse.spacing)
    most = int(labels.max()) + 1
    ends = np.concatenate([met.first, met.second])
    area: Floats = np.bincount(ends, np.tile(met.area, 2), most).astype(np.float64)
    step: Floats = np.bincount(ends, np.tile(met.step, 2), most).astype(np.float64)
    size: Floats = np.bincount(labels.ravel(), minlength=most).astype(np.float64)
    texture = np.bincount(labels.ravel(), coarse.gradient.ravel(), most).astype(np.float64)
    return size, promise(size, area, step, texture, coarse)
