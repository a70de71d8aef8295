"""A volume as a NIfTI file in memory whose axes are the patient's, for viewers that want it so."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from sammed.imaging.geometry import Shape3

_KEPT = ("int16", "uint8", "uint16", "int32", "float32")


def straight_bytes(voxels: NDArray[Any], spacing: tuple[float, float, float]) -> bytes:
    """An uncompressed NIfTI of an array that lies straight: the grid's own axes, not turned.

    Viewers show oblique grids resampled; what is shown from this file is the voxels themselves.

    Parameters
    ----------
    voxels : (z, y, x) or (z, y, x, 3)
        In canonical orientation: growing to superior, posterior, left.
    spacing
        mm along z, y, x.

    Returns
    -------
    bytes
        A file whose index (i, j, k) grows to right, anterior, superior, so that
        (i, j, k) is (x, y, z) counted from the other end along x and y.

    Examples
    --------
    >>> data = straight_bytes(np.arange(24, dtype=np.int16).reshape(2, 3, 4), (3.0, 2.0, 1.0))
    >>> image = nib.Nifti1Image.from_bytes(data)
    >>> image.shape, nib.aff2axcodes(image.affine), int(image.dataobj[0, 0, 1])
    ((4, 3, 2), ('R', 'A', 'S'), 23)
    """
    turned = voxels[:, ::-1, ::-1].transpose(2, 1, 0, *range(3, voxels.ndim))
    if voxels.ndim == 4:
        stored = np.ascontiguousarray(turned, np.uint8)
        coloured = stored.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
        return _file(coloured, spacing)
    kept = voxels.dtype.name in _KEPT
    return _file(turned if kept else turned.astype(np.float32), spacing)


def other_end(voxel: Shape3, shape: Shape3) -> Shape3:
    """From the index (i, j, k) of such a file to canonical (z, y, x), or as (k, j, i) back.

    Examples
    --------
    >>> other_end((0, 0, 1), (2, 3, 4))
    (1, 2, 3)
    """
    i, j, k = voxel
    return k, shape[1] - 1 - j, shape[2] - 1 - i


def _file(array: NDArray[Any], spacing: tuple[float, float, float]) -> bytes:
    image = nib.Nifti1Image(array, np.diag([spacing[2], spacing[1], spacing[0], 1.0]))
    data: bytes = image.to_bytes()
    return data
