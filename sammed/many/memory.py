"""How many workers this computer has memory for."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

MODEL_BYTES = 1 << 30
"""Of a worker before it has read anything: libraries and a model."""

OVER_VOLUME = 4
"""A worker's peak over the bytes of its largest scan; see the row ``memory`` of docs/performance.md
for what segmenting takes, to which the copy belongs that is written."""

_PACKED = 3
"""How many times larger a file is thought to be in memory that is packed, but does not say it."""


def needed(scans: Iterable[Path], over: float = OVER_VOLUME) -> int:
    """Bytes that a worker may need for the largest of some scans.

    Parameters
    ----------
    scans
        Files or DICOM folders; they are looked at, not read.
    over
        A worker's peak over the bytes of the scan.

    Examples
    --------
    >>> needed([Path("sample_data/phantom_ct.nii.gz")]) > MODEL_BYTES
    True
    """
    return MODEL_BYTES + int(over * max(map(unpacked, scans), default=0))


def unpacked(scan: Path) -> int:
    """Bytes that a scan has in memory, as far as its files tell without being read.

    A ``.gz`` says it at its end (modulo 4 GB); what is packed otherwise is taken for three times as
    large as its files.
    """
    try:
        if scan.is_dir():
            return sum(file.stat().st_size for file in scan.rglob("*") if file.is_file())
        size = scan.stat().st_size
        if scan.name.lower().endswith((".gz", ".mgz")):
            with scan.open("rb") as stream:
                stream.seek(-4, os.SEEK_END)
                return max(size, int.from_bytes(stream.read(4), "little"))
        return size if scan.name.lower().endswith((".nii", ".mgh")) else _PACKED * size
    except OSError:
        return 0


def fitting(workers: int, each: int) -> int:
    """How many of so many workers fit into the memory that is free now, at least one.

    Parameters
    ----------
    workers
        As many as are wanted.
    each
        Bytes that one may need.
    """
    return max(1, min(workers, free() // max(each, 1)))


def free() -> int:
    """Bytes that this process and its children may still take, also in a container."""
    import psutil
    from distributed.system import MEMORY_LIMIT

    return min(int(psutil.virtual_memory().available), int(MEMORY_LIMIT))
