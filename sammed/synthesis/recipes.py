"""Which structures are drawn, and how often."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sammed.synthesis import cord, structures, thin_structures
from sammed.synthesis.canvas import Target
from sammed.synthesis.structures import Recipe

RECIPES: dict[str, tuple[Recipe, float]] = {
    "organ": (structures.organ, 7.0),
    "lesion": (structures.lesion, 2.0),
    "tumour": (structures.tumour, 2.8),
    "ring": (structures.ring, 1.6),
    "wall": (thin_structures.wall, 2.0),
    "marbled": (thin_structures.marbled, 2.0),
    "gland": (structures.gland, 2.0),
    "vessel": (structures.vessel, 2.0),
    "branch": (structures.branch, 2.3),
    "winding": (thin_structures.winding, 1.5),
    "bone": (structures.bone, 1.5),
    "bowel": (structures.bowel, 1.0),
    "lung": (structures.lung, 0.7),
    "cluster": (structures.cluster, 1.2),
    "cord": (cord.cord, 1.2),
    "ghost": (structures.ghost, 0.6),
}
"""Each recipe and how often it is drawn."""

THIN = ("wall", "shell", "rim", "butterfly", "crescent", "winding", "branch", "trunk_thin")
"""Kinds that fill little of a box round them, so that another answer lies near."""

THIN_WEIGHT = 2.5
"""How many times as often as others they are asked for."""


def choose(rng: np.random.Generator, targets: Sequence[Target]) -> Target:
    """One of the targets of a scene, thin ones more often.

    Parameters
    ----------
    rng
        Source of randomness.
    targets
        At least one.
    """
    weights = np.array([THIN_WEIGHT if t.kind in THIN else 1.0 for t in targets])
    return targets[int(rng.choice(len(targets), p=weights / weights.sum()))]
