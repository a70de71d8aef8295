"""The organs of one body: those of the table, varied, and those that are made by rule.

Made by rule are vertebrae, discs and ribs, lobes of the lungs, bowels, and small vessels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sammed.synthesis.torso_frame import Place, Points, Shape
from sammed.synthesis.torso_organs import (
    BELLY,
    CHEST,
    OF_A_SEX,
    PAIRED,
    SACRUM,
    TUBE,
    VESSELS,
    Organ,
    behind,
)
from sammed.synthesis.torso_shapes import Blob, Drum, Sliced, Tube, Union

At = Callable[[float, float, float], Place]
Planes = tuple[tuple[Place, Place], ...]

PITCH = (36, 36, 36, 35, 34, 32, 29, 28, 27, 26, 25, 24, 23, 22, 21, 21, 20, 18, 17, 17, 17)
"""Height of a vertebra and the disc below it, from the fifth lumbar up."""

NAMES = (*(f"L{n}" for n in range(5, 0, -1)), *(f"T{n}" for n in range(12, 0, -1)), "C7", "C6",
         "C5", "C4")  # fmt: skip


COLON = Tube.through(
    (-92, -22, -8, 24), (-100, -18, 30, 28), (-108, 12, 80, 25), (-100, 10, 124, 24),
    (-72, -52, 118, 22), (-30, -84, 98, 22), (25, -86, 104, 22), (75, -62, 140, 21),
    (108, 6, 196, 20), (122, 26, 150, 17), (122, 30, 80, 16), (112, 18, 20, 15), (88, 2, -18, 15),
    (52, -22, -34, 15), (22, -10, -12, 15), (-14, 20, -32, 15), (4, 42, -62, 17),
    (0, 46, -95, 21), (0, 42, -125, 14), (0, 56, -150, 10), folds=0.12,
)  # fmt: skip
"""From the caecum to the anus."""


def lungs(rng: np.random.Generator) -> list[Organ]:
    """Lobes, parted by fissures."""
    organs = []
    slope = float(rng.normal(1.4, 0.2))
    oblique = (0.0, float(rng.normal(-10, 8)), 302.0)
    across = (0.0, 0.0, float(rng.normal(318, 8)))
    lower, upper = (0.0, slope, -1.0), (0.0, -slope, 1.0)
    for side, s in (("left", 1), ("right", -1)):
        whole = Blob((s * 76, 2, 292), (70, 104, 178), (0, 0, 0), 0.03).varied(rng, 4, 0.05)
        lobes: dict[str, Planes] = {
            "lower": ((oblique, lower),),
            "upper": ((oblique, upper),),
        }
        if side == "right":
            lobes["middle"] = ((oblique, upper), (across, (0.0, 0.0, -1.0)))
            lobes["upper"] = ((oblique, upper), (across, (0.0, 0.0, 1.0)))
        for name, planes in lobes.items():
            organs.append(Organ(f"lung {name} lobe {side}", Sliced(whole, planes),
                                ((0, "lung"),), "chest", gap=0.7, move=0, size=0))  # fmt: skip
            for _ in range(4):
                end = rng.normal((s * 80, 5, 300), (22, 40, 60))
                organs.append(Organ("lung vessel", Tube.through((s * 30, 0, 335, 4.5), (*end, 1.5)),
                                    ((0, "heart blood"),), within=f"lung {name} lobe {side}",
                                    thing=False))  # fmt: skip
    return organs


def strands(rng: np.random.Generator) -> list[Organ]:
    """Small vessels in the fat between bowels, in the liver and where they leave it."""
    organs = []
    for _ in range(int(rng.integers(4, 18))):
        end = rng.normal((0, -45, 40), (55, 22, 45))
        organs.append(Organ("mesenteric vessel", Tube.through((0, -32, 105, 2.5), (*end, 1.5)),
                            ((0, "vein"),), "belly", thing=False))  # fmt: skip
    for _ in range(int(rng.integers(0, 7))):
        end = rng.normal((-70, 0, 190), (45, 45, 40))
        start = (-26, -10, 240, 5.5) if rng.random() < 0.6 else (-50, -12, 195, 5)
        organs.append(Organ("liver vessel", Tube.through(start, (*end, 2)), ((0, "portal"),),
                            within="liver", thing=False))  # fmt: skip
    for name in ("liver", "spleen", "kidney left", "kidney right"):
        if rng.random() < 0.15:
            place = {"liver": (-75, 0, 190), "spleen": (110, 46, 212), "kidney left": (70, 40, 140),
                     "kidney right": (-70, 40, 140)}[name]  # fmt: skip
            radius = float(np.exp(rng.uniform(np.log(7), np.log(26))))
            organs.append(Organ(f"lesion of {name}", Blob(place, (radius,) * 3, bumps=0.2),
                                ((0, "lesion"),), within=name, move=18))  # fmt: skip
    return organs


def vertebrae(rng: np.random.Generator) -> list[Organ]:
    """Vertebrae with arch and processes, discs between them, and ribs."""
    organs: list[Organ] = []
    z = 0.0
    gap = float(rng.uniform(0.2, 0.34))
    wide = float(np.exp(rng.normal(0, 0.07)))
    lean = float(rng.normal(0, 0.06))  # to one side: a scoliosis
    for number, (name, pitch) in enumerate(zip(NAMES, PITCH, strict=True)):
        high = pitch * (1 - gap)
        centre = z + pitch * gap + high / 2
        side = lean * (centre - 200) * np.sin(centre / 120)
        rx, ry = (a * wide for a in ((25, 17) if number < 5 else (19 - 0.4 * (number - 5), 16)))
        if number > 16:
            rx, ry = 14 * wide, 10 * wide
        slope = (behind(centre + 20) - behind(centre - 20)) / 40
        at = _local(side, behind(centre), centre, slope)
        below = at(0, 0, -high / 2 - pitch * gap / 2)
        disc = Drum(below, (rx * 0.97, ry * 0.97, pitch * gap / 2 + 1.5), -slope)
        bone = _vertebra(rng, at, (rx, ry, high), number, -slope)
        marrow = ((0.0, "bone"), (1.8, "marrow"))
        organs.append(Organ(f"disc {name}", disc, ((0, "disc"),), gap=0.3, move=0, size=0.02))
        organs.insert(0, Organ(f"vertebra {name}", bone, marrow, gap=0.3, move=0, size=0.02))
        if 5 <= number <= 16 and rng.random() < 0.98:
            organs += [_rib(rng, at, number - 5, s, z + pitch) for s in (1, -1)]
        z += pitch
    return organs


def _local(side: float, y: float, z: float, slope: float) -> At:
    """Places about a vertebra: from its middle to the left, back and up."""

    def at(a: float, b: float, c: float) -> Place:
        return side + a, y + b + slope * c, z + c - slope * b

    return at


def _vertebra(rng: np.random.Generator, at: At, size: Place, number: int, tilt: float) -> Union:
    rx, ry, high = size
    thick = 5.0 if number < 5 else 4.0
    canal = ry + 9.0
    out, fall = (22.0, 0.0) if number < 5 else (16.0, 2.0)
    tip = float(rng.uniform(26, 36)) if number < 17 else 18.0
    down = -6.0 if number < 5 else -22.0
    shapes: list[Shape] = [Drum(at(0, 0, 0), (rx, ry, high / 2), tilt)]
    for s in (1.0, -1.0):
        shapes += [
            Tube.through((*at(s * 13, ry - 4, 3), thick), (*at(s * 14, canal + 6, 1), thick),
                         (*at(0, canal + 15, -3), thick)),
            Tube.through((*at(s * 14, canal + 3, 2), thick),
                         (*at(s * (14 + out), canal + 4 + fall * 4, 3), thick * 0.7)),
            Tube.through((*at(s * 16, canal + 7, high * 0.6), thick),
                         (*at(s * 16, canal + 10, -high * 0.75), thick)),
        ]  # fmt: skip
    shapes.append(Tube.through((*at(0, canal + 14, -3), thick * 0.8),
                               (*at(0, canal + 14 + tip, down), thick * 0.9)))  # fmt: skip
    return Union(
        tuple(shapes), (Tube.through((*at(0, canal, -high), 9.0), (*at(0, canal, high), 9.0)),)
    )


def _rib(rng: np.random.Generator, at: At, number: int, s: int, z: float) -> Organ:
    """A rib: from its vertebra round the chest; the lower ones end early."""
    x, y, _ = at(0, 0, 0)
    wide, deep = (
        np.interp(z, (190, 300, 420, 470), (143, 152, 118, 72)),
        np.interp(z, (190, 300, 420, 470), (96, 100, 82, 58)),
    )
    last = {0: 1.3, 1: 1.8}.get(number, 2.75)
    drop = float(np.interp(z, (190, 320, 470), (60, 85, 45)))
    angles = np.linspace(0.42, last, 9)
    points = [(x + s * 18, y + 20, z - 3, 5.0)]
    for angle in angles:
        points.append((s * wide * np.sin(angle), 6 + deep * np.cos(angle) * 0.96,
                       z - drop * (1 - np.cos(angle)) / 2, 5.2))  # fmt: skip
    return Organ(f"rib {12 - number} {'left' if s > 0 else 'right'}", Tube.through(*points),
                 ((0, "bone"), (2.6, "marrow")), gap=0.5, move=2, size=0.06)  # fmt: skip


def small_bowel(rng: np.random.Generator) -> Tube:
    """Loops that keep out of each other's way as far as they can."""
    centre, radii = np.array((6, -46, 32)), np.array((100, 44, 84)) * np.exp(rng.normal(0, 0.12, 3))
    radius = float(np.exp(rng.normal(np.log(13.0), 0.25)))
    points: list[Points] = [np.array([34.0, -26.0, 100.0])]
    heading = rng.normal(0, 1, 3)
    for _ in range(int(rng.integers(60, 120))):
        tries = heading + 1.1 * rng.normal(0, 1, (14, 3))
        tries /= np.linalg.norm(tries, axis=1, keepdims=True)
        spots = points[-1] + tries * 1.35 * radius
        before = np.array(points[:-3] or [np.full(3, 1e3)])
        far = np.linalg.norm(before[:, None] - spots, axis=2).min(0)
        beyond = np.maximum(np.linalg.norm((spots - centre) / radii, axis=1) - 0.95, 0)
        best = int(np.argmax(np.minimum(far, 2.3 * radius) - 90 * beyond + rng.normal(0, 2, 14)))
        heading = tries[best]
        points.append(spots[best])
    swell = radius * np.exp(np.convolve(rng.normal(0, 0.28, len(points)), np.ones(3) / 3, "same"))
    return Tube(np.column_stack((np.array(points), swell)))


def colon(rng: np.random.Generator) -> Tube:
    """Its frame, more or less distended in each part, hanging more or less deep."""
    points = COLON.points.copy()
    n = len(points)
    slow = np.interp(np.arange(n), np.linspace(0, n - 1, 6), rng.normal(0, 0.3, 6))
    points[:, 3] *= np.exp(rng.normal(-0.05, 0.15) + slow)
    points[4:8, 2] += float(rng.normal(-10, 28))  # the transverse part sags
    points[13:16] += (*rng.normal(0, 22, 2), abs(float(rng.normal(0, 30))), 0)  # a long sigmoid
    points[:, :3] += rng.normal(0, 5, (n, 3))
    return Tube(points, float(rng.uniform(0, 0.2)))


def organs_of(rng: np.random.Generator, arms_down: bool) -> list[Organ]:
    """The organs of one body, in the order in which they are drawn."""
    sex = str(rng.choice(list(OF_A_SEX)))
    pairs = [
        organ if side == "left" else organ.mirrored(organ.name)
        for organ in PAIRED if organ.name != "humerus" or arms_down
        for side in ("left", "right")
    ]  # fmt: skip
    named = [
        replace(organ, name=f"{organ.name} {'left' if n % 2 == 0 else 'right'}")
        for n, organ in enumerate(pairs)
    ]
    bones = [organ for organ in named if organ.layers[-1][1] == "marrow"]
    muscles = [organ for organ in named if organ.layers[-1][1] != "marrow"]
    fixed = [Organ("sacrum", SACRUM, ((0, "bone"), (2, "marrow")), move=0, size=0.05)]
    cord, *vessels = VESSELS
    belly = list(BELLY)
    if rng.random() < 0.5:  # what yields to what, where it could be either
        belly[-4:-1] = [belly[n] for n in (-4 + np.array(rng.permutation(3)))]
    bowel = [
        Organ("colon", colon(rng), TUBE, "belly", gap=1.0, move=5, size=0.05),
        Organ("small bowel", small_bowel(rng), TUBE, "belly", gap=1.0, move=5, size=0.0),
    ]
    if rng.random() < 0.4:
        bowel.reverse()
    drawn = [cord, *vertebrae(rng), *fixed, *bones, *vessels, *muscles, *CHEST,
             *lungs(rng), *belly, *OF_A_SEX[sex], *bowel, *strands(rng)]  # fmt: skip
    present = [organ for organ in drawn if rng.random() < organ.chance]
    return [organ.varied(rng) for organ in present]
