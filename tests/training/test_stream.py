"""Who makes training data may die; who trains goes on, or stops with one line and loses nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from sammed.errors import SammedError
from sammed.training import stream as streams
from sammed.training import trainer as trainers
from sammed.training.pool import Pool
from sammed.training.stream import MOST_DEATHS, Stream, StreamPlan, WorkerError
from sammed.training.trainer import Trainer
from tests.training.networks import RECIPE, InlineStream

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")

HUGE = 300_000
"""Values of a batch: more than a pipe holds, so that a kill tears one apart."""


def numbers(plan, start, *, dies_at=None, marks=None):
    """Batches that tell their step; the worker kills itself at some, each once if there are marks.

    Slow enough for what was sent before to be read.
    """
    step = start
    while True:
        if step == dies_at and (marks is None or not Path(marks, "died").exists()):
            if marks is not None:
                Path(marks, "died").touch()
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)
        yield {"step": np.full(HUGE, step)}
        step += 1


def broken(plan, start):
    yield {"step": np.zeros(1)}
    raise ValueError("this draw makes no sense")


def steps(stream, count):
    return [int(stream.next()["step"][-1]) for _ in range(count)]


@pytest.fixture
def forked(monkeypatch):
    """Workers that are there at once, since they import nothing."""
    fork = multiprocessing.get_context("fork")
    monkeypatch.setattr(streams.multiprocessing, "get_context", lambda kind: fork)


@pytest.mark.thorough
def test_a_worker_that_is_killed_loses_no_batch_and_sends_none_twice():
    with Stream(StreamPlan(), 5, numbers, ahead=2) as stream:
        assert steps(stream, 3) == [5, 6, 7]
        os.kill(stream._worker.pid, signal.SIGKILL)
        assert steps(stream, 4) == [8, 9, 10, 11]


def test_a_worker_that_died_once_by_itself_is_begun_anew(tmp_path, forked):
    source = partial(numbers, dies_at=2, marks=str(tmp_path))
    with Stream(StreamPlan(), 0, source) as stream:
        assert steps(stream, 4) == [0, 1, 2, 3]
    assert (tmp_path / "died").exists()


def test_a_worker_that_dies_at_the_same_batch_always_is_given_up(forked):
    with Stream(StreamPlan(), 0, partial(numbers, dies_at=1)) as stream:
        assert steps(stream, 1) == [0]
        with pytest.raises(WorkerError, match=f"killed {MOST_DEATHS} times in a row.*signal 9"):
            stream.next()


def test_a_worker_that_fails_is_not_begun_anew(capfd, forked):
    with Stream(StreamPlan(), 0, broken) as stream:
        stream.next()
        with pytest.raises(WorkerError, match=r"has failed \(exit code 1\); what it said"):
            stream.next()
    assert capfd.readouterr().err.count("Traceback") == 1


def test_a_stream_that_nobody_reads_ends_at_once(forked):
    began = time.monotonic()
    with Stream(StreamPlan(), 0, numbers, ahead=1) as stream:
        stream.next()
        worker = stream._worker
    assert not worker.is_alive()
    assert not stream._taker.is_alive()
    assert time.monotonic() - began < 10


def halves(index):
    return {"number": np.full(4, index)}


@pytest.mark.thorough
def test_a_pool_whose_workers_have_died_says_so_instead_of_going_on_with_old_samples():
    with Pool(halves, workers=1, capacity=16, batch=4) as pool:
        pool.next()
        for worker in pool._workers:
            worker.kill()
            worker.join()
        with pytest.raises(WorkerError, match="have died"):
            pool.next()


class Dying(InlineStream):
    """Gives two batches."""

    def next(self):
        self.given = getattr(self, "given", 0) + 1
        if self.given > 2:
            raise WorkerError("the process that makes training data was killed")
        return super().next()


@pytest.mark.thorough
def test_what_was_learned_before_the_worker_died_is_kept_and_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.setattr(trainers, "Stream", InlineStream)
    whole = Trainer(RECIPE, tmp_path / "whole")
    whole.run()
    monkeypatch.setattr(trainers, "Stream", Dying)
    torn = Trainer(RECIPE, tmp_path / "torn")
    with pytest.raises(SammedError, match=r"was killed; .*all 2 steps, --resume goes on") as said:
        torn.run()
    assert "\n" not in str(said.value)
    monkeypatch.setattr(trainers, "Stream", InlineStream)
    again = Trainer(RECIPE, tmp_path / "torn")
    again.resume(again.checkpoint)
    assert again.step == 2
    again.run()
    for name, value in whole.average.items():
        assert np.array_equal(value.numpy(), again.average[name].numpy()), name
