"""Modality LUT: a table of real values, where a slope and an intercept do not describe them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import UnreadableFileError
from sammed.io.dicom import tags
from sammed.io.dicom.file import DicomFile
from sammed.io.dicom.pixels.module import PixelModule


@dataclass(frozen=True, eq=False)
class ModalityTable:
    """Real values of stored ones (DICOM PS3.3 C.11.1).

    Attributes
    ----------
    first
        Stored value that the first entry belongs to; smaller ones get it too, and those beyond
        the last entry get the last.
    values : (n,) uint16
        Real values.
    kind
        What they are, as the header says (``"HU"``, ``"OD"``, ...); ``""`` if it does not.
    """

    first: int
    values: NDArray[np.uint16]
    kind: str = ""

    def __repr__(self) -> str:
        return f"ModalityTable({self.first}, {len(self.values)} entries, {self.kind!r})"

    def apply(self, stored: NDArray[Any]) -> NDArray[np.uint16]:
        """Real values, uint16 of the same shape."""
        index = np.clip(stored.astype(np.int64) - self.first, 0, len(self.values) - 1)
        return np.asarray(self.values[index])


def modality_table(file: DicomFile, header: Any, module: PixelModule) -> ModalityTable | None:
    """The Modality LUT of an image; None if it has none.

    Raises
    ------
    UnreadableFileError
        If its descriptor and its data contradict each other, or there are several tables.
    """
    found = tags.items(header, "ModalityLUTSequence")
    if not found:
        return None
    descriptor = tags.numbers(found[0], "LUTDescriptor", 3)
    data = _entries(found[0])
    if descriptor is None or data is None or len(found) > 1:
        raise _broken(file, f"{len(found)} of them, or without LUTDescriptor or LUTData")
    count, first, bits = (int(v) for v in descriptor)
    count = count % 65536 or 65536
    if data.itemsize == 2 and bits == 8 and len(data) < count <= 2 * len(data):
        data = data.view(np.uint8)[:count]  # two 8-bit entries in a word
    if len(data) != count or not 1 <= bits <= 16:
        raise _broken(file, f"{len(data)} entries where LUTDescriptor says {count} of {bits} bits")
    if module.signed and first > 32767:
        first -= 65536
    kind = tags.text(found[0], "ModalityLUTType")
    return ModalityTable(first, data.astype(np.uint16), kind)


def _entries(item: Any) -> NDArray[Any] | None:
    found = tags.value(item, "LUTData")
    try:
        if isinstance(found, bytes):
            order = ">" if item.original_encoding[1] is False else "<"
            return np.frombuffer(found, f"{order}u2").astype(np.uint16)
        entries = np.atleast_1d(np.array(found, np.int64))
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None
    return (entries % 65536).astype(np.uint16) if entries.ndim == 1 else None


def _broken(file: DicomFile, what: str) -> UnreadableFileError:
    return UnreadableFileError(
        f"{file.name} has a broken Modality LUT ({what}), so its real values are not known; "
        "export it again"
    )
