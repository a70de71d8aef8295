"""The engine's own environment as the panel shows it: installed, being installed, removed."""

from __future__ import annotations

import threading

from slicer.i18n import tr as _

from . import dependencies, environment, wording
from .work import EngineError


class Setup:
    """What the buttons Install and Remove do.

    Parameters
    ----------
    wanted
        Gives what pip is to install.
    confirm
        Puts a question to the user; whether the answer is yes.
    changed
        Called when the engine was installed or removed: a running one is of no use any more.
    """

    def __init__(self, wanted, confirm, changed):
        self._wanted, self._confirm, self._changed = wanted, confirm, changed
        self._installation = None
        self._size = None
        self.message, self.failed = "", False

    @property
    def running(self):
        """Whether it is being installed."""
        return self._installation is not None

    @property
    def is_installed(self):
        """Whether there is an engine that can be removed."""
        return not self.running and dependencies.own_environment().is_installed

    @property
    def title(self):
        """What is written on the button that removes it."""
        if not self.is_installed:
            return _("Remove engine...")
        if self._size is None:
            self._size = "..."
            threading.Thread(target=self._measure, daemon=True).start()
        return _("Remove engine ({size})...").format(size=self._size)

    @property
    def log(self):
        """Last lines of the installation."""
        return list(self._installation.log) if self._installation else []

    def install(self):
        """Ask, then install; or cancel what is being installed."""
        if self.running:
            self._installation.cancel()
            return
        own, wanted = dependencies.own_environment(), self._wanted()
        try:
            base = dependencies.base_python()
            if not self._confirm(dependencies.question(wanted, own)):
                return
            nvidia = dependencies.has_nvidia()
            self._installation = environment.begin(own, base, wanted, nvidia)
            self._say(self._installation.text)
        except EngineError as error:
            self._say(str(error), failed=True)

    def remove(self):
        """Ask, then remove the environment."""
        own = dependencies.own_environment()
        words = _("Remove the engine, {size} in\n\n{folder}?\n\nIt can be installed again.")
        if not self._confirm(words.format(size=wording.size(own.size()), folder=own.folder)):
            return
        self._changed()
        own.remove()
        self._size = None
        self._say(_("the engine was removed"))

    def poll(self):
        """See how far it is; whether there is something new to show."""
        installation = self._installation
        if installation is None:
            return False
        before = self.message
        installation.poll()
        if installation.state == "running":
            words = _("{what}; {seconds} s so far")
            self._say(words.format(what=installation.text, seconds=int(installation.seconds)))
            return self.message != before
        self._installation, self._size = None, None
        self._say(installation.text, failed=installation.state == "failed")
        self._changed()
        return True

    def _measure(self):
        self._size = wording.size(dependencies.own_environment().size())

    def _say(self, words, failed=False):
        self.message, self.failed = wording.sentence(words), failed
