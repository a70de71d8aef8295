"""Independent work on all cores: in as many threads as the model may use, results in order.

A quick model answers on one thread, since its operations are too short to be shared. So several
questions that do not wait for each other are asked at once: the same answers, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from sammed.engine.progress import Reporter
from sammed.models.devices import threads_now
from sammed.models.spec import ModelSpec

_Value = TypeVar("_Value")


Together = Callable[[Sequence[Callable[[], Any]]], list[Any]]
"""Does several things that do not wait for each other, and gives their values in order."""


def one_by_one(tasks: Sequence[Callable[[], _Value]]) -> list[_Value]:
    """The values of all tasks, one after the other."""
    return [task() for task in tasks]


def threads_for(spec: ModelSpec) -> int:
    """How many questions a model is asked at once: 1, unless it answers each on one thread."""
    return threads_now() if spec.concurrent else 1


def at_once(
    tasks: Sequence[Callable[[Reporter], _Value]], threads: int, reporter: Reporter
) -> list[_Value]:
    """The values of all tasks, in order.

    Parameters
    ----------
    tasks
        They share nothing that any of them changes. Each takes a reporter of its own, which counts
        together with the others.
    threads
        How many of them run at a time; with 1 they run here, one after the other.
    reporter
        Asked by all whether to go on.

    Raises
    ------
    Exception
        That of the first task that failed; the others are stopped.

    Examples
    --------
    >>> quiet = Reporter(None, None, None)
    >>> at_once([lambda _: 1, lambda _: 2, lambda _: 3], threads=2, reporter=quiet)
    [1, 2, 3]
    """
    if threads < 2 or len(tasks) < 2:
        return [task(reporter) for task in tasks]
    with ThreadPoolExecutor(min(threads, len(tasks)), "sammed") as pool:
        running = [pool.submit(task, reporter.beside()) for task in tasks]
        try:
            return [one.result() for one in running]
        except BaseException:
            reporter.abandon()  # Ctrl-C is heard here alone
            raise


def walking(threads: int, reporter: Reporter) -> Together:
    """`at_once` for tasks that tell one and the same reporter of their slices."""

    def together(tasks: Sequence[Callable[[], _Value]]) -> list[_Value]:
        return at_once([partial(_untold, task) for task in tasks], threads, reporter)

    return together


def _untold(task: Callable[[], _Value], reporter: Reporter) -> _Value:
    return task()
