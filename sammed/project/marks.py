"""By what a scan is known again: all that its files hold.

It once was names, sizes and the ends of files, by which scans of two people may be one. Cases of
that time keep the marks that they have, which are still understood; whatever is added now gets a
mark of the content.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from sammed.errors import SammedError, UnreadableFileError

CONTENT = "content-1:"
"""How marks of the content begin; older ones are bare hexadecimal numbers."""

_ENDS = 1 << 20
"""Bytes at either end of a file by which older marks know it."""

_BLOCK = 1 << 22


def mark_of(path: Path, series: str = "") -> str:
    """What a scan is known again by: SHA-256 of all that its files hold.

    Parameters
    ----------
    path
        A file, with the files of its voxels where it is a header; or a folder with all its files,
        but for hidden ones. How these are called does not matter.
    series
        Of a folder with several.

    Raises
    ------
    UnreadableFileError
        If something cannot be read.

    Examples
    --------
    >>> mark_of(Path("sample_data/phantom_ct.nii.gz"))[:14]
    'content-1:...'
    """
    try:
        held = sorted(_content_of(file) for file in _files(path))
    except OSError as error:
        raise UnreadableFileError(f"cannot read {path}: {error.strerror}") from None
    hasher = hashlib.sha256("\n".join([*held, *filter(None, [series])]).encode())
    return CONTENT + hasher.hexdigest()


def is_marked(path: Path, mark: str, series: str = "") -> bool:
    """Whether a scan is the one that a mark was made of, also one of an older version.

    Parameters
    ----------
    path
        An existing file or folder.
    mark
        Of a case.
    series
        As `mark_of`.

    Raises
    ------
    UnreadableFileError
        If something cannot be read.
    """
    if mark.startswith(CONTENT):
        return mark_of(path, series) == mark
    return older_mark_of(path, series) == mark


def older_mark_of(path: Path, series: str = "") -> str:
    """As older versions: of a file its size and its two ends, of a folder names and sizes.

    Parameters
    ----------
    path, series
        As `mark_of`.

    Raises
    ------
    UnreadableFileError
        If something cannot be read.
    """
    try:
        mark = _outside(path)
    except OSError as error:
        raise UnreadableFileError(f"cannot read {path}: {error.strerror}") from None
    return hashlib.sha256(f"{mark} {series}".encode()).hexdigest() if series else mark


def _files(path: Path) -> list[Path]:
    """The files that a scan is in."""
    if path.is_dir():
        inside = (file for file in path.rglob("*") if file.is_file())
        return [f for f in inside if not any(p[0] == "." for p in f.relative_to(path).parts)]
    name = path.name.lower()
    if name.endswith((".nhdr", ".mhd")):
        from sammed.io.itk.header import read_header

        try:
            return [path, *read_header(path).files]
        except SammedError:  # reading the scan says what is wrong with it
            return [path]
    pairs = {".hdr": ".img", ".img": ".hdr"}
    for ending, other in pairs.items():
        for packed in ("", ".gz"):
            if name.endswith(ending + packed):
                beside = path.with_name(path.name[: -len(ending + packed)] + other + packed)
                return [path, beside] if beside.is_file() else [path]
    return [path]


def _content_of(file: Path) -> str:
    now = file.stat()
    touched = (now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino)
    return _content(file.resolve(), touched)


@lru_cache(maxsize=1 << 16)
def _content(file: Path, touched: tuple[int, ...]) -> str:
    """SHA-256 (hex) of a file; within a process it is read again only if it was touched."""
    hasher = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            hasher.update(block)
    return hasher.hexdigest()


def _outside(path: Path) -> str:
    hasher = hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            hasher.update(f"{file.relative_to(path).as_posix()} {file.stat().st_size}\n".encode())
        return hasher.hexdigest()
    size = path.stat().st_size
    hasher.update(str(size).encode())
    with path.open("rb") as stream:
        hasher.update(stream.read(_ENDS))
        if size > _ENDS:
            stream.seek(max(size - _ENDS, _ENDS))
            hasher.update(stream.read(_ENDS))
    return hasher.hexdigest()
