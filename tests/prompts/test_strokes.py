"""Strokes: as boxes and points, in the file's indices, in prompt files; the order of prompts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sammed import io
from sammed.errors import PromptError
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.volume import Volume
from sammed.prompts import (
    BoxPrompt,
    LassoPrompt,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
    ScribblePrompt,
)
from sammed.prompts.files import document, read_prompts
from sammed.prompts.strokes import (
    lasso_in_file,
    lasso_mask,
    lasso_on_slice,
    lasso_prompts,
    scribble_points,
    without_strokes,
)
from tests.phantoms import ORDERS, SHAPE, STRAIGHT, affine_of, reordered, save_nifti

SQUARE = ((1.0, 2.0), (1.0, 6.0), (5.0, 6.0), (5.0, 2.0))
LASSO = LassoPrompt(0, 3, SQUARE)
STROKE = ScribblePrompt(np.array([(3, 2, x) for x in range(2, 9)]))
BOX = BoxPrompt(0, 3, Box2D(1, 2, 5, 6))
POINT = PointPrompt((3, 2, 4))


def test_points_of_a_scribble_are_its_ends_and_its_middle_on_each_slice():
    points = scribble_points(STROKE)
    assert [p.at for p in points] == [(3, 2, 2), (3, 2, 5), (3, 2, 8)]
    two = ScribblePrompt(np.array([(3, 2, 4), (3, 3, 4), (4, 2, 4)]), positive=False)
    assert {(p.at, p.positive) for p in scribble_points(two)} == {
        ((3, 2, 4), False), ((3, 3, 4), False), ((4, 2, 4), False),
    }  # fmt: skip


def test_a_lasso_is_its_box_and_a_point_deep_inside():
    box, point = lasso_prompts(LASSO)
    assert box == BOX
    assert point.at[0] == 3
    assert 1 < point.at[1] < 4
    assert 2 < point.at[2] < 5
    (outside,) = lasso_prompts(LassoPrompt(0, 3, SQUARE, positive=False))
    assert outside == PointPrompt(point.at, positive=False)


@given(st.lists(st.tuples(st.floats(0, 7), st.floats(0, 11)), min_size=3, max_size=9))
def test_a_lasso_always_holds_a_pixel(corners):
    lasso = LassoPrompt(0, 3, tuple(corners))
    if lasso.box.is_empty:
        with pytest.raises(PromptError, match="lasso"):
            ObjectPrompts("x", lassos=(lasso,)).check((5, 7, 11))
    else:
        assert lasso_mask(lasso).any()
        box, point = lasso_prompts(lasso)
        assert box.block.union(Box3D(*point.at, *(n + 1 for n in point.at))) == box.block


def test_what_strokes_say_comes_first_however_they_were_mixed_with_the_rest():
    obj = ObjectPrompts("x", interactions=(POINT, LASSO, STROKE, BOX))
    said = without_strokes(obj).interactions
    kinds = [type(one) for one in said]
    assert kinds == [*3 * [PointPrompt], BoxPrompt, PointPrompt, PointPrompt, BoxPrompt]
    assert said[-2:] == (POINT, BOX)
    other = ObjectPrompts("x", interactions=(BOX, STROKE, POINT, LASSO))
    assert without_strokes(other).points == without_strokes(obj).points
    assert without_strokes(ObjectPrompts("x", boxes=(BOX,))).interactions == (BOX,)


@pytest.mark.parametrize("number", range(0, 48, 7))
def test_strokes_in_a_file_are_the_same_in_every_order_of_axes(number, tmp_path):
    """There and back through the file's own indices, for any orientation of its axes."""
    voxels = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    file, affine = reordered(voxels, affine_of(), *ORDERS[number])
    volume = io.read(save_nifti(tmp_path / "a.nii.gz", file, affine))
    shape = volume.shape
    voxels = np.array([(0, 1, 1), (0, 1, 2), (shape[0] - 1, shape[1] - 1, shape[2] - 1)])
    ring = ((0.0, 0.0), (0.0, 2.5), (2.0, 3.0))
    lassos = tuple(LassoPrompt(axis, shape[axis] - 2, ring) for axis in range(3))
    obj = ObjectPrompts(
        "x", 4, interactions=(lassos[2], ScribblePrompt(voxels, False), lassos[0], lassos[1], POINT)
    )
    path = tmp_path / "a.prompts.json"
    path.write_text(json.dumps(document([obj], volume)))
    (again,) = read_prompts(path, volume, lambda *_: np.zeros(shape, bool))
    assert again == obj
    assert json.loads(path.read_text())["objects"][0]["order"] == [
        "lasso", "scribble", "lasso", "lasso", "point",
    ]  # fmt: skip
    for lasso in lassos:
        axis, index, outline = lasso_in_file(lasso, volume)
        assert lasso_on_slice(np.array(outline), axis, index, volume) == lasso


def test_a_file_says_the_order_only_where_it_is_not_the_usual_one(tmp_path):
    volume = Volume.from_array(np.zeros(SHAPE, np.float32), STRAIGHT)
    usual = ObjectPrompts("x", interactions=(BOX, POINT))
    assert "order" not in document([usual], volume)["objects"][0]
    painted = MaskPrompt(np.ones(SHAPE, bool))  # in memory alone, so not in the file
    odd = ObjectPrompts("x", interactions=(painted, POINT, BOX))
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document([odd], volume)))
    (again,) = read_prompts(path, volume, lambda *_: np.ones(SHAPE, bool))
    assert again.interactions == (POINT, BOX)


def write(path: Path, **entry: object) -> Path:
    about = {"format": "sammed-prompts/1", "objects": [{"name": "x", **entry}]}
    path.write_text(json.dumps(about))
    return path


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"scribbles": [{"voxels": [[1, 2]]}]}, "expected \\(n, 3\\)"),
        ({"scribbles": [{"voxels": [[99, 2, 3]]}]}, "lies outside"),
        ({"lassos": [{"axis": "q", "index": 1, "outline": [[0, 0]]}]}, "unknown axis"),
        ({"lassos": [{"index": 1, "outline": [[0, 0], [1, 1]]}]}, "n corners"),
        ({"lassos": [{"index": 99, "outline": [[0, 0], [1, 1], [1, 0]]}]}, "outside"),
        ({"points": [{"at": [1, 1, 1]}], "order": ["box"]}, "its order says"),
        ({"scribbles": [{}]}, "cannot read object 0"),
    ],
)
def test_what_makes_no_sense_is_refused(entry, message, tmp_path):
    volume = Volume.from_array(np.zeros(SHAPE, np.float32), np.eye(4))
    with pytest.raises(PromptError, match=message):
        read_prompts(write(tmp_path / "p.json", **entry), volume, lambda *_: np.ones(SHAPE, bool))


def test_a_lasso_is_given_in_voxels(tmp_path):
    volume = Volume.from_array(np.zeros(SHAPE, np.float32), np.eye(4))
    path = write(tmp_path / "p.json", lassos=[{"index": 1, "outline": [[0, 0], [1, 1], [1, 0]]}])
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "space": "ras"}))
    with pytest.raises(PromptError, match="expected voxel indices"):
        read_prompts(path, volume, lambda *_: np.ones(SHAPE, bool))
