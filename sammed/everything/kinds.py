"""Parts of an image that the dense network sees as one kind: bone, liver, aorta and so on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.everything.coarse import Float
from sammed.everything.layers import Labels
from sammed.models.dense.borders import Borders
from sammed.models.dense.net import NO_THING

SMOOTH = 0.7
"""Voxels over which chances of kinds are smoothed."""

UNPARTED, PARTED = 1.1, 0.5
"""Chances of a border from which on a voxel parts what is of one kind: none has the first."""


def kind_layers(
    borders: Borders, area: NDArray[np.bool_], check: Callable[[], None]
) -> Iterator[Labels]:
    """Labelled parts of one kind: as they hang together, and parted where borders are seen.

    Parameters
    ----------
    borders
        What the network sees; without kinds there are no parts.
    area : (z, y, x) bool
        Where.
    check
        Called for each kind; may raise to stop.
    """
    if borders.kinds is None:
        return
    likeliest = np.where(area, borders.kinds.argmax(0) + 1, 0)
    for level in (UNPARTED, PARTED):
        layer = np.zeros(likeliest.shape, np.int32)
        for kind, block in enumerate(ndimage.find_objects(likeliest)):
            check()
            if block is None or kind < NO_THING:
                continue
            here = likeliest[block] == kind + 1
            parts, _ = ndimage.label(here & (borders.border[block] < level))
            parts = parts if level > 1 else _grown(parts, here)
            found = parts > 0
            layer[block][found] = parts[found] + layer.max()
        yield layer


def kind_edges(kinds: Float) -> Float:
    """How much what voxels are seen as differs between neighbours, in [0, 1].

    The total variation distance of the kinds' chances, of the neighbour along any axis from which
    it is largest.

    Parameters
    ----------
    kinds : (k, z, y, x) float32
        Chances.

    Examples
    --------
    >>> chances = np.zeros((2, 1, 1, 4), np.float32)
    >>> chances[0, ..., :2] = chances[1, ..., 2:] = 1
    >>> kind_edges(chances)[0, 0].tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    edges = np.zeros(kinds.shape[1:], np.float32)
    for axis in range(3):
        apart = np.abs(np.diff(kinds, axis=axis + 1)).sum(0) / 2
        for side in (slice(None, -1), slice(1, None)):
            part = tuple(side if a == axis else slice(None) for a in range(3))
            edges[part] = np.maximum(edges[part], apart)
    return edges


def smoothed(kinds: Float) -> Float:
    """Chances of kinds without the grain of single voxels."""
    return np.stack([ndimage.gaussian_filter(chance, SMOOTH) for chance in kinds])


def _grown(parts: Labels, room: NDArray[np.bool_]) -> Labels:
    """Parts with the voxels beside them that are nobody's."""
    wide = ndimage.grey_dilation(parts, size=3)
    return np.asarray(np.where(parts > 0, parts, np.where(room, wide, 0)), np.int32)
