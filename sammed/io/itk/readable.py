"""A file as ITK can read it: itself, or a copy whose header has only what ITK needs.

MetaIO, which reads MetaImage for ITK, overruns on lines of some hundred characters, leaves the
voxels unset when the size of compressed ones is not stated, and reads voxels that are text wrongly:
it swaps their bytes, leaves all but the first of several channels unset, needs a last line end.

NrrdIO does not find a file's name in the last line if that does not end, and stops at fields that
it does not know or has read before. Both take any % in a file's name for a pattern, and MetaIO
then divides by zero.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sammed.errors import UnreadableFileError
from sammed.io.itk.header import Header
from sammed.io.itk.payload import is_compressed

MAX_META_LINE = 400
"""Characters of a line that MetaIO surely keeps; it fails from 500 on."""

MAX_META_LINES = 5_000

_TYPES = {
    **{"MET_CHAR": "<i1", "MET_SHORT": "<i2", "MET_INT": "<i4", "MET_LONG": "<i4"},
    **{"MET_UCHAR": "<u1", "MET_USHORT": "<u2", "MET_UINT": "<u4", "MET_ULONG": "<u4"},
    **{"MET_LONG_LONG": "<i8", "MET_ULONG_LONG": "<u8", "MET_FLOAT": "<f4", "MET_DOUBLE": "<f8"},
}
"""MetaImage's types as MetaIO has them."""

_NEEDED = (
    *("ndims", "dimsize", "elementtype", "elementnumberofchannels", "elementspacing"),
    *("elementsize", "transformmatrix", "rotation", "orientation", "offset", "position", "origin"),
    *("binarydata", "binarydatabyteordermsb", "elementbyteordermsb", "compresseddata"),
    *("compresseddatasize", "headersize"),
)
"""MetaImage's fields that concern voxels and where they are."""


@contextmanager
def readable(header: Header) -> Iterator[Path]:
    """A path for ITK: the file's own, or that of a temporary copy.

    Parameters
    ----------
    header
        Of the file.

    Yields
    ------
    Path
        What to read.
    """
    named = "datafile" if header.is_nrrd else "elementdatafile"
    literal = len(header.files) == 1 and "%" in header.fields.get(named, "")
    trips = bool(header.odd) or _ends_badly(header) if header.is_nrrd else _is_too_much(header)
    if not (literal or trips):
        yield header.path
        return
    with tempfile.TemporaryDirectory(prefix="sammed-") as folder:
        whole = _fits_in_one(header)
        copy = Path(folder) / ("a.nrrd" if header.is_nrrd else "a.mha")
        copy = copy if whole else copy.with_suffix(".nhdr" if header.is_nrrd else ".mhd")
        text = _nrrd_text(header) if header.is_nrrd else _meta_text(header)
        with open(copy, "wb") as file:
            file.write(text.encode())
            if whole:
                _append_voxels(header, file)
        yield copy


def _fits_in_one(header: Header) -> bool:
    """Whether the copy holds the voxels itself."""
    return len(header.files) < 2 or _is_text(header)


def _append_voxels(header: Header, file: BinaryIO) -> None:
    """What is in the file itself, or in the only one that the header names; text as numbers."""
    if _is_text(header):
        file.write(_from_text(header))
        return
    source = header.files[0] if header.files else header.path
    with open(source, "rb") as voxels:
        voxels.seek(header.start + (0 if header.is_nrrd else max(_header_size(header), 0)))
        shutil.copyfileobj(voxels, file)


def _from_text(header: Header) -> bytes:
    """A MetaImage's voxels that are text, as little-endian numbers.

    Raises
    ------
    UnreadableFileError
        If they are no numbers.
    """
    words: list[bytes] = []
    for source in header.files or (header.path,):
        with open(source, "rb") as file:
            file.seek(header.start)
            words += file.read().split()
    try:
        kind = _TYPES[header.fields.get("elementtype", "").upper()]
        return np.array(words).astype(kind).tobytes() if words else b""
    except (KeyError, ValueError, OverflowError) as error:
        raise UnreadableFileError(
            f"{header.path} is damaged: its voxels, which are text, are no numbers of its "
            f"ElementType ({' '.join(str(error).split())[:100]})"
        ) from error


def _header_size(header: Header) -> int:
    """Bytes before a MetaImage's voxels; -1 if these lie at the end of their file."""
    try:
        return int(header.fields.get("headersize", 0))
    except ValueError:
        return 0


def _ends_badly(header: Header) -> bool:
    """Whether a detached header's last line has no end, or a name ends with blanks."""
    if not header.files:
        return False
    text = header.path.read_bytes()
    return not text.endswith(b"\n") or any(
        line != line.rstrip(b" \t") for line in text.replace(b"\r", b"").split(b"\n")
    )


def _nrrd_text(header: Header) -> str:
    if len(header.files) < 2:
        return "\n".join([*header.lines, "", ""])
    words = header.fields["datafile"].split()
    dimension = words[1:2] if words[0] == "LIST" else words[4:5]
    names = [str(file.resolve()) for file in header.files]
    return "\n".join([*header.lines, " ".join(["data file: LIST", *dimension]), *names, ""])


def _is_text(header: Header) -> bool:
    fields = header.fields
    return not header.is_nrrd and fields.get("binarydata", "true").lower() in ("false", "0")


def _is_too_much(header: Header) -> bool:
    """Whether MetaIO fails on a header."""
    if len(header.lines) > MAX_META_LINES or any(len(n) > MAX_META_LINE for n in header.lines):
        return True
    unsized = is_compressed(header) and "compresseddatasize" not in header.fields
    return _is_text(header) or (unsized and len(header.files) < 2)


def _meta_text(header: Header) -> str:
    size = _header_size(header)
    replaced = {"compresseddatasize"} if is_compressed(header) else set()
    whole = _fits_in_one(header)
    if whole and size >= 0:
        replaced.add("headersize")
    if _is_text(header):
        replaced |= {"binarydata", "binarydatabyteordermsb", "elementbyteordermsb"}
    lines = ["ObjectType = Image"]
    for line in header.lines:
        key = line.replace(":", "=").split("=")[0].strip().lower()
        if key in _NEEDED and key not in replaced:
            lines.append(line)
    if whole:
        if is_compressed(header):
            lines.append(f"CompressedDataSize = {header.stored_bytes - max(size, 0)}")
        return "\n".join([*lines, "ElementDataFile = LOCAL", ""])
    data = header.fields["elementdatafile"]
    listed = data if data.split()[0].upper() == "LIST" else "LIST"
    names = [str(file.resolve()) for file in header.files]
    return "\n".join([*lines, f"ElementDataFile = {listed}", *names, ""])
