"""A job whose scans are numbers: it writes down what it does, and goes wrong when asked to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sammed.errors import InputError
from sammed.many.task import Entry, Task, Watch
from tests.phantoms import ROOT


@dataclass(frozen=True)
class Diary:
    """Writes a line when a worker gets ready, when a scan begins and when it ends.

    The task's ``what`` says how it goes: seconds to sleep, or ``"bad"`` (the scan's own fault),
    ``"flaky"`` (well at the third try), ``"broken"`` (never well), ``"deadly"`` (takes the worker
    along).
    """

    record: Path
    mark: str = "1"

    def prepare(self) -> str:
        self._note("ready", "-")
        return "tools"

    def memory(self) -> int:
        return 1 << 27

    def finished(self, task: Task, entry: Entry | None) -> Mapping[str, Any] | None:
        done = entry is not None and entry.state == "done" and entry.result["mark"] == self.mark
        return entry.result if entry is not None and done else None

    def begin(self, task: Task, entry: Entry | None) -> Mapping[str, Any]:
        return {}

    def work(self, tools: Any, task: Task, entry: Entry | None, watch: Watch) -> Mapping[str, Any]:
        assert tools == "tools"
        self._note("begin", task.id)
        if task.what == "bad":
            raise InputError("the scan\nis bad")
        if task.what == "broken" or (task.what == "flaky" and self.count("begin", task.id) < 3):
            raise OSError("the drive is away")
        if task.what == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        until = time.monotonic() + (task.what if isinstance(task.what, float) else 0.0)
        while time.monotonic() < until:
            watch.check()
            time.sleep(0.01)
        self._note("end", task.id)
        return {"mark": self.mark}

    def _note(self, what: str, id: str) -> None:
        line = f"{what} {id} {os.getpid()}\n"
        file = os.open(self.record.parent / "diary.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, line.encode())
        os.close(file)

    def lines(self) -> list[list[str]]:
        path = self.record.parent / "diary.txt"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def count(self, what: str, id: str) -> int:
        return sum(line[:2] == [what, id] for line in self.lines())

    def ends(self) -> Counter[str]:
        return Counter(id for what, id, _ in self.lines() if what == "end")

    def pids(self) -> list[int]:
        """Of the workers, the latest last."""
        return [int(pid) for what, _, pid in self.lines() if what == "begin"]


class Surroundings(Diary):
    """Returns what it sees of its worker's environment."""

    def work(self, tools: Any, task: Task, entry: Entry | None, watch: Watch) -> Mapping[str, Any]:
        told = super().work(tools, task, entry, watch)
        return {**told, "trims": os.environ.get("MALLOC_TRIM_THRESHOLD_", "")}


def numbers(count: int, what: Any = 0.05) -> list[Task]:
    return [Task(f"scan-{n:02}", what) for n in range(count)]


def wait_for(condition: Any, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


class Cluster:
    """A scheduler and two workers, as somebody starts them on a cluster."""

    def __init__(self, folder: Path, port: int) -> None:
        self.address = f"tcp://127.0.0.1:{port}"
        self._folder = folder
        self._port = str(port)
        self.start()

    def start(self) -> None:
        self._all = [self._run("scheduler", "--host", "127.0.0.1", "--port", self._port)]
        self.start_workers()

    def start_workers(self) -> None:
        one = ("worker", self.address, "--nthreads", "1", "--nworkers", "2", "--no-dashboard")
        self._all.append(self._run(*one, "--local-directory", str(self._folder)))

    def stop_workers(self) -> None:
        os.killpg(self._all[1].pid, signal.SIGKILL)
        self._all.pop().wait()

    def _run(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *words],
            cwd=self._folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def kill_scheduler(self) -> None:
        self._all[0].kill()
        self._all[0].wait()

    def stop(self) -> None:
        for one in self._all:
            if one.poll() is None:
                os.killpg(one.pid, signal.SIGKILL)
            one.wait()
