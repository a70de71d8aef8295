"""Images that are in memory already: nibabel's, SimpleITK's, and arrays with an affine.

Neither library is imported for that: whoever brings its images has imported it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import numpy as np

from sammed.imaging.volume import LabelVolume, Volume
from sammed.io import arrays

_LIBRARIES = (
    ("nibabel.spatialimages", "SpatialImage", "sammed.io.nifti.memory"),
    ("SimpleITK", "Image", "sammed.io.itk.memory"),
)
"""Where a library's images are defined, and who converts them."""


def volume_of(image: Any, frame: int | None = None, *, keep_nan: bool = False) -> Volume:
    """An image in memory as a volume, which remembers its grid.

    Parameters
    ----------
    image
        A `Volume`, as it is; a nibabel image; a SimpleITK image; or ``(array, affine)``: an
        array in the order (i, j, k) and the affine from there to RAS mm, as nibabel has them.
        Its voxels are shared where they need no change, never written to.
    frame
        Which volume of several, from 0.
    keep_nan
        Leave NaN and infinite voxels, as label maps need it; see `sammed.io.voxels.real_values`.

    Raises
    ------
    InputError
        If it is of no known kind, or needs a choice of frame.
    GeometryError
        If it does not say, or contradicts itself about, where its voxels are.

    Examples
    --------
    >>> import numpy as np
    >>> volume_of((np.zeros((11, 7, 5), np.int16), np.diag([0.7, 0.8, 2.5, 1])))
    <Volume: 11 × 7 × 5 voxels (i, j, k) of 0.7 × 0.8 × 2.5 mm, RAS, int16>
    """
    if isinstance(image, Volume):
        return image
    module = _converter(image)
    if module is not None:
        volume: Volume = import_module(module).volume_of(image, frame, keep_nan=keep_nan)
        return volume
    array, affine = arrays.check_pair(image)
    return arrays.volume_of(array, affine, frame, keep_nan=keep_nan)


def labels_like(labels: LabelVolume, image: Any) -> Any:
    """Labels in the kind of an image on whose grid they are.

    Parameters
    ----------
    labels
        A label map.
    image
        As `volume_of`.

    Returns
    -------
    LabelVolume, nibabel image, SimpleITK image or array
        For a `Volume` the labels themselves; for ``(array, affine)`` an array (i, j, k) of
        unsigned integers.

    Raises
    ------
    GridMismatchError
        If the labels are on another grid.
    InputError
        If the image is of no known kind.
    """
    if isinstance(image, Volume):
        return labels.on_grid_of(image)
    module = _converter(image)
    if module is not None:
        return import_module(module).labels_like(labels, image)
    array, affine = arrays.check_pair(image)
    on_grid = arrays.placed(labels, arrays.grid_of(array, affine), arrays.SOURCE)
    return arrays.labels_array(on_grid, np.shape(array))


def is_image(thing: Any) -> bool:
    """Whether it is an image by itself: a `Volume`, or an image of nibabel or SimpleITK.

    Examples
    --------
    >>> is_image("ct.nii.gz"), is_image([1, 2, 3])
    (False, False)
    """
    return isinstance(thing, Volume) or _converter(thing) is not None


def _converter(image: Any) -> str | None:
    """The module that knows this kind of image; none if no library does."""
    for library, name, module in _LIBRARIES:
        kind = getattr(sys.modules.get(library), name, None)
        if kind is not None and isinstance(image, kind):
            return module
    return None
