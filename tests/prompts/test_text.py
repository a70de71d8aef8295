from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sammed.errors import LabelError, PromptError
from sammed.imaging import geometry
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.volume import Volume
from sammed.prompts import BoxPrompt, ObjectPrompts, PointPrompt
from sammed.prompts.text import (
    apply_labels,
    parse_box,
    parse_label,
    parse_point,
    split_label,
    split_name,
)
from tests.phantoms import OBLIQUE, SHAPE, SPACING, STRAIGHT, affine_of, in_all_orders

VOXELS = np.zeros(SHAPE, np.int16)
VOLUME = Volume.from_array(VOXELS, STRAIGHT)  # canonical, so (i, j, k) is (x, y, z)
TURNED = Volume.from_array(VOXELS, OBLIQUE)


# -- voxels ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2,1,9,6@3", BoxPrompt(0, 3, Box2D(1, 2, 6, 9))),
        ("2,1,9,6@k=3", BoxPrompt(0, 3, Box2D(1, 2, 6, 9))),
        ("2,1,9,5@j=4", BoxPrompt(1, 4, Box2D(1, 2, 5, 9))),
        ("2,1,6,5@i=10", BoxPrompt(2, 10, Box2D(1, 2, 5, 6))),
        ("2,1,9,6@K=0", BoxPrompt(0, 0, Box2D(1, 2, 6, 9))),
        (" 2, 1,9 ,6 @ 3", BoxPrompt(0, 3, Box2D(1, 2, 6, 9))),
        ("0,0,11,7@4", BoxPrompt(0, 4, Box2D(0, 0, 7, 11))),
        ("2.0,1,9,6@3", BoxPrompt(0, 3, Box2D(1, 2, 6, 9))),
    ],
)
def test_a_box_on_a_slice(text, expected):
    assert parse_box(text, VOLUME) == ObjectPrompts(boxes=(expected,))
    assert parse_box(f"liver={text}", VOLUME) == ObjectPrompts("liver", boxes=(expected,))


def test_a_3d_box():
    expected = Box3D(1, 2, 3, 5, 6, 9)
    assert parse_box("3,2,1,9,6,5", VOLUME) == ObjectPrompts(blocks=(expected,))
    assert parse_box("left lung=3,2,1,9,6,5", VOLUME) == ObjectPrompts(
        "left lung", blocks=(expected,)
    )
    assert parse_box("0,0,0,11,7,5", VOLUME).blocks == (Box3D(0, 0, 0, 5, 7, 11),)


@pytest.mark.parametrize(
    ("text", "at", "positive"),
    [
        ("10,6,4", (4, 6, 10), True),
        ("10,6,4,+", (4, 6, 10), True),
        ("0,1,2,-", (2, 1, 0), False),
        (" 0, 1 ,2 , - ", (2, 1, 0), False),
        ("1.4,1.6,2", (2, 2, 1), True),
    ],
)
def test_a_point(text, at, positive):
    assert parse_point(text, VOLUME).points == (PointPrompt(at, positive),)
    assert parse_point(f"a={text}", VOLUME) == ObjectPrompts(
        "a", points=(PointPrompt(at, positive),)
    )


def test_names():
    assert split_name("liver = 1,2") == ("liver", " 1,2")
    assert split_name("1,2,3,4@k=5") == ("object", "1,2,3,4@k=5")
    assert split_name("-1,2,3") == ("object", "-1,2,3")
    with pytest.raises(PromptError, match="the name before '=' is empty in '=1,2,3,4@5'"):
        split_name("=1,2,3,4@5")


def test_names_may_begin_with_a_digit_but_are_no_numbers():
    (box,) = parse_box("3rd ventricle=2,1,9,6@3", VOLUME).boxes
    assert parse_box("3rd ventricle=2,1,9,6@3", VOLUME).name == "3rd ventricle"
    assert parse_box("2,1,9,6@3", VOLUME).boxes == (box,)
    assert parse_point("2nd=1,2,3", VOLUME).name == "2nd"
    with pytest.raises(PromptError, match=r"the name '5' in '5=2,1,9,6@3' is a number; .* NAME=5"):
        parse_box("5=2,1,9,6@3", VOLUME)
    with pytest.raises(PromptError, match="cannot read '2,1,9,6=3'"):
        parse_box("2,1,9,6=3", VOLUME)


@pytest.mark.parametrize(
    ("text", "file", "value"),
    [
        ("m.nii.gz#3", "m.nii.gz", 3),
        ("a#b.nii", "a#b.nii", None),
        ("a#2#1", "a#2", 1),
        ("#3", "#3", None),
        ("m.nii#", "m.nii#", None),
        ("m.nii#-1", "m.nii#-1", None),
    ],
)
def test_one_label_of_a_file(text, file, value):
    assert split_label(text) == (file, value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3@4", r"cannot read '1,2,3@4'; expected i0,j0,i1,j1@k"),
        ("1,2,3,4,5", r"cannot read '1,2,3,4,5'; expected i0,j0"),
        ("1,2,3,4", r"cannot read '1,2,3,4'; expected i0,j0"),
        ("1,2,3,4@", "cannot read '1,2,3,4@'"),
        ("1,2,3,4@z=2", "unknown axis 'z'"),
        ("a,b,c,d@1", "cannot read 'a,b,c,d@1'"),
        ("1,2,nan,4@1", "cannot read '1,2,nan,4@1'"),
        ("1,2,inf,4@1", "cannot read"),
        ("", "cannot read ''"),
        ("1,2,3,4@5@6", "cannot read"),
        ("2.5,1,9,6@3", "'2.5,1,9,6@3' has fractions; voxel indices are whole numbers"),
        ("2,1,9,6@3.5", "has fractions"),
        ("3,2,1,9,6,4.5", "has fractions"),
        ("2,1,2,6@3", r"'2,1,2,6@3' is empty or inverted: from \(2, 1\) to \(2, 6\)"),
        ("9,1,2,6@3", "empty or inverted"),
        ("3,2,1,9,6,1", "empty or inverted"),
        ("3,2,5,9,6,1", r"empty or inverted: from \(3, 2, 5\) to \(9, 6, 1\)"),
        (
            "2,1,12,6@3",
            "reaches outside the volume: i from 2 to 12 \\(half-open\\), the file has i = 0..10",
        ),
        ("-1,1,9,6@3", "reaches outside the volume: i from -1 to 9"),
        ("2,1,9,6@5", "k from 5 to 6 \\(half-open\\), the file has k = 0..4 "),
        ("2,1,9,6@-1", "k from -1 to 0"),
        ("2,1,9,5@j=7", "j from 7 to 8 \\(half-open\\), the file has j = 0..6 "),
        ("3,2,1,9,8,5", "j from 2 to 8"),
    ],
)
def test_boxes_that_make_no_sense(text, message):
    with pytest.raises(PromptError, match=message) as error:
        parse_box(text, VOLUME)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2", "cannot read '1,2'; expected i,j,k or i,j,k,+"),
        ("1,2,3,4", "cannot read '1,2,3,4'"),
        ("1,2,3,*", "cannot read"),
        ("a=", "cannot read 'a='"),
        ("11,0,0", r"the point \(11, 0, 0\) \(voxel\) lies outside the volume of \(11, 7, 5\)"),
        ("0,0,-1", "lies outside"),
    ],
)
def test_points_that_make_no_sense(text, message):
    with pytest.raises(PromptError, match=message):
        parse_point(text, VOLUME)


def test_the_same_voxels_typed_for_each_of_the_48_files():
    """Boxes on slices across each axis, 3D boxes and points, in the file's own indices."""
    wanted = [BoxPrompt(axis, 3, Box2D(1, 2, 4, 5)) for axis in range(3)]
    block, point = Box3D(1, 2, 3, 4, 6, 9), PointPrompt((1, 5, 8), False)
    for volume in in_all_orders(VOXELS):
        for box in wanted:
            axis = volume.grid.file_axis(box.axis)
            low, high = file_corners(box.block, volume)
            across = "ijk".index(axis)
            sides = [v for ends in (low, high) for n, v in enumerate(ends) if n != across]
            text = ",".join(str(v) for v in sides) + f"@{axis}={low[across]}"
            assert parse_box(text, volume).boxes == (box,), text
        low, high = file_corners(block, volume)
        assert parse_box(",".join(map(str, [*low, *high])), volume).blocks == (block,)
        ijk = volume.grid.file_index(np.array(point.at)).astype(int).tolist()
        assert parse_point(",".join(map(str, ijk)) + ",-", volume).points == (point,)


def file_corners(block: Box3D, volume: Volume) -> tuple[list[int], list[int]]:
    ends = volume.grid.file_index(np.array([block.low, np.array(block.high) - 1]))
    return ends.min(axis=0).astype(int).tolist(), (ends.max(axis=0) + 1).astype(int).tolist()


# -- millimetres -----------------------------------------------------------------------------


def in_space(lps: np.ndarray, space: str) -> np.ndarray:
    return lps * ([-1, -1, 1] if space == "ras" else [1, 1, 1])


def typed(low: np.ndarray, high: np.ndarray) -> str:
    return ",".join(f"{v:.6f}" for v in [*low, *high])


@pytest.mark.parametrize("space", ["ras", "lps"])
def test_a_3d_box_in_millimetres_of_a_straight_volume(space):
    block = Box3D(1, 2, 3, 4, 6, 9)
    corners = in_space(block.corners(STRAIGHT), space)
    text = typed(corners.min(axis=0), corners.max(axis=0))
    assert parse_box(text, VOLUME, space).blocks == (block,)


@pytest.mark.parametrize("space", ["ras", "lps"])
def test_a_3d_box_in_millimetres_is_carried_by_all_eight_corners(space):
    """On an oblique volume, two opposite corners alone would miss a part of the box."""
    centre = geometry.apply_affine(OBLIQUE, np.array([2, 3, 5]))
    low, high = centre - np.array([1.2, 1.1, 2.6]), centre + np.array([1.3, 1.0, 2.4])
    a, b = in_space(low, space), in_space(high, space)
    text = typed(np.minimum(a, b), np.maximum(a, b))
    (block,) = parse_box(text, TURNED, space).blocks
    grid = np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), -1).reshape(-1, 3)
    index = geometry.index_from_world(OBLIQUE, grid)
    assert block == Box3D.from_index_corners(index).clip(SHAPE)
    two = geometry.index_from_world(OBLIQUE, np.array([low, high]))
    assert Box3D.from_index_corners(two).clip(SHAPE) != block


@pytest.mark.parametrize("space", ["ras", "lps"])
def test_millimetres_mean_the_same_in_all_48_files(space):
    centre = in_space(geometry.apply_affine(OBLIQUE, np.array([2, 3, 5])), space)
    low, high = centre - np.array([1.2, 1.1, 2.6]), centre + np.array([1.3, 1.0, 2.4])
    block_text = typed(low, high)
    slice_text = ",".join(f"{v:.6f}" for v in [*low[:2], *high[:2]]) + f"@{centre[2]:.6f}"
    point_text = ",".join(f"{v:.6f}" for v in centre)
    found = {
        (
            parse_box(block_text, v, space).blocks,
            parse_box(slice_text, v, space).boxes,
            parse_point(point_text, v, space).points,
        )
        for v in in_all_orders(VOXELS)
    }
    assert len(found) == 1
    ((_, boxes, points),) = found
    assert (boxes[0].axis, boxes[0].index) == (0, 2)
    assert points == (PointPrompt((2, 3, 5)),)


@pytest.mark.parametrize(("name", "axis"), [("i", 2), ("j", 1), ("k", 0)])
def test_a_box_in_millimetres_lies_across_the_world_axis_that_was_named(name, axis):
    """Also where the box is narrow and the volume oblique, so that it spans several slices."""
    affine = affine_of((1.0, 0.8, 0.7), (8, 12, -9))
    volume = Volume.from_array(np.zeros((60, 70, 80), np.int16), affine)
    centre = geometry.apply_affine(affine, np.array([30, 35, 40]))
    world = "ijk".index(name)
    for narrow in {0, 1, 2} - {world}:
        half = np.full(3, 18.0)
        half[narrow] = 1.5
        half[world] = 0
        in_plane = [a for a in range(3) if a != world]
        sides = np.concatenate([(centre - half)[in_plane], (centre + half)[in_plane]])
        text = ",".join(f"{v:.5f}" for v in sides) + f"@{name}={centre[world]:.5f}"
        (box,) = parse_box(text, volume, "lps").boxes
        assert (box.axis, box.index) == (axis, [30, 35, 40][axis])
        assert box.block.clip(volume.shape) == box.block


@given(st.tuples(*[st.floats(-0.49, 0.49)] * 3))
def test_a_point_in_millimetres_is_the_voxel_that_holds_it(offset):
    lps = geometry.apply_affine(OBLIQUE, np.array([3, 2, 7]) + offset)
    text = ",".join(f"{v:.9f}" for v in in_space(lps, "ras"))
    assert parse_point(text, TURNED, "ras").points == (PointPrompt((3, 2, 7)),)


def test_boxes_in_millimetres_are_clipped_to_the_volume():
    corners = Box3D(0, 0, 0, *SHAPE).corners(STRAIGHT)
    low, high = corners.min(axis=0) - 50, corners.max(axis=0) + 50
    assert parse_box(typed(low, high), VOLUME, "lps").blocks == (Box3D(0, 0, 0, *SHAPE),)


@pytest.mark.parametrize("space", ["ras", "lps"])
def test_millimetres_elsewhere_are_refused(space):
    with pytest.raises(PromptError, match=r"lies outside the volume.*check the space"):
        parse_box("500,500,500,520,530,540", VOLUME, space)
    x, y = in_space(STRAIGHT[:3, 3], space)[:2]
    with pytest.raises(PromptError, match="slice that does not exist"):
        parse_box(f"{x - 1},{y - 1},{x + 1},{y + 1}@k=-900", VOLUME, space)
    with pytest.raises(PromptError, match=rf"\({space}\) lies outside the volume"):
        parse_point("0,0,0", VOLUME, space)


def test_half_a_voxel_beyond_the_last_centre_is_still_inside():
    last = np.array(SHAPE) - 1
    inside = geometry.apply_affine(STRAIGHT, last + 0.49)
    assert parse_point(",".join(map(str, inside)), VOLUME, "lps").points[0].at == tuple(last)
    outside = geometry.apply_affine(STRAIGHT, last + np.array([0, 0, 0.51]))
    with pytest.raises(PromptError, match="lies outside"):
        parse_point(",".join(map(str, outside)), VOLUME, "lps")


def test_a_slice_in_millimetres_is_the_nearest_one():
    top = float(geometry.apply_affine(STRAIGHT, np.array([4, 0, 0]))[2])
    x, y, _ = geometry.apply_affine(STRAIGHT, np.array([0, 1.5, 2.5]))
    text = f"{x},{y},{x + 3 * SPACING[2]},{y + 2 * SPACING[1]}"
    for move, index in [(0, 4), (1.2, 4), (-1.2, 4), (-1.3, 3)]:
        (box,) = parse_box(f"{text}@{top + move}", VOLUME, "lps").boxes
        assert (box.axis, box.index, box.box) == (0, index, Box2D(2, 3, 4, 6))
    with pytest.raises(PromptError, match="slice that does not exist"):
        parse_box(f"{text}@{top + 1.3}", VOLUME, "lps")


# -- labels ----------------------------------------------------------------------------------


def test_labels():
    assert parse_label("liver=5") == ("liver", 5)
    assert parse_label(" a=b = 7 ") == ("a=b", 7)
    objects = (ObjectPrompts("a"), ObjectPrompts("b", 3))
    assert [o.label for o in apply_labels(objects, {"a": 9})] == [9, 3]


@pytest.mark.parametrize("text", ["liver", "liver=", "=5", "liver=-1", "liver=1.5", "liver=x"])
def test_labels_that_cannot_be_read(text):
    with pytest.raises(LabelError, match=r"cannot read label .* expected NAME=VALUE"):
        parse_label(text)


@pytest.mark.parametrize("value", [0, -3, 65536])
def test_labels_out_of_range(value):
    with pytest.raises(LabelError, match=rf"label {value} of 'liver' is not in 1\.\.65535"):
        apply_labels((ObjectPrompts("liver"),), {"liver": value})


def test_a_label_for_an_unknown_object():
    with pytest.raises(LabelError, match="a label is given for 'lver', but the objects are liver"):
        apply_labels((ObjectPrompts("liver"),), {"lver": 2})
    with pytest.raises(LabelError, match="the objects are none"):
        apply_labels((), {"lver": 2})


# -- whatever is typed -----------------------------------------------------------------------

typing = st.text("0123456789.,-+@=ijkne _a", max_size=24) | st.text(max_size=12)


@pytest.mark.thorough
@given(typing, st.sampled_from(["voxel", "ras", "lps"]))
@settings(max_examples=300)
def test_nothing_that_is_typed_ends_in_a_traceback(text, space):
    for read in (parse_box, parse_point):
        with contextlib.suppress(PromptError):
            assert isinstance(read(text, TURNED, space), ObjectPrompts)
    with contextlib.suppress(LabelError):
        parse_label(text)


@given(st.lists(st.floats(-1e300, 1e300), min_size=6, max_size=6))
@pytest.mark.filterwarnings("error")
def test_huge_numbers_are_outside_or_clipped(numbers):
    text = ",".join(map(repr, numbers))
    for space in ("voxel", "ras", "lps"):
        try:
            (block,) = parse_box(text, TURNED, space).blocks
        except PromptError:
            continue
        assert block.clip(SHAPE) == block
    with pytest.raises(PromptError, match="lies outside"):
        parse_point("1e300,-1e300,0", TURNED, "ras")
