"""Runs: repeatable, resumable, and what they leave."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from sammed.errors import InputError, UnreadableFileError
from sammed.models.compact.locator import load_locator
from sammed.models.compact.locator_net import LocatorArchitecture
from sammed.models.compact.model import load_net
from sammed.models.compact.net import Architecture, input_planes
from sammed.training import losses as training_losses
from sammed.training.checkpoint import load_checkpoint
from sammed.training.commands import run_training
from sammed.training.losses import taught_loss
from sammed.training.plots import plot_metrics
from sammed.training.schedule import learning_rate
from sammed.training.speed import operations
from sammed.training.stream import make_chunk, pack, unpack
from sammed.training.task import BlocksTask
from sammed.training.trainer import Trainer
from tests.training.networks import RECIPE, exported, losses


def test_a_run_leaves_checkpoint_and_weights(run):
    assert run.step == 4
    assert run.views == 16
    assert np.isfinite(losses(run)).all()
    assert run.checkpoint.is_file()
    assert (run.out / "compact.safetensors").is_file()
    assert not list(run.out.glob("*.part"))


def test_the_same_seed_gives_the_same_losses(run, inline, tmp_path):
    again = Trainer(RECIPE, tmp_path)
    again.run()
    assert losses(again) == losses(run)


def test_a_resumed_run_goes_on_as_if_never_stopped(run, inline, tmp_path):
    first = Trainer(replace(RECIPE, steps=2), tmp_path)
    first.run()
    second = Trainer(RECIPE, tmp_path)
    second.resume(first.checkpoint)
    assert second.step == 2
    second.run()
    assert losses(first) + losses(second) == pytest.approx(losses(run), rel=1e-5)


@pytest.mark.thorough
def test_a_taught_run_stays_nearer_to_its_teacher(inline, tmp_path, monkeypatch):
    """From the teacher's weights at a high rate: what it answers drifts less when it is taught.

    A teacher of random weights is hardly ever right; here it is believed as if it were.
    """
    monkeypatch.setattr(training_losses, "true_iou", lambda answer, _: torch.ones(answer.shape[:2]))
    weights = exported(tmp_path / "teacher.safetensors", 1)
    batch = unpack(pack(np.random.default_rng(1), make_chunk(7, 0, 16)))
    target = torch.from_numpy(batch.target).float()
    with torch.no_grad():
        wanted = load_net(weights)[0](input_planes(batch.prompts))[0]
    away = {}
    for name, teacher in (("free", None), ("taught", weights)):
        recipe = replace(RECIPE, steps=40, rate=5e-3, clicks=0.0, teacher=teacher)
        trainer = Trainer(recipe, tmp_path / name)
        trainer.start_from(load_net(weights)[0].state_dict())
        trainer.run()
        logits, _, _ = trainer.net.eval()(input_planes(batch.prompts))
        away[name] = float(taught_loss(logits.detach(), wanted, target))
    least = float(taught_loss(wanted, wanted, target))  # cross-entropy with itself
    assert away["taught"] - least < 0.95 * (away["free"] - least)


def test_the_locator_has_no_teacher_and_no_other_prompts(tmp_path):
    for given in ({"teacher": "shipped"}, {"boxes_only": True}):
        with pytest.raises(InputError, match="--teacher and --boxes-only"):
            run_training(model="locator", out=tmp_path, **given)


TINY_LOCATOR = BlocksTask(LocatorArchitecture((8, 8, 8), (1, 1, 1)))


@pytest.mark.thorough
def test_the_locator_is_trained_by_the_same_loop(inline, tmp_path):
    """Repeatable, resumable, and its weights file loads."""
    recipe = replace(RECIPE, steps=3)
    first, again = (Trainer(recipe, tmp_path / name, TINY_LOCATOR) for name in ("a", "b"))
    first.run()
    again.run()
    assert losses(first) == losses(again)
    assert np.isfinite(losses(first)).all()
    short = Trainer(replace(recipe, steps=2), tmp_path / "c", TINY_LOCATOR)
    short.run()
    longer = Trainer(recipe, tmp_path / "c", TINY_LOCATOR)
    longer.resume(short.checkpoint)
    longer.run()
    assert losses(short) + losses(longer) == pytest.approx(losses(first), rel=1e-5)
    assert load_locator(tmp_path / "a" / "locator.safetensors")[0].architecture.widths == (8, 8, 8)
    with pytest.raises(UnreadableFileError, match="checkpoint of"):
        Trainer(recipe, tmp_path / "d").resume(short.checkpoint)


def test_a_checkpoint_that_is_none_is_a_clear_error(tmp_path):
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    with pytest.raises(UnreadableFileError, match="not a training checkpoint"):
        load_checkpoint(tmp_path / "bad.pt")


def test_another_model_cannot_be_trained(tmp_path):
    with pytest.raises(InputError, match="vit_b"):
        run_training(model="vit_b", out=tmp_path)


def test_metrics_are_written_with_one_header(run):
    run._record({"step": 1, "views": 4, "loss": 2.0})
    run._record({"step": 2, "views": 8, "loss": 1.0})
    with (run.out / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["loss"] for r in rows][-2:] == ["2", "1"]


def test_the_rate_rises_stays_and_falls():
    assert learning_rate(1.0, 0, 0.0) < 0.01
    assert learning_rate(1.0, 500, 0.5) == 1.0
    assert learning_rate(1.0, 500, 0.8) < 1.0
    assert learning_rate(1.0, 500, 1.0) == pytest.approx(0.02)


def test_the_plot_and_the_count_of_operations(run, tmp_path):
    run._record({"views": 10, "loss": 2.0, "mask": 1.0, "val_dice": 0.5})
    plot_metrics(run.out / "metrics.csv", tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
    assert 0.5 < operations(Architecture()) < 2.0
