"""Undo and redo of the workflow: Slicer's history, and what the module brings along."""

from __future__ import annotations

import time

from slicer.i18n import tr as _

from . import changes, history, segmentation, subject, surfaces, wording
from .marking import Marking
from .work import EngineError


class Undoing(Marking):
    """Takes steps of the chosen segmentation back, whoever made them."""

    def __init__(self):
        super().__init__()
        self.history = history.History()
        self.surfaces = surfaces.Surfaces()
        self._tables_due = 0.0

    @property
    def _steps(self):
        node = self.parameters.segmentation if self.parameters else None
        return self.history.undo_of(node) if node is not None else None

    @property
    def can_undo(self):
        """Whether there is something to take back."""
        if self.busy or self._steps is None:
            return False
        return bool(self._steps.can_undo or self.prompts_changed)

    @property
    def can_redo(self):
        """Whether something was taken back."""
        return bool(not self.busy and self._steps is not None and self._steps.can_redo)

    @property
    def prompts_changed(self):
        """Whether the chosen segment has prompts that were not segmented yet."""
        return self.key is not None and self.history.is_behind(*self.target)

    def undo(self):
        """Take back prompts not segmented yet, else the last step and its prompts."""
        if not self.can_undo or self._stuck():
            return
        node, segment_id = self.target
        if self.prompts_changed:
            self.history.record_prompts(node, segment_id)
        by_hand = False
        try:
            if self.key is None:
                self._steps.undo()
            else:
                by_hand = history.step_back(self.history, node, segment_id, self.grid)
        except EngineError as error:
            self._say(wording.sentence(str(error)), failed=True)
            return
        self._followed()
        self._say(_("What was changed by hand is taken back.") if by_hand else _("Undone."))

    def redo(self):
        """Do again what `undo` took back."""
        if not self.can_redo or self._stuck():
            return
        self._steps.redo()
        self._followed()
        self._say(_("Done again."))

    def _stuck(self):
        """Whether steps of then would be written to the wrong place; says so."""
        node = self.parameters.segmentation
        why = segmentation.not_writable(node) if segmentation.ids(node) else ""
        why = why or self.history.moved(node)
        if not why:
            return False
        self._say(
            _(
                "{why} Steps from before then cannot be taken back or done again: they would be "
                "written to the wrong place."
            ).format(why=wording.sentence(why)),
            failed=True,
        )
        return True

    def _followed(self):
        """Bring prompts and tables to where the segments are now."""
        self._due = None
        self._take_back()
        keys = self.history.follow(subject.frame_of)
        own = [key for key in keys if key[0] == self.parameters.segmentation.GetID()]
        ids = segmentation.ids(self.parameters.segmentation)
        if own and self.key not in own:
            self.parameters.segmentID = own[0][1]
        elif self.key is None and ids:  # it was taken back
            self.parameters.segmentID = ids[-1]
        changes.follow()
        self.placing.watch()
        for key in own:
            self.surfaces.refresh(self.parameters.segmentation, key[1])

    def _follow(self):
        """See whether the Segment Editor has undone or done again a step of ours."""
        keys = self.history.follow(subject.frame_of)
        if time.monotonic() > self._tables_due:
            self._tables_due = time.monotonic() + history.SWEEP_SECONDS
            changes.follow()
        if keys:
            self.placing.watch()
            self.on_change()
