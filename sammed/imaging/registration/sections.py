"""An object of one image looked for in another at any size: a section through an organ has none.

The object with a narrow rim is what is compared: what lies farther away, a chest wall, looks
otherwise in another person and would outvote it. A small disc is found again everywhere, so what is
far from where it should be, or of another size than in the example, must look the more alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from sammed.imaging.boxes import Box3D
from sammed.imaging.registration.alignment import Alignment
from sammed.imaging.registration.pictures import Grey, check_pair, region_of
from sammed.imaging.registration.search import grid_mm, middles, on_axes, scores

SIZES = tuple(1.2**k for k in range(-7, 3))
"""Sizes that are tried, as a factor of the object's in the moving image."""

AWAY_MM = 30.0
"""Standard deviation of where an object lies, from the images' middles on each other."""

GROWN = 0.7
"""Standard deviation of the logarithm of an object's size in pictures of other people and phases.
60 pictures of the heart, by ``python -m benchmarks.sections``: Dice 0.75, 0.64 without it; 0.52
without `AWAY_MM`, and 0.22 without both."""

LEAST_INSIDE = 0.8
"""Share of the object with its rim that must lie in the fixed image."""

FINEST_MM = 1.0


def sized(
    fixed: Grey,
    moving: Grey,
    near: NDArray[np.bool_],
    check: Callable[[], None] | None = None,
) -> Alignment:
    """Look for an object in another image: the shift and the size with the best account.

    All shifts are tried at once for each size, by masked normalised cross-correlation (Padfield
    2012, doi:10.1109/TIP.2011.2181402). A correlation r accounts for -log(1 - r²) / 2, as in the
    likelihood of a linear model; that is weighed with where the object may be expected.

    Parameters
    ----------
    fixed, moving
        The images.
    near : (z, y, x) bool
        The object and its rim, on the grid of the moving image; not empty.
    check
        Called for each size; may raise.

    Returns
    -------
    Alignment
        Shifts, and makes larger or smaller.

    Raises
    ------
    InputError
        If one is a slice and the other is not.
    """
    check_pair(fixed, moving)
    box = Box3D.from_mask(near)
    piece = region_of(moving, box)
    inside = _like(piece, near[box.slices])
    size = [(n - 1) / 2 for n in piece.GetSize()]
    centre = np.array(piece.TransformContinuousIndexToPhysicalPoint(size))
    expected = _back(middles(fixed, moving), centre)
    best = (-1.0, 0.0, 1.0, expected)
    for factor in SIZES:
        if check is not None:
            check()
        score, at, place = _best_place(
            fixed, Grey(_scaled(piece, centre, factor), moving.flat),
            _scaled(inside, centre, factor), centre, expected,
        )  # fmt: skip
        score *= float(np.exp(-0.5 * (np.log(factor) / GROWN) ** 2))
        best = max(best, (score, at, factor, place), key=lambda one: one[0])
    _, correlation, factor, place = best
    found = sitk.AffineTransform(len(centre))
    found.SetMatrix([float(v) for v in (np.eye(len(centre)) / factor).ravel()])
    found.SetTranslation([float(v) for v in centre - place / factor])
    return Alignment(found, correlation, flat=fixed.flat)


def _best_place(
    fixed: Grey, piece: Grey, inside: Any, centre: NDArray[Any], expected: NDArray[Any]
) -> tuple[float, float, NDArray[Any]]:
    """The best account of one size, its correlation, and where the object's middle is then."""
    mm = max(grid_mm(fixed, piece), FINEST_MM)
    a, inside_a, at_a = on_axes(fixed.image, mm)
    b, inside_b, at_b = on_axes(piece.image, mm)
    inside_b = inside_b & (on_axes(inside, mm)[0] > 0.5)
    correlation, count = scores(a, inside_a, np.where(inside_b, b, 0), inside_b)
    usable = np.where(count >= LEAST_INSIDE * inside_b.sum(), correlation, 0)
    likely = np.clip(usable, 0, 0.99)
    account = -0.5 * np.log(1 - likely**2)
    shifts = [
        np.where(np.arange(m) < n, np.arange(m), np.arange(m) - m)
        for n, m in zip(a.shape, account.shape, strict=True)
    ]
    for axis, steps in enumerate(shifts):
        world = len(shifts) - 1 - axis
        place = at_a[world] + steps * mm + centre[world] - at_b[world]
        weight = np.exp(-0.5 * ((place - expected[world]) / AWAY_MM) ** 2)
        account = account * np.expand_dims(weight, [n for n in range(len(shifts)) if n != axis])
    at = np.unravel_index(int(account.argmax()), account.shape)
    steps = np.array([shifts[axis][n] for axis, n in enumerate(at)])
    return float(account[at]), float(correlation[at]), at_a + steps[::-1] * mm + centre - at_b


def _like(piece: Any, mask: NDArray[np.bool_]) -> Any:
    flat = mask.reshape(piece.GetSize()[::-1]).astype(np.float32)
    image = sitk.GetImageFromArray(flat)
    image.CopyInformation(piece)
    return image


def _scaled(image: Any, centre: NDArray[Any], factor: float) -> Any:
    """The image, so many times as large about a point."""
    larger = sitk.Image(image)
    larger.SetSpacing([mm * factor for mm in image.GetSpacing()])
    origin = centre + (np.array(image.GetOrigin()) - centre) * factor
    larger.SetOrigin([float(v) for v in origin])
    return larger


def _back(shift: Alignment, point: NDArray[Any]) -> NDArray[Any]:
    """The point of the fixed image that a shift takes to a point of the moving one."""
    there = np.array(shift.transform.TransformPoint([float(v) for v in point]))
    return np.asarray(2 * point - there)
