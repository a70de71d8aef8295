"""Skin with a lesion, stained tissue with glands or nuclei, and things on a ground that repeats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammed.synthesis.dense_drawing import Drawing, Mask2, Plane, between
from sammed.synthesis.fields import Array

Colour = NDArray[np.floating]


def skin(plane: Plane) -> Drawing:
    """Skin; what is salient is the lesion, not hairs, stickers, or a ruler."""
    rng = plane.rng
    base = np.array((rng.uniform(0.55, 0.95), rng.uniform(0.4, 0.72), rng.uniform(0.3, 0.65)))
    ground = base + 0.03 * plane.noise(3)[..., None] * rng.uniform(0, 1.5)
    ground = ground + float(rng.uniform(0, 0.04)) * plane.noise(25)[..., None]
    drawing = Drawing.on(plane, ground)
    radius = between(rng, 0.12, 0.8)
    field = plane.blob(plane.place(0.35), radius, float(rng.choice((0.05, 0.15, 0.3))))
    field = field + float(rng.uniform(0, 0.06)) * plane.noise(10)
    dark = np.array((0.3, 0.35, 0.33)) * rng.uniform(0.3, 1.8) * np.exp(rng.normal(0, 0.25, 3))
    soft = float(rng.uniform(1, 14))
    blotch = 1 + float(rng.uniform(0, 0.5)) * plane.noise(6) + 0.15 * plane.noise(20)
    centre = np.clip(field / radius, 0, 1) * float(rng.uniform(-0.6, 0.8))
    depth = plane.cover(field, soft) * np.clip(blotch + centre, 0.15, 2)
    drawing.rgb -= depth[..., None] * dark.astype(np.float32)
    drawing.mark(field > 0)
    for _ in range(int(rng.choice((0, 2, 5)))):  # freckles
        spot = plane.blob(plane.place(), between(rng, 0.01, 0.04), 0.2)
        drawing.rgb -= (plane.cover(spot, 2) * np.float32(0.15))[..., None]
    for _ in range(int(rng.choice((0, 4, 14)))):
        _hair(drawing)
    if rng.random() < 0.12:
        _sticker(drawing)
    if rng.random() < 0.4:  # light falls off
        away = np.hypot(plane.y, plane.x)
        drawing.rgb *= np.clip(1.15 - float(rng.uniform(0, 0.5)) * away, 0.2, 1)[..., None]
    return drawing


def _hair(drawing: Drawing) -> None:
    plane = drawing.plane
    rng = plane.rng
    t = np.linspace(0, 1, 240)[:, None]
    start, stop = (np.array(plane.place(1.0)) for _ in range(2))
    path = start + t * (stop - start) + t * (1 - t) * rng.normal(0, 0.3, 2)
    at = np.floor(path * plane.short + np.array((plane.height, plane.width)) / 2).astype(int)
    at = at[((at >= 0) & (at < (plane.height, plane.width))).all(1)]
    drawing.rgb[at[:, 0], at[:, 1]] *= np.float32(rng.uniform(0.35, 0.8))


def _sticker(drawing: Drawing) -> None:
    plane = drawing.plane
    angle = float(plane.rng.uniform(0, 2 * np.pi))
    centre = 0.95 * plane.reach[0] * np.sin(angle), 0.95 * plane.reach[1] * np.cos(angle)
    alpha = plane.cover(plane.blob(centre, float(plane.rng.uniform(0.15, 0.4)), 0.02), 1.5)
    drawing.paint(alpha, np.asarray(plane.rng.uniform(0.1, 1, 3)))
    mask = alpha > 0.5
    drawing.outer[mask] = drawing.inner[mask] = 0
    if drawing.salient is not None:
        drawing.salient &= ~mask


# -- stained tissue ----------------------------------------------------------------------------

STAIN = np.array((0.72, 0.52, 0.72), np.float32)
"""About what epithelium is stained."""


@dataclass(frozen=True)
class Look:
    """How the glands of a picture look.

    Attributes
    ----------
    epithelium, lumen
        Colours.
    rim
        Thickness of the epithelium, as a share of a gland's size.
    goblets
        How full it is of pale drops of mucus; 0: of none.
    basal
        Which share of the rim, from outside, nuclei fill, ...
    dense
        ... and how densely.
    shift
        What the stain multiplies colours by.
    """

    epithelium: Colour
    lumen: Colour
    rim: float
    goblets: float
    basal: float
    dense: float
    shift: Colour

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Look:
        """One at random: from dark and solid to pale and full of mucus."""
        shift = np.exp(rng.normal(0, 0.1, 3))
        pale = bool(rng.random() < 0.5)
        own = np.array((0.83, 0.62, 0.82)) if pale else STAIN * float(rng.uniform(0.75, 1.1))
        lumen = np.array((0.93, 0.88, 0.93)) if rng.random() < 0.7 else np.array((0.8, 0.72, 0.85))
        return cls(
            own * shift,
            lumen,
            rim=float(rng.uniform(0.25, 0.95)),
            goblets=float(rng.uniform(0.3, 1.5)) if rng.random() < 0.5 else 0.0,
            basal=float(rng.uniform(0.15, 0.9)),
            dense=float(rng.uniform(0.8, 2.4)),
            shift=shift,
        )


def glands(plane: Plane) -> Drawing:
    """Glands of all sizes in stroma: each a pale lumen with a rim of epithelium and its nuclei.

    In some pictures stroma is the darker one, full of nuclei, in others epithelium.
    """
    rng = plane.rng
    look = Look.draw(rng)
    drawing = Drawing.on(plane, _mottled(plane, np.array((0.86, 0.66, 0.80)) * look.shift, 0.06))
    everywhere = np.ones((plane.height, plane.width), bool)
    _nuclei(drawing, everywhere, float(rng.uniform(-0.6, 1.8)), look.shift)
    drawing.salient = np.zeros((plane.height, plane.width), bool)
    typical = between(rng, 0.1, 0.5)
    gap, packed = float(rng.uniform(0.01, 0.08)), rng.random() < 0.5
    taken = np.full((plane.height, plane.width), -9.0, np.float32)
    for _ in range(int(rng.integers(3, 8 + int((8 if packed else 3) / typical)))):
        size = typical * float(np.exp(rng.normal(0, 0.35)))
        field = plane.blob(plane.place(1.05), size, float(rng.choice((0.1, 0.2, 0.4))), 0.35)
        whole = float((field > 0).sum())
        if float(((field > 0) & (taken > -gap)).sum()) > (0.35 if packed else 0.1) * whole:
            continue
        field = np.minimum(field, -taken - np.float32(gap))
        taken = np.maximum(taken, field)
        _gland(drawing, field, size, look)
    return drawing


def _gland(drawing: Drawing, field: Array, size: float, look: Look) -> None:
    plane = drawing.plane
    rng = plane.rng
    rim = size * look.rim * float(np.exp(rng.normal(0, 0.2)))
    drawing.paint(plane.cover(field, 1.2), _mottled(plane, look.epithelium, 0.05))
    basal = (field > 0) & (field < rim * look.basal)
    if look.goblets:
        drops = plane.grain(float(rng.uniform(1.0, 2.2))) - np.float32(1.2 - look.goblets)
        inner = np.clip(drops * 2, 0, 1) * (field > rim * min(look.basal, 0.5))
        drawing.paint(np.asarray(inner, np.float32) * np.float32(0.8), look.lumen)
    lumen = field - np.float32(rim) + np.float32(0.12 * size) * plane.noise(6)
    drawing.paint(plane.cover(lumen, 2), _mottled(plane, look.lumen, 0.03))
    _nuclei(drawing, basal, look.dense, look.shift)
    if (field > 0).sum() > 12:
        drawing.mark(field > 0)
        hollow = (lumen > 0) & (field > 0)
        if hollow.sum() > 20:
            drawing.mark(hollow, salient=False, part=True)


def _mottled(plane: Plane, colour: Colour, amount: float) -> Array:
    waves = amount * plane.noise(4) + amount * plane.noise(16)
    return np.asarray(np.clip(colour * (1 + waves[..., None]), 0, 1), np.float32)


def _nuclei(drawing: Drawing, where: Mask2, density: float, shift: Colour) -> None:
    """Dark spots, as an eye that does not resolve them sees them."""
    plane = drawing.plane
    spots = plane.grain(float(plane.rng.uniform(0.7, 1.3))) + np.float32(density - 1.4)
    alpha = np.clip(spots * 2, 0, 1) * where * np.float32(plane.rng.uniform(0.5, 0.95))
    drawing.paint(np.asarray(alpha, np.float32), np.array((0.36, 0.22, 0.52)) * shift)


def nuclei(plane: Plane) -> Drawing:
    """Cells that are brighter or darker than what they lie in, side by side."""
    rng = plane.rng
    dark = rng.random() < 0.5
    ground = np.full(3, rng.uniform(0.02, 0.15)) if dark else rng.uniform(0.6, 0.95, 3)
    own = rng.uniform(0.3, 1.0, 3) if dark else ground * rng.uniform(0.2, 0.75, 3)
    drawing = Drawing.on(plane, _mottled(plane, ground, float(rng.uniform(0, 0.1))))
    drawing.salient = np.zeros((plane.height, plane.width), bool)
    typical = between(rng, 0.06, 0.3)
    taken = np.full((plane.height, plane.width), -9.0, np.float32)
    for _ in range(int(rng.integers(3, 6 + int(3 / typical)))):
        size = typical * float(np.exp(rng.normal(0, 0.2)))
        field = plane.blob(plane.place(1.0), size, 0.1, 0.2)
        field = np.minimum(field, -taken - np.float32(0.5 / plane.short))
        if (field > 0).sum() < 12:
            continue
        taken = np.maximum(taken, field)
        bright = np.clip(own * float(np.exp(rng.normal(0, 0.25))), 0, 1)
        drawing.paint(plane.cover(field, float(rng.uniform(1, 3))), _mottled(plane, bright, 0.1))
        drawing.mark(field > 0)
    return drawing


# -- anything --------------------------------------------------------------------------------


def odd_one(plane: Plane) -> Drawing:
    """A ground of one texture, small things that repeat, and one that is unlike all of it."""
    rng = plane.rng
    ground = _texture(plane, rng.uniform(0.1, 0.9, 3))
    drawing = Drawing.on(plane, ground)
    colour = rng.uniform(0.05, 0.95, 3)
    typical = between(rng, 0.03, 0.12)
    for _ in range(int(rng.choice((0, 6, 20)))):
        field = plane.blob(plane.place(1.0), typical, 0.15)
        drawing.paint(plane.cover(field) * np.float32(0.6), colour)
        if (field > 0).sum() > 12:
            drawing.mark(field > 0, salient=False)
    drawing.salient = np.zeros((plane.height, plane.width), bool)
    radius = between(rng, 0.18, 0.75)
    field = plane.blob(plane.place(0.5), radius, float(rng.choice((0.05, 0.15, 0.3))), 0.4)
    near = np.clip(ground.mean((0, 1)) + rng.normal(0, 0.18, 3), 0.02, 0.98)
    drawing.paint(plane.cover(field, between(rng, 1, 6)), _texture(plane, near))
    light = 1 + 0.3 * float(rng.normal()) * plane.y + 0.3 * float(rng.normal()) * plane.x
    drawing.rgb *= np.clip(light, 0.3, 1.6)[..., None]
    drawing.mark(field > 0)
    return drawing


def _texture(plane: Plane, colour: Colour) -> Array:
    """A colour with waves, bands or grain."""
    rng = plane.rng
    waves = plane.noise(between(rng, 2, 30)) * float(rng.uniform(0, 0.2))
    if rng.random() < 0.4:
        waves = np.abs(plane.noise(between(rng, 4, 16))) * float(rng.uniform(0, 0.35))
    if rng.random() < 0.3:
        turn = float(rng.uniform(0, np.pi))
        course = plane.y * np.float32(np.sin(turn)) + plane.x * np.float32(np.cos(turn))
        bands = np.sin(course * between(rng, 8, 60) + plane.noise(3))
        waves = waves + bands * float(rng.uniform(0, 0.15))
    tint = np.exp(rng.normal(0, 0.3, 3))
    return np.asarray(np.clip(colour * (1 + waves[..., None] * tint), 0, 1), np.float32)
