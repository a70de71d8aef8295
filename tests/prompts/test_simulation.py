"""The prompt simulators: tight, jittered as stated, clicks where the errors are."""

from __future__ import annotations

import itertools
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sammed.errors import EvaluationError
from sammed.imaging.boxes import Box2D, Box3D
from sammed.prompts import ObjectPrompts, simulation

SPACING = (2.5, 0.8, 0.7)
SHAPE = (5, 7, 11)
seeds = st.integers(0, 2**31)
axes = st.sampled_from([0, 1, 2])


def random_mask(seed: int, shape=SHAPE):
    """Never empty."""
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < rng.uniform(0.03, 0.5)
    mask[tuple(rng.integers(0, n) for n in shape)] = True
    return mask


def flooded(mask):
    """Components of touching pixels or voxels by flood fill: the oracle."""
    left = {tuple(int(i) for i in p) for p in np.argwhere(mask)}
    found = []
    while left:
        queue, component = deque([left.pop()]), set()
        while queue:
            at = queue.popleft()
            component.add(at)
            steps = itertools.product((-1, 0, 1), repeat=mask.ndim)
            near = left & {tuple(a + d for a, d in zip(at, step, strict=True)) for step in steps}
            left -= near
            queue.extend(near)
        found.append(component)
    return found


def touches_all_sides(box: Box2D, mask) -> bool:
    inside = mask[box.slices]
    return bool(inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any())


@settings(max_examples=30, deadline=None)
@given(seeds, axes)
def test_slice_boxes_hold_each_component_tightly(seed, axis):
    mask = random_mask(seed)
    boxes = simulation.slice_boxes(mask, axis)
    covered = np.zeros(SHAPE, bool)
    for prompt in boxes:
        assert prompt.axis == axis
        assert touches_all_sides(prompt.box, np.take(mask, prompt.index, axis=axis))
        covered[prompt.block.slices] = True
    assert (covered | ~mask).all()
    expected = set()
    for index in range(SHAPE[axis]):
        for component in flooded(np.take(mask, index, axis=axis)):
            at = np.array(sorted(component))
            expected.add((index, Box2D(*at.min(0).tolist(), *(at.max(0) + 1).tolist())))
    assert {(p.index, p.box) for p in boxes} == expected
    ObjectPrompts(boxes=boxes).check(SHAPE)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_block_is_tight(seed):
    mask = random_mask(seed)
    box = simulation.block(mask)
    at = np.argwhere(mask)
    assert box == Box3D(*at.min(0).tolist(), *(at.max(0) + 1).tolist())


@settings(max_examples=25, deadline=None)
@given(seeds, axes)
def test_largest_slice_box_holds_all_of_the_widest_slice(seed, axis):
    mask = random_mask(seed)
    prompt = simulation.largest_slice_box(mask, axis)
    areas = [np.take(mask, i, axis=axis).sum() for i in range(SHAPE[axis])]
    assert areas[prompt.index] == max(areas)
    seen = np.take(mask, prompt.index, axis=axis)
    assert seen[prompt.box.slices].sum() == seen.sum()
    assert touches_all_sides(prompt.box, seen)


def test_of_equally_large_slices_the_middle_one_is_taken():
    mask = np.zeros(SHAPE, bool)
    mask[1:5, 2:4, 3:6] = True
    assert simulation.largest_slice(mask, 0) == 3
    mask[0] = mask[1]
    assert simulation.largest_slice(mask, 0) == 2


@pytest.mark.parametrize("side", range(4))
def test_jitter_of_a_side_is_uniform_up_to_the_fraction_of_the_extent(side):
    """Rows by the height, columns by the width, within half a pixel of rounding."""
    mask = np.zeros((1, 700, 1500), bool)
    mask[0, 150:550, 250:1250] = True
    rng = np.random.default_rng(7)
    extent, fraction = (400, 1000, 400, 1000)[side], 0.1
    exact = (150, 250, 550, 1250)[side]
    moved = []
    for _ in range(300):
        box = simulation.largest_slice_box(mask, 0, fraction, rng).box
        moved.append(box.as_array()[side] - exact)
    moved = np.array(moved)
    limit = fraction * extent
    assert np.abs(moved).max() <= limit
    assert stats.kstest(moved, stats.uniform(-limit, 2 * limit).cdf).pvalue > 0.01


def test_jittered_sides_of_a_block_are_uniform_and_independent():
    mask = np.zeros((60, 90, 120), bool)
    mask[20:40, 30:60, 40:80] = True
    rng = np.random.default_rng(8)
    moved = np.array(
        [
            np.array([b.low, b.high]) - [(20, 30, 40), (40, 60, 80)]
            for b in (simulation.block(mask, 0.25, rng) for _ in range(300))
        ]
    ).reshape(300, 6)
    limit = 0.25 * np.array([20, 30, 40] * 2)
    assert (np.abs(moved) <= limit).all()
    for side in range(6):
        spread = moved[:, side] / limit[side]
        assert abs(spread.mean()) < 0.15
        assert spread.std() == pytest.approx(1 / np.sqrt(3), rel=0.12)
    between = np.corrcoef(moved.T) - np.eye(6)
    assert np.abs(between).max() < 0.2


@settings(max_examples=25, deadline=None)
@given(seeds, axes, st.sampled_from([0.05, 0.25, 0.5, 2.0]))
def test_jittered_boxes_stay_usable(seed, axis, fraction):
    """Not empty, inside the volume, on the same slices."""
    mask, rng = random_mask(seed), np.random.default_rng(seed)
    boxes = simulation.slice_boxes(mask, axis, fraction, rng)
    ObjectPrompts(boxes=boxes, blocks=(simulation.block(mask, fraction, rng),)).check(SHAPE)
    assert [b.index for b in boxes] == [b.index for b in simulation.slice_boxes(mask, axis)]


def test_jitter_repeats_with_its_seed_and_needs_one():
    mask = random_mask(3, (9, 60, 70))
    first, again, other = (
        simulation.slice_boxes(mask, 0, 0.25, np.random.default_rng(s)) for s in (1, 1, 2)
    )
    assert first == again
    assert first != other
    with pytest.raises(EvaluationError, match="random generator"):
        simulation.slice_boxes(mask, 0, 0.1)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_clicks_lie_inside_the_largest_error(seed):
    prediction, reference = random_mask(seed), random_mask(seed + 1)
    click = simulation.corrective_click(prediction, reference, SPACING)
    if click is None:
        assert (prediction == reference).all()
        return
    assert prediction[click.at] != reference[click.at]
    assert click.positive == reference[click.at]
    errors = flooded(reference & ~prediction) + flooded(prediction & ~reference)
    mine = next(e for e in errors if click.at in e)
    assert len(mine) == max(len(e) for e in errors)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_a_centre_is_the_voxel_farthest_from_the_edge_in_mm(seed):
    mask = random_mask(seed)
    at = simulation.centre(mask, SPACING)
    assert mask[at]
    padded = np.pad(mask, 1)
    outside = np.argwhere(~padded) * np.array(SPACING)
    depth = {
        tuple(p - 1): np.sqrt(((outside - p * np.array(SPACING)) ** 2).sum(1).min())
        for p in np.argwhere(padded)
    }
    assert depth[at] == pytest.approx(max(depth.values()))


def test_the_click_goes_for_the_missing_half():
    reference, prediction = np.zeros((7, 20, 20), bool), np.zeros((7, 20, 20), bool)
    reference[1:6, 4:16, 3:17] = True
    prediction[1:6, 4:16, 3:8] = True  # nine columns are missing
    prediction[0, 0:2, 0:2] = True  # a small speck too many
    click = simulation.corrective_click(prediction, reference, (1, 1, 1))
    assert click.positive
    assert click.at[0] == 3
    assert 10 <= click.at[2] <= 14
    prediction[1:6, 4:16, 3:17] = True
    click = simulation.corrective_click(prediction, reference, (1, 1, 1))
    assert not click.positive
    assert click.at[0] == 0
    assert simulation.corrective_click(reference, reference, (1, 1, 1)) is None


@pytest.mark.parametrize("shape", [(1, 9, 11), (5, 1, 11), (5, 9, 1)])
def test_flat_volumes_have_centres_inside_their_plane(shape):
    mask = np.ones(shape, bool)
    expected = tuple((n - 1) // 2 for n in shape)
    assert simulation.centre(mask, (1, 1, 1)) == expected
    points = simulation.interior_points(mask, 4, np.random.default_rng(0))
    for point in points:
        assert all(0 < p < n - 1 for p, n in zip(point.at, shape, strict=True) if n > 1)


@settings(max_examples=25, deadline=None)
@given(seeds, st.sampled_from([1, 3, 10]))
def test_interior_points_are_distinct_and_inside(seed, count):
    rng = np.random.default_rng(seed)
    mask = random_mask(seed)
    mask[1:4, 1:5, 2:8] = True
    inside = {
        p
        for p in map(tuple, np.argwhere(mask))
        if all(
            0 <= p[a] + d < SHAPE[a] and mask[tuple(p[b] + d * (a == b) for b in range(3))]
            for a in range(3)
            for d in (-1, 1)
        )
    }
    points = simulation.interior_points(mask, count, rng)
    at = {p.at for p in points}
    assert len(at) == len(points) == min(count, int(mask.sum()))
    assert all(mask[p] for p in at)
    assert all(p.positive for p in points)
    assert len(at & inside) == min(count, len(inside))


def test_interior_points_reach_every_interior_voxel_equally():
    mask = np.zeros((5, 6, 7), bool)
    mask[1:4, 1:5, 1:6] = True  # inside: 1 x 2 x 3
    rng = np.random.default_rng(4)
    drawn = [simulation.interior_points(mask, 1, rng)[0].at for _ in range(1200)]
    counts = [drawn.count((2, y, x)) for y in (2, 3) for x in (2, 3, 4)]
    assert sum(counts) == 1200
    assert stats.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slice_points_come_on_every_slice_of_the_object(axis):
    mask = np.zeros((9, 14, 15), bool)
    mask[2:7, 3:11, 4:12] = True
    mask[8, 13, 14] = True
    points = simulation.slice_points(mask, axis, 3, np.random.default_rng(1))
    assert all(mask[p.at] for p in points)
    others = tuple(a for a in range(3) if a != axis)
    seen = np.flatnonzero(mask.any(axis=others))
    counts = np.bincount([p.at[axis] for p in points], minlength=mask.shape[axis])
    expected = [min(3, int(np.take(mask, i, axis=axis).sum())) for i in seen]
    assert counts[seen].tolist() == expected
    assert counts.sum() == sum(expected)


def test_an_empty_reference_is_refused():
    empty = np.zeros(SHAPE, bool)
    assert simulation.slice_boxes(empty, 0) == ()
    for simulate in (simulation.block, lambda m: simulation.largest_slice_box(m, 0)):
        with pytest.raises(EvaluationError, match="empty"):
            simulate(empty)
