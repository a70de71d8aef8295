"""What protocol D does to an image, and the way of a mask back to the undisturbed grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sammed.errors import InputError
from sammed.imaging.geometry import Reorientation
from sammed.imaging.intensity import resolve_window
from sammed.imaging.volume import Volume

NOISE = 0.05
"""Standard deviation of the added noise, as a share of the window's width."""

WINDOW_SHIFT = 0.1
"""By how much of its width the window is moved."""

Bool3 = NDArray[np.bool_]


def _same(mask: Bool3) -> Bool3:
    return mask


@dataclass(frozen=True, eq=False)
class Disturbed:
    """An image to segment instead of the original.

    Attributes
    ----------
    volume
        What the engine is given.
    there
        Brings a mask of the original grid to the disturbed one, for the prompts.
    back
        Brings a predicted mask to the original grid, for scoring.
    window
        The intensity window to use.
    axis, factor
        Every ``factor`` original slices across that canonical axis are one of this volume.
    """

    volume: Volume
    there: Callable[[Bool3], Bool3] = _same
    back: Callable[[Bool3], Bool3] = _same
    window: str = "auto"
    axis: int = 0
    factor: int = 1

    def slices_back(self, axis: int, index: int) -> range:
        """Which slices of the original grid a slice across a canonical axis stands for."""
        factor = self.factor if axis == self.axis else 1
        return range(index * factor, (index + 1) * factor)


def disturb(
    kind: str,
    volume: Volume,
    region: NDArray[np.generic],
    axis: int,
    rng: np.random.Generator,
    window: str = "auto",
) -> Disturbed | None:
    """Disturb an image.

    Parameters
    ----------
    kind
        ``"undisturbed"``; ``"axes N"``: stored in another of the 48 axis orders;
        ``"slices xN"``: every N slices averaged to one; ``"window +10%"`` or ``-10%``: moved by
        that share of its width; ``"noise 5%"``: Gaussian, of that share of the window's
        width.
    volume
        The original; not changed.
    region
        Values inside the prompted block, from which an automatic window is chosen.
    axis
        Canonical axis across which slices lie.
    rng
        For axis orders and noise.
    window
        The undisturbed window's text.

    Returns
    -------
    Disturbed or None
        ``None`` where the disturbance means nothing: thicker slices of a picture, the window of a
        colour image.

    Raises
    ------
    InputError
        If the kind is unknown.
    """
    name, _, amount = kind.partition(" ")
    if name == "undisturbed":
        return Disturbed(volume, window=window)
    if name == "axes":
        return Disturbed(_in_other_axes(volume, rng), window=window)
    if name == "slices":
        return _thicker(volume, axis, int(amount.removeprefix("x")), window)
    if name == "window":
        if volume.is_colour:
            return None
        seen = resolve_window(window, volume, region)
        width = seen.high - seen.low
        shift = WINDOW_SHIFT * width * (1 if amount.startswith("+") else -1)
        middle = (seen.low + seen.high) / 2 + shift
        return Disturbed(volume, window=f"{width:.6f}/{middle:.6f}")
    if name == "noise":
        return Disturbed(_noisy(volume, region, rng, window), window=window)
    raise InputError(f"unknown disturbance {kind!r}")


def _in_other_axes(volume: Volume, rng: np.random.Generator) -> Volume:
    """The same image, stored in a random axis order other than its canonical one."""
    identity = (0, 1, 2), (False, False, False)
    order, flips = identity
    while (order, flips) == identity:
        a, b, c = (int(i) for i in rng.permutation(3))
        order = (a, b, c)
        flips = (bool(rng.integers(2)), bool(rng.integers(2)), bool(rng.integers(2)))
    stored = Reorientation(order, flips, volume.shape)
    turned = Volume.from_array(
        np.ascontiguousarray(stored.apply(volume.voxels)),
        stored.apply_affine(volume.affine),
        modality=volume.modality,
        windows=volume.windows,
    )
    if turned.shape != volume.shape:  # an oblique grid half-way between two orientations
        return volume
    return turned


def _thicker(volume: Volume, axis: int, factor: int, window: str) -> Disturbed | None:
    n = volume.shape[axis]
    if n < 2:
        return None
    missing = -n % factor

    def groups(array: NDArray[np.generic]) -> NDArray[np.generic]:
        """(..., n / factor, factor, ...): the last slices are repeated to fill the last group."""
        pad = [(0, 0)] * array.ndim
        pad[axis] = (0, missing)
        filled = np.pad(array, pad, mode="edge")
        shape = list(filled.shape)
        shape[axis : axis + 1] = [shape[axis] // factor, factor]
        return filled.reshape(shape)

    def there(mask: Bool3) -> Bool3:
        return np.asarray(groups(mask).any(axis=axis + 1))

    def back(mask: Bool3) -> Bool3:
        return np.asarray(np.take(np.repeat(mask, factor, axis=axis), np.arange(n), axis=axis))

    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, axis] * (factor - 1) / 2
    affine[:3, axis] *= factor
    averaged = groups(volume.voxels).astype(np.float32).mean(axis=axis + 1)
    if volume.is_colour:
        averaged = np.rint(averaged).astype(np.uint8)
    thick = Volume.from_array(averaged, affine, modality=volume.modality, windows=volume.windows)
    return Disturbed(thick, there, back, window, axis, factor)


def _noisy(
    volume: Volume, region: NDArray[np.generic], rng: np.random.Generator, window: str
) -> Volume:
    seen = resolve_window(window, volume, region)
    noise = rng.standard_normal(volume.voxels.shape, dtype=np.float32)
    noise *= np.float32(NOISE * (seen.high - seen.low))
    noise += volume.voxels.astype(np.float32)
    if volume.is_colour:
        return replace(volume, voxels=np.clip(np.rint(noise), 0, 255).astype(np.uint8))
    return replace(volume, voxels=noise)
