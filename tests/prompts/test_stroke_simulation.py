"""Simulated strokes: inside what they are drawn on, long, repeatable, where the error is."""

from __future__ import annotations

import numpy as np
import pytest

from sammed.errors import EvaluationError
from sammed.prompts.stroke_simulation import KINDS, corrective_stroke, drawn, first_stroke

pytest.importorskip("skimage", reason="the middle line is scikit-image's")

ROWS, COLS = np.mgrid[:40, :60]
ELLIPSE = ((ROWS - 20) / 13) ** 2 + ((COLS - 30) / 22) ** 2 < 1
RING = (np.hypot(ROWS - 20, COLS - 30) < 17) & (np.hypot(ROWS - 20, COLS - 30) > 11)
BAR = (abs(ROWS - 30) < 4) & (COLS > 4) & (COLS < 50)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", [ELLIPSE, RING, BAR], ids=["ellipse", "ring", "bar"])
def test_a_stroke_runs_inside_of_what_it_is_drawn_on(kind, mask):
    for seed in range(20):
        stroke = drawn(mask, kind, np.random.default_rng(seed))
        assert mask[tuple(stroke.T)].all()
        assert len(np.unique(stroke, axis=0)) == len(stroke)
        np.testing.assert_array_equal(stroke, drawn(mask, kind, np.random.default_rng(seed)))


def test_a_middle_line_reaches_from_end_to_end():
    lengths = [np.ptp(drawn(BAR, "centre line", np.random.default_rng(s))[:, 1]) for s in range(20)]
    assert min(lengths) > 30


def test_a_contour_lies_nearer_to_the_border_than_a_middle_line():
    def depth(kind):
        strokes = [drawn(ELLIPSE, kind, np.random.default_rng(s)) for s in range(20)]
        radii = [np.hypot((s[:, 0] - 20) / 13, (s[:, 1] - 30) / 22) for s in strokes]
        return float(np.median(np.concatenate(radii)))

    assert depth("contour") > depth("centre line") + 0.1


def test_the_largest_part_is_drawn_on_and_an_empty_mask_refused():
    two = ELLIPSE.copy()
    two[0, 0] = True
    for seed in range(10):
        assert (0, 0) not in set(map(tuple, drawn(two, "line", np.random.default_rng(seed))))
    with pytest.raises(EvaluationError, match="empty"):
        drawn(np.zeros((4, 5), bool), "line", np.random.default_rng(0))
    single = np.zeros((4, 5), bool)
    single[2, 3] = True
    assert drawn(single, "contour", np.random.default_rng(0)).tolist() == [[2, 3]]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_first_stroke_lies_on_the_largest_slice(axis):
    mask = np.zeros((9, 11, 13), bool)
    mask[2:7, 2:9, 3:10] = True
    largest = [4, 5, 6][axis]
    where = [slice(1, 8), slice(1, 10), slice(1, 12)]
    where[axis] = slice(largest, largest + 1)
    mask[tuple(where)] = True
    stroke = first_stroke(mask, axis, "line", np.random.default_rng(0))
    assert stroke.positive
    assert set(stroke.voxels[:, axis]) == {largest}
    assert mask[tuple(stroke.voxels.T)].all()


def test_a_correction_is_drawn_on_the_largest_error():
    reference = np.zeros((9, 30, 30), bool)
    reference[2:7, 5:25, 5:25] = True
    missed, leaked = reference.copy(), reference.copy()
    missed[4:7, 5:25, 15:25] = False
    leaked[2:5, 25:29, 5:25] = True
    rng = np.random.default_rng(0)
    inside = corrective_stroke(missed, reference, 0, "line", rng)
    assert inside.positive
    assert (reference & ~missed)[tuple(inside.voxels.T)].all()
    outside = corrective_stroke(leaked, reference, 0, "line", rng)
    assert not outside.positive
    assert (leaked & ~reference)[tuple(outside.voxels.T)].all()
    assert corrective_stroke(reference, reference, 0, "line", rng) is None
