"""The Segment Editor as the module uses it: its history, which is then the module's as well.

In the application it is the widget inside the panel, ``qMRMLSegmentEditorWidget``; below that, and
in tests, the class that the widget is made of, ``vtkSlicerSegmentEditorLogic``.
"""

from __future__ import annotations

import slicer


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

    def save(self):
        """Keep the segments as they are, before they are changed."""
        self._call("SaveStateForUndo", "saveStateForUndo")

    def undo(self):
        """Bring them back to the state before."""
        self._call("Undo", "undo")

    def redo(self):
        """Bring them to the state after."""
        self._call("Redo", "redo")

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
        return bool(slicer.util.findChild(self.editor, name).enabled)
