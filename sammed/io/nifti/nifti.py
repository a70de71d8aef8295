"""NIfTI-1 and NIfTI-2: `.nii`, `.nii.gz` and pairs `.hdr`/`.img`."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from sammed.errors import UnsupportedFormatError
from sammed.imaging import geometry
from sammed.imaging.volume import FileGrid, LabelVolume, Volume, make_grid
from sammed.io import gz
from sammed.io.nifti import label_table
from sammed.io.nifti.affine import choose_affine
from sammed.io.nifti.header import data_offset, frame_count, read_header, scaling, spatial_shape
from sammed.io.output import PathLike, atomic_output
from sammed.io.voxels import (
    Notes,
    choose_frame,
    labels_from_volume,
    native,
    real_values,
    storable,
    warn_of_rest,
)

IMAGE_STRATEGY = zlib.Z_DEFAULT_STRATEGY
LABEL_STRATEGY = zlib.Z_RLE
"""Run lengths suit label maps: at level 1's speed they come out nearly as small as at level 9."""

INTENT_LABEL = 1002
"""NIfTI's code for a label map."""

_LARGEST_NIFTI1_EXTENT = 32767


@dataclass(frozen=True)
class NiftiGrid:
    """What is needed to write on the same grid: the header as read, and its dimensions (2 or 3)."""

    header: Any
    dimensions: int


def read(path: PathLike, *, frame: int | None = None) -> Volume:
    """Read one 3D image.

    Parameters
    ----------
    path
        ``.nii``, ``.nii.gz``, or the ``.hdr`` or ``.img`` of a pair.
    frame
        Which volume of a 4D file, from 0.

    Returns
    -------
    Volume
        Integers stay integers when nothing rescales them, floats are float32, RGB is uint8.
        The modality is ``""``: NIfTI does not tell it.

    Raises
    ------
    UnreadableFileError
        If the file is not NIfTI, is truncated, damaged, or has an impossible header.
    UnsupportedFormatError
        If it holds vectors, complex numbers or Analyze 7.5.
    InputError
        If a 4D file needs a frame.
    OrientationError
        If no usable orientation is found.
    """
    return _read(Path(path), frame)[0]


def read_labels(path: PathLike, *, frame: int | None = None) -> LabelVolume:
    """Read a label map, with the names and colours that the file may carry.

    Parameters
    ----------
    path, frame
        As `read`.

    Raises
    ------
    LabelError
        If a voxel is no whole number in 0..65535. Else as `read`.
    """
    volume, header = _read(Path(path), frame, as_labels=True)
    names, colours = label_table.parse(header.extensions)
    return labels_from_volume(volume, names, colours)


def says_labels(path: PathLike) -> bool:
    """Whether the header's intent is that of a label map.

    Raises
    ------
    UnreadableFileError, UnsupportedFormatError
        As `read`.
    """
    header, _ = read_header(Path(path), Notes(path))
    return int(header["intent_code"]) == INTENT_LABEL


def write_volume(volume: Volume, path: PathLike, *, force: bool = False) -> None:
    """Write an image on the grid of its file.

    Parameters
    ----------
    volume
        Its header is taken over where it came from NIfTI.
    path
        ``.nii`` or ``.nii.gz``, which is compressed.
    force
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    array = storable(volume.grid.reorientation.invert(volume.voxels))
    header = _header_for(volume.grid, array)
    header["descrip"] = b""
    _write(header, array, path, force, IMAGE_STRATEGY)


def write_labels(labels: LabelVolume, path: PathLike, *, force: bool = False) -> None:
    """Write a label map; names and colours go into the header as a label table.

    A grid that came from NIfTI is given back with the same extents, qform, sform, their codes,
    voxel sizes and units, bit for bit.

    Parameters
    ----------
    labels
        The label map.
    path
        ``.nii`` or ``.nii.gz``, which is compressed.
    force
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    array = labels.file_array()
    _write(label_header(labels, array), array, path, force, LABEL_STRATEGY)


def label_header(labels: LabelVolume, array: NDArray[np.generic]) -> Any:
    """The header with which labels are written, as the array (k, j, i)."""
    header = _header_for(labels.grid, array)
    header["intent_code"] = INTENT_LABEL
    header["descrip"] = b"sammed label map"
    header.extensions.append(label_table.build(labels.names, labels.colours))
    return header


def _read(path: Path, frame: int | None, as_labels: bool = False) -> tuple[Volume, Any]:
    notes = Notes(path)
    header, data_path = read_header(path, notes)
    shape = spatial_shape(header, path)
    frames = frame_count(header, path)
    index = choose_frame(frames, frame, path)
    if frames > 1:
        notes.note(f"frame {index} of {frames} was read")
    array = _read_voxels(header, data_path, shape, (index, frames), notes, as_labels)
    affine = choose_affine(header, shape, path, notes)
    dimensions = min(3, int(header["dim"][0]))
    grid = make_grid(affine, array.shape[:3], "nifti", NiftiGrid(header, dimensions))
    return Volume.from_file_array(array, grid, source=path, notes=tuple(notes.texts)), header


def _read_voxels(
    header: Any,
    path: Path,
    shape: tuple[int, int, int],
    frame: tuple[int, int],
    notes: Notes,
    as_labels: bool,
) -> NDArray[np.generic]:
    """(k, j, i) real-world values, or (k, j, i, 3) colour, of one frame of so many."""
    dtype = header.get_data_dtype()
    index, frames = frame
    count = int(np.prod(shape, dtype=object)) * dtype.itemsize
    first = data_offset(header, path, frames * count, notes)
    raw = gz.read_array(
        path, first + index * count, count, frames == 1, partial(warn_of_rest, notes)
    )
    array = raw.view(dtype).reshape(shape[::-1])
    if dtype.names:
        return colour_channels(array, path, notes)
    slope, intercept = scaling(header, notes)
    return real_values(native(array), slope, intercept, path, notes, keep_nan=as_labels)


def colour_channels(array: NDArray[np.generic], path: Path, notes: Notes) -> NDArray[np.generic]:
    """(k, j, i, 3) uint8 of voxels that are records of R, G, B; the array is C-contiguous.

    Raises
    ------
    UnsupportedFormatError
        If they are other records.
    """
    names = array.dtype.names or ()
    if tuple(names[:3]) != ("R", "G", "B"):
        raise UnsupportedFormatError(f"{path} has voxels of type {array.dtype}; expected RGB")
    channels = array.view(np.uint8).reshape(*array.shape, len(names))
    if len(names) == 4:
        notes.note("the alpha channel was dropped")
    return channels[..., :3]


def _header_for(grid: FileGrid, array: NDArray[np.generic]) -> Any:
    """A header for an array (k, j, i) or (k, j, i, 3) on that grid."""
    if isinstance(grid.native, NiftiGrid):
        header = _header_as_read(grid.native)
    else:
        header = _new_header(grid)
    dimensions = grid.native.dimensions if isinstance(grid.native, NiftiGrid) else 3
    if array.ndim == 4:
        header.set_data_dtype(np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    else:
        header.set_data_dtype(array.dtype)
    header["dim"] = [dimensions, *grid.shape[::-1], 1, 1, 1, 1]
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["magic"] = header.single_magic if hasattr(header, "single_magic") else b"n+1"
    return header


def _header_as_read(native: NiftiGrid) -> Any:
    """The file's own header, less what only concerned its voxels or its patient."""
    nifti2 = int(native.header["sizeof_hdr"]) == 540
    kind = nibabel.Nifti2Header if nifti2 else nibabel.Nifti1Header
    block = native.header.as_byteswapped("<").structarr
    header = kind(block.tobytes(), "<", check=False)
    for field in ("cal_min", "cal_max", "slice_start", "slice_end", "slice_code", "dim_info"):
        header[field] = 0
    for field in ("slice_duration", "toffset", "intent_code", "intent_p1", "intent_p2"):
        header[field] = 0
    for field in ("intent_p3", "vox_offset"):
        header[field] = 0
    for field in ("intent_name", "aux_file", "descrip"):
        header[field] = b""
    if not nifti2:
        for field in ("data_type", "db_name"):
            header[field] = b""
        for field in ("extents", "session_error", "glmax", "glmin"):
            header[field] = 0
        header["regular"] = b"r"
    header["pixdim"][4:] = 0
    return header


def _new_header(grid: FileGrid) -> Any:
    kind = nibabel.Nifti1Header
    if max(grid.shape) > _LARGEST_NIFTI1_EXTENT:
        kind = nibabel.Nifti2Header
    header = kind()
    header.set_data_shape(grid.shape[::-1])
    affine = geometry.affine_to_ras(grid.affine)
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner", strip_shears=True)
    header.set_xyzt_units("mm")
    return header


def _write(
    header: Any, array: NDArray[np.generic], path: PathLike, force: bool, strategy: int
) -> None:
    offset = header.single_vox_offset + header.extensions.get_sizeondisk()
    header["vox_offset"] = offset
    start = io.BytesIO()
    header.write_to(start)
    packed = str(path).lower().endswith(".gz")
    with atomic_output(path, force=force) as temporary, open(temporary, "wb") as file:
        sink = gz.GzipSink(file, strategy) if packed else file
        sink.write(start.getvalue())
        sink.write(np.ascontiguousarray(array).data.cast("B"))
        if isinstance(sink, gz.GzipSink):
            sink.finish()
