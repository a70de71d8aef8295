"""What pictures for the dense network are drawn on: a plane with coordinates, noise and blobs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sammed.synthesis.fields import Array, smooth_noise

Labels2 = NDArray[np.int32]
Mask2 = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Plane:
    """The grid of a picture; its shorter side goes from -1 to 1.

    Attributes
    ----------
    rng
        Source of randomness.
    height, width
        In pixels.
    """

    rng: np.random.Generator
    height: int
    width: int

    @cached_property
    def short(self) -> float:
        """Half the shorter side, in pixels: what coordinates are given in."""
        return min(self.height, self.width) / 2

    @cached_property
    def y(self) -> Array:
        """Downwards, (h, 1)."""
        return _middle(self.height, self.short)[:, None]

    @cached_property
    def x(self) -> Array:
        """To the right, (1, w)."""
        return _middle(self.width, self.short)[None, :]

    @property
    def reach(self) -> tuple[float, float]:
        """Largest |y| and |x|."""
        return self.height / 2 / self.short, self.width / 2 / self.short

    def noise(self, bumps: float) -> Array:
        """A smooth field of unit deviation with about so many bumps along the shorter side."""
        cells = [max(1, round(bumps * r)) for r in self.reach]
        return smooth_noise(self.rng, (1, self.height, self.width), (1, cells[0], cells[1]))[0]

    def grain(self, wide: float = 0.0) -> Array:
        """White noise, (h, w), smoothed over so many pixels and of unit deviation again."""
        from scipy import ndimage

        values = self.rng.standard_normal((self.height, self.width), dtype=np.float32)
        if wide:
            values = ndimage.gaussian_filter(values, wide)
            values /= max(float(values.std()), 1e-6)
        return values

    def place(self, margin: float = 0.8) -> tuple[float, float]:
        """Somewhere (y, x), not at the very edge."""
        y, x = (float(self.rng.uniform(-margin * r, margin * r)) for r in self.reach)
        return y, x

    def blob(
        self, centre: tuple[float, float], radius: float, bumps: float = 0.15, squash: float = 0.3
    ) -> Array:
        """About the signed distance to the outline of a bumpy ellipse, positive inside."""
        rng = self.rng
        turn, stretch = float(rng.uniform(0, np.pi)), float(np.exp(rng.normal(0, squash)))
        dy, dx = self.y - np.float32(centre[0]), self.x - np.float32(centre[1])
        u = (dy * np.float32(np.cos(turn)) + dx * np.float32(np.sin(turn))) * np.float32(stretch)
        v = (dx * np.float32(np.cos(turn)) - dy * np.float32(np.sin(turn))) / np.float32(stretch)
        field = np.float32(radius) - np.hypot(u, v)
        if bumps:
            waves = float(rng.uniform(0.8, 2.2)) / max(radius, 0.05)
            field = field + np.float32(bumps * radius) * self.noise(min(waves, self.short / 2))
        return np.asarray(field, np.float32)

    def cover(self, field: Array, soft: float = 1.0) -> Array:
        """Share of each pixel that a field covers, its edge so many pixels wide."""
        return np.asarray(np.clip(field * self.short / np.float32(soft) + 0.5, 0, 1), np.float32)


def _middle(n: int, short: float) -> Array:
    return ((np.arange(n) + 0.5 - n / 2) / short).astype(np.float32)


@dataclass(eq=False)
class Drawing:
    """A picture in the making.

    Attributes
    ----------
    plane
        Its grid.
    rgb : (h, w, 3) float32
        In [0, 1], when it is done.
    outer, inner : (h, w) int32
        The largest and the smallest thing of each pixel; 0 where there is none.
    salient : (h, w) bool
        What a person would outline; ``None``: nobody can say.
    """

    plane: Plane
    rgb: Array
    outer: Labels2
    inner: Labels2
    salient: Mask2 | None = None

    @classmethod
    def on(cls, plane: Plane, rgb: Array) -> Drawing:
        """A drawing without things."""
        nothing = np.zeros((plane.height, plane.width), np.int32)
        return cls(plane, np.asarray(rgb, np.float32), nothing, nothing.copy())

    def mark(self, mask: Mask2, *, salient: bool = True, part: bool = False) -> None:
        """Make a mask the next thing; a part shows among the smallest things alone."""
        number = int(max(self.outer.max(), self.inner.max())) + 1
        self.inner[mask] = number
        if not part:
            self.outer[mask] = number
        if salient:
            so_far = np.zeros_like(mask) if self.salient is None else self.salient
            self.salient = so_far | mask

    def paint(self, alpha: Array, colour: NDArray[np.floating] | Array) -> None:
        """Lay a colour, or a picture of one, over it."""
        self.rgb += alpha[..., None] * (np.asarray(colour, np.float32) - self.rgb)


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is evenly distributed."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def lit(plane: Plane, height: Array, at: tuple[float, float], away: float) -> Array:
    """How much light of a lamp falls on a relief, in [0, 1]; both in units of the coordinates."""
    slope_y, slope_x = np.gradient(height * plane.short)
    ly, lx = np.float32(at[0]) - plane.y, np.float32(at[1]) - plane.x
    lz = np.float32(away) - height
    along = lz - slope_y * ly - slope_x * lx
    far = np.sqrt(ly * ly + lx * lx + lz * lz)
    return np.asarray(
        np.clip(along / (far * np.sqrt(1 + slope_y**2 + slope_x**2)), 0, 1), np.float32
    )
