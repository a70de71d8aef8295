"""From a folder, archive, DICOMDIR or file to the headers of all DICOM files in it."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sammed.errors import InputError, UnreadableFileError
from sammed.io.dicom import tags
from sammed.io.dicom.file import (
    SNIFF_BYTES,
    START_BYTES,
    DicomFile,
    is_packed_dicom,
    looks_like_dicom,
    read_file,
    sop_class,
)
from sammed.io.dicom.images.archive import is_archive, is_nested, unpack, unpack_file

MAX_FILES = 200_000
MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scan:
    """What lies under a path.

    Attributes
    ----------
    files
        All DICOM files but media directories.
    stray
        How many other files there are.
    broken
        One sentence for each file that claims to be DICOM and cannot be read.
    missing
        How many files a DICOMDIR lists that do not exist.
    nested
        Names of archives among the files, which were not looked into.
    """

    files: tuple[DicomFile, ...]
    stray: int = 0
    broken: tuple[str, ...] = ()
    missing: int = 0
    nested: tuple[str, ...] = ()

    def notes(self) -> tuple[str, ...]:
        """What a reader should know of the files that were left out."""
        found = []
        if self.broken:
            more = f" and {len(self.broken) - 3} more" if len(self.broken) > 3 else ""
            found.append(f"left out: {'; '.join(self.broken[:3])}{more}")
        if self.missing:
            found.append(f"the DICOMDIR lists {self.missing} files that do not exist")
        if self.nested:
            found.append(f"{_archives(self.nested)} not looked into")
        return tuple(found)


@contextmanager
def scan(path: Path) -> Iterator[Scan]:
    """Find the DICOM files under a path; archives stay unpacked while the context lasts.

    Parameters
    ----------
    path
        A file, a folder (searched with all folders in it), a DICOMDIR, a zip or tar archive.

    Raises
    ------
    UnreadableFileError
        If it does not exist, holds no readable DICOM file, or is a broken or hostile archive.
    InputError
        If a folder holds more than `MAX_FILES` files.
    """
    with tempfile.TemporaryDirectory(prefix="sammed-") as scratch:
        folder = Path(scratch)
        if path.is_dir():
            yield _read_all(path, [(file, _relative(file, path)) for file in _walk(path)], folder)
        elif not path.is_file():
            raise UnreadableFileError(f"{path} does not exist, or is no file or folder")
        elif is_archive(path):
            (folder / "unpacked").mkdir()
            found = unpack(path, folder / "unpacked")
            yield _read_all(path, found.members, folder, found.stray, found.nested)
        else:
            yield _scan_file(path, folder)


def _scan_file(path: Path, scratch: Path) -> Scan:
    file = read_file(_plain(path, scratch), str(path))
    if sop_class(file.header) != MEDIA_DIRECTORY and not _is_directory(file):
        return Scan((file,))
    listed, missing = _listed(file)
    if not listed:
        raise UnreadableFileError(
            f"{path} is a DICOMDIR, and none of the {missing} files that it lists is there; "
            "give the folder that holds them"
        )
    found = _read_all(path, listed, scratch)
    return replace(found, missing=missing)


def _walk(folder: Path) -> Iterator[Path]:
    """Regular files under a folder, sorted; no link to a folder is followed."""
    count = 0
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            if not path.is_file():  # a pipe would block, a dangling link fail
                continue
            count += 1
            if count > MAX_FILES:
                raise InputError(
                    f"{folder} holds more than {MAX_FILES:,} files; give one study or series"
                )
            yield path


def _relative(file: Path, folder: Path) -> str:
    return str(file.relative_to(folder))


def _read_all(
    path: Path,
    candidates: list[tuple[Path, str]],
    scratch: Path,
    stray: int = 0,
    nested: tuple[str, ...] = (),
) -> Scan:
    files: list[DicomFile] = []
    broken: list[str] = []
    for file, name in candidates:
        start = _start(file)
        if not looks_like_dicom(start[:SNIFF_BYTES]) and not is_packed_dicom(start):
            stray += 1
            nested += (name,) if is_nested(name, start) else ()
            continue
        try:
            found = read_file(_plain(file, scratch), name)
        except UnreadableFileError as error:
            broken.append(str(error))
            logger.info("%s", error)
            continue
        if _is_directory(found):
            continue
        if not tags.text(found.header, "SeriesInstanceUID") and not found.pixel_element:
            stray += 1  # begins like DICOM, but holds nothing of it
            continue
        files.append(found)
    if not files:
        raise UnreadableFileError(_nothing(path, stray, broken, nested))
    return Scan(tuple(files), stray, tuple(broken), nested=nested)


def _start(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(START_BYTES)
    except OSError:
        return b""


def _plain(path: Path, scratch: Path) -> Path:
    """The file itself, or what it unpacks to if it is a DICOM file packed by gzip."""
    if not is_packed_dicom(_start(path)):
        return path
    target = scratch / f"plain{sum(1 for _ in scratch.iterdir())}"
    unpack_file(path, target)
    return target


def _nothing(path: Path, stray: int, broken: list[str], nested: tuple[str, ...]) -> str:
    if broken:
        return f"{path} holds no readable DICOM file: {broken[0]} ({len(broken)} in all)"
    if nested:
        return f"{path} holds no DICOM file; {_archives(nested)} not looked into"
    return f"{path} holds no DICOM file; {stray:,} others were looked at"


def _archives(nested: tuple[str, ...]) -> str:
    s = "" if len(nested) == 1 else "s"
    return (
        f"{len(nested)} archive{s} in it (first: {nested[0]}; unpack, or give one by itself) "
        f"{'was' if len(nested) == 1 else 'were'}"
    )


def _is_directory(file: DicomFile) -> bool:
    meta = getattr(file.header, "file_meta", None)
    return meta is not None and tags.text(meta, "MediaStorageSOPClassUID") == MEDIA_DIRECTORY


def _listed(directory: DicomFile) -> tuple[list[tuple[Path, str]], int]:
    """Files that a DICOMDIR refers to, inside its own folder, and how many are not there."""
    root = directory.path.parent
    listed: list[tuple[Path, str]] = []
    missing = 0
    for record in tags.items(directory.header, "DirectoryRecordSequence")[:MAX_FILES]:
        parts = tags.texts(record, "ReferencedFileID")
        if not parts:
            continue
        path = _resolve(root, parts)
        if path is None:
            missing += 1
        else:
            listed.append((path, "/".join(parts)))
    return listed, missing


def _resolve(root: Path, parts: tuple[str, ...]) -> Path | None:
    """A file below the root, whatever the case of its name; None if it is not there."""
    if any(part in ("", ".", "..") or "/" in part or "\\" in part for part in parts):
        return None
    for spelled in (parts, [p.lower() for p in parts], [p.upper() for p in parts]):
        path = root.joinpath(*spelled)
        if path.is_file():
            return path
    return None
