"""Structures that may overlap: chosen by name, painted into one label map; the smaller wins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammed.errors import LabelError
from sammed.imaging.geometry import Shape3


class Structures:
    """Masks of numbered structures, slice by slice, packed to a bit a voxel.

    A lesion lies in its organ and a target in the body's outline: painting the largest structure
    first and the smallest last leaves each of them visible. Of equal ones the higher number wins.

    Parameters
    ----------
    shape
        Extents (k, rows, columns) of the map to be painted.
    """

    def __init__(self, shape: Shape3) -> None:
        self.shape = shape
        self._packed: dict[int, dict[int, NDArray[np.uint8]]] = defaultdict(dict)
        self._counts: dict[int, int] = {}

    def add(self, number: int, k: int, mask: NDArray[np.bool_]) -> None:
        """Add to structure ``number`` on slice ``k`` a mask, (rows, columns)."""
        packed = np.packbits(mask)
        before = self._packed[number].get(k)
        if before is not None:
            packed |= before
            self._counts[number] -= _ones(before)
        self._packed[number][k] = packed
        count = int(np.count_nonzero(mask)) if before is None else _ones(packed)
        self._counts[number] = self._counts.get(number, 0) + count

    def paint(self) -> tuple[NDArray[np.uint16], int]:
        """The map of numbers, (k, rows, columns) uint16, and how many voxels were contested."""
        numbers = np.zeros(self.shape, np.uint16)
        contested = np.zeros(self.shape, bool)
        area = self.shape[1] * self.shape[2]
        for number in sorted(self._packed, key=lambda n: (-self._counts[n], n)):
            for k, packed in self._packed[number].items():
                mask = np.unpackbits(packed, count=area).reshape(self.shape[1:]).astype(bool)
                contested[k] |= mask & (numbers[k] > 0)
                numbers[k][mask] = number
        return numbers, int(np.count_nonzero(contested))


def _ones(packed: NDArray[np.uint8]) -> int:
    return int(np.unpackbits(packed).sum())


def chosen(names: Mapping[int, str], only: Collection[str] | None, path: Path) -> list[int]:
    """Numbers of the structures that were asked for by name; all if nothing was.

    Raises
    ------
    LabelError
        If a name does not occur.
    """
    if only is None:
        return list(names)
    wanted = {name.strip().lower() for name in only}
    unknown = wanted - {name.strip().lower() for name in names.values()}
    if unknown:
        raise LabelError(
            f"{path} has no structure {', '.join(sorted(unknown))}; "
            f"it has {', '.join(names.values()) or 'none'}"
        )
    return [number for number, name in names.items() if name.strip().lower() in wanted]
