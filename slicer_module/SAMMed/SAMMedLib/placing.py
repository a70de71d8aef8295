"""Prompts in the views: the tool that is armed, and what to do once something is drawn."""

from __future__ import annotations

import numpy as np
import slicer
from slicer.i18n import tr as _

from . import geometry, prompts, strokes

DRAWN = (prompts.BOX, prompts.SCRIBBLE, prompts.LASSO)
"""Tools that draw with the mouse held down."""

THICK_SLICES = 1.5
"""The plane of a volume is across the axis whose spacing exceeds the others' by this ratio."""


def _events():
    """What happens to a prompt; the class may be loaded after this module is imported."""
    markups = slicer.vtkMRMLMarkupsNode
    return (
        markups.PointPositionDefinedEvent,
        markups.PointPositionUndefinedEvent,
        markups.PointRemovedEvent,
        markups.PointEndInteractionEvent,
    )


class Placing:
    """The tool that is armed, and the prompts of the scene: tells when one is settled.

    Boxes, scribbles and lassos are drawn with the mouse; points, and all of them where no view can
    be observed, are placed by Slicer's place mode.

    Parameters
    ----------
    settled
        Called, without arguments, when a prompt was finished, moved or removed.
    refused
        Called with words about what was drawn and cannot be used.
    """

    def __init__(self, settled, refused=lambda words: None):
        self._settled, self._refused = settled, refused
        self._observed = {}
        self._unsettled = {}
        self._target = None
        self._segment = None
        self._live = None
        self.strokes = strokes.Strokes(self._drawing, self._drawn)
        self.role = None

    def begin(self, volume, segmentation, segment_id, role, meaning, plane):
        """Arm a tool for the prompts of a segment; it stays until `end` or another `begin`."""
        self.end()
        self._target = volume.GetID(), plane
        self._segment = segmentation, segment_id, meaning
        self.role = role
        if role in DRAWN and self.strokes.watches:
            self.strokes.arm(two_corners=role == prompts.BOX)
            self.watch()
        else:
            self._place()

    def _place(self):
        """Enter place mode for the next prompt."""
        segmentation, segment_id, meaning = self._segment
        found = prompts.nodes(segmentation, segment_id, self.role)
        if self.role == prompts.BOX:
            found = [n for n in found if not prompts.is_complete(n)]
        elif self.role in DRAWN:
            found = [n for n in found if not n.GetNumberOfControlPoints()]
        node = found[0] if found else prompts.make(segmentation, segment_id, self.role, meaning)
        if self.role == prompts.BOX:
            node.SetAttribute(prompts.MEANING, meaning)
            volume = self._volume()
            geometry.turn_roi(volume, node)  # Slicer draws it along its own axes from now on
        self.watch()
        selection = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSelectionNode")
        selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
        selection.SetActivePlaceNodeID(node.GetID())
        interaction = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLInteractionNode")
        interaction.SetPlaceModePersistence(0 if self.role in DRAWN else 1)
        interaction.SetCurrentInteractionMode(interaction.Place)

    def retarget(self, volume, segmentation, segment_id, meaning, plane):
        """The armed tool draws for another segment from now on."""
        now = volume.GetID(), segmentation.GetID(), segment_id, meaning, plane
        then = self._segment and (
            self._target[0],
            self._segment[0].GetID(),
            *self._segment[1:],
            self._target[1],
        )
        if self.role is not None and now != then:
            self.begin(volume, segmentation, segment_id, self.role, meaning, plane)

    def end(self):
        """Put the tool away; a box that was not drawn is removed."""
        if self.role is None:
            return
        self.role = None
        self._drop()
        self.strokes.disarm()
        interaction = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLInteractionNode")
        interaction.SetPlaceModePersistence(0)
        interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        for node in slicer.util.getNodesByClass("vtkMRMLMarkupsROINode"):
            ours = node.GetAttribute(prompts.ROLE) == prompts.BOX
            if ours and not prompts.is_complete(node):
                slicer.mrmlScene.RemoveNode(node)

    # -- drawn with the mouse ----------------------------------------------------------------

    def _drawing(self, stroke):
        """Show what is being drawn."""
        volume, segmentation = self._volume(), self._segment[0]
        if volume is None or not slicer.mrmlScene.IsNodePresent(segmentation):
            return
        if self.role == prompts.BOX:
            block, _ = self._block(volume, stroke)
            if block is None:
                return
            if self._live is None:
                self._live = prompts.make(*self._segment[:2], self.role, self._segment[2])
            geometry.fit_roi(volume, self._live, block)
            return
        if self._live is None:
            outside = stroke.outside
            self._live = prompts.make(*self._segment[:2], self.role, outside=outside)
            self._live.AddControlPointWorld(*stroke.points[0])
        self._live.AddControlPointWorld(*stroke.points[-1])

    def _drawn(self, stroke):
        """Take what was drawn for a prompt."""
        self._drawing(stroke)
        node, self._live = self._live, None
        volume = self._volume()
        if node is None or volume is None:
            self._refused(_("What was drawn lies outside the volume."))
            return
        axis = self._axis(volume, stroke.slice_node)
        if self.role == prompts.BOX:
            node.SetAttribute(prompts.AXIS, str(axis))
        elif self.role == prompts.LASSO:
            node.SetAttribute(prompts.AXIS, str(strokes.view_axis(volume, stroke.slice_node)))
        self.watch()
        self._settled()

    def _block(self, volume, stroke):
        axis = self._axis(volume, stroke.slice_node)
        block = strokes.box_block(volume, [stroke.points[0], stroke.points[-1]], axis)
        if block is not None and self._segment[2] == prompts.LIMITS:
            block = strokes.cube_block(volume, block, axis)
        return block, axis

    def _axis(self, volume, slice_node):
        """The axis across a view; a plane that was chosen comes first."""
        plane = self._target[1]
        if plane in ("axial", "coronal", "sagittal"):
            return default_axis(volume, plane)
        return strokes.view_axis(volume, slice_node)

    def _drop(self):
        if self._live is not None:
            slicer.mrmlScene.RemoveNode(self._live)
            self._live = None

    # -- all prompts of the scene ------------------------------------------------------------

    def watch(self):
        """Observe all prompts of the scene, and forget those that are gone."""
        present = {}
        for node in slicer.util.getNodesByClass("vtkMRMLMarkupsNode"):
            if node.GetAttribute(prompts.ROLE):
                present[node.GetID()] = node
        for node_id in [i for i in self._observed if i not in present]:
            self._forget(node_id)
        for node_id, node in present.items():
            if node_id not in self._observed:
                tags = [node.AddObserver(event, self._on_event) for event in _events()]
                self._observed[node_id] = node, tags

    def release(self):
        """Stop observing."""
        self.end()
        self.strokes.release()
        for node_id in list(self._observed):
            self._forget(node_id)

    def poll(self):
        """Settle what was placed once the user's hand is off it."""
        interaction = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLInteractionNode")
        placing = interaction is not None and (
            interaction.GetCurrentInteractionMode() == interaction.Place
        )
        if self.role is not None and not placing and not self.strokes.armed:
            if self.role in DRAWN and self._unsettled:
                self._settle_all()
                self._place()  # the tool stays for the next one
                return
            self.end()  # the user left place mode by the toolbar
            self._settled()
        if self._unsettled and not (placing and self.role in DRAWN):
            self._settle_all()

    def _settle_all(self):
        waiting, self._unsettled = self._unsettled, {}
        for node_id, axis in waiting.items():
            self._settle(slicer.mrmlScene.GetNodeByID(node_id), axis)
        self._settled()

    def _on_event(self, node, event):
        axis = None
        is_box = node.GetAttribute(prompts.ROLE) == prompts.BOX
        if is_box and node.GetAttribute(prompts.AXIS) is None:
            axis = self._drawn_axis()
        self._unsettled[node.GetID()] = axis

    def _settle(self, node, axis):
        if node is None or node.GetAttribute(prompts.ROLE) != prompts.BOX:
            return
        volume = self._volume()
        if volume is None or not prompts.is_complete(node):
            return
        known = node.GetAttribute(prompts.AXIS)
        axis = int(known) if known is not None else axis
        if axis is None:
            axis = default_axis(volume, "auto")
        prompts.settle_box(node, volume, axis)

    def _volume(self):
        return slicer.mrmlScene.GetNodeByID(self._target[0]) if self._target else None

    def _drawn_axis(self):
        """The axis across the view under the cursor; a plane that was chosen comes first."""
        volume, view = self._volume(), cursor_view()
        if volume is None:
            return None
        if view is None:
            return default_axis(volume, self._target[1])
        return self._axis(volume, view)

    def _forget(self, node_id):
        node, tags = self._observed.pop(node_id)
        for tag in tags:
            node.RemoveObserver(tag)


def cursor_view():
    """The slice view in which the cursor is, or ``None``."""
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    return crosshair.GetCursorPositionXYZ([0.0, 0.0, 0.0]) if crosshair is not None else None


def default_axis(volume, plane):
    """The axis of a plane; for others than the three, that of the thick slices, else axial."""
    if plane in ("axial", "coronal", "sagittal"):
        return geometry.axis_of(volume, plane)
    spacing = np.array(volume.GetSpacing())[::-1]
    order = np.argsort(spacing)
    if spacing[order[2]] >= THICK_SLICES * spacing[order[1]]:
        return int(order[2])
    return geometry.axis_of(volume, "axial")


def shown_index(volume, axis):
    """Index of the slice across an axis that a view shows; ``None`` if none shows such."""
    shown = [
        geometry.shown_slice(volume, node)
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode")
    ]
    matching = [index for own, index in shown if own == axis]
    return matching[0] if matching else None
