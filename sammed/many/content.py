"""Files known by their content, without reading again what has not been touched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sammed.io.recognition import stem

ABSENT: Mapping[str, str] = {"stat": "absent", "sha256": ""}
"""What is said of a file that is not there."""

_HEADERS = (".mhd", ".nhdr", ".hdr", ".hdr.gz", ".img", ".img.gz")
_VOXELS = (".raw", ".zraw", ".raw.gz", ".img", ".img.gz", ".hdr", ".hdr.gz")
_BLOCK = 1 << 22


def look(path: Path, known: Mapping[str, str] | None = None) -> Mapping[str, str]:
    """What a file or folder holds: its SHA-256, and by which its being touched shows.

    Parameters
    ----------
    path
        A file, with the files of its voxels where it is a header; or a folder with all its files.
    known
        What was found before: it is believed if sizes and times are still the same.

    Returns
    -------
    mapping
        ``"stat"`` and ``"sha256"``, both hex; `ABSENT` of what is not there.

    Examples
    --------
    >>> first = look(Path("sample_data/phantom_ct.nii.gz"))
    >>> look(Path("sample_data/phantom_ct.nii.gz"), first) == first
    True
    """
    try:
        files = list(_files(path))
        stat = _hash(f"{_told(file, path)} {_touched(file)}" for file in files)
        if known is not None and known.get("stat") == stat:
            return known
        content = _hash(f"{_told(file, path)} {_content(file)}" for file in files)
    except OSError:
        return ABSENT
    return {"stat": stat, "sha256": content} if files else ABSENT


def is_same(path: Path, known: Mapping[str, str] | None) -> bool:
    """Whether a file or folder still holds what it held; it is read only where it was touched."""
    return known is not None and look(path, known)["sha256"] == known.get("sha256")


def fingerprint(*what: Any) -> str:
    """Short hash of JSON-like values, the same in every process: sets have no order."""

    def plain(value: Any) -> Any:
        return sorted(value) if isinstance(value, frozenset) else str(value)

    text = json.dumps(what, sort_keys=True, default=plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(file for file in path.rglob("*") if file.is_file())
        return
    if not path.exists():
        return
    yield path
    if path.name.lower().endswith(_HEADERS):
        beside = (path.with_name(stem(path) + ending) for ending in _VOXELS)
        yield from (file for file in beside if file != path and file.is_file())


def _told(file: Path, path: Path) -> str:
    """A file's name as far as it belongs to the content: inside a folder."""
    return file.relative_to(path).as_posix() if path.is_dir() else file.suffix


def _touched(file: Path) -> str:
    state = file.stat()
    return f"{state.st_size} {state.st_mtime_ns}"


def _content(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _hash(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()
