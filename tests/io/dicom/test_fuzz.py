"""Random damage: never a traceback, never a volume of the wrong shape without a word."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from pydicom.uid import RLELossless

from sammed.errors import SammedError
from sammed.imaging import geometry
from sammed.io.dicom.images.read import read, survey
from tests.io.dicom.make_series import make_enhanced, make_series
from tests.io.dicom.test_pixels import compressed_by_pydicom

ODD = [
    "",
    "0",
    "-1",
    "1e308",
    "-1e308",
    "nan",
    "inf",
    "1\\2",
    "0\\0\\0",
    "abc",
    "9" * 16,
    " ",
    "\0",
]
KEYWORDS = (
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "PixelSpacing"),
    *("ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept"),
    *("SliceThickness", "WindowCenter", "WindowWidth", "InstanceNumber", "AcquisitionNumber"),
    *("SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality", "ImageType"),
    *("PixelPaddingValue", "SeriesDescription", "SpecificCharacterSet", "EchoTime"),
)


def damage(path: Path, places: list[tuple[float, int]]) -> None:
    """Replace bytes, at relative places of the file, by others."""
    data = bytearray(path.read_bytes())
    for where, byte in places:
        data[int(where * (len(data) - 1))] = byte
    path.write_bytes(data)


def one_line(error: SammedError) -> None:
    assert "\n" not in str(error)


def look_at(folder: Path) -> None:
    """Whatever happens, it is one line or a volume that is one."""
    try:
        assert all("\n" not in info.verdict for info in survey(folder).series)
        volume = read(folder)
    except SammedError as error:
        one_line(error)
        return
    geometry.check_affine(volume.affine)
    assert volume.voxels.ndim in (3, 4)
    assert np.isfinite(np.asarray(volume.voxels, np.float64)).all()
    assert min(volume.shape) >= 1
    assert volume.grid.native.grid_shape == volume.grid.shape
    assert volume.shape[0] * volume.shape[1] * volume.shape[2] < 1 << 22


@pytest.fixture(scope="module")
def kinds(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("fuzz")
    make_series(root / "plain", shape=(3, 5, 7))
    make_series(
        root / "rle", shape=(3, 5, 7), edit=compressed_by_pydicom(RLELossless), syntax=RLELossless
    )
    make_enhanced(root / "enhanced" / "a.dcm", shape=(3, 5, 7))
    return {path.name: path for path in root.iterdir()}


def run_bytes(kinds, folder, kind, places):
    target = folder / "case"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(kinds[kind], target)
    damage(min(target.iterdir()), places)
    look_at(target)


def run_tags(folder, keyword, value, ks):
    target = folder / "case"
    shutil.rmtree(target, ignore_errors=True)

    def edit(ds, k):
        if k not in ks:
            return
        if keyword in ds:
            del ds[keyword]
        ds.add_new(keyword, "UC", value)  # any text, whatever the element should hold

    try:
        make_series(target, shape=(3, 5, 7), edit=edit)
    except (AttributeError, TypeError, ValueError):
        reject()  # pydicom does not write that
    look_at(target)


kind_names = st.sampled_from(["plain", "rle", "enhanced"])
byte_changes = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8)
slices = st.sets(st.integers(0, 2), min_size=1)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=120)
@given(kind=kind_names, places=byte_changes)
def test_bytes(kinds, tmp_path, kind, places):
    run_bytes(kinds, tmp_path, kind, places)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=120)
@given(
    keyword=st.sampled_from(KEYWORDS), value=st.one_of(st.sampled_from(ODD), st.text(max_size=20)),
    ks=slices,
)  # fmt: skip
def test_tags(tmp_path, keyword, value, ks):
    run_tags(tmp_path, keyword, value, ks)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=2000, derandomize=False)
@given(kind=kind_names, places=byte_changes)
def test_bytes_at_length(kinds, tmp_path, kind, places):
    run_bytes(kinds, tmp_path, kind, places)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=1000, derandomize=False)
@given(
    keyword=st.sampled_from(KEYWORDS), value=st.one_of(st.sampled_from(ODD), st.text(max_size=20)),
    ks=slices,
)  # fmt: skip
def test_tags_at_length(tmp_path, keyword, value, ks):
    run_tags(tmp_path, keyword, value, ks)
