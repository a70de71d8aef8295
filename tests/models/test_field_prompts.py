"""Prompts as channels on a field: a voxel of each lies where it must."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sammed.imaging.boxes import Box2D, Box3D
from sammed.models.compact import field_prompts as drawing
from sammed.models.compact.field import Field
from sammed.models.compact.field_said import drawn_prompts
from sammed.prompts import BoxPrompt, LassoPrompt, MaskPrompt, PointPrompt, ScribblePrompt

SHAPE = (9, 20, 30)
FIELD = Field((1.0, 2.0, 3.0), (5.0, 10.0, 35.0), 16)
"""A voxel is 4 samples thick along z, 2 along y, half a sample along x."""


def channel(said, number):
    prompts = drawn_prompts(FIELD, [said], SHAPE)[0]
    others = [c for c in range(len(drawing.PROMPTS)) if c != number]
    assert not prompts[others].any(), "it shows in another channel"
    return prompts[number].numpy()


def samples_of(voxel):
    """The samples whose centres lie in a voxel; along x the one that holds the voxel's centre."""
    z, y, x = (v - low for v, low in zip(voxel, FIELD.low, strict=True))
    return slice(int(4 * z), int(4 * z + 4)), slice(int(2 * y), int(2 * y + 2)), int(x + 0.5) // 2


def test_a_3d_box_is_1_inside_and_minus_1_outside():
    drawn = channel(Box3D(2, 4, 7, 4, 7, 15), drawing.BOX)
    wanted = -np.ones((16,) * 3)
    wanted[4:12, 4:10, 2:6] = 1
    np.testing.assert_array_equal(drawn, wanted)


@pytest.mark.parametrize("axis", range(3))
def test_a_box_on_a_slice_says_nothing_of_other_slices(axis):
    said = BoxPrompt(axis, 4, Box2D(3, 4, 6, 9))
    drawn = channel(said, drawing.SLAB)
    spans = FIELD.spans(said.block.low, said.block.high)
    on = np.flatnonzero((drawn != 0).any(tuple(a for a in range(3) if a != axis)))
    centres = on + 0.5
    if axis == 2:  # a voxel is thinner than a sample: the nearest one stands for it
        assert on.tolist() == [int(spans[axis].mean())]
    else:
        assert len(on) == (4, 2)[axis]
        assert ((centres > spans[axis, 0]) & (centres < spans[axis, 1])).all()
    section = np.take(drawn, on, axis)
    assert set(np.unique(section)) == {-1, 1}
    inside = np.ones((16,) * 3, bool)
    for a in range(3):
        index = np.arange(16) + 0.5
        keep = (index >= spans[a, 0]) & (index < spans[a, 1])
        keep |= np.arange(16) == int(np.floor(spans[a].mean()))
        inside &= keep.reshape([-1 if b == a else 1 for b in range(3)])
    np.testing.assert_array_equal(drawn > 0, inside)


@pytest.mark.parametrize(
    ("positive", "number"), [(True, drawing.CLICK_IN), (False, drawing.CLICK_OUT)]
)
def test_a_click_is_brightest_at_its_sample(positive, number):
    drawn = channel(PointPrompt((3, 6, 12), positive), number)
    where = FIELD.to_samples((3.5, 6.5, 12.5))
    at = tuple(np.floor(where).astype(int))
    assert drawn[at] == 1
    assert np.count_nonzero(drawn == 1) == 1
    assert drawn[at[0] + 1, at[1] - 1, at[2]] == pytest.approx(2 / 3)
    assert drawn[at[0] + 2, at[1], at[2]] == pytest.approx(1 / 3)
    assert np.count_nonzero(drawn) == 5**3


def test_clicks_beyond_the_field_are_not_drawn():
    assert not drawn_prompts(FIELD, [PointPrompt((8, 6, 12))], SHAPE).any()


@pytest.mark.parametrize("axis", range(3))
def test_painted_slices_are_known_and_others_are_not(axis):
    voxels = np.zeros(SHAPE, bool)
    low, high = [2, 4, 7], [4, 7, 15]
    low[axis], high[axis] = 4, 5
    block = Box3D(*low, *high)
    voxels[block.slices] = True
    drawn = channel(MaskPrompt(voxels), drawing.PAINTED)
    spans = FIELD.spans(block.low, block.high)
    middle = tuple(int(np.floor(s.mean())) for s in spans)
    assert drawn[middle] == 1
    away = list(middle)
    away[(axis + 1) % 3] = 15
    assert drawn[tuple(away)] == -1
    away = list(middle)
    away[axis] = (0, 0, 15)[axis]
    assert drawn[tuple(away)] == 0
    others = tuple(a for a in range(3) if a != axis)
    assert len(np.flatnonzero((drawn != 0).any(others))) == (4, 2, 1)[axis]


@pytest.mark.parametrize(
    ("positive", "number"), [(True, drawing.STROKE_IN), (False, drawing.STROKE_OUT)]
)
def test_a_stroke_passes_its_voxels(positive, number):
    voxels = np.array([(3, y, 10 + y) for y in range(4, 9)])
    drawn = channel(ScribblePrompt(voxels, positive), number)
    for voxel in voxels:
        at = tuple(np.floor(FIELD.to_samples(voxel + 0.5)).astype(int))
        assert drawn[at] == 1
    assert drawn.max() == 1
    assert not drawn[:, 15:].any()


def test_a_lasso_is_all_that_it_surrounds():
    lasso = LassoPrompt(0, 3, ((4.0, 8.0), (4.0, 20.0), (9.0, 20.0), (9.0, 8.0)))
    drawn = channel(lasso, drawing.STROKE_IN)
    at = tuple(np.floor(FIELD.to_samples((3.5, 6.5, 14.5))).astype(int))
    assert drawn[at] == 1
    beyond = np.floor(FIELD.to_samples((3.5, 6.5, 30.0))).astype(int)
    assert drawn[tuple(beyond)] == 0


def test_a_former_answer_is_squeezed():
    drawn = drawing.former_channel(torch.tensor([-8.0, 0.0, 4.0]))
    assert drawn.tolist() == pytest.approx([-np.tanh(2), 0, np.tanh(1)])


def test_rows_are_drawn_apart():
    spans = torch.tensor([[[2.0, 5.0]] * 3, [[float("nan")] * 2] * 3])
    boxes = drawing.box_channel(spans, 8)
    assert (boxes[0] == 1).sum() == 27
    assert not boxes[1].any()
    slabs = drawing.slab_channel(spans, torch.tensor([1, 1]), 8)
    assert (slabs[0] != 0).sum() == 3 * 64
    assert not slabs[1].any()


def test_nothing_said_shows_nothing():
    assert not drawn_prompts(FIELD, [], SHAPE).any()
