"""Arrays in files: the exchange folder, references to arrays, and what happens to the files.

A reference is ``{"path", "dtype", "shape", "offset"}`` and points at raw C-order numbers. The
folder is private to the user, named after the process, and removed at the end; folders that a
killed worker left are removed by the next one.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import tempfile
import time
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.worker.arrays import array_shape, number_type
from sammed.worker.messages import Fields, RequestError

PREFIX = "sammed-worker-"
STALE_SECONDS = 24 * 3600.0
"""Where processes cannot be looked up, a folder untouched for so long counts as left behind."""

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_log = logging.getLogger(__name__)


class Exchange:
    """The folder through which arrays travel.

    Parameters
    ----------
    base
        Where to make it; the system's temporary folder if ``None``.

    Raises
    ------
    OSError
        If it cannot be made.
    """

    def __init__(self, base: Path | None = None) -> None:
        base = Path(tempfile.gettempdir()) if base is None else base
        remove_stale(base)
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=base)).resolve()
        self._answers: list[Path] = []
        self._count = 0

    def write(self, array: NDArray[np.generic]) -> dict[str, Any]:
        """Write an array for the client and return the reference to it.

        The file stays until `release`. It is written, not mapped: a full disk is then an error
        with a name instead of a crash.

        Raises
        ------
        RequestError
            ``disk_full`` or ``exchange`` if it cannot be written; nothing is left of it.
        """
        self._count += 1
        path = self.folder / f"answer-{self._count}.raw"
        try:
            with path.open("xb") as file:
                file.write(np.ascontiguousarray(array).data)
        except OSError as error:
            path.unlink(missing_ok=True)
            code = "disk_full" if error.errno in _DISK_FULL else "exchange"
            raise RequestError(
                code, f"cannot write {array.nbytes} bytes to {self.folder}: {error.strerror}"
            ) from error
        self._answers.append(path)
        dtype = array.dtype.str
        return {"path": str(path), "dtype": dtype, "shape": list(array.shape), "offset": 0}

    def release(self) -> None:
        """Remove the files of former answers."""
        for path in self._answers:
            self._remove(path)
        self._answers.clear()

    def read(self, reference: Fields) -> NDArray[np.generic]:
        """Map the array that the client wrote, read-only, without copying it.

        Raises
        ------
        RequestError
            ``exchange`` if the file is missing or too short, ``bad_request`` if the reference is
            not one of numbers.
        """
        path = Path(reference.text("path"))
        dtype = number_type(reference)
        shape = array_shape(reference)
        offset = reference.whole("offset", 0)
        needed = offset + dtype.itemsize * prod(shape)
        try:
            size = path.stat().st_size
        except OSError as error:
            raise RequestError("exchange", f"cannot read {path}: {error.strerror}") from error
        if offset < 0 or size < needed:
            raise RequestError(
                "exchange", f"{path} has {size} bytes, its reference asks for {needed}"
            )
        return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)

    @property
    def place(self) -> str:
        """The folder, where the client may put its arrays."""
        return str(self.folder)

    def owns(self, path: str) -> bool:
        """Whether a file lies in the exchange folder, so that it is ours to remove."""
        return Path(path).resolve().parent == self.folder

    def forget(self, reference: Fields) -> None:
        """Remove a file of the client if it lies in the exchange folder."""
        path = reference.text("path", "")
        if path and self.owns(path):
            self._remove(Path(path))

    def close(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:  # Windows keeps files that someone still maps; `close` tries again
            _log.debug("cannot remove %s yet: %s", path, error)


def digest(array: NDArray[np.generic]) -> str:
    """SHA-256 (hex) of an array's bytes in C order."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def remove_stale(base: Path) -> list[Path]:
    """Remove exchange folders whose worker no longer lives; returns what was removed."""
    removed = []
    for folder in base.glob(PREFIX + "*"):
        if folder.is_dir() and not folder.is_symlink() and _is_stale(folder):
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
    return removed


def _is_stale(folder: Path) -> bool:
    try:
        pid = int(folder.name[len(PREFIX) :].partition("-")[0])
        stat = folder.stat()
    except (ValueError, OSError):
        return False
    if os.name != "posix":  # there os.kill would end the process
        return time.time() - stat.st_mtime > STALE_SECONDS
    if stat.st_uid != os.getuid() or pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
