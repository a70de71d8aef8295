"""How far the work is, and whether to go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field

from sammed.engine.slice_mask import SliceResult
from sammed.errors import Cancelled
from sammed.views.slices import PLANES

OnPrompted = Callable[[str, int, SliceResult], None]
"""Takes an object's name, the canonical axis and the mask of one of its slices."""


@dataclass(frozen=True)
class Progress:
    """How far the work is.

    Attributes
    ----------
    done
        Slices segmented in this call; steps of a model that takes no slices.
    total
        How many there will be, ``None`` while the engine decides that itself.
    object_name, plane, index
        What was segmented last; the index is -1 for models that take no slices.
    seconds_per_slice, seconds_left
        Measured so far; ``seconds_left`` is ``None`` if ``total`` is.
    """

    done: int
    total: int | None
    object_name: str
    plane: str
    index: int
    seconds_per_slice: float
    seconds_left: float | None


@dataclass
class _Count:
    """Slices done by all who work at the same time, of how many; and whether they are to stop."""

    total: int | None
    done: int = 0
    abandoned: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)


class Reporter:
    """Turns finished slices into `Progress`, asks whether to go on, shows slices early.

    Parameters
    ----------
    progress
        Told after each slice.
    cancel
        Asked before each slice.
    total
        How many there will be, if that is known.
    prompted
        Takes prompted slices as soon as they are computed.
    every
        It takes all slices of the object's own plane, not the prompted ones alone.
    """

    def __init__(
        self,
        progress: Callable[[Progress], None] | None,
        cancel: Callable[[], bool] | None,
        total: int | None,
        prompted: OnPrompted | None = None,
        every: bool = False,
    ) -> None:
        self._every = every
        self._aside = False
        self._progress = progress
        self._cancel = cancel
        self._prompted = prompted
        self._count = _Count(total)
        self._started = time.perf_counter()
        self._name, self._axis = "", 0
        self._indices: Collection[int] = ()

    def beside(self) -> Reporter:
        """One for work that goes on at the same time: with a place of its own, one count."""
        return copy(self)

    def abandon(self) -> None:
        """Let all who work at the same time stop at their next `check`."""
        self._count.abandoned = True

    def begin(self, name: str, axis: int, prompted: Collection[int]) -> None:
        """Name the object that comes next, its canonical axis and its prompted slices."""
        self._name, self._axis, self._indices = name, axis, prompted

    @contextmanager
    def across(self, axis: int) -> Iterator[None]:
        """The same object in another plane for a while, where it has no prompted slices."""
        before = self._axis, self._indices, self._aside
        self._axis, self._indices, self._aside = axis, (), True
        try:
            yield
        finally:
            self._axis, self._indices, self._aside = before

    def check(self) -> None:
        """Raise `Cancelled` if the user wants to stop."""
        if self._count.abandoned or (self._cancel and self._cancel()):
            raise Cancelled("stopped; nothing was changed")

    def advance(self, done: int, total: int | None = None) -> None:
        """Tell how many steps of one answer are done, for models that take no slices."""
        self._count.total = total
        self._tell(done, -1)

    def spare(self, slices: int) -> None:
        """Tell that so many of the slices to come need not be looked at."""
        with self._count.lock:
            if self._count.total is not None:
                self._count.total -= slices

    def on_slice(self, result: SliceResult) -> None:
        """Count a finished slice and tell."""
        shown = not self._aside if self._every else result.index in self._indices
        with self._count.lock:
            if self._prompted and shown:
                self._prompted(self._name, self._axis, result)
            self._count.done += 1
            self._tell(self._count.done, result.index)

    def _tell(self, done: int, index: int) -> None:
        if not self._progress or not done:
            return
        each = (time.perf_counter() - self._started) / done
        total = self._count.total
        left = None if total is None else max(total - done, 0) * each
        plane = list(PLANES)[self._axis]
        self._progress(Progress(done, total, self._name, plane, index, each, left))
