from __future__ import annotations

import numpy as np
import pytest

from sammed.imaging.resampling import bilinear_weights, shrink_weights


@pytest.mark.parametrize(("start", "stop"), [(2.0, 12.0), (0.0, 20.0), (-7.0, 33.0)])
def test_a_constant_stays_and_there_is_nothing_outside(start, stop):
    weights, first, last = shrink_weights(start, stop, 16, 20)
    assert weights.shape == (16, last - first)
    seen = weights @ np.ones(last - first, np.float32)
    centres = start + (np.arange(16) + 0.5) * (stop - start) / 16
    step = max(1.0, (stop - start) / 16)
    inside = (centres > step) & (centres < 20 - step)
    assert np.allclose(seen[inside], 1, atol=1e-5)
    assert np.all(seen[(centres < -step) | (centres > 20 + step)] == 0)


def test_the_same_size_changes_nothing():
    weights, first, last = shrink_weights(0.0, 9.0, 9, 9)
    assert (first, last) == (0, 9)
    assert np.allclose(weights, np.eye(9), atol=1e-6)


def test_an_interval_beyond_the_axis_takes_nothing():
    weights, first, last = shrink_weights(30.0, 40.0, 8, 20)
    assert first == last
    assert weights.shape == (8, 0)


def test_positions_beyond_the_ends_take_the_end():
    weights = bilinear_weights(np.array([-2.0, 1.25, 9.0]), 4)
    assert np.allclose(weights @ np.arange(4.0), [0, 1.25, 3])
