"""All planes of a stack decoded into one array: rescaled, in the smallest type that holds them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sammed.errors import UnreadableFileError, UnsupportedFormatError
from sammed.imaging.volume import HeaderWindow
from sammed.io.dicom import tags
from sammed.io.dicom.images.planes import Plane
from sammed.io.dicom.images.stored import PixelReader, Stored
from sammed.io.dicom.pixels.module import PixelModule

MAX_VOXELS = 1 << 33
THREADS = min(4, os.cpu_count() or 1)
BATCH = 16
"""Slices decoded ahead at most, so that little but the volume itself is in memory."""

PADDING_MARGIN = 0.01
"""Padding at most this share of the value range outside of the true values is left as it is."""

MAX_VALUE = 1e30
_PHYSICAL = {"CT", "PT"}


@dataclass(frozen=True)
class Voxels:
    """Real-world values of a stack.

    Attributes
    ----------
    array : (k, rows, columns) or (k, rows, columns, 3) uint8
        int16 (or uint8, uint16, int32) where rescaling is by whole numbers, else float32.
    low, high
        Range of the true values, without padding; 0 and 255 for colour.
    windows
        That the headers propose.
    notes
        What was changed or found odd.
    """

    array: NDArray[np.generic]
    low: float
    high: float
    windows: tuple[HeaderWindow, ...] = ()
    notes: tuple[str, ...] = ()


def load(planes: Sequence[Plane], reader: PixelReader) -> Voxels:
    """Decode and rescale the planes of a stack.

    Raises
    ------
    UnreadableFileError
        If pixels are missing, truncated or corrupt.
    UnsupportedFormatError
        If they are of a kind that is not handled, or differ in kind between slices.
    """
    module = _common_module(planes)
    array = _Array(planes, module)
    try:
        for k, stored in enumerate(_decoded(planes, reader)):
            array.put(k, stored)
    except MemoryError as error:
        raise UnsupportedFormatError(
            f"the series does not fit into memory: {len(planes)} slices of "
            f"{planes[0].size[0]}x{planes[0].size[1]} pixels"
        ) from error
    voxels = Voxels(array.array, 0, 255)
    if not module.is_colour:
        notes = _table_note(planes) + array.settle_padding()
        voxels = Voxels(array.array, array.low, array.high, _windows(planes), notes)
        if module.photometric == "MONOCHROME1":
            voxels = _upright(voxels, tags.text(planes[0].file.header, "Modality"))
    return voxels


def same_pixels(reader: PixelReader, a: Plane, b: Plane) -> bool:
    """Whether two planes hold the same real-world pixels."""
    if (a.size, a.slope, a.intercept) != (b.size, b.slope, b.intercept):
        return False
    return bool(np.array_equal(_tabulated(reader.stored(a), a), _tabulated(reader.stored(b), b)))


def _tabulated(stored: Stored, plane: Plane) -> Stored:
    """Stored values, by the table of real ones if the image has such a table."""
    return stored if plane.table is None else plane.table.apply(stored)


def _common_module(planes: Sequence[Plane]) -> PixelModule:
    first = planes[0].module
    for plane in planes:
        module = plane.module
        kinds = [(m.is_colour, m.photometric == "MONOCHROME1") for m in (first, module)]
        if kinds[0] != kinds[1]:
            raise UnsupportedFormatError(
                f"slices differ in kind: {first.photometric or 'grey'} in {planes[0].name}, "
                f"{module.photometric or 'grey'} in {plane.name}; they form no volume"
            )
    return first


def _decoded(planes: Sequence[Plane], reader: PixelReader) -> Iterator[Stored]:
    """Stored pixels in order; compressed ones by a few threads, a batch at a time."""
    if not planes[0].file.is_encapsulated or THREADS < 2 or len(planes) < 2:
        yield from map(reader.stored, planes)
        return
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(planes), BATCH):
            yield from pool.map(reader.stored, planes[start : start + BATCH])


@dataclass
class _Padding:
    """Pixels of one slice that are padding, and the range of their real values."""

    mask: NDArray[np.uint8]  # packed
    low: float
    high: float
    count: int


@dataclass
class _Array:
    """The array while slices arrive; it is widened by the first slice that needs it."""

    planes: Sequence[Plane]
    module: PixelModule
    low: float = np.inf
    high: float = -np.inf
    _low: int = 0  # of all values that are stored, padding included
    _high: int = 0
    _padding: dict[int, _Padding] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.planes), *self.planes[0].size)
        if float(np.prod(shape, dtype=np.float64)) > MAX_VOXELS:
            raise UnsupportedFormatError(
                f"the series claims {shape[0]} slices of {shape[1]}x{shape[2]} pixels, more than "
                f"{MAX_VOXELS:,} voxels"
            )
        self.whole = all(
            p.slope == int(p.slope) and p.intercept == int(p.intercept) for p in self.planes
        )
        plain = all((p.slope, p.intercept) == (1, 0) for p in self.planes)
        eight = self.module.allocated == 8 and not self.module.signed and plain
        self._types: tuple[type[np.generic], ...] = (np.int16, np.uint16, np.int32, np.float32)
        if self.module.is_colour or eight:
            self._types = (np.uint8, *self._types)
        elif not self.whole:
            self._types = (np.float32,)
        self.array: NDArray[np.generic] = np.empty(
            (*shape, 3) if self.module.is_colour else shape, self._types[0]
        )

    def put(self, k: int, stored: Stored) -> None:
        """Rescale a slice and keep it."""
        if self.module.is_colour:
            self.array[k] = stored
            return
        plane = self.planes[k]
        if not stored.size:
            raise UnreadableFileError(f"{plane.name} has no pixels")
        mask = _padding_mask(stored, plane)
        stored = _tabulated(stored, plane)
        low, high = _real_range(stored, plane)
        if self.array.dtype != np.float32:
            self._make_room(int(low), int(high))
        self._rescale(stored, plane, self.array[k])
        if mask is not None:
            self._padding[k] = _Padding(
                np.packbits(mask), *_real_range(stored[mask], plane), int(mask.sum())
            )
            if mask.all():
                return
            low, high = _real_range(stored[~mask], plane)
        self.low, self.high = min(self.low, low), max(self.high, high)

    def _make_room(self, low: int, high: int) -> None:
        self._low, self._high = min(self._low, low), max(self._high, high)
        if _holds(self.array.dtype.type, self._low, self._high):
            return
        self.array = self.array.astype(
            next(t for t in self._types if _holds(t, self._low, self._high))
        )

    def _rescale(self, stored: Stored, plane: Plane, target: NDArray[np.generic]) -> None:
        if (plane.slope, plane.intercept) == (1, 0):
            target[...] = stored
        elif self.array.dtype == np.float32:
            target[...] = stored.astype(np.float64) * plane.slope + plane.intercept
        elif plane.slope == 1 and stored.dtype.itemsize == target.dtype.itemsize == 2:
            # the sum is known to fit, so it may wrap round on the way
            shift = np.uint16(int(plane.intercept) % 65536)
            np.add(stored.view(np.uint16), shift, out=target.view(np.uint16))
        else:
            target[...] = stored.astype(np.int64) * int(plane.slope) + int(plane.intercept)

    def settle_padding(self) -> tuple[str, ...]:
        """Give padding far outside of the true values the lowest of these."""
        if not self._padding or self.low > self.high:
            self.low, self.high = min(self.low, self.high), max(self.low, self.high)
            return ()
        margin = PADDING_MARGIN * (self.high - self.low)
        count = 0
        for k, padding in self._padding.items():
            if padding.high < self.low - margin or padding.low > self.high + margin:
                plane = self.array[k]
                mask = np.unpackbits(padding.mask, count=plane.size).astype(bool)
                plane[mask.reshape(plane.shape)] = self.low
                count += padding.count
        if not count:
            return ()
        return (f"{count:,} padding pixels were given the lowest true value, {self.low:g}",)


def _holds(dtype: type[np.generic], low: int, high: int) -> bool:
    if not issubclass(dtype, np.integer):
        return True
    info = np.iinfo(dtype)
    return bool(info.min <= low and high <= info.max)


def _real_range(stored: Stored, plane: Plane) -> tuple[float, float]:
    ends = [float(v) * plane.slope + plane.intercept for v in (stored.min(), stored.max())]
    if plane.slope == 0 or max(map(abs, ends)) > MAX_VALUE:
        raise UnreadableFileError(
            f"{plane.name} has RescaleSlope {plane.slope:g} and RescaleIntercept "
            f"{plane.intercept:g}, which make no real values; repair its header"
        )
    return min(ends), max(ends)


def _padding_mask(stored: Stored, plane: Plane) -> NDArray[np.bool_] | None:
    """Which pixels are padding; None if none are."""
    header = plane.file.header
    value = tags.number(header, "PixelPaddingValue")
    if value is None:
        return None
    limit = tags.number(header, "PixelPaddingRangeLimit")
    ends = sorted(_as_stored(v, stored.dtype) for v in (value, value if limit is None else limit))
    mask = np.equal(stored, ends[0])
    if ends[0] < ends[1]:
        mask = np.greater_equal(stored, ends[0]) & np.less_equal(stored, ends[1])
    return mask if mask.any() else None


def _as_stored(value: float, dtype: np.dtype[np.generic]) -> int:
    """A padding value as the pixels' type has it: headers mix signed and unsigned up."""
    info = np.iinfo(dtype)  # type: ignore[type-var]
    whole = int(value)
    span = info.max - info.min + 1
    return whole if info.min <= whole <= info.max else (whole - info.min) % span + info.min


def _table_note(planes: Sequence[Plane]) -> tuple[str, ...]:
    tables = [p.table for p in planes if p.table is not None]
    if not tables:
        return ()
    kinds = ", ".join(sorted({t.kind or "of no stated kind" for t in tables}))
    return (
        f"{len(tables)} of {len(planes)} slices have a Modality LUT ({kinds}): values are those of "
        "the table",
    )


def _windows(planes: Sequence[Plane]) -> tuple[HeaderWindow, ...]:
    """The windows of the middle slice; those that other slices have too come first."""
    return planes[len(planes) // 2].windows


def _upright(voxels: Voxels, modality: str) -> Voxels:
    """MONOCHROME1 (low is white) turned so that high is bright, unless values are physical."""
    if modality in _PHYSICAL:
        note = f"MONOCHROME1: viewers show it inverted; the {modality} values are used as they are"
        return replace(voxels, notes=(*voxels.notes, note))
    total = voxels.low + voxels.high
    whole = voxels.array.dtype.kind in "iu"
    for plane in voxels.array:
        wide = plane.astype(np.int64 if whole else np.float64)
        turned = np.clip((int(total) if whole else total) - wide, voxels.low, voxels.high)
        plane[...] = turned
    windows = tuple(replace(w, level=total - w.level) for w in voxels.windows)
    note = f"MONOCHROME1: values turned to {total:g} minus the stored ones, so that high is bright"
    return replace(voxels, windows=windows, notes=(*voxels.notes, note))
