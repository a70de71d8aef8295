from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from segment_anything.utils.transforms import ResizeLongestSide
from torch.nn import functional

from sammed.errors import InputError
from sammed.imaging.boxes import Box2D
from sammed.imaging.intensity import Window
from sammed.imaging.volume import Volume
from sammed.models.protocols import ModelSpec
from sammed.views.slices import OUTSIDE_LOGIT, SliceStack, View, choose_plane, render_views
from tests.phantoms import SHAPE, STRAIGHT, affine_of

VOXELS = np.random.default_rng(2).integers(-200, 300, SHAPE).astype(np.int16)
VOLUME = Volume.from_array(VOXELS, STRAIGHT)
WINDOW = Window(-160, 240, "soft-tissue")
SPEC = ModelSpec("stub", 32, 32)


def smooth(shape: tuple[int, int]) -> np.ndarray:
    """A slowly varying image, (1, h, w) in [0.15, 0.85]."""
    rows, cols = np.mgrid[: shape[0], : shape[1]] + 0.5
    waves = np.sin(rows / shape[0] * 5) * np.cos(cols / shape[1] * 4 + 1)
    return (0.5 + 0.35 * waves)[None].astype(np.float32)


# -- planes and slices -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plane", "axis", "shape", "pixel_mm", "slice_mm"),
    [
        ("axial", 0, (7, 11), (0.8, 0.7), 2.5),
        ("coronal", 1, (5, 11), (2.5, 0.7), 0.8),
        ("sagittal", 2, (5, 7), (2.5, 0.8), 0.7),
    ],
)
def test_a_stack_in_each_plane(plane, axis, shape, pixel_mm, slice_mm):
    stack = SliceStack(VOLUME, plane, WINDOW)
    assert (len(stack), stack.shape, stack.axis) == (SHAPE[axis], shape, axis)
    assert stack.pixel_mm == pytest.approx(pixel_mm)
    assert stack.slice_mm == pytest.approx(slice_mm)
    for index in range(len(stack)):
        expected = WINDOW.apply(np.take(VOXELS, index, axis=axis))
        np.testing.assert_array_equal(stack.image(index), expected[None])
        assert stack.image(index) is stack.image(index)


def test_a_stack_forgets_old_slices_and_renders_them_alike_again():
    stack = SliceStack(VOLUME, "sagittal", WINDOW)
    first = stack.image(0).copy()
    for index in range(len(stack)):
        stack.image(index)
    assert 0 not in stack._images
    assert len(stack._images) == stack.KEEP
    np.testing.assert_array_equal(stack.image(0), first)


def test_colour_slices_have_three_channels():
    colour = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3)).astype(np.uint8)
    stack = SliceStack(Volume.from_array(colour, STRAIGHT), "coronal", Window(0, 255, "colour"))
    assert stack.image(3).shape == (3, 5, 11)
    np.testing.assert_allclose(stack.image(3)[1], colour[:, 3, :, 1] / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("spacing", "shape", "plane"),
    [
        ((2.5, 0.8, 0.7), SHAPE, "axial"),
        ((0.8, 2.5, 0.7), SHAPE, "coronal"),
        ((0.8, 0.7, 2.5), SHAPE, "sagittal"),
        ((1.0, 1.1, 0.9), SHAPE, "axial"),
        ((1.0, 1.0, 1.4), SHAPE, "axial"),
        ((1.0, 1.0, 1.6), SHAPE, "sagittal"),
        ((9.0, 1.0, 1.0), (5, 1, 11), "coronal"),
        ((1.0, 1.0, 1.0), (5, 7, 1), "sagittal"),
        ((1.0, 1.0, 1.0), (1, 7, 11), "axial"),
    ],
)
def test_auto_takes_the_thick_slices(spacing, shape, plane):
    volume = Volume.from_array(np.zeros(shape), affine_of(spacing))
    assert choose_plane("auto", volume) == plane
    assert choose_plane("coronal", volume) == "coronal"


def test_an_unknown_plane_is_named():
    with pytest.raises(InputError, match="unknown plane 'axal'; expected auto, all, axial"):
        choose_plane("axal", VOLUME)


# -- whole slices, as segment-anything sees them ---------------------------------------------


@pytest.mark.parametrize("shape", [(90, 130), (130, 90), (37, 37), (512, 333), (1, 40), (700, 3)])
@pytest.mark.parametrize("size", [256, 1024])
def test_whole_slices_equal_segment_anythings_to_the_bit(shape, size):
    if shape[0] * shape[1] > 10**5 and size == 1024:
        size = 300
    image = np.random.default_rng(4).random((3, *shape)).astype(np.float32)
    view = View.whole(3, shape, size)
    seen = view.render(image, eight_bit=True)
    levels = np.rint(image * 255).astype(np.uint8).transpose(1, 2, 0)
    expected = ResizeLongestSide(size).apply_image(levels)
    assert view.extent == ResizeLongestSide.get_preprocess_shape(*shape, size)
    assert seen.dtype == np.float32
    np.testing.assert_array_equal(np.rint(seen * 255).astype(int).transpose(1, 2, 0), expected)
    np.testing.assert_allclose(seen.transpose(1, 2, 0), expected / 255, atol=1e-7)


@pytest.mark.parametrize("shape", [(90, 130), (130, 90), (300, 41), (64, 64)])
def test_float_rendering_equals_pil_in_float(shape):
    image = np.random.default_rng(5).random((1, *shape)).astype(np.float32)
    for size in (50, 64, 200):
        view = View.whole(0, shape, size)
        expected = Image.fromarray(image[0]).resize(view.extent[::-1], Image.Resampling.BILINEAR)
        seen = view.render(image, eight_bit=False)[0]
        inner = np.s_[4:-4, 4:-4]  # at the border PIL stretches the image, a view is 0 outside it
        np.testing.assert_allclose(seen[inner], np.asarray(expected)[inner], atol=2e-6)


def test_the_prompt_lands_where_the_pixel_lands():
    view = View.whole(0, (90, 130), 256)
    box = Box2D(20, 70, 50, 110)
    scaled = ResizeLongestSide(256).apply_boxes(np.array([[70, 20, 110, 50]]), (90, 130))
    np.testing.assert_allclose(view.box(box), scaled.ravel()[[1, 0, 3, 2]], rtol=1e-6)
    assert view.box(box).dtype == np.float32
    zoomed = View(0, (10.0, 20.0, 30.0, 60.0), (40, 40), 40)
    np.testing.assert_allclose(zoomed.box(Box2D(10, 20, 20, 40)), [0, 0, 20, 20])
    np.testing.assert_allclose(zoomed.points(np.array([[30, 60], [10.5, 21]])), [[40, 40], [1, 1]])


@pytest.mark.parametrize(("shape", "size", "m"), [((90, 130), 256, 64), ((301, 120), 128, 32)])
def test_the_way_back_equals_segment_anythings(shape, size, m):
    logits = np.random.default_rng(6).normal(0, 1, (m, m)).astype(np.float32)
    view = View.whole(0, shape, size)
    square = functional.interpolate(
        torch.from_numpy(logits)[None, None], (size, size), mode="bilinear", align_corners=False
    )
    cropped = square[..., : view.extent[0], : view.extent[1]]
    expected = functional.interpolate(cropped, shape, mode="bilinear", align_corners=False)
    back = view.to_slice(logits, view.slice_region(shape))
    np.testing.assert_allclose(back, expected[0, 0].numpy(), atol=1e-5)


def test_the_way_back_of_a_part_is_the_part_of_the_way_back():
    logits = np.random.default_rng(6).normal(0, 4, (32, 32)).astype(np.float32)
    view = View.whole(0, (90, 130), 128)
    full = view.to_slice(logits, view.slice_region((90, 130)))
    part = Box2D(11, 22, 57, 101)
    np.testing.assert_allclose(view.to_slice(logits, part), full[part.slices], atol=1e-5)


def test_masks_as_large_as_the_view_are_not_blurred_twice():
    view = View.whole(0, (40, 64), 64)
    logits = np.random.default_rng(6).normal(0, 4, (64, 64)).astype(np.float32)
    np.testing.assert_array_equal(view.to_slice(logits, Box2D(0, 0, 40, 64)), logits[:40])


@pytest.mark.parametrize(
    "view",
    [
        View.whole(0, (90, 130), 256),
        View.zoomed(0, Box2D(20, 30, 50, 70), 2.0, (1.0, 0.8), 256),
        View.zoomed(0, Box2D(70, 100, 90, 130), 3.0, (0.7, 1.0), 256),
    ],
)
def test_what_lies_above_a_level_is_found_in_the_smallest_region(view: View) -> None:
    logits = np.full((64, 64), -9.0, np.float32)
    logits[25:33, 20:29] = np.linspace(-8, 7, 72, dtype=np.float32).reshape(8, 9)
    whole = view.slice_region((90, 130))
    part = view.reach(Box2D.from_mask(logits > -6), whole, 64)
    found = np.full((90, 130), -9.0, np.float32)
    found[part.slices] = view.to_slice(logits, part)
    expected = np.full((90, 130), -9.0, np.float32)
    expected[whole.slices] = view.to_slice(logits, whole)
    assert ((found > -6) == (expected > -6)).all()
    np.testing.assert_allclose(found[expected > -6], expected[expected > -6], atol=1e-5)
    assert 0 < part.area < 0.5 * whole.area
    assert view.reach(Box2D(0, 0, 0, 0), whole, 64).is_empty


# -- zoomed views ----------------------------------------------------------------------------


def test_a_zoomed_view_is_square_in_mm_and_centred_on_the_box():
    box = Box2D(20, 30, 60, 50)
    view = View.zoomed(4, box, 1.5, (0.8, 2.0), 128)
    r0, c0, r1, c1 = view.rect
    assert ((r0 + r1) / 2, (c0 + c1) / 2) == box.centre
    assert (r1 - r0) * 0.8 == pytest.approx((c1 - c0) * 2.0)
    assert (c1 - c0) * 2.0 == pytest.approx(1.5 * 40)  # the columns are longer: 20 px of 2 mm
    assert view.extent == (128, 128)
    assert view.scale[0] / 0.8 == pytest.approx(view.scale[1] / 2.0)


def test_a_tiny_box_is_not_magnified_without_end():
    view = View.zoomed(0, Box2D(5, 5, 6, 6), 1.5, (0.8, 0.7), 128)
    assert (view.rect[3] - view.rect[1]) == pytest.approx(16)


def test_a_disc_in_mm_is_round_in_the_view():
    rows, cols = np.mgrid[:120, :48] + 0.5
    disc = ((rows - 60) * 0.4) ** 2 + ((cols - 24) * 1.0) ** 2 < 15**2
    view = View.zoomed(0, Box2D.from_mask(disc), 1.5, (0.4, 1.0), 128)
    seen = view.render(disc[None].astype(np.float32), eight_bit=False)[0] > 0.5
    height, width = Box2D.from_mask(seen).shape
    assert height == pytest.approx(128 / 1.5, abs=2)
    assert width == pytest.approx(height, abs=3)  # a pixel of 1 mm is 2.8 px wide in the view


def test_a_needle_of_a_slice_still_has_a_view():
    assert View.whole(0, (700, 1), 256).extent == (256, 1)


def test_outside_the_slice_is_zero():
    image = np.ones((1, 30, 40), np.float32)
    view = View(0, (-10.0, -20.0, 30.0, 60.0), (80, 80), 80)
    seen = view.render(image, eight_bit=False)[0]
    rows = -10 + (np.arange(80) + 0.5) * 0.5
    cols = -20 + (np.arange(80) + 0.5) * 1.0
    outside = ((rows < -0.5) | (rows > 30.5))[:, None] | ((cols < -0.5) | (cols > 40.5))
    inside = ((rows > 0.5) & (rows < 29.5))[:, None] & ((cols > 0.5) & (cols < 39.5))
    assert (seen[outside] == 0).all()
    np.testing.assert_allclose(seen[inside], 1, atol=1e-6)


def test_a_view_beside_the_slice_is_black_and_gives_nothing_back():
    view = View(0, (100.0, 100.0, 140.0, 140.0), (32, 32), 32)
    assert (view.render(np.ones((1, 30, 40), np.float32), eight_bit=False) == 0).all()
    assert view.slice_region((30, 40)).is_empty


def test_eight_bit_views_have_256_levels():
    view = View(0, (2.0, 3.0, 22.5, 29.0), (64, 64), 64)
    seen = view.render(smooth((30, 40)), eight_bit=True)
    np.testing.assert_allclose(seen * 255, np.rint(seen * 255), atol=1e-4)
    assert np.abs(seen - view.render(smooth((30, 40)), eight_bit=False)).max() <= 0.5 / 255 + 1e-6


@given(st.floats(0, 60), st.floats(0, 70), st.floats(8, 80), st.floats(8, 80))
def test_the_region_holds_the_pixels_whose_centres_are_in_the_view(r0, c0, height, width):
    view = View(0, (r0, c0, r0 + height, c0 + width), (32, 32), 32)
    region = view.slice_region((50, 60))
    rows, cols = np.arange(50) + 0.5, np.arange(60) + 0.5
    inside = ((rows >= r0) & (rows < r0 + height))[:, None] & ((cols >= c0) & (cols < c0 + width))
    np.testing.assert_array_equal(region.mask((50, 60)), inside)


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.7, 2.6])
@pytest.mark.parametrize("m", [128, 64])
def test_there_and_back_on_a_smooth_image(factor, m):
    """What a view shows of a smooth image, taken as logits, comes back to its own pixels."""
    shape = (70, 90)
    image = smooth(shape)
    side = 128 / factor
    view = View(0, (5.25, 8.75, 5.25 + side, 8.75 + side), (128, 128), 128)
    seen = view.render(image, eight_bit=False)[0]
    logits = seen.reshape(m, 128 // m, m, 128 // m).mean(axis=(1, 3))
    region = view.slice_region(shape)
    back = view.to_slice(logits.astype(np.float32), region)
    inner = region.expand(-4).intersection(Box2D(4, 4, 66, 86))
    part = np.s_[
        inner.r0 - region.r0 : inner.r1 - region.r0, inner.c0 - region.c0 : inner.c1 - region.c0
    ]
    assert np.abs(back[part] - image[0][inner.slices]).max() < 0.012


@pytest.mark.parametrize(
    "view",
    [
        View.whole(0, (50, 70), 64),
        View.zoomed(0, Box2D(12, 20, 40, 55), 1.5, (0.8, 0.7), 64),
        View.zoomed(0, Box2D(0, 0, 30, 40), 2.0, (0.8, 0.7), 64),
    ],
)
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("m", [64, 32])
def test_a_mask_prompt_lies_where_its_pixels_lie(view, m, mirrored):
    """A mask on slice pixels, as a prompt of a view and back, is the mask, but for its edge."""
    view = replace(view, mirrored=mirrored)
    shape = (50, 70)
    rows, cols = np.mgrid[:50, :70] + 0.5
    distance = 12 - np.hypot(rows - 26, (cols - 37) * 0.8)
    region = Box2D(8, 14, 46, 61)
    logits = np.clip(distance, -6, 6).astype(np.float32)[region.slices]
    prompt = view.mask_prompt(logits, region, m)
    assert prompt.shape == (m, m)
    assert prompt.min() >= OUTSIDE_LOGIT
    seen = view.slice_region(shape)
    back = view.to_slice(prompt, seen) > 0
    wanted = (distance > 0)[seen.slices]
    sure = (np.abs(distance) > 1.5)[seen.slices]
    np.testing.assert_array_equal(back[sure], wanted[sure])


MIRRORS = [
    View.whole(0, (50, 70), 64),
    View.whole(0, (70, 50), 64),
    View.zoomed(0, Box2D(12, 20, 40, 55), 1.5, (0.8, 0.7), 64),
]


@pytest.mark.parametrize("plain", MIRRORS)
@pytest.mark.parametrize("eight_bit", [False, True])
def test_in_a_mirror_left_and_right_are_exchanged(plain, eight_bit):
    view = replace(plain, mirrored=True)
    image = smooth((70, 70))
    shown = plain.render(image, eight_bit)
    np.testing.assert_array_equal(view.render(image, eight_bit), shown[..., ::-1])
    r0, c0, r1, c1 = plain.box(Box2D(15, 22, 30, 31))
    width = plain.extent[1]
    np.testing.assert_allclose(
        view.box(Box2D(15, 22, 30, 31)), (r0, width - c1, r1, width - c0), atol=1e-4
    )
    (row, col), (there, across) = (v.points(np.array([[20.5, 24.5]]))[0] for v in (plain, view))
    assert (row, col + across) == pytest.approx((there, width))


@pytest.mark.parametrize("plain", MIRRORS)
@pytest.mark.parametrize("m", [64, 32])
def test_a_mirrored_answer_is_brought_back_as_the_plain_one(plain, m):
    """What the model finds in a mirror lies where it lies in the slice; so do mask prompts."""
    view = replace(plain, mirrored=True)
    shape = (50, 70) if plain.extent[0] <= plain.extent[1] else (70, 50)
    rows, cols = np.mgrid[: shape[0], : shape[1]] + 0.5
    logits = (8 - np.hypot(rows - 24, (cols - 30) * 0.6)).astype(np.float32)
    region = Box2D(0, 0, *shape)
    prompts = [v.mask_prompt(logits, region, m) for v in (plain, view)]
    seen = plain.slice_region(shape)
    assert view.slice_region(shape) == seen
    here, there = (v.to_slice(p, seen) for v, p in zip((plain, view), prompts, strict=True))
    inner = np.s_[2:-2, 2:-2]
    np.testing.assert_allclose(there[inner], here[inner], atol=0.12)
    cells = Box2D.from_mask(prompts[1] > 0)
    found = view.reach(cells, seen, m)
    assert found.intersection(seen) == found
    assert not (there[(here > 0) & ~found.mask(shape)[seen.slices]]).any()


def test_a_mask_prompt_is_absent_outside_its_region():
    view = View.zoomed(0, Box2D(12, 20, 40, 55), 1.5, (1, 1), 64)
    region = Box2D(20, 30, 28, 40)
    prompt = view.mask_prompt(np.full(region.shape, 5, np.float32), region, 64)
    box = view.box(region)
    grid = np.arange(64) + 0.5
    far = (grid < box[0] - 3) | (grid > box[2] + 3)
    np.testing.assert_array_equal(prompt[far], OUTSIDE_LOGIT)
    near = (grid > box[0] + 3) & (grid < box[2] - 3)
    across = (grid > box[1] + 3) & (grid < box[3] - 3)
    np.testing.assert_allclose(prompt[np.ix_(near, across)], 5, atol=1e-4)


# -- batches ---------------------------------------------------------------------------------


def test_views_are_rendered_in_order_with_their_neighbours():
    stack = SliceStack(VOLUME, "axial", WINDOW)
    views = [View.whole(i, stack.shape, 32) for i in (0, 4, 2)]
    plain = render_views(stack, views, SPEC)
    assert len(plain) == 3
    assert plain.pixels.shape == (3, 1, 20, 32)
    assert plain.neighbours is None
    deep = render_views(stack, views, ModelSpec("stub", 32, 32, context=2))
    np.testing.assert_array_equal(deep.pixels, plain.pixels)
    assert deep.neighbours is not None
    assert deep.neighbours.shape == (3, 4, 20, 32)
    wanted = {0: [0, 0, 1, 2], 4: [2, 3, 4, 4], 2: [0, 1, 3, 4]}
    for row, view in zip(deep.neighbours, views, strict=True):
        for seen, index in zip(row, wanted[view.index], strict=True):
            there = View.whole(index, stack.shape, 32).render(stack.image(index), False)[0]
            np.testing.assert_array_equal(seen, there)


def test_neighbours_of_a_colour_slice_are_grey():
    colour = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3)).astype(np.uint8)
    stack = SliceStack(Volume.from_array(colour, STRAIGHT), "axial", Window(0, 255, "colour"))
    batch = render_views(stack, [View.whole(1, stack.shape, 11)], ModelSpec("s", 11, 11, context=1))
    assert batch.pixels.shape == (1, 3, 7, 11)
    assert batch.neighbours is not None
    np.testing.assert_allclose(batch.neighbours[0, 0], colour[0].mean(-1) / 255, atol=1e-6)
