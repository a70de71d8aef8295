"""Folders, archives, DICOMDIRs, and those that mean harm."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.fileset import FileSet
from pydicom.uid import DeflatedExplicitVRLittleEndian

from sammed import io as sammed_io
from sammed.errors import InputError, SammedWarning, UnreadableFileError
from sammed.io.dicom import file
from sammed.io.dicom.images import archive, scan
from sammed.io.dicom.images.read import read, survey
from tests.io.dicom.conftest import assert_same, remarks
from tests.io.dicom.make_series import make_series
from tests.io.dicom_out.sources import ct_volume, random_labels


@pytest.fixture
def series(tmp_path):
    return make_series(tmp_path / "series", name=lambda k: f"A/B{k % 2}/IM{k}")


class TestFolders:
    def test_nested_with_stray_files(self, series):
        (series.folder / "A" / "readme.txt").write_text("hello")
        (series.folder / "A" / "notes.dcm").write_text("not DICOM at all, whatever its name says")
        (series.folder / "A" / "empty.dcm").touch()
        (series.folder / "A" / "picture.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 500)
        (series.folder / "A" / "zeros").write_bytes(b"\0" * 1000)
        assert_same(read(series.folder), series.voxels, series.affine)
        assert survey(series.folder).stray == 5

    def test_pipes_and_dangling_links_are_passed_by(self, series):
        os.mkfifo(series.folder / "pipe")
        (series.folder / "link").symlink_to("nowhere")
        (series.folder / "loop").symlink_to(series.folder)
        assert_same(read(series.folder), series.voxels, series.affine)

    def test_too_many_files(self, series, monkeypatch):
        monkeypatch.setattr(scan, "MAX_FILES", 4)
        with pytest.raises(InputError, match="more than 4 files"):
            read(series.folder)

    def test_a_broken_header_is_left_out_aloud(self, series):
        data = series.paths[0].read_bytes()
        sequence = b"\x08\x00\x05\x00SQ\0\0\x20\0\0\0" + b"\xff" * 32  # no item in it
        at = data.index(b"\x08\x00\x08\x00CS")
        (series.folder / "bad.dcm").write_bytes(data[:at] + sequence + data[at:])
        with pytest.warns(SammedWarning, match=r"left out: bad.dcm .*corrupt"):
            volume = read(series.folder)
        assert_same(volume, series.voxels, series.affine)
        assert "bad.dcm" in remarks(volume)[0]

    def test_unreadable_file(self, series):
        if os.geteuid() == 0:
            pytest.skip("root may read everything")
        series.paths[0].chmod(0)
        with pytest.raises(InputError):
            read(series.paths[0])

    def test_without_preamble(self, series):
        for path in series.paths:
            data = path.read_bytes()
            length = int.from_bytes(data[140:144], "little")
            path.write_bytes(data[144 + length :])  # neither preamble nor meta information
        assert_same(read(series.folder), series.voxels, series.affine)

    def test_without_series_uid(self, tmp_path):
        def edit(ds, k):
            del ds.SeriesInstanceUID

        series = make_series(tmp_path, edit=edit)
        assert_same(read(tmp_path), series.voxels, series.affine)


def zipped(series, path, names=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("readme.txt", "hello")
        for n, file in enumerate(series.paths):
            archive.write(file, names[n] if names else file.relative_to(series.folder))
    return path


def tarred(series, path, mode):
    with tarfile.open(path, mode) as archive:
        archive.add(series.folder, "study")
    return path


def gzipped(series):
    for path in series.paths:
        path.with_name(f"{path.name}.dcm.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


class TestPackedFiles:
    """Single files packed by gzip, as archives and data sets have them."""

    def test_in_a_folder(self, series):
        gzipped(series)
        volume = read(series.folder)
        assert_same(volume, series.voxels, series.affine)
        assert remarks(volume) == ()

    def test_alone(self, series):
        k = 2
        gzipped(series)
        path = series.paths[k].with_name(f"{series.paths[k].name}.dcm.gz")
        assert sammed_io.input_format(path) == "dicom"
        volume = sammed_io.read(path)
        np.testing.assert_array_equal(
            volume.grid.reorientation.invert(volume.voxels)[0], series.voxels[k]
        )

    @pytest.mark.parametrize("kind", ["zip", "tar"])
    def test_in_an_archive(self, kind, series, tmp_path):
        gzipped(series)
        path = tmp_path / f"a.{kind}"
        if kind == "tar":
            tarred(series, path, "w")
        else:
            with zipfile.ZipFile(path, "w") as packed:
                for file in series.folder.rglob("*.gz"):
                    packed.write(file, file.name)
        assert_same(read(path), series.voxels, series.affine)

    def test_a_tar_that_only_its_content_tells(self, series, tmp_path):
        path = tarred(series, tmp_path / "study.gz", "w:gz")
        assert_same(sammed_io.read(path), series.voxels, series.affine)

    @pytest.mark.parametrize("keep", [0.3, 0.9])
    def test_truncated(self, keep, series):
        gzipped(series)
        path = next(series.folder.rglob("*.gz"))
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * keep)])
        with pytest.warns(SammedWarning, match="broken gzip file .it ends early.; copy"):
            read(series.folder, allow_gaps=True)
        with pytest.raises(UnreadableFileError, match="broken gzip file"):
            read(path)

    def test_bomb(self, series, tmp_path, monkeypatch):
        monkeypatch.setattr(archive, "MIN_BYTES", 1 << 20)
        path = tmp_path / "a.dcm.gz"
        path.write_bytes(gzip.compress(series.paths[0].read_bytes() + b"\0" * (8 << 20)))
        with pytest.raises(UnreadableFileError, match="far more than its size"):
            read(path)

    def test_labels(self, tmp_path):
        volume = ct_volume(tmp_path / "series")
        labels = random_labels(volume)
        for kind in ("dicom-seg", "rtstruct"):
            path = tmp_path / f"{kind}.dcm"
            sammed_io.write_labels(labels, path, output_type=kind)
            packed = path.with_name(f"{path.name}.gz")
            packed.write_bytes(gzip.compress(path.read_bytes()))
            assert sammed_io.holds_labels(packed)
            again = sammed_io.read_labels(packed, like=volume)
            np.testing.assert_array_equal(again.voxels, labels.voxels)


class TestNestedArchives:
    @pytest.mark.parametrize("name", ["inner.zip", "inner", "a/b/inner.ZIP"])
    def test_a_zip_in_a_zip(self, name, series, tmp_path):
        inner = zipped(series, tmp_path / "inner.zip")
        with zipfile.ZipFile(tmp_path / "outer.zip", "w") as packed:
            packed.write(inner, name)
        with pytest.raises(
            UnreadableFileError,
            match=f"no DICOM file; 1 archive in it .first: {name}; unpack, or give one by itself",
        ):
            read(tmp_path / "outer.zip")

    def test_a_tar_in_a_tar(self, series, tmp_path):
        tarred(series, tmp_path / "inner.tar.gz", "w:gz")
        with tarfile.open(tmp_path / "outer.tar", "w") as packed:
            packed.add(tmp_path / "inner.tar.gz", "inner.tar.gz")
        with pytest.raises(UnreadableFileError, match=r"first: inner\.tar\.gz"):
            read(tmp_path / "outer.tar")

    def test_archives_beside_images(self, series):
        zipped(series, series.folder / "more.zip")
        (series.folder / "old.rar").write_bytes(b"Rar!\x1a\x07\0" + b"\0" * 600)
        with zipfile.ZipFile(series.folder / "report.docx", "w") as document:
            document.writestr("word/document.xml", "hello")
        with pytest.warns(SammedWarning, match="2 archives in it"):
            volume = read(series.folder)
        assert_same(volume, series.voxels, series.affine)
        (note,) = remarks(volume)
        assert note == (
            "2 archives in it (first: more.zip; unpack, or give one by itself) were not looked into"
        )


class TestArchives:
    def test_zip(self, series, tmp_path):
        path = zipped(series, tmp_path / "study.zip")
        volume = read(path)
        assert_same(volume, series.voxels, series.affine)
        assert volume.source == path
        assert survey(path).stray == 1

    @pytest.mark.parametrize(
        ("ending", "mode"), [("tar", "w"), ("tar.gz", "w:gz"), ("tgz", "w:gz"), ("tar.xz", "w:xz")]
    )
    def test_tar(self, ending, mode, series, tmp_path):
        path = tarred(series, tmp_path / f"study.{ending}", mode)
        assert_same(read(path), series.voxels, series.affine)

    @pytest.mark.parametrize(
        "name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil", "C:\\evil"]
    )
    def test_paths_that_lead_out(self, name, series, tmp_path):
        path = tmp_path / "a" / "evil.zip"
        path.parent.mkdir()
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(zipfile.ZipInfo(name), series.paths[0].read_bytes())
        with pytest.raises(UnreadableFileError, match="leads out of the archive"):
            read(path)
        assert not list(tmp_path.rglob("*evil"))

    def test_tar_paths_that_lead_out(self, series, tmp_path):
        info = tarfile.TarInfo("../evil")
        data = series.paths[0].read_bytes()
        info.size = len(data)
        with tarfile.open(tmp_path / "evil.tar", "w") as archive:
            archive.addfile(info, io.BytesIO(data))
        with pytest.raises(UnreadableFileError, match="leads out"):
            read(tmp_path / "evil.tar")

    def test_links_in_a_tar_are_not_followed(self, series, tmp_path):
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, str(series.paths[0])
        with tarfile.open(tmp_path / "links.tar", "w") as archive:
            archive.addfile(info)
        with pytest.raises(UnreadableFileError, match="no DICOM file"):
            read(tmp_path / "links.tar")

    @pytest.mark.parametrize("kind", ["zip", "tar.gz"])
    def test_bomb(self, kind, series, tmp_path, monkeypatch):
        monkeypatch.setattr(archive, "MIN_BYTES", 1 << 20)
        data = series.paths[0].read_bytes() + b"\0" * (8 << 20)
        path = tmp_path / f"bomb.{kind}"
        if kind == "zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
                packed.writestr("a.dcm", data)
        else:
            info = tarfile.TarInfo("a.dcm")
            info.size = len(data)
            with tarfile.open(path, "w:gz") as packed:
                packed.addfile(info, io.BytesIO(data))
        with pytest.raises(UnreadableFileError, match="far more than its size"):
            read(path)

    def test_bomb_of_zeros_is_not_unpacked(self, tmp_path):
        path = tmp_path / "zeros.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.dcm", b"\0" * (64 << 20))
        with pytest.raises(UnreadableFileError, match="no DICOM file"):
            read(path)

    def test_too_many_members(self, series, tmp_path, monkeypatch):
        monkeypatch.setattr(archive, "MAX_MEMBERS", 4)
        for path in (zipped(series, tmp_path / "a.zip"), tarred(series, tmp_path / "a.tar", "w")):
            with pytest.raises(UnreadableFileError, match="more than 4 files"):
                read(path)

    def test_too_large_a_directory(self, series, tmp_path, monkeypatch):
        monkeypatch.setattr(archive, "MAX_DIRECTORY_BYTES", 100)
        with pytest.raises(UnreadableFileError, match="more than"):
            read(zipped(series, tmp_path / "a.zip"))

    @pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
    @pytest.mark.parametrize("keep", [0.2, 0.5])
    def test_truncated(self, kind, keep, series, tmp_path):
        path = tmp_path / f"a.{kind}"
        if kind == "zip":
            zipped(series, path)
        else:
            tarred(series, path, {"tar": "w", "tar.gz": "w:gz", "tar.xz": "w:xz"}[kind])
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * keep)])
        with pytest.raises(UnreadableFileError) as caught:
            read(path)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense", b"nonsense" * 100])
    @pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz"])
    def test_archives_in_name_only(self, content, ending, tmp_path):
        path = tmp_path / f"a.{ending}"
        path.write_bytes(content)
        with pytest.raises(UnreadableFileError):
            read(path)

    def test_nothing_is_left_behind(self, series, tmp_path, monkeypatch):
        scratch = tmp_path / "tmp"
        scratch.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(scratch))
        read(zipped(series, tmp_path / "a.zip"))
        with pytest.raises(UnreadableFileError):
            read(zipped(series, tmp_path / "b.zip", ["0", "1", "2", "3", "../x"]))
        assert list(scratch.iterdir()) == []


class TestDicomdir:
    @pytest.fixture
    def media(self, tmp_path):
        series = make_series(tmp_path / "plain")
        files = FileSet()
        for path in series.paths:
            files.add(path)
        files.write(tmp_path / "media")
        return series, tmp_path / "media"

    def test_by_its_folder_or_itself(self, media):
        series, folder = media
        assert_same(read(folder), series.voxels, series.affine)
        assert_same(read(folder / "DICOMDIR"), series.voxels, series.affine)

    def test_missing_files_are_told(self, media):
        _, folder = media
        last = max(folder.rglob("IM*"))
        last.unlink()
        (note,) = survey(folder / "DICOMDIR").notes
        assert note == "the DICOMDIR lists 1 files that do not exist"

    def test_none_there(self, media, tmp_path):
        _, folder = media
        (folder / "DICOMDIR").rename(tmp_path / "DICOMDIR")
        with pytest.raises(UnreadableFileError, match="none of the 5 files"):
            read(tmp_path / "DICOMDIR")

    @pytest.mark.filterwarnings("ignore")
    def test_paths_that_lead_out(self, media, tmp_path):
        _, folder = media
        ds = dcmread(folder / "DICOMDIR")
        for record in ds.DirectoryRecordSequence:
            if "ReferencedFileID" in record:
                record.ReferencedFileID = ["..", "plain", "IM0000.dcm"]
        ds.save_as(folder / "DICOMDIR")
        with pytest.raises(UnreadableFileError, match="none of the 5 files"):
            read(folder / "DICOMDIR")


def test_deflated_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "MAX_INFLATED", 1 << 20)
    voxels = np.zeros((1, 1000, 2000), np.int16)
    make_series(tmp_path, voxels=voxels, syntax=DeflatedExplicitVRLittleEndian)
    with pytest.raises(UnreadableFileError, match="unpacks to more than"):
        read(tmp_path)
