"""Every real image and label: read, written back, and placed alike by two other readers."""

from __future__ import annotations

import warnings

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from sammed import io
from sammed.imaging.volume import LabelVolume

from .conftest import DATA, cases

CASES = cases()
if not CASES:
    pytest.skip("the real volumes of ../shared/data are not here", allow_module_level=True)

EIGHT = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
TOLERANCE_MM = 1e-4


def by_nibabel(path) -> np.ndarray:
    """The eight corner voxels in LPS mm."""
    image = nibabel.load(path)
    corners = EIGHT * (np.array(image.shape[:3]) - 1)
    return nibabel.affines.apply_affine(image.affine, corners) * [-1, -1, 1]


def by_simpleitk(path) -> np.ndarray:
    """The eight corner voxels in LPS mm."""
    image = sitk.ReadImage(str(path))
    corners = EIGHT * (np.array(image.GetSize()) - 1)
    return np.array([image.TransformIndexToPhysicalPoint(c.tolist()) for c in corners])


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_written_labels_lie_on_the_image(tmp_path, case):
    image = DATA / case["image"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        volume = io.read(image)
    mask = LabelVolume(
        (volume.voxels.reshape(*volume.shape, -1)[..., 0] > 0).astype(np.uint8),
        volume.grid,
        {1: "a"},
    )
    for name in ("a.nii.gz", "a.nrrd", "a.mha"):
        io.write_labels(mask, tmp_path / name)
        itk = by_simpleitk(tmp_path / name)
        np.testing.assert_allclose(itk, by_simpleitk(image), atol=TOLERANCE_MM)
        np.testing.assert_allclose(itk, by_nibabel(image), atol=TOLERANCE_MM)
    np.testing.assert_allclose(
        by_nibabel(tmp_path / "a.nii.gz"), by_nibabel(image), atol=TOLERANCE_MM
    )
    stored = np.asanyarray(nibabel.load(tmp_path / "a.nii.gz").dataobj)
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.nrrd"))), stored.transpose(2, 1, 0)
    )


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_reference_labels_come_back_exactly(tmp_path, case):
    names = {int(value): name for value, name in case["labels"].items()}
    volume = io.read(DATA / case["image"])
    labels = io.read_labels(DATA / case["label"], like=volume, names=names)
    assert set(names) <= set(np.unique(labels.voxels).tolist())
    io.write_labels(labels, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(
        np.asanyarray(nibabel.load(tmp_path / "a.nii.gz").dataobj),
        np.asanyarray(nibabel.load(DATA / case["label"]).dataobj),
    )
    again = io.read_labels(tmp_path / "a.nii.gz", like=volume)
    assert again.names == labels.names
