"""Recipes for compact structures: each paints something and names its targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sammed.synthesis.canvas import Canvas
from sammed.synthesis.shapes import Shape, Space, blob, column, random_blob, tube
from sammed.synthesis.tissues import Palette, Tissue

Place = tuple[float, float, float]
Recipe = Callable[[Canvas, Palette, Place, float], None]


def _rng(canvas: Canvas) -> np.random.Generator:
    return canvas.space.rng


def below(canvas: Canvas, place: Place) -> Tissue:
    """The tissue that is there before anything is painted at a place."""
    depth, height, width = canvas.space.shape
    row = int(np.clip(place[1] * height, 0, height - 1))
    col = int(np.clip(place[2] * width, 0, width - 1))
    plane = depth // 2
    return Tissue(
        float(np.clip(canvas.mean[plane, row, col], -0.2, 1.2)),
        float(canvas.fine[plane, row, col]),
        float(canvas.coarse[plane, row, col]),
    )


def _tissue(canvas: Canvas, palette: Palette, place: Place, kinds: tuple[str, ...]) -> Tissue:
    rng = _rng(canvas)
    if rng.random() < 0.45:
        return palette.draw(str(rng.choice(kinds)))
    return palette.beside(below(canvas, place))


def inside(space: Space, outer: Shape, size: float) -> Shape:
    """A part somewhere inside an outer shape, on the same block."""
    rng = space.rng
    if rng.random() < 0.4:
        wave = space.noise(outer.block, max(2.0, float(rng.uniform(0.5, 1.4)) / size))
        field = np.float32(0.4 * size) * (wave - np.float32(rng.uniform(0.2, 1.0)))
        return Shape(outer.block, np.minimum(field, outer.field - np.float32(0.12 * size)))
    best = int(np.argmax(outer.field + 0.3 * size * space.noise(outer.block, 5)))
    at = np.unravel_index(best, outer.field.shape)
    place = (
        float(space.z[outer.block[0]][at[0]]),
        float(space.y[outer.block][at]),
        float(space.x[outer.block][at]),
    )
    inner = random_blob(space, place, size * float(rng.uniform(0.25, 0.6)))
    field = np.minimum(_on_block(inner, outer), outer.field - np.float32(0.05 * size))
    return Shape(outer.block, field)


def _on_block(inner: Shape, outer: Shape) -> NDArray[np.float32]:
    """The field of one shape on the block of another; outside wherever it has none."""
    field = np.full(outer.field.shape, -1.0, np.float32)
    there, here = [], []
    for a, b in zip(outer.block, inner.block, strict=True):
        start = max(a.start, b.start)
        stop = max(start, min(a.stop, b.stop))
        there.append(slice(start - a.start, stop - a.start))
        here.append(slice(start - b.start, stop - b.start))
    field[tuple(there)] = inner.field[tuple(here)]
    return field


def _bitten(space: Space, shape: Shape, place: Place, size: float) -> Shape:
    """The shape with a round bite out of its side: kidneys, spleens, crescents."""
    rng = space.rng
    angle = float(rng.uniform(0, 2 * np.pi))
    away = size * float(rng.uniform(0.6, 1.2))
    radius = size * float(rng.uniform(0.35, 0.9))
    if rng.random() < 0.25:  # all but a crescent
        radius, away = radius + 0.45 * size, 0.8 * away
    there = (place[0], place[1] + away * np.sin(angle), place[2] + away * np.cos(angle))
    bite = random_blob(space, there, radius, bumps=0.06)
    return shape.minus(_on_block(bite, shape))


def organ(canvas: Canvas, palette: Palette, place: Place, size: float) -> None:
    """A solid organ, perhaps with a dent, a capsule, and inner parts that belong to it."""
    rng, space = _rng(canvas), canvas.space
    shape = random_blob(space, place, size)
    if rng.random() < 0.4:
        shape = _bitten(space, shape, place, size)
    if shape.empty:
        return
    tissue = _tissue(canvas, palette, place, ("organ", "muscle", "fluid", "organ"))
    parts = [canvas.paint(shape, tissue)]
    if rng.random() < 0.25:
        thickness = float(rng.uniform(0.1, 0.35)) * size
        inner = palette.beside(tissue, strongest=0.3)
        parts.append(canvas.paint(shape.moved(-thickness), inner))
        if rng.random() < 0.3:
            canvas.want("core", parts[1])
    for _ in range(int(rng.choice((0, 1, 2, 3), p=(0.4, 0.3, 0.2, 0.1)))):
        part = inside(space, shape, size)
        if part.empty:
            continue
        kind = str(rng.choice(("lesion", "vessel", "fluid", "fat")))
        inner = palette.draw(kind) if rng.random() < 0.4 else palette.beside(tissue)
        parts.append(canvas.paint(part, inner))
        if rng.random() < 0.4:
            canvas.want("part", parts[-1])
    canvas.want("organ" if len(parts) == 1 else "composite", *parts)


def lesion(canvas: Canvas, palette: Palette, place: Place, size: float) -> None:
    """A small blob of weak contrast."""
    rng = _rng(canvas)
    shape = random_blob(canvas.space, place, size * float(rng.uniform(0.3, 0.8)))
    tissue = palette.beside(below(canvas, place))
    if rng.random() < 0.3:
        tissue = replace(tissue, edge=float(rng.uniform(2.0, 4.0)))
    canvas.want("lesion", canvas.paint(shape, tissue))


def tumour(canvas: Canvas, palette: Palette, place: Place, size: float) -> None:
    """A textured mass, ragged or smooth, with a rim and a necrotic core, or some of it."""
    rng, space = _rng(canvas), canvas.space
    smooth = rng.random() < 0.4
    bumps = float(rng.uniform(0.0, 0.12) if smooth else rng.uniform(0.1, 0.4))
    mass = random_blob(space, place, size, bumps=bumps)
    if mass.empty:
        return
    ragged = np.float32(size * (rng.uniform(0.0, 0.05) if smooth else rng.uniform(0.05, 0.2)))
    rough = space.noise(mass.block, float(rng.uniform(2.0, 5.0)) / size)
    base = below(canvas, place)
    solid = palette.heterogeneous(palette.beside(base, 0.05))
    edge = float(np.exp(rng.uniform(0.0, np.log(6.0))))
    outer = Shape(mass.block, mass.field + ragged * rough)
    parts = [canvas.paint(outer, replace(solid, edge=edge))]
    if rng.random() < 0.65:
        rim = np.float32(size * rng.uniform(0.1, 0.45))
        ring = Shape(mass.block, mass.field - rim + 2 * ragged * rough)
        if rng.random() < 0.6:  # takes up contrast agent, far from solid and core
            bright = replace(palette.beside(solid, 0.2), fine=0.04)
        else:
            bright = palette.heterogeneous(palette.beside(solid, 0.05))
        parts.append(canvas.paint(ring, bright))
        if rng.random() < 0.8:
            thickness = np.float32(size * rng.uniform(0.08, 0.3))
            core = ring.moved(-float(thickness))
            dark = palette.heterogeneous(palette.beside(solid, 0.08))
            parts.append(canvas.paint(core, dark))
            canvas.want("rim", parts[1])
            canvas.want("rim", parts[1])
        if rng.random() < 0.6:
            canvas.want("core", *parts[1:])
    canvas.want("tumour", *parts)
    canvas.want("tumour", *parts)


def round_shape(
    space: Space, place: Place, size: float, *, bumps: float, roundness: float
) -> Shape:
    """A column across the slab, or a blob: what walls are drawn round.

    ``bumps`` is the most that the column has, ``roundness`` how far the blob may be from round.
    """
    rng = space.rng
    if rng.random() < 0.6:
        return column(
            space,
            place[1:],
            size,
            lean=(float(rng.normal(0, 0.3)), float(rng.normal(0, 0.3))),
            bend=0.0,
            squash=float(np.exp(rng.normal(0, 0.2))),
            bumps=float(rng.uniform(0, bumps)),
            taper=float(rng.normal(0, 0.8)),
        )
    return random_blob(space, place, size, roundness=roundness)


def ring(canvas: Canvas, palette: Palette, place: Place, size: float) -> None:
    """A shell with a cavity, like the left ventricle or the wall of a vessel or a cyst."""
    rng, space = _rng(canvas), canvas.space
    shape = round_shape(space, place, size, bumps=0.12, roundness=0.3)
    if shape.empty:
        return
    wall = _tissue(canvas, palette, place, ("muscle", "organ", "muscle"))
    content = palette.draw(str(rng.choice(("vessel", "fluid", "stool", "fat"))))
    if rng.random() < 0.5:
        content = palette.beside(wall, 0.05)
    thickness = size * float(rng.uniform(0.12, 0.55))
    cavity = shape.moved(-thickness)
    uneven = np.float32(0.3 * thickness) * space.noise(shape.block, 1.0 / size)
    cavity = Shape(cavity.block, cavity.field + uneven)
    outside = canvas.paint(shape, wall)
    blood = [canvas.paint(cavity, content)]
    if rng.random() < 0.3:
        speck = inside(space, cavity, size * 0.5)
        blood.append(canvas.paint(speck, wall))
    canvas.want("shell", outside)
    canvas.want("cavity", *blood)
    if rng.random() < 0.3:
        canvas.want("hollow", outside, *blood)


def gland(canvas: Canvas, palette: Palette, place: Place, size: float) -> None:
    """A gland with a central zone that leaves a crescent, all of weak contrast and textured."""
    rng, space = _rng(canvas), canvas.space
    shape = random_blob(space, place, size, roundness=0.3, bumps=float(rng.uniform(0, 0.08)))
    if shape.empty:
        return
    base = below(canvas, place)
    outer = palette.heterogeneous(palette.beside(base, strongest=0.25))
    inner = palette.heterogeneous(palette.beside(outer, strongest=0.3))
    angle = float(rng.uniform(0, 2 * np.pi))
    off = size * float(rng.uniform(0.1, 0.5))
    centre = (place[0], place[1] + off * np.sin(angle), place[2] + off * np.cos(angle))
    grown = size * float(rng.uniform(0.55, 0.9))
    middle = blob(
        space,
        centre,
        (grown, grown, grown * float(rng.uniform(0.8, 1.25))),
        angle=float(rng.uniform(0, np.pi)),
        bumps=float(rng.uniform(0, 0.12)),
    )
    rind = shape.field - np.float32(0.04 * size)
    zone = Shape(shape.block, np.minimum(_on_block(middle, shape), rind))
    first = canvas.paint(shape, outer)
    second = canvas.paint(zone, inner)
    canvas.want("crescent", first)
    canvas.want("crescent", first)
    canvas.want("zone", second)
    canvas.want("gland", first, second)


def vessel(canvas: Canvas, palette: Palette, place: Place, size: float) -> None:
    """A tube through the slab, perhaps with a wall or split by a membrane."""
    rng, space = _rng(canvas), canvas.space
    radius = size * float(rng.uniform(0.25, 0.8))
    shape = column(
        space,
        place[1:],
        radius,
        lean=(float(rng.normal(0, 0.6)), float(rng.normal(0, 0.6))),
        bend=float(rng.uniform(0, 0.3)) * radius,
        squash=float(np.exp(rng.normal(0, 0.35))),
        bumps=float(rng.uniform(0, 0.15)),
        taper=float(rng.normal(0, 1.0)),
    )
    if shape.empty:
        return
    tissue = _tissue(canvas, palette, place, ("vessel", "fluid", "vessel"))
    parts = [canvas.paint(shape, tissue)]
    if rng.random() < 0.25:
        angle = float(rng.uniform(0, 2 * np.pi))
        y = space.y[shape.block] - np.float32(place[1])
        x = space.x[shape.block] - np.float32(place[2])
        side = y * np.float32(np.sin(angle)) + x * np.float32(np.cos(angle))
        curve = np.float32(rng.uniform(-0.6, 0.6) / radius) * (y * y + x * x)
        half = shape.within(side + curve + np.float32(radius * rng.uniform(-0.3, 0.3)))
        parts.append(canvas.paint(half, palette.beside(tissue, 0.04)))
        canvas.want("lumen", parts[0])
        canvas.want("lumen", parts[1])
    canvas.want("vessel", *parts)


def branch(canvas: Canvas, palette: Palette, place: Place, size: float) -> None:
    """A tube that runs along the slices, perhaps forked: veins, ureters, bowel."""
    rng, space = _rng(canvas), canvas.space
    tissue = _tissue(canvas, palette, place, ("vessel", "fluid", "stool"))
    instances = []
    heading = float(rng.uniform(0, 2 * np.pi))
    start = np.array(place, np.float32)
    length = size * float(rng.uniform(2.0, 4.5))
    thick = size * float(np.exp(rng.uniform(np.log(0.15), np.log(0.6))))
    for arm in range(1 if rng.random() < 0.6 else 2):
        curvature = float(rng.normal(0, 2.0)) / length
        turn = heading + arm * float(rng.uniform(0.5, 2.0))
        climb = float(rng.normal(0, 0.25))
        steps = int(np.clip(length / (0.7 * thick) + 2, 4, 22))
        along = np.linspace(0, length, steps)
        angles = turn + curvature * along
        step = length / steps
        path = start + np.stack(
            (climb * along, np.cumsum(np.sin(angles)) * step, np.cumsum(np.cos(angles)) * step), 1
        )
        if arm == 0:
            path -= path.mean(0) - start
            start = path[len(path) // 2]
        radii = thick * (1 + float(rng.normal(0, 0.2)) * np.linspace(-1, 1, steps))
        shape = tube(space, path.astype(np.float32), radii.astype(np.float32))
        instances.append(canvas.paint(shape, tissue))
        if rng.random() < 0.3 and not shape.empty:
            content = palette.beside(tissue, 0.05)
            instances.append(canvas.paint(shape.moved(-0.35 * thick), content))
    canvas.want("branch", *instances)


def bone(canvas: Canvas, palette: Palette, place: Place, size: float) -> None:
    """A bone with cortex and marrow; a vertebra has an arch and processes besides its body."""
    rng, space = _rng(canvas), canvas.space
    shapes = [random_blob(space, place, size * 0.7, roundness=0.3, bumps=0.08)]
    if rng.random() < 0.55:
        heading = float(rng.uniform(0, 2 * np.pi))
        for turn in (0.0, 0.9, -0.9, 1.6, -1.6)[: int(rng.integers(1, 6))]:
            angle = heading + turn + float(rng.normal(0, 0.1))
            reach = size * float(rng.uniform(0.9, 1.7))
            path = np.linspace(0.4, 1.0, 6)[:, None] * reach * np.array(
                [[rng.normal(0, 0.1), np.sin(angle), np.cos(angle)]]
            ) + np.array(place)
            radii = np.full(6, size * rng.uniform(0.1, 0.28))
            shapes.append(tube(space, path.astype(np.float32), radii.astype(np.float32)))
    cortex = palette.draw("cortex")
    marrow = replace(palette.draw("marrow"), fine=0.03 + float(rng.exponential(0.04)))
    if rng.random() < 0.3:
        marrow = palette.heterogeneous(palette.beside(below(canvas, place)))
    shell = size * float(rng.uniform(0.04, 0.15))
    instances = [canvas.paint(s, cortex) for s in shapes]
    instances += [canvas.paint(s.moved(-shell), marrow) for s in shapes]
    if len(shapes) > 1 and rng.random() < 0.5:
        canal = blob(space, place, (1.0, size * 0.25, size * 0.25), bumps=0.05)
        canvas.paint(canal, palette.draw("fluid"))
    canvas.want("bone", *instances)
    canvas.want("bone", *instances)


def bowel(canvas: Canvas, palette: Palette, place: Place, size: float) -> None:
    """A hollow organ: wall, content with a level between gas and fluid."""
    rng, space = _rng(canvas), canvas.space
    shape = random_blob(space, place, size, bumps=float(rng.uniform(0.1, 0.3)))
    if shape.empty:
        return
    wall = palette.draw("muscle")
    content = palette.heterogeneous(palette.draw("stool"))
    lumen = shape.moved(-size * float(rng.uniform(0.08, 0.25)))
    level = np.float32(place[1] + size * rng.uniform(-0.6, 0.6)) - space.y[shape.block]
    instances = [canvas.paint(shape, wall), canvas.paint(lumen, content)]
    if rng.random() < 0.7:
        instances.append(canvas.paint(lumen.within(level), palette.draw("air")))
    canvas.want("bowel", *instances)


def lung(canvas: Canvas, palette: Palette, place: Place, size: float) -> None:
    """A large dark organ with bright vessels in it, which belong to it."""
    rng, space = _rng(canvas), canvas.space
    shape = random_blob(space, place, size * 1.3, bumps=float(rng.uniform(0.1, 0.25)))
    if shape.empty:
        return
    instances = [canvas.paint(shape, palette.draw("lung"))]
    wave = space.noise(shape.block, 6.0 / size)
    other = space.noise(shape.block, 3.0 / size)
    thin = np.float32(size * 0.08) * (np.float32(rng.uniform(0.1, 0.3)) - np.abs(wave))
    vessels = Shape(shape.block, np.minimum(thin, np.minimum(shape.field, 0.1 * other)))
    instances.append(canvas.paint(vessels, palette.draw("vessel")))
    canvas.want("lung", *instances)


def cluster(canvas: Canvas, palette: Palette, place: Place, size: float) -> None:
    """Several separate blobs of one tissue, or a shape of several lobes."""
    rng, space = _rng(canvas), canvas.space
    tissue = _tissue(canvas, palette, place, ("organ", "lesion", "vessel"))
    instances = []
    apart = size * float(rng.uniform(0.4, 1.3))
    for _ in range(int(rng.integers(2, 5))):
        offset = rng.normal(0, apart, 3) * (0.5, 1, 1)
        there = (place[0] + offset[0], place[1] + offset[1], place[2] + offset[2])
        shape = random_blob(space, there, size * float(rng.uniform(0.25, 0.6)))
        instances.append(canvas.paint(shape, tissue))
    canvas.want("cluster", *instances)


def ghost(canvas: Canvas, palette: Palette, place: Place, size: float) -> None:
    """A smooth shape that cannot be seen at all: the expected answer is the prior."""
    del palette
    rng = _rng(canvas)
    bumps = float(rng.uniform(0, 0.1))
    canvas.want_shape("ghost", random_blob(canvas.space, place, size, bumps=bumps))
