"""Images as they are registered: their window's values as SimpleITK has them, and their grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from sammed.errors import InputError
from sammed.imaging import geometry
from sammed.imaging.boxes import Box3D
from sammed.imaging.geometry import Affine, Shape3
from sammed.imaging.intensity import resolve_window
from sammed.imaging.volume import OnGrid, Volume

NOTHING = 0.0
"""What is taken for the value beyond an image."""


@dataclass(frozen=True, eq=False)
class Grey:
    """An image as it is registered: its window's values, with their place.

    Attributes
    ----------
    image
        SimpleITK, float32 in [0, 1]; in 2D if the volume has one slice, in mm within its plane.
    flat
        The canonical axis along which it has one slice, or -1.
    coarse
        Spacing in mm → what was made of it to be looked for on a coarse grid, see `search`.
    """

    image: Any
    flat: int = -1
    coarse: dict[float, Any] = field(default_factory=dict, repr=False)

    def values(self, shape: Shape3) -> NDArray[np.float32]:
        """The window's values, (z, y, x) in [0, 1]; ``shape`` is the volume's."""
        return np.asarray(sitk.GetArrayFromImage(self.image), np.float32).reshape(shape)


def itk_image(voxels: NDArray[np.generic], affine: Affine, flat: int = -1) -> Any:
    """A canonical (z, y, x) array as a SimpleITK image, whose index order is (x, y, z).

    Parameters
    ----------
    voxels : (z, y, x)
        Any values.
    affine : (4, 4)
        Index (z, y, x) to LPS mm.
    flat
        An axis of one voxel that is left out: the image is in 2D, in mm along its own axes.
    """
    spacing = geometry.spacing(affine)
    if flat >= 0:
        image = sitk.GetImageFromArray(np.ascontiguousarray(np.take(voxels, 0, axis=flat)))
        image.SetSpacing([s for a, s in enumerate(spacing) if a != flat][::-1])
        along = affine[:3, 3] @ geometry.direction(affine)
        image.SetOrigin([float(v) for a, v in enumerate(along) if a != flat][::-1])
        return image
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels))
    image.SetSpacing(spacing[::-1])
    image.SetOrigin([float(v) for v in affine[:3, 3]])
    image.SetDirection([float(v) for v in geometry.direction(affine)[:, ::-1].ravel()])
    return image


def grey(volume: Volume, window: str = "") -> Grey:
    """A volume as it is registered.

    Parameters
    ----------
    volume
        Any; of colour images the mean of the channels.
    window
        By default soft tissue of CT, and the percentiles of anything else.

    Raises
    ------
    InputError
        If all voxels have one value.
    """
    flat = flat_axis(volume)
    if volume.is_colour:
        values = volume.voxels.astype(np.float32).mean(axis=3) / 255
    else:
        chosen = window or ("soft-tissue" if volume.modality == "CT" else "p0.5-99.5")
        low, high = volume.voxels.min(), volume.voxels.max()
        if low == high:
            raise InputError(f"every voxel of {name_of(volume)} is {low}: nothing to align")
        values = resolve_window(chosen, volume).apply(volume.voxels)
    return Grey(itk_image(values.astype(np.float32), volume.affine, flat), flat)


def flat_axis(volume: OnGrid) -> int:
    """The canonical axis along which an image has one slice, or -1; several count as the first.

    Examples
    --------
    >>> from sammed.io import read
    >>> flat_axis(read("sample_data/phantom_ct.nii.gz"))
    -1
    """
    return next((axis for axis, n in enumerate(volume.shape) if n == 1), -1)


def name_of(volume: OnGrid) -> str:
    """How messages call an image."""
    source = getattr(volume, "source", None)
    return source.name if source is not None else "the image"


def check_pair(fixed: Grey, moving: Grey) -> None:
    """Make sure that two images can be aligned.

    Raises
    ------
    InputError
        If one is a slice and the other is a volume, or lies in another plane.
    """
    if (fixed.flat < 0) != (moving.flat < 0):
        raise InputError(
            "one is a single slice and the other is a volume; expected two volumes or two slices"
        )
    if fixed.flat != moving.flat:
        planes = [("axial", "coronal", "sagittal")[g.flat] for g in (fixed, moving)]
        raise InputError(f"one slice is {planes[0]} and the other {planes[1]}; expected one plane")


def region_of(image: Grey, box: Box3D) -> Any:
    """The part of an image inside a box of canonical voxels, for `affine` and `deformed`."""
    low, high = list(box.low), list(box.high)
    if image.flat >= 0:
        del low[image.flat], high[image.flat]
    cut = tuple(slice(int(a), int(b)) for a, b in zip(low[::-1], high[::-1], strict=True))
    return image.image[cut]


def at_most(image: Any, voxels: int) -> Any:
    """The image, on coarser voxels if it has too many, as cubic as that makes them."""
    size, spacing = np.array(image.GetSize()), np.array(image.GetSpacing())
    if int(np.prod(size, dtype=np.int64)) <= voxels:
        return image
    mm = float((np.prod(size * spacing) / voxels) ** (1 / len(size)))
    return resampled(image, [max(float(s), mm) for s in spacing])


def resampled(image: Any, spacing: Sequence[float]) -> Any:
    """On voxels of another size, smoothed as far as they are larger."""
    old = np.array(image.GetSpacing())
    size = [max(1, ceil(n * s / w)) for n, s, w in zip(image.GetSize(), old, spacing, strict=True)]
    for axis, (s, w) in enumerate(zip(old, spacing, strict=True)):
        if w > s * 1.2 and image.GetSize()[axis] >= 4:
            image = sitk.RecursiveGaussian(image, 0.4 * w, direction=axis)
    shift = (np.array(spacing) - old) / 2
    origin = image.TransformContinuousIndexToPhysicalPoint([float(v) for v in shift / old])
    return sitk.Resample(
        image, size, sitk.Transform(), sitk.sitkLinear, origin, list(spacing),
        image.GetDirection(), NOTHING,
    )  # fmt: skip


def shrunk(image: Any, factor: int) -> Any:
    """On voxels so many times as large, along axes that are long enough."""
    if factor == 1:
        return image
    sizes = zip(image.GetSize(), image.GetSpacing(), strict=True)
    return resampled(image, [s * (factor if n >= 16 else 1) for n, s in sizes])


def smoothed(image: Any, factor: int) -> Any:
    """Smoothed as for `shrunk`, on its own voxels."""
    if factor == 1 or min(image.GetSize()) < 4:
        return image
    return sitk.SmoothingRecursiveGaussian(image, [0.4 * factor * s for s in image.GetSpacing()])


def longest(image: Any) -> float:
    """The longest side in mm."""
    return float(max(n * s for n, s in zip(image.GetSize(), image.GetSpacing(), strict=True)))
