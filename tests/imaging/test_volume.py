from __future__ import annotations

import numpy as np
import pytest

from sammed.errors import GridMismatchError, OrientationError
from sammed.imaging import geometry
from sammed.imaging.volume import LabelVolume, Volume, label_dtype, make_grid
from tests.phantoms import OBLIQUE, ORDERS, SHAPE, SPACING, in_all_orders, reordered

VOXELS = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)


def test_all_48_files_hold_one_volume():
    for volume in in_all_orders(VOXELS):
        np.testing.assert_array_equal(volume.voxels, VOXELS)
        np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-9)
        np.testing.assert_allclose(volume.spacing, SPACING, atol=1e-9)
        assert volume.shape == SHAPE


def test_labels_go_back_to_the_stored_order_and_the_affine_is_untouched():
    for order, flips in ORDERS:
        stored, affine = reordered(VOXELS, OBLIQUE, order, flips)
        volume = Volume.from_array(stored, affine)
        labels = LabelVolume(volume.voxels.astype(np.uint16), volume.grid, {1: "a"})
        written = labels.file_array()
        np.testing.assert_array_equal(written, stored)
        assert written.flags.c_contiguous
        np.testing.assert_array_equal(labels.grid.affine, affine)


def test_file_indices_and_canonical_ones():
    for (order, flips), volume in zip(ORDERS, in_all_orders(VOXELS), strict=True):
        stored, _ = reordered(VOXELS, OBLIQUE, order, flips)
        for zyx in [(0, 0, 0), (4, 6, 10), (1, 5, 3)]:
            ijk = volume.grid.file_index(np.array(zyx))
            k, j, i = (round(v) for v in ijk[::-1])
            assert stored[k, j, i] == VOXELS[zyx]
            np.testing.assert_allclose(volume.grid.canonical_index(ijk), zyx, atol=1e-12)
        for axis in range(3):
            name = volume.grid.file_axis(axis)
            assert volume.grid.canonical_axis(name) == axis
            assert volume.grid.shape["kji".index(name)] == SHAPE[axis]


def test_many_points_at_once():
    volume = next(in_all_orders(VOXELS))
    points = np.random.default_rng(0).uniform(0, 5, (4, 3, 3))
    there = volume.grid.file_index(points)
    assert there.shape == points.shape
    np.testing.assert_allclose(volume.grid.canonical_index(there), points, atol=1e-12)


def test_voxels_are_a_view_of_what_was_read():
    stored, affine = reordered(VOXELS, OBLIQUE, (2, 0, 1), (-1, 1, -1))
    assert np.shares_memory(Volume.from_array(stored, affine).voxels, stored)


def test_colour():
    colour = np.stack([VOXELS, VOXELS + 1, VOXELS + 2], axis=-1).astype(np.uint8)
    for volume in list(in_all_orders(colour))[::7]:
        assert volume.is_colour
        assert volume.shape == SHAPE
        np.testing.assert_array_equal(volume.voxels, colour)


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(4) + 0.2])
def test_impossible_grids_are_refused(bad):
    with pytest.raises(OrientationError):
        make_grid(bad, SHAPE)


def labels_on(volume: Volume) -> LabelVolume:
    voxels = np.zeros(volume.shape, np.uint8)
    voxels[1, 2:4, 3:6] = 7
    return LabelVolume(voxels, volume.grid, {7: "seven"})


def test_a_label_map_stored_otherwise_is_on_the_same_grid():
    first, *others = in_all_orders(VOXELS)
    for volume in others[::9]:
        taken = labels_on(first).on_grid_of(volume)
        assert taken.grid is volume.grid
        np.testing.assert_array_equal(taken.voxels, labels_on(first).voxels)


def test_a_label_map_elsewhere_is_refused_with_both_grids():
    volume = Volume.from_array(VOXELS, OBLIQUE)
    moved = OBLIQUE.copy()
    moved[2, 3] += 0.1
    other = labels_on(Volume.from_array(VOXELS, moved))
    with pytest.raises(
        GridMismatchError, match=r"^seg\.nii is not on the grid .*up to 0\.1 mm \(.*resample"
    ) as error:
        other.on_grid_of(volume, "seg.nii")
    assert "\n" not in str(error.value)
    smaller = labels_on(Volume.from_array(VOXELS[:4], OBLIQUE))
    with pytest.raises(GridMismatchError, match=r"shape \(4, 7, 11\).*expected shape \(5, 7, 11\)"):
        smaller.on_grid_of(volume)


def test_a_label_map_whose_header_rounds_is_taken_with_a_note():
    volume = Volume.from_array(VOXELS, OBLIQUE)
    moved = OBLIQUE.copy()
    moved[2, 3] += 0.002
    taken = labels_on(Volume.from_array(VOXELS, moved)).on_grid_of(volume)
    assert taken.grid is volume.grid
    assert "voxels lie up to 0.002 mm" in taken.notes[0]


def test_volume_of_a_label():
    labels = labels_on(Volume.from_array(VOXELS, OBLIQUE))
    assert labels.volume_ml(7) == pytest.approx(6 * 2.5 * 0.8 * 0.7 / 1000)
    assert labels.volume_ml(1) == 0
    np.testing.assert_allclose(geometry.spacing(labels.affine), labels.spacing)


@pytest.mark.parametrize(("highest", "dtype"), [(1, np.uint8), (255, np.uint8), (256, np.uint16)])
def test_label_type(highest, dtype):
    assert label_dtype(highest) is dtype
