"""What a 3D box shows as a cube, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sammed.imaging.boxes import Box3D
from sammed.imaging.intensity import Window
from sammed.imaging.volume import Volume
from sammed.models.compact.cubes import BOX_SHARE, cube_view, from_cube, widened
from tests.phantoms import affine_of, dice

SIZE = 40
CORE = slice(5, 35)
"""The samples that the 3D box fills."""
UNIT = Window(0.0, 1.0, "unit")


def volume_of(voxels, spacing=(1.0, 1.0, 1.0)):
    return Volume.from_array(np.asarray(voxels, np.float32), affine_of(spacing, (0, 0, 0)))


def test_the_box_fills_its_share_of_the_cube():
    low, high = widened(10, 40)
    assert (high - low) * BOX_SHARE == pytest.approx(30)
    assert low + high == pytest.approx(50)


@given(
    st.tuples(*[st.integers(1, 24)] * 3),
    st.tuples(*[st.integers(0, 12)] * 3),
)
def test_a_box_of_any_size_fills_the_same_samples(shape, first):
    voxels = np.zeros((40, 40, 40), np.float32)
    block = Box3D(*first, *(f + n for f, n in zip(first, shape, strict=True)))
    voxels[block.slices] = 1
    image = cube_view(volume_of(voxels), UNIT, block, SIZE).image
    assert image.shape == (SIZE,) * 3
    assert (image[CORE, CORE, CORE] >= 0.125 - 1e-3).all()  # linear: a corner has half of each axis
    assert image[20, 20, 20] > 0.9  # of one voxel, half a sample from its middle
    if min(shape) > 5:
        assert image[:3].max() < 0.01
        assert image[..., -3:].max() < 0.01


def test_what_lies_beyond_the_volume_is_marked():
    view = cube_view(volume_of(np.ones((8, 20, 20))), UNIT, Box3D(0, 5, 5, 4, 15, 15), SIZE)
    assert not view.inside[:4].any()
    assert view.inside[6:].all()
    assert view.image[:1].max() == 0


def test_sizes_are_told_in_mm_and_in_voxels():
    block = Box3D(1, 2, 3, 5, 10, 19)
    view = cube_view(volume_of(np.ones((9, 20, 30)), (3.0, 1.0, 0.5)), UNIT, block, SIZE)
    assert view.voxels.tolist() == [4, 8, 16]
    assert view.extent.tolist() == pytest.approx([12, 8, 8])


def test_colours_are_seen_as_their_mean():
    colours = np.zeros((6, 12, 12, 3), np.uint8)
    colours[..., 0], colours[..., 2] = 30, 90
    volume = Volume.from_array(colours, affine_of((1, 1, 1), (0, 0, 0)))
    view = cube_view(volume, Window(0, 255, "colour"), Box3D(1, 3, 3, 5, 9, 9), SIZE)
    assert view.image[20, 20, 20] == pytest.approx(40 / 255, abs=1e-5)


@given(st.tuples(*[st.integers(6, 30)] * 3), st.floats(0.6, 1.0))
def test_an_object_comes_back_where_it_was(shape, share):
    """There and back: an ellipsoid within a box of any proportions."""
    block = Box3D(5, 6, 7, *(n + o for n, o in zip(shape, (5, 6, 7), strict=True)))
    grid = np.meshgrid(*[np.arange(44) + 0.5] * 3, indexing="ij")
    centre = [(a + b) / 2 for a, b in zip(block.low, block.high, strict=True)]
    half = [n / 2 * share for n in shape]
    distance = sum(((g - c) / h) ** 2 for g, c, h in zip(grid, centre, half, strict=True))
    inside = distance <= 1
    view = cube_view(volume_of(inside), UNIT, block, SIZE)
    found = from_cube((view.image - 0.5) * 8, block)
    assert found.block == block
    mask = np.zeros(inside.shape, bool)
    mask[block.slices] = found.logits > 0
    assert dice(mask, inside) > 0.9
