"""Timing by turns, so that what disturbs one side disturbs the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass
class Spent:
    """The fastest of several runs.

    Attributes
    ----------
    wall, cpu
        Seconds by the clock, and of processor time over all threads.
    """

    wall: float = float("inf")
    cpu: float = float("inf")


def by_turns(
    work: Mapping[str, Callable[[], object]], rounds: int = 3, warm_up: bool = True
) -> dict[str, Spent]:
    """Run every piece of work once a round, in turn; the fastest of its runs counts."""
    if warm_up:
        for run in work.values():
            run()
    best = {name: Spent() for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            best[name].wall = min(best[name].wall, time.perf_counter() - wall)
            best[name].cpu = min(best[name].cpu, time.process_time() - cpu)
    return best


def ratio(best: Mapping[str, Spent], slow: str, fast: str) -> dict[str, float]:
    """How many times faster, by the clock and by processor time."""
    return {
        "ratio": round(best[slow].wall / best[fast].wall, 2),
        "ratio_cpu": round(best[slow].cpu / best[fast].cpu, 2),
        f"{slow}_s": round(best[slow].wall, 4),
        f"{fast}_s": round(best[fast].wall, 4),
    }
