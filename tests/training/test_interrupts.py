"""Ctrl-C ends a run at once, and what is kept is whole."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
import torch

from sammed.training.checkpoint import load_checkpoint
from sammed.training.interrupts import Interrupts, unheard
from sammed.training.trainer import Trainer
from tests.training.networks import RECIPE, losses

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals as on POSIX")


def stop(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_raised_at_once_and_only_once(number):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interrupts():
        with pytest.raises(KeyboardInterrupt):
            stop(number)
        stop(number)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_what_is_shielded_is_finished_first():
    done = []

    def work():
        with interrupts.shield():
            stop()
            done.append("whole")

    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["whole"]


def test_a_process_may_be_started_unheard():
    with unheard():
        stop()
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


@pytest.mark.thorough
def test_a_stopped_run_goes_on_as_if_never_stopped(run, tmp_path):
    """Stopped after the second of four steps, by the user's Ctrl-C."""
    first = Trainer(RECIPE, tmp_path)
    first.run(lambda progress: stop() if progress.step == 2 else None)
    assert first.interrupted
    assert first.step == 2
    second = Trainer(RECIPE, tmp_path)
    second.resume(first.checkpoint)
    second.run()
    assert not second.interrupted
    assert losses(first) + losses(second) == pytest.approx(losses(run), rel=1e-5)


def test_a_stop_in_the_middle_of_a_step_takes_the_step_back(inline, tmp_path, monkeypatch):
    trainer = Trainer(RECIPE, tmp_path)
    clip = torch.nn.utils.clip_grad_norm_

    def at_the_third(*arguments, **options):
        if trainer.step == 2:
            stop()
        return clip(*arguments, **options)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", at_the_third)
    trainer.run()
    kept = load_checkpoint(trainer.checkpoint)
    assert kept["step"] == trainer.step == len(trainer.history) == 2
    assert kept["views"] == 8


def test_a_stop_in_a_step_of_the_optimiser_waits_for_its_end(inline, tmp_path, monkeypatch):
    trainer = Trainer(RECIPE, tmp_path)
    step = trainer.optimiser.step

    def stopped(*arguments, **options):
        stop()
        return step(*arguments, **options)

    monkeypatch.setattr(trainer.optimiser, "step", stopped)
    trainer.run()
    assert trainer.interrupted
    assert load_checkpoint(trainer.checkpoint)["step"] == 1


def test_a_stopped_run_is_not_validated(inline, tmp_path):
    """It would take long; Ctrl-C during the last validation leaves it out."""
    asked = []
    first = Trainer(RECIPE, tmp_path)
    first.run(lambda progress: stop(), lambda net: asked.append(net) or {})
    assert not asked
    second = Trainer(replace(RECIPE, steps=1), tmp_path / "second")

    def validate(net):
        stop()
        return {"dice": 1.0}

    second.run(validate=validate)
    assert second.interrupted
    assert second.checkpoint.is_file()
    assert not (second.out / "metrics.csv").exists()
