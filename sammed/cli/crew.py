"""What all commands share that go over many scans: progress, what failed, the exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sammed.cli.console import duration, meter, say

if TYPE_CHECKING:
    from sammed.many.runner import Advance
    from sammed.many.task import Outcome

SECONDS_A_LINE = 10
"""Between lines of progress where there is no terminal."""


@contextmanager
def scans_meter(quiet: bool) -> Iterator[Callable[[Advance], None]]:
    """Scans done, how many failed, and the time left: a bar on a terminal, lines elsewhere."""
    with meter(quiet, every=SECONDS_A_LINE) as draw:

        def show(advance: Advance) -> None:
            beside = [f"{advance.failed} failed"] if advance.failed else []
            if advance.seconds_left is not None:
                beside.append(f"{duration(advance.seconds_left)} left")
            draw(advance.text, ", ".join(beside), advance.done, advance.total)

        yield show


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
