"""What a compressed frame says of its own size, checked before any memory is taken for it."""

from __future__ import annotations

from sammed.errors import UnreadableFileError
from sammed.io.dicom.file import DicomFile
from sammed.io.dicom.pixels.module import PixelModule

_SOF = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
"""JPEG and JPEG-LS markers that are followed by the size."""

_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_HEADER_BYTES = 1 << 16


def check_size(file: DicomFile, module: PixelModule, frame: bytes) -> None:
    """Make sure that a frame holds as many rows and columns as its header says.

    Raises
    ------
    UnreadableFileError
        If it says something else. Frames that do not tell their size (RLE) are left alone.
    """
    found = frame_size(frame)
    expected = module.rows, module.columns
    if found is not None and found != expected:
        raise UnreadableFileError(
            f"{file.name} holds a compressed image of {found[0]}x{found[1]} pixels, but its header "
            f"says {expected[0]}x{expected[1]}; export it again"
        )


def frame_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS, JPEG 2000 or HTJ2K image announces."""
    if frame[:2] == b"\xff\xd8":
        return _jpeg_size(frame[:_HEADER_BYTES])
    start = frame[:_HEADER_BYTES].find(b"\xff\x4f\xff\x51")
    if start < 0 or len(frame) < start + 24:
        return None
    width, height, left, top = (
        int.from_bytes(frame[at : at + 4], "big") for at in range(start + 8, start + 24, 4)
    )
    return height - top, width - left


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _STANDALONE:
            at += 2
        elif marker in _SOF:
            size = frame[at + 5 : at + 9]
            return int.from_bytes(size[:2], "big"), int.from_bytes(size[2:], "big")
        else:
            at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return None
