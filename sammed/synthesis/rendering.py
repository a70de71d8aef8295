"""From a painted canvas to an image: texture, blur, bias, noise, streaks, window."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from sammed.synthesis.canvas import Canvas
from sammed.synthesis.fields import Array, smooth_noise
from sammed.synthesis.tissues import Palette


def render(canvas: Canvas, palette: Palette) -> Array:
    """An image of the scene in [0, 1], as it would look after windowing.

    Parameters
    ----------
    canvas
        The painted scene.
    palette
        The palette that it was painted with; says what kind of scanner it was.

    Returns
    -------
    image : (z, y, x) float32
    """
    rng = canvas.space.rng
    image = canvas.mean + canvas.coarse * _texture(canvas, rng.uniform(6, 20))
    image += canvas.fine * _grain(canvas, float(rng.uniform(0.5, 1.6)))
    blur = float(np.exp(rng.uniform(np.log(0.25), np.log(1.3))))
    through = float(rng.choice((0.0, 0.3, 0.5), p=(0.6, 0.2, 0.2)))
    if palette.mode == "ct":
        floor = max(-2.0, -(1000.0 + palette.low) / palette.width)
        np.maximum(image, floor, out=image)
    image = ndimage.gaussian_filter(image, (through, blur, blur), truncate=2.5)
    if palette.mode != "ct":
        image = _bias(canvas, image)
    image = _noise(canvas, palette, image)
    if palette.mode == "ct":
        image = np.clip(image, 0, 1).astype(np.float32)
        return _gamma(rng, image) if rng.random() < 0.1 else image
    return _normalised(rng, image)


def _texture(canvas: Canvas, frequency: float) -> Array:
    return canvas.space.pool.take(frequency)


def _grain(canvas: Canvas, sigma: float) -> Array:
    rng = canvas.space.rng
    noise = rng.standard_normal(canvas.space.shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, (0, sigma, sigma), truncate=2.0)
    return np.asarray(noise * np.float32(2.0 * np.sqrt(np.pi) * max(sigma, 0.35)), np.float32)


def _bias(canvas: Canvas, image: Array) -> Array:
    rng = canvas.space.rng
    strength = float(rng.uniform(0.0, 0.35)) if rng.random() < 0.7 else 0.0
    field = smooth_noise(rng, canvas.space.shape, (1, 1, 1))
    return np.asarray(image * np.exp(np.float32(strength) * field), np.float32)


def _noise(canvas: Canvas, palette: Palette, image: Array) -> Array:
    rng = canvas.space.rng
    level = float(np.exp(rng.uniform(np.log(0.003), np.log(0.06))))
    shape = canvas.space.shape
    noise = rng.standard_normal(shape, dtype=np.float32)
    if rng.random() < 0.6:
        sigma = float(rng.uniform(0.3, 1.1))
        noise = ndimage.gaussian_filter(noise, (0, sigma, sigma), truncate=2.5)
        noise /= np.float32(max(float(noise.std()), 1e-6))
    if palette.mode == "ct":
        if rng.random() < 0.12:
            image = image + _streaks(canvas, level)
        return np.asarray(image + np.float32(level) * noise, np.float32)
    if rng.random() < 0.6:
        other = rng.standard_normal(shape, dtype=np.float32)
        size = np.float32(level)
        return np.sqrt((np.maximum(image, 0) + size * noise) ** 2 + (size * other) ** 2)
    if rng.random() < 0.1:
        image = image * (1 + np.float32(0.5) * noise)
    return np.asarray(image + np.float32(level) * noise, np.float32)


def _streaks(canvas: Canvas, level: float) -> Array:
    rng = canvas.space.rng
    _, height, width = canvas.space.shape
    angle = float(rng.uniform(0, np.pi))
    y, x = np.mgrid[:height, :width] / width
    across = y * np.cos(angle) + x * np.sin(angle)
    wave = np.sin(across * float(rng.uniform(60, 250)) + float(rng.uniform(0, 6)))
    return np.asarray(2 * level * wave, np.float32)[None]


def _normalised(rng: np.random.Generator, image: Array) -> Array:
    sample = image[::2, ::3, ::3]
    low, high = np.percentile(sample, (rng.uniform(0, 2), rng.uniform(96, 100)))
    margin = float(high - low) * 0.1
    high += float(rng.uniform(0, 3)) * margin
    if rng.random() < 0.3:
        low -= float(rng.uniform(0, 3)) * margin
    image = np.clip((image - low) / max(float(high - low), 0.05), 0, 1).astype(np.float32)
    if rng.random() < 0.12:
        image = 1 - image
    return _gamma(rng, image) if rng.random() < 0.3 else image


def _gamma(rng: np.random.Generator, image: Array) -> Array:
    return np.asarray(image ** np.float32(np.exp(rng.normal(0, 0.3))), np.float32)
