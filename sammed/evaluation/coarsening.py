"""A scan with larger voxels, as a study of resolution needs it; masks to its grid and back.

A voxel of the coarser grid is the mean of what lies in it, as a scanner with larger voxels would
show it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammed.imaging.geometry import Shape3
from sammed.imaging.volume import Volume

Bool3 = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Coarser:
    """A coarser grid over a volume.

    Parameters
    ----------
    shape
        Of the volume, (z, y, x).
    factors
        How many times as large voxels are along each axis, from 1; the grid keeps its extent, so
        that the true factor is the nearest one that gives whole voxels.
    """

    shape: Shape3
    factors: tuple[float, float, float]

    @property
    def coarse(self) -> Shape3:
        """Extents of the coarser grid."""
        z, y, x = (max(1, round(n / f)) for n, f in zip(self.shape, self.factors, strict=True))
        return z, y, x

    def volume(self, volume: Volume) -> Volume:
        """The volume on the coarser grid; numbers are float32, colours stay uint8."""
        if self.coarse == self.shape:
            return volume
        means = self._means(volume.voxels)
        voxels = np.rint(means).astype(np.uint8) if volume.is_colour else means
        affine = volume.affine.copy()
        for axis, (n, m) in enumerate(zip(self.shape, self.coarse, strict=True)):
            affine[:3, 3] += affine[:3, axis] * (n / m - 1) / 2
            affine[:3, axis] *= n / m
        return Volume.from_array(voxels, affine, modality=volume.modality, windows=volume.windows)

    def there(self, mask: Bool3) -> Bool3:
        """A mask on the coarser grid: voxels at least half of which it fills.

        Where that leaves nothing, the voxel of which it fills most, since prompts need something.
        """
        share = self._means(mask)
        found = share >= min(0.5, float(share.max()))
        return np.asarray(found if mask.any() else np.zeros(self.coarse, bool))

    def back(self, mask: Bool3) -> Bool3:
        """A mask of the coarser grid on the volume's: every voxel has what its middle lies in."""
        index = [
            np.minimum(((np.arange(n) + 0.5) * m / n).astype(int), m - 1)
            for n, m in zip(self.shape, self.coarse, strict=True)
        ]
        return np.asarray(mask[np.ix_(*index)])

    def _means(self, values: NDArray[np.generic]) -> NDArray[np.float32]:
        found = values.astype(np.float32)
        for axis, (n, m) in enumerate(zip(self.shape, self.coarse, strict=True)):
            if n != m:
                found = np.moveaxis(np.tensordot(shares(n, m), found, (1, axis)), 0, axis)
        return np.ascontiguousarray(found)


def shares(fine: int, coarse: int) -> NDArray[np.float32]:
    """(coarse, fine) weights of the mean over equal cells; rows sum to 1.

    Examples
    --------
    >>> (3 * shares(3, 2)).round(3).tolist()
    [[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]]
    """
    edges = np.linspace(0, fine, coarse + 1)
    at = np.arange(fine)
    upper, lower = np.minimum(edges[1:, None], at + 1), np.maximum(edges[:-1, None], at)
    return np.asarray(np.clip(upper - lower, 0, None) * coarse / fine, np.float32)
