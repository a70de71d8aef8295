"""compact's locator: its weights file, its symmetry, its input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sammed.errors import WeightsMismatchError, WeightsNotFoundError
from sammed.models.compact.cubes import BlockView
from sammed.models.compact.locator import MIRRORED, Locator, load_locator
from sammed.models.compact.locator_net import (
    BLOCK_SIZE,
    HEARD,
    PLANES,
    Blocks,
    LocatorArchitecture,
    LocatorNet,
    block_planes,
)
from sammed.models.compact.quantization import eight_bit
from sammed.models.compact.weight_files import fold_norms
from sammed.training.checkpoint import export_weights

TINY = LocatorArchitecture((8, 8, 8), (1, 1, 1))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(4)
    path = tmp_path_factory.mktemp("locator") / "locator.safetensors"
    export_weights(path, LocatorNet(TINY).state_dict(), TINY.tag)
    return path


@pytest.fixture(scope="module")
def hearing(weights):
    """A locator whose entry for what is said is not silent, as it is before training."""
    net = load_locator(weights)[0]
    torch.manual_seed(5)
    torch.nn.init.normal_(net.heard.weight, std=0.3)
    return Locator(net)


@pytest.fixture
def view():
    rng = np.random.default_rng(2)
    image = rng.random((BLOCK_SIZE,) * 3, np.float32)
    inside = np.ones_like(image)
    inside[:5] = 0
    return BlockView(image, inside, np.array([9, 12, 30], np.float32), np.full(3, 20, np.float32))


def test_it_answers_a_cube_of_logits(weights, view):
    locator = Locator(load_locator(weights)[0])
    answer = locator.locate(view)
    assert answer.shape == (BLOCK_SIZE,) * 3
    assert answer.dtype == np.float32
    assert answer.std() > 0


def test_nothing_said_is_the_same_as_silence(hearing, view):
    silence = torch.zeros(len(HEARD), *(BLOCK_SIZE,) * 3)
    np.testing.assert_array_equal(hearing.locate(view, silence), hearing.locate(view))


def test_what_is_said_changes_the_answer_and_mirrors_with_it(hearing, view):
    said = torch.zeros(len(HEARD), *(BLOCK_SIZE,) * 3)
    said[0, 30, 12, 20] = said[1, 8, 22, 21] = 1
    answer = hearing.locate(view, said)
    assert not np.allclose(answer, hearing.locate(view), atol=1e-3)
    mirrored = replace(view, image=np.flip(view.image, 1), inside=np.flip(view.inside, 1))
    expected = np.flip(answer, 1)
    np.testing.assert_allclose(hearing.locate(mirrored, said.flip(2)), expected, atol=1e-4)


def test_one_way_is_a_glance_and_two_are_its_mean_with_the_first_mirror(hearing, view):
    one, two = hearing.locate(view, ways=1), hearing.locate(view, ways=2)
    np.testing.assert_allclose(one, hearing.glance([view])[0], atol=1e-5)
    (axis,) = MIRRORED[1]
    turned = replace(view, image=np.flip(view.image, axis), inside=np.flip(view.inside, axis))
    other = np.flip(hearing.locate(turned, ways=1), axis)
    np.testing.assert_allclose(two, (one + other) / 2, atol=1e-4)


@pytest.mark.parametrize("axes", MIRRORED)
def test_a_mirrored_cube_is_answered_mirrored(weights, view, axes):
    locator = Locator(load_locator(weights)[0])
    mirrored = replace(view, image=np.flip(view.image, axes), inside=np.flip(view.inside, axes))
    expected = np.flip(locator.locate(view), axes)
    np.testing.assert_allclose(locator.locate(mirrored), expected, atol=1e-4)


def test_each_sample_reaches_the_network_where_it_lies():
    """The 2 x 2 x 2 samples of a cell are its channels, in order."""
    image = torch.arange(8**3, dtype=torch.float32).reshape(1, 8, 8, 8) / 8**3
    planes = block_planes(Blocks(image, torch.ones(1, 8, 8, 8), torch.ones(1, 3), torch.ones(1, 3)))
    assert planes.shape == (1, PLANES, 4, 4, 4)
    cell = (planes[0, :8, 1, 2, 3] + 1) / 2 * 8**3
    wanted = [64 * z + 8 * y + x for z in (2, 3) for y in (4, 5) for x in (6, 7)]
    assert cell.round().int().tolist() == wanted


def test_samples_come_back_out_where_they_went_in():
    """A network whose last layer passes channel k on puts it at sample k of the cell."""
    net = LocatorNet(TINY)
    with torch.no_grad():
        net.masks.weight.zero_()
        net.masks.bias.copy_(torch.arange(8.0))
        answer = net(torch.zeros(1, PLANES, 8, 8, 8))
    assert answer[0, :2, :2, :2].flatten().tolist() == list(range(8))
    assert answer[0, 4:6, 6:8, 2:4].flatten().tolist() == list(range(8))


def test_eight_bits_are_right_to_half_a_step():
    kernel = torch.randn(6, 5, 3, 3, 3)
    kernel[2] = 0
    numbers, scales = eight_bit(kernel)
    assert numbers.dtype == torch.int8
    off = (numbers * scales.reshape(-1, 1, 1, 1, 1) - kernel).abs().flatten(1).amax(1)
    assert (off <= scales / 2 + 1e-7).all()
    assert numbers.flatten(1).abs().amax(1)[[0, 1, 3]].tolist() == [127, 127, 127]


def test_folding_the_norms_changes_nothing(weights):
    net, _ = load_locator(weights)
    planes = torch.randn(1, PLANES, 8, 8, 8)
    with torch.no_grad():
        before = net(planes)
        assert any("running_mean" in name for name, _ in net.named_buffers())
        after = fold_norms(net)(planes)
    torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)
    assert not list(net.named_buffers())


def test_files_that_do_not_fit_are_named(tmp_path, weights):
    with pytest.raises(WeightsNotFoundError, match="sammed train locator"):
        load_locator(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"x" * 99)
    with pytest.raises(
        WeightsMismatchError, match=r"no safetensors checkpoint .*; reinstall sammed"
    ):
        load_locator(tmp_path / "bad.safetensors")
    export_weights(tmp_path / "other.safetensors", {"a": torch.ones(2)}, "something 1 2")
    with pytest.raises(WeightsMismatchError, match="something"):
        load_locator(tmp_path / "other.safetensors")
    export_weights(tmp_path / "few.safetensors", {"a": torch.ones(2)}, TINY.tag)
    with pytest.raises(
        WeightsMismatchError, match=r"of \d+ tensors \d+ missing .*; 1 unexpected \(first: a\)"
    ):
        load_locator(tmp_path / "few.safetensors")


def test_the_tag_brings_the_architecture_back():
    assert LocatorArchitecture.from_tag(TINY.tag) == TINY
    with pytest.raises(ValueError, match="compact-unet"):
        LocatorArchitecture.from_tag(TINY.tag.replace("locator-unet/2", "compact-unet/3"))
