"""What the locator is told of wrong answers while it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sammed.models.compact.locator_net import HEARD, Blocks
from sammed.training.corrections import (
    CLICK_IN,
    CLICK_OUT,
    FORMER,
    MENDED,
    PAINTED,
    corrections,
    said_of,
    wrong,
)

SIZE = 40
VOXELS = torch.tensor([10.0, 30.0, 30.0])


def ball(radius, middle=(20, 20, 20)):
    axes = np.ogrid[:SIZE, :SIZE, :SIZE]
    distance = sum((axis + 0.5 - m) ** 2 for axis, m in zip(axes, middle, strict=True)) ** 0.5
    return torch.from_numpy(distance <= radius)


def logits(mask):
    return torch.where(mask, 6.0, -6.0)


def shown(count):
    image = torch.zeros(count, SIZE, SIZE, SIZE)
    return Blocks(image, image + 1, torch.ones(count, 3), VOXELS.expand(count, 3))


def test_a_filled_cavity_is_clicked_out_and_a_missing_half_in():
    wall = ball(14) & ~ball(9)
    said = said_of(np.random.default_rng(0), logits(ball(14)), wall, VOXELS, clicks=1)
    assert not said[CLICK_IN].any()
    assert ball(9)[tuple(np.unravel_index(int(said[CLICK_OUT].argmax()), wall.shape))]
    half = ball(14).clone()
    half[20:] = False
    said = said_of(np.random.default_rng(0), logits(half), ball(14), VOXELS, clicks=1)
    assert not said[CLICK_OUT].any()
    at = np.unravel_index(int(said[CLICK_IN].argmax()), half.shape)
    assert at[0] >= 20
    assert ball(14)[at]


def test_further_clicks_are_made_elsewhere():
    said = said_of(np.random.default_rng(3), logits(ball(2)), ball(15), VOXELS, clicks=4)
    at = (said[CLICK_IN] == 1).nonzero().float()
    apart = torch.cdist(at, at) + 99 * torch.eye(len(at))
    assert len(at) == 4
    assert apart.min() > MENDED - 1


def test_a_right_answer_is_not_clicked():
    said = said_of(np.random.default_rng(0), logits(ball(9)), ball(9), VOXELS, clicks=5)
    assert not said[CLICK_IN].any()
    assert not said[CLICK_OUT].any()
    assert ((said[FORMER] > 0) == ball(9)).all()


def test_painted_slices_show_the_object_and_lie_in_the_box():
    said = said_of(np.random.default_rng(1), logits(ball(4)), ball(12), VOXELS, 0, slices=3)
    given = said[PAINTED] != 0
    assert given.any()
    assert ((said[PAINTED] > 0)[given] == ball(12)[given]).all()
    assert not given[:5].any()
    assert not given[..., 35:].any()


@pytest.mark.parametrize("seed", range(12))
def test_made_up_answers_are_wrong_but_not_about_everything(seed):
    wall = ball(14) & ~ball(9)
    targets = torch.stack((wall, ball(6, (12, 12, 12))))
    found = wrong(np.random.default_rng(seed), targets, 0)
    assert found.shape == wall.shape
    assert found.isfinite().all()
    assert ((found > 0) != wall).any()


def test_some_samples_of_a_batch_are_corrections_and_the_same_seed_says_the_same():
    target = torch.stack([ball(10), ball(12)] * 8).float()
    asked = []

    def answer(blocks):
        asked.append(len(blocks.image))
        return torch.stack([logits(ball(5))] * len(blocks.image))

    said = corrections(np.random.default_rng(5), shown(16), target, answer)
    again = corrections(np.random.default_rng(5), shown(16), target, answer)
    assert said.shape == (16, len(HEARD), SIZE, SIZE, SIZE)
    assert (said == again).all()
    told = said.flatten(1).any(1)
    assert 0 < told.sum() < 16
    assert 0 < asked[0] < told.sum()
    assert (said[told][:, FORMER] != 0).flatten(1).any(1).all()
