"""Volumes whose slices lie between each other's, and one volume acquired in packages."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from sammed.errors import InputError, IrregularSpacingError
from sammed.io.dicom.images.read import read, survey
from tests.io.dicom.conftest import assert_same, remarks
from tests.io.dicom.make_series import make_enhanced, make_series, oblique_affine, phantom

STEP = 5.0


def make_two(folder, describe, offset=2.5, count=6, stated=True, **options):
    """Two volumes of one series, ``offset`` mm apart; ``describe(ds, t)`` tells them apart."""
    made = []
    for t in range(2):
        affine = oblique_affine((STEP, 0.8, 0.7))
        unit = affine[:3, 0] / STEP
        affine[:3, 3] += t * offset * unit

        def edit(ds, k, t=t):
            ds.SOPInstanceUID = generate_uid()
            ds.AcquisitionNumber, ds.AcquisitionTime = 1, f"1010{k:02d}"
            if stated:
                ds.SpacingBetweenSlices = str(STEP)
            describe(ds, t)

        voxels = phantom((count, 7, 11), low=0, high=2000, seed=t).astype(np.uint16)
        made.append(
            make_series(
                folder,
                affine=affine,
                voxels=voxels,
                edit=edit,
                modality="MR",
                name=lambda k, t=t: f"{(7 * k + t) % 5}{k}{t}",
                **options,
            )
        )
    return made


def set_(**elements):
    """A description: pairs of values, None leaves an element out."""

    def describe(ds, t):
        for keyword, values in elements.items():
            if values[t] is not None:
                setattr(ds, keyword, values[t])

    return describe


DIFFERENCES = [
    {"EchoTime": ("10", "20")},
    {"AcquisitionNumber": (1, 2)},
    {"ContrastBolusAgent": (None, "Gadolinium")},
    {"ContrastBolusStartTime": ("101000", "101130")},
    {"TemporalPositionIdentifier": (1, 2)},
    {"SeriesNumber": (3, 4)},
    {"SeriesDescription": ("arterial", "venous")},
    {"DiffusionBValue": (0.0, 800.0)},
    {"InversionTime": ("100", "2500")},
    {"ImageType": (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"])},
]


@pytest.mark.parametrize("offset", [2.5, 2.0, 7.5, 12.0])
@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda d: next(iter(d)))
def test_volumes_offset_against_each_other(difference, offset, tmp_path):
    made = make_two(tmp_path, set_(**difference), offset)
    with pytest.raises(InputError, match=r"2 volumes in one series; choose one with --frame"):
        read(tmp_path)
    for frame, series in enumerate(made):
        assert_same(read(tmp_path, frame=frame), series.voxels, series.affine)


def test_allow_gaps_does_not_average_two_phases(tmp_path):
    made = make_two(tmp_path, set_(AcquisitionNumber=(1, 2)), offset=2.0, stated=False)
    with pytest.raises(InputError, match=r"0 = acquisition 1 \(6 slices\), 1 = acquisition 2"):
        read(tmp_path, allow_gaps=True)
    volume = read(tmp_path, frame=1, allow_gaps=True)
    assert_same(volume, made[1].voxels, made[1].affine)
    assert remarks(volume) == ()


def test_nothing_tells_them_apart(tmp_path):
    """Uneven together and even apart: two volumes, which interpolation would mix."""
    make_two(tmp_path, set_(), offset=2.0)
    for allow_gaps in (False, True):
        with pytest.raises(
            IrregularSpacingError, match=r"2 stacks of 5 mm .* nothing in .*headers"
        ):
            read(tmp_path, allow_gaps=allow_gaps)


def test_a_missing_slice_is_missed_in_its_own_volume(tmp_path):
    made = make_two(tmp_path, set_(EchoTime=("10", "20")), drop=[2])
    with pytest.raises(IrregularSpacingError, match="1 slice missing: slices are 5 mm apart"):
        read(tmp_path, frame=1)
    volume = read(tmp_path, frame=1, allow_gaps=True)
    between = (made[1].voxels[1] + made[1].voxels[3]) / 2
    stored = volume.grid.reorientation.invert(volume.voxels)
    np.testing.assert_allclose(stored[2], between, atol=0.5)


def test_four_volumes_by_two_elements(tmp_path):
    made = []
    for t in range(4):
        affine = oblique_affine((STEP, 0.8, 0.7))
        affine[:3, 3] += t * 1.25 * affine[:3, 0] / STEP

        def edit(ds, k, t=t):
            ds.SOPInstanceUID = generate_uid()
            ds.EchoTime, ds.AcquisitionNumber = ("10", "20")[t // 2], 1 + t % 2
            ds.SpacingBetweenSlices = str(STEP)

        voxels = phantom((5, 7, 11), low=0, seed=t).astype(np.uint16)
        made.append(
            make_series(
                tmp_path,
                affine=affine,
                voxels=voxels,
                edit=edit,
                modality="MR",
                name=lambda k, t=t: f"{k}{t}",
            )
        )
    (info,) = survey(tmp_path).series
    assert info.frames[2] == "echo time 20, acquisition 1 (5 slices)"
    for frame, series in enumerate(made):
        assert_same(read(tmp_path, frame=frame), series.voxels, series.affine)


class TestPackagesOfOneVolume:
    """The even slices first, then the odd ones: one volume."""

    @staticmethod
    def make(folder, stated=True, thickness="2.5", **difference):
        difference = difference or {"AcquisitionNumber": (1, 2)}

        def edit(ds, k):
            ds.SliceThickness = thickness
            if stated:
                ds.SpacingBetweenSlices = "2.5"
            set_(**difference)(ds, k % 2)

        return make_series(folder, (8, 7, 11), modality="MR", edit=edit)

    def test_the_header_says_so(self, tmp_path):
        series = self.make(tmp_path)
        volume = read(tmp_path)
        assert_same(volume, series.voxels, series.affine)
        assert remarks(volume) == ()

    @pytest.mark.parametrize("thickness", ["2.5", "2", "3"])
    def test_nothing_says_so(self, thickness, tmp_path):
        series = self.make(tmp_path, stated=False, thickness=thickness)
        volume = read(tmp_path)
        assert_same(volume, series.voxels, series.affine)
        (note,) = remarks(volume)
        assert "different acquisition (1 and 2) lie between each other; read as one" in note

    def test_the_header_says_so_though_the_echo_times_differ(self, tmp_path):
        series = self.make(tmp_path, EchoTime=("10", "12"))
        volume = read(tmp_path)
        assert_same(volume, series.voxels, series.affine)
        assert "different echo time (10 and 12)" in remarks(volume)[0]

    def test_thick_slices_would_overlap(self, tmp_path):
        self.make(tmp_path, stated=False, thickness="5")
        with pytest.raises(InputError, match="2 volumes"):
            read(tmp_path)

    def test_parts_one_after_the_other(self, tmp_path):
        def edit(ds, k):
            ds.EchoTime, ds.AcquisitionNumber = ("10", "20")[k // 4], k // 4

        series = make_series(tmp_path, (8, 7, 11), modality="MR", edit=edit)
        volume = read(tmp_path)
        assert_same(volume, series.voxels, series.affine)
        assert remarks(volume) == (
            "slices of different echo time (10 and 20) are read as one volume",
        )

    def test_values_without_a_pattern(self, tmp_path):
        def edit(ds, k):
            ds.KVP = ("100", "120")[k in (0, 1, 4, 6)]

        series = make_series(tmp_path, (8, 7, 11), edit=edit)
        volume = read(tmp_path)
        assert_same(volume, series.voxels, series.affine)
        assert "slices of different tube voltage (100 and 120)" in remarks(volume)[0]

    @pytest.mark.parametrize("offset", [0, 5, 2.5])
    def test_studies_that_share_a_series_uid(self, offset, tmp_path):
        """An anonymiser gave two patients' series one UID."""
        for t in range(2):
            affine = oblique_affine()
            affine[:3, 3] += t * offset * affine[:3, 0]

            def edit(ds, k, t=t):
                ds.StudyInstanceUID, ds.FrameOfReferenceUID = f"1.2.{t}", f"1.3.{t}"
                ds.SOPInstanceUID = generate_uid()

            make_series(tmp_path / str(t), affine=affine, voxels=phantom(seed=t), edit=edit)
        if offset != 5:
            with pytest.raises(InputError, match=r"0 = study 1\.2\.0 .5 slices"):
                read(tmp_path)
        else:
            assert "slices of different study (1.2.0 and 1.2.1) are read as one volume" in remarks(
                read(tmp_path)
            )


def test_uneven_echoes_are_never_mixed(tmp_path):
    """Not even, alone or together: which echo a slice is of still counts."""
    rng = np.random.default_rng(0)
    shifts = rng.uniform(-0.8, 0.8, (2, 6))

    def place(ds, t):
        k = int(ds.InstanceNumber) - 1
        unit = oblique_affine()[:3, 0] / 2.5
        ds.EchoTime = ("10", "20")[t]
        position = np.array(ds.ImagePositionPatient, float) + shifts[t, k] * unit
        ds.ImagePositionPatient = [f"{v:.6f}" for v in position]

    made = make_two(tmp_path, place, stated=False)
    with pytest.raises(InputError, match="2 volumes"):
        read(tmp_path, allow_gaps=True)
    volume = read(tmp_path, frame=1, allow_gaps=True)
    stored = volume.grid.reorientation.invert(volume.voxels)
    np.testing.assert_array_equal(stored[0], made[1].voxels[0])
    np.testing.assert_array_equal(stored[-1], made[1].voxels[-1])


def packages(ds, spacing):
    """Frames in three stacks: slices 0, 3, 6, ..., then 1, 4, 7, ..."""
    ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = spacing
    for k, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        content = Dataset()
        content.StackID, content.InStackPositionNumber = str(k % 3 + 1), k // 3 + 1
        content.DimensionIndexValues = [k % 3 + 1, k // 3 + 1]
        group.FrameContentSequence = [content]


def test_packages_of_an_enhanced_image(tmp_path):
    series = make_enhanced(
        tmp_path / "a", (9, 7, 11), modality="MR", edit=lambda ds: packages(ds, "2.5")
    )
    volume = read(tmp_path)
    assert_same(volume, series.voxels, series.affine)
    assert remarks(volume) == ()


def test_stacks_of_an_enhanced_image(tmp_path):
    series = make_enhanced(
        tmp_path / "a", (9, 7, 11), modality="MR", edit=lambda ds: packages(ds, "7.5")
    )
    with pytest.raises(InputError, match="3 volumes"):
        read(tmp_path)
    moved = series.affine.copy()
    moved[:3, 3] += moved[:3, 0]
    moved[:3, 0] *= 3
    assert_same(read(tmp_path, frame=1), series.voxels[1::3], moved)
