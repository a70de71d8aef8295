"""Where to look: the field round what the user said, and the next one after an answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sammed.imaging.boxes import Box3D
from sammed.models.compact.field import FIELD_SIZE, Field
from sammed.prompts import BoxPrompt, Interaction, MaskPrompt, PointPrompt
from sammed.prompts.interactions import locates

BOX_SHARE, SLICE_SHARE, POINT_SHARE = 0.7, 0.6, 0.4
"""Share of a field's side that a 3D box, a box on a slice, the region of points fills: the middle
of what the network is trained on (`sammed.synthesis.field_samples`)."""

LEAST_POINT_VOXELS = 32
"""Voxels along the finest axis that the field of points shows at least."""

GROWN = 0.5
"""By what part of its size a field grows where the object goes on."""


def first_field(
    interactions: Sequence[Interaction],
    shape: tuple[int, int, int],
    spacing: Sequence[float],
    size: int = FIELD_SIZE,
) -> Field:
    """The field in which an object is looked for first.

    Of a 3D box, the box and a margin; of boxes on slices of one axis, as deep as wide; of anything
    else, a cube in mm round all that was said to be in the object.

    Parameters
    ----------
    interactions
        What was said of the object; at least one of them says where it is.
    shape, spacing
        Of the volume: voxels and their size (z, y, x) in mm.
    size
        Samples along each side.

    Examples
    --------
    >>> first_field([Box3D(10, 20, 20, 17, 34, 34)], (30, 90, 90), (5.0, 1.0, 1.0))
    Field(low=(8.5, 17.0, 17.0), high=(18.5, 37.0, 37.0), size=64)
    """
    solid = [said for said in interactions if isinstance(said, Box3D)]
    if solid:
        region = united(solid)
        return Field.round(region.low, region.high, BOX_SHARE, size)
    mm = np.array(spacing, float)
    region = united([block_of(said) for said in interactions if locates(said)])
    lengths = np.array(region.shape) * mm
    boxes = [said for said in interactions if isinstance(said, BoxPrompt)]
    axes = {box.axis for box in boxes}
    if len(axes) == 1:
        (axis,) = axes
        lengths[axis] = max(lengths[axis], float(np.delete(lengths, axis).max()), 3 * mm[axis])
        extents = lengths / SLICE_SHARE
    elif boxes:
        extents = lengths / SLICE_SHARE
    else:
        side = max(float(lengths.max()) / POINT_SHARE, LEAST_POINT_VOXELS * float(mm.min()))
        extents = np.maximum(np.full(3, side), 3 * mm)
    middle = (np.array(region.low) + np.array(region.high)) / 2
    return Field.about(middle, extents / mm, shape, size)


def united(blocks: Sequence[Box3D]) -> Box3D:
    """The smallest block that holds all of them, at least one."""
    whole = blocks[0]
    for block in blocks[1:]:
        whole = whole.union(block)
    return whole


def block_of(said: Interaction) -> Box3D:
    """The smallest block of voxels that holds what was said.

    Examples
    --------
    >>> block_of(PointPrompt((4, 5, 6)))
    Box3D(z0=4, y0=5, x0=6, z1=5, y1=6, x1=7)
    """
    if isinstance(said, Box3D):
        return said
    if isinstance(said, PointPrompt):
        z, y, x = said.at
        return Box3D(z, y, x, z + 1, y + 1, x + 1)
    if isinstance(said, MaskPrompt):
        return Box3D.from_mask(said.voxels)
    return said.block


def grown_field(
    field: Field, beyond: NDArray[np.bool_], shape: Sequence[int], limit: Box3D | None = None
) -> Field | None:
    """The field wider where the object goes on; ``None`` if it needs or can not grow.

    Parameters
    ----------
    field
        In which the object was looked for.
    beyond : (6,) bool
        Whether it goes on beyond each face (z low, z high, y low, ...).
    shape
        Of the volume: beyond it nothing is to be seen.
    limit
        The object's 3D box: it does not go on beyond it.

    Examples
    --------
    >>> field = Field((0.0, 0.0, 0.0), (10.0, 10.0, 10.0), 64)
    >>> grown_field(field, np.array([1, 1, 0, 0, 0, 0], bool), (40, 40, 40)).high
    (15.0, 10.0, 10.0)
    """
    low, high = np.array(field.low), np.array(field.high)
    sides = (high - low) * GROWN
    ends = np.array(shape, float)
    first = np.zeros(3) if limit is None else np.array(limit.low, float)
    last = ends if limit is None else np.minimum(ends, limit.high)
    down, up = beyond.reshape(3, 2).T & np.stack((low > first, high < last))
    if not (down | up).any():
        return None
    return Field.between(low - sides * down, high + sides * up, field.size)


def fitted_field(
    mask: NDArray[np.bool_], field: Field, region: Box3D, spacing: Sequence[float]
) -> Field | None:
    """The field round what was found; ``None`` if nothing was, or if it is much as it is.

    Parameters
    ----------
    mask : (s, s, s) bool
        What was found on the field.
    field
        In which it was found.
    region
        What was said to be in the object: it stays in the field.
    spacing
        Size of a voxel (z, y, x) in mm.
    """
    if not mask.any():
        return None
    found = Box3D.from_mask(mask)
    low = np.array(field.low) + np.array(found.low) * field.step
    high = np.array(field.low) + np.array(found.high) * field.step
    low, high = np.minimum(low, region.low), np.maximum(high, region.high)
    thinnest = 0.15 * float(((high - low) * np.array(spacing)).max())  # no axis is blown up wholly
    pad = np.maximum(thinnest / np.array(spacing) - (high - low), 0) / 2
    fitted = Field.round((low - pad).tolist(), (high + pad).tolist(), BOX_SHARE, field.size)
    ratio = fitted.step / field.step
    return fitted if bool((np.abs(np.log(ratio)) > np.log(MUCH)).any()) else None


MUCH = 1.25
"""How many times larger or smaller the samples must become for another look to be worth it."""
