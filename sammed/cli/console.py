"""What all commands share: errors as one line, progress on stderr, data on stdout."""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from sammed.errors import SammedError, SammedWarning

if TYPE_CHECKING:
    from sammed.engine.progress import Progress


def say(text: str) -> None:
    """One line for a person, on stderr."""
    typer.echo(text, err=True)


def put(data: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(data, indent=2, default=str))


def set_verbosity(quiet: bool, verbose: bool) -> None:
    """Let warnings and log lines through as the user wishes; warnings become one line each."""
    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING
    logging.basicConfig(level=level, format="%(name)s: %(message)s", stream=sys.stderr, force=True)
    if not verbose:
        for handler in logging.root.handlers:  # loggers' own levels do not last: pydicom resets its
            handler.addFilter(lambda r: r.levelno >= logging.ERROR or r.name.startswith("sammed"))
    warnings.simplefilter("default" if verbose else "ignore")
    warnings.simplefilter("ignore" if quiet else "always", SammedWarning)

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        prefix = "warning" if issubclass(category, SammedWarning) else category.__name__
        say(f"{prefix}: {message}")

    warnings.showwarning = show


def report_error(error: SammedError) -> None:
    """The one line that a user gets to see of an error."""
    say(f"sammed: {' '.join(str(error).split())}")


Show = Callable[[str, str, float, float | None], None]
"""Draws progress: what is done, what is told beside the bar, how much of how much (if known)."""


@contextmanager
def meter(quiet: bool, count: bool = True, every: float | None = None) -> Iterator[Show]:
    """Progress on stderr: a bar on a terminal, elsewhere a line now and then.

    Parameters
    ----------
    quiet
        Show nothing.
    count
        Show how many of how many beside the bar.
    every
        Seconds between lines where there is no terminal; ``None``: no lines.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn(bar_width=24)]
    columns += [MofNCompleteColumn()] if count else []
    columns.append(TextColumn("{task.fields[beside]}"))
    drawn = not quiet and console.is_terminal
    said = float("-inf")
    with Bar(*columns, console=console, transient=True, disable=not drawn) as bar:
        task = bar.add_task("starting", total=None, beside="")

        def show(text: str, beside: str, done: float, total: float | None) -> None:
            nonlocal said
            if drawn:
                bar.update(task, description=text, beside=beside, completed=done, total=total)
            elif not quiet and every is not None and time.monotonic() - said >= every:
                said = time.monotonic()
                head = f"{done}/{total} {text}" if count else text
                say(f"{head} {beside}".rstrip())

        yield show


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A progress bar on stderr: slices done, seconds per slice, time left."""
    if quiet:
        yield None
        return
    with meter(quiet) as draw:

        def show(progress: Progress) -> None:
            pace = f"{progress.seconds_per_slice:.2f} s/slice"
            if progress.seconds_left is not None:
                pace += f", {duration(progress.seconds_left)} left"
            where = f"{progress.object_name} ({progress.plane} {progress.index})"
            draw(where, pace, progress.done, progress.total)

        yield show


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as ``01:05``."""
    return time.strftime("%H:%M:%S" if seconds >= 3600 else "%M:%S", time.gmtime(seconds))
