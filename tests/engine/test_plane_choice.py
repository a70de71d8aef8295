"""In which planes an object is looked at, and how many slices that takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sammed.engine.plane_choice import Planes
from sammed.engine.settings import Settings
from sammed.errors import PromptError
from sammed.imaging.boxes import Box3D
from sammed.imaging.volume import Volume
from sammed.models.compact.recipe import RECIPE
from sammed.prompts import BoxPrompt, ObjectPrompts, PointPrompt
from sammed.session import Session
from tests.phantoms import ORGAN, StubModel, block_of, image_of, slice_box

BLOCK = ObjectPrompts("organ", blocks=(block_of(ORGAN),))
MIDDLE = PointPrompt((8, 17, 24), True)

MOST = RECIPE.across.most_slices


def volume(*spacing: float) -> Volume:
    affine = np.diag([*spacing[::-1], 1.0])[:, [2, 1, 0, 3]]
    return Volume.from_array(image_of(ORGAN), affine)


CUBIC = volume(1.0, 1.1, 1.2)


def boxed(*indices: int, **more: object) -> ObjectPrompts:
    boxes = tuple(slice_box(ORGAN, i) for i in indices)
    return ObjectPrompts("organ", boxes=boxes, propagate="off", **more)


def test_a_3d_box_alone_is_traced_in_all_planes_its_own_first():
    assert Planes(CUBIC, recipe=RECIPE).traced(BLOCK) == (0, 1, 2)
    assert Planes(CUBIC, recipe=RECIPE).traced(replace(BLOCK, points=(MIDDLE,))) == (0, 1, 2)
    deep = volume(1.0, 2.0, 1.0)
    assert Planes(deep, recipe=RECIPE).traced(BLOCK) == (1, 0, 2)


@pytest.mark.parametrize(
    "obj",
    [
        replace(BLOCK, boxes=(slice_box(ORGAN, 8),)),
        replace(BLOCK, propagate="between"),
        replace(BLOCK, blocks=(block_of(ORGAN), Box3D(0, 0, 0, 2, 2, 2))),
        ObjectPrompts("organ", points=(MIDDLE,)),
    ],
)
def test_other_prompts_leave_one_plane(obj):
    assert Planes(CUBIC, recipe=RECIPE).traced(obj) == (0,)


def test_planes_of_flat_pixels_and_of_few_slices_are_left_out():
    assert Planes(volume(3.5, 1.0, 1.0), recipe=RECIPE).traced(BLOCK) == (0,)
    assert Planes(volume(2.9, 1.0, 1.0), recipe=RECIPE).traced(BLOCK) == (0, 1, 2)
    thin = replace(BLOCK, blocks=(Box3D(2, 10, 10, 9, 12, 30),))
    assert Planes(CUBIC, recipe=RECIPE).traced(thin) == (0, 2)
    assert Planes(CUBIC, recipe=RECIPE).across(thin.blocks[0], 0) == (2,)


def test_slices_that_are_close_together_for_a_thick_object_are_left_out():
    planes = Planes(volume(3.0, 1.0, 1.5), recipe=RECIPE)
    finest = RECIPE.planes.finest
    thick = Box3D(0, 0, 0, finest, 4 * finest, 2 * finest)  # 3 finest mm or more along each axis
    assert [planes.stride(thick, axis, 0) for axis in range(3)] == [1, 3, 2]
    assert planes.stride(thick, 1, 1) == 1  # its own plane
    long = Box3D(0, 0, 0, 100, 30, 30)
    assert [planes.stride(long, axis, 0) for axis in range(3)] == [1, 1, 1]
    assert Planes(volume(3.0, 1.0, 1.5)).stride(thick, 1, 0) == 1


@pytest.mark.parametrize("planes", [Planes(CUBIC), Planes(CUBIC, "axial", recipe=RECIPE)])
def test_only_quick_models_get_planes_that_nobody_asked_for(planes):
    assert planes.traced(BLOCK) == (0,)
    assert planes.across(BLOCK.blocks[0], 0) == ()
    assert Planes(CUBIC, "coronal").axis(BLOCK) == 1


def test_a_large_object_is_looked_at_in_its_own_slices_alone():
    planes = Planes(CUBIC, recipe=RECIPE)
    assert planes.across(Box3D(0, 0, 0, 5, MOST, MOST), 0) == (1, 2)
    assert planes.across(Box3D(0, 0, 0, 5, MOST + 1, MOST), 0) == (2,)


def test_the_total_counts_all_looks():
    obj = boxed(3, 4, 5, 9)
    assert Planes(CUBIC).slices_to_come([obj]) == 4
    assert Planes(CUBIC, "axial", recipe=RECIPE).slices_to_come([obj]) == 8
    clicked = replace(obj, points=(PointPrompt((4, 17, 24)),))
    assert Planes(CUBIC, recipe=RECIPE).slices_to_come([clicked]) == 7
    many = boxed(*range(4, 12))
    across = many.extent().shape[1] + many.extent().shape[2]
    assert Planes(CUBIC, recipe=RECIPE).slices_to_come([many]) == 16 + across
    assert Planes(CUBIC).slices_to_come([many, ObjectPrompts("x", points=(MIDDLE,))]) is None


@pytest.mark.parametrize("indices", [range(3, 13), range(5, 8), (4, 8, 12)])
def test_no_more_slices_are_looked_at_than_were_announced(indices):
    model, seen = StubModel(52), []
    made = Session(CUBIC, model, Settings())
    made.put(boxed(*indices))
    made.segment(progress=seen.append)
    assert 0.8 * seen[-1].total < seen[-1].done <= seen[-1].total
    assert model.decoded == seen[-1].done
    assert {p.plane for p in seen} == (
        {"axial", "coronal", "sagittal"} if indices != (4, 8, 12) else {"axial"}
    )


# -- 3D boxes that are one slice thick -------------------------------------------------------


def picture() -> Volume:
    """One slice of the organ."""
    voxels = image_of(ORGAN)[8:9]
    return Volume.from_array(voxels, np.diag([1.0, 1.1, 1.2, 1.0])[[2, 1, 0, 3]])


def segmented(volume: Volume, obj: ObjectPrompts, **settings: object) -> tuple[np.ndarray, int]:
    model = StubModel(52)
    made = Session(volume, model, Settings(**settings))
    made.put(obj)
    made.segment()
    return made.runs["organ"].volume.on(Box3D(0, 0, 0, *volume.shape)), model.decoded


def test_on_a_picture_a_3d_box_is_a_2d_box_at_its_cost():
    flat = block_of(ORGAN[8:9])
    flat = replace(flat, z0=0, z1=1)
    box = BoxPrompt(0, 0, flat.across(0))
    one = segmented(picture(), ObjectPrompts("organ", boxes=(box,)))
    other = segmented(picture(), ObjectPrompts("organ", blocks=(flat,)))
    np.testing.assert_array_equal(one[0], other[0])
    assert one[1] == other[1]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_3d_box_on_one_slice_of_a_volume_is_a_box_on_that_slice(axis):
    index = [8, 17, 24][axis]
    box = slice_box(ORGAN, index, axis)
    one = segmented(CUBIC, ObjectPrompts("organ", boxes=(box,), propagate="off"))
    other = segmented(CUBIC, ObjectPrompts("organ", blocks=(box.block,)))
    np.testing.assert_array_equal(one[0], other[0])
    assert one[1] == other[1]


def test_clicks_off_the_slice_of_a_flat_3d_box_are_refused_or_say_nothing():
    box = slice_box(ORGAN, 8)
    outside = ObjectPrompts("organ", blocks=(box.block,), points=(PointPrompt((9, 17, 24)),))
    with pytest.raises(PromptError, match="which its 3D box excludes"):
        segmented(CUBIC, outside)
    beside = outside.replaced(points=(PointPrompt((9, 2, 2), False),))
    plain = segmented(CUBIC, outside.replaced(points=()))
    np.testing.assert_array_equal(segmented(CUBIC, beside)[0], plain[0])
