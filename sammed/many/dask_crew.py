"""Workers of Dask: processes on this computer, or those of a cluster's scheduler.

Only here is Dask known. A scan that is lost with its worker is given to another one by Dask; all
that is lost with a scheduler is asked for again as soon as there is one under the same address.
What was finished meanwhile the record tells.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sammed.errors import BackendUnavailableError, SammedError
from sammed.many.attempt import TRIES, remote
from sammed.many.crew import Crew, Hands, Tell
from sammed.many.memory import fitting, free
from sammed.many.record import in_a_line
from sammed.many.task import Job, Outcome, Task
from sammed.version import __version__

CONNECT_S = 10.0
"""How long to wait for a scheduler at the start."""

RECONNECT_S = 120.0
"""How long to wait for one that was there and is gone."""

COUNT_S = 1.0
"""Seconds between two looks at how many workers there are."""

PATIENCE_S = 10.0
"""Without any worker for so long, the user is told."""

LOCAL = {
    "distributed.scheduler.allowed-failures": TRIES - 1,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
}
"""Workers hold no results that could be put aside: one that needs too much is ended, not paused.
And they keep the memory that they need again at once: where they give it back, as is Dask's
default, each answer of a network fetches it anew from the system."""


@contextmanager
def dask_hands(crew: Crew, job: Job, stop: Path, say: Tell, most: int) -> Iterator[Hands]:
    """Workers that take scans; see `sammed.many.crew.hired`, whose parameters these are."""
    distributed = _distributed(crew)
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a lost worker is no news here
    closing: list[Any] = []
    try:
        if crew.scheduler:
            hands = DaskHands(job, stop, say, _caller(distributed, crew.scheduler), crew.scheduler)
        else:
            cluster = _local_cluster(distributed, min(crew.workers, most), job, say)
            closing = [cluster]
            hands = DaskHands(job, stop, say, lambda _: distributed.Client(cluster, **_CLIENT))
        hands.connect(CONNECT_S)
        closing = [hands, *closing]
        yield hands
    except BaseException:  # Ctrl-C above all: at once, whatever the workers are at
        with suppress(OSError):
            stop.touch()
        threading.Thread(target=_close, args=(closing,), daemon=True).start()
        raise
    _close(closing)


_CLIENT: dict[str, Any] = {"set_as_default": False}


def _distributed(crew: Crew) -> Any:
    if find_spec("distributed") is None:
        wanted = f"--scheduler {crew.scheduler}" if crew.scheduler else f"{crew.workers} workers"
        raise BackendUnavailableError(
            f"{wanted}: Dask is not installed; pip install 'sammed[cluster]', or work with one "
            "worker"
        )
    import distributed

    return distributed


def _caller(distributed: Any, address: str) -> Callable[[float], Any]:
    """What connects to a scheduler within so many seconds."""

    def call(timeout_s: float) -> Any:
        return distributed.Client(address, timeout=timeout_s, **_CLIENT)

    return call


def _local_cluster(distributed: Any, wanted: int, job: Job, say: Tell) -> Any:
    """Processes on this computer, which nobody else can reach."""
    import dask

    each = job.memory()
    workers = fitting(wanted, each)
    if workers < wanted:
        say(
            f"note: {workers} of {wanted} workers: each may need {each / 2**30:.1f} GB, and "
            f"{free() / 2**30:.1f} GB are free"
        )
    with dask.config.set(LOCAL):
        return distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            security=_private(distributed, say),
            dashboard_address="127.0.0.1:0",
            memory_limit=max(each, free() // workers),
            silence_logs=logging.CRITICAL,
        )


def _private(distributed: Any, say: Tell) -> Any:
    """Keys that only this program and its workers have: a port can be reached by all users."""
    if find_spec("cryptography") is None:
        say(
            "note: other users of this computer could reach the workers, as cryptography is not "
            "installed; pip install 'sammed[cluster]'"
        )
        return None
    return distributed.Security.temporary()


def _close(things: list[Any]) -> None:
    for thing in things:
        with suppress(Exception):
            thing.close()


class DaskHands:
    """Workers of Dask, each with one scan at a time; see `sammed.many.crew.Hands`.

    Parameters
    ----------
    job
        What is to be done.
    stop
        See `sammed.many.task.Watch`.
    say
        Takes lines for the user.
    call
        Connects within so many seconds.
    address
        Of a scheduler that may come back, or empty.
    """

    def __init__(
        self, job: Job, stop: Path, say: Tell, call: Callable[[float], Any], address: str = ""
    ) -> None:
        self._job = job
        self._stop = stop
        self._say = say
        self._call = call
        self._address = address
        self._client: Any = None
        self._futures: dict[str, Any] = {}
        self._back: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._counted = float("-inf")
        self._workers = 0
        self._gone = False
        self._tell_of_none_at = float("inf")

    def connect(self, timeout_s: float) -> None:
        """Connect, and say where the dashboard is, if there is one.

        Raises
        ------
        BackendUnavailableError
            If the scheduler does not answer in time.
        """
        until = time.monotonic() + timeout_s
        while True:
            try:
                self._client = self._call(max(1.0, min(5.0, until - time.monotonic())))
                break
            except (OSError, ValueError, RuntimeError, TypeError) as error:
                if isinstance(error, OSError) and time.monotonic() < until:
                    time.sleep(0.2)
                    continue
                raise BackendUnavailableError(
                    f"the scheduler {self._address or 'on this computer'} does not answer "
                    f"({in_a_line(error)}); what is finished is recorded, so start it and give the "
                    "same command again"
                ) from error
        self._gone, self._counted = False, float("-inf")
        self._tell_of_none_at = time.monotonic() + PATIENCE_S
        if self._has_dashboard():
            self._say(f"dashboard: {self._client.dashboard_link}")

    def _has_dashboard(self) -> bool:
        """Whether the scheduler shows one: where it has no bokeh, its page says just that."""
        try:
            served = "dashboard" in self._client.scheduler_info(n_workers=0).get("services", {})
            return served and bool(self._client.run_on_scheduler(metadata.version, "bokeh"))
        except Exception:  # of whatever kind, as that there is no bokeh: it can be done without
            return False

    def close(self) -> None:
        """Leave the workers alone."""
        self._client.close(timeout=1)

    @property
    def busy(self) -> int:
        """See `Hands`."""
        return len(self._futures)

    def room(self) -> int:
        """See `Hands`; a scheduler that is gone is waited for."""
        if self._gone and not self._futures:
            self._say(f"the scheduler {self._address} is gone; waiting for it")
            _close([self])
            self.connect(RECONNECT_S)
            self._say("the scheduler is back")
        if not self._gone and time.monotonic() - self._counted > COUNT_S:
            self._counted = time.monotonic()
            self._count()
        return 0 if self._gone else max(self._workers, 1) - self.busy

    def _count(self) -> None:
        try:
            self._workers = len(self._client.nthreads())
        except Exception:  # of whatever kind: there is nobody to ask
            self._gone = True
        if self._workers == 0 and time.monotonic() > self._tell_of_none_at:
            self._tell_of_none_at = float("inf")
            self._say("there is no worker yet; waiting for one")

    def give(self, task: Task, number: int) -> None:
        """See `Hands`."""
        future = self._client.submit(
            remote, self._job, task, number, __version__, self._stop, pure=False
        )
        self._futures[task.id] = future
        future.add_done_callback(lambda done: self._back.put((task.id, done)))

    def take(self, timeout_s: float) -> Outcome | None:
        """See `Hands`."""
        try:
            id, future = self._back.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if id not in self._futures or self._futures[id] is not future:
            return None  # of a scheduler that is gone
        del self._futures[id]
        if future.status in ("cancelled", "lost"):
            self._gone = True
            return Outcome(id, "lost")
        if future.status == "finished":
            try:
                outcome: Outcome = future.result(timeout=CONNECT_S)
            except Exception as error:  # lost between the end of the work and the answer
                return Outcome(id, "lost", error=in_a_line(error))
            return outcome
        return self._failed(id, future.exception())

    def _failed(self, id: str, error: BaseException) -> Outcome:
        if isinstance(error, SammedError):
            raise error
        if type(error).__name__ == "KilledWorker":
            return Outcome(
                id, "died",
                error=f"its worker died {TRIES} times (killed, or out of memory); give it more "
                "memory, or segment it by itself",
            )  # fmt: skip
        if isinstance(error, ModuleNotFoundError) and "sammed" in str(error):
            raise BackendUnavailableError(
                f"the workers of {self._address} cannot import sammed; install it there"
            ) from error
        return Outcome(id, "again", error=in_a_line(error))
