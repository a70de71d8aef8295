"""One scan, stored in any of 48 ways, typed in its own indices: one label map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from sammed import api, io
from sammed.engine.settings import Settings
from sammed.imaging import geometry
from sammed.imaging.boxes import Box3D
from sammed.imaging.volume import Volume
from sammed.models.baselines import TwoClassBaseline
from sammed.models.protocols import ImageModel
from sammed.prompts import BoxPrompt
from tests.phantoms import (
    OBLIQUE,
    ORDERS,
    ORGAN,
    StubModel,
    affine_of,
    block_of,
    dice,
    image_of,
    reordered,
    save_nifti,
    slice_box,
)

IMAGE = image_of(ORGAN, noise=25)

Prompts = Callable[[Volume], dict[str, object]]


def typed_block(block: Box3D, volume: Volume) -> str:
    """A block of canonical voxels as a person would read it off a viewer of the file."""
    ends = volume.grid.file_index(np.array([block.low, np.array(block.high) - 1]))
    return ",".join(f"{v:.0f}" for v in (*ends.min(axis=0), *(ends.max(axis=0) + 1)))


def typed_box(box: BoxPrompt, volume: Volume) -> str:
    corners = typed_block(box.block, volume).split(",")
    axis = volume.grid.file_axis(box.axis)
    across = "ijk".index(axis)
    sides = [v for n, v in enumerate(corners) if n % 3 != across]
    return f"{','.join(sides)}@{axis}={corners[across]}"


def with_2d_box(volume: Volume) -> dict[str, object]:
    return {"box": f"organ={typed_box(slice_box(ORGAN, 8), volume)}"}


def with_3d_box(volume: Volume) -> dict[str, object]:
    return {"box": f"organ={typed_block(block_of(ORGAN), volume)}"}


def with_millimetres(volume: Volume) -> dict[str, object]:
    del volume
    corners = block_of(ORGAN).corners(affine_of(degrees=(4, -3, 6))) * [-1, -1, 1]
    low, high = corners.min(axis=0), corners.max(axis=0)
    return {"box": ",".join(f"{v:.4f}" for v in (*low, *high)), "space": "ras"}


def with_points(volume: Volume) -> dict[str, object]:
    inside = volume.grid.file_index(np.array([8, 17, 24])).astype(int)
    outside = volume.grid.file_index(np.array([9, 3, 4])).astype(int)
    text = [",".join(map(str, inside)), ",".join(map(str, outside)) + ",-"]
    return {"point": text}


def label_map(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The written labels as another reader brings them to RAS order, with their affine."""
    image = nibabel.as_closest_canonical(nibabel.load(path))
    return np.asarray(image.dataobj), image.affine


def run(
    path: Path,
    prompts: Prompts,
    model: ImageModel,
    affine: np.ndarray = OBLIQUE,
    **settings: object,
) -> tuple[np.ndarray, np.ndarray]:
    labels = api.segment(
        path,
        **prompts(io.read(path)),
        model=model,
        settings=Settings(**settings),  # type: ignore[arg-type]
    )
    out = path.with_name("out.nii.gz")
    io.write_labels(labels, out, force=True)
    image, written = nibabel.load(path), nibabel.load(out)
    assert written.shape == image.shape
    np.testing.assert_array_equal(written.affine, image.affine)
    return label_map(out)


def stored(folder: Path, number: int, affine: np.ndarray = OBLIQUE) -> Path:
    array, stored_affine = reordered(IMAGE, affine, *ORDERS[number])
    return save_nifti(folder / "ct.nii", array, stored_affine)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("prompts", "model", "settings", "step"),
    [
        (with_2d_box, StubModel(64, zoom=1.5), {}, 1),
        (with_3d_box, StubModel(52), {}, 1),
        (with_3d_box, StubModel(64, zoom=1.5), {"plane": "all"}, 5),
        (with_points, StubModel(64, zoom=1.5), {}, 5),
    ],
    ids=["2d box", "3d box", "all planes", "points"],
)
def test_all_48_files_give_one_label_map(tmp_path, prompts, model, settings, step):
    results = [run(stored(tmp_path, n), prompts, model, **settings) for n in range(0, 48, step)]
    first, first_affine = results[0]
    assert dice(first.transpose(2, 1, 0)[:, ::-1, ::-1], ORGAN) > 0.95
    for voxels, affine in results[1:]:
        np.testing.assert_array_equal(voxels, first)
        np.testing.assert_allclose(affine, first_affine, atol=1e-4)


def test_millimetres_give_one_label_map(tmp_path):
    tilted = affine_of(degrees=(4, -3, 6))
    model = StubModel(64, zoom=1.5)
    results = [
        run(stored(tmp_path, n, tilted), with_millimetres, model)[0] for n in range(0, 48, 5)
    ]
    assert results[0].any()
    for voxels in results[1:]:
        np.testing.assert_array_equal(voxels, results[0])


@pytest.mark.parametrize("degrees", [(0, 0, 45), (45, 0, 0)])
def test_axes_half_way_between_two_directions(tmp_path, degrees):
    """Which of two axes is called what is a tie; it must not depend on the file."""
    affine = affine_of(degrees=degrees)
    found = []
    for number in range(0, 48, 5):
        path = stored(tmp_path, number, affine)
        volume = io.read(path)
        corners = geometry.index_from_world(volume.affine, block_of(ORGAN).corners(affine))
        box = typed_block(Box3D.from_index_corners(corners), volume)
        found.append(api.segment(path, box=box, model=StubModel(64, zoom=1.5)).voxels)
    assert found[0].sum() == pytest.approx(ORGAN.sum(), rel=0.05)
    for voxels in found[1:]:
        np.testing.assert_array_equal(voxels, found[0])


@pytest.mark.thorough
@pytest.mark.parametrize("prompts", [with_2d_box, with_3d_box], ids=["2d box", "3d box"])
def test_a_real_model_sees_the_same_in_every_order(tmp_path, prompts):
    results = [
        run(stored(tmp_path, n), prompts, TwoClassBaseline(), window="400/40")
        for n in range(0, 48, 9)
    ]
    for voxels, _ in results[1:]:
        np.testing.assert_array_equal(voxels, results[0][0])
    assert results[0][0].any()


def test_formats_agree(tmp_path):
    """The same scan as NRRD and MetaImage gives the label map of the NIfTI, voxel by voxel."""
    for number in (0, 17, 42):
        path = stored(tmp_path, number)
        expected, _ = run(path, with_2d_box, StubModel(64, zoom=1.5))
        for name in ("ct.nrrd", "ct.mha"):
            other = tmp_path / name
            sitk.WriteImage(sitk.ReadImage(str(path)), str(other))
            labels = api.segment(
                other, **with_2d_box(io.read(other)), model=StubModel(64, zoom=1.5)
            )
            io.write_labels(labels, tmp_path / "o.nii.gz", force=True)
            np.testing.assert_array_equal(label_map(tmp_path / "o.nii.gz")[0], expected)
