"""Phases that were put beside a scan, in files beside its journal, for the next start.

A file holds a phase's voxels as they lie on the scan's grid, so that it need not be found, read and
aligned again; what was dropped on the page is not there any more. The journal names it.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import InputError, UnreadableFileError
from sammed.imaging.boxes import Box3D
from sammed.imaging.volume import HeaderWindow, Volume
from sammed.io.output import atomic_output
from sammed.views.embeddings import content_hash
from sammed.workbench.beside import Phase
from sammed.workbench.journal import ENDING, Entry, inlined, outlined
from sammed.worker.arrays import Attached

Then = Mapping[str, tuple[Box3D, NDArray[np.bool_]]]
"""Lesion → its block and mask in an earlier scan, see `sammed.workbench.beside.Beside`."""

_FILE = re.compile(r"[^/\\]+\.sammed-phase-\d+\.npy\.gz")


def write_phase(journal: Path, phase: Phase, first: str, then: Then) -> Entry:
    """Keep a phase in a new file.

    Parameters
    ----------
    journal
        Beside which the file lies.
    phase
        On the scan's grid.
    first
        What the scan itself is called among the phases.
    then
        What was drawn on an earlier scan, if it is one.

    Returns
    -------
    dict
        For the journal.

    Raises
    ------
    OutputError
        If it cannot be written; nothing is left of it then.
    """
    stem = journal.name.removesuffix(ENDING)
    paths = (journal.with_name(f"{stem}.sammed-phase-{n}.npy.gz") for n in range(1, 10_000))
    path = next(path for path in paths if not path.exists())
    voxels = np.ascontiguousarray(phase.volume.voxels)
    with atomic_output(path) as temporary, gzip.open(temporary, "wb", compresslevel=1) as file:
        np.save(file, voxels, allow_pickle=False)
    return {
        "do": "phase",
        "name": phase.name,
        "first": first,
        "said": phase.about["said"],
        "file": path.name,
        "voxels": content_hash(voxels),
        "modality": phase.volume.modality,
        "windows": [asdict(window) for window in phase.volume.windows],
        "drawn": _packed(then),
    }


def read_phase(journal: Path, entry: Entry, scan: Volume) -> tuple[Volume, dict[str, Any]]:
    """The phase of an entry, and what was drawn on it.

    Parameters
    ----------
    journal
        That holds the entry.
    entry
        From `write_phase`.
    scan
        On whose grid it lies.

    Raises
    ------
    UnreadableFileError
        If the file is gone, cut, or another one.
    """
    path = journal.with_name(_name(entry))
    try:
        voxels = _read(path, scan.shape)
        if content_hash(voxels) != entry["voxels"]:
            raise InputError("holds something else than was kept")
        windows = tuple(HeaderWindow(**said) for said in entry["windows"])
        volume = Volume(voxels, scan.grid, str(entry["modality"]), windows=windows)
        return volume, _unpacked(entry["drawn"])
    except FileNotFoundError:
        raise UnreadableFileError(f"{path.name} is gone") from None
    except (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError, InputError) as error:
        raise UnreadableFileError(f"{path.name} cannot be read: {error}") from None


def remove_phase(journal: Path, entry: Entry) -> None:
    """Remove the file of a phase that is not shown any more."""
    journal.with_name(_name(entry)).unlink(missing_ok=True)


def _name(entry: Entry) -> str:
    """A file beside the journal and nowhere else, whatever the journal says."""
    name = str(entry.get("file"))
    if not _FILE.fullmatch(name):
        raise UnreadableFileError(f"{name!r} is no file of a phase")
    return name


def _read(path: Path, shape: tuple[int, ...]) -> NDArray[Any]:
    with gzip.open(path, "rb") as file:
        np.lib.format.read_magic(file)
        there, turned, kind = np.lib.format.read_array_header_1_0(file)
        if there[:3] != shape or turned or kind.kind not in "buif":
            raise InputError(f"holds {there} of {kind}; expected {shape}, as the scan has it")
        voxels = np.frombuffer(file.read(int(np.prod(there)) * kind.itemsize), kind)
        file.read(1)  # to the end, where the checksum is
        return voxels.reshape(there)


def _packed(then: Then) -> list[dict[str, Any]]:
    packed = []
    for name, (block, mask) in then.items():
        arrays = Attached()
        data = arrays.write(mask.astype(np.uint8))
        corners = [int(v) for v in (*block.low, *block.high)]
        packed.append({"name": name, "block": corners, "data": inlined(data, arrays.take())})
    return packed


def _unpacked(packed: list[dict[str, Any]]) -> dict[str, Any]:
    then = {}
    for one in packed:
        frames: list[bytes] = []
        data = outlined(one["data"], frames)
        mask = np.frombuffer(frames[data["frame"]], data["dtype"]).reshape(data["shape"])
        corners = [int(v) for v in one["block"]]
        block = Box3D(*corners)
        then[str(one["name"])] = block, mask > 0
    return then
