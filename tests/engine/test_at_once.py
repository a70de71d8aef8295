"""Work on all cores: the same answers in the same order, one count, stopped together."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from sammed.engine.at_once import at_once, threads_for
from sammed.engine.progress import Reporter
from sammed.errors import Cancelled, SegmentationError
from sammed.models import registry
from sammed.prompts import ObjectPrompts, PointPrompt
from sammed.prompts.simulation import slice_boxes
from sammed.session import Session
from tests.phantoms import ORGAN, StubModel, block_of, organ_volume, slice_box


def quiet(cancel=None):
    return Reporter(None, cancel, None)


@pytest.fixture
def threads():
    """Sets how many threads PyTorch may use, for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_values_come_in_the_order_of_the_tasks():
    def after(seconds, value):
        def task(reporter):
            time.sleep(seconds)
            return value

        return task

    tasks = [after(0.05, "slow"), after(0.0, "quick"), after(0.02, "middle")]
    assert at_once(tasks, 3, quiet()) == at_once(tasks, 1, quiet()) == ["slow", "quick", "middle"]


def test_so_many_run_at_a_time_and_no_more():
    running, most, lock = set(), [0], threading.Lock()

    def task(reporter):
        with lock:
            running.add(threading.get_ident())
            most[0] = max(most[0], len(running))
        time.sleep(0.05)
        with lock:
            running.discard(threading.get_ident())

    at_once([task] * 5, 2, quiet())
    assert most == [2]


@pytest.mark.alone
def test_one_that_fails_stops_the_others_at_once():
    def failing(reporter):
        time.sleep(0.05)
        raise SegmentationError("nothing")

    def long(reporter):
        for _ in range(1000):
            reporter.check()
            time.sleep(0.01)

    started = time.monotonic()
    with pytest.raises(SegmentationError, match="nothing"):
        at_once([failing, long], 2, quiet())
    assert time.monotonic() - started < 2


@pytest.mark.alone
def test_all_hear_that_the_user_stops():
    stop = threading.Event()
    reporter = quiet(stop.is_set)

    def long(reporter):
        for _ in range(1000):
            reporter.check()
            time.sleep(0.01)

    threading.Timer(0.1, stop.set).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        at_once([long, long, long], 2, reporter)
    assert time.monotonic() - started < 0.7


def test_models_say_whether_they_can_be_asked_so(threads):
    threads(2)
    assert threads_for(registry.build("compact").spec) == 2
    assert threads_for(registry.build("box").spec) == 1
    assert threads_for(StubModel(52, concurrent=True).spec) == 2
    threads(1)
    assert threads_for(registry.build("compact").spec) == 1


SAID = {
    "3D box": ObjectPrompts("organ", blocks=(block_of(ORGAN),)),
    "boxes": ObjectPrompts("organ", boxes=slice_boxes(ORGAN, 0)),
    "2D box": ObjectPrompts("organ", boxes=(slice_box(ORGAN, 7),)),
    "two boxes": ObjectPrompts("organ", boxes=(slice_box(ORGAN, 4), slice_box(ORGAN, 10))),
    "clicks": ObjectPrompts("organ", points=(PointPrompt((7, 17, 24)), PointPrompt((10, 17, 24)))),
}


def answered(**spec):
    told = []
    session = Session(organ_volume(), StubModel(52, **spec))
    session.put(ObjectPrompts("organ", blocks=(block_of(ORGAN),)))
    session.segment(told.append)
    return session, [p.done for p in told]


def test_slices_are_counted_together_each_once(threads):
    threads(2)
    alone, one_by_one = answered()
    beside, counted = answered(concurrent=True)
    assert counted == one_by_one == list(range(1, len(counted) + 1))
    assert alone.counts == beside.counts
    np.testing.assert_array_equal(alone.object_mask("organ"), beside.object_mask("organ"))


@pytest.mark.parametrize("said", ["3D box", "boxes", "2D box", "two boxes", "clicks"])
def test_compact_answers_the_same_to_the_last_bit(said, threads):
    volume = organ_volume()
    obj = SAID[said]
    found = []
    for count in (1, 3):
        threads(count)
        session = Session(volume, registry.build("compact"))
        session.put(obj)
        session.segment()
        run = session.runs["organ"]
        found.append((run.volume.logits, [s.predicted_iou for s in run.slices], session.counts))
        assert torch.get_num_threads() == count
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1:] == found[1][1:]
