"""The one runner of everything that goes over many scans."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sammed.errors import InputError, PartlyFailedError
from sammed.many.attempt import TRIES, finished_before
from sammed.many.crew import Crew, Hands, Tell, hired
from sammed.many.record import Record
from sammed.many.task import Entry, Job, Outcome, Task

TICK_S = 0.25
"""Seconds at most between two looks at whether the user wants to stop."""

LATER_S = 2.0
"""Seconds after which a scan that another program is at is asked for again."""


@dataclass(frozen=True)
class Advance:
    """How far a run is.

    Attributes
    ----------
    done, total
        Scans; those that were finished before are among them.
    text
        What is done now.
    seconds_left
        By the pace of what was done so far; ``None`` before the first.
    failed
        How many of those done have failed.
    seconds
        Since the work on scans began; ``None`` while nobody is at one.
    """

    done: int
    total: int
    text: str
    seconds_left: float | None
    failed: int = 0
    seconds: float | None = None


Told = Callable[[Advance], None]


@dataclass
class _State:
    """What is done, what waits, what is on its way."""

    job: Job
    record: Record
    told: Told
    total: int
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    waiting: deque[tuple[Task, int, float]] = field(default_factory=deque)
    on_its_way: dict[str, tuple[Task, int]] = field(default_factory=dict)
    kept: int = 0
    text: str = ""
    began: float = field(default_factory=time.monotonic)

    def advance(self, text: str | None = None) -> None:
        self.text = self.text if text is None else text
        done = len(self.outcomes)
        computed = done - self.kept
        left = None
        seconds = time.monotonic() - self.began
        if computed:
            left = seconds / computed * (self.total - done)
        failed = sum(one.state == "failed" for one in self.outcomes.values())
        since = seconds if self.on_its_way else None
        self.told(Advance(done, self.total, self.text, left, failed, since))


def run_many(
    job: Job,
    tasks: Sequence[Task],
    crew: Crew = Crew(),  # noqa: B008 - a value
    *,
    about: Mapping[str, Any] | None = None,
    told: Told = lambda advance: None,
    say: Tell = lambda line: None,
) -> list[Outcome]:
    """Do a job for many scans; what is finished is not done again, what fails stops nothing.

    Parameters
    ----------
    job
        What is to be done.
    tasks
        For which scans; each id once.
    crew
        Who does it. No more scans are on their way than there are workers.
    about
        What the record is to say of the job.
    told
        Called whenever something has changed, and otherwise now and then.
    say
        Takes lines for the user, such as the address of the dashboard.

    Returns
    -------
    list of Outcome
        ``"done"`` or ``"failed"``, in the order of the tasks.

    Raises
    ------
    InputError
        If two tasks have one id.
    ModelError
        If a worker cannot do any scan.
    BackendUnavailableError
        See `sammed.many.crew.hired`.
    OutputError
        If the record cannot be written.
    """
    _check_ids(task.id for task in tasks)
    record = Record(job.record)
    record.begin({"mark": job.mark, "scans": len(tasks), **(about or {})})
    state = _State(job, record, told, len(tasks))
    for task in tasks:
        state.advance("looking for what is finished")
        finished = finished_before(job, task, record.entry(task.id))
        if finished is None:
            state.waiting.append((task, 1, 0.0))
        else:
            state.outcomes[task.id] = Outcome(task.id, "done", finished, kept=True)
    state.kept, state.began = len(state.outcomes), time.monotonic()
    if state.waiting:
        stop = record.stop_file()
        with hired(crew, job, stop, state.advance, say, len(state.waiting)) as hands:
            state.began = time.monotonic()
            _work(state, hands)
    state.advance("done")
    return [state.outcomes[task.id] for task in tasks]


def _work(state: _State, hands: Hands) -> None:
    while state.waiting or hands.busy:
        room = hands.room()
        while room > 0 and (ready := _ready(state)) is not None:
            task, number = ready
            state.on_its_way[task.id] = task, number
            state.advance(task.id)
            hands.give(task, number)
            room -= 1
        outcome = hands.take(TICK_S)
        if outcome is not None:
            _settle(state, outcome)
        elif not hands.busy:
            time.sleep(TICK_S)
        state.advance()


def _ready(state: _State) -> tuple[Task, int] | None:
    """The first that waits and need not wait longer."""
    for _ in range(len(state.waiting)):
        task, number, since = state.waiting.popleft()
        if since <= time.monotonic():
            return task, number
        state.waiting.append((task, number, since))
    return None


def _settle(state: _State, outcome: Outcome) -> None:
    task, number = state.on_its_way.pop(outcome.id)
    if outcome.state == "busy":
        state.advance(f"waiting: {outcome.error}")
        state.waiting.append((task, number, time.monotonic() + LATER_S))
    elif outcome.state == "lost":
        state.waiting.appendleft((task, number, 0.0))
    elif outcome.state == "again" and number < TRIES:
        state.waiting.append((task, number + 1, 0.0))
    elif outcome.state in ("again", "died"):
        failed = Outcome(task.id, "failed", error=outcome.error)
        former = state.record.entry(task.id)
        result = former.result if former else {}
        state.record.write(Entry(task.id, "failed", result, outcome.error, tries=number))
        state.outcomes[task.id] = failed
    else:
        state.outcomes[task.id] = outcome


def check_all_done(outcomes: Iterable[Outcome], unit: str = "scan") -> None:
    """Make sure that no scan has failed, after all were tried.

    Parameters
    ----------
    outcomes
        Of `run_many`.
    unit
        What one is called.

    Raises
    ------
    PartlyFailedError
        If some have, and others have not.
    InputError
        If all have.
    """
    outcomes = list(outcomes)
    failed = [one for one in outcomes if one.state == "failed"]
    if not failed:
        return
    if len(failed) == len(outcomes):
        told = f"no {unit} could be done: {failed[0].error}"
        raise InputError(told if len(failed) == 1 else f"all {len(failed)} {unit}s failed; {told}")
    raise PartlyFailedError(
        f"{len(failed)} of {len(outcomes)} {unit}s failed, see above; the others are finished, and "
        "the same command tries those that failed again"
    )


def _check_ids(ids: Iterable[str]) -> None:
    seen: set[str] = set()
    for id in ids:
        if id.casefold() in seen:
            raise InputError(f"two scans are called {id!r}; give each its own id")
        seen.add(id.casefold())
        if not id or id in (".", "..") or set(id) & set('/\\:*?"<>|'):
            raise InputError(f"id {id!r} cannot name a file; use letters, digits, - and _")
