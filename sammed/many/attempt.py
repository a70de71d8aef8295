"""What a worker does with one scan: claim it, look whether it is finished, do it, record it."""

from __future__ import annotations

import socket
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from sammed.errors import Cancelled, ModelError, OutputError, SammedError, SammedWarning
from sammed.many.record import Record, in_a_line
from sammed.many.task import Entry, Job, Outcome, Task, Watch
from sammed.project.lease import InWorkError, Lease
from sammed.version import __version__

TRIES = 3
"""A scan is tried again twice, if what went wrong is not its own fault."""

_one_at_a_time = threading.Lock()
_tools: dict[str, Any] = {}


def attempt(job: Job, task: Task, number: int, watch: Watch) -> Outcome:
    """Do one scan in this process, unless it is finished or somebody else is at it.

    Parameters
    ----------
    job, task
        What is to be done.
    number
        Which try this is, from 1.
    watch
        Whether to go on.

    Returns
    -------
    Outcome
        Recorded, if it is the last word.

    Raises
    ------
    Cancelled
        If the work is to stop.
    ModelError
        If nothing can be done here: what all scans need is missing.
    """
    record = Record(job.record)
    with _one_at_a_time:
        try:
            with record.claimed(task.id) as lease:
                return _do(job, task, number, watch, record, lease)
        except InWorkError as error:
            return Outcome(task.id, "busy", error=str(error))


def remote(job: Job, task: Task, number: int, version: str, stop: Path) -> Outcome:
    """As `attempt`, on a worker elsewhere, which must be of the same version.

    Parameters
    ----------
    job, task, number
        As in `attempt`.
    version
        Of the program that asks.
    stop
        See `Watch`.

    Raises
    ------
    Cancelled
        If the work is to stop.
    ModelError, OutputError
        If nothing can be done there.
    """
    host = socket.gethostname()
    if version != __version__:
        raise ModelError(
            f"the worker on {host} has sammed {__version__}, this program {version}; install the "
            "same version on both"
        )
    if not Record(job.record).is_there:
        raise OutputError(
            f"the worker on {host} does not see {job.record}; all workers must reach the same "
            "folders under the same paths"
        )
    try:
        return attempt(job, task, number, Watch(stop))
    except Cancelled:
        raise
    except SammedError as error:
        raise ModelError(f"the worker on {host} cannot go on: {in_a_line(error)}") from error


def tools_for(job: Job) -> Any:
    """What a process holds for a job: made once, and forgotten when another job comes.

    Raises
    ------
    ModelError
        If it cannot be made here.
    """
    key = f"{job.record} {job.mark}"
    if key not in _tools:
        _tools.clear()
        try:
            _tools[key] = job.prepare()
        except SammedError:
            raise
        except Exception as error:
            raise ModelError(
                f"the model cannot be loaded on {socket.gethostname()}: {in_a_line(error)}"
            ) from error
    return _tools[key]


def finished_before(job: Job, task: Task, entry: Entry | None) -> Mapping[str, Any] | None:
    """As `Job.finished`; of what cannot even be looked at, the work itself will say why."""
    try:
        return job.finished(task, entry)
    except (SammedError, OSError):
        return None


def _do(job: Job, task: Task, number: int, watch: Watch, record: Record, lease: Lease) -> Outcome:
    entry = record.entry(task.id)
    finished = finished_before(job, task, entry)
    if finished is not None:
        return Outcome(task.id, "done", finished, kept=True)
    tools = tools_for(job)
    began = time.monotonic()
    result: Any = dict(entry.result) if entry else {}
    try:
        result = job.begin(task, entry)
        record.write(Entry(task.id, "begun", result, tries=number))
        with _noted() as notes:
            result = job.work(tools, task, entry, watch)
        error = str(result.get("error", ""))
    except Cancelled:
        raise
    except Exception as caught:
        error, notes = in_a_line(caught), []
        if number < TRIES and not isinstance(caught, SammedError):
            return Outcome(task.id, "again", error=error)
    seconds = round(time.monotonic() - began, 3)
    state: Literal["done", "failed"] = "failed" if error else "done"
    lease.check()
    record.write(Entry(task.id, state, result, error, seconds, number, tuple(notes)))
    return Outcome(task.id, state, result, error, seconds=seconds, notes=tuple(notes))


@contextmanager
def _noted() -> Iterator[list[str]]:
    """Warnings of this package become notes of the scan, wherever it is worked on."""
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SammedWarning)
        yield notes
    for one in caught:
        if issubclass(one.category, SammedWarning):
            notes.append(" ".join(str(one.message).split()))
