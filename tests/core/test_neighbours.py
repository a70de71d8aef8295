"""Boxed slices side by side are seen again with their neighbours' masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sammed.anchors import Anchor, SlicePrompts, decode_anchor
from sammed.boxes import Box2D
from sammed.consensus import slices_to_come
from sammed.decoding import ClickedPoint, SliceDecoder, SliceResult
from sammed.embeddings import EmbeddingStore
from sammed.intensity import Window
from sammed.neighbours import look_again, side_by_side
from sammed.prompts import ObjectPrompts, PointPrompt
from sammed.propagation import Rules
from sammed.slices import SliceStack
from sammed.tracing import Tracer
from tests.phantoms import ORGAN, StubModel, changed, organ_volume, slice_box

BOX = Box2D(4, 6, 30, 40)


def said(index: int, *boxes: Box2D, **more: object) -> SlicePrompts:
    return SlicePrompts(index, boxes, **more)


def decoder(model: StubModel) -> SliceDecoder:
    stack = SliceStack(organ_volume(), "axial", Window(-160, 240, "soft-tissue"))
    return SliceDecoder(stack, model, EmbeddingStore())


def boxed(*indices: int, propagate: str = "off", **more: object) -> ObjectPrompts:
    boxes = tuple(slice_box(ORGAN, i) for i in indices)
    return ObjectPrompts("organ", boxes=boxes, propagate=propagate, **more)


def test_only_boxed_slices_next_to_each_other_are_seen_again():
    prompts = {i: said(i, BOX) for i in (3, 4, 5, 9)}
    assert side_by_side(prompts) == {3: (4,), 4: (3, 5), 5: (4,)}


def test_what_the_user_clicked_or_painted_stays_as_it_is():
    clicked = said(4, BOX, points=(ClickedPoint(9, 9),))
    painted = said(6, BOX, painted=np.ones((40, 52), bool))
    points_alone = said(2, points=(ClickedPoint(9, 9),))
    prompts = {2: points_alone, 3: said(3, BOX), 4: clicked, 5: said(5, BOX), 6: painted}
    assert side_by_side(prompts) == {3: (4,), 5: (4, 6)}


def anchor(index: int, level: float, region: Box2D = BOX) -> Anchor:
    return Anchor(index, (SliceResult(index, region, np.full(region.shape, level, np.float32)),))


def test_the_mask_prompt_is_the_neighbours_mean_and_the_answer_joins_the_first_one():
    shy = StubModel(52, rule=lambda p, g, a: changed(a, low_res_logits=a.low_res_logits / 8))
    dec = decoder(shy)
    seen = look_again(dec, said(8, BOX), anchor(8, 2.0), [anchor(7, 9.0), anchor(9, -1.0)])
    asked = shy.asked[-1]
    assert asked.mask is not None
    assert asked.mask[15, 20] == pytest.approx((4.0 - 1.0) / 2)  # 9 counts as 4
    organ, fat = (17, 24), (5, 7)
    assert ORGAN[8][organ]
    assert not ORGAN[8][fat]
    logits = seen.parts[0].on(Box2D(0, 0, 40, 52))
    assert logits[organ] == pytest.approx((2.0 + 1.0) / 2)
    assert logits[fat] == pytest.approx((2.0 - 1.0) / 2)


def test_each_box_has_its_own_neighbours():
    left, right = Box2D(8, 8, 26, 22), Box2D(8, 28, 26, 40)
    model = StubModel(52)
    dec = decoder(model)
    first = decode_anchor(dec, said(8, left, right))
    before = anchor(7, 3.0, left)
    seen = look_again(dec, said(8, left, right), first, [before])
    assert model.asked[-1].mask is not None
    assert len(model.asked) == 3  # the right box has nothing beside it
    assert seen.parts[1] is first.parts[1]
    assert seen.parts[0].prompt == "box + mask"


def test_a_boxed_slice_does_not_vanish_by_the_second_look():
    blind = StubModel(52, threshold=2.0)
    first = anchor(8, 1.0)
    seen = look_again(decoder(blind), said(8, BOX), first, [anchor(7, 5.0)])
    assert seen.parts == first.parts


def test_neighbours_help_where_one_slice_is_misread():
    def blinks(prompt, grey, answer):
        """Half of the object is missed on every other slice, unless a mask is given."""
        if prompt.mask is None and grey.sum() in dim:
            logits = answer.low_res_logits.copy()
            logits[..., 26:] = -1.0
            return changed(answer, low_res_logits=logits)
        return answer

    dec = decoder(StubModel(52, rule=blinks))
    dim = {float(np.float32(dec.stack.image(i).mean(axis=0)).sum()) for i in (5, 7, 9)}
    once = Tracer(dec, Rules()).trace(boxed(*range(4, 11)))
    twice = Tracer(dec, Rules(), twice=True).trace(boxed(*range(4, 11)))
    missed = [ORGAN[i].sum() - once.slices[i].area for i in (5, 7, 9)]
    mended = [ORGAN[i].sum() - twice.slices[i].area for i in (5, 7, 9)]
    assert min(missed) > 50
    assert max(mended) < 10


def test_an_edited_box_is_seen_again_with_its_neighbours_alone():
    model = StubModel(52)
    tracer = Tracer(decoder(model), Rules(), twice=True)
    tracer.trace(boxed(*range(3, 13)))
    before = len(model.asked)
    wider = slice_box(ORGAN, 8, loose=3)
    boxes = tuple(wider if b.index == 8 else b for b in boxed(*range(3, 13)).boxes)
    tracer.trace(ObjectPrompts("organ", boxes=boxes, propagate="off"))
    assert len(model.asked) - before == 1 + 3


@pytest.mark.parametrize("quick", [True, False])
def test_costly_models_look_once(quick):
    assert StubModel(52, costly=not quick).spec.looks_twice is quick
    assert not StubModel(52, judges=False).spec.looks_twice


def test_the_total_counts_both_looks():
    obj = boxed(3, 4, 5, 9)
    assert slices_to_come(obj, (0,)) == 4
    assert slices_to_come(obj, (0,), twice=True) == 7
    clicked = replace(obj, points=(PointPrompt((4, 17, 24)),))
    assert slices_to_come(clicked, (0,), twice=True) == 6
    told = []
    tracer = Tracer(decoder(StubModel(52)), Rules(), twice=True)
    tracer.trace(obj, told.append)
    assert len(told) == 7
