"""The client's index frame and back.

A client speaks of its own array: index ``(k, j, i)`` as it was sent, whatever its orientation.
Inside sammed everything is canonical (z, y, x). This is the only place that knows both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sammed.imaging.boxes import Box3D
from sammed.imaging.geometry import AnyAffine, Reorientation, Shape3, apply_affine

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True)
class SentFrame:
    """Index (k, j, i) of the array as sent ↔ canonical index (z, y, x).

    Attributes
    ----------
    reorientation
        From the sent array to the canonical one.
    """

    reorientation: Reorientation

    def block_in(self, block: list[int]) -> Box3D:
        """Canonical block of a half-open, not empty sent one ``[k0, j0, i0, k1, j1, i1]``."""
        return _carry(np.linalg.inv(self.reorientation.to_file), block[:3], block[3:])

    def block_out(self, block: Box3D) -> list[int]:
        """Sent block ``[k0, j0, i0, k1, j1, i1]`` of a canonical one."""
        box = _carry(self.reorientation.to_file, block.low, block.high)
        return [*box.low, *box.high]

    def voxel_in(self, voxel: list[int]) -> Shape3:
        """Canonical index of a sent voxel."""
        return _whole(apply_affine(np.linalg.inv(self.reorientation.to_file), np.array(voxel)))

    def voxel_out(self, voxel: Shape3) -> list[int]:
        """Sent index of a canonical voxel."""
        return list(_whole(apply_affine(self.reorientation.to_file, np.array(voxel))))

    def point_out(self, point: tuple[float, float, float]) -> list[float]:
        """Sent continuous index of a canonical one."""
        sent = apply_affine(self.reorientation.to_file, np.array(point, np.float64))
        return [round(float(v), 3) for v in sent]

    def positions_in(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Canonical continuous indices, (n, 3), of sent ones; voxel i has its centre at i."""
        return apply_affine(np.linalg.inv(self.reorientation.to_file), positions)

    def positions_out(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sent continuous indices, (n, 3), of canonical ones."""
        return apply_affine(self.reorientation.to_file, positions)

    def axis_in(self, axis: int) -> int:
        """Canonical axis that is the sent array's axis."""
        return self.reorientation.axes.index(axis)

    def axis_out(self, axis: int) -> int:
        """The sent array's axis that is a canonical axis."""
        return self.reorientation.axes[axis]

    def array_in(self, array: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """Canonical view of the sent array or of a block of it."""
        return self.reorientation.apply(array)

    def array_out(self, array: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """Sent view of a canonical array or of a block of it."""
        return self.reorientation.invert(array)


def _carry(matrix: AnyAffine, low: Any, high: Any) -> Box3D:
    ends = apply_affine(matrix, np.array([low, np.subtract(high, 1)]))
    return Box3D(*_whole(ends.min(axis=0)), *_whole(ends.max(axis=0) + 1))


def _whole(values: NDArray[np.float64]) -> Shape3:
    z, y, x = (int(v) for v in np.rint(values))
    return z, y, x
