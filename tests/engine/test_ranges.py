"""What is said of an object first, and what corrects it."""

from __future__ import annotations

import numpy as np

from sammed.engine.ranges import opening
from sammed.imaging.boxes import Box2D
from sammed.prompts import BoxPrompt, MaskPrompt, ObjectPrompts, PointPrompt, ScribblePrompt
from sammed.prompts.strokes import without_strokes

BOX = BoxPrompt(0, 8, Box2D(2, 3, 20, 30))
ON, OFF, OUT = PointPrompt((8, 5, 5)), PointPrompt((11, 5, 5)), PointPrompt((8, 4, 4), False)


def test_points_on_a_boxed_slice_belong_to_what_is_said_first():
    obj = ObjectPrompts("organ", boxes=(BOX,), points=(OFF, ON, OUT))
    first = opening(obj, axis=0)
    assert first.points == (ON, OUT)
    assert first.boxes == obj.boxes
    assert opening(first, axis=0) is first


def test_without_a_box_the_first_point_in_the_object_tells():
    no = PointPrompt((3, 4, 4), positive=False)
    obj = ObjectPrompts("organ", points=(no, ON, OFF, OUT))
    assert opening(obj, axis=0).points == (ON, OUT)


def test_a_painted_slice_tells():
    painted = np.zeros((16, 20, 30), bool)
    painted[11, 4:9, 4:9] = True
    obj = ObjectPrompts("organ", points=(ON, OFF), mask=MaskPrompt(painted))
    assert opening(obj, axis=0).points == (OFF,)


def test_a_stroke_on_another_slice_corrects():
    first, second = (ScribblePrompt(np.array([(z, 9, x) for x in range(10, 20)])) for z in (8, 11))
    obj = without_strokes(ObjectPrompts("organ", scribbles=[first, second]), keep=True)
    told = opening(obj, axis=0)
    assert {point.at[0] for point in told.points} == {8}
    assert all(point.drawn is not None for point in told.points)
