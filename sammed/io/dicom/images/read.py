"""DICOM images: find the series in a folder, choose one, and read it as a volume."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from sammed.errors import SammedError, SammedWarning
from sammed.imaging.volume import Volume, make_grid
from sammed.io.dicom import tags
from sammed.io.dicom.images.arrangement import Arrangement, arrange
from sammed.io.dicom.images.choice import choose_series, choose_stack, what_was_read
from sammed.io.dicom.images.resample import resample
from sammed.io.dicom.images.scan import Scan, scan
from sammed.io.dicom.images.series import SeriesInfo, describe, group
from sammed.io.dicom.images.stacks import Stack
from sammed.io.dicom.images.stored import PixelReader
from sammed.io.dicom.images.strays import Sameness
from sammed.io.dicom.images.voxels import Voxels, load, same_pixels
from sammed.io.dicom.source import DicomSource

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Survey:
    """What lies under a path.

    Attributes
    ----------
    series
        All series, usable or not.
    stray
        Files that are not DICOM.
    notes
        What could not be read.
    """

    series: tuple[SeriesInfo, ...]
    stray: int
    notes: tuple[str, ...]


def read(
    path: PathLike,
    *,
    series: str | None = None,
    frame: int | None = None,
    allow_gaps: bool = False,
) -> Volume:
    """Read one series as a volume.

    Slices are sorted by where they lie, never by name or number. A sheared stack (gantry tilt) is
    resampled to an orthogonal grid; its `DicomSource` leads back to the slices.

    Parameters
    ----------
    path
        A folder (searched with all folders in it), zip or tar archive, DICOMDIR, or single file.
    series
        ``number:3`` (SeriesNumber), ``index:2`` (place in the list, from 1), ``uid:1.2.3`` or the
        description; needed if several series are usable. A bare number does where it means one
        series only.
    frame
        Which of several stacks of one series (echoes, time points, acquisitions), from 0.
    allow_gaps
        Interpolate missing or unevenly spaced slices instead of refusing them.

    Returns
    -------
    Volume
        Real-world values (HU for CT); int16 where rescaling is by whole numbers and they fit.
        ``grid.native`` is a `DicomSource`.

    Raises
    ------
    UnreadableFileError
        If there is no DICOM, or it is truncated or corrupt.
    UnsupportedFormatError
        If the series is no image, or of a kind that is not handled.
    InputError
        If a series or frame must be chosen; the message lists them.
    GeometryError
        If slices are missing, lie unevenly, or do not say where they lie.
    """
    path = Path(path)
    with tags.quiet(), _opened(path) as (found, reader, same):
        all_series = group(found.files)
        chosen, choice = choose_series(all_series, series, path, same)
        stacks = chosen.stacks(same)
        stack = choose_stack(stacks, frame, path)
        arrangement = arrange(stack, allow_gaps)
        voxels = load(stack.planes, reader)
        for text in found.notes():
            warnings.warn(f"{path}: {text}", SammedWarning, stacklevel=2)
        notes = (what_was_read(chosen, stacks, stack), *choice, *found.notes())
        notes += stack.notes + arrangement.notes + voxels.notes
        return _volume(path, stack, arrangement, voxels, notes)


def survey(path: PathLike) -> Survey:
    """Look at all DICOM files under a path, as far as headers go.

    Parameters
    ----------
    path
        As `read`.

    Raises
    ------
    UnreadableFileError
        If it does not exist, holds no readable DICOM file, or is a broken or hostile archive.
    """
    path = Path(path)
    with tags.quiet(), _opened(path) as (found, _, same):
        series = tuple(describe(s, same) for s in group(found.files))
        return Survey(series, found.stray, found.notes())


def survey_with_pictures(path: PathLike) -> tuple[Survey, dict[int, Voxels]]:
    """As `survey`; also the middle slice of each usable series, by its index.

    Of a series whose pixels cannot be decoded there is no picture.
    """
    path = Path(path)
    pictures = {}
    with tags.quiet(), _opened(path) as (found, reader, same):
        grouped = group(found.files)
        told = Survey(tuple(describe(s, same) for s in grouped), found.stray, found.notes())
        for series, info in zip(grouped, told.series, strict=True):
            if info.usable:
                planes = series.stacks(same)[0].planes
                with suppress(SammedError):
                    pictures[info.index] = load([planes[len(planes) // 2]], reader)
    return told, pictures


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Scan, PixelReader, Sameness]]:
    with scan(path) as found, tempfile.TemporaryDirectory(prefix="sammed-") as scratch:
        reader = PixelReader(Path(scratch))
        yield found, reader, partial(same_pixels, reader)


def _volume(
    path: Path, stack: Stack, arrangement: Arrangement, voxels: Voxels, notes: tuple[str, ...]
) -> Volume:
    resampled = arrangement.offsets is not None
    array = resample(voxels.array, arrangement, voxels.low) if resampled else voxels.array
    planes = stack.planes
    headers = tuple(p.file.header for p in planes)
    one_file = len({id(header) for header in headers}) == 1
    native = DicomSource(
        slices=headers[:1] if one_file else headers,
        frames=_frames(stack),
        affines=np.asarray(arrangement.affines),
        size=planes[0].size,
        grid_affine=arrangement.affine,
        grid_shape=arrangement.shape,
        resampled=resampled,
    )
    return Volume.from_file_array(
        array,
        make_grid(arrangement.affine, arrangement.shape, "dicom", native),
        modality=tags.text(headers[0], "Modality"),
        source=path,
        windows=voxels.windows,
        notes=notes,
    )


def _frames(stack: Stack) -> tuple[int, ...] | None:
    numbers = tuple(p.frame for p in stack.planes if p.frame is not None)
    return numbers if len(numbers) == len(stack.planes) else None
