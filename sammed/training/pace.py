"""How far a training run is, how fast it goes, and when it will be over."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

RECENT = 50
"""Steps whose mean loss and speed are told."""


@dataclass(frozen=True)
class Progress:
    """What is told of a run after a step.

    Attributes
    ----------
    step
        Steps since the optimiser was new.
    loss
        Mean of the last `RECENT` steps.
    views_per_second
        Views (or 3D boxes) learned from, of the same steps; 0 after the first.
    share
        Of this call's time or steps that is over, [0, 1].
    seconds_left
        Until the time or the steps are over.
    dice
        Of the last validation; ``None`` before the first.
    validating
        Whether the next thing is a validation: no step comes for a while.
    """

    step: int
    loss: float
    views_per_second: float
    share: float
    seconds_left: float
    dice: float | None = None
    validating: bool = False


class Pace:
    """The clock of a run.

    Parameters
    ----------
    minutes
        How long to train.
    first
        Step at which this call begins.
    last
        Step at which to stop, if the time is not over before.
    batch
        Views in a step.
    """

    def __init__(self, minutes: float, first: int, last: int | None, batch: int) -> None:
        self._minutes, self._first, self._last, self._batch = minutes, first, last, batch
        self._start = time.monotonic()
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT)

    @property
    def minutes(self) -> float:
        """Since the start of this call."""
        return (time.monotonic() - self._start) / 60

    @property
    def share_of_time(self) -> float:
        """What sets the learning rate: 0 at the start, 1 when the minutes are over."""
        return self.minutes / max(self._minutes, 1e-6)

    def over(self, step: int) -> bool:
        """Whether the time or the steps are over."""
        return self.minutes >= self._minutes or (self._last is not None and step >= self._last)

    def paused(self) -> None:
        """Steps before and after a pause say nothing together of the speed."""
        self._recent.clear()

    def after(self, step: int, loss: float) -> Progress:
        """What there is to tell after a step."""
        now = time.monotonic()
        self._recent.append((now, loss))
        passed = now - self._recent[0][0]
        steps_per_second = (len(self._recent) - 1) / passed if passed > 0 else 0.0
        left, share = 60 * max(0.0, self._minutes - self.minutes), self.share_of_time
        if self._last is not None:
            share = max(share, (step - self._first) / max(1, self._last - self._first))
            if steps_per_second > 0:
                left = min(left, (self._last - step) / steps_per_second)
        return Progress(
            step=step,
            loss=sum(loss for _, loss in self._recent) / len(self._recent),
            views_per_second=steps_per_second * self._batch,
            share=min(1.0, share),
            seconds_left=left,
        )
