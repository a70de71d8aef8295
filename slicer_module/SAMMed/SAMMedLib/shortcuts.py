"""Keys of the module, in force while it is open."""

from __future__ import annotations

import qt
import slicer

KEYS = (
    ("B", "box"),
    ("P", "inside"),
    ("O", "outside"),
    ("S", "scribble"),
    ("L", "lasso"),
    ("Return", "segment"),
    ("Enter", "segment"),
    ("Esc", "cancel"),
    ("Ctrl+Z", "undo"),
    ("Ctrl+Y", "redo"),
    ("N", "next"),
)
"""Keys and the names of what they do; each is told in the tooltip of its button."""

_TYPING = ("QLineEdit", "QPlainTextEdit", "QTextEdit", "QSpinBox", "QDoubleSpinBox")


class Shortcuts:
    """Calls actions when their keys are pressed.

    Parameters
    ----------
    parent
        The window in which they are in force.
    actions
        Functions by name; see `KEYS`.
    """

    def __init__(self, parent, actions):
        self._shortcuts = []
        for key, name in KEYS:
            shortcut = qt.QShortcut(qt.QKeySequence(key), parent)
            act = _unless_typing(actions[name])
            shortcut.activated.connect(act)
            shortcut.activatedAmbiguously.connect(act)  # Slicer has the key as well
            self._shortcuts.append(shortcut)

    def enable(self, enabled):
        """In force, or not."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(enabled)

    def release(self):
        """They are gone."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts = []


def window(widget):
    """The window in which keys are in force: Slicer's main window, or the panel without one."""
    return slicer.util.mainWindow() or widget


def _unless_typing(action):
    """Keys that are typed into a field belong to the field."""

    def act():
        focus = qt.QApplication.focusWidget()
        if focus is None or focus.metaObject().className() not in _TYPING:
            action()

    return act
