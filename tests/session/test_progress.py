"""Progress, cancelling, and what a session tells of its slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sammed.engine.fusion import promised_iou
from sammed.engine.object_volume import ObjectVolume
from sammed.engine.progress import Progress
from sammed.engine.results import slice_records
from sammed.errors import (
    Cancelled,
    SegmentationError,
)
from sammed.imaging.boxes import Box2D, Box3D
from sammed.models.compact.recipe import RECIPE
from sammed.prompts import BoxPrompt, ObjectPrompts, PointPrompt
from sammed.views.slices import SliceStack
from tests.phantoms import (
    StubModel,
    block_of,
    dice,
    slice_box,
)
from tests.session.sessions import PUT_A, PUT_B, TWO, A, B, labels, session

# -- progress and cancelling -----------------------------------------------------------------


def test_progress_tells_every_slice():
    told: list[Progress] = []
    made = session(PUT_A, ObjectPrompts("b", blocks=(block_of(B),)))
    made.segment(told.append)
    assert [p.done for p in told] == list(range(1, len(told) + 1))
    assert {p.object_name for p in told} == {"a", "b"}
    assert {p.plane for p in told} == {"axial"}
    assert sorted(p.index for p in told if p.object_name == "b") == sorted(
        s.index for s in made.runs["b"].slices
    )
    assert all(p.total is None and p.seconds_left is None for p in told)
    assert all(p.seconds_per_slice > 0 for p in told)


def test_progress_knows_the_total_of_3d_boxes():
    told: list[Progress] = []
    made = session(ObjectPrompts("b", blocks=(block_of(B),)))
    made.segment(told.append)
    assert {p.total for p in told} == {len(told)} == {len(made.runs["b"].slices)}
    assert told[-1].seconds_left == 0
    assert told[0].seconds_left is not None
    assert told[0].seconds_left > 0


def test_every_slice_is_told_as_the_chain_reaches_it():
    told: list[int] = []
    made = session(PUT_A)
    made.segment(prompted=lambda name, axis, r: told.append(r.index), every=True)
    assert set(told) == {s.index for s in made.runs["a"].slices}
    assert len(told) > 1


def test_a_prompted_slice_is_told_before_its_neighbours():
    told: list[tuple[str, int, int]] = []
    order: list[int] = []
    made = session(PUT_A)
    made.segment()
    click = PointPrompt((11, 15, 13))
    for edit in (replace(PUT_A, boxes=(slice_box(A, 9),)), replace(PUT_A, points=(click,))):
        told.clear()
        order.clear()
        made.put(edit)
        made.segment(
            lambda p: order.append(p.index),
            prompted=lambda name, axis, r: told.append((name, axis, r.index)),
        )
        slices = {b.index for b in edit.boxes} | {p.at[0] for p in edit.points}
        assert {n for _, _, n in told} <= slices
        assert told[-1] == ("a", 0, order[0])
        assert len(order) > 1
    made.segment(prompted=lambda *_: pytest.fail("nothing was stale"))
    fused = session(PUT_A, plane="all")
    fused.segment(prompted=lambda *_: pytest.fail("not known before the planes are fused"))


@pytest.mark.parametrize("after", [0, 1, 5, 14])
def test_cancelling_leaves_the_former_result(after):
    made = session(PUT_A)
    made.segment()
    before, runs = labels(made), made.runs
    asked = []
    made.put(PUT_B)
    made.put(replace(PUT_A, boxes=(slice_box(A, 9),)))

    def cancel() -> bool:
        asked.append(1)
        return len(asked) > after

    with pytest.raises(Cancelled, match="stopped; nothing was changed") as stopped:
        made.segment(cancel=cancel)
    assert stopped.value.exit_code == 130
    np.testing.assert_array_equal(labels(made), before)
    assert made.runs == runs
    made.segment()
    assert dice(labels(made) == 1, A) > 0.99
    assert dice(labels(made) == 2, B) > 0.99


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, SegmentationError])
def test_an_error_in_between_leaves_the_former_result(error):
    made = session(PUT_A)
    made.segment()
    before = labels(made)
    made.put(PUT_B)

    def fail(progress: Progress) -> None:
        if progress.done == 4 and error is not SegmentationError:
            raise error

    if error is SegmentationError:
        made.put(replace(PUT_B, boxes=(BoxPrompt(0, 0, Box2D(1, 1, 5, 5)),)))
        made.segment(fail)
        assert made.runs["b"].error
    else:
        with pytest.raises(error):
            made.segment(fail)
    np.testing.assert_array_equal(labels(made), before)


# -- what became of it -----------------------------------------------------------------------


def test_records_of_slices_seen_once_tell_what_has_changed_since():
    """Of a costly model the prediction is taken as it is, unless the result is another mask."""
    made = session(PUT_A, model=StubModel(52, expensive_encode=True))
    made.segment()
    run = made.runs["a"]
    assert [r.predicted_iou for r in run.slices] == pytest.approx([0.9] * len(run.slices))
    logits = run.volume.logits.copy()
    logits[:, : logits.shape[1] // 2] = -10
    halved = ObjectVolume(run.volume.block, logits)
    slices = SliceStack(TWO, "axial", made.window)
    for record in slice_records(run.trace, slices, halved, joined=None):
        before, after = run.volume.across(0, record.index), halved.across(0, record.index)
        assert record.predicted_iou == pytest.approx(0.9 * after.area / before.area)


def test_slices_of_a_3d_box_count_by_themselves():
    """Of a chain, the least that was predicted on the way counts on all slices beyond."""
    made = session(PUT_A)
    made.segment()
    run, slices = made.runs["a"], SliceStack(TWO, "axial", made.window)
    last = max(run.trace.slices)
    doubtful = {
        i: replace(r, predicted_iou=0.3) for i, r in run.trace.slices.items() if i == last - 1
    }
    trace = replace(run.trace, slices={**run.trace.slices, **doubtful})
    promised = promised_iou(run.volume.across(0, last).logits)
    for boxed in (False, True):
        (record,) = [
            r for r in slice_records(trace, slices, run.volume, RECIPE.quality, boxed)
            if r.index == last
        ]  # fmt: skip
        if boxed:
            assert record.predicted_iou == pytest.approx(np.sqrt(0.9 * promised))
        else:
            assert record.predicted_iou <= np.sqrt(0.3 * promised) + 1e-9


def test_slices_of_a_3d_box_are_better_the_more_of_them_was_found_at_first():
    """Its first find holds all of the object, twice as much, beyond its block, or only half."""
    made = session(PUT_A)
    made.segment()
    run, slices = made.runs["a"], SliceStack(TWO, "axial", made.window)
    whole, (low, high) = run.volume, run.volume.block.range(2)
    beside = replace(whole.block, x0=high, x1=2 * high - low)
    double = ObjectVolume(
        whole.block.union(beside), np.concatenate([whole.logits, whole.logits], axis=2)
    )
    half = ObjectVolume(whole.block, whole.logits.copy())
    half.logits[: len(half.logits) // 2] = -10
    halved = half.mask.sum() / whole.mask.sum()
    index = max(run.trace.slices)
    for first, iou in ((whole, 1.0), (double, 0.5), (half, halved)):
        (record,) = [
            r
            for r in slice_records(
                run.trace, slices, whole, RECIPE.quality, True, (whole, first)
            )
            if r.index == index
        ]  # fmt: skip
        promised = promised_iou(whole.across(0, index).logits)
        assert record.predicted_iou == pytest.approx(np.sqrt(iou * promised), abs=1e-3)


def test_records_of_every_slice():
    made = session(PUT_A)
    made.segment()
    run = made.runs["a"]
    assert [r.index for r in run.slices] == sorted(run.trace.slices)
    for record in run.slices:
        mask = made.object_mask("a")[record.index]
        assert record.area_mm2 == pytest.approx(mask.sum() * 0.8 * 0.7)
        rows, cols = np.nonzero(mask)
        np.testing.assert_allclose(record.centroid, (record.index, rows.mean(), cols.mean()))
        logits = run.volume.across(0, record.index).logits
        promised = promised_iou(logits * (RECIPE.quality.modesty if record.index == 8 else 1))
        assert 0.8 < promised < 1
        way = [r for r in run.slices if record.index <= r.index < 8 or 8 < r.index <= record.index]
        shared = np.prod([r.neighbour_iou for r in way]) ** RECIPE.quality.way
        assert record.predicted_iou == pytest.approx(np.sqrt(0.9 * promised) * shared)
        assert record.stability == 1
        assert record.present == 1
    by_index = {r.index: r for r in run.slices}
    assert by_index[8].neighbour_iou == 1
    assert by_index[8].prompt == "box"
    seven, eight = made.object_mask("a")[7], made.object_mask("a")[8]
    iou = (seven & eight).sum() / (seven | eight).sum()
    assert by_index[7].neighbour_iou == pytest.approx(iou)
    assert by_index[7].prompt == "box + mask"
    first, last = run.slices[0].index, run.slices[-1].index
    assert run.stops == (
        f"axial slice {first}: nothing was found on the next slice",
        f"axial slice {last}: nothing was found on the next slice",
    )


def test_timings_and_counts():
    made = session(PUT_A)
    made.segment()
    assert {"window", "render", "encode", "decode", "resize", "propagate", "fusion"} <= set(
        made.timings
    )
    assert min(made.timings.values()) >= 0
    spent = sum(made.timings[s] for s in ("render", "encode", "decode", "resize"))
    assert spent <= made.timings["propagate"]


def test_part_of_the_label_map():
    made = session(PUT_A)
    made.segment()
    block = Box3D(3, 5, 7, 9, 20, 30)
    np.testing.assert_array_equal(made.labels_in(block), labels(made)[block.slices])
