"""Pictures of which every pixel is known: what it belongs to, and what a person would outline.

For the dense network in two dimensions. All is drawn: no picture of a person is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.synthesis.dense_drawing import Drawing, Mask2, Plane
from sammed.synthesis.dense_endoscopy import endoscopy
from sammed.synthesis.dense_grey import radiograph, ultrasound
from sammed.synthesis.dense_scenes import DenseScene, Labels, make_dense_scene
from sammed.synthesis.dense_tissue import glands, nuclei, odd_one, skin
from sammed.synthesis.fields import Array
from sammed.synthesis.source import Source

DRAWN: dict[str, tuple[Callable[[Plane], Drawing], float]] = {
    "endoscopy": (endoscopy, 0.44),
    "skin": (skin, 0.1),
    "glands": (glands, 0.16),
    "nuclei": (nuclei, 0.04),
    "odd": (odd_one, 0.1),
    "ultrasound": (ultrasound, 0.11),
    "radiograph": (radiograph, 0.05),
}
"""Kinds of drawn pictures, and how often each is drawn among them."""

GREY = ("ultrasound", "radiograph")
"""Kinds without colours."""

SLICED = 0.15
"""Share of the scenes that are slices of volumes."""

MOSTLY = 0.75
"""The same for a segmenter's beginning, which sees slices more often than pictures."""

SIDES = (104, 200)
"""Least and most pixels along the shorter side."""

PER_VOLUME = 12
"""Slices that are taken from a volume."""

OVERLAID = 0.3
"""Share of the pictures with letters or a picture within the picture."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture, and what each pixel belongs to.

    Attributes
    ----------
    rgb : (h, w, 3) float32
        In [0, 1].
    outer, inner, things
        As of `sammed.synthesis.dense_scenes.DenseScene`, each (1, h, w).
    salient : (h, w) bool
        What a person would outline; ``None``: nobody can say.
    inside : (h, w) bool
        Where the picture is; elsewhere is its black frame.
    kind
        What it shows.
    """

    rgb: Array
    outer: Labels
    inner: Labels
    things: NDArray[np.bool_]
    salient: Mask2 | None
    inside: Mask2
    kind: str


def make_pictures(
    seed: int | tuple[int, ...], source: Source, sliced: float | None = None
) -> list[Picture]:
    """Draw a picture, or take several slices of one volume; the same seed gives the same.

    Parameters
    ----------
    seed
        Anything that ``numpy.random.default_rng`` takes.
    source
        Of volumes.
    sliced
        Share of slices among all; ``None``: `SLICED`.
    """
    key = seed if isinstance(seed, tuple) else (seed,)
    rng = np.random.default_rng((*key, 2))
    sliced = SLICED if sliced is None else sliced
    volumes = sliced / PER_VOLUME
    if rng.random() < volumes / (volumes + 1 - sliced):
        return _slices(rng, make_dense_scene((*key, 4), source))
    shares = np.array([share for _, share in DRAWN.values()])
    kind = str(rng.choice(list(DRAWN), p=shares / shares.sum()))
    return [make_picture(rng, kind)]


def make_picture(rng: np.random.Generator, kind: str) -> Picture:
    """Draw a picture of one of the kinds of `DRAWN`."""
    short = int(np.exp(rng.uniform(*np.log(SIDES))))
    long = int(short * float(rng.choice((1.0, rng.uniform(1.0, 1.6)))))
    height, width = (short, long) if rng.random() < 0.8 else (long, short)
    drawing = DRAWN[kind][0](Plane(rng, height, width))
    inside = _frame(drawing.plane) if rng.random() < 0.6 else np.ones((height, width), bool)
    if rng.random() < OVERLAID:
        _overlay(drawing)
    rgb = _photographed(drawing.plane, drawing.rgb)
    if kind in GREY:
        rgb = np.repeat(rgb.mean(-1, keepdims=True), 3, -1)
    things = drawing.outer > 0
    return Picture(
        rgb, drawing.outer[None], drawing.inner[None], things[None], drawing.salient, inside, kind
    )


def _slices(rng: np.random.Generator, scene: DenseScene) -> list[Picture]:
    """Slices in which things are seen, along any axis whose pixels are square."""
    axes = [0] if scene.step > 1.3 else [0, 1, 2]
    found: list[Picture] = []
    for _ in range(PER_VOLUME):
        axis = int(rng.choice(axes))
        n = scene.image.shape[axis]
        at = int(rng.integers(n // 6, n - n // 6))
        grey, outer, inner = (np.take(a, at, axis) for a in (scene.image, scene.outer, scene.inner))
        things = np.take(scene.things, at, axis)
        scale = float(rng.uniform(1.0, max(1.0, SIDES[1] / max(grey.shape))))
        grey = ndimage.zoom(grey, scale, order=1)
        outer, inner = (ndimage.zoom(a, scale, order=0) for a in (outer, inner))
        things = ndimage.zoom(things.astype(np.uint8), scale, order=0) > 0
        rgb = np.repeat(np.clip(grey, 0, 1)[..., None], 3, -1).astype(np.float32)
        inside = np.ones(grey.shape, bool)
        found.append(Picture(rgb, outer[None], inner[None], things[None], None, inside, "slice"))
    return found


def _frame(plane: Plane) -> Mask2:
    """Within a disc, a rectangle with cut corners, a sector; often with a corner taken out."""
    rng = plane.rng
    high, wide = plane.reach
    y, x = plane.y - float(rng.normal(0, 0.05)), plane.x - float(rng.normal(0, 0.05))
    kind = rng.random()
    if kind < 0.35:
        inside = np.hypot(y, x) < float(rng.uniform(0.9, 1.3))
    elif kind < 0.8:
        cut = float(rng.uniform(0.35, 0.95))
        inside = np.abs(y) + np.abs(x) < high + wide - cut
        margin = float(rng.uniform(-0.02, 0.1))
        inside = inside & (np.abs(y) < high - margin) & (np.abs(x) < wide - margin)
    else:
        apex = -high - float(rng.uniform(0.2, 1.2))
        away = np.hypot(y - apex, x)
        inside = (away < high * 2 + (-high - apex) - 0.1) & (away > (-high - apex))
        inside = inside & (np.abs(x) < (y - apex) * float(rng.uniform(0.5, 1.5)))
    if rng.random() < 0.4:
        tall, broad = rng.uniform(0.2, 0.75, 2)
        inside = inside & ~((plane.y > high - tall) & (plane.x < -wide + broad))
    if inside.mean() < 0.4:
        return np.ones((plane.height, plane.width), bool)
    return np.asarray(np.broadcast_to(inside, (plane.height, plane.width)))


def _overlay(drawing: Drawing) -> None:
    """Letters, marks, or a small picture in the picture: no things, and nothing salient."""
    plane = drawing.plane
    rng = plane.rng
    hidden = np.zeros((plane.height, plane.width), bool)
    if rng.random() < 0.3:
        tall, broad = (int(v * plane.short) for v in rng.uniform(0.2, 0.7, 2))
        at = slice(plane.height - tall, None), slice(0, broad)
        drawing.rgb[at] = rng.uniform(0, 1, 3) * (1 + 0.3 * plane.noise(5)[at][..., None])
        hidden[at] = True
    high = int(rng.integers(2, 6))
    for line in range(int(rng.integers(0, 6))):
        row = int(rng.integers(1, max(2, plane.height - high)))
        col = int(rng.integers(0, max(1, plane.width // 3))) if line % 2 else 1
        count = int(rng.integers(3, 16)) * high
        text = rng.random((high, count)) < 0.55
        text[:, ::high] = False
        part = drawing.rgb[row : row + high, col : col + count]
        shown = text[: part.shape[0], : part.shape[1]]
        part[shown] = float(rng.choice((1.0, 0.9, 0.0), p=(0.6, 0.3, 0.1)))
    drawing.outer[hidden] = drawing.inner[hidden] = 0
    if drawing.salient is not None:
        drawing.salient &= ~hidden


def _photographed(plane: Plane, rgb: Array) -> Array:
    """Colours a little off, blurred, with grain, clipped."""
    rng = plane.rng
    gain = np.exp(rng.normal(0, 0.06, 3)) * np.exp(rng.normal(0, 0.08))
    seen = np.clip(rgb * gain, 0, 1) ** float(np.exp(rng.normal(0, 0.12)))
    grey = seen.mean(-1, keepdims=True)
    seen = grey + (seen - grey) * float(rng.uniform(0.75, 1.2))
    blur = float(rng.uniform(0.2, 0.9))
    seen = ndimage.gaussian_filter(seen, (blur, blur, 0), truncate=2.5)
    seen = seen + rng.normal(0, float(rng.uniform(0.0, 0.02)), seen.shape)
    return np.asarray(np.clip(seen, 0, 1), np.float32)
