"""What must not be registered: a scan with itself, and one whose axes are mirrored."""

from __future__ import annotations

import numpy as np

from sammed.errors import InputError
from sammed.imaging.registration.pictures import Grey, name_of
from sammed.imaging.registration.search import coarse, in_mirrors
from sammed.imaging.volume import Volume

FLIP_GAIN = 0.1
"""A mirrored image must be so much more alike, as a correlation, to be taken for the right one."""

LEAST_FLIP = 0.6
"""And so much alike at all: two images of different things are more alike by chance either way."""

AXES = ("head and feet", "front and back", "left and right")
"""What is exchanged when a canonical axis is mirrored."""


def check_not_itself(fixed: Volume, moving: Volume) -> None:
    """Make sure that an example is another scan.

    Raises
    ------
    InputError
        If all voxels are the same.
    """
    if fixed.shape == moving.shape and np.array_equal(fixed.voxels, moving.voxels):
        raise InputError(
            f"{name_of(moving)} is the scan itself, voxel for voxel; give one of another person "
            "or time, or the labels with --mask"
        )


def flipped_axes(fixed: Grey, moving: Grey) -> str:
    """Which ends of the moving image seem exchanged against the fixed one; ``""`` if none.

    An affine that says left where right is cannot be told from the affine. But a body is not as its
    mirror image: where the reversed image is clearly more alike, something is wrong.

    Returns
    -------
    str
        One of `AXES`, or empty.
    """
    straight = coarse(fixed, moving).similarity
    likeness = in_mirrors(fixed, moving)
    best = max(likeness, key=lambda axis: likeness[axis], default=-1)
    least = max(LEAST_FLIP, straight + FLIP_GAIN)
    return AXES[best] if best >= 0 and likeness[best] >= least else ""
