"""Voxel values as files have them, made fit for use: small types, finite, whole labels."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import (
    FrameError,
    InputError,
    LabelError,
    SammedWarning,
    UnsupportedFormatError,
)
from sammed.imaging.volume import MAX_LABEL, LabelVolume, Volume, label_dtype

CHUNK = 1 << 22
"""Voxels looked at or converted at a time, so that temporary copies stay small."""

WHOLE_TOLERANCE = 1e-3
"""A voxel of a label map that is this close to a whole number means that number.

Labels that were scaled to 16 bits and back are off by up to 5e-5 (labels to 6 saved by nibabel
under an int16 header), sums of probabilities by 1e-6; interpolation is off by far more than 1e-3.
"""


class Notes:
    """What a reader decided or found odd; warnings are also shown at once."""

    def __init__(self, source: object) -> None:
        self.source = source
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        """Keep a sentence for the run report."""
        self.texts.append(text)

    def warn(self, text: str) -> None:
        """Keep it, and tell the user now."""
        self.texts.append(text)
        warnings.warn(f"{self.source}: {text}", SammedWarning, stacklevel=2)


def warn_of_rest(notes: Notes, count: int) -> None:
    """Say that bytes follow the last voxel: a header that promises too little is not noticed."""
    notes.warn(
        f"{count:,} bytes follow its last voxel and were not read; its header may promise too "
        "little"
    )


def choose_frame(count: int, frame: int | None, source: object) -> int:
    """The frame to read of a file that holds `count`.

    Parameters
    ----------
    count
        How many frames there are.
    frame
        The one that is asked for, from 0; None if none is.
    source
        Named in messages.

    Raises
    ------
    FrameError
        If there are several and none is chosen, or the chosen one does not exist.

    Examples
    --------
    >>> choose_frame(1, None, "ct.nii"), choose_frame(3, 2, "cine.nii")
    (0, 2)
    """
    if frame is None and count == 1:
        return 0
    last = count - 1
    if frame is None:
        raise FrameError(
            f"{source} holds {count} frames; choose one with --frame (0 to {last})", count
        )
    if not 0 <= frame < count:
        raise FrameError(f"{source} has no frame {frame}: it holds {count}, 0 to {last}", count)
    return frame


def native(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """The array in the machine's byte order, swapped in place; it must own writable memory."""
    if array.dtype.isnative:
        return array
    return array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))


def real_values(
    array: NDArray[np.generic],
    slope: float,
    intercept: float,
    source: object,
    notes: Notes,
    *,
    keep_nan: bool = False,
) -> NDArray[np.generic]:
    """Stored numbers as real-world values in a small type.

    Parameters
    ----------
    array : (k, j, i)
        Stored integers or floats, in native byte order.
    slope, intercept
        Real value = slope * stored + intercept.
    source
        Named in messages.
    notes
        Receives what was replaced.
    keep_nan
        Leave NaN and infinite voxels, for `labels_from_volume` to judge.

    Returns
    -------
    (k, j, i)
        Integers of at most 32 bits as they are when the rescaling changes nothing; else float32,
        with NaN and infinite voxels replaced by the smallest finite value.

    Raises
    ------
    UnsupportedFormatError
        If the type is complex or otherwise no number.
    InputError
        If no voxel is finite.
    """
    if array.dtype.kind not in "iufb":
        raise UnsupportedFormatError(
            f"{source} has voxels of type {array.dtype}; expected integers, floats or RGB"
        )
    if (slope, intercept) == (1.0, 0.0):
        if array.dtype.kind == "b":
            return array.view(np.uint8)
        if array.dtype.kind in "iu":
            return array if array.dtype.itemsize < 8 else _narrow(array, notes)
    values = _as_float32(np.ascontiguousarray(array), slope, intercept)
    return values if keep_nan else _finite(values, source, notes)


def _narrow(array: NDArray[np.generic], notes: Notes) -> NDArray[np.generic]:
    """64-bit integers as int32 where they fit, else as float32."""
    low, high = int(array.min()), int(array.max())
    bounds = np.iinfo(np.int32)
    if bounds.min <= low and high <= bounds.max:
        return array.astype(np.int32)
    notes.note(f"64-bit integers from {low} to {high} were read as float32, with 7 digits")
    return array.astype(np.float32)


def _as_float32(array: NDArray[np.generic], slope: float, intercept: float) -> NDArray[np.float32]:
    if array.dtype == np.float32 and (slope, intercept) == (1.0, 0.0):
        return array.view(np.float32)
    out = np.empty(array.shape, np.float32)
    flat_in, flat_out = array.reshape(-1), out.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, flat_in.size, CHUNK):
            part = slice(start, start + CHUNK)
            values = flat_in[part].astype(np.float64)
            flat_out[part] = values * slope + intercept
    return out


def _finite(array: NDArray[np.float32], source: object, notes: Notes) -> NDArray[np.float32]:
    flat = array.reshape(-1)
    parts = [flat[start : start + CHUNK] for start in range(0, flat.size, CHUNK)]
    odd = [part for part in parts if not np.isfinite(part).all()]
    if not odd:
        return array
    count = sum(int(part.size - np.isfinite(part).sum()) for part in odd)
    if count == flat.size:
        raise InputError(f"{source} has no finite voxel: all {count:,} are NaN or infinite")
    lowest = min(float(part[finite].min()) for part in parts if (finite := np.isfinite(part)).any())
    for part in odd:
        part[~np.isfinite(part)] = lowest
    notes.warn(
        f"{count:,} voxels are NaN or infinite; they were replaced by the smallest finite "
        f"value, {lowest:g}"
    )
    return array


def storable(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """The array in a number type that every format has, C-contiguous."""
    kinds = {"bool": np.uint8, "float16": np.float32, "longdouble": np.float64}
    names = {np.dtype(name): kind for name, kind in kinds.items()}
    return np.ascontiguousarray(array, dtype=names.get(array.dtype))


def labels_from_volume(
    volume: Volume,
    names: Mapping[int, str] | None = None,
    colours: Mapping[int, tuple[int, int, int]] | None = None,
) -> LabelVolume:
    """A label map from an image that holds one.

    Parameters
    ----------
    volume
        Its voxels must be whole numbers from 0 to 65535, see `whole_numbers`.
    names, colours
        By label value; values that occur and have no name are called ``label_N``.

    Raises
    ------
    LabelError
        If a voxel is no label.
    """
    notes = Notes(volume.source or "the label map")
    if volume.is_colour:
        raise LabelError(
            f"{notes.source} is a colour picture, expected a label map of whole numbers"
        )
    voxels = whole_numbers(volume.voxels, notes)
    present = _present(voxels)
    known = {value: name for value, name in (names or {}).items() if value != 0}
    known.update({v: f"label_{v}" for v in present if v not in known})
    return LabelVolume(
        voxels,
        volume.grid,
        dict(sorted(known.items())),
        dict(colours or {}),
        source=volume.source,
        notes=(*volume.notes, *notes.texts),
    )


def _present(voxels: NDArray[np.unsignedinteger]) -> list[int]:
    """Label values that occur, without 0."""
    counts = np.zeros(MAX_LABEL + 1, np.int64)
    for plane in voxels:
        found = np.bincount(plane.reshape(-1))
        counts[: found.size] += found
    return [int(value) for value in np.flatnonzero(counts) if value]


def whole_numbers(voxels: NDArray[Any], notes: Notes) -> NDArray[np.unsignedinteger]:
    """Voxels of a label map as uint8 or uint16, when each means a whole number in 0..65535.

    Parameters
    ----------
    voxels : (k, j, i, ...)
        Integers or floats, not changed. Floats within `WHOLE_TOLERANCE` of a whole number are
        rounded, NaN is background.
    notes
        Receives how many were rounded, and how many were NaN.

    Raises
    ------
    LabelError
        If a voxel is no label.
    """
    if voxels.dtype.kind == "f":
        return _rounded(voxels, notes)
    low, high = voxels.min(), voxels.max()
    _check_range(notes.source, low, high)
    return voxels.astype(label_dtype(int(high)), copy=False)


def _rounded(voxels: NDArray[np.floating], notes: Notes) -> NDArray[np.unsignedinteger]:
    """Floats as uint8 or uint16, by the rule of `WHOLE_TOLERANCE`; NaN is background."""
    missing = sum(int(np.isnan(plane).sum()) for plane in voxels)
    if missing == voxels.size:
        raise LabelError(f"{notes.source} is no label map: all its {missing:,} voxels are NaN")
    low, high = np.nanmin(voxels), np.nanmax(voxels)
    _check_range(notes.source, low, high)
    rounded = np.empty(voxels.shape, label_dtype(round(float(high))))
    inexact, furthest = 0, 0.0
    for plane, out in zip(voxels, rounded, strict=True):
        numbers = np.nan_to_num(plane, nan=0.0)
        whole = np.rint(numbers)
        off = np.abs(numbers - whole)
        if (off > WHOLE_TOLERANCE).any():
            odd = numbers.flat[np.argmax(off)]
            raise LabelError(
                f"{notes.source} is no label map: it holds {odd:.9g}, expected whole numbers (to "
                f"within {WHOLE_TOLERANCE:g})"
            )
        inexact += int(np.count_nonzero(off))
        furthest = max(furthest, float(off.max()))
        out[:] = whole
    if missing:
        notes.warn(f"{missing:,} voxels are NaN; in a label map that is background, 0")
    if inexact:
        notes.note(
            f"{inexact:,} voxels are no whole numbers, by up to {furthest:.2g}; they were rounded"
        )
    return rounded


def _check_range(source: object, low: Any, high: Any) -> None:
    if not (low >= -WHOLE_TOLERANCE and high <= MAX_LABEL + WHOLE_TOLERANCE):
        raise LabelError(
            f"{source} is no label map: values run from {low:.9g} to {high:.9g}, expected whole "
            f"numbers from 0 to {MAX_LABEL}"
        )
