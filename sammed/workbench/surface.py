"""What the page shows in 3D: the surface of one object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sammed.io.mesh import surface_of_mask
from sammed.worker.arrays import Arrays

if TYPE_CHECKING:
    from sammed.session import Session


def tell_surface(session: Session, name: str, arrays: Arrays) -> dict[str, Any]:
    """An object's surface as it was last segmented, in canonical indices.

    Parameters
    ----------
    session
        Holds the masks.
    name
        Of the object.
    arrays
        Takes vertices and triangles.

    Returns
    -------
    dict
        ``name``, ``vertices`` (a reference to float32 (n, 3), indices (z, y, x)) and ``triangles``
        (to uint32 (m, 3)); both null if the object has no voxels.

    Raises
    ------
    InputError
        If there is no such object, or it was not segmented.
    BackendUnavailableError
        If scikit-image is not installed.
    """
    volume = session.runs[name].volume if name in session.runs else None
    if volume is None:
        session.object_mask(name)  # says what is wrong
    if volume is None or volume.block.is_empty or not volume.mask.any():
        return {"name": name, "vertices": None, "triangles": None}
    vertices, triangles = surface_of_mask(volume.mask, session.volume.spacing)
    index = vertices + np.array(volume.block.low)
    return {
        "name": name,
        "vertices": arrays.write(index.astype("<f4")),
        "triangles": arrays.write(triangles.astype("<u4")),
    }
