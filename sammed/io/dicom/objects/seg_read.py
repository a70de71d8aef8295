"""Reading DICOM Segmentation objects: binary, fractional and label maps, from any writer.

Frames may be few, in any order and overlapping. Where binary segments overlap the smaller one
wins (a lesion lies in its organ), of fractional ones the more probable; the notes count the voxels.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import UnreadableFileError
from sammed.imaging.geometry import Shape3
from sammed.imaging.volume import MAX_LABEL, LabelVolume, Volume, label_dtype
from sammed.io.dicom.objects.opening import label_values, open_object
from sammed.io.dicom.objects.seg_frames import Frame, Stack, frames_of, stack_of
from sammed.io.dicom.objects.seg_pixels import pads_frames, pixels_of
from sammed.io.overlaps import Structures, chosen
from sammed.io.placement import place

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

LABEL_VALUE = "label value {}"
"""How our own SEGs remember, in a segment's description, the value that a label had."""

SEG_CLASSES = {"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"}


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
        frames = frames_of(dataset)
        stack = stack_of(dataset, frames, like)
        labels = _labels(dataset, frames, stack, path, only)
    if like is None or stack.source is not None:
        return labels
    return place(labels, like, f"the segmentation {path.name}")


def _labels(
    dataset: Dataset,
    frames: list[Frame],
    stack: Stack,
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
    empty = [names[n] for n in values if not (numbers == n).any()]
    return LabelVolume(
        _on_grid(table[numbers], stack),
        stack.grid,
        {value: names[number] for number, value in values.items()},
        {value: c for number, value in values.items() if (c := _colour(segments[number]))},
        probabilities,
        path,
        _notes(path, overlap, rule, empty, pads_frames(dataset)),
    )


def _notes(path: Path, overlap: int, rule: str, empty: list[str], padded: bool) -> tuple[str, ...]:
    texts = {
        f"{overlap} voxels lie in several segments; the {rule} one wins": overlap,
        f"segments without a voxel of their own: {', '.join(empty)}": empty,
        "each frame begins with a byte of its own, against the standard; read so": padded,
    }
    return tuple(f"{path.name}: {text}" for text, holds in texts.items() if holds)


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


def _on_grid(stored: NDArray[Any], stack: Stack) -> NDArray[Any]:
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


def _smallest(
    dataset: Dataset, frames: list[Frame], stack: Stack, wanted: list[int]
) -> tuple[NDArray[np.uint16], int]:
    structures = Structures(stack.shape)
    described = {int(segment.SegmentNumber) for segment in dataset.SegmentSequence} | {0}
    if "PixelPaddingValue" in dataset:
        described.add(int(dataset.PixelPaddingValue))
    for frame, pixels in zip(frames, pixels_of(dataset), strict=True):
        k = stack.slices[frame.index]
        if frame.segment == 0:
            found = set(np.unique(pixels).tolist())
            if unknown := found - described:
                raise ValueError(f"segments {sorted(unknown)} are used but not described")
            for number in found & set(wanted):
                structures.add(number, k, pixels == number)
        elif frame.segment in wanted:
            structures.add(frame.segment, k, pixels != 0)
    return structures.paint()


def _fractions(
    dataset: Dataset, frames: list[Frame], stack: Stack, wanted: list[int]
) -> dict[int, NDArray[np.uint8]]:
    """Each segment's fractions as stored, in steps of 1 / MaximumFractionalValue."""
    steps = {number: np.zeros(stack.shape, np.uint8) for number in wanted}
    for frame, pixels in zip(frames, pixels_of(dataset), strict=True):
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
