"""Numbers on a volume: the same voxels whichever way the file stores them."""

from __future__ import annotations

import numpy as np
import pytest

from sammed.errors import InputError, PromptError
from sammed.imaging import geometry
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.volume import Volume
from sammed.prompts import BoxPrompt, MaskPrompt, ObjectPrompts, PointPrompt
from sammed.prompts.numeric import Box, Point
from sammed.prompts.placing import (
    box_prompt,
    mask_prompt,
    place_box,
    place_point,
    point_prompt,
    scribble_prompt,
)
from sammed.prompts.text import parse_box
from tests.phantoms import OBLIQUE, SHAPE, STRAIGHT, in_all_orders

VOXELS = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
VOLUME = Volume.from_array(VOXELS, STRAIGHT)  # canonical, so (i, j, k) is (x, y, z)


def test_boxes_and_points_name_the_voxels_of_the_files_own_array():
    """In each of the 48 files: what the numbers cut out of its array is what is prompted."""
    for volume in list(in_all_orders(VOXELS))[::3]:
        array = volume.ijk_array()
        block = box_prompt(volume, (1, 2, 1, 4, 5, 3))
        assert isinstance(block, Box3D)
        assert sorted(VOXELS[block.slices].flat) == sorted(array[1:4, 2:5, 1:3].flat)
        for axis, cut in (
            ("i", array[2, 1:4, 2:5]),
            ("j", array[1:4, 2, 2:5]),
            ("k", array[1:4, 2:5, 2]),
        ):
            box = box_prompt(volume, (1, 2, 4, 5), slice=2, axis=axis)
            assert isinstance(box, BoxPrompt)
            assert sorted(VOXELS[box.block.slices].flat) == sorted(cut.flat)
        assert VOXELS[point_prompt(volume, (1, 4, 3)).at] == array[1, 4, 3]
        stroke = scribble_prompt(volume, [(1, 4, 3), (2, 4, 3), (3, 3, 2)])
        assert VOXELS[tuple(stroke.voxels.T)].tolist() == [
            array[1, 4, 3],
            array[2, 4, 3],
            array[3, 3, 2],
        ]
        drawn = np.isin(array, [40, 41, 300])
        found = scribble_prompt(volume, drawn, positive=False)
        assert sorted(VOXELS[tuple(found.voxels.T)]) == [40, 41, 300]
        assert not found.positive
        np.testing.assert_array_equal(
            mask_prompt(volume, drawn).voxels, np.isin(VOXELS, [40, 41, 300])
        )


@pytest.mark.parametrize("space", ["ras", "lps"])
def test_millimetres_are_as_typed(space):
    volume = Volume.from_array(VOXELS, OBLIQUE)
    sign = np.array([-1, -1, 1]) if space == "ras" else np.ones(3)
    centre = geometry.apply_affine(OBLIQUE, np.array([2, 3, 5])) * sign
    low, high = centre - np.array([1.2, 1.1, 2.6]), centre + np.array([1.3, 1.0, 2.4])
    whole, flat = Box.from_corners(low, high), Box(*low[:2], *high[:2], k=centre[2])
    for box in (whole, flat):
        assert place_box(box, volume, space) == parse_box(str(box), volume, space)
    assert (
        box_prompt(volume, np.r_[low, high], space=space)
        == place_box(whole, volume, space).blocks[0]
    )
    assert point_prompt(volume, centre, space=space).at == (2, 3, 5)
    stroke = scribble_prompt(volume, np.array([centre, centre]), space=space)
    assert stroke.voxels.tolist() == [[2, 3, 5], [2, 3, 5]]


def test_names_and_signs():
    box = Box(2, 1, 9, 6, k=3)
    expected = BoxPrompt(0, 3, Box2D(1, 2, 6, 9))
    assert place_box(box, VOLUME) == ObjectPrompts(boxes=(expected,))
    assert place_box(box.named("liver"), VOLUME) == ObjectPrompts("liver", boxes=(expected,))
    assert place_box("liver=2,1,9,6@3", VOLUME) == ObjectPrompts("liver", boxes=(expected,))
    assert box_prompt(VOLUME, "2,1,9,6@3") == expected
    point = Point(10, 6, 4, positive=False, name="liver")
    assert place_point(point, VOLUME).points == (PointPrompt((4, 6, 10), False),)
    assert place_point("10,6,4,-", VOLUME).name == "object"
    assert not point_prompt(VOLUME, point).positive
    assert point_prompt(VOLUME, point, positive=True).positive
    assert point_prompt(VOLUME, (10, 6, 4)).positive
    assert not point_prompt(VOLUME, "10,6,4,-").positive


def test_a_single_slice_needs_no_third_axis():
    plane = Volume.from_array(VOXELS[:1], STRAIGHT)
    drawn = np.zeros((11, 7), bool)
    drawn[4, 2] = True
    assert scribble_prompt(plane, drawn).voxels.tolist() == [[0, 2, 4]]
    assert np.argwhere(mask_prompt(plane, drawn).voxels).tolist() == [[0, 2, 4]]


def test_masks_of_numbers():
    painted = np.zeros(SHAPE[::-1], np.float32)
    painted[3, 2, 1] = 0.5
    mask = mask_prompt(VOLUME, painted)
    assert mask == MaskPrompt(painted.T != 0)
    assert mask.voxels.dtype == bool


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: box_prompt(VOLUME, (2, 1, 12, 6), slice=3), "reaches outside the volume: i from"),
        (lambda: box_prompt(VOLUME, (2, 1, 9, 6), slice=5), "the file has k = 0..4"),
        (
            lambda: box_prompt(VOLUME, (2, 1.5, 9, 6), slice=3),
            "'2,1.5,9,6@k=3' has fractions; voxel",
        ),
        (lambda: box_prompt(VOLUME, (2, 1, 9, 6), slice=1.5), "has fractions"),
        (
            lambda: box_prompt(VOLUME, [(1, 2, 3, 4)] * 2, slice=3),
            "2 boxes are given; expected one",
        ),
        (lambda: box_prompt(VOLUME, ()), "0 boxes are given; expected one"),
        (
            lambda: point_prompt(VOLUME, (11, 0, 0)),
            r"the point \(11, 0, 0\) \(voxel\) lies outside",
        ),
        (lambda: point_prompt(VOLUME, [(1, 2, 3)] * 2), "2 points are given; expected one"),
        (
            lambda: scribble_prompt(VOLUME, [(1, 2, 3), (1, 7, 3)]),
            r"scribble \(1, 7, 3\) \(voxel\)",
        ),
        (lambda: scribble_prompt(VOLUME, [(1, 2)]), r"a scribble of shape \(1, 2\) is none"),
        (lambda: scribble_prompt(VOLUME, []), r"a scribble of shape \(0,\) is none"),
        (lambda: scribble_prompt(VOLUME, np.zeros((0, 3))), "a scribble is empty"),
        (
            lambda: scribble_prompt(VOLUME, [(1, 2, np.nan)]),
            r"a scribble of shape \(1, 3\) is none",
        ),
        (lambda: scribble_prompt(VOLUME, [(1, 2, 3), (1, 2)]), "an array of numbers, not list"),
        (lambda: scribble_prompt(VOLUME, "line"), "an array of numbers, not str"),
        (
            lambda: scribble_prompt(VOLUME, np.zeros(SHAPE, bool)),
            r"shape \(5, 7, 11\), expected .*\(11, 7, 5\)",
        ),
        (lambda: scribble_prompt(VOLUME, np.zeros(SHAPE[::-1], bool)), "a scribble is empty"),
        (lambda: mask_prompt(VOLUME, np.zeros(SHAPE[::-1])), "the mask is empty"),
        (lambda: mask_prompt(VOLUME, np.ones(SHAPE)), "a mask has shape"),
        (lambda: mask_prompt(VOLUME, None), "a mask is an array of numbers, not NoneType"),
    ],
)
def test_what_does_not_lie_on_the_volume_is_refused_in_one_line(make, message):
    with pytest.raises(PromptError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_an_unknown_space_is_refused_by_all():
    for make in (
        lambda: box_prompt(VOLUME, (1, 2, 3, 4), slice=1, space="mm"),
        lambda: point_prompt(VOLUME, (1, 2, 3), space="mm"),
        lambda: scribble_prompt(VOLUME, [(1, 2, 3)], space="mm"),
    ):
        with pytest.raises(InputError, match="unknown space 'mm'; expected voxel, ras, lps"):
            make()
