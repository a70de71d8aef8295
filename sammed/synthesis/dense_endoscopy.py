"""Endoscopic pictures: mucosa with folds, vessels, highlights, and mostly a polyp.

The cues by which a person tells a polyp are drawn: it bulges, so that light falls on it as on a
dome; the mucosa's vessels end at its foot; its colour and its fine texture are a little its own.
Folds bulge as well but run on, highlights and mucus lie on everything, and the lumen is dark.
"""

from __future__ import annotations

import numpy as np

from sammed.synthesis.dense_drawing import Drawing, Plane, between, lit
from sammed.synthesis.fields import Array

MUCOSA = (
    (0.88, 0.50, 0.28),
    (0.84, 0.55, 0.46),
    (0.72, 0.30, 0.24),
    (0.86, 0.68, 0.52),
    (0.60, 0.42, 0.38),
    (0.42, 0.50, 0.46),
)
"""Colours; the last one is seen in narrow-band light."""

HOW_MANY = {0: 0.1, 1: 0.74, 2: 0.09, 3: 0.07}
"""Polyps of a picture, and how often."""


def endoscopy(plane: Plane) -> Drawing:
    """A picture; what is salient is its polyps."""
    rng = plane.rng
    relief, shade, behind = _wall(plane)
    base = np.array(MUCOSA[int(rng.choice(6, p=(0.26, 0.24, 0.2, 0.12, 0.1, 0.08)))])
    base = np.clip(base * np.exp(rng.normal(0, 0.1, 3)), 0.05, 0.95)
    colour = np.broadcast_to(base, (plane.height, plane.width, 3)).astype(np.float32)
    patchy = rng.normal(0, 0.05, 3).astype(np.float32) * (1, 0.8, 0.8)
    colour = colour * (1 + plane.noise(between(rng, 1, 4))[..., None] * patchy)
    fine = float(rng.uniform(0, 0.05))
    colour = colour * (1 + fine * plane.noise(between(rng, 8, 30))[..., None])
    drawing = Drawing.on(plane, colour)
    drawing.salient = np.zeros((plane.height, plane.width), bool)
    vessels = np.maximum(_vessels(plane), _fine_vessels(plane) * behind)
    count = int(rng.choice(list(HOW_MANY), p=list(HOW_MANY.values())))
    heights, tops = [], []
    for _ in range(count):
        height, top = _polyp(drawing, base, many=count > 1)
        heights.append(height)
        tops.append(top)
    covered = np.max(tops, 0) if tops else np.zeros(relief.shape, np.float32)
    stay = 1 - covered * np.float32(rng.choice((1.0, 0.5), p=(0.8, 0.2)))
    drawing.rgb *= 1 - (vessels * stay)[..., None] * np.array((0.35, 0.75, 0.65), np.float32)
    bulge = np.max(heights, 0) if heights else np.zeros_like(relief)
    lamp = plane.place(0.5)
    away = float(rng.uniform(0.7, 2.0))
    light = lit(plane, relief * (1 - covered) + bulge, lamp, away)
    shade = shade + covered * (_level(shade, covered) - shade) * float(rng.uniform(0.6, 1))
    floor = float(rng.uniform(0.25, 0.65))
    drawing.rgb *= ((floor + (1 - floor) * light) * shade * _shadow(plane, bulge, lamp))[..., None]
    drawing.rgb *= (1 + float(rng.uniform(0, 0.7)) * bulge)[..., None]
    _mucus(drawing)
    if rng.random() < 0.07:
        _instrument(drawing)
    _shine(drawing, light, covered)
    drawing.rgb *= np.float32(between(rng, 0.75, 1.45))
    return drawing


def _wall(plane: Plane) -> tuple[Array, Array, Array]:
    """The relief of the wall, how much light reaches it, and where it is that behind a fold's edge.

    Light is less with distance, and beside folds.
    """
    rng = plane.rng
    tube = rng.random() < 0.55
    centre = plane.place(0.9)
    y, x = plane.y - np.float32(centre[0]), plane.x - np.float32(centre[1])
    away = np.hypot(y, x * np.float32(np.exp(rng.normal(0, 0.2)))) + 0.1 * plane.noise(2)
    turn = float(rng.uniform(0, 2 * np.pi))
    across = y * np.float32(np.sin(turn)) + x * np.float32(np.cos(turn))
    if tube:
        wide = float(rng.uniform(0.1, 0.5))
        reach = np.clip(away / wide, 0, None)
        shade = np.clip(0.06 + (1 - np.exp(-(reach ** float(rng.uniform(0.8, 2.0))))), 0, 1.1)
        course = np.log(np.clip(away, 0.05, None)) * float(rng.uniform(1.2, 3.5))
    else:
        shade = np.clip(0.9 + float(rng.uniform(-0.45, 0.45)) * across, 0.15, 1.3)
        course = across * float(rng.uniform(0.7, 2.5))
    relief = 0.05 * float(rng.uniform(0.2, 2)) * plane.noise(2)
    relief = relief + 0.012 * float(rng.uniform(0, 2)) * plane.noise(7)
    if rng.random() < 0.7:  # folds: each hides what lies behind it
        course = course + float(rng.uniform(0.1, 0.5)) * plane.noise(1.5)
        phase = course - np.floor(course)
        depth = float(rng.uniform(0.1, 0.65)) * np.clip(plane.noise(1.5) * 0.6 + 0.7, 0, 1)
        shade = shade * (1 - depth * phase ** float(rng.uniform(1, 4)))
        ridge = np.exp(-((np.minimum(phase, 1 - phase) / 0.07) ** 2))
        shade = shade * (1 + 0.25 * depth * ridge)
        relief = relief + 0.05 * np.cos(phase * 2 * np.pi) * depth
    if rng.random() < 0.3:  # a fold close by, overexposed, or one that lies in the dark
        near = across - float(rng.uniform(0.35, 0.9)) * (1 if rng.random() < 0.5 else -1)
        edge = plane.cover(near + 0.12 * plane.noise(2), float(rng.uniform(1, 6)))
        edge = edge if rng.random() < 0.5 else 1 - edge
        if edge.mean() < 0.5:
            shade = shade * (1 + edge * float(rng.choice((-0.6, 0.5, 1.1))))
    behind = np.zeros((plane.height, plane.width), np.float32)
    for _ in range(int(rng.choice((0, 1, 2), p=(0.35, 0.47, 0.18)))):
        darker, inside = _beyond(plane, centre)
        shade, behind = shade * darker, np.maximum(behind, inside)
    return np.asarray(relief, np.float32), np.asarray(shade, np.float32), behind


def _beyond(plane: Plane, centre: tuple[float, float]) -> tuple[Array, Array]:
    """What lies behind the edge of a fold all around: farther, so darker, with a sharp outline."""
    rng = plane.rng
    near = (centre[0] + float(rng.normal(0, 0.2)), centre[1] + float(rng.normal(0, 0.2)))
    field = plane.blob(near, between(rng, 0.2, 0.9), float(rng.choice((0.05, 0.15, 0.3))), 0.25)
    inside = plane.cover(field, float(rng.uniform(0.8, 5)))
    rise = np.clip(field / float(rng.uniform(0.1, 0.6)), 0, 1)
    dark = float(rng.uniform(0.25, 0.85)) * (1 - float(rng.uniform(0, 0.4)) * rise)
    rim = np.exp(-((field / 0.04) ** 2)) * (field < 0) * float(rng.uniform(0, 0.3))
    return np.asarray((1 + rim) * (1 - inside * (1 - dark)), np.float32), inside


def _fine_vessels(plane: Plane) -> Array:
    """Those of a wall that is farther off, so seen smaller; or none."""
    ridge = np.abs(plane.noise(between(plane.rng, 6, 18)))
    wide, strength = float(plane.rng.uniform(0.08, 0.25)), float(plane.rng.uniform(-0.3, 0.7))
    return np.asarray(np.clip(1 - ridge / wide, 0, 1) * max(strength, 0.0), np.float32)


def _vessels(plane: Plane) -> Array:
    """Branching lines, (h, w) in [0, 1]."""
    rng = plane.rng
    found = np.zeros((plane.height, plane.width), np.float32)
    if rng.random() < 0.35:
        return found
    strength = float(rng.uniform(0.1, 0.6))
    for bumps in (between(rng, 2, 5), between(rng, 5, 12)):
        ridge = np.abs(plane.noise(bumps))
        wide = float(rng.uniform(0.05, 0.2))
        found = np.maximum(found, np.clip(1 - ridge / wide, 0, 1) * strength)
    return found * np.clip(plane.noise(2) * 0.5 + 0.7, 0, 1)


def _polyp(drawing: Drawing, base: Array, many: bool) -> tuple[Array, Array]:
    """Colour a polyp; its height, and the share of each pixel that it covers."""
    plane = drawing.plane
    rng = plane.rng
    radius = between(rng, 0.1, 0.35) if many else between(rng, 0.13, 1.0)
    centre = plane.place(0.85 if rng.random() < 0.3 else 0.55)
    lobes = [plane.blob(centre, radius, float(rng.choice((0.05, 0.12, 0.25))))]
    for _ in range(int(rng.choice((0, 1, 2, 4), p=(0.6, 0.15, 0.15, 0.1)))):
        angle, far = float(rng.uniform(0, 2 * np.pi)), radius * float(rng.uniform(0.5, 1.1))
        beside = centre[0] + far * np.sin(angle), centre[1] + far * np.cos(angle)
        lobes.append(plane.blob(beside, radius * float(rng.uniform(0.4, 0.9)), 0.1))
    field = np.max(lobes, 0)
    if rng.random() < 0.12:
        stalk = _bar(plane, centre, radius * 2.2, radius * float(rng.uniform(0.25, 0.5)))
        lobes.append(stalk * 0.6)
        field = np.maximum(field, stalk)
    flat = rng.random() < 0.22
    tall = radius * (float(rng.uniform(0.04, 0.2)) if flat else float(rng.uniform(0.3, 1.1)))
    height = np.zeros(field.shape, np.float32)
    for lobe in lobes:
        size = max(float(lobe.max()), 0.02)
        inside = np.clip(lobe / size, 0, 1)
        dome = np.sqrt(1 - (1 - inside) ** 2) if not flat else inside**0.5
        height = np.maximum(height, dome * tall * min(1.0, size / radius + 0.2))
    soft = float(rng.uniform(0.8, 2.0)) if not flat else float(rng.uniform(1.0, 4.0))
    top = plane.cover(field, soft)
    alike = float(rng.choice((0.3, 1.0)))
    tint = np.exp(alike * (rng.normal(0, 0.16, 3) * (1, 1.2, 1.2) + rng.normal(0.06, 0.12)))
    own = np.clip(base * tint, 0.03, 1.0).astype(np.float32)
    texture = 1 + float(rng.uniform(0, 0.12)) * plane.noise(between(rng, 10, 40))
    texture = texture + float(rng.uniform(0, 0.15)) * plane.noise(between(rng, 2, 8))
    drawing.paint(top, own * texture[..., None])
    if rng.random() < 0.2:  # blood, erosion
        spot = plane.blob(centre, radius * 0.4, 0.5) + 0.1 * radius * plane.noise(8)
        alpha = plane.cover(spot, 2) * top * np.float32(rng.uniform(0.3, 0.9))
        drawing.paint(alpha, np.array((0.5, 0.06, 0.05)) * float(rng.uniform(0.6, 1.6)))
    if rng.random() < 0.35:  # its foot: a darker or paler seam
        seam = np.exp(-((field / (radius * float(rng.uniform(0.05, 0.2)))) ** 2)) * (field < 0.02)
        drawing.rgb *= (1 + float(rng.choice((-0.4, -0.25, 0.15))) * seam)[..., None]
    mask = field > 0
    drawing.mark(mask)
    if len(lobes) > 1:
        which = np.argmax(lobes, 0)
        for n in range(len(lobes)):
            drawing.mark(mask & (which == n), salient=False, part=True)
    return height, top


def _level(shade: Array, covered: Array) -> float:
    """How bright it is where polyps are: the folds that they hide do not shade them."""
    hidden = shade[covered > 0.5]
    return float(np.quantile(hidden, 0.75)) if hidden.size else 1.0


def _bar(plane: Plane, start: tuple[float, float], length: float, thick: float) -> Array:
    """Field of a bar from a point on in any direction."""
    angle = float(plane.rng.uniform(0, 2 * np.pi))
    dy, dx = np.sin(angle), np.cos(angle)
    y, x = plane.y - np.float32(start[0]), plane.x - np.float32(start[1])
    along = np.clip(y * np.float32(dy) + x * np.float32(dx), 0, length)
    away = np.hypot(y - along * np.float32(dy), x - along * np.float32(dx))
    return np.asarray(thick * (1 + 0.1 * plane.noise(4)) - away, np.float32)


def _shadow(plane: Plane, bulge: Array, lamp: tuple[float, float]) -> Array:
    """What a bulge hides from the lamp is darker, on the side away from it."""
    rng = plane.rng
    if not bulge.any() or rng.random() < 0.3:
        return np.ones_like(bulge)
    from scipy import ndimage

    where = np.argwhere(bulge > 0).mean(0)
    away = where - (np.array(lamp) * plane.short + np.array(bulge.shape) / 2)
    away = away / max(float(np.linalg.norm(away)), 1e-6)
    reach = float(rng.uniform(0.02, 0.16)) * plane.short
    cast = ndimage.shift(bulge, away * reach, order=1, mode="nearest")
    deep = np.clip((cast - bulge) / max(float(bulge.max()), 1e-6), 0, 1)
    deep = ndimage.gaussian_filter(deep, max(0.5, reach / 3))
    return np.asarray(1 - float(rng.uniform(0.2, 0.8)) * np.clip(deep * 2, 0, 1), np.float32)


def _mucus(drawing: Drawing) -> None:
    """Yellow or greenish patches, foam, water."""
    plane = drawing.plane
    rng = plane.rng
    for _ in range(int(rng.choice((0, 1, 2, 4), p=(0.5, 0.25, 0.15, 0.1)))):
        field = plane.blob(plane.place(), between(rng, 0.04, 0.35), 0.5, 0.6)
        field = field + float(rng.uniform(0.02, 0.1)) * plane.noise(12)
        colour = np.array((0.75, 0.62, 0.18)) * np.exp(rng.normal(0, 0.2, 3))
        lightness = drawing.rgb.mean(-1, keepdims=True) / 0.45
        alpha = plane.cover(field, float(rng.uniform(1, 6))) * np.float32(rng.uniform(0.2, 0.9))
        drawing.paint(alpha, colour * np.clip(lightness, 0.2, 1.5))
    if rng.random() < 0.15:  # bubbles
        middle = plane.place()
        for _ in range(int(rng.integers(3, 25))):
            near = middle[0] + rng.normal(0, 0.12), middle[1] + rng.normal(0, 0.12)
            radius = float(rng.uniform(0.015, 0.06))
            ring = 1 - np.abs(plane.blob(near, radius, 0.0, 0.0)) * plane.short
            drawing.paint(np.clip(ring, 0, 1) * np.float32(0.5), np.array((1.0, 0.95, 0.8)))


def _instrument(drawing: Drawing) -> None:
    """A rod from the edge: forceps, a snare, a needle."""
    plane = drawing.plane
    rng = plane.rng
    start = plane.place(1.0)
    start = (float(np.sign(start[0]) * plane.reach[0]), start[1])
    thick = between(rng, 0.02, 0.09)
    field = _bar(plane, start, float(rng.uniform(0.4, 1.3)), thick)
    colour = np.array(((0.8, 0.8, 0.82), (0.3, 0.4, 0.7), (0.85, 0.85, 0.3))[int(rng.integers(3))])
    shade = np.clip(0.4 + 0.6 * np.sqrt(np.clip(field / thick, 0, 1)), 0, 1)
    drawing.paint(plane.cover(field), shade[..., None] * colour)
    mask = field > 0
    drawing.outer[mask] = drawing.inner[mask] = 0
    if drawing.salient is not None:
        drawing.salient &= ~mask


def _shine(drawing: Drawing, light: Array, covered: Array) -> None:
    """Highlights: where a moist surface faces the lamp, in groups of small spots."""
    plane = drawing.plane
    rng = plane.rng
    if rng.random() < 0.12:
        return
    mirror = np.clip(light - float(rng.uniform(0.985, 0.999)), 0, None) * 200
    rough = plane.noise(between(rng, 8, 25)) > float(rng.uniform(0.3, 1.5))
    shine = np.clip(mirror, 0, 1) * rough * (covered if rng.random() < 0.4 else 1)
    where = plane.noise(between(rng, 2, 6)) + 0.6 * covered * float(rng.random() < 0.5)
    spots = plane.noise(between(rng, 16, 60)) - float(rng.uniform(1.6, 2.9))
    spots = spots + 0.5 * np.clip(where, -1, 1.5) - 0.3
    shine = np.maximum(shine, np.clip(spots * 4, 0, 1))
    strength = np.float32(rng.uniform(0.5, 1.0))
    drawing.paint(np.asarray(shine * strength, np.float32), np.array((1.4, 1.4, 1.4)))
