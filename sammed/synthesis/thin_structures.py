"""Recipes for thin and many-armed structures whose borders can be seen: walls, rims, folds.

A box round a wall is also a box round what the wall encloses. These recipes teach that where thin
parts are to be seen, they may be what is meant.
"""

from __future__ import annotations

import numpy as np

from sammed.synthesis.canvas import Canvas
from sammed.synthesis.fields import Array
from sammed.synthesis.shapes import Shape, random_blob, tube
from sammed.synthesis.structures import Place, below, inside, round_shape
from sammed.synthesis.tissues import Palette


def wall(canvas: Canvas, palette: Palette, place: Place, size: float) -> None:
    """A wall like its surroundings round a content of another brightness; sometimes open.

    As the myocardium round its blood pool, the wall of a bowel, a capsule, a rim.
    """
    space = canvas.space
    rng = space.rng
    shape = round_shape(space, place, size, bumps=0.1, roundness=0.35)
    if shape.empty:
        return
    muscle = palette.beside(below(canvas, place), strongest=0.3)
    content = palette.beside(muscle, weakest=0.1, strongest=0.7)
    thickness = size * float(rng.uniform(0.1, 0.5))
    uneven = np.float32(0.4 * thickness) * space.noise(
        shape.block, float(rng.uniform(0.5, 2)) / size
    )
    hollow = Shape(shape.block, shape.field - np.float32(thickness) + uneven)
    outer = canvas.paint(shape, muscle)
    pool = [canvas.paint(hollow, content)]
    if rng.random() < 0.35:  # trabeculae, papillary muscles, contents
        pool.append(canvas.paint(inside(space, hollow, size * 0.5), muscle))
    if rng.random() < 0.3:  # a C instead of an O: one side is open
        turn = float(rng.uniform(0, 2 * np.pi))
        y = space.y[shape.block] - np.float32(place[1])
        x = space.x[shape.block] - np.float32(place[2])
        side = y * np.float32(np.sin(turn)) + x * np.float32(np.cos(turn))
        gap = shape.within(side - np.float32(size * rng.uniform(0.2, 0.7)))
        canvas.paint(gap, content if rng.random() < 0.5 else below(canvas, place))
    for _ in range(3):
        canvas.want("wall", outer)
    canvas.want("pool", *pool)
    if rng.random() < 0.25:
        canvas.want("hollow", outer, *pool)


def marbled(canvas: Canvas, palette: Palette, place: Place, size: float) -> None:
    """A blob of two phases: sheets, branches or islands of one in the other.

    As grey in white matter, enhancing parts of a tumour, septa, folded mucosa, trabeculae.
    """
    space = canvas.space
    rng = space.rng
    shape = random_blob(space, place, size, roundness=0.4)
    if shape.empty:
        return
    matrix = palette.beside(below(canvas, place), strongest=0.35)
    phase = palette.beside(matrix, weakest=0.04, strongest=0.4)
    if rng.random() < 0.25:
        phase = palette.heterogeneous(phase)
    rind = np.float32(size * rng.uniform(-0.1, 0.2))
    field = np.minimum(_phase(canvas, shape, size), shape.field - rind)
    first = canvas.paint(shape, matrix)
    second = canvas.paint(Shape(shape.block, np.asarray(field, np.float32)), phase)
    for _ in range(2):
        canvas.want("phase", second)
    if rng.random() < 0.4:
        canvas.want("matrix", first)
    if rng.random() < 0.4:
        canvas.want("marbled", first, second)


def winding(canvas: Canvas, palette: Palette, place: Place, size: float) -> None:
    """A tube that winds through all three axes: an arch, a loop, a hook, a tail.

    As the aorta with its arch, the hippocampus, the duodenum, the pancreas.
    """
    space = canvas.space
    rng = space.rng
    count = 18
    heading = rng.normal(0, 1, 3)
    turn = rng.normal(0, 1, 3)
    bend = float(rng.uniform(0.0, 5.0))
    along = np.linspace(0, 1, count)[:, None]
    heading /= np.linalg.norm(heading)
    turn -= heading * (turn @ heading)
    turn /= max(float(np.linalg.norm(turn)), 1e-3)
    angle = bend * along ** float(rng.uniform(0.7, 2.0))
    wobble = rng.normal(0, 0.35, 3) * np.sin(along * float(rng.uniform(2, 7)))
    steps = np.cos(angle) * heading + np.sin(angle) * turn + wobble
    length = size * float(rng.uniform(2.5, 6.0))
    path = np.cumsum(steps, 0) * (length / count)
    path += np.array(place) - path.mean(0)
    thick = max(size * float(np.exp(rng.uniform(np.log(0.2), np.log(0.7)))), length / count)
    swell = 1 + float(rng.normal(0, 0.3)) * np.linspace(-1, 1, count)
    radii = thick * np.clip(swell, 0.4, 1.6)
    tissue = palette.beside(below(canvas, place))
    if rng.random() < 0.5:
        tissue = palette.draw(str(rng.choice(("vessel", "organ", "fluid"))))
    shape = tube(space, path.astype(np.float32), radii.astype(np.float32))
    if shape.empty:
        return
    bumps = np.float32(0.25 * thick * rng.random())
    shape = Shape(shape.block, shape.field + bumps * space.noise(shape.block, 1.0 / thick))
    canvas.want("winding", canvas.paint(shape, tissue))


def _phase(canvas: Canvas, shape: Shape, size: float) -> Array:
    """About the signed distance to the inner phase, in normalised units."""
    space = canvas.space
    rng = space.rng
    frequency = float(rng.uniform(0.5, 1.6)) / size
    wave = space.noise(shape.block, frequency)
    scale = np.float32(0.25 / frequency)
    kind = rng.random()
    if kind < 0.45:  # sheets and branches along the zero level of a field
        return scale * (np.float32(rng.uniform(0.15, 0.6)) - np.abs(wave))
    if kind < 0.75:  # islands
        return scale * (wave - np.float32(rng.uniform(-0.3, 0.6)))
    depth = shape.field + np.float32(0.15 * size) * wave  # a layer at some depth: a rim, an onion
    middle, half = size * float(rng.uniform(0.15, 0.45)), size * float(rng.uniform(0.06, 0.16))
    return np.float32(half) - np.abs(depth - np.float32(middle))
