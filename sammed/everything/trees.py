"""Trees of regions: basins of the gradient, joined two by two until one is left.

Every region on the way is a candidate, so things of all sizes are among them, nested ones too.
What is joined first is decided in several ways, since no one way is right for all things (Uijlings
et al. 2013, Selective search for object recognition, doi:10.1007/s11263-013-0620-5): where the
border between two is weakest (as in the ultrametric contour map of Arbeláez et al. 2011,
doi:10.1109/TPAMI.2010.161), where joining adds least variance (Ward 1963,
doi:10.1080/01621459.1963.10500845), and weak, small and much in touch first.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.everything.coarse import Coarse, Float, require_skimage
from sammed.everything.layers import Faces, Floats, Labels, faces, promise

MOST_BASINS = 3_000
"""Of more, the gradient is smoothed until there are fewer."""

Cost = Callable[[float, float, float, float, float], float]
"""Of joining two regions: step and area of their border, distance of means, sizes."""


def _weakest(step: float, area: float, apart: float, a: float, b: float) -> float:
    return step / area


def _alike(step: float, area: float, apart: float, a: float, b: float) -> float:
    return float(apart * a * b / (a + b))


def _compact(step: float, area: float, apart: float, a: float, b: float) -> float:
    least = min(a, b)
    return float((step / area + apart**0.5) * least ** (2 / 3) / area**0.5)


WAYS: dict[str, Cost] = {"weakest": _weakest, "alike": _alike, "compact": _compact}
"""Which two regions are joined next."""


@dataclass(frozen=True, eq=False)
class Tree:
    """Regions that were joined.

    Attributes
    ----------
    places : (z, y, x) int32
        Where a voxel's basin stands in the order of the tree; -1 outside.
    first, last : (n,) int
        A region holds the places ``first <= place < last``.
    size : (n,)
        In voxels.
    promise : (n,)
        See `sammed.everything.layers.promise`.
    parent : (n,) int
        Index of the node that it is a part of, always a smaller one; -1 if there is none.
    """

    places: Labels
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    size: Floats
    promise: Floats
    parent: NDArray[np.int64]

    def peaks(self, alike: float) -> NDArray[np.bool_]:
        """Nodes that no node which holds much the same voxels surpasses in promise.

        Parameters
        ----------
        alike
            IoU from which on two nested nodes hold much the same.
        """
        peak = np.ones(len(self.size), bool)
        for node in range(len(self.size)):
            above = int(self.parent[node])
            while above >= 0 and self.size[node] > alike * self.size[above]:
                lower = node if self.promise[node] < self.promise[above] else above
                peak[lower] = False
                above = int(self.parent[above])
        return peak


def basins(
    steep: Float, coarse: Coarse, area: NDArray[np.bool_], check: Callable[[], None]
) -> Labels:
    """Watershed basins within an area, at most `MOST_BASINS`; 0 outside.

    Parameters
    ----------
    steep : (z, y, x) float32
        What is large at borders: the image's gradient, or what a network says.
    coarse
        The image.
    area : (z, y, x) bool
        Where.
    check
        May raise to stop.
    """
    require_skimage()
    from skimage.measure import label as components
    from skimage.morphology import local_minima
    from skimage.segmentation import watershed

    for width in 0.4 * 1.2 ** np.arange(30):
        check()
        smooth = ndimage.gaussian_filter(steep, [width * s for s in coarse.sigmas])
        check()
        markers = components(local_minima(smooth) & area, connectivity=1)
        if markers.max() <= MOST_BASINS:
            break
    check()
    return np.asarray(watershed(smooth, markers, mask=area), np.int32)


def grown(
    steep: Float,
    coarse: Coarse,
    labels: Labels,
    way: str,
    check: Callable[[], None],
    *,
    round_ones: bool = True,
) -> Tree:
    """The tree of basins that are joined one way.

    Parameters
    ----------
    steep : (z, y, x) float32
        As of `basins`.
    coarse
        The image.
    labels : (z, y, x) int32
        From `basins`.
    way
        One of `WAYS`.
    check
        May raise to stop.
    round_ones
        See `sammed.everything.layers.promise`.
    """
    met = faces(labels, steep, coarse.spacing)
    joining = _Joining(steep, coarse, labels, met, WAYS[way])
    while joining.step():
        check()
    return joining.tree(labels, round_ones)


class _Joining:
    """Regions while they are joined."""

    def __init__(
        self, steep: Float, coarse: Coarse, labels: Labels, met: Faces, cost: Cost
    ) -> None:
        count = int(labels.max()) + 1
        flat = labels.ravel()
        self._coarse, self._cost, self._leaves = coarse, cost, count
        self._size = np.bincount(flat, minlength=count).astype(float).tolist()
        sums = [np.bincount(flat, c.ravel(), count) for c in coarse.image]
        self._sums = [tuple(values) for values in np.stack(sums, 1).tolist()]
        self._beside: list[dict[int, tuple[float, float]]] = [{} for _ in range(count)]
        for a, b, area, step in zip(
            met.first.tolist(), met.second.tolist(), met.area.tolist(), met.step.tolist(),
            strict=True,
        ):  # fmt: skip
            self._beside[a][b] = self._beside[b][a] = (area, step)
        self._texture = np.bincount(flat, steep.ravel(), count).tolist()
        self._border = [_total(beside) for beside in self._beside]
        self._kids: list[tuple[int, int] | None] = [None] * count
        self._gone = [False] * count
        self._heap = [
            (self._price(a, b), a, b)
            for a, b in zip(met.first.tolist(), met.second.tolist(), strict=True)
            if a
        ]
        heapq.heapify(self._heap)

    def step(self, joins: int = 64) -> bool:
        """Join some; whether there is more to do."""
        while self._heap and joins:
            _, a, b = heapq.heappop(self._heap)
            if not (self._gone[a] or self._gone[b]):
                self._join(a, b)
                joins -= 1
        return bool(self._heap)

    def _price(self, a: int, b: int) -> float:
        area, step = self._beside[a][b]
        na, nb = self._size[a], self._size[b]
        apart = sum(
            (x / na - y / nb) ** 2 for x, y in zip(self._sums[a], self._sums[b], strict=True)
        )
        return self._cost(step, area, apart, na, nb)

    def _join(self, a: int, b: int) -> None:
        new = len(self._size)
        self._size.append(self._size[a] + self._size[b])
        self._sums.append(tuple(x + y for x, y in zip(self._sums[a], self._sums[b], strict=True)))
        self._texture.append(self._texture[a] + self._texture[b])
        self._kids.append((a, b))
        self._gone[a] = self._gone[b] = True
        self._gone.append(False)
        beside: dict[int, tuple[float, float]] = {}
        for old in (a, b):
            for other, (area, step) in self._beside[old].items():
                if other in (a, b):
                    continue
                before = beside.get(other, (0.0, 0.0))
                beside[other] = (before[0] + area, before[1] + step)
                self._beside[other].pop(old, None)
            self._beside[old] = {}
        self._beside.append(beside)
        self._border.append(_total(beside))
        for other, met in beside.items():
            self._beside[other][new] = met
            if other:
                heapq.heappush(self._heap, (self._price(new, other), new, other))

    def tree(self, labels: Labels, round_ones: bool) -> Tree:
        """What has come of it."""
        first, last = (np.zeros(len(self._size), np.int64) for _ in range(2))
        place = np.full(self._leaves, -1, np.int32)
        count = 0
        waiting = [n for n in range(len(self._size) - 1, 0, -1) if not self._gone[n]]
        order: list[int] = []
        while waiting:
            node = waiting.pop()
            kids = self._kids[node]
            order.append(node)
            first[node] = count
            if kids is None:
                place[node] = count
                count += 1
            else:
                waiting += kids
        for node in reversed(order):
            kids = self._kids[node]
            last[node] = first[node] + 1 if kids is None else max(last[k] for k in kids)
        area, step = (np.array([b[n] for b in self._border]) for n in (0, 1))
        size = np.array(self._size)
        texture = np.array(self._texture)
        told = promise(size, area, step, texture, self._coarse, round_ones=round_ones)
        keep = np.array(order, np.int64)
        parent = self._parents(order)
        return Tree(place[labels], first[keep], last[keep], size[keep], told[keep], parent)

    def _parents(self, order: list[int]) -> NDArray[np.int64]:
        """Of each node in an order, where its parent stands in it; -1 of roots."""
        at = {node: n for n, node in enumerate(order)}
        parent = np.full(len(order), -1, np.int64)
        for n, node in enumerate(order):
            for kid in self._kids[node] or ():
                parent[at[kid]] = n
        return parent


def _total(beside: dict[int, tuple[float, float]]) -> tuple[float, float]:
    return sum(area for area, _ in beside.values()), sum(step for _, step in beside.values())
