"""Things like an example: of similar size, brightness and shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sammed.everything.coarse import Coarse
from sammed.everything.regions import Region

SPREAD = (1.0, 0.1, 0.3)
"""Differences that halve the likeness: of log2 of the size, of brightness, of log2 of the shape."""


@dataclass(frozen=True)
class Look:
    """What a thing looks like.

    Attributes
    ----------
    size
        Log2 of its volume in mm³.
    brightness
        Mean of each channel, in [0, 1].
    shape
        Log2 of the lengths of its three main axes over their mean.
    """

    size: float
    brightness: tuple[float, ...]
    shape: tuple[float, ...]

    def likeness(self, other: Look) -> float:
        """How much another thing looks like this, in (0, 1]."""
        apart = [
            abs(self.size - other.size) / SPREAD[0],
            _apart(self.brightness, other.brightness) / SPREAD[1],
            _apart(self.shape, other.shape) / SPREAD[2],
        ]
        return float(0.5 ** (sum(a * a for a in apart) / len(apart)))


def look_of(coarse: Coarse, region: Region) -> Look:
    """What a region of the coarse grid looks like; it must hold a voxel."""
    values = np.stack([c[region.block.slices][region.mask] for c in coarse.image])
    at = np.argwhere(region.mask) * np.array(coarse.spacing)
    spread = np.cov(at.T) if len(at) > 1 else np.zeros((3, 3))
    axes = np.sqrt(np.maximum(np.linalg.eigvalsh(spread), 0)) + min(coarse.spacing) / 4
    size = float(np.log2(region.size * np.prod(coarse.spacing)))
    shape = np.log2(axes / axes.mean())
    return Look(size, tuple(values.mean(1).tolist()), tuple(shape.tolist()))


def best_likeness(looks: Sequence[Look], look: Look) -> float:
    """Likeness to the most similar of several examples."""
    return max(example.likeness(look) for example in looks)


def _apart(a: Sequence[float], b: Sequence[float]) -> float:
    return float(np.sqrt(np.mean((np.array(a) - np.array(b)) ** 2)))
