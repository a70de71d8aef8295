"""Gaps, tilt and slices that do not fit together."""

from __future__ import annotations

import numpy as np
import pytest

from sammed.errors import (
    GantryTiltError,
    GeometryError,
    GridMismatchError,
    IrregularSpacingError,
    OrientationError,
)
from sammed.imaging import geometry
from sammed.io.dicom.images.read import read, survey
from sammed.io.dicom.source import DicomSource
from tests.io.dicom.conftest import assert_same, remarks
from tests.io.dicom.make_series import (
    decimal,
    make_series,
    oblique_affine,
    phantom,
    tilted_affine,
)


def moved(shifts, axis=0, affine=None):
    """An edit that moves slices by so many mm along their normal (0), rows (1) or columns (2)."""
    affine = oblique_affine() if affine is None else affine
    unit = geometry.direction(affine)[:, axis]

    def edit(ds, k):
        position = (affine @ (k, 0, 0, 1))[:3] + unit * shifts[k]
        ds.ImagePositionPatient = [decimal(v) for v in position]

    return edit


class TestGaps:
    def test_missing_slices_are_reported_by_position(self, tmp_path):
        make_series(tmp_path, shape=(9, 7, 11), drop=[3, 4])
        with pytest.raises(IrregularSpacingError, match=r"2 slices missing.*2.5 mm.*--allow-"):
            read(tmp_path)
        (info,) = survey(tmp_path).series
        assert info.usable
        assert "--allow-gaps" in info.verdict

    def test_uneven_by_little_misses_no_slice(self, tmp_path):
        """Gaps near whole slices, and none of them larger than one."""
        make_series(tmp_path, shape=(9, 7, 11), edit=moved([0] * 6 + [0.12] * 3))
        with pytest.raises(
            IrregularSpacingError, match=r"slices are unevenly spaced, 2\.5 to 2\.62 mm"
        ):
            read(tmp_path)

    def test_missing_slices_are_interpolated_when_allowed(self, tmp_path):
        series = make_series(tmp_path, shape=(9, 7, 11), drop=[3, 4])
        volume = read(tmp_path, allow_gaps=True)
        expected = series.voxels.copy()
        expected[3] = np.rint(expected[2] * 2 / 3 + expected[5] / 3)
        expected[4] = np.rint(expected[2] / 3 + expected[5] * 2 / 3)
        assert_same(volume, expected, series.affine, atol=1)
        assert "interpolated" in remarks(volume)[0]
        kept = [k for k in range(9) if k not in (3, 4)]
        stored = volume.grid.reorientation.invert(volume.voxels)
        np.testing.assert_array_equal(stored[kept], series.voxels[kept])

    def test_labels_go_back_to_the_slices_that_exist(self, tmp_path):
        make_series(tmp_path, shape=(9, 7, 11), drop=[3, 4])
        source = read(tmp_path, allow_gaps=True).grid.native
        labels = np.random.default_rng(3).integers(0, 5, (9, 7, 11)).astype(np.uint8)
        acquired = source.labels_as_acquired(labels)
        np.testing.assert_array_equal(acquired, labels[[0, 1, 2, 5, 6, 7, 8]])
        assert acquired.dtype == np.uint8
        assert len(source.references) == 7
        back = source.labels_on_grid(acquired)
        np.testing.assert_array_equal(back[[0, 1, 2, 5, 6, 7, 8]], acquired)

    def test_uneven_spacing(self, tmp_path):
        shifts = [0, 0.9, 0.3, -0.4, 0]
        series = make_series(tmp_path, edit=moved(shifts))
        with pytest.raises(IrregularSpacingError, match="unevenly spaced"):
            read(tmp_path)
        volume = read(tmp_path, allow_gaps=True)
        assert volume.shape == series.voxels.shape
        positions = 2.5 * np.arange(5) + shifts
        stored = volume.grid.reorientation.invert(volume.voxels).astype(float)
        for k in range(5):
            for j, i in ((0, 0), (3, 5)):
                expected = np.interp(2.5 * k, positions, series.voxels[:, j, i])
                assert stored[k, j, i] == pytest.approx(expected, abs=0.51)

    def test_positions_rounded_to_a_tenth_are_even(self, tmp_path):
        affine = oblique_affine(spacing=(0.625, 0.8, 0.7), angles=(0, 0, 0), origin=(0, 0, 0))

        def edit(ds, k):
            ds.ImagePositionPatient = [0, 0, f"{0.625 * k:.1f}"]

        series = make_series(tmp_path, shape=(9, 7, 11), affine=affine, edit=edit)
        volume = read(tmp_path)
        np.testing.assert_array_equal(volume.voxels, series.voxels)
        assert "rounding" in remarks(volume)[0]
        assert volume.spacing[0] == pytest.approx(0.625, abs=0.01)

    def test_a_slice_far_away_is_not_reached(self, tmp_path):
        make_series(tmp_path, edit=moved([0, 0, 0, 0, 1e6]))
        with pytest.raises(IrregularSpacingError, match="far more slices"):
            read(tmp_path, allow_gaps=True)


class TestTilt:
    @pytest.mark.parametrize("degrees", [1.0, 14.0, -20.5])
    def test_a_plane_in_space_stays_where_it_is(self, degrees, tmp_path):
        """Values that are linear in space: interpolation is exact, so each voxel can be checked."""
        shape = (9, 17, 11)
        affine = tilted_affine(degrees)
        index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
        world = geometry.apply_affine(affine, index)
        truth = world @ np.array([3.0, 20.0, -11.0])
        voxels = np.rint(truth).astype(np.int16)
        make_series(tmp_path, affine=affine, voxels=voxels)
        volume = read(tmp_path)
        assert "gantry tilt" in remarks(volume)[0]
        assert f"{abs(degrees):.2f} degrees" in remarks(volume)[0]
        geometry.check_affine(volume.affine)
        grid = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), -1)
        expected = geometry.apply_affine(volume.affine, grid) @ np.array([3.0, 20.0, -11.0])
        kji = geometry.index_from_world(affine, geometry.apply_affine(volume.affine, grid))
        inside = ((kji > -0.001) & (kji < np.array(shape) - 0.999)).all(axis=-1)
        assert inside.sum() > 0.5 * voxels.size
        assert np.abs(volume.voxels - expected)[inside].max() <= 1.01
        assert (volume.voxels[~inside] >= voxels.min()).all()

    def test_thickness_is_across_the_slices(self, tmp_path):
        make_series(tmp_path, tilt=14)
        assert read(tmp_path).spacing[0] == pytest.approx(2.5 * np.cos(np.radians(14)), abs=1e-6)

    def test_labels_go_back_to_the_slices_as_acquired(self, tmp_path):
        shape = (7, 40, 30)
        affine = tilted_affine(12.0)
        index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
        world = geometry.apply_affine(affine, index)
        centre = world.reshape(-1, 3).mean(axis=0)

        def ball(points):
            return np.linalg.norm(points - centre, axis=-1) < 8

        make_series(tmp_path, affine=affine, voxels=phantom(shape))
        volume = read(tmp_path)
        source = volume.grid.native
        assert isinstance(source, DicomSource)
        assert source.resampled
        grid = np.stack(np.meshgrid(*map(np.arange, volume.grid.shape), indexing="ij"), -1)
        labels = ball(geometry.apply_affine(volume.grid.affine, grid)).astype(np.uint8)
        acquired = source.labels_as_acquired(labels)
        truth = ball(world)
        assert acquired.shape == shape
        overlap = 2 * (acquired * truth).sum() / (acquired.sum() + truth.sum())
        assert overlap > 0.97
        soft = source.labels_as_acquired(labels.astype(np.float32))
        assert soft.dtype == np.float32
        assert ((soft > 0.5) != truth).sum() <= (acquired != truth).sum()
        np.testing.assert_allclose(source.affines[:, :3, 3], world[:, 0, 0], atol=1e-4)
        again = source.labels_as_acquired(source.labels_on_grid(acquired))
        np.testing.assert_array_equal(again, acquired)

    def test_middle_slice_is_not_touched(self, tmp_path):
        series = make_series(tmp_path, tilt=10)
        volume = read(tmp_path)
        source = volume.grid.native
        stored = volume.grid.reorientation.invert(volume.voxels)
        np.testing.assert_array_equal(source.labels_as_acquired(stored)[2], series.voxels[2])

    def test_tilt_with_a_missing_slice(self, tmp_path):
        make_series(tmp_path, shape=(9, 7, 11), tilt=10, drop=[4])
        with pytest.raises(IrregularSpacingError):
            read(tmp_path)
        volume = read(tmp_path, allow_gaps=True)
        assert volume.shape[0] == 9
        assert len(remarks(volume)) == 2

    def test_slices_shifted_sideways(self, tmp_path):
        """Shifts by whole pixels are undone exactly."""
        shifts = [0, 0.7, -1.4, 2.1, 0]
        series = make_series(tmp_path, edit=moved(shifts, axis=2))
        volume = read(tmp_path)
        assert "shifted sideways by up to 2.10 mm" in remarks(volume)[0]
        assert volume.shape == (5, 7, 16)
        source = volume.grid.native
        stored = volume.grid.reorientation.invert(volume.voxels)
        np.testing.assert_array_equal(source.labels_as_acquired(stored), series.voxels)

    def test_rounded_positions_do_not_mix_neighbours(self, tmp_path):
        """Even but for rounding, and shifted sideways: each slice stays by itself."""

        def edit(ds, k):
            position = np.array(ds.ImagePositionPatient, float)
            position += (0.7 * (k % 2), 0, (0, -0.04, 0.04, -0.03, 0)[k])
            ds.ImagePositionPatient = [f"{v:.3f}" for v in position]

        affine = oblique_affine((0.9, 0.8, 0.7), angles=(0.0, 0.0, 0.0))
        series = make_series(tmp_path, affine=affine, edit=edit)
        volume = read(tmp_path)
        assert "rounding" in remarks(volume)[0]
        stored = volume.grid.reorientation.invert(volume.voxels)
        acquired = volume.grid.native.labels_as_acquired(stored)
        np.testing.assert_array_equal(acquired, series.voxels)

    def test_a_tilt_beyond_belief(self, tmp_path):
        make_series(tmp_path, tilt=60)
        with pytest.raises(GantryTiltError, match="60 degrees"):
            read(tmp_path)

    def test_slices_beside_each_other(self, tmp_path):
        make_series(tmp_path, edit=moved([0, 0, 9, 0, 0], axis=2))
        with pytest.raises(OrientationError, match="do not lie above each other"):
            read(tmp_path)


def test_labels_of_another_shape(tmp_path):
    make_series(tmp_path)
    source = read(tmp_path).grid.native
    with pytest.raises(GridMismatchError):
        source.labels_as_acquired(np.zeros((5, 7, 12), np.uint8))
    with pytest.raises(GridMismatchError):
        source.labels_on_grid(np.zeros((4, 7, 11), np.uint8))


def test_matrix_sizes_that_differ(tmp_path):
    def edit(ds, k):
        if k == 3:
            ds.Rows, ds.Columns = 11, 7

    make_series(tmp_path, edit=edit)
    with pytest.raises(GeometryError, match=r"different matrix sizes.*7x11, 11x7"):
        read(tmp_path)


def test_pixel_spacing_that_differs(tmp_path):
    def edit(ds, k):
        if k == 3:
            ds.PixelSpacing = ["0.8", "0.71"]

    make_series(tmp_path, edit=edit)
    with pytest.raises(GeometryError, match=r"different pixel spacing: 0.8x0.7 mm"):
        read(tmp_path)


@pytest.mark.parametrize("spacing", [["0", "0.7"], ["0.8", "-0.7"], ["0.8", "0"]])
def test_spacing_that_is_not_positive(spacing, tmp_path):
    def edit(ds, k):
        ds.PixelSpacing = spacing

    make_series(tmp_path, edit=edit)
    with pytest.raises(GeometryError, match="PixelSpacing"):
        read(tmp_path)


@pytest.mark.parametrize(
    "axes", [[1, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0], [2, 0, 0, 0, 2, 0], [1, 0, 0, 0.5, 0.866, 0]]
)
def test_orientation_that_is_none(axes, tmp_path):
    def edit(ds, k):
        ds.ImageOrientationPatient = axes

    make_series(tmp_path, edit=edit)
    with pytest.raises(OrientationError, match="two orthogonal unit vectors"):
        read(tmp_path)


def test_orientation_rounded_to_four_digits(tmp_path):
    def edit(ds, k):
        ds.ImageOrientationPatient = [f"{v:.4f}" for v in ds.ImageOrientationPatient]

    series = make_series(tmp_path, edit=edit)
    volume = read(tmp_path)
    np.testing.assert_array_equal(volume.voxels, series.voxels)
    np.testing.assert_allclose(volume.affine, series.affine, atol=1e-3)
    assert remarks(volume) == ()
