"""Grey pictures: ultrasound with a nodule, radiographs of a chest."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from sammed.synthesis.dense_drawing import Drawing, Plane, between
from sammed.synthesis.fields import Array


def ultrasound(plane: Plane) -> Drawing:
    """Layers of speckle; what is salient is a nodule or cyst, not shadows, layers or vessels."""
    rng = plane.rng
    course = plane.y + float(rng.uniform(0, 0.25)) * plane.noise(1.5)
    echo = np.full(course.shape, rng.uniform(0.2, 0.5), np.float32)
    for depth in np.sort(rng.uniform(-1, 1, int(rng.integers(1, 6)))):
        layer = plane.cover(course - np.float32(depth), float(rng.uniform(1, 8)))
        echo += layer * (np.float32(rng.uniform(0.1, 0.65)) - echo)
        line = np.exp(-(((course - np.float32(depth)) / 0.02) ** 2))
        echo += np.float32(rng.uniform(0, 0.4)) * line * np.clip(plane.noise(4), 0, 1)
    echo = echo * np.exp(0.3 * plane.noise(3) * float(rng.uniform(0.2, 1)))
    drawing = Drawing.on(plane, np.zeros((plane.height, plane.width, 3), np.float32))
    drawing.salient = np.zeros(echo.shape, bool)
    for _ in range(int(rng.choice((0, 1, 2), p=(0.08, 0.84, 0.08)))):
        echo = _nodule(drawing, echo)
    for _ in range(int(rng.choice((0, 1, 3)))):  # shadows
        middle, wide = plane.place(1.0)[1], float(rng.uniform(0.03, 0.25))
        band = np.exp(-(((plane.x - np.float32(middle)) / wide) ** 2))
        echo = echo * (1 - float(rng.uniform(0.2, 0.8)) * band * (plane.y > rng.uniform(-1, 0.6)))
    speckle = np.hypot(*(_wide_grain(plane) for _ in range(2))) / np.float32(1.2533)
    mixed = echo * (1 + float(rng.uniform(0.3, 1.0)) * (speckle - 1))
    gain = 1 + float(rng.normal(0, 0.25)) * plane.y
    bright = np.clip(mixed * gain, 0, 1) ** float(rng.uniform(0.6, 1.1))
    drawing.rgb = np.repeat(np.asarray(bright, np.float32)[..., None], 3, -1)
    return drawing


def _nodule(drawing: Drawing, echo: Array) -> Array:
    plane = drawing.plane
    rng = plane.rng
    radius, centre = between(rng, 0.1, 0.55), plane.place(0.55)
    field = plane.blob(centre, radius, float(rng.choice((0.05, 0.12, 0.25))), 0.4)
    field = field + float(rng.uniform(0, 0.03)) * plane.noise(12)
    kind = float(rng.choice((0.06, 0.35, 0.6, 1.7), p=(0.25, 0.35, 0.25, 0.15)))
    usual = float(echo[field > 0].mean() if (field > 0).any() else 0.4)
    inner = kind * usual * (1 + float(rng.uniform(0, 0.4)) * plane.noise(6))
    cover = plane.cover(field, float(rng.uniform(1, 5)))
    below = (plane.y > centre[0]) * np.exp(-(((plane.x - np.float32(centre[1])) / radius) ** 4))
    echo = echo * (1 + float(rng.uniform(-0.5, 0.8)) * below * (1 - cover))
    echo = echo + cover * (np.clip(inner, 0, 1) - echo)
    if rng.random() < 0.3:  # a bright or dark rim
        rim = np.exp(-((field / 0.03) ** 2))
        echo = echo * (1 + float(rng.choice((-0.5, 0.6))) * rim)
    drawing.mark(field > 0)
    return np.asarray(echo, np.float32)


def _wide_grain(plane: Plane) -> Array:
    values = plane.grain()
    values = ndimage.gaussian_filter(values, (0.5, float(plane.rng.uniform(0.5, 1.8))))
    return np.asarray(values / max(float(values.std()), 1e-6), np.float32)


def radiograph(plane: Plane) -> Drawing:
    """A chest from the front; what is salient are both lungs."""
    rng = plane.rng
    body = plane.cover(plane.blob((0.1, 0.0), 0.95, 0.05, 0.1), 12)
    dense = body * np.float32(rng.uniform(0.6, 0.9)) + 0.05 * plane.noise(2)
    drawing = Drawing.on(plane, np.zeros((plane.height, plane.width, 3), np.float32))
    drawing.salient = np.zeros(dense.shape, bool)
    middle, tilt = float(rng.normal(0, 0.08)), float(rng.normal(0, 0.05))
    heart = plane.blob((0.25, middle + 0.12), float(rng.uniform(0.18, 0.35)), 0.08)
    masks = []
    for side in (-1, 1):
        wide = float(rng.uniform(0.2, 0.34))
        y = (plane.y + 0.05 + np.float32(tilt * side)) / np.float32(rng.uniform(0.5, 0.75))
        x = (plane.x - np.float32(middle + side * (wide + 0.1))) / np.float32(wide)
        level = np.abs(y) ** 2.5 + np.abs(x * (1.25 - 0.3 * np.clip(y, -1, 1))) ** 2.2
        field = np.asarray((1 - level) * wide * 0.5 + 0.02 * plane.noise(4), np.float32)
        floor = np.float32(rng.uniform(0.35, 0.6)) - plane.y - 0.25 * np.abs(x) ** 2 * 0.5
        field = np.minimum(np.minimum(field, floor), -heart)
        dense = dense - plane.cover(field, float(rng.uniform(3, 10))) * rng.uniform(0.25, 0.55)
        masks.append(field > 0)
    dense = dense + np.asarray(plane.cover(heart, 6) * np.float32(rng.uniform(0, 0.15)))
    spine = np.exp(-(((plane.x - np.float32(middle)) / 0.09) ** 2))
    dense = dense + spine * (0.1 + 0.03 * np.sin(plane.y * 30))
    arch = plane.y + 0.35 * (np.abs(plane.x - np.float32(middle)) ** 2) * float(rng.choice((-1, 1)))
    ribs = np.clip(np.sin(arch * float(rng.uniform(14, 26))), 0, 1) ** 2
    dense = dense + ribs * body * np.float32(rng.uniform(0.02, 0.12))
    for mask in masks:
        if mask.sum() > 20:
            drawing.mark(mask)
    if (heart > 0).sum() > 20:
        drawing.mark(heart > 0, salient=False)
    level = np.clip((dense - dense.min()) / max(float(np.ptp(dense)), 1e-6), 0, 1)
    level = level ** float(rng.uniform(0.7, 1.5))
    drawing.rgb = np.repeat(np.asarray(level, np.float32)[..., None], 3, -1)
    return drawing
