"""Which regions of the volume itself are worth asking the model about.

The trees and layers hold up to a hundred thousand regions. Of each no more than `MOST_OF_ONE` are
taken out, the most promising of every size; of all of them a bounded number is kept, of every size
alike, far enough apart that none is asked about twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from sammed.everything import likely
from sammed.everything.coarse import Coarse, Float
from sammed.everything.kinds import kind_edges, kind_layers, smoothed
from sammed.everything.layers import Labels, measured
from sammed.everything.regions import Region
from sammed.everything.shells import shells
from sammed.everything.traits import salience_of, traits_of
from sammed.everything.trees import WAYS, Tree, basins, grown
from sammed.imaging.geometry import Shape3
from sammed.models.dense.borders import Borders

MOST_OF_ONE, MOST_OF_ONE_SEEN = 250, 600
"""Regions that are taken out of one tree; where the dense network helps to choose among them."""

MOST_OF_LAYER = 40
"""And out of one layer, of which there are more."""

TOO_ALIKE = 0.8
"""Of two candidates with a larger IoU the less promising is left out."""

LEAST_CONTRAST = 1e-3
"""Of borders: what has less is still told apart by its stability."""

LEAST_SALIENT = 0.1
"""Added to the salience of regions of pictures: what nobody would outline can be asked for, too."""

LARGER_FIRST = 0.2
"""Of pictures, power of a region's size that its chance is multiplied by."""

ROWS = 64
"""Regions that are compared with all others in one go."""

LEARNED: Mapping[str, tuple[str, ...]] = {"border": ("weakest", "compact"), "inner": ("weakest",)}
"""Trees of what the dense network sees: layer of its answer, ways."""

KINDS = "kinds"
"""Source of regions that the network sees as one kind."""

LEVELS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8)
"""Chances at which a picture is cut in two."""

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
        What it was taken from: a way of `sammed.everything.trees.WAYS`, after the layer where it is
        a tree of the dense network's borders (``"border weakest"``); or ``"shells"``.
    stability
        Mean IoU with what the other sources have most like it.
    chance
        How likely it is a thing by what the dense network sees: in volumes see
        `sammed.everything.likely`, in pictures contrast of borders times stability; 1 where it does
        not see.
    salience
        Of pictures, see `sammed.everything.traits.salience_of`; else 1.
    """

    region: Region
    promise: float
    source: str
    stability: float = 1.0
    chance: float = 1.0
    salience: float = 1.0


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
    """Candidates, the regions that were taken out to choose from, and how many there were."""

    candidates: tuple[Candidate, ...]
    pool: tuple[Region, ...]
    seen: int


def find_candidates(
    coarse: Coarse,
    area: NDArray[np.bool_],
    sizes: Sizes,
    most: int,
    check: Callable[[], None],
    borders: Borders | None = None,
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
    borders
        What the dense network sees: gives trees of its own, and has a say in what is promising.
    """
    pool, seen = pooled(coarse, area, sizes, check, borders)
    chosen = tuple(apart(pool, most, coarse.shape, check, borders))
    return Found(chosen, tuple(candidate.region for candidate in pool), seen)


def pooled(
    coarse: Coarse,
    area: NDArray[np.bool_],
    sizes: Sizes,
    check: Callable[[], None],
    borders: Borders | None = None,
) -> tuple[list[Candidate], int]:
    """All regions that are taken out to choose from, and how many there were.

    Parameters
    ----------
    coarse, area, sizes, check, borders
        As of `find_candidates`.
    """
    pool: list[Candidate] = []
    seen = 0
    of_one = MOST_OF_ONE if borders is None or coarse.is_flat else MOST_OF_ONE_SEEN
    for ground in _grounds(coarse, borders):
        labels = basins(ground.steep, coarse, area, check)
        for way in ground.ways:
            rounded = not ground.learned or coarse.is_flat
            tree = grown(ground.steep, coarse, labels, way, check, round_ones=rounded)
            seen += len(tree.size)
            told = np.where(tree.peaks(TOO_ALIKE), tree.promise, 0.0)
            for node in _most_promising(tree.size, told, sizes, of_one):
                check()
                region = _node(tree, int(node))
                pool.append(Candidate(region, float(told[node]), ground.named(way)))
    for source, layer in _layers(coarse, area, check, borders):
        size, told = measured(layer, coarse)
        size[0] = 0
        seen += len(size) - 1
        where = ndimage.find_objects(layer)
        for value in _most_promising(size, told, sizes, MOST_OF_LAYER):
            check()
            region = _part(layer, int(value), where[int(value) - 1])
            pool.append(Candidate(region, float(told[value]), source))
    return pool, seen


@dataclass(frozen=True, eq=False)
class _Ground:
    """What is large at borders, and in which ways basins of it are joined."""

    steep: Float
    ways: tuple[str, ...]
    learned: str = ""

    def named(self, way: str) -> str:
        """Source of the regions."""
        return f"{self.learned} {way}".strip()


def _grounds(coarse: Coarse, borders: Borders | None) -> Iterator[_Ground]:
    yield _Ground(coarse.gradient, tuple(WAYS))
    if borders is not None:
        for layer, ways in LEARNED.items():
            yield _Ground(getattr(borders, layer), ways, layer)
        if borders.kinds is not None:
            edges = kind_edges(smoothed(borders.kinds))
            yield _Ground(borders.border + edges, ("weakest",), KINDS)
            yield _Ground(1 - borders.depth + edges, ("weakest",), "depth")


def _layers(
    coarse: Coarse,
    area: NDArray[np.bool_],
    check: Callable[[], None],
    borders: Borders | None,
) -> Iterator[tuple[str, Labels]]:
    """Labelled ranges of brightness; of pictures also what the network sees as salient, as things.

    Of these, parts that touch are parted where the network sees borders, too.
    """
    for layer in shells(coarse, area, check):
        yield "shells", layer
    if borders is not None:
        for layer in kind_layers(borders, area, check):
            yield KINDS, layer
    if borders is None or borders.salient is None:
        return
    chances = {"salient": borders.salient, "thing": borders.thing - borders.border}
    for source, chance in chances.items():
        for level in LEVELS:
            check()
            parts, count = ndimage.label(area & (chance > level))
            if count:
                yield source, np.asarray(parts, np.int32)


def apart(
    pool: list[Candidate],
    most: int,
    shape: Shape3,
    check: Callable[[], None],
    borders: Borders | None = None,
) -> list[Candidate]:
    """The best candidates first, none much like another.

    The best are likely things. Where nothing that was learned says so they are promising, and much
    the same whatever way regions are made: what only one way of joining shows is more often an
    accident of it. One that shares voxels with a chosen one of about its size waits longer for its
    turn (as boxes do in soft-NMS, Bodla et al. 2017, doi:10.1109/ICCV.2017.593), so that all places
    are looked at. Without the dense network every size has its turn, as promises of different sizes
    say nothing together.

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
    borders
        What the dense network sees; with it chances take the promises' place.
    """
    if not pool:
        return []
    shared = overlaps([c.region for c in pool], shape, check)
    stability = agreed(shared, [c.source for c in pool])
    turns, chance = np.zeros(len(pool), int), np.ones(len(pool))
    if borders is None:
        turns = np.log2([c.region.size for c in pool]).astype(int)
        rank = np.array([c.promise for c in pool]) * stability
    elif borders.kinds is None:
        chance = _contrasts(pool, borders, check) * stability
        volume = np.array([c.region.size for c in pool], float)
        rank = chance * (volume / volume.max()) ** LARGER_FIRST
    else:
        rank = chance = likely.shipped()(measures(pool, shared, stability, borders, check))
    salience = np.ones(len(pool))
    if borders is not None and borders.salient is not None:
        salience = np.array([salience_of(c.region, borders.salient) for c in pool])
        rank = rank * (LEAST_SALIENT + salience)
    chosen = _in_turn(rank, turns, shared, most, check)
    return [
        replace(
            pool[n],
            stability=float(stability[n]),
            chance=float(chance[n]),
            salience=float(salience[n]),
        )
        for n in chosen
    ]


def _in_turn(
    rank: NDArray[np.float64],
    turns: NDArray[np.int64],
    shared: NDArray[np.float32],
    most: int,
    check: Callable[[], None],
) -> list[int]:
    """Which are chosen, by falling rank, one of each turn after the other."""
    waiting = np.ones(len(rank), bool)
    chosen: list[int] = []
    while len(chosen) < most and waiting.any():
        check()
        for turn in np.unique(turns[waiting])[::-1]:
            those = np.flatnonzero(waiting & (turns == turn))
            if not len(those):
                continue
            best = int(those[rank[those].argmax()])
            chosen.append(best)
            waiting[best] = False
            waiting[shared[best] > TOO_ALIKE] = False
            rank = np.where(turns == turn, rank * (1 - shared[best]), rank)
    return chosen[:most]


def measures(
    pool: list[Candidate],
    shared: NDArray[np.float32],
    stability: NDArray[np.float64],
    borders: Borders,
    check: Callable[[], None],
) -> NDArray[np.float64]:
    """What `sammed.everything.likely` goes by.

    Parameters
    ----------
    pool
        All candidates.
    shared : (n, n)
        IoU of all with all, see `overlaps`.
    stability : (n,)
        From `agreed`.
    borders
        What the dense network sees, kinds included.
    check
        May raise to stop.

    Returns
    -------
    (n, len(MEASURES))
    """
    kinds = np.zeros(len(pool)) if borders.kinds is None else _kinds(pool, shared, borders.kinds)
    regions = [candidate.region for candidate in pool]
    return likely.measured(regions, shared, stability, kinds, borders, check)


def _kinds(pool: list[Candidate], shared: NDArray[np.float32], kinds: Float) -> NDArray[np.float64]:
    """IoU with a part of one kind times the chance of that kind there, the best of all parts."""
    likeliest = kinds.max(0)
    sure = np.zeros(len(pool))
    for n, candidate in enumerate(pool):
        if candidate.source == KINDS:
            region = candidate.region
            sure[n] = likeliest[region.block.slices][region.mask].mean()
    return np.asarray((shared * sure[None]).max(1), np.float64)


def _contrasts(
    pool: list[Candidate], borders: Borders, check: Callable[[], None]
) -> NDArray[np.float64]:
    """Contrast of the borders of each."""
    contrast = np.zeros(len(pool))
    for n, candidate in enumerate(pool):
        check()
        contrast[n] = traits_of(candidate.region, borders).contrast
    return np.asarray(np.clip(contrast, LEAST_CONTRAST, 1))


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


def agreed(shared: NDArray[np.float32], sources: list[str]) -> NDArray[np.float64]:
    """How well each has its like among those of other sources: the mean of their best IoUs.

    Parameters
    ----------
    shared : (n, n)
        IoU of all with all.
    sources
        Of each.
    """
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


def _node(tree: Tree, node: int) -> Region:
    first, last = tree.first[node], tree.last[node]
    inside = (tree.places >= first) & (tree.places < last)
    return Region.of(inside)


def _part(layer: Labels, value: int, where: tuple[slice, ...]) -> Region:
    return Region.of(layer[where] == value, [one.start for one in where])
