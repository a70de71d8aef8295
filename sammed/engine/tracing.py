"""One object through one stack: prompted slices, spans between them, and their memory.

Every prompted slice and every span is a pure function of what it starts from, and is remembered by
it. So an edited prompt makes only its own slice and the spans that touch it be computed again, and
what undo brings back is still known.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from operator import itemgetter
from typing import TypeVar

from sammed.engine.at_once import Together, one_by_one
from sammed.engine.clicks import as_said
from sammed.engine.decoding import SliceDecoder
from sammed.engine.memo import Memo
from sammed.engine.object_volume import ObjectVolume
from sammed.engine.prompted_slices import (
    PromptedSlice,
    SlicePrompts,
    check_ranges,
    correct_prompted,
    decode_prompted,
    depth_in,
    slice_prompts,
    with_final,
)
from sammed.engine.propagation import Chain, Course, Limits, OnSlice, PromptLadder, Rules, Stop
from sammed.engine.ranges import (
    Range,
    boxes_to_start,
    first_told,
    holders,
    prompted_in,
    ranges_of,
    told_by_points,
)
from sammed.engine.second_look import FromOtherPlanes, beside, look_across, look_again, runs
from sammed.engine.slice_mask import SliceResult, blend, unite
from sammed.engine.stride import stride_walk
from sammed.errors import SegmentationError
from sammed.models.recipe import SecondLook
from sammed.prompts import ObjectPrompts

REMEMBERED = 512
"""Prompted slices and spans kept for one object."""

PROBES = (0.25, 0.375, 0.5, 0.625, 0.75)
"""Where in a 3D box's range propagation may start, as shares of it."""

Slices = dict[int, SliceResult]
Walker = Callable[[Course], Chain]
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

    def shows(self, index: int) -> bool:
        """Whether the object is on a slice."""
        return index in self.slices and self.slices[index].area > 0


class Tracer:
    """Traces one object through a stack; remembers what it has computed.

    Parameters
    ----------
    decoder
        Answers prompts on the slices.
    rules
        Thresholds of propagation.
    stride
        Every how many-th slice is decoded, see `sammed.engine.stride`.
    memo
        What earlier tracers of the same stack have computed; by default nothing.
    together
        How chains that do not wait for each other are walked, see `sammed.engine.at_once`.

    Notes
    -----
    The model's recipe says whether boxed slices are looked at again (`sammed.engine.second_look`)
    and whether masks are moved towards their boxes (`sammed.engine.box_fit`).
    """

    def __init__(
        self,
        decoder: SliceDecoder,
        rules: Rules,
        stride: int = 1,
        memo: Memo | None = None,
        together: Together = one_by_one,
    ) -> None:
        self.decoder = decoder
        self.recipe = decoder.recipe
        self.rules = rules
        self.stride = stride
        self._memo = memo or Memo(REMEMBERED)
        self._together = together

    def trace(
        self,
        obj: ObjectPrompts,
        on_slice: OnSlice | None = None,
        located: ObjectVolume | None = None,
        across: FromOtherPlanes | None = None,
    ) -> Trace:
        """Segment an object on all its slices.

        Parameters
        ----------
        obj
            Checked prompts.
        on_slice
            Called with each newly computed slice.
        located
            What a model has found in the object's 3D box as a whole: propagation starts from a
            slice of it instead of the box's outline.
        across
            How an object looks from other planes, for boxed slices side by side.

        Raises
        ------
        SegmentationError
            If nothing is found on any prompted slice.
        """
        check_ranges(obj, self.decoder.stack.axis)
        prompts = slice_prompts(obj, self.decoder.stack.axis)
        ranges = ranges_of(obj, self.decoder.stack)
        prompts = {i: p for i, p in prompts.items() if holders(i, ranges)}
        telling = {i: p for i, p in prompts.items() if p.locates}
        for own in boxes_to_start(telling, ranges):
            start = self._best_start(own, located)
            known = telling.get(start.index) or prompts.get(start.index) or start
            boxes = tuple(dict.fromkeys((*known.boxes, *start.boxes)))
            telling[start.index] = replace(
                known, boxes=boxes, depth=start.depth, prior=start.prior, outline=start.outline
            )
        if not telling:
            telling = self._told_by_points(obj, prompts, ranges, on_slice)
        telling = with_final(telling, obj.propagate, len(self.decoder.stack))
        prompted = {i: self._prompted(p, on_slice) for i, p in telling.items()}
        for index, said in telling.items():
            whole = prompts.get(index, said)
            if len(whole.points) > len(said.points):
                prompted[index] = self._refined(whole, prompted[index], on_slice)
        self._check_found(obj, prompted)
        if self.recipe.second_look:
            prompted |= self._seen_again(telling, prompted, on_slice, self.recipe.second_look)
        if self.recipe.across and across:
            prompted |= self._seen_across(telling, prompted, across, self.recipe.across.least_run)
        trace = self._spans(prompted, ranges, obj.propagate, on_slice)
        clicked = {i: p for i, p in prompts.items() if i not in telling and p.points}
        clicked = {i: p for i, p in clicked.items() if p.adds or trace.shows(i)}
        if not clicked:
            return trace
        for index, said in clicked.items():
            prompted[index] = self._correction(said, trace, prompted, on_slice)
        return self._spans(prompted, ranges, obj.propagate, on_slice)

    def _told_by_points(
        self,
        obj: ObjectPrompts,
        prompts: dict[int, SlicePrompts],
        ranges: list[Range],
        on_slice: OnSlice | None,
    ) -> dict[int, SlicePrompts]:
        """The slices on which points alone show the object: in each range what was said first.

        Further points correct what was found from there, as those beside a box do; but where each
        prompted slice counts by itself, or the first shows nothing, all of them tell.
        """
        axis = self.decoder.stack.axis
        first = first_told(obj, axis, prompts, ranges)
        shown = (p.area for said in first.values() for p in self._prompted(said, on_slice).parts)
        if obj.propagate != "auto" or not any(shown):
            return {i: prompts[i] for i in told_by_points(obj, axis, prompts)}
        return first

    def _best_start(self, own: Range, located: ObjectVolume | None) -> SlicePrompts:
        """The slice of a 3D box about which the model is surest; the middle one if equal.

        The outline is that of the whole object, so it fits some slices better than others. Where
        the object has been located, its section is what the model is asked with.
        """
        limits, start = own
        if start is None:  # only 3D boxes come here
            raise ValueError("a range without a 3D box has no start")
        last = limits.high - limits.low - 1
        picks = {limits.low + round(share * last) for share in PROBES} | {start.index}

        def surest() -> SlicePrompts:
            outlined = [
                replace(start, index=i, depth=depth_in(limits.low, limits.high, i))
                for i in sorted(picks)
            ]
            known = [s for o in outlined if (s := self._section(o, located)) is not None]
            scores = self._together([partial(score, said) for said in known or outlined])
            return max(zip(known or outlined, scores, strict=True), key=itemgetter(1))[0]

        def score(said: SlicePrompts) -> tuple[float, int]:
            answer = decode_prompted(self.decoder, said).parts[0]
            return answer.predicted_iou * answer.present, -abs(said.index - start.index)

        return self._remember(("start", limits, start, located), surest)

    def _section(self, outline: SlicePrompts, located: ObjectVolume | None) -> SlicePrompts | None:
        """A located object's section of a slice as its prompt; ``None`` if it has none there."""
        stack = self.decoder.stack
        prior = located.across(stack.axis, outline.index) if located else None
        if prior is None or not prior.area:
            return None
        box = prior.box.expand(1).clip(stack.shape)
        return replace(outline, boxes=(box,), depth=0.0, prior=prior)

    def _prompted(self, prompts: SlicePrompts, on_slice: OnSlice | None) -> PromptedSlice:
        def compute() -> PromptedSlice:
            one = decode_prompted(self.decoder, prompts)
            if prompts.plain:
                one = replace(one, boxes=prompts.boxes, fit=self.recipe.box_fit)
            if on_slice:
                on_slice(one.shown)
            return one

        return self._remember(("prompted", prompts), compute)

    def _seen_again(
        self,
        located: dict[int, SlicePrompts],
        prompted: dict[int, PromptedSlice],
        on_slice: OnSlice | None,
        look: SecondLook,
    ) -> dict[int, PromptedSlice]:
        """The boxed slices once more, with their neighbours' masks in mind."""

        def again(index: int, around: tuple[PromptedSlice, ...]) -> PromptedSlice:
            one = look_again(self.decoder, located[index], prompted[index], around, look)
            if on_slice:
                on_slice(one.shown)
            return one

        seen = {}
        for index, near in beside(located).items():
            around = tuple(prompted[i] for i in near)
            key = ("again", located[index], prompted[index], around)
            seen[index] = self._remember(key, partial(again, index, around))
        return seen

    def _seen_across(
        self,
        located: dict[int, SlicePrompts],
        prompted: dict[int, PromptedSlice],
        across: FromOtherPlanes,
        least: int,
    ) -> dict[int, PromptedSlice]:
        """The boxed slices side by side, with what is seen from other planes in mind."""
        axis = self.decoder.stack.axis
        seen: dict[int, PromptedSlice] = {}
        for block, run in runs(located, axis, least).items():
            own = tuple(prompted[i] for i in run)
            look = partial(look_across, own, axis, block, across, self.recipe)
            seen |= self._remember(("across", block, own), look)
        return seen

    def _refined(
        self, prompts: SlicePrompts, one: PromptedSlice, on_slice: OnSlice | None
    ) -> PromptedSlice:
        """What a first point or stroke showed on a slice, corrected by the others on it.

        Or what all of them show at once, if that is more as they say: the first may have shown a
        part of the object, or next to nothing.
        """
        former, anew = one.shown, self._prompted(prompts, on_slice)
        if not former.area:
            return anew
        key = ("correction", prompts, former)
        mended = self._remember(key, partial(self._corrected, prompts, former, on_slice))
        return max(mended, anew, key=lambda found: as_said(found.shown, prompts.points))

    def _corrected(
        self, prompts: SlicePrompts, former: SliceResult, on_slice: OnSlice | None
    ) -> PromptedSlice:
        one = correct_prompted(self.decoder, prompts, former)
        if on_slice:
            on_slice(one.shown)
        return one

    def _correction(
        self,
        prompts: SlicePrompts,
        trace: Trace,
        prompted: dict[int, PromptedSlice],
        on_slice: OnSlice | None,
    ) -> PromptedSlice:
        """A clicked slice, corrected from what propagation had found on it or next to it."""
        index = prompts.index
        former = trace.slices.get(index)
        if former is None or not trace.shows(index):
            found = (i for i, result in trace.slices.items() if result.area)
            former = trace.slices[min(found, key=lambda i: abs(i - index))]

        moved = replace(former, index=index)
        key = ("correction", prompts, former)
        return self._remember(key, partial(self._corrected, prompts, moved, on_slice))

    def _check_found(self, obj: ObjectPrompts, prompted: dict[int, PromptedSlice]) -> None:
        if not any(part.area for one in prompted.values() for part in one.parts):
            raise SegmentationError(
                f"nothing was segmented for {obj.name!r}: the model found no object on the "
                f"prompted slices {sorted(prompted)}; check the box, the window or the model"
            )

    def _spans(
        self,
        prompted: dict[int, PromptedSlice],
        ranges: list[Range],
        propagate: str,
        on_slice: OnSlice | None,
    ) -> Trace:
        """Prompted slices, what lies between them, and (``auto``) what lies beyond them."""
        key = (
            "spans",
            tuple(prompted[i] for i in sorted(prompted)),
            tuple(r for r, _ in ranges),
            propagate,
            self.stride,
        )
        return self._remember(key, lambda: self._join(prompted, ranges, propagate, on_slice))

    def _join(
        self,
        prompted: dict[int, PromptedSlice],
        ranges: list[Range],
        propagate: str,
        on_slice: OnSlice | None,
    ) -> Trace:
        slices: Slices = {i: a.shown for i, a in prompted.items()}
        stops: list[Stop] = []
        if propagate == "off":
            return Trace(slices, (), frozenset(prompted))
        go = self._walker(prompted, on_slice)
        for number, (limits, _) in enumerate(ranges):
            own = prompted_in(number, ranges, prompted)
            walks: list[Callable[[], tuple[Slices, list[Stop]]]] = [
                partial(self._between, first, last, limits, go) for first, last in pairwise(own)
            ]
            if propagate != "between" and own:
                walks.append(partial(self._outward, own[0], -1, limits, go))
                walks.append(partial(self._outward, own[-1], 1, limits, go))
            for found, ended in self._together(walks):
                _merge(slices, found)
                stops.extend(ended)
        return Trace(slices, tuple(stops), frozenset(prompted))

    def _walker(self, prompted: dict[int, PromptedSlice], on_slice: OnSlice | None) -> Walker:
        """How chains between and beyond the prompted slices are walked."""

        def go(course: Course) -> Chain:
            towards = course.direction, course.limits, course.target
            key = ("chain", course.start, *towards, self.stride)
            asking = PromptLadder(self.decoder)
            return self._remember(
                key, lambda: stride_walk(asking, course, self.rules, on_slice, self.stride)
            )

        return go

    def _parts(self, one: PromptedSlice) -> list[SliceResult]:
        """What chains start from: each component by itself."""
        return [part for part in one.parts if part.area]

    def _outward(
        self, one: PromptedSlice, direction: int, limits: Limits, go: Walker
    ) -> tuple[Slices, list[Stop]]:
        """Chains of all components of a prompted slice beyond it."""
        slices: Slices = {}
        stops = []
        for part in self._parts(one):
            chain = go(Course(part, direction, limits))
            _merge(slices, {r.index: r for r in chain.slices})
            stops.append(chain.stop)
        return slices, stops

    def _between(
        self, first: PromptedSlice, last: PromptedSlice, limits: Limits, go: Walker
    ) -> tuple[Slices, list[Stop]]:
        """Both ways between two prompted slices, blended by distance; nothing is to be said."""
        span = replace(limits, low=first.index + 1, high=last.index, known=True)
        forward = self._towards(first, last, 1, span, go)
        backward = self._towards(last, first, -1, span, go)
        slices: Slices = {}
        for index in range(span.low, span.high):
            share = (index - first.index) / (last.index - first.index)
            joined = blend(forward.get(index), backward.get(index), share)
            if joined is not None:
                slices[index] = joined
        return slices, []

    def _towards(
        self, start: PromptedSlice, goal: PromptedSlice, direction: int, span: Limits, go: Walker
    ) -> Slices:
        parts, goals = self._parts(start), self._parts(goal)
        target = goals[0] if len(parts) == len(goals) == 1 else None
        slices: Slices = {}
        for part in parts:
            chain = go(Course(part, direction, span, target))
            _merge(slices, {r.index: r for r in chain.slices})
        return slices

    def _remember(self, key: Hashable, compute: Callable[[], _Value]) -> _Value:
        return self._memo.remember(key, compute)


def _merge(slices: Slices, more: Slices) -> None:
    for index, result in more.items():
        slices[index] = unite([slices[index], result]) if index in slices else result
