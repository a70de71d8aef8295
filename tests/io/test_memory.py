"""Images in memory are the volumes that their files are, and labels come back in their kind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from sammed import io
from sammed.errors import (
    GridMismatchError,
    InputError,
    OrientationError,
    SammedWarning,
    UnsupportedFormatError,
)
from sammed.imaging import geometry
from sammed.imaging.volume import LabelVolume, Volume
from sammed.io.memory import labels_like, volume_of
from tests.phantoms import OBLIQUE, ORDERS, SHAPE, STRAIGHT, reordered, save_nifti

VOXELS = np.random.default_rng(3).integers(-1000, 1000, SHAPE).astype(np.int16)
LABELS = np.random.default_rng(4).integers(0, 4, SHAPE).astype(np.uint8)
NAMES = {1: "liver", 2: "spleen", 3: "aorta"}
RAS = geometry.affine_to_ras(OBLIQUE)


def as_nibabel(stored: np.ndarray, affine: np.ndarray) -> Any:
    return nibabel.Nifti1Image(stored.transpose(2, 1, 0), geometry.affine_to_ras(affine))


def as_itk(stored: np.ndarray, affine: np.ndarray) -> Any:
    image = sitk.GetImageFromArray(stored)
    ijk = affine[:, [2, 1, 0, 3]]
    spacing = np.linalg.norm(ijk[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(ijk[:3, 3].tolist())
    image.SetDirection((ijk[:3, :3] / spacing).ravel().tolist())
    return image


def as_pair(stored: np.ndarray, affine: np.ndarray) -> Any:
    return stored.transpose(2, 1, 0), geometry.affine_to_ras(affine)


@dataclass
class Kind:
    """How an image of a kind is made, saved, and its array (i, j, k) seen."""

    make: Callable[[np.ndarray, np.ndarray], Any]
    save: Callable[[Any, Path], Path]
    array: Callable[[Any], np.ndarray]


def save_nibabel(image: Any, folder: Path) -> Path:
    nibabel.save(image, folder / "image.nii.gz")
    return folder / "image.nii.gz"


def save_itk(image: Any, folder: Path) -> Path:
    sitk.WriteImage(image, str(folder / "image.nrrd"))
    return folder / "image.nrrd"


def save_pair(image: Any, folder: Path) -> Path:
    return save_nibabel(nibabel.Nifti1Image(*image), folder)


KINDS = {
    "nibabel": Kind(as_nibabel, save_nibabel, lambda image: np.asarray(image.dataobj)),
    "itk": Kind(as_itk, save_itk, lambda image: sitk.GetArrayFromImage(image).transpose(2, 1, 0)),
    "array": Kind(as_pair, save_pair, lambda image: image),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def in_some_orders(array: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """An asymmetric, oblique phantom as files may store it; half of these are left-handed."""
    for order, flips in ORDERS[::5]:
        yield reordered(array, OBLIQUE, order, flips)


def test_every_kind_is_what_its_file_is(kind, tmp_path):
    for stored, affine in in_some_orders(VOXELS):
        image = kind.make(stored, affine)
        volume, read = volume_of(image), io.read(kind.save(image, tmp_path))
        np.testing.assert_array_equal(volume.voxels, read.voxels)
        np.testing.assert_array_equal(volume.voxels, VOXELS)
        assert volume.voxels.dtype == read.voxels.dtype
        np.testing.assert_allclose(volume.affine, read.affine, atol=1e-4)
        assert volume.grid.describe() == read.grid.describe()
        assert volume.grid.reorientation == read.grid.reorientation
        np.testing.assert_array_equal(volume.ijk_array(), stored.transpose(2, 1, 0))
        np.testing.assert_allclose(volume.ras_affine, geometry.affine_to_ras(affine), atol=1e-4)


def test_labels_come_back_in_the_order_of_every_kind(kind):
    for (stored, affine), (wanted, _) in zip(
        in_some_orders(VOXELS), in_some_orders(LABELS), strict=True
    ):
        image = kind.make(stored, affine)
        labels = LabelVolume(LABELS, volume_of(image).grid, NAMES)
        back = kind.array(labels_like(labels, image))
        np.testing.assert_array_equal(back, wanted.transpose(2, 1, 0))
        assert back.dtype == np.uint8


def test_labels_like_a_nibabel_image_are_the_file_that_would_be_written(tmp_path):
    for stored, affine in in_some_orders(VOXELS):
        image = nibabel.load(save_nifti(tmp_path / "image.nii.gz", stored, affine))
        volume = io.read(tmp_path / "image.nii.gz")
        labels = LabelVolume(LABELS, volume.grid, NAMES, {2: (1, 2, 3)})
        like = labels_like(labels, image)
        io.write_labels(labels, tmp_path / "labels.nii.gz", force=True)
        written = nibabel.load(tmp_path / "labels.nii.gz")
        np.testing.assert_array_equal(np.asarray(like.dataobj), np.asarray(written.dataobj))
        assert np.array_equal(like.affine, image.affine)
        for field in ("sform_code", "qform_code", "pixdim", "xyzt_units", "intent_code"):
            assert np.array_equal(like.header[field], written.header[field]), field
        nibabel.save(like, tmp_path / "saved.nii.gz")
        again = io.read_labels(tmp_path / "saved.nii.gz", like=volume)
        assert (again.names, again.colours[2]) == (NAMES, (1, 2, 3))


def test_the_affine_in_memory_counts_not_a_header_left_behind():
    image = as_nibabel(VOXELS, STRAIGHT)
    moved = nibabel.Nifti1Image(image.dataobj, RAS, image.header)
    volume = volume_of(moved)
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-4)
    like = labels_like(LabelVolume(LABELS, volume.grid, NAMES), moved)
    assert np.array_equal(like.affine, RAS)  # to the last bit, though headers hold 32
    np.testing.assert_allclose(like.header.get_best_affine(), RAS, atol=1e-4)


def test_labels_like_a_simpleitk_image_have_its_numbers():
    for stored, affine in in_some_orders(VOXELS):
        image = as_itk(stored, affine)
        like = labels_like(LabelVolume(LABELS, volume_of(image).grid, NAMES), image)
        for number in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(like, number)() == getattr(image, number)()


def test_a_volume_stays_what_it_is():
    volume = Volume.from_array(VOXELS, OBLIQUE)
    assert volume_of(volume) is volume
    labels = labels_like(LabelVolume(LABELS, volume.grid, NAMES), volume)
    assert labels.image is volume
    assert labels.voxels is LABELS


def test_labels_on_another_grid_are_refused(kind):
    moved = OBLIQUE.copy()
    moved[0, 3] += 1
    labels = LabelVolume(LABELS, volume_of(kind.make(VOXELS, moved)).grid, NAMES)
    with pytest.raises(GridMismatchError, match=r"the label map for the .* is not on the grid"):
        labels_like(labels, kind.make(VOXELS, OBLIQUE))


# -- frames, planes, colours -----------------------------------------------------------------


def test_a_frame_of_several(kind):
    frames = np.stack([VOXELS, VOXELS + 1, VOXELS + 2])
    if kind is KINDS["itk"]:
        image: Any = sitk.JoinSeries([as_itk(frame, OBLIQUE) for frame in frames])
    elif kind is KINDS["nibabel"]:
        image = nibabel.Nifti1Image(frames.transpose(3, 2, 1, 0), RAS)
    else:
        image = frames.transpose(3, 2, 1, 0), RAS
    with pytest.raises(InputError, match="holds 3 frames; choose one"):
        volume_of(image)
    volume = volume_of(image, 2)
    np.testing.assert_array_equal(volume.voxels, VOXELS + 2)
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-4)
    back = kind.array(labels_like(LabelVolume(LABELS, volume.grid, NAMES), image))
    np.testing.assert_array_equal(back, LABELS.transpose(2, 1, 0))


def test_one_frame_keeps_its_axis():
    image = nibabel.Nifti1Image(VOXELS.transpose(2, 1, 0)[..., None], RAS)
    labels = LabelVolume(LABELS, volume_of(image).grid, NAMES)
    assert labels_like(labels, image).shape == image.shape
    pair = (VOXELS.transpose(2, 1, 0)[..., None], RAS)
    assert labels_like(labels, pair).shape == image.shape


def test_a_single_slice(tmp_path):
    plane, labels = VOXELS[0], LABELS[:1]
    images = [
        (plane.T, np.eye(4)),
        nibabel.Nifti1Image(plane.T, np.eye(4)),
        sitk.GetImageFromArray(plane),
    ]
    for image in images:
        volume = volume_of(image)
        assert volume.grid.shape == (1, 7, 11)
        stored = LabelVolume(volume.grid.reorientation.apply(labels), volume.grid, NAMES)
        like = labels_like(stored, image)
        if isinstance(like, sitk.Image):
            assert like.GetDimension() == 2
            like = sitk.GetArrayFromImage(like).T
        elif not isinstance(like, np.ndarray):
            like = np.asarray(like.dataobj)
        np.testing.assert_array_equal(like, LABELS[0].T)


def test_colours():
    colour = np.random.default_rng(5).integers(0, 255, (*SHAPE, 3)).astype(np.uint8)
    records = np.ascontiguousarray(colour.transpose(2, 1, 0, 3))
    records = records.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    images = [
        (colour.transpose(2, 1, 0, 3), RAS),
        nibabel.Nifti1Image(records, RAS),
        sitk.GetImageFromArray(colour, isVector=True),
    ]
    for image in images:
        volume = volume_of(image)
        assert volume.is_colour
        stored = volume.grid.reorientation.invert(volume.voxels)
        np.testing.assert_array_equal(stored, colour)
        canonical = volume.grid.reorientation.apply(LABELS)
        like = labels_like(LabelVolume(canonical, volume.grid, NAMES), image)
        assert getattr(like, "shape", SHAPE[::-1]) == SHAPE[::-1]


# -- values ----------------------------------------------------------------------------------


def test_what_is_not_finite_is_replaced_in_the_volume_alone(kind):
    values = VOXELS.astype(np.float32)
    values[0, 0, 0] = np.nan
    image = kind.make(values, OBLIQUE)
    with pytest.warns(SammedWarning, match="1 voxels are NaN or infinite"):
        volume = volume_of(image)
    assert np.isfinite(volume.voxels).all()
    array = image[0] if isinstance(image, tuple) else kind.array(image)
    assert np.isnan(array).sum() == 1


@pytest.mark.parametrize(
    ("given", "kept"),
    [(">i2", "int16"), ("bool", "uint8"), ("int64", "int32"), ("float64", "float32")],
)
def test_types_are_those_that_files_are_read_as(given, kept):
    array = (VOXELS % 2 if given == "bool" else VOXELS).astype(given)
    volume = volume_of((array.transpose(2, 1, 0), RAS))
    assert volume.voxels.dtype == kept
    np.testing.assert_array_equal(volume.voxels, array)
    assert array.dtype == given


def test_voxels_that_need_no_change_are_shared():
    array = np.asfortranarray(VOXELS.transpose(2, 1, 0))
    assert np.shares_memory(volume_of((array, RAS)).voxels, array)


def test_scaled_voxels_of_a_file_that_nibabel_has_opened(tmp_path):
    image = as_nibabel(VOXELS, OBLIQUE)
    image.header.set_slope_inter(0.5, -7)
    nibabel.save(image, tmp_path / "scaled.nii.gz")
    opened = nibabel.load(tmp_path / "scaled.nii.gz")
    volume, read = volume_of(opened), io.read(tmp_path / "scaled.nii.gz")
    assert volume.voxels.dtype == read.voxels.dtype == np.float32
    np.testing.assert_allclose(volume.voxels, read.voxels, rtol=1e-6)
    assert volume.source == tmp_path / "scaled.nii.gz"


def test_other_images_of_nibabel():
    image = nibabel.MGHImage(VOXELS.transpose(2, 1, 0).astype(np.float32), RAS)
    volume = volume_of(image)
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-4)
    like = labels_like(LabelVolume(LABELS, volume.grid, NAMES), image)
    assert isinstance(like, nibabel.Nifti1Image)
    np.testing.assert_array_equal(like.affine, image.affine)
    second = labels_like(
        LabelVolume(LABELS, volume.grid, NAMES), nibabel.Nifti2Image(LABELS.T, RAS)
    )
    assert isinstance(second, nibabel.Nifti2Image)


# -- what is refused -------------------------------------------------------------------------

CUBE = np.zeros((4, 5, 6))
SHEARED = np.eye(4) + np.eye(4, k=1) * 0.3


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (CUBE, InputError, "an array alone does not say where its voxels are"),
        (7, InputError, "an image of type int is of no known kind; expected a file, a Volume"),
        (None, InputError, "of type NoneType"),
        ((CUBE, np.eye(4), 3), InputError, "of type tuple"),
        ((CUBE, np.eye(3)), OrientationError, "the array has no finite 4x4 affine"),
        ((CUBE, None), OrientationError, "the array has no finite 4x4 affine"),
        ((CUBE, "affine"), OrientationError, "the array has no finite 4x4 affine"),
        ((CUBE, SHEARED), OrientationError, "the array is sheared"),
        ((CUBE[0, 0], np.eye(4)), UnsupportedFormatError, r"the array has shape \(6,\)"),
        ((CUBE[:0], np.eye(4)), UnsupportedFormatError, r"the array has shape \(0, 5, 6\)"),
        ((CUBE.astype(complex), np.eye(4)), UnsupportedFormatError, "type complex128"),
        ((CUBE.astype(str), np.eye(4)), UnsupportedFormatError, "the array has voxels of type"),
        ((CUBE[..., None, None], np.eye(4)), UnsupportedFormatError, "has shape"),
        (nibabel.Nifti1Image(CUBE, SHEARED), OrientationError, "is sheared"),
        (sitk.Image([4, 5, 6], sitk.sitkVectorFloat32, 2), InputError, "holds 2 frames"),
        (sitk.Image([4, 5, 6], sitk.sitkComplexFloat32), UnsupportedFormatError, "complex"),
        (sitk.Image(), UnsupportedFormatError, "expected voxels in 2 to 4 dimensions"),
    ],
)
def test_images_that_make_no_sense(image, error, message):
    with pytest.raises(error, match=message) as raised:
        volume_of(image)
    assert "\n" not in str(raised.value)


def test_no_library_is_imported_to_find_that_an_image_is_not_its_own():
    code = (
        "import sys, numpy; from sammed.io.memory import volume_of;"
        "volume_of((numpy.zeros((3, 4, 5)), numpy.eye(4)));"
        "assert not {'nibabel', 'SimpleITK', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
