"""What the network is shown: samples, first prompts, clicks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sammed.synthesis import draw_samples
from sammed.training.prompts import add_clicks, first_prompts
from sammed.training.stream import StreamPlan, batches, make_chunk, pack, unpack
from tests.training.networks import PLAN


def test_training_on_boxes_alone_asks_with_nothing_else():
    """No points, no mask, no slice without the object; nothing of the kind by default."""
    plan = StreamPlan(seed=3, batch=16, chunk=32, window=1)
    for only in (True, False):
        batch = unpack(next(batches(replace(plan, boxes_only=only), 0)))
        boxes = torch.isfinite(batch.prompts.box).all(1)
        points = torch.isfinite(batch.prompts.points).any()
        assert bool(boxes.all() and not points and not batch.prompts.has_mask.any()) == only
        assert (set(batch.modes) <= {"own", "whole"}) == only
        assert batch.target.any((1, 2)).all() == only


def test_batches_depend_on_seed_and_step_alone():
    stream = batches(PLAN, 0)
    ahead = [next(stream) for _ in range(6)]
    late = next(batches(PLAN, 5))
    for name, array in ahead[5].items():
        assert np.array_equal(array, late[name], equal_nan=array.dtype.kind == "f")
    assert not np.array_equal(ahead[0]["target"], ahead[1]["target"])


@pytest.fixture(scope="module")
def samples():
    return [s for seed in range(30) for s in draw_samples((9, seed), 6)]


def test_first_prompts_stay_inside_the_view_and_always_say_something(samples):
    rng = np.random.default_rng(0)
    prompts = first_prompts(rng, samples)
    points = prompts.points[torch.isfinite(prompts.points)]
    assert ((points >= 0) & (points <= 96)).all()
    has_box = torch.isfinite(prompts.box).all(1)
    has_point = torch.isfinite(prompts.points).all(2).any(1)
    filled = torch.tensor([bool(s.target.any()) for s in samples])
    assert (has_box | has_point | prompts.has_mask)[filled].all()
    assert has_box.any()
    assert has_point.any()
    assert prompts.has_mask.any()
    assert (~has_box).any()


def test_points_lie_on_the_side_that_they_claim(samples):
    prompts = first_prompts(np.random.default_rng(1), samples)
    for i, sample in enumerate(samples):
        for at, positive in zip(prompts.points[i], prompts.positive[i], strict=True):
            if torch.isfinite(at).all():
                row, col = int(at[0]), int(at[1])
                assert bool(sample.target[row, col]) == bool(positive)


def test_a_click_goes_into_the_largest_error():
    batch = unpack(pack(np.random.default_rng(0), make_chunk(0, 0, 4)))
    target = np.zeros((4, 96, 96), np.uint8)
    target[:, 20:60, 20:60] = 1
    answer = np.where(target > 0, 5.0, -5.0).astype(np.float32)
    answer[:, 25:35, 25:35] = -5
    answer[:, 100:103, 100:103] = 5
    points = torch.full_like(batch.prompts.points, float("nan"))
    bare = replace(batch.prompts, points=points)
    clicked = add_clicks(np.random.default_rng(0), bare, target, answer)
    assert clicked.has_mask.all()
    assert ((clicked.points[:, 0] >= 25) & (clicked.points[:, 0] <= 35)).all()
    assert clicked.positive[:, 0].all()
