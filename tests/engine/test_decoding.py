from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sammed.engine.candidates import choose_candidate, mean_candidate
from sammed.engine.decoding import SliceDecoder
from sammed.engine.slice_mask import (
    ClickedPoint,
    SlicePrompt,
    SliceResult,
    overlap,
    painted,
    unite,
)
from sammed.imaging.boxes import Box2D
from sammed.imaging.intensity import Window
from sammed.imaging.volume import Volume
from sammed.models.compact.recipe import RECIPE
from sammed.models.protocols import BOX_ONLY, ViewMask
from sammed.views.embeddings import EmbeddingStore
from sammed.views.slices import OUTSIDE_LOGIT, SliceStack
from tests.phantoms import ORGAN, STRAIGHT, StubModel, changed, dice, image_of, organ_volume

WINDOW = Window(-160, 240, "soft-tissue")
STACK = SliceStack(organ_volume(), "axial", WINDOW)
MIDDLE = Box2D.from_mask(ORGAN[8]).expand(1)


def decoder(model: StubModel | None = None, stack: SliceStack = STACK, **options: object):
    return SliceDecoder(stack, model or StubModel(52), EmbeddingStore(), **options)


def full(result: SliceResult, shape: tuple[int, int] = STACK.shape) -> np.ndarray:
    """The mask on the whole slice."""
    return result.on(Box2D(0, 0, *shape)) > 0


def result_of(mask: np.ndarray, index: int = 0, **measures: object) -> SliceResult:
    return replace(painted(index, mask), **measures)


# -- masks as values -------------------------------------------------------------------------


def test_a_painted_slice_is_what_was_painted():
    mask = np.zeros((7, 11), bool)
    mask[2:5, 3:9] = True
    mask[6, 0] = True
    result = painted(4, mask)
    np.testing.assert_array_equal(full(result, (7, 11)), mask)
    assert (result.index, result.prompt, result.area) == (4, "painted", 19)
    assert result.predicted_iou == result.stability == result.present == 1


def test_the_box_leaves_specks_out():
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:45] = True  # 500 px
    mask[2, 3:12] = True  # 9 px: a speck
    assert result_of(mask).box == Box2D(10, 20, 30, 45)
    mask[3, 3] = True  # 10 px are 2 %
    assert result_of(mask).box == Box2D(2, 3, 30, 45)
    assert result_of(np.zeros((5, 7), bool)).box.is_empty


def test_centroid():
    assert SliceResult(0, Box2D(2, 4, 6, 9), np.full((4, 5), -1, np.float32)).centroid == (4, 6.5)
    mask = np.zeros((7, 11), bool)
    mask[2:5, 3:7] = True
    assert result_of(mask).centroid == (3.0, 4.5)


def test_logits_on_another_region():
    logits = np.arange(12, dtype=np.float32).reshape(3, 4) - 5
    result = SliceResult(0, Box2D(2, 3, 5, 7), logits)
    wide = result.on(Box2D(0, 0, 7, 11))
    np.testing.assert_array_equal(wide[2:5, 3:7], logits)
    assert (np.delete(wide.ravel(), np.flatnonzero(wide != OUTSIDE_LOGIT)) == OUTSIDE_LOGIT).all()
    np.testing.assert_array_equal(result.on(Box2D(3, 5, 9, 6))[:2, 0], logits[1:, 2])
    assert (result.on(Box2D(10, 10, 12, 13)) == OUTSIDE_LOGIT).all()


def test_overlap_of_masks_in_different_regions():
    a, b = np.zeros((2, 20, 30), bool)
    a[2:12, 3:13] = True  # 100 px
    b[7:12, 8:28] = True  # 100 px, 25 in common
    assert overlap(result_of(a), result_of(b)) == (25 / 175, 0.25)
    small = np.zeros_like(a)
    small[3:5, 4:6] = True
    assert overlap(result_of(a), result_of(small)) == (0.04, 1.0)
    assert overlap(result_of(a), result_of(np.zeros_like(a))) == (0.0, 0.0)


def test_parts_are_united_and_the_worst_part_speaks_for_them():
    a, b = np.zeros((2, 20, 30), bool)
    a[2:12, 3:13] = True
    b[15:19, 20:28] = True
    parts = [result_of(a, 3, predicted_iou=0.9), result_of(b, 3, predicted_iou=0.4, present=0.2)]
    joined = unite(parts)
    np.testing.assert_array_equal(full(joined, (20, 30)), a | b)
    assert (joined.predicted_iou, joined.present) == (0.4, 1.0)
    assert unite(parts[:1]) is parts[0]


# -- choosing among candidates ---------------------------------------------------------------


def candidates(*ious: float, preferred: int | None = None) -> ViewMask:
    """Masks that cover 1, 2, 3, ... of 8 columns."""
    logits = np.full((len(ious), 8, 8), -4, np.float32)
    for n in range(len(ious)):
        logits[n, :, : n + 1] = 4
    return ViewMask(logits, np.array(ious, np.float32), preferred=preferred)


def test_the_highest_predicted_iou_or_the_models_preference():
    assert choose_candidate(candidates(0.5, 0.9, 0.7), None) == 1
    assert choose_candidate(candidates(0.5, 0.9, 0.7, preferred=2), None) == 2


def test_agreement_with_the_expected_mask_counts_half():
    expected = np.full((8, 8), -4, np.float32)
    expected[:, :3] = 4
    # candidate 2 agrees fully, candidate 1 by 2/3
    assert choose_candidate(candidates(0.1, 0.8, 0.6), expected) == 1
    assert choose_candidate(candidates(0.1, 0.8, 0.65), expected) == 2
    assert choose_candidate(candidates(0.3), expected) == 0
    assert choose_candidate(candidates(0.1, 0.8, 0.75), expected[:4, :4]) == 1


def test_in_the_mean_a_candidate_counts_by_its_predicted_iou():
    # the second counts a sixteenth as much
    mean = mean_candidate(candidates(0.8, 0.4), RECIPE.mean)
    assert mean.low_res_logits.shape == (1, 8, 8)
    np.testing.assert_allclose(mean.low_res_logits[0, 0, :3], [4, (-64 + 4) / 17, -4], rtol=1e-6)
    assert mean.predicted_iou[0] == pytest.approx((16 * 0.8 + 0.4) / 17)
    assert mean.low_res_logits.dtype == mean.predicted_iou.dtype == np.float32
    assert np.isfinite(mean_candidate(candidates(0.0, 0.0), RECIPE.mean).low_res_logits).all()


@pytest.mark.parametrize("concurs", [True, False])
def test_of_a_box_without_a_mask_prompt_candidates_that_concur_are_averaged(concurs):
    def two(prompt, grey, answer):
        nothing = np.full_like(answer.low_res_logits, -4)
        both = np.concatenate((answer.low_res_logits, nothing))
        return replace(answer, low_res_logits=both, predicted_iou=np.array([0.9, 0.9]))

    asking = decoder(StubModel(52, rule=two, candidates="same object" if concurs else "parts"))
    alone = asking.decode(8, [SlicePrompt(MIDDLE)])[0]
    assert alone.logits.max() == pytest.approx(2.0 if concurs else 8.0)
    told = asking.decode(8, [SlicePrompt(MIDDLE, prior=alone)])[0]
    assert told.logits.max() == pytest.approx(8.0)
    points = (ClickedPoint(17, 24),)
    pointed = asking.decode(8, [SlicePrompt(None, points)])[0]
    assert pointed.logits.max() == pytest.approx(8.0)
    assert dice(full(alone), ORGAN[8]) > 0.95


def test_stability_is_of_the_chosen_candidate():
    soft = np.full((1, 8, 8), -4, np.float32)
    soft[0, :, :2], soft[0, :, 2:4] = 4, 0.5
    assert ViewMask(soft, np.ones(1, np.float32)).stability[0] == 0.5


# -- prompts on slices -----------------------------------------------------------------------


def test_a_box_gives_the_object_at_its_own_pixels():
    for zoom in (None, 1.5, 3.0):
        (result,) = decoder(StubModel(64), zoom=zoom).decode(8, [SlicePrompt(MIDDLE)])
        assert dice(full(result), ORGAN[8]) > 0.97
        assert (result.index, result.prompt) == (8, "box")
        assert result.predicted_iou == pytest.approx(0.9)
        assert np.abs(result.logits).max() <= -OUTSIDE_LOGIT


def test_at_the_pixels_own_size_nothing_is_lost():
    (result,) = decoder(StubModel(52), zoom=None).decode(8, [SlicePrompt(MIDDLE)])
    np.testing.assert_array_equal(full(result), ORGAN[8])


@pytest.mark.parametrize("plane", ["coronal", "sagittal"])
def test_in_every_plane(plane):
    stack = SliceStack(organ_volume(), plane, WINDOW)
    index = {"coronal": 17, "sagittal": 24}[plane]
    section = np.take(ORGAN, index, axis=stack.axis)
    box = Box2D.from_mask(section).expand(1).clip(stack.shape)
    (result,) = decoder(StubModel(128), stack, zoom=1.5).decode(index, [SlicePrompt(box)])
    assert dice(full(result, stack.shape), section) > 0.95


def test_a_whole_slice_is_embedded_once_for_all_prompts():
    model = StubModel(52)
    asker = decoder(model)
    boxes = [MIDDLE, Box2D(1, 2, 9, 9), MIDDLE.expand(3), MIDDLE]
    answers = asker.decode(8, [SlicePrompt(b) for b in boxes])
    asker.decode(8, [SlicePrompt(MIDDLE)])
    asker.decode(9, [SlicePrompt(MIDDLE)])
    assert asker.counts == {"encode": 2, "decode": 6}
    assert (model.encoded, model.decoded) == (2, 6)
    assert [a.area for a in answers] == [ORGAN[8].sum(), 0, ORGAN[8].sum(), ORGAN[8].sum()]
    assert min(asker.seconds[s] for s in ("render", "encode", "decode", "resize")) > 0


def test_zoomed_views_are_shared_by_prompts_of_one_box():
    model = StubModel(64)
    asker = decoder(model, zoom=1.5)
    point = ClickedPoint(17, 24)
    answers = asker.decode(
        8,
        [SlicePrompt(MIDDLE), SlicePrompt(MIDDLE.expand(4)), SlicePrompt(MIDDLE, (point,))],
    )
    assert asker.counts == {"encode": 2, "decode": 3}
    assert [dice(full(a), ORGAN[8]) > 0.95 for a in answers] == [True] * 3


def test_every_slice_is_asked_about_before_it_is_decoded():
    class StopError(Exception):
        pass

    def stop() -> None:
        raise StopError

    model = StubModel(52)
    asker = decoder(model).checked(stop)
    with pytest.raises(StopError):
        asker.decode(8, [SlicePrompt(MIDDLE)])
    assert (model.encoded, model.decoded) == (0, 0)


def test_what_the_model_is_given():
    model = StubModel(52)
    asker = decoder(model)
    prior = painted(7, ORGAN[7])
    asked = SlicePrompt(MIDDLE, (ClickedPoint(3, 4), ClickedPoint(9, 10, False)), prior)
    asker.decode(8, [asked])
    (seen,) = model.asked
    np.testing.assert_allclose(seen.box, MIDDLE.as_array())
    np.testing.assert_allclose(seen.points, [[3.5, 4.5], [9.5, 10.5]])
    assert seen.positive.tolist() == [True, False]
    assert seen.mask is not None
    np.testing.assert_array_equal(seen.mask[:40] > 0, ORGAN[7])
    assert (seen.mask[40:] == OUTSIDE_LOGIT).all()


def test_a_model_is_given_only_what_it_knows():
    model = StubModel(52, prompts=BOX_ONLY)
    asked = SlicePrompt(MIDDLE, (ClickedPoint(3, 4),), painted(7, ORGAN[7]))
    decoder(model).decode(8, [asked])
    assert model.asked[0].kinds == {"box"}
    knows_masks = StubModel(52, prompts=frozenset({"box", "mask"}))
    decoder(knows_masks).decode(8, [asked])
    assert knows_masks.asked[0].kinds == {"box", "mask"}


def test_the_view_holds_the_box_and_the_positive_points():
    asker = decoder(StubModel(64), zoom=1.5)
    far = ClickedPoint(2, 50)
    view = asker.view(8, SlicePrompt(MIDDLE, (far, ClickedPoint(39, 0, False))))
    assert view == asker.view(8, SlicePrompt(MIDDLE.union(Box2D(2, 50, 3, 51))))
    prior = painted(8, ORGAN[8])
    assert asker.view(8, SlicePrompt(prior=prior)) == asker.view(8, SlicePrompt(prior.box))
    whole = decoder(StubModel(64)).view(8, SlicePrompt(MIDDLE))
    assert whole.rect == (0, 0, 40, 52)


@pytest.mark.parametrize("zoom", [None, 1.5])
def test_points_alone_find_the_object(zoom):
    asker = decoder(StubModel(64), zoom=zoom)
    prompt = SlicePrompt(points=(ClickedPoint(18, 22),), name="points")
    (result,) = asker.decode(8, [prompt])
    assert dice(full(result), ORGAN[8]) > 0.95
    assert result.prompt == "points"


def test_points_find_small_objects_in_large_slices():
    mask = np.zeros((1, 300, 320), bool)
    rows, cols = np.mgrid[:300, :320]
    mask[0] = np.hypot(rows - 200, cols - 90) < 9
    volume = Volume.from_array(image_of(mask), STRAIGHT)
    stack = SliceStack(volume, "axial", WINDOW)
    asker = decoder(StubModel(64), stack, zoom=1.5)
    (result,) = asker.decode(0, [SlicePrompt(points=(ClickedPoint(198, 92),))])
    assert dice(full(result, stack.shape), mask[0]) > 0.93


def test_points_beside_every_object_find_nothing():
    (result,) = decoder(StubModel(64), zoom=1.5).decode(
        8, [SlicePrompt(points=(ClickedPoint(1, 1),), name="points")]
    )
    assert result.area == 0
    assert result.prompt == "points"


def test_measures_come_from_the_chosen_candidate():
    def three(prompt, grey, mask):
        logits = np.concatenate([np.full_like(mask.low_res_logits, -8), mask.low_res_logits])
        return changed(mask, low_res_logits=logits, predicted_iou=np.array([0.2, 0.7]), present=0.6)

    (result,) = decoder(StubModel(52, rule=three)).decode(8, [SlicePrompt(MIDDLE)])
    assert (result.predicted_iou, result.present) == (0.7, 0.6)
    np.testing.assert_array_equal(full(result), ORGAN[8])


def test_the_intensity_inside_a_mask():
    asker = decoder()
    values = STACK.image(8)[0][ORGAN[8]]
    mean, deviation = asker.intensity(painted(8, ORGAN[8]))
    assert (mean, deviation) == pytest.approx((values.mean(), values.std()))
    assert asker.intensity(painted(8, np.zeros(STACK.shape, bool))) == (0, 0)


def test_nothing_found_is_an_empty_result():
    (result,) = decoder().decode(0, [SlicePrompt(MIDDLE)])
    assert result.area == 0
    assert result.box.is_empty
    assert result.on(Box2D(0, 0, 5, 5)).max() < 0
