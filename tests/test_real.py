"""Real scans, where they are at hand: quality, invariance, and the grid in other readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from sammed import api, io
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.volume import Volume
from sammed.models import registry
from sammed.models.protocols import ImageModel
from tests.phantoms import DATA, ORDERS, dice

CASES: list[dict[str, Any]] = (
    json.loads((DATA / "cases.json").read_text())["cases"]
    if (DATA / "cases.json").is_file()
    else []
)
SPLEEN = DATA / "ivadomed/ct_scan/sub-spleen2/ct/sub-spleen2_ct.nii.gz"
MANUAL = DATA / (
    "ivadomed/ct_scan/derivatives/labels/sub-spleen2/ct/sub-spleen2_ct_seg-manual.nii.gz"
)
GRID_MM = 1e-4

has_cases = pytest.mark.skipif(not CASES, reason="the real cases are not beside this checkout")
has_spleen = pytest.mark.skipif(
    not (SPLEEN.is_file() and MANUAL.is_file() and registry.info("compact").available),
    reason="the spleen or compact's weights are not here",
)


@pytest.fixture(scope="module")
def compact() -> ImageModel:
    return registry.build("compact")


def turned(source: Path, number: int, path: Path) -> Path:
    """The same scan stored in another of the 48 ways."""
    order, flips = ORDERS[number]
    orientation = np.array(list(zip(order, flips, strict=True)))
    nibabel.save(nibabel.load(source).as_reoriented(orientation), path)
    return path


def typed(block: Box3D, volume: Volume) -> list[int]:
    """``[i0, j0, k0, i1, j1, k1]`` of canonical voxels in the file's own indices."""
    ends = volume.grid.file_index(np.array([block.low, np.array(block.high) - 1]))
    return [round(float(v)) for v in (*ends.min(axis=0), *(ends.max(axis=0) + 1))]


def box_3d(truth: np.ndarray, volume: Volume) -> str:
    return ",".join(map(str, typed(Box3D.from_mask(truth), volume)))


def box_2d(truth: np.ndarray, volume: Volume) -> str:
    """The box of the largest axial slice."""
    index = int(np.argmax(truth.sum(axis=(1, 2))))
    block = Box3D.on_slice(Box2D.from_mask(truth[index]), 0, index)
    axis = volume.grid.file_axis(0)
    corners, across = typed(block, volume), "ijk".index(axis)
    sides = [v for n, v in enumerate(corners) if n % 3 != across]
    return f"{','.join(map(str, sides))}@{axis}={corners[across]}"


def spleen(image: Path, manual: Path, kind: str, model: ImageModel) -> tuple[float, np.ndarray]:
    """Dice against the manual label, and the written label map brought to RAS order."""
    volume = io.read(image)
    truth = io.read_labels(manual, like=volume).voxels > 0
    box = box_3d(truth, volume) if kind == "3d" else box_2d(truth, volume)
    labels = api.segment(image, box=f"spleen={box}", model=model)
    out = image.parent / "out.nii.gz"
    io.write_labels(labels, out, force=True)
    voxels = np.asarray(nibabel.as_closest_canonical(nibabel.load(out)).dataobj)
    return dice(labels.voxels, truth), voxels


@has_spleen
@pytest.mark.parametrize(("kind", "least"), [("3d", 0.85), ("2d", 0.75)])
def test_one_box_on_the_spleen(tmp_path, compact, kind, least):
    """One 3D box, or one box on the largest slice with no range given."""
    image, manual = turned(SPLEEN, 0, tmp_path / "ct.nii"), turned(MANUAL, 0, tmp_path / "m.nii")
    assert spleen(image, manual, kind, compact)[0] >= least


def same_in(folder: Path, model: ImageModel, kind: str, numbers: list[int]) -> None:
    scores, voxels = [], []
    for number in numbers:
        image = turned(SPLEEN, number, folder / "ct.nii")
        manual = turned(MANUAL, number, folder / "m.nii")
        score, found = spleen(image, manual, kind, model)
        scores.append(score)
        voxels.append(found)
    assert set(scores) == {scores[0]}
    for other in voxels[1:]:
        np.testing.assert_array_equal(other, voxels[0])


@pytest.mark.thorough
@has_spleen
@pytest.mark.parametrize("kind", ["3d", "2d"])
def test_the_spleen_is_the_same_in_some_orders(tmp_path, compact, kind):
    same_in(tmp_path, compact, kind, [0, 13, 29, 47])


@pytest.mark.slow
@has_spleen
@pytest.mark.parametrize("kind", ["3d", "2d"])
def test_the_spleen_is_the_same_in_all_48_orders(tmp_path, compact, kind):
    same_in(tmp_path, compact, kind, list(range(48)))


# -- the grid --------------------------------------------------------------------------------


def corners_itk(path: Path) -> np.ndarray:
    """LPS mm of the eight corner voxels, as SimpleITK sees them."""
    image = sitk.ReadImage(str(path))
    size = [*image.GetSize(), 1][:3]
    corners = [[c * (n - 1) for c, n in zip(at, size, strict=True)] for at in np.ndindex(2, 2, 2)]
    if image.GetDimension() == 2:
        return np.array([[*image.TransformIndexToPhysicalPoint(c[:2]), 0.0] for c in corners])
    return np.array([image.TransformIndexToPhysicalPoint(c) for c in corners])


def corners_nibabel(path: Path) -> np.ndarray:
    image = nibabel.load(path)
    size = np.array([*image.shape, 1, 1][:3])
    corners = np.array(list(np.ndindex(2, 2, 2))) * (size - 1)
    return nibabel.affines.apply_affine(image.affine, corners) * [-1, -1, 1]


def central_box(volume: Volume) -> str:
    """A box in the middle third of the middle slice across k, in the file's indices."""
    i, j, k = volume.grid.shape[::-1]
    return f"{i // 3},{j // 3},{max(2 * i // 3, i // 3 + 1)},{max(2 * j // 3, j // 3 + 1)}@{k // 2}"


@has_cases
@pytest.mark.parametrize("image", sorted({case["image"] for case in CASES}))
def test_the_output_opens_on_the_image_in_other_readers(tmp_path, image):
    source = DATA / image
    volume = io.read(source)
    labels = api.segment(volume, box=central_box(volume), propagate="off", model="box")
    io.write_labels(labels, tmp_path / "o.nii.gz")
    io.write_labels(labels, tmp_path / "o.nrrd")
    written, original = nibabel.load(tmp_path / "o.nii.gz"), nibabel.load(source)
    assert written.shape == original.shape
    np.testing.assert_array_equal(written.affine, original.affine)
    expected = corners_nibabel(source)
    np.testing.assert_allclose(corners_nibabel(tmp_path / "o.nii.gz"), expected, atol=GRID_MM)
    np.testing.assert_allclose(corners_itk(tmp_path / "o.nii.gz"), expected, atol=GRID_MM)
    np.testing.assert_allclose(corners_itk(source), expected, atol=GRID_MM)
    np.testing.assert_allclose(corners_itk(tmp_path / "o.nrrd"), expected, atol=GRID_MM)
    voxels = np.asarray(written.dataobj)
    i, j, k = (int(v) for v in (np.array(volume.grid.shape[::-1]) // 2))
    assert voxels[i, j, k] == 1
    assert np.array_equal(np.argwhere(voxels)[:, 2], np.full(np.count_nonzero(voxels), k))
    itk = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "o.nrrd")))
    np.testing.assert_array_equal(itk.reshape(voxels.T.shape), voxels.T)
