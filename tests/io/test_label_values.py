"""What counts as a label: rounding, NaN, and what a message says of the rest. In every format."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from sammed import io
from sammed.errors import InputError, LabelError, SammedWarning
from sammed.imaging.volume import Volume
from sammed.io.conversion import convert
from sammed.io.memory import volume_of
from sammed.io.voxels import WHOLE_TOLERANCE, labels_from_volume

from .conftest import SHAPE

LABELS = np.zeros(SHAPE)
LABELS[1:3, 2:5, 3:9] = 1
LABELS[3:5, 4:6, 1:4] = 6
FORMATS = ["nii.gz", "nrrd", "mha", "seg.nrrd", "tif"]


def save(path, array):
    """(k, j, i) floats in any format that holds them."""
    if path.suffix == ".gz":
        nibabel.save(nibabel.Nifti1Image(array.transpose(2, 1, 0), np.eye(4)), path)
    elif path.suffix == ".tif":
        sitk.WriteImage(sitk.GetImageFromArray(array.astype(np.float32)), str(path))
    else:
        sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return path


def stored(labels):
    return labels.file_array()


@pytest.fixture(params=FORMATS)
def path(request, tmp_path):
    return tmp_path / f"a.{request.param}"


@pytest.mark.parametrize("off", [1e-6, -4e-5, 9e-4])
def test_nearly_whole_numbers_are_rounded_and_counted(path, off):
    labels = io.read_labels(save(path, LABELS + off * (LABELS > 0)))
    np.testing.assert_array_equal(stored(labels), LABELS)
    count = np.count_nonzero(LABELS)
    assert any(f"{count} voxels are no whole numbers" in note for note in labels.notes)


def test_nearly_zero_is_background(path):
    np.testing.assert_array_equal(stored(io.read_labels(save(path, LABELS - 3e-4))), LABELS)


def test_whole_floats_say_nothing_of_rounding(path):
    assert not any("rounded" in note for note in io.read_labels(save(path, LABELS)).notes)


def test_other_fractions_are_refused_with_their_digits(path):
    array = LABELS.copy()
    array[0, 0, 0] = 1.00125
    with pytest.raises(LabelError, match=r"it holds 1\.00125\d*, expected whole numbers"):
        io.read_labels(save(path, array))


def test_nan_is_background(path):
    with pytest.warns(SammedWarning, match="voxels are NaN; in a label map that is background"):
        labels = io.read_labels(save(path, np.where(LABELS == 0, np.nan, LABELS)))
    np.testing.assert_array_equal(stored(labels), LABELS)
    assert any(f"{(LABELS == 0).sum()} voxels are NaN" in note for note in labels.notes)


@pytest.mark.parametrize("value", [np.inf, -np.inf, -1, 65536, 1e9])
def test_what_is_no_label(path, value):
    array = LABELS.copy()
    array[0, 0, 0] = value
    with pytest.raises(LabelError, match="values run from"):
        io.read_labels(save(path, array))


def test_nothing_but_nan(path):
    with pytest.raises(LabelError, match="all its 385 voxels are NaN"):
        io.read_labels(save(path, np.full(SHAPE, np.nan)))


def test_nan_in_an_image_is_still_the_smallest_value(tmp_path):
    path = save(tmp_path / "a.nii.gz", np.where(LABELS == 0, np.nan, LABELS))
    with pytest.warns(SammedWarning, match="replaced by the smallest finite value, 1"):
        assert io.read(path).voxels.min() == 1


def test_labels_scaled_to_sixteen_bits(tmp_path):
    """nibabel saves floats under the int16 header of the image that they came from so."""
    header = nibabel.Nifti1Image(LABELS.astype(np.int16), np.eye(4)).header
    image = nibabel.Nifti1Image(LABELS.transpose(2, 1, 0), np.eye(4), header)
    nibabel.save(image, tmp_path / "a.nii.gz")
    labels = io.read_labels(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(stored(labels), LABELS)
    assert any("they were rounded" in note for note in labels.notes)


@pytest.mark.parametrize("kind", ["nibabel", "sitk", "pair", "volume"])
def test_in_memory(kind):
    array = np.where(LABELS == 0, np.nan, LABELS + 1e-5)
    given = {
        "nibabel": nibabel.Nifti1Image(array.transpose(2, 1, 0), np.eye(4)),
        "sitk": sitk.GetImageFromArray(array),
        "pair": (array.transpose(2, 1, 0), np.eye(4)),
        "volume": Volume.from_array(array, np.eye(4)),
    }[kind]
    with pytest.warns(SammedWarning, match="voxels are NaN"):
        labels = labels_from_volume(volume_of(given, keep_nan=True))
    np.testing.assert_array_equal(stored(labels), LABELS)
    assert np.isnan(array).any(), "what somebody else owns was written to"


def test_a_frame_of_labels(tmp_path):
    stack = np.stack([LABELS, np.where(LABELS == 0, np.nan, LABELS)], -1).transpose(2, 1, 0, 3)
    nibabel.save(nibabel.Nifti1Image(stack, np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.warns(SammedWarning, match="voxels are NaN"):
        convert(tmp_path / "a.nii.gz", [tmp_path / "b.seg.nrrd"], as_labels=True, frame=1)
    np.testing.assert_array_equal(stored(io.read_labels(tmp_path / "b.seg.nrrd")), LABELS)


def test_segments_have_no_frames(tmp_path, labels):
    io.write_labels(labels, tmp_path / "a.seg.nrrd")
    with pytest.raises(InputError, match=r"neither frames nor series; leave out --frame"):
        io.read_labels(tmp_path / "a.seg.nrrd", frame=1)


@pytest.mark.parametrize("suffix", ["nii.gz", "seg.nrrd"])
def test_only_some_structures(tmp_path, labels, suffix):
    path = tmp_path / f"a.{suffix}"
    io.write_labels(labels, path)
    found = io.read_labels(path, only=["Spleen"])
    assert found.names == {3: "spleen"}
    np.testing.assert_array_equal(found.voxels, np.where(labels.voxels == 3, 3, 0))
    with pytest.raises(LabelError, match="has no structure heart; it has liver"):
        io.read_labels(path, only=["heart"])


def test_the_tolerance_is_the_documented_one():
    assert WHOLE_TOLERANCE == 1e-3
