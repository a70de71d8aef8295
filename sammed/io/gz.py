"""Bytes from plain or gzip-compressed files into an array, and back, in bounded memory."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from sammed.errors import UnreadableFileError

MAGIC = b"\x1f\x8b"
"""How a gzip stream begins."""

GZIP_BITS = 31
"""zlib's window bits that mean a gzip header."""

CHUNK = 1 << 18
"""Compressed bytes unpacked at a time."""

MAX_TRAILING = 1 << 26
"""Bytes after the last voxel up to which a stream is unpacked to verify its checksum."""

MAX_DEFLATE_RATIO = 1032
"""No deflate stream unpacks to more than this many times its size."""


def is_gzip(path: Path) -> bool:
    """Whether a file starts as gzip streams do, whatever its name."""
    with open(path, "rb") as file:
        return file.read(2) == MAGIC


def open_bytes(path: Path) -> BinaryIO:
    """Open for reading, unpacking where the content is gzip."""
    return cast(BinaryIO, gzip.open(path, "rb")) if is_gzip(path) else open(path, "rb")


def read_array(
    path: Path,
    offset: int,
    count: int,
    whole: bool,
    rest: Callable[[int], None] | None = None,
) -> NDArray[np.uint8]:
    """Some bytes of a file's unpacked content.

    Parameters
    ----------
    path
        A plain or gzip file.
    offset, count
        First byte and number of bytes, of the unpacked content.
    whole
        Go on to the end of a gzip file, so that its checksum is verified.
    rest
        Called with the number of bytes that follow, if there are any and `whole` is asked for.

    Returns
    -------
    (count,) uint8
        Writable.

    Raises
    ------
    UnreadableFileError
        If the file ends early, is damaged, or does not fit into memory.
    """
    _check_size(path, offset + count)
    try:
        array: NDArray[np.uint8] = np.empty(count, np.uint8)
    except MemoryError:
        raise UnreadableFileError(
            f"{path} needs {count / 1e9:.1f} GB of memory, more than there is"
        ) from None
    more = _fill(path, array, offset, whole) if is_gzip(path) else _fill_plain(path, array, offset)
    if more > 0 and whole and rest is not None:
        rest(more)
    return array


def _check_size(path: Path, needed: int) -> None:
    """Refuse before allocating when the file cannot possibly hold what its header promises."""
    size = path.stat().st_size
    possible = size * MAX_DEFLATE_RATIO if is_gzip(path) else size
    if needed > possible:
        raise UnreadableFileError(
            f"{path} is truncated or its header is wrong: the header promises {needed:,} bytes, "
            f"the file has {size:,}; copy or download it again"
        )


def _fill_plain(path: Path, array: NDArray[np.uint8], offset: int) -> int:
    """Bytes that follow."""
    with open(path, "rb") as file:
        file.seek(offset)
        if file.readinto(array.data) != array.size:
            raise _truncated(path)
    return path.stat().st_size - offset - array.size


def _fill(path: Path, array: NDArray[np.uint8], offset: int, whole: bool) -> int:
    """Bytes that follow, as far as they were looked at."""
    position = -offset
    for chunk in unpacked(path):
        begin, end = max(position, 0), min(position + len(chunk), array.size)
        if end > begin:
            array[begin:end] = np.frombuffer(chunk, np.uint8)[begin - position : end - position]
        position += len(chunk)
        if position >= array.size + (MAX_TRAILING if whole else 0):
            break
    if position < array.size:
        raise _truncated(path)
    return position - array.size


def unpacked(path: Path, start: int = 0, wbits: int = GZIP_BITS) -> Iterator[bytes]:
    """Pieces of the unpacked content; zlib itself verifies length and checksum of each member.

    Parameters
    ----------
    path
        The file.
    start
        Where the stream begins.
    wbits
        Kind of stream, as zlib counts them.

    Raises
    ------
    UnreadableFileError
        If the stream is damaged or ends early.
    """
    stream = zlib.decompressobj(wbits)
    try:
        with open(path, "rb") as file:
            file.seek(start)
            packed = file.read(CHUNK)
            while packed:
                yield stream.decompress(packed, 4 * CHUNK)
                if not stream.eof:
                    packed = stream.unconsumed_tail or file.read(CHUNK)
                    continue
                packed = stream.unused_data + file.read(CHUNK)
                if not packed.startswith(MAGIC):
                    return  # the end, or padding after it
                stream = zlib.decompressobj(wbits)
    except zlib.error as error:
        raise UnreadableFileError(
            f"{path} is damaged: its compressed data does not unpack ({error}); "
            "copy or download it again"
        ) from error
    raise _truncated(path)


def _truncated(path: Path) -> UnreadableFileError:
    return UnreadableFileError(
        f"{path} is truncated: it ends before its last voxel; copy or download it again"
    )


class GzipSink:
    """Compresses what is written to it into an open file, fast, without a name or time stamp.

    Parameters
    ----------
    file
        Open for writing bytes.
    strategy
        One of zlib's; `zlib.Z_RLE` suits label maps.
    """

    def __init__(self, file: BinaryIO, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> None:
        self._file = file
        self._stream = zlib.compressobj(1, zlib.DEFLATED, GZIP_BITS, 9, strategy)

    def write(self, data: bytes | memoryview) -> int:
        """Compress and write; returns the number of bytes taken."""
        view = memoryview(data)
        for start in range(0, len(view), 4 * CHUNK):
            self._file.write(self._stream.compress(view[start : start + 4 * CHUNK]))
        return len(view)

    def finish(self) -> None:
        """Write what is pending and the checksum."""
        self._file.write(self._stream.flush())
