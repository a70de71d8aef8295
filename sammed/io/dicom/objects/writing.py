"""What every DICOM object that sammed writes shares: its source, its patient, its file."""

from __future__ import annotations

import copy
import datetime
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sammed.errors import (
    BackendUnavailableError,
    InputError,
    LabelError,
    OutputError,
    SammedError,
)
from sammed.imaging.volume import LabelVolume, Volume
from sammed.io.colours import default_colour
from sammed.io.dicom.source import DicomSource, ImageReference
from sammed.io.output import atomic_output, check_output
from sammed.io.placement import place

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

logger = logging.getLogger(__name__)

PATIENT_AND_STUDY = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("PatientAge", "PatientSize", "PatientWeight", "PatientIdentityRemoved"),
    *("DeidentificationMethod", "StudyInstanceUID", "StudyDate", "StudyTime"),
    *("ReferringPhysicianName", "StudyID", "AccessionNumber", "StudyDescription"),
)
"""What goes from the images into an object about them: it belongs to the same study."""

TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
"""Must be there, if only empty."""

LONG_STRING = 64


class Algorithm(NamedTuple):
    """What made the segments: a model's name and version."""

    name: str = "not stated"
    version: str = "not stated"


class Segment(NamedTuple):
    """One label to be written."""

    label: int
    name: str
    colour: tuple[int, int, int]


def write_object(
    make: Callable[[], Dataset],
    path: str | os.PathLike[str],
    *,
    what: str,
    needs: str,
    force: bool,
) -> None:
    """Make an object and write it whole or not at all.

    Parameters
    ----------
    make
        Makes the dataset, once it is known that it may be written.
    path
        The file to write.
    what
        ``"DICOM SEG"`` or the like, for messages.
    needs
        The optional package without which it cannot be made.
    force
        Replace an existing file.

    Raises
    ------
    BackendUnavailableError
        If the package is not installed.
    OutputError
        If the file exists or cannot be written, or the source's headers do not allow it.
    """
    need(needs, f"writing {what}")
    check_output(path, force)
    with odd_headers(what):
        dataset = make()
    with atomic_output(path, force=force) as temporary, odd_headers(what):
        dataset.save_as(temporary, enforce_file_format=True)


def on_source(labels: LabelVolume, source: Volume | None, what: str) -> LabelVolume:
    """The labels on the grid of DICOM images, which are those they came from, or ``source``.

    Parameters
    ----------
    labels
        The label map.
    source
        The DICOM volume that it belongs to, if it came from another file.
    what
        ``"DICOM SEG"`` or the like, for messages.

    Raises
    ------
    InputError
        If neither came from DICOM, or the images lack what another object needs to refer to them.
    """
    if source is not None:
        labels = place(labels, source)
    native = labels.grid.native
    if not isinstance(native, DicomSource):
        raise InputError(
            f"{what} needs the DICOM images that it refers to, and this volume did not come from "
            "DICOM; read the DICOM folder instead, or write .nii.gz or .seg.nrrd"
        )
    needed = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    missing = [keyword for keyword in needed if not native.header.get(keyword)]
    if any(not d.get("SOPInstanceUID") or not d.get("SOPClassUID") for d in native.slices):
        missing.append("SOPInstanceUID or SOPClassUID")
    if missing:
        raise InputError(
            f"{what} cannot refer to the source images: their headers have no "
            f"{', '.join(missing)}; write .nii.gz or .seg.nrrd instead"
        )
    return labels


def segments_of(labels: LabelVolume, what: str) -> list[Segment]:
    """The labels that occur, in order of their values, with a name and a colour each.

    Parameters
    ----------
    labels
        The label map.
    what
        ``"DICOM SEG"`` or the like, for messages.

    Raises
    ------
    LabelError
        If no voxel is labelled.
    """
    present = [int(v) for v in np.unique(labels.voxels) if v]
    if not present:
        raise LabelError(f"{what} cannot hold an empty label map; no voxel is labelled")
    empty = [name for label, name in labels.names.items() if label and label not in present]
    if empty:
        logger.warning("%s leaves out labels without a voxel: %s", what, ", ".join(empty))
    return [
        Segment(
            label,
            labels.names.get(label) or f"label {label}",
            labels.colours.get(label) or default_colour(label),
        )
        for label in present
    ]


def series_description(segments: list[Segment]) -> str:
    """What a viewer shows of the new series: who made it, and of what."""
    return long_string("sammed: " + ", ".join(segment.name for segment in segments))


def image_item(reference: ImageReference) -> Dataset:
    """An item of a sequence of images, which refers to a slice."""
    from pydicom.dataset import Dataset

    image = Dataset()
    image.ReferencedSOPClassUID = reference.sop_class_uid
    image.ReferencedSOPInstanceUID = reference.sop_instance_uid
    if reference.frame is not None:
        image.ReferencedFrameNumber = reference.frame
    return image


def image_items(source: DicomSource) -> list[Dataset]:
    """An item for each image of the source, one for all frames of it."""
    whole = {r.sop_instance_uid: r._replace(frame=None) for r in source.references}
    return [image_item(reference) for reference in whole.values()]


def add_patient_and_study(target: Dataset, header: Dataset) -> None:
    """Copy the patient and the study of the images; what must be there and is not becomes empty."""
    for keyword in PATIENT_AND_STUDY:
        if keyword in header:
            target[keyword] = copy.deepcopy(header[keyword])
    for keyword in TYPE_2:
        if keyword not in target:
            setattr(target, keyword, None)


def new_uid() -> str:
    """A new unique identifier, derived from a random UUID (root 2.25)."""
    from pydicom.uid import generate_uid

    return str(generate_uid(prefix=None))


def series_number(header: Dataset, offset: int) -> int:
    """A number for the new series, that of the images plus ``offset``."""
    try:
        number = int(header.get("SeriesNumber") or 0)
    except (TypeError, ValueError):
        number = 0
    return max(number, 0) + offset


def decimals(values: Any) -> list[Any]:
    """DICOM decimal strings of numbers, rounded to the 16 characters that they may have."""
    from pydicom.valuerep import DSfloat

    return [DSfloat(float(value), auto_format=True) for value in np.ravel(values)]


def date_and_time() -> tuple[str, str]:
    """Now, as DICOM writes it (DA, TM)."""
    now = datetime.datetime.now()
    return now.strftime("%Y%m%d"), now.strftime("%H%M%S")


def long_string(text: str) -> str:
    r"""A name as DICOM's LO allows it: 64 characters, no backslash, no control characters.

    Examples
    --------
    >>> long_string(" left\\right\n lung ")
    'left/right lung'
    """
    clean = "".join(c if c.isprintable() else " " for c in text.replace("\\", "/"))
    return " ".join(clean.split())[:LONG_STRING].rstrip()


def need(package: str, what: str) -> None:
    """Make sure that an optional package is there.

    Parameters
    ----------
    package
        As it is imported.
    what
        What it is for, for the message.

    Raises
    ------
    BackendUnavailableError
        If it is not; the message says how to get it.
    """
    try:
        import_module(package)
    except ImportError as error:
        raise BackendUnavailableError(
            f"{what} needs {package}; install it: pip install 'sammed[dicom]'"
        ) from error


@contextmanager
def odd_headers(what: str) -> Iterator[None]:
    """Turn complaints of the DICOM libraries about odd source headers into one line.

    Raises
    ------
    OutputError
        Instead of the library's exception.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pydicom")  # the images' oddities, not ours
            yield
    except (SammedError, OSError):
        raise
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise OutputError(
            f"{what} cannot be made from the headers of these images: {reason}; "
            "write .nii.gz or .seg.nrrd instead"
        ) from error
