"""What lies round a 3D box as a cube of samples, and a cube of logits as an object again.

The 3D box always fills the same middle part of the cube, whatever its size in voxels: each axis is
resampled by itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sammed.boxes import Box3D
from sammed.fusion import ObjectVolume
from sammed.intensity import Window
from sammed.models.base import BOX_SHARE, BlockModel, BlockView, SliceModel
from sammed.resampling import bilinear_weights, shrink_weights
from sammed.volume import Volume

Float = NDArray[np.float32]


def widened(low: float, high: float) -> tuple[float, float]:
    """The interval along an axis that the cube covers, in voxel edge coordinates.

    Parameters
    ----------
    low, high
        First and one past the last voxel of the 3D box.
    """
    margin = (high - low) * (1 / BOX_SHARE - 1) / 2
    return low - margin, high + margin


def sees_blocks(model: SliceModel, volume: Volume) -> bool:
    """Whether a model sees 3D boxes of a volume as a whole; pictures have none."""
    return isinstance(model, BlockModel) and min(volume.shape) > 1


def locate(model: SliceModel, volume: Volume, window: Window, block: Box3D) -> ObjectVolume | None:
    """What a model finds in a 3D box as a whole.

    Parameters
    ----------
    model
        Any model.
    volume, window, block
        As `cube_view` takes them.

    Returns
    -------
    ObjectVolume or None
        Within the 3D box; ``None`` if the model cannot see it so.
    """
    if not (isinstance(model, BlockModel) and sees_blocks(model, volume)):
        return None
    view = cube_view(volume, window, block, model.spec.block_size)
    return from_cube(model.locate(view), block)


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
    weights, used = [], []
    for axis, n in enumerate(volume.shape):
        matrix, first, last = shrink_weights(*widened(*block.range(axis)), size, n)
        weights.append(matrix)
        used.append(slice(first, last))
    z, y, x = weights
    planes = []
    for voxels in volume.voxels[tuple(used)]:  # one by one: a box may hold most of a large volume
        plane = window.apply(voxels)
        planes.append(y @ (plane.mean(-1) if volume.is_colour else plane) @ x.T)
    reached = [(matrix.sum(1) > 0.5).astype(np.float32) for matrix in weights]
    inside = reached[0][:, None, None] * reached[1][None, :, None] * reached[2][None, None, :]
    counts = np.array(block.shape, np.float32)
    extent = counts * np.array(volume.spacing, np.float32)
    image = np.asarray(np.tensordot(z, np.stack(planes), (1, 0)), np.float32)
    return BlockView(image, inside, extent, counts)


def from_cube(logits: Float, block: Box3D) -> ObjectVolume:
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
    return ObjectVolume(block, np.tensordot(z, planes, (1, 0)).astype(np.float16))
