"""Metrics against plain numpy oracles, exact phantoms, and the laws that they must obey."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from sammed.errors import EvaluationError, GridMismatchError
from sammed.evaluation import metrics
from sammed.imaging.masks import dice
from sammed.imaging.volume import LabelVolume, make_grid

SPACING = (2.5, 0.8, 0.7)
SHAPE = (5, 7, 11)
seeds = st.integers(0, 2**31)


def random_mask(seed: int, shape=SHAPE, share=0.4):
    rng = np.random.default_rng(seed)
    return rng.random(shape) < rng.uniform(0.02, share)


def blob(centre, radius_mm, shape=(24, 60, 70), spacing=SPACING):
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) * spacing
    return ((grid - np.array(centre)) ** 2).sum(-1) <= radius_mm**2


def cells(mask, spacing):
    """Centres in mm of the 2x2x2 cells that are partly inside: marching cubes' surface cells."""
    padded = np.pad(mask, 1).astype(int)
    n = [s - 1 for s in padded.shape]
    total = sum(
        padded[dz : dz + n[0], dy : dy + n[1], dx : dx + n[2]]
        for dz, dy, dx in itertools.product((0, 1), repeat=3)
    )
    return (np.argwhere((total > 0) & (total < 8)) - 0.5) * np.array(spacing)


def faces(mask, spacing):
    """Centres in mm and areas of the voxel faces between inside and outside."""
    padded = np.pad(mask, 1).astype(int)
    centres, areas = [], []
    for axis in range(3):
        at = np.argwhere(np.diff(padded, axis=axis) != 0).astype(float) - 1
        at[:, axis] += 0.5
        centres.append(at * np.array(spacing))
        areas.append(np.full(len(at), np.prod(spacing) / spacing[axis]))
    return np.concatenate(centres), np.concatenate(areas)


def oracle_overlap(p, r):
    p, r = set(map(tuple, np.argwhere(p))), set(map(tuple, np.argwhere(r)))
    both, either = len(p & r), len(p | r)
    return {
        "dice": 2 * both / (len(p) + len(r)) if either else 1.0,
        "iou": both / either if either else 1.0,
        "sensitivity": both / len(r) if r else math.nan,
        "precision": both / len(p) if p else math.nan,
        "volume_ml": len(p) * 2.5 * 0.8 * 0.7 / 1000,
        "reference_ml": len(r) * 2.5 * 0.8 * 0.7 / 1000,
    }


@pytest.mark.parametrize("seed", range(12))
def test_counts_agree_with_sets_of_voxels(seed):
    p, r = random_mask(seed), random_mask(seed + 100)
    found = metrics.score(p, r, SPACING)
    for name, value in oracle_overlap(p, r).items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-6), name
    assert found.dice == pytest.approx(dice(p, r), abs=1e-12)
    assert found.difference_ml == pytest.approx(found.volume_ml - found.reference_ml)


@pytest.mark.parametrize("seed", range(6))
def test_surface_distances_are_those_between_marching_cubes_cells(seed):
    p, r = random_mask(seed), random_mask(seed + 50)
    of_p, of_r = metrics.surface_distances(p, r, SPACING)
    between = cdist(cells(p, SPACING), cells(r, SPACING))
    np.testing.assert_allclose(np.sort(of_p.distance_mm), np.sort(between.min(1)), atol=1e-5)
    np.testing.assert_allclose(np.sort(of_r.distance_mm), np.sort(between.min(0)), atol=1e-5)


@pytest.mark.parametrize(
    ("centre_a", "radius_a", "centre_b", "radius_b"),
    [((28, 24, 24), 15, (30, 25, 26), 14), ((28, 24, 24), 18, (28, 24, 24), 12)],
)
def test_surface_scores_agree_with_voxel_faces_within_a_voxel(
    centre_a, radius_a, centre_b, radius_b
):
    a, b = blob(centre_a, radius_a), blob(centre_b, radius_b)
    found = metrics.score(a, b, SPACING, tolerance_mm=3.0)
    (at_a, area_a), (at_b, area_b) = faces(a, SPACING), faces(b, SPACING)
    between = cdist(at_a, at_b)
    there, back = between.min(1), between.min(0)
    voxel = float(np.linalg.norm(SPACING))
    area = area_a.sum() + area_b.sum()
    assert found.hd95_mm == pytest.approx(
        max(np.percentile(there, 95), np.percentile(back, 95)), abs=voxel
    )
    mean = ((there * area_a).sum() + (back * area_b).sum()) / area
    assert found.msd_mm == pytest.approx(mean, abs=voxel / 2)
    within = (area_a[there <= 3].sum() + area_b[back <= 3].sum()) / area
    assert found.nsd == pytest.approx(within, abs=0.12)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_concentric_blocks_have_known_distances(axis):
    a, b = np.zeros((20, 20, 20), bool), np.zeros((20, 20, 20), bool)
    a[3:17, 3:17, 3:17] = True
    b[3:17, 3:17, 3:17] = True
    cut = [slice(None)] * 3
    cut[axis] = slice(14, 17)
    b[tuple(cut)] = False  # three voxels less at one end
    found = metrics.score(a, b, SPACING, tolerance_mm=3 * SPACING[axis])
    assert found.hd95_mm == pytest.approx(3 * SPACING[axis], abs=1e-5)
    assert found.nsd == pytest.approx(1.0)
    stricter = metrics.score(a, b, SPACING, tolerance_mm=3 * SPACING[axis] - 0.01)
    assert stricter.nsd < 0.99


def test_nsd_counts_area_not_elements():
    """A wrong face weighs as much as its mm2, whatever its number of voxels."""
    a = np.zeros((24, 24, 24), bool)
    a[4:20, 4:20, 4:20] = True
    b = a.copy()
    b[:, :, 16:] = False  # moves one x face by four voxels = 2.8 mm
    found = metrics.score(a, b, SPACING, tolerance_mm=0.5)
    side_z, side_y, side_x = (16 * s for s in SPACING)
    x_face = side_z * side_y
    a_all = 2 * (x_face + side_z * side_x + side_y * side_x)
    b_all = 2 * (x_face + 0.75 * (side_z * side_x + side_y * side_x))
    walls = 2 * 0.25 * (side_z * side_x + side_y * side_x)  # of a, beyond b's end
    assert found.nsd == pytest.approx(1 - (2 * x_face + walls) / (a_all + b_all), abs=0.04)


def test_a_ball_has_its_volume():
    found = metrics.score(blob((28, 24, 24), 15), blob((28, 24, 24), 15), SPACING)
    assert found.volume_ml == pytest.approx(4 / 3 * np.pi * 1.5**3, rel=0.02)
    assert (found.dice, found.iou, found.nsd, found.hd95_mm, found.msd_mm) == (1, 1, 1, 0, 0)


def test_empty_masks_follow_the_stated_rules():
    empty, full = np.zeros(SHAPE, bool), np.ones(SHAPE, bool)
    both = metrics.score(empty, empty, SPACING)
    assert both.outcome == "both-empty"
    assert (both.dice, both.iou, both.nsd, both.hd95_mm, both.msd_mm) == (1, 1, 1, 0, 0)
    assert math.isnan(both.sensitivity)
    assert math.isnan(both.precision)
    assert not both.failed
    missed = metrics.score(empty, full, SPACING)
    assert (missed.outcome, missed.dice, missed.nsd, missed.sensitivity) == ("missed", 0, 0, 0)
    assert math.isnan(missed.hd95_mm)
    assert math.isnan(missed.precision)
    assert missed.failed
    invented = metrics.score(full, empty, SPACING)
    assert (invented.outcome, invented.dice, invented.nsd) == ("invented", 0, 0)
    assert invented.precision == 0
    assert math.isnan(invented.msd_mm)
    assert math.isnan(invented.sensitivity)


@pytest.mark.parametrize("shape", [(1, 7, 11), (5, 1, 11), (5, 7, 1), (1, 1, 9), (1, 1, 1)])
def test_flat_grids_are_scored_in_their_plane(shape):
    rng = np.random.default_rng(3)
    p, r = rng.random(shape) < 0.6, rng.random(shape) < 0.6
    p.flat[0] = r.flat[0] = True
    found = metrics.score(p, r, SPACING)
    assert 0 <= found.nsd <= 1
    assert np.isfinite(found.hd95_mm)


def test_a_picture_has_outlines_not_covers():
    """In 3D the covers of a one-slice slab would be right everywhere and hide a wrong outline."""
    p, r = np.zeros((1, 40, 40), bool), np.zeros((1, 40, 40), bool)
    p[0, 5:35, 5:35] = True
    r[0, 15:25, 15:25] = True
    assert metrics.score(p, r, (1, 1, 1), tolerance_mm=2).nsd == 0


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_scores_are_symmetric_and_in_range(seed):
    p, r = random_mask(seed), random_mask(seed + 1)
    a, b = metrics.score(p, r, SPACING), metrics.score(r, p, SPACING)
    for name in ("dice", "iou", "nsd"):
        assert getattr(a, name) == pytest.approx(getattr(b, name), abs=1e-6)
        assert 0 <= getattr(a, name) <= 1
    assert a.iou == pytest.approx(a.dice / (2 - a.dice))
    assert (a.sensitivity, a.precision) == pytest.approx((b.precision, b.sensitivity), nan_ok=True)
    assert (a.hd95_mm, a.msd_mm) == pytest.approx((b.hd95_mm, b.msd_mm), abs=1e-5, nan_ok=True)
    if a.outcome == "found":
        assert a.msd_mm >= 0
        assert 0 <= a.hd95_mm <= np.linalg.norm(np.array(SHAPE) * SPACING) + 1e-6


@settings(max_examples=15, deadline=None)
@given(seeds, st.permutations(range(3)), st.tuples(*[st.sampled_from([1, -1])] * 3))
def test_scores_do_not_depend_on_axis_order(seed, order, steps):
    p, r = random_mask(seed), random_mask(seed + 1)
    flip = tuple(slice(None, None, s) for s in steps)
    turned = [m.transpose(order)[flip] for m in (p, r)]
    a = metrics.score(p, r, SPACING).as_dict()
    b = metrics.score(*turned, tuple(SPACING[i] for i in order)).as_dict()
    assert a.pop("outcome") == b.pop("outcome")
    assert a == pytest.approx(b, abs=1e-5, nan_ok=True)


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_a_larger_tolerance_never_lowers_nsd(seed):
    p, r = random_mask(seed), random_mask(seed + 1)
    values = [metrics.score(p, r, SPACING, t).nsd for t in (0, 0.7, 1.5, 3, 30)]
    assert values == sorted(values)
    if metrics.score(p, r, SPACING).outcome == "found":
        assert values[-1] == pytest.approx(1)


def oblique(shift=0.0):
    a, b = np.radians(20), np.radians(10)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = (about_z @ about_x)[:, ::-1] * np.array(SPACING)
    affine[:3, 3] = (11 + shift, -4, 30)
    return affine


def label_map(voxels, affine=None):
    grid = make_grid(oblique() if affine is None else affine, voxels.shape)
    return LabelVolume(grid.reorientation.apply(voxels), grid, {1: "a", 2: "b", 3: "c"})


def test_each_label_of_two_maps_is_scored():
    rng = np.random.default_rng(5)
    p, r = rng.integers(0, 3, SHAPE).astype(np.uint8), rng.integers(0, 4, SHAPE).astype(np.uint8)
    found = metrics.score_labels(label_map(p), label_map(r))
    assert list(found) == [1, 2, 3]
    for value, scores in found.items():
        assert scores.dice == pytest.approx(oracle_overlap(p == value, r == value)["dice"])
    assert found[3].outcome == "missed"
    only = metrics.score_labels(label_map(p), label_map(r), labels=[2, 9])
    assert list(only) == [2, 9]
    assert only[9].outcome == "both-empty"


def test_axis_order_of_the_file_does_not_matter():
    rng = np.random.default_rng(6)
    p, r = rng.integers(0, 3, SHAPE).astype(np.uint8), rng.integers(0, 3, SHAPE).astype(np.uint8)
    affine = oblique()
    flipped = affine.copy()
    flipped[:3, 3] += flipped[:3, 1] * (SHAPE[1] - 1)
    flipped[:3, 1] *= -1
    swapped = label_map(
        np.ascontiguousarray(p[:, ::-1].transpose(2, 1, 0)), flipped[:, [2, 1, 0, 3]]
    )
    expected = metrics.score_labels(label_map(p), label_map(r))
    assert metrics.score_labels(swapped, label_map(r)) == expected


def test_other_grids_are_refused_in_one_line():
    p = np.ones(SHAPE, np.uint8)
    with pytest.raises(GridMismatchError, match=r"not on the grid of the reference.*--resample"):
        metrics.score_labels(label_map(p, oblique(shift=0.5)), label_map(p))
    with pytest.raises(GridMismatchError, match="shape"):
        metrics.score(np.ones((5, 7, 10), bool), np.ones(SHAPE, bool), SPACING)
    with pytest.raises(EvaluationError, match="tolerance"):
        metrics.score(p > 0, p > 0, SPACING, tolerance_mm=-1)
    with pytest.raises(EvaluationError, match="any label"):
        metrics.score_labels(label_map(p * 0), label_map(p * 0))
