"""Boxed slices are looked at again: in a mirror, with neighbours' masks, from other planes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from sammed.engine import second_look
from sammed.engine.decoding import SliceDecoder
from sammed.engine.fusion import PlaneView
from sammed.engine.object_volume import ObjectVolume
from sammed.engine.prompted_slices import PromptedSlice, SlicePrompts, decode_prompted, with_final
from sammed.engine.propagation import Rules
from sammed.engine.second_look import beside
from sammed.engine.slice_mask import ClickedPoint, SliceResult
from sammed.engine.tracing import Tracer
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.intensity import Window
from sammed.models.compact.recipe import RECIPE
from sammed.prompts import ObjectPrompts
from sammed.views.embeddings import EmbeddingStore
from sammed.views.slices import SliceStack
from tests.phantoms import ORGAN, StubModel, changed, dice, organ_volume, slice_box

look_again = partial(second_look.look_again, look=RECIPE.second_look)
look_across = partial(second_look.look_across, recipe=RECIPE)
runs = partial(second_look.runs, least=RECIPE.across.least_run)

BOX = Box2D(4, 6, 30, 40)
WHOLE = Box2D(0, 0, 40, 52)


def said(index: int, *boxes: Box2D, **more: object) -> SlicePrompts:
    return SlicePrompts(index, boxes, **more)


def decoder(model: StubModel) -> SliceDecoder:
    stack = SliceStack(organ_volume(), "axial", Window(-160, 240, "soft-tissue"))
    return SliceDecoder(stack, model, EmbeddingStore())


def boxed(*indices: int, propagate: str = "off", **more: object) -> ObjectPrompts:
    boxes = tuple(slice_box(ORGAN, i) for i in indices)
    return ObjectPrompts("organ", boxes=boxes, propagate=propagate, **more)


def test_boxed_slices_are_seen_again_with_those_next_to_them():
    prompts = {i: said(i, BOX) for i in (3, 4, 5, 9)}
    assert beside(prompts) == {3: (4,), 4: (3, 5), 5: (4,), 9: ()}


def test_what_the_user_clicked_or_painted_stays_as_it_is():
    clicked = said(4, BOX, points=(ClickedPoint(9, 9),))
    painted = said(6, BOX, painted=np.ones((40, 52), bool))
    points_alone = said(2, points=(ClickedPoint(9, 9),))
    prompts = {2: points_alone, 3: said(3, BOX), 4: clicked, 5: said(5, BOX), 6: painted}
    assert beside(prompts) == {3: (4,), 5: (4, 6)}


def prompted_slice(index: int, level: float, region: Box2D = BOX) -> PromptedSlice:
    return PromptedSlice(
        index, (SliceResult(index, region, np.full(region.shape, level, np.float32)),)
    )


def test_the_mask_prompt_is_the_neighbours_mean_and_the_answer_joins_the_first_one():
    shy = StubModel(52, rule=lambda p, g, a: changed(a, low_res_logits=a.low_res_logits / 8))
    dec = decoder(shy)
    seen = look_again(
        dec, said(8, BOX), prompted_slice(8, 2.0), [prompted_slice(7, 9.0), prompted_slice(9, -1.0)]
    )
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
    first = decode_prompted(dec, said(8, left, right))
    before = prompted_slice(7, 3.0, left)
    seen = look_again(dec, said(8, left, right), first, [before])
    mirrored = model.asked[-2:]
    assert [p.mask is not None for p in mirrored] == [True, False]  # nothing beside the right box
    assert [p.prompt for p in seen.parts] == ["box + mask", "box"]
    assert dice(seen.shown.on(WHOLE) > 0, first.shown.on(WHOLE) > 0) > 0.98


def test_a_box_with_more_pixels_than_a_view_is_seen_closer():
    box = Box2D(4, 6, 30, 40)
    spans = {}
    for size in (34, 33):
        model = StubModel(size, zoom=1.5)
        dec = decoder(model)
        look_again(dec, said(8, box), decode_prompted(dec, said(8, box)), ())
        first, second = (p.box[3] - p.box[1] for p in model.asked)
        spans[size] = second / first
    assert spans[34] == pytest.approx(1)
    assert spans[33] == pytest.approx(1 / RECIPE.second_look.closer)


@pytest.mark.parametrize("zoom", [1.0, 1.2])
def test_a_closer_view_still_holds_the_box(zoom):
    model = StubModel(20, zoom=zoom)
    dec = decoder(model)
    look_again(dec, said(8, BOX), decode_prompted(dec, said(8, BOX)), ())
    assert model.asked[-1].box.min() >= -1e-3
    assert model.asked[-1].box.max() <= 20 + 1e-3


@pytest.mark.parametrize(("rows", "told"), [(4, True), (3, False)])
def test_slices_farther_apart_than_the_object_is_wide_say_nothing(rows, told):
    """The slices are 2.5 mm apart, rows 0.8 mm."""
    box = Box2D(16, 10, 16 + rows, 40)
    model = StubModel(52)
    dec = decoder(model)
    look_again(dec, said(8, box), decode_prompted(dec, said(8, box)), [prompted_slice(7, 3.0, box)])
    assert (model.asked[-1].mask is not None) is told


def test_what_is_seen_in_a_mirror_comes_back_the_right_way_round():
    def shifted(prompt, grey, answer):
        """The model's masks lie four pixels too far to the right of what it is shown."""
        return changed(answer, low_res_logits=np.roll(answer.low_res_logits, 4, -1))

    dec = decoder(StubModel(52, rule=shifted, zoom=1.5))
    box = slice_box(ORGAN, 8).box
    first = decode_prompted(dec, said(8, box))
    seen = look_again(dec, said(8, box), first, ())
    column = first.parts[0].centroid[1], seen.parts[0].centroid[1]
    middle = np.nonzero(ORGAN[8])[1].mean()
    assert column[0] > middle + 2
    assert column[1] == pytest.approx(middle, abs=0.6)


def test_a_boxed_slice_does_not_vanish_by_the_second_look():
    blind = StubModel(52, threshold=2.0)
    first = prompted_slice(8, 1.0)
    seen = look_again(decoder(blind), said(8, BOX), first, [prompted_slice(7, 5.0)])
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
    slow = decoder(StubModel(52, rule=blinks, expensive_encode=True))
    once = Tracer(slow, Rules()).trace(boxed(*range(4, 11)))
    twice = Tracer(dec, Rules()).trace(boxed(*range(4, 11)))
    missed = [ORGAN[i].sum() - once.slices[i].area for i in (5, 7, 9)]
    mended = [ORGAN[i].sum() - twice.slices[i].area for i in (5, 7, 9)]
    assert min(missed) > 50
    assert max(mended) < 10


@pytest.mark.parametrize(
    ("propagate", "slices", "final"),
    [
        ("off", 20, {4, 5, 6, 9}),
        ("between", 20, {4, 5}),
        ("auto", 20, {5}),
        ("auto", 10, {5}),
    ],
)
def test_boxes_are_final_where_no_chain_starts(propagate, slices, final):
    prompts = {i: said(i, BOX) for i in (4, 5, 6, 9)}
    marked = with_final(prompts, propagate, slices)
    assert {i for i, p in marked.items() if p.final} == final
    assert {i: replace(p, final=False) for i, p in marked.items()} == prompts


def test_pictures_are_final_and_what_says_more_than_boxes_is_not():
    assert with_final({0: said(0, BOX)}, "auto", 1)[0].final
    for more in ({"points": (ClickedPoint(9, 9),)}, {"outline": True}, {"painted": np.eye(3) > 0}):
        assert not with_final({0: said(0, BOX, **more)}, "auto", 1)[0].final


@pytest.mark.parametrize("propagate", ["auto", "off"])
def test_the_model_is_told_where_no_chain_starts(propagate):
    model = StubModel(52)
    Tracer(decoder(model), Rules()).trace(boxed(4, 7, 8, 9, propagate=propagate))
    first, rest = model.asked[:4], model.asked[4:]
    lone = next(p for p in rest if p.mask is None)
    assert [p.final for p in first] == [
        propagate == "off",
        propagate == "off",
        True,
        propagate == "off",
    ]
    assert lone.final == (propagate == "off")


def test_an_edited_box_is_seen_again_with_its_neighbours_alone():
    model = StubModel(52)
    tracer = Tracer(decoder(model), Rules())
    tracer.trace(boxed(*range(3, 13)))
    before = len(model.asked)
    wider = slice_box(ORGAN, 8, loose=3)
    boxes = tuple(wider if b.index == 8 else b for b in boxed(*range(3, 13)).boxes)
    tracer.trace(ObjectPrompts("organ", boxes=boxes, propagate="off"))
    assert len(model.asked) - before == 1 + 3


@pytest.mark.parametrize("quick", [True, False])
def test_costly_models_look_once(quick):
    model = StubModel(52, expensive_encode=not quick)
    Tracer(decoder(model), Rules()).trace(boxed(8))
    assert len(model.asked) == (2 if quick else 1)


# -- from other planes -----------------------------------------------------------------------


def test_runs_are_boxed_slices_side_by_side_and_the_block_round_their_boxes():
    prompts = {i: said(i, BOX.expand(i)) for i in (3, 4, 5, 8, 9, 11)}
    prompts[12] = said(12, BOX, points=(ClickedPoint(9, 9),))
    widest = BOX.expand(5)
    block = Box3D(widest.r0, 3, widest.c0, widest.r1, 6, widest.c1)
    assert runs(prompts, 1) == {block: (3, 4, 5)}


def from_the_side(level: float, weight: float):
    """A view from another plane that has one logit all over the block."""

    def across(volume, block):
        assert volume.mask.any()
        logits = np.full(block.shape, level, np.float16)
        return [PlaneView(ObjectVolume(block, logits), 1, dict.fromkeys(range(60), weight))]

    return across


def prompted_slices(level: float, *boxes: Box2D) -> list[PromptedSlice]:
    def part(index: int, box: Box2D) -> SliceResult:
        return SliceResult(index, box, np.full(box.shape, level, np.float32))

    return [PromptedSlice(i, tuple(part(i, b) for b in boxes), boxes) for i in (7, 8, 9)]


def test_other_planes_count_as_much_as_the_model_is_sure():
    block = Box3D(7, BOX.r0, BOX.c0, 10, BOX.r1, BOX.c1)
    seen = look_across(prompted_slices(3.0, BOX), 0, block, from_the_side(-3.0, 0.5))
    assert sorted(seen) == [7, 8, 9]
    logits = seen[8].parts[0].on(BOX)
    np.testing.assert_allclose(logits, (3.0 - 3.0 * 0.5) / 1.5, atol=0.01)
    unsure = look_across(prompted_slices(3.0, BOX), 0, block, from_the_side(-3.0, 0.1))
    assert unsure[8].parts[0].on(BOX).min() > 2.4
    assert look_across(prompted_slices(3.0, BOX), 0, block, lambda v, b: []) == {}


def test_a_slice_does_not_vanish_by_what_other_planes_say():
    block = Box3D(7, BOX.r0, BOX.c0, 10, BOX.r1, BOX.c1)
    first = prompted_slices(0.5, BOX)
    seen = look_across(first, 0, block, from_the_side(-4.0, 1.0))
    assert seen[8].parts == first[1].parts


def test_components_stay_apart_when_planes_are_joined():
    left, right = Box2D(8, 8, 26, 22), Box2D(8, 30, 26, 44)
    block = Box3D(7, 8, 8, 10, 26, 44)
    first = prompted_slices(2.0, left, right)
    seen = look_across(first, 0, block, from_the_side(4.0, 1.0))[8]
    assert seen.boxes == (left, right)
    for part, box in zip(seen.parts, seen.boxes, strict=True):
        other = right if box is left else left
        assert part.on(box).min() > 2
        assert not (part.on(other) > 0).any()


def test_other_planes_mend_what_all_slices_of_one_plane_misread():
    dec = decoder(StubModel(52, rule=lambda p, g, a: changed(a, low_res_logits=halved(a))))

    def across(volume, block):
        logits = np.where(ORGAN, 4.0, -4.0)[block.slices].astype(np.float16)
        return [
            PlaneView(ObjectVolume(block, logits), axis, dict.fromkeys(range(60), 1.0))
            for axis in (1, 2)
        ]

    obj = boxed(*range(4, 11))
    alone = Tracer(dec, Rules()).trace(obj).slices[7]
    tracer = Tracer(dec, Rules())
    helped = tracer.trace(obj, across=across).slices[7]
    assert dice(alone.on(WHOLE) > 0, ORGAN[7]) < 0.8
    assert dice(helped.on(WHOLE) > 0, ORGAN[7]) > 0.95
    asked = len(dec.model.asked)
    again = tracer.trace(obj, across=lambda v, b: pytest.fail("looked at again"))
    assert again.slices[7] is helped
    assert len(dec.model.asked) == asked


def halved(answer) -> np.ndarray:
    """The upper half of the object is missed."""
    logits = answer.low_res_logits.copy()
    logits[..., :17, :] = -3.0
    return logits
