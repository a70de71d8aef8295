"""Where the frames of a DICOM SEG lie: the stack of slices that they form or belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import (
    GridMismatchError,
    IrregularSpacingError,
    OrientationError,
    UnsupportedFormatError,
)
from sammed.imaging.geometry import Affine, Shape3, index_from_world
from sammed.imaging.volume import FileGrid, Volume, make_grid
from sammed.io.dicom.source import DicomSource
from sammed.io.placement import VOXEL_TOLERANCE

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    _Group = Dataset | dict[str, Any]

MAX_SLICES = 10_000
SLICE_TOLERANCE = 0.05
"""How far, in slice distances, a frame may lie from the nearest slice of an even stack."""


@dataclass(frozen=True)
class Frame:
    """Where a frame lies and which segment it shows (0 in a label map: its pixels tell)."""

    index: int
    position: NDArray[np.float64]
    segment: int


@dataclass(frozen=True)
class Stack:
    """The grid that frames are put into, and which of its slices each frame is."""

    grid: FileGrid
    shape: Shape3
    slices: dict[int, int]
    source: DicomSource | None = None


def frames_of(dataset: Dataset) -> list[Frame]:
    """The frames, in the order of the file.

    Raises
    ------
    KeyError, ValueError
        If one is not described.
    """
    shared = _shared(dataset)
    frames = []
    for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        position = _macro(shared, group, "PlanePositionSequence", dataset)
        segment = 0
        if dataset.SegmentationType != "LABELMAP":
            identification = _macro(shared, group, "SegmentIdentificationSequence", dataset)
            segment = int(identification.ReferencedSegmentNumber)
        where = np.array(position.ImagePositionPatient, np.float64)
        frames.append(Frame(index, where, segment))
    if not frames or len(frames) != int(dataset.get("NumberOfFrames", 1)):
        raise ValueError(f"{dataset.get('NumberOfFrames')} frames, {len(frames)} described")
    return frames


def _shared(dataset: Dataset) -> _Group:
    """What all frames share; some writers say everything frame by frame."""
    found = dataset.get("SharedFunctionalGroupsSequence")
    return found[0] if found else {}


def _macro(shared: _Group, group: _Group, keyword: str, dataset: Dataset) -> Dataset:
    """One item of a functional group, which may be shared by all frames or each frame's own."""
    for owner in (group, shared):
        found = owner.get(keyword)
        if found:
            item: Dataset = found[0]
            return item
    if "TotalPixelMatrixRows" in dataset:
        raise UnsupportedFormatError(
            "segmentations of microscopic slides are not supported; expected CT, MR or the like"
        )
    raise KeyError(f"{keyword} is missing")


def stack_of(dataset: Dataset, frames: list[Frame], like: Volume | None) -> Stack:
    """The stack that frames form; that of the image as acquired if the image was resampled.

    Raises
    ------
    GeometryError
        If they form none, or do not lie on the image's slices.
    """
    shared, group = _shared(dataset), dataset.PerFrameFunctionalGroupsSequence[0]
    orientation = _orientation(dataset, shared)
    measures = _macro(shared, group, "PixelMeasuresSequence", dataset)
    row_step, column_step = (float(v) for v in measures.PixelSpacing)
    in_plane = np.zeros((4, 4))
    in_plane[:3, 1], in_plane[:3, 2] = orientation[3:] * row_step, orientation[:3] * column_step
    in_plane[:3, 0] = np.cross(orientation[:3], orientation[3:])
    in_plane[3, 3] = 1
    size = int(dataset.Rows), int(dataset.Columns)
    native = like.grid.native if like is not None else None
    if like is not None and isinstance(native, DicomSource) and native.resampled:
        return _stack_as_acquired(frames, in_plane, size, like.grid, native)
    return _even_stack(frames, in_plane, size, _stated(measures, in_plane[:3, 0], like))


def _orientation(dataset: Dataset, shared: _Group) -> NDArray[np.float64]:
    """Direction of the columns' and the rows' index, (6,), the same for all frames."""
    found = np.array(
        [
            _macro(shared, group, "PlaneOrientationSequence", dataset).ImageOrientationPatient
            for group in dataset.PerFrameFunctionalGroupsSequence
        ],
        np.float64,
    )
    if found.shape[1:] != (6,) or np.abs(found - found[0]).max() > 1e-4:
        raise OrientationError("the frames of the segmentation have different orientations")
    return np.asarray(found[0])


def _even_stack(
    frames: list[Frame], in_plane: Affine, size: tuple[int, int], stated: list[float]
) -> Stack:
    """The smallest even stack that holds every frame."""
    positions = np.array([frame.position for frame in frames])
    along = (positions - positions[0]) @ in_plane[:3, 0]
    first, last = positions[np.argmin(along)], positions[np.argmax(along)]
    step = _slice_distance(along, stated)
    count = round(float(along.max() - along.min()) / step) + 1
    if count > MAX_SLICES:
        raise IrregularSpacingError(
            f"the frames spread over {count} slices of {step:.4g} mm; give the segmented image, "
            "whose grid will be used"
        )
    affine = in_plane.copy()
    affine[:3, 0] = (last - first) / (count - 1) if count > 1 else in_plane[:3, 0] * step
    affine[:3, 3] = first
    index = index_from_world(affine, positions)
    nearest = np.round(index[:, 0]).astype(int)
    if np.abs(index - np.stack([nearest, 0 * nearest, 0 * nearest], axis=1)).max() > (
        SLICE_TOLERANCE
    ):
        raise IrregularSpacingError(
            f"the frames do not lie on an even, straight stack (slices {step:.4g} mm apart); give "
            "the segmented image, whose grid will be used"
        )
    grid = make_grid(affine, (count, *size), "dicom_seg")
    return Stack(grid, (count, *size), {f.index: int(nearest[i]) for i, f in enumerate(frames)})


def _stated(measures: Dataset, normal: NDArray[np.float64], like: Volume | None) -> list[float]:
    """Distances in mm that slices may have: the image's, then as the file says."""
    stated = []
    if like is not None:
        along = np.abs(normal @ like.affine[:3, :3])
        stated.append(float(along.max()))
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        stated.append(abs(float(measures.get(keyword) or 0)))  # some say it with a sign
    return [value for value in stated if value > 0]


def _slice_distance(along: NDArray[np.float64], stated: list[float]) -> float:
    """Distance in mm between slices: the first stated one that fits, else as the frames lie."""
    gaps = np.diff(np.unique(np.round(along, 4)))
    gaps = gaps[gaps > 1e-3]
    if not len(gaps):
        return next(iter(stated), 1.0)
    for value in stated:
        steps = gaps / value
        if np.abs(steps - np.round(steps)).max() <= SLICE_TOLERANCE and steps.min() > 0.5:
            return value
    return float(gaps.min())


def _stack_as_acquired(
    frames: list[Frame],
    in_plane: Affine,
    size: tuple[int, int],
    grid: FileGrid,
    source: DicomSource,
) -> Stack:
    """The acquired slices of a resampled image; every frame must be one of them."""
    slices = {}
    corners = source.affines[:, :3, 3]
    shape = (len(source), *source.size)
    tolerance = 10 * VOXEL_TOLERANCE * float(np.linalg.norm(in_plane[:3, 1]))
    same_plane = np.abs(source.affines[0, :3, 1:3] - in_plane[:3, 1:3]).max() <= tolerance
    for frame in frames:
        distance = np.linalg.norm(corners - frame.position, axis=1)
        nearest = int(np.argmin(distance))
        if distance[nearest] > tolerance or size != source.size or not same_plane:
            raise GridMismatchError(
                f"a frame of the segmentation at {np.round(frame.position, 3).tolist()} mm is on "
                "none of the image's slices; is it of another scan?"
            )
        slices[frame.index] = nearest
    return Stack(grid, shape, slices, source)
