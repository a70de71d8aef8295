"""The network for volumes begins as the locator that it grows from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sammed.models.compact import field_prompts as drawing
from sammed.models.compact.locator import load_locator
from sammed.models.compact.locator_net import HEARD, Blocks, block_planes
from sammed.models.compact.volume_net import Fields, VolumeArchitecture, VolumeNet, field_planes
from sammed.training.grow_volume import can_grow, grow_from_locator

SIZE = 48
"""Samples along each side; a 3D box fills the middle 36 of them."""


def _seen_by_both() -> tuple[Blocks, Fields]:
    """The same two 3D boxes as a locator's cubes and as fields."""
    rng = np.random.default_rng(3)
    image = torch.from_numpy(rng.random((2, *[SIZE] * 3), np.float32))
    inside = torch.ones_like(image)
    extent, voxels = torch.tensor([[40.0, 90, 60]] * 2), torch.tensor([[8.0, 90, 60]] * 2)
    low, high = SIZE / 8, SIZE * 7 / 8
    block = torch.tensor([[[low, high]] * 3] * 2)
    prompts = drawing.no_prompts(2, SIZE)
    prompts[:, drawing.BOX] = drawing.box_channel(block, SIZE)
    samples = high - low
    fields = Fields(image, inside, prompts, block, extent / samples, samples / voxels)
    return Blocks(image, inside, extent, voxels), fields


def test_a_grown_network_answers_to_a_3d_box_as_the_locator() -> None:
    locator = load_locator()[0]
    net = VolumeNet(VolumeArchitecture())
    blocks, fields = _seen_by_both()
    with torch.inference_mode():
        expected = locator(block_planes(blocks))
        torch.manual_seed(1)
        grow_from_locator(net, locator, filled=SIZE * 3 / 4)
        answer = net.eval()(field_planes(fields))[0]
    assert expected.std() > 1
    torch.testing.assert_close(answer, expected, atol=2e-2, rtol=1e-3)


def test_a_grown_network_hears_clicks_as_the_locator() -> None:
    locator = load_locator()[0]
    net = VolumeNet(VolumeArchitecture())
    blocks, fields = _seen_by_both()
    middle = SIZE // 2
    fields.prompts[:, drawing.CLICK_OUT, middle, middle, middle] = 1
    fields.prompts[:, drawing.FORMER, 8:-8, 8:-8, 8:-8] = 0.9
    said = fields.prompts[:, [drawing.PROMPTS.index(name) for name in HEARD]]
    with torch.inference_mode():
        silent = locator(block_planes(blocks))
        expected = locator(block_planes(blocks), said)
        torch.manual_seed(1)
        grow_from_locator(net, locator, filled=SIZE * 3 / 4)
        answer = net.eval()(field_planes(fields))[0]
    assert (expected - silent).abs().max() > 1
    torch.testing.assert_close(answer, expected, atol=2e-2, rtol=1e-3)


def test_what_a_grown_network_has_beyond_the_locator_can_learn() -> None:
    net = VolumeNet()
    grow_from_locator(net, load_locator()[0])
    _, fields = _seen_by_both()
    net.train()
    assert not any(m.training for m in net.modules() if isinstance(m, torch.nn.BatchNorm3d))
    net(field_planes(fields))[0].square().mean().backward()
    for part in (net.prompts, net.lateral[2], net.decoder[2].second[1]):
        assert part.weight.grad is not None
        assert part.weight.grad.abs().max() > 0


def test_a_narrow_network_does_not_grow_from_it() -> None:
    net, locator = VolumeNet(VolumeArchitecture((8, 8, 8, 8))), load_locator()[0]
    assert not can_grow(net, locator)
    with pytest.raises(ValueError, match="cannot grow"):
        grow_from_locator(net, locator)
