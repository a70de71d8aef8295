"""Label maps onto another grid."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from sammed.imaging import geometry
from sammed.imaging.geometry import Affine
from sammed.imaging.volume import LabelVolume, Volume


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


def _image(voxels: NDArray[np.generic], affine: Affine) -> Any:
    """A canonical (z, y, x) array as an ITK image, whose index order is (x, y, z)."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels))
    image.SetSpacing(geometry.spacing(affine)[::-1])
    image.SetOrigin([float(v) for v in affine[:3, 3]])
    image.SetDirection([float(v) for v in geometry.direction(affine)[:, ::-1].ravel()])
    return image
