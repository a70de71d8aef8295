"""What is tuned so that prompts of a project's structures go further: compact, or another model.

A course asks all that it has to know of it here: which networks learn, how, what is kept of them,
and how they are judged.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Generic, TypeVar

from torch import Tensor

from sammed.learning.exercises import Exercise, make_exercises
from sammed.learning.judging import Taught
from sammed.learning.opinion import Asked
from sammed.learning.prompted import SHIPPED, Reached, reached
from sammed.learning.stepping import Stepper
from sammed.learning.tuning import Part, Tuner, TuningRecipe, parts_for, towards
from sammed.models.compact.model import CompactModel
from sammed.models.compact.tuned import Nets, difference, shipped_nets, tuned_nets
from sammed.models.protocols import ImageModel

Weights = Mapping[str, Tensor]
Stored = Mapping[str, Weights]
"""Part → what tuning changed of it, as `sammed.models.learned.file` keeps it."""

Read = Callable[[str], Iterable[Taught]]
"""Reads the cases that a run, ``"rehearsal"`` or ``"final"``, learns from."""

Lessons = TypeVar("Lessons")


class Promptable(ABC, Generic[Lessons]):
    """A promptable model that is tuned.

    Parameters
    ----------
    structures
        Value → name.
    read
        See `Read`.
    seed
        Of what is drawn from the cases.
    """

    parent: str
    """What it is tuned from, in words."""

    asked: str
    """What it is asked when it is judged, in words."""

    reached: Reached
    """How far it gets by that."""

    def __init__(self, structures: Mapping[int, str], read: Read, seed: int) -> None:
        self._structures, self._read, self._seed = structures, read, seed
        self._made: tuple[str, Lessons] | None = None

    @property
    @abstractmethod
    def parts(self) -> tuple[Part, ...]:
        """Its networks that learn from these cases."""

    @property
    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What a file says of what it was tuned from, with the hashes of that as ``parents``."""

    @abstractmethod
    def _make(self, run: str) -> Lessons:
        """What is learned from in a run."""

    @abstractmethod
    def stepper(self, part: Part, run: str, seed: int) -> Stepper:
        """What teaches a part in a run."""

    @abstractmethod
    def stored(self, learned: Mapping[Part, Weights]) -> Stored:
        """What tuning changed, of each part's weights as they were learned."""

    @abstractmethod
    def both(self, tuned: Stored) -> tuple[ImageModel, ImageModel]:
        """The model before and after."""

    def lessons(self, run: str) -> Lessons:
        """What is learned from in a run; made once."""
        if self._made is None or self._made[0] != run:
            self._made = None  # before the next are made: both would not fit into memory
            self._made = run, self._make(run)
        return self._made[1]


class PromptableCompact(Promptable[list[Exercise]]):
    """compact, on the processor; parameters as of `Promptable`, and how it is tuned."""

    parent = SHIPPED
    asked = "one 3D box"
    reached = staticmethod(reached)

    def __init__(
        self, structures: Mapping[int, str], read: Read, seed: int, recipe: TuningRecipe
    ) -> None:
        super().__init__(structures, read, seed)
        self._recipe = recipe

    @property
    def parts(self) -> tuple[Part, ...]:
        """See `Promptable`."""
        return parts_for(self.lessons("final"))

    @property
    def about(self) -> dict[str, Any]:
        """See `Promptable`."""
        return {"parents": dict(self._shipped.hashes)}

    @cached_property
    def _shipped(self) -> Nets:
        return shipped_nets()

    def _make(self, run: str) -> list[Exercise]:
        return make_exercises(self._read(run), self._structures, self._seed)

    def stepper(self, part: Part, run: str, seed: int) -> Stepper:
        """See `Promptable`."""
        net = self._shipped.part(part)
        return Tuner(part, net, self.lessons(run), seed, self._recipe)

    def stored(self, learned: Mapping[Part, Weights]) -> Stored:
        """See `Promptable`: of the mean with the shipped weights, see `towards`."""
        nets = {part: self._shipped.part(part) for part in learned}
        return {
            part: difference(nets[part], towards(nets[part], weights, self._recipe.share))
            for part, weights in learned.items()
        }

    def both(self, tuned: Stored) -> tuple[ImageModel, ImageModel]:
        """See `Promptable`."""
        return compact_before_and_after(tuned)


def compact_before_and_after(tuned: Stored) -> tuple[CompactModel, CompactModel]:
    """The network as it is shipped, and as it was tuned; twice the former if it was not."""
    nets: Nets = shipped_nets()
    shipped = CompactModel(nets=nets)
    if not tuned:
        return shipped, shipped
    return shipped, CompactModel(nets=tuned_nets(nets, nets.hashes, tuned))


def asked_beside(tuned: Stored, left: Sequence[str]) -> Asked:
    """Who gives second opinions: compact, tuned if it was, but for structures it is worse at.

    Where segment-anything was tuned it is compact as it is shipped, which costs no seconds a slice.

    Parameters
    ----------
    tuned
        What tuning changed of compact.
    left
        Structures that are left to it as it is shipped.
    """
    shipped, other = compact_before_and_after(tuned)
    return partial(_one_of, shipped, other, tuple(left))


def _one_of(
    shipped: CompactModel, tuned: CompactModel, left: Sequence[str], name: str
) -> CompactModel:
    return shipped if name in left else tuned
