"""Compressed frames of a DICOM file: fragments, offset tables, and what to make of broken ones."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple

from sammed.errors import UnreadableFileError
from sammed.io.dicom.file import DicomFile

_ITEM = b"\xfe\xff\x00\xe0"
_END = b"\xfe\xff\xdd\xe0"
MAX_FRAGMENTS = 1_000_000


class Fragment(NamedTuple):
    """Where a fragment's bytes lie in the file."""

    offset: int
    length: int


def frames(file: DicomFile, count: int) -> list[tuple[Fragment, ...]]:
    """The fragments of each frame.

    The number of fragments decides where it can: one frame has them all, as many fragments as
    frames belong to them one by one. Only otherwise is the offset table asked, and where it does
    not fit the fragments, their first bytes.

    Parameters
    ----------
    file
        With encapsulated pixels.
    count
        How many frames its header announces.

    Raises
    ------
    UnreadableFileError
        If it is truncated or the fragments cannot be told apart.
    """
    if file.pixels is None:
        raise UnreadableFileError(f"{file.name} has no pixel data")
    with open(file.path, "rb") as stream:
        table, base, fragments = _fragments(stream, file)
        if not fragments:
            raise UnreadableFileError(f"{file.name} has empty compressed pixel data")
        if count == 1:
            return [tuple(fragments)]
        if len(fragments) == count:
            return [(fragment,) for fragment in fragments]
        starts = _starts(_extended(file.header) or table, base, fragments, count)
        if starts is None:
            starts = _starts_by_content(stream, fragments)
    if len(starts) != count:
        raise UnreadableFileError(
            f"{file.name} has {count} frames in {len(fragments)} compressed pieces, and its offset "
            "table does not say which belong together; export it again"
        )
    bounds = pairwise([*starts, len(fragments)])
    return [tuple(fragments[first:last]) for first, last in bounds]


def frame_bytes(file: DicomFile, fragments: tuple[Fragment, ...]) -> bytes:
    """The compressed bytes of one frame."""
    parts = []
    with open(file.path, "rb") as stream:
        for fragment in fragments:
            stream.seek(fragment.offset)
            parts.append(stream.read(fragment.length))
    return b"".join(parts)


def _fragments(stream: BinaryIO, file: DicomFile) -> tuple[tuple[int, ...], int, list[Fragment]]:
    """Basic offset table, where its offsets count from, and all fragments."""
    place = file.pixels
    at = place.offset if place is not None else 0
    stream.seek(0, 2)
    size = stream.tell()
    found: list[Fragment] = []
    while True:
        stream.seek(at)
        head = stream.read(8)
        if head[:4] == _END or (found and len(head) < 8 and not head.strip(b"\0")):
            break
        length = int.from_bytes(head[4:8], "little")
        if len(head) < 8 or head[:4] != _ITEM or at + 8 + length > size:
            raise UnreadableFileError(
                f"{file.name} is truncated or corrupt: compressed piece {len(found)} of its pixel "
                "data is not complete; copy or export it again"
            )
        found.append(Fragment(at + 8, length))
        at += 8 + length
        if len(found) > MAX_FRAGMENTS:
            raise UnreadableFileError(f"{file.name} has more than {MAX_FRAGMENTS:,} pixel pieces")
    if not found:
        return (), at, []
    stream.seek(found[0].offset)
    raw = stream.read(found[0].length)
    table = tuple(
        int.from_bytes(raw[i : i + 4], "little") for i in range(0, len(raw) - len(raw) % 4, 4)
    )
    return table, found[0].offset + found[0].length, [f for f in found[1:] if f.length]


def _extended(header: Any) -> tuple[int, ...]:
    raw = header.get("ExtendedOffsetTable")
    if not isinstance(raw, bytes):
        return ()
    return tuple(int.from_bytes(raw[i : i + 8], "little") for i in range(0, len(raw), 8))


def _starts(
    table: tuple[int, ...], base: int, fragments: list[Fragment], count: int
) -> list[int] | None:
    """Index of each frame's first fragment by an offset table; None if the table is wrong."""
    if len(table) != count:
        return None
    offsets = [f.offset - 8 - base for f in fragments]
    starts = []
    for offset in table:
        index = bisect_right(offsets, offset) - 1
        if index < 0 or offsets[index] != offset:
            return None
        starts.append(index)
    increasing = all(a < b for a, b in pairwise(starts))
    return starts if increasing and starts[0] == 0 else None


def _starts_by_content(stream: BinaryIO, fragments: list[Fragment]) -> list[int]:
    """Fragments that begin a JPEG, JPEG-LS or JPEG 2000 image."""
    starts = []
    for index, fragment in enumerate(fragments):
        stream.seek(fragment.offset)
        head = stream.read(12)
        jpeg = head[:3] == b"\xff\xd8\xff"
        if jpeg or head[:4] == b"\xff\x4f\xff\x51" or head[4:8] == b"jP  ":
            starts.append(index)
    return starts if starts and starts[0] == 0 else []
