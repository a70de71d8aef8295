"""One object through one stack of slices: anchors, the spans between them, and their memory.

Every anchor and every span is a pure function of what it starts from, and is remembered by it. So
an edited prompt makes only its own slice and the spans that touch it be computed again, and what
undo brings back is still known.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

from sammed.anchors import (
    Anchor,
    SlicePrompts,
    correct_anchor,
    decode_anchor,
    middle,
    slice_prompts,
)
from sammed.boxes import Box2D
from sammed.decoding import SliceDecoder, SliceResult, unite
from sammed.errors import SegmentationError
from sammed.prompts import ObjectPrompts
from sammed.propagation import Chain, Limits, OnSlice, Rules, Stop, blend, walk

REMEMBERED = 256
"""Anchors and spans kept for one object."""

FRAME_MARGIN = 0.1
"""Within a 3D box, boxes on slices may exceed its outline by this share of its size."""

Slices = dict[int, SliceResult]
_Value = TypeVar("_Value")


@dataclass(frozen=True, eq=False)
class Trace:
    """One object on the slices of one stack.

    Attributes
    ----------
    slices
        Accepted masks by slice index.
    stops
        Where and why propagation ended; none if it was off.
    prompted
        Indices of the slices that the user prompted.
    """

    slices: Slices
    stops: tuple[Stop, ...]
    prompted: frozenset[int]


class Tracer:
    """Traces one object through a stack; remembers what it has computed.

    Parameters
    ----------
    decoder
        Answers prompts on the slices.
    rules
        Thresholds of propagation.
    """

    def __init__(self, decoder: SliceDecoder, rules: Rules) -> None:
        self.decoder = decoder
        self.rules = rules
        self._known: OrderedDict[Hashable, Any] = OrderedDict()

    def trace(self, obj: ObjectPrompts, on_slice: OnSlice | None = None) -> Trace:
        """Segment an object on all its slices.

        Parameters
        ----------
        obj
            Checked prompts.
        on_slice
            Called with each newly computed slice.

        Raises
        ------
        SegmentationError
            If nothing is found on any prompted slice.
        """
        prompts = slice_prompts(obj, self.decoder.stack.axis)
        ranges = self._ranges(obj)
        located = {i: p for i, p in prompts.items() if p.locates}
        for limits, start in ranges:
            if start is not None and not any(limits.low <= i < limits.high for i in located):
                located[start.index] = _with_points(start, prompts)
        if not located:
            located = {i: p for i, p in prompts.items() if any(q.positive for q in p.points)}
        anchors = {i: self._anchor(p, on_slice) for i, p in located.items()}
        self._check_found(obj, anchors)
        trace = self._spans(anchors, ranges, obj.propagate, on_slice)
        clicked = {i: p for i, p in prompts.items() if i not in located and p.points}
        if not clicked:
            return trace
        for index, said in clicked.items():
            anchors[index] = self._correction(said, trace, anchors, on_slice)
        return self._spans(anchors, ranges, obj.propagate, on_slice)

    def _ranges(self, obj: ObjectPrompts) -> list[tuple[Limits, SlicePrompts | None]]:
        """Where chains may run: each 3D box with its middle slice, else the whole stack."""
        stack = self.decoder.stack
        whole = Box2D(0, 0, *stack.shape)
        if not obj.blocks:
            return [(Limits(0, len(stack), whole), None)]
        ranges: list[tuple[Limits, SlicePrompts | None]] = []
        for block in obj.blocks:
            low, high = block.range(stack.axis)
            outline = block.across(stack.axis)
            rows, cols = outline.shape
            frame = outline.expand(FRAME_MARGIN * rows, FRAME_MARGIN * cols).clip(stack.shape)
            ranges.append((Limits(low, high, frame, known=True), middle(block, stack.axis)))
        return ranges

    def _anchor(self, prompts: SlicePrompts, on_slice: OnSlice | None) -> Anchor:
        def compute() -> Anchor:
            anchor = decode_anchor(self.decoder, prompts)
            if on_slice:
                on_slice(unite(anchor.parts))
            return anchor

        return self._remember(("anchor", prompts), compute)

    def _correction(
        self,
        prompts: SlicePrompts,
        trace: Trace,
        anchors: dict[int, Anchor],
        on_slice: OnSlice | None,
    ) -> Anchor:
        """A clicked slice, corrected from what propagation had found on it or next to it."""
        index = prompts.index
        former = trace.slices.get(index)
        if former is None or not former.area:
            near = min(trace.slices, key=lambda i: abs(i - index))
            former = trace.slices[near]

        def compute() -> Anchor:
            anchor = correct_anchor(self.decoder, prompts, replace(former, index=index))
            if on_slice:
                on_slice(unite(anchor.parts))
            return anchor

        return self._remember(("correction", prompts, former), compute)

    def _check_found(self, obj: ObjectPrompts, anchors: dict[int, Anchor]) -> None:
        if not any(part.area for anchor in anchors.values() for part in anchor.parts):
            raise SegmentationError(
                f"nothing was segmented for {obj.name!r}: the model found no object on the "
                f"prompted slices {sorted(anchors)}; check the box, the window or the model"
            )

    def _spans(
        self,
        anchors: dict[int, Anchor],
        ranges: list[tuple[Limits, SlicePrompts | None]],
        propagate: str,
        on_slice: OnSlice | None,
    ) -> Trace:
        """Anchors, what lies between them, and (``auto``) what lies beyond them."""
        key = (
            "spans",
            tuple(anchors[i] for i in sorted(anchors)),
            tuple(r for r, _ in ranges),
            propagate,
        )
        return self._remember(key, lambda: self._join(anchors, ranges, propagate, on_slice))

    def _join(
        self,
        anchors: dict[int, Anchor],
        ranges: list[tuple[Limits, SlicePrompts | None]],
        propagate: str,
        on_slice: OnSlice | None,
    ) -> Trace:
        slices: Slices = {i: unite(a.parts) for i, a in anchors.items()}
        stops: list[Stop] = []
        if propagate == "off":
            return Trace(slices, (), frozenset(anchors))
        for limits, _ in ranges:
            own = sorted(i for i in anchors if limits.low <= i < limits.high)
            for first, last in pairwise(own):
                _merge(slices, self._between(anchors[first], anchors[last], limits, on_slice))
            if propagate == "between" or not own:
                continue
            for end, direction in ((own[0], -1), (own[-1], 1)):
                found, ended = self._outward(anchors[end], direction, limits, on_slice)
                _merge(slices, found)
                stops.extend(ended)
        return Trace(slices, tuple(stops), frozenset(anchors))

    def _outward(
        self, anchor: Anchor, direction: int, limits: Limits, on_slice: OnSlice | None
    ) -> tuple[Slices, list[Stop]]:
        """Chains of all components of an anchor beyond it."""
        slices: Slices = {}
        stops = []
        for part in anchor.parts:
            if part.area:
                chain = self._chain(part, direction, limits, None, on_slice)
                _merge(slices, {r.index: r for r in chain.slices})
                stops.append(chain.stop)
        return slices, stops

    def _between(
        self, first: Anchor, last: Anchor, limits: Limits, on_slice: OnSlice | None
    ) -> Slices:
        """Both ways between two anchors, blended by distance."""
        span = replace(limits, low=first.index + 1, high=last.index, known=True)
        forward = self._towards(first, last, 1, span, on_slice)
        backward = self._towards(last, first, -1, span, on_slice)
        slices: Slices = {}
        for index in range(span.low, span.high):
            share = (index - first.index) / (last.index - first.index)
            joined = blend(forward.get(index), backward.get(index), share)
            if joined is not None:
                slices[index] = joined
        return slices

    def _towards(
        self,
        start: Anchor,
        goal: Anchor,
        direction: int,
        span: Limits,
        on_slice: OnSlice | None,
    ) -> Slices:
        parts = [p for p in start.parts if p.area]
        goals = [p for p in goal.parts if p.area]
        target = goals[0] if len(parts) == len(goals) == 1 else None
        slices: Slices = {}
        for part in parts:
            chain = self._chain(part, direction, span, target, on_slice)
            _merge(slices, {r.index: r for r in chain.slices})
        return slices

    def _chain(
        self,
        start: SliceResult,
        direction: int,
        limits: Limits,
        target: SliceResult | None,
        on_slice: OnSlice | None,
    ) -> Chain:
        return self._remember(
            ("chain", start, direction, limits, target),
            lambda: walk(self.decoder, start, direction, limits, self.rules, target, on_slice),
        )

    def _remember(self, key: Hashable, compute: Callable[[], _Value]) -> _Value:
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        value = compute()
        self._known[key] = value
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return value


def _with_points(start: SlicePrompts, prompts: dict[int, SlicePrompts]) -> SlicePrompts:
    """The middle slice of a 3D box with the points that were clicked on it."""
    clicked = prompts.get(start.index)
    return replace(start, points=clicked.points) if clicked else start


def _merge(slices: Slices, more: Slices) -> None:
    for index, result in more.items():
        slices[index] = unite([slices[index], result]) if index in slices else result
