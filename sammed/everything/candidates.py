"""Which regions of the volume itself are worth asking the model about.

The trees and layers hold up to a hundred thousand regions. Of each no more than `MOST_OF_ONE` are
taken out, the most promising of every size; of all of them a bounded number is kept, of every size
alike, far enough apart that none is asked about twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from sammed.everything.coarse import Coarse
from sammed.everything.layers import Labels, measured
from sammed.everything.regions import Region
from sammed.everything.shells import shells
from sammed.everything.trees import WAYS, Tree, basins, grown
from sammed.imaging.geometry import Shape3

MOST_OF_ONE = 250
"""Regions that are taken out of one tree."""

MOST_OF_LAYER = 40
"""And out of one layer, of which there are more."""

TOO_ALIKE = 0.8
"""Of two candidates with a larger IoU the less promising is left out."""

ROWS = 64
"""Regions that are compared with all others in one go."""

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
    stability
        Mean IoU with what the other sources have most like it.
    """

    region: Region
    promise: float
    source: str
    stability: float = 1.0


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
    return Found(tuple(apart(pool, most, coarse.shape, check)), seen)


def apart(
    pool: list[Candidate], most: int, shape: Shape3, check: Callable[[], None]
) -> list[Candidate]:
    """Candidates of every size in turn, the best first, none much like another.

    The best are promising, and much the same whatever way regions are made: what only one way of
    joining shows is more often an accident of it. One that shares voxels with a chosen one of about
    its size waits longer for its turn (as boxes do in soft-NMS, Bodla et al. 2017,
    doi:10.1109/ICCV.2017.593), so that all places are looked at.

    Parameters
    ----------
    pool
        All.
    most
        At most so many are kept.
    shape
        Of the coarse grid.
    check
        May raise to stop.
    """
    if not pool:
        return []
    shared = overlaps([c.region for c in pool], shape, check)
    stability = _agreed(shared, [c.source for c in pool])
    rank = np.array([c.promise for c in pool]) * stability
    sizes = np.log2([c.region.size for c in pool]).astype(int)
    waiting = np.ones(len(pool), bool)
    chosen: list[int] = []
    while len(chosen) < most and waiting.any():
        check()
        for size in np.unique(sizes[waiting])[::-1]:
            those = np.flatnonzero(waiting & (sizes == size))
            if not len(those):
                continue
            best = int(those[rank[those].argmax()])
            chosen.append(best)
            waiting[best] = False
            waiting[shared[best] > TOO_ALIKE] = False
            rank = np.where(sizes == size, rank * (1 - shared[best]), rank)
    return [replace(pool[n], stability=float(stability[n])) for n in chosen[:most]]


def overlaps(
    regions: list[Region], shape: Shape3, check: Callable[[], None]
) -> NDArray[np.float32]:
    """IoU of all regions with all, (n, n)."""
    flat = [np.flatnonzero(region.mask_in(shape)) for region in regions]
    ends = np.cumsum([0, *(len(one) for one in flat)])
    ones = np.ones(ends[-1], np.float32)
    held = sparse.csr_matrix((ones, np.concatenate(flat), ends), (len(flat), int(np.prod(shape))))
    across = held.T.tocsr()
    size = np.diff(ends).astype(np.float32)
    out = np.zeros((len(flat), len(flat)), np.float32)
    for start in range(0, len(flat), ROWS):
        check()
        rows = slice(start, start + ROWS)
        common = (held[rows] @ across).toarray()
        out[rows] = common / (size[rows, None] + size[None] - common)
    return out


def _agreed(shared: NDArray[np.float32], sources: list[str]) -> NDArray[np.float64]:
    """How well each has its like among those of other sources: the mean of their best IoUs."""
    named = np.array(sources)
    kinds = sorted(set(sources))
    best = np.stack([shared[:, named == kind].max(1) for kind in kinds], 1).astype(np.float64)
    own = np.array([kinds.index(source) for source in sources])
    others = best.sum(1) - best[np.arange(len(own)), own]
    return np.asarray(others / max(len(kinds) - 1, 1)) if len(kinds) > 1 else np.ones(len(own))


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
