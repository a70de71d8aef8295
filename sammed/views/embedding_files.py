"""Embeddings on disk: one safetensors file a view, several processes at once, a cap on the size.

A view's file is written beside its place and moved there whole, so that a reader sees all of it or
nothing, whoever else writes and whenever a process dies. Its arrays carry a checksum. Using a file
renews its time; when the folder outgrows its cap, the files that were not used for longest go.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammed.errors import SammedWarning
from sammed.models.protocols import Embedding

log = logging.getLogger(__name__)

SUFFIX = ".safetensors"
FORMAT = "sammed-embedding/1"

EVICT_TO = 0.9
"""Eviction frees the folder down to this share of its cap, so that it is not needed each time."""

STALE_S = 3600.0
"""An unfinished file older than this many seconds belongs to a process that died."""

_UNFINISHED = ".writing-"


@dataclass(frozen=True)
class Group:
    """The kept views of one model on one plane of one volume.

    Attributes
    ----------
    name
        ``model-weights/volume-plane``, as the folders are called.
    views
        Number of views.
    nbytes
        Bytes on disk.
    used
        When one of them was last used, seconds since the epoch.
    """

    name: str
    views: int
    nbytes: int
    used: float


class EmbeddingFolder:
    """A folder of embeddings.

    Parameters
    ----------
    path
        The folder; made when the first embedding is written.
    max_bytes
        Cap on the bytes of all files.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self._bytes: int | None = None
        self._writable = True

    def read(self, key: str) -> Embedding | None:
        """The embedding of that key, ``None`` if it is not here.

        A file that is damaged is removed with a `SammedWarning`.
        """
        file = self._file(key)
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            warnings.warn(f"cannot read {file}: {error.strerror}", SammedWarning, stacklevel=3)
            return None
        try:
            embedding = _decode(content)
        except ValueError as error:
            warnings.warn(
                f"the kept embedding {file} is damaged ({error}); it is computed again",
                SammedWarning,
                stacklevel=3,
            )
            _remove(file)
            return None
        with contextlib.suppress(OSError):
            os.utime(file)
        return embedding

    def write(self, key: str, embedding: Embedding) -> bool:
        """Keep an embedding; make room by removing those not used for longest.

        If the folder cannot be written or the disk is full, a `SammedWarning` says so once and
        nothing more is written by this object.

        Returns
        -------
        bool
            Whether it is on disk now.
        """
        if not self._writable:
            return False
        file = self._file(key)
        content = _encode(embedding)
        unfinished = file.with_name(f"{_UNFINISHED}{os.getpid()}-{time.monotonic_ns()}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(content)
            os.replace(unfinished, file)
        except OSError as error:
            _remove(unfinished)
            self._writable = False
            warnings.warn(
                f"embeddings are no longer kept in {self.path}: {error.strerror or error}; "
                "the run goes on, the next one will encode those slices again",
                SammedWarning,
                stacklevel=3,
            )
            return False
        self._count(len(content))
        return True

    def groups(self) -> list[Group]:
        """What is kept, by model, volume and plane, in alphabetical order."""
        found: dict[str, list[os.stat_result]] = {}
        for file, stat in self._files():
            name = file.parent.relative_to(self.path).as_posix()
            found.setdefault(name, []).append(stat)
        return [
            Group(name, len(stats), sum(s.st_size for s in stats), max(s.st_mtime for s in stats))
            for name, stats in sorted(found.items())
        ]

    def remove(self, group: str | None = None) -> int:
        """Remove a group of `groups`, or its beginning (a model), or everything; bytes freed."""
        freed = 0
        for file, stat in list(self._files()):
            name = file.parent.relative_to(self.path).as_posix()
            if group is None or name == group or name.startswith(group + "/"):
                freed += stat.st_size if _remove(file) else 0
                with contextlib.suppress(OSError):
                    file.parent.rmdir()
        self._bytes = None
        return freed

    def nbytes(self) -> int:
        """Bytes of all files, counted anew."""
        return sum(stat.st_size for _, stat in self._files())

    def _file(self, key: str) -> Path:
        return self.path.joinpath(*key.split("/")).with_suffix(SUFFIX)

    def _count(self, added: int) -> None:
        """Keep account of the size; other processes' files are seen at every look at the disk."""
        self._bytes = self.nbytes() if self._bytes is None else self._bytes + added
        if self._bytes > self.max_bytes:
            self._evict()

    def _evict(self) -> None:
        files = sorted(self._files(), key=lambda found: found[1].st_mtime_ns)
        total = sum(stat.st_size for _, stat in files)
        if total > self.max_bytes:
            for file, stat in files[:-1]:
                if total <= self.max_bytes * EVICT_TO:
                    break
                total -= stat.st_size if _remove(file) else 0
        self._bytes = total

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Finished files; what dead processes left unfinished is removed on the way."""
        for folder, _, names in os.walk(self.path):
            for name in names:
                file = Path(folder, name)
                try:
                    stat = file.stat()
                except OSError:
                    continue
                if name.startswith(_UNFINISHED):
                    if time.time() - stat.st_mtime > STALE_S:
                        _remove(file)
                elif name.endswith(SUFFIX):
                    yield file, stat


def _encode(embedding: Embedding) -> bytes:
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(array) for name, array in embedding.arrays.items()}
    height, width = embedding.extent
    notes = {"format": FORMAT, "extent": f"{height} {width}", "crc32": str(_checksum(arrays))}
    return bytes(save(arrays, metadata=notes))


def _decode(content: bytes) -> Embedding:
    """The embedding in a file's content.

    Raises
    ------
    ValueError
        If it is not all there.
    """
    import json

    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(content)
        length = int.from_bytes(content[:8], "little")
        notes = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    if notes.get("format") != FORMAT:
        raise ValueError(f"format {notes.get('format')}")
    if notes.get("crc32") != str(_checksum(arrays)):
        raise ValueError("its checksum is wrong")
    height, width = (int(n) for n in notes["extent"].split())
    return Embedding(arrays, (height, width))


def _checksum(arrays: dict[str, NDArray[np.generic]]) -> int:
    value = 0
    for name in sorted(arrays):
        array = arrays[name]
        value = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), value)
        value = zlib.crc32(array.tobytes(), value)
    return value


def _remove(file: Path) -> bool:
    try:
        file.unlink()
    except OSError:
        return False
    return True
