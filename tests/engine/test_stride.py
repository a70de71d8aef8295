from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sammed.engine.decoding import SliceDecoder
from sammed.engine.propagation import Course, Limits, PromptLadder, Rules
from sammed.engine.settings import Settings
from sammed.engine.slice_mask import SliceResult, painted
from sammed.engine.stride import interpolate, stride_walk
from sammed.engine.tracing import Trace, Tracer
from sammed.errors import InputError
from sammed.imaging.boxes import Box2D
from sammed.imaging.intensity import Window
from sammed.imaging.volume import Volume
from sammed.models.recipe import PLAIN
from sammed.prompts import ObjectPrompts
from sammed.views.embeddings import EmbeddingStore
from sammed.views.slices import SliceStack
from tests.engine.test_tracing import FIRST, LAST, SEED, volume_of
from tests.phantoms import (
    ORGAN,
    STRAIGHT,
    StubModel,
    dice,
    ellipsoid,
    image_of,
    organ_volume,
    slice_box,
)

WINDOW = Window(-160, 240, "soft-tissue")
SHAPE = (60, 80)


def disc(index: int, radius: float, col: float = 40.0) -> SliceResult:
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return painted(index, np.hypot(rows - 30.0, cols - col) < radius)


def tracer(stride: int, volume: Volume | None = None) -> Tracer:
    slices = SliceStack(volume or organ_volume(), "axial", WINDOW)
    decoder = SliceDecoder(slices, StubModel(52, recipe=PLAIN), EmbeddingStore())
    return Tracer(decoder, Rules(), stride)


def decoded(trace: Trace) -> list[int]:
    return [i for i, r in sorted(trace.slices.items()) if r.prompt != "interpolated"]


class TestInterpolate:
    def test_a_disc_shrinks_linearly(self) -> None:
        found = interpolate(disc(4, 20.0), disc(8, 10.0), range(5, 8))
        assert [r.index for r in found] == [5, 6, 7]
        for result, radius in zip(found, (17.5, 15.0, 12.5), strict=True):
            region = Box2D(0, 0, *SHAPE)
            assert dice(result.on(region) > 0, disc(0, radius).on(region) > 0) > 0.96
            assert result.prompt == "interpolated"

    def test_measures_are_weighted_by_distance(self) -> None:
        sure, unsure = (
            replace(disc(0, 9), predicted_iou=0.9),
            replace(disc(4, 9), predicted_iou=0.5),
        )
        found = interpolate(sure, unsure, range(1, 4))
        np.testing.assert_allclose([r.predicted_iou for r in found], [0.8, 0.7, 0.6])

    def test_distances_are_in_millimetres_alike(self) -> None:
        """Along the coarse axis the edge moves by the same share of its way."""
        wide = painted(0, np.ones((5, 31), bool))
        narrow = np.zeros((5, 31), bool)
        narrow[:, 10:21] = True
        square, flat = (
            interpolate(wide, painted(2, narrow), range(1, 2), mm)[0] for mm in ((1, 1), (9, 1))
        )
        assert flat.area > square.area  # rows are far away: only the columns count
        assert flat.area == pytest.approx(5 * 21, rel=0.25)

    def test_far_apart_leaves_nothing(self) -> None:
        assert interpolate(disc(0, 5, 12), disc(2, 5, 65), range(1, 2)) == []


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_the_object_is_found_from_end_to_end(stride: int) -> None:
    trace = tracer(stride).trace(SEED)
    assert sorted(trace.slices) == list(range(FIRST, LAST + 1))
    assert dice(volume_of(trace), volume_of(tracer(1).trace(SEED))) > 0.97
    assert {i for i in range(FIRST, LAST + 1) if i % stride == 0} <= set(decoded(trace))
    assert {s.reason for s in trace.stops} == {"empty"}


def test_a_long_object_costs_fewer_encodes() -> None:
    long = ellipsoid((65, 40, 52), (31.2, 19.3, 25.2), (28.3, 13.5, 16.8))
    seed = ObjectPrompts("long", boxes=(slice_box(long, 31),))
    fast, full = (tracer(n, Volume.from_array(image_of(long), STRAIGHT)) for n in (4, 1))
    a, b = (volume_of(t.trace(seed), shape=long.shape) for t in (fast, full))
    assert dice(a, b) > 0.96
    assert fast.decoder.counts["encode"] < 0.5 * full.decoder.counts["encode"]


def test_a_tube_is_decoded_on_every_nth_slice_alone() -> None:
    tube = np.zeros((33, 40, 52), bool)
    tube[:] = ORGAN[8]
    fast = tracer(4, Volume.from_array(image_of(tube), STRAIGHT))
    trace = fast.trace(ObjectPrompts("tube", boxes=(slice_box(tube, 9),)))
    assert decoded(trace) == sorted([9, *range(0, 33, 4)])
    assert dice(volume_of(trace, shape=tube.shape), tube) > 0.999
    assert fast.decoder.counts["encode"] == 10


def test_objects_share_the_slices_that_are_encoded() -> None:
    tube = np.zeros((33, 40, 52), bool)
    tube[:] = ORGAN[8]
    volume = Volume.from_array(image_of(tube), STRAIGHT)
    seeds = [ObjectPrompts("tube", boxes=(slice_box(tube, z),)) for z in (9, 14)]
    found = [set(decoded(tracer(4, volume).trace(seed))) for seed in seeds]
    assert found[0] - {9} == found[1] - {14} == set(range(0, 33, 4))


def test_where_decoded_masks_disagree_the_slices_between_are_decoded() -> None:
    """Halving finds the one place where a tube jumps to twice its width."""
    thing = np.zeros((17, 40, 52), bool)
    rows, cols = np.mgrid[:40, :52]
    for z in range(17):
        thing[z] = np.hypot(rows - 19.4, cols - 25.3) < (8.0 if z <= 9 else 16.0)
    ends = tuple(slice_box(thing, z) for z in (0, 16))
    asked = ObjectPrompts("thing", boxes=ends, propagate="between")
    trace = tracer(16, Volume.from_array(image_of(thing), STRAIGHT)).trace(asked)
    assert decoded(trace) == [0, 8, 9, 10, 12, 16]
    full = tracer(1, Volume.from_array(image_of(thing), STRAIGHT)).trace(asked)
    assert dice(volume_of(trace, shape=thing.shape), volume_of(full, shape=thing.shape)) > 0.9


def test_between_two_prompted_slices() -> None:
    boxes = (slice_box(ORGAN, 4), slice_box(ORGAN, 13))
    trace = tracer(4).trace(ObjectPrompts("organ", boxes=boxes, propagate="between"))
    assert sorted(trace.slices) == list(range(4, 14))
    assert {4, 8, 12, 13} <= set(decoded(trace))
    assert dice(volume_of(trace)[4:14], ORGAN[4:14]) > 0.97


def test_a_stride_of_one_is_the_plain_walk() -> None:
    decoder = tracer(1).decoder
    start = painted(8, ORGAN[8])
    course = Course(start, 1, Limits(0, 17, Box2D(0, 0, 40, 52)))
    chain = stride_walk(PromptLadder(decoder), course, Rules())
    assert [r.index for r in chain.slices] == list(range(9, LAST + 1))
    assert all(r.prompt != "interpolated" for r in chain.slices)


@pytest.mark.parametrize("stride", [0, -2, 1.5, "2"])
def test_a_stride_that_makes_no_sense_is_refused(stride: int) -> None:
    with pytest.raises(InputError, match=r"unknown stride .*; expected a whole number from 1"):
        Settings(stride=stride)
