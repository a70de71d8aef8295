"""Numbers onto a volume: boxes, points, strokes and painted slices as canonical prompts.

What is given is in the file's own voxel indices (i, j, k), or in millimetres; what comes out is in
canonical voxels (z, y, x). `Session.add_box` and its like are these functions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import PromptError
from sammed.imaging.boxes import Box3D
from sammed.imaging.volume import Volume
from sammed.prompts import BoxPrompt, MaskPrompt, ObjectPrompts, PointPrompt, ScribblePrompt
from sammed.prompts.numeric import Box, Point, as_boxes, as_points
from sammed.prompts.text import (
    DEFAULT_NAME,
    block_from_corners,
    box_on_slice,
    check_space,
    parse_box,
    parse_point,
    point_at,
    voxels_at,
)


def place_box(box: Box | str, volume: Volume, space: str = "voxel") -> ObjectPrompts:
    """A box on a volume, as the only prompt of its object.

    Raises
    ------
    PromptError
        If it cannot be read, has fractions of voxels or lies outside.
    """
    check_space(space)
    if isinstance(box, str):
        return parse_box(box, volume, space)
    name, numbers = box.name or DEFAULT_NAME, np.array(box.numbers, np.float64)
    if not box.axis:
        return ObjectPrompts(name, blocks=(block_from_corners(numbers, volume, space, str(box)),))
    on_slice = box_on_slice(numbers, box.axis, box.slice, volume, space, str(box))
    return ObjectPrompts(name, boxes=(on_slice,))


def place_point(point: Point | str, volume: Volume, space: str = "voxel") -> ObjectPrompts:
    """A point on a volume, as the only prompt of its object.

    Raises
    ------
    PromptError
        If it cannot be read or lies outside.
    """
    check_space(space)
    if isinstance(point, str):
        return parse_point(point, volume, space)
    at = point_at(np.array(point.at, np.float64), point.positive, volume, space)
    return ObjectPrompts(point.name or DEFAULT_NAME, points=(at,))


def box_prompt(
    volume: Volume,
    box: Any,
    *,
    slice: float | None = None,
    axis: str = "k",
    space: str = "voxel",
) -> BoxPrompt | Box3D:
    """One box, however it is given, as a canonical prompt.

    Parameters
    ----------
    volume
        On whose file the numbers are meant.
    box, slice, axis
        See `as_boxes`.
    space
        ``"voxel"``, or ``"ras"`` / ``"lps"`` for millimetres.

    Raises
    ------
    PromptError
        If it is no box, not one box, or does not lie on the volume.

    Examples
    --------
    >>> from sammed.io import read
    >>> volume = read("sample_data/phantom_ct.nii.gz")
    >>> box_prompt(volume, (99, 56, 131, 97), slice=44)
    BoxPrompt(axis=0, index=44, box=Box2D(r0=56, c0=99, r1=97, c1=131))
    >>> box_prompt(volume, (99, 56, 30, 131, 97, 52))
    Box3D(z0=30, y0=56, x0=99, z1=52, y1=97, x1=131)
    """
    boxes = as_boxes(box, slice, axis)
    if len(boxes) != 1:
        raise PromptError(f"{len(boxes)} boxes are given; expected one")
    obj = place_box(boxes[0], volume, space)
    return obj.boxes[0] if obj.boxes else obj.blocks[0]


def point_prompt(
    volume: Volume, at: Any, *, positive: bool | None = None, space: str = "voxel"
) -> PointPrompt:
    """One point, however it is given, as a canonical prompt.

    Parameters
    ----------
    volume
        On whose file the numbers are meant.
    at
        See `as_points`.
    positive
        Whether it belongs to the object; by default as the point itself says, else yes.
    space
        ``"voxel"``, or ``"ras"`` / ``"lps"`` for millimetres.

    Raises
    ------
    PromptError
        If it is no point, not one point, or lies outside.

    Examples
    --------
    >>> from sammed.io import read
    >>> volume = read("sample_data/phantom_ct.nii.gz")
    >>> point_prompt(volume, (110, 80, 44), positive=False)
    PointPrompt(at=(44, 80, 110), positive=False)
    """
    points = as_points(at)
    if len(points) != 1:
        raise PromptError(f"{len(points)} points are given; expected one")
    (point,) = place_point(points[0], volume, space).points
    return point if positive is None else replace(point, positive=bool(positive))


def scribble_prompt(
    volume: Volume, voxels: Any, *, positive: bool = True, space: str = "voxel"
) -> ScribblePrompt:
    """A stroke as a canonical prompt.

    Parameters
    ----------
    volume
        On whose file the stroke is meant.
    voxels : (n, 3) or (i, j, k) bool
        Positions in drawing order, or an array of the file's shape that is true on the stroke.
    positive
        Whether the stroke runs through the object, or beside it.
    space
        ``"voxel"``, or ``"ras"`` / ``"lps"`` for positions in millimetres.

    Raises
    ------
    PromptError
        If it holds no voxel, has another shape, or leaves the volume.

    Examples
    --------
    >>> from sammed.io import read
    >>> volume = read("sample_data/phantom_ct.nii.gz")
    >>> scribble_prompt(volume, [(110, 80, 44), (111, 80, 44)]).voxels.tolist()
    [[44, 80, 110], [44, 80, 111]]
    """
    check_space(space)
    array = _array(voxels, "a scribble")
    if array.dtype.kind == "b":
        stroke = np.argwhere(canonical_array(array, volume, "a scribble"))
    elif array.ndim == 2 and array.shape[1] == 3 and np.isfinite(array).all():
        stroke = voxels_at(array.astype(np.float64), volume, space, "position of a scribble")
    else:
        raise PromptError(
            f"a scribble of shape {array.shape} is none; expected n positions, (n, 3), or a bool "
            f"array of the file's shape {volume.grid.shape[::-1]} (i, j, k)"
        )
    if not len(stroke):
        raise PromptError("a scribble is empty: it passes no voxel")
    return ScribblePrompt(stroke, bool(positive))


def mask_prompt(volume: Volume, voxels: Any) -> MaskPrompt:
    """Painted slices as a canonical prompt.

    Parameters
    ----------
    volume
        On whose file they are painted.
    voxels : (i, j, k)
        An array of the file's shape; what is not 0 is painted.

    Raises
    ------
    PromptError
        If it has another shape, or nothing is painted.
    """
    painted = canonical_array(voxels, volume, "a mask") != 0
    if not painted.any():
        raise PromptError("the mask is empty: nothing is painted in it")
    return MaskPrompt(painted)


def canonical_array(voxels: Any, volume: Volume, what: str) -> NDArray[Any]:
    """An array that is given in the file's order, in canonical order: a view of it.

    Parameters
    ----------
    voxels : (i, j, k)
        Numbers or truth values; (i, j) where the file is a single slice.
    volume
        Whose file.
    what
        What messages call it.

    Returns
    -------
    (z, y, x)
        The same values.

    Raises
    ------
    PromptError
        If it has another shape, or holds no numbers.
    """
    array, shape = _array(voxels, what), volume.grid.shape[::-1]
    if array.shape != shape and (*array.shape, 1) != shape:
        raise PromptError(
            f"{what} has shape {array.shape}, expected that of the file, {shape} (i, j, k)"
        )
    return volume.grid.reorientation.apply(array.reshape(shape).transpose(2, 1, 0))


def _array(values: Any, what: str) -> NDArray[Any]:
    """An array of numbers or truth values.

    Raises
    ------
    PromptError
        If it is none.
    """
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise PromptError(f"{what} is an array of numbers, not {type(values).__name__}")
    return array
