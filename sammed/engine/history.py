"""What was said of all objects and what became of them, step by step, with undo and redo."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sammed.engine.results import ObjectRun
from sammed.errors import InputError
from sammed.prompts import ObjectPrompts

MOST_BYTES = 512 * 2**20
"""Of masks that are kept for undo alone; those of older steps are computed again."""

LEAST_STEPS = 8
"""The masks of so many steps are kept however large they are."""


@dataclass(frozen=True)
class Work:
    """All objects, and what became of each when it was last segmented."""

    objects: tuple[ObjectPrompts, ...] = ()
    runs: dict[str, ObjectRun] = field(default_factory=dict)

    def weight_beside(self, later: Work) -> int:
        """Bytes of the masks that a later state does not hold anyway."""
        return sum(run.nbytes for name, run in self.runs.items() if later.runs.get(name) is not run)


class History:
    """A state, those before it, and those that were taken back.

    Parameters
    ----------
    now
        The first one, behind which nothing goes back.

    Attributes
    ----------
    now
        The state as it is; setting it is no step.

    Examples
    --------
    >>> history = History(Work())
    >>> history.advance(Work((ObjectPrompts("liver"),)))
    >>> history.undo()
    >>> history.now, history.can_undo, history.can_redo
    (Work(objects=(), runs={}), False, True)
    """

    def __init__(self, now: Work) -> None:
        self.now = now
        self._past: list[Work] = []
        self._future: list[Work] = []

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether a step was taken back."""
        return bool(self._future)

    def advance(self, state: Work) -> None:
        """One step; what was taken back is forgotten."""
        self._past.append(self.now)
        self._future.clear()
        self.now = state
        self._make_room()

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

    def _make_room(self) -> None:
        """Let go of the masks of old steps; what was said is kept for ever."""
        held, later = 0, self.now
        for steps, number in enumerate(range(len(self._past) - 1, -1, -1)):
            state = self._past[number]
            held += state.weight_beside(later)
            if steps >= LEAST_STEPS and held > MOST_BYTES:
                self._past[number] = replace(state, runs={})
            later = state
