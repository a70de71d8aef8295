"""Headers of NRRD and MetaImage, read here because ITK does not tell all that stands in them.

A NRRD header has fields (``key: value``, their names standardised) and pairs (``key:=value``, free,
of any length: 3D Slicer's descriptions of segments). A MetaImage header has fields only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from sammed.errors import UnreadableFileError
from sammed.io import gz
from sammed.io.formats import endings
from sammed.io.recognition import hint

MAX_HEADER_BYTES = 1 << 26
"""A header that is longer than this is none."""

MAX_HEADER_LINE = 1 << 20
"""Slicer's longest lines have some thousand characters."""

_NRRD_FIELDS = frozenset(
    (
        *("content", "number", "type", "blocksize", "dimension", "sizes", "kinds", "labels"),
        *("space", "spacedimension", "spacedirections", "spaceorigin", "spaceunits", "units"),
        *("spacings", "thicknesses", "axismins", "axismaxs", "centers", "centerings"),
        *("min", "max", "oldmin", "oldmax", "sampleunits", "measurementframe"),
        *("endian", "encoding", "lineskip", "byteskip", "datafile"),
    )
)
"""All that its specification has, less blanks."""

_META_SEPARATOR = re.compile(r"\s*[=:]\s*")
_NRRD_SEPARATOR = re.compile(r":=|: ")


@dataclass(frozen=True)
class Header:
    """What a header says.

    Attributes
    ----------
    path
        The file that it stands in.
    is_nrrd
        Whether it is NRRD, not MetaImage.
    fields
        By name, in lower case and without spaces.
    pairs
        NRRD's free pairs, by name as written.
    start
        Where the voxels begin in the same file.
    files
        The files that hold the voxels, if that is not this one; they exist.
    lines
        The header's own lines, without those that name files and those that ITK trips over.
    odd
        What was left out of them, a sentence each.
    """

    path: Path
    is_nrrd: bool
    fields: dict[str, str]
    pairs: dict[str, str] = field(default_factory=dict)
    start: int = 0
    files: tuple[Path, ...] = ()
    lines: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()

    @property
    def stored_bytes(self) -> int:
        """Size on disk of what holds the voxels."""
        if self.files:
            return sum(file.stat().st_size for file in self.files)
        return self.path.stat().st_size - self.start


def is_nrrd(path: Path) -> bool:
    """Whether a file is NRRD, not MetaImage: by how it begins, else by its name."""
    with open(path, "rb") as file:
        start = file.read(10)
    if start.startswith((b"NRRD", b"ObjectType")):
        return start.startswith(b"NRRD")
    return path.suffix.lower() in endings(["nrrd"])


def read_header(path: Path) -> Header:
    """Read a header up to where the voxels begin.

    Raises
    ------
    UnreadableFileError
        If the file does not begin as one, its header does not end, or the files that it names
        are not there.
    """
    if gz.is_gzip(path):
        raise UnreadableFileError(
            f"{path} is packed as a whole, which is not read of NRRD and MetaImage: they compress "
            "their voxels by themselves; unpack it with gunzip"
        )
    nrrd = is_nrrd(path)
    with open(path, "rb") as file:
        header = _nrrd(file, path) if nrrd else _meta(file, path)
    if header is None:
        kind = "NRRD" if nrrd else "MetaImage"
        raise UnreadableFileError(
            f"{path} is not a {kind} file, whatever its name says, or its header is damaged"
            f"{hint(path)}"
        )
    for found in header.files:
        if not found.is_file():
            raise UnreadableFileError(
                f"{path} keeps its voxels in {found}, which does not exist{_alike(path, found)}"
            )
    return header


def _lines(file: BinaryIO) -> Iterator[str]:
    """Lines without their ends, until one is too long or they are too many."""
    while file.tell() < MAX_HEADER_BYTES:
        line = file.readline(MAX_HEADER_LINE)
        if not line or (len(line) == MAX_HEADER_LINE and not line.endswith(b"\n")):
            return
        yield line.decode("utf-8", "replace").rstrip("\r\n")


def _nrrd(file: BinaryIO, path: Path) -> Header | None:
    """A NRRD header; a detached one ends with the file, another with an empty line."""
    lines = _lines(file)
    first = next(lines, "")
    if not first.startswith("NRRD"):
        return None
    fields: dict[str, str] = {}
    pairs: dict[str, str] = {}
    kept, odd = [first], []
    files: tuple[Path, ...] = ()
    for line in lines:
        if not line:
            break
        found = _NRRD_SEPARATOR.search(line)
        if line.startswith("#") or found is None:
            continue
        name, value = line[: found.start()], line[found.end() :].strip()
        key = name.replace(" ", "").lower()
        if found[0] == ":=":
            pairs[name] = _unescaped(value)
        elif reason := _left_out(name, value, fields.get(key), path):
            odd.append(reason)
        elif key == "datafile":
            fields[key] = value
            files = _files(path, value, fields, lines)
        else:
            fields[key] = value
            kept.append(line)
    if not fields:
        return None
    start = 0 if files else file.tell()
    return Header(path, True, fields, pairs, start, files, tuple(kept), tuple(odd))


def _files(
    path: Path, value: str, fields: dict[str, str], lines: Iterator[str]
) -> tuple[Path, ...]:
    """Files that hold a NRRD's voxels: listed to the end of the header, or named."""
    if value.split()[:1] == ["LIST"]:
        return tuple(path.parent / name.strip() for name in lines if name.strip())
    return _named(path, value, fields.get("sizes", ""))


def _left_out(name: str, value: str, before: str | None, path: Path) -> str:
    """Why a field is not heeded; "" if it is.

    Raises
    ------
    UnreadableFileError
        If it says another thing than before.
    """
    if name.replace(" ", "").lower() not in _NRRD_FIELDS:
        return f"its header has {name!r}, which NRRD does not know; it was not heeded"
    if before is None:
        return ""
    if before != value:
        raise UnreadableFileError(
            f"{path} says two things of its {name!r}: {before[:80]!r} and {value[:80]!r}; correct "
            "its header"
        )
    return f"its header has {name!r} twice"  # as in sequences that Slicer wrote


def _unescaped(value: str) -> str:
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], value)


def _meta(file: BinaryIO, path: Path) -> Header | None:
    """A MetaImage header, which ends with the line that names what holds the voxels."""
    fields: dict[str, str] = {}
    kept: list[str] = []
    lines = _lines(file)
    for line in lines:
        key, *value = _META_SEPARATOR.split(line, maxsplit=1)
        key = key.strip().lower()
        fields[key] = value[0].strip() if value else ""
        if key != "elementdatafile":
            kept.append(line)
            continue
        data = fields[key]
        if not data.isprintable() or not data:
            return None
        files: tuple[Path, ...] = ()
        if data.split()[0].upper() == "LIST":
            files = tuple(path.parent / name.strip() for name in lines if name.strip())
        elif data.upper() != "LOCAL":
            files = _named(path, data, fields.get("dimsize", ""))
        start = 0 if files else file.tell()
        return Header(path, False, fields, {}, start, files, tuple(kept))
    return None


def _named(path: Path, value: str, sizes: str) -> tuple[Path, ...]:
    """Files of a name, or of a pattern as ``slice%03d.raw 1 40 1``; none without either."""
    if "%" not in value or (path.parent / value).is_file():
        return (path.parent / value,) if value else ()
    pattern, *words = value.split()
    try:
        numbers = [int(word) for word in words[:3]]
        first, last, step = numbers + [1, int((sizes.split() or ["1"])[-1]), 1][len(numbers) :]
        count = (last - first) // step + 1
        if not 0 < count <= MAX_HEADER_LINE:
            raise ValueError
        return tuple(path.parent / (pattern % (first + n * step)) for n in range(count))
    except (ValueError, TypeError, ZeroDivisionError):
        raise UnreadableFileError(
            f"{path} names the files of its voxels as {value!r}; expected a pattern, its first and "
            "last number and a step, as in 'slice%03d.raw 1 40 1'"
        ) from None


def _alike(path: Path, missing: Path) -> str:
    """What to do about a file that is not there; Windows minds neither case nor slashes."""
    name = re.split(r"[\\/]", str(missing))[-1].lower()
    beside = [file.name for file in path.parent.iterdir() if file.name.lower() == name]
    if beside:
        return f"; {beside[0]} lies beside it: write that name into the header"
    return "; put it there, or correct the name in the header"
