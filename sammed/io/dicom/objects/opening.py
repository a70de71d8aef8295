"""Opening DICOM objects that are not images: SEG and RTSTRUCT, however odd their bytes."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sammed.errors import (
    SammedError,
    UnreadableFileError,
    UnsupportedFormatError,
)
from sammed.imaging.volume import MAX_LABEL
from sammed.io.dicom.file import START_BYTES, is_packed_dicom
from sammed.io.gz import unpacked

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_RATIO = 250
MIN_UNPACKED = 1 << 30
"""A gzip file may unpack to this many times its size, or to so many bytes, whichever is more."""

_ODD = (
    *(AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError, MemoryError),
    *(EOFError, NotImplementedError, RuntimeError, struct.error),
)


@contextmanager
def open_object(path: Path, classes: Collection[str], what: str) -> Iterator[Dataset]:
    """The dataset of a file of certain SOP classes; what it lacks ends the block in one line.

    Parameters
    ----------
    path
        The file.
    classes
        SOP class UIDs that will do.
    what
        ``"DICOM SEG"`` or the like, for messages.

    Raises
    ------
    UnreadableFileError
        If the file is missing, no DICOM, truncated, or (raised from within the block) does not
        hold what it should.
    UnsupportedFormatError
        If it is another kind of DICOM object.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pydicom")
            yield _read(path, classes, what)
    except SammedError:
        raise
    except OSError as error:
        raise UnreadableFileError(f"cannot read {path}: {error.strerror or error}") from error
    except _ODD as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UnreadableFileError(
            f"{path} is damaged or no valid {what} ({reason}); export it again"
        ) from error


def _read(path: Path, classes: Collection[str], what: str) -> Dataset:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    if not path.is_file():
        raise UnreadableFileError(f"{path} does not exist or is no file; expected {what}")
    try:
        dataset = dcmread(_plain(path))
    except InvalidDicomError as error:
        dataset = dcmread(_plain(path), force=True)  # some systems leave out the file's preamble
        if "SOPClassUID" not in dataset:
            raise UnreadableFileError(f"{path} is not a DICOM file; expected {what}") from error
    if str(dataset.get("SOPClassUID", "")) not in classes:
        kind = getattr(dataset.get("SOPClassUID"), "name", "of an unknown class")
        raise UnsupportedFormatError(f"{path} is {kind}, expected {what}")
    return dataset


def _plain(path: Path) -> Path | io.BytesIO:
    """The file, or what it unpacks to where it is packed by gzip."""
    with open(path, "rb") as file:
        if not is_packed_dicom(file.read(START_BYTES)):
            return path
    limit = max(MIN_UNPACKED, MAX_RATIO * path.stat().st_size)
    content = io.BytesIO()
    for part in unpacked(path):
        content.write(part)
        if content.tell() > limit:
            raise UnreadableFileError(
                f"{path} unpacks to more than {limit / 2**30:.3g} GiB, far more than its size; it "
                "was not read"
            )
    content.seek(0)
    return content


def modality_of(path: Path) -> str:
    """Modality of a single DICOM file; ``""`` for folders, archives and what pydicom refuses."""
    if not path.is_file():
        return ""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        header = dcmread(_plain(path), specific_tags=["Modality"], stop_before_pixels=True)
    except (InvalidDicomError, UnreadableFileError, OSError, ValueError):
        return ""
    return str(header.get("Modality", ""))


def label_values(numbers: Collection[int]) -> dict[int, int]:
    """Label values for an object's own numbers: the same if they can be, else 1, 2, 3...

    Examples
    --------
    >>> label_values([4, 9]), label_values([0, 70000])
    ({4: 4, 9: 9}, {0: 1, 70000: 2})
    """
    if all(1 <= number <= MAX_LABEL for number in numbers):
        return {number: number for number in numbers}
    return {number: value for value, number in enumerate(numbers, 1)}
