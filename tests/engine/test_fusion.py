from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sammed.engine.cleanup import Cleanup, clean, select_components
from sammed.engine.fusion import fuse_planes, promised_iou
from sammed.engine.label_map import LabelMap, paint
from sammed.engine.object_volume import NOTHING, ObjectVolume, stack
from sammed.engine.slice_mask import SliceResult, painted
from sammed.imaging.boxes import Box2D, Box3D
from sammed.views.slices import OUTSIDE_LOGIT
from tests.phantoms import SPACING, ellipsoid

SHAPE = (9, 20, 30)


def volume_of(mask: np.ndarray, logit: float = 6.0) -> ObjectVolume:
    block = Box3D.from_mask(mask)
    part = np.where(mask[block.slices], logit, -6).astype(np.float16)
    return ObjectVolume(block, part)


def dense(volume: ObjectVolume, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    mask = np.zeros(shape, bool)
    if not volume.block.is_empty:
        mask[volume.block.slices] = volume.mask
    return mask


BALL = ellipsoid(SHAPE, (4, 9, 12), (3.2, 6, 8))


# -- stacking --------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_across_each_axis_make_the_volume(axis):
    slices = {}
    for index in range(SHAPE[axis]):
        section = np.take(BALL, index, axis=axis)
        slices[index] = painted(index, section)
    volume = stack(slices, axis)
    np.testing.assert_array_equal(dense(volume), BALL)
    assert volume.block == Box3D.from_mask(BALL)
    for index in range(SHAPE[axis]):
        section = volume.across(axis, index)
        shape = slices[index].on(Box2D(0, 0, 40, 40)) > 0
        np.testing.assert_array_equal(section.on(Box2D(0, 0, 40, 40)) > 0, shape)


def test_slices_with_gaps_leave_them_empty():
    volume = stack({2: painted(2, BALL[2]), 5: painted(5, BALL[5])}, 0)
    expected = np.zeros(SHAPE, bool)
    expected[[2, 5]] = BALL[[2, 5]]
    np.testing.assert_array_equal(dense(volume), expected)


def test_empty_slices_are_nothing():
    empty = painted(3, np.zeros(SHAPE[1:], bool))
    assert stack({}, 0) is NOTHING
    assert stack({3: empty}, 0) is NOTHING
    assert stack({3: empty, 4: painted(4, BALL[4])}, 0).block.range(0) == (4, 5)


def test_logits_on_another_block():
    volume = volume_of(BALL)
    whole = Box3D(0, 0, 0, *SHAPE)
    np.testing.assert_array_equal(volume.on(whole) > 0, BALL)
    assert volume.on(whole)[0, 0, 0] == OUTSIDE_LOGIT
    part = Box3D(2, 8, 10, 5, 25, 13)
    np.testing.assert_array_equal(volume.on(part)[:, :12] > 0, BALL[2:5, 8:20, 10:13])


def test_three_planes_are_averaged():
    a = ObjectVolume(Box3D(0, 0, 0, 2, 2, 2), np.full((2, 2, 2), 4, np.float16))
    b = ObjectVolume(Box3D(1, 0, 0, 3, 2, 2), np.full((2, 2, 2), 8, np.float16))
    joined = fuse_planes([a, NOTHING, b])
    assert joined.block == Box3D(0, 0, 0, 3, 2, 2)
    np.testing.assert_array_equal(joined.logits[:, 0, 0], [-3, 6, -1])
    assert fuse_planes([NOTHING, NOTHING]) is NOTHING
    np.testing.assert_array_equal(fuse_planes([a]).logits, a.logits)


# -- clean-up --------------------------------------------------------------------------------

PARTS = np.zeros(SHAPE, bool)
PARTS[1:4, 2:6, 2:6] = True  # 48 voxels, reaches slice 3
PARTS[3:8, 10:18, 15:27] = True  # 480 voxels
PARTS[8, 0, 29] = True  # 1 voxel


def prompted_on(mask: np.ndarray, *indices: int) -> np.ndarray:
    block = Box3D.from_mask(mask)
    on = np.isin(np.arange(block.z0, block.z1), indices)
    return np.broadcast_to(on[:, None, None], block.shape)


def test_components_that_reach_a_prompted_slice_are_kept():
    small = PARTS.copy()
    small[:, 10:] = False
    small[8] = False
    for indices, expected in [((2,), small), ((3,), small | (PARTS & ~small)), ((6,), ~small)]:
        kept = dense(clean(volume_of(PARTS), Cleanup(), SPACING, prompted_on(PARTS, *indices)))
        wanted = PARTS & expected
        wanted[8] = False
        np.testing.assert_array_equal(kept, wanted)


def test_the_largest_component():
    kept = dense(clean(volume_of(PARTS), Cleanup("largest"), SPACING))
    assert kept.sum() == 480
    assert kept[5, 12, 20]


def test_all_components_are_left_as_they_are():
    volume = volume_of(PARTS)
    np.testing.assert_array_equal(clean(volume, Cleanup("all"), SPACING).logits, volume.logits)


def test_without_a_component_on_the_prompted_slices_the_largest_is_kept():
    kept = clean(volume_of(PARTS), Cleanup(), SPACING, prompted_on(PARTS, 99))
    assert dense(kept).sum() == 480


def test_voxels_that_share_a_corner_are_one_component():
    mask = np.zeros((4, 5, 6), bool)
    mask[1, 1, 1] = mask[2, 2, 2] = mask[3, 4, 4] = True
    np.testing.assert_array_equal(np.argwhere(select_components(mask, "largest", None))[1], [2] * 3)
    assert select_components(mask, "largest", None).sum() == 2


def test_dropping_a_component_changes_no_other_logit():
    volume = volume_of(PARTS)
    weak = np.where(volume.logits > 0, np.float16(0.125), volume.logits)
    kept = clean(ObjectVolume(volume.block, weak), Cleanup("largest"), SPACING)
    assert set(np.unique(kept.logits)) == {OUTSIDE_LOGIT, -6, 0.125}


def test_cavities_are_filled_and_open_holes_are_not():
    shell = BALL.copy()
    shell[4, 9, 12] = False
    tunnel = shell.copy()
    tunnel[:, 6, 10] = False
    for mask, expected in [(shell, BALL), (tunnel, BALL & ~(tunnel ^ shell))]:
        filled = clean(volume_of(mask), Cleanup(fill_holes=True), SPACING)
        np.testing.assert_array_equal(dense(filled), expected)
        np.testing.assert_array_equal(dense(clean(volume_of(mask), Cleanup(), SPACING)), mask)


def test_smoothing_is_in_millimetres_and_keeps_the_size():
    rng = np.random.default_rng(0)
    ball = ellipsoid((13, 40, 46), (6, 19, 22), (12 / 2.5, 12 / 0.8, 12 / 0.7))
    noisy = ball ^ (rng.random(ball.shape) < 0.05)
    smooth = dense(clean(volume_of(noisy), Cleanup("largest", smooth_mm=1.2), SPACING), ball.shape)
    wrong = np.count_nonzero(smooth ^ ball)
    assert wrong < 0.25 * np.count_nonzero(noisy ^ ball)
    assert abs(smooth.sum() / ball.sum() - 1) < 0.03


def test_smoothing_a_single_slice_does_not_fade_it_into_its_missing_neighbours():
    mask = np.zeros(SHAPE, bool)
    mask[4] = BALL[4]
    smooth = dense(clean(volume_of(mask), Cleanup(smooth_mm=1.0), (1.0, 1.0, 1.0)))
    assert smooth.sum() > 0.8 * mask.sum()


def test_nothing_stays_nothing():
    assert clean(NOTHING, Cleanup(fill_holes=True, smooth_mm=1), SPACING) is NOTHING


# -- painting --------------------------------------------------------------------------------

WHOLE = Box3D(0, 0, 0, *SHAPE)
LEFT, RIGHT = np.zeros((2, *SHAPE), bool)
LEFT[2:6, 5:15, 3:18] = True
RIGHT[3:8, 8:18, 12:28] = True
BOTH = LEFT & RIGHT


def painted_labels(
    policy: str, a: float = 3.0, b: float = 5.0, region: Box3D = WHOLE
) -> np.ndarray:
    labels = np.full(SHAPE, 9, np.uint8)
    objects = [(1, volume_of(LEFT, a)), (2, volume_of(RIGHT, b))]
    paint(labels, region, objects, policy)
    return labels


@pytest.mark.parametrize(
    ("policy", "logits", "winner"),
    [
        ("keep", (3, 5), 1),
        ("overwrite", (3, 5), 2),
        ("score", (3, 5), 2),
        ("score", (5, 3), 1),
        ("score", (4, 4), 1),
    ],
)
def test_who_gets_shared_voxels(policy, logits, winner):
    labels = painted_labels(policy, *logits)
    assert (labels[LEFT & ~RIGHT] == 1).all()
    assert (labels[RIGHT & ~LEFT] == 2).all()
    assert (labels[BOTH] == winner).all()
    assert (labels[~(LEFT | RIGHT)] == 0).all()


@given(st.tuples(*[st.integers(0, 8)] * 3), st.tuples(*[st.integers(0, 30)] * 3))
def test_a_part_is_painted_as_the_whole(low, high):
    region = Box3D(*low, *high).clip(SHAPE)
    for policy in ("keep", "overwrite", "score"):
        labels = painted_labels(policy, region=region)
        whole = painted_labels(policy)
        outside = np.ones(SHAPE, bool)
        if not region.is_empty:
            np.testing.assert_array_equal(labels[region.slices], whole[region.slices])
            outside[region.slices] = False
        assert (labels[outside] == 9).all()


def test_an_object_that_is_nothing_paints_nothing():
    labels = np.zeros(SHAPE, np.uint8)
    paint(labels, WHOLE, [(1, NOTHING)], "keep")
    assert not labels.any()


def test_a_label_map_is_painted_anew_where_something_changed():
    labels = LabelMap(SHAPE, "keep")
    left, right = volume_of(LEFT), volume_of(RIGHT)
    assert labels.update({"a": (1, left)}) == Box3D.from_mask(LEFT)
    assert labels.update({"a": (1, left), "b": (2, right)}) == Box3D.from_mask(RIGHT & ~LEFT)
    assert labels.update({"a": (1, left), "b": (2, right)}).is_empty
    assert labels.update({"b": (2, right), "c": (1, left)}) == Box3D.from_mask(BOTH)
    assert labels.update({"b": (700, right)}) == Box3D.from_mask(LEFT | RIGHT)
    assert labels.voxels.dtype == np.uint16
    np.testing.assert_array_equal(labels.voxels, np.where(RIGHT, 700, 0))
    assert labels.update({"b": (7, right)}) == Box3D.from_mask(RIGHT)
    assert labels.voxels.dtype == np.uint8
    assert labels.update({}) == Box3D.from_mask(RIGHT)
    assert not labels.voxels.any()


def test_across_beyond_the_block_is_empty():
    section = volume_of(BALL).across(1, 19)
    assert isinstance(section, SliceResult)
    assert section.area == 0
    assert replace(section, index=3).on(Box2D(0, 0, 4, 4)).max() == OUTSIDE_LOGIT


def test_a_mask_promises_the_iou_that_its_probabilities_say():
    logits = np.array([2.0, 2.0, -1.0, -9.0], np.float16)
    inside, doubtful, sure_out = (1 / (1 + np.exp(-v)) for v in (2.0, -1.0, -9.0))
    expected = 2 * inside / (2 + doubtful + sure_out)
    assert promised_iou(logits) == pytest.approx(expected, rel=1e-3)
    assert promised_iou(np.full(5, 9.0)) > 0.999
    assert promised_iou(np.full(5, -9.0)) == 0
    assert promised_iou(np.zeros((0, 3))) == 0
