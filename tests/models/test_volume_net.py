"""The network for volumes: its input, its answers, its weights file."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sammed.errors import WeightsMismatchError
from sammed.models.compact import field_prompts as drawing
from sammed.models.compact.volume_model import load_volume_net
from sammed.models.compact.volume_net import (
    FACES,
    PLANES,
    SHOWN,
    Fields,
    VolumeArchitecture,
    VolumeNet,
    field_planes,
)
from sammed.training.checkpoint import export_weights

TINY = VolumeArchitecture((8, 8, 8, 8), (1, 1, 1, 1))
SIZE = 32


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(1)
    return VolumeNet(TINY).eval()


def fields(count=1, size=SIZE, **given):
    torch.manual_seed(0)
    whole = Fields(
        image=torch.rand(count, size, size, size),
        inside=torch.ones(count, size, size, size),
        prompts=drawing.no_prompts(count, size),
        block=torch.full((count, 3, 2), torch.nan),
        step=torch.ones(count, 3),
        voxel=torch.ones(count, 3),
    )
    return replace(whole, **given)


def test_it_answers_mask_iou_and_six_faces(net):
    with torch.no_grad():
        logits, iou, faces = net(field_planes(fields(2)))
    assert logits.shape == (2, SIZE, SIZE, SIZE)
    assert iou.shape == (2,)
    assert faces.shape == (2, len(FACES)) == (2, 6)


def test_an_answer_depends_on_no_other_of_its_batch(net):
    both = field_planes(fields(2))
    with torch.no_grad():
        for together, alone in zip(net(both), net(both[1:]), strict=True):
            torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=1e-4)


def test_fields_of_other_sizes_are_answered_too(net):
    with torch.no_grad():
        assert net(field_planes(fields(size=48)))[0].shape == (1, 48, 48, 48)


def test_each_sample_reaches_the_network_where_it_lies():
    """The 2 x 2 x 2 samples of a cell are its channels, in order; each plane in its turn."""
    values = torch.arange(8**3, dtype=torch.float32).reshape(8, 8, 8) / 8**3
    prompts = drawing.no_prompts(1, 8)
    for number in range(len(drawing.PROMPTS)):
        prompts[0, number] = values * (number + 1) / 10
    planes = field_planes(fields(1, 8, image=values[None], prompts=prompts))
    assert planes.shape == (1, PLANES, 4, 4, 4)
    wanted = [64 * z + 8 * y + x for z in (2, 3) for y in (4, 5) for x in (6, 7)]
    cell = (planes[0, :8, 1, 2, 3] + 1) / 2 * 8**3
    assert cell.round().int().tolist() == wanted
    for number in range(len(drawing.PROMPTS)):
        first = SHOWN + 8 * number
        cell = planes[0, first : first + 8, 1, 2, 3] * 10 / (number + 1) * 8**3
        assert cell.round().int().tolist() == wanted


def test_samples_come_back_out_where_they_went_in(net):
    silent = VolumeNet(TINY).eval()
    with torch.no_grad():
        silent.masks.weight.zero_()
        silent.masks.bias.copy_(torch.arange(8.0))
        answer = silent(torch.zeros(1, PLANES, 16, 16, 16))[0]
    assert answer[0, :2, :2, :2].flatten().tolist() == list(range(8))
    assert answer[0, 4:6, 6:8, 2:4].flatten().tolist() == list(range(8))


def test_brightness_is_standardised_where_the_object_is_said_to_be():
    image = torch.zeros(1, 8, 8, 8)
    image[:, :4] = 0.5
    prompts = drawing.no_prompts(1, 8)
    prompts[0, drawing.BOX] = -1
    prompts[0, drawing.BOX, :4] = 1
    standard = field_planes(fields(1, 8, image=image, prompts=prompts))[0, 8:16]
    assert standard[:, :2].abs().max() == 0
    assert (standard[:, 2:] == -2).all()


def test_position_is_told_relative_to_the_box():
    block = torch.tensor([[[2.0, 6.0], [0.0, 8.0], [4.0, 8.0]]])
    planes = field_planes(fields(1, 8, block=block))[0, 24:28]
    z, y, x, ellipsoid = planes
    assert z[:, 0, 0].tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert y[0, :, 0].tolist() == [-0.375, -0.125, 0.125, 0.375]
    assert x[0, 0, 2:].tolist() == [-0.25, 0.25]
    assert ellipsoid.amax() > 0
    assert not field_planes(fields(1, 8))[0, 24:28].any()


def test_weights_are_written_and_read(net, tmp_path):
    path = tmp_path / "volume.safetensors"
    export_weights(path, net.state_dict(), TINY.tag)
    again, digest = load_volume_net(path)
    assert again.architecture == TINY
    assert len(digest) == 64
    planes = field_planes(fields())
    with torch.no_grad():
        torch.testing.assert_close(again(planes)[0], net(planes)[0], atol=0.05, rtol=0.05)


def test_weights_of_another_network_are_refused(tmp_path):
    export_weights(tmp_path / "other.safetensors", {"a": torch.ones(2)}, "something 1 2")
    with pytest.raises(WeightsMismatchError, match="something"):
        load_volume_net(tmp_path / "other.safetensors")


def test_it_has_two_to_six_million_parameters():
    count = sum(p.numel() for p in VolumeNet().parameters())
    assert 2e6 < count < 6e6
