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
    seen = window.apply(volume.voxels[tuple(used)])
    if seen.ndim == 4:
        seen = seen.mean(-1)
    z, y, x = ((m.sum(1) > 0.5).astype(np.float32) for m in weights)
    inside = z[:, None, None] * y[None, :, None] * x[None, None, :]
    voxels = np.array(block.shape, np.float32)
    return BlockView(
        _resampled(weights, seen), inside, voxels * np.array(volume.spacing, np.float32), voxels
    )


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
    return ObjectVolume(block, _resampled(weights, logits).astype(np.float16))


def _resampled(weights: list[Float], volume: Float) -> Float:
    """A volume with each axis multiplied by its (out, in) matrix."""
    z, y, x = weights
    planes = np.matmul(np.matmul(y, volume), x.T)
    return np.asarray(np.tensordot(z, planes, (1, 0)), np.float32)
