"""On how many threads a step is done: on all, or on one where other programs hold the cores.

Threads of a step wait for each other. Where a core is not theirs alone, the step takes as long as
the one of them that does not get on: on two busy cores 25 times as long as on one thread, see the
notebook. As that changes from minute to minute, it is measured again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import torch

TRIED = 3
"""Steps in a row by which one thread and all are compared."""

EVERY_S = 20.0
"""Seconds of learning between comparisons, at least..."""

COSTS = 0.1
"""... and so long that these take no more than this share of the time."""


def thread_counts(most: int) -> Generator[int, float, None]:
    """Threads for each step, one step after the other; is sent how many seconds it took.

    Parameters
    ----------
    most
        Threads that there are.

    Examples
    --------
    >>> counts = thread_counts(2)
    >>> threads, used = next(counts), []
    >>> for step in range(60):  # two threads take six times as long as one
    ...     used.append(threads)
    ...     threads = counts.send(0.6 if threads == 2 else 0.1)
    >>> used.count(2), used[-1]
    (2, 1)
    """
    yield 1  # what is made at the first step, of each number of threads
    yield most
    while True:
        alone = together = 0.0
        for _ in range(TRIED):
            alone += yield 1
        for _ in range(TRIED):
            together += yield most
            if together > alone:
                break
        left = max(EVERY_S, (alone + together) / COSTS)
        while left > 0:
            left -= yield most if together < alone else 1


@contextmanager
def shared_cores() -> Iterator[Callable[[float], None]]:
    """Learn on as many threads as is quickest; takes the seconds of each step, after it."""
    most = torch.get_num_threads()
    counts = thread_counts(most)
    torch.set_num_threads(next(counts))
    try:
        yield lambda seconds: torch.set_num_threads(counts.send(seconds))
    finally:
        torch.set_num_threads(most)


@contextmanager
def same_threads() -> Iterator[Callable[[float], None]]:
    """Leave the number as it is: another one rounds otherwise."""
    yield lambda seconds: None
