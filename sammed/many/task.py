"""What is to be done: a job, its tasks (one a scan), and what became of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from sammed.errors import Cancelled

State = Literal["done", "failed", "died", "again", "busy", "lost"]
"""Of an outcome: the first two are the end of it, and recorded."""

LOOK_S = 1.0
"""Seconds between looks at whether the work is to stop."""


@dataclass(frozen=True)
class Task:
    """One scan's share of a job.

    Attributes
    ----------
    id
        Unique in the job; names the files of its record.
    what
        What the job must know of it; it travels to the worker, so it is small.
    """

    id: str
    what: Any = None


@dataclass(frozen=True)
class Entry:
    """What the record on disk says of a scan.

    Attributes
    ----------
    id
        Of its task.
    state
        ``"begun"``, ``"done"`` or ``"failed"``.
    result
        What the job wants to be kept, as JSON.
    error
        Why it failed, in one line.
    seconds, tries
        What it took.
    notes
        What the user should know of it, a line each.
    host
        Where.
    when
        When it ended.
    """

    id: str
    state: str
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    seconds: float = 0.0
    tries: int = 1
    notes: tuple[str, ...] = ()
    host: str = ""
    when: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of one task, or of one try at it.

    Attributes
    ----------
    id
        Of the task.
    state
        See `State`: ``"again"`` is a failure that may pass, ``"died"`` one that took every worker
        along, ``"busy"`` a scan that another program is at, ``"lost"`` one whose scheduler is gone.
    result
        As in `Entry`.
    error
        Why it failed, in one line.
    kept
        Whether it was finished before, and not done now.
    seconds
        What it took.
    notes
        What the user should know of it, a line each.
    """

    id: str
    state: State
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    kept: bool = False
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


class Watch:
    """Whether the work on a scan is to go on, and how far it is.

    Parameters
    ----------
    stop
        A file: as soon as it is there, the work stops, on whatever computer.
    tell
        Takes in words what is being done.
    """

    def __init__(
        self, stop: Path | None = None, tell: Callable[[str], None] = lambda text: None
    ) -> None:
        self._stop = stop
        self._looked = time.monotonic()
        self.tell = tell

    @property
    def is_over(self) -> bool:
        """Whether the work is to stop; looks at the disk once a second at most."""
        if self._stop is None or time.monotonic() - self._looked < LOOK_S:
            return False
        self._looked = time.monotonic()
        return self._stop.exists()

    def check(self) -> None:
        """Go on, or not.

        Raises
        ------
        Cancelled
            If the work is to stop.
        """
        if self.is_over:
            raise Cancelled("stopped; what is finished is recorded")


class Job(Protocol):
    """The same work for every scan. It travels to the workers: it holds names, not models.

    Attributes
    ----------
    record
        Folder of the record, which all workers reach under the same path.
    mark
        Hash of all that holds for every scan: model, settings, version.
    """

    @property
    def record(self) -> Path:
        """See above."""
        ...

    @property
    def mark(self) -> str:
        """See above."""
        ...

    def prepare(self) -> Any:
        """What a worker holds for all its scans, such as the model; asked for once a worker."""
        ...

    def finished(self, task: Task, entry: Entry | None) -> Mapping[str, Any] | None:
        """The result, if a scan need not be done again; ``entry`` is what the record says."""
        ...

    def begin(self, task: Task, entry: Entry | None) -> Mapping[str, Any]:
        """Check what can be checked at once, and say what is about to be written."""
        ...

    def work(self, tools: Any, task: Task, entry: Entry | None, watch: Watch) -> Mapping[str, Any]:
        """Do one scan, write what comes of it, and return what the record is to keep.

        An ``"error"`` in what is returned says that it failed. A `SammedError` is the fault of
        the scan and is recorded at once; after any other error the scan is tried again.
        """
        ...

    def memory(self) -> int:
        """Bytes that a worker may need at the most."""
        ...
