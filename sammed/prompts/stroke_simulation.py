"""Strokes that a user might have drawn, simulated from a mask on one slice.

Three ways of drawing, those of ScribblePrompt (Wong et al. 2024, arXiv:2312.07381): a line through
the object, along its middle, along its border a little inside. Each is drawn by an unsteady hand,
and lifted now and then.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.errors import EvaluationError
from sammed.imaging.boxes import Box2D
from sammed.prompts import ScribblePrompt
from sammed.prompts.simulation import largest_slice, wrong_part

Bool2 = NDArray[np.bool_]
Bool3 = NDArray[np.bool_]
Path = NDArray[np.float64]

WAVER = 0.06
"""How far a hand strays, as a share of a stroke's length."""

LIFTED = 0.15
"""Share of a stroke that is missing where the hand was lifted."""

_TOUCHING = np.ones((3, 3), bool)


def line(mask: Bool2, rng: np.random.Generator) -> Path:
    """A long chord that lies in a mask, (n, 2) of (row, col)."""
    pixels = np.argwhere(mask)
    chords = [_straight(*pair) for pair in pixels[rng.integers(len(pixels), size=(12, 2))]]
    within = [mask[tuple(np.rint(chord).astype(int).T)] for chord in chords]
    return chords[int(np.argmax([there.sum() - 2 * (~there).sum() for there in within]))]


def _straight(start: NDArray[np.intp], end: NDArray[np.intp]) -> Path:
    steps = np.linspace(0, 1, int(np.abs(end - start).max()) + 1)[:, None]
    return np.asarray(start + (end - start) * steps, np.float64)


def centre_line(mask: Bool2, rng: np.random.Generator) -> Path:
    """The way through the middle of a mask between two of its far ends, (n, 2) of (row, col)."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    pixels = np.argwhere(mask)
    start = _farthest(mask, depth, tuple(pixels[int(rng.integers(len(pixels)))]))[-1]
    return np.array(_farthest(mask, depth, start), np.float64)


def contour(mask: Bool2, rng: np.random.Generator) -> Path:
    """A part of the way round a mask, a little inside of its border, (n, 2) of (row, col)."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    inside = depth >= max(1.0, float(rng.uniform(0.25, 0.6)) * depth.max())
    rim = np.argwhere(_largest(inside & ~ndimage.binary_erosion(inside)))
    middle = rim.mean(0)
    turned = np.arctan2(*(rim - middle).T) + rng.uniform(0, 2 * np.pi)
    around = rim[np.argsort(turned % (2 * np.pi))]
    return np.asarray(around[: max(2, int(len(around) * rng.uniform(0.4, 0.9)))], np.float64)


KINDS: dict[str, Callable[[Bool2, np.random.Generator], Path]] = {
    "line": line,
    "centre line": centre_line,
    "contour": contour,
}
"""The ways of drawing, by name."""


def drawn(mask: Bool2, kind: str, rng: np.random.Generator) -> NDArray[np.intp]:
    """Pixels of one stroke within the largest part of a mask, in drawing order.

    Parameters
    ----------
    mask : (height, width) bool
        What is drawn on, not empty.
    kind
        One of `KINDS`.
    rng
        Source of randomness.

    Returns
    -------
    (n, 2) int
        (row, col), all of them in the mask, none twice; at least one.

    Raises
    ------
    EvaluationError
        If the mask is empty.

    Examples
    --------
    >>> mask = np.zeros((9, 12), bool); mask[3:6, 2:10] = True
    >>> stroke = drawn(mask, "centre line", np.random.default_rng(0))
    >>> bool(mask[tuple(stroke.T)].all()), len(stroke) > 3
    (True, True)
    """
    if not mask.any():
        raise EvaluationError("the mask is empty; there is nothing to draw on")
    part = _largest(mask)
    box = Box2D.from_mask(part)
    path = _unsteady(KINDS[kind](part[box.slices], rng), rng) + np.array((box.r0, box.c0))
    pixels = np.rint(path).astype(np.intp)
    within = (pixels >= 0).all(1) & (pixels < mask.shape).all(1)
    pixels = pixels[within]
    pixels = pixels[part[tuple(pixels.T)]]
    if not len(pixels):  # the hand strayed off a thin object altogether
        pixels = np.argwhere(part)[:1]
    _, first = np.unique(pixels, axis=0, return_index=True)
    return np.asarray(pixels[np.sort(first)], np.intp)


def first_stroke(mask: Bool3, axis: int, kind: str, rng: np.random.Generator) -> ScribblePrompt:
    """A stroke inside an object, on the slice where its area is largest.

    Parameters
    ----------
    mask : (z, y, x) bool
        The reference, not empty.
    axis
        Across which slices lie.
    kind
        One of `KINDS`.
    rng
        Source of randomness.
    """
    index = largest_slice(mask, axis)
    return _on_slice(drawn(np.take(mask, index, axis), kind, rng), axis, index, positive=True)


def corrective_stroke(
    prediction: Bool3, reference: Bool3, axis: int, kind: str, rng: np.random.Generator
) -> ScribblePrompt | None:
    """The stroke that a user would draw next: through the largest error, where it is widest.

    Parameters
    ----------
    prediction, reference : (z, y, x) bool
        On one grid.
    axis, kind, rng
        As in `first_stroke`.

    Returns
    -------
    ScribblePrompt or None
        Positive where the object was missed; ``None`` if the masks are equal.
    """
    found = wrong_part(prediction, reference)
    if found is None:
        return None
    wrong, positive = found
    index = largest_slice(wrong, axis)
    return _on_slice(drawn(np.take(wrong, index, axis), kind, rng), axis, index, positive)


def _on_slice(pixels: NDArray[np.intp], axis: int, index: int, positive: bool) -> ScribblePrompt:
    return ScribblePrompt(np.insert(pixels, axis, index, axis=1), positive)


def _largest(mask: Bool2) -> Bool2:
    """The largest 8-connected part of a mask, not empty."""
    parts, count = ndimage.label(mask, structure=_TOUCHING)
    return mask if count == 1 else parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))


def _farthest(
    mask: Bool2, depth: NDArray[np.float64], start: tuple[int, ...]
) -> list[tuple[int, ...]]:
    """Pixels on the cheapest way from a pixel to the one that is farthest; the middle is cheap."""
    from skimage.graph import MCP_Geometric

    cost = np.where(mask, 1 + 8 * (1 - depth / max(depth.max(), 1)) ** 2, -1)
    ways = MCP_Geometric(cost)
    reached, _ = ways.find_costs([start])
    length = np.where(mask & np.isfinite(reached), reached, -1)
    end = np.unravel_index(int(np.argmax(length)), mask.shape)
    return [tuple(int(v) for v in at) for at in ways.traceback(tuple(int(v) for v in end))]


def _unsteady(path: Path, rng: np.random.Generator) -> Path:
    """A path that wavers a little and has a gap now and then."""
    n = len(path)
    if n < 6:
        return path
    amount = WAVER * n * rng.uniform(0.2, 1.0)
    sway = ndimage.gaussian_filter1d(rng.normal(size=(n, 2)), n / 6, axis=0, mode="nearest")
    sway *= amount / max(float(np.abs(sway).max()), 1e-9)
    path = path + sway
    if rng.random() < 0.5:
        gap = max(1, int(n * rng.uniform(0, LIFTED)))
        at = int(rng.integers(1, n - gap))
        path = np.delete(path, slice(at, at + gap), axis=0)
    return path
