"""The baselines' masks, on the slice's own pixels."""

from __future__ import annotations

import numpy as np
import pytest

from sammed.imaging.boxes import Box2D
from sammed.models import registry
from sammed.models.baselines import LOGIT_LIMIT, VIEW_SIZE, ZOOM
from sammed.models.protocols import ImageModel, ViewBatch, ViewMask, ViewPrompt
from sammed.views.slices import View
from tests.models.networks import ellipse, slice_image

PIXEL_MM = (2.5, 0.8)


def answer(model: ImageModel, image: np.ndarray, view: View, box: Box2D) -> ViewMask:
    embedding = model.encode(ViewBatch(view.render(image, eight_bit=False)[None]))[0]
    return model.decode(embedding, [ViewPrompt(box=view.box(box))])[0]


def segment(
    name: str, image: np.ndarray, box: Box2D, pixel_mm: tuple[float, float] = (0.8, 0.8)
) -> np.ndarray:
    """The mask of a box, (h, w) bool, by way of the view that the engine would take."""
    view = View.zoomed(0, box, ZOOM, pixel_mm, VIEW_SIZE)
    found = np.zeros(image.shape[1:], bool)
    region = view.slice_region(found.shape)
    logits = answer(registry.build(name), image, view, box).low_res_logits[0]
    found[region.slices] = view.to_slice(logits, region) > 0
    return found


def radius(box: Box2D, shape: tuple[int, int]) -> np.ndarray:
    rows, cols = np.mgrid[: shape[0], : shape[1]] + 0.5
    (h, w), (r, c) = box.shape, box.centre
    return np.hypot((rows - r) / (h / 2), (cols - c) / (w / 2))


def boxes() -> list[Box2D]:
    rng = np.random.default_rng(5)
    sides = rng.integers(1, int(VIEW_SIZE / ZOOM), (40, 2)).tolist()
    return [Box2D(11, 7, 11 + h, 7 + w) for h, w in [(1, 1), (1, 300), (2, 3), *sides]]


def test_a_box_comes_back_exactly() -> None:
    for box in boxes():
        shape = (box.r1 + 29, box.c1 + 48)
        found = segment("box", np.zeros((1, *shape), np.float32), box)
        np.testing.assert_array_equal(found, box.mask(shape))


def test_a_box_comes_back_exactly_from_anisotropic_pixels() -> None:
    for box in (Box2D(3, 40, 31, 139), Box2D(10, 8, 90, 19), Box2D(0, 0, 7, 150)):
        found = segment("box", np.zeros((1, 100, 150), np.float32), box, PIXEL_MM)
        np.testing.assert_array_equal(found, box.mask((100, 150)))


def test_an_ellipse_comes_back_but_for_pixels_on_its_outline() -> None:
    for box in boxes():
        if min(box.shape) * VIEW_SIZE < 16 * ZOOM * max(box.shape):
            continue  # thinner than 16 view px: interpolation blunts its ends
        shape = (box.r1 + 29, box.c1 + 48)
        found = segment("ellipse", np.zeros((1, *shape), np.float32), box)
        rho = radius(box, shape)
        off_outline = abs(rho - 1) > 0.02
        np.testing.assert_array_equal(found[off_outline], (rho < 1)[off_outline])


@pytest.mark.parametrize("flip", [False, True])
def test_two_class_finds_the_bright_or_dark_object(flip: bool) -> None:
    image = slice_image()
    found = segment("two_class", 1 - image if flip else image, Box2D(18, 66, 53, 115))
    truth = ellipse()
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.97


def test_two_class_keeps_the_largest_part_and_fills_its_holes() -> None:
    image = np.full((1, 100, 120), 0.2, np.float32)
    image[0, 20:80, 30:70] = 0.8
    image[0, 45:52, 46:53] = 0.2  # a hole
    image[0, 60:66, 80:86] = 0.8  # a speck beside it
    found = segment("two_class", image, Box2D(16, 22, 86, 92))
    expected = np.zeros((100, 120), bool)
    expected[20:80, 30:70] = True
    assert not found[60:66, 80:86].any()
    assert found[45:52, 46:53].all()
    assert (found != expected).sum() <= 4


def test_two_class_answers_with_the_ellipse_where_there_is_no_contrast() -> None:
    box = Box2D(20, 30, 70, 110)
    flat = np.full((1, 100, 150), 0.4, np.float32)
    np.testing.assert_array_equal(segment("two_class", flat, box), segment("ellipse", flat, box))


def test_two_class_stays_in_its_box() -> None:
    image = slice_image()
    box = Box2D(25, 60, 60, 95)  # cuts the object
    assert not (segment("two_class", image, box) & ~box.mask(image.shape[1:])).any()


@pytest.mark.parametrize("name", ["box", "ellipse", "two_class"])
def test_logits_are_distances_and_scores_have_no_opinion(name: str) -> None:
    view = View.whole(0, (90, 130), VIEW_SIZE)
    found = answer(registry.build(name), slice_image(), view, Box2D(20, 70, 50, 110))
    assert found.predicted_iou.tolist() == [1.0]
    assert found.preferred is None
    assert found.present == 1.0
    assert np.abs(found.low_res_logits).max() == LOGIT_LIMIT
    inside = np.count_nonzero(found.low_res_logits > 0)
    assert 0.9 < found.stability[0] < 1
    assert 10_000 < inside < 20_000
