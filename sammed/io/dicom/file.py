"""One DICOM file: is it one, its header, and where its pixels lie."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from sammed.errors import UnreadableFileError
from sammed.io.dicom import tags
from sammed.io.gz import GZIP_BITS
from sammed.io.gz import MAGIC as GZIP

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"

UNDEFINED_LENGTH = 0xFFFFFFFF
SNIFF_BYTES = 132
START_BYTES = 1024
"""As many as tell what a packed file holds."""

BULKY_BYTES = 64 * 1024
MAX_INFLATED = 4 << 30
MAX_INFLATION = 1200
"""A deflated file may unpack to this many times its size (zlib cannot do more than 1032)."""

_PIXEL_TAGS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData"}
_PIXEL_DATA = 0x7FE00010
_BULKY_VRS = {"OB", "OW", "OD", "OF", "OL", "OV", "UN"}
_LONG_VRS = _BULKY_VRS | {"SQ", "UC", "UR", "UT", "SV", "UV"}


@dataclass(frozen=True)
class PixelPlace:
    """Where in the file the value of PixelData lies."""

    offset: int
    length: int
    """In bytes; `UNDEFINED_LENGTH` for encapsulated pixels."""


@dataclass(frozen=True)
class DicomFile:
    """A DICOM file's header and where to find its pixels.

    Attributes
    ----------
    path
        The file; a temporary one for members of an archive.
    name
        How messages call it.
    header
        pydicom Dataset without pixels, private and bulky elements.
    syntax
        Transfer syntax UID.
    pixels
        Place of PixelData; None if there is none, or the file is deflated.
    pixel_element
        Keyword of the pixel element that was found, ``""`` if none.
    """

    path: Path
    name: str
    header: Any = field(repr=False)
    syntax: str
    pixels: PixelPlace | None
    pixel_element: str

    @property
    def is_deflated(self) -> bool:
        """Whether header and pixels are deflated together."""
        return self.syntax == DEFLATED

    @property
    def is_encapsulated(self) -> bool:
        """Whether pixels are compressed frame by frame."""
        return self.syntax not in (IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG)


def looks_like_dicom(start: bytes) -> bool:
    """Whether a file that begins with these 132 bytes may be DICOM.

    Files without the preamble, as old exports have them, must begin with a plausible element of
    group 0002 or 0008.
    """
    if start[128:132] == b"DICM":
        return True
    if len(start) < 16:
        return False
    group, element = start[:2], start[2:4]
    if group in (b"\x08\x00", b"\x02\x00"):
        number = int.from_bytes(element, "little")
    elif group == b"\x00\x08":
        number = int.from_bytes(element, "big")
    else:
        return False
    return number <= 0x0070 and (start[4:6].isalpha() or start[6:8] == b"\0\0")


def inflated_start(start: bytes) -> bytes:
    """How a file that begins with `START_BYTES` bytes begins, unpacked where it is gzip."""
    if not start.startswith(GZIP):
        return start
    try:
        return zlib.decompressobj(GZIP_BITS).decompress(start, 512)
    except zlib.error:
        return b""


def is_packed_dicom(start: bytes) -> bool:
    """Whether a file that begins so is a DICOM file packed by gzip."""
    return start.startswith(GZIP) and looks_like_dicom(inflated_start(start)[:SNIFF_BYTES])


def read_file(path: Path, name: str) -> DicomFile:
    """Read a file's header.

    Raises
    ------
    UnreadableFileError
        If it is not DICOM, truncated within the header, or otherwise corrupt.
    """
    try:
        with open(path, "rb") as file:
            if not looks_like_dicom(file.read(SNIFF_BYTES)):
                raise UnreadableFileError(f"{name} is not a DICOM file")
            file.seek(0)
            return _parse(file, path, name)
    except UnreadableFileError:
        raise
    except OSError as error:
        raise UnreadableFileError(f"{name} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # pydicom raises almost anything on corrupt files
        raise UnreadableFileError(
            f"{name} has a corrupt DICOM header ({type(error).__name__}); copy or export it again"
        ) from error


def _parse(file: BinaryIO, path: Path, name: str) -> DicomFile:
    from pydicom.filereader import read_partial

    _check_inflated_size(file, name)
    found: list[tuple[int, str | None, int]] = []

    def at_pixels(tag: Any, vr: str | None, length: int) -> bool:
        if int(tag) in _PIXEL_TAGS or int(tag) == _PIXEL_DATA:
            found.append((int(tag), vr, length))
        return bool(found)

    header = read_partial(file, stop_when=at_pixels, force=True)
    syntax = tags.text(header.file_meta, "TransferSyntaxUID")
    if not syntax:
        syntax = _guess_syntax(header)
    place, keyword = None, ""
    if found:
        tag, vr, length = found[0]
        keyword = _PIXEL_TAGS.get(tag, "PixelData")
        if syntax != DEFLATED:
            place = PixelPlace(file.tell() + (12 if vr in _LONG_VRS else 8), length)
    _strip(header)
    return DicomFile(path, name, header, syntax, place, keyword)


def check_complete(file: DicomFile) -> None:
    """Make sure that the file is as long as its pixel data claims.

    Raises
    ------
    UnreadableFileError
        If it is truncated.
    """
    place = file.pixels
    if place is None or place.length == UNDEFINED_LENGTH:
        return
    size = file.path.stat().st_size
    if place.offset + place.length > size:
        raise UnreadableFileError(
            f"{file.name} is truncated: its pixel data has {max(size - place.offset, 0):,} of "
            f"{place.length:,} bytes; copy or export it again"
        )


def _check_inflated_size(file: BinaryIO, name: str) -> None:
    """Refuse a deflated file that would fill the memory, before pydicom inflates it whole."""
    start = file.read(2048)
    file.seek(0)
    if start[128:132] != b"DICM" or DEFLATED.encode() not in start:
        return
    size = os.fstat(file.fileno()).st_size
    limit = min(MAX_INFLATED, MAX_INFLATION * size)
    file.seek(144 + int.from_bytes(start[140:144], "little"))
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    total, packed = 0, file.read(1 << 16)
    while packed and not inflate.eof:
        total += len(inflate.decompress(packed, 1 << 24))
        if total > limit:
            raise UnreadableFileError(
                f"{name} unpacks to more than {limit / 2**30:.2g} GiB from {size:,} bytes; "
                "such a file is not read"
            )
        packed = inflate.unconsumed_tail or file.read(1 << 16)
    file.seek(0)


def _guess_syntax(header: Any) -> str:
    implicit, little = header.original_encoding
    if implicit:
        return IMPLICIT_LITTLE
    return EXPLICIT_LITTLE if little else EXPLICIT_BIG


def _strip(header: Any) -> None:
    """Drop what nobody here needs: private elements and bulky ones (overlays, icons, curves)."""
    dropped = []
    for tag, element in header.items():
        number = int(tag)
        raw = getattr(element, "value", None)
        bulky = (
            isinstance(raw, bytes)
            and len(raw) > BULKY_BYTES
            and element.VR in _BULKY_VRS
            and not 0x00281101 <= number <= 0x00281223  # colour tables
        )
        if bulky or number & 0x10000 or _is_picture(number):
            dropped.append(tag)
    for tag in dropped:
        del header[tag]


def _is_picture(number: int) -> bool:
    """Icon images and overlays, which are pictures of their own."""
    return number == 0x00880200 or 0x60000000 <= number < 0x61000000


def sop_class(header: Any) -> str:
    """The SOP class UID as text."""
    return tags.text(header, "SOPClassUID")
