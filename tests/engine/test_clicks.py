"""What a click says about the pixels around it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sammed.engine import clicks
from sammed.engine.slice_mask import ClickedPoint, SliceResult
from sammed.imaging.boxes import Box2D
from sammed.models.compact.recipe import RECIPE

PUSH = RECIPE.clicks.push
push_of = partial(clicks.push_of, recipe=RECIPE)
DISC = np.hypot(*(np.mgrid[:40, :40] - 19.5)) < 12


def result_of(mask: np.ndarray, loud: float = 9.0, corner: tuple[int, int] = (10, 20)):
    region = Box2D(*corner, corner[0] + mask.shape[0], corner[1] + mask.shape[1])
    return SliceResult(3, region, np.where(mask, loud, -loud).astype(np.float32))


@pytest.mark.parametrize("point", [ClickedPoint(29, 39, True), ClickedPoint(11, 21, False)])
def test_a_click_that_agrees_with_the_mask_adds_nothing(point):
    result = result_of(DISC)
    assert not push_of(result, [point]).logits.any()
    np.testing.assert_array_equal(push_of(result, [point]).on(result).mask, result.mask)


def test_a_push_ends_at_the_nearest_border_of_the_mask():
    push = push_of(result_of(DISC), [ClickedPoint(29, 35, False)])  # 8 px from outside, on the left
    assert push.logits.min() == -PUSH
    assert push.logits[19, 15] == -PUSH
    rows, cols = np.nonzero(push.logits)
    assert 7 < np.hypot(rows - 19, cols - 15).max() < 8.5
    assert abs(push.logits[~DISC]).max() < 0.1 * PUSH


def test_unsure_pixels_turn_farther_out_than_sure_ones():
    point = [ClickedPoint(29, 39, False)]
    turned = [
        np.count_nonzero(r.mask & ~push_of(r, point).on(r).mask)
        for r in (result_of(DISC, 0.5), result_of(DISC, 2.0), result_of(DISC, 9.0))
    ]
    assert turned[0] > turned[1] > turned[2] > 0


def test_a_click_far_from_a_small_mask_does_not_flood_the_slice():
    small = np.zeros((40, 40), bool)
    small[:6, :6] = True
    result = result_of(small)
    push = push_of(result, [ClickedPoint(60, 70, True)])
    after = push.on(result)
    assert np.count_nonzero(after.mask) < 2 * np.count_nonzero(small)
    assert after.on(Box2D(60, 70, 61, 71))[0, 0] > 0


@given(
    st.integers(0, 49), st.integers(0, 59), st.booleans(), st.floats(0.1, 12.0), st.integers(0, 999)
)
def test_what_was_clicked_is_so_afterwards(row, col, positive, loud, seed):
    """Wherever the click is, on or off the region, on masks of any shape that are not empty."""
    mask = np.random.default_rng(seed).random((20, 25)) < 0.4
    mask[0, 0] = True
    result = result_of(mask, loud)
    after = push_of(result, [ClickedPoint(row, col, positive)]).on(result)
    clicked = after.on(Box2D(row, col, row + 1, col + 1))[0, 0]
    assert (clicked > 0) == positive
