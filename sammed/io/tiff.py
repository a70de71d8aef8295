"""Grey TIFFs of every type of number, which Pillow reads wrongly or not at all.

Pillow takes int8 for uint8 and uint32 for int32, turns "min is white" round in 8 bits but not in
16, and knows no 64-bit numbers. Here tifffile reads them; colour is left to Pillow.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from sammed.errors import UnreadableFileError, UnsupportedFormatError
from sammed.io.voxels import Notes, choose_frame

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How a TIFF begins; the last two are BigTIFF."""

_MIN_IS_WHITE, _MIN_IS_BLACK = 0, 1
_ORIENTATION = 274
_MOST_PIXELS = 1 << 31
"""Of one page; a header that states more is damaged."""


def is_tiff(path: Path) -> bool:
    """Whether a file begins as TIFFs do."""
    with open(path, "rb") as file:
        return file.read(4) in MAGIC


def grey_pages(
    path: Path, frame: int | None, as_labels: bool, notes: Notes
) -> list[NDArray[np.generic]] | None:
    """The pages of a grey TIFF, (row, column) each; None if there is colour in it.

    Parameters
    ----------
    path
        A TIFF.
    frame
        One page, from 0; without it all.
    as_labels
        Leave values as stored, where "min is white" would turn an image's round.
    notes
        Receives what was turned, and what the file says beyond its pages.

    Raises
    ------
    UnsupportedFormatError
        If its compression is not read for its type of number.
    InputError
        If the page does not exist.
    """
    import tifffile

    with _logged(notes), closing(tifffile.TiffFile(path)) as file:
        pages: list[Any] = list(file.pages)  # each by itself, before series share their tags
        if len(pages) != _count(path):
            raise _truncated(path)
        if not all(_is_grey(page) for page in pages):
            return None
        _note_description(file, notes)
        if len(pages) == 1 and int((file.imagej_metadata or {}).get("images", 1)) > 1:
            stack = _without_directories(file)
            indices = _indices(len(stack), frame, path)
            stored = [(pages[0], stack[index]) for index in indices]
        else:
            indices = _indices(len(pages), frame, path)
            stored = [(pages[index], _array(pages[index], path, index)) for index in indices]
        return [
            _turned(_as_seen(array, page, as_labels, notes), page, notes) for page, array in stored
        ]


def _count(path: Path) -> int:
    """How many pages are linked to each other; tifffile takes a broken link for the end.

    Raises
    ------
    UnreadableFileError
        If a link leads out of the file, or in a circle.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        order: Literal["little", "big"] = "little" if file.read(2) == b"II" else "big"
        big = int.from_bytes(file.read(2), order) == 43
        entry, number, link = (20, 8, 8) if big else (12, 2, 4)
        file.seek(8 if big else 4)
        at = int.from_bytes(file.read(link), order)
        seen: set[int] = set()
        while at:
            if at in seen or not 0 < at < size:
                raise _truncated(path)
            seen.add(at)
            file.seek(at)
            entries = int.from_bytes(file.read(number), order)
            file.seek(at + number + entry * entries)
            following = file.read(link)
            if len(following) != link:
                raise _truncated(path)
            at = int.from_bytes(following, order)
    return len(seen)


def _truncated(path: Path) -> UnreadableFileError:
    return UnreadableFileError(
        f"{path} is truncated or damaged: its pages are not linked to the last one; copy or "
        "download it again"
    )


@contextmanager
def _logged(notes: Notes) -> Iterator[None]:
    """What tifffile logs becomes notes instead of lines on stderr."""

    class _ToNotes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            notes.note(f"tifffile: {' '.join(record.getMessage().split())[:200]}")

    logger, handler = logging.getLogger("tifffile"), _ToNotes(logging.WARNING)
    before = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = before
        logger.removeHandler(handler)


def _indices(count: int, frame: int | None, path: Path) -> range | list[int]:
    return range(count) if frame is None else [choose_frame(count, frame, path)]


def _is_grey(page: Any) -> bool:
    grey = int(page.photometric) in (_MIN_IS_WHITE, _MIN_IS_BLACK)
    return grey and page.samplesperpixel == 1 and page.imagedepth == 1


def _without_directories(file: Any) -> NDArray[np.generic]:
    """All images of an ImageJ file that describes only the first, as it does beyond 4 GB.

    Returns
    -------
    (page, row, column)
        As stored.
    """
    stack: NDArray[np.generic] = file.series[0].asarray()
    return stack.reshape(-1, *stack.shape[-2:])


def _array(page: Any, path: Path, index: int) -> NDArray[np.generic]:
    """Values as stored."""
    if page.imagelength * page.imagewidth > _MOST_PIXELS:
        raise UnsupportedFormatError(
            f"{path} is too large a picture: {page.imagelength:,} x {page.imagewidth:,} pixels"
        )
    if page.dtype is None:
        raise UnsupportedFormatError(
            f"{path} has {page.bitspersample}-bit grey values of format {int(page.sampleformat)}, "
            "expected integers or floats"
        )
    if page.dtype.kind == "c":
        raise UnsupportedFormatError(f"{path} has complex voxels; expected integers or floats")
    try:
        return np.asarray(page.asarray())
    except (ValueError, NotImplementedError) as error:
        if "imagecodecs" not in str(error):
            raise
        return _by_pillow(page, path, index)


def _by_pillow(page: Any, path: Path, index: int) -> NDArray[np.generic]:
    """Values as stored, of a page whose compression (LZW, fax, JPEG) tifffile does not read."""
    try:
        with open(path, "rb") as file, Image.open(file) as picture:
            picture.seek(index)
            values = np.array(picture)
            mode = picture.mode
    except UnidentifiedImageError:
        raise UnsupportedFormatError(
            f"{path} has {page.dtype} voxels compressed with {page.compression.name}, which is not "
            "read together; save it uncompressed or with deflate"
        ) from None
    if mode in ("1", "L") and int(page.photometric) == _MIN_IS_WHITE:
        values = ~values if mode == "L" else ~values.astype(bool)
    if mode == "L" and page.bitspersample in (2, 4):
        values //= 255 // (2**page.bitspersample - 1)  # Pillow spreads them over 0..255
    stored = np.dtype(page.dtype)
    if values.dtype.itemsize == stored.itemsize and page.bitspersample == 8 * stored.itemsize:
        return values.astype(values.dtype.newbyteorder("=")).view(stored.newbyteorder("="))
    return values


def _as_seen(
    array: NDArray[np.generic], page: Any, as_labels: bool, notes: Notes
) -> NDArray[np.generic]:
    """Values with high ones bright, unless they are labels."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if int(page.photometric) != _MIN_IS_WHITE:
        return array
    if as_labels:
        notes.note("low values are white in it; they were taken as they are")
        return array
    if array.dtype.kind != "u":
        notes.warn(
            f"low values are white in it; of {array.dtype} that has no agreed meaning, so they "
            "were taken as they are"
        )
        return array
    highest = 2 ** int(page.bitspersample) - 1
    notes.note(
        f"low values are white in it; they were turned to {highest:g} minus the stored ones, so "
        "that high is bright"
    )
    return np.asarray(array.dtype.type(highest) - array)


def _turned(array: NDArray[np.generic], page: Any, notes: Notes) -> NDArray[np.generic]:
    """As its orientation says that it is shown."""
    tag = page.tags.get(_ORIENTATION)
    orientation = int(tag.value) if tag is not None else 1
    if not 1 < orientation <= 8:
        return array
    notes.note("it was turned as its EXIF orientation says")
    if orientation > 4:
        array = array.T
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return array[rows, columns]


def _note_description(file: Any, notes: Notes) -> None:
    """Say what ImageJ and OME state beyond pages, and what is not heeded of it."""
    said = file.imagej_metadata or {}
    others = [f"{said[key]} {key}" for key in ("channels", "frames") if int(said.get(key, 1)) > 1]
    if others:
        notes.warn(
            f"its pages are {' and '.join(others)} of {said.get('slices', 1)} slices; all pages "
            "were read as slices, choose one with --frame"
        )
    if file.is_ome and (sizes := _ome_counts(file)):
        notes.warn(
            f"its pages are {sizes}, says its OME description; all pages were read as slices, "
            "choose one with --frame"
        )
    if said.get("unit", "") not in ("", "pixel", "pixels", "inch") or "spacing" in said:
        unit = f" ({said.get('spacing', '?')} {said.get('unit', '')} from slice to slice)"
        notes.note(f"the voxel size that ImageJ wrote into it{unit} was not read")


def _ome_counts(file: Any) -> str:
    """Channels and times of an OME-TIFF's first image, where there are several."""
    sizes = dict(file.series[0].sizes) if file.series else {}
    names = {"channel": "channels", "time": "times", "C": "channels", "T": "times"}
    parts = [f"{n} {names[axis]}" for axis, n in sizes.items() if axis in names and n > 1]
    return " and ".join(parts)
