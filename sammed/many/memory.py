"""How many workers this computer has memory for."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from math import prod
from pathlib import Path

from sammed.errors import SammedError
from sammed.io import gz
from sammed.io.recognition import longest_ending

MODEL_BYTES = 1 << 30
"""Of a worker before it has read anything: libraries and a model."""

OVER_VOLUME = 4
"""A worker's peak over the bytes of its largest scan; see the row ``memory`` of docs/performance.md
for what segmenting takes, to which the copy belongs that is written."""

_PACKED = 3
"""How many times larger a file is thought to be in memory that is packed, but does not say it."""

_NIFTI = (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz")
_MGH = (".mgh", ".mgh.gz", ".mgz")
_MGH_BYTES = {0: 1, 1: 4, 3: 4, 4: 2}
"""FreeSurfer's number of a type → bytes of a voxel."""


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

    A header says it, of one frame, since no more is held; but no more is believed than the file can
    hold: a damaged one may promise anything. What ends a ``.gz`` is not asked: of a file that was
    cut it is any number, and of a large one the rest of a division by 4 GB. What is packed and has
    no such header is taken for three times as large as its files.
    """
    try:
        if scan.is_dir():
            return sum(file.stat().st_size for file in scan.rglob("*") if file.is_file())
        said = _said(scan)
        return _PACKED * scan.stat().st_size if said is None else said
    except OSError:
        return 0


def _said(scan: Path) -> int | None:
    """What a header says of a frame's voxels, and the file has room for; if there is one."""
    try:
        if longest_ending(scan, _NIFTI):
            size, file = _of_nifti(scan)
        elif longest_ending(scan, _MGH):
            size, file = _of_mgh(scan), scan
        else:
            return None
    except (SammedError, EOFError, struct.error, zlib.error):
        return None
    most = file.stat().st_size * (gz.MAX_DEFLATE_RATIO if gz.is_gzip(file) else 1)
    return min(size, most) if size > 0 else None


def _of_nifti(scan: Path) -> tuple[int, Path]:
    from sammed.io.nifti.header import read_header, spatial_shape
    from sammed.io.voxels import Notes

    header, file = read_header(scan, Notes(scan))
    return prod(spatial_shape(header, scan)) * int(header.get_data_dtype().itemsize), file


def _of_mgh(scan: Path) -> int:
    with gz.open_bytes(scan) as file:
        _, i, j, k, _, kind = struct.unpack(">6i", file.read(24))
    return prod((i, j, k)) * _MGH_BYTES.get(kind, 4)


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
