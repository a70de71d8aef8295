"""nibabel's images in memory: as volumes, and label maps as nibabel's images again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from sammed.imaging.volume import FileGrid, LabelVolume, Volume, make_grid
from sammed.io.arrays import borrowed, labels_array, placed
from sammed.io.nifti.affine import choose_affine
from sammed.io.nifti.header import frame_count, spatial_shape
from sammed.io.nifti.nifti import NiftiGrid, colour_channels, label_header
from sammed.io.voxels import Notes, choose_frame


def volume_of(image: Any, frame: int | None = None, *, keep_nan: bool = False) -> Volume:
    """A nibabel image as the volume that its file would be read as.

    Parameters
    ----------
    image
        NIfTI, or any other image that nibabel knows with an affine; not changed.
    frame
        Which of several, from 0.
    keep_nan
        As `sammed.io.voxels.real_values`.

    Raises
    ------
    UnsupportedFormatError, OrientationError, InputError
        As `sammed.io.nifti.nifti.read`.
    """
    source = _source(image)
    notes = Notes(source)
    grid = _grid(image, notes)
    frames = frame_count(grid.native.header, source)
    index = choose_frame(frames, frame, source)
    whole = image.dataobj if len(image.shape) < 4 else image.dataobj[..., index]
    array = np.asanyarray(whole).reshape(grid.shape[::-1]).transpose(2, 1, 0)
    if array.dtype.names:
        values = colour_channels(np.ascontiguousarray(array), source, notes)
    else:
        values = borrowed(array, source, notes, keep_nan)
    return Volume.from_file_array(values, grid, source=_file(image), notes=tuple(notes.texts))


def labels_like(labels: LabelVolume, image: Any) -> Any:
    """A label map as a nibabel image with the affine, the shape and the forms of an image.

    Names and colours are in the header's label table, as in files that sammed writes.

    Raises
    ------
    GridMismatchError
        If the labels are on another grid.
    """
    source = _source(image)
    labels = placed(labels, _grid(image, Notes(source)), str(source))
    header = label_header(labels, labels.file_array())
    kind = nibabel.Nifti2Image if int(header["sizeof_hdr"]) == 540 else nibabel.Nifti1Image
    return kind(labels_array(labels, image.shape), image.affine, header)


def _grid(image: Any, notes: Notes) -> FileGrid:
    """Where its voxels are, by the same policy as for files."""
    source = _source(image)
    header = _header(image)
    shape = spatial_shape(header, source)
    affine = choose_affine(header, shape, source, notes)
    dimensions = min(3, int(header["dim"][0]))
    return make_grid(affine, shape[::-1], "nifti", NiftiGrid(header, dimensions))


def _header(image: Any) -> Any:
    """The NIfTI header with which nibabel would save it: affine and shape agree with the image."""
    blank = np.broadcast_to(np.uint8(0), image.shape)
    if isinstance(image, nibabel.nifti1.Nifti1Pair):
        return type(image)(blank, image.affine, image.header).header
    return nibabel.Nifti1Image(blank, image.affine).header


def _source(image: Any) -> Path:
    """How messages call it."""
    return _file(image) or Path("the nibabel image")


def _file(image: Any) -> Path | None:
    name = image.get_filename()
    return Path(name) if name else None
