"""From one slice to the next: next prompt, accept test, retry, stop reason.

A chain starts at an accepted slice and walks in one direction. Each step extrapolates the box
from the last masks, gives the neighbour's mask as a prompt, and accepts or rejects the answer by
tests whose thresholds are ratios or millimetres. What is rejected is tried again with other
prompts; when nothing is accepted the chain stops and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import pi, sqrt
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.engine.decoding import SliceDecoder
from sammed.engine.slice_mask import ClickedPoint, SlicePrompt, SliceResult, overlap
from sammed.imaging.boxes import Box2D
from sammed.models.recipe import GrowthGuard

OnSlice = Callable[[SliceResult], None]


@dataclass(frozen=True)
class Rules:
    """Thresholds of the accept test and of the box extrapolation.

    Attributes
    ----------
    min_present
        Probability that the object is on the slice, of models that can tell.
    min_predicted_iou
        As a share of the start slice's predicted IoU.
    min_overlap
        Share of the smaller of two neighbouring masks that they must have in common.
    max_growth
        Largest ratio of areas of neighbouring masks, for each `step_mm` between them.
    max_jump
        Largest move of the centroid, in equivalent radii of the larger mask...
    jump_mm
        ... to which this many mm are added, for each step.
    max_drift
        Largest change of the mean intensity inside the mask from the start slice's, in the start
        slice's standard deviations...
    drift_floor
        ... to which this share of the window is added.
    min_area
        A mask smaller than this share of the largest accepted one is the object's end.
    step_mm
        Distance between slices for which `max_growth` is meant; thicker slices may change more.
    max_slope
        Largest extrapolated move of a box side from slice to slice, as a share of its size.
    """

    min_present: float = 0.5
    min_predicted_iou: float = 0.6
    min_overlap: float = 0.5
    max_growth: float = 1.6
    max_jump: float = 0.75
    jump_mm: float = 3.0
    max_drift: float = 1.0
    drift_floor: float = 0.1
    min_area: float = 0.01
    step_mm: float = 3.0
    max_slope: float = 0.15


@dataclass(frozen=True)
class Stop:
    """Where and why a chain ended.

    Attributes
    ----------
    index
        The last accepted slice.
    direction
        +1 or -1 along the stack.
    reason
        One of ``"limit"``, ``"edge"``, ``"absent"``, ``"empty"``, ``"small"``, ``"unsure"``,
        ``"moved"``, ``"grown"``, ``"changed"``.
    text
        In words, with numbers.
    """

    index: int
    direction: int
    reason: str
    text: str


@dataclass(frozen=True, eq=False)
class Chain:
    """Accepted slices in walking order, without the start, and why it ended."""

    slices: tuple[SliceResult, ...]
    stop: Stop


@dataclass(frozen=True)
class Limits:
    """Where a chain may go.

    Attributes
    ----------
    low, high
        Half-open range of slice indices.
    frame
        Boxes are clipped to this rectangle of the slice.
    known
        The user says that the object reaches from end to end of the range (a 3D box, or the span
        between two prompted slices): the chain then ends early only where nothing is found.
    """

    low: int
    high: int
    frame: Box2D
    known: bool = False


@dataclass(frozen=True, eq=False)
class Course:
    """Where a chain starts and where it leads.

    Attributes
    ----------
    start
        An accepted mask; not part of the chain.
    direction
        +1 or -1.
    limits
        Where the chain may go.
    target
        A mask on a later slice in this direction: boxes are then interpolated towards its box
        instead of extrapolated.
    reference
        The mask where an earlier chain started which this one goes on with; by default ``start``.
    """

    start: SliceResult
    direction: int
    limits: Limits
    target: SliceResult | None = None
    reference: SliceResult | None = None


class Asking(Protocol):
    """How a model is asked about the next slice of a chain."""

    @property
    def decoder(self) -> SliceDecoder:
        """Knows the slices and the model."""
        ...

    def trimmed_box(self, result: SliceResult) -> Box2D:
        """The box from which that of the next slice follows."""
        ...

    def answers(self, index: int, expected: SliceResult, box: Box2D) -> Iterator[SliceResult]:
        """Answers to try, in order, given the neighbour's mask and a box."""
        ...

    def accept(self, result: SliceResult) -> None:
        """Take note of the answer that was accepted."""
        ...


@dataclass(frozen=True)
class PromptLadder:
    """Asks with the neighbour's mask and a box, then with the box alone, then with points.

    Attributes
    ----------
    decoder
        Answers the prompts.
    """

    decoder: SliceDecoder

    @property
    def _guard(self) -> GrowthGuard | None:
        return self.decoder.recipe.growth_guard

    def trimmed_box(self, result: SliceResult) -> Box2D:
        """The mask's box without spikes, if the recipe guards against growth."""
        return trimmed_box(result, self._guard.spike if self._guard else 0.0)

    def answers(self, index: int, expected: SliceResult, box: Box2D) -> Iterator[SliceResult]:
        """The model's answers to each prompt; pixels that it is hardly sure of are left out."""
        for prompt in _ladder(expected, box, self.decoder.stack.shape):
            yield _cautious(self.decoder.decode(index, [prompt])[0], self._guard)

    def accept(self, result: SliceResult) -> None:
        """Nothing to note: what follows is asked with the mask itself."""


def walk(
    asking: Asking,
    course: Course,
    rules: Rules,
    on_slice: OnSlice | None = None,
    every: int = 1,
) -> Chain:
    """Propagate from an accepted slice until the object or the range ends.

    Parameters
    ----------
    asking
        How the model is asked.
    course
        From where, and where to.
    rules
        Thresholds.
    on_slice
        Called with every accepted slice.
    every
        Only slices whose index is a multiple of it are visited.

    Returns
    -------
    Chain
        Never empty-handed about why it ended.
    """
    start, direction, limits = course.start, course.direction, course.limits
    accepted = [start]
    reference = course.reference or start
    largest = max(start.area, reference.area)
    for index in _indices(start.index, direction, limits):
        if index % every:
            continue
        box = _next_box(asking, accepted, index, course, rules)
        expected = accepted[-1]
        result, reason = None, ("", "")
        for retry, answer in enumerate(asking.answers(index, expected, box)):
            verdict = _judge(answer, expected, reference, largest, limits, rules, asking.decoder)
            if not verdict:
                result = replace(answer, retries=retry)
                break
            reason = reason if retry else verdict
            if verdict[0] == "absent" and not limits.known:
                break  # the model says that the object has ended: do not talk it round
        if result is None:
            stop = Stop(accepted[-1].index, direction, *reason)
            return Chain(tuple(accepted[1:]), stop)
        accepted.append(result)
        asking.accept(result)
        largest = max(largest, result.area)
        if on_slice:
            on_slice(result)
    end = _end(accepted[-1].index, direction, limits, asking.decoder)
    return Chain(tuple(accepted[1:]), end)


def _indices(start: int, direction: int, limits: Limits) -> range:
    if direction > 0:
        return range(max(start + 1, limits.low), limits.high)
    return range(min(start - 1, limits.high - 1), limits.low - 1, -1)


def _next_box(
    asking: Asking, accepted: list[SliceResult], index: int, course: Course, rules: Rules
) -> Box2D:
    """Box for the next slice: interpolated towards a target, else extrapolated.

    It is not widened, and spikes of the mask do not widen it either: a mask that fills its box
    would then grow from slice to slice.
    """
    limits, target = course.limits, course.target
    last = asking.trimmed_box(accepted[-1])
    sides = last.as_array()
    extent = np.array([*last.shape, *last.shape], np.float64)
    if target is not None and not target.box.is_empty:
        share = (index - accepted[-1].index) / (target.index - accepted[-1].index)
        sides = sides + share * (target.box.as_array() - sides)
    elif len(accepted) > 1:
        since = (index - accepted[-1].index) / (accepted[-1].index - accepted[-2].index)
        slope = since * (sides - asking.trimmed_box(accepted[-2]).as_array())
        sides = sides + np.clip(slope, -rules.max_slope * extent, rules.max_slope * extent)
    r0, c0, r1, c1 = (int(v) for v in np.rint(sides))
    box = Box2D(r0, c0, max(r1, r0 + 1), max(c1, c0 + 1)).intersection(limits.frame)
    return last.intersection(limits.frame) if box.is_empty else box


def trimmed_box(result: SliceResult, share: float) -> Box2D:
    """Box of a mask without its outermost thin rows and columns.

    Parameters
    ----------
    result
        A mask.
    share
        Of the pixels of the fullest row (column) that a row (column) must hold to count.
    """
    box = result.box
    if box.is_empty:
        return box
    mask = result.on(box) > 0
    rows, cols = (
        np.flatnonzero(counts >= share * counts.max()) for counts in (mask.sum(1), mask.sum(0))
    )
    return Box2D(
        box.r0 + int(rows[0]),
        box.c0 + int(cols[0]),
        box.r0 + int(rows[-1]) + 1,
        box.c0 + int(cols[-1]) + 1,
    )


def _cautious(answer: SliceResult, guard: GrowthGuard | None) -> SliceResult:
    """The answer with the pixels that the model is hardly sure of left out."""
    if guard is None:
        return answer
    caution = guard.caution * min(1.0, answer.area / guard.cautious_area)
    return replace(answer, logits=np.asarray(answer.logits - np.float32(caution), np.float32))


def _ladder(expected: SliceResult, box: Box2D, shape: tuple[int, int]) -> Iterator[SlicePrompt]:
    """The prompts to try on the next slice, in order."""
    yield SlicePrompt(box, prior=expected, name="box + mask")
    yield SlicePrompt(box, name="box")
    yield SlicePrompt(box, points_from_mask(expected, box, shape), name="box + points")


def points_from_mask(
    result: SliceResult, box: Box2D, shape: tuple[int, int]
) -> tuple[ClickedPoint, ...]:
    """A positive point deep inside a mask and a negative one in the emptiest part of its box.

    Both are maxima of distance maps, as in micro-sam (Archit et al. 2025,
    doi:10.1038/s41592-024-02580-4).
    """
    frame = box.clip(shape)
    if frame.is_empty:
        return ()
    mask = result.on(frame) > 0
    points = []
    for part, positive in ((mask, True), (~mask, False)):
        if not part.any():
            continue
        depth = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
        row, col = np.unravel_index(int(np.argmax(depth)), depth.shape)
        if positive or depth[row, col] > 2:
            points.append(ClickedPoint(int(row) + frame.r0, int(col) + frame.c0, positive))
    return tuple(points)


def _judge(
    answer: SliceResult,
    expected: SliceResult,
    start: SliceResult,
    largest: int,
    limits: Limits,
    rules: Rules,
    decoder: SliceDecoder,
) -> tuple[str, str] | None:
    """``None`` if the answer is accepted, else the reason in one word and in words."""
    tells = decoder.model.spec.has_object_score and not limits.known
    if tells and answer.present < rules.min_present:
        return "absent", f"the object is not on the next slice (probability {answer.present:.2f})"
    if not answer.area:
        return "empty", "nothing was found on the next slice"
    if limits.known:
        return _judge_known(answer, expected, rules)
    if answer.area < rules.min_area * largest:
        return "small", (
            f"the object has shrunk to {answer.area / largest:.1%} of its largest slice"
        )
    least = rules.min_predicted_iou * start.predicted_iou
    if answer.predicted_iou < least:
        return "unsure", f"predicted IoU fell to {answer.predicted_iou:.2f}, below {least:.2f}"
    drift, allowed = _drift(answer, start, rules, decoder)
    if drift > allowed:
        return "changed", (
            f"the mean intensity moved by {drift:.0%} of the window, more than {allowed:.0%}"
        )
    apart = abs(answer.index - expected.index) * decoder.stack.slice_mm
    steps = max(apart / rules.step_mm, 1.0)
    growth = answer.area / max(expected.area, 1)
    if growth > rules.max_growth**steps + 8 / max(expected.area, 1):
        return "grown", f"the area grew {growth:.1f} times from one slice to the next"
    _, common = overlap(answer, expected)
    if common < rules.min_overlap ** min(steps, 2):
        return "moved", f"only {common:.0%} of the mask overlaps its neighbour"
    jump, allowed = _jump(answer, expected, steps, rules, decoder.stack.pixel_mm)
    if jump > allowed:
        return "moved", f"the centre jumped {jump:.1f} mm, more than {allowed:.1f} mm"
    return None


def _judge_known(
    answer: SliceResult, expected: SliceResult, rules: Rules
) -> tuple[str, str] | None:
    """Within a range that the object is known to fill, only a mask elsewhere is rejected."""
    if rules.min_overlap and not overlap(answer, expected)[1]:
        return "moved", "the mask does not touch its neighbour"
    return None


def _drift(
    answer: SliceResult, start: SliceResult, rules: Rules, decoder: SliceDecoder
) -> tuple[float, float]:
    """How far the mean intensity inside the mask moved and how far it may, as window shares."""
    seed, seed_spread = decoder.intensity(start)
    mean, _ = decoder.intensity(answer)
    return abs(mean - seed), rules.max_drift * seed_spread + rules.drift_floor


def _jump(
    answer: SliceResult,
    expected: SliceResult,
    steps: float,
    rules: Rules,
    pixel_mm: tuple[float, float],
) -> tuple[float, float]:
    """How far the centroid moved and how far it may, in mm."""
    move: NDArray[np.float64] = np.subtract(answer.centroid, expected.centroid) * pixel_mm
    area_mm2 = max(answer.area, expected.area) * pixel_mm[0] * pixel_mm[1]
    allowed = rules.max_jump * sqrt(area_mm2 / pi) + rules.jump_mm * steps
    return float(np.hypot(*move)), allowed


def _end(index: int, direction: int, limits: Limits, decoder: SliceDecoder) -> Stop:
    last = limits.high - 1 if direction > 0 else limits.low
    edge = len(decoder.stack) - 1 if direction > 0 else 0
    if last == edge:
        return Stop(index, direction, "edge", "the volume ends here")
    return Stop(index, direction, "limit", "the given range ends here")
