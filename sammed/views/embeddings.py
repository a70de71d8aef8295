"""Embeddings by content: kept in memory and on disk, so that no view is ever encoded twice."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammed import folders
from sammed.imaging.intensity import Window
from sammed.models.protocols import Embedding, ModelSpec
from sammed.views.embedding_files import EmbeddingFolder
from sammed.views.slices import View

PREPROCESSING_VERSION = 1
"""Raised whenever the same view would be rendered to other pixels."""

DEFAULT_MEMORY_BYTES = 1 << 30

DEFAULT_DISK_BYTES = 20 << 30
"""About 10 000 views of segment-anything at half precision."""


@dataclass
class StoreStats:
    """What a store was asked for, and what came of it."""

    memory_hits: int = 0
    disk_hits: int = 0
    misses: int = 0
    written: int = 0


def content_hash(voxels: NDArray[np.generic]) -> str:
    """SHA-256 (hex) of canonical voxels (z, y, x) with their shape and type."""
    digest = hashlib.sha256(f"{voxels.shape} {voxels.dtype.str}".encode())
    for block in voxels:
        digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()


def view_key(volume_hash: str, plane: str, window: Window, view: View, spec: ModelSpec) -> str:
    """Identity of a view's embedding: everything that it depends on, hashed.

    Parameters
    ----------
    volume_hash
        SHA-256 (hex) of the voxels.
    plane, window, view
        Which slice, how it is windowed, which rectangle of it is seen and at which size.
    spec
        The model with the hash of its weights.

    Returns
    -------
    str
        ``model-weights/volume-plane/slice-digest``: the digest says it all, the rest is for people
        who look at the cache.
    """
    embedder = spec.embeds_as or spec.weights_hash
    parts = [
        volume_hash,
        plane,
        (window.low, window.high),
        (view.index, view.rect, view.extent, view.size, view.mirrored),
        (spec.name, embedder, spec.variant, spec.eight_bit, spec.context),
        PREPROCESSING_VERSION,
    ]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    model = re.sub(r"[^A-Za-z0-9_.+]", "_", spec.name)
    weights, volume = embedder[:8] or "none", volume_hash[:16] or "unnamed"
    return f"{model}-{weights}/{volume}-{plane}/{view.index:04d}-{digest}"


class EmbeddingStore:
    """Keeps embeddings in memory, least recently used out first, and if wanted on disk.

    Safe to use from several threads; a folder may be used by several processes at once.

    Parameters
    ----------
    memory_bytes
        How much to keep in memory.
    folder
        Where to keep embeddings between runs; ``None`` keeps them in memory alone.
    disk_bytes
        How much to keep on disk; the least recently used ones make room.
    dtype
        ``"float16"`` rounds what is kept to half the bytes, ``"float32"`` does not. The default
        rounds if there is a folder: results then do not depend on whether an embedding was just
        computed, lay in memory or came from disk.
    """

    def __init__(
        self,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        folder: Path | None = None,
        disk_bytes: int = DEFAULT_DISK_BYTES,
        dtype: str | None = None,
    ) -> None:
        self.memory_bytes = memory_bytes
        self.stats = StoreStats()
        self.disk = EmbeddingFolder(folder, disk_bytes) if folder is not None else None
        self._dtype = np.dtype(dtype or ("float16" if folder is not None else "float32"))
        self._kept: OrderedDict[str, Embedding] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __contains__(self, key: str) -> bool:
        """Whether it is in memory."""
        with self._lock:
            return key in self._kept

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self._bytes

    def get(self, key: str) -> Embedding | None:
        """The embedding of that key, or ``None``.

        A damaged file is removed with a `SammedWarning` and counts as absent.
        """
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                self.stats.memory_hits += 1
                return found
        found = self.disk.read(key) if self.disk else None
        with self._lock:
            if found is None:
                self.stats.misses += 1
                return None
            self.stats.disk_hits += 1
            self._remember(key, found)
        return found

    def put(self, key: str, embedding: Embedding) -> Embedding:
        """Keep an embedding; the least recently used ones make room for it.

        Returns
        -------
        Embedding
            As `get` will give it, rounded if the store rounds: go on with this one, and a result
            does not depend on whether its embedding was kept.
        """
        kept = Embedding(
            {name: self._rounded(array) for name, array in embedding.arrays.items()},
            embedding.extent,
        )
        with self._lock:
            self._remember(key, kept)
        if self.disk and self.disk.write(key, kept):
            self.stats.written += 1
        return kept

    def _remember(self, key: str, embedding: Embedding) -> None:
        if key in self._kept:
            self._bytes -= self._kept.pop(key).nbytes
        self._kept[key] = embedding
        self._bytes += embedding.nbytes
        while self._bytes > self.memory_bytes and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes

    def _rounded(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """Float32 as the store's type, unless a value would overflow; others as they are."""
        if array.dtype != np.float32 or self._dtype == np.float32:
            return array
        if array.size and np.abs(array).max() > np.finfo(self._dtype).max:
            return array
        return array.astype(self._dtype)


def store_for(spec: ModelSpec, *, keep: bool = True) -> EmbeddingStore:
    """A store as suits a model: on disk if encoding is costly, else in memory alone.

    Parameters
    ----------
    spec
        The model.
    keep
        False keeps nothing on disk whatever the model.
    """
    if keep and spec.expensive_encode:
        return EmbeddingStore(folder=folders.embeddings_folder())
    return EmbeddingStore()
