"""A grid in a body, and what shapes of a body have in common.

Places are (x, y, z) in mm of the body: to the left, to the back, upwards, as in the published
mathematical phantoms (Snyder et al. 1978, MIRD 5 revised; Cristy and Eckerman 1987, ORNL/TM-8381).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sammed.synthesis.fields import Array, smooth_noise

Points = NDArray[np.float64]
Part = tuple[slice, slice, slice]
Place = tuple[float, float, float]

FAR = np.float32(-1e4)
"""Field of what is nowhere near."""

WAVES = (110.0, 45.0, 22.0)
"""Millimetres between bumps of the fields of noise."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A grid in a body.

    Attributes
    ----------
    x, y, z : (z, y, x) float32
        Where each voxel is, in mm of the body, warped.
    axes
        The same of (z, y, x) unwarped, rising.
    reach
        Farthest that any is warped.
    pixel
        Size of a voxel in mm of the body.
    waves
        Fields of noise of unit deviation, see `WAVES`.
    """

    x: Array
    y: Array
    z: Array
    axes: tuple[Points, Points, Points]
    reach: float
    pixel: float
    waves: tuple[Array, ...]

    @property
    def whole(self) -> Part:
        """All of it."""
        z, y, x = (slice(0, len(a)) for a in self.axes)
        return z, y, x

    def around(self, low: Points, high: Points) -> Part | None:
        """Voxels that may lie in a box (x, y, z) of the body; ``None``: there are none."""
        margin = self.reach + 2 * self.pixel
        part = []
        for axis, a, b in zip(self.axes, low[::-1] - margin, high[::-1] + margin, strict=True):
            part.append(slice(int(np.searchsorted(axis, a)), int(np.searchsorted(axis, b))))
        z, y, x = part
        return (z, y, x) if all(s.stop > s.start for s in part) else None

    def at(self, part: Part) -> tuple[Array, Array, Array]:
        """Where the voxels of a part are."""
        return self.x[part], self.y[part], self.z[part]


def frame_of(
    rng: np.random.Generator,
    axes: tuple[Points, Points, Points],
    pixel: float,
    warp: float,
) -> Frame:
    """A grid whose places are moved at random by so many mm."""
    z, y, x = axes
    shape = len(z), len(y), len(x)
    extent = [float(np.ptp(a)) for a in axes]

    def noise(wave: float) -> Array:
        cells = [max(1, min(n // 3, round(e / wave))) for n, e in zip(shape, extent, strict=True)]
        return smooth_noise(rng, shape, (cells[0], cells[1], cells[2]))

    moved = [np.float32(warp) * noise(WAVES[0]) for _ in range(3)]
    plain = z[:, None, None], y[:, None], x
    at = [
        np.asarray(p.astype(np.float32) + m, np.float32) for p, m in zip(plain, moved, strict=True)
    ]
    reach = float(max(np.abs(m).max() for m in moved))
    return Frame(at[2], at[1], at[0], axes, reach, pixel, tuple(noise(w) for w in WAVES))


class Shape(Protocol):
    """What has a field."""

    def bounds(self) -> tuple[Points, Points]:
        """A box (x, y, z) that holds it."""

    def field(self, frame: Frame, part: Part) -> Array:
        """About the distance to its surface, in mm, positive inside."""

    def varied(self, rng: np.random.Generator, move: float, size: float) -> Shape:
        """The same elsewhere and larger or smaller: deviations in mm and as a share."""

    def mirrored(self) -> Shape:
        """The same on the other side."""
