"""Real series against reference volumes; skipped where the data is absent."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pydicom
import pytest

from sammed.errors import InputError, IrregularSpacingError, UnsupportedFormatError
from sammed.imaging import geometry
from sammed.imaging.volume import Volume
from sammed.io.dicom.images.read import read, survey
from tests.io.dicom.conftest import DATA, needs_data, remarks

pytestmark = needs_data

TWINS = {
    "dicom2nifti/ge/anatomical/001": "dicom2nifti/ge/anatomical/001_ground_truth.nii.gz",
    "dicom2nifti/philips/anatomical/001": "dicom2nifti/philips/anatomical/001_ground_truth.nii.gz",
    "dicom2nifti/philips_enhanced/anatomical/001": (
        "dicom2nifti/philips_enhanced/anatomical/001_ground_truth.nii.gz"
    ),
    "dicom2nifti/siemens_multiframe/anatomical/001": (
        "dicom2nifti/siemens_multiframe/anatomical/001_ground_truth.nii.gz"
    ),
    "dicom2nifti/hitachi/anatomical/001": "dicom2nifti/hitachi/anatomical/001_ground_truth.nii.gz",
    "dicom2nifti/hitachi/anatomical/001_implicit": (
        "dicom2nifti/hitachi/anatomical/001_ground_truth.nii.gz"
    ),
    "dicom2nifti/hyperfine/anatomical/001": (
        "dicom2nifti/hyperfine/anatomical/001_ground_truth.nii.gz"
    ),
    "dicom2nifti/generic/anatomical/002_non_isotropic": (
        "dicom2nifti/generic/anatomical/002_non_isotropic_ground_truth.nii.gz"
    ),
    **{
        f"dicom2nifti/generic/{kind}/001": f"dicom2nifti/generic/{kind}/001_ground_truth.nii.gz"
        for kind in ("compressed_rle", "compressed_jpegls", "compressed_j2k", "compressed_jpeg")
    },
    "mirp/sts_images/STS_002/MR_T1/dicom/image": (
        "mirp/sts_images/STS_002/MR_T1/nifti/image/image.nii.gz"
    ),
    "prostatex/dcm": "built/prostate0001_image.nii.gz",
}


@pytest.mark.parametrize("folder", TWINS)
def test_voxels_and_affine_of_the_reference(folder):
    reference = nib.load(DATA / TWINS[folder])
    stored = np.asarray(reference.dataobj, np.float64).squeeze().T
    expected = Volume.from_array(stored, geometry.affine_from_ras(reference.affine))
    volume = read(DATA / folder)
    assert volume.shape == expected.shape
    corners = np.array([[z, y, x] for z in (0, 1) for y in (0, 1) for x in (0, 1)])
    corners = corners * (np.array(volume.shape) - 1)
    found, wanted = (geometry.apply_affine(v.affine, corners) for v in (volume, expected))
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    np.testing.assert_allclose(volume.voxels, expected.voxels, rtol=1e-6)


def test_part_of_a_series():
    """The built reference holds slices 5..12 of the 20."""
    reference = nib.load(DATA / "built/wright_image.nii.gz")
    stored = np.asarray(reference.dataobj).T
    expected = Volume.from_array(stored, geometry.affine_from_ras(reference.affine))
    volume = read(DATA / "wright_ep/E774S5-shortAxis_phase00")
    first = geometry.index_from_world(volume.affine, expected.affine[:3, 3])
    np.testing.assert_allclose(first, np.rint(first), atol=1e-3)
    low = np.rint(first).astype(int)
    z, y, x = (slice(a, a + n) for a, n in zip(low, expected.shape, strict=True))
    np.testing.assert_array_equal(volume.voxels[z, y, x], expected.voxels)


CORNERSTONE = DATA / "cornerstone" / "testImages"
LOSSLESS = (
    *("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"),
    *(f"1.2.840.10008.1.2.4.{n}" for n in (57, 70, 80, 90)),
)
LOSSY = {50: 65, 51: 40, 53: 40, 55: 40, 81: 2, 91: 35}
"""Largest difference to the original, HU. The 8-bit JPEG has grey levels of 32 HU."""


def cornerstone(syntax):
    (path,) = CORNERSTONE.glob(f"*_{syntax}.dcm")
    return read(path)


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_lossless_transfer_syntaxes(syntax):
    original = read(CORNERSTONE / "CTImage.dcm")
    volume = cornerstone(syntax)
    assert volume.voxels.dtype == np.int16
    np.testing.assert_array_equal(volume.voxels, original.voxels)
    np.testing.assert_array_equal(volume.affine, original.affine)


@pytest.mark.parametrize("number", LOSSY)
def test_lossy_transfer_syntaxes(number):
    original = read(CORNERSTONE / "CTImage.dcm").voxels.astype(float)
    volume = cornerstone(f"1.2.840.10008.1.2.4.{number}").voxels.astype(float)
    # what lies below -1,000 is the rim outside of the scanned circle, where JPEG rings
    inside = original > -1000
    assert np.abs(volume - original)[inside].max() <= LOSSY[number]


def test_fragments_without_an_offset_table():
    volume = read(CORNERSTONE / "CT0012.fragmented_no_bot_jpeg_baseline.51.dcm")
    assert volume.shape == (2, 512, 512)


def test_gantry_tilt():
    volume = read(DATA / "dicom2nifti/failing/gantrytilting/001")
    assert "sheared by 14.00 degrees" in remarks(volume)[0]
    assert volume.spacing[0] == pytest.approx(5 * np.cos(np.radians(14)), abs=1e-3)
    source = volume.grid.native
    stored = volume.grid.reorientation.invert(volume.voxels)
    middle = source.labels_as_acquired(stored)[len(source) // 2]
    header = source.dataset(len(source) // 2)
    (path,) = (
        p for p in (DATA / "dicom2nifti/failing/gantrytilting/001").iterdir()
        if pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID == header.SOPInstanceUID
    )  # fmt: skip
    np.testing.assert_array_equal(middle, pydicom.dcmread(path).pixel_array.astype(int) - 1024)


def test_mixed_orientations():
    folder = DATA / "dicom2nifti/failing/sliceorientation/001"
    with pytest.raises(InputError, match="2 volumes in one series"):
        read(folder)
    assert read(folder, frame=0).shape != read(folder, frame=1).shape


def test_heart_phases_and_positions_mixed():
    with pytest.raises(IrregularSpacingError, match="it is no one volume"):
        read(DATA / "rvsc_chuckyee/patient09/P09dicom")


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("mirp/ibsi_1_ct_radiomics_phantom/dicom", "contours"),
        ("mirp/sts_images/STS_002/MR_T1/dicom/mask", "contours"),
        ("dcmqi/segmentations/liver.dcm", "segmentation"),
    ],
)
def test_labels_are_no_images(path, what):
    with pytest.raises(UnsupportedFormatError, match=what):
        read(DATA / path)


@pytest.mark.parametrize("size", ["23x38x3", "24x38x3"])
def test_multiframe_and_single_frames_agree(size):
    folder = DATA / "dcmqi/segmentations" / size
    single, multi = read(folder / "image"), read(folder / "multiframe")
    np.testing.assert_array_equal(single.voxels, multi.voxels)
    np.testing.assert_allclose(single.affine, multi.affine, atol=1e-4)
    assert multi.grid.native.frames is not None


@pytest.mark.parametrize("folder", ["dcmqi/segmentations/ct-3slice", "torchio_dicom/dicom"])
def test_against_simpleitk(folder):
    import SimpleITK as sitk  # noqa: N813

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(DATA / folder)))
    image = reader.Execute()
    volume = read(DATA / folder)
    stored = volume.grid.reorientation.invert(volume.voxels)
    expected = sitk.GetArrayFromImage(image)
    expected = np.maximum(expected, volume.voxels.min())  # padding far below is replaced
    np.testing.assert_array_equal(stored, expected)
    np.testing.assert_allclose(volume.grid.affine[:3, 3], image.GetOrigin(), atol=1e-4)


def test_whole_study_with_everything_in_it():
    infos = survey(DATA / "dcmqi").series
    assert sum(info.usable for info in infos) == 5
    assert sum("segmentation" in info.verdict for info in infos) == 5
    with pytest.raises(InputError, match="5 usable series"):
        read(DATA / "dcmqi")
