"""A ``qt`` module over PySide6 that behaves as PythonQt does where the module relies on it.

PythonQt gives Qt properties as attributes (``w.text``, ``w.enabled = True``), connects signals by
their C++ signature, and takes old short enumeration names. This is a stand-in for tests; it proves
that the panel's logic works, not that PythonQt does.
"""

from __future__ import annotations

import sys
import types

from PySide6 import QtCore, QtGui, QtWidgets


class Proxy:
    """A QObject whose Qt properties are attributes."""

    def __init__(self, widget):
        object.__setattr__(self, "_object", widget)

    def __getattr__(self, name):
        widget = self._object
        if widget.metaObject().indexOfProperty(name) >= 0:
            return widget.property(name)
        found = getattr(widget, name)
        return _Method(found) if callable(found) else found

    def __setattr__(self, name, value):
        if self._object.metaObject().indexOfProperty(name) < 0:
            raise AttributeError(f"{type(self._object).__name__} has no property {name!r}")
        self._object.setProperty(name, value)

    def connect(self, signature, slot):
        """Connect a signal by its C++ signature."""
        name = signature.partition("(")[0]
        normal = bytes(QtCore.QMetaObject.normalizedSignature(signature).data()).decode()
        index = self._object.metaObject().indexOfSignal(normal)
        signal = getattr(self._object, name)
        if index < 0 and not hasattr(self._object, "STANDS_FOR"):
            raise AttributeError(f"{type(self._object).__name__} has no signal {signature}")
        signal.connect(_trimmed(slot, signature))


class _Method:
    """Calls through, and wraps the QObjects that come back."""

    def __init__(self, method):
        self._method = method

    def __call__(self, *arguments):
        return wrap(self._method(*(unwrap(a) for a in arguments)))

    def __getattr__(self, name):
        return getattr(self._method, name)


def _trimmed(slot, signature):
    """Pass only as many arguments as the signature says, as PythonQt does at most."""
    count = 0 if signature.endswith("()") else signature.count(",") + 1

    def call(*arguments):
        slot(*(wrap(a) for a in arguments[:count]))

    return call


def wrap(value):
    """QObjects as proxies, all else as it is."""
    return Proxy(value) if isinstance(value, QtCore.QObject) else value


def unwrap(value):
    """What a proxy stands for."""
    return value._object if isinstance(value, Proxy) else value


def make(settings_path):
    """The module; settings go to a file of the test, not of the user."""
    module = types.ModuleType("qt")
    for source in (QtCore, QtGui, QtWidgets):
        for name in dir(source):
            if name.startswith("Q"):
                setattr(module, name, getattr(source, name))

    class Settings(QtCore.QSettings):
        def __init__(self):
            super().__init__(str(settings_path), QtCore.QSettings.IniFormat)

    class FileDialog:
        chosen = ""

        @classmethod
        def getOpenFileName(cls, parent, title, folder="", kinds=""):
            return cls.chosen if isinstance(cls.chosen, str) else cls.chosen.pop(0)

        @classmethod
        def getExistingDirectory(cls, parent, title):
            return cls.getOpenFileName(parent, title)

    class ColorDialog:
        chosen = QtGui.QColor()

        @classmethod
        def getColor(cls, start):
            return cls.chosen

    class Shortcut(QtGui.QShortcut):
        def __init__(self, key, parent):
            super().__init__(key, unwrap(parent))

    module.QShortcut = Shortcut
    module.QSettings, module.QFileDialog, module.QColorDialog = Settings, FileDialog, ColorDialog
    sys.modules["qt"] = module
    return module
