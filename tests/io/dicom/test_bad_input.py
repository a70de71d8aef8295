"""Missing tags, truncated files, pydicom's collection of odd ones: a clear line, no traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from sammed.errors import GeometryError, InputError, SammedError, UnreadableFileError
from sammed.imaging.volume import Volume
from sammed.io.dicom.images.read import read, survey
from tests.io.dicom.conftest import assert_same, remarks
from tests.io.dicom.make_series import make_enhanced, make_series

NEEDED = {
    "Rows": UnreadableFileError,
    "Columns": UnreadableFileError,
    "BitsAllocated": InputError,
    "ImagePositionPatient": GeometryError,
    "ImageOrientationPatient": GeometryError,
    "PixelSpacing": GeometryError,
    "PixelData": InputError,
}
"""What a CT image cannot do without."""

NOT_NEEDED = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "Modality"),
    *("InstanceNumber", "SeriesNumber", "FrameOfReferenceUID", "ImageType", "AcquisitionNumber"),
    *("PatientName", "PatientID", "SliceThickness", "BitsStored", "HighBit", "SamplesPerPixel"),
    *("PhotometricInterpretation", "RescaleType", "SeriesDescription", "StudyDate"),
)


@pytest.mark.parametrize("keyword", NEEDED)
@pytest.mark.parametrize("ks", [(2,), (0, 1, 2, 3, 4)])
def test_needed_tags(keyword, ks, tmp_path):
    def edit(ds, k):
        if k in ks:
            delattr(ds, keyword)

    make_series(tmp_path, edit=edit)
    with pytest.raises(NEEDED[keyword]) as caught:
        read(tmp_path)
    message = str(caught.value)
    assert keyword in message or keyword == "PixelData"
    assert "\n" not in message
    assert not survey(tmp_path).series[0].usable


@pytest.mark.parametrize("keyword", NOT_NEEDED)
def test_tags_that_may_be_missing(keyword, tmp_path):
    def edit(ds, k):
        delattr(ds, keyword)

    series = make_series(tmp_path, edit=edit)
    assert_same(read(tmp_path), series.voxels, series.affine)


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept", "PixelRepresentation"])
def test_tags_with_a_default(keyword, tmp_path):
    def edit(ds, k):
        delattr(ds, keyword)

    voxels = np.arange(385).reshape(5, 7, 11).astype(np.int16)
    series = make_series(tmp_path, voxels=voxels, edit=edit)
    assert_same(read(tmp_path), voxels, series.affine)


@pytest.mark.parametrize("keyword", [k for k in (*NEEDED, *NOT_NEEDED) if k != "PixelData"])
def test_empty_tags(keyword, tmp_path):
    def edit(ds, k):
        setattr(ds, keyword, None)

    series = make_series(tmp_path, edit=edit)
    if keyword in NEEDED:
        with pytest.raises(NEEDED[keyword]):
            read(tmp_path)
    else:
        assert_same(read(tmp_path), series.voxels, series.affine)


@pytest.mark.parametrize(
    "keyword", ["PixelMeasuresSequence", "PlaneOrientationSequence", "PlanePositionSequence"]
)
def test_macros_of_a_multiframe_image(keyword, tmp_path):
    def edit(ds):
        for group in (*ds.SharedFunctionalGroupsSequence, *ds.PerFrameFunctionalGroupsSequence):
            if keyword in group:
                delattr(group, keyword)

    make_enhanced(tmp_path / "a.dcm", edit=edit)
    with pytest.raises(GeometryError, match="5 of 5 images have no usable"):
        read(tmp_path)


@pytest.mark.parametrize("cut", [2, 100, 170, 400])
def test_truncated_files(cut, tmp_path):
    series = make_series(tmp_path)
    path = series.paths[2]
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(InputError, match="truncated"):
        read(tmp_path)


def test_truncated_at_every_byte(tmp_path):
    """One file, cut anywhere: an error, or what is left out is said."""
    (path,) = make_series(tmp_path, shape=(1, 7, 11)).paths
    data = path.read_bytes()
    for length in range(1, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(SammedError) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_messages_do_not_name_the_patient(tmp_path, recwarn, caplog):
    caplog.set_level("DEBUG")
    make_series(tmp_path, drop=[2])
    with pytest.raises(SammedError) as caught:
        read(tmp_path)
    said = str(caught.value) + caplog.text + "".join(str(w.message) for w in recwarn)
    assert "Doe" not in said
    assert "4711" not in said


def odd_files() -> list[Path]:
    """pydicom's own test files, those that come with the package."""
    root = Path(pydicom.data.__file__).parent
    return sorted(p for p in root.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc"))


LOSSY = (".4.50", ".4.51", ".4.81", ".4.91")


def line_of(error: SammedError) -> str:
    message = str(error)
    assert "\n" not in message
    assert 10 < len(message) < 1500
    return message


def pixels_by_pydicom(path: Path, volume: Volume) -> np.ndarray | None:
    """What the volume must hold, by pydicom; None where it decides otherwise on purpose."""
    ds = pydicom.dcmread(path, force=True)
    syntax = str(ds.file_meta.get("TransferSyntaxUID", ""))
    frames = int(ds.get("NumberOfFrames", 1))
    inverted = ds.get("PhotometricInterpretation") == "MONOCHROME1"
    if "PixelData" not in ds or volume.is_colour or frames > 1 or inverted:
        return None
    if syntax.endswith(LOSSY[:2]):
        return None  # decoders of lossy JPEG differ by one
    return ds.pixel_array * float(ds.get("RescaleSlope", 1)) + float(ds.get("RescaleIntercept", 0))


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
def test_odd_files_are_read_right_or_refused_in_a_line():
    read_ones, compared = set(), 0
    for path in odd_files():
        try:
            volume = read(path, frame=0)
        except SammedError as error:
            line_of(error)
            continue
        read_ones.add(path.name)
        expected = pixels_by_pydicom(path, volume)
        if expected is not None and "padding" not in " ".join(volume.notes):
            stored = volume.grid.reorientation.invert(volume.voxels)
            np.testing.assert_allclose(stored[0], expected, rtol=1e-6, err_msg=str(path))
            compared += 1
    assert {"CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "693_J2KI.dcm"} <= read_ones
    assert not {"rtdose.dcm", "MR_truncated.dcm", "reportsi.dcm", "rtstruct.dcm"} & read_ones
    assert compared > 30


def test_folder_of_odd_files(tmp_path):
    root = Path(pydicom.data.__file__).parent / "test_files"
    found = survey(root)
    assert len(found.series) > 20
    assert found.stray > 5
    assert any(s.usable for s in found.series)
    assert all(s.verdict for s in found.series)


@pytest.mark.filterwarnings("ignore")
def test_copies_of_one_image_under_many_names(tmp_path):
    """MR_small in seven encodings: one image, and the note says so."""
    names = ["MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm"]
    for name in names:
        shutil.copy(get_testdata_file(name), tmp_path / name)
    volume = read(tmp_path)
    assert volume.shape[0] == 1
    assert "copies" in remarks(volume)[0] or "duplicate" in remarks(volume)[0]
