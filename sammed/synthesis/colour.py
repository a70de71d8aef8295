"""Colour photographs: endoscopy-like mucosa with polyps, skin with moles."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from sammed.synthesis.canvas import Target
from sammed.synthesis.fields import Array
from sammed.synthesis.shapes import Shape, Space, random_blob


def photograph(rng: np.random.Generator) -> tuple[Array, list[Target]]:
    """A colour image (1, y, x, 3) in [0, 1] and its targets, each (1, y, x) bool."""
    width = int(rng.integers(90, 190))
    space = Space(rng, (1, width, width), 0.02, float(rng.choice((0.0, 0.02, 0.04))))
    return _endoscopy(space) if rng.random() < 0.75 else _skin(space)


def _full(space: Space, shape: Shape) -> Array:
    field = np.full(space.shape, -1.0, np.float32)
    field[shape.block] = shape.field
    return field[0]


def _noise(space: Space, frequency: float) -> Array:
    return space.pool.take(frequency)[0]


def _bumps(rng: np.random.Generator, space: Space) -> list[Array]:
    fields = []
    for _ in range(int(rng.choice((1, 2, 3), p=(0.6, 0.25, 0.15)))):
        size = float(rng.uniform(0.07, 0.3))
        place = (0.0, float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.2, 0.8)))
        fields.append(_full(space, random_blob(space, place, size)))
    return fields


def _endoscopy(space: Space) -> tuple[Array, list[Target]]:
    rng = space.rng
    base = np.array(
        (rng.uniform(0.5, 0.9), rng.uniform(0.2, 0.5), rng.uniform(0.12, 0.4)), np.float32
    )
    relief = 0.05 * _noise(space, 3) + 0.025 * _noise(space, 8)
    folds = np.abs(_noise(space, float(rng.choice((3, 5)))))
    relief = relief + np.float32(rng.uniform(0, 0.12)) * np.minimum(folds, 0.5)
    tint = np.zeros((*relief.shape, 3), np.float32)
    fields = _bumps(rng, space)
    union = np.full(relief.shape, -1.0, np.float32)
    for field in fields:
        size = float(max(field.max(), 0.02))
        dome = np.sqrt(np.clip(field / size, 0, 1)) * np.float32(size * rng.uniform(0.2, 1.2))
        relief = relief + dome
        colour = rng.normal(0, 0.07, 3).astype(np.float32) * (1.0, 0.8, 0.8)
        soft = np.clip(field / (space.px * float(rng.uniform(1, 4))) + 0.5, 0, 1)
        surface = rng.uniform(0.0, 0.05) * _noise(space, float(rng.choice((13, 21, 34))))
        tint += soft[..., None] * (colour + surface[..., None])
        np.maximum(union, field, out=union)
    slope_y, slope_x = np.gradient(relief * relief.shape[0])
    angle = float(rng.uniform(0, 2 * np.pi))
    light = 1 + float(rng.uniform(0.1, 0.5)) * (slope_y * np.sin(angle) + slope_x * np.cos(angle))
    image = (base + tint) * np.clip(light, 0.3, 1.6)[..., None]
    veins = np.clip(0.12 - np.abs(_noise(space, 8)), 0, 1) * float(rng.uniform(0, 1.5))
    image -= veins[..., None] * np.array((0.2, 0.5, 0.4), np.float32)
    image *= _vignette(space)[..., None]
    facing = np.abs(slope_y - rng.normal(0, 0.3)) + np.abs(slope_x - rng.normal(0, 0.3))
    shine = np.clip(_noise(space, 21) - 1.6, 0, 1) * 3 + np.clip(0.08 - facing, 0, 1) * 8
    image += np.clip(shine * float(rng.random() < 0.7), 0, 1)[..., None]
    masks = [f[None] > 0 for f in fields]
    targets = [Target("polyp", m) for m in masks if np.count_nonzero(m) > 40]
    if len(fields) > 1 and rng.random() < 0.3:
        targets.append(Target("polyps", union[None] > 0))
    return _finished(rng, image), targets


def _vignette(space: Space) -> Array:
    rng = space.rng
    _, height, width = space.shape
    y, x = np.mgrid[:height, :width].astype(np.float32) / width
    centre = rng.uniform(0.3, 0.7, 2)
    distance = np.sqrt((y - centre[0]) ** 2 + (x - centre[1]) ** 2)
    fall = np.clip(1.25 - float(rng.uniform(0.0, 1.2)) * distance, 0.15, 1.2)
    if rng.random() < 0.4:
        fall = fall * (distance < rng.uniform(0.45, 0.75))
    return np.asarray(fall, np.float32)


def _skin(space: Space) -> tuple[Array, list[Target]]:
    rng = space.rng
    base = np.array((rng.uniform(0.6, 0.9), rng.uniform(0.45, 0.7), rng.uniform(0.35, 0.6)))
    image = base + 0.03 * _noise(space, 5)[..., None] + 0.02 * _noise(space, 34)[..., None]
    size = float(rng.uniform(0.12, 0.33))
    place = (0.0, float(rng.uniform(0.35, 0.65)), float(rng.uniform(0.35, 0.65)))
    field = _full(space, random_blob(space, place, size))
    field = field + np.float32(rng.uniform(0, 0.03)) * _noise(space, 13)
    dark = np.array((0.25, 0.3, 0.3)) * rng.uniform(0.3, 1.4)
    soft = np.clip(field / (space.px * float(rng.uniform(2, 12))) + 0.5, 0, 1)
    blotch = 1 + 0.4 * _noise(space, 8) + 0.2 * _noise(space, 21)
    image = image - (soft * np.clip(blotch, 0.2, 2))[..., None] * dark
    for _ in range(int(rng.integers(0, 12))):
        _hair(rng, image)
    image = image * _vignette(space)[..., None]
    return _finished(rng, image.astype(np.float32)), [Target("mole", field[None] > 0)]


def _hair(rng: np.random.Generator, image: Array) -> None:
    height, width = image.shape[:2]
    t = np.linspace(0, 1, 200)
    start, stop, bend = rng.uniform(0, 1, 2), rng.uniform(0, 1, 2), rng.normal(0, 0.15, 2)
    path = start + t[:, None] * (stop - start) + (t * (1 - t))[:, None] * bend
    rows = np.clip((path[:, 0] * height).astype(int), 0, height - 1)
    cols = np.clip((path[:, 1] * width).astype(int), 0, width - 1)
    image[rows, cols] *= 0.35


def _finished(rng: np.random.Generator, image: Array) -> Array:
    blur = float(rng.uniform(0.3, 1.2))
    image = ndimage.gaussian_filter(image, (blur, blur, 0), truncate=2.5)
    grain = rng.normal(0, rng.uniform(0.002, 0.03), image.shape)
    return np.asarray(np.clip(image + grain, 0, 1)[None], np.float32)
