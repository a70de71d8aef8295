"""Integrity of NRRD and MetaImage data, which ITK does not verify.

ITK hands over whatever a damaged stream unpacks to, so that one flipped bit gives a wrong volume
without a word. The stream is therefore unpacked once here, into nothing, to check it.
"""

from __future__ import annotations

from pathlib import Path

from sammed.errors import UnreadableFileError, UnsupportedFormatError
from sammed.io import gz
from sammed.io.itk.header import Header
from sammed.io.voxels import Notes, warn_of_rest

AUTO_DETECT = 47
"""zlib's window bits that accept a zlib as well as a gzip header."""

_RAW = ("raw", "")
_GZIP = ("gzip", "gz")
_BZIP2 = ("bzip2", "bz2")


def check_payload(header: Header, expected: int, notes: Notes) -> None:
    """Make sure that the voxels are whole, as far as their encoding tells.

    Parameters
    ----------
    header
        Of a NRRD or MetaImage file.
    expected
        Number of bytes that it promises.
    notes
        Receives what lies behind the last voxel.

    Raises
    ------
    UnreadableFileError
        If a file cannot hold as much, or a compressed stream is damaged or has another length.
    UnsupportedFormatError
        If the voxels are compressed with bzip2.
    """
    if header.fields.get("encoding", "").lower() in _BZIP2:
        raise UnsupportedFormatError(
            f"{header.path} is compressed with bzip2, which is not read; save it with gzip or raw"
        )
    if expected > header.stored_bytes * gz.MAX_DEFLATE_RATIO:
        raise UnreadableFileError(
            f"{header.path} is truncated or its header is wrong: the header promises "
            f"{expected:,} bytes, the file has {header.stored_bytes:,}"
        )
    if is_compressed(header):
        _check_stream(header, expected)
    elif is_raw(header):
        _note_rest(header, expected, notes)


def is_compressed(header: Header) -> bool:
    """Whether the voxels are one or more deflate streams."""
    if header.is_nrrd:
        return header.fields.get("encoding", "").lower() in _GZIP
    return header.fields.get("compresseddata", "").lower() in ("true", "1")


def is_raw(header: Header) -> bool:
    """Whether the voxels are stored as they are, neither compressed nor as text."""
    if header.is_nrrd:
        return header.fields.get("encoding", "").lower() in _RAW
    text = header.fields.get("binarydata", "true").lower() in ("false", "0")
    return not text and not is_compressed(header)


def _skips(header: Header) -> tuple[int, int]:
    """Lines and bytes before the voxels; -1 bytes means that the voxels lie at the end."""
    try:
        if header.is_nrrd:
            lines = int(header.fields.get("lineskip", 0))
            return lines, int(header.fields.get("byteskip", 0))
        return 0, int(header.fields.get("headersize", 0))
    except ValueError:
        return 0, -1


def _check_stream(header: Header, expected: int) -> None:
    lines, skipped = _skips(header)
    in_stream = header.is_nrrd  # MetaImage's header lies before the stream
    found = 0
    sources = [(file, 0) for file in header.files] or [(header.path, header.start)]
    for file, start in sources:
        start = _behind_lines(file, start, lines)
        if not in_stream:
            start += max(skipped, 0)
        for chunk in gz.unpacked(file, start, AUTO_DETECT):
            found += len(chunk)
    promised = expected + (max(skipped, 0) * len(sources) if in_stream else 0)
    if found != promised and not (skipped < 0 and found > promised):
        raise UnreadableFileError(
            f"{header.path} is damaged: its header promises {promised:,} bytes of voxels, its data "
            f"has {'more' if found > promised else f'{found:,}'}"
        )


def _behind_lines(file: Path, start: int, lines: int) -> int:
    if lines <= 0:
        return start
    with open(file, "rb") as opened:
        opened.seek(start)
        for _ in range(lines):
            opened.readline()
        return opened.tell()


def _note_rest(header: Header, expected: int, notes: Notes) -> None:
    """Say it when there is more than the voxels: the header may be wrong."""
    lines, skipped = _skips(header)
    if lines > 0 or skipped < 0:
        return
    rest = header.stored_bytes - skipped * max(len(header.files), 1) - expected
    if rest > 0:
        warn_of_rest(notes, rest)
