"""What lies in a series beside its slices, and UIDs that anonymisers handed out twice."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.uid import generate_uid

from sammed.errors import (
    InputError,
    IrregularSpacingError,
    OrientationError,
    UnsupportedFormatError,
)
from sammed.io.dicom.images.read import read, survey
from tests.io.dicom.conftest import assert_same, remarks
from tests.io.dicom.make_series import make_series, make_slice, oblique_affine, phantom, write

CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def colour(rows=40, columns=60):
    return np.random.default_rng(0).integers(0, 255, (rows, columns, 3)).astype(np.uint8)


def put(folder, pixels, place=False, **elements):
    """A file that bears the series' UID and is none of its slices."""
    ds = make_slice(pixels, oblique_affine(), 9)
    if not place:
        del ds.ImagePositionPatient, ds.ImageOrientationPatient
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return write(ds, folder / "999.dcm")


@pytest.mark.parametrize(
    ("pixels", "place", "elements"),
    [
        (colour(), False, {"SOPClassUID": CAPTURE}),
        (phantom()[0], False, {"SOPClassUID": CAPTURE}),  # as large as the slices
        (phantom()[0], True, {"SOPClassUID": f"{CAPTURE}.2"}),  # with the place of a slice
        (colour(), False, {"ImageType": ["DERIVED", "SECONDARY", "OTHER"]}),  # of class CT
        (phantom((1, 30, 40))[0], False, {"ImageType": ["DERIVED", "SECONDARY", "DOSE"]}),
    ],
)
def test_screenshots_are_left_out(pixels, place, elements, tmp_path):
    series = make_series(tmp_path)
    put(tmp_path, pixels, place, **elements)
    volume = read(tmp_path)
    assert_same(volume, series.voxels, series.affine)
    (note,) = remarks(volume)
    assert note.startswith("1 screenshot or report page among the slices left out")
    assert survey(tmp_path).series[0].notes == (note,)


def test_a_slice_that_lost_its_place_is_no_screenshot(tmp_path):
    make_series(tmp_path)
    put(tmp_path, phantom()[0])
    with pytest.raises(OrientationError, match="1 of 6 images have no usable ImagePosition"):
        read(tmp_path)


def test_screenshots_alone_are_read(tmp_path):
    pixels = colour()
    put(tmp_path, pixels, SOPClassUID=CAPTURE, Modality="OT")
    np.testing.assert_array_equal(read(tmp_path).voxels[0], pixels)


@pytest.mark.parametrize(
    ("uid", "modality"),
    [
        ("1.2.840.10008.5.1.4.1.1.88.67", "SR"),  # radiation dose report
        ("1.2.840.10008.5.1.4.1.1.11.1", "PR"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "DOC"),
        ("1.3.12.2.1107.5.9.1", "CT"),  # Siemens' protocol
    ],
)
@pytest.mark.parametrize("name", ["000.dcm", "zzz.dcm"])
def test_reports_are_left_out(uid, modality, name, tmp_path):
    series = make_series(tmp_path)
    ds = make_slice(phantom()[0], oblique_affine(), 9)
    ds.SOPClassUID, ds.Modality = uid, modality
    del ds.PixelData, ds.Rows, ds.Columns
    write(ds, tmp_path / name)
    volume = read(tmp_path)
    assert_same(volume, series.voxels, series.affine)
    assert remarks(volume) == ("1 file without an image (reports or the like) left out",)


def test_an_image_without_pixels_is_no_report(tmp_path):
    make_series(tmp_path)
    ds = make_slice(phantom()[0], oblique_affine(), 9)
    del ds.PixelData
    write(ds, tmp_path / "cut.dcm")
    with pytest.raises(UnsupportedFormatError, match="truncated"):
        read(tmp_path)


class TestReusedUids:
    """Two echoes whose images an anonymiser gave the same SOPInstanceUIDs."""

    @staticmethod
    def make(folder, describe, **options):
        made = []
        for t in range(2):

            def edit(ds, k, t=t):
                describe(ds, t)

            voxels = phantom(low=0, high=2000, seed=t).astype(np.uint16)
            voxels[0] = 0  # slices beyond the patient hold the same pixels
            made.append(
                make_series(folder / "ab"[t], voxels=voxels, edit=edit, modality="MR", **options)
            )
        return made

    def test_echoes(self, tmp_path):
        def echo(ds, t):
            ds.EchoTime = ("10", "20")[t]

        made = self.make(tmp_path, echo)
        with pytest.raises(InputError, match=r"0 = echo time 10 \(5 slices\), 1 = echo time 20"):
            read(tmp_path)
        for frame, series in enumerate(made):
            volume = read(tmp_path, frame=frame)
            assert_same(volume, series.voxels, series.affine)
            assert "5 images bear the SOPInstanceUID of another one and differ" in volume.notes[1]

    def test_nothing_but_the_pixels_differs(self, tmp_path):
        self.make(tmp_path, lambda ds, t: None)
        with pytest.raises(IrregularSpacingError, match="hold 1 to 2 different images each"):
            read(tmp_path)

    def test_a_copy_whose_description_was_edited(self, tmp_path):
        series = make_series(tmp_path / "a")

        def edit(ds, k):
            ds.SeriesDescription = "Series 1 (sent again)"

        make_series(tmp_path / "b", edit=edit)
        volume = read(tmp_path)
        assert_same(volume, series.voxels, series.affine)
        assert remarks(volume) == ("5 second copies of an image left out",)

    def test_one_uid_for_all_slices(self, tmp_path):
        uid = generate_uid()

        def edit(ds, k):
            ds.SOPInstanceUID = uid

        series = make_series(tmp_path, edit=edit)
        volume = read(tmp_path)
        assert_same(volume, series.voxels, series.affine)
        assert "4 images bear the SOPInstanceUID of another one" in remarks(volume)[0]
