"""NIfTI headers as other programs leave them: scaling, offsets, pairs of files."""

from __future__ import annotations

import gzip

import nibabel
import numpy as np
import pytest

from sammed import io
from sammed.errors import SammedWarning, UnreadableFileError

from .test_nifti import counting, save


def patched(path, **fields):
    """A file whose header's fields are set after the fact, as no library would write them."""
    data = path.read_bytes()
    packed = data.startswith(b"\x1f\x8b")
    data = gzip.decompress(data) if packed else data
    kind = nibabel.Nifti2Header if data[:1] == b"\x1c" else nibabel.Nifti1Header
    size = kind().sizeof_hdr
    header = kind(data[:size], check=False)
    for name, value in fields.items():
        header[name] = value
    data = header.binaryblock + data[size:]
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


@pytest.mark.parametrize("intercept", [np.nan, np.inf])
def test_an_intercept_that_is_no_number_is_zero(tmp_path, intercept):
    path = patched(save(tmp_path / "a.nii", counting()), scl_slope=2, scl_inter=intercept)
    with pytest.warns(SammedWarning, match=r"scl_inter is (nan|inf), which is no number; 0 was"):
        volume = io.read(path)
    np.testing.assert_array_equal(volume.ijk_array(), 2 * counting())


@pytest.mark.parametrize("slope", [0, np.nan, np.inf])
def test_an_intercept_without_a_slope_does_not_count(tmp_path, slope):
    path = patched(save(tmp_path / "a.nii", counting()), scl_slope=slope, scl_inter=-1024)
    with pytest.warns(SammedWarning, match="means no scaling; its scl_inter -1024 does not count"):
        volume = io.read(path)
    np.testing.assert_array_equal(volume.ijk_array(), counting())


@pytest.mark.parametrize(("slope", "intercept"), [(0, 0), (np.nan, np.nan), (1, 0)])
def test_no_scaling_says_nothing(tmp_path, slope, intercept):
    path = patched(save(tmp_path / "a.nii", counting()), scl_slope=slope, scl_inter=intercept)
    assert io.read(path).notes == ()


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_offset_zero_is_not_the_header(tmp_path, name, kind):
    nibabel.save(kind(counting(), np.eye(4)), tmp_path / name)
    path = patched(tmp_path / name, vox_offset=0)
    with pytest.warns(SammedWarning, match=r"vox_offset is 0.*read from byte (352|544) on"):
        volume = io.read(path)
    np.testing.assert_array_equal(volume.ijk_array(), counting())


def test_offset_zero_without_the_four_bytes_of_extensions(tmp_path):
    path = patched(save(tmp_path / "a.nii", counting()), vox_offset=0)
    data = path.read_bytes()
    path.write_bytes(data[:348] + data[352:])
    with pytest.warns(SammedWarning, match="read from byte 348 on"):
        np.testing.assert_array_equal(io.read(path).ijk_array(), counting())


def test_offset_zero_and_a_length_that_fits_nothing(tmp_path):
    path = patched(save(tmp_path / "a.nii", counting()), vox_offset=0)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(UnreadableFileError, match="does not say where its voxels begin"):
        io.read(path)


@pytest.mark.parametrize("offset", [np.nan, np.inf, -5, 348])
def test_impossible_offsets(tmp_path, offset):
    path = patched(save(tmp_path / "a.nii", counting()), vox_offset=offset)
    with pytest.raises(UnreadableFileError, match="damaged NIfTI header"):
        io.read(path)


# --- pairs


@pytest.mark.parametrize(
    ("header", "voxels"),
    [
        ("A.HDR", "A.IMG"),
        ("a.hdr", "a.IMG"),
        ("A.hdr", "a.img"),
        ("a.hdr.gz", "a.img.gz"),
        ("a.hdr", "a.img.gz"),
        ("A.HDR.GZ", "A.IMG.GZ"),
    ],
)
def test_pairs_in_any_case_and_packed(tmp_path, header, voxels):
    nibabel.save(nibabel.Nifti1Pair(counting(), np.eye(4)), tmp_path / "b.img")
    for name, source in ((header, "b.hdr"), (voxels, "b.img")):
        data = (tmp_path / source).read_bytes()
        (tmp_path / source).unlink()
        packed = name.lower().endswith(".gz")
        (tmp_path / name).write_bytes(gzip.compress(data) if packed else data)
    for name in (header, voxels):
        volume = io.read(tmp_path / name)
        np.testing.assert_array_equal(volume.ijk_array(), counting())


def test_the_pair_of_the_same_case_is_taken(tmp_path):
    for name, shift in (("a", 0), ("A", 100)):
        nibabel.save(nibabel.Nifti1Pair(counting() + shift, np.eye(4)), tmp_path / f"{name}.img")
    np.testing.assert_array_equal(io.read(tmp_path / "a.hdr").ijk_array(), counting())
    np.testing.assert_array_equal(io.read(tmp_path / "A.img").ijk_array(), counting() + 100)


def test_half_a_pair_in_capitals(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(counting(), np.eye(4)), tmp_path / "a.img")
    (tmp_path / "a.hdr").rename(tmp_path / "A.HDR")
    (tmp_path / "a.img").unlink()
    with pytest.raises(UnreadableFileError, match=r"A\.IMG does not exist"):
        io.read(tmp_path / "A.HDR")
