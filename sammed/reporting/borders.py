"""What an image shows at the border of an object: how strong the edge is there, and how wide."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

REACH = 4.0
"""How far on both sides of the border an image is looked at, in pixels."""

STEP = 0.5
"""Distance between two places along a line across the border, in pixels."""

CLEAR = 1.5
"""Beyond this distance in pixels a place counts as inside or outside, no more as border."""

ALONG = 2.0
"""Steps are averaged along the border over a Gaussian of so many pixels, against noise."""

Float = NDArray[np.float64]
Bool2 = NDArray[np.bool_]


@dataclass(frozen=True)
class Border:
    """The edge of an image at the border of an object.

    Attributes
    ----------
    contrast
        Mean over the border of the step in intensity from outside to inside, whichever side is
        the brighter; in the unit of the values. NaN without a border.
    width
        How far the edge spreads, in pixels: the whole step over its steepest slope. About 1 at the
        sharpest edge that a grid can hold, 2.5 σ of one blurred by a Gaussian. NaN without a step.
    """

    contrast: float
    width: float


def measure_border(
    values: NDArray[np.floating], mask: NDArray[np.bool_], pixel_mm: tuple[float, ...]
) -> Border:
    """How strong and how wide the edge is at the border of an object.

    On each slice the image is read along lines across the border. The mean of these lines, each
    turned so that it rises, is the edge spread function; the step over its steepest slope is its
    width (Judy 1976, doi:10.1118/1.594283, for the function).

    Parameters
    ----------
    values, mask : (slice, row, col)
        An image and an object in it; slices are those in which the object is looked at.
    pixel_mm
        Pixel size (row, col) in mm.
    """
    at = np.arange(-REACH, REACH + STEP / 2, STEP)
    lines, steps = [], []
    for image, section in zip(values, mask, strict=True):
        found = _lines_across(image, section, pixel_mm, at)
        if found is not None:
            lines.append(found[0])
            steps.append(found[1])
    if not lines:
        return Border(math.nan, math.nan)
    step = np.concatenate(steps)
    return Border(float(np.abs(step).mean()), _width(np.concatenate(lines), step, at))


def _lines_across(
    image: NDArray[np.floating], section: Bool2, pixel_mm: tuple[float, ...], at: Float
) -> tuple[Float, Float] | None:
    """Values along lines across the border, (line, place), and the step of each.

    Places that lie on the wrong side of the border (of a thin object, or of a neighbouring part)
    are NaN. ``None`` if the object has no border on this slice.
    """
    if section.all() or not section.any() or min(section.shape) < 2:
        return None
    pixel = min(pixel_mm)
    depth = np.asarray(
        ndimage.distance_transform_edt(section, sampling=pixel_mm)
        - ndimage.distance_transform_edt(~section, sampling=pixel_mm)
    )
    rim = section & (depth <= max(pixel_mm) * 1.01)
    slope = np.stack(np.gradient(ndimage.gaussian_filter(depth, 1.0), *pixel_mm))
    steep = np.hypot(*slope)
    rows, cols = np.nonzero(rim & (steep > 0.1))
    if not len(rows):
        return None
    inward = slope[:, rows, cols] / steep[rows, cols]
    start = depth[rows, cols] / 2  # the border lies between two pixels
    away = at[None, :] * pixel - start[:, None]
    places = [
        index[:, None] + direction[:, None] * away / mm
        for index, direction, mm in zip((rows, cols), inward, pixel_mm, strict=True)
    ]
    line = ndimage.map_coordinates(image, places, order=1, mode="constant", cval=math.nan)
    true_depth = ndimage.map_coordinates(depth / pixel, places, order=1, mode="nearest")
    true_depth -= np.clip(true_depth, -1, 1) / 2
    line[np.abs(true_depth - at[None, :]) > 1.0] = math.nan
    return _stepping(line, at, rim.shape, rows, cols)


def _stepping(
    line: Float, at: Float, shape: tuple[int, ...], rows: NDArray[np.intp], cols: NDArray[np.intp]
) -> tuple[Float, Float] | None:
    """Lines with a value on both sides, and the step of each, averaged along the border."""
    inside, outside = _side(line, at, at > 0), _side(line, at, at < 0)
    step = inside - outside
    good = np.isfinite(step)
    if not good.any():
        return None
    line, step, rows, cols = line[good], step[good], rows[good], cols[good]
    held, there = np.zeros(shape), np.zeros(shape)
    held[rows, cols], there[rows, cols] = step, 1.0
    near, weight = (ndimage.gaussian_filter(a, ALONG)[rows, cols] for a in (held, there))
    return line, near / weight


def _side(line: Float, at: Float, of: NDArray[np.bool_]) -> Float:
    """Mean of each line on one side, clear of the border; of a thin object, what there is."""
    clear = _mean(line[:, of & (np.abs(at) >= CLEAR)])
    return np.where(np.isfinite(clear), clear, _mean(line[:, of & (np.abs(at) >= STEP)]))


def _mean(values: Float) -> Float:
    """Mean over the last axis of what is defined; NaN where nothing is."""
    defined = np.isfinite(values)
    count = defined.sum(axis=-1)
    total = np.where(defined, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), math.nan)


def _width(lines: Float, steps: Float, at: Float) -> float:
    """Width in pixels of the mean edge: the step over the steepest slope."""
    middle = (_side(lines, at, at > 0) + _side(lines, at, at < 0)) / 2
    spread = _mean(((lines - middle[:, None]) * np.sign(steps)[:, None]).T)
    step = float(_side(spread[None], at, at > 0)[0] - _side(spread[None], at, at < 0)[0])
    slopes = np.diff(spread) / STEP
    steepest = float(np.nanmax(slopes)) if np.isfinite(slopes).any() else 0.0
    return step / steepest if step > 0 and steepest > 0 else math.nan
