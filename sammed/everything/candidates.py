"""Which regions of the volume itself are worth asking the model about.

The trees and layers hold up to a hundred thousand regions. Of each no more than `MOST_OF_ONE` are
taken out, the most promising of every size; of all of them a bounded number is kept, of every size
alike, far enough apart that none is asked about twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.everything.coarse import Coarse
from sammed.everything.layers import Labels, measured
from sammed.everything.regions import Region
from sammed.everything.shells import shells
from sammed.everything.trees import WAYS, Tree, basins, grown

MOST_OF_ONE = 250
"""Regions that are taken out of one tree."""

MOST_OF_LAYER = 40
"""And out of one layer, of which there are more."""

TOO_ALIKE = 0.8
"""Of two candidates with a larger IoU the less promising is left out."""

LARGEST = 0.6
"""A thing fills no more than this share of where it is looked for."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A region that may be a thing.

    Attributes
    ----------
    region
        On the coarse grid.
    promise
        How much the image alone says for it, see `sammed.everything.layers.promise`.
    source
        What it was taken from: a way of `sammed.everything.trees.WAYS`, or ``"shells"``.
    """

    region: Region
    promise: float
    source: str


@dataclass(frozen=True)
class Sizes:
    """How large a candidate may be, in coarse voxels."""

    least: float
    most: float

    def allow(self, size: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which sizes are allowed."""
        return np.asarray((size >= self.least) & (size <= self.most))


@dataclass(frozen=True, eq=False)
class Found:
    """Candidates, and how many regions they were chosen from."""

    candidates: tuple[Candidate, ...]
    seen: int


def find_candidates(
    coarse: Coarse,
    area: NDArray[np.bool_],
    sizes: Sizes,
    most: int,
    check: Callable[[], None],
) -> Found:
    """The most promising regions of the image itself, of every size.

    Parameters
    ----------
    coarse
        The image.
    area : (z, y, x) bool
        Where.
    sizes
        Which are allowed.
    most
        At most so many.
    check
        Called often; may raise to stop.
    """
    pool: list[Candidate] = []
    seen = 0
    labels = basins(coarse, area, check)
    for way in WAYS:
        tree = grown(coarse, labels, way, check)
        seen += len(tree.size)
        told = np.where(tree.peaks(TOO_ALIKE), tree.promise, 0.0)
        for node in _most_promising(tree.size, told, sizes, MOST_OF_ONE):
            check()
            region = _node(tree, labels, int(node))
            pool.append(Candidate(region, float(told[node]), way))
    for layer in shells(coarse, area, check):
        size, told = measured(layer, coarse)
        size[0] = 0
        seen += len(size) - 1
        where = ndimage.find_objects(layer)
        for value in _most_promising(size, told, sizes, MOST_OF_LAYER):
            check()
            region = _part(layer, int(value), where[int(value) - 1])
            pool.append(Candidate(region, float(told[value]), "shells"))
    return Found(tuple(apart(pool, most, check)), seen)


def apart(pool: list[Candidate], most: int, check: Callable[[], None]) -> list[Candidate]:
    """Candidates of every size in turn, the most promising first, none much like another.

    One that shares voxels with a chosen one of about its size waits longer for its turn (as boxes
    do in soft-NMS, Bodla et al. 2017, doi:10.1109/ICCV.2017.593), so that all places are looked at.
    """
    by_size: dict[int, list[Candidate]] = defaultdict(list)
    for candidate in pool:
        by_size[int(np.log2(candidate.region.size))].append(candidate)
    sizes = sorted(by_size, reverse=True)
    each = {size: _Waiting(by_size[size]) for size in sizes}
    chosen: list[Candidate] = []
    while len(chosen) < most and sizes:
        check()
        for size in sizes:
            picked = each[size].next()
            beside = (each[n].chosen for n in (size - 1, size + 1) if n in each)
            if not any(_much_alike(picked.region, c.region) for near in beside for c in near):
                each[size].chosen.append(picked)
                chosen.append(picked)
        sizes = [size for size in sizes if not each[size].is_empty]
    return chosen[:most]


class _Waiting:
    """Candidates of about one size that wait for their turn."""

    def __init__(self, candidates: list[Candidate]) -> None:
        self._candidates = candidates
        self._rank = np.array([c.promise for c in candidates])
        self.chosen: list[Candidate] = []

    @property
    def is_empty(self) -> bool:
        return not len(self._candidates)

    def next(self) -> Candidate:
        """The next one, which waits no more; what is much like it goes, what shares it waits."""
        best = int(self._rank.argmax())
        picked = self._candidates[best]
        shared = np.array([c.region.iou(picked.region) for c in self._candidates])
        keep = shared <= TOO_ALIKE
        keep[best] = False
        self._rank = (self._rank * (1 - shared))[keep]
        self._candidates = [c for c, k in zip(self._candidates, keep, strict=True) if k]
        return picked


def _much_alike(a: Region, b: Region) -> bool:
    if min(a.size, b.size) < TOO_ALIKE * max(a.size, b.size):
        return False
    return a.iou(b) > TOO_ALIKE


def _most_promising(
    size: NDArray[np.float64], told: NDArray[np.float64], sizes: Sizes, most: int
) -> NDArray[np.int64]:
    """Indices of the most promising of each size, equally many of each as far as there are."""
    allowed = np.flatnonzero(sizes.allow(size) & (told > 0))
    if not len(allowed):
        return allowed
    bins = np.log2(size[allowed]).astype(int)
    each = -(-most // len(np.unique(bins)))
    picked = []
    for one in np.unique(bins):
        those = allowed[bins == one]
        picked.append(those[np.argsort(-told[those], kind="stable")[:each]])
    return np.concatenate(picked)


def _node(tree: Tree, labels: Labels, node: int) -> Region:
    first, last = tree.first[node], tree.last[node]
    inside = (tree.places >= first) & (tree.places < last)
    return Region.of(inside)


def _part(layer: Labels, value: int, where: tuple[slice, ...]) -> Region:
    return Region.of(layer[where] == value, [one.start for one in where])
