"""Reading DICOM Segmentation objects: binary, fractional and label maps, from any writer.

Frames may be few, in any order and overlapping. Where binary segments overlap, the one with the
higher number wins (writers list a lesion after its organ); of fractional ones the most probable.
Both are counted in the notes.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import (
    GridMismatchError,
    IrregularSpacingError,
    OrientationError,
    SammedError,
    UnreadableFileError,
    UnsupportedFormatError,
)
from sammed.geometry import Affine, Shape3, index_from_world
from sammed.io.dicom_source import DicomSource
from sammed.io.placement import VOXEL_TOLERANCE, place
from sammed.volume import FileGrid, LabelVolume, Volume, label_dtype, make_grid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

LABEL_VALUE = "label value {}"
"""How our own SEGs remember, in a segment's description, the value that a label had."""

SEG_CLASSES = {"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"}
MAX_SLICES = 10_000
SLICE_TOLERANCE = 0.05
"""How far, in slice distances, a frame may lie from the nearest slice of an even stack."""

_ODD_FILE = (
    *(AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError),
    *(EOFError, NotImplementedError, RuntimeError, struct.error),
)


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


def read(path: str | os.PathLike[str], like: Volume | None = None) -> LabelVolume:
    """Read a DICOM SEG as a label map.

    Parameters
    ----------
    path
        The file.
    like
        The image that was segmented. The labels come back on its whole grid; without it on the
        smallest grid that holds all frames.

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
    GeometryError
        If the frames do not lie on a regular stack, or not on the grid of ``like``.
    """
    path = Path(path)
    with _odd_file(path):
        dataset = _open(path)
        frames = _frames(dataset)
        stack = _stack(dataset, frames, like)
        labels = _labels(dataset, frames, stack, path)
    if like is None or stack.source is not None:
        return labels
    return place(labels, like, f"the segmentation {path.name}")


def _open(path: Path) -> Dataset:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    if not path.is_file():
        raise UnreadableFileError(f"{path} does not exist or is no file; expected a DICOM SEG")
    try:
        dataset = dcmread(path)
    except InvalidDicomError as error:
        raise UnreadableFileError(f"{path} is not a DICOM file; expected a DICOM SEG") from error
    if str(dataset.get("SOPClassUID", "")) not in SEG_CLASSES:
        kind = getattr(dataset.get("SOPClassUID"), "name", "of an unknown class")
        raise UnsupportedFormatError(f"{path} is {kind}, expected a DICOM SEG")
    if "PixelData" not in dataset:
        raise UnreadableFileError(f"{path} holds no pixels; it may be truncated: copy it again")
    return dataset


@contextmanager
def _odd_file(path: Path) -> Iterator[None]:
    try:
        yield
    except SammedError:
        raise
    except OSError as error:
        raise UnreadableFileError(f"cannot read {path}: {error.strerror or error}") from error
    except _ODD_FILE as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UnreadableFileError(
            f"{path} is damaged or no valid DICOM SEG ({reason}); export it again"
        ) from error


def _frames(dataset: Dataset) -> list[_Frame]:
    shared = dataset.SharedFunctionalGroupsSequence[0]
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


def _macro(shared: Dataset, group: Dataset, keyword: str, dataset: Dataset) -> Dataset:
    """One item of a functional group, which may be shared by all frames or each frame's own."""
    for owner in (group, shared):
        if owner.get(keyword):
            item: Dataset = owner[keyword].value[0]
            return item
    if "TotalPixelMatrixRows" in dataset:
        raise UnsupportedFormatError(
            "segmentations of microscopic slides are not supported; expected CT, MR or the like"
        )
    raise KeyError(f"{keyword} is missing")


def _stack(dataset: Dataset, frames: list[_Frame], like: Volume | None) -> _Stack:
    shared, group = (
        dataset.SharedFunctionalGroupsSequence[0],
        dataset.PerFrameFunctionalGroupsSequence[0],
    )
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


def _orientation(dataset: Dataset, shared: Dataset) -> NDArray[np.float64]:
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


def _labels(dataset: Dataset, frames: list[_Frame], stack: _Stack, path: Path) -> LabelVolume:
    segments = {int(s.SegmentNumber): s for s in dataset.SegmentSequence}
    values = _label_values(segments)
    if dataset.SegmentationType == "FRACTIONAL":
        fractions = _fractions(dataset, frames, stack)
        numbers, overlap = _most_probable(fractions, stack.shape)
    else:
        fractions = {}
        numbers, overlap = _highest_number(dataset, frames, stack)
    unknown = set(np.unique(numbers).tolist()) - set(values) - {0}
    if unknown:
        raise ValueError(f"segments {sorted(unknown)} are used but not described")
    table = np.zeros(max([*values, 0]) + 1, label_dtype(max([*values.values(), 0])))
    for number, value in values.items():
        table[number] = value
    notes = []
    if overlap:
        rule = "most probable" if fractions else "higher-numbered"
        notes.append(f"{path.name}: {overlap} voxels lie in several segments; the {rule} one wins")
    return LabelVolume(
        _on_grid(table[numbers], stack),
        stack.grid,
        {value: _name(segments[number], value) for number, value in values.items()},
        {
            value: colour
            for number, value in values.items()
            if (colour := _colour(segments[number]))
        },
        {values[number]: _on_grid(fraction, stack) for number, fraction in fractions.items()},
        path,
        tuple(notes),
    )


def _on_grid(stored: NDArray[Any], stack: _Stack) -> NDArray[Any]:
    if stack.source is not None:
        stored = stack.source.labels_on_grid(stored)
    return stack.grid.reorientation.apply(stored)


def _label_values(segments: dict[int, Dataset]) -> dict[int, int]:
    """Segment number to label value; a label map's background (0) is left out."""
    pattern = re.compile(re.escape(LABEL_VALUE).replace(r"\{\}", r"([1-9]\d{0,4})"))
    numbers = [number for number in segments if number > 0]
    found = [pattern.fullmatch(str(segments[n].get("SegmentDescription", ""))) for n in numbers]
    values = [int(match.group(1)) for match in found if match]
    if len(set(values)) == len(numbers) and max([*values, 0]) <= 65535:
        return dict(zip(numbers, values, strict=True))
    return {number: number for number in numbers}


def _name(segment: Dataset, value: int) -> str:
    return str(segment.get("SegmentLabel") or f"segment {value}")


def _colour(segment: Dataset) -> tuple[int, int, int] | None:
    from highdicom.color import CIELabColor

    value = segment.get("RecommendedDisplayCIELabValue")
    if value is None or len(value) != 3:
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


def _highest_number(
    dataset: Dataset, frames: list[_Frame], stack: _Stack
) -> tuple[NDArray[np.uint16], int]:
    numbers = np.zeros(stack.shape, np.uint16)
    overlap = np.zeros(stack.shape, bool)
    for frame, pixels in zip(frames, _pixels(dataset), strict=True):
        k = stack.slices[frame.index]
        shown = pixels if frame.segment == 0 else (pixels != 0) * np.uint16(frame.segment)
        overlap[k] |= (numbers[k] > 0) & (shown > 0) & (numbers[k] != shown)
        np.maximum(numbers[k], shown, out=numbers[k], casting="unsafe")
    return numbers, int(np.count_nonzero(overlap))


def _fractions(
    dataset: Dataset, frames: list[_Frame], stack: _Stack
) -> dict[int, NDArray[np.float16]]:
    steps = float(dataset.MaximumFractionalValue)
    numbers = sorted(int(s.SegmentNumber) for s in dataset.SegmentSequence)
    fractions = {number: np.zeros(stack.shape, np.float16) for number in numbers}
    for frame, pixels in zip(frames, _pixels(dataset), strict=True):
        fractions[frame.segment][stack.slices[frame.index]] = np.minimum(pixels / steps, 1)
    return fractions


def _most_probable(
    fractions: dict[int, NDArray[np.float16]], shape: Shape3
) -> tuple[NDArray[np.uint16], int]:
    numbers = np.zeros(shape, np.uint16)
    best = np.full(shape, 0.5, np.float16)
    claims = np.zeros(shape, np.uint8)
    for number, fraction in fractions.items():
        claims += (fraction >= 0.5) & (claims < 2)
        wins = fraction >= best
        numbers[wins] = number
        best[wins] = fraction[wins]
    return numbers, int(np.count_nonzero(claims > 1))
