"""How good a proposal is thought to be: Dice from what the model itself doubts.

Three things are known of every structure without a reference: what Dice the model's own shares
promise, how far its looks agree (each is about as good, and makes other mistakes), and how far the
promptable network agrees that is asked about some slices. How they become a Dice is measured on
cases that were held back; with few of these it stays close to their mean, and without any it is
called uncalibrated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from sammed.imaging.masks import dice
from sammed.models.learned.plan import Plan
from sammed.models.learned.sight import Seen

MODESTY = 0.05
"""Strength with which a calibration stays at the start: that of so many held-back structures."""

Weights = tuple[float, float, float, float]
"""Offset, and shares of the promise, of the agreement and of the second opinion."""

START: Weights = (0.0, 0.5, 0.5, 0.0)
"""Before anything was measured, without a second opinion..."""

START_SECOND: Weights = (0.0, 1 / 3, 1 / 3, 1 / 3)
"""... and with one."""


@dataclass(frozen=True)
class Doubt:
    """What is known of a structure of a proposal without a reference.

    Attributes
    ----------
    promise
        Dice that the mean shares promise.
    agreement
        Mean Dice between the single looks and their mean; 1 with one look.
    second
        Dice with what the promptable network says, see `sammed.learning.opinion`; ``None``: it was
        not asked.
    """

    promise: float
    agreement: float
    second: float | None = None

    @property
    def features(self) -> Weights:
        """For the calibration."""
        return 1.0, self.promise, self.agreement, self.second or 0.0


Opinion = Callable[[str, NDArray[np.bool_]], float]
"""A second opinion on a structure, by its name, and its mask on the block that was seen."""


def doubts(seen: Seen, plan: Plan, second: Opinion | None = None) -> dict[str, Doubt]:
    """By structure; all are 0 where nothing was found.

    Parameters
    ----------
    seen
        A scan.
    plan
        Of the model that looked.
    second
        Gives a second opinion on what was found.
    """
    nothing = Doubt(0.0, 0.0, None if second is None else 0.0)
    if not seen.looks:
        return dict.fromkeys(plan.structures.values(), nothing)
    mean = seen.mean
    chosen = mean.argmax(0)
    shown = seen.shares.argmax(0) if second is not None else chosen
    each = [look.argmax(0) for look in seen.looks]
    found = {}
    for number, name in enumerate(plan.structures.values(), 1):
        mask = chosen == number
        if not mask.any():
            found[name] = nothing
            continue
        share = float(mean[number].sum())
        promise = 2 * float(mean[number][mask].sum()) / (share + int(mask.sum()))
        agreement = float(np.mean([dice(mask, one == number) for one in each]))
        asked = None if second is None else second(name, shown == number)
        found[name] = Doubt(promise, agreement, asked)
    return found


@dataclass(frozen=True)
class Calibration:
    """How doubts become an estimated Dice.

    Attributes
    ----------
    weights
        Of the features of a `Doubt`.
    structures, people
        Held-back ones that it was measured on; 0: it was not.
    r
        Pearson correlation of estimated with true Dice, each estimated without the same person's;
        NaN where it is not defined.
    error
        Mean absolute difference, likewise.
    """

    weights: Weights = START
    structures: int = 0
    people: int = 0
    r: float = float("nan")
    error: float = float("nan")

    @property
    def asks(self) -> bool:
        """Whether it needs a second opinion."""
        return self.weights[3] > 0

    def estimate(self, doubt: Doubt) -> float:
        """The Dice that a structure is thought to have."""
        if doubt.promise <= 0:
            return 0.0
        return float(np.clip(np.dot(self.weights, doubt.features), 0.0, 1.0))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        numbers = {"r": self.r, "error": self.error}
        told = {key: None if np.isnan(v) else round(v, 4) for key, v in numbers.items()}
        return {
            "weights": [round(w, 5) for w in self.weights],
            "structures": self.structures,
            "people": self.people,
            **told,
        }

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Calibration:
        """What `as_dict` told; the start if that was nothing."""
        if not said:
            return cls()
        a, b, c, d = (float(w) for w in (*said["weights"], 0.0)[:4])
        r, error = (float("nan") if said[k] is None else float(said[k]) for k in ("r", "error"))
        return cls((a, b, c, d), int(said["structures"]), int(said["people"]), r, error)


def calibrate(
    people: Sequence[str],
    doubted: Sequence[Doubt],
    true: Sequence[float],
    judged: int | None = None,
) -> Calibration:
    """Measure how doubts become Dice.

    Parameters
    ----------
    people
        Whose each structure is; their own do not count in the judgement of their estimates.
    doubted, true
        Doubts and Dice of held-back structures that were found.
    judged
        How many of these, the first ones, the calibration is judged on; by default all.

    Examples
    --------
    >>> doubted = [Doubt(0.9, 0.9), Doubt(0.8, 0.7), Doubt(0.6, 0.5), Doubt(0.7, 0.6)]
    >>> found = calibrate("abcd", doubted, [0.88, 0.75, 0.5, 0.62])
    >>> found.structures, found.r > 0.9, found.error < 0.05
    (4, True, True)
    """
    used = [n for n, doubt in enumerate(doubted) if doubt.promise > 0]
    names = np.array([people[n] for n in used])
    features = np.array([doubted[n].features for n in used]).reshape(-1, 4)
    truth = np.array([true[n] for n in used])
    several = len(set(names)) > 1
    asked = bool(used) and all(doubted[n].second is not None for n in used)
    start = START_SECOND if asked else START
    weights = _fit(features, truth, start) if len(used) else START
    count = sum(n < (len(people) if judged is None else judged) for n in used)
    if not several:
        return Calibration(weights, count, len(set(names)))
    guesses = np.empty(len(used))
    for name in set(names):
        own = names == name
        guesses[own] = features[own] @ np.array(_fit(features[~own], truth[~own], start))
    guesses, truth = guesses.clip(0, 1)[:count], truth[:count]
    spread = guesses.std() * truth.std()
    r = float(np.corrcoef(guesses, truth)[0, 1]) if spread > 1e-9 else float("nan")
    error = float(np.abs(guesses - truth).mean())
    return Calibration(weights, count, len(set(names)), r, error)


def _fit(features: NDArray[np.float64], truth: NDArray[np.float64], start: Weights) -> Weights:
    """Least squares that stay near the start; more promise or agreement never means less Dice."""
    strength = np.sqrt([MODESTY / 10, MODESTY, MODESTY, MODESTY])
    found = lsq_linear(
        np.vstack([features, np.diag(strength)]),
        np.concatenate([truth, strength * np.array(start)]),
        ([-np.inf, 0.0, 0.0, 0.0], np.inf),
    )
    a, b, c, d = (float(weight) for weight in found.x)
    return a, b, c, d if start[3] else 0.0
