"""FreeSurfer's volumes: `.mgh`, and `.mgz`, which is the same packed. Read, not written.

Where voxels are follows from the header's voxel sizes, direction cosines and the position of the
centre, in scanner RAS, not in FreeSurfer's "surface RAS" (tkreg). Its conformed volumes are cubes
of 256 voxels of 1 mm whose axes point left, inferior and anterior.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.freesurfer.mghformat import MGHHeader
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from sammed.errors import UnreadableFileError, UnsupportedFormatError
from sammed.imaging import geometry
from sammed.imaging.volume import LabelVolume, Volume, make_grid
from sammed.io import gz
from sammed.io.output import PathLike
from sammed.io.recognition import hint
from sammed.io.voxels import Notes, choose_frame, labels_from_volume, native, real_values

HEADER_BYTES = 284
"""Voxels begin here, whatever the header says."""

_GOOD_RAS_AT = 28
"""Where the header says whether it says where voxels are; 16 bits."""

_DEFAULT = {
    "delta": [1, 1, 1],
    "Mdc": [[-1, 0, 0], [0, 0, -1], [0, 1, 0]],  # one row an axis; nibabel's own is transposed
    "Pxyz_c": [0, 0, 0],
}
"""What FreeSurfer assumes where the header says that it does not say."""

_TYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}
"""FreeSurfer's codes of number types."""


def read(path: PathLike, *, frame: int | None = None) -> Volume:
    """Read one 3D image.

    Parameters
    ----------
    path
        ``.mgh`` or ``.mgz``; whether it is packed is told by its content.
    frame
        Which of several, from 0.

    Returns
    -------
    Volume
        Integers stay integers, floats are float32. The modality is ``""``.

    Raises
    ------
    UnreadableFileError
        If the file is not MGH, is truncated, damaged, or has an impossible header.
    UnsupportedFormatError
        If its numbers are of an unknown type.
    InputError
        If a file of several frames needs a choice.
    OrientationError
        If its axes are not orthogonal.
    """
    return _read(Path(path), frame, as_labels=False)


def read_labels(path: PathLike, *, frame: int | None = None) -> LabelVolume:
    """Read a label map, such as ``aseg.mgz``; the file has no names.

    Parameters
    ----------
    path, frame
        As `read`.

    Raises
    ------
    LabelError
        If a voxel is no whole number in 0..65535. Else as `read`.
    """
    return labels_from_volume(_read(Path(path), frame, as_labels=True))


def _read(path: Path, frame: int | None, as_labels: bool) -> Volume:
    notes = Notes(path)
    header = _header(path)
    i, j, k, frames = (int(n) for n in header["dims"])
    index = choose_frame(frames, frame, path)
    if frames > 1:
        notes.note(f"frame {index} of {frames} was read")
    dtype = _dtype(header, path)
    count = i * j * k * dtype.itemsize
    raw = gz.read_array(path, HEADER_BYTES + index * count, count, whole=frames == 1)
    array: NDArray[np.generic] = native(raw.view(dtype).reshape(k, j, i))
    values = real_values(array, 1.0, 0.0, path, notes, keep_nan=as_labels)
    grid = make_grid(_affine(header, path, notes), (k, j, i), "mgh")
    return Volume.from_file_array(values, grid, source=path, notes=tuple(notes.texts))


def _header(path: Path) -> Any:
    """The header, with extents that make sense."""
    try:
        with gz.open_bytes(path) as file:
            start = file.read(HEADER_BYTES)
        if len(start) < HEADER_BYTES:
            raise UnreadableFileError(
                f"{path} is truncated: a FreeSurfer volume has a header of {HEADER_BYTES} bytes, "
                f"this file has {len(start)}{hint(path)}"
            )
        header = MGHHeader(start, check=False)
        if header["version"] != 1:
            raise ValueError(f"its version is {int(header['version'])}, expected 1")
    except (HeaderDataError, OSError, EOFError, ValueError, zlib.error) as error:
        raise UnreadableFileError(
            f"{path} is not a FreeSurfer volume, whatever its name says, or its header is damaged "
            f"({' '.join(str(error).split())[:200]}){hint(path)}"
        ) from error
    if np.frombuffer(start, ">i2", 1, _GOOD_RAS_AT)[0] <= 0:
        header["goodRASFlag"] = 0
        for field, value in _DEFAULT.items():
            header[field] = value
    extents = [int(n) for n in header["dims"]]
    if min(extents) < 1:
        raise UnreadableFileError(
            f"{path} holds no voxels: its extents are {tuple(extents)}, expected positive ones"
        )
    return header


def _dtype(header: Any, path: Path) -> np.dtype[Any]:
    code = int(header["type"])
    if code not in _TYPES:
        known = ", ".join(f"{number} {np.dtype(name).name}" for number, name in _TYPES.items())
        raise UnsupportedFormatError(
            f"{path} has voxels of FreeSurfer's type {code}; expected one of {known}"
        )
    return np.dtype(_TYPES[code])


def _affine(header: Any, path: Path, notes: Notes) -> geometry.Affine:
    """Map of the stored index (k, j, i) to LPS mm."""
    if int(header["goodRASFlag"]) == 0:
        notes.warn(
            "its goodRASFlag is 0: it does not say where its voxels are; FreeSurfer's default was "
            "assumed (1 mm voxels, axes towards left, inferior and anterior, centre at 0)"
        )
    return geometry.check_affine(geometry.affine_from_ras(header.get_affine()), str(path))
