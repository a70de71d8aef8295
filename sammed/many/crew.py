"""Who does the work: this process alone, or workers of Dask here or on a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sammed.errors import InputError
from sammed.many.attempt import attempt
from sammed.many.memory import OVER_VOLUME, needed
from sammed.many.task import Job, Outcome, Task, Watch

Tell = Callable[[str], None]
"""Takes a line for the user."""


@dataclass(frozen=True)
class Crew:
    """Who does the work.

    Attributes
    ----------
    workers
        Processes on this computer; 1 is this program itself, without Dask.
    scheduler
        Address of an existing cluster's scheduler instead, such as ``tcp://host:8786``.

    Raises
    ------
    InputError
        If there is no worker, or both are given.

    Examples
    --------
    >>> Crew().alone, Crew(workers=2).alone
    (True, False)
    """

    workers: int = 1
    scheduler: str = ""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise InputError(f"cannot work with {self.workers} workers; expected at least 1")
        if self.scheduler and self.workers > 1:
            raise InputError(
                "give --workers (processes here) or --scheduler (a cluster, which has its own "
                "workers), not both"
            )

    @property
    def alone(self) -> bool:
        """Whether this process does all."""
        return self.workers == 1 and not self.scheduler

    def memory(self, scans: Iterable[Path], over: float = OVER_VOLUME) -> int:
        """Bytes that a worker may need, as `needed`; 0 where nobody has to fit beside another."""
        return needed(scans, over) if self.workers > 1 else 0

    def threads(self, wanted: int | None) -> int | None:
        """Threads of each worker: as wanted, else its share of this computer's cores.

        ``None`` leaves the choice to this program alone, or to each worker of a cluster.

        Examples
        --------
        >>> Crew(workers=2).threads(3), Crew().threads(None), Crew(workers=1000).threads(None)
        (3, None, 1)
        """
        if wanted is not None or self.alone or self.scheduler:
            return wanted
        return max(1, (os.cpu_count() or 1) // self.workers)


class Hands(Protocol):
    """What `sammed.many.runner` gives scans to."""

    def room(self) -> int:
        """How many more scans may be given now: as many as there are workers without one."""
        ...

    @property
    def busy(self) -> int:
        """How many scans are given and not back."""
        ...

    def give(self, task: Task, number: int) -> None:
        """Let somebody do a scan; ``number`` says which try it is."""
        ...

    def take(self, timeout_s: float) -> Outcome | None:
        """The next that comes back, if one does in time."""
        ...


class Alone:
    """The program itself, one scan after the other.

    Parameters
    ----------
    job
        What is to be done.
    doing
        Takes in words what is being done.
    """

    def __init__(self, job: Job, doing: Tell) -> None:
        self._job = job
        self._doing = doing
        self._given: tuple[Task, int] | None = None

    def room(self) -> int:
        """See `Hands`."""
        return 1 - self.busy

    @property
    def busy(self) -> int:
        """See `Hands`."""
        return int(self._given is not None)

    def give(self, task: Task, number: int) -> None:
        """See `Hands`."""
        self._given = task, number

    def take(self, timeout_s: float) -> Outcome | None:
        """See `Hands`: does it now, however long it takes."""
        del timeout_s
        if self._given is None:
            return None
        (task, number), self._given = self._given, None

        def tell(text: str) -> None:
            self._doing(f"{task.id} {text}".strip())

        return attempt(self._job, task, number, Watch(tell=tell))


def hired(
    crew: Crew, job: Job, stop: Path, doing: Tell, say: Tell, most: int
) -> AbstractContextManager[Hands]:
    """The crew, ready to work.

    Parameters
    ----------
    crew
        Who.
    job
        What is to be done.
    stop
        See `sammed.many.task.Watch`.
    doing, say
        Take what is being done, and lines for the user.
    most
        How many scans there are: more workers are not started.

    Raises
    ------
    BackendUnavailableError
        If Dask is needed and not installed, or the scheduler cannot be reached.
    """
    if crew.alone:
        return nullcontext(Alone(job, doing))
    from sammed.many.dask_crew import dask_hands

    return dask_hands(crew, job, stop, say, most)
