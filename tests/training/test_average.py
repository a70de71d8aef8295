"""Weights of several runs averaged."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from sammed.cli import main
from sammed.errors import InputError, WeightsMismatchError
from sammed.models.compact.locator import load_locator
from sammed.models.compact.locator_net import LocatorArchitecture, LocatorNet
from sammed.models.compact.model import load_net
from sammed.models.compact.weight_files import load_difference
from sammed.training.average import average_weights
from sammed.training.checkpoint import export_weights
from tests.training.networks import TINY, exported


def test_averaged_weights_lie_where_the_shares_say(tmp_path):
    one, two = exported(tmp_path / "a.safetensors", 1), exported(tmp_path / "b.safetensors", 2)
    average_weights({one: 1, two: 3}, tmp_path / "mean.safetensors")
    first, second, mean = (
        load_net(tmp_path / f"{name}.safetensors")[0].state_dict() for name in ("a", "b", "mean")
    )
    key = "masks.weight"
    assert not torch.allclose(first[key], second[key])
    torch.testing.assert_close(mean[key], first[key] / 4 + second[key] * 3 / 4, atol=2e-3, rtol=0)
    average_weights({one: 2}, tmp_path / "same.safetensors")
    torch.testing.assert_close(load_net(tmp_path / "same.safetensors")[0].state_dict(), first)


def test_the_locators_weights_are_averaged_in_eight_bits(tmp_path):
    shape = LocatorArchitecture((8, 8, 8), (1, 1, 1))
    paths = {}
    for seed in (1, 2):
        torch.manual_seed(seed)
        path = tmp_path / f"{seed}.safetensors"
        export_weights(path, LocatorNet(shape).state_dict(), shape.tag)
        paths[str(path)] = 1.0
    average_weights(paths, tmp_path / "mean.safetensors", locator=True)
    first, second, mean = (
        load_locator(tmp_path / f"{n}.safetensors")[0].state_dict() for n in (1, 2, "mean")
    )
    key = "stem.0.weight"
    torch.testing.assert_close(mean[key], (first[key] + second[key]) / 2, atol=1e-3, rtol=0)
    with pytest.raises(WeightsMismatchError, match="locator-unet"):
        average_weights(paths, tmp_path / "wrong.safetensors")


def test_weights_that_cannot_be_averaged_are_a_clear_error(tmp_path):
    one = exported(tmp_path / "a.safetensors", 1)
    other = exported(tmp_path / "b.safetensors", 1, replace(TINY, fine=8))
    with pytest.raises(InputError, match="different architectures"):
        average_weights({one: 1, other: 1}, tmp_path / "mean.safetensors")
    for shares in ({}, {one: 0.0}, {one: 1.0, "shipped": -0.5}):
        with pytest.raises(InputError, match="shares > 0"):
            average_weights(shares, tmp_path / "mean.safetensors")
    assert not (tmp_path / "mean.safetensors").exists()
    with pytest.raises(InputError, match="exists"):
        average_weights({one: 1}, tmp_path / "b.safetensors")


def test_averaging_on_the_command_line_answers_in_one_line(tmp_path, capsys):
    one, out = exported(tmp_path / "a.safetensors", 1), tmp_path / "mean.safetensors"

    def average(*arguments):
        code = main(["train", "average", str(out), *arguments])
        return code, capsys.readouterr().err

    other = exported(tmp_path / "b.safetensors", 2)
    assert average(f"{one}=0.5", f"{other}=0.5") == (0, "")
    assert load_net(out)[0].architecture == TINY
    code, said = average(f"{one}=1")
    assert code == 1
    assert re.fullmatch("sammed: .*exists.*\n", said)
    assert average(f"{one}=1", "--force") == (0, "")
    code, said = average(f"{tmp_path / 'nowhere'}=1", "--force")
    assert code == 3
    assert re.fullmatch("sammed: .*nowhere.*\n", said)
    for wrong in ("half", f"{one}=half"):
        code, said = average(wrong)
        assert code == 2
        assert "half" in said


def test_a_difference_from_weights_of_another_shape_is_a_clear_error(tmp_path):
    small = exported(tmp_path / "small.safetensors", 1)
    with pytest.raises(InputError, match="from the shipped weights; expected 'compact-unet"):
        average_weights({small: 1}, tmp_path / "boxes.safetensors", boxes=True)
    with pytest.raises(InputError, match="'locator-unet"):
        average_weights({"shipped": 1}, tmp_path / "b.safetensors", locator=True, boxes=True)
    assert [p.name for p in tmp_path.iterdir()] == ["small.safetensors"]


def test_a_mean_is_written_as_its_difference_from_the_shipped_weights(tmp_path, monkeypatch):
    base = exported(tmp_path / "base.safetensors", 1)
    other, out = exported(tmp_path / "other.safetensors", 2), tmp_path / "boxes.safetensors"
    monkeypatch.setattr("sammed.models.compact.model.WEIGHTS", tmp_path / "base.safetensors")
    assert main(["train", "average", str(out), "shipped=1", f"{other}=1", "--boxes"]) == 0
    net, digest = load_net()
    mean = load_difference(net, out, "compact", digest)[0].state_dict()
    first, second = (load_net(path)[0].state_dict() for path in (base, other))
    for key in ("masks.weight", "masks.bias"):
        wanted = (first[key] + second[key]) / 2
        near = (first[key] - second[key]).abs().amax() / 2 / 7
        torch.testing.assert_close(mean[key], wanted, atol=float(near), rtol=0)
        assert not torch.allclose(mean[key], first[key], atol=float(near))
