"""How what segmenters begin with is learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("skimage", reason="colours of pictures need scikit-image")

from sammed import cli
from sammed.errors import WeightsMismatchError
from sammed.models.learned.pretrained import FILES, FLAT, SOLID, read_pretrained
from sammed.synthesis.dense_pictures import make_pictures
from sammed.synthesis.source import GENERATOR
from sammed.training.dense_task import as_tensors, make_chunk, pack
from sammed.training.pretraining import (
    FlatTask,
    PretrainingOptions,
    SolidTask,
    train_segmenter,
    validate_pretrained,
)
from tests.training.networks import InlineStream, losses

pytestmark = pytest.mark.thorough


@pytest.fixture
def small(monkeypatch):
    """Data are made in this process, few at a time, of small scenes."""
    monkeypatch.setattr("sammed.training.trainer.Stream", InlineStream)
    for name in ("CHUNK", "PICTURE_CHUNK"):
        monkeypatch.setattr(f"sammed.training.pretraining.{name}", 4)
    for name in ("WINDOW", "PICTURE_WINDOW"):
        monkeypatch.setattr(f"sammed.training.pretraining.{name}", 2)
    monkeypatch.setattr("sammed.synthesis.dense_scenes.WIDTHS", (24, 36))
    monkeypatch.setattr("sammed.synthesis.dense_pictures.SIDES", (40, 60))
    monkeypatch.setattr("sammed.synthesis.dense_picture_samples.SQUARE", 64)
    monkeypatch.setattr(SolidTask, "beginning", replace(SOLID, width=8))
    monkeypatch.setattr(FlatTask, "beginning", replace(FLAT, width=8, patch=64))


def options(out, **given) -> PretrainingOptions:
    return replace(PretrainingOptions(out=out, steps=4, seed=5, validation=0), **given)


@pytest.mark.parametrize("flat", [False, True])
def test_the_same_seed_gives_the_same_weights_also_when_resumed(small, tmp_path, flat):
    whole = train_segmenter(options(tmp_path / "a", flat=flat))
    train_segmenter(options(tmp_path / "b", flat=flat, steps=2))
    rest = train_segmenter(options(tmp_path / "b", flat=flat, resume=True))
    assert losses(whole)[2:] == losses(rest)
    for name, value in whole.net.state_dict().items():
        assert torch.equal(value, rest.net.state_dict()[name]), name


@pytest.mark.parametrize("flat", [False, True])
def test_what_it_leaves_can_be_begun_with(small, tmp_path, flat):
    first = train_segmenter(options(tmp_path / "a", flat=flat))
    task = first.task
    file = tmp_path / "a" / task.weights_name
    assert set(read_pretrained(file, task.beginning)) == set(first.net.state_dict())
    again = train_segmenter(options(tmp_path / "b", flat=flat, init=file, steps=1))
    assert again.step == 1
    with pytest.raises(WeightsMismatchError, match="segmenter-unet/1"):
        train_segmenter(options(tmp_path / "c", flat=flat, init=FILES[2 if not flat else 3]))


@pytest.mark.parametrize("task", [SolidTask(), FlatTask()])
def test_it_learns_to_tell_borders(small, task):
    """Repeated steps on one batch lower each part of the loss."""
    torch.manual_seed(0)
    net = task.network()
    rng = np.random.default_rng(0)
    arrays = pack(rng, list(make_chunk(task.draw, 3, 0, 3, GENERATOR)))
    optimiser = torch.optim.AdamW(net.parameters(), lr=4e-3)
    told = []
    for step in range(16):
        loss, parts, count = task.loss(net, arrays, np.random.default_rng(step), half=False)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        told.append(parts["border"])
    assert count == 3
    assert np.mean(told[-3:]) < 0.9 * np.mean(told[:3])


def test_brightness_is_standardised_within_the_image(small):
    batch = as_tensors(
        pack(np.random.default_rng(1), list(make_chunk(SolidTask().draw, 2, 0, 2, GENERATOR)))
    )
    shown, inside = SolidTask().shown(batch, None), batch["inside"][:, None].bool()
    assert shown.shape == (2, 1, 48, 48, 48)
    assert abs(float(shown[inside].mean())) < 0.2
    assert not shown[~inside].any()


def test_slices_are_shown_evened_too_but_some(small):
    batch = as_tensors(
        pack(np.random.default_rng(1), list(make_chunk(FlatTask().draw, 2, 0, 8, GENERATOR)))
    )
    task = FlatTask()
    assert (task.shown(batch, None)[:, 1].flatten(1).abs().amax(1) > 0).all()
    left_out = [not bool(one.any()) for one in task.shown(batch, np.random.default_rng(0))[:, 1]]
    assert 0 < sum(left_out) < len(left_out)


def test_most_of_what_is_shown_flat_are_slices(small):
    kinds = [p.kind for n in range(40) for p in make_pictures((n,), GENERATOR, 0.75)]
    assert 0.4 < kinds.count("slice") / len(kinds) < 0.95


def test_validation_tells_dice(small):
    task = SolidTask()
    found = validate_pretrained(task.network().eval(), task, 2)
    assert set(found) == {"thing", "border", "inner"}
    assert all(0 <= value <= 1 for value in found.values())


def test_the_command_trains_and_says_where(small, tmp_path, capsys):
    words = ["train", "segmenter", "--steps", "1", "--out", str(tmp_path), "--validate-every", "9"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sammed.training.pretraining.VALIDATED", 2)
        assert cli.main(words) == 0
    assert (tmp_path / "solid.safetensors").is_file()
    assert "wrote" in capsys.readouterr().err
