"""Scribbles reach a model that knows them as they were drawn, and another as points."""

from __future__ import annotations

import numpy as np
import pytest

from sammed.engine.decoding import SliceDecoder
from sammed.engine.prompted_slices import SlicePrompts, decode_prompted
from sammed.engine.settings import Settings
from sammed.engine.slice_mask import ClickedPoint, SlicePrompt, SliceStroke
from sammed.imaging.boxes import Box2D
from sammed.imaging.intensity import Window
from sammed.models.protocols import VIEW_PROMPTS
from sammed.prompts import ObjectPrompts, ScribblePrompt
from sammed.prompts.strokes import without_strokes
from sammed.session import Session
from sammed.views.embeddings import EmbeddingStore
from sammed.views.slices import SliceStack
from sammed.views.strokes import stroke_plane
from tests.phantoms import ORGAN, StubModel, block_of, organ_volume, slice_box

WINDOW = Window(-160, 240, "soft-tissue")


def knowing(**spec):
    return StubModel(52, prompts=VIEW_PROMPTS, **spec)


def stroke(index, row, cols, positive=True, axis=0):
    pixels = np.array([(row, col) for col in cols])
    return ScribblePrompt(np.insert(pixels, axis, index, axis=1), positive)


def session_with(model, *said):
    session = Session(organ_volume(), model)
    session.put(ObjectPrompts("organ").with_(*said))
    session.segment()
    return session


INSIDE = stroke(7, 17, range(18, 30))
BESIDE = stroke(7, 3, range(2, 12), positive=False)


def test_planes_lie_where_the_strokes_were_drawn():
    model = knowing()
    session_with(model, INSIDE, BESIDE)
    asked = [p for p in model.asked if p.strokes is not None]
    assert asked
    stack = SliceStack(organ_volume(), "axial", WINDOW)
    view = SliceDecoder(stack, model, EmbeddingStore()).whole(7)
    for prompt in asked:
        inside, beside = prompt.strokes
        assert prompt.strokes.dtype == np.float32
        np.testing.assert_array_equal(inside, stroke_plane(view, INSIDE.voxels[:, 1:], 52))
        assert set(prompt.kinds) >= {"points", "scribble"}
    np.testing.assert_array_equal(beside, stroke_plane(view, BESIDE.voxels[:, 1:], 52))


def test_to_a_model_that_knows_none_strokes_are_the_points_that_they_were():
    model = StubModel(52)
    session_with(model, INSIDE, BESIDE)
    said = [p for p in model.asked if len(p.points)]
    assert said
    assert all(p.strokes is None for p in model.asked)
    assert len(said[0].points) == 3
    assert max(len(p.points) for p in said) == 6
    points = without_strokes(ObjectPrompts("x").with_(INSIDE)).points
    assert all(p.drawn is None for p in points)
    kept = without_strokes(ObjectPrompts("x").with_(INSIDE), keep=True).points
    assert [p.at for p in kept] == [p.at for p in points]
    assert {p.drawn for p in kept} == {INSIDE}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_strokes_are_seen_in_the_plane_that_is_segmented(axis):
    plane = ("axial", "coronal", "sagittal")[axis]
    index = (8, 17, 24)[axis]
    section = np.take(ORGAN, index, axis)
    row, col = (int(v) for v in np.argwhere(section).mean(0))
    line = stroke(index, row, range(col - 3, col + 4), axis=axis)
    model = knowing()
    session = Session(organ_volume(), model, Settings(plane=plane))
    session.put(ObjectPrompts("organ").with_(line))
    session.segment()
    (first, *_) = [p for p in model.asked if p.strokes is not None]
    rows, cols = np.nonzero(first.strokes[0] == 1)
    scale = 52 / max(section.shape)
    assert abs((rows.mean() + 0.5) / scale - row - 0.5) < 1
    assert abs((cols.mean() + 0.5) / scale - col - 0.5) < 1


def test_a_stroke_joins_a_box_on_its_slice_and_goes_to_the_nearest_of_several():
    model = knowing()
    box = slice_box(ORGAN, 7)
    session_with(model, box, INSIDE)
    assert any(p.box is not None and p.strokes is not None for p in model.asked)
    decoder = SliceDecoder(SliceStack(organ_volume(), "axial", WINDOW), knowing(), EmbeddingStore())
    boxes = Box2D(2, 2, 12, 12), Box2D(10, 12, 26, 40)
    near = SliceStroke(INSIDE.voxels[:, 1:])
    away = SliceStroke(BESIDE.voxels[:, 1:], positive=False)
    said = SlicePrompts(7, boxes, (ClickedPoint(17, 20),), strokes=(near, away))
    decode_prompted(decoder, said)
    first, second = decoder.model.asked
    assert not first.strokes[0].any()
    assert first.strokes[1].any()
    assert second.strokes[0].any()
    assert second.strokes[1].any()


def test_a_corrective_stroke_comes_with_the_former_answer_and_lies_in_its_box():
    model = knowing()
    session = session_with(model, INSIDE)
    model.asked.clear()
    more = stroke(10, 17, range(22, 30))
    session.put(ObjectPrompts("organ").with_(INSIDE, more))
    session.segment()
    (corrected,) = [p for p in model.asked if p.strokes is not None]
    assert corrected.mask is not None
    rows, cols = np.nonzero(corrected.strokes[0] == 1)
    r0, c0, r1, c1 = corrected.box
    assert r0 <= rows.min()
    assert rows.max() < r1
    assert c0 <= cols.min()
    assert cols.max() < c1


def test_a_stroke_corrects_what_a_3d_box_gave():
    model = knowing()
    session_with(model, block_of(ORGAN), BESIDE)
    (corrected,) = [p for p in model.asked if p.strokes is not None]
    assert corrected.mask is not None
    assert corrected.strokes[1].any()
    assert not corrected.strokes[0].any()


def test_another_way_between_the_same_points_is_another_prompt():
    """What is remembered is remembered of the stroke, not of the points that stand for it."""
    model = knowing()
    session = session_with(model, INSIDE)
    bent = INSIDE.voxels.copy()
    bent[3, 1] += 2
    model.asked.clear()
    session.put(ObjectPrompts("organ").with_(ScribblePrompt(bent)))
    session.segment()
    points = [
        [p.at for p in without_strokes(ObjectPrompts("x").with_(s)).points]
        for s in (INSIDE, ScribblePrompt(bent))
    ]
    assert points[0] == points[1]
    (asked,) = [p for p in model.asked if p.strokes is not None]
    assert not np.array_equal(
        asked.strokes[0],
        stroke_plane(
            SliceDecoder(
                SliceStack(organ_volume(), "axial", WINDOW), model, EmbeddingStore()
            ).whole(7),
            INSIDE.voxels[:, 1:],
            52,
        ),
    )
    asked_before = len(model.asked)
    session.undo()
    session.segment()
    assert len(model.asked) == asked_before  # what undo brings back is still known


def test_strokes_on_a_slice_are_told_apart_by_what_they_pass():
    pixels = np.array([(3, 4), (3, 5)])
    one = SliceStroke(pixels)
    assert one == SliceStroke(pixels.copy())
    assert hash(one) == hash(SliceStroke(pixels.copy()))
    assert one != SliceStroke(pixels, positive=False)
    assert one != SliceStroke(pixels + 1)
    assert one.box == Box2D(3, 4, 4, 6)
    asked = SlicePrompt(points=(ClickedPoint(9, 9, False),), strokes=(one,))
    assert asked.shown == [Box2D(3, 4, 4, 6)]


def test_a_zoomed_view_round_a_stroke_holds_all_of_it():
    model = knowing(zoom=1.5)
    bulge = np.array([(7, 17, 18), (7, 14, 22), (7, 11, 24), (7, 14, 26), (7, 17, 29)])
    session_with(model, ScribblePrompt(bulge))
    for prompt in model.asked:
        if prompt.strokes is not None:
            assert prompt.strokes[0].max() == 1
            assert prompt.strokes[0][[0, -1]].max() < 0.7
