"""Which format a file has: by its name, else by its first bytes. Imports no reader."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path

from sammed.errors import OutputError, UnreadableFileError, UnsupportedFormatError
from sammed.io.output import PathLike

_READERS: Mapping[str, str] = {
    ".seg.nrrd": "seg.nrrd",
    **dict.fromkeys((".nii", ".nii.gz", ".hdr", ".img"), "nifti"),
    **dict.fromkeys((".nrrd", ".nhdr", ".mha", ".mhd"), "itk"),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"), "image"),
    **dict.fromkeys((".dcm", ".dicom", ".ima", ".zip", ".tar", ".tgz", ".tar.gz"), "dicom"),
    **dict.fromkeys((".tar.bz2", ".tar.xz"), "dicom"),
}

_LABEL_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "nifti": (".nii", ".nii.gz"),
    "seg.nrrd": (".seg.nrrd",),
    "nrrd": (".nrrd", ".nhdr"),
    "mha": (".mha", ".mhd"),
    "dicom-seg": (".dcm",),
    "rtstruct": (".dcm",),
    "stl": (".stl",),
    "obj": (".obj",),
    "ply": (".ply",),
    "png": (".png",),
    "tiff": (".tif", ".tiff"),
}
OUTPUT_TYPES = tuple(_LABEL_SUFFIXES)
"""Kinds of output for label maps, as `--output-type` names them."""

VOLUME_TYPES = ("nifti", "nrrd", "mha", "png", "tiff")
"""Kinds of output for images."""

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (128, b"DICM", "dicom"),
    (344, b"n+1\0", "nifti"),
    (4, b"n+2\0", "nifti"),
    (0, b"NRRD", "itk"),
    (0, b"ObjectType", "itk"),
    (0, b"\x89PNG", "image"),
    (0, b"\xff\xd8\xff", "image"),
    (0, b"II*\0", "image"),
    (0, b"MM\0*", "image"),
    (0, b"PK\x03\x04", "dicom"),
    (257, b"ustar", "dicom"),
)


def input_format(path: PathLike) -> str:
    """Name of the reader for a file or folder.

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
    """
    path = Path(path)
    if path.is_dir():
        return "dicom"
    start = _first_bytes(path)
    by_content = next((name for at, magic, name in _MAGIC if start[at:].startswith(magic)), None)
    if by_content == "dicom":
        return by_content
    by_name = _longest_suffix(path, _READERS)
    if by_name is not None:
        return _READERS[by_name]
    if by_content is not None:
        return by_content
    if not path.suffix or path.suffix[1:].isdigit():  # as PACS exports name them: IM0001, 1.2.840
        return "dicom"
    raise UnsupportedFormatError(
        f"{path} is of no known kind; expected one of {' '.join(sorted(_READERS))}, "
        "or a DICOM file or folder"
    )


def output_format(
    path: PathLike, output_type: str | None = None, *, kinds: tuple[str, ...] = OUTPUT_TYPES
) -> str:
    """Kind of output that a name asks for; call it before any work is done.

    Parameters
    ----------
    path
        The file to be written; it need not exist.
    output_type
        One of `OUTPUT_TYPES`; needed only for RTSTRUCT, as ``.dcm`` means DICOM SEG.
    kinds
        What may be written: `OUTPUT_TYPES` for label maps, `VOLUME_TYPES` for images.

    Returns
    -------
    str
        One of `kinds`.

    Raises
    ------
    OutputError
        If the name ends in nothing known, or contradicts the type.
    """
    known = {kind: _LABEL_SUFFIXES[kind] for kind in kinds}
    if output_type is not None:
        if output_type not in known:
            raise OutputError(
                f"unknown output type {output_type!r}; expected one of {', '.join(known)}"
            )
        if _longest_suffix(Path(path), dict.fromkeys(known[output_type])) is None:
            raise OutputError(
                f"cannot write {path} as {output_type}: its name should end in "
                f"{' or '.join(known[output_type])}"
            )
        return output_type
    owner = {suffix: kind for kind in reversed(known) for suffix in known[kind]}
    suffix = _longest_suffix(Path(path), owner)
    if suffix is None:
        raise OutputError(
            f"cannot tell what to write from the name {Path(path).name!r}; it should end in one "
            f"of {' '.join(dict.fromkeys(s for kind in known.values() for s in kind))}"
        )
    return owner[suffix]


def _first_bytes(path: Path) -> bytes:
    """Up to 600 bytes of the content, unpacked where it is gzip."""
    if not path.exists():
        raise UnreadableFileError(f"{path} does not exist")
    if not path.is_file():
        raise UnreadableFileError(f"{path} is a device, not a file")
    try:
        with open(path, "rb") as file:
            start = file.read(600)
    except OSError as error:
        raise UnreadableFileError(f"{path} cannot be read: {error.strerror}") from error
    if not start:
        raise UnreadableFileError(f"{path} is empty (0 bytes); copy or download it again")
    if not start.startswith(b"\x1f\x8b"):
        return start
    try:
        with gzip.open(path, "rb") as packed:
            return packed.read(600)
    except (OSError, EOFError, zlib.error):
        return b""


def _longest_suffix(path: Path, table: Mapping[str, object]) -> str | None:
    name = path.name.lower()
    fitting = [suffix for suffix in table if name.endswith(suffix)]
    return max(fitting, key=len) if fitting else None
