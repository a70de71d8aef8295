"""Zip and tar archives of DICOM files, unpacked within bounds under names of our own.

Single files packed by gzip are unpacked too, alone, in folders or in archives. Archives within
archives or folders are not: whoever asked is told of them.
"""

from __future__ import annotations

import gzip
import io
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from sammed.errors import UnreadableFileError
from sammed.io.dicom.file import (
    SNIFF_BYTES,
    START_BYTES,
    inflated_start,
    is_packed_dicom,
    looks_like_dicom,
)
from sammed.io.formats import ARCHIVES
from sammed.io.gz import GZIP_BITS

MAX_MEMBERS = 200_000
MAX_BYTES = 64 << 30
MIN_BYTES = 1 << 30
MAX_RATIO = 250
"""An archive may unpack to this many times its size, or to `MIN_BYTES`, whichever is more."""

MAX_DIRECTORY_BYTES = 64 << 20
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OTHERS = (b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c", b"BZh", b"\xfd7zXZ\0")
_CHUNK = 1 << 20
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    EOFError,
    OSError,
    RuntimeError,  # zipfile: encrypted
    NotImplementedError,  # zipfile: unknown compression
    ValueError,
    IndexError,
    OverflowError,
)


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or tar archive that can be looked into."""
    try:
        with open(path, "rb") as file:
            start = file.read(START_BYTES)
    except OSError:
        return False
    if start[128:132] == b"DICM":
        return False
    if start[:4] in _ZIP or inflated_start(start)[257:262] == b"ustar":
        return True
    return path.name.lower().endswith(ARCHIVES)


def is_nested(name: str, start: bytes) -> bool:
    """Whether a file among others is an archive, by its first 512 bytes; office documents are not.

    Parameters
    ----------
    name
        Its name, with or without folders.
    start
        How it begins.
    """
    known = start[:4] in _ZIP or start.startswith(_OTHERS)
    known = known or inflated_start(start)[257:262] == b"ustar"
    last = PurePosixPath(name.replace("\\", "/")).name.lower()
    return known and (last.endswith((*ARCHIVES, ".rar", ".7z", ".gz")) or "." not in last)


def unpack_file(path: Path, target: Path) -> None:
    """Unpack a gzip file.

    Raises
    ------
    UnreadableFileError
        If it is damaged, or unpacks to far more than its size.
    """
    budget = _Budget(path, _limit(path, target.parent))
    try:
        with open(path, "rb") as stream, open(target, "wb") as out:
            _gunzip(b"", stream, out, budget)
    except _BROKEN as error:
        raise UnreadableFileError(
            f"{path} is a broken gzip file ({error or type(error).__name__}); copy it again"
        ) from error


@dataclass(frozen=True)
class Unpacked:
    """What was in an archive.

    Attributes
    ----------
    members : list of (file, name in the archive)
        Those that look like DICOM.
    stray
        How many others there were.
    nested
        Names of archives among these.
    """

    members: list[tuple[Path, str]]
    stray: int
    nested: tuple[str, ...]


def unpack(path: Path, folder: Path) -> Unpacked:
    """Unpack the DICOM members of an archive.

    Parameters
    ----------
    path
        A zip or tar archive, the latter as it is or packed by gzip, bzip2 or xz.
    folder
        An empty folder; the members become files ``0``, ``1``, ... in it, whatever their names.

    Raises
    ------
    UnreadableFileError
        If it is broken or encrypted, holds paths that lead out of it, too many members, or unpacks
        to far more than its size.
    """
    budget = _Budget(path, _limit(path, folder))
    members: list[tuple[Path, str]] = []
    nested: list[str] = []
    stray = 0
    try:
        with open(path, "rb") as file:
            is_zip = file.read(2) == b"PK"
        for name, stream in (_zip_members if is_zip else _tar_members)(path, budget):
            budget.count(name)
            start = stream.read(START_BYTES)
            packed = is_packed_dicom(start)
            if not packed and not looks_like_dicom(start[:SNIFF_BYTES]):
                stray += 1
                nested += [name] if is_nested(name, start) else []
                continue
            target = folder / str(len(members))
            with open(target, "wb") as out:
                (_gunzip if packed else _copy)(start, stream, out, budget)
            members.append((target, name))
    except UnreadableFileError:
        raise
    except _BROKEN as error:
        raise UnreadableFileError(
            f"{path} is a broken archive, or is encrypted ({error}); "
            "unpack it by other means and give the folder"
        ) from error
    return Unpacked(members, stray, tuple(nested))


def _limit(path: Path, folder: Path) -> int:
    """Bytes that a file may unpack to."""
    limit = min(MAX_BYTES, max(MIN_BYTES, MAX_RATIO * path.stat().st_size))
    return min(limit, shutil.disk_usage(folder).free)


def _copy(start: bytes, stream: BinaryIO, out: BinaryIO, budget: _Budget) -> None:
    budget.spend(out.write(start))
    while part := stream.read(_CHUNK):
        budget.spend(out.write(part))


def _gunzip(start: bytes, stream: BinaryIO, out: BinaryIO, budget: _Budget) -> None:
    inflate = zlib.decompressobj(GZIP_BITS)
    packed = start or stream.read(_CHUNK)
    while packed and not inflate.eof:
        budget.spend(out.write(inflate.decompress(packed, _CHUNK)))
        packed = inflate.unconsumed_tail or stream.read(_CHUNK)
    if not inflate.eof:
        raise EOFError("it ends early")


class _Budget:
    """Members and bytes that an archive may still unpack to."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path, self.limit = path, limit
        self.members = self.bytes = 0

    def count(self, name: str) -> None:
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or (len(name) > 1 and name[1] == ":"):
            raise UnreadableFileError(
                f"{self.path} holds the path {name!r}, which leads out of the archive; "
                "it was not unpacked"
            )
        self.members += 1
        if self.members > MAX_MEMBERS:
            raise UnreadableFileError(
                f"{self.path} holds more than {MAX_MEMBERS:,} files; give one study or series"
            )

    def spend(self, count: int) -> None:
        self.bytes += count
        if self.bytes > self.limit:
            raise UnreadableFileError(
                f"{self.path} ({self.path.stat().st_size:,} bytes) unpacks to more than "
                f"{self.limit / 2**30:.3g} GiB, far more than its size or than there is room for; "
                "it was not read"
            )


def _zip_members(path: Path, budget: _Budget) -> Iterator[tuple[str, BinaryIO]]:
    _check_zip_directory(path)
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            with archive.open(info) as stream:
                yield info.filename, stream  # type: ignore[misc]


def _check_zip_directory(path: Path) -> None:
    """Refuse a directory of millions of entries before it is read into memory."""
    with open(path, "rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - 65557))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    directory = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    if directory == 0xFFFFFFFF or directory > MAX_DIRECTORY_BYTES:
        raise UnreadableFileError(
            f"{path} holds more than {MAX_MEMBERS:,} files; give one study or series"
        )


class _Bounded(io.RawIOBase):
    """The unpacked stream of a tar, charged to the budget as it is read."""

    def __init__(self, stream: BinaryIO, budget: _Budget) -> None:
        self.stream, self.budget = stream, budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        part = self.stream.read(min(len(view), _CHUNK))
        self.budget.spend(len(part))
        view[: len(part)] = part
        return len(part)


def _tar_members(path: Path, budget: _Budget) -> Iterator[tuple[str, BinaryIO]]:
    """Members in the order of the stream, so that nothing is unpacked twice."""
    stream_budget = _Budget(budget.path, budget.limit)
    with (
        _unpacked(path) as stream,
        tarfile.open(fileobj=_Reader(stream, stream_budget), mode="r|") as archive,
    ):
        for info in archive:
            budget.count(info.name)
            budget.members -= 1
            if info.isfile() and (member := archive.extractfile(info)) is not None:
                yield info.name, member  # type: ignore[misc]
        if stream_budget.bytes < archive.offset + tarfile.BLOCKSIZE:  # no end-of-archive block
            raise UnreadableFileError(f"{path} is truncated; copy or download it again")


class _Reader(io.BufferedReader):
    """A buffered, bounded stream that refuses single huge reads (headers of absurd length)."""

    def __init__(self, stream: BinaryIO, budget: _Budget) -> None:
        super().__init__(_Bounded(stream, budget), _CHUNK)


def _unpacked(path: Path) -> BinaryIO:
    import bz2

    with open(path, "rb") as file:
        start = file.read(6)
    if start[:2] == b"\x1f\x8b":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if start[:3] == b"BZh":
        return bz2.open(path, "rb")  # type: ignore[return-value]
    if start == b"\xfd7zXZ\0":
        return lzma.open(path, "rb")  # type: ignore[return-value]
    return open(path, "rb")
