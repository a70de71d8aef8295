"""Cancelling, workers that die, and nodes that go while work runs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: run by make test-slicer")

from SAMMedLib import geometry, prompts  # noqa: E402
from SAMMedLib.engine import Engine  # noqa: E402

from tests.slicer.conftest import (  # noqa: E402
    MODULE,
    SAMMED_PYTHON,
    dice,
    run,
)
from tests.slicer.workflows import (  # noqa: E402
    BOX,
    ORGAN,
    add_box,
    chosen,
    mask_of,
    poll_until,
    segment,
    segment_with,
    start,
)


@pytest.mark.parametrize("model", ["slow:0.05", "slow:30"])
def test_cancel_takes_less_than_half_a_second(slow, model):
    start(slow, model)
    assert slow.engine.busy
    slow.cancel()
    assert run(slow) < 0.5
    assert "Cancelled" in slow.message
    assert not mask_of(slow).any()
    slow.parameters.model = "two_class"
    assert dice(segment(slow), ORGAN) > 0.9


def test_cancel_while_it_starts(workflow):
    workflow.engine = Engine(workflow.engine._launch)
    add_box(workflow)
    workflow.segment()
    workflow.cancel()
    assert run(workflow) < 0.5
    assert segment(workflow).any()


def test_cancel_when_the_worker_has_just_said_hello(workflow):
    workflow.engine = Engine(workflow.engine._launch)
    add_box(workflow)
    workflow.segment()
    end = time.monotonic() + 30
    while workflow.engine._process._messages.empty():  # its hello is there, and not yet read
        time.sleep(0.01)
        assert time.monotonic() < end
    workflow.cancel()
    assert run(workflow) < 0.5
    assert segment(workflow).any()


@pytest.mark.parametrize("do", ["settings", "put", "segment"])
def test_prompts_taken_back_after_a_cancel_are_told_again(workflow, do):
    """The worker has done what was cancelled; the module must not think that it has not."""
    box = add_box(workflow)
    first = segment(workflow)
    geometry.fit_roi(workflow.volume, box, [12, 34, 34, 13, 42, 62])
    workflow.parameters.window = "300/60"
    asked, send = [], workflow.engine._send
    workflow.engine._send = lambda what, fields: (asked.append(what), send(what, fields))[1]
    workflow.segment()
    poll_until(workflow, lambda: do in asked)
    workflow.cancel()
    run(workflow)
    workflow.engine._send = send
    geometry.fit_roi(workflow.volume, box, BOX)
    workflow.parameters.window = "160/70"
    assert np.array_equal(segment(workflow), first)


def test_a_killed_worker_is_told_and_replaced(slow):
    start(slow, "slow:0.2")
    os.kill(slow.engine._process.pid, signal.SIGKILL)
    run(slow)
    assert slow.failed
    assert "ended unexpectedly" in slow.message
    slow.parameters.model = "two_class"
    assert dice(segment(slow), ORGAN) > 0.9


def test_closing_leaves_no_process_and_no_files(slow):
    start(slow, "slow:0.2")
    process, exchange = slow.engine._process, Path(slow.engine.hello["exchange"])
    assert exchange.exists()
    slow.close()
    assert process.wait(5)
    end = time.monotonic() + 5
    while exchange.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not exchange.exists()


def test_an_application_that_ends_leaves_no_process_and_no_files(tmp_path):
    code = f"""
import os, sys, time
sys.path.insert(0, {str(MODULE)!r})
from SAMMedLib.process import WorkerProcess
command = [{SAMMED_PYTHON!r}, "-m", "sammed.worker", "--exchange", {str(tmp_path)!r}]
worker = WorkerProcess(command, dict(os.environ))
worker.send({{"id": 1, "do": "hello", "protocol": 1}})
while not (messages := worker.poll()):
    time.sleep(0.01)
worker.exchange = messages[0]["exchange"]
assert os.path.isdir(worker.exchange)
worker.kill()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []


def test_a_volume_removed_while_it_runs(slow):
    start(slow, "slow:0.05")
    slicer.mrmlScene.RemoveNode(slow.parameters.volume)
    slow.parameters.volume = None
    run(slow)
    assert "removed meanwhile" in slow.message


def test_a_segment_removed_while_it_runs(slow):
    start(slow, "slow:0.05")
    node, segment_id = chosen(slow)
    node.GetSegmentation().RemoveSegment(segment_id)
    run(slow)
    assert "removed meanwhile" in slow.message


def test_a_segmentation_removed_while_it_runs(slow):
    start(slow, "slow:0.05")
    slicer.mrmlScene.RemoveNode(slow.parameters.segmentation)
    slow.parameters.segmentation = None
    run(slow)
    assert "removed meanwhile" in slow.message


def test_prompts_removed_while_it_runs_do_not_disturb(slow):
    start(slow, "slow:0.05")
    prompts.clear(*chosen(slow))
    run(slow)
    assert mask_of(slow).any()
    slow.undo()  # the prompts that were removed since
    assert prompts.count(*chosen(slow))[0] == 1
    slow.undo()
    assert not mask_of(slow).any()


def test_an_engine_of_another_time_says_which_to_update(workflow, monkeypatch):
    from SAMMedLib import engine

    monkeypatch.setattr(engine, "PROTOCOL", 99)
    workflow.engine = Engine(workflow.engine._launch)
    add_box(workflow)
    workflow.segment()
    run(workflow)
    assert workflow.failed
    assert "speaks protocol 1, not 99: update the sammed package" in workflow.message
    assert workflow.engine._process is None


def test_a_python_without_sammed_is_said_so(workflow, tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {SAMMED_PYTHON} -I -S "$@"\n')
    bare.chmod(0o755)
    workflow.engine = Engine(lambda: ([str(bare), "-m", "sammed.worker"], dict(os.environ)))
    add_box(workflow)
    workflow.segment()
    run(workflow)
    assert "has no sammed; install it" in workflow.message


def test_nothing_found_leaves_the_segment_and_no_trace_in_the_next(slow, tmp_path):
    blind = tmp_path / "blind"
    first = segment_with(slow, f"blind:{blind}")
    box = prompts.nodes(*chosen(slow), prompts.BOX)[0]
    blind.touch()
    geometry.fit_roi(slow.volume, box, [11, 30, 40, 12, 50, 60])
    slow.segment()
    run(slow)
    assert "nothing was segmented" in slow.message.lower()
    assert np.array_equal(mask_of(slow), first)
    blind.unlink()
    geometry.fit_roi(slow.volume, box, [11, 30, 40, 12, 48, 60])
    second = segment(slow)
    assert geometry.tight(second)[1:3] + geometry.tight(second)[4:] == [30, 40, 48, 60]


def test_what_the_engine_refuses_is_shown(workflow):
    workflow.parameters.model = "vit_h"
    add_box(workflow)
    workflow.segment()
    run(workflow)
    assert workflow.failed
    assert "vit_h" in workflow.message


def test_a_second_segmentation_waits_for_the_first(slow):
    start(slow, "slow:0.05")
    slow.segment()
    assert "Another segmentation is running" in slow.message
    run(slow)
    assert mask_of(slow).any()
