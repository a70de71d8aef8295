from __future__ import annotations

import numpy as np
import pytest

from sammed.models.compact.locator_net import BLOCK_SIZE
from sammed.synthesis import draw_samples, make_slab
from sammed.synthesis.blocks import draw_blocks
from sammed.synthesis.fields import smooth_noise, spline_matrix
from sammed.synthesis.sheet import draw_sheet
from sammed.synthesis.views import MODES, VIEW_SIZE, ZOOM, jittered

SEEDS = range(30)


@pytest.fixture(scope="module")
def slabs():
    return [make_slab(seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def samples():
    return [s for seed in range(40) for s in draw_samples((3, seed), 8)]


def test_the_same_seed_gives_the_same_slab_and_another_does_not():
    first, again, other = make_slab((5, 1)), make_slab((5, 1)), make_slab((5, 2))
    assert np.array_equal(first.image, again.image)
    assert [t.kind for t in first.targets] == [t.kind for t in again.targets]
    for a, b in zip(first.targets, again.targets, strict=True):
        assert np.array_equal(a.mask, b.mask)
    assert first.image.shape != other.image.shape or not np.array_equal(first.image, other.image)


@pytest.mark.thorough
def test_images_are_finite_and_in_range(slabs):
    for slab in slabs:
        assert slab.image.dtype == np.float32
        assert np.isfinite(slab.image).all()
        assert slab.image.min() >= 0
        assert slab.image.max() <= 1
        assert slab.image.std() > 0.001


def test_targets_lie_on_the_grid_of_the_image_and_are_not_empty(slabs):
    for slab in slabs:
        for target in slab.targets:
            assert target.mask.shape == slab.image.shape[:3]
            assert target.mask.any()


def test_some_objects_end_inside_the_slab_and_some_cross_it(slabs):
    ends = crosses = 0
    for slab in slabs:
        if slab.colour:
            continue
        for target in slab.targets:
            filled = target.mask.any((1, 2))
            ends += not filled.all()
            crosses += bool(filled.all())
    assert ends > 20
    assert crosses > 20


@pytest.mark.thorough
def test_there_are_many_kinds_of_targets_and_both_grey_and_colour(slabs):
    kinds = {t.kind for slab in slabs for t in slab.targets}
    assert {"tumour", "shell", "cavity", "crescent", "vessel", "composite", "bone"} <= kinds
    assert {True, False} == {make_slab(seed).colour for seed in range(60)}


def test_samples_are_deterministic():
    first, again = draw_samples((1, 2, 3), 6), draw_samples((1, 2, 3), 6)
    assert len(first) == len(again) > 0
    for a, b in zip(first, again, strict=True):
        assert a.mode == b.mode
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.target, b.target)
        assert np.array_equal(a.box, b.box)


@pytest.mark.thorough
def test_samples_have_the_promised_form(samples):
    assert {s.mode for s in samples} == set(MODES)
    for s in samples:
        assert s.image.shape == (3, VIEW_SIZE, VIEW_SIZE)
        assert s.image.dtype == np.float16
        assert float(s.image.min()) >= 0
        assert float(s.image.max()) <= 1.001
        assert s.target.shape == s.previous.shape == (VIEW_SIZE, VIEW_SIZE)
        assert set(np.unique(s.target)) <= {0, 1}
        assert np.isfinite(s.box).all()
        assert s.box[2] > s.box[0]
        assert s.box[3] > s.box[1]


def test_absent_samples_have_no_target_but_a_neighbour(samples):
    absent = [s for s in samples if s.mode == "absent"]
    assert absent
    for s in absent:
        assert not s.target.any()
        assert s.previous.any()


def test_the_view_is_centred_on_the_box_and_as_large_as_the_zoom_says(samples):
    for s in samples:
        if s.mode == "free":
            continue
        centre = (s.box[:2] + s.box[2:]) / 2
        assert np.allclose(centre, VIEW_SIZE / 2, atol=0.01)
        assert max(s.box[2:] - s.box[:2]) <= VIEW_SIZE / ZOOM + 0.01


def test_the_box_of_an_own_sample_is_round_its_target(samples):
    for s in samples:
        if s.mode != "own" or s.target.sum() < 200:
            continue
        rows, cols = np.nonzero(s.target)
        tight = np.array((rows.min(), cols.min(), rows.max() + 1, cols.max() + 1))
        size = np.tile(tight[2:] - tight[:2], 2)
        pixel = VIEW_SIZE / 12  # native pixels can be this large in the view
        assert (np.abs(s.box - tight) <= 0.45 * size + pixel).all()


def test_pictures_are_asked_for_by_close_boxes_and_by_far_too_wide_ones(monkeypatch):
    monkeypatch.setattr("sammed.synthesis.slab.COLOUR_SHARE", 1.0)
    filled: dict[str, list[float]] = {"own": [], "whole": []}
    for seed in range(40):
        for s in draw_samples((8, seed), 8):
            assert s.colour
            if s.mode in filled:
                area = (s.box[2] - s.box[0]) * (s.box[3] - s.box[1])
                filled[s.mode].append(float(s.target.sum() / area))
    assert min(len(shares) for shares in filled.values()) > 10
    assert min(filled["own"]) > 0.3 > min(filled["whole"])
    assert np.mean(filled["whole"]) < np.mean(filled["own"]) - 0.05


def test_jitter_moves_sides_by_at_most_a_bit_more_than_a_quarter():
    rng = np.random.default_rng(0)
    moved = np.array([jittered(rng, (40, 60, 140, 100)) for _ in range(500)])
    offset = np.abs(moved - (40, 60, 140, 100)) / (100, 40, 100, 40)
    assert offset.max() <= 0.41
    assert np.median(offset) < 0.08


def test_noise_is_smooth_and_of_about_unit_deviation():
    field = smooth_noise(np.random.default_rng(0), (5, 70, 110), (2, 9, 9))
    assert field.shape == (5, 70, 110)
    assert 0.5 < field.std() < 1.6
    assert np.abs(np.diff(field, axis=2)).mean() < 0.25
    assert np.allclose(spline_matrix(50, 7).sum(1), 1, atol=1e-5)


def test_a_sheet_is_drawn(tmp_path):
    draw_sheet(tmp_path / "sheet.png", rows=1, columns=3)
    assert (tmp_path / "sheet.png").stat().st_size > 1000


# -- 3D boxes --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def blocks():
    return [s for seed in range(12) for s in draw_blocks((3, seed), 6)]


def test_the_same_seed_gives_the_same_blocks(blocks):
    again = draw_blocks((3, 0), 6)
    for a, b in zip(blocks, again, strict=False):
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.target, b.target)
        assert a.kind == b.kind
    assert len(again) >= 4


def test_blocks_are_cubes_in_range(blocks):
    assert len(blocks) > 50
    for sample in blocks:
        for cube in (sample.image, sample.inside, sample.target):
            assert cube.shape == (BLOCK_SIZE,) * 3
        assert 0 <= sample.image.min() <= sample.image.max() <= 1.001
        assert set(np.unique(sample.target)) <= {0, 1}
        assert (sample.voxels >= 1).all()
        assert (sample.extent > 0).all()


def test_an_object_fills_its_box_but_for_the_jitter(blocks):
    """Nearly all reach from face to face, within a quarter of the box."""
    filled = 0
    for sample in blocks:
        ends = [np.flatnonzero(sample.target.any(o)) for o in ((1, 2), (0, 2), (0, 1))]
        assert all(len(e) for e in ends)
        filled += all(e[0] <= 13 and e[-1] >= 26 for e in ends)
    assert filled > 0.9 * len(blocks)


def test_what_lies_beyond_the_image_is_black(blocks):
    beyond = [s.image[s.inside == 0] for s in blocks if not s.inside.all()]
    assert len(beyond) > 5
    assert all(np.percentile(b, 90) < 0.5 for b in beyond)


@pytest.mark.thorough
def test_some_blocks_hold_winding_tubes_and_parts_of_objects():
    kinds = [s.kind for seed in range(25) for s in draw_blocks((8, seed), 6)]
    assert "winding" in kinds
    assert len(set(kinds)) > 15
