"""Label maps onto another grid."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from sammed.errors import GridMismatchError
from sammed.imaging import geometry
from sammed.imaging.boxes import FARTHEST, Box3D
from sammed.imaging.geometry import Affine
from sammed.imaging.volume import LabelVolume, Volume, make_grid

MOST_VOXELS = 2**31
"""A grid that holds two label maps is not made larger than this."""

ROUNDING = 1e-3
"""Voxels; a centre this close to a face of what is labelled may be taken for in it."""


def resample_labels(labels: LabelVolume, like: LabelVolume | Volume) -> LabelVolume:
    """Put labels on the grid of another image: each voxel takes the label that lies at its centre.

    Nearest neighbour, so that no label is invented; beyond the labels' own grid there is
    background. Labels that are on that grid already keep every voxel.

    Parameters
    ----------
    labels
        What to resample; not changed.
    like
        Whose canonical grid to take.

    Returns
    -------
    LabelVolume
        On the grid of ``like``, without probabilities, with a note that it was resampled.
    """
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(_image(np.zeros(like.shape, np.uint8), like.affine))
    resampler.SetInterpolator(sitk.sitkNearestNeighbor)
    resampler.SetDefaultPixelValue(0)
    moved = sitk.GetArrayFromImage(resampler.Execute(_image(labels.voxels, labels.affine)))
    source = geometry.spacing(labels.affine)
    note = (
        "resampled by nearest neighbour from shape "
        f"{labels.shape} and spacing ({', '.join(f'{s:.4g}' for s in source)}) mm"
    )
    return replace(
        labels,
        voxels=moved.astype(labels.voxels.dtype, copy=False),
        grid=like.grid,
        probabilities={},
        notes=(*labels.notes, note),
    )


def resample_to_union(
    labels: LabelVolume, reference: LabelVolume
) -> tuple[LabelVolume, LabelVolume]:
    """Two label maps on the second's grid, extended as far as anything is labelled in the first.

    Files may hold only the part of an image in which something is labelled, as DICOM SEG and
    3D Slicer's segmentations do: what the other has beyond it must not be lost.

    Parameters
    ----------
    labels
        What to resample, by nearest neighbour; not changed.
    reference
        Keeps its voxels; not changed.

    Returns
    -------
    labels, reference
        On one grid, with notes.

    Raises
    ------
    GridMismatchError
        If they lie so far apart that the grid would be larger than `MOST_VOXELS`.
    """
    union = _union(labels, reference)
    size = int(np.prod(union.shape, dtype=np.float64))
    if size > MOST_VOXELS:
        raise GridMismatchError(
            f"the labels lie too far from the reference for one grid, which would have {size:,} "
            f"voxels: {geometry.describe_grid(labels.affine, labels.shape)}, the reference has "
            f"{geometry.describe_grid(reference.affine, reference.shape)}; are they of one scan?"
        )
    low = tuple(-v for v in union.low)
    inside = tuple(slice(v, v + n) for v, n in zip(low, reference.shape, strict=True))
    affine = reference.affine.copy()
    affine[:3, 3] = geometry.apply_affine(reference.affine, np.array(union.low))
    voxels = np.zeros(union.shape, reference.voxels.dtype)
    voxels[inside] = reference.voxels
    grid = reference.grid if union.shape == reference.shape else make_grid(affine, union.shape)
    whole = replace(reference, voxels=voxels, grid=grid, probabilities={})
    moved = resample_labels(labels, whole)
    beyond = moved.voxels.copy()
    beyond[inside] = 0
    notes = list(moved.notes)
    if count := int(np.count_nonzero(beyond)):
        ml = count * geometry.voxel_volume_ml(affine)
        notes.append(
            f"{count:,} of its labelled voxels ({ml:.3g} ml) lie beyond the grid of the reference, "
            "which was extended to hold them, as background"
        )
    return replace(moved, notes=tuple(notes)), whole


def _union(labels: LabelVolume, reference: LabelVolume) -> Box3D:
    """The reference's grid and all voxels in it that something labelled may cover."""
    own = Box3D(0, 0, 0, *reference.shape)
    labelled = Box3D.from_mask(labels.voxels != 0)
    if labelled.is_empty:
        return own
    corners = geometry.index_from_world(reference.affine, labelled.corners(labels.affine))
    corners = np.clip(corners, -FARTHEST, FARTHEST)
    low = np.ceil(corners.min(axis=0) - ROUNDING).astype(int)
    high = np.floor(corners.max(axis=0) + ROUNDING).astype(int) + 1
    if (high <= low).any():
        return own
    return own.union(Box3D(*(int(v) for v in (*low, *high))))


def _image(voxels: NDArray[np.generic], affine: Affine) -> Any:
    """A canonical (z, y, x) array as an ITK image, whose index order is (x, y, z)."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels))
    image.SetSpacing(geometry.spacing(affine)[::-1])
    image.SetOrigin([float(v) for v in affine[:3, 3]])
    image.SetDirection([float(v) for v in geometry.direction(affine)[:, ::-1].ravel()])
    return image
