"""A segmentation under way: slices shown before the rest is there, and the result at its end.

What the user sees meanwhile is a preview. If the rest does not come it is taken back, and the
segment is as it was; slices that the user changes by hand meanwhile are never written over.
"""

from __future__ import annotations

import numpy as np
from slicer.i18n import tr as _

from . import corrections, geometry, segmentation


class Running:
    """One segmentation from the moment it was asked for.

    Parameters
    ----------
    key
        (segmentation ID, segment ID).
    subject
        What was asked about; see `subject.Subject`.
    base
        The segment when it was asked for, as `segmentation.read` gives it.

    Attributes
    ----------
    expected
        The segment as it is now, unless the user has changed it: the base and the slices shown.
    blocks
        By (axis, index), where a slice was shown.
    clicked
        Slices on which points, scribbles or lassos lie: these are computed, also if kept.
    """

    def __init__(self, key, subject, base):
        self.key = key
        self.subject = subject
        self.base = self.expected = base
        self.blocks = {}
        self.clicked = set()

    def home(self):
        """The segmentation; ``None`` if it or the segment is gone."""
        node = self.subject.node
        return node if segmentation.exists(node, self.key[1]) else None

    def misfit(self):
        """Why what the engine answers does not fit any more; empty if it does."""
        node = self.home()
        if node is None:
            return _("the volume or the segment was removed meanwhile")
        why = self.subject.misfit()
        if not why or why == segmentation.not_writable(node):
            return why
        return _("{what} meanwhile").format(what=why)

    def volume_changed(self, about):
        """Whether another volume, or other voxels, are asked about now."""
        then = self.subject
        return (then.volume_id, then.stamp, then.frame) != (
            about.volume_id,
            about.stamp,
            about.frame,
        )

    def show(self, node, part, voxels):
        """Show all that the segment has on one slice, unless the user has changed it meanwhile.

        Parameters
        ----------
        node
            The segmentation.
        part
            A `work.SlicePart`.
        voxels : bool
            On its block; ``None`` if the slice is empty.
        """
        grid = self.subject.grid
        plane = geometry.range_block(grid, part.axis, part.index, part.index + 1)
        own = geometry.common(self.expected[0], plane) if self.expected[0] else None
        block = geometry.union(part.block, own)
        if block is None:
            return
        now = segmentation.on_block(node, self.key[1], grid, block)
        if (now != geometry.laid_on(block, *self.expected)).any():
            return
        after = np.zeros_like(now)
        if part.block is not None:
            after[geometry.inside(part.block, block)] = voxels
        segmentation.write(node, self.key[1], grid, block, after)
        self.expected = geometry.overlaid(self.expected, block, after)
        place = part.axis, part.index
        self.blocks[place] = geometry.union(self.blocks.get(place), block)

    def take_back(self, node):
        """Bring the slices that were shown back, but for those that the user has changed.

        Returns
        -------
        bool
            Whether they are as they were; not if the segment lies on other voxels by now.
        """
        grid = self._grid_now(node) if self.blocks else None
        done = grid is not None and not segmentation.not_writable(node)
        for block in self.blocks.values() if done else ():
            now = segmentation.on_block(node, self.key[1], grid, block)
            if (now == geometry.laid_on(block, *self.expected)).all():
                before = geometry.laid_on(block, *self.base)
                segmentation.write(node, self.key[1], grid, block, before)
        done = done or not self.blocks
        self.blocks.clear()
        self.expected = self.base
        return done

    def _grid_now(self, node):
        """Where the voxels of then lie now: a segmentation may have been hardened as well."""
        grid, volume = self.subject.grid, self.subject.volume
        if segmentation.lies_on(node, self.key[1], grid):
            return grid
        now = geometry.grid_of(volume, node) if volume is not None else None
        same = now is not None and tuple(now.shape) == tuple(grid.shape)
        return now if same and segmentation.lies_on(node, self.key[1], now) else None

    def finish(self, node, result, voxels, engines):
        """Write the result over the base.

        Parameters
        ----------
        node
            The segmentation.
        result
            A `work.Result`.
        voxels : bool
            On its block; ``None`` if there is none.
        engines
            The segment as the engine wrote it before this, or ``None``.

        Returns
        -------
        engines
            The segment as the engine wrote it now; what the user has changed is not in it.
        now
            The segment as it is now.
        """
        grid = self.subject.grid
        current = segmentation.read(node, self.key[1], grid)
        block = result.block
        for shown in self.blocks.values():
            block = geometry.union(block, shown)
        if result.replace:
            block = geometry.union(geometry.union(block, current[0]), self.base[0])
        if block is None:
            return engines or current, current
        if result.replace:
            wanted = np.zeros([block[a + 3] - block[a] for a in range(3)], bool)
        else:
            wanted = geometry.laid_on(block, *self.base)
        if result.block is not None:
            wanted[geometry.inside(result.block, block)] = voxels
        after = self._with_work_by_hand(block, wanted, current, result.run["axis"])
        segmentation.write(node, self.key[1], grid, block, after)
        if result.replace:  # the block holds all of the segment
            now = geometry.crop(block, after)
            return (now if after is wanted else geometry.crop(block, wanted)), now
        if engines is None:
            written = geometry.crop(block, wanted)
        else:
            written = geometry.overlaid(engines, block, wanted)
        return written, geometry.overlaid(current, block, after)

    def _with_work_by_hand(self, block, wanted, current, axis):
        """What is to be written, but for slices that the user has changed meanwhile."""
        if segmentation.same(current, self.expected):
            return wanted
        now = geometry.laid_on(block, *current)
        by_hand = corrections.changed(geometry.laid_on(block, *self.expected), now, axis)
        after = wanted.copy()
        after[by_hand] = now[by_hand]
        return after
