"""Putting a label map onto the grid of an image that it was drawn on.

A SEG or a mask may hold fewer slices than the image, or the same voxels in another axis order.
Nothing is interpolated: voxels either coincide or the two do not belong together.
"""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sammed.errors import GridMismatchError
from sammed.imaging import geometry
from sammed.imaging.geometry import Affine, Shape3
from sammed.imaging.volume import LabelVolume, Volume

_Scalar = TypeVar("_Scalar", bound=np.generic)

VOXEL_TOLERANCE = geometry.GRID_TOLERANCE_VOXELS
"""Voxel centres that lie this close, in voxels, coincide."""


def place(labels: LabelVolume, like: Volume, what: str = "the label map") -> LabelVolume:
    """The labels on the whole grid of an image.

    Parameters
    ----------
    labels
        On any grid whose voxels coincide with the image's: a part of it, larger, or with other
        axis orders.
    like
        The image.
    what
        How messages call the labels.

    Returns
    -------
    LabelVolume
        On ``like.grid``; 0 where the labels had no voxel. Voxels outside of the image are left
        out, with a note if they were labelled.

    Raises
    ------
    GridMismatchError
        If the voxels do not coincide, or everything labelled lies outside of the image.
    """
    if geometry.same_grid(labels.affine, labels.shape, like.affine, like.shape):
        notes = labels.notes + geometry.grid_note(labels.affine, labels.shape, like.affine)
        return dataclasses.replace(labels, grid=like.grid, notes=notes)
    transform = index_transform(labels.affine, labels.shape, like.affine)
    if transform is None:
        raise GridMismatchError(
            f"{what} is not on the grid of the image: {_grid_text(labels)}, expected a part of "
            f"{_grid_text(like)} (z, y, x; LPS mm); {_how_far(labels, like)}resample it to the "
            "image"
        )
    voxels = _moved(labels.voxels, transform, like.shape)
    lost = int(np.count_nonzero(labels.voxels)) - int(np.count_nonzero(voxels))
    if lost and not voxels.any():
        raise GridMismatchError(
            f"{what} lies outside of the image: {_grid_text(labels)}, the image has "
            f"{_grid_text(like)} (z, y, x; LPS mm); is it of another scan?"
        )
    notes = labels.notes
    if lost:
        notes += (f"{lost} labelled voxels lie outside of the image and were left out",)
    probabilities = {
        label: _moved(values, transform, like.shape)
        for label, values in labels.probabilities.items()
    }
    return dataclasses.replace(
        labels, voxels=voxels, grid=like.grid, probabilities=probabilities, notes=notes
    )


def index_transform(
    affine: Affine, shape: Shape3, target: Affine
) -> tuple[Shape3, Shape3, Shape3] | None:
    """How indices of one grid become indices of another whose voxels coincide.

    Returns
    -------
    axes, signs, offset
        Target axis ``a`` has index ``signs[a] * index[axes[a]] + offset[a]``; None if the voxel
        centres do not coincide within `VOXEL_TOLERANCE`.
    """
    exact = np.linalg.inv(target) @ affine
    whole = np.round(exact)
    corners = np.array([[z, y, x] for z in (0, 1) for y in (0, 1) for x in (0, 1)])
    corners = corners * (np.array(shape) - 1)
    error = geometry.apply_affine(exact, corners) - geometry.apply_affine(whole, corners)
    steps = np.abs(exact[:3, :3] - whole[:3, :3]).max()
    matrix = whole[:3, :3]
    apart = max(float(np.abs(error).max()), float(steps))
    if apart > VOXEL_TOLERANCE or not _turns_axes(matrix):
        return None
    axes = [int(np.flatnonzero(row)[0]) for row in matrix]
    signs = [int(row[axis]) for row, axis in zip(matrix, axes, strict=True)]
    return _three(axes), _three(signs), _three([int(v) for v in whole[:3, 3]])


def _turns_axes(matrix: NDArray[np.float64]) -> bool:
    """Whether each axis becomes one other, or the same, in either direction."""
    sizes = np.abs(matrix)
    return bool((sizes.sum(axis=0) == 1).all() and (sizes.sum(axis=1) == 1).all())


def _moved(
    array: NDArray[_Scalar], transform: tuple[Shape3, Shape3, Shape3], shape: Shape3
) -> NDArray[_Scalar]:
    axes, signs, offset = transform
    turned = array.transpose(axes)[tuple(slice(None, None, sign) for sign in signs)]
    moved = np.zeros(shape, array.dtype)
    source, target = [], []
    for sign, first, extent, length in zip(signs, offset, turned.shape, shape, strict=True):
        start = first if sign > 0 else first - extent + 1
        low, high = max(start, 0), max(min(start + extent, length), max(start, 0))
        source.append(slice(low - start, high - start))
        target.append(slice(low, high))
    moved[tuple(target)] = turned[tuple(source)]
    return moved


def _three(values: list[int]) -> Shape3:
    a, b, c = values
    return a, b, c


def _grid_text(image: LabelVolume | Volume) -> str:
    return geometry.describe_grid(image.affine, image.shape)


def _how_far(labels: LabelVolume, like: Volume) -> str:
    """How far voxels of one spacing lie apart, for the message."""
    exact = np.linalg.inv(like.affine) @ labels.affine
    whole = np.round(exact)
    if not _turns_axes(whole[:3, :3]):
        return ""
    mm, voxels = geometry.grid_distance(labels.affine, labels.shape, like.affine @ whole)
    return (
        f"voxels lie up to {mm:.3g} mm ({voxels:.3g} voxels) apart, at most {VOXEL_TOLERANCE:g} "
        "voxels are taken as the same; "
    )
