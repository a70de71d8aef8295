"""What chains along one axis found is shown to a model that sees it as a whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sammed.engine.object_volume import ObjectVolume, keep_slices, stack, with_slices
from sammed.engine.plane_choice import Planes
from sammed.engine.settings import Settings
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.volume import Volume
from sammed.models.compact.recipe import RECIPE
from sammed.models.protocols import VolumeMask
from sammed.prompts import BoxPrompt, MaskPrompt, ObjectPrompts, PointPrompt
from sammed.session import Session
from tests.engine.test_multiplanar import WholeModel
from tests.phantoms import ORGAN, block_of, dice, image_of
from tests.stubs import StubModel

CUBIC = Volume.from_array(image_of(ORGAN), np.diag([1.0, 1.1, 1.2, 1.0])[[2, 1, 0, 3]])
MIDDLE = int(ORGAN.sum((1, 2)).argmax())
FLAT = BoxPrompt(0, MIDDLE, Box2D.from_mask(ORGAN[MIDDLE]))
BOX = ObjectPrompts("organ", boxes=(FLAT,))


def segmented(model: WholeModel, obj: ObjectPrompts = BOX, **settings: object) -> Session:
    made = Session(CUBIC, model, Settings(**settings))
    made.put(obj)
    made.segment()
    return made


def test_a_model_that_sees_the_whole_is_told_what_was_found_and_where_it_was_prompted():
    model = WholeModel(right=None)
    found = segmented(model).object_mask("organ")
    assert dice(found, ORGAN) > 0.97
    ((said, former),) = model.corrected
    (told,) = said
    assert isinstance(told, MaskPrompt)
    assert told.slices(0).tolist() == [MIDDLE]
    np.testing.assert_array_equal(told.voxels[MIDDLE], found[MIDDLE])
    assert dice(ObjectVolume(former.block, former.logits).mask_in(ORGAN.shape), ORGAN) > 0.97
    assert model.located == 0


def test_what_it_doubts_is_predicted_to_be_worse_and_prompted_slices_stay():
    sure, unsure = (segmented(WholeModel(None, sure)).runs["organ"] for sure in (6.0, 0.5))
    np.testing.assert_array_equal(
        sure.volume.across(0, MIDDLE).on(FLAT.box), unsure.volume.across(0, MIDDLE).on(FLAT.box)
    )
    (good, bad) = ({r.index: r.predicted_iou for r in run.slices} for run in (sure, unsure))
    beside = [i for i in good if i != MIDDLE]
    assert beside
    assert all(bad[i] < good[i] - 0.05 for i in beside)
    assert bad[MIDDLE] == pytest.approx(good[MIDDLE], abs=0.01)


class Overruled(WholeModel):
    """It thinks that nothing is right, and its slices show no more than they are shown."""

    def answer(self, interactions, previous, *, reporter) -> VolumeMask:
        found = super().answer(interactions, previous, reporter=reporter)
        return VolumeMask(found.block, np.full_like(found.logits, -self.sure))


@pytest.mark.parametrize(("share", "left"), [(0.0, True), (1.0, False)])
def test_its_thought_counts_by_the_recipes_share(share, left, monkeypatch):
    recipe = replace(RECIPE, locate=replace(RECIPE.locate, chained=share))
    model = Overruled(None, recipe=recipe)
    shown: list[ObjectVolume] = []

    def look(self, reporter, strides, volume, axes):
        shown.append(volume)
        return []

    monkeypatch.setattr("sammed.engine.slicewise.SlicewiseStrategy._look", look)
    segmented(model)
    assert bool(shown[0].mask.any()) is left


@pytest.mark.parametrize(
    "obj",
    [
        replace(BOX, propagate="off"),
        replace(BOX, propagate="between"),
        replace(BOX, blocks=(block_of(ORGAN),)),
    ],
    ids=["slices as they are", "between slices", "within a range"],
)
def test_an_object_whose_extent_is_said_is_not_shown(obj):
    model = WholeModel(right=None)
    segmented(model, obj)
    assert model.corrected == []


def test_what_was_thought_over_is_not_thought_over_again_until_something_is_said():
    model = WholeModel(right=None)
    made = segmented(model)
    made.segment()
    made.put(replace(BOX, label=7))
    made.segment()
    assert len(model.corrected) == 1
    made.put(replace(BOX, points=(PointPrompt((MIDDLE + 1, 17, 24), True),)))
    made.segment()
    assert len(model.corrected) == 2
    click, told = model.corrected[1][0]
    assert click == PointPrompt((MIDDLE + 1, 17, 24), True)
    assert told.slices(0).tolist() == [MIDDLE]


def test_a_click_off_the_prompted_slices_asks_for_its_own_slice_alone():
    model = WholeModel(right=None)
    made = segmented(model)
    before, asked = made.object_mask("organ"), model.decoded
    for count in (1, 2):
        clicks = [PointPrompt((MIDDLE + n, 17, 24)) for n in range(1, count + 1)]
        made.put(replace(BOX, points=clicks))
        made.segment()
        assert model.decoded == asked + count
        asked = model.decoded
    assert dice(made.object_mask("organ"), before) > 0.99
    run = made.runs["organ"]
    assert run.trace.prompted == {MIDDLE, MIDDLE + 1, MIDDLE + 2}
    fresh = segmented(WholeModel(right=None), replace(BOX, points=clicks))
    np.testing.assert_array_equal(fresh.object_mask("organ"), made.object_mask("organ"))


@pytest.mark.parametrize("whole", [True, False], ids=["seen whole", "chains alone"])
def test_a_click_beside_the_object_where_nothing_is_changes_nothing(whole):
    """It says what is so, and is no slice from which to start."""
    model = WholeModel(right=None) if whole else StubModel(52)
    made = segmented(model)
    before = made.object_mask("organ")
    off = next(i for i in reversed(range(len(ORGAN))) if not before[i].any())
    made.put(replace(BOX, points=(PointPrompt((off, 17, 24), False),)))
    made.segment()
    np.testing.assert_array_equal(made.object_mask("organ"), before)
    assert made.runs["organ"].trace.prompted == {MIDDLE}


def test_a_click_that_changes_no_slice_is_told_as_well():
    model = WholeModel(right=None)
    made = segmented(model)
    clicks = (PointPrompt((MIDDLE, 17, 24), True), PointPrompt((MIDDLE, 17, 25), True))
    for count in (1, 2):
        made.put(replace(BOX, points=clicks[:count]))
        made.segment()
    told = [said[:-1] for said, _ in model.corrected]
    assert told == [(), clicks[:1], clicks]


def test_an_object_is_looked_at_on_a_few_slices_across_each_axis():
    recipe = replace(RECIPE, refine=replace(RECIPE.refine, most=5))
    planes = Planes(CUBIC, recipe=recipe, located=True)
    block = Box3D(0, 0, 0, 4, 11, 40)
    strides = planes.looks(block, own=1)
    assert list(strides) == [1, 0, 2]
    counts = {axis: len(range(0, block.shape[axis], step)) for axis, step in strides.items()}
    assert counts == {1: 4, 0: 4, 2: 5}
    assert Planes(CUBIC, "axial", recipe, located=True).looks(block, own=0) == {0: 1}


def test_a_slice_of_which_nothing_is_left_is_not_in_the_table():
    made = segmented(WholeModel(right=None))
    run = made.runs["organ"]
    filled = [i for i in range(len(ORGAN)) if made.object_mask("organ")[i].any()]
    assert [record.index for record in run.slices] == filled


def test_the_tight_block_of_an_object_holds_what_is_foreground():
    logits = np.full((3, 4, 5), -2, np.float16)
    logits[1, 2:4, 3] = 1
    volume = ObjectVolume(Box3D(10, 20, 30, 13, 24, 35), logits)
    assert volume.tight == Box3D(11, 22, 33, 12, 24, 34)
    assert ObjectVolume(volume.block, np.full_like(logits, -1)).tight.is_empty


def test_slices_of_another_object_replace_those_of_one():
    one = ObjectVolume(Box3D(0, 0, 0, 3, 2, 2), np.full((3, 2, 2), 1, np.float16))
    other = ObjectVolume(Box3D(1, 1, 1, 2, 3, 3), np.full((1, 2, 2), 5, np.float16))
    both = with_slices(one, other, 0, {1, 9})
    assert both.block == Box3D(0, 0, 0, 3, 3, 3)
    np.testing.assert_array_equal(both.mask[1], other.mask_in((3, 3, 3))[1])
    np.testing.assert_array_equal(both.mask_in((3, 3, 3))[0], one.mask_in((3, 3, 3))[0])
    kept = keep_slices(both, 0, {1})
    assert stack({1: kept.across(0, 1)}, 0).tight == other.block
