"""Arrays that somebody else owns: an array with its affine as an image, and labels as an array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import InputError, UnsupportedFormatError
from sammed.imaging import geometry
from sammed.imaging.volume import FileGrid, LabelVolume, Volume, make_grid
from sammed.io.voxels import Notes, choose_frame, real_values

SOURCE = "the array"
"""How messages call it."""


def grid_of(array: Any, affine: Any) -> FileGrid:
    """Where the voxels of an array are.

    Parameters
    ----------
    array : (i, j), (i, j, k), (i, j, k, n) or (i, j, k, 3)
        Only its shape counts.
    affine : (4, 4)
        Maps (i, j, k) to RAS mm, as nibabel's do.

    Raises
    ------
    UnsupportedFormatError
        If the array has fewer than two or more than four axes, or no voxel.
    OrientationError
        If the affine is none, singular or sheared.
    """
    shape = np.shape(array)
    if not 2 <= len(shape) <= 4 or 0 in shape:
        raise UnsupportedFormatError(
            f"{SOURCE} has shape {shape}; expected (i, j), (i, j, k), (i, j, k, frames) or colour "
            "(i, j, k, 3)"
        )
    try:
        ras = np.asarray(affine, np.float64)
    except (TypeError, ValueError):
        ras = np.full((1, 1), np.nan)
    checked = geometry.check_affine(ras, SOURCE)
    i, j, k = [*shape, 1][:3]
    return make_grid(geometry.affine_from_ras(checked), (k, j, i))


def volume_of(
    array: Any, affine: Any, frame: int | None = None, *, keep_nan: bool = False
) -> Volume:
    """An array (i, j, k) and its affine to RAS mm as a volume.

    Parameters
    ----------
    array, affine
        See `grid_of`; bytes with a last axis of 3 are colour.
    frame
        Which of several, along the last of four axes.
    keep_nan
        As `sammed.io.voxels.real_values`.

    Raises
    ------
    UnsupportedFormatError, OrientationError
        As `grid_of`; or the values are no real numbers.
    InputError
        If there are several frames and none is chosen, or no voxel is finite.
    """
    values = np.asarray(array)
    grid = grid_of(values, affine)
    notes = Notes(SOURCE)
    colour = values.ndim == 4 and values.dtype == np.uint8 and values.shape[3] == 3
    if values.ndim == 2:
        values = values[..., np.newaxis]
    elif values.ndim == 4 and not colour:
        values = values[..., choose_frame(values.shape[3], frame, SOURCE)]
    stored = values.transpose(2, 1, 0, *range(3, values.ndim))
    if not colour:
        stored = borrowed(stored, SOURCE, notes, keep_nan)
    return Volume.from_file_array(stored, grid, notes=tuple(notes.texts))


def borrowed(
    array: NDArray[Any], source: object, notes: Notes, keep_nan: bool
) -> NDArray[np.generic]:
    """Real values of an array (k, j, i) that is not ours: it is never written to.

    Parameters are those of `sammed.io.voxels.real_values`.
    """
    if array.dtype.kind not in "iufb":
        raise UnsupportedFormatError(
            f"{source} has voxels of type {array.dtype}; expected integers, floats or RGB"
        )
    ours = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    if (
        ours.dtype == np.float32
        and not keep_nan
        and not all(np.isfinite(plane).all() for plane in ours)
    ):
        ours = ours.copy()  # for its NaN are about to be replaced
    return real_values(ours, 1.0, 0.0, source, notes, keep_nan=keep_nan)


def labels_array(labels: LabelVolume, shape: tuple[int, ...]) -> NDArray[np.unsignedinteger]:
    """Labels in the file's order (i, j, k), in the image's own shape where it has one frame."""
    array = labels.file_array().transpose(2, 1, 0)
    return array.reshape(shape) if np.prod(shape) == array.size else array


def placed(labels: LabelVolume, grid: FileGrid, what: str) -> LabelVolume:
    """The labels on a grid, whose canonical form must be their own.

    Raises
    ------
    GridMismatchError
        If it is another.
    """
    blank = np.broadcast_to(np.uint8(0), grid.reorientation.canonical_shape)
    return labels.on_grid_of(Volume(blank, grid), f"the label map for {what}")


def check_pair(image: Any) -> tuple[Any, Any]:
    """``(array, affine)``, made sure of.

    Raises
    ------
    InputError
        If it is an array alone, or anything else.
    """
    if isinstance(image, tuple | list) and len(image) == 2:
        return image[0], image[1]
    if hasattr(image, "__array__"):
        raise InputError(
            "an array alone does not say where its voxels are; give (array, affine): the array in "
            "the order (i, j, k), the affine from there to RAS mm, as nibabel has it"
        )
    raise InputError(
        f"an image of type {type(image).__name__} is of no known kind; expected a file, a Volume, "
        "an image of nibabel or SimpleITK, or (array, affine)"
    )
