"""The volume of a lesion in a later scan, by its values and by bending."""

from __future__ import annotations

import numpy as np
import pytest

from sammed.examples.lesions import Scan, again
from tests.examples.scans import ball

SHAPE, MM = (24, 30, 30), (2.0, 1.5, 1.5)
MIDDLE = (12, 15, 15)
NOTHING = np.zeros(SHAPE, bool)


def scan(radius: float, seed: int, noise: float = 3.0) -> tuple[Scan, np.ndarray]:
    inside = ball(SHAPE, MIDDLE, radius, MM)
    values = np.where(inside, 30.0, 100.0)
    values += noise * np.random.default_rng(seed).standard_normal(SHAPE)
    return Scan(values.astype(np.float32), MM, 1.0), inside


def test_the_volume_is_the_mean_of_what_values_and_bending_say():
    (then, drawn), (now, _) = scan(7, 1), scan(8, 2)
    alone = again(then, now, drawn, drawn, NOTHING)
    both = again(then, now, drawn, drawn, NOTHING, lambda: 1.2 * alone.voxels)
    assert both.voxels == pytest.approx(np.sqrt(1.2) * alone.voxels)
    assert np.count_nonzero(both.mask) == pytest.approx(both.voxels, abs=3)


def test_where_bending_did_not_follow_the_values_count_alone():
    (then, drawn), (now, inside) = scan(6, 1), scan(10, 2)
    seen = again(then, now, drawn, drawn, NOTHING, lambda: float(np.count_nonzero(drawn)))
    assert seen.voxels == pytest.approx(np.count_nonzero(inside), rel=0.08)


def test_a_lesion_that_is_gone_is_not_bent():
    (then, drawn), (now, _) = scan(7, 1), scan(0, 2)

    def bent() -> float:
        raise AssertionError("bent, though it is gone")

    assert not again(then, now, drawn, drawn, NOTHING, bent).mask.any()


def test_what_was_drawn_larger_than_it_looks_is_so_again():
    (then, _), (now, inside) = scan(7, 1), scan(7, 2)
    drawn = ball(SHAPE, MIDDLE, 7.5, MM)
    seen = again(then, now, drawn, drawn, NOTHING)
    assert seen.voxels == pytest.approx(np.count_nonzero(drawn), rel=0.06)
    assert seen.voxels > np.count_nonzero(inside)


def test_of_a_noisy_scan_it_is_believed_less_how_the_drawing_counted():
    times = []
    for noise in (2.0, 25.0):
        (then, _), (now, _) = scan(7, 1, noise), scan(7, 1, noise)
        drawn = ball(SHAPE, MIDDLE, 8.5, MM)
        how = again(then, now, drawn, drawn, NOTHING).how
        times.append(float(how.split("times ")[1].split()[0]))
    sure, unsure = times
    assert 1 < unsure < sure
