from __future__ import annotations

import resource
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from sammed import io
from sammed.errors import (
    InputError,
    LabelError,
    OrientationError,
    OutputError,
    UnreadableFileError,
    UnsupportedFormatError,
)
from sammed.imaging import geometry
from sammed.imaging.volume import LabelVolume

from .conftest import SHAPE, oblique_affine

SUFFIXES = [".nrrd", ".nhdr", ".mha", ".mhd"]


def image(array: np.ndarray | None = None, is_vector: bool = False) -> sitk.Image:
    """A SimpleITK image on the oblique grid."""
    if array is None:
        array = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.int16)
    result = sitk.GetImageFromArray(array, isVector=is_vector)
    ijk = oblique_affine()[:, [2, 1, 0, 3]]
    spacing = np.linalg.norm(ijk[:3, :3], axis=0)
    result.SetSpacing(spacing.tolist())
    result.SetDirection((ijk[:3, :3] / spacing).ravel().tolist())
    result.SetOrigin(ijk[:3, 3].tolist())
    return result


def save(path: Path, what: sitk.Image, compress: bool = True) -> Path:
    sitk.WriteImage(what, str(path), useCompression=compress)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("compress", [True, False])
def test_index_and_world_agree_with_simpleitk(tmp_path, suffix, compress):
    reference = image()
    volume = io.read(save(tmp_path / f"a{suffix}", reference, compress))
    for ijk in [(0, 0, 0), (10, 6, 4), (3, 1, 2)]:
        zyx = volume.grid.canonical_index(np.array(ijk))
        assert volume.voxels[tuple(np.rint(zyx).astype(int))] == reference[ijk]
        lps = geometry.apply_affine(volume.affine, zyx)
        np.testing.assert_allclose(lps, reference.TransformIndexToPhysicalPoint(ijk), atol=1e-9)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_label_map_has_the_grid_of_the_file(tmp_path, suffix):
    reference = image()
    volume = io.read(save(tmp_path / f"a{suffix}", reference))
    labels = LabelVolume((volume.voxels > 50).astype(np.uint8), volume.grid, {1: "a"})
    io.write_labels(labels, tmp_path / f"b{suffix}")
    written = sitk.ReadImage(str(tmp_path / f"b{suffix}"))
    assert written.GetSpacing() == pytest.approx(reference.GetSpacing(), abs=1e-12)
    assert written.GetOrigin() == pytest.approx(reference.GetOrigin(), abs=1e-9)
    assert written.GetDirection() == pytest.approx(reference.GetDirection(), abs=1e-12)
    expected = sitk.GetArrayFromImage(reference) > 50
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), expected)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("flips", list(product([True, False], repeat=3)))
def test_all_48_axis_orders_are_one_volume(tmp_path, order, flips):
    straight = io.read(save(tmp_path / "a.nrrd", image()))
    turned = sitk.Flip(sitk.PermuteAxes(image(), order), flips)
    volume = io.read(save(tmp_path / "b.nrrd", turned))
    np.testing.assert_array_equal(volume.voxels, straight.voxels)
    np.testing.assert_allclose(volume.affine, straight.affine, atol=1e-9)
    labels = LabelVolume(volume.voxels.astype(np.uint16), volume.grid, {1: "a"})
    io.write_labels(labels, tmp_path / "c.nrrd")
    written = sitk.ReadImage(str(tmp_path / "c.nrrd"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), sitk.GetArrayFromImage(turned))
    assert written.GetOrigin() == pytest.approx(turned.GetOrigin(), abs=1e-9)


def test_nifti_labels_on_a_nrrd_image(tmp_path):
    volume = io.read(save(tmp_path / "a.nrrd", image()))
    labels = LabelVolume((volume.voxels > 50).astype(np.uint8), volume.grid, {1: "a"})
    io.write_labels(labels, tmp_path / "b.nii.gz")
    again = io.read_labels(tmp_path / "b.nii.gz", like=volume)
    np.testing.assert_array_equal(again.voxels, labels.voxels)
    assert again.grid is volume.grid


def test_space_ras(tmp_path):
    save(tmp_path / "a.nrrd", image(), compress=False)
    data = (tmp_path / "a.nrrd").read_bytes()
    data = data.replace(b"left-posterior-superior", b"right-anterior-superior")
    (tmp_path / "b.nrrd").write_bytes(data)
    expected = geometry.RAS_FROM_LPS @ io.read(tmp_path / "a.nrrd").grid.affine
    np.testing.assert_allclose(io.read(tmp_path / "b.nrrd").grid.affine, expected, atol=1e-9)


def test_two_dimensions(tmp_path):
    flat = sitk.GetImageFromArray(np.arange(77).reshape(7, 11).astype(np.uint8))
    flat.SetSpacing((0.7, 0.8))
    volume = io.read(save(tmp_path / "a.mha", flat))
    assert volume.shape == (1, 7, 11)
    assert volume.spacing == (1.0, 0.8, 0.7)
    labels = LabelVolume((volume.voxels > 50).astype(np.uint8), volume.grid, {1: "a"})
    io.write_labels(labels, tmp_path / "b.mha")
    assert sitk.ReadImage(str(tmp_path / "b.mha")).GetSize() == (11, 7)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_frames(tmp_path, suffix):
    stack = sitk.JoinSeries([image() + 1000 * t for t in range(3)])
    path = save(tmp_path / f"a{suffix}", stack)
    with pytest.raises(InputError, match=r"holds 3 frames; choose one with --frame"):
        io.read(path)
    volume = io.read(path, frame=2)
    stored = volume.grid.reorientation.invert(volume.voxels)
    np.testing.assert_array_equal(stored, sitk.GetArrayFromImage(image()) + 2000)
    np.testing.assert_allclose(volume.grid.affine, oblique_affine(), atol=1e-9)


def test_components_are_frames(tmp_path):
    array = np.arange(np.prod(SHAPE) * 5).reshape(*SHAPE, 5).astype(np.int16)
    path = save(tmp_path / "a.nrrd", image(array, is_vector=True))
    with pytest.raises(InputError, match=r"holds 5 frames"):
        io.read(path)
    volume = io.read(path, frame=4)
    np.testing.assert_array_equal(volume.grid.reorientation.invert(volume.voxels), array[..., 4])


@pytest.mark.parametrize("channels", [3, 4])
def test_colour(tmp_path, channels):
    array = np.random.default_rng(0).integers(0, 255, (*SHAPE, channels)).astype(np.uint8)
    volume = io.read(save(tmp_path / "a.nrrd", image(array, is_vector=True)))
    assert volume.is_colour
    np.testing.assert_array_equal(volume.grid.reorientation.invert(volume.voxels), array[..., :3])
    io.write_volume(volume, tmp_path / "b.mha")
    np.testing.assert_array_equal(io.read(tmp_path / "b.mha").voxels, volume.voxels)


def test_complex_is_refused(tmp_path):
    path = save(tmp_path / "a.mha", sitk.Cast(image(), sitk.sitkComplexFloat32))
    with pytest.raises((UnsupportedFormatError, InputError), match=r"complex|frames"):
        io.read(path)


def test_sheared_is_refused(tmp_path):
    save(tmp_path / "a.mha", image(), compress=False)
    data = (tmp_path / "a.mha").read_bytes()
    start = data.index(b"TransformMatrix")
    end = data.index(b"\n", start)
    sheared = b"TransformMatrix = 1 0 0 0.4 0.9165151 0 0 0 1"
    (tmp_path / "b.mha").write_bytes(data[:start] + sheared + data[end:])
    with pytest.raises((OrientationError, UnreadableFileError), match=r"sheared|orthogonal|det"):
        io.read(tmp_path / "b.mha")


def test_fractions_are_no_labels(tmp_path):
    path = save(tmp_path / "a.nrrd", sitk.Cast(image(), sitk.sitkFloat32) * 0.5)
    with pytest.raises(LabelError, match=r"holds 0\.5"):
        io.read_labels(path)


# --- damage


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_text_renamed(tmp_path, suffix, capfd):
    (tmp_path / f"a{suffix}").write_text("Dear Sir or Madam, " * 100)
    with pytest.raises(UnreadableFileError, match=r"not a .* file, whatever its name says"):
        io.read(tmp_path / f"a{suffix}")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("keep", [0.1, 0.7, -3])
def test_truncated(tmp_path, suffix, compress, keep, capfd):
    array = np.random.default_rng(0).integers(0, 9999, SHAPE).astype(np.int16)
    path = save(tmp_path / f"a{suffix}", image(array), compress)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep > 0 else int(keep)])
    with pytest.raises(UnreadableFileError) as caught:
        io.read(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_flipped_bit_in_compressed_data(tmp_path, suffix):
    array = np.random.default_rng(0).integers(0, 9999, SHAPE).astype(np.int16)
    path = save(tmp_path / f"a{suffix}", image(array))
    data_file = max(tmp_path.iterdir(), key=lambda file: file.stat().st_size)
    data = bytearray(data_file.read_bytes())
    data[-200] ^= 4
    data_file.write_bytes(data)
    with pytest.raises(UnreadableFileError, match="damaged"):
        io.read(path)


@pytest.mark.parametrize("suffix", [".nhdr", ".mhd"])
def test_missing_data_file(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}", image())
    for file in tmp_path.iterdir():
        if file != path:
            file.unlink()
    with pytest.raises(UnreadableFileError) as caught:
        io.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_absurd_extents(tmp_path, suffix):
    save(tmp_path / f"a{suffix}", image(), compress=False)
    data = (tmp_path / f"a{suffix}").read_bytes().replace(b"11 7 5", b"32000 32000 32000")
    (tmp_path / f"a{suffix}").write_bytes(data)
    with pytest.raises(UnreadableFileError, match="the header promises"):
        io.read(tmp_path / f"a{suffix}")


def test_header_without_an_end_does_not_crash(tmp_path):
    array = np.random.default_rng(0).integers(0, 9999, (20, 30, 40)).astype(np.int16)
    path = save(tmp_path / "a.mha", image(array))
    data = bytearray(path.read_bytes())
    data[data.index(b"LOCAL") + 5] = 0x4A  # was the line's end
    path.write_bytes(data)
    with pytest.raises(UnreadableFileError, match="header is damaged"):
        io.read(path)


# --- writing


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_pair_is_written_whole_and_protected(tmp_path, labels, suffix):
    io.write_labels(labels, tmp_path / f"a{suffix}")
    files = sorted(file.name for file in tmp_path.iterdir())
    assert len(files) == 2
    np.testing.assert_array_equal(io.read_labels(tmp_path / f"a{suffix}").voxels, labels.voxels)
    (tmp_path / f"a{suffix}").unlink()
    with pytest.raises(OutputError, match="exists already"):
        io.write_labels(labels, tmp_path / f"a{suffix}")
    io.write_labels(labels, tmp_path / f"a{suffix}", force=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == files


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_full_disk(tmp_path, labels, suffix, capfd):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OutputError, match="cannot write") as caught:
            io.write_labels(labels, tmp_path / f"a{suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == ""
