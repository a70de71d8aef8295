"""compact's branch for strokes: it adds to what strokes are said of, and to nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sammed.errors import WeightsMismatchError, WeightsNotFoundError
from sammed.models.checkpoints import digest
from sammed.models.compact.entry import BOXES, STROKES_FAMILY, WEIGHTS, build
from sammed.models.compact.model import CompactModel, load_net, load_strokes
from sammed.models.compact.net import PLANES, CompactNet
from sammed.models.compact.stroke_net import (
    STROKE_PLANES,
    StrokeArchitecture,
    StrokeNet,
    with_strokes,
)
from sammed.models.compact.tuned import shipped_nets
from sammed.models.contract import CHECKS, check_spec
from sammed.models.entry import BuildRequest
from sammed.models.protocols import ViewBatch, ViewPrompt
from sammed.training.checkpoint import export_weights

TINY = StrokeArchitecture((8, 8, 8, 8))
SIZE = 96


def branch_file(path, seed=0, base=None, noise=0.05):
    """A small branch that says something."""
    torch.manual_seed(seed)
    net = StrokeNet(TINY)
    for last in (net.on_half, net.on_deepest):
        for parameter in last.parameters():
            torch.nn.init.normal_(parameter, std=noise)
    export_weights(path, net.state_dict(), TINY.tag, base=base or digest(WEIGHTS, "sha256"))
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return branch_file(tmp_path_factory.mktemp("strokes") / "strokes.safetensors")


@pytest.fixture(scope="module")
def model(weights):
    return CompactModel(strokes=weights)


@pytest.fixture(scope="module")
def without():
    """The same networks without a branch."""
    return CompactModel(nets=shipped_nets())


def prompts():
    """One of each mixture, without strokes; then the same with."""
    rng = np.random.default_rng(2)
    box = np.array([20, 25, 80, 70], np.float32)
    points = np.array([[40, 41], [12, 10]], np.float32)
    positive = np.array([True, False])
    mask = rng.normal(0, 4, (SIZE, SIZE)).astype(np.float32)
    plain = [
        ViewPrompt(box=box),
        ViewPrompt(box=box, final=True),
        ViewPrompt(points=points, positive=positive),
        ViewPrompt(box=box, points=points, positive=positive, mask=mask),
    ]
    strokes = np.zeros((2, SIZE, SIZE), np.float32)
    strokes[0, 40:42, 30:60] = strokes[1, 10:12, 5:30] = 1
    return plain, [replace(prompt, strokes=strokes) for prompt in plain]


def embedding(model):
    rng = np.random.default_rng(1)
    pixels = rng.random((1, 1, SIZE, SIZE), np.float32)
    return model.encode(ViewBatch(pixels, rng.random((1, 2, SIZE, SIZE), np.float32)))[0]


def same(a, b):
    return (
        np.array_equal(a.low_res_logits, b.low_res_logits)
        and np.array_equal(a.predicted_iou, b.predicted_iou)
        and a.present == b.present
    )


def test_without_strokes_every_answer_is_what_it_was_to_the_last_bit(model, without):
    """Alone, together, and beside prompts with strokes."""
    plain, stroked = prompts()
    view = embedding(model)
    before = without.decode(view, plain)
    assert all(map(same, model.decode(view, plain), before))
    mixed = model.decode(view, [stroked[0], *plain, stroked[1], stroked[3]])
    assert all(map(same, mixed[1:5], before))


def test_strokes_are_heard_where_a_box_or_a_former_answer_says_where(model, without):
    """By a stroke alone, points of it tell better how large its object is."""
    plain, stroked = prompts()
    view = embedding(model)
    deaf, heard = model.decode(view, plain), model.decode(view, stroked)
    apart = [
        np.abs(a.low_res_logits - b.low_res_logits).max() for a, b in zip(deaf, heard, strict=True)
    ]
    told = [p.box is not None or p.mask is not None for p in stroked]
    assert min(d for d, where in zip(apart, told, strict=True) if where) > 0.01
    assert max(d for d, where in zip(apart, told, strict=True) if not where) < 1e-4
    swapped = [replace(p, strokes=p.strokes[::-1].copy()) for p in stroked]
    other = model.decode(view, swapped)
    differ = [
        not np.allclose(a.low_res_logits, b.low_res_logits, atol=1e-4)
        for a, b in zip(heard, other, strict=True)
    ]
    assert differ == told  # in the object is not beside it
    assert "scribble" in model.spec.prompts
    assert "scribble" not in without.spec.prompts


def test_other_strokes_weights_are_another_model(model, without, tmp_path):
    other = CompactModel(strokes=branch_file(tmp_path / "other.safetensors", seed=5))
    assert len({m.spec.weights_hash for m in (model, without, other)}) == 3


def test_it_keeps_the_contract_of_models(model):
    check_spec(model.spec)
    for check in CHECKS:
        check(model)


def test_a_new_branch_adds_nothing():
    net, branch = load_net()[0], StrokeNet().eval()
    planes = torch.rand(2, PLANES, SIZE, SIZE)
    strokes = torch.rand(2, 2, SIZE, SIZE)
    with torch.no_grad():
        seen = net.look(planes)
        added = branch(with_strokes(planes, strokes), seen)
        for a, b in zip(net.answer(added), net(planes), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_brightness_is_told_against_what_was_stroked():
    planes = torch.zeros(1, PLANES, 8, 8)
    planes[0, 0] = 2 * 0.3 - 1
    planes[0, 0, 4:] = 2 * 0.8 - 1
    strokes = torch.zeros(1, 2, 8, 8)
    strokes[0, 0, 6, 2:6] = 1
    told = with_strokes(planes, strokes)
    assert told.shape == (1, PLANES + STROKE_PLANES, 8, 8)
    inside, outside = told[0, -2], told[0, -1]
    torch.testing.assert_close(inside[4:], torch.zeros(4, 8), rtol=0, atol=1e-4)
    assert (inside[:4] == -2).all()
    assert not outside.any()  # nothing was stroked there


def test_a_branch_of_the_shipped_shape_is_small():
    parameters = sum(p.numel() for p in StrokeNet().parameters())
    assert 200_000 < parameters < 700_000


def test_bad_files_are_clear_errors(tmp_path, weights):
    base = load_net()[1]
    with pytest.raises(WeightsNotFoundError, match=r"none.safetensors"):
        load_strokes(base, tmp_path / "none.safetensors")
    short = tmp_path / "short.safetensors"
    short.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(WeightsMismatchError, match=r"short.safetensors"):
        load_strokes(base, short)
    with pytest.raises(WeightsMismatchError, match="expected 'compact-strokes/1"):
        load_strokes(base, WEIGHTS)
    with pytest.raises(WeightsMismatchError, match="expected 'compact-strokes/1"):
        load_strokes(base, BOXES)
    foreign = branch_file(tmp_path / "foreign.safetensors", base="ab" * 32)
    with pytest.raises(
        WeightsMismatchError, match=f"was trained beside weights {'ab' * 32}; expected {base}"
    ):
        load_strokes(base, foreign)
    lacking = load_file(weights)
    lacking.pop("on_half.bias")
    path = tmp_path / "lacking.safetensors"
    save_file(lacking, path, {"architecture": TINY.tag, "base": base})
    with pytest.raises(WeightsMismatchError, match="missing"):
        load_strokes(base, path)


def test_a_file_of_weights_for_strokes_is_a_model_to_choose(weights, tmp_path):
    """Beside the shipped network; a network of one's own hears points in their place."""
    chosen = build(BuildRequest(weights=weights))
    assert isinstance(chosen, CompactModel)
    assert "scribble" in chosen.spec.prompts
    assert TINY.tag.startswith(STROKES_FAMILY)
    own = tmp_path / "own.safetensors"
    torch.manual_seed(1)
    net = CompactNet()
    export_weights(own, net.state_dict(), net.architecture.tag)
    assert "scribble" not in build(BuildRequest(weights=own)).spec.prompts
