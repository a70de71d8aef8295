"""Models with a memory and models of volumes behind a session: segment, edit, undo, cancel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sammed.engine.cleanup import Cleanup
from sammed.engine.settings import Settings
from sammed.errors import Cancelled, InputError, PromptError, SegmentationError
from sammed.models.protocols import ALL_PROMPTS
from sammed.prompts import LassoPrompt, ObjectPrompts, PointPrompt, ScribblePrompt
from sammed.reporting.run_report import run_report
from sammed.session import Session
from tests.phantoms import ORGAN, StubModel, block_of, dice, organ_volume, slice_box
from tests.stubs import StubTracker, StubVolumeModel

BOXED = ObjectPrompts("organ", boxes=(slice_box(ORGAN, 8),))
IN_3D = ObjectPrompts("organ", blocks=(block_of(ORGAN),))
INSIDE = PointPrompt((8, 17, 24))
BESIDE = PointPrompt((8, 2, 2), positive=False)


@pytest.fixture(params=[StubTracker, StubVolumeModel])
def model(request: pytest.FixtureRequest):
    return request.param()


def session(model, *objects: ObjectPrompts, **settings: object) -> Session:
    made = Session(organ_volume(), model, Settings(**settings))
    for obj in objects:
        made.put(obj)
    return made


@pytest.mark.parametrize("obj", [BOXED, IN_3D, ObjectPrompts("organ", points=(INSIDE,))])
def test_objects_are_found_edited_and_brought_back(model, obj):
    made = session(model, obj)
    made.segment()
    first = made.object_mask("organ")
    assert dice(first, ORGAN) > 0.97
    made.put(obj.with_(BESIDE))
    made.segment()
    assert dice(made.object_mask("organ"), ORGAN) > 0.97
    made.put(BOXED)
    made.undo()
    made.undo()
    np.testing.assert_array_equal(made.object_mask("organ"), first)
    assert made.segment().is_empty  # nothing is computed again
    made.redo()
    made.rename("organ", "liver")
    assert made.segment().is_empty
    assert list(made.runs) == ["liver"]


def test_the_report_tells_every_slice(model):
    made = session(model, BOXED)
    made.segment()
    report = run_report(made, made.result())
    (about,) = report["objects"]
    there = np.flatnonzero(ORGAN.any((1, 2)))
    assert [r["k"] for r in about["slices"]] == there.tolist()
    assert about["error"] is None
    assert about["volume_ml"] > 0
    assert report["counts"]["decode"] > 0
    assert report["model"]["name"] == model.spec.name


def test_work_stops_when_told_and_the_former_result_stays(model):
    made = session(model, BOXED)
    made.segment()
    before = made.object_mask("organ")
    other = slice_box(ORGAN, 6)
    made.put(replace(BOXED, boxes=(other,)))
    asked = []

    def cancel() -> bool:
        asked.append(1)
        return len(asked) > 2

    with pytest.raises(Cancelled):
        made.segment(cancel=cancel)
    np.testing.assert_array_equal(made.object_mask("organ"), before)
    made.segment()
    assert dice(made.object_mask("organ"), ORGAN) > 0.97


def test_progress_is_told(model):
    told = []
    session(model, BOXED).segment(told.append)
    assert [p.done for p in told] == list(range(1, len(told) + 1))
    assert {p.object_name for p in told} == {"organ"}


def test_several_objects_overlap_as_the_settings_say(model):
    other = replace(BOXED, name="again")
    made = session(model, BOXED, other, overlap="overwrite")
    made.segment()
    assert set(np.unique(made.result().voxels)) == {0, 2}


def test_nothing_found_is_an_error_of_that_object_alone(model):
    nowhere = ObjectPrompts("air", points=(PointPrompt((1, 1, 1)),))
    made = session(model, BOXED, nowhere)
    made.segment()
    assert "nothing was segmented for 'air'" in made.runs["air"].error
    assert not made.runs["organ"].error


# -- a memory of slices ----------------------------------------------------------------------


def test_prompted_slices_are_remembered_first_and_accepted_ones_as_they_come():
    model = StubTracker()
    boxes = (slice_box(ORGAN, 4), slice_box(ORGAN, 10))
    made = session(model, ObjectPrompts("organ", boxes=boxes))
    made.segment()
    assert model.remembered[:2] == [(4, True), (10, True)]
    assert not any(prompted for _, prompted in model.remembered[2:])
    run = made.runs["organ"]
    assert run.trace.prompted == {4, 10}
    assert {stop.reason for stop in run.trace.stops} <= {"empty", "edge", "small", "moved"}
    tracked = [r.index for r in run.slices if r.prompt == "memory"]
    assert set(tracked) >= {5, 6, 7, 8, 9}


def test_a_memory_is_a_value_so_that_undo_needs_no_model():
    model = StubTracker()
    made = session(model, BOXED)
    made.segment()
    asked = len(model.tracked)
    made.put(replace(BOXED, boxes=(slice_box(ORGAN, 8), slice_box(ORGAN, 10))))
    made.segment()
    assert len(model.tracked) > asked
    again = len(model.tracked)
    made.put(BOXED)
    made.segment()
    assert len(model.tracked) == again


@pytest.mark.parametrize("settings", [{"stride": 2}, {"zoom": 1.5}])
def test_a_memory_has_no_stride_and_no_zoom(settings):
    with pytest.raises(InputError, match="no stride and no zoom"):
        session(StubTracker(), **settings)


# -- volumes as a whole ----------------------------------------------------------------------


def test_a_volume_is_opened_once_and_answers_go_on_from_former_ones():
    model = StubVolumeModel()
    made = session(model, BOXED)
    made.segment()
    made.put(BOXED.with_(BESIDE))
    made.segment()
    assert model.opened == 1
    assert [previous for _, previous in model.asked] == [False, True]
    made.put(ObjectPrompts("organ", points=(INSIDE,)))
    made.segment()
    assert model.asked[-1] == ((INSIDE,), False)


def test_the_order_of_prompts_counts_where_the_model_says_so():
    model = StubVolumeModel()
    one = ObjectPrompts("organ", interactions=(*BOXED.boxes, INSIDE))
    other = replace(one, interactions=one.interactions[::-1])
    made = session(model, one)
    made.segment()
    made.put(other)
    made.segment()
    assert len(model.asked) == 2
    plain = StubModel(52)
    made = session(plain, one)
    made.segment()
    asked = plain.decoded
    made.put(other)
    made.segment()
    assert plain.decoded == asked


def test_a_3d_box_is_a_hard_limit():
    block = block_of(ORGAN)
    tight = replace(block, z0=block.z0 + 3)
    made = session(StubVolumeModel(), ObjectPrompts("organ", blocks=(tight,)))
    made.segment()
    assert not made.object_mask("organ")[: tight.z0].any()
    assert made.object_mask("organ")[tight.z0].any()


def test_strokes_reach_models_that_know_them():
    stroke = ScribblePrompt(np.array([(8, 17, x) for x in range(20, 28)]))
    ring = LassoPrompt(0, 8, ((10.0, 15.0), (10.0, 30.0), (25.0, 30.0), (25.0, 15.0)))
    for said in (stroke, ring):
        model = StubVolumeModel()
        made = session(model, ObjectPrompts("organ", interactions=(said,)))
        made.segment()
        assert dice(made.object_mask("organ"), ORGAN) > 0.97
        assert model.asked[0][0] == (said,)


def test_prompts_that_it_does_not_know_are_refused_by_name():
    model = StubVolumeModel(prompts=ALL_PROMPTS)
    with pytest.raises(PromptError, match="does not know 3D boxes; give 'organ' boxes"):
        session(model, IN_3D)


@pytest.mark.parametrize("settings", [{"stride": 2}, {"plane": "all"}, {"zoom": 2.0}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(InputError, match="as a whole"):
        session(StubVolumeModel(), **settings)


def test_what_is_no_model_is_refused():
    with pytest.raises(InputError, match="is no model"):
        session(object())


def test_an_object_that_clean_up_removes_is_said_to_be_lost():
    made = session(StubVolumeModel(), BOXED, cleanup=Cleanup(smooth_mm=200.0))
    made.segment()
    assert "after clean-up" in made.runs["organ"].error


# -- strokes for models of views -------------------------------------------------------------


def test_strokes_become_boxes_and_points_for_models_that_know_none():
    stroke = ScribblePrompt(np.array([(8, 17, x) for x in range(20, 28)]))
    made = session(StubModel(52), ObjectPrompts("organ", scribbles=(stroke,)))
    made.segment()
    assert dice(made.object_mask("organ"), ORGAN) > 0.95
    assert made.objects[0].scribbles == (stroke,)  # what was said stays as it was said
    assert made.runs["organ"].prompts.scribbles == (stroke,)
    rows, cols = np.nonzero(ORGAN[8])
    ring = tuple(
        (float(r), float(c))
        for r, c in (
            (rows.min(), cols.min()), (rows.min(), cols.max() + 1),
            (rows.max() + 1, cols.max() + 1), (rows.max() + 1, cols.min()),
        )
    )  # fmt: skip
    made = session(StubModel(52), ObjectPrompts("organ", lassos=(LassoPrompt(0, 8, ring),)))
    made.segment()
    assert dice(made.object_mask("organ"), ORGAN) > 0.95


def test_a_negative_stroke_alone_says_nothing_of_where_the_object_is():
    stroke = ScribblePrompt(np.array([(8, 17, 20)]), positive=False)
    with pytest.raises(PromptError, match="nothing says where 'organ' is"):
        session(StubModel(52), ObjectPrompts("organ", scribbles=(stroke,)))


@pytest.mark.parametrize(
    "voxels", [np.array([(8, 17, 99)]), np.array([[1, 2]]), np.zeros((0, 3), int)]
)
def test_strokes_outside_or_of_no_voxels_are_refused(voxels):
    with pytest.raises(PromptError, match="scribble"):
        session(
            StubModel(52), ObjectPrompts("organ", scribbles=(ScribblePrompt(np.array(voxels)),))
        )


def test_all_objects_lost_is_an_error():
    from sammed.api import check_segmented

    made = session(StubVolumeModel(), ObjectPrompts("air", points=(PointPrompt((1, 1, 1)),)))
    made.segment()
    with pytest.raises(SegmentationError):
        check_segmented(made)


def test_an_object_with_the_prompts_of_another_is_told_like_any():
    """Early slices and progress are told of each object, whatever was computed for others."""
    made = session(StubModel(52), BOXED)
    told: list[str] = []
    made.segment(prompted=lambda name, axis, result: told.append(name))
    made.put(replace(BOXED, name="again"))
    made.segment(prompted=lambda name, axis, result: told.append(name))
    assert set(told) == {"organ", "again"}


def test_what_was_computed_goes_with_an_object_to_its_new_name():
    model = StubModel(52)
    made = session(model, BOXED)
    made.segment()
    made.rename("organ", "liver")
    made.put(replace(BOXED, name="liver", propagate="off"))
    made.segment()
    asked = model.decoded
    made.put(replace(BOXED, name="liver"))
    made.segment()
    assert model.decoded == asked
