from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sammed.engine.decoding import SliceDecoder
from sammed.engine.object_volume import stack
from sammed.engine.prompted_slices import (
    check_plane,
    correct_prompted,
    decode_prompted,
    object_axis,
    slice_prompts,
)
from sammed.engine.propagation import Rules
from sammed.engine.slice_mask import painted
from sammed.engine.tracing import Trace, Tracer
from sammed.errors import PromptError, SegmentationError
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.intensity import Window
from sammed.imaging.volume import Volume
from sammed.models.recipe import PLAIN
from sammed.prompts import BoxPrompt, MaskPrompt, ObjectPrompts, PointPrompt
from sammed.views.embeddings import EmbeddingStore
from sammed.views.slices import SliceStack
from tests.phantoms import (
    ORGAN,
    ORGAN_SHAPE,
    STRAIGHT,
    StubModel,
    block_of,
    dice,
    ellipsoid,
    image_of,
    organ_volume,
    slice_box,
)

WINDOW = Window(-160, 240, "soft-tissue")
FIRST, LAST = (int(v) for v in np.flatnonzero(ORGAN.any(axis=(1, 2)))[[0, -1]])
SEED = ObjectPrompts("organ", boxes=(slice_box(ORGAN, 8),))

TWINS = ellipsoid(ORGAN_SHAPE, (7.6, 17.3, 12.2), (5.2, 9.5, 7.8)) | ellipsoid(
    ORGAN_SHAPE, (9.1, 20.3, 38.2), (5.6, 8.5, 9.8)
)


def tracer(model: StubModel | None = None, volume: Volume | None = None, plane: str = "axial"):
    """A tracer that looks at each slice once."""
    slices = SliceStack(volume or organ_volume(), plane, WINDOW)
    model = model or StubModel(52)
    model.take(recipe=PLAIN)
    return Tracer(SliceDecoder(slices, model, EmbeddingStore()), Rules())


def volume_of(trace: Trace, axis: int = 0, shape: tuple[int, int, int] = ORGAN_SHAPE) -> np.ndarray:
    mask = np.zeros(shape, bool)
    found = stack(trace.slices, axis)
    mask[found.block.slices] = found.mask
    return mask


def half(mask: np.ndarray, side: str) -> np.ndarray:
    part = mask.copy()
    part[:, :, slice(25, None) if side == "left" else slice(0, 25)] = False
    return part


# -- outward ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [8, FIRST + 1, LAST - 1])
def test_outward_until_the_object_ends(seed):
    trace = tracer().trace(ObjectPrompts("organ", boxes=(slice_box(ORGAN, seed),)))
    assert dice(volume_of(trace), ORGAN) > 0.99
    assert sorted(trace.slices) == list(range(FIRST, LAST + 1))
    assert [(s.direction, s.index, s.reason) for s in trace.stops] == [
        (-1, FIRST, "empty"),
        (1, LAST, "empty"),
    ]
    assert trace.prompted == {seed}


@pytest.mark.parametrize(("plane", "axis", "seed"), [("coronal", 1, 17), ("sagittal", 2, 24)])
def test_outward_in_other_planes(plane, axis, seed):
    obj = ObjectPrompts("organ", boxes=(slice_box(ORGAN, seed, axis),))
    trace = tracer(plane=plane).trace(obj)
    assert dice(volume_of(trace, axis), ORGAN) > 0.98


def test_an_object_that_touches_both_ends_of_the_volume():
    tube = np.zeros(ORGAN_SHAPE, bool)
    tube[:] = ORGAN[8]
    found = tracer(volume=Volume.from_array(image_of(tube), STRAIGHT)).trace(
        ObjectPrompts("tube", boxes=(slice_box(tube, 3),))
    )
    assert [(s.direction, s.index, s.reason) for s in found.stops] == [
        (-1, 0, "edge"),
        (1, 16, "edge"),
    ]
    assert dice(volume_of(found), tube) > 0.99


def test_slices_are_told_as_they_are_found():
    told: list[int] = []
    tracer().trace(SEED, lambda result: told.append(result.index))
    assert told == [8, *range(7, FIRST - 1, -1), *range(9, LAST + 1)]


def test_nothing_on_the_prompted_slice_is_an_error():
    empty = ObjectPrompts("organ", boxes=(BoxPrompt(0, 0, Box2D(3, 4, 9, 12)),))
    with pytest.raises(SegmentationError, match=r"nothing was segmented for 'organ'.*slices \[0\]"):
        tracer().trace(empty)


# -- 3D boxes --------------------------------------------------------------------------------


def test_a_3d_box_of_whole_slices_only_limits_what_points_name():
    limits = Box3D(5, 0, 0, 11, *ORGAN_SHAPE[1:])
    obj = ObjectPrompts("organ", blocks=(limits,), points=(PointPrompt((8, 17, 24), True),))
    model = StubModel(52)
    trace = tracer(model).trace(obj)
    assert sorted(trace.slices) == list(range(5, 11))
    assert trace.prompted == {8}
    assert dice(volume_of(trace)[5:11], ORGAN[5:11]) > 0.95


def test_a_3d_box_is_the_object_from_end_to_end():
    trace = tracer().trace(ObjectPrompts("organ", blocks=(block_of(ORGAN),)))
    assert dice(volume_of(trace), ORGAN) > 0.99
    assert {s.reason for s in trace.stops} == {"limit"}


def test_the_z_range_of_a_3d_box_is_a_hard_limit():
    tight = replace(block_of(ORGAN), z0=6, z1=10)
    trace = tracer().trace(ObjectPrompts("organ", blocks=(tight,)))
    assert sorted(trace.slices) == [6, 7, 8, 9]
    assert [(s.direction, s.index, s.reason) for s in trace.stops] == [
        (-1, 6, "limit"),
        (1, 9, "limit"),
    ]


@pytest.mark.parametrize(
    "more",
    [
        {"points": (PointPrompt((12, 17, 24)),)},
        {"boxes": (slice_box(ORGAN, 11),)},
        {"mask": MaskPrompt(ORGAN & (np.arange(17) == 12)[:, None, None])},
    ],
)
def test_prompts_beyond_the_z_range_are_refused(more):
    tight = replace(block_of(ORGAN), z0=6, z1=10)
    with pytest.raises(PromptError, match=r"axial slice 1\d, which its 3D box excludes .* 6 to 9"):
        tracer().trace(ObjectPrompts("organ", blocks=(tight,), **more))


def test_negative_points_beyond_the_z_range_do_nothing():
    tight = replace(block_of(ORGAN), z0=6, z1=10)
    points = (PointPrompt((12, 17, 24), positive=False),)
    trace = tracer().trace(ObjectPrompts("organ", blocks=(tight,), points=points))
    assert sorted(trace.slices) == [6, 7, 8, 9]


def test_one_slice_is_a_range():
    tight = replace(block_of(ORGAN), z0=8, z1=9)
    trace = tracer().trace(ObjectPrompts("organ", blocks=(tight,)))
    assert sorted(trace.slices) == [8]


def test_a_box_on_a_slice_within_a_3d_box_is_where_it_starts():
    model = StubModel(52)
    obj = ObjectPrompts("organ", boxes=(slice_box(ORGAN, 5),), blocks=(block_of(ORGAN),))
    trace = tracer(model).trace(obj)
    assert trace.prompted == {5}
    np.testing.assert_allclose(model.asked[0].box, slice_box(ORGAN, 5).box.as_array())


CONE = np.stack([np.hypot(*np.ogrid[-20:20, -26:26]) < 2 + 0.9 * z for z in range(17)])
"""Small below, large above: the box of the whole fits its upper slices best."""


@pytest.mark.parametrize(("sure", "start"), [(True, 13), (False, 9)])
def test_a_3d_box_starts_where_the_model_is_surest(sure, start):
    """Of the slices that are probed, if the model tells them apart; else on the middle one."""

    def rule(prompt, grey, mask):
        share = np.count_nonzero(mask.low_res_logits > 0) / 1500 if sure else 0.5
        return replace(mask, predicted_iou=np.array([share], np.float32))

    volume = Volume.from_array(image_of(CONE), STRAIGHT)
    model = StubModel(52, rule=rule)
    traced = tracer(model, volume)
    cone = ObjectPrompts("cone", blocks=(replace(block_of(CONE), z0=3, z1=17),))
    trace = traced.trace(cone)
    assert trace.prompted == {start}
    assert sorted(trace.slices) == list(range(3, 17))
    spent = model.decoded
    traced.trace(cone)
    assert model.decoded == spent


def test_two_3d_boxes_one_above_the_other():
    low, high = replace(block_of(ORGAN), z1=6), replace(block_of(ORGAN), z0=9)
    trace = tracer().trace(ObjectPrompts("organ", blocks=(low, high)))
    assert sorted(trace.slices) == [*range(FIRST, 6), *range(9, LAST + 1)]


def test_two_3d_boxes_side_by_side_are_two_components():
    blocks = (block_of(half(TWINS, "left")), block_of(half(TWINS, "right")))
    volume = Volume.from_array(image_of(TWINS), STRAIGHT)
    trace = tracer(volume=volume).trace(ObjectPrompts("kidneys", blocks=blocks))
    assert dice(volume_of(trace), TWINS) > 0.97
    for more in (slice_box(half(TWINS, "left"), 6), slice_box(half(TWINS, "right"), 10)):
        obj = ObjectPrompts("kidneys", blocks=blocks, boxes=(more,))
        assert dice(volume_of(tracer(volume=volume).trace(obj)), TWINS) > 0.97


# -- several prompted slices -----------------------------------------------------------------


def test_several_components_on_one_slice():
    volume = Volume.from_array(image_of(TWINS), STRAIGHT)
    boxes = tuple(slice_box(half(TWINS, side), 8) for side in ("left", "right"))
    trace = tracer(volume=volume).trace(ObjectPrompts("kidneys", boxes=boxes))
    assert dice(volume_of(trace), TWINS) > 0.98
    assert len(trace.stops) == 4
    assert trace.prompted == {8}


def test_between_fills_what_lies_between_and_nothing_else():
    boxes = tuple(slice_box(ORGAN, i) for i in (5, 9, 11))
    trace = tracer().trace(ObjectPrompts("organ", boxes=boxes, propagate="between"))
    assert sorted(trace.slices) == list(range(5, 12))
    assert trace.stops == ()
    for index in range(5, 12):
        np.testing.assert_array_equal(volume_of(trace)[index], ORGAN[index])


def test_between_one_slice_is_that_slice():
    trace = tracer().trace(replace(SEED, propagate="between"))
    assert sorted(trace.slices) == [8]


@pytest.mark.parametrize("blocks", [(), (block_of(ORGAN),)])
def test_off_is_the_prompted_slices_alone(blocks):
    boxes = (slice_box(ORGAN, 5), slice_box(ORGAN, 9))
    trace = tracer().trace(ObjectPrompts("organ", boxes=boxes, blocks=blocks, propagate="off"))
    assert sorted(trace.slices) == [5, 9]
    assert trace.stops == ()


def test_between_two_boxes_both_ways_are_blended_by_distance():
    """Upwards the model sees too little, downwards too much: the nearer end counts more."""
    assert ORGAN[4].sum() < 320 < ORGAN[10].sum()

    def rule(prompt, grey, mask):
        if prompt.mask is None:
            return mask
        logits = np.full_like(mask.low_res_logits, -6)
        if (prompt.mask > 0).sum() < 320:
            logits[0, 9:25, 15:33] = 6
        else:
            logits[0, 4:38, 6:46] = 6
        return replace(mask, low_res_logits=logits)

    boxes = (slice_box(ORGAN, 4), slice_box(ORGAN, 10))
    trace = tracer(StubModel(52, rule=rule)).trace(
        ObjectPrompts("organ", boxes=boxes, propagate="between")
    )
    assert [trace.slices[i].area for i in range(5, 10)] == [288, 288, 288, 1360, 1360]


def test_spans_between_run_from_both_ends():
    model = StubModel(52)
    boxes = (slice_box(ORGAN, 5), slice_box(ORGAN, 9))
    traced = tracer(model)
    traced.trace(ObjectPrompts("organ", boxes=boxes, propagate="between"))
    assert model.decoded == 2 + 2 * 3
    assert model.encoded == 5


def test_boxes_of_three_slices_and_outward_beyond_them():
    boxes = tuple(slice_box(ORGAN, i) for i in (5, 8, 11))
    trace = tracer().trace(ObjectPrompts("organ", boxes=boxes))
    assert dice(volume_of(trace), ORGAN) > 0.99
    assert [(s.direction, s.index) for s in trace.stops] == [(-1, FIRST), (1, LAST)]


def test_a_gap_is_bridged_between_prompted_slices():
    """On two slices the object cannot be seen; each side goes as far as it can."""
    values = image_of(ORGAN)
    values[8] = -80
    volume = Volume.from_array(values, STRAIGHT)
    boxes = (slice_box(ORGAN, 5), slice_box(ORGAN, 11))
    trace = tracer(volume=volume).trace(ObjectPrompts("organ", boxes=boxes))
    assert {5, 6, 7, 9, 10, 11} <= set(trace.slices)
    assert 8 not in trace.slices or not trace.slices[8].area


# -- painted slices --------------------------------------------------------------------------


def painted_on(*indices: int) -> MaskPrompt:
    voxels = np.zeros(ORGAN_SHAPE, bool)
    for index in indices:
        voxels[index] = ORGAN[index]
        voxels[index, 17, 24] = False  # a hole that no model would leave
    return MaskPrompt(voxels)


def test_painted_slices_are_kept_verbatim_and_propagated_from():
    mask = painted_on(6, 10)
    trace = tracer().trace(ObjectPrompts("organ", mask=mask))
    found = volume_of(trace)
    for index in (6, 10):
        np.testing.assert_array_equal(found[index], mask.voxels[index])
        assert trace.slices[index].prompt == "painted"
    assert dice(found, ORGAN) > 0.98
    assert trace.prompted == {6, 10}


def test_a_painted_slice_needs_no_model():
    model = StubModel(52)
    trace = tracer(model).trace(ObjectPrompts("organ", mask=painted_on(8), propagate="off"))
    assert (model.encoded, model.decoded) == (0, 0)
    np.testing.assert_array_equal(volume_of(trace), painted_on(8).voxels)


def test_points_correct_a_painted_slice():
    model = StubModel(52)
    obj = ObjectPrompts(
        "organ", mask=painted_on(8), points=(PointPrompt((8, 17, 24)),), propagate="off"
    )
    trace = tracer(model).trace(obj)
    assert trace.slices[8].prompt == "box + mask + points"
    assert model.asked[0].kinds == {"box", "points", "mask"}
    np.testing.assert_array_equal(volume_of(trace)[8], ORGAN[8])


# -- points ----------------------------------------------------------------------------------


def test_a_point_alone_starts_an_object():
    trace = tracer().trace(ObjectPrompts("organ", points=(PointPrompt((8, 17, 24)),)))
    assert dice(volume_of(trace), ORGAN) > 0.99
    assert trace.slices[8].prompt == "points"


def test_points_on_a_prompted_slice_go_to_their_box():
    volume = Volume.from_array(image_of(TWINS), STRAIGHT)
    boxes = tuple(slice_box(half(TWINS, side), 8) for side in ("left", "right"))
    left, right = boxes
    points = (PointPrompt((8, 17, 12)), PointPrompt((8, 20, 39)), PointPrompt((8, 2, 2), False))
    model = StubModel(52)
    decoder = tracer(model, volume).decoder
    (said,) = slice_prompts(ObjectPrompts("k", boxes=boxes, points=points), 0).values()
    one = decode_prompted(decoder, said)
    assert len(one.parts) == 2
    asked = {tuple(p.box): sorted(map(tuple, p.points.tolist())) for p in model.asked}
    assert asked[tuple(left.box.as_array())] == [(2.5, 2.5), (17.5, 12.5)]
    assert asked[tuple(right.box.as_array())] == [(2.5, 2.5), (20.5, 39.5)]
    assert [p.prompt for p in one.parts] == ["box + points"] * 2


def test_a_point_outside_all_boxes_goes_to_the_nearest():
    model = StubModel(52)
    decoder = tracer(model).decoder
    boxes = (BoxPrompt(0, 8, Box2D(5, 5, 15, 15)), BoxPrompt(0, 8, Box2D(5, 30, 15, 40)))
    obj = ObjectPrompts("k", boxes=boxes, points=(PointPrompt((8, 10, 27)),))
    decode_prompted(decoder, slice_prompts(obj, 0)[8])
    assert [len(p.points) for p in model.asked] == [0, 1]


BUMP = ORGAN.copy()
BUMP[9, 26:33, 20:30] = True
"""The organ with a bump on slice 9 that boxes extrapolated from slice 8 cut off."""


def corrected(*clicks: PointPrompt) -> ObjectPrompts:
    return replace(SEED, points=clicks)


def test_a_click_on_another_slice_corrects_it_and_only_its_neighbouring_spans():
    model = StubModel(52)
    volume = Volume.from_array(image_of(BUMP), STRAIGHT)
    traced = tracer(model, volume)
    before = traced.trace(SEED)
    cut = before.slices[9].area
    assert cut < BUMP[9].sum()
    first = model.decoded
    after = traced.trace(corrected(PointPrompt((10, 17, 24)), PointPrompt((9, 31, 25))))
    assert after.slices[9].area == BUMP[9].sum()
    assert after.prompted == {8, 9, 10}
    assert after.slices[9].prompt == "box + mask + points"
    new = model.decoded - first
    # two clicks, nothing between 8, 9 and 10, and outward beyond 10: one slice, then the end
    assert new <= 2 + (LAST - 10) + 3
    for index in range(FIRST, 9):
        assert after.slices[index] is before.slices[index]
    second = model.decoded
    again = traced.trace(SEED)
    assert again.slices[9].area == cut
    assert model.decoded == second


def test_a_negative_click_takes_a_part_away():
    both = TWINS
    volume = Volume.from_array(image_of(both), STRAIGHT)
    wide = ObjectPrompts("left", boxes=(BoxPrompt(0, 8, Box2D(5, 1, 32, 51)),))
    model = StubModel(52)
    traced = tracer(model, volume)
    assert dice(volume_of(traced.trace(wide)), both) > 0.95
    clicked = replace(wide, points=(PointPrompt((8, 20, 38), positive=False),))
    found = volume_of(traced.trace(clicked))
    assert not found[8, :, 26:].any()
    assert dice(found[8], half(both, "left")[8]) > 0.97


def test_a_click_beyond_the_end_continues_the_object():
    values = image_of(ORGAN)
    values[10] = -80  # a bad slice ends it too early
    volume = Volume.from_array(values, STRAIGHT)
    traced = tracer(volume=volume)
    assert max(traced.trace(SEED).slices) == 9
    after = traced.trace(corrected(PointPrompt((11, 17, 24))))
    assert max(after.slices) == LAST
    assert after.slices[11].area == ORGAN[11].sum()


def test_a_click_on_a_further_slice_corrects_what_the_first_found():
    """Asked by itself, each clicked slice would be found anew, whatever propagation knows of it."""
    model = StubModel(52)
    first, second = PointPrompt((8, 17, 24)), PointPrompt((11, 17, 24))
    trace = tracer(model).trace(ObjectPrompts("organ", points=(first, second)))
    assert trace.slices[8].prompt == "points"
    assert trace.slices[11].prompt == "box + mask + points"
    assert dice(volume_of(trace), ORGAN) > 0.98


def test_a_further_click_on_the_first_slice_corrects_what_the_first_click_showed():
    """Both at once would be a new search; a stroke's points belong together, and are one."""
    first, second = PointPrompt((8, 17, 24)), PointPrompt((8, 19, 27))
    clicked = tracer().trace(ObjectPrompts("organ", points=(first, second)))
    assert clicked.slices[8].prompt == "box + mask + points"
    together = tuple(replace(p, stroke=1) for p in (first, second))
    stroked = tracer().trace(ObjectPrompts("organ", points=together))
    assert stroked.slices[8].prompt == "points"


@pytest.mark.parametrize("propagate", ["off", "between"])
def test_where_prompted_slices_count_by_themselves_each_click_tells(propagate):
    points = tuple(PointPrompt((z, 17, 24)) for z in (6, 8, 10))
    trace = tracer().trace(ObjectPrompts("organ", points=points, propagate=propagate))
    assert {trace.slices[z].prompt for z in (6, 8, 10)} == {"points"}


def test_if_the_first_click_shows_nothing_the_others_still_do():
    beside, inside = PointPrompt((8, 2, 2)), PointPrompt((8, 17, 24))
    nothing = PointPrompt((1, 3, 48))
    assert (
        dice(volume_of(tracer().trace(ObjectPrompts("o", points=(nothing, inside)))), ORGAN) > 0.9
    )
    with pytest.raises(SegmentationError):
        tracer().trace(ObjectPrompts("o", points=(beside, nothing)))


def test_a_click_beside_an_empty_prompted_slice_starts_from_the_nearest_mask():
    """The box of an empty mask is the slice's first corner: nothing may start from that."""
    model = StubModel(52)
    empty = BoxPrompt(0, 15, Box2D(10, 12, 25, 36))
    obj = replace(SEED, boxes=(*SEED.boxes, empty), points=(PointPrompt((14, 17, 24)),))
    tracer(model).trace(obj)
    (asked,) = (p for p in model.asked if p.positive.tolist() == [True] and p.mask is not None)
    assert asked.box is not None
    assert min(asked.box[:2]) > 5


# -- memory ----------------------------------------------------------------------------------


def test_the_same_prompts_cost_nothing_twice():
    model = StubModel(52)
    traced = tracer(model)
    first = traced.trace(SEED)
    spent = (model.encoded, model.decoded)
    second = traced.trace(replace(SEED, label=9))
    assert (model.encoded, model.decoded) == spent
    assert {i: id(r) for i, r in first.slices.items()} == {
        i: id(r) for i, r in second.slices.items()
    }


def test_another_box_on_a_third_slice_recomputes_only_its_side():
    model = StubModel(52)
    traced = tracer(model)
    boxes = tuple(slice_box(ORGAN, i) for i in (5, 8, 11))
    first = traced.trace(ObjectPrompts("organ", boxes=boxes))
    spent = model.decoded
    moved = (*boxes[:2], replace(boxes[2], box=boxes[2].box.expand(2)))
    second = traced.trace(ObjectPrompts("organ", boxes=moved))
    # the one, both ways over 9 and 10, and outward: slice 12 and the end with three tries
    assert model.decoded - spent == 1 + 2 * 2 + (LAST - 11) + 3
    assert first.slices[FIRST] is second.slices[FIRST]
    np.testing.assert_array_equal(volume_of(first)[:9], volume_of(second)[:9])


# -- prompted ---------------------------------------------------------------------------------


def test_the_plane_of_an_object():
    box = BoxPrompt(1, 2, Box2D(0, 0, 2, 2))
    assert object_axis(ObjectPrompts(boxes=(box,)), 0) == 1
    assert object_axis(ObjectPrompts(blocks=(Box3D(0, 0, 0, 2, 2, 2),)), 2) == 2
    with pytest.raises(PromptError, match="'a' lie on slices of different planes"):
        object_axis(ObjectPrompts("a", boxes=(box, replace(box, axis=0))), 0)
    check_plane(ObjectPrompts(boxes=(box,)), 1)
    with pytest.raises(PromptError, match="lies on coronal slice 2, but the plane is axial"):
        check_plane(ObjectPrompts(boxes=(box,)), 0)


def masked(*at: object) -> ObjectPrompts:
    voxels = np.zeros((9, 11, 13), bool)
    for where in at:
        voxels[where] = True
    return ObjectPrompts(mask=MaskPrompt(voxels))


BLOCK_OF_PAINT = np.s_[2:6, 3:8, 4:9]


@pytest.mark.parametrize(
    ("at", "default", "axis"),
    [
        ([np.s_[4, 3:8, 4:9]], 0, 0),
        ([np.s_[2:6, 5, 4:9]], 0, 1),
        ([np.s_[2:6, 3:8, 6]], 0, 2),
        ([np.s_[4, 3:8, 4:9]], 2, 0),
        ([np.s_[2:6, 3:8, 4], np.s_[2:6, 3:8, 6], np.s_[2:6, 3:8, 9]], 0, 2),  # several slices
        ([np.s_[2:6, 3:8, 4], np.s_[2:6, 3:8, 5]], 0, 0),  # two side by side: a thick object
        ([BLOCK_OF_PAINT], 0, 0),
        ([BLOCK_OF_PAINT], 1, 1),
        ([np.s_[4, 5, 4:9]], 0, 0),  # a line lies on slices of two planes
        ([np.s_[4, 5, 4:9]], 2, 0),
        ([np.s_[2:6, 4, 5], np.s_[2:6, 4, 8]], 0, 1),  # one slice or two: the one
        ([np.s_[4, 5, 6]], 1, 1),
        ([], 1, 1),
    ],
)
def test_painted_slices_say_the_plane(at, default, axis):
    assert object_axis(masked(*at), default) == axis
    box = BoxPrompt(1, 2, Box2D(0, 0, 2, 2))
    assert object_axis(replace(masked(*at), boxes=(box,)), default) == 1


def test_prompts_by_slice():
    obj = ObjectPrompts(
        boxes=(BoxPrompt(1, 4, Box2D(1, 2, 3, 4)), BoxPrompt(1, 4, Box2D(2, 2, 3, 4))),
        points=(PointPrompt((3, 4, 9)), PointPrompt((2, 6, 1), False)),
    )
    said = slice_prompts(obj, 1)
    assert list(said) == [4, 6]
    assert said[4].boxes == (Box2D(1, 2, 3, 4), Box2D(2, 2, 3, 4))
    assert [(p.row, p.col, p.positive) for p in said[4].points] == [(3, 9, True)]
    assert [(p.row, p.col, p.positive) for p in said[6].points] == [(2, 1, False)]
    assert said[4].locates
    assert not said[6].locates


def test_a_correction_looks_at_the_former_mask_and_the_clicks():
    model = StubModel(52)
    decoder = tracer(model).decoder
    former = painted(8, ORGAN[8])
    obj = ObjectPrompts(points=(PointPrompt((8, 3, 44)), PointPrompt((8, 39, 1), False)))
    correct_prompted(decoder, slice_prompts(obj, 0)[8], former)
    (asked,) = model.asked
    box = former.box.expand(2, 2)
    assert asked.box is not None
    np.testing.assert_allclose(asked.box, [2, box.c0, box.r1, 46])
