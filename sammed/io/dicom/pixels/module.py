"""How the pixels of a DICOM file are stored, and whether that is handled."""

from __future__ import annotations

from dataclasses import dataclass

from sammed.errors import UnreadableFileError, UnsupportedFormatError
from sammed.io.dicom import tags
from sammed.io.dicom.file import UNDEFINED_LENGTH, DicomFile, check_complete

RLE = "1.2.840.10008.1.2.5"
JPEG = "1.2.840.10008.1.2.4."
COMPRESSED = frozenset(
    {RLE, *(f"{JPEG}{n}" for n in (50, 51, 53, 55, 57, 70, 80, 81, 90, 91, 201, 202, 203))}
)
"""Transfer syntaxes of compressed pixels that are handled."""

MAX_SIDE = 65_535
_COLOUR = {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"}


@dataclass(frozen=True)
class PixelModule:
    """How pixels are stored: the Image Pixel module, checked.

    Attributes
    ----------
    samples
        1, or 3 for colour.
    photometric
        Photometric interpretation.
    allocated, stored, high
        Bits per sample in memory, those in use, and the highest of these.
    signed
        Whether samples are two's complement.
    frames
        At least 1.
    rows, columns
        At least 1.
    """

    samples: int
    photometric: str
    allocated: int
    stored: int
    high: int
    signed: bool
    frames: int
    rows: int
    columns: int

    @property
    def is_colour(self) -> bool:
        """Whether pixels become RGB."""
        return self.samples == 3 or self.is_palette

    @property
    def is_palette(self) -> bool:
        """Whether pixels point into a colour table."""
        return self.photometric == "PALETTE COLOR"


def pixel_module(file: DicomFile) -> PixelModule:
    """How a file's pixels are stored.

    Raises
    ------
    UnreadableFileError
        If elements are missing or contradict each other, or the file is truncated.
    UnsupportedFormatError
        If there are no pixels, or of a kind that is not handled.
    """
    check_complete(file)
    if file.pixel_element != "PixelData":
        raise UnsupportedFormatError(
            f"{file.name} holds {file.pixel_element or 'no pixel data'}; expected an image with "
            "PixelData, and if it should be one, it is truncated: copy or export it again"
        )
    if file.is_encapsulated:
        _check_compression(file)
    header = file.header
    allocated, stored, high = _bits(file)
    samples = tags.whole(header, "SamplesPerPixel")
    module = PixelModule(
        1 if samples is None else samples,
        tags.text(header, "PhotometricInterpretation").upper(),
        allocated,
        stored,
        high,
        tags.whole(header, "PixelRepresentation") == 1,
        _frames(file),
        _side(file, "Rows"),
        _side(file, "Columns"),
    )
    _check_photometric(file, module)
    return module


def syntax_name(uid: str) -> str:
    """Name of a transfer syntax for people."""
    from pydicom.uid import UID

    try:
        name = UID(uid).name
    except ValueError:
        name = uid
    return str(name).split(" (Process")[0].split(", Non-Hier")[0]


def _bits(file: DicomFile) -> tuple[int, int, int]:
    """Bits allocated, bits stored, high bit."""
    names = ("BitsAllocated", "BitsStored", "HighBit")
    allocated, stored, high = (tags.whole(file.header, name) for name in names)
    if allocated in (8, 16, 32):
        stored = allocated if stored is None else stored
        high = stored - 1 if high is None else high
        if 1 <= stored <= high + 1 <= allocated:
            return allocated, stored, high
    found = ", ".join(f"{name} {tags.text(file.header, name) or 'missing'}" for name in names)
    raise UnsupportedFormatError(
        f"{file.name} has {found}; expected up to 8, 16 or 32 bits of as many allocated"
    )


def _side(file: DicomFile, keyword: str) -> int:
    found = tags.whole(file.header, keyword)
    if found is None or not 1 <= found <= MAX_SIDE:
        what = tags.text(file.header, keyword) or "missing"
        raise UnreadableFileError(
            f"{file.name} has {keyword} {what}; expected a whole number from 1"
        )
    return found


def _frames(file: DicomFile) -> int:
    if tags.value(file.header, "NumberOfFrames") is None:
        return 1
    frames = tags.whole(file.header, "NumberOfFrames")
    if frames is None or frames < 1:
        raise UnreadableFileError(
            f"{file.name} has NumberOfFrames {tags.text(file.header, 'NumberOfFrames')!r}; "
            "expected a whole number from 1"
        )
    return frames


def _check_compression(file: DicomFile) -> None:
    if file.syntax not in COMPRESSED:
        raise UnsupportedFormatError(
            f"{file.name} is stored as {syntax_name(file.syntax)}, which is not handled; "
            "export it uncompressed"
        )
    if file.pixels is None or file.pixels.length != UNDEFINED_LENGTH:
        raise UnreadableFileError(
            f"{file.name} says that it is compressed ({syntax_name(file.syntax)}), but its pixel "
            "data is not; its transfer syntax is wrong"
        )


def _check_photometric(file: DicomFile, module: PixelModule) -> None:
    grey = module.photometric in ("MONOCHROME1", "MONOCHROME2", "")
    fits = (module.samples == 1 and (grey or module.is_palette)) or (
        module.samples == 3 and module.photometric in _COLOUR
    )
    if not fits or (module.is_colour and module.signed):
        raise UnsupportedFormatError(
            f"{file.name} has {module.samples} samples a pixel, "
            f"{module.photometric or 'no photometric interpretation'}; expected "
            "MONOCHROME1, MONOCHROME2, PALETTE COLOR, RGB or YBR"
        )
