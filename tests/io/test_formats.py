"""The table of formats, and that whatever lists formats derives from it."""

from __future__ import annotations

import numpy as np
import pytest

from sammed import io
from sammed.errors import OutputError, UnsupportedFormatError
from sammed.imaging.volume import LabelVolume, Volume
from sammed.io import formats
from sammed.io.dicom.images import archive
from sammed.io.formats import FORMATS, Format
from sammed.io.recognition import format_of, stem

AFFINE = np.diag([4.0, 2.0, 2.0, 1.0])
WRITTEN = [(f, kind) for f in FORMATS for kind in f.writes]


def read_raw(path, choice):
    size = np.frombuffer(path.read_bytes()[4:], np.uint8)
    return Volume.from_array(size.reshape(2, 3, 4), AFFINE, source=path)


def read_raw_labels(path, like, choice):
    volume = read_raw(path, None)
    return LabelVolume(volume.voxels, volume.grid, {1: "made up"}, source=path)


def write_raw(labels, path, *, force, loud=False):
    with io.atomic_output(path, force=force) as temporary:
        temporary.write_bytes((b"RAW!" if loud else b"RAW1") + labels.file_array().tobytes())


@pytest.fixture
def made_up(monkeypatch):
    """A format that is a row of the table and nothing else."""
    row = Format(
        name="raw",
        title="Made-up raw",
        suffixes=(".raw1", ".raw1.gz"),
        magic=((0, b"RAW1"),),
        writes={"raw": (".raw1",)},
        read=read_raw,
        read_labels=read_raw_labels,
        says_labels=lambda path: True,
        write=write_raw,
    )
    monkeypatch.setattr(formats, "FORMATS", (*FORMATS, row))
    return row


@pytest.fixture
def little():
    voxels = (np.arange(24) % 2).astype(np.uint8).reshape(2, 3, 4)
    grid = Volume.from_array(voxels, AFFINE).grid
    return LabelVolume(grid.reorientation.apply(voxels), grid, {1: "made up"})


def test_a_new_format_is_a_row(tmp_path, made_up, little):
    path = tmp_path / "a.raw1"
    io.write_labels(little, path)
    assert io.input_format(path) == "raw"
    assert io.holds_labels(path)
    np.testing.assert_array_equal(io.read(path).voxels, little.voxels)
    again = io.read_labels(path, like=io.read(path), names={1: "own"})
    np.testing.assert_array_equal(again.voxels, little.voxels)
    assert again.names == {1: "own"}


def test_a_new_format_is_known_by_its_content(tmp_path, made_up, little):
    io.write_labels(little, tmp_path / "a.raw1")
    (tmp_path / "a.raw1").rename(tmp_path / "a.bin")
    assert format_of(tmp_path / "a.bin") is made_up


def test_a_new_format_has_its_own_options(tmp_path, made_up, little):
    io.write_labels(little, tmp_path / "a.raw1", loud=True)
    assert (tmp_path / "a.raw1").read_bytes().startswith(b"RAW!")
    with pytest.raises(TypeError, match="quiet"):
        io.write_labels(little, tmp_path / "b.raw1", quiet=True)


def test_a_new_format_is_in_the_messages(tmp_path, made_up):
    (tmp_path / "a.docx").write_text("Dear Sir")
    with pytest.raises(UnsupportedFormatError, match=r"\.raw1 \.raw1\.gz"):
        io.read(tmp_path / "a.docx")
    with pytest.raises(OutputError, match=r"should end in one of .* \.raw1"):
        io.output_format("a.docx")
    with pytest.raises(OutputError, match=r"expected one of .*, raw"):
        io.output_format("a.raw1", "nothing")
    assert stem("a.b.raw1.gz") == "a.b"


def test_what_a_format_does_not_write_is_refused(tmp_path, made_up, volume):
    with pytest.raises(OutputError, match="should end in one of"):
        io.write_volume(volume, tmp_path / "a.raw1")


@pytest.mark.parametrize("reader", [io.read, io.read_labels])
def test_what_a_format_does_not_read_is_refused(tmp_path, monkeypatch, reader):
    row = Format("raw", "Made-up raw", suffixes=(".raw1",))
    monkeypatch.setattr(formats, "FORMATS", (*FORMATS, row))
    (tmp_path / "a.raw1").write_text("x")
    with pytest.raises(UnsupportedFormatError, match="is Made-up raw, which holds no"):
        reader(tmp_path / "a.raw1")


def test_lists_are_those_of_the_table():
    assert [kind for _, kind in WRITTEN] == list(io.OUTPUT_TYPES)
    assert [kind for f, kind in WRITTEN if f.write_volume] == list(io.VOLUME_TYPES)
    assert [kind for f, kind in WRITTEN if f.modality] == list(formats.DICOM_TYPES)
    assert formats.SHARED_ENDINGS == (".dcm",)
    assert formats.CHOSEN_TYPES == ("dicom-seg", "rtstruct")
    assert all(f.title in formats.IMAGE_TITLES for f in FORMATS if f.read and f.write_volume)


def test_no_two_rows_are_alike():
    names = [f.name for f in FORMATS]
    kinds = [kind for _, kind in WRITTEN]
    read = [ending for f in FORMATS for ending in f.suffixes]
    assert len(set(names)) == len(names)
    assert len(set(kinds)) == len(kinds)
    assert len(set(read)) == len(read)
    assert all(ending == ending.lower() for ending in read)


@pytest.mark.parametrize(("row", "kind"), WRITTEN, ids=[kind for _, kind in WRITTEN])
def test_every_kind_of_output_can_be_asked_for(row, kind):
    for ending in row.writes[kind]:
        assert io.output_format(f"a{ending}", kind) == kind
        if ending not in formats.SHARED_ENDINGS:
            assert io.output_format(f"a{ending}") == kind


@pytest.mark.parametrize("ending", formats.ARCHIVES)
def test_whatever_can_be_unpacked_is_let_in(tmp_path, ending):
    (tmp_path / f"a{ending}").write_bytes(b"x")
    assert archive.is_archive(tmp_path / f"a{ending}")
    assert format_of(tmp_path / f"a{ending}") is formats.DICOM


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.nii.gz", "a"),
        ("a.b.SEG.NRRD", "a.b"),
        ("folder/ct.jpeg", "ct"),
        ("liver.v2.stl", "liver.v2"),
        ("notes.txt", "notes"),
        ("IM0001", "IM0001"),
    ],
)
def test_stem(name, expected):
    assert stem(name) == expected
