"""A stand-in for the Segment Editor's widget, over Slicer's own logic of it."""

from __future__ import annotations

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

_COLUMNS = ("", "", "Name")


class qMRMLSegmentEditorWidget(QtWidgets.QWidget):  # noqa: N801
    """What the module uses of the widget; drawn roughly as it looks."""

    STANDS_FOR = "qMRMLSegmentEditorWidget"

    def __init__(self):
        super().__init__()
        self.logic = slicer.vtkSlicerSegmentEditorLogic()
        self._effect = None
        rows = QtWidgets.QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        buttons = QtWidgets.QHBoxLayout()
        for name in ("Add", "Remove", "Show 3D", "Segmentations..."):
            button = QtWidgets.QPushButton(name)
            button.setObjectName(name)
            buttons.addWidget(button)
        rows.addLayout(buttons)
        self.table = QtWidgets.QTableWidget(0, len(_COLUMNS))
        self.table.setHorizontalHeaderLabels(_COLUMNS)
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().setStretchLastSection(True)
        self.table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectRows)
        for column in (0, 1):
            self.table.setColumnWidth(column, 28)
        self.table.setMaximumHeight(96)
        rows.addWidget(self.table)
        tools = QtWidgets.QHBoxLayout()
        for name in ("Paint", "Erase", "Scissors", "Smoothing", "Undo", "Redo"):
            tool = QtWidgets.QToolButton()
            tool.setText(name)
            tool.setObjectName(f"{name}Button")
            tools.addWidget(tool)
        tools.addStretch()
        rows.addLayout(tools)
        self.findChild(QtWidgets.QPushButton, "Add").clicked.connect(self._add)
        self.findChild(QtWidgets.QPushButton, "Remove").clicked.connect(
            lambda: self.logic.RemoveSelectedSegment()
        )
        self.table.itemSelectionChanged.connect(self._selected)
        self._drawn = None
        timer = QtCore.QTimer(self)
        timer.timeout.connect(self._draw)
        timer.start(10)

    def setMRMLScene(self, scene):
        self.logic.SetMRMLScene(scene)

    def setMRMLSegmentEditorNode(self, node):
        self.logic.SetSegmentEditorNode(node)

    def setMaximumNumberOfUndoStates(self, number):
        self.logic.SetMaximumNumberOfUndoStates(number)

    def setSegmentationNodeSelectorVisible(self, visible):
        pass

    def setSourceVolumeNodeSelectorVisible(self, visible):
        pass

    def segmentationNode(self):
        return self.logic.GetSegmentationNode()

    def setSegmentationNode(self, node):
        self.logic.SetSegmentationNode(node)

    def sourceVolumeNode(self):
        return self.logic.GetSourceVolumeNode()

    def setSourceVolumeNode(self, node):
        self.logic.SetSourceVolumeNode(node)

    def currentSegmentID(self):
        return self.logic.GetCurrentSegmentID()

    def setCurrentSegmentID(self, segment_id):
        self.logic.SetCurrentSegmentID(segment_id)

    def activeEffect(self):
        return self._effect

    def setActiveEffect(self, effect):
        self._effect = effect

    def setupViewObservations(self):
        pass

    def removeViewObservations(self):
        pass

    def saveStateForUndo(self):
        self.logic.SaveStateForUndo()

    def undo(self):
        self.logic.Undo()

    def redo(self):
        self.logic.Redo()

    def child(self, name):
        """``UndoButton`` and ``RedoButton`` say what the history has."""
        button = self.findChild(QtWidgets.QToolButton, name)
        can = self.logic.CanUndo() if name == "UndoButton" else self.logic.CanRedo()
        button.setEnabled(bool(can))
        return button

    def _add(self):
        self.setCurrentSegmentID(self.segmentationNode().GetSegmentation().AddEmptySegment())

    def _selected(self):
        row, node = self.table.currentRow(), self.segmentationNode()
        if node is not None and 0 <= row < node.GetSegmentation().GetNumberOfSegments():
            self.setCurrentSegmentID(node.GetSegmentation().GetNthSegmentID(row))

    def _draw(self):
        node = self.segmentationNode()
        segments = node.GetSegmentation() if node is not None else None
        rows = [
            (s.GetName(), s.GetColor())
            for s in (segments.GetSegment(i) for i in (segments.GetSegmentIDs() if node else ()))
        ]
        chosen = self.currentSegmentID()
        if (rows, chosen) == self._drawn:
            return
        self._drawn = rows, chosen
        self.table.blockSignals(True)
        self.table.setRowCount(len(rows))
        for n, (name, color) in enumerate(rows):
            swatch = QtGui.QPixmap(14, 14)
            swatch.fill(QtGui.QColor.fromRgbF(*color))
            self.table.setItem(n, 0, QtWidgets.QTableWidgetItem("✓"))
            self.table.setItem(n, 1, QtWidgets.QTableWidgetItem(QtGui.QIcon(swatch), ""))
            self.table.setItem(n, 2, QtWidgets.QTableWidgetItem(name))
            self.table.setRowHeight(n, 22)
        ids = list(segments.GetSegmentIDs()) if node else []
        if chosen in ids:
            self.table.selectRow(ids.index(chosen))
        self.table.blockSignals(False)
