"""Reading and writing: one module a format, chosen here and imported when needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from sammed.errors import InputError
from sammed.imaging.volume import LabelVolume, Volume
from sammed.io.formats import OUTPUT_TYPES, VOLUME_TYPES, input_format, output_format
from sammed.io.output import PathLike, atomic_output, atomic_text, check_output

__all__ = [
    "OUTPUT_TYPES",
    "VOLUME_TYPES",
    "atomic_output",
    "atomic_text",
    "check_output",
    "holds_labels",
    "input_format",
    "output_format",
    "read",
    "read_labels",
    "write_labels",
    "write_volume",
]

_READERS = {
    "nifti": "sammed.io.nifti.nifti",
    "itk": "sammed.io.itk.itk",
    "seg.nrrd": "sammed.io.itk.seg_nrrd",
    "image": "sammed.io.image",
}

_WRITERS = {
    "nifti": "sammed.io.nifti.nifti",
    "nrrd": "sammed.io.itk.itk",
    "mha": "sammed.io.itk.itk",
    "seg.nrrd": "sammed.io.itk.seg_nrrd",
    "png": "sammed.io.image",
    "tiff": "sammed.io.image",
    "dicom-seg": "sammed.io.dicom.objects.seg",
    "rtstruct": "sammed.io.dicom.objects.rtstruct",
    "stl": "sammed.io.mesh",
    "obj": "sammed.io.mesh",
    "ply": "sammed.io.mesh",
}


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
    >>> volume = read("ct.nii.gz")  # doctest: +SKIP
    >>> volume.shape, volume.spacing  # doctest: +SKIP
    ((88, 512, 512), (2.5, 0.78, 0.78))
    """
    kind = input_format(path)
    if kind == "dicom":
        reader = import_module("sammed.io.dicom.images.read")
        volume: Volume = reader.read(Path(path), series=series, frame=frame, allow_gaps=allow_gaps)
        return volume
    if series is not None:
        raise InputError(f"{path} is no DICOM, so it has no series {series!r}; leave out --series")
    volume = import_module(_READERS[kind]).read(path, frame=frame)
    return volume


def read_labels(
    path: PathLike,
    *,
    like: Volume | None = None,
    names: Mapping[int, str] | None = None,
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

    Raises
    ------
    LabelError
        If a voxel is no whole number in 0..65535.
    GridMismatchError
        If the labels are not on the grid of `like`.
    InputError, GeometryError
        As `read`.
    """
    kind = input_format(path)
    if kind == "dicom":
        labels = _read_dicom_labels(Path(path), like)
    elif kind == "seg.nrrd":
        labels = import_module("sammed.io.itk.seg_nrrd").read_labels(path, like)
    else:
        labels = import_module(_READERS[kind]).read_labels(path)
    if like is not None:
        labels = labels.on_grid_of(like, str(path))
    return _named(labels, names)


def holds_labels(path: PathLike) -> bool:
    """Whether a file says by itself that it is a label map, not an image.

    True for ``.seg.nrrd``, DICOM SEG, RTSTRUCT, and NIfTI with the intent of labels.

    Raises
    ------
    InputError
        As `read`, for files that are missing, empty or of an unknown kind.
    """
    kind = input_format(path)
    if kind == "dicom":
        return _dicom_modality(Path(path)) in ("SEG", "RTSTRUCT")
    if kind == "nifti":
        says_labels: bool = import_module("sammed.io.nifti.nifti").says_labels(path)
        return says_labels
    return kind == "seg.nrrd"


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
    """
    kind = output_format(path, output_type)
    check_output(path, force)
    module = import_module(_WRITERS[kind])
    writer: Callable[..., None] = getattr(module, "write_labels", None) or module.write
    writer(labels, path, force=force, **options)


def write_volume(volume: Volume, path: PathLike, *, force: bool = False) -> None:
    """Write an image on the grid of its file.

    Raises
    ------
    OutputError
        As `write_labels`.
    """
    kind = output_format(path, kinds=VOLUME_TYPES)
    check_output(path, force)
    import_module(_WRITERS[kind]).write_volume(volume, path, force=force)


def _read_dicom_labels(path: Path, like: Volume | None) -> LabelVolume:
    modality = _dicom_modality(path)
    if modality == "SEG":
        labels: LabelVolume = import_module("sammed.io.dicom.objects.seg").read(path, like)
        return labels
    if modality == "RTSTRUCT":
        labels = import_module("sammed.io.dicom.objects.rtstruct").read(path, like)
        return labels
    from sammed.io.voxels import labels_from_volume

    return labels_from_volume(replace(read(path), source=path))


def _dicom_modality(path: Path) -> str:
    """Modality of a single DICOM file; ``""`` for folders, archives and what pydicom refuses."""
    if not path.is_file():
        return ""
    import pydicom

    try:
        header = pydicom.dcmread(path, specific_tags=["Modality"], stop_before_pixels=True)
    except (pydicom.errors.InvalidDicomError, OSError, ValueError):
        return ""
    return str(header.get("Modality", ""))


def _named(labels: LabelVolume, names: Mapping[int, str] | None) -> LabelVolume:
    if not names:
        return labels
    return replace(labels, names={**labels.names, **names})
