from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from sammed.errors import OutputError
from sammed.io.output import (
    atomic_output,
    atomic_text,
    check_folder,
    check_output,
    output_error,
)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def write_pair(path: Path) -> None:
    with atomic_output(path) as temporary:
        temporary.write_text("header")
        temporary.with_suffix(".raw").write_text("voxels")


def test_text_appears_whole(tmp_path):
    atomic_text(tmp_path / "a.txt", "one\ntwo")
    assert (tmp_path / "a.txt").read_bytes() == b"one\ntwo"
    assert names(tmp_path) == ["a.txt"]


def test_existing_file_is_kept_without_force(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(OutputError, match=r"a\.txt exists already.*--force"):
        atomic_text(path, "after")
    assert path.read_text() == "before"


def test_force_replaces(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    atomic_text(path, "after", force=True)
    assert path.read_text() == "after"


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_interruption_leaves_everything_as_it_was(tmp_path, failure):
    path = tmp_path / "a.txt"
    path.write_text("before")

    def interrupted() -> None:
        with atomic_output(path, force=True) as temporary:
            temporary.write_text("half")
            raise failure

    with pytest.raises(failure):
        interrupted()
    assert path.read_text() == "before"
    assert names(tmp_path) == ["a.txt"]


def test_full_disk_is_one_line(tmp_path):
    path = tmp_path / "a.txt"
    problem = "no space is left on the disk"
    with pytest.raises(OutputError, match=problem) as caught, atomic_output(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_write_beyond_the_limit_leaves_nothing(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError, match="larger than the system allows"):
            atomic_text(tmp_path / "a.txt", "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == []


def test_missing_folder(tmp_path):
    with pytest.raises(OutputError, match=r"the folder .*none does not exist"):
        check_output(tmp_path / "none" / "a.nii.gz")


def test_folder_in_the_way(tmp_path):
    (tmp_path / "a.nii.gz").mkdir()
    with pytest.raises(OutputError, match="it is a folder"):
        check_output(tmp_path / "a.nii.gz", force=True)


def test_device_in_the_way():
    with pytest.raises(OutputError, match="it is a device"):
        check_output(os.devnull, force=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission is denied"):
        check_output(tmp_path / "a.nii.gz")


def test_permission_is_explained():
    error = output_error("a.nii", PermissionError(errno.EACCES, "Permission denied"))
    assert str(error) == (
        "cannot write a.nii: permission is denied; choose a folder that you may write to"
    )


def test_companions_are_moved_too(tmp_path):
    write_pair(tmp_path / "a.mhd")
    assert names(tmp_path) == ["a.mhd", "a.raw"]


def test_companion_in_the_way_stops_all(tmp_path):
    (tmp_path / "a.raw").write_text("before")
    with pytest.raises(OutputError, match=r"a\.raw exists already"):
        write_pair(tmp_path / "a.mhd")
    assert names(tmp_path) == ["a.raw"]
    assert (tmp_path / "a.raw").read_text() == "before"


def test_writer_that_writes_nothing(tmp_path):
    with pytest.raises(OutputError, match="wrote nothing"), atomic_output(tmp_path / "a.nii"):
        pass


def test_symbolic_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.txt").write_text("before")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real" / "a.txt")
    atomic_text(tmp_path / "link.txt", "after", force=True)
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real" / "a.txt").read_text() == "after"


def test_result_has_ordinary_permissions(tmp_path):
    atomic_text(tmp_path / "a.txt", "text")
    plain = tmp_path / "plain"
    plain.write_text("text")
    assert (tmp_path / "a.txt").stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (".", "it is a folder; give a file name"),
        ("", "it is a folder; give a file name"),
        ("..", "it is a folder; give a file name"),
        ("/", "cannot write /: it is a folder; give a file name"),
        ("file/o.nii", "the folder file is not a folder"),
        ("none/o.nii", "the folder none does not exist"),
        ("dangling", r"the folder .*none does not exist"),
        ("x" * 300, r"xxx\.\.\.: the name is too long \(300 bytes, at most 255\)"),
        ("é" * 128, r"the name is too long \(256 bytes"),
        ("a\0b", "a name cannot hold a null character"),
        ("/".join(["y" * 200] * 40), "the name is too long"),
    ],
)
def test_what_is_no_file_is_told_before_any_work(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("dangling").symlink_to("none/o.nii")
    with pytest.raises(OutputError, match=message) as error:
        check_output(name)
    assert "\n" not in str(error.value)
    assert names(tmp_path) == ["dangling", "file"]


def test_folders_that_could_be_made_and_those_that_could_not(tmp_path):
    (tmp_path / "file").touch()
    assert check_folder(tmp_path) == tmp_path
    assert check_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert names(tmp_path) == ["file"]
    for path in (tmp_path / "file", tmp_path / "file" / "a"):
        with pytest.raises(OutputError, match="file is a file; give a folder"):
            check_folder(path)
    with pytest.raises(OutputError, match="/dev/null is a file; give a folder"):
        check_folder("/dev/null")
    with pytest.raises(OutputError, match="the name is too long"):
        check_folder(tmp_path / ("x" * 300))
