"""Stored pixel values of one image plane, whatever the transfer syntax.

Grey native pixels are read by numpy straight from their place in the file, compressed frames go to
`sammed.io.dicom.pixels.codecs`, and the rest (deflated, colour, odd byte orders) to pydicom.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import UnreadableFileError, UnsupportedFormatError
from sammed.io.dicom.file import EXPLICIT_BIG, UNDEFINED_LENGTH
from sammed.io.dicom.images.planes import Plane
from sammed.io.dicom.pixels import encapsulated
from sammed.io.dicom.pixels.codecs import decode, last_line
from sammed.io.dicom.pixels.module import RLE, PixelModule

Stored = NDArray[np.generic]


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
        module = plane.module
        try:
            raw = self._raw(plane, module)
        except (UnreadableFileError, UnsupportedFormatError):
            raise
        except Exception as error:  # decoders raise almost anything on corrupt data
            raise UnreadableFileError(
                f"the pixels of {plane.name} cannot be decoded ({last_line(error)}); "
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
        swapped = file.syntax == EXPLICIT_BIG and module.allocated == 8
        if file.is_deflated or module.samples == 3 or swapped:
            return self._whole_file(plane, module)
        return significant(_native(plane, module), module)

    def _compressed(self, plane: Plane, module: PixelModule) -> Stored:
        file = plane.file
        if file.path not in self._frames:
            self._frames[file.path] = encapsulated.frames(file, module.frames)
        fragments = self._frames[file.path][(plane.frame or 1) - 1]
        raw = decode(file, module, encapsulated.frame_bytes(file, fragments), self._scratch)
        return significant(raw, module) if file.syntax == RLE else raw

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


def _as_rgb(raw: Stored, header: Any, module: PixelModule) -> NDArray[np.uint8]:
    bits = module.stored
    if module.is_palette:
        from pydicom.pixels.processing import apply_color_lut

        try:
            raw = apply_color_lut(raw, header)
        except Exception as error:  # missing or corrupt tables
            raise UnreadableFileError(
                f"the colour table of an image cannot be read ({last_line(error)})"
            ) from error
        bits = raw.dtype.itemsize * 8
    if bits > 8:
        raw = raw >> (bits - 8)  # type: ignore[operator]
    return np.asarray(raw[..., :3], np.uint8)
