"""What was found without a prompt becomes segments, all of it as one step of undo."""

from __future__ import annotations

import dataclasses

import numpy as np
from slicer.i18n import tr as _

from . import errands, geometry, history, labelled, placing, prompts, segmentation, terms

SAME = 0.7
"""A proposal whose overlap (IoU) with a segment is larger is that segment: it is there already."""


@dataclasses.dataclass
class Arrived:
    """What became of what was found.

    Attributes
    ----------
    ids
        Segment of each name that was written.
    left_alone
        Names of what was there already, and is as it was.
    no_room
        Names of what others have all voxels of.
    former
        Segment ID → the name of the state that it was in before; ``None`` if it was not there.
    volume_id, node_id
        The volume and the segmentation.
    """

    ids: dict = dataclasses.field(default_factory=dict)
    left_alone: list = dataclasses.field(default_factory=list)
    no_room: list = dataclasses.field(default_factory=list)
    former: dict = dataclasses.field(default_factory=dict)
    volume_id: str = ""
    node_id: str = ""


class Arrival:
    """Writes what was found into a segmentation.

    Parameters
    ----------
    steps
        See `history.History`.
    about
        See `subject.Subject`: where the voxels lie.
    node
        The segmentation.
    parameters
        What is chosen in the panel.
    replace
        Whether segments of the same name may be replaced; else they are left as they are.
    source
        The other scan's segmentation, for its colors; may be ``None``.
    """

    def __init__(self, steps, about, node, parameters, replace=False, source=None):
        self._steps, self._about, self._node = steps, about, node
        self._parameters, self._replace, self._source = parameters, replace, source
        self._grid = about.grid
        self._segments = node.GetSegmentation()

    def write(self, findings, arrived):
        """Write all that was found, one object at a time: yields after each.

        Slicer's window goes on between two of them. ``arrived`` tells what became of each.
        """
        todo = []
        known = {} if findings.do == errands.PROPOSE else self._known()
        for one in findings.found:
            if one.block is None:
                continue
            segment_id = known.get(one.name)
            if self._is_left_alone(findings.do, one, segment_id):
                arrived.left_alone.append(one.name)
            else:
                todo.append((one, segment_id))
            yield
        if not todo:
            return
        if self._parameters.overlap == segmentation.OTHERS_KEEP:  # the small keep their voxels
            todo.sort(key=lambda pair: np.count_nonzero(pair[0].voxels))
        there = [segment_id for _one, segment_id in todo if segment_id]
        for segment_id in there:
            self._steps.settle(self._node, segment_id)
        self._steps.save(self._node, *there)
        for one, segment_id in todo:
            modified = self._node.StartModify()
            try:
                self._write_one(findings.do, one, segment_id, arrived)
            finally:
                self._node.EndModify(modified)
            yield

    def _is_left_alone(self, do, one, segment_id):
        """Whether a segment is there that it would replace unasked, or that it is already."""
        if do == errands.PROPOSE:
            return self._is_there(one)
        return segment_id is not None and not self._may_write(segment_id)

    def _known(self):
        segments = ((i, self._segments.GetSegment(i)) for i in segmentation.ids(self._node))
        return {segment.GetName(): segment_id for segment_id, segment in segments}

    def _may_write(self, segment_id):
        """Whether nothing of the user's would be lost, or the user has agreed to it."""
        if self._replace:
            return True
        empty = segmentation.read(self._node, segment_id, self._grid)[0] is None
        return empty and not prompts.nodes(self._node, segment_id)

    def _is_there(self, one):
        """Whether a segment is nearly the same."""
        size = np.count_nonzero(one.voxels)
        for segment_id in segmentation.ids(self._node):
            block, mask = segmentation.read(self._node, segment_id, self._grid)
            shared = geometry.common(block, one.block) if block else None
            if shared is None:
                continue
            both = mask[geometry.inside(shared, block)]
            both = np.count_nonzero(both & one.voxels[geometry.inside(shared, one.block)])
            if both > SAME * (size + np.count_nonzero(mask) - both):
                return True
        return False

    def _write_one(self, do, one, segment_id, arrived):
        node, grid, voxels = self._node, self._grid, one.voxels
        if self._parameters.overlap == segmentation.OTHERS_KEEP:
            voxels = segmentation.leave_others(node, segment_id or "", grid, one.block, voxels)
            if not voxels.any():
                arrived.no_room.append(one.name)
                return
        block, former = one.block, None
        if segment_id:
            former = self._steps.name_of(node, segment_id)
            block = geometry.union(segmentation.read(node, segment_id, grid)[0], block)
            prompts.clear(node, segment_id)
        else:
            segment_id = segmentation.add(node, self._free_name(one.name))
            self._dress(segment_id, one)
        self._steps.begin(node, segment_id)
        segmentation.write(
            node, segment_id, grid, block, geometry.laid_on(block, one.block, voxels)
        )
        terms.give(self._segments.GetSegment(segment_id))
        axis = placing.default_axis(self._about.volume, self._parameters.plane)
        self._prompt(do, segment_id, geometry.crop(one.block, voxels), axis)
        self._record(segment_id, one, geometry.crop(one.block, voxels), axis)
        arrived.ids[one.name], arrived.former[segment_id] = segment_id, former

    def _free_name(self, name):
        """The name, with a number if a segment has it already."""
        taken, number, free = set(self._known()), 2, name
        while free in taken:
            free, number = f"{name} ({number})", number + 1
        return free

    def _dress(self, segment_id, one):
        """The value and the color that it has in the other scan."""
        segment = self._segments.GetSegment(segment_id)
        if one.value:
            segmentation.set_value(self._node, segment_id, one.value)
        color = labelled.color_of(self._source, one.name)
        if color is not None:
            segment.SetColor(*color)

    def _prompt(self, do, segment_id, voxels, axis):
        """What it can be edited from: its box, or all its slices as they are."""
        block, mask = voxels
        if do == errands.PROPOSE:
            volume = self._about.volume
            flat = [a for a in range(3) if geometry.shape_of(volume)[a] == 1]
            on = flat[0] if flat else None
            prompts.place_box(self._node, segment_id, volume, block, on)
        else:
            others = tuple(n for n in range(3) if n != axis)
            indices = [int(i) + block[axis] for i in np.flatnonzero(mask.any(axis=others))]
            prompts.set_right_slices(self._node, segment_id, axis, indices)

    def _record(self, segment_id, one, voxels, axis):
        packed = history.Packed(voxels)
        ml = segmentation.millilitres(self._grid, voxels[1])
        run = {"axis": axis, "slices": [], "stops": [], "prompted": [], "found": one.account}
        now = prompts.snapshot(self._node, segment_id)
        self._steps.record(
            self._node, segment_id, history.State(now, self._about, packed, packed, run, ml)
        )
        self._steps.told.discard((self._node.GetID(), segment_id))  # the worker does not know it


def centre(block):
    """The middle of a block, continuous (k, j, i)."""
    return [(block[a] + block[a + 3] - 1) / 2 for a in range(3)]


def nothing(do):
    """What is said where there is nothing to write."""
    return {
        errands.TAKE: _("Nothing was found."),
        errands.LEARNED: _("Nothing that was learned was found here."),
        errands.FOLLOW: _("None of the lesions is there now."),
        errands.PROPOSE: _("Nothing was found that stands out."),
    }[do]
