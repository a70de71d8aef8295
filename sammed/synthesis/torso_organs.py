"""What a trunk holds: a table of organs.

Sizes and places are those of an adult of average build as atlases and the mathematical phantoms
give them, simplified; a scene varies all of them. Millimetres (x to the left, y to the back, z
upwards) from the middle of the disc below the fifth lumbar vertebra; y is 0 half-way through the
body. What is drawn earlier keeps its place: later organs yield to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sammed.models.dense.net import KINDS
from sammed.synthesis.torso_frame import Points, Shape
from sammed.synthesis.torso_shapes import Blob, Column, Tube, Union

Layers = tuple[tuple[float, str], ...]


@dataclass(frozen=True, eq=False)
class Organ:
    """A part of the body.

    Attributes
    ----------
    name
        What a person calls it.
    shape
        Where it is.
    layers
        What it is made of: (depth in mm, tissue), outermost first. The tissue ``"content"`` is
        drawn at random: gas over fluid, stool, fluid, or nothing.
    room
        What bounds it: a room of `sammed.synthesis.torso.Rooms`; ``""``: nothing.
    within
        An organ that it is a part of: seen in the image, and there one of the smallest things.
    gap
        Fat between it and what was drawn before, in mm.
    move, size
        How much it varies: deviation of its place in mm, of its size as a share.
    chance
        That a body has it.
    thing
        Whether a person would outline it; what none would is seen in the image alone.
    """

    name: str
    shape: Shape
    layers: Layers
    room: str = ""
    within: str = ""
    gap: float = 1.0
    move: float = 5.0
    size: float = 0.1
    chance: float = 1.0
    thing: bool = True

    def varied(self, rng: np.random.Generator) -> Organ:
        """One of another body."""
        return replace(self, shape=self.shape.varied(rng, self.move, self.size))

    def mirrored(self, name: str) -> Organ:
        """That on the other side."""
        return replace(self, name=name, shape=self.shape.mirrored())


BONE: Layers = ((0.0, "bone"), (3.0, "marrow"))
TUBE: Layers = ((0.0, "bowel wall"), (2.0, "content"))

SPINE: Points = np.array(
    [(-115, 72), (-60, 76), (-30, 62), (0, 40), (30, 24), (90, 18), (160, 26), (260, 44), (350, 48),
     (460, 25), (540, 20)], float
)  # fmt: skip
"""Middle of vertebral bodies from the side: (z, y)."""


def behind(z: float) -> float:
    """How far back the middle of the vertebral bodies is at a height."""
    return float(np.interp(z, *SPINE.T))


def _tube(*points: tuple[float, float, float, float], folds: float = 0.0) -> Tube:
    return Tube.through(*points, folds=folds)


def _before(*points: tuple[float, float, float, float]) -> Tube:
    """A tube through (x, how far before the middle of the spine, z, radius)."""
    return Tube.through(*((x, behind(z) - y, z, r) for x, y, z, r in points))


_HIP = Union(
    (
        Blob((90, 22, 4), (72, 8, 62), (18, 0, -56), 0.1, 16),
        _tube((98, 2, -40, 13), (94, 6, -70, 24), (92, 12, -98, 24)),
        _tube((86, 26, -100, 14), (76, 38, -125, 14), (66, 42, -142, 15)),
        _tube((64, 36, -142, 8), (40, -5, -142, 6), (18, -38, -128, 9)),
        _tube((80, -18, -82, 11), (45, -44, -104, 8), (10, -48, -114, 11)),
        _tube((58, 62, -8, 9), (98, 20, -30, 9)),
    ),
    (Blob((97, 4, -92), (25, 25, 25), bumps=0.0),),
)
_FEMUR = Union(
    (
        Blob((97, 4, -92), (23, 23, 23), bumps=0.0),
        _tube((97, 4, -92, 15), (135, 18, -122, 18)),
        _tube((146, 22, -104, 13), (138, 20, -140, 17), (125, 8, -200, 14), (112, 0, -300, 13)),
    )
)
SACRUM = Union(
    (
        Column.of((-2, 0, 46, 50, 19), (-40, 0, 68, 46, 14), (-75, 0, 78, 28, 9),
                  (-105, 0, 70, 12, 6), bumps=1.5),
        _tube((0, 64, -8, 6), (0, 88, -35, 6), (0, 90, -60, 5)),
    ),
    (_tube((0, 62, 5, 8), (0, 80, -40, 6), (0, 86, -60, 4)),),
)  # fmt: skip

PAIRED: tuple[Organ, ...] = (
    Organ("hip", _HIP, BONE, gap=0, move=3, size=0.05),
    Organ("femur", _FEMUR, ((0, "bone"), (4, "marrow")), gap=1.5, move=0, size=0.02),
    Organ("autochthon", Column.of((-70, 18, 92, 12, 9), (-30, 30, 84, 26, 17), (20, 38, 68, 31, 25),
                                  (90, 38, 62, 34, 26), (160, 36, 68, 32, 24),
                                  (260, 30, 84, 26, 18), (400, 24, 80, 22, 15),
                                  (500, 22, 58, 20, 17), bumps=2), ((0, "muscle"),), gap=1,
          size=0.14),
    Organ("psoas", Union((
        _tube((26, 30, 175, 6), (34, 24, 120, 14), (44, 20, 70, 22), (56, 8, 20, 25),
              (74, -18, -25, 22), (88, -42, -70, 19), (100, -36, -110, 16), (116, 10, -140, 10)),
        Blob((94, 2, 8), (46, 13, 42), (10, 0, -56), 0.1, 16),
    )), ((0, "muscle"),), gap=1.5, move=3, size=0.13),
    Organ("quadratus", Column.of((50, 74, 46, 20, 10), (110, 66, 52, 17, 11), (175, 52, 60, 12, 7),
                                 turn=-20, bumps=2), ((0, "muscle"),), gap=1.5, move=3),
    Organ("gluteus medius", Blob((130, 12, -18), (64, 25, 58), (10, 0, -62), 0.15, 18),
          ((0, "muscle"),), "body", gap=1.5),
    Organ("gluteus maximus", Blob((90, 90, -74), (82, 29, 84), (-20, 0, 30), 0.1, -18),
          ((0, "muscle"),), "body", gap=2.5),
    Organ("piriformis", _tube((40, 72, -50, 11), (90, 55, -75, 12), (135, 30, -100, 7)),
          ((0, "muscle"),), gap=2),
    Organ("obturator", Blob((58, 2, -112), (34, 10, 28), (0, 0, -60), 0.1), ((0, "muscle"),),
          gap=1),
    Organ("adductors", Column.of((-320, 60, 25, 42, 50), (-200, 58, 20, 40, 45),
                                 (-145, 42, -5, 24, 28), (-122, 34, -22, 12, 12), bumps=3),
          ((0, "muscle"),), "body", gap=2),
    Organ("quadriceps", Column.of((-320, 122, -20, 48, 42), (-180, 122, -28, 42, 38),
                                  (-110, 122, -46, 24, 24), (-50, 116, -42, 12, 12), bumps=3),
          ((0, "muscle"),), "body", gap=2),
    Organ("hamstrings", Column.of((-320, 92, 72, 40, 26), (-190, 88, 68, 34, 24),
                                  (-140, 72, 60, 12, 10), bumps=3), ((0, "muscle"),), "body",
          gap=2),
    Organ("pectoralis", Blob((82, -96, 385), (76, 13, 62), (0, 0, 12), 0.15), ((0, "muscle"),),
          "skin", gap=1.5, size=0.25),
    Organ("scapula", Blob((112, 88, 390), (48, 5, 75), (-10, 0, 28), 0.1, 12), BONE, "skin",
          gap=2),
    Organ("subscapularis", Blob((108, 78, 385), (46, 14, 66), (-10, 0, 28), 0.1, 12),
          ((0, "muscle"),), "skin", gap=1),
    Organ("infraspinatus", Blob((118, 104, 385), (46, 14, 60), (-10, 0, 28), 0.1, 12),
          ((0, "muscle"),), "skin", gap=1),
    Organ("clavicle", _tube((22, -85, 440, 8), (90, -70, 455, 6), (150, -20, 465, 7)), BONE,
          gap=1),
    Organ("humerus", Union((Blob((172, 5, 440), (24, 24, 24), bumps=0),
                            _tube((185, 5, 430, 14), (205, 5, 300, 11), (215, 0, 180, 13)))),
          BONE, gap=1),
)  # fmt: skip
"""Of the left side; the right side has the like."""

KIDNEY = Union((Blob((62, 40, 138), (29, 27, 54), (12, 18, 0), 0.07),),
               (Blob((36, 34, 138), (13, 11, 22), bumps=0.2),))  # fmt: skip

VESSELS: tuple[Organ, ...] = (
    Organ("spinal cord", _before((0, -26, -10, 8), (0, -26, 30, 9), (0, -26, 90, 9),
                                 (0, -25, 160, 9), (0, -22, 300, 7.5), (0, -20, 460, 8),
                                 (0, -19, 560, 8)), ((0, "csf"), (3.5, "cord")), gap=0, move=0,
          size=0.08),
    Organ("aorta", Union((
        _before((6, 36, 50, 9), (10, 38, 110, 9.5), (10, 38, 170, 10.5), (12, 34, 240, 11),
                (20, 24, 330, 12), (22, 24, 380, 12)),
        _tube((22, 24, 380, 12), (12, -10, 405, 13), (-14, -32, 390, 14), (-14, -40, 345, 15),
              (2, -34, 320, 13)),
    )), ((0, "artery"),), gap=1.5, move=4, size=0.14),
    Organ("inferior vena cava", Union((
        _before((-16, 34, 42, 9.5), (-20, 36, 100, 10.5), (-24, 40, 170, 11)),
        _tube((-24, -12, 170, 11), (-26, -10, 240, 13), (-18, -14, 285, 14)),
    )), ((0, "vein low"),), gap=1.5, move=4, size=0.16),
    *(Organ(f"iliac artery {side}", Union((
        _tube((s * 1 + 6, 0, 52, 6), (s * 28, 6, 18, 5.5), (s * 52, 2, -20, 5),
              (s * 72, -34, -68, 5), (s * 84, -62, -110, 4.5), (s * 88, -62, -220, 4)),
        _tube((s * 36, 8, 2, 4), (s * 48, 40, -30, 3.5), (s * 58, 55, -65, 3)),
    )), ((0, "artery"),), gap=1, move=3, size=0.15) for side, s in (("left", 1), ("right", -1))),
    *(Organ(f"iliac vein {side}", Union((
        _tube((-14, 8, 44, 8), (s * 26 - 3, 18, 10, 7), (s * 46, 16, -22, 6.5),
              (s * 62, -20, -68, 6.5), (s * 74, -56, -110, 6), (s * 78, -52, -220, 5)),
        _tube((s * 34, 20, -5, 5), (s * 46, 50, -38, 4), (s * 54, 60, -70, 3)),
    )), ((0, "vein low"),), gap=1, move=3, size=0.15) for side, s in (("left", 1), ("right", -1))),
    Organ("portal vein", Union((
        _tube((-2, -30, 62, 5), (-6, -26, 120, 6), (-14, -20, 150, 7.5), (-40, -14, 186, 7.5),
              (-56, -10, 200, 6)),
        _tube((-10, -20, 146, 6), (24, -10, 156, 5.5), (60, 18, 176, 5), (88, 42, 194, 4.5)),
    )), ((0, "portal"),), gap=1, move=4, size=0.16),
    Organ("mesenteric artery", _tube((9, -20, 158, 4), (8, -34, 140, 4), (4, -36, 80, 3.5)),
          ((0, "artery"),), gap=1, thing=False),
    Organ("coeliac artery", _tube((9, -16, 172, 4), (6, -30, 174, 4), (-20, -30, 176, 3)),
          ((0, "artery"),), gap=1, thing=False),
    *(Organ(f"renal vessels {side}", _tube((s * 12 - 6, 4, 148, 5), (s * 34, 30, 142, 4.5)),
            ((0, "vein low"),), gap=1, thing=False) for side, s in (("left", 1), ("right", -1))),
)  # fmt: skip

CHEST: tuple[Organ, ...] = (
    Organ("trachea", Union((
        _tube((0, 0, 560, 9), (0, 2, 470, 9), (0, 10, 385, 9)),
        _tube((0, 10, 388, 8), (30, 14, 355, 6.5), (50, 12, 335, 5)),
        _tube((0, 10, 388, 8), (-28, 14, 358, 7), (-48, 12, 332, 5)),
    )), ((0, "cartilage"), (1.5, "gas")), gap=0.5),
    Organ("oesophagus", _tube((3, 12, 560, 7), (3, 18, 440, 7), (4, 22, 360, 8), (12, 16, 280, 9),
                              (30, 6, 258, 9)), ((0, "bowel wall"),), gap=1, size=0.15),
    Organ("heart", Blob((24, -42, 308), (62, 48, 56), (0, 25, -28), 0.07),
          ((0, "heart muscle"),), "chest", gap=1, move=7, size=0.12),
    Organ("left ventricle", Blob((42, -38, 302), (27, 20, 24), (0, 25, -28), 0.08),
          ((0, "artery"),), within="heart"),
    Organ("right ventricle", Blob((10, -66, 300), (36, 15, 28), (0, 25, -28), 0.08),
          ((0, "heart blood"),), within="heart"),
    Organ("left atrium", Blob((8, -14, 322), (30, 15, 20)), ((0, "artery"),), within="heart"),
    Organ("right atrium", Blob((-30, -42, 312), (18, 26, 28)), ((0, "heart blood"),),
          within="heart"),
    Organ("pulmonary artery", Union((
        _tube((8, -52, 340, 13), (14, -36, 362, 13), (34, -6, 362, 10), (58, 6, 352, 7)),
        _tube((14, -36, 362, 11), (-18, -14, 356, 10), (-56, 2, 344, 7)),
    )), ((0, "heart blood"),), gap=0.5),
    Organ("superior vena cava", _tube((-26, -40, 325, 10), (-26, -40, 385, 9),
                                      (-22, -48, 425, 8), (24, -50, 428, 6)),
          ((0, "vein"),), gap=1, size=0.15),
    Organ("sternum", Union((Blob((0, -98, 380), (18, 6, 62), (-10, 0, 0), 0.1),
                            Blob((0, -90, 438), (28, 7, 20), bumps=0.1))),
          ((0, "bone"), (2, "marrow")), gap=0.5),
    Organ("thyroid left", Blob((18, -12, 515), (9, 10, 22)), ((0, "thyroid"),), gap=0.5),
    Organ("thyroid right", Blob((-18, -12, 515), (9, 10, 22)), ((0, "thyroid"),), gap=0.5),
)  # fmt: skip

BELLY: tuple[Organ, ...] = (
    Organ("kidney left", KIDNEY, ((0, "cortex"), (8, "medulla")), "belly", gap=5, move=8,
          chance=0.97),
    Organ("kidney right", replace(KIDNEY.mirrored()), ((0, "cortex"), (8, "medulla")), "belly",
          gap=5, move=8, chance=0.97),
    Organ("renal pelvis left", Blob((42, 36, 138), (11, 8, 17)), ((0, "pelvis"),),
          within="kidney left", chance=0.7),
    Organ("renal pelvis right", Blob((-42, 36, 138), (11, 8, 17)), ((0, "pelvis"),),
          within="kidney right", chance=0.7),
    *(Organ(f"adrenal {side}", Union((
        _tube((s * 36, 26, 196, 3), (s * 42, 44, 178, 2.5)),
        _tube((s * 36, 26, 196, 3), (s * 32, 42, 176, 2.5)),
    )), ((0, "adrenal"),), gap=1.5, size=0.2) for side, s in (("left", 1), ("right", -1))),
    Organ("gallbladder", Union((Blob((-56, -46, 128), (17, 19, 34), (-25, 15, 0), 0.1),
                                _tube((-50, -36, 150, 5), (-42, -24, 164, 3)))),
          ((0, "gallbladder wall"), (1.5, "bile")), "belly", gap=0.5, move=9, size=0.25,
          chance=0.8),
    Organ("pancreas", _tube((-42, -6, 100, 11), (-36, -14, 118, 15), (-24, -22, 134, 12),
                            (-2, -34, 145, 9), (30, -16, 160, 10.5), (62, 10, 176, 10),
                            (90, 34, 190, 7)), ((0, "pancreas"),), "belly", gap=1, move=7,
          size=0.2),
    Organ("duodenum", _tube((-36, -34, 140, 12), (-54, -18, 146, 12), (-62, -4, 124, 12.5),
                            (-56, 0, 92, 12), (-38, -8, 76, 12), (-2, -20, 74, 11),
                            (28, -14, 96, 11), (34, -20, 118, 11)), TUBE, "belly", gap=1, move=7,
          size=0.15),
    Organ("spleen", Blob((112, 46, 212), (26, 42, 54), (18, -12, -28), 0.12, 14),
          ((0, "spleen"),), "belly", gap=1, move=8, size=0.2, chance=0.96),
    Organ("liver", Union((
        Blob((-82, 0, 196), (74, 96, 92), (0, 10, 0), 0.05),
        Blob((-10, -52, 216), (84, 44, 42), (0, 18, 0), 0.08),
    )), ((0, "liver"),), "belly", gap=1, move=9, size=0.1),
    Organ("stomach", _tube((30, 6, 258, 9), (64, 22, 256, 30), (74, 6, 232, 38), (72, -24, 192, 34),
                           (58, -54, 158, 29), (22, -66, 138, 23), (-12, -54, 136, 17),
                           (-34, -38, 140, 11)), ((0, "stomach wall"), (4, "content")), "belly",
          gap=1.5, move=9, size=0.22),
    Organ("bladder", Blob((0, -36, -84), (44, 36, 36), bumps=0.06),
          ((0, "bladder wall"), (3, "urine")), gap=2, move=7, size=0.25),
)  # fmt: skip

OF_A_SEX: dict[str, tuple[Organ, ...]] = {
    "male": (
        Organ("prostate", Blob((0, -10, -126), (25, 19, 20)), ((0, "prostate"),), gap=1),
        Organ("seminal vesicles", Blob((0, 14, -100), (28, 7, 9)), ((0, "prostate"),), gap=1,
              thing=False),
    ),
    "female": (
        Organ("uterus", Blob((0, -2, -52), (28, 40, 24), (35, 0, 0), 0.12),
              ((0, "uterus"), (12, "uterus cavity")), gap=1.5, move=10, size=0.25, chance=0.85),
        *(Organ(f"ovary {side}", Blob((s * 46, 8, -48), (15, 12, 11)),
                ((0, "uterus"), (3, "fluid")), gap=1.5, move=8, size=0.3, chance=0.7)
          for side, s in (("left", 1), ("right", -1))),
    ),
}  # fmt: skip

_KINDS: dict[str, str] = {
    "autochthon": "back muscle", "psoas": "iliopsoas", "spinal cord": "cord", "aorta": "artery",
    "iliac artery": "artery", "inferior vena cava": "vein", "iliac vein": "vein", "rib": "bone",
    "sternum": "bone", "scapula": "bone", "clavicle": "bone", "humerus": "bone",
    **dict.fromkeys(
        ("quadratus", "piriformis", "obturator", "adductors", "quadriceps", "hamstrings",
         "pectoralis", "subscapularis", "infraspinatus"), "muscle",
    ),
}  # fmt: skip
"""How an organ's name begins → its kind, where that is another word."""


def kind_of(name: str) -> str:
    """Which of `sammed.models.dense.net.KINDS` an organ is.

    Examples
    --------
    >>> [kind_of(name) for name in ("rib 8 left", "liver", "vertebra L3", "prostate")]
    ['bone', 'liver', 'vertebra', 'other']
    """
    for start, kind in (_KINDS | {kind: kind for kind in KINDS}).items():
        if name.startswith(start):
            return kind
    return "other"
