"""Undo and redo: prompts and masks together, by what changed and where."""

from __future__ import annotations

import collections
import dataclasses

import numpy as np

from . import geometry, prompts, segmentation

STEPS = 50
"""Steps kept; each holds only the voxels of the block that changed, packed to bits."""


class Packed:
    """A bool array in an eighth of its memory."""

    def __init__(self, voxels):
        self.shape = voxels.shape
        self.bits = np.packbits(voxels)

    def unpack(self):
        """The array."""
        count = int(np.prod(self.shape))
        return np.unpackbits(self.bits, count=count).astype(bool).reshape(self.shape)

    def __eq__(self, other):
        return self.shape == other.shape and np.array_equal(self.bits, other.bits)

    __hash__ = None


@dataclasses.dataclass
class Step:
    """One change of one segment."""

    segmentation_id: str
    segment_id: str
    volume_id: str
    prompts_before: dict
    prompts_after: dict
    block: list = None
    before: Packed = None
    after: Packed = None
    run_before: dict = None
    run_after: dict = None


class History:
    """Steps that can be taken back, and those that were.

    Attributes
    ----------
    past, future
        Newest last.
    """

    def __init__(self):
        self.past = collections.deque(maxlen=STEPS)
        self.future = []

    def add(self, step):
        """A new step; what was taken back before is gone."""
        self.past.append(step)
        self.future.clear()

    def clear(self):
        """Forget everything."""
        self.past.clear()
        self.future.clear()

    def forget(self, keep):
        """Forget steps for which ``keep`` is false, such as those of removed segments."""
        self.past = collections.deque((s for s in self.past if keep(s)), maxlen=STEPS)
        self.future = [s for s in self.future if keep(s)]


def changed_since(step, node, volume, backwards):
    """Whether the voxels of a step are no longer as the step left them."""
    if step.block is None:
        return False
    now = Packed(segmentation.on_block(node, step.segment_id, volume, step.block))
    return now != (step.after if backwards else step.before)


def engines(step, written, backwards):
    """The segment as the engine's answers left it, on one side of a step.

    Parameters
    ----------
    step
        With voxels.
    written
        The same on the other side; what the user changed by hand is not in it.
    backwards
        Which way.
    """
    before, after = step.before.unpack(), step.after.unpack()
    voxels = geometry.laid_on(step.block, *written)
    differ = before != after
    voxels[differ] = (before if backwards else after)[differ]
    return geometry.overlaid(written, step.block, voxels)


def apply(step, node, volume, backwards):
    """Bring prompts and voxels to one side of a step."""
    state = step.prompts_before if backwards else step.prompts_after
    prompts.restore(node, step.segment_id, state)
    if step.block is not None:
        voxels = (step.before if backwards else step.after).unpack()
        segmentation.write(node, step.segment_id, volume, step.block, voxels)
