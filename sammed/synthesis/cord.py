"""The recipe for a spinal cord: fluid, white matter, and in it a butterfly of grey matter."""

from __future__ import annotations

import numpy as np

from sammed.synthesis.canvas import Canvas
from sammed.synthesis.fields import Array
from sammed.synthesis.shapes import Shape, column
from sammed.synthesis.structures import Place
from sammed.synthesis.tissues import Palette


def cord(canvas: Canvas, palette: Palette, place: Place, size: float) -> None:
    """A round cord in fluid with a butterfly inside."""
    space = canvas.space
    rng = space.rng
    lean = (float(rng.normal(0, 0.3)), float(rng.normal(0, 0.3)))
    squash = float(np.exp(rng.normal(0.15, 0.2)))
    radius = size * float(rng.uniform(0.35, 0.7))
    sac = column(
        space,
        place[1:],
        radius * float(rng.uniform(1.2, 2.0)),
        lean=lean,
        bend=0.0,
        squash=squash,
        bumps=0.05,
    )
    shape = column(space, place[1:], radius, lean=lean, bend=0.0, squash=squash, bumps=0.03)
    if shape.empty:
        return
    fluid = palette.draw("fluid")
    white = palette.beside(fluid, 0.08)
    canvas.paint(sac, fluid)
    instances = [canvas.paint(shape, white)]
    z = space.z[shape.block[0]][:, None, None]
    y = (space.y[shape.block] - np.float32(place[1]) - np.float32(lean[0]) * z) / radius
    x = (space.x[shape.block] - np.float32(place[2]) - np.float32(lean[1]) * z) / (radius * squash)
    field = np.float32(radius) * _butterfly(rng, y, x)
    grey = Shape(shape.block, np.minimum(field, shape.field))
    instances.append(canvas.paint(grey, palette.beside(white, 0.06, 0.3)))
    for _ in range(3):
        canvas.want("butterfly", instances[1])
    canvas.want("cord", *instances)


def _butterfly(rng: np.random.Generator, y: Array, x: Array) -> Array:
    """Field of a butterfly in a unit disc: four horns and a bridge, each a tapered bar.

    The front horns are mostly shorter and thicker, the back ones long, thin, and turned outwards.
    """
    turn = float(rng.normal(0, 0.3)) + float(rng.choice((0.0, np.pi)))
    y, x = y * np.cos(turn) + x * np.sin(turn), x * np.cos(turn) - y * np.sin(turn)
    waist, level = rng.uniform(0.12, 0.35), rng.uniform(-0.15, 0.1)
    thick = rng.uniform(0.06, 0.17)
    front, back = rng.uniform(0.25, 0.6), rng.uniform(0.4, 0.85)
    front_out, back_out = rng.uniform(0.0, 0.35), rng.uniform(0.0, 0.45)
    tip, thin = rng.uniform(0.6, 1.3), rng.uniform(0.25, 1.0)
    bars = [((level, -waist), (level, waist), thick * rng.uniform(0.4, 1.0), 1.0)]
    for side in (-1, 1):
        root = (level, side * waist)
        y0, y1, x0, x1 = rng.normal(0, 0.03, 4)
        bars.append((root, (level - front + y0, side * (waist + front_out) + x0), thick, tip))
        bars.append((root, (level + back + y1, side * (waist + back_out) + x1), thick, thin))
    return np.maximum.reduce([_bar(y, x, *bar) for bar in bars])


def _bar(
    y: Array,
    x: Array,
    start: tuple[float, float],
    end: tuple[float, float],
    thick: float,
    taper: float,
) -> Array:
    """Field of a bar from start to end (y, x) whose radius goes from ``thick`` by ``taper``."""
    dy, dx = end[0] - start[0], end[1] - start[1]
    along = ((y - start[0]) * dy + (x - start[1]) * dx) / (dy * dy + dx * dx)
    along = np.clip(along, 0, 1)
    away = np.hypot(y - start[0] - along * dy, x - start[1] - along * dx)
    return np.asarray(thick * (1 + (taper - 1) * along) - away, np.float32)
