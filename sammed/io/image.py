"""PNG, JPEG, TIFF and BMP pictures: volumes of one slice, or of one slice a page.

The index is (page, row, column) as viewers show the picture, with 1 mm voxels: column grows
towards the patient's left, row towards posterior, page towards superior, by convention.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from sammed.errors import (
    OutputError,
    SammedError,
    SammedWarning,
    UnreadableFileError,
    UnsupportedFormatError,
)
from sammed.imaging.volume import LabelVolume, Volume, make_grid
from sammed.io import tiff
from sammed.io.output import PathLike, atomic_output
from sammed.io.recognition import hint
from sammed.io.stderr import stderr_into
from sammed.io.voxels import (
    Notes,
    choose_frame,
    labels_from_volume,
    native,
    real_values,
)

_LOSSY = (".jpg", ".jpeg")

AFFINE = np.eye(4)[:, [2, 1, 0, 3]]
"""Index (k, j, i) to LPS mm: its canonical form is the identity of the axes."""

_SPREAD = {"L;2": 85, "L;4": 17}
"""How far apart Pillow puts the values of a picture of 2 or 4 bits, to fill 0 to 255."""

_GREY_MODES = ("L", "I;16", "I;16L", "I;16B", "I", "F")


def read(path: PathLike, *, frame: int | None = None) -> Volume:
    """Read a picture.

    Parameters
    ----------
    path
        A PNG, JPEG, TIFF or BMP file.
    frame
        One page of a file with several (TIFF), from 0; without it all pages, of one size, are
        a stack.

    Returns
    -------
    Volume
        (k, j, i) grey in uint8, uint16, int32 or float32, or (k, j, i, 3) uint8 colour.

    Raises
    ------
    UnreadableFileError
        If it is no picture, or is damaged.
    UnsupportedFormatError
        If its pages differ in size or kind, or are too large.
    InputError
        If the page does not exist.
    """
    path = Path(path)
    return _read(path, frame, as_labels=False)


def read_labels(path: PathLike, *, frame: int | None = None) -> LabelVolume:
    """Read a label map from a grey or palette picture.

    Parameters
    ----------
    path, frame
        As `read`.

    Raises
    ------
    UnsupportedFormatError
        If it is a JPEG, whose values are not exact.
    LabelError
        If it is a colour picture. Else as `read`.
    """
    path = Path(path)
    if path.suffix.lower() in _LOSSY:
        raise UnsupportedFormatError(
            f"{path} is a JPEG, which does not keep label values; save the labels as PNG"
        )
    return labels_from_volume(_read(path, frame, as_labels=True))


def write_volume(volume: Volume, path: PathLike, *, force: bool = False) -> None:
    """Write a picture, or a TIFF of one page a slice.

    Parameters
    ----------
    volume
        Grey of 8 or 16 bits, or 8-bit colour.
    path
        ``.png``, ``.tif`` or ``.tiff``.
    force
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        If voxels are neither colour nor whole numbers of 8 or 16 bits, or it cannot be written.
    """
    array = volume.grid.reorientation.invert(volume.voxels)
    if array.dtype not in (np.uint8, np.uint16):
        raise OutputError(
            f"cannot write {path}: pictures hold whole numbers from 0 to 65535, these voxels are "
            f"{array.dtype}; choose .nii.gz, .nrrd or .mha"
        )
    _write(np.ascontiguousarray(array), path, force)


def write_labels(labels: LabelVolume, path: PathLike, *, force: bool = False) -> None:
    """Write a grey picture whose values are the labels, or a TIFF of one page a slice.

    Parameters
    ----------
    labels
        The label map; its names are lost.
    path
        ``.png``, ``.tif`` or ``.tiff``.
    force
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        If the label map has several slices and the format one page, or it cannot be written.
    """
    _write(labels.file_array(), path, force)


def _read(path: Path, frame: int | None, as_labels: bool) -> Volume:
    notes = Notes(path)
    with _reported(path):
        pages = tiff.grey_pages(path, frame, as_labels, notes) if tiff.is_tiff(path) else None
        if pages is None:
            pages = _pages(path, frame, as_labels, notes)
    if len({(page.shape, page.dtype.str) for page in pages}) > 1:
        raise UnsupportedFormatError(
            f"{path} has pages of different sizes or kinds; choose one with --frame (0 to "
            f"{len(pages) - 1})"
        )
    notes.note("a picture has no voxel size: 1 mm was assumed")
    if len(pages) > 1:
        notes.note(f"its {len(pages)} pages were read as a stack of slices")
    array = native(np.stack(pages))
    if array.ndim == 3:
        array = real_values(array, 1.0, 0.0, path, notes, keep_nan=as_labels)
    k, j, i = array.shape[:3]
    grid = make_grid(AFFINE, (k, j, i), "image")
    texts = tuple(dict.fromkeys(notes.texts))
    return Volume.from_file_array(array, grid, source=path, notes=texts)


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Pillow's exceptions as one line of ours, and what libtiff prints kept off the screen."""
    said: list[str] = []
    try:
        with stderr_into(said), _own_warnings():
            yield
        if any("error" in line.lower() for line in said):
            raise ValueError  # libtiff told, Pillow did not
    except SammedError:
        raise
    except UnidentifiedImageError:
        raise UnreadableFileError(
            f"{path} is not a picture, whatever its name says; expected PNG, JPEG, TIFF or BMP"
            f"{hint(path)}"
        ) from None
    except Image.DecompressionBombError as error:
        raise UnsupportedFormatError(f"{path} is too large a picture: {error}") from error
    except Exception as error:  # a damaged file makes Pillow's plug-ins raise nearly anything
        reason = said[0] if said else " ".join(str(error).split())
        raise UnreadableFileError(
            f"{path} is truncated or damaged ({reason[:200]}); copy or download it again"
        ) from error


@contextmanager
def _own_warnings() -> Iterator[None]:
    """Let through what sammed warns of, and not what libraries do."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield
    for one in heard:
        if issubclass(one.category, SammedWarning):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def _pages(
    path: Path, frame: int | None, as_labels: bool, notes: Notes
) -> list[NDArray[np.generic]]:
    """The pages that are wanted, as Pillow reads them."""
    # Pillow maps files into memory that it opens by name, and then turns grey pages wrongly
    with open(path, "rb") as file, Image.open(file) as picture:
        if picture.format == "PNG":
            _verify_checksums(path)
        count = getattr(picture, "n_frames", 1)
        indices = range(count) if frame is None else [choose_frame(count, frame, path)]
        return [_page(picture, index, as_labels, notes) for index in indices]


def _verify_checksums(path: Path) -> None:
    """Pillow skips PNG's checksums of the voxels when it only reads them."""
    with Image.open(path) as picture:
        picture.verify()


def _page(picture: Any, index: int, as_labels: bool, notes: Notes) -> NDArray[np.generic]:
    """One page as (row, column) or (row, column, 3), turned as viewers show it."""
    if index:
        picture.seek(index)
    spread = _SPREAD.get(picture.tile[0].args) if as_labels and picture.tile else None
    page = picture
    if picture.getexif().get(0x0112, 1) != 1:
        page = ImageOps.exif_transpose(picture)
        notes.note("it was turned as its EXIF orientation says")
    if page.mode == "1" or (page.mode == "P" and as_labels):
        return np.array(page).astype(np.uint8)
    if page.mode in ("RGBA", "LA", "PA"):
        notes.note("the alpha channel was dropped")
    if page.mode in ("LA", "La"):
        page = page.convert("L")
    elif page.mode not in _GREY_MODES:
        page = page.convert("RGB")
    return np.array(page) if spread is None else np.array(page) // spread


def _write(array: NDArray[np.generic], path: PathLike, force: bool) -> None:
    suffix = Path(path).suffix.lower()
    if len(array) > 1 and suffix == ".png":
        raise OutputError(
            f"cannot write {path}: PNG holds one slice, here are {len(array)}; choose .tif, "
            ".nii.gz, .nrrd or .mha"
        )
    pages = [Image.fromarray(page) for page in array]
    more: dict[str, Any] = {}
    if suffix != ".png":
        more = {"save_all": True, "append_images": pages[1:], "compression": "tiff_adobe_deflate"}
    with atomic_output(path, force=force) as temporary:
        pages[0].save(temporary, **more)
