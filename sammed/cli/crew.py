"""What all commands share that go over many scans: progress, what failed, the exit code."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sammed.cli.console import Show, duration, meter, say

if TYPE_CHECKING:
    from sammed.many.runner import Advance
    from sammed.many.task import Outcome

SECONDS_A_LINE = 10
"""Between lines of progress where there is no terminal."""

SECONDS_A_LOOK = 1.0
"""Between two looks at how long the first scans take already."""


@contextmanager
def scans_meter(quiet: bool) -> Iterator[Callable[[Advance], None]]:
    """Scans done, how many failed, and the time left: a bar on a terminal, lines elsewhere.

    Until the first scan is done nobody knows the time left: then it is told for how long the first
    ones have been worked on, also where whoever works on them says nothing meanwhile.
    """
    with meter(quiet, every=SECONDS_A_LINE) as draw, _repeated(draw) as show:
        yield show


@contextmanager
def _repeated(draw: Show) -> Iterator[Callable[[Advance], None]]:
    """What draws how far a run is, and draws the beginning again while nothing comes."""
    over, one_at_a_time = threading.Event(), threading.Lock()
    last: list[tuple[Advance, float]] = []

    def show(advance: Advance) -> None:
        with one_at_a_time:
            last[:] = [(advance, time.monotonic())]
            draw(advance.text, beside(advance), advance.done, advance.total)

    def repeat() -> None:
        while not over.wait(SECONDS_A_LOOK):
            with one_at_a_time:
                for advance, since in last:
                    if advance.seconds is not None and advance.seconds_left is None:
                        told = beside(advance, time.monotonic() - since)
                        draw(advance.text, told, advance.done, advance.total)

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield show
    finally:
        over.set()
        thread.join()


def beside(advance: Advance, later: float = 0.0) -> str:
    """What is told beside how many scans are done.

    Parameters
    ----------
    advance
        How far a run is.
    later
        Seconds that have gone by since it said so.

    Examples
    --------
    >>> from sammed.many.runner import Advance
    >>> beside(Advance(0, 3, "anna", None, 0, 62.0), later=3.0)
    'at the first for 01:05'
    >>> beside(Advance(2, 3, "carla", 40.0, 1, 80.0))
    '1 failed, 00:40 left'
    """
    told = [f"{advance.failed} failed"] if advance.failed else []
    if advance.seconds_left is not None:
        told.append(f"{duration(advance.seconds_left)} left")
    elif advance.seconds is not None:
        told.append(f"at the first for {duration(advance.seconds + later)}")
    return ", ".join(told)


def sayer(quiet: bool) -> Callable[[str], None]:
    """What lines for the user go to."""
    return (lambda line: None) if quiet else say


def say_outcomes(outcomes: Sequence[Outcome], quiet: bool) -> None:
    """A line for each that failed, also when quiet; notes; how many were done, kept, failed."""
    for one in outcomes:
        for note in () if quiet else one.notes:
            say(f"note: {one.id}: {note}")
        if one.state == "failed":
            say(f"{one.id} failed: {one.error}")
    if quiet:
        return
    failed = sum(one.state == "failed" for one in outcomes)
    kept = sum(one.kept for one in outcomes)
    now = len(outcomes) - failed - kept
    say(f"{now} done, {kept} finished before, {failed} failed")
