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


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A progress bar on stderr: slices done, seconds per slice, time left."""
    if quiet:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
    )
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("slices", total=None, pace="")

        def show(progress: Progress) -> None:
            pace = f"{progress.seconds_per_slice:.2f} s/slice"
            if progress.seconds_left is not None:
                pace += f", {_duration(progress.seconds_left)} left"
            bar.update(
                task,
                completed=progress.done,
                total=progress.total,
                description=f"{progress.object_name} ({progress.plane} {progress.index})",
                pace=pace,
            )

        yield show


def _duration(seconds: float) -> str:
    return time.strftime("%H:%M:%S" if seconds >= 3600 else "%M:%S", time.gmtime(seconds))
