"""Embeddings by content: in memory, least recently used out first."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict

from sammed.intensity import Window
from sammed.models.base import Embedding, ModelSpec
from sammed.slices import View

PREPROCESSING_VERSION = 1
"""Raised whenever the same view would be rendered to other pixels."""

DEFAULT_MEMORY_BYTES = 1 << 30


def view_key(volume_hash: str, plane: str, window: Window, view: View, spec: ModelSpec) -> str:
    """Identity of a view's embedding: everything that it depends on, hashed."""
    parts = [
        volume_hash,
        plane,
        (window.low, window.high),
        (view.index, view.rect, view.extent, view.size),
        (spec.name, spec.weights_hash, spec.eight_bit, spec.context),
        PREPROCESSING_VERSION,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class EmbeddingStore:
    """Keeps embeddings up to a number of bytes.

    Parameters
    ----------
    memory_bytes
        How much to keep in memory.
    """

    def __init__(self, memory_bytes: int = DEFAULT_MEMORY_BYTES) -> None:
        self.memory_bytes = memory_bytes
        self._kept: OrderedDict[str, Embedding] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> Embedding | None:
        """The embedding of that key, or ``None``."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: str, embedding: Embedding) -> None:
        """Keep an embedding; the least recently used ones make room for it."""
        if key in self._kept:
            self._bytes -= self._kept.pop(key).nbytes
        self._kept[key] = embedding
        self._bytes += embedding.nbytes
        while self._bytes > self.memory_bytes and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
