"""A file as ITK can read it: itself, or a copy whose header has only what ITK needs.

MetaIO, which reads MetaImage for ITK, overruns on lines of some hundred characters, leaves the
voxels unset when the size of compressed ones is not stated, and fails on text without a last line
end. NrrdIO does not find a file's name in the last line if that does not end.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sammed.io.itk.header import Header
from sammed.io.itk.payload import is_compressed

MAX_META_LINE = 400
"""Characters of a line that MetaIO surely keeps; it fails from 500 on."""

MAX_META_LINES = 5_000

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
    if header.is_nrrd and not _ends_badly(header):
        yield header.path
        return
    if not header.is_nrrd and not _is_too_much(header):
        yield header.path
        return
    with tempfile.TemporaryDirectory(prefix="sammed-") as folder:
        copy = Path(folder) / ("a.nhdr" if header.is_nrrd else "a.mha")
        text = _nrrd_text(header) if header.is_nrrd else _meta_text(header)
        with open(copy, "wb") as file:
            file.write(text.encode())
            if not header.files:
                with open(header.path, "rb") as source:
                    source.seek(header.start)
                    shutil.copyfileobj(source, file)
            if _is_text(header):
                file.write(b"\n")
        yield copy


def _ends_badly(header: Header) -> bool:
    """Whether a detached header's last line has no end, or a name ends with blanks."""
    if not header.files:
        return False
    text = header.path.read_bytes()
    return not text.endswith(b"\n") or any(
        line != line.rstrip(b" \t") for line in text.replace(b"\r", b"").split(b"\n")
    )


def _nrrd_text(header: Header) -> str:
    names = [str(file.resolve()) for file in header.files]
    words = header.fields["datafile"].split()
    if len(names) == 1 and words[0] != "LIST" and "%" not in header.fields["datafile"]:
        return "\n".join([*header.lines, f"data file: {names[0]}", ""])
    dimension = words[1:2] if words[0] == "LIST" else words[4:5]
    return "\n".join([*header.lines, " ".join(["data file: LIST", *dimension]), *names, ""])


def _is_text(header: Header) -> bool:
    fields = header.fields
    return not header.is_nrrd and fields.get("binarydata", "true").lower() in ("false", "0")


def _is_too_much(header: Header) -> bool:
    """Whether MetaIO fails on a header."""
    if len(header.lines) > MAX_META_LINES or any(len(n) > MAX_META_LINE for n in header.lines):
        return True
    unsized = is_compressed(header) and "compresseddatasize" not in header.fields
    return (unsized and len(header.files) < 2) or (_is_text(header) and not header.files)


def _meta_text(header: Header) -> str:
    lines = [
        line
        for line in header.lines
        if line.replace(":", "=").split("=")[0].strip().lower() in _NEEDED
    ]
    if is_compressed(header) and len(header.files) < 2:
        lines = [line for line in lines if not line.lower().startswith("compresseddatasize")]
        lines.append(f"CompressedDataSize = {header.stored_bytes}")
    names = [str(file.resolve()) for file in header.files]
    data = header.fields["elementdatafile"]
    if not names:
        return "\n".join(["ObjectType = Image", *lines, "ElementDataFile = LOCAL", ""])
    if len(names) == 1 and data.split()[0].upper() != "LIST":
        return "\n".join(["ObjectType = Image", *lines, f"ElementDataFile = {names[0]}", ""])
    listed = data if data.split()[0].upper() == "LIST" else "LIST"
    return "\n".join(["ObjectType = Image", *lines, f"ElementDataFile = {listed}", *names, ""])
