"""What is told of a run while it goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sammed.training import pace, trainer
from sammed.training.pace import Pace
from sammed.training.trainer import Trainer
from tests.training.networks import RECIPE


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand, in s."""
    now = [1000.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    return now


def test_speed_loss_and_what_is_left_of_the_time(clock):
    run = Pace(minutes=2.0, first=10, last=None, batch=8)
    assert run.after(11, 3.0).views_per_second == 0
    for step in (12, 13):
        clock[0] += 0.5
        told = run.after(step, 1.0)
    assert told.step == 13
    assert told.loss == pytest.approx(5 / 3)
    assert told.views_per_second == pytest.approx(16)
    assert told.seconds_left == pytest.approx(119)
    assert told.share == pytest.approx(1 / 120)
    clock[0] += 200
    assert run.over(13)
    assert run.after(14, 1.0).share == 1


def test_steps_may_be_over_before_the_time_is(clock):
    run = Pace(minutes=2.0, first=10, last=20, batch=8)
    run.after(11, 1.0)
    clock[0] += 0.5
    told = run.after(12, 1.0)
    assert told.seconds_left == pytest.approx(8 * 0.5)
    assert told.share == pytest.approx(0.2)
    assert not run.over(19)
    assert run.over(20)


def test_a_pause_is_not_counted_as_slowness(clock):
    run = Pace(minutes=20.0, first=0, last=None, batch=8)
    run.after(1, 1.0)
    clock[0] += 60
    run.paused()
    run.after(2, 1.0)
    clock[0] += 0.5
    assert run.after(3, 1.0).views_per_second == pytest.approx(16)


def test_a_run_tells_every_step_and_its_validations(inline, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "REPORT_EVERY", 2)
    told = []
    run = Trainer(replace(RECIPE, steps=3, validate_every=0.0), tmp_path)
    run.run(told.append, lambda net: {"dice": 0.75})
    assert [p.step for p in told if not p.validating] == [1, 2, 3]
    assert [p.step for p in told if p.validating] == [2]
    assert [p.dice for p in told if not p.validating] == [None, None, 0.75]
    assert told[-1].share == 1
