"""Several stacks in one series: time points, echoes, orientations, duplicates, localisers."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from pydicom.uid import generate_uid

from sammed.errors import (
    InputError,
    IrregularSpacingError,
    OrientationError,
    UnreadableFileError,
    UnsupportedFormatError,
)
from sammed.io.dicom.images.read import read, survey
from tests.io.dicom.conftest import assert_same, remarks
from tests.io.dicom.make_series import (
    make_enhanced,
    make_series,
    oblique_affine,
    phantom,
    straight_affine,
)


def make_repeated(folder, times, describe, shuffle=True, **options):
    """The same positions several times over; ``describe(ds, k, t)`` tells them apart."""
    made = []
    for t in range(times):

        def edit(ds, k, t=t):
            ds.SOPInstanceUID = generate_uid()
            ds.InstanceNumber = k * times + t + 1
            describe(ds, k, t)

        voxels = phantom(low=0, high=2000, seed=t).astype(np.uint16)
        options.setdefault("modality", "MR")
        series = make_series(
            folder,
            voxels=voxels,
            edit=edit,
            name=lambda k, t=t: f"{(5 * k + t) % 7}{k}{t}",
            **options,
        )
        made.append(series)
    return made


def echo(ds, k, t):
    ds.EchoTime = str(30 - 10 * t)


def time_point(ds, k, t):
    ds.TemporalPositionIdentifier = t + 1
    ds.AcquisitionTime = f"1010{10 * t + k:02d}"


def trigger(ds, k, t):
    ds.TriggerTime = f"{100 * t + k * 0.5}"  # drifts from slice to slice


def acquisition(ds, k, t):
    ds.AcquisitionNumber = t + 4


def nothing(ds, k, t):
    pass


@pytest.mark.parametrize("describe", [time_point, trigger, acquisition, nothing])
def test_frames_in_order(describe, tmp_path):
    made = make_repeated(tmp_path, 3, describe)
    with pytest.raises(InputError, match=r"3 volumes in one series; choose one with --frame: 0 = "):
        read(tmp_path)
    for t, series in enumerate(made):
        assert_same(read(tmp_path, frame=t), series.voxels, series.affine)
    with pytest.raises(InputError, match="no frame 3"):
        read(tmp_path, frame=3)


def test_echoes_are_sorted_by_echo_time(tmp_path):
    made = make_repeated(tmp_path, 3, echo)
    (info,) = survey(tmp_path).series
    assert info.frames == tuple(f"echo time {t} (5 slices)" for t in (10, 20, 30))
    assert info.verdict == "usable with --frame 0 to 2"
    for t in range(3):
        assert_same(read(tmp_path, frame=2 - t), made[t].voxels, made[t].affine)


def test_echoes_of_one_slice_placed_to_the_micrometre(tmp_path):
    """No volume of slices a micrometre apart."""
    noise = (0.0004, -0.0006, 0.0011)

    def describe(ds, k, t):
        echo(ds, k, t)
        ds.ImagePositionPatient = ["0", "0", f"{12 + noise[t]:.6f}"]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]

    made = make_repeated(tmp_path, 3, describe, drop=range(1, 5))
    with pytest.raises(InputError, match="3 volumes in one series"):
        read(tmp_path)
    np.testing.assert_array_equal(read(tmp_path, frame=2).voxels[0], made[0].voxels[0])


def test_echoes_at_several_times(tmp_path):
    def describe(ds, k, t):
        ds.EchoTime, ds.TemporalPositionIdentifier = (10, 20)[t % 2], 1 + t // 2

    made = make_repeated(tmp_path, 4, describe)
    for frame, t in enumerate((0, 2, 1, 3)):  # by echo time, then time
        assert_same(read(tmp_path, frame=frame), made[t].voxels, made[t].affine)


def test_acquisitions_that_overlap(tmp_path):
    """Two parts of one scan share a position: split by acquisition."""
    voxels = phantom((9, 7, 11))
    affine = oblique_affine()
    for part, ks in enumerate((range(5), range(4, 9))):

        def edit(ds, k, part=part):
            ds.AcquisitionNumber = part + 1
            ds.SOPInstanceUID = generate_uid()

        make_series(
            tmp_path, affine=affine, voxels=voxels + part, edit=edit,
            drop=set(range(9)) - set(ks), name=lambda k, part=part: f"{part}{k}",
        )  # fmt: skip
    first, second = (read(tmp_path, frame=f) for f in (0, 1))
    assert_same(first, voxels[:5], affine)
    moved = affine.copy()
    moved[:3, 3] = (affine @ (4, 0, 0, 1))[:3]
    assert_same(second, voxels[4:] + 1, moved)


def test_one_volume_from_several_acquisitions(tmp_path):
    def edit(ds, k):
        ds.AcquisitionNumber, ds.AcquisitionTime = k // 2, f"10101{k}"

    series = make_series(tmp_path, edit=edit)
    assert_same(read(tmp_path), series.voxels, series.affine)


class TestDuplicates:
    def test_copies_of_files(self, tmp_path):
        series = make_series(tmp_path)
        (tmp_path / "copy").mkdir()
        for path in series.paths[:2]:
            shutil.copy(path, tmp_path / "copy" / path.name)
        volume = read(tmp_path)
        assert_same(volume, series.voxels, series.affine)
        assert remarks(volume) == ("2 second copies of an image left out",)

    def test_same_pixels_under_another_uid(self, tmp_path):
        series = make_series(tmp_path)

        def edit(ds, k):
            ds.SOPInstanceUID = generate_uid()

        make_series(tmp_path, edit=edit, drop=[0, 1, 3], name=lambda k: f"again{k}")
        volume = read(tmp_path)
        assert_same(volume, series.voxels, series.affine)
        assert remarks(volume) == ("2 duplicate images left out",)

    def test_other_pixels_at_one_position(self, tmp_path):
        make_series(tmp_path)

        def edit(ds, k):
            ds.SOPInstanceUID = generate_uid()

        make_series(
            tmp_path, voxels=phantom(seed=9), edit=edit, drop=[0, 1, 3, 4], name=lambda k: "again"
        )
        with pytest.raises(IrregularSpacingError, match="1 to 2 different images"):
            read(tmp_path)


class TestLocalisers:
    @staticmethod
    def edit(ds, k):
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        ds.SOPInstanceUID = generate_uid()

    def test_are_dropped_with_a_note(self, tmp_path):
        series = make_series(tmp_path)
        across = oblique_affine()[:, [2, 1, 0, 3]]
        voxels = phantom((2, 9, 9))
        make_series(
            tmp_path, voxels=voxels, affine=across, edit=self.edit, name=lambda k: f"scout{k}"
        )
        volume = read(tmp_path)
        assert_same(volume, series.voxels, series.affine)
        assert remarks(volume) == ("2 localiser images left out",)

    def test_alone_they_are_read(self, tmp_path):
        series = make_series(tmp_path, edit=self.edit)
        assert_same(read(tmp_path), series.voxels, series.affine)


def test_orientations_are_frames(tmp_path):
    axial = make_series(tmp_path, affine=straight_affine())
    turned = straight_affine()[:, [2, 1, 0, 3]]

    def edit(ds, k):
        ds.SOPInstanceUID = generate_uid()

    voxels = phantom((4, 9, 6), seed=3)
    sagittal = make_series(
        tmp_path, voxels=voxels, affine=turned, edit=edit, name=lambda k: f"sag{k}"
    )
    with pytest.raises(InputError, match=r"0 = axial \(5 slices\), 1 = sagittal \(4 slices\)"):
        read(tmp_path)
    assert_same(read(tmp_path, frame=0), axial.voxels, axial.affine)
    assert_same(read(tmp_path, frame=1), sagittal.voxels, sagittal.affine)


def test_radial_slices_are_refused(tmp_path):
    def edit(ds, k):
        angle = k * np.pi / 20
        ds.ImageOrientationPatient = [np.cos(angle), np.sin(angle), 0, 0, 0, -1]

    make_series(tmp_path, shape=(20, 7, 11), edit=edit)
    with pytest.raises(OrientationError, match="radial"):
        read(tmp_path)


class TestEnhanced:
    @pytest.mark.parametrize("modality", ["CT", "MR"])
    def test_frames_in_any_order(self, modality, tmp_path):
        series = make_enhanced(tmp_path / "a.dcm", modality=modality, frame_order=[3, 1, 4, 0, 2])
        volume = read(tmp_path)
        assert_same(volume, series.voxels, series.affine)
        source = volume.grid.native
        assert source.frames is not None
        assert len(source.slices) == 1
        assert source.frames == (4, 2, 5, 1, 3)
        assert [r.frame for r in source.references] == [4, 2, 5, 1, 3]
        assert len(source) == 5

    def test_rescale_of_each_frame(self, tmp_path):
        slopes, intercepts = [1, 2, 0.5, 1, 4], [0, -5, 1, 2, 3]
        series = make_enhanced(tmp_path / "a", slopes=slopes, intercepts=intercepts)
        assert_same(read(tmp_path), series.voxels, series.affine, atol=1e-3)

    def test_time_points(self, tmp_path):
        order = np.random.default_rng(0).permutation(15).tolist()
        series = make_enhanced(tmp_path / "a", times=3, frame_order=order)
        (info,) = survey(tmp_path).series
        assert info.frames == tuple(f"time point {t} (5 slices)" for t in (1, 2, 3))
        for t in range(3):
            expected = series.voxels[5 * t : 5 * t + 5]
            assert_same(read(tmp_path, frame=t), expected, series.affine)

    def test_missing_frame(self, tmp_path):
        def edit(ds):
            groups = ds.PerFrameFunctionalGroupsSequence
            groups[4].PlanePositionSequence = groups[1].PlanePositionSequence

        make_enhanced(tmp_path / "a", edit=edit)
        with pytest.raises(IrregularSpacingError):
            read(tmp_path)

    def test_window_of_the_frames(self, tmp_path):
        from pydicom.dataset import Dataset

        def edit(ds):
            window = Dataset()
            window.WindowCenter, window.WindowWidth = "40", "400"
            ds.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence = [window]

        make_enhanced(tmp_path / "a", edit=edit)
        (window,) = read(tmp_path).windows
        assert (window.level, window.width) == (40, 400)

    def test_one_frame_in_each_file(self, tmp_path):
        voxels, affine = phantom(), oblique_affine()
        for k in range(5):
            moved = affine.copy()
            moved[:3, 3] = (affine @ (k, 0, 0, 1))[:3]

            def edit(ds):
                ds.SOPInstanceUID = generate_uid()

            make_enhanced(tmp_path / f"{9 - k}", affine=moved, voxels=voxels[k : k + 1], edit=edit)
        volume = read(tmp_path)
        assert_same(volume, voxels, affine)
        source = volume.grid.native
        assert source.frames == (1,) * 5
        assert len({r.sop_instance_uid for r in source.references}) == 5

    def test_groups_that_do_not_match_the_frames(self, tmp_path):
        def edit(ds):
            ds.PerFrameFunctionalGroupsSequence = ds.PerFrameFunctionalGroupsSequence[:-1]

        make_enhanced(tmp_path / "a", edit=edit)
        with pytest.raises(UnreadableFileError, match=r"5 frames.*describes 4"):
            read(tmp_path)

    def test_frame_without_a_position(self, tmp_path):
        def edit(ds):
            del ds.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence

        make_enhanced(tmp_path / "a", edit=edit)
        with pytest.raises(OrientationError, match=r"1 of 5 .*ImagePositionPatient"):
            read(tmp_path)

    def test_multiframe_without_functional_groups(self, tmp_path):
        def edit(ds, k):
            voxels = phantom((3, 7, 11))
            ds.NumberOfFrames, ds.PixelData = 3, voxels.tobytes()

        make_series(tmp_path, shape=(1, 7, 11), edit=edit)
        with pytest.raises(UnsupportedFormatError, match="no position for each of them"):
            read(tmp_path)

    def test_cine_without_geometry_is_read_by_frame(self, tmp_path):
        voxels = phantom((3, 7, 11), low=0, high=255).astype(np.uint8)

        def edit(ds, k):
            del ds.ImagePositionPatient, ds.ImageOrientationPatient
            ds.NumberOfFrames, ds.PixelData = 3, voxels.tobytes() + b"\0"

        make_series(tmp_path, voxels=voxels[:1], modality="OT", edit=edit)
        with pytest.raises(InputError, match="picture 2"):
            read(tmp_path)
        np.testing.assert_array_equal(read(tmp_path, frame=2).voxels, voxels[2:])


def test_mosaic(tmp_path):
    def edit(ds, k):
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]

    make_series(tmp_path, modality="MR", edit=edit)
    with pytest.raises(UnsupportedFormatError, match="mosaic"):
        read(tmp_path)
