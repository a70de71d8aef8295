"""NRRD and MetaImage headers as programs write them and as their specifications allow them."""

from __future__ import annotations

import bz2
import gzip
import warnings
import zlib

import numpy as np
import pytest

from sammed import io
from sammed.errors import SammedWarning, UnreadableFileError, UnsupportedFormatError

from .by_hand import AFFINE, meta, nrrd

ARRAY = np.random.default_rng(0).integers(-500, 500, (5, 7, 11)).astype("<i2")
LONG = "option|1|colon: and equal:= signs; " + "x" * 2000


def check(volume, array=ARRAY, affine=AFFINE):
    np.testing.assert_array_equal(volume.grid.reorientation.invert(volume.voxels), array)
    np.testing.assert_allclose(volume.grid.affine[:, [2, 1, 0, 3]], affine, rtol=1e-12)


def read_silently(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return io.read(path, **options)


# --- lines of any length


@pytest.mark.parametrize("pairs", [{"long": LONG}, {"key": "a: b"}, {"type": "encoding: gzip"}])
def test_pairs_of_a_nrrd_do_not_matter(tmp_path, pairs):
    check(read_silently(nrrd(tmp_path / "a.nrrd", ARRAY, pairs=pairs)))


def test_a_long_field_of_a_nrrd(tmp_path):
    check(read_silently(nrrd(tmp_path / "a.nrrd", ARRAY, {"content": LONG})))


@pytest.mark.parametrize("key", ["Comment", "Slicer_Note"])
@pytest.mark.parametrize("length", [450, 600, 1100, 30_000])
def test_a_long_line_of_a_metaimage(tmp_path, key, length):
    check(read_silently(meta(tmp_path / "a.mha", ARRAY, {key: "x" * length})))


def test_as_many_lines_as_tracked_ultrasound_has(tmp_path):
    fields = {f"Seq_Frame{n:05}_ProbeToTrackerTransform": "1 0 0 0 1 0 0 0 1" for n in range(12000)}
    check(read_silently(meta(tmp_path / "a.mha", ARRAY, fields)))


def test_a_header_without_an_end_is_refused(tmp_path):
    path = tmp_path / "a.nrrd"
    path.write_bytes(b"NRRD0004\ntype: short\ncontent: " + b"x" * (3 << 20))
    with pytest.raises(UnreadableFileError) as caught:
        io.read(path)
    assert "\n" not in str(caught.value)


# --- names that say something else


@pytest.mark.parametrize("write", [nrrd, meta])
@pytest.mark.parametrize("name", ["ct.bin", "ct.nrrd", "ct.mha", "ct.NRRD", "CT.MHA"])
def test_content_counts(tmp_path, write, name):
    check(read_silently(write(tmp_path / name, ARRAY)))


# --- units


@pytest.mark.parametrize(
    ("unit", "mm"), [("m", 1000), ("um", 1e-3), ("μm", 1e-3), ("cm", 10), ("in", 25.4)]
)
def test_units_of_length(tmp_path, unit, mm):
    expected = np.diag([mm, mm, mm, 1]) @ AFFINE
    quoted = " ".join([f'"{unit}"'] * 3)
    with pytest.warns(SammedWarning, match=f"unit of length is {unit}; positions were converted"):
        check(io.read(nrrd(tmp_path / "a.nrrd", ARRAY, {"space units": quoted})), affine=expected)
    with pytest.warns(SammedWarning, match="positions were converted to mm"):
        check(io.read(meta(tmp_path / "a.mha", ARRAY, {"DistanceUnits": unit})), affine=expected)


@pytest.mark.parametrize("unit", ["mm", "millimeters", "", "???"])
def test_millimetres_need_no_word(tmp_path, unit):
    quoted = " ".join([f'"{unit}"'] * 3)
    check(read_silently(nrrd(tmp_path / "a.nrrd", ARRAY, {"space units": quoted})))
    check(read_silently(meta(tmp_path / "a.mha", ARRAY, {"DistanceUnits": unit or "?"})))


def test_an_unknown_unit(tmp_path):
    path = nrrd(tmp_path / "a.nrrd", ARRAY, {"space units": '"furlong" "furlong" "furlong"'})
    with pytest.warns(SammedWarning, match="'furlong', is unknown; millimetres were assumed"):
        check(io.read(path))


def test_each_axis_has_its_unit(tmp_path):
    path = nrrd(tmp_path / "a.nrrd", ARRAY, {"space units": '"mm" "mm" "um"'})
    with pytest.warns(SammedWarning, match="is um"):
        check(io.read(path), affine=np.diag([1, 1, 1e-3, 1]) @ AFFINE)


WITHOUT_SPACE = {"space": None, "space directions": None, "space origin": None}


def test_units_of_spacings(tmp_path):
    fields = {**WITHOUT_SPACE, "spacings": "0.7 0.8 2.5", "units": '"um" "um" "um"'}
    with pytest.warns(SammedWarning, match="is um"):
        volume = io.read(nrrd(tmp_path / "a.nrrd", ARRAY, fields))
    check(volume, affine=np.diag([0.7e-3, 0.8e-3, 2.5e-3, 1]))


def test_labels_go_where_the_image_is(tmp_path):
    """Units that were converted are written as millimetres."""
    path = nrrd(tmp_path / "a.nrrd", ARRAY, {"space units": '"cm" "cm" "cm"'})
    with pytest.warns(SammedWarning, match="is cm"):
        volume = io.read(path)
    io.write_volume(volume, tmp_path / "b.nrrd")
    check(read_silently(tmp_path / "b.nrrd"), affine=np.diag([10, 10, 10, 1]) @ AFFINE)


# --- where axes point


@pytest.mark.parametrize("space", [None, "scanner-xyz", "3D-right-handed", "3D-left-handed"])
def test_a_space_that_is_no_patients(tmp_path, space):
    fields = {"space": space, **({"space dimension": "3"} if space is None else {})}
    volume = io.read(nrrd(tmp_path / "a.nrrd", ARRAY, fields))
    check(volume)
    assert any("left, posterior and superior were assumed" in note for note in volume.notes)


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("right-anterior-superior", (-1, -1, 1)),
        ("RAS", (-1, -1, 1)),
        ("left-anterior-superior", (1, -1, 1)),
        ("LAS", (1, -1, 1)),
        ("LPS", (1, 1, 1)),
    ],
)
def test_spaces_of_patients(tmp_path, space, signs):
    volume = read_silently(nrrd(tmp_path / "a.nrrd", ARRAY, {"space": space}))
    check(volume, affine=np.diag([*signs, 1.0]) @ AFFINE)
    assert volume.notes == ()


def test_no_directions_at_all(tmp_path):
    with pytest.warns(SammedWarning, match="it has no space, which does not say where its axes"):
        volume = io.read(nrrd(tmp_path / "a.nrrd", ARRAY, WITHOUT_SPACE))
    check(volume, affine=np.eye(4))
    assert any("no voxel size: 1 mm was assumed" in note for note in volume.notes)


@pytest.mark.parametrize(("centering", "steps"), [("cell", 0), ("node", 1), (None, 0)])
def test_limits_of_axes_give_voxel_sizes(tmp_path, centering, steps):
    fields = {**WITHOUT_SPACE, "axis mins": "1 2 3", "axis maxs": "8 9 18"}
    if centering:
        fields["centerings"] = " ".join([centering] * 3)
    with pytest.warns(SammedWarning, match="no space"):
        volume = io.read(nrrd(tmp_path / "a.nrrd", ARRAY, fields))
    spacing = np.array([7, 7, 15]) / (np.array([11, 7, 5]) - steps)
    origin = np.array([1, 2, 3]) + (0 if steps else spacing / 2)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    check(volume, affine=affine)
    assert any("computed from the limits of its axes" in note for note in volume.notes)


def test_metaimage_without_directions(tmp_path):
    fields = {"TransformMatrix": None, "ElementSpacing": None}
    volume = io.read(meta(tmp_path / "a.mha", ARRAY, fields))
    assert "it does not say where its axes point; left, posterior and superior were assumed" in (
        volume.notes
    )
    assert any("no voxel size: 1 mm was assumed" in note for note in volume.notes)


@pytest.mark.parametrize(("said", "contradicts"), [("RAI", False), ("LPS", True), ("???", False)])
def test_anatomical_orientation_is_compared(tmp_path, said, contradicts):
    volume = io.read(meta(tmp_path / "a.mha", ARRAY, {"AnatomicalOrientation": said}))
    check(volume)
    assert any("contradicts its TransformMatrix" in note for note in volume.notes) is contradicts


def test_centre_of_rotation_is_said_to_be_ignored(tmp_path):
    turned = {"TransformMatrix": "0 1 0 -1 0 0 0 0 1", "CenterOfRotation": "10 20 30"}
    volume = io.read(meta(tmp_path / "a.mha", ARRAY, turned))
    assert any("CenterOfRotation was not heeded" in note for note in volume.notes)
    straight = io.read(meta(tmp_path / "b.mha", ARRAY, {"CenterOfRotation": "10 20 30"}))
    assert straight.notes == ()


# --- values


def test_intensity_function(tmp_path):
    fields = {"ElementToIntensityFunctionSlope": "2", "ElementToIntensityFunctionOffset": "-5"}
    with pytest.warns(SammedWarning, match="values are 2 times the stored ones, plus -5"):
        check(io.read(meta(tmp_path / "a.mha", ARRAY, fields)), 2.0 * ARRAY - 5)


@pytest.mark.parametrize("slope", ["0", "nan"])
def test_intensity_function_that_is_none(tmp_path, slope):
    path = meta(tmp_path / "a.mha", ARRAY, {"ElementToIntensityFunctionSlope": slope})
    with pytest.warns(SammedWarning, match="does not count"):
        check(io.read(path))


def test_integers_of_64_bits(tmp_path):
    array = ARRAY.astype("<i8") * 2**40
    volume = io.read(nrrd(tmp_path / "a.nrrd", array))
    check(volume, array.astype(np.float32))
    assert any("64-bit integers from" in note for note in volume.notes)


# --- how voxels are stored


def test_compressed_without_a_size(tmp_path):
    """MetaIO leaves the voxels unset and only mumbles."""
    path = meta(
        tmp_path / "a.mha", ARRAY, {"CompressedData": "True"}, zlib.compress(ARRAY.tobytes())
    )
    check(read_silently(path))


@pytest.mark.parametrize("end", ["", "\n"])
def test_metaimage_as_text(tmp_path, end):
    text = " ".join(map(str, ARRAY.ravel())) + end
    check(read_silently(meta(tmp_path / "a.mha", ARRAY, {"BinaryData": "False"}, text.encode())))


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        ({"byte skip": "-1"}, b"JUNK" * 9 + ARRAY.tobytes()),
        ({"byteskip": "-1"}, b"JUNK" * 9 + ARRAY.tobytes()),
        ({"byte skip": "8"}, b"JUNKJUNK" + ARRAY.tobytes()),
        ({"line skip": "2"}, b"a\nb\n" + ARRAY.tobytes()),
        ({"encoding": "gzip"}, gzip.compress(ARRAY.tobytes())),
        ({"encoding": "gz", "byte skip": "4"}, gzip.compress(b"JUNK" + ARRAY.tobytes())),
        ({"encoding": "gzip", "line skip": "1"}, b"a\n" + gzip.compress(ARRAY.tobytes())),
        ({"encoding": "ascii"}, " ".join(map(str, ARRAY.ravel())).encode()),
        ({"encoding": "hex"}, ARRAY.tobytes().hex().encode()),
    ],
)
def test_encodings_and_skips(tmp_path, fields, data):
    check(read_silently(nrrd(tmp_path / "a.nrrd", ARRAY, fields, data=data)))


def test_bzip2_is_refused_in_words(tmp_path):
    path = nrrd(tmp_path / "a.nrrd", ARRAY, {"encoding": "bzip2"}, data=bz2.compress(ARRAY))
    with pytest.raises(UnsupportedFormatError, match="compressed with bzip2, which is not read"):
        io.read(path)


@pytest.mark.parametrize("write", [nrrd, meta])
def test_what_follows_the_last_voxel_is_counted(tmp_path, write):
    path = write(tmp_path / "a.bin", ARRAY, data=ARRAY.tobytes() + b"extra")
    with pytest.warns(SammedWarning, match="5 bytes follow its last voxel and were not read"):
        check(io.read(path))


# --- several files


@pytest.fixture
def slices(tmp_path):
    for k in range(5):
        (tmp_path / f"s{k}.raw").write_bytes(ARRAY[k].tobytes())
        (tmp_path / f"s{k}.gz").write_bytes(gzip.compress(ARRAY[k].tobytes()))
        (tmp_path / f"s{k}.z").write_bytes(zlib.compress(ARRAY[k].tobytes()))
    (tmp_path / "a.raw").write_bytes(ARRAY.tobytes())
    (tmp_path / "skip.raw").write_bytes(b"HEADER" + ARRAY.tobytes())
    return tmp_path


LIST = "\n".join(f"s{k}.raw" for k in range(5))


@pytest.mark.parametrize("end", ["", "\n", " \n"])
@pytest.mark.parametrize(
    ("encoding", "skip", "files"),
    [
        ("raw", None, "a.raw"),
        ("raw", "-1", "skip.raw"),
        ("raw", "6", "skip.raw"),
        ("raw", None, f"LIST\n{LIST}"),
        ("raw", None, f"LIST 2\n{LIST}"),
        ("raw", None, "s%d.raw 0 4 1"),
        ("raw", None, "s%d.raw 0 4 1 2"),
        ("gzip", None, "s%d.gz 0 4 1"),
        ("gzip", None, "LIST\n" + LIST.replace("raw", "gz")),
    ],
)
def test_detached_headers(slices, encoding, skip, files, end):
    fields = {"encoding": encoding, "byte skip": skip, "data file": files}
    check(read_silently(nrrd(slices / "a.nhdr", ARRAY, fields, end=end)))
    (slices / "a.nhdr").rename(slices / "A.NHDR")
    check(read_silently(slices / "A.NHDR"))


@pytest.mark.parametrize(
    ("fields", "file"),
    [
        ({}, "a.raw"),
        ({"HeaderSize": "6"}, "skip.raw"),
        ({"HeaderSize": "-1"}, "skip.raw"),
        ({}, f"LIST\n{LIST}"),
        ({}, "s%d.raw 0 4 1"),
        ({"CompressedData": "True"}, "LIST\n" + LIST.replace("raw", "z")),
        ({"Comment": "x" * 900}, "a.raw"),
        ({"Comment": "x" * 900}, f"LIST\n{LIST}"),
    ],
)
def test_metaimage_headers(slices, fields, file):
    check(read_silently(meta(slices / "a.mhd", ARRAY, fields, file=file)))


def test_one_flipped_bit_in_one_of_many_files(slices):
    data = bytearray((slices / "s2.gz").read_bytes())
    data[len(data) // 2] ^= 4
    (slices / "s2.gz").write_bytes(data)
    fields = {"encoding": "gzip", "data file": "s%d.gz 0 4 1"}
    with pytest.raises(UnreadableFileError, match=r"s2\.gz is damaged"):
        io.read(nrrd(slices / "a.nhdr", ARRAY, fields))


@pytest.mark.parametrize("name", ["A.RAW", "C:\\scans\\a.raw", "/nowhere/a.raw"])
def test_a_file_that_is_called_otherwise(slices, name):
    message = r"does not exist; a\.raw lies beside it: write that name into the header"
    with pytest.raises(UnreadableFileError, match=message):
        io.read(nrrd(slices / "a.nhdr", ARRAY, {"data file": name}))
    with pytest.raises(UnreadableFileError, match=message):
        io.read(meta(slices / "a.mhd", ARRAY, file=name))


@pytest.mark.parametrize("pattern", ["s%d.raw a b c", "s%d%d.raw 0 4 1", "s%d.raw 0 4 0"])
def test_patterns_that_are_none(slices, pattern):
    with pytest.raises(UnreadableFileError) as caught:
        io.read(nrrd(slices / "a.nhdr", ARRAY, {"data file": pattern}))
    assert "\n" not in str(caught.value)


def test_too_few_files(slices):
    with pytest.raises(UnreadableFileError, match="expected 5 filenames"):
        io.read(nrrd(slices / "a.nhdr", ARRAY, {"data file": "s%d.raw 0 3 1"}))
