"""The learning rate: up in a few hundred steps, level, then down in the last part."""

from __future__ import annotations

import math

WARM_UP_STEPS = 200
COOL_DOWN = 0.4
"""Last share of the run, in which the rate falls along a cosine to 2 % of the peak."""


def learning_rate(peak: float, step: int, progress: float) -> float:
    """The learning rate of a step.

    Parameters
    ----------
    peak
        The level part's.
    step
        Steps since the optimiser was new.
    progress
        Share of the run's time that has gone, [0, 1].

    Examples
    --------
    >>> learning_rate(1.0, 1000, 0.3)
    1.0
    >>> round(learning_rate(1.0, 1000, 1.0), 3)
    0.02
    """
    rate = peak * min(1.0, (step + 1) / WARM_UP_STEPS)
    if progress > 1 - COOL_DOWN:
        along = min(1.0, (progress - (1 - COOL_DOWN)) / COOL_DOWN)
        rate *= 0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * along))
    return rate
