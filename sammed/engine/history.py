"""States that follow one another, with undo and redo."""

from __future__ import annotations

from typing import Generic, TypeVar

from sammed.errors import InputError

State = TypeVar("State")


class History(Generic[State]):
    """A state, those before it, and those that were taken back.

    Parameters
    ----------
    state
        The first one, behind which nothing goes back.

    Attributes
    ----------
    now
        The state as it is; setting it is no step.

    Examples
    --------
    >>> history = History("a")
    >>> history.advance("b")
    >>> history.undo()
    >>> history.now, history.can_undo, history.can_redo
    ('a', False, True)
    """

    def __init__(self, state: State) -> None:
        self.now = state
        self._past: list[State] = []
        self._future: list[State] = []

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether a step was taken back."""
        return bool(self._future)

    def advance(self, state: State) -> None:
        """One step; what was taken back is forgotten."""
        self._past.append(self.now)
        self._future.clear()
        self.now = state

    def undo(self) -> None:
        """Take back the last step.

        Raises
        ------
        InputError
            If there is none.
        """
        if not self.can_undo:
            raise InputError("nothing to undo")
        self._future.append(self.now)
        self.now = self._past.pop()

    def redo(self) -> None:
        """Do again what was taken back.

        Raises
        ------
        InputError
            If nothing was.
        """
        if not self.can_redo:
            raise InputError("nothing to redo")
        self._past.append(self.now)
        self.now = self._future.pop()

    def forget(self) -> None:
        """Let the state as it is be the first one."""
        self._past.clear()
        self._future.clear()
