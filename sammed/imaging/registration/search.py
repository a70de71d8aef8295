"""One image looked for in another: of all shifts that with the highest correlation."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy import fft

from sammed.imaging.boxes import Box3D
from sammed.imaging.registration.alignment import LEAST_OVERLAP, Alignment
from sammed.imaging.registration.pictures import Grey, check_pair, longest, region_of

COARSE = 40
"""The longest side of the smaller image, in voxels, while it is looked for in the other."""

MOST = 90**3
"""Voxels of a cube as long as the larger, at most."""


def middles(fixed: Grey, moving: Grey) -> Alignment:
    """Both images' middles on each other."""
    check_pair(fixed, moving)
    ends = [
        np.array(g.image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in size]))
        for g in (fixed, moving)
        for size in [g.image.GetSize()]
    ]
    shift = [float(v) for v in ends[1] - ends[0]]
    return Alignment(sitk.TranslationTransform(len(shift), shift), 0.0, flat=fixed.flat)


def part_of(image: Grey, box: Box3D) -> Grey:
    """A part of an image, to be looked for in another."""
    return Grey(region_of(image, box), image.flat)


def coarse(fixed: Grey, moving: Grey) -> Alignment:
    """Look for one image in the other: the shift with the highest correlation.

    All shifts by whole voxels of a coarse grid are tried at once, by masked normalised
    cross-correlation (Padfield 2012, doi:10.1109/TIP.2011.2181402).

    Raises
    ------
    InputError
        If one is a slice and the other is not.
    """
    check_pair(fixed, moving)
    mm = grid_mm(fixed, moving)
    (a, inside_a, at_a), (b, inside_b, at_b) = (_coarsely(g, mm) for g in (fixed, moving))
    correlation, shift = _best_shift(a, inside_a, b, inside_b)
    # a voxel of a at index i shows what b shows at i - shift
    offset = (at_b - at_a) - np.array(shift)[::-1] * mm
    transform = sitk.TranslationTransform(len(offset), [float(v) for v in offset])
    return Alignment(transform, correlation, flat=fixed.flat)


def in_mirrors(fixed: Grey, moving: Grey) -> dict[int, float]:
    """How alike the two are if one is reversed, as `coarse` has it: canonical axis → correlation.

    The image is smoothed once, and then reversed, which on large scans is most of the work.
    """
    check_pair(fixed, moving)
    mm = grid_mm(fixed, moving)
    a, inside_a, _ = _coarsely(fixed, mm)
    smooth = _smoothed_to(moving.image, mm)
    values = sitk.GetArrayFromImage(smooth)
    found = {}
    for axis in (n for n in range(3) if n != moving.flat):
        along = axis - (0 <= moving.flat < axis)
        if values.shape[along] < 2:
            continue
        reversed_image = sitk.GetImageFromArray(np.ascontiguousarray(np.flip(values, along)))
        reversed_image.CopyInformation(smooth)
        b, inside_b, _ = _on_axes(reversed_image, mm)
        found[axis] = _best_shift(a, inside_a, b, inside_b)[0]
    return found


def _coarsely(image: Grey, mm: float) -> tuple[Any, Any, NDArray[np.float64]]:
    """`on_axes`, remembered."""
    if mm not in image.coarse:
        image.coarse[mm] = on_axes(image.image, mm)
    found: tuple[Any, Any, NDArray[np.float64]] = image.coarse[mm]
    return found


def grid_mm(fixed: Grey, moving: Grey) -> float:
    """So coarse that the smaller has `COARSE` voxels, and both together are quickly looked at."""
    both = [longest(g.image) for g in (fixed, moving)]
    size = fixed.image.GetDimension()
    finest = max(both) / MOST ** (1 / size)
    return max(min(both) / COARSE, finest, max(both) / COARSE / 4)


def on_axes(image: Any, mm: float) -> tuple[Any, Any, NDArray[np.float64]]:
    """The image on cubic voxels along the axes of the world, where it lies, and where it begins."""
    return _on_axes(_smoothed_to(image, mm), mm)


def _on_axes(image: Any, mm: float) -> tuple[Any, Any, NDArray[np.float64]]:
    """The same of an image that is smooth enough."""
    size = np.array(image.GetSize())
    corners = np.array(
        [
            image.TransformContinuousIndexToPhysicalPoint([float(v) for v in corner])
            for corner in np.array(np.meshgrid(*[[-0.5, n - 0.5] for n in size]))
            .reshape(len(size), -1)
            .T
        ]
    )
    low, high = corners.min(axis=0), corners.max(axis=0)
    shape = [max(1, ceil((b - a) / mm - 1e-6)) for a, b in zip(low, high, strict=True)]
    origin = low + mm / 2
    even = [float(v) for v in np.eye(len(size)).ravel()]
    moved = sitk.GetArrayFromImage(
        sitk.Resample(image, shape, sitk.Transform(), sitk.sitkLinear, [float(v) for v in origin],
                      [mm] * len(size), even, -1.0)
    )  # fmt: skip
    inside = moved > -0.5
    return np.where(inside, moved, 0), inside, origin


def _smoothed_to(image: Any, mm: float) -> Any:
    for axis, (n, s) in enumerate(zip(image.GetSize(), image.GetSpacing(), strict=True)):
        if mm > s * 1.2 and n >= 4:
            image = sitk.RecursiveGaussian(image, 0.4 * mm, direction=axis)
    return image


def _best_shift(a: Any, inside_a: Any, b: Any, inside_b: Any) -> tuple[float, tuple[int, ...]]:
    """The highest masked correlation of two arrays, and by how many voxels b is shifted for it."""
    correlation, count = scores(a, inside_a, b, inside_b)
    smaller = min(inside_a.sum(), inside_b.sum())
    score = np.where(count >= LEAST_OVERLAP * smaller, correlation, -1.0)
    score *= np.sqrt(np.minimum(1.0, count / max(1, smaller)))
    at = np.unravel_index(int(score.argmax()), score.shape)
    whole = score.shape
    shift = [int(i) if i < n else int(i) - m for i, n, m in zip(at, a.shape, whole, strict=True)]
    return float(score[at]), tuple(shift)


def scores(a: Any, inside_a: Any, b: Any, inside_b: Any) -> tuple[Any, Any]:
    """Masked correlation of two arrays for every shift of b, and on how many voxels.

    Returns
    -------
    correlation, count
        By the shift along each axis; from the length of a on shifts are negative, as in a discrete
        Fourier transform. -1 where one of the two is even there.
    """
    shape = [fft.next_fast_len(n + m - 1) for n, m in zip(a.shape, b.shape, strict=True)]

    def spectrum(values: Any) -> Any:
        return fft.rfftn(np.asarray(values, np.float64), shape)

    def pair(x: Any, y: Any) -> Any:
        return fft.irfftn(x * np.conj(y), shape)

    fa, fb, ma, mb = (spectrum(v) for v in (a, b, inside_a, inside_b))
    count = np.maximum(np.rint(pair(ma, mb)), 0)
    safe = np.maximum(count, 1)
    sum_a, sum_b = pair(fa, mb), pair(ma, fb)
    both = pair(fa, fb) - sum_a * sum_b / safe
    spread_a = pair(spectrum(a * a), mb) - sum_a**2 / safe
    spread_b = pair(ma, spectrum(b * b)) - sum_b**2 / safe
    spread = np.sqrt(np.maximum(spread_a, 0) * np.maximum(spread_b, 0))
    uneven = spread > 1e-6 * max(float(spread.max()), 1e-12)
    return np.where(uneven, both / np.maximum(spread, 1e-12), -1.0), count
