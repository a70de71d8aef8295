"""One object through one stack with a model that remembers slices.

Every prompted slice is remembered first, as SAM 2's conditioning frames are (Ravi et al. 2024,
arXiv:2408.00714); then each chain asks the memory about the next slice, and remembers what was
accepted. The accept tests and the reasons to stop are those of `sammed.engine.propagation`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sammed.engine.decoding import SliceDecoder
from sammed.engine.prompted_slices import PromptedSlice
from sammed.engine.propagation import Chain, Course, OnSlice, walk
from sammed.engine.slice_mask import SliceResult, unite
from sammed.engine.told_memory import ToldMemory
from sammed.engine.tracing import Tracer, Walker
from sammed.imaging.boxes import Box2D


@dataclass
class MemoryAsking:
    """Asks a memory about the next slice; what was accepted becomes part of it.

    Attributes
    ----------
    decoder
        Of a `sammed.models.protocols.TrackingModel`.
    memory
        Of the object, as far as the chain has come.
    direction
        +1 or -1: which way it goes.
    """

    decoder: SliceDecoder
    memory: ToldMemory
    direction: int

    def trimmed_box(self, result: SliceResult) -> Box2D:
        """The mask's box; a memory is asked without one."""
        return result.box

    def answers(self, index: int, expected: SliceResult, box: Box2D) -> Iterator[SliceResult]:
        """The memory's one answer."""
        yield self.decoder.track(self.memory, index, self.direction)

    def accept(self, result: SliceResult) -> None:
        """Remember a slice that was accepted."""
        self.memory = self.decoder.remember(self.memory, result, prompted=False)


class TrackingTracer(Tracer):
    """Traces one object through a stack by a model's memory of it."""

    def _parts(self, one: PromptedSlice) -> list[SliceResult]:
        """The whole object: a memory holds one mask a slice."""
        parts = super()._parts(one)
        return [unite(parts)] if parts else []

    def _walker(self, prompted: dict[int, PromptedSlice], on_slice: OnSlice | None) -> Walker:
        told = tuple(prompted[index] for index in sorted(prompted))

        def go(course: Course) -> Chain:
            key = ("tracked", told, course.start.index, course.direction, course.limits)
            return self._remember(key, lambda: self._walk(told, course, on_slice))

        return go

    def _walk(
        self, told: tuple[PromptedSlice, ...], course: Course, on_slice: OnSlice | None
    ) -> Chain:
        memory = self._remember(("memory", told), lambda: self._of(told))
        asking = MemoryAsking(self.decoder, memory, course.direction)
        return walk(asking, course, self.rules, on_slice)

    def _of(self, told: tuple[PromptedSlice, ...]) -> ToldMemory:
        """A memory of all prompted slices."""
        memory = self.decoder.beginning()
        for one in told:
            for mask in self._parts(one):
                memory = self.decoder.remember(memory, mask, prompted=True)
        return memory
