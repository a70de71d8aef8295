"""Stand-ins for Slicer's Python base classes: ScriptedLoadableModule and parameterNodeWrapper."""

from __future__ import annotations

import os
import sys
import types
import typing

import slicer
from PySide6 import QtWidgets

from . import qt_module, widgets


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


def parameterNodeWrapper(kind):
    """Fields of a class as parameters and node references of the scene's parameter node."""
    hints = typing.get_type_hints(kind)

    def init(self, node):
        object.__setattr__(self, "parameterNode", node)

    def get(self, name):
        if name not in hints:
            raise AttributeError(name)
        if issubclass(hints[name], slicer.vtkMRMLNode):
            return self.parameterNode.GetNodeReference(name)
        text = self.parameterNode.GetParameter(name)
        if not text:
            return kind._defaults[name]
        return text[1:] == "True" if hints[name] is bool else text[1:]

    def put(self, name, value):
        if name not in hints:
            raise AttributeError(name)
        if issubclass(hints[name], slicer.vtkMRMLNode):
            self.parameterNode.SetNodeReferenceID(name, value.GetID() if value else None)
        else:
            if not isinstance(value, hints[name]):
                raise TypeError(f"{name} must be {hints[name]}, found {value!r}")
            self.parameterNode.SetParameter(name, f"={value}")

    defaults = {n: getattr(kind, n, None) for n in hints}
    body = {"__init__": init, "__getattr__": get, "__setattr__": put, "_defaults": defaults}
    kind._defaults = defaults
    return type(kind.__name__, (), body)


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
    slicer.util.said = []
    slicer.util.errorDisplay = lambda text, **_: slicer.util.said.append(text)
    slicer.util.confirmOkCancelDisplay = lambda text, *_: slicer.util.said.append(text) or False
    return qt
