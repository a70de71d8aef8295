from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sammed.errors import PromptError
from sammed.imaging import geometry
from sammed.imaging.boxes import Box2D, Box3D
from tests.phantoms import OBLIQUE, SHAPE

masks_2d = hnp.arrays(bool, (7, 11), elements=st.booleans())
masks_3d = hnp.arrays(bool, SHAPE, elements=st.booleans())


@given(masks_2d)
def test_the_box_of_a_mask_is_tight(mask):
    box = Box2D.from_mask(mask)
    if not mask.any():
        assert box == Box2D(0, 0, 0, 0)
        assert box.is_empty
        return
    rows, cols = np.nonzero(mask)
    assert (box.r0, box.c0) == (rows.min(), cols.min())
    assert (box.r1, box.c1) == (rows.max() + 1, cols.max() + 1)
    assert not (mask & ~box.mask(mask.shape)).any()


@given(masks_3d)
def test_the_block_of_a_mask_is_tight(mask):
    block = Box3D.from_mask(mask)
    if not mask.any():
        assert block == Box3D(0, 0, 0, 0, 0, 0)
        return
    where = np.argwhere(mask)
    assert block.low == tuple(where.min(axis=0))
    assert block.high == tuple(where.max(axis=0) + 1)
    assert mask[block.slices].sum() == mask.sum()


def test_one_voxel_is_a_box_of_one():
    mask = np.zeros(SHAPE, bool)
    mask[4, 6, 10] = True
    assert Box3D.from_mask(mask) == Box3D(4, 6, 10, 5, 7, 11)
    assert Box3D.from_mask(mask).shape == (1, 1, 1)


boxes = st.builds(
    Box2D, st.integers(-5, 9), st.integers(-5, 9), st.integers(-5, 15), st.integers(-5, 15)
)


@given(boxes, boxes)
def test_union_and_intersection_as_sets(a, b):
    shape, move = (30, 30), 7
    shifted = [Box2D(*(v + move for v in (x.r0, x.c0, x.r1, x.c1))) for x in (a, b)]
    if not a.is_empty and not b.is_empty:
        joined = shifted[0].union(shifted[1])
        assert joined == Box2D.from_mask(shifted[0].mask(shape) | shifted[1].mask(shape))
    common = shifted[0].intersection(shifted[1])
    expected = shifted[0].mask(shape) & shifted[1].mask(shape)
    if not a.is_empty and not b.is_empty:
        assert common.area == expected.sum()
    assert a.union(Box2D(3, 3, 3, 9)) == a or a.is_empty


def test_mask_area_centre_shape():
    box = Box2D(1, 2, 4, 9)
    assert (box.shape, box.area, box.centre) == ((3, 7), 21, (2.5, 5.5))
    assert box.mask((5, 8)).sum() == 3 * 6
    assert Box2D(4, 2, 1, 9).area == 0
    assert Box2D(4, 2, 1, 9).is_empty


def test_expand_rounds_outward_and_may_differ_by_axis():
    box = Box2D(4, 5, 8, 11)
    assert box.expand(1.2) == Box2D(2, 3, 10, 13)
    assert box.expand(0, 2) == Box2D(4, 3, 8, 13)
    assert box.expand(-1, -2) == Box2D(5, 7, 7, 9)


def test_clip():
    assert Box2D(-3, 5, 9, 99).clip((7, 11)) == Box2D(0, 5, 7, 11)
    assert Box2D(9, 5, 12, 8).clip((7, 11)).is_empty
    assert Box3D(-1, 3, 10, 9, 5, 40).clip(SHAPE) == Box3D(0, 3, 10, 5, 5, 11)
    assert Box3D(5, 0, 0, 6, 7, 11).clip(SHAPE).is_empty


@given(boxes.filter(lambda b: not b.is_empty), st.floats(0, 0.6), st.integers(0, 99))
def test_jitter_moves_each_side_by_at_most_its_share(box, fraction, seed):
    shape = (7, 11)
    moved = box.jitter(fraction, np.random.default_rng(seed), shape)
    assert moved.clip(shape) == moved
    assert not moved.is_empty
    inside = box.clip(shape)
    if inside != box:
        return
    limit = fraction * np.array([*box.shape, *box.shape]) + 0.5 + 1e-9
    change = np.abs(moved.as_array() - box.as_array())
    assert (change <= np.maximum(limit, 1)).all()


def test_jitter_reaches_all_sides_and_keeps_a_box_without_fraction():
    rng = np.random.default_rng(0)
    box = Box2D(20, 30, 40, 70)
    assert box.jitter(0.0, rng, (99, 99)) == box
    moves = np.array([box.jitter(0.2, rng, (99, 99)).as_array() for _ in range(400)])
    moves -= box.as_array()
    np.testing.assert_array_equal(moves.min(axis=0), [-4, -8, -4, -8])
    np.testing.assert_array_equal(moves.max(axis=0), [4, 8, 4, 8])
    assert np.abs(moves.mean(axis=0)).max() < 0.5


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_rectangle_on_a_slice_is_a_block_of_one(axis):
    box = Box2D(1, 2, 4, 6)
    block = Box3D.on_slice(box, axis, 3)
    assert block.range(axis) == (3, 4)
    assert block.across(axis) == box
    assert block.shape[axis] == 1


def test_corners_lie_on_voxel_faces():
    block = Box3D(1, 2, 3, 4, 6, 9)
    corners = block.corners(OBLIQUE)
    index = geometry.index_from_world(OBLIQUE, corners)
    np.testing.assert_allclose(index.min(axis=0), [0.5, 1.5, 2.5], atol=1e-9)
    np.testing.assert_allclose(index.max(axis=0), [3.5, 5.5, 8.5], atol=1e-9)
    assert len(np.unique(np.rint(index * 2), axis=0)) == 8


@given(st.tuples(*[st.integers(-20, 20)] * 3), st.tuples(*[st.integers(1, 30)] * 3))
def test_corners_lead_back_to_the_block(low, size):
    block = Box3D(*low, *(a + b for a, b in zip(low, size, strict=True)))
    index = geometry.index_from_world(OBLIQUE, block.corners(OBLIQUE))
    assert Box3D.from_index_corners(index) == block


def test_index_corners_hold_what_they_touch():
    corners = np.array([[0.4, 1.6, 2.0], [1.5, 3.5005, 2.2]])
    assert Box3D.from_index_corners(corners) == Box3D(0, 2, 2, 2, 4, 3)
    just_over = np.array([[0.4, 1.6, 2.0], [1.5, 3.502, 2.2]])
    assert Box3D.from_index_corners(just_over) == Box3D(0, 2, 2, 2, 5, 3)


def test_corners_that_span_nothing_are_refused():
    with pytest.raises(PromptError, match=r"the box is empty: it spans \[0, 2, 3\] voxels"):
        Box3D.from_index_corners(np.array([[0.5, 0.5, 0.5], [0.5, 2.5, 3.5]]))


def test_empty_blocks_do_not_count():
    block = Box3D(1, 2, 3, 4, 5, 6)
    assert block.union(Box3D(9, 9, 9, 9, 10, 10)) == block
    assert Box3D(0, 0, 0, 0, 0, 0).union(block) == block
    assert block.union(Box3D(0, 4, 4, 2, 9, 5)) == Box3D(0, 2, 3, 4, 9, 6)
