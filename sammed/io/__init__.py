"""Reading and writing medical images and label maps, each on the grid of its file.

The formats are a table, `sammed.io.formats`; the module of one is imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed.errors import InputError, UnsupportedFormatError
from sammed.io.formats import (
    OUTPUT_TYPES,
    VOLUME_TYPES,
    Choice,
    Format,
    label_writers,
    volume_writers,
)
from sammed.io.output import PathLike, atomic_output, atomic_text, check_output
from sammed.io.recognition import format_of, input_format, labels_format_of, output_format

if TYPE_CHECKING:
    from sammed.imaging.volume import LabelVolume, Volume

__all__ = [
    "OUTPUT_TYPES",
    "VOLUME_TYPES",
    "atomic_output",
    "atomic_text",
    "check_output",
    "holds_labels",
    "identity",
    "input_format",
    "output_format",
    "read",
    "read_labels",
    "write_labels",
    "write_volume",
]


def read(
    path: PathLike,
    *,
    frame: int | None = None,
    series: str | None = None,
    allow_gaps: bool = False,
) -> Volume:
    """Read an image of any known format.

    Parameters
    ----------
    path
        NIfTI, NRRD, MetaImage, PNG, JPEG, TIFF; a DICOM file, folder, zip or tar archive.
    frame
        Which volume of a file or series with several, from 0.
    series
        DICOM only: number, UID or description of the series.
    allow_gaps
        DICOM only: resample unevenly spaced slices instead of refusing them.

    Returns
    -------
    Volume
        In canonical orientation, knowing the grid of its file.

    Raises
    ------
    InputError
        If the file cannot be read, is of an unknown kind, or needs a choice of frame or series.
    GeometryError
        If it does not say, or contradicts itself about, where its voxels are.

    Examples
    --------
    >>> volume = read("sample_data/phantom_ct.nii.gz")
    >>> volume.shape, volume.voxels.dtype.name
    ((64, 128, 152), 'int16')
    >>> [round(mm, 2) for mm in volume.spacing]
    [4.0, 2.5, 2.5]
    """
    found = format_of(path)
    _check_series(path, series, found)
    if found.read is None:
        raise UnsupportedFormatError(f"{path} is {found.title}, which holds no image")
    return found.read(Path(path), Choice(frame, series, allow_gaps))


def read_labels(
    path: PathLike,
    *,
    like: Volume | None = None,
    names: Mapping[int, str] | None = None,
    only: Collection[str] | None = None,
    frame: int | None = None,
    series: str | None = None,
    allow_gaps: bool = False,
) -> LabelVolume:
    """Read a label map of any known format.

    Parameters
    ----------
    path
        As `read`; also ``.seg.nrrd``, DICOM SEG and RTSTRUCT.
    like
        The image that the labels belong to: they are checked to be on its grid and take it over.
        RTSTRUCT contours need it.
    names
        Names by label value, which replace those in the file.
    only
        Names of the structures to read, in any case; without it all. Where structures overlap,
        those that are left out take no voxel from the others.
    frame, series, allow_gaps
        As `read`, for label maps in formats of images.

    Returns
    -------
    LabelVolume
        In canonical orientation, on the grid of its file or of `like`; values that have no name
        in the file are called ``label_N``.

    Raises
    ------
    LabelError
        If a voxel is no whole number in 0..65535 (to within 1e-3), or `only` names what is not
        there.
    GridMismatchError
        If the labels are not on the grid of `like`.
    InputError, GeometryError
        As `read`.

    Examples
    --------
    >>> image = read("sample_data/phantom_ct.nii.gz")
    >>> labels = read_labels("sample_data/phantom_labels.nii.gz", like=image, names={2: "spleen"})
    >>> labels.shape == image.shape, labels.names[2], round(labels.volume_ml(2))
    (True, 'spleen', 288)
    """
    found = labels_format_of(path)
    if found.read_labels is None:
        raise UnsupportedFormatError(f"{path} is {found.title}, which holds no label map")
    if found.is_for_labels and (frame is not None or series is not None):
        raise InputError(
            f"{path} is {found.title}, which has neither frames nor series; leave out --frame and "
            "--series"
        )
    _check_series(path, series, found)
    wanted = None if only is None else tuple(only)
    labels = found.read_labels(Path(path), like, Choice(frame, series, allow_gaps, wanted))
    if like is not None:
        labels = labels.on_grid_of(like, str(path))
    if names:
        labels = replace(labels, names={**labels.names, **names})
    return labels if wanted is None or found.is_for_labels else _only(labels, wanted, Path(path))


def _only(labels: LabelVolume, wanted: Collection[str], path: Path) -> LabelVolume:
    """The labels of some names; the others are background."""
    import numpy as np

    from sammed.io.overlaps import chosen

    kept = chosen(labels.names, wanted, path)
    return replace(
        labels,
        voxels=np.where(np.isin(labels.voxels, kept), labels.voxels, 0),
        names={value: labels.names[value] for value in kept},
        colours={value: c for value, c in labels.colours.items() if value in kept},
    )


def _check_series(path: PathLike, series: str | None, found: Format) -> None:
    if series is not None and not found.has_series:
        raise InputError(f"{path} is no DICOM, so it has no series {series!r}; leave out --series")


def holds_labels(path: PathLike) -> bool:
    """Whether a file says by itself that it is a label map, not an image.

    True for ``.seg.nrrd``, DICOM SEG, RTSTRUCT, and NIfTI with the intent of labels.

    Parameters
    ----------
    path
        An existing file or folder.

    Raises
    ------
    InputError
        As `read`, for files that are missing, empty or of an unknown kind.

    Examples
    --------
    >>> holds_labels("sample_data/phantom_ct.nii.gz")
    False
    """
    return labels_format_of(path).says_labels(Path(path))


def write_labels(
    labels: LabelVolume,
    path: PathLike,
    *,
    force: bool = False,
    output_type: str | None = None,
    **options: Any,
) -> None:
    """Write a label map on the grid of the file that it belongs to.

    Parameters
    ----------
    labels
        What to write.
    path
        Its ending chooses the format; see `output_format`.
    force
        Whether an existing file may be replaced.
    output_type
        One of `OUTPUT_TYPES`, where the ending leaves a choice (``.dcm``: SEG or RTSTRUCT).
    options
        Passed to the ``write_labels`` (``write`` for DICOM) of the format's module.

    Raises
    ------
    OutputError
        If the name is of no known kind, the file exists, or it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> labels = read_labels("sample_data/phantom_labels.nii.gz", names={2: "spleen"})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_labels(labels, f"{folder}/organs.nii.gz")
    ...     holds_labels(f"{folder}/organs.nii.gz")
    ...     read_labels(f"{folder}/organs.nii.gz").names[2]
    True
    'spleen'
    """
    kind = output_format(path, output_type)
    check_output(path, force)
    label_writers()[kind](labels, path, force=force, **options)


def write_volume(volume: Volume, path: PathLike, *, force: bool = False) -> None:
    """Write an image on the grid of its file.

    Parameters
    ----------
    volume
        What to write.
    path
        Its ending chooses the format, one of `VOLUME_TYPES`.
    force
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        As `write_labels`.

    Examples
    --------
    >>> import tempfile
    >>> image = read("sample_data/phantom_ct.nii.gz")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(image, f"{folder}/ct.nrrd")
    ...     again = read(f"{folder}/ct.nrrd")
    >>> bool((again.voxels == image.voxels).all())
    True
    """
    writers = volume_writers()
    kind = output_format(path, kinds=writers)
    check_output(path, force)
    writers[kind](volume, path, force=force)


def identity(volume: Volume) -> dict[str, str]:
    """What DICOM says of whose scan it is, and when; empty for all other formats.

    Examples
    --------
    >>> identity(read("sample_data/phantom_ct.nii.gz"))
    {}
    """
    header = getattr(volume.grid.native, "header", None) if volume.grid.format == "dicom" else None
    tags = ("PatientID", "PatientBirthDate", "StudyInstanceUID", "StudyDate")
    found = {tag: str(getattr(header, tag, "") or "") for tag in tags}
    return {tag: text for tag, text in found.items() if text}
