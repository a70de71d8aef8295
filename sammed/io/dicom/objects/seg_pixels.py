"""Pixels of a DICOM SEG, frame by frame, as stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def pixels_of(dataset: Dataset) -> Iterator[NDArray[Any]]:
    """Stored values of each frame, (rows, columns).

    Raises
    ------
    ValueError
        If there are fewer or more bytes than pixels.
    """
    from pydicom.pixels.utils import iter_pixels

    compressed = dataset.file_meta.TransferSyntaxUID.is_encapsulated
    if int(dataset.BitsAllocated) == 1 and not compressed:
        return _packed_bits(dataset)
    return iter_pixels(dataset, raw=True)


def _packed_bits(dataset: Dataset) -> Iterator[NDArray[np.uint8]]:
    """Frames of one bit a pixel, which follow each other without padding to whole bytes.

    pydicom 3.0 unpacks single frames wrongly when one ends within a byte.
    """
    size = int(dataset.Rows), int(dataset.Columns)
    packed = np.frombuffer(dataset.PixelData, np.uint8)
    area = size[0] * size[1]
    count = int(dataset.get("NumberOfFrames", 1))
    if pads_frames(dataset):
        area_bits = (area + 7) // 8 * 8
    elif _is_length(len(packed), (area * count + 7) // 8):
        area_bits = area
    else:
        raise ValueError(
            f"{len(packed)} bytes of pixels are too few or too many for {count} frames of "
            f"{size[0]}x{size[1]} pixels"
        )
    for frame in range(count):
        first = frame * area_bits
        touched = packed[first // 8 : (first + area + 7) // 8]
        bits = np.unpackbits(touched, bitorder="little")
        yield bits[first % 8 : first % 8 + area].reshape(size)


def pads_frames(dataset: Dataset) -> bool:
    """Whether each frame of one bit a pixel begins with a byte, against the standard."""
    area, count = int(dataset.Rows) * int(dataset.Columns), int(dataset.get("NumberOfFrames", 1))
    length = len(dataset.PixelData)
    right, padded = (area * count + 7) // 8, (area + 7) // 8 * count
    one_bit = int(dataset.BitsAllocated) == 1
    compressed = dataset.file_meta.TransferSyntaxUID.is_encapsulated
    return (
        one_bit and not compressed and not _is_length(length, right) and _is_length(length, padded)
    )


def _is_length(length: int, expected: int) -> bool:
    """Whether it is the expected number of bytes, made even or not."""
    return expected <= length <= expected + expected % 2
