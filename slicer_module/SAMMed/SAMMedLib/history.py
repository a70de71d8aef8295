"""One history for the module and the Segment Editor: Slicer's own, which keeps the segments.

Each segment carries a tag with the name of the state that it is in. It is saved and restored with
the segment by whoever undoes, so the module sees where the segment stands, and brings the prompts,
the quality table and what the engine wrote along.
"""

from __future__ import annotations

import dataclasses
import time
import typing
import uuid

import numpy as np
import slicer

from . import editing, geometry, prompts, segmentation

STATE_TAG = "SAMMed.State"

STEPS = 20
"""Steps kept where no Segment Editor keeps them; each has a copy of what changed."""


MOST_STATES = 3 * STEPS
"""States that are remembered of each segment."""

SWEEP_SECONDS = 0.4
"""How often it is looked for prompts whose segment is gone."""


class Packed:
    """A (tight block, bool array) in an eighth of its memory."""

    def __init__(self, voxels):
        self.block, mask = voxels
        self.shape = () if mask is None else mask.shape
        self.bits = None if mask is None else np.packbits(mask)

    def unpack(self):
        """The block and the array; ``None`` twice if there are no voxels."""
        if self.block is None:
            return None, None
        count = int(np.prod(self.shape))
        return self.block, np.unpackbits(self.bits, count=count).astype(bool).reshape(self.shape)


@dataclasses.dataclass
class State:
    """What belongs to a segment in one state, beside the segment itself.

    Attributes
    ----------
    prompts
        As they were when it came about.
    subject
        What the voxels were computed from; ``None`` if nothing was computed yet.
    written
        The segment as the engine's answers left it; what was changed by hand is not in it.
    voxels
        The segment itself as the step left it.
    run, ml
        How the segmentation went, and the volume of what it gave.
    """

    prompts: dict
    subject: typing.Optional[object] = None
    written: typing.Optional[Packed] = None
    voxels: typing.Optional[Packed] = None
    run: typing.Optional[dict] = None
    ml: typing.Optional[float] = None


class Undo:
    """Slicer's history of one segmentation, where no Segment Editor keeps one.

    Parameters
    ----------
    node
        The segmentation.
    """

    def __init__(self, node):
        self._history = slicer.vtkSegmentationHistory()
        self._history.SetMaximumNumberOfStates(STEPS)
        self._history.SetSegmentation(node.GetSegmentation())

    def save(self):
        """Keep the segments as they are, before they are changed."""
        self._history.SaveState()

    def undo(self):
        """Bring them back to the state before."""
        self._history.RestorePreviousState()

    def redo(self):
        """Bring them to the state after."""
        self._history.RestoreNextState()

    @property
    def can_undo(self):
        """Whether there is a state before."""
        return self._history.IsRestorePreviousStateAvailable()

    @property
    def can_redo(self):
        """Whether there is a state after."""
        return self._history.IsRestoreNextStateAvailable()


class History:
    """Which state each segment is in, and what belongs to it.

    Attributes
    ----------
    editor
        The Segment Editor's history, used for the segmentation that it shows: ``node`` and the
        methods of `Undo`. ``None`` if there is no Segment Editor.
    told
        Segments that the worker knows as they were written.
    """

    def __init__(self, editor=None):
        self.editor = editor
        self.told = set()
        self._states = {}
        self._at = {}
        self._frames = {}
        self._undos = {}
        self._lost = {}
        self._sweep = 0.0

    def undo_of(self, node):
        """The history that a segmentation has."""
        if self.editor is not None and self.editor.node is node:
            return self.editor
        known = self._undos.get(node.GetID())
        if known is None:
            known = self._undos[node.GetID()] = Undo(node)
        return known

    # -- what is known of a segment ----------------------------------------------------------

    def state(self, key):
        """The state of a segment, ``None`` if the module has nothing to do with it."""
        return self._states.get((key, self._at.get(key))) if key else None

    def settled(self, key):
        """The prompts as they were at the last step."""
        state = self.state(key)
        return state.prompts if state else prompts.EMPTY

    def written(self, key):
        """The segment as the engine's answers left it; ``None`` if there were none."""
        state = self.state(key)
        return state.written.unpack() if state and state.written else None

    def run(self, key):
        """How the last segmentation went; ``None`` if there was none."""
        state = self.state(key)
        return state.run if state else None

    def ml(self, key):
        """The volume of what it gave."""
        state = self.state(key)
        return state.ml if state else None

    def is_behind(self, node, segment_id):
        """Whether a segment has prompts that were not segmented yet."""
        now = prompts.snapshot(node, segment_id)
        return not prompts.same(now, self.settled((node.GetID(), segment_id)))

    def changed_by_hand(self, key, node, grid):
        """Whether a segment is not as its last step left it."""
        state = self.state(key)
        if state is None or state.voxels is None:
            return False
        now = segmentation.read(node, key[1], grid)
        return not segmentation.same(now, state.voxels.unpack())

    # -- steps -------------------------------------------------------------------------------

    def adopt(self, node, segment_id):
        """Begin with a segment as it is: one that was loaded, or was not known before."""
        key = node.GetID(), segment_id
        if key not in self._at:
            self._at[key] = self.name_of(node, segment_id)
            self._states[key, self._at[key]] = State(prompts.snapshot(node, segment_id))

    def begin(self, node, segment_id):
        """Remember a segment that the module is about to change as it is."""
        key = node.GetID(), segment_id
        if key not in self._at:
            self._at[key] = self.name_of(node, segment_id)
            self._states[key, self._at[key]] = State(prompts.EMPTY)

    def settle(self, node, segment_id):
        """Prompts that were not segmented yet belong to what a segment is now."""
        self.begin(node, segment_id)
        place = (node.GetID(), segment_id), self._at[node.GetID(), segment_id]
        now = prompts.snapshot(node, segment_id)
        self._states[place] = dataclasses.replace(self._states[place], prompts=now)

    def save(self, node, *segment_ids):
        """Keep the segmentation as it is before a step, without prompts that lead to the step."""
        now = {i: prompts.snapshot(node, i)["tags"] for i in segment_ids}
        for segment_id in segment_ids:
            prompts.set_tags(node, segment_id, self.settled((node.GetID(), segment_id))["tags"])
        self.undo_of(node).save()
        for editor in editing.module_editors(node):  # its Undo goes back to here, not further
            editor.saveStateForUndo()
        for segment_id, tags in now.items():
            prompts.set_tags(node, segment_id, tags)

    def record(self, node, segment_id, state):
        """A segment was brought to a new state by a step; the state before was saved."""
        key, name = (node.GetID(), segment_id), uuid.uuid4().hex[:12]
        self._states[key, name] = state
        self._at[key] = name
        node.GetSegmentation().GetSegment(segment_id).SetTag(STATE_TAG, name)
        self.told.add(key)
        former = [place for place in self._states if place[0] == key]
        for place in former[:-MOST_STATES]:  # no history goes back that far
            del self._states[place]

    def record_prompts(self, node, segment_id):
        """Make a step of the prompts that were not segmented yet."""
        key = node.GetID(), segment_id
        self.begin(node, segment_id)
        self.save(node, segment_id)
        told = key in self.told
        now = dataclasses.replace(self.state(key), prompts=prompts.snapshot(node, segment_id))
        self.record(node, segment_id, now)
        if not told:
            self.told.discard(key)

    def forgive(self, node, segment_id, grid, axis, indices):
        """Slices are no longer right: as they are now they count as the engine's own."""
        state, key = self.state((node.GetID(), segment_id)), (node.GetID(), segment_id)
        if state is None or state.written is None:
            return
        written, current = state.written.unpack(), segmentation.read(node, segment_id, grid)
        union = geometry.union(written[0], current[0])
        if union is None:
            return
        voxels, now = geometry.laid_on(union, *written), geometry.laid_on(union, *current)
        index = [slice(None)] * 3
        index[axis] = [i - union[axis] for i in indices if union[axis] <= i < union[axis + 3]]
        voxels[tuple(index)] = now[tuple(index)]
        state.written = Packed(geometry.crop(union, voxels))
        self.told.discard(key)

    def moved(self, node):
        """Why steps of a segmentation would be written to the wrong place; empty if none would."""
        known = (self.state(key) for key in self._at if key[0] == node.GetID())
        subjects = (state.subject for state in known if state is not None and state.subject)
        return next(filter(None, (about.moved() for about in subjects)), "")

    # -- following ---------------------------------------------------------------------------

    def follow(self, frame_of):
        """See which segments were brought to another state by somebody's undo or redo.

        Parameters
        ----------
        frame_of
            Gives the frame of a sequence that a segmentation shows.

        Returns
        -------
        list of tuple
            Their keys; their prompts are as they were in that state.
        """
        if slicer.mrmlScene.IsBatchProcessing():
            return []  # half of the scene may be there
        keys = {*self._at, *self._lost}
        if time.monotonic() > self._sweep:  # prompts of segments that nothing was done to yet
            self._sweep = time.monotonic() + SWEEP_SECONDS
            keys |= prompts.owners()
        return [key for key in keys if self._has_moved(key, frame_of)]

    def _has_moved(self, key, frame_of):
        """Whether a segment came back, or is in another state than when it was looked at last."""
        if key[0] is None:  # the segmentation is gone, and with it what was drawn for it
            prompts.clear_nodes(key)
            return False
        node = slicer.mrmlScene.GetNodeByID(key[0])
        if not segmentation.exists(node, key[1]):
            self._lose(key)
            return False
        back = self._lost.pop(key, None)
        if back is not None:
            prompts.restore(node, key[1], back)
        return self._is_in_another_state(key, node, frame_of(node)) or back is not None

    def _is_in_another_state(self, key, node, frame):
        if key not in self._at:
            return False  # nothing was done to it yet
        same_frame = self._frames.setdefault(key, frame) == frame
        self._frames[key] = frame
        if not same_frame:
            self._clear_steps(node)  # they are another frame's
        now = self.name_of(node, key[1])
        if now == self._at[key]:
            return False
        self._at[key] = now
        self.told.discard(key)
        if same_frame:
            prompts.restore(node, key[1], self.settled(key))
        return True

    def _clear_steps(self, node):
        if self.editor is not None and self.editor.node is node:
            self.editor.clear()
        self._undos.pop(node.GetID(), None)

    def _lose(self, key):
        """A segment is gone: its prompts go, and come back if it does."""
        if key not in self._lost:
            self._lost[key] = prompts.snapshot_nodes(key)
            self.told.discard(key)
            prompts.clear_nodes(key)

    def forget(self, key):
        """A segment was removed for good."""
        self._at.pop(key, None)
        self.told.discard(key)

    @staticmethod
    def name_of(node, segment_id):
        """The name of the state that a segment is in."""
        return prompts.get_tag(node.GetSegmentation().GetSegment(segment_id), STATE_TAG)


def step_back(history, node, segment_id, grid):
    """Undo one step of a segmentation; what was changed by hand since is a step of its own.

    Tools that keep no history, or another, may have changed the segment. What they did is then
    taken back first, and comes again by redo.
    """
    key, undo = (node.GetID(), segment_id), history.undo_of(node)
    by_hand = grid is not None and history.changed_by_hand(key, node, grid)
    before, aside = history.name_of(node, segment_id), Undo(node) if by_hand else None
    if aside:
        aside.save()
    undo.undo()
    if not by_hand or history.name_of(node, segment_id) == before:
        return False
    aside.undo()  # the work by hand: the history did not know what was before it
    hand, after = segmentation.read(node, segment_id, grid), history.state(key).voxels.unpack()
    block = geometry.union(hand[0], after[0])
    segmentation.write(node, segment_id, grid, block, geometry.laid_on(block, *after))
    undo.save()
    aside.undo()
    undo.undo()
    return True
