"""Reading DICOM Segmentation objects: binary, fractional and label maps, from any writer.

Frames may be few, in any order and overlapping. Where binary segments overlap the smaller one
wins (a lesion lies in its organ), of fractional ones the more probable; the notes count the voxels.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import (
    GridMismatchError,
    IrregularSpacingError,
    OrientationError,
    UnreadableFileError,
    UnsupportedFormatError,
)
from sammed.imaging.geometry import Affine, Shape3, index_from_world
from sammed.imaging.volume import (
    MAX_LABEL,
    FileGrid,
    LabelVolume,
    Volume,
    label_dtype,
    make_grid,
)
from sammed.io.dicom.objects.opening import label_values, open_object
from sammed.io.dicom.source import DicomSource
from sammed.io.overlaps import Structures, chosen
from sammed.io.placement import VOXEL_TOLERANCE, place

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    _Group = Dataset | dict[str, Any]

LABEL_VALUE = "label value {}"
"""How our own SEGs remember, in a segment's description, the value that a label had."""

SEG_CLASSES = {"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"}
MAX_SLICES = 10_000
SLICE_TOLERANCE = 0.05
"""How far, in slice distances, a frame may lie from the nearest slice of an even stack."""


@dataclass(frozen=True)
class _Frame:
    """Where a frame lies and which segment it shows (0 in a label map: its pixels tell)."""

    index: int
    position: NDArray[np.float64]
    segment: int


@dataclass(frozen=True)
class _Stack:
    """The grid that frames are put into, and which of its slices each frame is."""

    grid: FileGrid
    shape: Shape3
    slices: dict[int, int]
    source: DicomSource | None = None


def read(
    path: str | os.PathLike[str],
    like: Volume | None = None,
    *,
    only: Collection[str] | None = None,
) -> LabelVolume:
    """Read a DICOM SEG as a label map.

    Parameters
    ----------
    path
        The file.
    like
        The image that was segmented. The labels come back on its whole grid; without it on the
        smallest grid that holds all frames.
    only
        Names of the segments to read; all by default.

    Returns
    -------
    LabelVolume
        Values are segment numbers, or the original label values if sammed wrote the file. Of
        fractional segments voxels are those at 0.5 and above; ``probabilities`` holds them all.

    Raises
    ------
    UnreadableFileError
        If the file is missing, truncated, or no DICOM.
    UnsupportedFormatError
        If it is no segmentation, or one of a microscopic slide.
    LabelError
        If a name in ``only`` does not occur.
    GeometryError
        If the frames do not lie on a regular stack, or not on the grid of ``like``.
    """
    path = Path(path)
    with open_object(path, SEG_CLASSES, "DICOM SEG") as dataset:
        if "PixelData" not in dataset:
            raise UnreadableFileError(f"{path} holds no pixels; is it truncated? Copy it again")
        frames = _frames(dataset)
        stack = _stack(dataset, frames, like)
        labels = _labels(dataset, frames, stack, path, only)
    if like is None or stack.source is not None:
        return labels
    return place(labels, like, f"the segmentation {path.name}")


def _frames(dataset: Dataset) -> list[_Frame]:
    shared = _shared(dataset)
    frames = []
    for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        position = _macro(shared, group, "PlanePositionSequence", dataset)
        segment = 0
        if dataset.SegmentationType != "LABELMAP":
            identification = _macro(shared, group, "SegmentIdentificationSequence", dataset)
            segment = int(identification.ReferencedSegmentNumber)
        where = np.array(position.ImagePositionPatient, np.float64)
        frames.append(_Frame(index, where, segment))
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


def _stack(dataset: Dataset, frames: list[_Frame], like: Volume | None) -> _Stack:
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
    return _even_stack(frames, in_plane, size, measures)


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
    frames: list[_Frame], in_plane: Affine, size: tuple[int, int], measures: Dataset
) -> _Stack:
    """The smallest even stack that holds every frame."""
    positions = np.array([frame.position for frame in frames])
    along = (positions - positions[0]) @ in_plane[:3, 0]
    first, last = positions[np.argmin(along)], positions[np.argmax(along)]
    step = _slice_distance(along, measures)
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
    return _Stack(grid, (count, *size), {f.index: int(nearest[i]) for i, f in enumerate(frames)})


def _slice_distance(along: NDArray[np.float64], measures: Dataset) -> float:
    """Distance in mm between slices: as the file says if it fits the frames, else as they lie."""
    gaps = np.diff(np.unique(np.round(along, 4)))
    gaps = gaps[gaps > 1e-3]
    stated = [
        float(measures.get(keyword) or 0) for keyword in ("SpacingBetweenSlices", "SliceThickness")
    ]
    if not len(gaps):
        return next((value for value in stated if value > 0), 1.0)
    if stated[0] > 0:
        steps = gaps / stated[0]
        if np.abs(steps - np.round(steps)).max() <= SLICE_TOLERANCE and steps.min() > 0.5:
            return stated[0]
    return float(gaps.min())


def _stack_as_acquired(
    frames: list[_Frame],
    in_plane: Affine,
    size: tuple[int, int],
    grid: FileGrid,
    source: DicomSource,
) -> _Stack:
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
    return _Stack(grid, shape, slices, source)


def _labels(
    dataset: Dataset,
    frames: list[_Frame],
    stack: _Stack,
    path: Path,
    only: Collection[str] | None,
) -> LabelVolume:
    segments = _segments(dataset, path)
    used = {frame.segment for frame in frames} - {0}
    if not used <= set(segments):
        raise ValueError(f"segments {sorted(used - set(segments))} are used but not described")
    names = {number: _name(segment, number) for number, segment in segments.items()}
    wanted = chosen(names, only, path)
    values = {n: value for n, value in _label_values(segments).items() if n in wanted}
    if dataset.SegmentationType == "FRACTIONAL":
        full = int(dataset.MaximumFractionalValue)
        fractions = _fractions(dataset, frames, stack, wanted)
        numbers, overlap = _most_probable(fractions, full, stack.shape)
        probabilities = {
            values[number]: _on_grid(_probabilities(fraction, full), stack)
            for number, fraction in fractions.items()
        }
    else:
        probabilities = {}
        numbers, overlap = _smallest(dataset, frames, stack, wanted)
    table = np.zeros(max([*values, 0]) + 1, label_dtype(max([*values.values(), 0])))
    for number, value in values.items():
        table[number] = value
    rule = "more probable" if probabilities else "smaller"
    note = f"{path.name}: {overlap} voxels lie in several segments; the {rule} one wins"
    return LabelVolume(
        _on_grid(table[numbers], stack),
        stack.grid,
        {value: names[number] for number, value in values.items()},
        {value: c for number, value in values.items() if (c := _colour(segments[number]))},
        probabilities,
        path,
        (note,) if overlap else (),
    )


def _segments(dataset: Dataset, path: Path) -> dict[int, Dataset]:
    """Descriptions of segments by number, without the background of label maps."""
    segments: dict[int, Dataset] = {}
    for segment in dataset.SegmentSequence:
        number = int(segment.SegmentNumber)
        if number in segments:
            names = " and ".join(repr(_name(s, number)) for s in (segments[number], segment))
            raise UnreadableFileError(
                f"{path} has two segments of number {number}, {names}, and its frames do not tell "
                "them apart; export it again"
            )
        if number:
            segments[number] = segment
    return segments


def _on_grid(stored: NDArray[Any], stack: _Stack) -> NDArray[Any]:
    if stack.source is not None:
        stored = stack.source.labels_on_grid(stored)
    return stack.grid.reorientation.apply(stored)


def _label_values(segments: dict[int, Dataset]) -> dict[int, int]:
    """Segment number to label value: as sammed noted it in the description, else the number."""
    pattern = re.compile(re.escape(LABEL_VALUE).replace(r"\{\}", r"([1-9]\d{0,4})"))
    found = [pattern.fullmatch(str(s.get("SegmentDescription", ""))) for s in segments.values()]
    values = [int(match.group(1)) for match in found if match]
    if len(set(values)) == len(segments) and max([*values, 0]) <= MAX_LABEL:
        return dict(zip(segments, values, strict=True))
    return label_values(segments)


def _name(segment: Dataset, value: int) -> str:
    return str(segment.get("SegmentLabel") or f"segment {value}")


def _colour(segment: Dataset) -> tuple[int, int, int] | None:
    """(r, g, b) in 0..255; None if the file proposes none, or highdicom is not installed."""
    value = segment.get("RecommendedDisplayCIELabValue")
    if value is None or len(value) != 3:
        return None
    try:
        from highdicom.color import CIELabColor
    except ImportError:
        return None
    r, g, b = CIELabColor.from_dicom_value([int(v) for v in value]).to_rgb(clip=True)
    return r, g, b


def _pixels(dataset: Dataset) -> Iterator[NDArray[Any]]:
    from pydicom.pixels.utils import iter_pixels

    compressed = dataset.file_meta.TransferSyntaxUID.is_encapsulated
    if int(dataset.BitsAllocated) == 1 and not compressed:
        return _packed_bits(dataset)
    return iter_pixels(dataset, raw=True)


def _packed_bits(dataset: Dataset) -> Iterator[NDArray[np.uint8]]:
    """Frames of one bit a pixel, which follow each other without padding to whole bytes.

    pydicom 3.0 unpacks single frames wrongly when one ends within a byte.
    """
    size = int(dataset.Rows), int(dataset.Columns)
    packed = np.frombuffer(dataset.PixelData, np.uint8)
    area = size[0] * size[1]
    if len(packed) * 8 < area * int(dataset.get("NumberOfFrames", 1)):
        raise ValueError(f"{len(packed)} bytes of pixels are too few")
    for frame in range(int(dataset.get("NumberOfFrames", 1))):
        first = frame * area
        touched = packed[first // 8 : (first + area + 7) // 8]
        bits = np.unpackbits(touched, bitorder="little")
        yield bits[first % 8 : first % 8 + area].reshape(size)


def _smallest(
    dataset: Dataset, frames: list[_Frame], stack: _Stack, wanted: list[int]
) -> tuple[NDArray[np.uint16], int]:
    structures = Structures(stack.shape)
    for frame, pixels in zip(frames, _pixels(dataset), strict=True):
        k = stack.slices[frame.index]
        if frame.segment == 0:
            for number in (n for n in np.unique(pixels).tolist() if n in wanted):
                structures.add(number, k, pixels == number)
        elif frame.segment in wanted:
            structures.add(frame.segment, k, pixels != 0)
    return structures.paint()


def _fractions(
    dataset: Dataset, frames: list[_Frame], stack: _Stack, wanted: list[int]
) -> dict[int, NDArray[np.uint8]]:
    """Each segment's fractions as stored, in steps of 1 / MaximumFractionalValue."""
    steps = {number: np.zeros(stack.shape, np.uint8) for number in wanted}
    for frame, pixels in zip(frames, _pixels(dataset), strict=True):
        if frame.segment in steps:
            steps[frame.segment][stack.slices[frame.index]] = pixels
    return steps


def _probabilities(steps: NDArray[np.uint8], full: int) -> NDArray[np.float16]:
    return np.minimum(np.arange(256) / full, 1).astype(np.float16)[steps]


def _most_probable(
    steps: dict[int, NDArray[np.uint8]], full: int, shape: Shape3
) -> tuple[NDArray[np.uint16], int]:
    """The segment with the highest fraction of at least a half; the later of equal ones."""
    numbers = np.zeros(shape, np.uint16)
    best = np.full(shape, max((full + 1) // 2, 1), np.uint8)
    contested = np.zeros(shape, bool)
    half = best.flat[0]
    for number, fraction in steps.items():
        contested |= (fraction >= half) & (numbers > 0)
        wins = fraction >= best
        numbers[wins] = number
        best[wins] = fraction[wins]
    return numbers, int(np.count_nonzero(contested))
