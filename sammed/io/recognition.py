"""Which format a file has, and which one a name asks for; imports no reader.

A file is known by its name, else by its first bytes. The formats themselves are in
`sammed.io.formats`.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path

from sammed.errors import OutputError, UnreadableFileError, UnsupportedFormatError
from sammed.io import formats
from sammed.io.formats import DICOM, Format, endings
from sammed.io.output import PathLike

FIRST_BYTES = 600
"""As many as the beginnings of all formats need."""


def format_of(path: PathLike) -> Format:
    """The format of a file or folder that is to be read; of DICOM objects it is `DICOM`.

    Parameters
    ----------
    path
        An existing file or folder.

    Raises
    ------
    UnreadableFileError, UnsupportedFormatError
        As `input_format`.
    """
    path = Path(path)
    if path.is_dir():
        return DICOM
    start = _first_bytes(path)
    by_content = next((f for f in formats.FORMATS if f.begins(start)), None)
    if by_content is not None and by_content.content_decides:
        return by_content
    readers = {ending: f for f in formats.FORMATS for ending in f.suffixes}
    by_name = longest_ending(path, readers)
    if by_name is not None:
        return readers[by_name]
    if by_content is not None:
        return by_content
    if not path.suffix or path.suffix[1:].isdigit():  # as PACS exports name them: IM0001, 1.2.840
        return DICOM
    raise UnsupportedFormatError(
        f"{path} is of no known kind; expected one of {' '.join(sorted(readers))}, "
        "or a DICOM file or folder"
    )


def labels_format_of(path: PathLike) -> Format:
    """As `format_of`, but DICOM objects that hold labels are told from DICOM images.

    Parameters
    ----------
    path
        An existing file or folder.

    Raises
    ------
    UnreadableFileError, UnsupportedFormatError
        As `input_format`.
    """
    found = format_of(path)
    if found is not DICOM:
        return found
    from sammed.io.dicom.objects.opening import modality_of

    modality = modality_of(Path(path))
    return next((f for f in formats.FORMATS if f.modality and f.modality == modality), DICOM)


def input_format(path: PathLike) -> str:
    """Name of the format of a file or folder that is to be read.

    Parameters
    ----------
    path
        An existing file or folder.

    Returns
    -------
    str
        ``"nifti"``, ``"itk"``, ``"seg.nrrd"``, ``"image"`` or ``"dicom"``.

    Raises
    ------
    UnreadableFileError
        If it does not exist, is empty or may not be read.
    UnsupportedFormatError
        If neither the name nor the content is known.

    Examples
    --------
    >>> input_format("sample_data/phantom_ct.nii.gz"), input_format("sample_data")
    ('nifti', 'dicom')
    """
    return format_of(path).name


def output_format(
    path: PathLike, output_type: str | None = None, *, kinds: Collection[str] | None = None
) -> str:
    """Kind of output that a name asks for; call it before any work is done.

    Parameters
    ----------
    path
        The file to be written; it need not exist.
    output_type
        One of `OUTPUT_TYPES`; needed only for RTSTRUCT, as ``.dcm`` means DICOM SEG.
    kinds
        What may be written: `OUTPUT_TYPES` for label maps (the default), `VOLUME_TYPES` for images.

    Returns
    -------
    str
        One of `kinds`.

    Raises
    ------
    OutputError
        If the name ends in nothing known, or contradicts the type.

    Examples
    --------
    >>> output_format("organs.seg.nrrd"), output_format("organs.dcm")
    ('seg.nrrd', 'dicom-seg')
    >>> output_format("organs.dcm", "rtstruct")
    'rtstruct'
    """
    known = formats.label_writers() if kinds is None else kinds
    if output_type is not None:
        _check_type(path, output_type, known)
        return output_type
    ending = longest_ending(Path(path), endings(known))
    if ending is None:
        raise OutputError(
            f"cannot tell what to write from the name {Path(path).name!r}; it should end in one "
            f"of {' '.join(endings(known))}"
        )
    return next(kind for kind in known if ending in endings([kind]))


def hint(path: PathLike) -> str:
    """What else a file seems to be, to be added to a message that it is not what its name says.

    Examples
    --------
    >>> hint("sample_data/phantom_ct.nii.gz")
    '; it begins as NIfTI does: give it such a name (.nii .nii.gz)'
    >>> hint("README.md")
    ''
    """
    start = _first_bytes(Path(path))
    if start.startswith(b"\x1f\x8b"):
        return "; it is packed twice: unpack it once with gunzip"
    if start.startswith(b"version https://git-lfs"):
        return "; it is a pointer of Git LFS, not the file itself: run git lfs pull"
    if start.lstrip()[:15].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "; it is a web page, probably with the reason why the download failed: open it"
    found = next((f for f in formats.FORMATS if f.begins(start)), None)
    if found is None:
        return ""
    names = " ".join(found.suffixes[:2])
    return f"; it begins as {found.title} does: give it such a name ({names})"


def longest_ending(path: Path, among: Iterable[str]) -> str | None:
    """The longest of some endings that a file's name has, in any case; None if it has none.

    Examples
    --------
    >>> longest_ending(Path("organs.SEG.NRRD"), [".nrrd", ".seg.nrrd"])
    '.seg.nrrd'
    """
    name = path.name.lower()
    return max((ending for ending in among if name.endswith(ending)), key=len, default=None)


def stem(path: PathLike) -> str:
    """A file's name without the ending that tells its format, or without its suffix.

    Examples
    --------
    >>> stem("scans/ct.nii.gz"), stem("organs.seg.nrrd"), stem("notes.v2.txt")
    ('ct', 'organs', 'notes.v2')
    """
    path = Path(path)
    written = endings(kind for f in formats.FORMATS for kind in f.writes)
    ending = longest_ending(path, {*written, *(e for f in formats.FORMATS for e in f.suffixes)})
    return path.stem if ending is None else path.name[: -len(ending)]


def _check_type(path: PathLike, output_type: str, known: Iterable[str]) -> None:
    """Make sure that a type exists and that the name does not contradict it."""
    if output_type not in known:
        raise OutputError(
            f"unknown output type {output_type!r}; expected one of {', '.join(known)}"
        )
    if longest_ending(Path(path), endings([output_type])) is None:
        raise OutputError(
            f"cannot write {path} as {output_type}: its name should end in "
            f"{' or '.join(endings([output_type]))}"
        )


def _first_bytes(path: Path) -> bytes:
    """Up to `FIRST_BYTES` of the content, unpacked where it is gzip."""
    if not path.exists():
        raise UnreadableFileError(f"{path} does not exist")
    if not path.is_file():
        raise UnreadableFileError(f"{path} is a device, not a file")
    try:
        with open(path, "rb") as file:
            start = file.read(FIRST_BYTES)
    except OSError as error:
        raise UnreadableFileError(f"{path} cannot be read: {error.strerror}") from error
    if not start:
        raise UnreadableFileError(f"{path} is empty (0 bytes); copy or download it again")
    if not start.startswith(b"\x1f\x8b"):
        return start
    try:
        with gzip.open(path, "rb") as packed:
            return packed.read(FIRST_BYTES)
    except (OSError, EOFError, zlib.error):
        return b""
