"""The protocols: which prompts are simulated, and what is varied.

A  a box on every slice and component, jittered (SAM.MD, Roy et al. 2023, arXiv:2304.05396)
B  one 3D box (the CVPR 2024 challenge "Segment Anything in Medical Images on Laptop")
B2 one 2D box on the largest slice, no z-range
C  as B, then corrective clicks (the CVPR 2025 interactive challenge)
D  as B, on disturbed images
P  points only, on every slice (SAM.MD)
S  one stroke on the largest slice, then corrective strokes; beside it clicks
N  no prompt: the object's name alone, for models that know it
X  no prompt: labelled scans of other people, see `sammed.evaluation.from_examples`
L  the labelling loop from end to end, by itself: see `sammed.learning.loop_trial`
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sammed.errors import InputError
from sammed.models.protocols import ModelSpec
from sammed.prompts import ObjectPrompts, PointPrompt, ScribblePrompt, simulation, stroke_simulation

Protocol = Literal["A", "B", "B2", "C", "D", "P", "S", "N", "X"]
PROTOCOLS: tuple[str, ...] = get_args(Protocol)

JITTERS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5)
"""Ladder of protocol A, as fractions of the box's extent."""

CLICKS = 5
"""Corrective clicks of protocol C."""

POINTS = (1, 3, 10)
"""Points on each slice of protocol P."""

STROKES = ("clicks", *stroke_simulation.KINDS)
"""What protocol S begins and corrects with: clicks, or strokes of a kind."""

CORRECTIONS = {"clicks": 4}
"""Corrections of protocol S after the first; strokes are corrected twice."""

EXAMPLES = (1, 5)
"""Examples of protocol X."""

FLOORS = ("copied", "affine")
"""Of protocol X: the first example's labels, middle on middle; and after an affine transform."""

HEADLINE_JITTER = 0.05
"""The rung of protocol A that stands for it where there is room for one number."""

DISTORTIONS = (
    "undisturbed",
    "axes 1",
    "axes 2",
    "axes 3",
    "slices x2",
    "slices x3",
    "window +10%",
    "window -10%",
    "noise 5%",
)
"""What protocol D does to the image; see `sammed.evaluation.distortion`."""

TITLES = {
    "A": "A box on every slice and component",
    "B": "One 3D box",
    "B2": "One 2D box on the largest slice",
    "C": "One 3D box, then corrective clicks",
    "D": "One 3D box on disturbed images",
    "P": "Points on every slice",
    "S": "One stroke on the largest slice, then corrective strokes",
    "N": "No prompt, the name alone",
    "X": "No prompt, examples of other people",
}


RUNGS = {
    "A": "jitter",
    "P": "points on each slice",
    "C": "clicks",
    "S": "what is drawn first, and corrections of the same kind",
    "X": "what explains the scan",
}
"""What changes from column to column of a ladder, by protocol."""


@dataclass(frozen=True)
class Condition:
    """One way of prompting all objects.

    Attributes
    ----------
    protocol
        One of `PROTOCOLS`.
    seed
        Of everything random in it.
    jitter
        Fraction of the box's extent by which its sides move.
    points
        On each slice (P).
    clicks
        Corrective clicks or strokes after the start (C, S).
    distortion
        What is done to the image (D).
    explained
        By what (X): a floor, or how many examples.
    drawn
        With what (S): one of `STROKES`.
    """

    protocol: str
    seed: int = 0
    jitter: float = 0.0
    points: int = 0
    clicks: int = 0
    distortion: str = ""
    explained: str = ""
    drawn: str = ""

    @property
    def variant(self) -> str:
        """What tells it from others of its protocol, without the seed; ``""`` if nothing does."""
        if self.protocol == "A":
            return f"jitter {self.jitter:g}"
        if self.protocol == "P":
            return f"points {self.points}"
        return self.distortion or self.explained or self.drawn

    def generator(self, *where: str) -> np.random.Generator:
        """Random numbers that depend on the seed, the variant and the object alone."""
        words = [zlib.crc32(w.encode()) for w in (self.protocol, self.variant, *where)]
        return np.random.default_rng([self.seed, *words])


def parse_protocols(text: str) -> list[str]:
    """Protocols of a list such as ``"A,B2"``, in order, each once.

    Raises
    ------
    InputError
        If one is unknown.
    """
    wanted = list(dict.fromkeys(p.strip().upper() for p in text.split(",") if p.strip()))
    if "L" in wanted:
        raise InputError("protocol L runs by itself; leave the others out")
    unknown = [p for p in wanted if p not in PROTOCOLS]
    if unknown or not wanted:
        raise InputError(
            f"unknown protocol {', '.join(unknown) or repr(text)}; expected {', '.join(PROTOCOLS)}"
        )
    return wanted


def conditions(
    protocol: str,
    spec: ModelSpec,
    seeds: tuple[int, ...] = (0,),
    jitters: tuple[float, ...] = JITTERS,
) -> list[Condition]:
    """All conditions of a protocol; what is not random is done with the first seed only.

    Parameters
    ----------
    protocol
        One of `PROTOCOLS`.
    spec
        A model that takes no points is started under C, and not clicked on.
    seeds
        For jitter, points and noise.
    jitters
        Ladder of protocol A.
    """
    if protocol == "A":
        return [Condition("A", s, jitter=j) for j in jitters for s in (seeds if j else seeds[:1])]
    if protocol == "P":
        return [Condition("P", s, points=n) for n in POINTS for s in seeds]
    if protocol == "C":
        return [Condition("C", seeds[0], clicks=CLICKS if "points" in spec.prompts else 0)]
    if protocol == "D":
        return [
            Condition("D", s, distortion=d)
            for d in DISTORTIONS
            for s in (seeds if d.startswith("noise") else seeds[:1])
        ]
    if protocol == "S":
        return _drawn(seeds)
    if protocol == "X":
        kinds = (*FLOORS, *(f"examples {count}" for count in EXAMPLES))
        return [Condition("X", seeds[0], explained=kind) for kind in kinds]
    return [Condition(protocol, seeds[0])]


def _drawn(seeds: tuple[int, ...]) -> list[Condition]:
    return [
        Condition("S", s, clicks=CORRECTIONS.get(with_, 2), drawn=with_)
        for with_ in STROKES
        for s in (seeds if with_ in stroke_simulation.KINDS else seeds[:1])
    ]


def headline(protocol: str, all_conditions: list[Condition]) -> Condition:
    """The condition that stands for its protocol in pictures and in the table by area."""
    if protocol == "A":
        return min(all_conditions, key=lambda c: (abs(c.jitter - HEADLINE_JITTER), c.seed))
    if protocol == "P":
        return max(all_conditions, key=lambda c: (c.points, -c.seed))
    if protocol == "X":
        return all_conditions[-1]
    return all_conditions[0]


def rung(protocol: str, variant: str, step: int) -> str:
    """How a condition and its corrections so far are called in a row of such."""
    if protocol == "C":
        return f"{step} clicks"
    if protocol == "S":
        return f"{variant} + {step}" if step else variant
    return variant.split(" ", 1)[1] if protocol in ("A", "P") else variant


def start_prompts(
    condition: Condition, name: str, mask: NDArray[np.bool_], axis: int, rng: np.random.Generator
) -> ObjectPrompts:
    """Prompts with which an object is started.

    Parameters
    ----------
    condition
        The protocol and its variant.
    name
        Of the object.
    mask : (z, y, x) bool
        The label from which the prompts are simulated, not empty.
    axis
        Canonical axis across which slices lie.
    rng
        See `Condition.generator`.
    """
    if condition.protocol == "A":
        boxes = simulation.slice_boxes(mask, axis, condition.jitter, rng)
        return ObjectPrompts(name, boxes=boxes, propagate="off")
    if condition.protocol == "B2":
        return ObjectPrompts(name, boxes=(simulation.largest_slice_box(mask, axis),))
    if condition.protocol == "P":
        points = simulation.slice_points(mask, axis, condition.points, rng)
        return ObjectPrompts(name, points=points, propagate="off")
    if condition.protocol == "S":
        return ObjectPrompts(name).with_(_first(condition.drawn, mask, axis, rng))
    if condition.protocol in ("N", "X"):
        return ObjectPrompts(name)
    return ObjectPrompts(name, blocks=(simulation.block(mask),))


def _first(
    drawn: str, mask: NDArray[np.bool_], axis: int, rng: np.random.Generator
) -> PointPrompt | ScribblePrompt:
    """A click in the middle of the largest slice, or a stroke on it."""
    if drawn in stroke_simulation.KINDS:
        return stroke_simulation.first_stroke(mask, axis, drawn, rng)
    index = simulation.largest_slice(mask, axis)
    at = list(simulation.centre(np.take(mask, [index], axis), (1.0, 1.0, 1.0)))
    at[axis] = index
    return PointPrompt((at[0], at[1], at[2]))


def correction(
    condition: Condition,
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    axis: int,
    spacing: tuple[float, float, float],
    rng: np.random.Generator,
) -> PointPrompt | ScribblePrompt | None:
    """What the user would say next; ``None`` if the prediction is the reference.

    Parameters
    ----------
    condition
        The protocol and its variant.
    prediction, reference : (z, y, x) bool
        What was answered, and what is wanted.
    axis
        Across which slices lie.
    spacing
        Voxel size (z, y, x) in mm.
    rng
        The one with which the object was started.
    """
    if condition.drawn in stroke_simulation.KINDS:
        return stroke_simulation.corrective_stroke(
            prediction, reference, axis, condition.drawn, rng
        )
    return simulation.corrective_click(prediction, reference, spacing)


def unsuited(protocol: str, spec: ModelSpec) -> str:
    """Why a model cannot take part in a protocol, or ``""``."""
    strokes = "scribble" in spec.prompts and "box" not in spec.prompts
    if strokes and protocol not in ("P", "S"):
        return "takes no boxes"
    if protocol == "S" and "points" not in spec.prompts:
        return "takes boxes only, no part in strokes"
    if protocol == "P" and "points" not in spec.prompts:
        return "takes boxes only, no part in points-only prompting"
    if protocol == "X" and (spec.structures or not spec.calibrated):
        return "has no look of its own to join to examples"
    if protocol == "N" and not spec.structures:
        return "needs prompts; without one only learned models find anything"
    return ""
