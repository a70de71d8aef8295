"""What Dice depends on: a ridge regression of its logit on factors, intervals over subjects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammed.evaluation.features import Observations
from sammed.evaluation.statistics import CONFIDENCE, SEED
from sammed.reporting.ridge import Ridge, best_strength, expit, fit, left_out, logit

LEAST_SUBJECTS = 10
"""With fewer subjects nothing is said: the interval of a coefficient would mean nothing."""

LEAST_OBJECTS = 2
"""Times the number of factors: with fewer objects nothing is said."""

RESAMPLES = 1000
DRAWN = 200
"""Bootstraps of coefficients, and how many of them are used for the bands of curves."""

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Explained:
    """What a regression says of Dice.

    Attributes
    ----------
    seen
        What it was made from.
    model
        The regression.
    low, high : (columns,) float64
        95 % percentile bootstrap intervals of the coefficients, subjects resampled.
    r2
        Share of the variance of the logit of Dice of unseen subjects that it predicts; below 0 it
        is worse than the mean of the others.
    resampled : (resamples, 1 + columns) float64
        Intercepts and coefficients of the bootstrap.
    """

    seen: Observations
    model: Ridge
    low: Float
    high: Float
    r2: float
    resampled: Float

    @property
    def subjects(self) -> int:
        """How many there are."""
        return len(np.unique(self.seen.groups))

    @property
    def order(self) -> list[int]:
        """Columns, the strongest first."""
        return list(np.argsort(-np.abs(self.model.coefficients)))

    def dependence(self, column: int, at: Sequence[float]) -> tuple[Float, Float, Float]:
        """Partial dependence of Dice on a column (Friedman 2001, doi:10.1214/aos/1013203451).

        Parameters
        ----------
        column
            Which.
        at
            Its values, on the scale of the regression.

        Returns
        -------
        mean, low, high : (n,) float64
            Mean predicted Dice over all observations if each had that value, and its 95 % interval.
        """
        z = self.model.standardised(self.seen.x)
        moved = (np.asarray(at) - self.model.mean[column]) / self.model.scale[column]
        rest = np.delete(z, column, axis=1)
        own = np.r_[self.model.intercept, self.model.coefficients]
        mean, *drawn = (
            _dependence(rest, moved, weights, column) for weights in (own, *self.resampled[:DRAWN])
        )
        tail = 100 * (1 - CONFIDENCE) / 2
        low, high = np.percentile(np.array(drawn), [tail, 100 - tail], axis=0)
        return mean, low, high


def _dependence(rest: Float, moved: Float, weights: Float, column: int) -> Float:
    others = weights[0] + rest @ np.delete(weights[1:], column)
    return expit(others[None, :] + weights[1 + column] * moved[:, None]).mean(axis=1)


def too_few(seen: Observations) -> str:
    """Why nothing can be said of what Dice depends on, in a sentence, or ``""``."""
    subjects, objects, columns = len(set(seen.groups)), len(seen.dice), seen.x.shape[1]
    if subjects < LEAST_SUBJECTS:
        return (
            f"There are {subjects} subjects: too few to tell what Dice depends on; at least "
            f"{LEAST_SUBJECTS} are needed."
        )
    if objects < LEAST_OBJECTS * columns or not columns:
        return (
            f"There are {objects} objects for {columns} factors that vary: too few to tell what "
            f"Dice depends on; at least {LEAST_OBJECTS} for each are needed."
        )
    return "" if np.ptp(seen.dice) > 0 else "Dice is the same of all: there is nothing to explain."


def explain(seen: Observations) -> Explained:
    """Regress the logit of Dice on factors; see `too_few` for when not to."""
    y, subjects = logit(seen.dice), np.unique(seen.groups)
    strength = best_strength(seen.x, y, seen.groups)
    model = fit(seen.x, y, strength)
    unseen = left_out(seen.x, y, seen.groups, strength)
    plain = left_out(seen.x[:, :0], y, seen.groups, strength)
    z = model.standardised(seen.x)
    resampled = _resample(z, y, [np.flatnonzero(seen.groups == s) for s in subjects], strength)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(resampled[:, 1:], [tail, 100 - tail], axis=0)
    r2 = 1 - float(((unseen - y) ** 2).sum() / ((plain - y) ** 2).sum())
    return Explained(seen, model, low, high, r2, resampled)


def _resample(z: Float, y: Float, members: list[NDArray[np.intp]], strength: float) -> Float:
    """Intercepts and coefficients of resampled subjects, on the standardisation of all."""
    rng = np.random.default_rng(SEED)
    one = np.c_[np.ones(len(z)), z]
    products = np.array([one[m].T @ one[m] for m in members])
    sums = np.array([one[m].T @ y[m] for m in members])
    counts = np.array([len(m) for m in members])
    penalty = np.eye(one.shape[1])
    penalty[0, 0] = 0.0
    found = np.empty((RESAMPLES, one.shape[1]))
    for row in found:
        times = np.bincount(rng.integers(0, len(members), len(members)), minlength=len(members))
        gram = np.tensordot(times, products, 1) + strength * (times @ counts) * penalty
        row[:] = np.linalg.solve(gram, times @ sums)
    return found


def titles_by_strength(explained: Mapping[str, Explained]) -> dict[str, str]:
    """Names and titles of all columns, in order of their strength in the mean over protocols."""
    titles: dict[str, str] = {}
    strength: dict[str, float] = {}
    for one in explained.values():
        for name, title, value in zip(
            one.seen.names, one.seen.titles, one.model.coefficients, strict=True
        ):
            titles[name] = title
            strength[name] = strength.get(name, 0.0) + abs(float(value))
    return {name: titles[name] for name in sorted(titles, key=lambda n: -strength[n])}
