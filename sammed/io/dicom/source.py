"""What a volume remembers of the DICOM images it came from, and the way back onto them.

`DicomSource` is what `sammed.io.dicom.images` leaves in ``FileGrid.native``. The writers of SEG
and RTSTRUCT find there the headers to copy and to refer to, one per acquired slice, and bring a
label map back onto the slices as acquired when the stack had to be resampled (gantry tilt, gaps).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from sammed.errors import GridMismatchError
from sammed.imaging.geometry import Affine

_Scalar = TypeVar("_Scalar", bound=np.generic)


class ImageReference(NamedTuple):
    """How another DICOM object points at one acquired slice."""

    sop_class_uid: str
    sop_instance_uid: str
    frame: int | None
    """Frame number, from 1; None if the image has one frame only."""


@dataclass(frozen=True)
class DicomSource:
    """The source images of a volume, ordered along the file array's k.

    Without resampling, acquired slice ``s`` is the file array's ``k = s``. With it (``resampled``)
    the file array lives on another grid than the slices; `labels_as_acquired` leads back.

    Attributes
    ----------
    slices
        Headers (pydicom Datasets without PixelData, bulky and private elements): one per acquired
        slice; if all slices are frames of one multi-frame image its one dataset, see ``frames``.
        `dataset` and `references` hide the difference.
    frames
        Frame numbers, from 1, one per acquired slice; None for single-frame images.
    affines : (n, 4, 4) float64
        Per acquired slice the map of ``(0, row, column, 1)`` to LPS mm; the first column is the
        unit normal times the distance between slices.
    size : (int, int)
        Rows and columns of the acquired slices.
    grid_affine : (4, 4) float64
        Affine of the file array (k, j, i) to LPS mm.
    grid_shape : (int, int, int)
        Shape of the file array (k, j, i).
    resampled
        Whether the file array was resampled from the slices.
    """

    slices: tuple[Any, ...]
    frames: tuple[int, ...] | None
    affines: NDArray[np.float64] = field(repr=False)
    size: tuple[int, int]
    grid_affine: Affine = field(repr=False)
    grid_shape: tuple[int, int, int]
    resampled: bool = False

    def __len__(self) -> int:
        """Number of acquired slices."""
        return len(self.affines)

    @property
    def header(self) -> Any:
        """The first image's dataset: patient, study, series, frame of reference."""
        return self.slices[0]

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID of the images."""
        return str(self.header.get("SeriesInstanceUID", ""))

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID of the images."""
        return str(self.header.get("StudyInstanceUID", ""))

    @property
    def frame_of_reference_uid(self) -> str:
        """FrameOfReferenceUID of the images, empty if they have none."""
        return str(self.header.get("FrameOfReferenceUID", "") or "")

    @cached_property
    def references(self) -> tuple[ImageReference, ...]:
        """One reference per acquired slice."""
        return tuple(self._references())

    def _references(self) -> Iterator[ImageReference]:
        for s in range(len(self)):
            image = self.dataset(s)
            frame = None if self.frames is None else self.frames[s]
            yield ImageReference(str(image.SOPClassUID), str(image.SOPInstanceUID), frame)

    def dataset(self, s: int) -> Any:
        """The header of acquired slice ``s`` (for a multi-frame image that of the whole image)."""
        return self.slices[s] if len(self.slices) > 1 else self.slices[0]

    def labels_as_acquired(self, array: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """A map on the file array's grid, brought onto the slices as they were acquired.

        Parameters
        ----------
        array : (k, j, i)
            On the file array's grid (``LabelVolume.file_array()``). Whole numbers and booleans go
            by the nearest voxel, floats (probabilities) linearly within the slice.

        Returns
        -------
        acquired : (n, rows, columns), same dtype
            One map per acquired slice, in the order of ``slices`` or ``frames``; 0 outside the
            grid. The array itself if nothing was resampled.

        Raises
        ------
        GridMismatchError
            If the array has another shape than the file array.
        """
        if array.shape != self.grid_shape:
            raise GridMismatchError(
                f"the label map has shape {array.shape}, expected that of the series "
                f"{self.grid_shape} (k, j, i)"
            )
        if not self.resampled:
            return array
        acquired = np.zeros((len(self), *self.size), array.dtype)
        for s, (k, j, i) in enumerate(self._first_pixels):
            nearest = round(k)
            if 0 <= nearest < len(array):
                acquired[s] = _window(array[nearest], float(j), float(i), self.size)
        return acquired

    def labels_on_grid(self, acquired: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """The inverse: maps of the acquired slices, (n, rows, columns), on the file array's grid.

        Every k of the grid takes the nearest acquired slice, by the nearest pixel.

        Raises
        ------
        GridMismatchError
            If the array does not have one map of the right size per slice.
        """
        if acquired.shape != (len(self), *self.size):
            raise GridMismatchError(
                f"the label map has shape {acquired.shape}, expected that of the slices "
                f"{(len(self), *self.size)}"
            )
        if not self.resampled:
            return acquired
        array = np.zeros(self.grid_shape, acquired.dtype)
        first = self._first_pixels
        for k in range(len(array)):
            s = int(np.argmin(np.abs(first[:, 0] - k)))
            if abs(first[s, 0] - k) <= 1:
                j, i = float(first[s, 1]), float(first[s, 2])
                array[k] = _window(acquired[s], -j, -i, self.grid_shape[1:])
        return array

    @cached_property
    def _first_pixels(self) -> NDArray[np.float64]:
        """Position (k, j, i) on the file array's grid of each slice's first pixel, (n, 3)."""
        inverse = np.linalg.inv(self.grid_affine)
        return np.asarray((inverse @ self.affines[:, :, 3].T).T[:, :3])


def _window(
    image: NDArray[_Scalar], row: float, column: float, size: tuple[int, int]
) -> NDArray[_Scalar]:
    """The (rows, columns) window of an image that begins at a continuous pixel; 0 outside."""
    if np.issubdtype(image.dtype, np.floating):
        return _between(_between(image, row, size[0]).T, column, size[1]).T
    window = np.zeros(size, image.dtype)
    (r_from, r_to), (c_from, c_to) = (
        _overlap(round(first), extent, length)
        for first, extent, length in zip((row, column), size, image.shape, strict=True)
    )
    window[r_to, c_to] = image[r_from, c_from]
    return window


def _overlap(first: int, extent: int, length: int) -> tuple[slice, slice]:
    """Where a window of an axis overlaps an image: in the image, and in the window."""
    low, high = max(first, 0), min(first + extent, length)
    high = max(high, low)
    return slice(low, high), slice(low - first, high - first)


def _between(image: NDArray[_Scalar], first: float, extent: int) -> NDArray[_Scalar]:
    """Linear interpolation of rows ``first, first + 1, ...``; rows outside count as 0."""
    whole = int(np.floor(first))
    part = first - whole
    rows = np.zeros((extent + 1, image.shape[1]), image.dtype)
    inside, target = _overlap(whole, extent + 1, len(image))
    rows[target] = image[inside]
    mixed = (1 - part) * rows[:-1].astype(np.float64) + part * rows[1:].astype(np.float64)
    return mixed.astype(image.dtype)
