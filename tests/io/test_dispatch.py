from __future__ import annotations

import os
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from sammed import io
from sammed.errors import (
    GridMismatchError,
    InputError,
    OutputError,
    UnreadableFileError,
    UnsupportedFormatError,
)
from sammed.imaging.volume import Volume

from .conftest import oblique_affine


@pytest.mark.parametrize("reader", [io.read, io.read_labels])
class TestNotAnImage:
    def test_missing(self, tmp_path, reader):
        with pytest.raises(UnreadableFileError, match=r"a\.nii\.gz does not exist"):
            reader(tmp_path / "a.nii.gz")

    @pytest.mark.parametrize(
        "name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.png", "a", "a.dcm"]
    )
    def test_empty(self, tmp_path, reader, name):
        (tmp_path / name).touch()
        with pytest.raises(UnreadableFileError, match="is empty"):
            reader(tmp_path / name)

    def test_unknown(self, tmp_path, reader):
        (tmp_path / "a.docx").write_text("Dear Sir")
        with pytest.raises(
            UnsupportedFormatError, match=r"of no known kind; expected one of .*nii"
        ):
            reader(tmp_path / "a.docx")

    def test_device(self, reader):
        with pytest.raises(UnreadableFileError, match="is a device"):
            reader(os.devnull)


@pytest.mark.parametrize(
    ("name", "start", "expected"),
    [
        ("ct.NII.GZ", b"x", "nifti"),
        ("ct.seg.nrrd", b"x", "seg.nrrd"),
        ("ct.nrrd", b"x", "itk"),
        ("ct.JPG", b"x", "image"),
        ("ct.dcm", b"x", "dicom"),
        ("ct.tar.gz", b"x", "dicom"),
        ("ct.txz", b"x", "dicom"),
        ("IM0001", b"x", "dicom"),
        ("1.2.840.113619.7", b"x", "dicom"),
        ("ct.bin", b"\0" * 128 + b"DICM", "dicom"),
        ("ct.nii", b"\0" * 128 + b"DICM", "dicom"),
        ("ct.bin", b"\0" * 344 + b"n+1\0", "nifti"),
        ("ct.bin", b"NRRD0004\n", "itk"),
        ("ct.bin", b"\x89PNG", "image"),
        ("ct.bin", b"PK\x03\x04", "dicom"),
    ],
)
def test_input_format(tmp_path, name, start, expected):
    (tmp_path / name).write_bytes(start)
    assert io.input_format(tmp_path / name) == expected


def test_a_folder_is_dicom(tmp_path):
    assert io.input_format(tmp_path) == "dicom"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.nii", "nifti"),
        ("a.nii.gz", "nifti"),
        ("a.seg.nrrd", "seg.nrrd"),
        ("A.NRRD", "nrrd"),
        ("a.mhd", "mha"),
        ("a.dcm", "dicom-seg"),
        ("a.stl", "stl"),
        ("a.b.obj", "obj"),
        ("a.tif", "tiff"),
    ],
)
def test_output_format(name, expected):
    assert io.output_format(name) == expected


def test_output_type_decides_where_the_name_does_not():
    assert io.output_format("a.dcm", "rtstruct") == "rtstruct"
    with pytest.raises(OutputError, match=r"a\.nii as rtstruct: its name should end in \.dcm"):
        io.output_format("a.nii", "rtstruct")
    with pytest.raises(OutputError, match="unknown output type 'dicom'; expected one of nifti"):
        io.output_format("a.dcm", "dicom")


@pytest.mark.parametrize("name", ["a", "a.gz", "a.txt", "a.jpg"])
def test_output_name_that_says_nothing(name):
    with pytest.raises(OutputError, match=r"it should end in one of \.nii \.nii\.gz"):
        io.output_format(name)


def test_a_volume_is_no_mesh():
    with pytest.raises(OutputError, match="should end in one of"):
        io.output_format("a.stl", kinds=io.VOLUME_TYPES)


def test_series_is_for_dicom(tmp_path, volume):
    io.write_volume(volume, tmp_path / "a.nrrd")
    with pytest.raises(InputError, match="has no series"):
        io.read(tmp_path / "a.nrrd", series="1")


def test_labels_on_another_grid(tmp_path, volume, labels):
    io.write_labels(labels, tmp_path / "a.nii.gz")
    moved = oblique_affine()
    moved[0, 3] += 0.5
    other = Volume.from_array(np.zeros(volume.shape, np.int16), moved)
    with pytest.raises(GridMismatchError, match=r"a\.nii\.gz is not on the grid of the image"):
        io.read_labels(tmp_path / "a.nii.gz", like=other)


def test_labels_in_another_axis_order_are_on_the_same_grid(tmp_path, volume, labels):
    io.write_labels(labels, tmp_path / "a.nii.gz")
    image = nibabel.load(tmp_path / "a.nii.gz")
    nibabel.save(image.as_reoriented([[2, -1], [0, 1], [1, -1]]), tmp_path / "b.nii.gz")
    again = io.read_labels(tmp_path / "b.nii.gz", like=volume)
    np.testing.assert_array_equal(again.voxels, labels.voxels)
    assert again.grid is volume.grid


def test_no_overwriting(tmp_path, volume, labels):
    (tmp_path / "a.nrrd").write_text("precious")
    with pytest.raises(OutputError, match="exists already"):
        io.write_labels(labels, tmp_path / "a.nrrd")
    with pytest.raises(OutputError, match="exists already"):
        io.write_volume(volume, tmp_path / "a.nrrd")
    assert (tmp_path / "a.nrrd").read_text() == "precious"


@pytest.mark.parametrize("dtype", ["bool", "float16", "float64", "int64", "uint16"])
@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd"])
def test_any_number_type_is_written(tmp_path, dtype, name):
    array = (np.arange(385) % 7).reshape(5, 7, 11).astype(dtype)
    volume = Volume.from_array(array, oblique_affine())
    io.write_volume(volume, tmp_path / name)
    np.testing.assert_array_equal(io.read(tmp_path / name).voxels, volume.voxels)


def test_importing_is_light():
    code = (
        "import sammed.io, sys; "
        "print([m for m in ('numpy', 'nibabel', 'SimpleITK', 'pydicom') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
