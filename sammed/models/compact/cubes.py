"""What lies round a 3D box as a cube of samples, and a cube of logits as an object again.

The 3D box always fills the same middle part of the cube, whatever its size in voxels: each axis is
resampled by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammed.imaging.boxes import Box3D
from sammed.imaging.intensity import Window
from sammed.imaging.resampling import bilinear_weights, shrink_weights
from sammed.imaging.volume import Volume
from sammed.models.protocols import VolumeMask

Float = NDArray[np.float32]

BOX_SHARE = 0.75
"""Share of a cube's side that a 3D box fills."""


def widened(low: float, high: float) -> tuple[float, float]:
    """The interval along an axis that the cube covers, in voxel edge coordinates.

    Parameters
    ----------
    low, high
        First and one past the last voxel of the 3D box.
    """
    margin = (high - low) * (1 / BOX_SHARE - 1) / 2
    return low - margin, high + margin


@dataclass(frozen=True)
class Cube:
    """The cube round a 3D box as weights from voxels to samples.

    Attributes
    ----------
    weights
        Along each axis (size, used).
    used
        The voxels that they take.
    """

    weights: tuple[Float, Float, Float]
    used: tuple[slice, slice, slice]

    @classmethod
    def round(
        cls, low: Sequence[float], high: Sequence[float], shape: Sequence[int], size: int
    ) -> Cube:
        """The cube of ``size`` samples a side round a 3D box in an image of that ``shape``."""
        (z, z0, z1), (y, y0, y1), (x, x0, x1) = (
            shrink_weights(*widened(float(a), float(b)), size, n)
            for a, b, n in zip(low, high, shape, strict=True)
        )
        return cls((z, y, x), (slice(z0, z1), slice(y0, y1), slice(x0, x1)))

    @property
    def inside(self) -> NDArray[np.bool_]:
        """(s, s, s), true within the image."""
        z, y, x = (weights.sum(1) > 0.5 for weights in self.weights)
        return np.asarray(z[:, None, None] & y[None, :, None] & x[None, None, :])

    def sample(self, planes: Iterable[Float]) -> Float:
        """Its samples, (s, s, s) float32.

        Parameters
        ----------
        planes
            The used voxels, (y, x) each, one by one: a box may hold most of a large volume.
        """
        z, y, x = self.weights
        return np.asarray(np.tensordot(z, np.stack([y @ p @ x.T for p in planes]), 1), np.float32)


@dataclass(frozen=True)
class BlockView:
    """What a 3D box shows, as a cube whose middle it always fills by `BOX_SHARE`.

    Attributes
    ----------
    image : (s, s, s) float32
        Grey, in [0, 1]; 0 beyond the volume.
    inside : (s, s, s) float32
        1 within the volume, else 0.
    extent, voxels : (3,) float32
        Size of the 3D box (z, y, x), in mm and in voxels.
    """

    image: Float
    inside: Float
    extent: Float
    voxels: Float


def cube_view(volume: Volume, window: Window, block: Box3D, size: int) -> BlockView:
    """What a 3D box shows, as a cube.

    Parameters
    ----------
    volume
        The image; of colours their mean is taken.
    window
        Its mapping to [0, 1].
    block
        The 3D box, in voxels.
    size
        Samples along each side of the cube.
    """
    cube = Cube.round(block.low, block.high, volume.shape, size)
    seen = (window.apply(voxels) for voxels in volume.voxels[cube.used])
    image = cube.sample(plane.mean(-1) if volume.is_colour else plane for plane in seen)
    counts = np.array(block.shape, np.float32)
    extent = counts * np.array(volume.spacing, np.float32)
    return BlockView(image, cube.inside.astype(np.float32), extent, counts)


def from_cube(logits: Float, block: Box3D) -> VolumeMask:
    """Logits on a cube as an object within its 3D box.

    Parameters
    ----------
    logits : (s, s, s) float32
        On the cube of `cube_view`.
    block
        The 3D box.
    """
    size = logits.shape[0]
    weights = []
    for axis in range(3):
        low, high = block.range(axis)
        first, last = widened(low, high)
        centres = np.arange(low, high) + 0.5
        weights.append(bilinear_weights((centres - first) * (size / (last - first)) - 0.5, size))
    z, y, x = weights
    planes = np.matmul(np.matmul(y, logits), x.T)
    return VolumeMask(block, np.tensordot(z, planes, (1, 0)).astype(np.float16))
