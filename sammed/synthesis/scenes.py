"""Backgrounds and whole scenes: a body, its rough partition, folds, and structures in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sammed.synthesis.canvas import Canvas
from sammed.synthesis.recipes import RECIPES
from sammed.synthesis.shapes import Shape, Space, blob, random_blob, tube, whole
from sammed.synthesis.structures import organ
from sammed.synthesis.tissues import Palette

BACKGROUNDS: dict[str, float] = {"torso": 0.42, "patches": 0.28, "brain": 0.16, "plain": 0.14}
"""Kinds of background and how often each is drawn."""


def compose(space: Space, palette: Palette) -> Canvas:
    """Paint a scene: background, many structures, some small things on top."""
    rng = space.rng
    names = list(BACKGROUNDS)
    kind = str(rng.choice(names, p=list(BACKGROUNDS.values())))
    paint = {"torso": _torso, "patches": _patches, "brain": _brain, "plain": _plain}[kind]
    canvas = paint(space, palette)
    _structures(canvas, palette, crowded=kind != "brain")
    return canvas


def _structures(canvas: Canvas, palette: Palette, *, crowded: bool) -> None:
    rng = canvas.space.rng
    names = list(RECIPES)
    weights = np.array([RECIPES[n][1] for n in names])
    weights /= weights.sum()
    half = canvas.space.shape[0] / 2 * canvas.space.slice_step
    count = int(rng.integers(5, 12)) if crowded else int(rng.integers(3, 7))
    sizes = np.sort(np.exp(rng.uniform(np.log(0.055), np.log(0.26), count)))[::-1]
    for size in sizes:
        reach = half + 0.7 * size
        place = (
            float(rng.uniform(-reach, reach)) * float(rng.random() < 0.8),
            float(rng.uniform(0.16, 0.84)),
            float(rng.uniform(0.16, 0.84)),
        )
        recipe = RECIPES[str(rng.choice(names, p=weights))][0]
        recipe(canvas, palette, place, float(size))
        if rng.random() < 0.3:
            _neighbour(canvas, palette, place, float(size))


def _neighbour(canvas: Canvas, palette: Palette, place: tuple[float, ...], size: float) -> None:
    """Another organ that touches the last one, often nearly as bright."""
    rng = canvas.space.rng
    angle = float(rng.uniform(0, 2 * np.pi))
    away = size * float(rng.uniform(1.2, 1.9))
    there = (place[0], place[1] + away * np.sin(angle), place[2] + away * np.cos(angle))
    organ(canvas, palette, there, size * float(rng.uniform(0.6, 1.2)))


def _partition(canvas: Canvas, palette: Palette, inside: Shape | None, kinds: list[str]) -> None:
    """Cut the canvas, or a shape on it, into smooth patches, perhaps with thin gaps between."""
    rng, space = canvas.space.rng, canvas.space
    tissues = [palette.draw(str(rng.choice(kinds))) for _ in range(int(rng.integers(3, 7)))]
    count = int(rng.integers(4, 11))
    frequency = float(np.exp(rng.uniform(np.log(2.0), np.log(9.0))))
    shape = space.shape
    fields = [space.pool.take(frequency * rng.uniform(0.8, 1.3)) for _ in range(count)]
    stack = np.stack([f if f.shape == shape else f.reshape(shape) for f in fields])
    order = np.sort(stack, axis=0)
    best = order[-1]
    scale = np.float32(0.35 / frequency)
    gap = np.float32(rng.choice((0.0, 0.4, 1.2, 2.5), p=(0.55, 0.15, 0.15, 0.15)) * space.px)
    for field in stack:
        rival = np.where(field >= best, order[-2], best)
        part = whole(space, scale * (field - rival) - gap)
        if inside is not None:
            part = whole(space, np.minimum(part.field, inside.field))
        tissue = tissues[int(rng.integers(len(tissues)))]
        if rng.random() < 0.6:
            tissue = tissue.shifted(float(rng.normal(0, 0.05)))
        number = canvas.paint(part, tissue)
        if rng.random() < 0.35:
            canvas.want("patch", number)


def _plain(space: Space, palette: Palette) -> Canvas:
    tissue = palette.draw(str(space.rng.choice(("muscle", "organ", "fat"))))
    if space.rng.random() < 0.3:
        tissue = palette.heterogeneous(tissue)
    return Canvas.filled(space, tissue)


def _patches(space: Space, palette: Palette) -> Canvas:
    canvas = _plain(space, palette)
    kinds = ["muscle", "organ", "fat", "fluid", "organ", "lesion"]
    _partition(canvas, palette, None, kinds)
    return canvas


def _body(space: Space, low: float, high: float) -> Shape:
    rng = space.rng
    size = float(rng.uniform(low, high))
    centre = (0.0, float(rng.uniform(0.35, 0.65)), float(rng.uniform(0.35, 0.65)))
    return blob(
        space,
        centre,
        (6.0, size, size * float(rng.uniform(1.0, 1.5))),
        bumps=0.06,
        frequency=2.0,
        power=4 if rng.random() < 0.3 else 2,
    )


def _full(space: Space, shape: Shape) -> Shape:
    field = np.full(space.shape, -1.0, np.float32)
    field[shape.block] = shape.field
    return whole(space, field)


def _torso(space: Space, palette: Palette) -> Canvas:
    """Air, skin, fat, muscle, a cavity with patches of fat and organs, bones at its border."""
    rng = space.rng
    canvas = Canvas.filled(space, palette.draw("air"))
    body = _full(space, _body(space, 0.34, 1.0))
    canvas.want("body", canvas.paint(body, palette.draw("fat")))
    rind = float(rng.uniform(0.01, 0.09))
    wave = np.float32(0.02) * space.pool.take(5)
    muscle = whole(space, body.field - np.float32(rind) + wave)
    muscles = [canvas.paint(muscle, palette.draw("muscle"))]
    cavity = whole(space, muscle.field - np.float32(rng.uniform(0.02, 0.1)) + wave)
    content = palette.draw("fat" if rng.random() < 0.6 else "muscle")
    inner = canvas.paint(cavity, content)
    if rng.random() < 0.2:
        canvas.want("muscle", *muscles)
    if rng.random() < 0.6:
        _partition(canvas, palette, cavity, ["fat", "fat", "organ", "muscle", "fluid"])
    elif rng.random() < 0.5:
        canvas.want("cavity_fat", inner)
    if rng.random() < 0.7:
        _ribs(canvas, palette, muscle)
    return canvas


def _ribs(canvas: Canvas, palette: Palette, wall: Shape) -> None:
    """Small bright ovals along the wall."""
    rng, space = canvas.space.rng, canvas.space
    plane = wall.field[space.shape[0] // 2]
    rows, cols = np.nonzero(np.abs(plane) < 0.012)
    if len(rows) == 0:
        return
    cortex, marrow = palette.draw("cortex"), palette.draw("marrow")
    for pick in rng.choice(len(rows), int(rng.integers(2, 9))):
        y, x = (rows[pick] + 0.5) / plane.shape[0], (cols[pick] + 0.5) / plane.shape[1]
        size = float(rng.uniform(0.012, 0.035))
        shape = random_blob(space, (float(rng.normal(0, 0.05)), y, x), size, bumps=0.0)
        outer = canvas.paint(shape, cortex)
        inner = canvas.paint(shape.moved(-0.35 * size), marrow)
        if rng.random() < 0.3:
            canvas.want("rib", outer, inner)


def _brain(space: Space, palette: Palette) -> Canvas:
    """A head: scalp, skull, fluid, folded cortex, white matter, deep nuclei, ventricles."""
    rng = space.rng
    canvas = Canvas.filled(space, palette.draw("air"))
    head = _full(space, _body(space, 0.36, 1.1))
    canvas.paint(head, palette.draw("fat"))
    skull = whole(space, head.field - np.float32(rng.uniform(0.01, 0.04)))
    canvas.paint(skull, palette.draw("cortex"))
    inner = whole(space, skull.field - np.float32(rng.uniform(0.01, 0.04)))
    fluid = palette.draw("fluid")
    canvas.paint(inner, fluid)
    frequency = float(rng.choice((8, 13, 21)))
    folds = space.pool.take(frequency) + 0.5 * space.pool.take(frequency * 1.6)
    depth = np.float32(rng.uniform(0.02, 0.05))
    grey = palette.beside(fluid, 0.06)
    sulci = np.float32(0.3 / frequency) * (folds + np.float32(rng.uniform(0.7, 1.4)))
    shallow = inner.field - depth * 2
    pial = np.minimum(inner.field - np.float32(0.008), np.maximum(sulci, shallow))
    matter = whole(space, pial)
    numbers = [canvas.paint(matter, grey)]
    white = whole(space, np.minimum(pial - depth * np.float32(0.6), inner.field - depth))
    numbers.append(canvas.paint(white, palette.beside(grey, 0.04, 0.3)))
    _deep(canvas, palette, grey.mean)
    canvas.want("brain", *numbers)
    canvas.want("white", numbers[1])
    parcels = int(rng.integers(0, 4))
    for _ in range(parcels):
        place = (0.0, float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.1, 0.9)))
        region = _full(space, random_blob(space, place, float(rng.uniform(0.06, 0.2))))
        cut = rng.random() < 0.5
        field = pial if cut else np.minimum(pial, -white.field)
        canvas.want_shape("parcel", region.within(field))
    return canvas


def _deep(canvas: Canvas, palette: Palette, grey: float) -> None:
    """Ventricles, nuclei and curved slender structures such as the hippocampus."""
    rng, space = canvas.space.rng, canvas.space
    for _ in range(int(rng.integers(2, 6))):
        place = (
            float(rng.normal(0, 0.05)),
            float(rng.uniform(0.3, 0.7)),
            float(rng.uniform(0.3, 0.7)),
        )
        size = float(rng.uniform(0.03, 0.1))
        if rng.random() < 0.4:
            bend = np.linspace(-1, 1, 10)
            angle = float(rng.uniform(0, 2 * np.pi))
            path = np.stack(
                (
                    bend * size * float(rng.normal(0, 1)),
                    bend * size * np.sin(angle),
                    bend * size * np.cos(angle) + size * 0.5 * bend**2,
                ),
                1,
            ) * 1.6 + np.array(place)
            radii = size * 0.4 * (1 + float(rng.normal(0, 0.25)) * bend)
            shape = tube(space, path.astype(np.float32), radii.astype(np.float32))
        else:
            shape = random_blob(space, place, size)
        tissue = replace(palette.draw("organ"), mean=grey + float(rng.normal(0, 0.06)))
        if rng.random() < 0.35:
            tissue = palette.draw("fluid")
        canvas.want("nucleus", canvas.paint(shape, tissue))
