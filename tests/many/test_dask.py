"""The same with real workers of Dask: killed ones, a scheduler that restarts, Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from sammed import cli
from sammed.errors import BackendUnavailableError, ModelError
from sammed.evaluation.cohort import Plan, build_models, run_cohort
from sammed.evaluation.manifest import read_manifest
from sammed.evaluation.parts import PartStore
from sammed.many import attempt, crew, dask_crew
from sammed.many.crew import Crew
from sammed.many.record import Record
from sammed.many.runner import run_many
from sammed.many.task import Outcome, Task
from tests.evaluation.conftest import write_cohort
from tests.many.jobs import Cluster, Diary, Surroundings, numbers, wait_for
from tests.phantoms import ROOT

pytest.importorskip("distributed", reason="pip install 'sammed[cluster]'")
pytestmark = pytest.mark.thorough

TWO = Crew(workers=2)


@pytest.fixture
def job(tmp_path: Path) -> Diary:
    return Diary(tmp_path / "record")


class Going(threading.Thread):
    """A run in a thread of its own, so that something can happen to it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__()
        self._arguments, self._options = arguments, options
        self.outcomes: list[Outcome] = []
        self.said: list[str] = []
        self.start()

    def run(self) -> None:
        self.outcomes = run_many(*self._arguments, say=self.said.append, **self._options)


def test_two_workers_share_and_each_gets_ready_once(job: Diary) -> None:
    tasks = [*numbers(8, 0.2), Task("bad", "bad"), Task("flaky", "flaky"), Task("deadly", "deadly")]
    told: list[tuple[int, int]] = []
    outcomes = run_many(job, tasks, TWO, told=lambda a: told.append((a.done, a.failed)))
    assert [one.state for one in outcomes] == [*["done"] * 8, "failed", "done", "failed"]
    assert outcomes[8].error == "the scan is bad"
    assert "its worker died 3 times" in outcomes[10].error
    assert Record(job.record).entry("deadly").state == "failed"
    assert set(job.ends().values()) == {1}
    assert [job.count("begin", id) for id in ("bad", "flaky", "deadly")] == [1, 3, 3]
    assert len(set(job.pids())) >= 2
    assert os.getpid() not in job.pids()
    assert job.count("ready", "-") == len(set(job.pids()))
    assert told[-1] == (11, 2)
    assert most_at_once(job) <= 2
    assert all(one.kept for one in run_many(job, tasks[:8], TWO))


def test_workers_keep_the_memory_that_they_need_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask's default has every answer of a network fetch its memory anew: twice the processor."""
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    outcomes = run_many(Surroundings(tmp_path / "record"), numbers(2), TWO)
    assert [one.result["trims"] for one in outcomes] == ["", ""]


def most_at_once(job: Diary) -> int:
    at_work, most = set(), 0
    for what, id, _ in job.lines():
        if what == "begin":
            at_work.add(id)
        elif what == "end":
            at_work.discard(id)
        most = max(most, len(at_work - {"bad", "flaky", "deadly"}))
    return most


def test_a_worker_that_is_killed_loses_nothing(job: Diary) -> None:
    going = Going(job, numbers(24, 0.1), TWO)
    wait_for(lambda: len(job.ends()) >= 6)
    kill_in_the_middle_of_a_scan(job)
    going.join(120)
    assert [one.state for one in going.outcomes] == ["done"] * 24
    assert set(job.ends().values()) == {1}
    assert len(job.ends()) == 24
    assert len(set(job.pids())) == 3
    entries = [Record(job.record).entry(f"scan-{n:02}") for n in range(24)]
    assert all(entry is not None and entry.state == "done" for entry in entries)


def kill_in_the_middle_of_a_scan(job: Diary) -> None:
    """One that has ended its scan and not recorded it yet would do it again, and rightly so."""
    while True:
        pid = job.pids()[-1]
        os.kill(pid, signal.SIGSTOP)
        what = [line[0] for line in job.lines() if line[2] == str(pid)][-1]
        os.kill(pid, signal.SIGKILL if what == "begin" else signal.SIGCONT)
        if what == "begin":
            return
        time.sleep(0.05)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    there = Cluster(tmp_path, port)
    yield there
    there.stop()


def test_a_scheduler_that_restarts_loses_nothing(job: Diary, cluster: Cluster) -> None:
    going = Going(job, numbers(24, 0.1), Crew(scheduler=cluster.address))
    wait_for(lambda: len(job.ends()) >= 6)
    cluster.kill_scheduler()
    wait_for(lambda: any("is gone" in line for line in going.said))
    cluster.stop()
    before = job.ends()
    entries = {f"scan-{n:02}": Record(job.record).entry(f"scan-{n:02}") for n in range(24)}
    recorded = {id for id, entry in entries.items() if entry and entry.state == "done"}
    assert 6 <= len(recorded) < 24
    cluster.start()
    going.join(120)
    assert [one.state for one in going.outcomes] == ["done"] * 24
    after = job.ends() - before
    assert set(after) == set(entries) - recorded
    assert set(after.values()) == {1}
    assert "the scheduler is back" in going.said
    with pytest.MonkeyPatch.context() as other:
        other.setattr(dask_crew, "__version__", "0.0.0")
        with pytest.raises(ModelError, match="install the same version on both"):
            run_many(job, [Task("new")], Crew(scheduler=cluster.address))


def test_a_scheduler_without_a_worker_is_told(
    job: Diary, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_crew, "PATIENCE_S", 0.0)
    cluster.stop_workers()
    going = Going(job, numbers(1, 0.0), Crew(scheduler=cluster.address))
    wait_for(lambda: "there is no worker yet; waiting for one" in going.said)
    cluster.start_workers()
    going.join(30)
    assert [one.state for one in going.outcomes] == ["done"]


def test_a_scheduler_that_is_not_there(job: Diary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_crew, "CONNECT_S", 0.5)
    with pytest.raises(BackendUnavailableError, match=r"tcp://127\.0\.0\.1:9 does not answer"):
        run_many(job, numbers(1), Crew(scheduler="tcp://127.0.0.1:9"))
    with pytest.raises(BackendUnavailableError, match="nonsense does not answer"):
        run_many(job, numbers(1), Crew(scheduler="nonsense"))


def test_without_dask_one_worker_works_and_two_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dask_crew, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "distributed", None)
    job = Diary(tmp_path / "record")
    with pytest.raises(BackendUnavailableError, match=r"pip install 'sammed\[cluster\]'"):
        run_many(job, numbers(2), TWO)
    assert not job.lines()
    assert len(run_many(job, numbers(2, 0.0), Crew())) == 2
    scan = str(ROOT / "sample_data" / "phantom_ct.nii.gz")
    (tmp_path / "scans.csv").write_text(f'image,box\n{scan},"spleen=99,56,131,97@44"\n')
    asked = ["batch", str(tmp_path / "scans.csv"), "-o", str(tmp_path / "out"), "--model", "box"]
    assert cli.main([*asked, "--workers", "2"]) == 3
    assert "pip install 'sammed[cluster]'" in capsys.readouterr().err


def test_memory_for_one_worker_is_one_worker(job: Diary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Diary, "memory", lambda self: 1 << 62)
    said: list[str] = []
    run_many(job, numbers(2, 0.0), TWO, say=said.append)
    assert any("1 of 2 workers: each may need" in line for line in said)
    assert len(set(job.pids())) == 1


def test_the_dashboard_is_told_where_there_is_one(job: Diary, cluster: Cluster) -> None:
    pytest.importorskip("bokeh", reason="pip install 'sammed[cluster]'")
    said: dict[str, list[str]] = {"own": [], "cluster": []}
    run_many(job, numbers(2, 0.0), TWO, say=said["own"].append)
    run_many(job, numbers(4, 0.0), Crew(scheduler=cluster.address), say=said["cluster"].append)
    for told in said.values():
        (line,) = (line for line in told if "dashboard" in line)
        assert re.fullmatch(r"dashboard: http://127\.0\.0\.1:\d+/status", line)


def test_where_there_is_no_bokeh_no_dashboard_is_told(
    job: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_bokeh(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(dask_crew.metadata, "version", no_bokeh)
    said: list[str] = []
    run_many(job, numbers(2, 0.0), TWO, say=said.append)
    assert not said


def test_only_this_computer_can_reach_the_workers(job: Diary) -> None:
    import psutil

    going = Going(job, numbers(2, 1.5), TWO)
    wait_for(lambda: len(job.pids()) == 2)
    doors = [
        door.laddr.ip
        for process in (psutil.Process(), *psutil.Process().children(recursive=True))
        for door in process.net_connections(kind="inet")
        if door.status == psutil.CONN_LISTEN
    ]
    going.join(30)
    assert len(doors) >= 3
    assert set(doors) == {"127.0.0.1"}


def test_scores_are_the_same_whoever_does_the_work(tmp_path: Path) -> None:
    """To the last bit: all but the seconds, the memory and who was asked."""
    wanted = {"mine": "two_class"}
    build = partial(build_models, wanted, "cpu", 1)
    cases = tuple(read_manifest(write_cohort(tmp_path / "data")))
    plan = Plan(cases, build(), ("A", "C"), jitters=(0.05,))
    found = {}
    for name, who in (("one", Crew()), ("two", TWO)):
        (tmp_path / name).mkdir()
        store = PartStore(tmp_path / name)
        parts = run_cohort(plan, store, crew=who, build=build)
        found[name] = (
            [
                (p.case, p.model, p.protocol, p.fingerprint, p.slices, p.profiles, p.error, p.notes)
                for p in parts
            ],
            [without_seconds(row.as_dict()) for p in parts for row in p.rows],
        )
        masks = sorted((tmp_path / name / "parts").rglob("*.npz"))
        found[name] += ([path.read_bytes() for path in masks],)
    assert len(found["one"][1]) == 3 * 2 * 2  # with the object that no reference has
    assert found["one"] == found["two"]


def without_seconds(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in ("seconds", "encode_s", "decode_s")}


@pytest.mark.alone
@pytest.mark.parametrize(("workers", "group"), [(1, False), (2, False), (2, True)])
def test_ctrl_c_stops_at_once_and_the_command_goes_on(
    tmp_path: Path, workers: int, group: bool
) -> None:
    scan = ROOT / "sample_data" / "phantom_ct.nii.gz"
    rows = [f'{scan},scan-{n},"spleen=99,56,131,97@44"' for n in range(8)]
    (tmp_path / "scans.csv").write_text("\n".join(["image,id,box", *rows]) + "\n")
    command = [
        sys.executable, "-m", "sammed", "batch", str(tmp_path / "scans.csv"),
        "-o", str(tmp_path / "out"), "--model", "box", "--workers", str(workers),
    ]  # fmt: skip
    one = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    record = Record(tmp_path / "out" / "record")
    wait_for(lambda: any(finished(record)), 60)
    began = time.monotonic()
    (os.killpg if group else os.kill)(one.pid, signal.SIGINT)
    _, err = one.communicate(timeout=30)
    assert one.returncode == 130
    assert time.monotonic() - began < 1.5  # half a second on a quiet computer
    assert "sammed: stopped" in err
    assert "Traceback" not in err
    done = finished(record)
    assert 0 < sum(done) < 8
    wait_for(lambda: nobody_left(one.pid), 5)
    assert cli.main([*command[3:7], "--model", "box", "-q"]) == 0
    again = [record.entry(f"scan-{n}") for n in range(8)]
    assert all(entry is not None and entry.state == "done" for entry in again)
    written = sorted(path.name for path in (tmp_path / "out").glob("*.nii.gz"))
    assert written == [f"scan-{n}.nii.gz" for n in range(8)]


def finished(record: Record) -> list[bool]:
    entries = [record.entry(f"scan-{n}") for n in range(8)]
    return [entry is not None and entry.state == "done" for entry in entries]


def nobody_left(session: int) -> bool:
    """No process of that session, which is all that the command started, is left."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            return False
    return True


def test_a_worker_does_one_scan_at_a_time_also_with_more_threads() -> None:
    assert attempt._one_at_a_time.acquire(blocking=False)
    attempt._one_at_a_time.release()
    assert crew.Alone(Diary(Path("nowhere")), lambda text: None).room() == 1
