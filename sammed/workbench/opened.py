"""The scan on the table, and all that belongs to it."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sammed.imaging.volume import Volume
from sammed.views.embeddings import content_hash
from sammed.workbench.keeping import Keeper
from sammed.workbench.scan import Shown


class VolumeHash:
    """Tells a volume's hash, which is computed once, beside whatever else is done."""

    def __init__(self, executor: ThreadPoolExecutor, volume: Volume) -> None:
        self._executor = executor
        self._volume = volume
        self._found: Future[str] | None = None

    def begin(self) -> Future[str]:
        """Compute it, without waiting for it."""
        if self._found is None:
            self._found = self._executor.submit(content_hash, self._volume.voxels)
        return self._found

    def __call__(self) -> str:
        """The hash."""
        return self.begin().result()


@dataclass(frozen=True)
class Opened:
    """The scan that is on the table.

    Attributes
    ----------
    id
        Another one each time that something is opened.
    volume, shown
        The image, and how the page gets it.
    about
        What the page is told of it.
    folder, stem
        Where its outputs go, and how their names begin.
    keeper
        Writes its session down.
    hashed
        Tells the volume's hash.
    """

    id: str
    volume: Volume
    shown: Shown
    about: dict[str, Any]
    folder: Path
    stem: str
    keeper: Keeper
    hashed: VolumeHash
