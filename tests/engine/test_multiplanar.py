"""One object in several planes, and repairs of it round clicks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sammed.engine import fusion, multiplanar
from sammed.engine.decoding import SliceDecoder
from sammed.engine.fusion import PlaneView
from sammed.engine.local_edits import repair
from sammed.engine.multiplanar import PlaneTrace, refine
from sammed.engine.object_volume import NOTHING, ObjectVolume
from sammed.engine.prompted_slices import depth_in, slice_prompts
from sammed.engine.propagation import trimmed_box
from sammed.engine.ranges import block_limits
from sammed.engine.second_thought import heard, weighed_in
from sammed.engine.settings import Settings
from sammed.engine.slice_mask import SliceResult
from sammed.engine.tracing import PROBES, Trace
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.intensity import Window
from sammed.imaging.volume import Volume
from sammed.models.compact.cubes import cube_view, from_cube
from sammed.models.compact.recipe import RECIPE
from sammed.models.protocols import ViewMask, ViewPrompt, VolumeImage, VolumeMask
from sammed.models.recipe import Locate
from sammed.prompts import MaskPrompt, ObjectPrompts, PointPrompt
from sammed.session import Session
from sammed.views.embeddings import EmbeddingStore
from sammed.views.slices import OUTSIDE_LOGIT, SliceStack
from tests.phantoms import ORGAN, StubModel, block_of, dice, image_of, organ_volume

BORDER = RECIPE.border
BIAS, TEMPERATURE, BORDERS = BORDER.bias, BORDER.temperature, (BORDER.lowest, BORDER.highest)
FADE, DISPUTED = RECIPE.clicks.fade, RECIPE.refine.disputed
balanced = partial(fusion.balanced, border=BORDER)
weigh_planes = partial(fusion.weigh_planes, fusion=RECIPE.fusion)
as_views = partial(multiplanar.as_views, fusion=RECIPE.fusion)
located_view = partial(multiplanar.located_view, weight=RECIPE.locate.weight, fusion=RECIPE.fusion)

BLOCK = ObjectPrompts("organ", blocks=(block_of(ORGAN),))
SPACING = (1.0, 1.0, 1.0)
CUBIC = Volume.from_array(image_of(ORGAN), np.diag([1.0, 1.1, 1.2, 1.0])[[2, 1, 0, 3]])
MIDDLE = PointPrompt((8, 17, 24), True)


# -- looking in all planes ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "spec", "planes"),
    [({}, {}, 3), ({"plane": "axial"}, {}, 1), ({}, {"expensive_encode": True}, 1)],
)
def test_only_quick_models_trace_all_planes_and_only_if_no_plane_is_asked_for(
    settings, spec, planes
):
    model = StubModel(52, **spec)
    made = Session(CUBIC, model, Settings(**settings))
    made.put(BLOCK)
    made.segment()
    assert dice(made.object_mask("organ"), ORGAN) > 0.98
    extents = sorted(int(n) for n in np.ptp(np.argwhere(ORGAN), axis=0) + 1)
    expected = extents[0] if planes == 1 else 2 * sum(extents)  # and a second look
    assert expected <= made.counts["decode"] <= 1.5 * expected + 6 * planes
    assert made.runs["organ"].plane == "axial"


def test_a_thick_object_takes_fewer_slices_and_is_as_good():
    found = []
    for finest, most in ((64, 64), (4, 64), (4, 8)):
        planes, look = replace(RECIPE.planes, finest=finest), replace(RECIPE.refine, most=most)
        model = StubModel(52, recipe=replace(RECIPE, planes=planes, refine=look))
        made = Session(CUBIC, model)
        made.put(BLOCK)
        told = []
        made.segment(progress=told.append)
        assert dice(made.object_mask("organ"), ORGAN) > 0.97
        assert 0.8 * told[-1].total < told[-1].done <= told[-1].total
        found.append(made.counts["decode"])
    assert found[0] > found[1] + 10 > found[2] + 20


def test_between_cross_sections_that_are_asked_for_lies_their_mean():
    every, fourth = seen_again(ORGAN), seen_again(ORGAN, 4)
    assert set(fourth.weights) == set(every.weights)
    whole = Box2D(0, 0, *ORGAN.shape[1:])
    first, second = sorted(every.weights)[:5:4]
    for index in (first, second):
        seen = every.volume.across(0, index).on(whole)
        np.testing.assert_array_equal(fourth.volume.across(0, index).on(whole), seen)
    ends = (fourth.volume.across(0, index).on(whole) for index in (first, second))
    mean = sum(share * end for share, end in zip((0.75, 0.25), ends, strict=True))
    between = fourth.volume.across(0, first + 1).on(whole)
    np.testing.assert_allclose(between, mean, atol=0.05)


# -- joining them ----------------------------------------------------------------------------


def one_voxel(logit: float) -> ObjectVolume:
    return ObjectVolume(Box3D(4, 5, 6, 5, 6, 7), np.full((1, 1, 1), logit, np.float16))


def test_the_surer_plane_wins():
    yes = PlaneView(one_voxel(3.0), 0, {4: 0.8})
    no = PlaneView(one_voxel(-3.0), 1, {5: 0.3})
    assert weigh_planes([yes, no]).mask.all()
    assert not weigh_planes([yes, replace_weights(no, {5: 0.9})]).mask.any()


def replace_weights(view: PlaneView, weights: dict[int, float]) -> PlaneView:
    return PlaneView(view.volume, view.axis, weights)


def test_a_loud_plane_does_not_shout_two_others_down():
    loud = PlaneView(one_voxel(60.0), 0, {4: 0.5})
    quiet = [PlaneView(one_voxel(-4.0), axis, {5: 0.5, 6: 0.5}) for axis in (1, 2)]
    assert not weigh_planes([loud, *quiet]).mask.any()


def test_a_slice_that_was_not_reached_has_no_veto():
    found = PlaneView(one_voxel(1.0), 0, {4: 0.05})
    elsewhere = PlaneView(
        ObjectVolume(Box3D(0, 0, 0, 1, 1, 1), np.ones((1, 1, 1), "f2")), 1, {0: 1.0}
    )
    assert weigh_planes([found, elsewhere]).on(Box3D(4, 5, 6, 5, 6, 7))[0, 0, 0] > 0


def test_nothing_joined_is_nothing():
    assert weigh_planes([]).block.is_empty


def block_with(logits) -> ObjectVolume:
    array = np.asarray(logits, np.float16)
    return ObjectVolume(Box3D(0, 0, 0, *array.shape), array)


def test_of_an_unsure_object_doubtful_voxels_belong_inside_too():
    doubtful = np.full((4, 10, 10), -4.0)
    doubtful[:, 4:6, 4:6] = 0.5
    doubtful[:, 3, 4:6] = -0.25
    assert block_with(doubtful).mask.sum() == 16
    assert balanced(block_with(doubtful)).mask.sum() == 24


def test_of_a_sure_object_a_doubtful_rim_is_left_out():
    sure = np.full((10, 10, 10), -9.0)
    sure[2:8, 2:8, 2:7] = 4.0
    sure[2:8, 2:8, 7] = 0.25
    assert block_with(sure).mask.sum() == 6 * 6 * 6
    np.testing.assert_array_equal(balanced(block_with(sure)).mask, sure == 4.0)


@given(seed=st.integers(0, 10_000), shift=st.floats(-2, 2))
def test_a_balanced_border_has_the_largest_expected_dice(seed, shift):
    rng = np.random.default_rng(seed)
    volume = block_with(rng.normal(shift, 2.0, (3, 6, 7)).clip(-4, 4))
    logits = volume.logits.astype(np.float64)
    chance = 1 / (1 + np.exp(-(logits - BIAS) / TEMPERATURE))

    def expected(mask):
        return 2 * chance[mask].sum() / (mask.sum() + chance.sum())

    found = expected(balanced(volume).mask)
    others = [expected(logits > border) for border in np.linspace(*BORDERS, 40)]
    assert found >= max(others) - 0.002  # half precision


def test_what_lies_outside_does_not_move_the_border():
    rng = np.random.default_rng(1)
    inner = rng.normal(0, 2, (4, 6, 7)).clip(-4, 4)
    wide = np.full((20, 30, 30), OUTSIDE_LOGIT)
    wide[:4, :6, :7] = inner
    near, far = balanced(block_with(inner)).mask, balanced(block_with(wide)).mask
    np.testing.assert_array_equal(far[:4, :6, :7], near)
    assert far.sum() == near.sum()
    assert balanced(NOTHING) is NOTHING


def test_an_object_that_goes_astray_in_one_plane_is_saved_by_the_others():
    def trace(axis: int, sure: float, wrong: bool) -> Trace:
        results = {}
        for index in np.flatnonzero(ORGAN.any(tuple({0, 1, 2} - {axis}))):
            mask = np.take(ORGAN, int(index), axis=axis)
            mask = np.roll(mask, 15, axis=1) if wrong else mask
            logits = np.where(mask, 4.0, -4.0).astype(np.float32)
            region = Box2D(0, 0, *mask.shape)
            results[int(index)] = SliceResult(int(index), region, logits, predicted_iou=sure)
        return Trace(results, (), frozenset())

    told = [(0, 0.5, True), (1, 0.9, False), (2, 0.9, False)]
    traces = [PlaneTrace(axis, trace(axis, sure, wrong)) for axis, sure, wrong in told]
    joined = weigh_planes(as_views(traces))
    mask = np.zeros(ORGAN.shape, bool)
    mask[joined.block.slices] = joined.mask
    assert dice(mask, ORGAN) > 0.999


# -- how far the planes are in doubt ---------------------------------------------------------


def within_doubt(volume: ObjectVolume, seen: ObjectVolume, *planes: ObjectVolume) -> ObjectVolume:
    views = [PlaneView(plane, 0, {}) for plane in planes]
    return fusion.within_doubt(volume, seen, views, seen.block)


RAMP = 0.1 * (np.arange(60.0) - 29.5).reshape(1, 1, 60).repeat(4, axis=0).repeat(5, axis=1)
"""A border in the middle, at 0.1 logits a voxel."""


def moved(logits: float) -> ObjectVolume:
    """The ramp with its border moved; by 0.1 logits, by one voxel of 30."""
    return block_with(RAMP - logits)


def test_an_object_on_which_planes_agree_loses_nothing():
    """Whatever is known besides: here that it would be a third smaller."""
    held = within_doubt(moved(1.0), moved(0), moved(0), moved(0), moved(0))
    np.testing.assert_array_equal(held.mask, moved(0).mask)


def test_what_planes_leave_in_doubt_is_decided_by_what_else_is_known():
    free = moved(1.0)
    assert within_doubt(free, moved(0), moved(-2.0), moved(2.0)) is free
    doubt = 1 - dice(moved(-0.2).mask, moved(0.2).mask)
    held = within_doubt(free, moved(0), moved(-0.2), moved(0.2))
    assert free.mask.sum() < held.mask.sum() < moved(0).mask.sum()
    assert 1 - dice(held.mask, moved(0).mask) == pytest.approx(doubt / 2, abs=0.02)


def test_what_planes_do_not_show_may_be_added():
    larger = moved(-1.0)
    assert within_doubt(larger, moved(0), moved(0), moved(0)) is larger
    mixed = block_with(np.where(np.arange(60) < 30, 1.0, -1.0) * np.ones(RAMP.shape))
    held = within_doubt(mixed, moved(0), moved(0), moved(0))
    np.testing.assert_array_equal(held.mask, mixed.mask | moved(0).mask)


def test_one_plane_alone_is_not_held_to():
    free = moved(1.0)
    assert within_doubt(free, moved(0), moved(0)) is free
    assert within_doubt(free, moved(0), moved(0), moved(9.0)) is free  # the other shows nothing
    assert within_doubt(free, moved(9.0), moved(0), moved(0)) is free


@given(seed=st.integers(0, 10_000), spread=st.floats(0, 3), shift=st.floats(-3, 3))
def test_an_object_loses_no_more_of_its_planes_than_their_doubt(seed, spread, shift):
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 2, (5, 6, 7))
    planes = [block_with(truth + rng.normal(0, spread, truth.shape)) for _ in range(3)]
    seen = block_with(np.mean([p.logits for p in planes], axis=0))
    apart = [1 - dice(planes[a].mask, planes[b].mask) for a, b in ((0, 1), (0, 2), (1, 2))]
    free = block_with(seen.logits - shift + rng.normal(0, 0.5, truth.shape))
    held = within_doubt(free, seen, *planes)
    rounded = 2 / seen.mask.sum()  # half precision
    left = 1 - dice(held.mask & seen.mask, seen.mask)
    assert left <= np.mean(apart) / 2 + rounded
    assert held is free or left >= np.mean(apart) / 2 - rounded
    assert not (free.mask & ~held.mask).any()
    assert not (held.mask & ~(free.mask | seen.mask)).any()


# -- 3D boxes as a whole ---------------------------------------------------------------------

TWINS = np.zeros(ORGAN.shape, bool)
TWINS[2:14, 6:34, 4:14] = True
TWINS[6:9, 6:34, 30:40] = True
"""Two bright things; of the second one there is less, and on fewer slices."""
SECOND = TWINS.copy()
SECOND[:, :, :20] = False


class WholeModel(StubModel):
    """A stub that also sees 3D boxes: what is bright in one half of the cube or in both.

    After a click it takes both, if it listens.
    """

    def __init__(
        self, right: bool | None, sure: float = 6.0, listens: bool = False, **spec: object
    ) -> None:
        super().__init__(52, **spec)
        self.right, self.sure, self.listens = right, sure, listens
        self.located = 0
        self.corrected: list[tuple[tuple[object, ...], VolumeMask]] = []

    def open(self, image: VolumeImage) -> WholeModel:
        self.image = image
        return self

    def answer(self, interactions, previous, *, reporter) -> VolumeMask:
        block, *said = interactions
        if previous is None:
            self.located += 1
        else:
            self.corrected.append((tuple(said), previous))
        view = cube_view(self.image.volume, self.image.window, block, 40)
        bright = view.image > self.threshold
        if self.right is not None and not (said and self.listens):
            bright[..., slice(20) if self.right else slice(20, None)] = False
        return from_cube(np.where(bright, self.sure, -self.sure).astype(np.float32), block)


def segmented(model: StubModel, **prompts: object) -> tuple[Session, np.ndarray]:
    volume = Volume.from_array(image_of(TWINS), np.diag([1.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]])
    made = Session(volume, model, Settings())
    made.put(ObjectPrompts("one", blocks=(Box3D(2, 6, 4, 14, 34, 40),), **prompts))
    made.segment()
    return made, made.object_mask("one")


def test_propagation_starts_from_what_a_model_finds_in_the_box_as_a_whole():
    asked = WholeModel(right=True)
    _, mask = segmented(asked)
    assert asked.located == 1
    assert dice(mask, SECOND) > 0.8
    assert asked.asked[0].mask is not None
    _, other = segmented(WholeModel(right=False))
    assert dice(other, TWINS & ~SECOND) > 0.8


def test_what_is_found_as_a_whole_takes_nothing_away_on_which_planes_agree():
    """Neither does the box, whose sides a smaller mask would still touch; but it adds."""
    own = np.full((20, 20, 20), -4.0)
    own[4:16, 4:16, 4:16] = 4.0
    planes, other = block_with(own), block_with(np.roll(own, 1, axis=2) * 2)
    sections = [{i: planes.across(a, i) for i in range(20)} for a in range(3)]
    traces = [PlaneTrace(a, Trace(sections[a], (), frozenset())) for a in range(3)]

    def look(volume: ObjectVolume, axes: Sequence[int]) -> list[PlaneView]:
        return [PlaneView(planes, axis, dict.fromkeys(range(20), 0.1)) for axis in axes]

    consensus = multiplanar.Consensus(RECIPE)
    joined = consensus.of(traces, range(3), other, planes.block, look, unthinking).volume
    np.testing.assert_array_equal(joined.mask, planes.mask | other.mask)


def unthinking(volume: ObjectVolume) -> None:
    """A model that sees no volume."""


def test_a_model_that_is_unsure_of_the_whole_counts_little():
    """Beside the traces; what it finds still is where they start."""
    sure, unsure = (located_view(block_with(logits)) for logits in (CERTAIN, HARDLY))
    assert sure.weights[0] > 3.5
    assert unsure.weights[0] < 1.0


CERTAIN = np.where(np.arange(5 * 6 * 7).reshape(5, 6, 7) % 3, -9.0, 9.0)
HARDLY = CERTAIN / 20


def test_clicks_do_not_locate_again():
    model = WholeModel(right=True)
    made, _ = segmented(model)
    decoded = model.decoded
    obj = made.objects[0]
    made.put(replace(obj, points=(PointPrompt((7, 20, 35), True),)))
    made.segment()
    assert model.located == 1
    assert model.decoded <= decoded + 1


def clicked(listens: bool) -> tuple[WholeModel, np.ndarray, np.ndarray]:
    """The second of two bright things, and what becomes of it by a click at the first's end."""
    model = WholeModel(right=True, listens=listens)
    made, before = segmented(model)
    made.put(replace(made.objects[0], points=(PointPrompt((3, 20, 8), True),)))
    made.segment()
    return model, before, made.object_mask("one")


def test_a_click_is_heard_on_slices_that_nobody_clicked():
    _, before, deaf = clicked(listens=False)
    model, _, told = clicked(listens=True)
    first = TWINS & ~SECOND
    assert not (before & first).any()
    assert deaf[3][first[3]].all()
    assert not deaf[12][first[12]].any()
    assert dice(told, TWINS) > 0.95
    (nothing, found), (said, again) = model.corrected
    assert nothing == ()
    assert said == (PointPrompt((3, 20, 8), True),)
    assert found.block == again.block
    np.testing.assert_array_equal(found.logits, again.logits)


def test_a_model_is_asked_of_what_was_found_once_and_of_each_click_once():
    model = WholeModel(right=False, listens=True)
    made, _ = segmented(model)
    points = tuple(PointPrompt((7, 20, 33 + n), True) for n in range(3))
    for count in (1, 2, 3):
        made.put(replace(made.objects[0], points=points[:count]))
        made.segment()
    assert [len(said) for said, _ in model.corrected] == [0, 1, 2, 3]


def test_what_a_click_does_not_change_the_models_mind_of_stays():
    block = Box3D(0, 0, 0, 1, 2, 3)
    found = ObjectVolume(block, np.array([[[3, -2, -10], [1, 2, -3]]], np.float16))
    before = VolumeMask(block, np.array([[[-5, 6, -5], [-4, -4, -4]]], np.float16), 1.0)
    after = VolumeMask(block, np.array([[[-5, 6, -5], [4, -4, 4]]], np.float16), 1.0)
    changed = heard(found, before, after, convinced=0.3, loudest=4.0)
    np.testing.assert_array_equal(changed.logits, [[[3, -2, -10], [4, 2, 4]]])


def test_a_click_reaches_what_nobody_had_found():
    found = ObjectVolume(Box3D(0, 0, 0, 1, 1, 2), np.array([[[3, -10]]], np.float16))
    before = VolumeMask(found.block, np.array([[[5, -5]]], np.float16))
    after = VolumeMask(Box3D(0, 0, 0, 1, 1, 4), np.array([[[5, 5, 5, -5]]], np.float16))
    changed = heard(found, before, after, convinced=0.3, loudest=4.0)
    assert changed.block == after.block
    np.testing.assert_array_equal(changed.mask, [[[True, True, True, False]]])


def test_a_second_thought_counts_by_its_share_within_the_box():
    found = ObjectVolume(Box3D(0, 0, 0, 1, 1, 4), np.array([[[8, 2, -10, 2]]], np.float16))
    thought = VolumeMask(Box3D(0, 0, 0, 1, 1, 3), np.array([[[-4, -4, 8]]], np.float16), 1.0)
    joined = weighed_in(found, thought, share=0.25, loudest=4.0)
    assert joined.block == found.block
    np.testing.assert_array_equal(joined.logits, [[[2, 0.5, -10, 2]]])


def test_a_model_that_is_half_convinced_changes_half():
    block = Box3D(0, 0, 0, 1, 1, 2)
    found = ObjectVolume(block, np.array([[[-2, 2]]], np.float16))
    before = VolumeMask(block, np.array([[[0, 0]]], np.float16), 1.0)
    chance = np.log(0.65 / 0.35)
    after = VolumeMask(block, np.array([[[chance, -chance]]], np.float16), 1.0)
    changed = heard(found, before, after, convinced=0.3, loudest=4.0).logits.astype(float)
    np.testing.assert_allclose(changed, [[[(chance - 2) / 2, (2 - chance) / 2]]], atol=0.01)


def test_pictures_are_not_seen_as_3d_boxes():
    model = WholeModel(right=True)
    picture = Volume.from_array(image_of(ORGAN)[8:9], np.eye(4)[[2, 1, 0, 3]])
    made = Session(picture, model, Settings())
    mask = ORGAN[8:9]
    made.put(ObjectPrompts("one", blocks=(Box3D.from_mask(mask),)))
    made.segment()
    assert model.located == 0
    assert dice(made.object_mask("one"), mask) > 0.9


class CoarseModel(WholeModel):
    """Of what it sees as a whole every other row is missing, where slices show all of it."""

    def answer(self, interactions, previous, *, reporter) -> VolumeMask:
        found = super().answer(interactions, previous, reporter=reporter)
        logits = found.logits.copy()
        logits[:, ::2] = -self.sure
        return replace(found, logits=logits)


def looked_at(model: WholeModel) -> tuple[int, np.ndarray]:
    """How many slices of the one bright thing are asked about, and what is found."""
    made = Session(CUBIC, model, Settings())
    made.put(BLOCK)
    made.segment()
    return model.decoded, made.object_mask("organ")


def test_a_trace_that_shows_what_is_seen_as_a_whole_spares_the_others():
    agreed, found = looked_at(WholeModel(None))
    doubted, _ = looked_at(CoarseModel(None))
    lengths = BLOCK.blocks[0].shape
    assert agreed <= 2 * sum(lengths) - lengths[1] - lengths[2] + len(PROBES)
    assert doubted > 1.5 * agreed
    assert dice(found, ORGAN) > 0.98


@pytest.mark.parametrize(("share", "same"), [(0.8, True), (0.7, False)])
def test_how_much_a_trace_must_have_in_common_with_the_whole(share, same):
    recipe = replace(RECIPE, locate=Locate(weight=8.0, agreed=0.85))
    whole = block_with(np.full((10, 10, 10), 4.0))
    part = np.full((10, 10, 10), -4.0)
    part[: int(10 * share)] = 4.0  # 2 share / (1 + share): Dice 0.89 and 0.82
    sections = {i: block_with(part).across(1, i) for i in range(10)}
    trace = Trace(sections, (), frozenset())
    traced = PlaneTrace(1, trace)
    assert multiplanar.tells_the_same(traced, whole, recipe) is same
    assert not multiplanar.tells_the_same(traced, whole, replace(recipe, locate=None))


@pytest.mark.parametrize("kind", [WholeModel, CoarseModel])
def test_slices_to_come_are_those_that_are_looked_at(kind):
    model, seen = kind(None), []
    made = Session(CUBIC, model, Settings())
    made.put(BLOCK)
    made.segment(progress=seen.append)
    assert seen[-1].done <= seen[-1].total
    assert seen[-1].done > 0.8 * seen[-1].total


# -- repairs ---------------------------------------------------------------------------------


def repaired(points: tuple[PointPrompt, ...]) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Before, after, and the slices that were corrected; the object so far has lost half."""
    stack = SliceStack(organ_volume(), "axial", Window(-160, 240, "soft-tissue"))
    decoder = SliceDecoder(stack, StubModel(52), EmbeddingStore())
    before = ORGAN.copy()
    before[:, :, 24:] = False
    block = Box3D.from_mask(ORGAN)
    logits = np.where(before, 4.0, -4.0)[block.slices].astype(np.float16)
    clicked = slice_prompts(replace(BLOCK, points=points), 0)
    volume, found = repair(
        decoder, ObjectVolume(block, logits), clicked, block_limits(block, stack)
    )
    after = np.zeros_like(before)
    after[volume.block.slices] = volume.mask
    return before, after, sorted(found)


def test_a_click_repairs_its_slice_and_a_few_beside_it():
    point = PointPrompt((8, 17, 30), True)
    before, after, found = repaired((point,))
    assert found == [8]
    assert dice(after[8], ORGAN[8]) > 0.9 > dice(before[8], ORGAN[8])
    changed = np.flatnonzero((before != after).any(axis=(1, 2)))
    assert 8 in changed
    assert 1 < len(changed) < len(ORGAN) // 2


def test_a_change_is_carried_to_the_next_slices_and_fades():
    before, after, _ = repaired((PointPrompt((8, 17, 30), True),))
    changed = (before != after).sum(axis=(1, 2)).tolist()
    assert np.flatnonzero(changed).tolist() == [5, 6, 7, 8, 9, 10, 11]  # the organ: 3 to 12
    assert dice(after[7], ORGAN[7]) > dice(before[7], ORGAN[7]) + 0.1


@pytest.mark.parametrize(("radius", "slice_mm"), [(3, 2.0), (6, 2.0), (6, 6.0), (12, 6.0)])
def test_a_change_is_carried_on_about_as_far_as_it_is_wide(radius, slice_mm):
    """A disc is painted on an object of which the model is unsure everywhere."""
    affine = np.diag([slice_mm, 1.0, 1.0, 1.0])[[2, 1, 0, 3]]
    image = np.zeros((31, 40, 40), np.float32)
    decoder = SliceDecoder(
        SliceStack(Volume.from_array(image, affine), "axial", Window(0, 1, "x")),
        StubModel(52),
        EmbeddingStore(),
    )
    row, col = np.mgrid[:40, :40]
    painted = np.zeros((31, 40, 40), bool)
    painted[15] = (row - 20) ** 2 + (col - 20) ** 2 <= radius**2
    block = Box3D(0, 0, 0, 31, 40, 40)
    logits = np.full(block.shape, -1.0, np.float16)
    logits[:, 0, 0] = 1.0
    said = slice_prompts(replace(BLOCK, blocks=(block,), mask=MaskPrompt(painted)), 0)
    volume, _ = repair(
        decoder, ObjectVolume(block, logits), said, block_limits(block, decoder.stack)
    )
    found = volume.mask_in((31, 40, 40))[:, 20, 20]
    reach = np.log(1 / 5) / np.log(FADE) * radius  # where a fifth is left of what turned -1 into 4
    depth = (found.sum() - 1) / 2 * slice_mm
    assert depth == pytest.approx(reach, rel=0.25, abs=slice_mm)


def test_a_change_is_not_carried_over_the_next_clicked_slice():
    """Slice 8 is painted by half, slice 9 as a whole: what 8 lost is not lost beyond 9."""
    stack = SliceStack(organ_volume(), "axial", Window(-160, 240, "soft-tissue"))
    decoder = SliceDecoder(stack, StubModel(52), EmbeddingStore())
    block = Box3D.from_mask(ORGAN)
    logits = np.where(ORGAN, 4.0, -4.0)[block.slices].astype(np.float16)
    painted = {}
    for index in (8, 9):
        mask = np.zeros_like(ORGAN)
        mask[index] = ORGAN[index]
        mask[index, :, 24:] &= index == 9  # half on slice 8, whole on slice 9
        painted |= slice_prompts(replace(BLOCK, mask=MaskPrompt(mask)), 0)
    limits = block_limits(block, stack)
    volume, _ = repair(decoder, ObjectVolume(block, logits), painted, limits)
    after = volume.mask_in(ORGAN.shape)
    assert not np.array_equal(after[7], ORGAN[7])
    np.testing.assert_array_equal(after[9:], ORGAN[9:])


def test_a_click_beyond_an_emptied_slice_is_asked_about_where_the_object_is(monkeypatch):
    """One pixel painted on slice 8 empties slice 9, where the object ended; 10 is clicked."""
    stack = SliceStack(organ_volume(), "axial", Window(-160, 240, "soft-tissue"))
    decoder = SliceDecoder(stack, StubModel(52), EmbeddingStore())
    block = Box3D.from_mask(ORGAN)
    row, col = (int(v[0]) for v in np.nonzero(ORGAN[8]))
    painted = np.zeros_like(ORGAN)
    painted[8, row, col] = True
    logits = np.where(ORGAN, 4.0, -4.0)
    logits[9] = np.minimum(logits[9], 0.5)
    logits[9, row, col] = logits[10:] = -4.0
    click = PointPrompt((10, row + 6, col + 6), True)
    told = replace(BLOCK, mask=MaskPrompt(painted), points=(click,))
    asked, decode = [], decoder.decode
    monkeypatch.setattr(decoder, "decode", lambda i, p: asked.extend(p) or decode(i, p))
    volume = ObjectVolume(block, logits[block.slices].astype(np.float16))
    repair(decoder, volume, slice_prompts(told, 0), block_limits(block, stack))
    assert asked[-1].prior.on(Box2D(row, col, row + 1, col + 1))[0, 0] > 0


def test_two_clicks_on_one_slice_are_seen_together():
    _, after, found = repaired((PointPrompt((8, 17, 30), True), PointPrompt((8, 1, 1), False)))
    assert found == [8]
    assert not after[8, 1, 1]


@pytest.mark.parametrize("index", [3, 12])
def test_a_painted_slice_stays_as_it_is_and_does_not_harm_the_others(index):
    painted = np.zeros_like(ORGAN)
    painted[index] = ORGAN[index]
    painted[index, :, 24:] = False
    made = Session(CUBIC, StubModel(52), Settings())
    made.put(replace(BLOCK, mask=MaskPrompt(painted)))
    made.segment()
    found = made.object_mask("organ")
    np.testing.assert_array_equal(found[index], painted[index])
    far = np.abs(np.arange(len(ORGAN)) - index) > 6
    assert dice(found[far], ORGAN[far]) > 0.98


def test_a_negative_click_beyond_the_3d_box_adds_nothing_there():
    block = replace(block_of(ORGAN), z1=11)
    made = Session(CUBIC, StubModel(52), Settings())
    made.put(ObjectPrompts("organ", blocks=(block,), points=(PointPrompt((12, 1, 1), False),)))
    made.segment()
    found = made.object_mask("organ")
    assert found[:11].any()
    assert not found[11:].any()


def test_a_click_on_a_3d_box_costs_one_slice():
    model = StubModel(52)
    made = Session(CUBIC, model, Settings())
    made.put(BLOCK)
    made.segment()
    asked = model.decoded
    made.put(replace(BLOCK, points=(MIDDLE,)))
    made.segment()
    assert model.decoded - asked == 1
    assert 8 in made.runs["organ"].trace.prompted
    assert dice(made.object_mask("organ"), ORGAN) > 0.98


# -- what keeps masks from growing, and where a slice lies in its box --------------------------


def test_spikes_do_not_widen_the_next_box():
    mask = np.zeros((30, 40), bool)
    mask[10:20, 10:30] = True
    mask[15, 30:38] = True
    result = SliceResult(0, Box2D(0, 0, 30, 40), np.where(mask, 3.0, -3.0).astype(np.float32))
    assert result.box == Box2D(10, 10, 20, 38)
    assert trimmed_box(result, 0.15) == Box2D(10, 10, 20, 30)
    assert trimmed_box(result, 0.0) == result.box


def test_depth_runs_from_face_to_face():
    assert [depth_in(3, 7, k) for k in range(3, 7)] == [-0.75, -0.25, 0.25, 0.75]
    assert depth_in(5, 6, 5) == 0.0


def test_the_start_of_a_3d_box_is_told_its_depth():
    model = StubModel(52, rule=_surer_when_deep)
    made = Session(organ_volume(), model, Settings(plane="axial"))
    made.put(BLOCK)
    made.segment()
    told = {round(prompt.depth, 2) for prompt in model.asked}
    assert {d < 0 for d in told if d} == {True, False}


def _surer_when_deep(prompt: ViewPrompt, grey: np.ndarray, mask: ViewMask) -> ViewMask:
    return replace(mask, predicted_iou=np.array([0.5 + abs(prompt.depth) / 4], np.float32))


def test_a_model_that_does_not_judge_itself_is_followed_in_one_plane_as_it_is():
    model = StubModel(52, calibrated=False, rule=_unsure)
    made = Session(CUBIC, model, Settings())
    made.put(BLOCK)
    made.segment()
    assert dice(made.object_mask("organ"), ORGAN) > 0.98
    low, high = block_of(ORGAN).range(0)
    assert made.counts["decode"] <= 2 * (high - low)


def _unsure(prompt: ViewPrompt, grey: np.ndarray, mask: ViewMask) -> ViewMask:
    return replace(mask, low_res_logits=np.asarray(mask.low_res_logits * 0.02, np.float32))


# -- the second look -------------------------------------------------------------------------


def seen_again(mask: np.ndarray, stride: int = 1) -> PlaneView:
    """The organ seen again across z by a model that knows it, from a volume that is ``mask``."""
    stack = SliceStack(organ_volume(), "axial", Window(-160, 240, "soft-tissue"))
    decoder = SliceDecoder(stack, StubModel(52), EmbeddingStore())
    block = Box3D.from_mask(mask)
    logits = np.where(mask, 4.0, -4.0)[block.slices].astype(np.float16)
    told: list[int] = []
    view = refine(ObjectVolume(block, logits), decoder, lambda r: told.append(r.index), stride)
    shown = sorted(view.weights)
    assert told == sorted({*shown[::stride], shown[-1]})
    return view


def test_a_second_look_mends_a_ragged_consensus():
    ragged = ORGAN & (np.random.default_rng(3).random(ORGAN.shape) < 0.8)
    view = seen_again(ragged)
    after = np.zeros_like(ORGAN)
    after[view.volume.block.slices] = view.volume.mask
    assert dice(after, ORGAN) > dice(ragged, ORGAN) + 0.05
    assert max(view.weights.values()) > DISPUTED


def test_where_the_second_look_sees_something_else_the_consensus_stays_and_counts_little():
    corner = np.zeros_like(ORGAN)
    low = Box3D.from_mask(ORGAN).low
    corner[low[0] + 3 : low[0] + 5, low[1] : low[1] + 8, low[2] : low[2] + 8] = True
    view = seen_again(corner)
    after = np.zeros_like(ORGAN)
    after[view.volume.block.slices] = view.volume.mask
    disputed = [i for i, w in view.weights.items() if w == DISPUTED]
    for index in disputed:
        assert np.array_equal(after[index], corner[index])
    assert disputed


# -- where the box alone finds nothing, and where it ends ------------------------------------


def test_a_painted_slice_says_what_the_3d_box_alone_did_not_find():
    voxels = np.zeros_like(image_of(ORGAN))
    voxels[0, 0, 0] = 100
    empty = Volume.from_array(voxels, CUBIC.affine)
    painted = np.zeros(ORGAN.shape, bool)
    painted[8] = ORGAN[8]
    made = Session(empty, StubModel(52))
    made.put(BLOCK)
    made.segment()
    assert "nothing was segmented" in made.runs["organ"].error
    made.put(replace(BLOCK, mask=MaskPrompt(painted)))
    made.segment()
    assert not made.runs["organ"].error
    assert np.array_equal(made.object_mask("organ"), painted)


def test_the_3d_box_is_a_hard_limit_across_every_plane_that_was_traced():
    whole = block_of(ORGAN)
    tight = Box3D(
        whole.z0 + 2, whole.y0 + 3, whole.x0 + 3, whole.z1 - 2, whole.y1 - 3, whole.x1 - 3
    )
    made = Session(CUBIC, StubModel(52))
    made.put(replace(BLOCK, blocks=(tight,)))
    made.segment()
    outside = made.object_mask("organ").copy()
    assert outside.any()
    outside[tight.slices] = False
    assert not outside.any()
