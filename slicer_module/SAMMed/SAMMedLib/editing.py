"""The Segment Editor as the module uses it: its history, which is then the module's as well.

In the application it is the widget inside the panel, ``qMRMLSegmentEditorWidget``; below that, and
in tests, the class that the widget is made of, ``vtkSlicerSegmentEditorLogic``.
"""

from __future__ import annotations

import slicer

UNDO_STATES = 20
PARAMETERS = "SAMMed"


class SegmentEditor:
    """The Segment Editor's widget inside the panel: Slicer's table, tools, masking, Show 3D.

    Parameters
    ----------
    layout
        Where it is put.
    """

    def __init__(self, layout):
        self.widget = slicer.qMRMLSegmentEditorWidget()
        self.widget.setMaximumNumberOfUndoStates(UNDO_STATES)
        self.widget.setSegmentationNodeSelectorVisible(False)
        self._of_source("set{}NodeSelectorVisible")(False)
        self.history = EditorHistory(self.widget)
        self._seen = ""
        self.connect()
        layout.addWidget(self.widget)

    def connect(self):
        """Take up the scene; its parameters are a node of their own, saved with it."""
        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(PARAMETERS, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.vtkMRMLSegmentEditorNode()
            node.SetSingletonTag(PARAMETERS)
            node = scene.AddNode(node)
        self.widget.setMRMLSegmentEditorNode(node)  # first: choices made by the scene are kept
        self.widget.setMRMLScene(scene)

    def enter(self):
        """The module is opened: its tools see the views."""
        self.widget.setupViewObservations()

    def exit(self):
        """Another module is opened."""
        self.put_away()
        self.widget.removeViewObservations()

    def put_away(self):
        """No tool of the Segment Editor is active: one of ours is armed."""
        if self.widget.activeEffect() is not None:
            self.widget.setActiveEffect(None)

    @property
    def is_active(self):
        """Whether one of its tools is active."""
        return self.widget.activeEffect() is not None

    def show(self, volume, node, segment_id):
        """Show what is chosen in the panel; returns the segment that the user chose in the table.

        ``None`` if it is still the one that is chosen.
        """
        if self.widget.segmentationNode() is not node:
            self.widget.setSegmentationNode(node)
            self._seen = ""
        if node is not None and self._of_source("{}Node", low=True)() is not volume:
            self._of_source("set{}Node")(volume)
        current = self.widget.currentSegmentID() or ""
        if current != self._seen and self._seen and segment_id == self._seen:
            self._seen = current
            return current
        if segment_id and current != segment_id:
            self.widget.setCurrentSegmentID(segment_id)
        self._seen = segment_id or current
        return None if segment_id == self._seen else self._seen

    def _of_source(self, name, low=False):
        """A method that newer Slicers call after the source volume, older after the master."""
        words = ("sourceVolume", "masterVolume") if low else ("SourceVolume", "MasterVolume")
        found = (getattr(self.widget, name.format(word), None) for word in words)
        return next(method for method in found if method is not None)


def module_editors(node):
    """Editors of Slicer's own module Segment Editor that show a segmentation, if it is loaded."""
    widget = getattr(slicer.modules, "SegmentEditorWidget", None)
    editor = getattr(widget, "editor", None)
    return [editor] if editor is not None and editor.segmentationNode() is node else []


class EditorHistory:
    """Undo and redo of a Segment Editor.

    Parameters
    ----------
    editor
        A ``qMRMLSegmentEditorWidget``, or a ``vtkSlicerSegmentEditorLogic``.
    """

    def __init__(self, editor):
        self.editor = editor
        self._is_logic = hasattr(editor, "SaveStateForUndo")

    @property
    def node(self):
        """The segmentation that it shows."""
        return (
            self.editor.GetSegmentationNode() if self._is_logic else self.editor.segmentationNode()
        )

    def show(self, node):
        """Show a segmentation: its history is this one from now on."""
        name = "SetSegmentationNode" if self._is_logic else "setSegmentationNode"
        getattr(self.editor, name)(node)

    def save(self):
        """Keep the segments as they are, before they are changed."""
        self._call("SaveStateForUndo", "saveStateForUndo")

    def undo(self):
        """Bring them back to the state before."""
        self._call("Undo", "undo")

    def redo(self):
        """Bring them to the state after."""
        self._call("Redo", "redo")

    def clear(self):
        """Forget all steps."""
        if self._is_logic:
            self.editor.ClearUndoState()
            return
        node = self.node
        self.editor.setSegmentationNode(None)
        self.editor.setSegmentationNode(node)

    @property
    def can_undo(self):
        """Whether there is a state before."""
        return self.editor.CanUndo() if self._is_logic else self._enabled("UndoButton")

    @property
    def can_redo(self):
        """Whether there is a state after."""
        return self.editor.CanRedo() if self._is_logic else self._enabled("RedoButton")

    def _call(self, of_logic, of_widget):
        getattr(self.editor, of_logic if self._is_logic else of_widget)()

    def _enabled(self, name):
        """What the widget says of its history: it tells by its buttons alone."""
        found = slicer.util.findChildren(self.editor, name=name)
        return bool(found[0].enabled) if found else True
