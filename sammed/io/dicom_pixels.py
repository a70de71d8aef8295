"""Stored pixel values of one image plane, whatever the transfer syntax.

Native pixels are read by numpy straight from their place in the file. Compressed frames go to
pydicom's decoders where one is installed that is fast and free to combine (pydicom's own RLE,
Pillow for 8-bit JPEG, CharLS by pyjpegls, OpenJPEG by pylibjpeg-openjpeg), else to SimpleITK,
which is always there.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import UnreadableFileError, UnsupportedFormatError
from sammed.io import dicom_encapsulated as encapsulated
from sammed.io import dicom_tags as tags
from sammed.io.dicom_file import EXPLICIT_BIG, UNDEFINED_LENGTH, DicomFile, check_complete
from sammed.io.dicom_planes import Plane

Stored = NDArray[np.generic]

RLE = "1.2.840.10008.1.2.5"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
_JPEG = "1.2.840.10008.1.2.4."
_SIMPLEITK = "SimpleITK"
_DECODERS: dict[str, tuple[str, ...]] = {
    RLE: ("pydicom",),
    JPEG_BASELINE: ("pillow", _SIMPLEITK),
    **dict.fromkeys((f"{_JPEG}{n}" for n in (51, 53, 55, 57, 70)), (_SIMPLEITK,)),
    **dict.fromkeys((f"{_JPEG}{n}" for n in (80, 81)), ("pyjpegls", _SIMPLEITK)),
    **dict.fromkeys((f"{_JPEG}{n}" for n in (90, 91)), ("pylibjpeg", _SIMPLEITK, "pillow")),
    **dict.fromkeys((f"{_JPEG}{n}" for n in (201, 202, 203)), ("pylibjpeg", _SIMPLEITK)),
}
"""Who decodes a transfer syntax, first choice first; pydicom's plug-in names and SimpleITK."""

_COLOUR = {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"}
_MODULE = (
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PixelModule:
    """How pixels are stored."""

    samples: int
    photometric: str
    allocated: int
    stored: int
    high: int
    signed: bool
    frames: int

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
        what = file.pixel_element or "no pixel data"
        raise UnsupportedFormatError(
            f"{file.name} holds {what}; expected an image with PixelData, "
            "and if it should be one, it is truncated: copy or export it again"
        )
    header = file.header
    photometric = tags.text(header, "PhotometricInterpretation").upper()
    samples, allocated = (tags.whole(header, k) for k in ("SamplesPerPixel", "BitsAllocated"))
    samples = samples if samples is not None else 1
    stored = tags.whole(header, "BitsStored") or allocated
    high = tags.whole(header, "HighBit")
    high = stored - 1 if high is None and stored else high
    if (
        allocated not in (8, 16, 32)
        or not stored
        or high is None
        or not stored - 1 <= high < allocated
    ):
        raise UnsupportedFormatError(
            f"{file.name} stores {tags.text(header, 'BitsStored') or 'unknown'} bits in "
            f"{tags.text(header, 'BitsAllocated') or 'unknown'} (high bit "
            f"{tags.text(header, 'HighBit') or 'unknown'}); expected up to 8, 16 or 32"
        )
    if file.is_encapsulated:
        _check_compression(file)
    module = PixelModule(
        samples,
        photometric,
        allocated,
        stored,
        high,
        tags.whole(header, "PixelRepresentation") == 1,
        tags.whole(header, "NumberOfFrames") or 1,
    )
    _check_photometric(file, module)
    return module


def _check_compression(file: DicomFile) -> None:
    if file.syntax not in _DECODERS:
        raise UnsupportedFormatError(
            f"{file.name} is compressed by {syntax_name(file.syntax)}, which is not handled; "
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
            f"{file.name} has {module.samples} samples a pixel, {module.photometric}; expected "
            "MONOCHROME1, MONOCHROME2, PALETTE COLOR, RGB or YBR"
        )


class PixelReader:
    """Decodes planes; remembers where frames lie. May be used from several threads.

    Parameters
    ----------
    scratch
        A folder for temporary files.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._frames: dict[Path, list[tuple[encapsulated.Fragment, ...]]] = {}
        self._whole: tuple[Path, Any] | None = None
        self._lock = threading.Lock()

    def stored(self, plane: Plane) -> Stored:
        """Stored values of a plane, before rescaling.

        Returns
        -------
        (rows, columns) integers, or (rows, columns, 3) uint8 RGB

        Raises
        ------
        UnreadableFileError
            If pixels are truncated, corrupt, or not as many as the header says.
        UnsupportedFormatError
            If the transfer syntax or kind of pixels is not handled.
        """
        module = pixel_module(plane.file)
        try:
            raw = self._raw(plane, module)
        except (UnreadableFileError, UnsupportedFormatError):
            raise
        except Exception as error:  # decoders raise almost anything on corrupt data
            raise UnreadableFileError(
                f"the pixels of {plane.name} cannot be decoded ({_first_line(error)}); "
                "copy or export it again"
            ) from error
        expected = (*plane.size, 3) if module.samples == 3 else plane.size
        if raw.shape != expected:
            raise UnreadableFileError(
                f"the pixels of {plane.name} decode to shape {raw.shape}, expected {expected}"
            )
        return _as_rgb(raw, plane.file.header, module) if module.is_colour else raw

    def _raw(self, plane: Plane, module: PixelModule) -> Stored:
        file = plane.file
        if file.is_encapsulated:
            return self._compressed(plane, module)
        if file.is_deflated or module.samples == 3 or _may_be_swapped(file, module):
            return self._whole_file(plane, module)
        return significant(_native(plane, module), module)

    def _whole_file(self, plane: Plane, module: PixelModule) -> Stored:
        """By pydicom, which reads all of the file: deflated, colour, odd byte orders."""
        import pydicom
        from pydicom.pixels.decoders.base import get_decoder

        with self._lock:
            if self._whole is None or self._whole[0] != plane.file.path:
                self._whole = (plane.file.path, pydicom.dcmread(plane.file.path, force=True))
            dataset = self._whole[1]
        data = dataset.get("PixelData")
        length = len(data) if isinstance(data, bytes) else 0
        _check_native_length(plane, module, length)
        decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
        raw, _ = decoder.as_array(dataset, index=(plane.frame or 1) - 1)
        return significant(raw, module)

    def _compressed(self, plane: Plane, module: PixelModule) -> Stored:
        file = plane.file
        if file.path not in self._frames:
            self._frames[file.path] = encapsulated.frames(file, module.frames)
        fragments = self._frames[file.path][(plane.frame or 1) - 1]
        frame = _minimal(file, encapsulated.frame_bytes(file, fragments))
        failure: Exception | None = None
        for name in _DECODERS[file.syntax]:
            try:
                raw = self._decode(frame, file.syntax, name, module)
            except Exception as error:  # try the next one
                failure = failure or error
                logger.debug("%s failed on %s: %s", name, plane.name, error)
                continue
            if raw is not None:
                return raw
        reason = _first_line(failure) if failure else "no decoder is installed"
        raise UnreadableFileError(
            f"the pixels of {plane.name} ({syntax_name(file.syntax)}) cannot be decoded: "
            f"{reason}; copy or export it again"
        ) from failure

    def _decode(self, frame: Any, syntax: str, name: str, module: PixelModule) -> Stored | None:
        """By one decoder; None if it is not installed or not meant for such pixels."""
        if name == _SIMPLEITK:
            return None if module.samples == 3 and syntax != f"{_JPEG}70" else self._by_itk(frame)
        from pydicom.pixels.decoders.base import get_decoder

        decoder = get_decoder(syntax)
        if name not in decoder.available_plugins or (name == "pillow" and module.stored > 8):
            return None
        raw, _ = decoder.as_array(frame, index=0, decoding_plugin=name)
        return significant(raw, module) if syntax == RLE else np.asarray(raw)

    def _by_itk(self, frame: Any) -> Stored:
        """By SimpleITK, which reads files only; without rescale it gives the stored values."""
        import SimpleITK as sitk  # noqa: N813

        path = self._scratch / f"{threading.get_ident()}.dcm"
        frame.save_as(path, enforce_file_format=True)
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.SetImageIO("GDCMImageIO")
        try:
            return np.asarray(sitk.GetArrayFromImage(reader.Execute())[0])
        finally:
            path.unlink(missing_ok=True)


def significant(raw: Stored, module: PixelModule) -> Stored:
    """Stored values without the unused bits, which may hold overlays; sign extended."""
    if module.stored == module.allocated or raw.ndim != 2:
        return raw
    low = module.high + 1 - module.stored
    if module.signed:
        left = module.allocated - 1 - module.high
        return np.asarray((raw << left) >> (left + low))  # type: ignore[operator]
    mask = raw.dtype.type((1 << module.stored) - 1)
    return np.asarray((raw >> low) & mask)  # type: ignore[operator]


def syntax_name(uid: str) -> str:
    """Name of a transfer syntax for people."""
    from pydicom.uid import UID

    try:
        name = UID(uid).name
    except ValueError:
        name = uid
    return str(name).split(" (Process")[0].split(", Non-Hier")[0]


def _native(plane: Plane, module: PixelModule) -> Stored:
    file = plane.file
    length = file.pixels.length if file.pixels is not None else 0
    _check_native_length(plane, module, length)
    rows, columns = plane.size
    count = rows * columns
    offset = (file.pixels.offset if file.pixels else 0) + ((plane.frame or 1) - 1) * count * (
        module.allocated // 8
    )
    order = ">" if file.syntax == EXPLICIT_BIG else "<"
    dtype = np.dtype(f"{order}{'i' if module.signed else 'u'}{module.allocated // 8}")
    raw = np.fromfile(file.path, dtype, count, offset=offset)
    if raw.size != count:
        raise UnreadableFileError(f"{file.name} is truncated; copy or export it again")
    return raw.astype(dtype.newbyteorder("="), copy=False).reshape(rows, columns)


def _check_native_length(plane: Plane, module: PixelModule, length: int) -> None:
    """Refuse fewer bytes than pixels, or whole frames more than the header says."""
    rows, columns = plane.size
    samples = 2 if module.photometric == "YBR_FULL_422" else module.samples
    one = rows * columns * samples * module.allocated // 8
    expected = one * module.frames
    if length == UNDEFINED_LENGTH or not expected <= length < expected + max(one, 4):
        found = "of unknown length" if length == UNDEFINED_LENGTH else f"of {length:,} bytes"
        raise UnreadableFileError(
            f"{plane.file.name} has pixel data {found}; expected {expected:,} for "
            f"{rows}x{columns} pixels, {module.frames} frame{'' if module.frames == 1 else 's'}: "
            "it is truncated or its header is wrong"
        )


def _may_be_swapped(file: DicomFile, module: PixelModule) -> bool:
    return file.syntax == EXPLICIT_BIG and module.allocated == 8


def _minimal(file: DicomFile, frame: bytes) -> Any:
    """A dataset with one compressed frame and what describes it, and nothing else."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, SecondaryCaptureImageStorage

    dataset = Dataset()
    for keyword in _MODULE:
        if keyword in file.header:
            dataset[keyword] = file.header[keyword]
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = "1.2.3"
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(file.syntax)
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta = meta
    return dataset


def _as_rgb(raw: Stored, header: Any, module: PixelModule) -> NDArray[np.uint8]:
    bits = module.stored
    if module.is_palette:
        from pydicom.pixels.processing import apply_color_lut

        try:
            raw = apply_color_lut(raw, header)
        except Exception as error:  # missing or corrupt tables
            raise UnreadableFileError(
                f"the colour table of an image cannot be read ({_first_line(error)})"
            ) from error
        bits = raw.dtype.itemsize * 8
    if bits > 8:
        raw = raw >> (bits - 8)  # type: ignore[operator]
    return np.asarray(raw[..., :3], np.uint8)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:160]
