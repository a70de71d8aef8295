"""Reading RTSTRUCT: outlines in patient space become a label map on an image's grid.

Outlines are filled at voxel centres by the even-odd rule, over all outlines of an ROI on a slice:
keyholes, nested outlines and CLOSEDPLANAR_XOR all come out right. ROIs overlap as a rule (a
target lies within a body outline): the smaller one wins, and the notes count the voxels.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import GridMismatchError, InputError
from sammed.imaging.geometry import Shape3
from sammed.imaging.volume import FileGrid, LabelVolume, Volume, label_dtype
from sammed.io.dicom.objects.contours import Polygon, fill
from sammed.io.dicom.objects.opening import label_values, open_object
from sammed.io.dicom.source import DicomSource
from sammed.io.overlaps import Structures, chosen

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
CLOSED = {"CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR"}
CONTOUR_DATA = 0x30060050

PLANE_TOLERANCE = 0.25
"""How far an outline may lie from a slice, as a part of the distance between slices."""

FLAT_TOLERANCE_MM = 0.1
"""How far the points of an outline may leave its plane."""


@dataclass(frozen=True)
class _Roi:
    number: int
    name: str
    colour: tuple[int, int, int] | None
    outlines: list[NDArray[np.float64]] = field(repr=False)
    """(n, 3) LPS mm each."""


@dataclass(frozen=True)
class _Planes:
    """A stack of slices that outlines may lie on, and how maps of them get onto the grid."""

    affines: NDArray[np.float64]
    size: tuple[int, int]
    to_file: Callable[[NDArray[Any]], NDArray[Any]]

    @property
    def shape(self) -> Shape3:
        return len(self.affines), *self.size

    @property
    def step(self) -> float:
        """Distance in mm between slices."""
        return float(np.linalg.norm(self.affines[0, :3, 0]))

    @property
    def normal(self) -> NDArray[np.float64]:
        return np.asarray(self.affines[0, :3, 0] / self.step)


@dataclass
class _Losses:
    """What could not be used, for the notes."""

    open_outlines: int = 0
    outside: int = 0
    too_small: int = 0

    def notes(self, name: str, overlap: int) -> tuple[str, ...]:
        texts = {
            f"{self.open_outlines} points or open lines are no outlines and were left out": (
                self.open_outlines
            ),
            f"{self.outside} outlines lie outside of the image and were left out": self.outside,
            f"{self.too_small} outlines enclose no voxel centre": self.too_small,
            f"{overlap} voxels lie in several structures; the smaller one wins": overlap,
        }
        return tuple(f"{name}: {text}" for text, count in texts.items() if count)


def read(
    path: str | os.PathLike[str],
    like: Volume | None = None,
    *,
    only: Collection[str] | None = None,
) -> LabelVolume:
    """Read an RTSTRUCT as a label map on the grid of the image that it was drawn on.

    Slices without an outline stay empty: outlines on a few slices are a mask on those slices.

    Parameters
    ----------
    path
        The file.
    like
        The image; outlines hold no grid of their own.
    only
        Names of the ROIs to read; all by default.

    Returns
    -------
    LabelVolume
        Values are ROI numbers, or 1, 2, 3... if those are no label values.

    Raises
    ------
    InputError
        If no image is given.
    UnreadableFileError, UnsupportedFormatError
        If the file is damaged, or no RTSTRUCT.
    LabelError
        If a name in ``only`` does not occur.
    GridMismatchError
        If the outlines belong to another frame of reference, lie outside of the image, between
        its slices, or across them.
    """
    path = Path(path)
    with open_object(path, {SOP_CLASS}, "RTSTRUCT") as dataset:
        if like is None:
            raise InputError(
                f"{path} holds outlines without a grid; give the image series they were drawn on "
                f"({', '.join(sorted(_series(dataset))) or 'the file does not say which'})"
            )
        losses = _Losses()
        rois = _rois(dataset, only, path, losses)
        _check_frame(dataset, like, path)
        planes = _planes(rois, like.grid, path)
        return _labels(rois, planes, like.grid, path, losses)


def _rois(
    dataset: Dataset, only: Collection[str] | None, path: Path, losses: _Losses
) -> list[_Roi]:
    """ROIs with outlines, in the file's order."""
    names = {
        int(roi.ROINumber): str(roi.get("ROIName") or f"ROI {roi.ROINumber}")
        for roi in dataset.StructureSetROISequence
    }
    wanted = chosen(names, only, path)
    rois = []
    for item in dataset.get("ROIContourSequence") or []:
        number = int(item.ReferencedROINumber)
        if number in wanted or number not in names:
            outlines = _points(item, losses)
            name = names.get(number, f"ROI {number}")
            if outlines:
                rois.append(_Roi(number, name, _colour(item), outlines))
    if not rois:
        raise InputError(f"{path} holds no closed outline; nothing to read")
    return rois


def _points(item: Dataset, losses: _Losses) -> list[NDArray[np.float64]]:
    """The closed outlines of an ROI, (n, 3) LPS mm each, without exact repetitions."""
    outlines = {}
    for contour in item.get("ContourSequence") or []:
        if str(contour.get("ContourGeometricType", "CLOSED_PLANAR")) not in CLOSED:
            losses.open_outlines += 1
            continue
        element = contour.get_item(CONTOUR_DATA)
        value = element.value  # bytes as stored: pydicom's own decimal objects are slow
        numbers = value.split(b"\\") if isinstance(value, bytes) else value
        points = np.array([float(v) for v in numbers], np.float64).reshape(-1, 3)
        if not np.isfinite(points).all():
            raise ValueError("an outline has coordinates that are no numbers")
        if len(points) < 3:
            losses.open_outlines += 1
        else:
            outlines[points.tobytes()] = points
    return list(outlines.values())


def _colour(item: Dataset) -> tuple[int, int, int] | None:
    value = item.get("ROIDisplayColor")
    if value is None or len(value) != 3:
        return None
    r, g, b = (min(max(int(v), 0), 255) for v in value)
    return r, g, b


def _series(dataset: Dataset) -> set[str]:
    """Series that the file says it was drawn on."""
    return {
        str(series.SeriesInstanceUID)
        for frame in dataset.get("ReferencedFrameOfReferenceSequence") or []
        for study in frame.get("RTReferencedStudySequence") or []
        for series in study.get("RTReferencedSeriesSequence") or []
        if series.get("SeriesInstanceUID")
    }


def _check_frame(dataset: Dataset, like: Volume, path: Path) -> None:
    """Coordinates mean nothing in another frame of reference, unless the series is the same."""
    source = like.grid.native
    if not isinstance(source, DicomSource) or not source.frame_of_reference_uid:
        return
    frames = {
        str(item.get("ReferencedFrameOfReferenceUID") or "")
        for item in dataset.StructureSetROISequence
    } | {
        str(item.get("FrameOfReferenceUID") or "")
        for item in dataset.get("ReferencedFrameOfReferenceSequence") or []
    }
    frames.discard("")
    series = _series(dataset)
    if frames and source.frame_of_reference_uid not in frames and source.series_uid not in series:
        raise GridMismatchError(
            f"{path} was drawn in another frame of reference than the image; give the series it "
            f"was drawn on ({', '.join(sorted(series)) or 'not stated'})"
        )


def _planes(rois: list[_Roi], grid: FileGrid, path: Path) -> _Planes:
    """The stack of slices, of the few that a grid has, which all outlines are parallel to."""
    outlines = [points for roi in rois for points in roi.outlines]
    candidates = []
    if isinstance(grid.native, DicomSource):
        source = grid.native
        candidates.append(_Planes(source.affines, source.size, source.labels_on_grid))
        if not source.resampled:
            candidates += [_along(grid, axis) for axis in (1, 2)]
    else:
        candidates += [_along(grid, axis) for axis in (0, 1, 2)]
    for planes in candidates:
        if all(np.ptp(points @ planes.normal) <= FLAT_TOLERANCE_MM for points in outlines):
            return planes
    raise GridMismatchError(
        f"the outlines in {path} are not parallel to the slices of the image; give the series "
        "they were drawn on"
    )


def _along(grid: FileGrid, axis: int) -> _Planes:
    """The slices across one axis of a file's array (k, j, i)."""
    across = [a for a in range(3) if a != axis]
    n, size = grid.shape[axis], (grid.shape[across[0]], grid.shape[across[1]])
    affines = np.repeat(grid.affine[None][:, :, [axis, *across, 3]], n, axis=0)
    affines[:, :3, 3] += np.arange(n)[:, None] * grid.affine[:3, axis]
    return _Planes(affines, size, lambda stored: np.moveaxis(stored, 0, axis))


def _labels(
    rois: list[_Roi], planes: _Planes, grid: FileGrid, path: Path, losses: _Losses
) -> LabelVolume:
    structures = Structures(planes.shape)
    values = label_values([roi.number for roi in rois])
    for roi in rois:
        for s, polygons in _by_slice(roi, planes, path, losses).items():
            mask = fill(polygons, planes.size)
            losses.too_small += 0 if mask.any() else len(polygons)
            structures.add(values[roi.number], s, mask)
    painted, overlap = structures.paint()
    if not painted.any():
        raise GridMismatchError(
            f"no outline in {path} encloses a voxel of the image; give the series that they were "
            "drawn on"
        )
    stored = planes.to_file(painted.astype(label_dtype(max(values.values()))))
    return LabelVolume(
        grid.reorientation.apply(stored),
        grid,
        {values[roi.number]: roi.name for roi in rois},
        {values[roi.number]: roi.colour for roi in rois if roi.colour},
        source=path,
        notes=losses.notes(path.name, overlap),
    )


def _by_slice(roi: _Roi, planes: _Planes, path: Path, losses: _Losses) -> dict[int, list[Polygon]]:
    """The ROI's outlines in pixels, (row, col), by the slice that each lies on."""
    heights = planes.affines[:, :3, 3] @ planes.normal
    found: dict[int, list[Polygon]] = defaultdict(list)
    for points in roi.outlines:
        height = float(np.mean(points @ planes.normal))
        s = int(np.argmin(np.abs(heights - height)))
        distance = abs(heights[s] - height) / planes.step
        if distance > PLANE_TOLERANCE:
            if s in (int(heights.argmin()), int(heights.argmax())) and distance > 0.5:
                losses.outside += 1
                continue
            raise GridMismatchError(
                f"an outline of {roi.name!r} in {path} lies {distance * planes.step:.3g} mm from "
                f"the nearest slice of the image (slices are {planes.step:.3g} mm apart); give "
                "the series that it was drawn on"
            )
        affine = planes.affines[s]
        inverse = np.linalg.pinv(affine[:3, 1:3])
        found[s].append((points - affine[:3, 3]) @ inverse.T)
    return found
