"""FreeSurfer's volumes."""

from __future__ import annotations

import gzip

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sammed import io
from sammed.errors import (
    InputError,
    LabelError,
    OrientationError,
    SammedWarning,
    UnreadableFileError,
    UnsupportedFormatError,
)
from sammed.imaging import geometry
from sammed.imaging.volume import LabelVolume

from .by_hand import mgh

SHAPE = (5, 7, 11)
ARRAY = np.arange(np.prod(SHAPE)).reshape(1, *SHAPE)
OBLIQUE = Rotation.from_euler("xyz", [10, 20, -15], degrees=True).as_matrix()
CONFORMED = np.array([[-1, 0, 0], [0, 0, -1], [0, 1, 0]])


@pytest.mark.parametrize("name", ["a.mgh", "a.mgz", "A.MGZ", "a.mgh.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "u2"])
def test_voxels_and_places(tmp_path, name, dtype):
    array = (ARRAY % 200).astype(dtype)
    path = mgh(tmp_path / name, array, axes=OBLIQUE, tail=bytes(20))
    volume = io.read(path)
    np.testing.assert_array_equal(volume.ijk_array(), array[0].transpose(2, 1, 0))
    assert volume.voxels.dtype == np.dtype(dtype)
    centre = np.array([11, 7, 5]) / 2  # as FreeSurfer counts it
    affine = volume.ras_affine
    np.testing.assert_allclose(affine[:3, :3], OBLIQUE.T * [0.7, 0.8, 2.5], atol=1e-6)
    np.testing.assert_allclose(geometry.apply_affine(affine, centre), [1, 2, 3], atol=1e-5)
    assert volume.notes == ()


def test_as_nibabel_has_it(tmp_path):
    path = mgh(tmp_path / "a.mgz", ARRAY.astype("i4"), axes=OBLIQUE)
    image = nibabel.load(path)
    volume = io.read(path)
    np.testing.assert_allclose(volume.ras_affine, image.affine, atol=1e-5)
    np.testing.assert_array_equal(volume.ijk_array(), np.asanyarray(image.dataobj))


def test_conformed_volumes(tmp_path):
    path = mgh(tmp_path / "orig.mgz", ARRAY.astype("u1"), axes=CONFORMED, delta=(1, 1, 1))
    assert "LIA" in io.read(path).grid.describe()


@pytest.mark.parametrize("good", [0, -1])
def test_a_header_that_does_not_say_where_voxels_are(tmp_path, good):
    path = mgh(tmp_path / "a.mgz", ARRAY.astype("u1"), axes=OBLIQUE, good=good)
    with pytest.warns(SammedWarning, match="its goodRASFlag is 0.*FreeSurfer's default was assum"):
        volume = io.read(path)
    np.testing.assert_allclose(volume.ras_affine[:3, :3], CONFORMED.T)
    np.testing.assert_allclose(geometry.apply_affine(volume.ras_affine, [5.5, 3.5, 2.5]), 0)


def test_frames(tmp_path):
    frames = np.concatenate([ARRAY, ARRAY + 1000]).astype("i4")
    path = mgh(tmp_path / "a.mgz", frames)
    with pytest.raises(InputError, match="holds 2 frames"):
        io.read(path)
    volume = io.read(path, frame=1)
    np.testing.assert_array_equal(volume.ijk_array(), frames[1].transpose(2, 1, 0))
    assert "frame 1 of 2 was read" in volume.notes


def test_labels_keep_their_values(tmp_path):
    """As in aparc.a2009s+aseg.mgz."""
    array = np.where(ARRAY % 3 == 0, 12175, np.where(ARRAY % 3 == 1, 17, 0)).astype("i4")
    image = io.read(mgh(tmp_path / "orig.mgz", ARRAY.astype("u1") % 255, axes=CONFORMED))
    labels = io.read_labels(mgh(tmp_path / "a.mgz", array, axes=CONFORMED), like=image)
    np.testing.assert_array_equal(labels.ijk_array(), array[0].transpose(2, 1, 0))
    assert labels.names == {17: "label_17", 12175: "label_12175"}


def test_fractions_are_no_labels(tmp_path):
    with pytest.raises(LabelError, match=r"it holds 0\.5"):
        io.read_labels(mgh(tmp_path / "a.mgz", np.full((1, *SHAPE), 0.5, "f4")))


def test_labels_of_it_in_a_format_that_is_written(tmp_path):
    image = io.read(mgh(tmp_path / "a.mgz", ARRAY.astype("i4"), axes=OBLIQUE))
    labels = LabelVolume((image.voxels > 99).astype(np.uint8), image.grid, {1: "a"})
    for name in ("b.nii.gz", "b.seg.nrrd", "b.mha"):
        io.write_labels(labels, tmp_path / name)
        again = io.read_labels(tmp_path / name, like=image)
        np.testing.assert_array_equal(again.voxels, labels.voxels)


# --- damage


@pytest.mark.parametrize("name", ["a.mgh", "a.mgz"])
@pytest.mark.parametrize("keep", [0.1, 0.5, -3])
def test_truncated(tmp_path, name, keep):
    noise = np.random.default_rng(0).integers(0, 9999, (1, *SHAPE)).astype("i4")
    path = mgh(tmp_path / name, noise)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep > 0 else keep])
    with pytest.raises(UnreadableFileError) as caught:
        io.read(path)
    assert "\n" not in str(caught.value)


def test_one_flipped_bit(tmp_path):
    path = mgh(tmp_path / "a.mgz", ARRAY.astype("i4"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(UnreadableFileError, match="damaged"):
        io.read(path)


@pytest.mark.parametrize("name", ["a.mgh", "a.mgz"])
def test_text_renamed(tmp_path, name, capfd, caplog):
    (tmp_path / name).write_text("Dear Sir or Madam, " * 100)
    with pytest.raises(UnreadableFileError, match="is not a FreeSurfer volume"):
        io.read(tmp_path / name)
    assert capfd.readouterr().err == ""
    assert not caplog.records


def test_absurd_extents(tmp_path):
    data = bytearray(mgh(tmp_path / "a.mgh", ARRAY.astype("i4")).read_bytes())
    for extents, message in (
        ((32000,) * 3, "promises"),
        ((-1, 7, 5), "no voxels"),
        ((0, 7, 5), "no"),
    ):
        data[4:16] = np.array(extents, ">i4").tobytes()
        (tmp_path / "a.mgh").write_bytes(data)
        with pytest.raises(UnreadableFileError, match=message):
            io.read(tmp_path / "a.mgh")


def test_unknown_type(tmp_path):
    with pytest.raises(
        UnsupportedFormatError, match=r"FreeSurfer's type 2; expected one of 0 uint8"
    ):
        io.read(mgh(tmp_path / "a.mgz", ARRAY.astype("i4"), code=2))


def test_axes_that_are_none(tmp_path):
    for axes in (np.zeros((3, 3)), [[1, 0, 0], [1, 1, 0], [0, 0, 1]], np.full((3, 3), np.nan)):
        path = mgh(tmp_path / "a.mgz", ARRAY.astype("i4"), axes=np.asarray(axes))
        with pytest.raises(OrientationError):
            io.read(path)


def test_packed_or_not_is_told_by_content(tmp_path):
    data = gzip.decompress(mgh(tmp_path / "a.mgz", ARRAY.astype("i4")).read_bytes())
    (tmp_path / "b.mgz").write_bytes(data)
    np.testing.assert_array_equal(io.read(tmp_path / "b.mgz").ijk_array().T, ARRAY[0])
