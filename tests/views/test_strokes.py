"""Strokes as a view shows them: where they are, as large as they are, never lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sammed.imaging.boxes import Box2D
from sammed.views.slices import View
from sammed.views.strokes import stroke_plane

LINE = np.array([(31, col) for col in range(20, 71)])


def view(side, size=96, centre=(40.0, 50.0), extent=None):
    r, c = centre
    rect = (r - side / 2, c - side / 2, r + side / 2, c + side / 2)
    return View(0, rect, extent or (size, size), size)


def plain(seen, pixels, m):
    """The same, cell by cell and pixel by pixel."""
    corners = seen.points(np.stack((pixels, pixels + 1), 1)) * (m / seen.size)
    low, high = corners.min(1), corners.max(1)
    plane = np.zeros((m, m))
    for row, col in np.ndindex(m, m):
        at = np.array((row, col)) + 0.5
        gaps = np.maximum(np.maximum(low - at, at - high), 0)
        plane[row, col] = np.exp(-0.5 * (gaps**2).sum(1)).max()
    return plane


@pytest.mark.parametrize("side", [17.0, 96.0, 700.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_each_cell_is_as_near_as_its_nearest_pixel(side, mirrored):
    pixels = np.array([(31, 47), (31, 48), (33, 52), (47, 45), (33, 49)])
    seen = replace(view(side, 24), mirrored=mirrored)
    np.testing.assert_allclose(stroke_plane(seen, pixels, 24), plain(seen, pixels, 24), atol=1e-5)


@pytest.mark.parametrize("side", [30.0, 96.0, 400.0, 3000.0])
def test_a_stroke_of_single_pixels_is_seen_whatever_the_scale(side):
    """One in thirty cells is a pixel, or one pixel in thirty a cell."""
    seen = view(side, centre=(31.5, 45.5))
    plane = stroke_plane(seen, LINE, 96)
    assert plane.max() > 0.75
    along = plane[47:49].max(0)
    inside = slice(
        *(int(np.clip(v, 0, 96)) for v in seen.points(np.array([[31, 20], [31, 71]]))[:, 1])
    )
    assert along[inside].min(initial=1) > 0.75  # and nowhere broken


def test_where_the_view_magnifies_a_pixel_is_solid_and_as_large_as_it_is_seen():
    seen = view(16.0, centre=(40.0, 50.0))  # 6 cells a pixel
    plane = stroke_plane(seen, np.array([(40, 50)]), 96)
    r0, c0, r1, c1 = seen.box(Box2D(40, 50, 41, 51)).astype(int)
    assert (plane[r0:r1, c0:c1] == 1).all()
    assert np.count_nonzero(plane == 1) == 36
    assert plane[r0 - 4, c0] < 0.01


def test_a_mirrored_view_shows_the_mirrored_plane():
    seen = view(80.0)
    mirrored = stroke_plane(replace(seen, mirrored=True), LINE, 96)
    np.testing.assert_allclose(mirrored, stroke_plane(seen, LINE, 96)[:, ::-1], atol=1e-5)


def test_a_whole_slice_lies_at_the_top_left_of_its_square():
    whole = View.whole(0, (40, 80), 64)
    plane = stroke_plane(whole, np.array([(39, 79)]), 64)
    assert plane[31, 63] == plane.max()
    assert plane[36:].max() < 0.01
    half = stroke_plane(whole, np.array([(39, 79)]), 32)
    assert half[15, 31] == half.max()


def test_order_and_repetition_say_nothing_and_no_pixels_are_no_stroke():
    seen = view(80.0)
    shuffled = np.concatenate((LINE[::-1], LINE[:9]))
    np.testing.assert_array_equal(stroke_plane(seen, shuffled, 96), stroke_plane(seen, LINE, 96))
    nothing = stroke_plane(seen, np.empty((0, 2), int), 96)
    assert nothing.shape == (96, 96)
    assert not nothing.any()
