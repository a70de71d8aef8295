"""Shapes of a body: blobs, tubes, columns, drums, and what is made of them.

A shape's field is about the distance to its surface, positive inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from sammed.synthesis.fields import Array
from sammed.synthesis.torso_frame import FAR, Frame, Part, Place, Points, Shape

STRIDE = 9.0
"""Millimetres between points of a tube, at most."""


def _moves(rng: np.random.Generator, move: float) -> Points:
    return rng.normal(0, 1, 3) * move


@dataclass(frozen=True, eq=False)
class Blob:
    """A bumpy ellipsoid.

    Attributes
    ----------
    centre, radii
        (x, y, z) in mm.
    turn
        Rotation vector in degrees.
    bumps
        Height of its bumps as a share of the least radius.
    bend
        How much its second axis is bent along the first, in mm at the end of it.
    """

    centre: Place
    radii: Place
    turn: Place = (0.0, 0.0, 0.0)
    bumps: float = 0.12
    bend: float = 0.0

    def bounds(self) -> tuple[Points, Points]:
        """A box (x, y, z) that holds it."""
        away = max(self.radii) * (1 + self.bumps) + abs(self.bend) if any(self.turn) else 0.0
        reach = np.maximum(np.array(self.radii) * (1 + 2 * self.bumps), away)
        return np.array(self.centre) - reach, np.array(self.centre) + reach

    def field(self, frame: Frame, part: Part) -> Array:
        """About the distance to its surface, in mm, positive inside."""
        away = [p - np.float32(c) for p, c in zip(frame.at(part), self.centre, strict=True)]
        if any(self.turn):
            rows = Rotation.from_rotvec(self.turn, degrees=True).as_matrix().T.astype(np.float32)
            away = [r[0] * away[0] + r[1] * away[1] + r[2] * away[2] for r in rows]
        if self.bend:
            away[1] = away[1] + np.float32(self.bend / self.radii[0] ** 2) * away[0] ** 2
        scaled = [a / np.float32(r) for a, r in zip(away, self.radii, strict=True)]
        level = np.sqrt(sum(s * s for s in scaled)) + np.float32(1e-3)
        slope = np.sqrt(
            sum((s / np.float32(r)) ** 2 for s, r in zip(scaled, self.radii, strict=True))
        ) + np.float32(1e-6)
        field = level * (1 - level) / slope
        least = min(self.radii)
        if self.bumps:
            wave = frame.waves[0 if least > 45 else 1 if least > 18 else 2][part]
            field = field + np.float32(self.bumps * least) * wave
        return np.asarray(field, np.float32)

    def varied(self, rng: np.random.Generator, move: float, size: float) -> Blob:
        """The same elsewhere and larger or smaller."""
        x, y, z = np.array(self.centre) + _moves(rng, move)
        grown = float(np.exp(rng.normal(0, size)))
        a, b, c = np.array(self.radii) * grown * np.exp(rng.normal(0, size / 2, 3))
        turn = np.array(self.turn) + rng.normal(0, 60 * size, 3)
        return replace(self, centre=(x, y, z), radii=(a, b, c), turn=tuple(turn))

    def mirrored(self) -> Blob:
        """The same on the other side."""
        (x, y, z), (a, b, c) = self.centre, self.turn
        return replace(self, centre=(-x, y, z), turn=(a, -b, -c))


@dataclass(frozen=True, eq=False)
class Tube:
    """A winding tube: points, and how thick it is at each.

    Attributes
    ----------
    points : (n, 4)
        (x, y, z, radius) in mm, of which a smooth curve is laid.
    folds
        Depth of its haustra as a share of the radius.
    """

    points: Points
    folds: float = 0.0

    @classmethod
    def through(cls, *points: tuple[float, float, float, float], folds: float = 0.0) -> Tube:
        """A tube through points (x, y, z, radius)."""
        return cls(np.array(points, float), folds)

    def course(self) -> Points:
        """Points a `STRIDE` apart on the curve, (m, 4)."""
        steps = np.linalg.norm(np.diff(self.points[:, :3], axis=0), axis=1)
        walked = np.r_[0, np.cumsum(np.maximum(steps, 1e-3))]
        stride = min(STRIDE, 1.5 * float(self.points[:, 3].min()) + 2)
        at = np.linspace(0, walked[-1], max(2, round(walked[-1] / stride) + 1))
        course = (
            PchipInterpolator(walked, self.points)(at)
            if len(walked) > 2
            else np.stack([np.interp(at, walked, column) for column in self.points.T], 1)
        )
        if self.folds:
            course[:, 3] *= 1 + self.folds * np.where(np.arange(len(at)) % 4 < 2, 1, -1)
        return np.asarray(course)

    def bounds(self) -> tuple[Points, Points]:
        """A box (x, y, z) that holds it."""
        reach = self.points[:, 3:].max() * (1 + self.folds)
        return self.points[:, :3].min(0) - reach, self.points[:, :3].max(0) + reach

    def field(self, frame: Frame, part: Part) -> Array:
        """About the distance to its surface, in mm, positive inside."""
        return self.traced(frame, part)[0]

    def traced(self, frame: Frame, part: Part) -> tuple[Array, NDArray[np.int32]]:
        """The field, and which stretch of the course each voxel is nearest to."""
        best = np.full(frame.x[part].shape, FAR)
        which = np.zeros(best.shape, np.int32)
        course = self.course()
        for n, (one, other) in enumerate(pairwise(course)):
            reach = max(one[3], other[3]) + 2 * frame.pixel
            ends = np.stack((one[:3], other[:3]))
            found = frame.around(ends.min(0) - reach, ends.max(0) + reach)
            if found is None:
                continue
            inside = [
                slice(max(f.start, p.start), min(f.stop, p.stop))
                for f, p in zip(found, part, strict=True)
            ]
            if any(s.stop <= s.start for s in inside):
                continue
            near = inside[0], inside[1], inside[2]
            here = tuple(
                slice(s.start - p.start, s.stop - p.start) for s, p in zip(near, part, strict=True)
            )
            field = _capsule(frame.at(near), one, other)
            better = field > best[here]
            best[here] = np.where(better, field, best[here])
            which[here][better] = n
        return best, which

    def varied(self, rng: np.random.Generator, move: float, size: float) -> Tube:
        """The same elsewhere and larger or smaller."""
        points = self.points.copy()
        points[:, :3] += _moves(rng, move) + rng.normal(0, move / 3, (len(points), 3))
        points[:, 3] *= np.exp(rng.normal(0, size)) * np.exp(rng.normal(0, size / 2, len(points)))
        return replace(self, points=points)

    def mirrored(self) -> Tube:
        """The same on the other side."""
        return replace(self, points=self.points * (-1, 1, 1, 1))


def _capsule(at: tuple[Array, Array, Array], one: Points, other: Points) -> Array:
    away = [p - np.float32(c) for p, c in zip(at, one, strict=False)]
    along = (other[:3] - one[:3]).astype(np.float32)
    length = max(float(along @ along), 1e-6)
    share = sum(a * c for a, c in zip(away, along, strict=True)) * np.float32(1 / length)
    share = np.clip(share, 0, 1)
    squared = sum((a - share * c) ** 2 for a, c in zip(away, along, strict=True))
    radius = np.float32(one[3]) + share * np.float32(other[3] - one[3])
    return np.asarray(radius - np.sqrt(squared), np.float32)


@dataclass(frozen=True, eq=False)
class Column:
    """Ellipses above each other.

    Attributes
    ----------
    knots : (n, 5)
        (z, x, y, radius in x, radius in y), by rising z.
    power
        Of the ellipses: 2, or more where they are squarer.
    turn
        Degrees that they are turned by about their middles.
    bumps
        In mm.
    """

    knots: Points
    power: float = 2.0
    turn: float = 0.0
    bumps: float = 0.0

    @classmethod
    def of(
        cls, *knots: tuple[float, float, float, float, float], turn: float = 0.0, bumps: float = 0.0
    ) -> Column:
        """A column through ellipses (z, x, y, radius in x, radius in y)."""
        return cls(np.array(sorted(knots), float), turn=turn, bumps=bumps)

    def bounds(self) -> tuple[Points, Points]:
        """A box (x, y, z) that holds it."""
        z, x, y, a, b = self.knots.T
        wide = np.maximum(a, b) if self.turn else a
        deep = np.maximum(a, b) if self.turn else b
        low = (x - wide).min() - self.bumps, (y - deep).min() - self.bumps, z[0]
        return np.array(low), np.array(
            ((x + wide).max() + self.bumps, (y + deep).max() + self.bumps, z[-1])
        )

    def field(self, frame: Frame, part: Part) -> Array:
        """About the distance to its surface, in mm, positive inside."""
        x, y, z = frame.at(part)
        heights, *columns = self.knots.T
        cx, cy, a, b = (np.interp(z, heights, c).astype(np.float32) for c in columns)
        u, v = x - cx, y - cy
        if self.turn:
            cos, sin = (
                np.float32(np.cos(np.radians(self.turn))),
                np.float32(np.sin(np.radians(self.turn))),
            )
            u, v = cos * u + sin * v, cos * v - sin * u
        u, v = np.abs(u / a) + np.float32(1e-4), np.abs(v / b) + np.float32(1e-4)
        if self.power == 2:
            level = np.sqrt(u * u + v * v)
            slope = np.hypot(u / a, v / b) / level
        else:
            p = np.float32(self.power)
            up, vp = u ** (p - 1), v ** (p - 1)
            level = (up * u + vp * v) ** (1 / p)
            slope = np.hypot(up / a, vp / b) * level ** (1 - p)
        field = (1 - level) / slope
        if self.bumps:
            field = field + np.float32(self.bumps) * frame.waves[1][part]
        ends = np.minimum(z - np.float32(heights[0]), np.float32(heights[-1]) - z)
        return np.asarray(np.minimum(field, ends), np.float32)

    def varied(self, rng: np.random.Generator, move: float, size: float) -> Column:
        """The same elsewhere and larger or smaller."""
        knots = self.knots.copy()
        knots[:, 1:3] += _moves(rng, move)[:2] + rng.normal(0, move / 3, (len(knots), 2))
        knots[:, 3:] *= np.exp(rng.normal(0, size, 2))
        return replace(self, knots=knots)

    def mirrored(self) -> Column:
        """The same on the other side."""
        return replace(self, knots=self.knots * (1, -1, 1, 1, 1), turn=-self.turn)


@dataclass(frozen=True, eq=False)
class Drum:
    """A flat cylinder with rounded edges, tilted forwards or back.

    Attributes
    ----------
    centre
        (x, y, z) in mm.
    radii
        (x, y) of its ellipse, and half its height.
    tilt
        How much higher its back is than its middle, as a slope.
    """

    centre: Place
    radii: Place
    tilt: float = 0.0

    def bounds(self) -> tuple[Points, Points]:
        """A box (x, y, z) that holds it."""
        reach = np.add(self.radii, (0, 0, abs(self.tilt) * self.radii[1]))
        return np.array(self.centre) - reach, np.array(self.centre) + reach

    def field(self, frame: Frame, part: Part) -> Array:
        """About the distance to its surface, in mm, positive inside."""
        x, y, z = (p - np.float32(c) for p, c in zip(frame.at(part), self.centre, strict=True))
        a, b, h = (np.float32(r) for r in self.radii)
        level = np.sqrt((x / a) ** 2 + (y / b) ** 2)
        return np.asarray(
            np.minimum((1 - level) * (a + b) / 2, h - np.abs(z - np.float32(self.tilt) * y))
        )

    def varied(self, rng: np.random.Generator, move: float, size: float) -> Drum:
        """The same elsewhere and larger or smaller."""
        x, y, z = np.array(self.centre) + _moves(rng, move)
        a, b, h = np.array(self.radii) * np.exp(rng.normal(0, size, 3))
        return replace(self, centre=(x, y, z), radii=(a, b, h))

    def mirrored(self) -> Drum:
        """The same on the other side."""
        x, y, z = self.centre
        return replace(self, centre=(-x, y, z))


@dataclass(frozen=True, eq=False)
class Union:
    """What is in any of some shapes, and in none of others."""

    shapes: tuple[Shape, ...]
    without: tuple[Shape, ...] = ()

    def bounds(self) -> tuple[Points, Points]:
        """A box (x, y, z) that holds it."""
        low, high = zip(*(shape.bounds() for shape in self.shapes), strict=True)
        return np.min(low, 0), np.max(high, 0)

    def field(self, frame: Frame, part: Part) -> Array:
        """About the distance to its surface, in mm, positive inside."""
        found = np.full(frame.x[part].shape, FAR)
        for shape in self.shapes:
            for here, near in _common(frame, shape, part):
                found[here] = np.maximum(found[here], shape.field(frame, near))
        for shape in self.without:
            for here, near in _common(frame, shape, part):
                found[here] = np.minimum(found[here], -shape.field(frame, near))
        return found

    def varied(self, rng: np.random.Generator, move: float, size: float) -> Union:
        """The same elsewhere and larger or smaller."""
        state = int(rng.integers(1 << 31))  # all parts alike

        def alike(shape: Shape) -> Shape:
            return shape.varied(np.random.default_rng(state), move, size)

        return Union(tuple(map(alike, self.shapes)), tuple(map(alike, self.without)))

    def mirrored(self) -> Union:
        """The same on the other side."""
        shapes, without = ((s.mirrored() for s in some) for some in (self.shapes, self.without))
        return Union(tuple(shapes), tuple(without))


@dataclass(frozen=True, eq=False)
class Sliced:
    """The part of a shape that is on one side of planes.

    Attributes
    ----------
    shape
        The whole.
    planes
        A place on each, and the direction (x, y, z) of the side that is left.
    """

    shape: Shape
    planes: tuple[tuple[Place, Place], ...]

    def bounds(self) -> tuple[Points, Points]:
        """A box (x, y, z) that holds it."""
        return self.shape.bounds()

    def field(self, frame: Frame, part: Part) -> Array:
        """About the distance to its surface, in mm, positive inside."""
        found = self.shape.field(frame, part)
        at = frame.at(part)
        for place, side in self.planes:
            unit = np.array(side) / np.linalg.norm(side)
            away = sum(
                np.float32(u) * (p - np.float32(c)) for p, c, u in zip(at, place, unit, strict=True)
            )
            found = np.minimum(found, np.asarray(away))
        return np.asarray(found, np.float32)

    def varied(self, rng: np.random.Generator, move: float, size: float) -> Sliced:
        """The same elsewhere and larger or smaller."""
        return replace(self, shape=self.shape.varied(rng, move, size))

    def mirrored(self) -> Sliced:
        """The same on the other side."""
        planes = tuple(((-p[0], *p[1:]), (-s[0], *s[1:])) for p, s in self.planes)
        return Sliced(self.shape.mirrored(), planes)


def _common(frame: Frame, shape: Shape, part: Part) -> Iterator[tuple[Part, Part]]:
    """Where a shape is within a part, in it and in the frame."""
    found = frame.around(*shape.bounds())
    if found is None:
        return
    z, y, x = (
        slice(max(f.start, p.start), min(f.stop, p.stop)) for f, p in zip(found, part, strict=True)
    )
    if all(s.stop > s.start for s in (z, y, x)):
        low = [p.start for p in part]
        here = [slice(s.start - a, s.stop - a) for s, a in zip((z, y, x), low, strict=True)]
        yield (here[0], here[1], here[2]), (z, y, x)
