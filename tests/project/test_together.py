"""Several programs at one project, and programs that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sammed.project import lease as leases
from sammed.project.folder import Project
from sammed.project.lease import InWorkError, held, holder_of, take
from tests.phantoms import ROOT
from tests.project.folders import make_project, scan

ACCEPT = """
import sys, numpy as np
from pathlib import Path
from sammed.imaging.volume import LabelVolume
from sammed.project.folder import Project
from sammed.project.lease import InWorkError
sys.path.insert(0, {root!r})
from tests.project.folders import scan
project = Project(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for turn in range(int(sys.argv[2])):
    for case in project.cases():
        volume = case.volume()
        labels = scan(int(case.id[1:]))[1]
        project.accept(case.id, LabelVolume(labels, volume.grid, {{}}), prompted=1)
print("done", flush=True)
"""

HOLD = """
import sys, time
from pathlib import Path
from sammed.project.lease import take
take(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def program(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.thorough
def test_two_programs_at_once_lose_nothing(tmp_path):
    project = make_project(tmp_path, 2)
    both = [program(ACCEPT.format(root=str(ROOT)), project.folder, 4) for _ in range(2)]
    for one in both:
        assert one.stdout.readline() == "ready\n"
    for one in both:
        one.stdin.write("\n")
        one.stdin.flush()
    assert [one.communicate(timeout=60)[0] for one in both] == ["done\n"] * 2
    for number, case in enumerate(project.cases()):
        record = case.record
        assert record.prompted == 8
        assert len(record.history) == 8
        found = case.labels(case.volume(), {}).voxels
        np.testing.assert_array_equal(found, scan(number)[1])
        assert sorted(p.name.split("-")[0] for p in case.folder.iterdir()) == [
            "case.json", "labels", "lease", "state.json",
        ]  # fmt: skip


@pytest.mark.thorough
def test_a_program_killed_at_any_moment_leaves_a_whole_project(tmp_path):
    project = make_project(tmp_path, 1)
    rng = np.random.default_rng(0)
    done = 0
    for _ in range(6):
        one = program(ACCEPT.format(root=str(ROOT)), project.folder, 100)
        assert one.stdout.readline() == "ready\n"
        one.stdin.write("\n")
        one.stdin.flush()
        time.sleep(rng.uniform(0.05, 0.5))
        one.send_signal(signal.SIGKILL)
        one.wait()
        case = project.case("p0")
        record = case.record
        assert len(record.history) == record.prompted >= done
        done = record.prompted
        if record.labels:
            found = case.labels(case.volume(), {}).voxels
            np.testing.assert_array_equal(found, scan(0)[1])
        assert case.worker is None
    labels = project.case("p0").labels(project.case("p0").volume(), {})
    project.accept("p0", labels)
    assert len(list(project.case("p0").folder.glob("labels-*"))) == 1


def test_a_lease_keeps_others_away_until_its_holder_is_gone(tmp_path):
    one = program(HOLD, tmp_path)
    assert one.stdout.readline() == "held\n"
    with pytest.raises(InWorkError, match=f"is in work: .*process {one.pid}"):
        take(tmp_path)
    assert holder_of(tmp_path).pid == one.pid
    one.kill()
    one.wait()
    with held(tmp_path) as lease:
        assert holder_of(tmp_path).token == lease.holder.token
    assert holder_of(tmp_path) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only there a file tells a process's state")
def test_a_holder_that_has_ended_unheard_by_its_parent_holds_nothing(tmp_path):
    one = program(HOLD, tmp_path)
    assert one.stdout.readline() == "held\n"
    one.kill()
    os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and its number stays
    os.kill(one.pid, 0)
    with held(tmp_path):
        pass
    one.wait()


def test_a_lease_of_another_computer_ends_with_time(tmp_path, monkeypatch):
    monkeypatch.setattr(leases.socket, "gethostname", lambda: "elsewhere")
    mine = take(tmp_path)
    monkeypatch.undo()
    with pytest.raises(InWorkError, match="on elsewhere"):
        take(tmp_path)
    monkeypatch.setattr(leases, "STALE_S", 0.0)
    time.sleep(0.01)
    theirs = take(tmp_path)
    monkeypatch.undo()
    with pytest.raises(InWorkError, match="was taken over by"):
        mine.check()
    mine.give_back()
    theirs.check()


def test_what_is_saved_after_a_takeover_is_refused(tmp_path, monkeypatch):
    project = make_project(tmp_path, 1)
    case = project.case("p0")
    mine = take(case.folder)
    monkeypatch.setattr(leases, "STALE_S", 0.0)
    time.sleep(0.01)
    theirs = take(case.folder)
    monkeypatch.undo()
    case.commit(theirs, "refuse", {"state": "refused"})
    with pytest.raises(InWorkError, match="taken over"):
        case.commit(mine, "accept", {"state": "accepted"})
    assert Project(project.folder).case("p0").record.state == "refused"


def test_one_of_many_takes_it(tmp_path):
    code = """
import sys, time
from pathlib import Path
from sammed.project.lease import take, InWorkError
print("ready", flush=True); sys.stdin.readline()
try:
    take(Path(sys.argv[1])); print("mine", flush=True); time.sleep(1)
except InWorkError: print("theirs", flush=True)
"""
    dead = program(HOLD, tmp_path)
    assert dead.stdout.readline() == "held\n"
    dead.kill()
    dead.wait()
    many = [program(code, tmp_path) for _ in range(4)]
    for one in many:
        one.stdout.readline()
    for one in many:
        one.stdin.write("\n")
        one.stdin.flush()
    said = sorted(one.communicate(timeout=30)[0].strip() for one in many)
    assert said == ["mine", "theirs", "theirs", "theirs"]


def test_no_links(tmp_path, monkeypatch):
    def refused(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(leases.os, "link", refused)
    with held(tmp_path), pytest.raises(InWorkError):
        take(Path(tmp_path))
    assert holder_of(tmp_path) is None
