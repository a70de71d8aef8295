from __future__ import annotations

import gzip
import resource
import tracemalloc
import warnings
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from sammed import io
from sammed.errors import (
    InputError,
    LabelError,
    OrientationError,
    OutputError,
    SammedWarning,
    UnreadableFileError,
    UnsupportedFormatError,
)
from sammed.imaging import geometry
from sammed.imaging.volume import LabelVolume, Volume

from .conftest import SHAPE, oblique_affine

IJK = SHAPE[::-1]
RAS = geometry.affine_to_ras(oblique_affine())
GRID_FIELDS = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "xyzt_units"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)


def save(path: Path, array: np.ndarray, affine: np.ndarray = RAS, **fields: object) -> Path:
    image = nibabel.Nifti1Image(array, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    for name, value in fields.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def counting(dtype: str = "int16") -> np.ndarray:
    return np.arange(np.prod(IJK)).reshape(IJK).astype(dtype)


def test_index_and_world_agree_with_nibabel(tmp_path):
    array = counting()
    volume = io.read(save(tmp_path / "a.nii.gz", array))
    for ijk in [(0, 0, 0), (10, 6, 4), (3, 1, 2)]:
        zyx = volume.grid.canonical_index(np.array(ijk))
        assert volume.voxels[tuple(np.rint(zyx).astype(int))] == array[ijk]
        ras = nibabel.affines.apply_affine(nibabel.load(tmp_path / "a.nii.gz").affine, ijk)
        lps = geometry.apply_affine(volume.affine, zyx)
        np.testing.assert_allclose(lps, ras * [-1, -1, 1], atol=1e-9)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("flips", list(product([1, -1], repeat=3)))
def test_all_48_axis_orders_are_one_volume(tmp_path, order, flips):
    image = nibabel.Nifti1Image(counting(), RAS)
    expected = Volume.from_array(counting().transpose(2, 1, 0), oblique_affine())
    turned = image.as_reoriented(np.array(list(zip(order, flips, strict=True))))
    nibabel.save(turned, tmp_path / "a.nii")
    volume = io.read(tmp_path / "a.nii")
    np.testing.assert_array_equal(volume.voxels, expected.voxels)
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-4)
    labels = LabelVolume(volume.voxels.astype(np.uint16), volume.grid, {1: "a"})
    io.write_labels(labels, tmp_path / "b.nii")
    written = nibabel.load(tmp_path / "b.nii")
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), np.asanyarray(turned.dataobj))
    np.testing.assert_array_equal(written.affine, nibabel.load(tmp_path / "a.nii").affine)


@pytest.mark.parametrize("codes", [(1, 2), (0, 1), (2, 0), (4, 3)])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_label_map_has_the_grid_bit_for_bit(tmp_path, codes, name):
    path = save(tmp_path / name, counting(), xyzt_units=10, cal_max=500, descrip=b"Mr X")
    image = nibabel.load(path)
    image.header["sform_code"], image.header["qform_code"] = codes
    start = gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()
    block = image.header.copy()
    block["vox_offset"] = 352
    data = block.binaryblock + start[348:]
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)

    volume = io.read(path)
    labels = LabelVolume((volume.voxels > 9).astype(np.uint8), volume.grid, {1: "a"})
    io.write_labels(labels, tmp_path / f"out_{name}")
    before, after = nibabel.load(path), nibabel.load(tmp_path / f"out_{name}")
    for field in GRID_FIELDS:
        assert before.header[field].tobytes() == after.header[field].tobytes(), field
    for field in ("pixdim", "dim"):
        assert before.header[field][:4].tobytes() == after.header[field][:4].tobytes(), field
    assert (before.header["sform_code"], before.header["qform_code"]) == codes
    assert after.get_data_dtype() == np.uint8
    assert after.header["cal_max"] == 0
    assert b"Mr X" not in after.header.binaryblock
    np.testing.assert_array_equal(np.asanyarray(after.dataobj), np.asanyarray(before.dataobj) > 9)


def test_labels_of_a_volume_that_was_no_nifti(tmp_path, labels):
    io.write_labels(labels, tmp_path / "a.nii.gz")
    image = nibabel.load(tmp_path / "a.nii.gz")
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    np.testing.assert_allclose(image.get_sform(), RAS, atol=1e-4)
    np.testing.assert_allclose(image.get_qform(), RAS, atol=1e-4)
    other = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    corner = other.TransformIndexToPhysicalPoint([10, 6, 4])
    np.testing.assert_allclose(corner, geometry.apply_affine(labels.affine, [4, 6, 10]), atol=1e-4)


def test_names_and_colours_come_back(tmp_path, labels):
    io.write_labels(labels, tmp_path / "a.nii.gz")
    again = io.read_labels(tmp_path / "a.nii.gz")
    assert again.names == {1: "liver <left>", 3: "spleen"}
    assert again.colours[3] == (10, 20, 30)
    np.testing.assert_array_equal(again.voxels, labels.voxels)


def test_label_table_of_other_programs_is_read(tmp_path):
    table = (
        b'<?xml version="1.0" encoding="UTF-8"?> <CaretExtension><VolumeInformation Index="0">'
        b'<LabelTable><Label Key="2" Red="1" Green="0.5" Blue="0" Alpha="1">'
        b"<![CDATA[kidney_right]]></Label></LabelTable></VolumeInformation></CaretExtension>"
    )
    image = nibabel.Nifti1Image((counting("uint8") % 3), RAS)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, table))
    nibabel.save(image, tmp_path / "a.nii.gz")
    labels = io.read_labels(tmp_path / "a.nii.gz")
    assert labels.names == {1: "label_1", 2: "kidney_right"}
    assert labels.colours == {2: (255, 128, 0)}


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe nonsense",
        b"<LabelTable><Label Key='x'>",
        b"<?xml version='1.0' encoding='UTF-T'?><LabelTable/>",
        b"<!DOCTYPE a><LabelTable/>",
    ],
)
def test_foreign_extensions_do_no_harm(tmp_path, content):
    image = nibabel.Nifti1Image(counting("uint8") % 2, RAS)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, content))
    nibabel.save(image, tmp_path / "a.nii")
    assert io.read_labels(tmp_path / "a.nii").names == {1: "label_1"}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_number_types(tmp_path, order, dtype):
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(dtype)
    array = counting(dtype)
    nibabel.save(nibabel.Nifti1Image(array, RAS, header), tmp_path / "a.nii.gz")
    volume = io.read(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(volume.grid.reorientation.invert(volume.voxels).T, array)
    assert volume.voxels.dtype.isnative
    expected = {"i8": "int32", "f8": "float32"}.get(dtype, np.dtype(dtype).name)
    assert volume.voxels.dtype.name == expected


def test_slope_and_intercept(tmp_path):
    array = counting()
    image = nibabel.Nifti1Image(array, RAS)
    image.header.set_slope_inter(0.5, -10)
    with open(tmp_path / "a.nii", "wb") as file:
        image.header["vox_offset"] = 352
        image.header["scl_slope"], image.header["scl_inter"] = 0.5, -10
        image.header.write_to(file)
        file.write(array.tobytes(order="F"))
    volume = io.read(tmp_path / "a.nii")
    assert volume.voxels.dtype == np.float32
    expected = np.asanyarray(nibabel.load(tmp_path / "a.nii").dataobj)
    np.testing.assert_allclose(volume.grid.reorientation.invert(volume.voxels).T, expected)


def test_nifti2_stays_nifti2(tmp_path):
    nibabel.save(nibabel.Nifti2Image(counting(), RAS), tmp_path / "a.nii.gz")
    volume = io.read(tmp_path / "a.nii.gz")
    labels = LabelVolume((volume.voxels > 9).astype(np.uint8), volume.grid, {1: "a"})
    io.write_labels(labels, tmp_path / "b.nii.gz")
    written = nibabel.load(tmp_path / "b.nii.gz")
    assert isinstance(written, nibabel.Nifti2Image)
    np.testing.assert_array_equal(written.affine, nibabel.load(tmp_path / "a.nii.gz").affine)


def test_pair(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(counting(), RAS), tmp_path / "a.img")
    for name in ("a.hdr", "a.img"):
        volume = io.read(tmp_path / name)
        np.testing.assert_array_equal(volume.grid.reorientation.invert(volume.voxels).T, counting())
    labels = LabelVolume((volume.voxels > 9).astype(np.uint8), volume.grid, {1: "a"})
    io.write_labels(labels, tmp_path / "b.nii")
    np.testing.assert_array_equal(
        nibabel.load(tmp_path / "b.nii").affine, nibabel.load(tmp_path / "a.img").affine
    )


def test_pair_without_its_data(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(counting(), RAS), tmp_path / "a.img")
    (tmp_path / "a.img").unlink()
    with pytest.raises(UnreadableFileError, match=r"a\.img does not exist"):
        io.read(tmp_path / "a.hdr")


def test_analyze_is_refused(tmp_path):
    nibabel.save(nibabel.AnalyzeImage(counting(), np.eye(4)), tmp_path / "a.img")
    with pytest.raises(UnsupportedFormatError, match=r"Analyze 7\.5.*left from right"):
        io.read(tmp_path / "a.hdr")


def test_gzip_content_under_a_plain_name(tmp_path):
    save(tmp_path / "a.nii.gz", counting())
    (tmp_path / "a.nii.gz").rename(tmp_path / "b.nii")
    assert io.read(tmp_path / "b.nii").shape == SHAPE


def test_two_gzip_members_are_one_file(tmp_path):
    data = save(tmp_path / "a.nii", counting()).read_bytes()
    packed = gzip.compress(data[:500]) + gzip.compress(data[500:]) + b"\0" * 7
    (tmp_path / "b.nii.gz").write_bytes(packed)
    np.testing.assert_array_equal(io.read(tmp_path / "b.nii.gz").voxels.max(), counting().max())


# --- four dimensions, two dimensions, colour


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_frames(tmp_path, name):
    array = np.stack([counting() + 1000 * t for t in range(3)], axis=3)
    save(tmp_path / name, array)
    with pytest.raises(InputError, match=r"holds 3 frames; choose one with --frame \(0 to 2\)"):
        io.read(tmp_path / name)
    with pytest.raises(InputError, match="no frame 3"):
        io.read(tmp_path / name, frame=3)
    volume = io.read(tmp_path / name, frame=2)
    stored = volume.grid.reorientation.invert(volume.voxels).T
    np.testing.assert_array_equal(stored, array[..., 2])
    assert "frame 2 of 3 was read" in volume.notes
    labels = LabelVolume((volume.voxels > 9).astype(np.uint8), volume.grid, {1: "a"})
    io.write_labels(labels, tmp_path / "out.nii")
    assert nibabel.load(tmp_path / "out.nii").shape == IJK


def test_one_frame_needs_no_choice(tmp_path):
    save(tmp_path / "a.nii", counting()[..., None])
    assert io.read(tmp_path / "a.nii").shape == SHAPE


def test_a_slice_stays_two_dimensional(tmp_path):
    save(tmp_path / "a.nii", counting()[:, :, 0])
    volume = io.read(tmp_path / "a.nii")
    assert sorted(volume.shape) == [1, 7, 11]
    labels = LabelVolume((volume.voxels > 9).astype(np.uint8), volume.grid, {1: "a"})
    io.write_labels(labels, tmp_path / "out.nii")
    assert nibabel.load(tmp_path / "out.nii").shape == (11, 7)


def test_vectors_are_refused(tmp_path):
    save(tmp_path / "a.nii", np.zeros((*IJK, 1, 3), np.float32))
    with pytest.raises(UnsupportedFormatError, match="vectors or more than four dimensions"):
        io.read(tmp_path / "a.nii")


def test_complex_is_refused(tmp_path):
    save(tmp_path / "a.nii", counting("complex64"))
    with pytest.raises(UnsupportedFormatError, match="complex64"):
        io.read(tmp_path / "a.nii")


@pytest.mark.parametrize("channels", ["RGB", "RGBA"])
def test_colour(tmp_path, channels):
    rgb = np.random.default_rng(0).integers(0, 255, (*IJK, len(channels))).astype(np.uint8)
    kind = np.dtype([(name, "u1") for name in channels])
    save(tmp_path / "a.nii.gz", rgb.view(kind)[..., 0])
    volume = io.read(tmp_path / "a.nii.gz")
    assert volume.is_colour
    assert volume.voxels.dtype == np.uint8
    stored = volume.grid.reorientation.invert(volume.voxels)
    np.testing.assert_array_equal(stored.transpose(2, 1, 0, 3), rgb[..., :3])
    io.write_volume(volume, tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(io.read(tmp_path / "b.nii.gz").voxels, volume.voxels)
    with pytest.raises(LabelError, match="colour"):
        io.read_labels(tmp_path / "a.nii.gz")


# --- which affine


def forms(path: Path, sform: np.ndarray | None, qform: np.ndarray | None) -> Path:
    image = nibabel.Nifti1Image(counting(), None)
    image.header.set_zooms((0.7, 0.8, 2.5))
    if qform is not None:
        image.header.set_qform(qform, code=1)
    if sform is not None:
        image.header.set_sform(sform, code=2)
    with open(path, "wb") as file:
        image.header["vox_offset"] = 352
        image.header.write_to(file)
        file.write(counting().tobytes(order="F"))
    return path


def moved(mm: float) -> np.ndarray:
    affine = RAS.copy()
    affine[0, 3] += mm
    return affine


SHEARED = RAS @ np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def read_quietly(path: Path) -> Volume:
    with warnings.catch_warnings():
        warnings.simplefilter("error", SammedWarning)
        return io.read(path)


def ras_of(volume: Volume) -> np.ndarray:
    return geometry.affine_to_ras(volume.grid.affine)


def test_forms_that_agree_are_quiet(tmp_path):
    volume = read_quietly(forms(tmp_path / "a.nii", RAS, moved(0.01)))
    np.testing.assert_allclose(ras_of(volume), RAS, atol=1e-4)


def test_forms_that_disagree_warn_and_the_sform_counts(tmp_path):
    path = forms(tmp_path / "a.nii", moved(4), RAS)
    with pytest.warns(SammedWarning, match=r"disagree by up to 4 mm; the sform is used"):
        volume = io.read(path)
    np.testing.assert_allclose(ras_of(volume), moved(4), atol=1e-4)
    assert any("the sform is used" in note for note in volume.notes)


@pytest.mark.parametrize("which", ["sform", "qform"])
def test_one_form_is_enough(tmp_path, which):
    pair = (RAS, None) if which == "sform" else (None, RAS)
    volume = read_quietly(forms(tmp_path / "a.nii", *pair))
    np.testing.assert_allclose(ras_of(volume), RAS, atol=1e-4)


@pytest.mark.parametrize("bad", [SHEARED, np.zeros((4, 4)), RAS * np.nan])
def test_unusable_sform_gives_way_to_the_qform(tmp_path, bad):
    path = forms(tmp_path / "a.nii", bad, RAS)
    with pytest.warns(SammedWarning, match="sform is sheared or unusable; the qform is used"):
        volume = io.read(path)
    np.testing.assert_allclose(ras_of(volume), RAS, atol=1e-4)


def test_sheared_sform_alone_is_refused(tmp_path):
    with pytest.raises(OrientationError, match="is sheared"):
        io.read(forms(tmp_path / "a.nii", SHEARED, None))


def test_neither_form(tmp_path):
    path = forms(tmp_path / "a.nii", None, None)
    with pytest.warns(SammedWarning, match="neither a sform nor a qform"):
        volume = io.read(path)
    np.testing.assert_allclose(ras_of(volume), nibabel.load(path).affine)


def test_voxel_sizes_that_contradict_the_affine(tmp_path):
    path = save(tmp_path / "a.nii", counting(), qform_code=0, pixdim=[1, 3, 3, 3, 0, 0, 0, 0])
    image = nibabel.load(path)
    image.header["pixdim"][1:4] = 3
    data = bytearray(path.read_bytes())
    data[76:108] = np.array([1, 3, 3, 3, 0, 0, 0, 0], "<f4").tobytes()
    path.write_bytes(data)
    with pytest.warns(SammedWarning, match="voxel sizes 3x3x3 mm contradict its affine"):
        volume = io.read(path)
    np.testing.assert_allclose(ras_of(volume), RAS, atol=1e-4)


def test_micrometres_become_mm(tmp_path):
    path = save(tmp_path / "a.nii", counting(), xyzt_units=3)
    with pytest.warns(SammedWarning, match=r"unit of length is 0\.001 mm"):
        volume = io.read(path)
    np.testing.assert_allclose(ras_of(volume)[:3], RAS[:3] / 1000, atol=1e-6)


# --- values


def test_some_voxels_not_finite(tmp_path):
    array = counting("float32")
    array[0, 0, 0], array[1, 2, 3], array[4, 4, 4] = np.nan, np.inf, -np.inf
    array[5, 5, 4] = -7
    path = save(tmp_path / "a.nii.gz", array)
    with pytest.warns(SammedWarning, match="3 voxels are NaN or infinite.*-7"):
        volume = io.read(path)
    stored = volume.grid.reorientation.invert(volume.voxels).T
    assert stored[0, 0, 0] == stored[1, 2, 3] == stored[4, 4, 4] == -7
    assert np.isfinite(volume.voxels).all()


def test_no_voxel_finite(tmp_path):
    path = save(tmp_path / "a.nii.gz", np.full(IJK, np.nan, np.float32))
    with pytest.raises(InputError, match="no finite voxel"):
        io.read(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [(-1, "values run from -1"), (70000, "to 70000"), (1.5, r"holds 1\.5")],
)
def test_labels_that_are_none(tmp_path, value, message):
    array = np.zeros(IJK, np.float32)
    array[3, 4, 2] = value
    path = save(tmp_path / "a.nii.gz", array)
    with pytest.raises(LabelError, match=message):
        io.read_labels(path)


@pytest.mark.parametrize(("highest", "dtype"), [(255, np.uint8), (256, np.uint16)])
@pytest.mark.parametrize("stored", ["float64", "int32"])
def test_labels_take_the_smallest_type(tmp_path, highest, dtype, stored):
    array = np.zeros(IJK, stored)
    array[3, 4, 2] = highest
    labels = io.read_labels(save(tmp_path / "a.nii.gz", array), names={highest: "organ"})
    assert labels.voxels.dtype == dtype
    assert labels.names == {highest: "organ"}
    io.write_labels(labels, tmp_path / "b.nii.gz")
    assert nibabel.load(tmp_path / "b.nii.gz").get_data_dtype() == dtype


def test_integers_are_read_without_a_second_copy(tmp_path):
    array = np.zeros((128, 256, 256), np.int16)
    path = save(tmp_path / "a.nii.gz", array, np.diag([1.0, 1, 1, 1]))
    tracemalloc.start()
    volume = io.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert volume.voxels.dtype == np.int16
    assert peak < 1.2 * array.nbytes


# --- damage


def test_text_renamed(tmp_path):
    (tmp_path / "a.nii").write_text("Dear Sir or Madam, " * 100)
    with pytest.raises(UnreadableFileError, match="not a NIfTI file, whatever its name says"):
        io.read(tmp_path / "a.nii")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.9, -3])
def test_truncated(tmp_path, name, keep):
    rng = np.random.default_rng(0)
    path = save(tmp_path / name, rng.integers(0, 9999, IJK).astype(np.int16))
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep > 0 else int(keep)])
    with pytest.raises(UnreadableFileError) as caught:
        io.read(path)
    assert "\n" not in str(caught.value)


def test_one_flipped_bit_in_compressed_data(tmp_path):
    rng = np.random.default_rng(0)
    path = save(tmp_path / "a.nii.gz", rng.integers(0, 9999, IJK).astype(np.int16))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(UnreadableFileError, match="damaged"):
        io.read(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_absurd_extents_allocate_nothing(tmp_path, name):
    path = save(tmp_path / "b.nii", counting())
    data = bytearray(path.read_bytes())
    data[42:48] = np.array([32000, 32000, 32000], "<i2").tobytes()
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    tracemalloc.start()
    with pytest.raises(UnreadableFileError, match="the header promises"):
        io.read(path)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


@pytest.mark.parametrize("extents", [(0, 5, 5), (-3, 5, 5)])
def test_impossible_extents(tmp_path, extents):
    path = save(tmp_path / "a.nii", counting())
    data = bytearray(path.read_bytes())
    data[42:48] = np.array(extents, "<i2").tobytes()
    path.write_bytes(data)
    with pytest.raises(UnreadableFileError, match="no voxels"):
        io.read(path)


def test_unknown_number_type(tmp_path):
    path = save(tmp_path / "a.nii", counting())
    data = bytearray(path.read_bytes())
    data[70:72] = (9999).to_bytes(2, "little")
    path.write_bytes(data)
    with pytest.raises(UnreadableFileError, match="damaged NIfTI header"):
        io.read(path)


def test_nibabel_says_nothing_on_stderr(tmp_path, capfd):
    path = save(tmp_path / "a.nii", counting(), qform_code=0)
    data = bytearray(path.read_bytes())
    data[76:80] = np.array([0.5], "<f4").tobytes()  # pixdim[0] should be 1 or -1
    path.write_bytes(data)
    volume = io.read(path)
    assert any(note.startswith("header: ") for note in volume.notes)
    assert capfd.readouterr().err == ""


def test_full_disk(tmp_path, labels):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*a\.nii"):
            io.write_labels(labels, tmp_path / "a.nii")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
