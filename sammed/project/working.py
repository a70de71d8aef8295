"""A case in somebody's hands: its lease, the time that goes into it, and how it ends."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sammed.errors import SammedError
from sammed.imaging.volume import LabelVolume
from sammed.io.output import atomic_text
from sammed.project.case import CaseFolder, Record
from sammed.project.folder import Project
from sammed.project.lease import InWorkError, Lease, take

NOTHING_WAITS = "nothing waits: every case is accepted, refused or in work"

PAUSE_S = 60.0
"""A longer pause is not counted as work."""

RENEW_S = 300.0
"""Seconds of work between renewals of the lease."""

_FILE = re.compile(r"work-(\d+)\.(json|sammed-journal\.jsonl|sammed-phase-\d+\.npy\.gz)")


class Effort:
    """What a case takes a person: seconds with something to do, and prompts.

    Parameters
    ----------
    seconds, prompted
        So far.
    clock
        Tells seconds.

    Examples
    --------
    >>> times = iter((0.0, 20.0, 300.0, 310.0))
    >>> effort = Effort(clock=lambda: next(times))
    >>> for _ in range(4):
    ...     effort.touch()
    >>> effort.seconds
    30.0
    """

    def __init__(
        self,
        seconds: float = 0.0,
        prompted: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = seconds
        self.prompted = prompted
        self._clock = clock
        self._last: float | None = None

    def touch(self) -> None:
        """Something was done now."""
        now = self._clock()
        if self._last is not None and now - self._last <= PAUSE_S:
            self.seconds += now - self._last
        self._last = now

    def save(self, path: Path) -> None:
        """Keep it, for whoever goes on."""
        said = {"seconds": round(self.seconds, 1), "prompted": self.prompted}
        atomic_text(path, json.dumps(said) + "\n", force=True)

    @classmethod
    def read(cls, path: Path) -> Effort:
        """What was kept; nothing if there is no such file, or it is broken."""
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            return cls(float(said["seconds"]), int(said["prompted"]))
        except (OSError, ValueError, KeyError, TypeError):
            return cls()


class Working:
    """A case that we work on; nobody else does, until `leave`.

    Parameters
    ----------
    project
        The project.
    case
        One of its cases.
    lease
        Of the case, held by us.

    Attributes
    ----------
    effort
        What it took so far.
    """

    def __init__(self, project: Project, case: CaseFolder, lease: Lease) -> None:
        self.project = project
        self.case = case
        self._lease = lease
        self._renewed = time.monotonic()
        accepted = sum(event.get("what") == "accept" for event in case.record.history)
        self._number = accepted + 1
        self.effort = Effort.read(self._effort_path)

    @property
    def stem(self) -> str:
        """How names of what belongs to the work begin; another one once the case was accepted."""
        return f"work-{self._number:02}"

    @property
    def _effort_path(self) -> Path:
        return self.case.folder / f"{self.stem}.json"

    @property
    def labels_to_be(self) -> Path:
        """The label map that `accept` will write."""
        return self.case.folder / f"labels-{len(self.case.record.history) + 1:04}.nii.gz"

    def keep(self) -> None:
        """Say that we are still at it, and what it took so far.

        Raises
        ------
        InWorkError
            If somebody has taken it over.
        """
        if time.monotonic() - self._renewed > RENEW_S:
            self._lease.renew()
            self._renewed = time.monotonic()
        self.effort.save(self._effort_path)

    def accept(
        self,
        labels: LabelVolume | None,
        *,
        prompts: Mapping[str, Any] | None = None,
        report: Mapping[str, Any] | None = None,
        about: Mapping[str, Any] | None = None,
        model: str | None = None,
    ) -> Record:
        """As `Project.accept`, with what it took; the case stays ours."""
        return self.project.accept(
            self.case.id,
            labels,
            seconds=round(self.effort.seconds, 1),
            prompted=self.effort.prompted,
            prompts=prompts,
            report=report,
            about=about,
            model=model,
            lease=self._lease,
        )

    def refuse(self, why: str = "") -> Record:
        """As `Project.refuse`; the case stays ours."""
        return self.project.refuse(self.case.id, why, lease=self._lease)

    def clear(self) -> None:
        """Remove what belonged to work that was accepted."""
        for path in self.case.folder.glob("work-*"):
            match = _FILE.fullmatch(path.name)
            if match and int(match[1]) <= self._number:
                path.unlink(missing_ok=True)

    def leave(self) -> None:
        """Let others have it."""
        with suppress(SammedError):  # a drive that is gone: the lease runs out by itself
            self._lease.give_back()


def work_on(project: Project, id: str) -> Working:
    """Take a case, whatever became of it.

    Parameters
    ----------
    project
        The project.
    id
        Of the case.

    Raises
    ------
    InputError
        If there is none.
    InWorkError
        If somebody else works on it.
    """
    case = project.case(id)
    lease = take(case.folder)
    try:
        return Working(project, case, lease)
    except SammedError:
        lease.give_back()
        raise


def work_on_next(
    project: Project, later: Sequence[str] = (), without: Collection[str] = ()
) -> Working | None:
    """Take the first case of the queue that nobody else has; ``None`` if there is none.

    Parameters
    ----------
    project
        The project.
    later
        Ids of cases that come last.
    without
        Of cases that do not come at all.
    """
    waiting = [case.id for case in project.queue() if case.id not in without]
    first = [id for id in waiting if id not in later]
    for id in [*first, *(id for id in later if id in waiting)]:
        with suppress(InWorkError):
            working = work_on(project, id)
            if working.case.record.state in ("todo", "proposed"):
                return working
            working.leave()
    return None


@dataclass(frozen=True)
class Standing:
    """How far a project is.

    Attributes
    ----------
    accepted, total
        Cases.
    """

    accepted: int
    total: int


def standing(project: Project) -> Standing:
    """How far a project is, also where a case cannot be read."""
    accepted = total = 0
    for case in project.cases():
        total += 1
        with suppress(SammedError):
            accepted += case.record.state == "accepted"
    return Standing(accepted, total)
