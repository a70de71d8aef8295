# ruff: noqa: N805, N815
"""Stand-ins for the qMRML and CTK widgets that the panel uses, fed by the real scene."""

from __future__ import annotations

import types

import slicer
from PySide6 import QtCore, QtUiTools, QtWidgets

from . import qt_module


class qMRMLWidget(QtWidgets.QWidget):  # noqa: N801
    """Knows the scene."""

    mrmlSceneChanged = QtCore.Signal(object)

    def setMRMLScene(self, scene):
        for selector in self.findChildren(qMRMLNodeComboBox):
            selector.setMRMLScene(scene)
        self.mrmlSceneChanged.emit(scene)


class qMRMLNodeComboBox(QtWidgets.QWidget):  # noqa: N801
    """Lists the nodes of some classes."""

    STANDS_FOR = "qMRMLNodeComboBox"
    currentNodeChanged = QtCore.Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._types, self._none, self._add, self._title = [], True, False, "None"
        self._scene, self._node = None, None
        self._children, self._remove, self._rename = True, True, False
        self._listed, self._tags = [], []
        self._box = QtWidgets.QComboBox()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.activated.connect(self._chosen)

    def setMRMLScene(self, scene):
        self._scene = scene
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent):
            self._tags.append(scene.AddObserver(event, lambda *_: self._refresh()))
        self._refresh()

    def release(self):
        """Stop observing, as the C++ class does when it is destroyed."""
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._tags = []

    def _refresh(self):
        nodes = [
            n
            for kind in self._types
            for n in slicer.util.getNodesByClass(kind)
            if n.GetClassName() == kind
        ]
        self._listed = [None, *nodes] if self._none else nodes
        if self._node is not None and self._node not in nodes:
            self.setCurrentNode(None)
        self._box.clear()
        for node in self._listed:
            self._box.addItem(self._title if node is None else node.GetName())
        if self._node in self._listed:
            self._box.setCurrentIndex(self._listed.index(self._node))

    def _chosen(self, index):
        self.setCurrentNode(self._listed[index])

    def currentNode(self):
        return self._node

    def setCurrentNode(self, node):
        if node is self._node:
            return
        self._node = node
        if node in self._listed:
            self._box.setCurrentIndex(self._listed.index(node))
        self.currentNodeChanged.emit(node)

    def _property(name, kind):
        return QtCore.Property(
            kind, lambda self: getattr(self, name), lambda self, v: setattr(self, name, v)
        )

    nodeTypes = _property("_types", "QStringList")
    noneEnabled = _property("_none", bool)
    addEnabled = _property("_add", bool)
    noneDisplay = _property("_title", str)
    showChildNodeTypes = _property("_children", bool)
    removeEnabled = _property("_remove", bool)
    renameEnabled = _property("_rename", bool)


class ctkCollapsibleButton(QtWidgets.QWidget):  # noqa: N801
    """A title that shows and hides what is below it."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._text, self._collapsed = "", False
        self.setContentsMargins(0, 26, 0, 0)
        self._button = QtWidgets.QToolButton(self)
        self._button.setToolButtonStyle(QtCore.Qt.ToolButtonTextBesideIcon)
        self._button.setAutoRaise(False)
        self._button.clicked.connect(lambda: self._set_collapsed(not self._collapsed))
        self._dress()

    def resizeEvent(self, event):
        self._button.setGeometry(0, 0, self.width(), 24)

    def childEvent(self, event):
        super().childEvent(event)
        QtCore.QTimer.singleShot(0, self._dress)

    def _dress(self):
        self._button.setText(self._text)
        arrow = QtCore.Qt.RightArrow if self._collapsed else QtCore.Qt.DownArrow
        self._button.setArrowType(arrow)
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly):
            if child is not self._button:
                child.setVisible(not self._collapsed)
        self.setMaximumHeight(26 if self._collapsed else 16777215)

    def _set_text(self, text):
        self._text = text
        self._dress()

    def _set_collapsed(self, collapsed):
        self._collapsed = collapsed
        self._dress()

    text = QtCore.Property(str, lambda self: self._text, _set_text)
    collapsed = QtCore.Property(bool, lambda self: self._collapsed, _set_collapsed)


def load_ui(path):
    """The panel of a .ui file, as a proxy."""
    loader = QtUiTools.QUiLoader()
    for kind in (qMRMLWidget, qMRMLNodeComboBox, ctkCollapsibleButton):
        loader.registerCustomWidget(kind)
    widget = loader.load(path)
    assert widget is not None, loader.errorString()
    return qt_module.Proxy(widget)


def release(parent):
    """Let a panel go: its selectors stop watching the scene."""
    for selector in parent.findChildren(qMRMLNodeComboBox):
        selector.release()
    parent.deleteLater()


def children(widget):
    """All named widgets, as ``slicer.util.childWidgetVariables`` gives them."""
    root = qt_module.unwrap(widget)
    found = {}
    for child in root.findChildren(QtWidgets.QWidget):
        name = child.objectName()
        if name and not name.startswith("qt_"):
            found[name] = qt_module.Proxy(child)
    return types.SimpleNamespace(**found)
