"""Cancel, bad input, dying parents, killed workers: defined answers, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.worker.conftest import Client, wait_until

SLOW = [sys.executable, str(Path(__file__).with_name("slow_worker.py"))]
ORGAN = {"name": "organ", "boxes": [{"axis": 0, "block": [5, 13, 7, 6, 32, 22]}]}

posix = pytest.mark.skipif(os.name != "posix", reason="signals and orphans are POSIX")


@pytest.fixture
def slow():
    worker = Client(command=SLOW)
    yield worker
    worker.stop()


def start_segmenting(worker, phantom, affine, model="slow:0.1"):
    """Begin a run that takes seconds; returns the request once it makes progress."""
    worker.hello()
    worker.volume(phantom[0], affine)
    worker.ask("settings", model=model)
    worker.ask("put", object=ORGAN)
    request = worker.send("segment")
    while (answer := worker.next())["event"] != "progress":
        pass
    assert answer["id"] == request
    return request, answer


def test_progress_tells_what_is_done(slow, phantom, affine):
    _, answer = start_segmenting(slow, phantom, affine)
    assert answer["done"] >= 1
    assert (answer["object"], answer["plane"]) == ("organ", "axial")


@pytest.mark.alone
def test_cancel_takes_less_than_half_a_second_and_keeps_the_session(slow, phantom, affine):
    request, _ = start_segmenting(slow, phantom, affine)
    started = time.monotonic()
    slow.send("cancel", request=request)
    events = []
    while "cancelled" not in events:
        events.append(slow.next()["event"])
    assert time.monotonic() - started < 0.5
    assert slow.ask("objects")["objects"] == ["organ"]
    assert slow.ask("segment")["event"] == "done"


@pytest.mark.thorough
def test_cancel_after_a_slice_was_told_leaves_the_session_as_it_was(slow, phantom, affine):
    slow.hello()
    slow.volume(phantom[0], affine)
    slow.ask("settings", model="slow:0.1")
    slow.ask("put", object=ORGAN)
    request = slow.send("segment", partial=True)
    while (answer := slow.next())["event"] != "partial":
        pass
    slow.send("cancel", request=request)
    while (answer := slow.next())["event"] != "cancelled":
        assert answer["event"] in ("progress", "done")
    masks = slow.ask("segment")["masks"]
    assert [(m["name"], m["replace"]) for m in masks] == [("organ", True)]


def test_what_waits_is_cancelled_too(slow, phantom, affine):
    start_segmenting(slow, phantom, affine)
    waiting = slow.send("segment")
    slow.send("cancel", request=waiting)
    slow.send("cancel")
    events = {}
    while len(events) < 2:
        answer = slow.next()
        if answer["event"] == "cancelled":
            events[answer["id"]] = True
    assert waiting in events


def test_a_ping_is_answered_while_work_runs(slow, phantom, affine):
    request, _ = start_segmenting(slow, phantom, affine)
    assert slow.ask("ping")["busy"] == request


def test_a_bug_inside_is_an_answer_and_not_the_end(slow, phantom, affine):
    slow.hello()
    slow.volume(phantom[0], affine)
    error = slow.ask("settings", model="broken")["error"]
    assert (error["code"], error["message"]) == ("internal", "ZeroDivisionError: a bug")
    assert slow.ask("settings", model="box")["event"] == "done"


@pytest.mark.parametrize(
    ("line", "code", "request_id"),
    [
        (b"what?\n", "malformed", None),
        (b'{"id": 9, "do": 3}\n', "malformed", 9),
        (b'{"id": 9, "do": "dance"}\n', "unknown_request", 9),
        (b'{"id": 9, "do": "segment"}\n', "hello_first", 9),
        (b'{"id": 9, "do": "hello", "protocol": 99}\n', "protocol", 9),
        (b'{"id": 9, "do": "hello"}\n', "bad_request", 9),
        (b"y" * (5 * 1024 * 1024) + b"\n", "malformed", None),
    ],
)
def test_bad_lines_are_answered_and_the_worker_lives_on(client, line, code, request_id):
    client.write(line)
    answer = client.next()
    assert (answer["event"], answer["id"]) == ("error", request_id)
    assert answer["error"]["code"] == code
    assert client.hello()["protocol"] == 1


def test_bad_requests_say_what_is_wrong(client, phantom, affine):
    client.hello()
    client.volume(phantom[0], affine)

    def error(do, **fields):
        return client.ask(do, **fields)["error"]

    assert error("settings", model="nonsense")["kind"] == "InputError"
    assert (
        "no option 'colour'" in error("settings", model="box", options={"colour": "x"})["message"]
    )
    assert "like 'auto'" in error("settings", model="box", options={"plane": 3})["message"]
    assert "unknown plane" in error("settings", model="box", options={"plane": "x"})["message"]
    client.ask("settings", model="box")
    outside = {"name": "a", "boxes": [{"axis": 0, "block": [5, 13, 7, 6, 32, 99]}]}
    assert error("put", object=outside)["kind"] == "PromptError"
    thick = {"name": "a", "boxes": [{"axis": 1, "block": [5, 13, 7, 6, 32, 22]}]}
    assert "one voxel thick along its axis 1" in error("put", object=thick)["message"]
    inverted = {"name": "a", "blocks": [{"block": [5, 13, 7, 5, 32, 22]}]}
    assert "empty or inverted" in error("put", object=inverted)["message"]
    assert error("remove", name="b")["kind"] == "InputError"
    affine = affine.copy()
    affine[:, 0] = affine[:, 1]
    assert client.volume(phantom[0], affine)["error"]["kind"] == "OrientationError"


def test_an_array_that_was_damaged_on_the_way_is_refused(client, phantom, affine):
    client.hello()
    answer = client.ask(
        "volume",
        hash="0" * 64,
        shape=list(phantom[0].shape),
        dtype="<i2",
        affine=affine.tolist(),
        data=client.array(phantom[0]),
    )
    assert answer["error"]["code"] == "exchange"
    assert "SHA-256" in answer["error"]["message"]


def test_shutdown_ends_it_and_removes_the_folder(client, phantom, affine):
    client.hello()
    client.volume(phantom[0], affine)
    assert client.ask("shutdown")["event"] == "done"
    assert client.process.wait(5) == 0
    assert not client.exchange.exists()


@pytest.mark.thorough
@pytest.mark.parametrize("model", ["slow:0.1", "slow:30"])
def test_a_client_that_goes_away_ends_it_in_the_midst_of_work(slow, phantom, affine, model):
    slow.hello()
    slow.volume(phantom[0], affine)
    slow.ask("settings", model=model)
    slow.ask("put", object=ORGAN)
    slow.send("segment")
    time.sleep(0.3)
    slow.process.stdin.close()
    assert slow.process.wait(5) == 0
    assert not slow.exchange.exists()


@posix
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_it_in_order(client, how):
    client.hello()
    client.process.send_signal(how)
    assert client.process.wait(5) == 0
    assert not client.exchange.exists()


@posix
def test_no_orphan_when_the_parent_is_killed(tmp_path):
    """The pipe's other end is held open by this test: only the parent's death tells."""
    parent = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-m', 'sammed.worker', '--exchange', sys.argv[1]],"
        " stdin=sys.stdin)\n"
        "open(sys.argv[2], 'w').write(str(p.pid))\n"
        "time.sleep(60)\n"
    )
    note = tmp_path / "pid"
    child = subprocess.Popen(
        [sys.executable, "-c", parent, str(tmp_path), str(note)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    assert wait_until(lambda: list(tmp_path.glob("sammed-worker-*")), 10)
    worker = int(note.read_text())
    child.kill()
    child.wait()
    assert wait_until(lambda: not list(tmp_path.glob("sammed-worker-*")), 5)
    assert wait_until(lambda: not _lives(worker), 5)
    child.stdin.close()


@posix
def test_what_a_killed_worker_leaves_is_removed_by_the_next(tmp_path):
    first = Client("--exchange", str(tmp_path))
    first.hello()
    first.process.send_signal(signal.SIGKILL)
    first.stop()
    assert first.exchange.exists()
    second = Client("--exchange", str(tmp_path))
    second.hello()
    assert not first.exchange.exists()
    second.stop()


def test_a_folder_that_cannot_be_used_is_one_clear_line(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "sammed.worker", "--exchange", str(tmp_path / "absent")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    assert "choose one with --exchange" in run.stderr
    assert "Traceback" not in run.stderr


def _lives(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
