"""Drawing boxes and clicking points in the views: place mode, and what to do once it is done."""

from __future__ import annotations

import numpy as np
import slicer

from . import geometry, prompts

THICK_SLICES = 1.5
"""The plane of a volume is across the axis whose spacing exceeds the others' by this ratio."""

_Markups = slicer.vtkMRMLMarkupsNode
_EVENTS = (
    _Markups.PointPositionDefinedEvent,
    _Markups.PointPositionUndefinedEvent,
    _Markups.PointRemovedEvent,
    _Markups.PointEndInteractionEvent,
)


class Placing:
    """Watches the prompts in the scene; tells when one is settled.

    Parameters
    ----------
    settled
        Called, without arguments, when a prompt was finished, moved or removed.
    """

    def __init__(self, settled):
        self._settled = settled
        self._observed = {}
        self._unsettled = {}
        self._target = None
        self.role = None

    def begin(self, volume, segmentation, segment_id, role, meaning, plane):
        """Enter place mode for a prompt of a segment."""
        self.end()
        found = prompts.nodes(segmentation, segment_id, role)
        if role == prompts.BOX:
            found = [n for n in found if not prompts.is_complete(n)]
        node = found[0] if found else prompts.make(segmentation, segment_id, role, meaning)
        if role == prompts.BOX:
            node.SetAttribute(prompts.MEANING, meaning)
            geometry.turn_roi(volume, node)  # Slicer draws it along its own axes from now on
        self._target = volume.GetID(), plane
        self.role = role
        self.watch()
        selection = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSelectionNode")
        selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
        selection.SetActivePlaceNodeID(node.GetID())
        interaction = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLInteractionNode")
        interaction.SetPlaceModePersistence(0 if role == prompts.BOX else 1)
        interaction.SetCurrentInteractionMode(interaction.Place)

    def end(self):
        """Leave place mode; a box that was not drawn is removed."""
        if self.role is None:
            return
        self.role = None
        interaction = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLInteractionNode")
        interaction.SetPlaceModePersistence(0)
        interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        for node in slicer.util.getNodesByClass("vtkMRMLMarkupsROINode"):
            ours = node.GetAttribute(prompts.ROLE) == prompts.BOX
            if ours and not prompts.is_complete(node):
                slicer.mrmlScene.RemoveNode(node)

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
                tags = [node.AddObserver(event, self._on_event) for event in _EVENTS]
                self._observed[node_id] = node, tags

    def release(self):
        """Stop observing."""
        self.end()
        for node_id in list(self._observed):
            self._forget(node_id)

    def poll(self):
        """Settle what was drawn once the user's hand is off it."""
        interaction = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLInteractionNode")
        drawing = interaction is not None and (
            interaction.GetCurrentInteractionMode() == interaction.Place
        )
        if self.role == prompts.BOX and not drawing:
            self.role = None
        if self.role is not None and not drawing:  # the user left place mode by the toolbar
            self.role = None
            self._settled()
        if not self._unsettled or (drawing and self.role == prompts.BOX):
            return
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
        volume = self._volume()
        if volume is None:
            return None
        plane = self._target[1]
        view = cursor_view()
        if plane in ("axial", "coronal", "sagittal") or view is None:
            return default_axis(volume, plane)
        return geometry.axis_across(volume, geometry.as_array(view.GetSliceToRAS())[:3, 2])

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
