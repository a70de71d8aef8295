"""Chains and tubes among packed cells: links that look alike and lie in a row, as vertebrae do.

What tells one link from the next is a thin gap and its shape, not its brightness; a tube is thin
beside all that lies round it. Both are what a coarse grid shows least of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammed.synthesis.fields import Array

Labels = NDArray[np.int32]
Points = NDArray[np.float64]
Mask = NDArray[np.bool_]

LINK, DISC, CANAL, TUBE = 100, 200, 260, 300
"""First numbers of links, of what lies between two, of canals, of tubes."""

MOST_LINKS = 40
"""Of one chain."""

CANAL_RADIUS = 0.22
"""As a share of a link's width."""


@dataclass(frozen=True)
class Link:
    """The shape of a link: a flat drum, and mostly an arch with three spikes behind it.

    Attributes
    ----------
    wide, high
        Of the drum, in pixels, across the chain and along it.
    deep
        Its other width, as a share of the first.
    square
        Power of its profile: 2 is an ellipsoid, 6 nearly a cylinder.
    arch
        Whether there is more than the drum.
    spike, thick
        Length of the spikes and thickness of the arch, in pixels.
    """

    wide: float
    high: float
    deep: float
    square: float
    arch: bool
    spike: float
    thick: float

    @property
    def behind(self) -> float:
        """How far behind the drum's middle the canal lies."""
        return self.wide * (0.5 * self.deep + CANAL_RADIUS)

    @property
    def reach(self) -> float:
        """No part of it is farther from the drum's middle."""
        tail = self.behind + CANAL_RADIUS * self.wide + self.spike + self.thick
        return max(self.wide, self.high, tail if self.arch else 0.0) + 1

    def drum(self, u: Array, v: Array, w: Array) -> Mask:
        """Where the drum is: ``u`` along the chain, ``v`` towards its back, ``w`` to the side."""
        across = (v / (self.wide / 2 * self.deep)) ** 2 + (w / (self.wide / 2)) ** 2
        return np.asarray(across + np.abs(u / (self.high / 2)) ** self.square < 1)

    def whole(self, u: Array, v: Array, w: Array) -> Mask:
        """Where all of it is."""
        body = self.drum(u, v, w)
        if not self.arch:
            return body
        inner = self.wide * CANAL_RADIUS
        away, end = np.hypot(v - self.behind, w), self.behind + inner
        ring = (away >= inner) & (away < inner + self.thick)
        spine = (np.abs(w) < self.thick) & (v > end) & (v < end + self.spike)
        sides = (np.abs(v - self.behind) < self.thick) & (np.abs(w) > inner)
        sides &= (np.abs(w) < inner + self.spike) & (np.abs(u) < self.high * 0.25)
        return np.asarray(body | ((ring | spine) & (np.abs(u) < self.high * 0.42)) | sides)


def strung(rng: np.random.Generator, around: Labels, step: float) -> tuple[Labels, Labels]:
    """A scene's cells with a chain, tubes, or both drawn over them.

    Parameters
    ----------
    rng
        Source of randomness.
    around : (z, y, x) int32
        What lies there.
    step
        Distance of the slices in pixels.

    Returns
    -------
    labels : (z, y, x) int32
        Each link and each tube a number of its own.
    look : (z, y, x) int32
        The same with one number for all links, and one for all that lies between them.
    """
    labels = around.copy()
    extent = np.array(around.shape) * (step, 1.0, 1.0)
    chained = rng.random() < 0.75
    if chained:
        _chain(rng, labels, extent, step)
    for number in range(int(rng.integers(0 if chained else 1, 5))):
        path = winding_path(rng, extent, float(rng.uniform(0.0, 0.5)))
        thick = float(np.exp(rng.uniform(np.log(1.1), np.log(0.09 * extent.max()))))
        swell = 1 + 0.4 * np.sin(np.linspace(0, float(rng.uniform(1, 6)), len(path)))
        for point, radius in zip(path, thick * swell, strict=True):
            _ball(labels, point, float(radius), step, TUBE + number)
    look = labels.copy()
    look[(labels >= LINK) & (labels < DISC)] = LINK
    look[(labels >= DISC) & (labels < CANAL)] = DISC
    return labels, look


def winding_path(rng: np.random.Generator, extent: Points, bend: float) -> Points:
    """Points about half a pixel apart on a swaying curve through a box, (n, 3) in pixels."""
    heading = rng.normal(0, 1, 3)
    if rng.random() < 0.6:  # as people lie in a scanner
        heading = rng.normal(0, 0.25, 3) + np.eye(3)[int(rng.integers(3))]
    heading /= np.linalg.norm(heading)
    turn = _across(rng, heading)
    longest = float(extent.max())
    length = longest * float(rng.uniform(0.8, 1.6))
    s = np.linspace(-0.5, 0.5, max(8, round(2 * length)))[:, None] * length
    wave = longest * float(rng.uniform(0.3, 1.2))
    sway = bend * wave / 3 * np.sin(s / wave * 2 * np.pi + float(rng.uniform(0, 6)))
    return np.asarray(extent * rng.uniform(0.25, 0.75, 3) + s * heading + sway * turn)


def _chain(rng: np.random.Generator, labels: Labels, extent: Points, step: float) -> None:
    """Links in a row with gaps between them; most with an arch and spikes behind."""
    path = winding_path(rng, extent, float(rng.uniform(0.0, 0.3)))
    wide = float(np.exp(rng.uniform(np.log(5.0), np.log(0.35 * extent.max()))))
    high = wide * float(rng.uniform(0.4, 0.95))
    gap = max(1.0, high * float(rng.uniform(0.05, 0.35)))
    link = Link(
        wide,
        high,
        deep=float(rng.uniform(0.6, 1.0)),
        square=float(rng.uniform(2, 6)),
        arch=bool(rng.random() < 0.75),
        spike=wide * float(rng.uniform(0.4, 1.1)),
        thick=max(0.8, wide * float(rng.uniform(0.1, 0.2))),
    )
    back = _across(rng, path[-1] - path[0])
    if link.arch:
        for point in path:
            _ball(labels, point + back * link.behind, wide * CANAL_RADIUS, step, CANAL)

    def disc(u: Array, v: Array, w: Array) -> Mask:
        return np.asarray(link.drum(np.zeros_like(u), v, w) & (np.abs(u) < gap / 2 + 0.7))

    walked = np.r_[0, np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))]
    stops = np.arange(high / 2, walked[-1], high + gap)[:MOST_LINKS]
    for number, stop in enumerate(stops):
        at = int(np.searchsorted(walked, stop).clip(1, len(path) - 2))
        along = path[at + 1] - path[at - 1]
        along /= np.linalg.norm(along)
        behind = back - along * (along @ back)
        behind /= np.linalg.norm(behind)
        frame = np.stack((along, behind, np.cross(along, behind)))
        between = path[at] + along * (high + gap) / 2
        _stamp(labels, between, frame, link.reach, disc, step, DISC + number)
        _stamp(labels, path[at], frame, link.reach, link.whole, step, LINK + number)


def _across(rng: np.random.Generator, heading: Points) -> Points:
    """A direction at right angles to another."""
    found = np.cross(heading, rng.normal(0, 1, 3))
    return np.asarray(found / max(float(np.linalg.norm(found)), 1e-6))


def _ball(labels: Labels, centre: Points, radius: float, step: float, value: int) -> None:
    def ball(u: Array, v: Array, w: Array) -> Mask:
        return np.asarray(u * u + v * v + w * w < radius * radius)

    _stamp(labels, centre, np.eye(3), radius, ball, step, value)


def _stamp(
    labels: Labels,
    centre: Points,
    frame: Points,
    reach: float,
    shape: Callable[[Array, Array, Array], Mask],
    step: float,
    value: int,
) -> None:
    """Draw a shape that is given in a frame of its own; centre and reach are in pixels."""
    spacing = np.array((step, 1.0, 1.0))
    low = np.maximum(np.floor((centre - reach) / spacing - 0.5).astype(int), 0)
    high = np.minimum(np.ceil((centre + reach) / spacing + 0.5).astype(int), labels.shape)
    if (high <= low).any():
        return
    block = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    z, y, x = (
        ((np.arange(a, b) + 0.5) * s - c).astype(np.float32)
        for a, b, s, c in zip(low, high, spacing, centre, strict=True)
    )
    u, v, w = (
        np.float32(f[0]) * z[:, None, None] + np.float32(f[1]) * y[:, None] + np.float32(f[2]) * x
        for f in frame
    )
    labels[block][shape(u, v, w)] = value
