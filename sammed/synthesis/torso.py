"""Drawn trunks: whole bodies of which every voxel is known, as a CT or MR shows them.

A table of organs (`sammed.synthesis.torso_organs`) is drawn into the rooms of a body, each yielding
to what is there, with the look of `sammed.synthesis.torso_look`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sammed.models.dense.net import KINDS
from sammed.synthesis.fields import Array
from sammed.synthesis.torso_bodies import organs_of
from sammed.synthesis.torso_frame import FAR, Frame, Part, Shape, frame_of
from sammed.synthesis.torso_look import Look, ct_look, mr_look, photographed
from sammed.synthesis.torso_organs import Organ, kind_of
from sammed.synthesis.torso_shapes import Column, Tube, Union

Labels = NDArray[np.int32]
Shape3 = tuple[int, int, int]

SPANS: dict[str, tuple[float, float, float]] = {
    "abdomen and pelvis": (-170, 290, 0.34),
    "abdomen": (30, 290, 0.24),
    "pelvis": (-190, 90, 0.16),
    "chest": (190, 480, 0.16),
    "trunk": (-190, 480, 0.1),
}
"""What is scanned: from where to where (z in mm), how often."""

MOST = (72, 76, 92)
"""Voxels of a scene at most, (z, y, x)."""

CT_SHARE, SLAB_SHARE = 0.65, 0.2
"""Share of the scenes that are CT; of those that are a slab a few centimetres thick."""

AIR, COUCH, UNDER_SKIN, WALL, CAVITY = 1, 2, 3, 4, 5
"""Numbers of what is no thing; organs come after `FIRST`."""

FIRST, INNER = 10, 500
"""First numbers of organs, and of contents."""

SEEN = 5.0
"""Millimetres from which on a layer is so thick that what is within is a part."""

PIECE = 7
"""Stretches of a bowel that have one content."""

_TRUNK = Column(np.array([
    (-190, 0, 14, 168, 92), (-150, 0, 14, 176, 98), (-90, 0, 14, 180, 106), (-30, 0, 10, 168, 100),
    (50, 0, 0, 150, 98), (120, 0, 0, 146, 100), (200, 0, 0, 150, 106), (300, 0, 2, 160, 110),
    (380, 0, 6, 172, 104), (430, 0, 12, 178, 84), (462, 0, 12, 120, 66), (485, 0, 8, 64, 60),
    (600, 0, 6, 58, 60),
], float), power=2.35)  # fmt: skip
_LEG = Column.of((-360, 92, 14, 76, 80), (-190, 92, 14, 84, 90), (-130, 88, 14, 84, 98),
                 (-90, 86, 14, 70, 90))  # fmt: skip
_ARM = Tube.through((182, 6, 440, 46), (208, 4, 400, 44), (222, 0, 300, 40), (232, -6, 120, 38),
                    (236, -20, -100, 28))  # fmt: skip


@dataclass(eq=False)
class Torso:
    """A trunk in the making.

    Attributes
    ----------
    frame
        Its grid in the body.
    value : (z, y, x) float32
        What the image shows, in the units of its look.
    outer, inner : (z, y, x) int32
        The organ of each voxel, or what else it is; its smallest part.
    taken : (z, y, x) float32
        Field of all organs so far.
    step
        Distance of the slices in pixels.
    names
        Number → organ or part of one.
    image : (z, y, x) float32
        In [0, 1], when it is done; rising z is up, y to the back, x to the left.
    """

    frame: Frame
    look: Look
    value: Array
    outer: Labels
    inner: Labels
    taken: Array
    step: float = 1.0
    names: dict[int, str] = field(default_factory=dict)
    image: Array = field(init=False)

    def cover(self, shape: Array) -> Array:
        """Share of each voxel that a field covers."""
        return np.asarray(np.clip(shape / np.float32(self.frame.pixel) + 0.5, 0, 1), np.float32)

    @property
    def kind(self) -> NDArray[np.uint8]:
        """Which of `sammed.models.dense.net.KINDS` each voxel is."""
        table = np.zeros(FIRST + len(self.names), np.uint8)
        table[[UNDER_SKIN, CAVITY, WALL]] = 1, 1, 2
        for number, name in self.names.items():
            table[number] = KINDS.index(kind_of(name))
        return table[self.outer]

    def lay(self, part: Part, shape: Array, tissue: str) -> None:
        """Draw a field's inside as a tissue."""
        mean, texture = self.look.tissues[tissue]
        there = np.float32(mean)
        if texture:
            there = there + np.float32(texture) * self.frame.waves[-1][part]
        self.value[part] += self.cover(shape) * (there - self.value[part])

    def number(self, name: str) -> int:
        """Of an organ; 0 if it is not there."""
        return next((n for n, there in self.names.items() if there == name), 0)

    def name(self, part: Part, shape: Array, organ: Organ) -> None:
        """Make a field's inside an organ, or a part of one."""
        number = FIRST + len(self.names)
        self.names[number] = organ.name
        self.inner[part][shape > 0] = number
        if not organ.within:
            self.outer[part][shape > 0] = number
            self.taken[part] = np.maximum(self.taken[part], shape)


def make_torso(rng: np.random.Generator, shape: Shape3 | None = None, pixel: float = 4.0) -> Torso:
    """Draw a trunk, or a part of one.

    Parameters
    ----------
    rng
        Source of randomness.
    shape
        Voxels at most; ``None``: `MOST`.
    pixel
        About how many mm one is wide.
    """
    fatness = float(np.exp(rng.normal(np.log(17), 0.55)))
    frame, step = _scanned(rng, fatness, shape or MOST, pixel)
    look = ct_look(rng) if rng.random() < CT_SHARE else mr_look(rng)
    arms_down = bool(rng.random() < 0.2)
    rooms, torso = _body(rng, frame, look, fatness, arms_down)
    torso.step = step
    for organ in organs_of(rng, arms_down):
        draw_organ(rng, torso, rooms, organ)
    torso.image = photographed(rng, torso.value, look)
    return torso


def _scanned(
    rng: np.random.Generator, fatness: float, most: Shape3, about: float
) -> tuple[Frame, float]:
    """Part of the body on a grid; what does not fit is left out on either side."""
    low, high, _ = list(SPANS.values())[
        int(rng.choice(len(SPANS), p=[share for *_, share in SPANS.values()]))
    ]
    sizes = np.exp(rng.normal(0, 0.07, 3) + rng.normal(0, 0.07))
    pixel = float(np.exp(rng.normal(np.log(about), 0.2)))
    step = float(rng.uniform(1.1, 2.4)) if rng.random() < 0.2 else 1.0
    low, high = np.array((low, high)) + rng.normal(0, 25, 2)
    if rng.random() < SLAB_SHARE:
        thick = float(rng.uniform(60, 150))
        low = float(rng.uniform(low, max(high - thick, low + 1)))
        high = low + thick
    wide = 185 + 1.4 * fatness + float(rng.uniform(0, 25))
    deep = 112 + 1.2 * fatness + float(rng.uniform(0, 30))
    axes = []
    for n, (a, b), size, voxel in zip(
        most, ((low, high), (-deep, deep + 15), (-wide, wide)), sizes, (step, 1, 1), strict=True
    ):
        side = voxel * pixel / size
        wanted = max(14, round((b - a) / side))
        count = min(n, wanted)
        start = a + side * int(rng.integers(wanted - count + 1))
        axes.append(start + side * (np.arange(count) + 0.5))
    mean = pixel / float(sizes[1:].mean())
    warp = float(rng.uniform(2, 9))
    z, y, x = axes
    return frame_of(rng, (z, y, x), mean, warp), step


@dataclass(frozen=True, eq=False)
class Rooms:
    """Fields of what bounds organs, each (z, y, x) float32: within muscles, skin, diaphragm."""

    body: Array
    skin: Array
    belly: Array
    chest: Array


def _body(
    rng: np.random.Generator, frame: Frame, look: Look, fatness: float, arms_down: bool
) -> tuple[Rooms, Torso]:
    trunk: list[Shape] = [_TRUNK, _LEG, _LEG.mirrored()]
    if arms_down:
        trunk += [_ARM, _ARM.mirrored()]
    x, y, z = frame.at(frame.whole)
    body = Union(tuple(trunk)).field(frame, frame.whole)
    front = np.float32(rng.uniform(0.3, 1.3)) - np.float32(rng.uniform(0, 0.004)) * y
    layer = np.float32(fatness) * (front + 0.25 * frame.waves[0])
    skin = body + np.clip(layer, 2.5, None)
    wall = np.interp(z, (-120, -20, 60, 180, 240), (5, 7, 15, 17, 19)).astype(np.float32)
    inside = body - wall * np.float32(rng.uniform(0.75, 1.2))
    dome = np.full(body.shape, np.float32(150))
    for side, top in (("left", 258), ("right", 274)):
        middle = 72.0 if side == "left" else -74.0
        high = float(rng.normal(top, 9))
        curve = ((x - np.float32(middle)) / 88) ** 2 + ((y + 14) / 112) ** 2
        dome = np.maximum(dome, np.float32(high) - 92 * curve)
    dome = np.maximum(dome, np.float32(246) - 70 * ((x / 60) ** 2 + ((y + 30) / 80) ** 2))
    belly = np.minimum(inside, (dome - z) * np.float32(0.75) - 1)
    rooms = Rooms(body, skin, belly, np.minimum(inside, (z - dome) * np.float32(0.75) - 1))
    outer = np.where(skin > 0, UNDER_SKIN, AIR).astype(np.int32)
    outer[body > 0], outer[inside > 0] = WALL, CAVITY
    taken = np.full(body.shape, FAR)
    value = np.full(body.shape, look.tissues["air"][0], np.float32)
    torso = Torso(frame, look, value, outer, outer.copy(), taken)
    whole = frame.whole
    if rng.random() < 0.6:
        far = np.float32(118 + 1.3 * fatness + rng.uniform(0, 15))
        plate = 5 - np.abs(y - far + np.float32(rng.uniform(0, 0.0012)) * x * x)
        plate = np.minimum(plate, -skin)
        torso.lay(whole, plate, "couch")
        outer[plate > 0] = torso.inner[plate > 0] = COUCH
    torso.lay(whole, skin, "skin")
    torso.lay(whole, skin - np.float32(rng.uniform(1.5, 3)), "fat")
    torso.lay(whole, body, "muscle")
    sheath = np.float32(0.35) - np.abs(body - 0.5 * wall)  # fat between the wall's layers
    torso.lay(whole, sheath, "fat")
    torso.lay(whole, inside, "cavity fat")
    diaphragm = np.minimum(inside, 2 - np.abs(z - dome) * np.float32(0.75))
    torso.lay(whole, diaphragm, "muscle")
    return rooms, torso


def draw_organ(rng: np.random.Generator, torso: Torso, rooms: Rooms, organ: Organ) -> None:
    """Draw an organ where there is room for it."""
    part = torso.frame.around(*organ.shape.bounds())
    if part is None:
        return
    which = np.zeros(torso.taken[part].shape, np.int32)
    if isinstance(organ.shape, Tube):
        shape, which = organ.shape.traced(torso.frame, part)
    else:
        shape = organ.shape.field(torso.frame, part)
    shape = np.minimum(shape, rooms.skin[part] - 3)
    if organ.room:
        shape = np.minimum(shape, getattr(rooms, organ.room)[part])
    if organ.within:
        shape = np.where(torso.outer[part] == torso.number(organ.within), shape, FAR)
    else:
        shape = np.minimum(shape, -torso.taken[part] - np.float32(organ.gap * rng.uniform(0, 2)))
    if not (shape > 0).any():
        return
    if organ.thing:
        torso.name(part, shape, organ)
    for depth, tissue in organ.layers:
        if tissue == "content":
            _fill(rng, torso, part, shape - np.float32(depth), which // PIECE)
            continue
        torso.lay(part, shape - np.float32(depth), tissue)
        if depth >= SEEN:
            torso.inner[part][shape > depth] = INNER + 3 * len(torso.names)


def _fill(
    rng: np.random.Generator,
    torso: Torso,
    part: Part,
    lumen: Array,
    pieces: NDArray[np.int32],
) -> None:
    """Contents of a hollow organ, one for each piece of it."""
    y = torso.frame.y[part]
    usual = str(rng.choice(("gas", "stool", "fluid", "chyme", "contrast", "none"),
                           p=(0.2, 0.25, 0.2, 0.2, 0.05, 0.1)))  # fmt: skip
    for piece in np.unique(pieces[lumen > 0]):
        content = usual
        if rng.random() < 0.5:
            content = str(rng.choice(("gas", "stool", "fluid", "chyme", "none")))
        here = np.where(pieces == piece, lumen, FAR)
        if content == "none":
            continue
        number = INNER + 3 * len(torso.names)
        if content == "gas":
            there = y[here > 0]
            level = np.float32(np.quantile(there, rng.uniform(0.2, 1.0)))
            torso.lay(part, here, str(rng.choice(("fluid", "chyme", "stool"))))
            here = np.minimum(here, level - y)
            number += 1
        torso.lay(part, here, content)
        torso.inner[part][here > 0] = number
