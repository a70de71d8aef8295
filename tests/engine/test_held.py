"""What was stroked is in or out, whatever the model says."""

from __future__ import annotations

import numpy as np

from sammed.engine.held import held
from sammed.engine.object_volume import NOTHING, ObjectVolume
from sammed.imaging.boxes import Box3D
from sammed.prompts import ObjectPrompts, PointPrompt, ScribblePrompt
from sammed.session import Session
from tests.phantoms import ORGAN, StubModel, organ_volume, slice_box

FOUND = ObjectVolume(Box3D(2, 2, 2, 5, 6, 7), np.full((3, 4, 5), 6.0, np.float16))
SHAPE = (9, 10, 11)


def stroke(*voxels, positive=True):
    return ScribblePrompt(np.array(voxels), positive)


def test_strokes_add_and_take_away_their_voxels_alone():
    obj = ObjectPrompts("x").with_(stroke((7, 8, 9), (7, 8, 10)), stroke((3, 3, 3), positive=False))
    mask = held(FOUND, obj).mask_in(SHAPE)
    before = FOUND.mask_in(SHAPE)
    assert mask[7, 8, 9]
    assert mask[7, 8, 10]
    assert not mask[3, 3, 3]
    assert (mask != before).sum() == 3


def test_the_later_stroke_counts():
    there = stroke((3, 3, 3))
    away = stroke((3, 3, 3), positive=False)
    assert held(FOUND, ObjectPrompts("x").with_(away, there)).mask_in(SHAPE)[3, 3, 3]
    assert not held(FOUND, ObjectPrompts("x").with_(there, away)).mask_in(SHAPE)[3, 3, 3]


def test_without_strokes_nothing_changes_and_outside_of_nothing_is_nothing():
    assert held(FOUND, ObjectPrompts("x", points=(PointPrompt((0, 0, 0)),))) is FOUND
    away = ObjectPrompts("x").with_(stroke((3, 3, 3), positive=False))
    assert not held(NOTHING, away).mask.any()


def test_a_session_holds_strokes():
    """The stub's masks are the organ; strokes beyond and within it are kept all the same."""
    beyond = stroke(*((8, 35, x) for x in range(20, 25)))
    within = stroke(*((8, 17, x) for x in range(20, 25)), positive=False)
    session = Session(organ_volume(), StubModel(52))
    session.put(ObjectPrompts("organ", boxes=(slice_box(ORGAN, 7),)).with_(beyond, within))
    session.segment()
    mask = session.object_mask("organ")
    assert mask[tuple(beyond.voxels.T)].all()
    assert not mask[tuple(within.voxels.T)].any()
