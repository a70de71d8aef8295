"""How an object is found: the one thing that a session knows of models and engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sammed.engine.progress import Reporter
from sammed.engine.results import ObjectRun
from sammed.engine.settings import Settings
from sammed.imaging.intensity import Window
from sammed.imaging.volume import Volume
from sammed.prompts import ObjectPrompts
from sammed.views.embeddings import EmbeddingStore


@dataclass(frozen=True, eq=False)
class Scene:
    """What a strategy works on.

    Attributes
    ----------
    volume
        The image.
    settings
        Of the session.
    window
        Gives the intensity window; it is chosen when first asked for.
    store
        Where embeddings are kept.
    volume_hash
        Gives the identity of the voxels, for keys in a store that others share; empty otherwise.
    """

    volume: Volume
    settings: Settings
    window: Callable[[], Window]
    store: EmbeddingStore
    volume_hash: Callable[[], str] = lambda: ""


class Strategy(Protocol):
    """Finds objects of one volume with one model."""

    def check(self, obj: ObjectPrompts) -> None:
        """Make sure that the prompts can be worked with.

        Raises
        ------
        PromptError
            If they cannot, with what to do.
        """
        ...

    def slices_to_come(self, objects: Sequence[ObjectPrompts]) -> int | None:
        """How many slices `segment` will look at; ``None`` if that shows on the way."""
        ...

    def segment(
        self, obj: ObjectPrompts, former: ObjectRun | None, reporter: Reporter
    ) -> ObjectRun:
        """Find an object.

        Parameters
        ----------
        obj
            Its prompts, checked.
        former
            What became of it before its prompts were changed.
        reporter
            Told of each slice, and asked before each whether to go on.

        Returns
        -------
        ObjectRun
            With an ``error`` if nothing was found.

        Raises
        ------
        Cancelled
            If the user stopped it.
        """
        ...

    @property
    def timings(self) -> Mapping[str, float]:
        """Seconds spent so far, by stage."""
        ...

    @property
    def counts(self) -> Mapping[str, int]:
        """How many views were encoded and how many prompts decoded so far."""
        ...
