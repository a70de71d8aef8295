"""Stand-ins for Slicer's Python base classes: ScriptedLoadableModule and parameterNodeWrapper."""

from __future__ import annotations

import os
import sys
import types
import typing

import slicer
from PySide6 import QtWidgets

from . import editor_widget, qt_module, widgets


class ScriptedLoadableModule:
    def __init__(self, parent):
        self.parent = parent


class ScriptedLoadableModuleWidget:
    def __init__(self, parent=None):
        self.parent = parent or QtWidgets.QWidget()
        layout = QtWidgets.QVBoxLayout(self.parent)
        layout.setContentsMargins(6, 6, 6, 6)
        self.layout = qt_module.Proxy(layout)

    def setup(self):
        pass

    def resourcePath(self, name):
        folder = os.path.dirname(sys.modules[type(self).__module__].__file__)
        return os.path.join(folder, "Resources", name)


class ScriptedLoadableModuleLogic:
    def getParameterNode(self):
        name = type(self).__name__.replace("Logic", "")
        for node in slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode"):
            if node.GetAttribute("ModuleName") == name:
                return node
        node = slicer.vtkMRMLScriptedModuleNode()
        node.SetSingletonTag(name)
        node.SetAttribute("ModuleName", name)
        return slicer.mrmlScene.AddNode(node)


class ScriptedLoadableModuleTest:
    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def delayDisplay(self, message, *_):
        self.messages = [*getattr(self, "messages", []), message]


class _Parameters:
    """Fields of a class as parameters and node references of the scene's parameter node."""

    def __init__(self, node):
        object.__setattr__(self, "parameterNode", node)

    def __getattr__(self, name):
        if name not in self._hints:
            raise AttributeError(name)
        kind = self._hints[name]
        if issubclass(kind, slicer.vtkMRMLNode):
            return self.parameterNode.GetNodeReference(name)
        text = self.parameterNode.GetParameter(name)
        if not text:
            return self._defaults[name]
        return text[1:] == "True" if kind is bool else text[1:]

    def __setattr__(self, name, value):
        if name not in self._hints:
            raise AttributeError(name)
        kind = self._hints[name]
        if issubclass(kind, slicer.vtkMRMLNode):
            self.parameterNode.SetNodeReferenceID(name, value.GetID() if value else None)
        elif not isinstance(value, kind):
            raise TypeError(f"{name} must be {kind}, found {value!r}")
        else:
            self.parameterNode.SetParameter(name, f"={value}")

    def connectGui(self, ui):
        """Selectors, check boxes and fields that are named after a parameter, both ways."""
        connected = []
        for widget in vars(ui).values():
            name = qt_module.unwrap(widget).property("SlicerParameterName")
            if name is not None:
                connected.append(_Connection(self, name, qt_module.unwrap(widget)))
        return connected

    def disconnectGui(self, connected):
        for connection in connected:
            connection.end()


def parameterNodeWrapper(kind):
    hints = typing.get_type_hints(kind)
    defaults = {name: getattr(kind, name, None) for name in hints}
    return type(kind.__name__, (_Parameters,), {"_hints": hints, "_defaults": defaults})


class _Connection:
    """One widget and one parameter."""

    def __init__(self, parameters, name, widget):
        self._parameters, self._name, self._widget = parameters, name, widget
        signal, self._show = {
            "qMRMLNodeComboBox": ("currentNodeChanged", "setCurrentNode"),
            "QCheckBox": ("toggled", "setChecked"),
            "QLineEdit": ("textChanged", "setText"),
        }[type(widget).__name__]
        self._signal = getattr(widget, signal)
        self.show()
        self._signal.connect(self.take)
        node = parameters.parameterNode
        self._tag = node, node.AddObserver("ModifiedEvent", lambda *_: self.show())

    def show(self):
        value = getattr(self._parameters, self._name)
        getattr(self._widget, self._show)(value)

    def take(self, value):
        setattr(self._parameters, self._name, value)

    def end(self):
        self._signal.disconnect(self.take)
        self._tag[0].RemoveObserver(self._tag[1])


class LayoutManager:
    """Slice views of which there is an interactor and a node, and no window."""

    def __init__(self):
        import vtk

        self.interactors = {}
        for name in ("Red", "Yellow", "Green"):
            interactor = vtk.vtkGenericRenderWindowInteractor()
            interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
            self.interactors[name] = interactor

    def sliceViewNames(self):
        return list(self.interactors)

    def sliceWidget(self, name):
        style = self.interactors[name].GetInteractorStyle()
        return types.SimpleNamespace(
            sliceView=lambda: types.SimpleNamespace(interactorStyle=lambda: style),
            mrmlSliceNode=lambda: slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{name}"),
        )


def install(settings_path):
    """Put everything where ``import`` and ``slicer.*`` find it; returns the qt module."""
    qt = qt_module.make(settings_path)
    base = types.ModuleType("slicer.ScriptedLoadableModule")
    for item in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    ):
        setattr(base, item.__name__, item)
    wrapper = types.ModuleType("slicer.parameterNodeWrapper")
    wrapper.parameterNodeWrapper = parameterNodeWrapper
    sys.modules["slicer.ScriptedLoadableModule"] = base
    sys.modules["slicer.parameterNodeWrapper"] = wrapper
    slicer.ScriptedLoadableModule = base
    slicer.util.loadUI = widgets.load_ui
    slicer.util.childWidgetVariables = widgets.children
    slicer.util.mainWindow = lambda: None
    manager = LayoutManager()
    slicer.app.layoutManager = lambda: manager
    slicer.app.connect = lambda signal, slot: None
    slicer.app.slicerUserSettingsFilePath = str(settings_path)
    slicer.qMRMLSegmentEditorWidget = lambda: qt_module.wrap(
        editor_widget.qMRMLSegmentEditorWidget()
    )
    slicer.util.findChildren = lambda widget, name: [
        qt_module.wrap(qt_module.unwrap(widget).child(name))
    ]
    slicer.util.confirmYesNoDisplay = lambda text, **_: slicer.util.said.append(text) or False
    slicer.util.said = []
    slicer.util.errorDisplay = lambda text, **_: slicer.util.said.append(text)
    return qt
