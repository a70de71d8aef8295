"""Integrity of compressed NRRD and MetaImage data, which ITK does not verify.

ITK hands over whatever a damaged stream unpacks to, so that one flipped bit gives a wrong volume
without a word. The stream is therefore unpacked once here, into nothing, to check it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sammed.errors import UnreadableFileError
from sammed.io import gz
from sammed.io.formats import endings

AUTO_DETECT = 47
"""zlib's window bits that accept a zlib as well as a gzip header."""

MAX_HEADER_LINES = 10_000
MAX_HEADER_LINE = 1 << 16
MAX_VALUE = 1000
"""Characters in one field; MetaIO keeps no more than about that many safely."""


class Payload(NamedTuple):
    """Where the compressed voxels are."""

    path: Path
    start: int


def is_nrrd(path: Path) -> bool:
    """Whether a file is NRRD, not MetaImage, by its name.

    Examples
    --------
    >>> is_nrrd(Path("organs.SEG.NRRD")), is_nrrd(Path("organs.mha"))
    (True, False)
    """
    return path.suffix.lower() in endings(["nrrd"])


def check_payload(path: Path, expected: int) -> None:
    """Make sure that the file's compressed voxels are whole.

    Parameters
    ----------
    path
        ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd``; what is not compressed passes.
    expected
        Number of bytes that its header promises.

    Raises
    ------
    UnreadableFileError
        If the stream is damaged, or is not as long as promised.
    """
    payload = _compressed(path)
    if payload is None:
        return
    found = 0
    for chunk in gz.unpacked(payload.path, payload.start, AUTO_DETECT):
        found += len(chunk)
        if found > expected:
            break
    if found != expected:
        raise UnreadableFileError(
            f"{path} is damaged: its header promises {expected:,} bytes of voxels, its data has "
            f"{'more' if found > expected else f'{found:,}'}"
        )


def check_header(path: Path) -> None:
    """Make sure that a header can be given to ITK, whose parsers overrun on endless lines.

    Raises
    ------
    UnreadableFileError
        If the file does not begin as its name says, or its header does not end.
    """
    nrrd, fields, _ = _header(path)
    ended = bool(fields) if nrrd else fields.get("elementdatafile", "\0").isprintable()
    longest = max((len(key) + len(value) for key, value in fields.items()), default=0)
    if not ended or longest > MAX_VALUE:
        kind = "NRRD" if nrrd else "MetaImage"
        raise UnreadableFileError(
            f"{path} is not a {kind} file, whatever its name says, or its header is damaged"
        )


def _header(path: Path) -> tuple[bool, dict[str, str], int]:
    """Whether it is NRRD, the header's fields, and where the header ends."""
    nrrd = is_nrrd(path)
    with open(path, "rb") as file:
        fields = _nrrd_fields(file) if nrrd else _meta_fields(file)
        return nrrd, fields, file.tell()


def _compressed(path: Path) -> Payload | None:
    """The file's one compressed stream, if that is how its voxels are stored."""
    nrrd, fields, start = _header(path)
    if nrrd:
        packed = fields.get("encoding", "") in ("gzip", "gz")
        skips = any(fields.get(key, "0") != "0" for key in ("line skip", "byte skip"))
        data = fields.get("data file", fields.get("datafile", "local"))
        packed = packed and not skips
    else:
        packed = fields.get("compresseddata", "").lower() == "true"
        data = fields.get("elementdatafile", "local")
    if not packed or data.upper().startswith("LIST") or "%" in data:
        return None
    return Payload(path, start) if data.lower() == "local" else _beside(path, data)


def _beside(path: Path, data: str) -> Payload | None:
    file = path.parent / data
    return Payload(file, 0) if file.is_file() else None


def _lines(file: BinaryIO) -> Iterator[str]:
    for _ in range(MAX_HEADER_LINES):
        line = file.readline(MAX_HEADER_LINE)
        if not line:
            return
        yield line.decode("latin-1").rstrip("\r\n")


def _nrrd_fields(file: BinaryIO) -> dict[str, str]:
    """Fields of a NRRD header, none if it is not one; the file is left behind the empty line."""
    fields: dict[str, str] = {}
    lines = _lines(file)
    if not next(lines, "").startswith("NRRD"):
        return fields
    for line in lines:
        if not line:
            return fields
        key, separator, value = line.partition(": ")
        if separator and not line.startswith("#"):
            fields[key.strip().lower()] = value.strip()
    return fields  # a detached header may end with the file


def _meta_fields(file: BinaryIO) -> dict[str, str]:
    """Fields of a MetaImage header, none if it has no end; the file is left behind it."""
    fields: dict[str, str] = {}
    for line in _lines(file):
        key, _, value = line.partition("=")
        fields[key.strip().lower()] = value.strip()
        if key.strip().lower() == "elementdatafile":
            return fields
    return {}
