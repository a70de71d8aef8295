"""A ridge regression of the logit of Dice: what a score depends on, and what may be expected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLIP = 0.005
"""Dice is taken as at least this, and at most one minus it, before its logit."""

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Ridge penalties per observation, of which the one that predicts unseen subjects best is taken."""

Float = NDArray[np.float64]


def logit(dice: Float) -> Float:
    """log(d / (1 - d)) of Dice, clipped to `CLIP`."""
    clipped = np.clip(dice, CLIP, 1 - CLIP)
    return np.asarray(np.log(clipped / (1 - clipped)))


def expit(value: Float) -> Float:
    """The inverse of `logit`."""
    return np.asarray(1 / (1 + np.exp(-value)))


@dataclass(frozen=True, eq=False)
class Ridge:
    """A linear model of the logit of Dice on standardised columns.

    Attributes
    ----------
    mean, scale : (columns,) float64
        By which columns are standardised.
    intercept
        Logit of Dice where all columns have their means.
    coefficients : (columns,) float64
        Change of the logit by one standard deviation of a column.
    """

    mean: Float
    scale: Float
    intercept: float
    coefficients: Float

    def standardised(self, x: Float) -> Float:
        """Columns (n, columns) in standard deviations from their means."""
        return (x - self.mean) / self.scale

    def predict(self, x: Float) -> Float:
        """Logit of Dice of observations (n, columns), (n,)."""
        return np.asarray(self.intercept + self.standardised(x) @ self.coefficients)


def fit(x: Float, y: Float, strength: float) -> Ridge:
    """Ridge regression (Hoerl and Kennard 1970, doi:10.1080/00401706.1970.10488634).

    Parameters
    ----------
    x : (n, columns) float64
        Not standardised.
    y : (n,) float64
        Logit of Dice.
    strength
        Penalty per observation; the intercept is not penalised.
    """
    mean, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
    z, middle = (x - mean) / scale, float(y.mean())
    penalty = strength * len(x) * np.eye(x.shape[1])
    return Ridge(mean, scale, middle, np.linalg.solve(z.T @ z + penalty, z.T @ (y - middle)))


def left_out(x: Float, y: Float, groups: NDArray[np.str_], strength: float) -> Float:
    """Predictions (n,) of each observation by a model that has not seen its group."""
    predicted = np.empty(len(y))
    for group in np.unique(groups):
        own = groups == group
        predicted[own] = fit(x[~own], y[~own], strength).predict(x[own])
    return predicted


def best_strength(x: Float, y: Float, groups: NDArray[np.str_]) -> float:
    """Of `STRENGTHS` the one with the smallest error on groups that were left out."""
    errors = [float(((left_out(x, y, groups, s) - y) ** 2).mean()) for s in STRENGTHS]
    return STRENGTHS[int(np.argmin(errors))]
