from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sammed.errors import LabelError, PromptError
from sammed.imaging.boxes import Box2D, Box3D
from sammed.prompts import (
    BoxPrompt,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
    PromptSet,
    merge,
    with_labels,
)
from tests.phantoms import SHAPE

BOX = BoxPrompt(0, 2, Box2D(1, 3, 5, 9))
BLOCK = Box3D(1, 2, 3, 4, 6, 9)


def painted(*index: int) -> MaskPrompt:
    voxels = np.zeros(SHAPE, bool)
    voxels[index] = True
    return MaskPrompt(voxels)


def test_the_extent_holds_everything_that_says_where_it_is():
    obj = ObjectPrompts(
        boxes=(BOX,),
        blocks=(Box3D(0, 1, 4, 1, 2, 5),),
        points=(PointPrompt((4, 0, 10)), PointPrompt((0, 6, 0), positive=False)),
        mask=painted(3, 6, 2),
    )
    assert obj.extent() == Box3D(0, 0, 2, 5, 7, 11)
    assert ObjectPrompts(points=(PointPrompt((4, 0, 10)),)).extent() == Box3D(4, 0, 10, 5, 1, 11)
    assert ObjectPrompts().extent().is_empty


def test_the_limit_is_that_of_the_3d_boxes():
    assert ObjectPrompts(boxes=(BOX,)).limit(SHAPE) == Box3D(0, 0, 0, *SHAPE)
    both = ObjectPrompts(blocks=(BLOCK, Box3D(0, 3, 3, 1, 4, 10)))
    assert both.limit(SHAPE) == Box3D(0, 2, 3, 4, 6, 10)


@pytest.mark.parametrize(
    ("obj", "empty"),
    [
        (ObjectPrompts(), True),
        (ObjectPrompts(points=(PointPrompt((0, 0, 0), positive=False),)), True),
        (ObjectPrompts(mask=MaskPrompt(np.zeros(SHAPE, bool))), True),
        (ObjectPrompts(boxes=(BOX,)), False),
        (ObjectPrompts(blocks=(BLOCK,)), False),
        (ObjectPrompts(points=(PointPrompt((0, 0, 0)),)), False),
        (ObjectPrompts(mask=painted(0, 0, 0)), False),
    ],
)
def test_what_says_where_an_object_is(obj, empty):
    assert obj.is_empty == empty
    if empty:
        with pytest.raises(PromptError, match="nothing says where 'object' is"):
            obj.check(SHAPE)
    else:
        obj.check(SHAPE)


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (ObjectPrompts("a", boxes=(replace(BOX, index=5),)), "a box of 'a' reaches outside"),
        (ObjectPrompts("a", boxes=(replace(BOX, index=-1),)), "a box of 'a' reaches outside"),
        (ObjectPrompts("a", boxes=(replace(BOX, box=Box2D(1, 3, 1, 9)),)), "empty or inverted"),
        (ObjectPrompts("a", blocks=(Box3D(4, 2, 3, 1, 6, 9),)), "empty or inverted"),
        (ObjectPrompts("a", blocks=(Box3D(0, 0, 0, 5, 7, 12),)), r"\(5, 7, 12\), the volume has"),
        (ObjectPrompts("a", points=(PointPrompt((0, 7, 0)),)), "a point of 'a' lies outside"),
        (ObjectPrompts("a", points=(PointPrompt((0, -1, 0)),)), "a point of 'a' lies outside"),
        (ObjectPrompts("a", mask=MaskPrompt(np.ones((5, 7, 10), bool))), "expected .5, 7, 11"),
        (ObjectPrompts("a", boxes=(BOX,), propagate="on"), "unknown propagation 'on'"),
    ],
)
def test_prompts_that_make_no_sense(obj, message):
    with pytest.raises(PromptError, match=message) as error:
        obj.check(SHAPE)
    assert "\n" not in str(error.value)


def test_a_set_needs_an_object_and_checks_them_all():
    with pytest.raises(PromptError, match="no prompt: give --box"):
        PromptSet().check(SHAPE)
    objects = (ObjectPrompts("a", boxes=(BOX,)), ObjectPrompts("b"))
    with pytest.raises(PromptError, match="where 'b' is"):
        PromptSet(objects).check(SHAPE)
    assert list(PromptSet(objects)) == list(objects)
    assert len(PromptSet(objects)) == 2


def test_free_labels_go_round_taken_ones():
    objects = [ObjectPrompts(n, v) for n, v in [("a", 0), ("b", 2), ("c", 0), ("d", 1), ("e", 0)]]
    assert [o.label for o in with_labels(objects)] == [3, 2, 4, 1, 5]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([("a", 3), ("b", 3)], "label 3 is given to both 'a' and 'b'"),
        ([("a", 1), ("a", 2)], "two objects are called 'a'"),
        ([("a", -1)], r"label -1 of 'a' is not in 1\.\.65535"),
        ([("a", 65536)], r"label 65536 of 'a' is not in 1\.\.65535"),
    ],
)
def test_labels_that_clash(labels, message):
    with pytest.raises(LabelError, match=message):
        with_labels(ObjectPrompts(name, value) for name, value in labels)


def test_the_highest_label_is_allowed():
    assert with_labels([ObjectPrompts("a", 65535)])[0].label == 65535


def test_parts_of_one_object_are_joined_in_order():
    point = PointPrompt((1, 2, 3))
    parts = [
        ObjectPrompts("liver", boxes=(BOX,)),
        ObjectPrompts("spleen", 4, blocks=(BLOCK,)),
        ObjectPrompts("liver", 2, points=(point,), propagate="off"),
        ObjectPrompts("liver", boxes=(replace(BOX, index=3),), mask=painted(0, 0, 0)),
    ]
    liver, spleen = merge(parts)
    assert (liver.name, liver.label, liver.propagate) == ("liver", 2, "off")
    assert liver.boxes == (BOX, replace(BOX, index=3))
    assert liver.points == (point,)
    assert liver.mask == painted(0, 0, 0)
    assert spleen == parts[1]


def test_parts_that_contradict_each_other():
    with pytest.raises(LabelError, match="'a' has two labels, 1 and 2"):
        merge([ObjectPrompts("a", 1), ObjectPrompts("a", 2)])
    with pytest.raises(PromptError, match="'a' has two masks"):
        merge([ObjectPrompts("a", mask=painted(0)), ObjectPrompts("a", mask=painted(1))])


def test_masks_are_equal_by_their_voxels():
    assert painted(1, 2, 3) == painted(1, 2, 3)
    assert painted(1, 2, 3) != painted(1, 2, 4)
    assert painted(1, 2, 3) != "mask"


@pytest.mark.parametrize(("axis", "slices"), [(0, [1, 3]), (1, [2, 6]), (2, [0, 5])])
def test_painted_slices_across_each_axis(axis, slices):
    voxels = np.zeros(SHAPE, bool)
    voxels[1, 2, 5] = voxels[3, 6, 0] = True
    assert MaskPrompt(voxels).slices(axis).tolist() == slices


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_block_of_a_box(axis):
    block = BoxPrompt(axis, 2, Box2D(1, 3, 5, 9)).block
    assert block.range(axis) == (2, 3)
    assert block.across(axis) == Box2D(1, 3, 5, 9)


def test_what_an_object_is_need_not_be_what_it_is_called():
    called, told = ObjectPrompts("liver"), ObjectPrompts("Segment_1", structure="liver")
    assert called.known_as == told.known_as == "liver"
    told.check((5, 7, 11), {"liver"})
    with pytest.raises(PromptError, match="nothing says where 'Segment_1' is"):
        told.check((5, 7, 11), {"Segment_1"})
    assert repr(told) == "ObjectPrompts('Segment_1', structure 'liver')"


def test_an_object_that_is_another_structure_says_something_else():
    told = ObjectPrompts("Segment_1", structure="liver")
    assert told.says_as(told.replaced(name="Segment_2", label=4))
    assert not told.says_as(told.replaced(structure=""))


def test_parts_are_one_structure():
    plain, liver = ObjectPrompts("a"), ObjectPrompts("a", structure="liver")
    assert [one.structure for one in (*merge([plain, liver]), *merge([liver, plain]))] == [
        "liver",
        "liver",
    ]
    with pytest.raises(PromptError, match="'a' is two structures, 'liver' and 'spleen'"):
        merge([liver, ObjectPrompts("a", structure="spleen")])
