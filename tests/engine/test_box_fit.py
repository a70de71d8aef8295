"""Masks are moved part of the way to where they touch their boxes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sammed.engine import box_fit
from sammed.engine.decoding import SliceDecoder
from sammed.engine.object_volume import NOTHING, ObjectVolume
from sammed.engine.prompted_slices import PromptedSlice
from sammed.engine.propagation import Rules
from sammed.engine.slice_mask import SliceResult
from sammed.engine.tracing import Tracer
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.intensity import Window
from sammed.models.compact.recipe import RECIPE
from sammed.prompts import ObjectPrompts, PointPrompt
from sammed.views.embeddings import EmbeddingStore
from sammed.views.slices import SliceStack
from tests.phantoms import ORGAN, StubModel, block_of, changed, organ_volume, slice_box

FIT = RECIPE.box_fit
ON_SLICE, IN_BLOCK, BORDERS = FIT.on_slice, FIT.in_block, (FIT.lowest, FIT.highest)
fit_box = partial(box_fit.fit_box, fit=FIT)
fit_block = partial(box_fit.fit_block, fit=FIT)


def peak(*shape: int) -> np.ndarray:
    """1 in the middle, falling to 0 at the middle of each side and below in the corners."""
    axes = [2 * (np.arange(n) + 0.5) / n - 1 for n in shape]
    return 1 - np.sqrt(sum(a**2 for a in np.meshgrid(*axes, indexing="ij")))


def on_slice(logits: np.ndarray, row: int = 0, col: int = 0) -> SliceResult:
    height, width = logits.shape
    return SliceResult(7, Box2D(row, col, row + height, col + width), logits.astype(np.float32))


def in_block(logits: np.ndarray) -> ObjectVolume:
    return ObjectVolume(Box3D(0, 0, 0, *logits.shape), logits.astype(np.float16))


def lengths(mask: np.ndarray) -> list[int]:
    """Extent of a mask along each axis."""
    axes = set(range(mask.ndim))
    ends = [np.flatnonzero(mask.any(tuple(axes - {a}))) for a in sorted(axes)]
    return [int(np.ptp(e)) + 1 if e.size else 0 for e in ends]


@pytest.mark.parametrize("off", [-1.0, -0.4, 0.4, 1.0])
def test_a_mask_too_large_or_too_small_for_its_box_comes_closer(off):
    """Slopes of 10 logits a radius: ``off`` logits too many move each border by that tenth."""
    logits = 10 * peak(120, 200) + off
    box = Box2D(10, 30, 130, 230)
    result = on_slice(np.pad(logits, 40, "reflect", reflect_type="odd"), -30, -10)
    before, after = result.mask, fit_box(result, box).mask
    tight = [0.96 * n for n in box.shape]
    for was, now, want in zip(lengths(before), lengths(after), tight, strict=True):
        assert now == pytest.approx(was + ON_SLICE * (want - was), abs=3)


@pytest.mark.parametrize("off", [-1.0, 1.0])
def test_a_volume_comes_closer_to_its_3d_box_as_well(off):
    before = in_block(10 * peak(40, 52, 60) + off)
    after = fit_block(before, before.block)
    radius = [np.cbrt(v.mask.mean()) for v in (before, after)]
    touching = np.cbrt((peak(40, 52, 60) > 0.04).mean())
    assert radius[1] == pytest.approx(radius[0] + IN_BLOCK * (touching - radius[0]), abs=0.02)


def test_the_border_moves_no_further_than_a_share_of_what_is_allowed():
    small = np.full((40, 40), -20.0)
    small[18:22, 18:22] = 4.0
    sure = np.full((40, 40), 9.0)
    box = Box2D(0, 0, 40, 40)
    low, high = (ON_SLICE * b for b in BORDERS)
    np.testing.assert_allclose(fit_box(on_slice(small), box).logits, small - low)
    np.testing.assert_allclose(fit_box(on_slice(sure), box).logits, sure - high)


def test_one_axis_of_three_may_be_off():
    """A process of a vertebra is missed: the mask is short along one axis, and stays as thick."""
    logits = np.full((20, 20, 20), -6.0)
    logits[:10] = 0.5
    whole = in_block(logits)
    shifted = fit_block(whole, whole.block)
    assert shifted.logits.max() == pytest.approx((1 - IN_BLOCK) * 0.5)
    np.testing.assert_array_equal(shifted.mask, whole.mask)
    flat = on_slice(logits[:, 0])
    assert fit_box(flat, Box2D(0, 0, 20, 20)).logits.max() == pytest.approx(0.5 - ON_SLICE * -3)


def test_where_nothing_was_found_nothing_appears():
    doubtful = np.full((9, 11), -0.5)
    assert not fit_box(on_slice(doubtful), Box2D(0, 0, 9, 11)).area
    volume = in_block(np.full((5, 6, 7), -0.5))
    assert fit_block(volume, volume.block) is volume
    assert fit_block(NOTHING, NOTHING.block) is NOTHING


@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 40),
    cols=st.integers(1, 40),
    by=st.floats(1, 2),
)
def test_a_larger_box_never_gives_a_smaller_mask(seed, rows, cols, by):
    rng = np.random.default_rng(seed)
    result = on_slice(rng.normal(0, 2, (rows, cols)))
    box = Box2D(0, 0, rows, cols)
    wide = Box2D(0, 0, int(rows * by), int(cols * by))
    assert not (fit_box(result, box).mask & ~fit_box(result, wide).mask).any()


def test_each_part_of_a_slice_is_moved_towards_its_own_box():
    left, right = on_slice(10 * peak(20, 20) + 2), on_slice(10 * peak(20, 20) - 2, 0, 40)
    boxes = Box2D(0, 0, 20, 20), Box2D(0, 40, 20, 60)
    free, tied = PromptedSlice(7, (left, right)), PromptedSlice(7, (left, right), boxes, FIT)
    sides = (slice(0, 20), slice(0, 20)), (slice(0, 20), slice(40, 60))
    before, after = (a.shown.on(Box2D(0, 0, 20, 60)) > 0 for a in (free, tied))
    assert after[sides[0]].sum() < before[sides[0]].sum()
    assert after[sides[1]].sum() > before[sides[1]].sum()
    assert tied.only([1]).shown.mask.sum() == after[sides[1]].sum()
    assert tied.parts == free.parts


def timid(prompt, grey, answer):
    """Sure of the object's core only; of the rest hardly, and rather not."""
    logits = np.where(answer.low_res_logits > 0, -0.5, -8.0)
    size = logits.shape[-1]
    row, col = np.mgrid[:size, :size]
    core = (row - 17) ** 2 + (col - 24) ** 2 < 9
    return changed(answer, low_res_logits=np.where(core, 8.0, logits).astype(np.float32))


def traced(obj: ObjectPrompts, twice: bool = True, model: StubModel | None = None):
    stack = SliceStack(organ_volume(), "axial", Window(-160, 240, "soft-tissue"))
    model = model or StubModel(52, rule=timid, expensive_encode=not twice)
    return Tracer(SliceDecoder(stack, model, EmbeddingStore()), Rules()).trace(obj)


BOXED = ObjectPrompts("organ", boxes=(slice_box(ORGAN, 8),), propagate="off")


def test_a_slice_whose_box_was_drawn_touches_it():
    whole, core = traced(BOXED).slices[8], traced(BOXED, twice=False).slices[8]
    assert core.area < 40
    assert whole.area == pytest.approx(ORGAN[8].sum(), rel=0.05)


def test_of_a_clicked_slice_the_clicks_decide():
    clicked = replace(BOXED, points=(PointPrompt((8, 17, 24)),))
    assert traced(clicked).slices[8].area < 40


def test_the_outline_of_a_3d_box_is_no_box_to_touch():
    block = ObjectPrompts("organ", blocks=(block_of(ORGAN),))
    found = traced(block, model=StubModel(52, rule=timid)).slices
    assert max(result.area for result in found.values()) < 40


def test_a_3d_box_of_one_slice_is_a_box_on_it():
    outline = slice_box(ORGAN, 8).box
    block = Box3D(8, outline.r0, outline.c0, 9, outline.r1, outline.c1)
    alone = traced(ObjectPrompts("organ", blocks=(block,))).slices
    assert list(alone) == [8]
    assert alone[8].area == traced(BOXED).slices[8].area


def test_chains_start_from_what_the_model_said():
    model = StubModel(52, rule=timid)
    traced(replace(BOXED, propagate="auto"), model=model)
    started = next(p.mask for p in model.asked if p.mask is not None)
    assert 0 < np.count_nonzero(started > 0) < 0.2 * ORGAN[8].sum()
