"""Implicit shapes: a field, roughly the signed distance, positive inside.

Coordinates are normalised: the slab's plane spans [0, 1], z is in the same unit, 0 in the middle.
Each shape is computed on the small block of the grid that it can reach.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sammed.synthesis.fields import Array, NoisePool, smooth_noise

Block = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Shape:
    """An implicit shape on a block of the grid.

    Attributes
    ----------
    block
        Where on the slab's grid the field lives; outside it the shape is empty.
    field : block float32
        About the signed distance to the surface in normalised units, positive inside.
    """

    block: Block
    field: Array

    def moved(self, amount: float) -> Shape:
        """The shape grown by ``amount`` (shrunk if negative)."""
        return Shape(self.block, self.field + np.float32(amount))

    def minus(self, other: Array) -> Shape:
        """What is left when ``other``, a field on the same block, is cut out."""
        return Shape(self.block, np.minimum(self.field, -other))

    def within(self, other: Array) -> Shape:
        """What both have in common; ``other`` is a field on the same block."""
        return Shape(self.block, np.minimum(self.field, other))

    @property
    def empty(self) -> bool:
        """Whether no voxel centre lies inside."""
        return self.field.size == 0 or not bool((self.field > 0).any())


class Space:
    """The warped coordinates of one slab, in which shapes are drawn."""

    def __init__(
        self,
        rng: np.random.Generator,
        shape: tuple[int, int, int],
        slice_step: float,
        warp: float,
    ) -> None:
        """Lay out a grid of ``shape`` whose slices are ``slice_step`` plane widths apart."""
        depth, height, width = shape
        self.rng = rng
        self.shape = shape
        self.slice_step = slice_step
        self.px = 1.0 / width
        self.pool = NoisePool(rng, shape, depth * slice_step)
        self.z = ((np.arange(depth) - (depth - 1) / 2) * slice_step).astype(np.float32)
        rows = ((np.arange(height) + 0.5) / height).astype(np.float32)
        cols = ((np.arange(width) + 0.5) / width).astype(np.float32)
        cells = int(rng.integers(2, 6))
        z_cells = max(1, min(depth, round(cells * depth * slice_step)))
        bend = (z_cells, cells, cells)
        self.reach = 2.5 * warp
        self.y = rows[None, :, None] + np.float32(warp) * smooth_noise(rng, shape, bend)
        self.x = cols[None, None, :] + np.float32(warp) * smooth_noise(rng, shape, bend)

    def block(self, centre: tuple[float, float, float], reach: float, reach_z: float) -> Block:
        """The part of the grid within ``reach`` of a centre (z, y, x)."""
        depth, height, width = self.shape
        zc, yc, xc = centre
        k = (zc / self.slice_step) + (depth - 1) / 2
        dk = reach_z / self.slice_step + 1
        r = reach + self.reach
        return (
            slice(int(np.clip(np.floor(k - dk), 0, depth)), int(np.clip(k + dk + 1, 0, depth))),
            slice(
                int(np.clip((yc - r) * height, 0, height)),
                int(np.clip((yc + r) * height + 1, 0, height)),
            ),
            slice(
                int(np.clip((xc - r) * width, 0, width)),
                int(np.clip((xc + r) * width + 1, 0, width)),
            ),
        )

    def noise(self, block: Block, frequency: float) -> Array:
        """Noise with about ``frequency`` bumps across the slab, on a block."""
        return self.pool.take(frequency)[block]


def blob(
    space: Space,
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
    *,
    angle: float = 0.0,
    power: int = 2,
    lean: tuple[float, float] = (0.0, 0.0),
    bumps: float = 0.1,
    frequency: float = 2.0,
) -> Shape:
    """An ellipsoid (``power`` 2) or rounded box (4) with a bumpy surface.

    Parameters
    ----------
    space
        Coordinates of the slab.
    centre, radii
        (z, y, x), normalised.
    angle
        Turn within the plane, radians.
    power
        Exponent of the norm.
    lean
        Shift of the centre (y, x) for each unit of z: an oblique object.
    bumps
        Height of the surface's noise as a share of the smaller in-plane radius.
    frequency
        Bumps along the object, about; scaled by its size.
    """
    rz, ry, rx = radii
    large, small = max(ry, rx), min(ry, rx)
    reach = large * (1.15 + 2.2 * bumps) + rz * max(abs(lean[0]), abs(lean[1]))
    block = space.block(centre, reach, rz * (1 + bumps))
    z = space.z[block[0]][:, None, None] - np.float32(centre[0])
    y = space.y[block] - np.float32(centre[1]) - np.float32(lean[0]) * z
    x = space.x[block] - np.float32(centre[2]) - np.float32(lean[1]) * z
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u = (cos * y + sin * x) / np.float32(ry)
    v = (cos * x - sin * y) / np.float32(rx)
    w = z / np.float32(rz)
    squares = u * u, v * v, w * w
    if power == 4:
        distance = np.sqrt(np.sqrt(sum(s * s for s in squares)))
    else:
        distance = np.sqrt(sum(squares))
    field = np.float32(small) * (np.float32(1.0) - distance)
    if bumps > 0 and field.size:
        wave = space.noise(block, max(2.0, frequency * 0.5 / large))
        field = field + np.float32(bumps * small) * wave
    return Shape(block, np.asarray(field, np.float32))


def random_blob(
    space: Space,
    centre: tuple[float, float, float],
    size: float,
    *,
    roundness: float = 0.5,
    bumps: float | None = None,
) -> Shape:
    """A blob of about this radius: stretched, turned, leaning, more or less bumpy."""
    rng = space.rng
    stretch = float(np.exp(rng.normal(0.0, roundness * 0.6)))
    stretch = float(np.clip(stretch, 0.35, 2.8))
    root = stretch**0.5
    depth = float(size * np.exp(rng.normal(0.1, 0.45)))
    if bumps is None:
        bumps = float(rng.choice((0.0, 0.06, 0.14, 0.25), p=(0.2, 0.35, 0.3, 0.15)))
    return blob(
        space,
        centre,
        (depth, size * root, size / root),
        angle=float(rng.uniform(0, np.pi)),
        power=4 if rng.random() < 0.15 else 2,
        lean=(float(rng.normal(0, 0.25)), float(rng.normal(0, 0.25))),
        bumps=bumps,
        frequency=float(rng.uniform(1.0, 4.0)),
    )


def tube(
    space: Space,
    path: Array,
    radii: Array,
) -> Shape:
    """A tube along a path of points, as thick as ``radii`` says at each of them.

    Parameters
    ----------
    space
        Coordinates of the slab.
    path : (n, 3) float32
        (z, y, x) points, normalised, dense against the radius.
    radii : (n,) float32
        Radius at each point.
    """
    low, high = path.min(0), path.max(0)
    centre = (low + high) / 2
    reach = float(max(high[1] - low[1], high[2] - low[2]) / 2 + radii.max())
    reach_z = float((high[0] - low[0]) / 2 + radii.max())
    block = space.block((float(centre[0]), float(centre[1]), float(centre[2])), reach, reach_z)
    z = space.z[block[0]][:, None, None]
    y, x = space.y[block], space.x[block]
    field = np.full(y.shape, -1.0, np.float32)
    for point, radius in zip(path, radii, strict=True):
        distance = np.sqrt((z - point[0]) ** 2 + (y - point[1]) ** 2 + (x - point[2]) ** 2)
        np.maximum(field, radius - distance, out=field)
    return Shape(block, field)


def column(
    space: Space,
    centre: tuple[float, float],
    radius: float,
    *,
    lean: tuple[float, float],
    bend: float,
    squash: float = 1.0,
    bumps: float = 0.05,
    taper: float = 0.0,
) -> Shape:
    """A tube that crosses the whole slab, its axis leaning and bending.

    Parameters
    ----------
    space
        Coordinates of the slab.
    centre
        (y, x) of the axis in the middle of the slab.
    radius
        In the middle of the slab.
    lean
        Shift of the axis (y, x) for each unit of z.
    bend
        Amplitude of the axis' wave, normalised.
    squash
        Ratio of the two diameters of the cross-section.
    bumps, taper
        Relative noise of the radius, and its relative change for each unit of z.
    """
    depth = space.shape[0]
    half = (depth / 2) * space.slice_step
    reach = radius * (1.3 + squash) + half * max(abs(lean[0]), abs(lean[1])) + 2 * bend
    block = space.block((0.0, *centre), reach, half + 1.0)
    z = space.z[block[0]][:, None, None]
    wave = np.float32(bend) * np.sin(z * np.float32(12.0) + np.float32(centre[0] * 40))
    y = space.y[block] - np.float32(centre[0]) - np.float32(lean[0]) * z - wave
    x = (space.x[block] - np.float32(centre[1]) - np.float32(lean[1]) * z) / np.float32(squash)
    size = np.float32(radius) * np.clip(1 + np.float32(taper) * z, 0.1, 2.0)
    field = size - np.sqrt(y * y + x * x)
    if bumps > 0 and field.size:
        field = field + np.float32(bumps * radius) * space.noise(block, 0.8 / radius)
    return Shape(block, np.asarray(field, np.float32))


def whole(space: Space, field: Array) -> Shape:
    """A field over the whole slab as a shape."""
    depth, height, width = space.shape
    return Shape((slice(0, depth), slice(0, height), slice(0, width)), field)
