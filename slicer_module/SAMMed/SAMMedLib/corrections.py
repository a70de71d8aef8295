"""What the user has changed by hand since the engine wrote a segment, and what that means."""

from __future__ import annotations

import dataclasses

import numpy as np

from . import geometry, prompts, segmentation


@dataclasses.dataclass
class Corrections:
    """Slices changed by hand.

    Attributes
    ----------
    painted
        Slices that now look otherwise and are not empty: they are right as they are.
    emptied
        Slices that were emptied.
    first, last
        The first and last slice that the segment still has; ``None`` if it has none.
    """

    painted: list
    emptied: list
    first: int = None
    last: int = None

    @property
    def cut(self):
        """Whether the user emptied slices beyond an end of what remains: it ends there."""
        if self.first is None:
            return False
        return any(i < self.first or i > self.last for i in self.emptied)


def find(written, current, axis):
    """Compare a segment with what the engine wrote last.

    Parameters
    ----------
    written, current
        (block, bool array) or (``None``, ``None``), as `segmentation.read` gives.
    axis
        The axis across which the object is segmented.
    """
    block, now = current
    before_block, before = written
    if block is None or before_block is None:
        return Corrections([], [])
    union = geometry.union(block, before_block)
    a, b = geometry.laid_on(union, before_block, before), geometry.laid_on(union, block, now)
    others = tuple(n for n in range(3) if n != axis)
    differ = np.flatnonzero((a != b).any(axis=others))
    filled = b.any(axis=others)
    painted = [int(i) + union[axis] for i in differ if filled[i]]
    emptied = [int(i) + union[axis] for i in differ if not filled[i]]
    return Corrections(painted, emptied, block[axis], block[axis + 3] - 1)


def changed(expected, current, axis):
    """Index of the slices of two arrays that differ: ``array[changed(...)]`` is those slices."""
    others = tuple(n for n in range(3) if n != axis)
    index = [slice(None)] * 3
    index[axis] = np.flatnonzero((expected != current).any(axis=others))
    return tuple(index)


def filled(node, segment_id, volume, axis):
    """Indices of the slices on which a segment has voxels."""
    block, mask = segmentation.read(node, segment_id, volume)
    if block is None:
        return []
    others = tuple(n for n in range(3) if n != axis)
    return [int(i) + block[axis] for i in np.flatnonzero(mask.any(axis=others))]


def masks(node, segment_id, volume):
    """The slices that are right, as the worker wants them: a list of (block, uint8 array)."""
    axis, indices = prompts.right_slices(node, segment_id)
    block, mask = segmentation.read(node, segment_id, volume)
    if block is None:
        return []
    found = []
    for index in indices:
        if not block[axis] <= index < block[axis + 3]:
            continue
        part = list(block)
        part[axis], part[axis + 3] = index, index + 1
        voxels = mask[geometry.inside(part, block)]
        if voxels.any():
            found.append((part, np.ascontiguousarray(voxels, np.uint8)))
    return found
