"""Prompts in the scene: markups that know their segment, and slices that the user called right.

Each markups node carries attributes (its role, its segment, what its box means) and a reference to
the segmentation, so that everything is saved with the scene and comes back with it.
"""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from . import geometry, strokes

ROLE = "SAMMed.Role"
SEGMENT = "SAMMed.SegmentID"
MEANING = "SAMMed.Meaning"
AXIS = "SAMMed.Axis"
OWNER = "SAMMed.Segmentation"
RIGHT_TAG = "SAMMed.RightSlices"
ENDS_TAG = "SAMMed.Ends"

BOX, POSITIVE, NEGATIVE = "box", "positive", "negative"
SCRIBBLE, LASSO = "scribble", "lasso"
OUTSIDE = "SAMMed.Outside"
SLICE, LIMITS = "slice", "limits"

_CLASSES = {
    BOX: "vtkMRMLMarkupsROINode",
    POSITIVE: "vtkMRMLMarkupsFiducialNode",
    NEGATIVE: "vtkMRMLMarkupsFiducialNode",
    SCRIBBLE: "vtkMRMLMarkupsCurveNode",
    LASSO: "vtkMRMLMarkupsClosedCurveNode",
}
_NAMES = {
    BOX: "box",
    POSITIVE: "inside",
    NEGATIVE: "outside",
    SCRIBBLE: "scribble",
    LASSO: "lasso",
}
COLORS = {
    BOX: (1.0, 0.8, 0.2),
    POSITIVE: (0.2, 0.85, 0.3),
    NEGATIVE: (0.95, 0.25, 0.2),
    SCRIBBLE: (0.2, 0.85, 0.3),
    LASSO: (0.2, 0.85, 0.3),
}


def nodes(segmentation, segment_id, role=None):
    """Markups of a segment, in the order of the scene."""
    return nodes_of((segmentation.GetID(), segment_id), role)


def nodes_of(key, role=None):
    """Markups of a (segmentation ID, segment ID), also of one that is gone."""
    found = []
    for node in slicer.util.getNodesByClass("vtkMRMLMarkupsNode"):
        mine = node.GetAttribute(SEGMENT) == key[1] and node.GetNodeReferenceID(OWNER) == key[0]
        if mine and role in (None, node.GetAttribute(ROLE)):
            found.append(node)
    return found


def owners():
    """(segmentation ID, segment ID) of all prompts of the scene."""
    found = set()
    for node in slicer.util.getNodesByClass("vtkMRMLMarkupsNode"):
        if node.GetAttribute(ROLE):
            found.add((node.GetNodeReferenceID(OWNER), node.GetAttribute(SEGMENT)))
    return found


def make(segmentation, segment_id, role, meaning=SLICE, outside=False):
    """A new, empty markups node for a segment, below its segmentation in the Data tree."""
    name = segmentation.GetSegmentation().GetSegment(segment_id).GetName()
    node = slicer.mrmlScene.AddNewNodeByClass(_CLASSES[role], f"{name} {_NAMES[role]}")
    node.SetAttribute(ROLE, role)
    node.SetAttribute(SEGMENT, segment_id)
    node.SetNodeReferenceID(OWNER, segmentation.GetID())
    if role == BOX:
        node.SetAttribute(MEANING, meaning)
    if outside:
        node.SetAttribute(OUTSIDE, "1")
    if role in (SCRIBBLE, LASSO):
        node.SetCurveTypeToLinear()
        node.SetLocked(True)  # what was drawn is drawn anew, not bent
    node.CreateDefaultDisplayNodes()
    _dress(node, NEGATIVE if outside else role)
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if tree is not None:
        parent = tree.GetItemByDataNode(segmentation)
        item = tree.GetItemByDataNode(node) or tree.CreateItem(parent, node)
        if parent and tree.GetItemParent(item) != parent:
            tree.SetItemParent(item, parent)
    return node


def show_only(key):
    """Show the prompts of a segment and hide those of all others, so that none is moved unseen."""
    for node in slicer.util.getNodesByClass("vtkMRMLMarkupsNode"):
        if not node.GetAttribute(ROLE):
            continue
        mine = key == (node.GetNodeReferenceID(OWNER), node.GetAttribute(SEGMENT))
        display = node.GetDisplayNode()
        if display is not None and bool(display.GetVisibility()) != mine:
            display.SetVisibility(mine)


def _dress(node, role):
    display = node.GetDisplayNode()
    display.SetSelectedColor(*COLORS[role])
    display.SetColor(*COLORS[role])
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    if role == BOX:
        display.SetFillOpacity(0.06)
        display.SetOutlineOpacity(1.0)
    elif node.GetAttribute(ROLE) in (SCRIBBLE, LASSO):
        display.SetGlyphScale(0.1)
        display.SetLineThickness(0.6)
    else:
        display.SetGlyphScale(1.6)


def place_box(segmentation, segment_id, volume, block, axis=None):
    """A finished box round a block of voxels; on one slice if an axis is given."""
    node = make(segmentation, segment_id, BOX, LIMITS if axis is None else SLICE)
    if axis is not None:
        node.SetAttribute(AXIS, str(axis))
    geometry.fit_roi(volume, node, block)
    return node


def add_point(segmentation, segment_id, role, point):
    """Add a point at a RAS world position; makes the node if there is none."""
    found = nodes(segmentation, segment_id, role)
    node = found[0] if found else make(segmentation, segment_id, role)
    node.AddControlPointWorld(*(float(v) for v in point))
    return node


def settle_box(node, volume, axis):
    """Lay a box that was just drawn or moved on the voxels that it means.

    A box that means one slice becomes one voxel thick at its middle; ``axis`` is the one across
    the view in which it was drawn.
    """
    if node.GetAttribute(MEANING) == SLICE:
        node.SetAttribute(AXIS, str(axis))
        block = geometry.slice_block(volume, node, axis)
    else:
        block = geometry.roi_block(volume, node)
    if block is not None:
        geometry.fit_roi(volume, node, block)
    return block


def read(volume, segmentation, segment_id):
    """Prompts of a segment as the worker's ``put`` wants them, and what was left out.

    Returns
    -------
    prompts : dict
        ``boxes``, ``blocks``, ``points``, ``scribbles``, ``lassos``, in voxels of the volume.
    problems : list of str
        Prompts that lie outside the volume.
    """
    boxes, blocks, points, problems = [], [], [], []
    for node in nodes(segmentation, segment_id, BOX):
        if not is_complete(node):
            continue
        if node.GetAttribute(MEANING) == LIMITS:
            block = geometry.roi_block(volume, node)
            blocks += [{"block": block}] if block else []
        else:
            axis = box_axis(node, volume)
            block = geometry.slice_block(volume, node, axis)
            boxes += [{"axis": axis, "block": block}] if block else []
        if block is None:
            problems.append(_outside(node.GetName()))
    for role in (POSITIVE, NEGATIVE):
        for position in _positions(segmentation, segment_id, role):
            voxel = geometry.voxel_at(volume, position)
            if voxel is None:
                problems.append(_outside(nodes(segmentation, segment_id, role)[0].GetName()))
            else:
                points.append({"at": voxel, "positive": role == POSITIVE})
    found = {"boxes": boxes, "blocks": blocks, "points": points}
    for kind, role, reader in (
        ("scribbles", SCRIBBLE, strokes.scribble),
        ("lassos", LASSO, _lasso),
    ):
        told = [(node, reader(volume, node)) for node in nodes(segmentation, segment_id, role)]
        found[kind] = [{**t, "positive": not n.GetAttribute(OUTSIDE)} for n, t in told if t]
        problems += [_outside(n.GetName()) for n, t in told if not t]
    return found, problems


def drawn_on(asked, axis):
    """Slices across an axis on which points, scribbles or lassos of `read` lie."""
    found = {point["at"][axis] for point in asked["points"]}
    for stroke in asked["scribbles"]:
        found |= {voxel[axis] for voxel in stroke["voxels"]}
    return found | {lasso["index"] for lasso in asked["lassos"] if lasso["axis"] == axis}


def _outside(name):
    return _("{name} lies outside the volume").format(name=repr(name))


def _lasso(volume, node):
    told = node.GetAttribute(AXIS)
    return strokes.lasso(volume, node, None if told is None else int(told))


def is_complete(node):
    """Whether a box has been drawn to its end."""
    return min(node.GetSize()) > 0


def box_axis(node, volume):
    """The axis across which a box on one slice lies: as drawn, else its thinnest."""
    told = node.GetAttribute(AXIS)
    if told is not None:
        return int(told)
    block = geometry.roi_block(volume, node)
    if block is None:
        return 0
    return int(np.argmin([block[a + 3] - block[a] for a in range(3)]))


def _positions(segmentation, segment_id, role):
    for node in nodes(segmentation, segment_id, role):
        for n in range(node.GetNumberOfControlPoints()):
            if node.GetNthControlPointPositionStatus(n) == node.PositionDefined:
                position = [0.0, 0.0, 0.0]
                node.GetNthControlPointPositionWorld(n, position)
                yield position


def count(segmentation, segment_id):
    """How many boxes, points inside and points outside a segment has."""
    boxes = sum(is_complete(n) for n in nodes(segmentation, segment_id, BOX))
    inside, outside = (
        sum(1 for _ in _positions(segmentation, segment_id, role)) for role in (POSITIVE, NEGATIVE)
    )
    return boxes, inside, outside


def count_strokes(segmentation, segment_id):
    """How many scribbles and lassos a segment has."""
    return tuple(len(nodes(segmentation, segment_id, role)) for role in (SCRIBBLE, LASSO))


def says_where(segmentation, segment_id):
    """Whether a prompt says where the object is; one that says where it is not does not do."""
    boxes, inside, _ = count(segmentation, segment_id)
    strokes = nodes(segmentation, segment_id, SCRIBBLE) + nodes(segmentation, segment_id, LASSO)
    drawn = any(not node.GetAttribute(OUTSIDE) for node in strokes)
    return bool(boxes or inside or drawn or right_slices(segmentation, segment_id)[1])


# Slices that are right ---------------------------------------------------------------------


def right_slices(segmentation, segment_id):
    """(axis, sorted indices) of the slices that the user called right; axis ``None`` if none."""
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    return _right(get_tag(segment, RIGHT_TAG))


def right_of(state):
    """The same of a snapshot."""
    return _right(state["tags"][RIGHT_TAG])


def _right(text):
    if not text:
        return None, []
    axis, _, indices = text.partition(":")
    return int(axis), [int(i) for i in indices.split(",") if i]


def set_right_slices(segmentation, segment_id, axis, indices):
    """Remember which slices are right; kept with the segment, in files too."""
    text = ",".join(str(i) for i in sorted(set(indices)))
    _set_tag(segmentation, segment_id, RIGHT_TAG, f"{axis}:{text}" if text else "")


def add_right_slices(segmentation, segment_id, axis, indices):
    """Remember more of them; those across another axis are forgotten."""
    known_axis, known = right_slices(segmentation, segment_id)
    known = known if known_axis == axis else []
    set_right_slices(segmentation, segment_id, axis, [*known, *indices])


def ends(segmentation, segment_id):
    """(axis, first, last + 1) between which the user said that the object ends; or ``None``."""
    text = get_tag(segmentation.GetSegmentation().GetSegment(segment_id), ENDS_TAG)
    return tuple(int(v) for v in text.split(":")) if text else None


def set_ends(segmentation, segment_id, axis, low, high):
    """Remember between which slices the object ends."""
    _set_tag(segmentation, segment_id, ENDS_TAG, f"{axis}:{low}:{high}")


def remove_ends(segmentation, segment_id):
    """Forget where the user ended the object."""
    _set_tag(segmentation, segment_id, ENDS_TAG, "")


def within_ends(volume, blocks, ends):
    """The 3D boxes of `read`, or the whole volume, cut at the object's ends.

    Boxes that lie beyond the ends were drawn since: they are what counts.
    """
    between = geometry.range_block(volume, *ends)
    cut = [geometry.common(b["block"], between) for b in blocks]
    return [{"block": b} for b in cut if b] or blocks or [{"block": between}]


def _set_tag(segmentation, segment_id, name, text):
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    if text == get_tag(segment, name):
        return  # any change of a segment ends what can be done again
    if text:
        segment.SetTag(name, text)
    else:
        segment.RemoveTag(name)


def get_tag(segment, name):
    """A tag's text; empty if there is none."""
    text = vtk.reference("")
    return str(text) if segment.GetTag(name, text) else ""


# Undo ---------------------------------------------------------------------------------------


def snapshot(segmentation, segment_id):
    """All prompts of a segment as plain values that compare by content."""
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    state = snapshot_nodes((segmentation.GetID(), segment_id))
    return {**state, "tags": {t: get_tag(segment, t) for t in (RIGHT_TAG, ENDS_TAG)}}


def snapshot_nodes(key):
    """The markups of a (segmentation ID, segment ID), without what the segment carries itself."""
    states = []
    for node in nodes_of(key):
        parent = node.GetTransformNodeID()
        state = {a: node.GetAttribute(a) for a in (ROLE, MEANING, AXIS, OUTSIDE)}
        state.update(id=node.GetID(), name=node.GetName(), parent=parent)
        if state[ROLE] == BOX:
            matrix = geometry.as_array(node.GetObjectToNodeMatrix())
            state.update(matrix=matrix.round(6).tolist(), size=np.round(node.GetSize(), 6).tolist())
        else:
            positions = slicer.util.arrayFromMarkupsControlPoints(node)
            state.update(points=positions.round(6).tolist())
        states.append(state)
    return {"nodes": states, "tags": {}}


EMPTY = {"nodes": [], "tags": {RIGHT_TAG: "", ENDS_TAG: ""}}


def same(a, b):
    """Whether two snapshots hold the same prompts, whichever nodes carry them."""
    return _content(a) == _content(b)


def _content(state):
    plain = [{k: v for k, v in s.items() if k not in ("id", "name")} for s in state["nodes"]]
    return plain, state["tags"]


def restore(segmentation, segment_id, state):
    """Bring a segment's prompts back to a snapshot."""
    wanted = {s["id"]: s for s in state["nodes"]}
    for node in nodes(segmentation, segment_id):
        if node.GetID() not in wanted:
            slicer.mrmlScene.RemoveNode(node)
    for node_id, values in wanted.items():
        node = slicer.mrmlScene.GetNodeByID(node_id)
        if node is None:
            outside = bool(values.get(OUTSIDE))
            node = make(segmentation, segment_id, values[ROLE], outside=outside)
            node.SetName(values["name"])
        _set(node, values)
    set_tags(segmentation, segment_id, state["tags"])


def set_tags(segmentation, segment_id, tags):
    """Bring the slices that are right, and the ends, to those of a snapshot."""
    for name, text in tags.items():
        _set_tag(segmentation, segment_id, name, text)


def _set(node, values):
    node.SetAndObserveTransformNodeID(values["parent"])
    for name in (MEANING, AXIS):
        if values[name] is not None:
            node.SetAttribute(name, values[name])
    if values[ROLE] == BOX:
        matrix = slicer.util.vtkMatrixFromArray(np.array(values["matrix"]))
        node.SetAndObserveObjectToNodeMatrix(matrix)
        node.SetSize(*values["size"])
    else:
        points = np.array(values["points"], float).reshape(-1, 3)
        slicer.util.updateMarkupsControlPointsFromArray(node, points)


def clear_nodes(key):
    """Remove the markups of a (segmentation ID, segment ID)."""
    for node in nodes_of(key):
        slicer.mrmlScene.RemoveNode(node)


def clear(segmentation, segment_id):
    """Remove all prompts of a segment."""
    clear_nodes((segmentation.GetID(), segment_id))
    for name in (RIGHT_TAG, ENDS_TAG):
        _set_tag(segmentation, segment_id, name, "")
