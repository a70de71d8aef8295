"""The field that the network for volumes sees: where its samples lie, and the way back."""

from __future__ import annotations

import numpy as np
import pytest

from sammed.imaging.boxes import Box3D
from sammed.imaging.intensity import Window
from sammed.imaging.volume import Volume
from sammed.models.compact.field import ABSENT, Field, field_image, field_mask
from sammed.models.protocols import VolumeMask
from tests.phantoms import OBLIQUE, ORDERS, SHAPE, SPACING, affine_of, reordered

UNIT = Window(0.0, 1.0, "unit")
RNG = np.random.default_rng(0)
VOXELS = RNG.random(SHAPE).astype(np.float32)


def volume_of(voxels, affine=OBLIQUE):
    return Volume.from_array(voxels, affine)


def test_where_samples_are_voxels_the_field_is_the_image():
    field = Field((-3.0, -2.0, -1.0), (13.0, 14.0, 15.0), 16)
    seen = field_image(volume_of(VOXELS), UNIT, field)
    np.testing.assert_allclose(seen[3:8, 2:9, 1:12], VOXELS, atol=1e-6)
    outside = seen.copy()
    outside[3:8, 2:9, 1:12] = 0
    assert not outside.any()


def test_what_is_found_there_comes_back_to_its_voxels():
    field = Field((-3.0, -2.0, -1.0), (13.0, 14.0, 15.0), 16)
    logits = RNG.normal(0, 3, (16,) * 3).astype(np.float32)
    block = field.block(SHAPE)
    assert block == Box3D(0, 0, 0, *SHAPE)
    np.testing.assert_allclose(field.back(logits, block), logits[3:8, 2:9, 1:12], atol=1e-2)


@pytest.mark.parametrize("at", [(0, 0, 0), (2, 5, 3), (4, 6, 10)])
def test_each_axis_has_a_step_of_its_own(at):
    """A voxel is 4 samples thick along z, 2 along y, half a sample along x."""
    voxels = np.zeros(SHAPE, np.float32)
    voxels[at] = 1
    field = Field((0.0, 0.0, 0.0), (4.0, 8.0, 32.0), 16)
    np.testing.assert_allclose(field.step, (0.25, 0.5, 2.0))
    middle = field.to_samples(np.array(at) + 0.5)
    seen = field_image(volume_of(voxels), UNIT, field)
    if at[0] == 4:
        assert seen.max() < 0.5  # beyond the field
        return
    weights = seen / seen.sum()
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        centre = float((weights.sum(others) * (np.arange(16) + 0.5)).sum())
        assert centre == pytest.approx(middle[axis], abs=0.55)
        assert np.argmax(seen.sum(others)) in (np.floor(middle[axis]), np.ceil(middle[axis]) - 1)


@pytest.mark.parametrize(("order", "flips"), ORDERS[::7])
def test_however_a_file_stores_its_axes_the_field_is_the_same(order, flips):
    volume = volume_of(VOXELS)
    again = Volume.from_array(*reordered(VOXELS, OBLIQUE, order, flips))
    assert again.spacing == pytest.approx(volume.spacing)
    field = Field.round((1, 2, 3), (4, 6, 9), 0.6, 32)
    np.testing.assert_allclose(
        field_image(again, UNIT, field), field_image(volume, UNIT, field), atol=1e-6
    )


def test_a_box_fills_its_share_whatever_its_proportions():
    field = Field.round((1, 2, 3), (4, 6, 9), 0.75, 64)
    np.testing.assert_allclose(field.spans((1, 2, 3), (4, 6, 9)), [(8, 56)] * 3)


def test_there_and_back_an_object_of_thick_slices_is_itself():
    """Through a field as fine as its voxels or finer, no voxel changes sides."""
    voxels = np.zeros((9, 30, 40), np.float32)
    voxels[2:7, 8:22, 9:33] = 1
    volume = volume_of(voxels, affine_of((5.0, 0.8, 0.7)))
    block = Box3D(2, 8, 9, 7, 22, 33)
    field = Field.round(block.low, block.high, 0.6)
    seen = field_image(volume, UNIT, field)
    around = field.block(volume.shape)
    found = field.back(seen * 2 - 1, around)
    assert np.array_equal(found > 0, voxels[around.slices] > 0.5)


def test_a_field_beyond_the_volume_is_empty():
    field = Field((50.0, 50.0, 50.0), (60.0, 60.0, 60.0), 16)
    assert not field_image(volume_of(VOXELS), UNIT, field).any()
    assert field.block(SHAPE).is_empty


def test_a_former_answer_lies_where_it_was_found():
    field = Field((0.0, 0.0, 0.0), (16.0, 16.0, 16.0), 16)
    block = Box3D(1, 2, 3, 4, 6, 9)
    former = VolumeMask(block, np.full(block.shape, 5, np.float16))
    seen = field_mask(former, field, SHAPE)
    wanted = np.full((16,) * 3, ABSENT, np.float32)
    wanted[block.slices] = 5
    np.testing.assert_allclose(seen, wanted, atol=1e-4)
    far = Field((20.0, 20.0, 20.0), (36.0, 36.0, 36.0), 16)
    assert (field_mask(former, far, SHAPE) == ABSENT).all()


def test_spacing_is_in_mm_of_the_volume():
    assert volume_of(VOXELS).spacing == pytest.approx(SPACING)
