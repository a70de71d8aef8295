"""What a NIfTI header says of its voxels: which file, which byte, how many, how scaled."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError

from sammed.errors import UnreadableFileError, UnsupportedFormatError
from sammed.io import gz
from sammed.io.recognition import hint
from sammed.io.voxels import Notes

_PAIR = (".hdr", ".img")


def read_header(path: Path, notes: Notes) -> tuple[Any, Path]:
    """The header, checked and mended by nibabel, and the file that holds the voxels.

    Parameters
    ----------
    path
        A single file, or either file of a pair.
    notes
        Receives what was mended.

    Raises
    ------
    UnreadableFileError
        If it is not NIfTI, half of a pair is missing, or the header is impossible.
    UnsupportedFormatError
        If it is Analyze 7.5.
    """
    header_path, data_path = _files(path)
    try:
        with gz.open_bytes(header_path) as file:
            header = _header_class(file, header_path).from_fileobj(file, check=False)
        with _collected(notes) as logger:
            header.check_fix(logger=logger, error_level=40)
        header.get_data_dtype()
        header.get_data_offset()
    except (
        HeaderDataError,
        KeyError,
        ValueError,
        OverflowError,
        OSError,
        EOFError,
        zlib.error,
    ) as error:
        raise UnreadableFileError(
            f"{path} has a damaged NIfTI header ({_line(error)}); copy or download it again"
        ) from error
    return header, data_path


def _is_half(path: Path) -> bool:
    """Whether a name is that of a header or of voxels alone."""
    return path.name.lower().removesuffix(".gz").endswith(_PAIR)


def _files(path: Path) -> tuple[Path, Path]:
    """Header file and data file, in whatever case their endings are, and packed or not."""
    if not _is_half(path):
        return path, path
    return _half(path, ".hdr"), _half(path, ".img")


def _half(path: Path, ending: str) -> Path:
    """The file of a pair that has an ending: the given one, or the one most like it."""
    bare = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    stem = bare[:-4]
    if bare.lower().endswith(ending):
        return path
    wanted = (stem + ending).lower()
    found = [
        file
        for file in path.parent.iterdir()
        if file.name.lower() in (wanted, f"{wanted}.gz") and file.is_file()
    ]
    if not found:
        missing = path.with_name(stem + (ending.upper() if bare[-3:].isupper() else ending))
        raise UnreadableFileError(f"{path} belongs to a pair, but {missing} does not exist")
    packed = path.name.lower().endswith(".gz")
    return min(
        found,
        key=lambda file: (
            not file.name.startswith(stem),
            (file.suffix.lower() == ".gz") != packed,
            file.name,
        ),
    )


def _header_class(file: BinaryIO, path: Path) -> Any:
    """Header type by the size field and the magic text; the file is left at its start."""
    start = file.read(540)
    file.seek(0)
    size = {int.from_bytes(start[:4], order) for order in ("little", "big")}
    single = not _is_half(path)
    if 348 in size and start[344:348] in (b"n+1\0", b"ni1\0"):
        return nibabel.Nifti1Header if single else nibabel.nifti1.Nifti1PairHeader
    if 540 in size and start[4:7] in (b"n+2", b"ni2"):
        return nibabel.Nifti2Header if single else nibabel.nifti2.Nifti2PairHeader
    if 348 in size and not single:
        raise UnsupportedFormatError(
            f"{path} is Analyze 7.5, which does not say left from right; convert it to NIfTI"
        )
    raise UnreadableFileError(f"{path} is not a NIfTI file, whatever its name says{hint(path)}")


@contextmanager
def _collected(notes: Notes) -> Iterator[logging.Logger]:
    """A logger for nibabel whose messages become notes instead of lines on stderr."""

    class _ToNotes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            notes.note(f"header: {record.getMessage()}")

    logger = logging.Logger("nifti-header", logging.INFO)
    logger.addHandler(_ToNotes())
    yield logger


def spatial_shape(header: Any, path: Path) -> tuple[int, int, int]:
    """Extents (i, j, k).

    Raises
    ------
    UnreadableFileError
        If there are none.
    """
    extents = [int(n) for n in header.get_data_shape()]
    if not extents or len(extents) > 7 or min(extents) < 1:
        raise UnreadableFileError(
            f"{path} holds no voxels: its extents are {tuple(extents)}, expected positive ones"
        )
    i, j, k = [*extents, 1, 1][:3]
    return i, j, k


def frame_count(header: Any, path: Path) -> int:
    """How many 3D images it holds.

    Raises
    ------
    UnsupportedFormatError
        If it has vectors or more than four dimensions.
    """
    extents = [int(n) for n in header.get_data_shape()]
    if any(n > 1 for n in extents[4:]):
        raise UnsupportedFormatError(
            f"{path} has vectors or more than four dimensions: extents {tuple(extents)}, "
            "expected i, j, k and frames"
        )
    return extents[3] if len(extents) > 3 else 1


def data_offset(header: Any, path: Path, voxel_bytes: int, notes: Notes) -> int:
    """Where the voxels begin in the unpacked file.

    A single file's voxels begin at byte 352 or later. Where its header says 0, the length of the
    file decides.

    Parameters
    ----------
    header
        A NIfTI header.
    path
        The file that holds the voxels.
    voxel_bytes
        Of all its voxels.
    notes
        Receives what was assumed.

    Raises
    ------
    UnreadableFileError
        If neither the header nor the length says it.
    """
    offset = int(header.get_data_offset())
    single = hasattr(header, "single_vox_offset") and header.is_single
    if offset or not single:
        return offset
    size = (
        sum(len(piece) for piece in gz.unpacked(path)) if gz.is_gzip(path) else path.stat().st_size
    )
    possible = (int(header.single_vox_offset), int(header.sizeof_hdr))
    fitting = [start for start in possible if start + voxel_bytes == size]
    if not fitting:
        raise UnreadableFileError(
            f"{path} does not say where its voxels begin: vox_offset is 0, and {size:,} bytes are "
            f"neither {' nor '.join(f'{n}' for n in possible)} and {voxel_bytes:,} of voxels; set "
            f"vox_offset (usually {possible[0]})"
        )
    notes.warn(
        f"its vox_offset is 0, which is in the header; voxels were read from byte {fitting[0]} on, "
        "where they fill the file to its end"
    )
    return fitting[0]


def scaling(header: Any, notes: Notes) -> tuple[float, float]:
    """Slope and intercept: real value = slope * stored + intercept.

    Parameters
    ----------
    header
        A NIfTI header.
    notes
        Receives what is said there and does not count.
    """
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        if np.isinf(slope) or (np.isfinite(intercept) and intercept != 0):
            notes.warn(
                f"its scl_slope is {slope:g}, which means no scaling; its scl_inter "
                f"{intercept:g} does not count"
            )
        return 1.0, 0.0
    if not np.isfinite(intercept):
        notes.warn(f"its scl_inter is {intercept:g}, which is no number; 0 was taken")
        return slope, 0.0
    return slope, intercept


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
