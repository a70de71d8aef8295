from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sammed.engine.propagation import (
    Chain,
    Course,
    Limits,
    PromptLadder,
    Rules,
    points_from_mask,
    walk,
)
from sammed.engine.slice_mask import SlicePrompt, SliceResult, blend, painted
from sammed.imaging.boxes import Box2D
from sammed.models.protocols import ModelSpec

RULES = Rules(
    min_present=0.5, min_predicted_iou=0.6, min_overlap=0.5, max_growth=1.6, max_jump=0.75,
    jump_mm=3.0, max_drift=2.0, drift_floor=0.1, min_area=0.01, step_mm=3.0, max_slope=0.15,
)  # fmt: skip
"""Fixed here, so that tuning the defaults does not change what is tested."""

SHAPE = (60, 80)
WHOLE = Box2D(0, 0, *SHAPE)
Answer = Callable[[int, SlicePrompt], SliceResult]


class Script:
    """A decoder whose answers are written down; remembers what it was asked."""

    def __init__(
        self, answer: Answer, count: int = 20, slice_mm: float = 3.0, **spec: object
    ) -> None:
        about = {"weights_hash": "1" * 64, "has_object_score": True, **spec}
        self.model = SimpleNamespace(spec=ModelSpec("script", 64, 64, **about))  # type: ignore[arg-type]
        self.stack = Stack(count, slice_mm)
        self.recipe = self.model.spec.recipe
        self.answer = answer
        self.means: dict[int, float] = {}
        self.asked: list[tuple[int, SlicePrompt]] = []

    def decode(self, index: int, prompts: list[SlicePrompt]) -> list[SliceResult]:
        self.asked += [(index, prompt) for prompt in prompts]
        return [replace(self.answer(index, p), index=index, prompt=p.name) for p in prompts]

    def intensity(self, result: SliceResult) -> tuple[float, float]:
        return self.means.get(result.index, 0.5), 0.05


class Stack:
    shape = SHAPE
    pixel_mm = (1.0, 1.0)

    def __init__(self, count: int, slice_mm: float) -> None:
        self.count, self.slice_mm = count, slice_mm

    def __len__(self) -> int:
        return self.count


def disc(row: float = 30, col: float = 40, radius: float = 10, **measures: object) -> SliceResult:
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    mask = np.hypot(rows - row, cols - col) < radius
    if not mask.any():
        return replace(painted(0, np.zeros(SHAPE, bool)), **measures)  # type: ignore[arg-type]
    return replace(painted(0, mask), **measures)  # type: ignore[arg-type]


NOTHING = disc(radius=-1, predicted_iou=0.0)


def go(
    script: Script,
    start: SliceResult | None = None,
    direction: int = 1,
    limits: Limits | None = None,
    **options: Any,
) -> Chain:
    start = replace(start or disc(), index=options.pop("at", 10))
    limits = limits or Limits(0, script.stack.count, WHOLE)
    rules = options.pop("rules", RULES)
    course = Course(
        start, direction, limits, options.pop("target", None), options.pop("reference", None)
    )
    return walk(PromptLadder(script), course, rules, **options)  # type: ignore[arg-type]


def steady(index: int, prompt: SlicePrompt) -> SliceResult:
    return disc()


def after(last: int, then: SliceResult) -> Answer:
    """A steady object up to a slice, then another answer to every prompt."""
    return lambda index, prompt: disc() if index <= last else then


# -- why it stops ----------------------------------------------------------------------------


@pytest.mark.parametrize(("direction", "last"), [(1, 19), (-1, 0)])
def test_at_the_end_of_the_volume(direction, last):
    chain = go(Script(steady), direction=direction)
    assert (chain.stop.reason, chain.stop.index, chain.stop.direction) == ("edge", last, direction)
    expected = range(11, 20) if direction > 0 else range(9, -1, -1)
    assert [r.index for r in chain.slices] == list(expected)


@pytest.mark.parametrize(("direction", "last"), [(1, 13), (-1, 7)])
def test_at_the_end_of_the_given_range(direction, last):
    script = Script(steady)
    chain = go(script, direction=direction, limits=Limits(7, 14, WHOLE, known=True))
    assert (chain.stop.reason, chain.stop.index) == ("limit", last)
    assert {index for index, _ in script.asked} <= set(range(7, 14))


def test_a_start_at_the_edge_has_nowhere_to_go():
    script = Script(steady)
    chain = go(script, at=19)
    assert (chain.slices, chain.stop.reason, chain.stop.index) == ((), "edge", 19)
    assert not script.asked


REJECTED = {
    "empty": (NOTHING, "nothing was found"),
    "small": (disc(radius=0.9), "shrunk to 0.3%"),
    "unsure": (disc(predicted_iou=0.3), "predicted IoU fell to 0.30, below 0.60"),
    "grown": (disc(radius=14), "the area grew 2.0 times"),
    "moved": (disc(col=62), "only 0% of the mask overlaps"),
    "absent": (disc(present=0.2), r"not on the next slice \(probability 0.20\)"),
}


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("reason", list(REJECTED))
def test_every_reason_to_stop(reason, direction):
    answer, text = REJECTED[reason]
    end = 10 + 3 * direction

    def answers(index, prompt):
        return disc() if abs(index - 10) <= 3 else answer

    script = Script(answers)
    chain = go(script, direction=direction)
    assert (chain.stop.reason, chain.stop.index, chain.stop.direction) == (reason, end, direction)
    assert [r.index for r in chain.slices] == [10 + n * direction for n in (1, 2, 3)]
    assert re.search(text, chain.stop.text), chain.stop.text
    assert {index for index, _ in script.asked} == {10 + n * direction for n in (1, 2, 3, 4)}


def test_a_jump_within_the_overlap():
    """A small mask inside the large neighbour overlaps fully, yet lies elsewhere."""
    wide = disc(radius=20)
    beside = disc(col=57, radius=2.5)
    rules = replace(RULES, max_jump=0.5, jump_mm=1.0)
    chain = go(Script(lambda index, prompt: beside), wide, rules=rules)
    assert chain.stop.reason == "moved"
    assert chain.stop.text == "the centre jumped 17.0 mm, more than 11.0 mm"


def test_predicted_iou_is_judged_by_that_of_the_start():
    unsure = Script(lambda index, prompt: disc(predicted_iou=0.3))
    assert go(unsure, disc(predicted_iou=0.45)).stop.reason == "edge"
    assert go(unsure, disc(predicted_iou=0.55)).stop.reason == "unsure"


def test_the_intensity_may_drift_by_so_much_from_the_start():
    """0.1 of the window and twice the start slice's deviation of 0.05."""
    script = Script(steady)
    script.means = {12: 0.69, 13: 0.31, 14: 0.71}
    chain = go(script)
    assert (chain.stop.reason, chain.stop.index) == ("changed", 13)
    assert chain.stop.text == "the mean intensity moved by 21% of the window, more than 20%"
    known = go(script, limits=Limits(5, 18, WHOLE, known=True))
    assert known.stop.reason == "limit"


def test_a_model_that_does_not_know_absence_is_not_asked_about_it():
    says_absent = Script(lambda index, prompt: disc(present=0.0), has_object_score=False)
    assert go(says_absent).stop.reason == "edge"


def test_thick_slices_may_change_more():
    def growing(index, prompt):
        return disc(radius=10 if index == 10 else 13.5)  # area ratio 1.8

    assert go(Script(growing, slice_mm=1.0)).stop.reason == "grown"
    assert go(Script(growing, slice_mm=3.0)).stop.reason == "grown"
    assert go(Script(growing, slice_mm=5.0)).stop.reason == "edge"


def test_slow_shrinking_ends_by_area_not_by_neighbours():
    def shrinking(index, prompt):
        return disc(radius=20 * 0.8 ** (index - 10))

    chain = go(Script(shrinking, count=60), disc(radius=20), rules=replace(RULES, min_area=0.05))
    assert chain.stop.reason == "small"
    assert 14 <= chain.stop.index <= 17


def test_within_a_known_range_only_the_places_count():
    """The user said that the object is there: unsure, growing and shrinking are no reason."""
    odd = {11: disc(radius=18), 12: disc(radius=3, predicted_iou=0.01), 13: disc(present=0.0)}
    script = Script(lambda index, prompt: odd.get(index, disc()))
    chain = go(script, limits=Limits(5, 15, WHOLE, known=True))
    assert (chain.stop.reason, chain.stop.index) == ("limit", 14)
    elsewhere = go(Script(after(12, disc(col=70))), limits=Limits(5, 15, WHOLE, known=True))
    assert (elsewhere.stop.reason, elsewhere.stop.index) == ("moved", 12)
    nothing = go(Script(after(12, NOTHING)), limits=Limits(5, 15, WHOLE, known=True))
    assert (nothing.stop.reason, nothing.stop.index) == ("empty", 12)


# -- what is tried ---------------------------------------------------------------------------


def test_the_first_prompt_is_the_box_with_the_neighbours_mask():
    script = Script(steady)
    chain = go(script, at=17)
    assert [p.name for _, p in script.asked] == ["box + mask"] * 2
    assert script.asked[0][1].prior is not None
    assert script.asked[0][1].prior.index == 17
    assert script.asked[1][1].prior is not None
    assert script.asked[1][1].prior.index == 18
    assert [(r.prompt, r.retries) for r in chain.slices] == [("box + mask", 0)] * 2


@pytest.mark.parametrize(("works", "retries"), [("box", 1), ("box + points", 2)])
def test_rejected_answers_are_asked_for_again_in_other_words(works, retries):
    def fails_once(index, prompt):
        return NOTHING if index == 12 and prompt.name != works else disc()

    script = Script(fails_once)
    chain = go(script)
    assert chain.stop.reason == "edge"
    used = {r.index: (r.prompt, r.retries) for r in chain.slices}
    assert used[12] == (works, retries)
    assert used[11] == used[13] == ("box + mask", 0)
    tried = [p for index, p in script.asked if index == 12]
    assert [p.name for p in tried] == ["box + mask", "box", "box + points"][: retries + 1]
    assert tried[1].prior is None
    if retries == 2:
        assert tried[2].points
        assert tried[2].prior is None


def test_all_prompts_are_tried_before_it_stops_and_the_first_verdict_is_told():
    bad = {"box + mask": disc(radius=14), "box": NOTHING, "box + points": disc(col=62)}
    script = Script(lambda index, prompt: disc() if index < 13 else bad[prompt.name])
    chain = go(script)
    assert chain.stop.reason == "grown"
    assert [p.name for index, p in script.asked if index == 13] == list(bad)
    assert max(index for index, _ in script.asked) == 13


def test_absence_is_not_talked_round():
    script = Script(after(12, disc(present=0.1)))
    go(script)
    assert [p.name for index, p in script.asked if index == 13] == ["box + mask"]


def test_it_never_restarts_from_the_seed():
    """After a long way every box still comes from the last mask, and none from the seed's."""

    def walking(index, prompt):
        return disc(col=14 + 3 * (index - 2), radius=8) if index < 17 else NOTHING

    script = Script(walking)
    chain = go(script, disc(col=14, radius=8), at=2)
    assert chain.stop.reason == "empty"
    assert chain.stop.index == 16
    for index, prompt in script.asked:
        assert prompt.box is not None
        near = 14 + 3 * (min(index, 16) - 1 - 2)
        assert abs(prompt.box.centre[1] - near) < 8
    tried = [p.box for index, p in script.asked if index == 17]
    assert len(tried) == 3
    assert all(b is not None and b.c0 > 30 for b in tried)  # the seed's box ends at column 22


def boxes(script: Script) -> dict[int, Box2D]:
    return {index: prompt.box for index, prompt in script.asked if prompt.box is not None}


def test_the_box_follows_the_slope_of_the_last_two():
    def rising(index, prompt):
        return disc(row=30 - 2 * (index - 10), radius=10)

    script = Script(rising)
    chain = go(script, limits=Limits(0, 14, WHOLE))
    assert chain.stop.reason == "limit"
    first, second, third = (boxes(script)[i] for i in (11, 12, 13))
    assert first == disc(row=30).box
    assert second == disc(row=28 - 2).box
    assert third == disc(row=26 - 2).box


def test_the_slope_is_bounded():
    def leaping(index, prompt):
        return disc(row=30 - (5 if index > 10 else 0), radius=10)

    script = Script(leaping)
    go(script, limits=Limits(0, 13, WHOLE), rules=replace(RULES, max_slope=0.1))
    extent = disc().box.shape[0]
    assert boxes(script)[12].r0 == round(disc(row=25).box.r0 - 0.1 * extent)


def test_the_box_is_not_widened():
    """A mask that fills its box would then grow from slice to slice."""
    for spec in ({}, {"weights_hash": ""}):
        script = Script(steady, **spec)
        go(script)
        assert set(boxes(script).values()) == {disc().box}


def test_boxes_stay_in_their_frame():
    frame = disc().box
    script = Script(steady)
    go(script, limits=Limits(0, 20, frame))
    assert all(box == frame for box in boxes(script).values())


def test_towards_a_target_the_box_is_interpolated():
    target = replace(disc(row=20, col=60, radius=6), index=15)

    def between(index, prompt):
        share = (index - 10) / 5
        return disc(row=30 - 10 * share, col=40 + 20 * share, radius=10 - 4 * share)

    script = Script(between)
    chain = go(script, limits=Limits(11, 15, WHOLE, known=True), target=target)
    assert [r.index for r in chain.slices] == [11, 12, 13, 14]
    for index, box in boxes(script).items():
        share = (index - 10) / 5
        np.testing.assert_allclose(box.centre, [30.5 - 10 * share, 40.5 + 20 * share], atol=1.5)


def test_each_accepted_slice_is_told():
    told: list[int] = []
    go(Script(after(13, NOTHING)), on_slice=lambda result: told.append(result.index))
    assert told == [11, 12, 13]


def test_points_lie_deep_in_the_mask_and_far_from_it():
    ring = disc(radius=15)
    points = points_from_mask(ring, Box2D(10, 20, 58, 78), SHAPE)
    inside = [(p.row, p.col) for p in points if p.positive]
    outside = [(p.row, p.col) for p in points if not p.positive]
    assert len(inside) == len(outside) == 1
    assert np.hypot(inside[0][0] - 30, inside[0][1] - 40) <= 2
    assert np.hypot(outside[0][0] - 30, outside[0][1] - 40) > 20
    full_box = points_from_mask(disc(radius=500), Box2D(10, 20, 50, 70), SHAPE)
    assert [p.positive for p in full_box] == [True]
    assert points_from_mask(ring, Box2D(70, 90, 80, 99), SHAPE) == ()


def test_points_near_the_border_are_not_lost():
    corner = disc(row=0, col=0, radius=9)
    points = points_from_mask(corner, Box2D(0, 0, 14, 14), SHAPE)
    assert all(0 <= p.row < 14 and 0 <= p.col < 14 for p in points)
    assert any(p.positive for p in points)


# -- between two prompted slices -------------------------------------------------------------


def test_blending_weighs_by_distance():
    forward = replace(disc(col=36), index=12, predicted_iou=0.9)
    backward = replace(disc(col=44), index=12, predicted_iou=0.5)
    near_start = blend(forward, backward, 0.2)
    near_end = blend(forward, backward, 0.8)
    assert near_start is not None
    assert near_end is not None
    assert near_start.predicted_iou == pytest.approx(0.82)
    np.testing.assert_array_equal(near_start.on(WHOLE) > 0, forward.on(WHOLE) > 0)
    np.testing.assert_array_equal(near_end.on(WHOLE) > 0, backward.on(WHOLE) > 0)
    expected = 0.8 * forward.on(WHOLE) + 0.2 * backward.on(WHOLE)
    np.testing.assert_allclose(near_start.on(WHOLE), expected, atol=1e-5)


def test_one_side_alone_is_taken_as_it_is():
    forward = disc()
    assert blend(forward, None, 0.9) is forward
    assert blend(None, forward, 0.1) is forward
    assert blend(None, None, 0.5) is None
