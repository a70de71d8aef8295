"""Reading RTSTRUCT: outlines in patient space become a label map on an image's grid.

Outlines are filled at voxel centres (`sammed.io.dicom.objects.filling`): keyholes, nested and
repeated outlines and CLOSEDPLANAR_XOR all come out right. ROIs overlap as a rule (a target lies
within a body outline): the smaller one wins, and the notes count the voxels.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import GridMismatchError, InputError
from sammed.imaging.geometry import Shape3
from sammed.imaging.volume import FileGrid, LabelVolume, Volume, label_dtype
from sammed.io.dicom.objects.contours import Polygon
from sammed.io.dicom.objects.filling import Remarks, fill_together
from sammed.io.dicom.objects.opening import label_values, open_object
from sammed.io.dicom.source import DicomSource
from sammed.io.overlaps import Structures, chosen

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
XOR = {"CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR"}
CLOSED = {"CLOSED_PLANAR", *XOR}
CONTOUR_DATA = 0x30060050

PLANE_TOLERANCE = 0.25
"""How far an outline may lie from a slice, as a part of the distance between slices."""

REACH_PX = 1.0
"""Outlines that leave the centres of the image's rim by no more are within the image."""

FLAT_TOLERANCE_MM = 0.1
"""How far the points of an outline may leave its plane."""


@dataclass(frozen=True)
class _Roi:
    number: int
    name: str
    colour: tuple[int, int, int] | None
    outlines: list[NDArray[np.float64]] = field(repr=False)
    """(n, 3) LPS mm each."""
    even_odd: bool = False
    """Whether it says that its outlines are to be combined by exclusive or."""


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
    def reach(self) -> NDArray[np.float64]:
        """How far (row, column) of an outline may be without leaving the image."""
        return np.array(self.size) - 1 + REACH_PX

    @property
    def step(self) -> float:
        """Distance in mm between slices."""
        return float(np.linalg.norm(self.affines[0, :3, 0]))

    @property
    def normal(self) -> NDArray[np.float64]:
        return np.asarray(self.affines[0, :3, 0] / self.step)


@dataclass
class _Losses:
    """What could not be used as it is, for the notes."""

    open_outlines: int = 0
    outside: int = 0
    cut: int = 0
    without_outline: list[str] = field(default_factory=list)
    filling: Remarks = field(default_factory=Remarks)
    same_numbers: list[str] = field(default_factory=list)

    def notes(self, name: str, overlap: int) -> tuple[str, ...]:
        filling = self.filling
        texts = {
            f"{self.open_outlines} points or open lines are no outlines and were left out": (
                self.open_outlines
            ),
            f"{self.outside} outlines lie outside of the image and were left out": self.outside,
            f"{self.cut} outlines reach beyond the image and were cut off there": self.cut,
            f"structures without an outline: {', '.join(self.without_outline)}": len(
                self.without_outline
            ),
            f"{filling.empty} outlines enclose no voxel centre": filling.empty,
            f"{filling.repeated} outlines are there twice and count once": filling.repeated,
            f"{filling.united} outlines overlap others of their structure in part and were united "
            "with them": filling.united,
            f"{filling.poking} outlines lie within others but for a few voxels and were taken for "
            "holes (or islands) in them": filling.poking,
            f"{overlap} voxels lie in several structures; the smaller one wins": overlap,
        }
        texts |= dict.fromkeys(self.same_numbers, 1)
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
    """ROIs with outlines, in the file's order, each with a number of its own."""
    structures = [
        (int(roi.ROINumber), str(roi.get("ROIName") or f"ROI {roi.ROINumber}"))
        for roi in dataset.StructureSetROISequence
    ]
    wanted = chosen(dict(enumerate(name for _, name in structures)), only, path)
    bearers: dict[int, list[int]] = defaultdict(list)
    for place, (number, _) in enumerate(structures):
        bearers[number].append(place)
    seen: Counter[int] = Counter()
    rois: list[_Roi] = []
    drawn: set[int | None] = set()
    for item in dataset.get("ROIContourSequence") or []:
        number = int(item.ReferencedROINumber)
        indices = bearers.get(number)
        index = indices[min(seen[number], len(indices) - 1)] if indices else None
        seen[number] += 1
        if index is not None and index not in wanted:
            continue
        outlines = _points(item, losses)
        name = f"ROI {number}" if index is None else structures[index][1]
        if outlines:
            drawn.add(index)
            rois.append(_Roi(number, name, _colour(item), outlines, _is_xor(item)))
    if not rois:
        raise InputError(f"{path} holds no closed outline; nothing to read")
    losses.without_outline = [structures[index][1] for index in wanted if index not in drawn]
    return _with_own_numbers(rois, losses)


def _with_own_numbers(rois: list[_Roi], losses: _Losses) -> list[_Roi]:
    """Give later ROIs of another name that bear a number again a free one."""
    names: dict[int, str] = {}
    own: list[_Roi] = []
    free = max(roi.number for roi in rois) + 1
    for roi in rois:
        if names.setdefault(roi.number, roi.name) == roi.name:
            own.append(roi)
            continue
        losses.same_numbers.append(
            f"the ROIs {names[roi.number]!r} and {roi.name!r} both say number {roi.number}; the "
            f"latter was given {free}"
        )
        own.append(replace(roi, number=free))
        names[free] = roi.name
        free += 1
    return own


def _is_xor(item: Dataset) -> bool:
    return any(
        str(contour.get("ContourGeometricType")) in XOR
        for contour in item.get("ContourSequence") or []
    )


def _points(item: Dataset, losses: _Losses) -> list[NDArray[np.float64]]:
    """The closed outlines of an ROI, (n, 3) LPS mm each."""
    outlines = []
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
            outlines.append(points)
    return outlines


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
            mask = fill_together(polygons, planes.size, losses.filling, even_odd=roi.even_odd)
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
        pixels = (points - affine[:3, 3]) @ inverse.T
        losses.cut += bool((pixels < -REACH_PX).any() or (pixels > planes.reach).any())
        found[s].append(pixels)
    return found
