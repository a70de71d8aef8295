"""Losses are small for what is right."""

from __future__ import annotations

import pytest
import torch

from sammed.training.losses import block_loss, compact_loss, mask_loss, taught_loss, true_iou


def test_a_teacher_is_believed_as_much_as_it_is_right():
    target = torch.zeros(1, 8, 8)
    target[:, :4] = 1
    right = (target[:, None] * 2 - 1) * 3
    half = right.clone()
    half[:, :, :2] = -3
    assert taught_loss(right, right, target) < taught_loss(right * 0.5, right, target)
    assert taught_loss(right, right, target) < taught_loss(right + 1, right, target)
    assert taught_loss(right, -right, target) == 0
    alone = taught_loss(half, right, target)
    assert taught_loss(right, half, target) == pytest.approx(float(alone) / 4, rel=0.05)


def test_a_perfect_block_has_less_loss_than_a_wrong_one():
    target = torch.zeros(2, 8, 8, 8)
    target[:, 2:6, 2:6, 2:6] = 1
    right, _ = block_loss((target - 0.5) * 20, target)
    shifted, parts = block_loss((target.roll(2, 1) - 0.5) * 20, target)
    assert right < 0.02 < 0.4 < shifted
    assert parts["iou_chosen"] == pytest.approx(1 / 3)


def test_the_loss_is_small_for_the_right_answer_and_for_rightly_nothing():
    target = torch.zeros(2, 32, 32)
    target[0, 8:20, 8:20] = 1
    right = (target * 2 - 1)[:, None] * 20
    good = mask_loss(right, target)
    assert good.max() < 0.01
    assert (mask_loss(-right, target) > 1).all()
    assert true_iou(right, target)[:, 0].tolist() == [1.0, 0.0]
    loss, parts = compact_loss(right, torch.zeros(2, 1), torch.zeros(2), target)
    assert torch.isfinite(loss)
    assert parts["iou_chosen"] == pytest.approx(1.0)
