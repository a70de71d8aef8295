"""The field: the part of a volume that the network for volumes sees, as a cube of samples.

A field is a block of the canonical grid with edges at any fraction of a voxel, resampled to as many
samples along each axis, whatever its proportions. Two frames appear: *voxels*, edge coordinates of
the canonical grid (voxel ``i`` covers ``[i, i + 1)``), and *samples*, the same on the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammed.imaging.boxes import Box3D
from sammed.imaging.intensity import Window
from sammed.imaging.resampling import bilinear_weights, shrink_weights
from sammed.imaging.volume import Volume
from sammed.models.compact.cubes import Cube
from sammed.models.protocols import VolumeMask

WHOLE_SHARE = 0.7
"""Share of a field's side that a volume fills at least: beyond it there is nothing to see."""

Float = NDArray[np.float32]
Spans = NDArray[np.float64]

FIELD_SIZE = 64
"""Samples along each side, usually; the network takes any multiple of 16."""


@dataclass(frozen=True)
class Field:
    """A block of the canonical grid as a cube of samples.

    Attributes
    ----------
    low, high : (z, y, x)
        Its edges in voxels; they may lie beyond the volume.
    size
        Samples along each side.
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    size: int = FIELD_SIZE

    @classmethod
    def round(
        cls, low: Sequence[float], high: Sequence[float], share: float, size: int = FIELD_SIZE
    ) -> Field:
        """The field in whose middle a block fills a share of each side.

        Parameters
        ----------
        low, high : (z, y, x)
            Edges of the block in voxels.
        share
            In (0, 1].
        size
            Samples along each side.

        Examples
        --------
        >>> Field.round((10, 0, 4), (20, 16, 8), 0.5)
        Field(low=(5.0, -8.0, 2.0), high=(25.0, 24.0, 10.0), size=64)
        """
        first, last = np.array(low, float), np.array(high, float)
        margin = (last - first) * (1 / share - 1) / 2
        return cls.between(first - margin, last + margin, size)

    @classmethod
    def between(
        cls, low: NDArray[np.floating], high: NDArray[np.floating], size: int = FIELD_SIZE
    ) -> Field:
        """The field with these edges, (3,) each, in voxels."""
        (z0, y0, x0), (z1, y1, x1) = low.tolist(), high.tolist()
        return cls((z0, y0, x0), (z1, y1, x1), size)

    @classmethod
    def about(
        cls,
        middle: NDArray[np.floating],
        extents: NDArray[np.floating],
        shape: Sequence[int],
        size: int = FIELD_SIZE,
    ) -> Field:
        """The field about a place, but not much wider than the volume along any axis.

        Parameters
        ----------
        middle, extents : (3,)
            Of the field, in voxels.
        shape
            Of the volume: along axes where the field would show more than that and a margin, it
            shows all of it and a margin.
        size
            Samples along each side.

        Examples
        --------
        >>> field = Field.about(np.array((0.5, 40, 40)), np.array((40, 20, 20)), (1, 90, 90))
        >>> [round(edge, 3) for edge in (*field.low, *field.high)]
        [-0.214, 30.0, 30.0, 1.214, 50.0, 50.0]
        """
        most = np.array(shape) / WHOLE_SHARE
        wide = extents > most
        centre = np.where(wide, np.array(shape) / 2, middle)
        half = np.where(wide, most, extents) / 2
        return cls.between(centre - half, centre + half, size)

    @property
    def step(self) -> NDArray[np.float64]:
        """Voxels from one sample to the next, (3,)."""
        return (np.array(self.high) - np.array(self.low)) / self.size

    def to_samples(self, voxels: NDArray[np.generic] | Sequence[float]) -> NDArray[np.float64]:
        """Positions (..., 3) in voxels as positions in samples; edge coordinates both.

        Examples
        --------
        >>> Field((4.0, 0.0, 0.0), (8.0, 32.0, 64.0), 64).to_samples((6.0, 16.0, 1.0)).tolist()
        [32.0, 32.0, 1.0]
        """
        return np.asarray((np.asarray(voxels, float) - np.array(self.low)) / self.step)

    def spans(self, low: Sequence[float], high: Sequence[float]) -> Spans:
        """A block's edges in samples, (3, 2)."""
        return np.stack((self.to_samples(low), self.to_samples(high)), 1)

    def cube(self, shape: Sequence[int]) -> Cube:
        """How a volume of that shape becomes samples: weights along each axis."""
        (z, z0, z1), (y, y0, y1), (x, x0, x1) = (
            shrink_weights(a, b, self.size, n)
            for a, b, n in zip(self.low, self.high, shape, strict=True)
        )
        return Cube((z, y, x), (slice(z0, z1), slice(y0, y1), slice(x0, x1)))

    def block(self, shape: Sequence[int]) -> Box3D:
        """The voxels of a volume whose centres lie in the field; empty if there are none."""
        low = [int(np.ceil(a - 0.5)) for a in self.low]
        high = [int(np.ceil(b - 0.5)) for b in self.high]
        return Box3D(*low, *high).clip((shape[0], shape[1], shape[2]))

    def back(self, logits: Float, block: Box3D) -> NDArray[np.float16]:
        """Logits on the field as logits on voxels, interpolated.

        Parameters
        ----------
        logits : (s, s, s) float32
            On the field's samples.
        block
            Which voxels; beyond the outermost samples' centres these count.

        Returns
        -------
        (z, y, x) float16
        """
        z, y, x = (
            bilinear_weights(
                (np.arange(*block.range(axis)) + 0.5 - self.low[axis]) / self.step[axis] - 0.5,
                self.size,
            )
            for axis in range(3)
        )
        planes = np.matmul(np.matmul(y, logits), x.T)
        return np.asarray(np.tensordot(z, planes, (1, 0)), np.float16)


def field_image(volume: Volume, window: Window, field: Field) -> Float:
    """Brightness on a field, (s, s, s) float32 in [0, 1]; 0 beyond the volume.

    Parameters
    ----------
    volume
        The image; of colours their mean is taken.
    window
        Its mapping to [0, 1].
    field
        Where.
    """
    cube = field.cube(volume.shape)
    if 0 in volume.voxels[cube.used].shape:
        return np.zeros((field.size,) * 3, np.float32)
    seen = (window.apply(voxels) for voxels in volume.voxels[cube.used])
    return cube.sample(plane.mean(-1) if volume.is_colour else plane for plane in seen)


def field_mask(mask: VolumeMask, field: Field, shape: Sequence[int]) -> Float:
    """Logits of an object on a field, (s, s, s) float32; `ABSENT` where it was not looked for.

    Parameters
    ----------
    mask
        A former answer.
    field
        Where.
    shape
        Of the volume.
    """
    cube = field.cube(shape)
    on = Box3D(*(s.start for s in cube.used), *(s.stop for s in cube.used))
    both = on.intersection(mask.block)
    if on.is_empty or both.is_empty:
        return np.full((field.size,) * 3, ABSENT, np.float32)
    values = np.full(on.shape, ABSENT, np.float32)
    values[both.slices_in(on)] = mask.logits[both.slices_in(mask.block)]
    total = [weights.sum(1) for weights in cube.weights]
    known = total[0][:, None, None] * total[1][None, :, None] * total[2][None, None]
    return np.asarray(cube.sample(values) + (1 - known) * ABSENT, np.float32)


ABSENT = -8.0
"""Logit of what a former answer does not reach."""
