"""What was carried from an example onto a scan, kept by the content of both."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammed import folders
from sammed.examples.carrying import Carried
from sammed.imaging.boxes import Box3D
from sammed.imaging.volume import OnGrid

VERSION = "2"
"""Raised when the same images are to be registered in another way."""

MOST_BYTES = 2 * 1024**3
"""The files that were not used for longest go where there are more."""

_NUMBERS = ("likeness", "kept", "contrast", "least_stretch")


def content(image: OnGrid) -> str:
    """SHA-256 (hex) of voxels and where they are."""
    digest = hashlib.sha256()
    digest.update(repr((image.voxels.shape, str(image.voxels.dtype))).encode())
    digest.update(np.ascontiguousarray(image.affine).tobytes())
    digest.update(np.ascontiguousarray(image.voxels).tobytes())
    return digest.hexdigest()


class Kept:
    """Results in a folder, one file each; a broken or missing one is computed again.

    Parameters
    ----------
    folder
        By default that of the user.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or folders.examples_folder()

    def load(self, key: Mapping[str, object]) -> dict[str, Carried] | None:
        """What was kept under a key, or ``None``."""
        path = self._path(key)
        try:
            with np.load(path, allow_pickle=False) as file:
                names = json.loads(str(file["names"]))
                found = {name: _unpacked(file, number) for number, name in enumerate(names)}
            os.utime(path)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None
        return found

    def save(self, key: Mapping[str, object], carried: Mapping[str, Carried]) -> None:
        """Keep what was carried; a full disk is no error."""
        arrays: dict[str, NDArray[np.generic]] = {"names": np.array(json.dumps(list(carried)))}
        for number, one in enumerate(carried.values()):
            arrays |= _packed(one, number)
        path = self._path(key)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, suffix=".part")
            with os.fdopen(handle, "wb") as stream:
                np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
            os.replace(name, path)
            self._trim()
        except OSError:
            return

    def _path(self, key: Mapping[str, object]) -> Path:
        text = json.dumps({"version": VERSION, **key}, sort_keys=True, default=str)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()}.npz"

    def _trim(self) -> None:
        files = sorted(self.folder.glob("*.npz"), key=lambda p: p.stat().st_mtime, reverse=True)
        total = 0
        for path in files:
            total += path.stat().st_size
            if total > MOST_BYTES:
                path.unlink(missing_ok=True)


def _packed(one: Carried, number: int) -> dict[str, NDArray[np.generic]]:
    numbers = [getattr(one, name) for name in _NUMBERS]
    return {
        f"{number}.block": np.array([*one.block.low, *one.block.high]),
        f"{number}.chance": np.asarray(one.chance, np.float16),
        f"{number}.weight": np.asarray(np.rint(one.weight * 255), np.uint8),
        f"{number}.covered": one.covered,
        f"{number}.numbers": np.array(numbers, np.float64),
    }


def _unpacked(file: Mapping[str, NDArray[np.generic]], number: int) -> Carried:
    z0, y0, x0, z1, y1, x1 = (int(v) for v in file[f"{number}.block"])
    numbers = dict(zip(_NUMBERS, map(float, file[f"{number}.numbers"]), strict=True))
    return Carried(
        Box3D(z0, y0, x0, z1, y1, x1),
        np.asarray(file[f"{number}.chance"], np.float32),
        np.asarray(file[f"{number}.covered"], bool),
        np.asarray(file[f"{number}.weight"], np.float32) / np.float32(255),
        **numbers,
    )


def rounded(one: Carried) -> Carried:
    """As it comes back from a file, so that the first run and the next give the same."""
    arrays = _packed(one, 0)
    return _unpacked(arrays, 0)
