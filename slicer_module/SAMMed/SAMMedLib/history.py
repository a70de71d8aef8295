"""Undo and redo: prompts and masks together, by what changed and where."""

from __future__ import annotations

import collections
import dataclasses

import numpy as np
import slicer

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
    """What was done to each segment, and the steps that can be taken back.

    Attributes
    ----------
    past, future
        Newest last.
    settled, written
        By (segmentation ID, segment ID): the prompts as they were at the last step, and the
        voxels, as `segmentation.read` gives them, as the engine's answers left them.
    told
        Segments that the worker knows as they are in ``written``.
    runs, volumes_ml
        How the last segmentation went, and the volume of what it gave.
    """

    def __init__(self):
        self.past = collections.deque(maxlen=STEPS)
        self.future = []
        self.settled, self.written, self.told = {}, {}, set()
        self.runs, self.volumes_ml = {}, {}

    def record(self, key, volume, state, change, written, run):
        """A result was written; what was taken back before is gone.

        Parameters
        ----------
        key, volume
            Which segment, of which volume.
        state
            The prompts that led to it.
        change
            A `running.Change`.
        written
            The segment as the engine's answers leave it.
        run
            How it went.
        """
        step = Step(*key, volume.GetID(), self.settled.get(key, prompts.EMPTY), state)
        if change.block is not None:
            step.block = change.block
            step.before, step.after = Packed(change.before), Packed(change.after)
            step.run_before, step.run_after = self.runs.get(key), run
        self.past.append(step)
        self.future.clear()
        self.settled[key], self.written[key] = state, written
        self.told.add(key)
        self.runs[key] = run
        self.volumes_ml[key] = segmentation.millilitres(volume, written[1])

    def is_behind(self, node, segment_id):
        """Whether a segment has prompts that were not segmented yet."""
        now = prompts.snapshot(node, segment_id)
        return not prompts.same(now, self.settled.get((node.GetID(), segment_id), prompts.EMPTY))

    def record_prompts(self, node, segment_id, volume):
        """Make a step of the prompts that were not segmented yet."""
        key = node.GetID(), segment_id
        before = self.settled.get(key, prompts.EMPTY)
        now = prompts.snapshot(node, segment_id)
        self.past.append(Step(*key, volume.GetID(), before, now))

    def go(self, backwards):
        """Take the last step back, or do again the one that was taken back last.

        Returns
        -------
        key : tuple
            (segmentation ID, segment ID) of the step.
        problem : str
            Why it cannot be; empty if it was done.
        """
        source, target = (self.past, self.future) if backwards else (self.future, self.past)
        step = source.pop()
        key = step.segmentation_id, step.segment_id
        node, volume = (slicer.mrmlScene.GetNodeByID(i) for i in (key[0], step.volume_id))
        if volume is None or not segmentation.exists(node, key[1]):
            return key, "That segment is gone; there is nothing to bring back."
        if changed_since(step, node, volume, backwards):
            source.append(step)
            return (
                key,
                "The segment was changed by hand since: undo that in the Segment Editor first.",
            )
        self.replay(step, node, volume, backwards)
        target.append(step)
        return key, ""

    def replay(self, step, node, volume, backwards):
        """Bring prompts and voxels to one side of a step."""
        key = step.segmentation_id, step.segment_id
        state = step.prompts_before if backwards else step.prompts_after
        prompts.restore(node, step.segment_id, state)
        self.settled[key] = state
        self.told.discard(key)
        if step.block is None:
            return
        voxels = (step.before if backwards else step.after).unpack()
        segmentation.write(node, step.segment_id, volume, step.block, voxels)
        current = segmentation.read(node, step.segment_id, volume)
        self.written[key] = _engines(step, self.written.get(key, current), backwards)
        self.volumes_ml[key] = segmentation.millilitres(volume, current[1])
        self.runs[key] = step.run_before if backwards else step.run_after

    def forget(self, key):
        """A segment was removed."""

        def stays(step):
            return (step.segmentation_id, step.segment_id) != key

        self.past = collections.deque(filter(stays, self.past), maxlen=STEPS)
        self.future = list(filter(stays, self.future))
        for kept in (self.settled, self.written, self.runs, self.volumes_ml):
            kept.pop(key, None)
        self.told.discard(key)


def changed_since(step, node, volume, backwards):
    """Whether the voxels of a step are no longer as the step left them."""
    if step.block is None:
        return False
    now = Packed(segmentation.on_block(node, step.segment_id, volume, step.block))
    return now != (step.after if backwards else step.before)


def _engines(step, written, backwards):
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
