"""SimpleITK's images in memory: as volumes, and label maps as SimpleITK's images again."""

from __future__ import annotations

from typing import Any

from sammed.errors import UnsupportedFormatError
from sammed.imaging.volume import LabelVolume, Volume
from sammed.io.arrays import placed
from sammed.io.itk.itk import array_of, grid_of, image_of, is_colour
from sammed.io.voxels import Notes, choose_frame, real_values

SOURCE = "the SimpleITK image"
"""How messages call it."""


def volume_of(image: Any, frame: int | None = None, *, keep_nan: bool = False) -> Volume:
    """A SimpleITK image as the volume that its file would be read as.

    Parameters
    ----------
    image
        In 2, 3 or, with several frames, 4 dimensions; not changed.
    frame
        Which frame or component of several, from 0.
    keep_nan
        As `sammed.io.voxels.real_values`.

    Raises
    ------
    UnsupportedFormatError, OrientationError, InputError
        As `sammed.io.itk.itk.read`.
    """
    notes = Notes(SOURCE)
    image, frame = _one_frame(image, frame)
    components = image.GetNumberOfComponentsPerPixel()
    colour = is_colour(image.GetPixelID(), components)
    index = choose_frame(1 if colour else components, frame, SOURCE)
    array = array_of(image, components, None if colour else index, SOURCE, notes)
    values = array
    if not colour:
        values = real_values(array, 1.0, 0.0, SOURCE, notes, keep_nan=keep_nan)
    return Volume.from_file_array(values, grid_of(image, SOURCE), notes=tuple(notes.texts))


def labels_like(labels: LabelVolume, image: Any) -> Any:
    """A label map as a SimpleITK image with the size, origin, spacing and direction of an image.

    Raises
    ------
    GridMismatchError
        If the labels are on another grid.
    """
    image, _ = _one_frame(image, 0)
    labels = placed(labels, grid_of(image, SOURCE), SOURCE)
    return image_of(labels.file_array(), labels.grid)


def _one_frame(image: Any, frame: int | None) -> tuple[Any, int | None]:
    """A 4D image's chosen frame, with nothing left to choose; others as they are."""
    dimensions = image.GetDimension()
    if dimensions not in (2, 3, 4) or 0 in image.GetSize():
        raise UnsupportedFormatError(
            f"{SOURCE} has the size {image.GetSize()}; expected voxels in 2 to 4 dimensions"
        )
    if dimensions < 4:
        return image, frame
    return image[:, :, :, choose_frame(image.GetSize()[3], frame, SOURCE)], None
