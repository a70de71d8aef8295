"""Factors of shapes for which they are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.intensity import COLOUR_WINDOW, Window
from sammed.imaging.volume import Volume
from sammed.prompts import BoxPrompt, ObjectPrompts, PointPrompt
from sammed.reporting import factors
from sammed.reporting.borders import measure_border

SPACING = (2.5, 0.8, 0.7)
WINDOW = Window(0, 100, "test")


def grid(shape, spacing=(1.0, 1.0, 1.0)):
    middle = [(n - 1) / 2 for n in shape]
    axes = [(np.arange(n) - m) * s for n, m, s in zip(shape, middle, spacing, strict=True)]
    return np.meshgrid(*axes, indexing="ij")


def ball(radius, shape, spacing=(1.0, 1.0, 1.0)):
    return sum(a**2 for a in grid(shape, spacing)) <= radius**2


def volume_of(voxels, spacing=SPACING, **about):
    affine = np.zeros((4, 4))
    affine[:3, :3] = np.array([[0, 0, spacing[2]], [0, spacing[1], 0], [spacing[0], 0, 0]])
    affine[3, 3] = 1
    return Volume.from_array(voxels, affine, **about)


def test_a_ball_is_as_thick_as_its_radius_and_not_thin():
    mask = ball(12, (31, 41, 43), SPACING)
    assert factors.thickness(mask, SPACING) == pytest.approx(12, rel=0.06)
    assert factors.thinness(mask, SPACING) < 0.08
    assert factors.solidity(mask) > 0.9


def test_a_disc_in_a_picture_is_not_thin_for_its_one_slice():
    mask = ball(15, (1, 51, 61))
    shape, mm = factors.shape_of(mask, (5.0, 1.0, 1.0), (1, 51, 61))
    assert shape.ndim == 2
    assert factors.thickness(shape, mm) == pytest.approx(15, rel=0.06)
    assert factors.thinness(shape, mm) < 0.06


def test_a_rod_is_thin_and_its_thickness_is_that_of_its_section():
    _, y, x = grid((101, 31, 31))
    mask = np.pad(y**2 + x**2 <= 36, ((5, 5), (0, 0), (0, 0)))
    mm = (1.0, 1.0, 1.0)
    assert factors.thickness(mask, mm) == pytest.approx(4 / 3 * 6, rel=0.12)
    assert factors.thinness(mask, mm) > 0.4
    assert factors.solidity(mask) > 0.9


@pytest.mark.parametrize(("voxels", "expected"), [(1, 2), (2, 2), (6, 6), (10, 10)])
def test_a_plate_is_as_thick_as_it_is(voxels, expected):
    mask = np.zeros((voxels + 4, 90, 90), bool)
    mask[2:-2, 5:-5, 5:-5] = True
    found = factors.thickness(mask, (1.0, 1.0, 1.0))
    assert found == pytest.approx(expected, abs=1.2)
    assert factors.thinness(mask, (1.0, 1.0, 1.0)) > 0.6


def test_what_the_image_cuts_is_not_thinner_for_it():
    whole = ball(12, (41, 41, 41))
    cut = whole[20:]
    mm = (1.0, 1.0, 1.0)
    assert factors.thickness(cut, mm) == pytest.approx(factors.thickness(whole, mm), rel=0.05)


def test_what_fills_the_image_has_a_thickness():
    assert math.isfinite(factors.thickness(np.ones((4, 5, 6), bool), (1.0, 1.0, 1.0)))


def test_a_shell_is_thin_and_fills_its_hull_as_far_as_its_wall():
    mask = ball(15, (41, 41, 41)) & ~ball(12, (41, 41, 41))
    mm = (1.0, 1.0, 1.0)
    assert factors.solidity(mask) == pytest.approx(1 - (12 / 15) ** 3, rel=0.1)
    assert factors.thinness(mask, mm) > 0.6


def test_boxes_fill_their_hull_and_an_l_does_not():
    mask = np.zeros((8, 20, 20), bool)
    mask[2:6, 5:15, 5:15] = True
    assert factors.solidity(mask) == pytest.approx(1, abs=0.01)
    mask[:, 5:10, 5:10] = False
    assert factors.solidity(mask) == pytest.approx(75 / 87.5, abs=0.06)
    assert factors.solidity(np.ones((1, 1, 1), bool)) == pytest.approx(1)


def test_parts_that_touch_at_a_corner_are_one():
    mask = np.zeros((4, 9, 9), bool)
    mask[1, 1, 1] = mask[2, 2, 2] = mask[2, 7, 7] = True
    assert factors.components(mask) == 2


@pytest.mark.parametrize(("sigma", "width"), [(0, 1.0), (1, 2.6), (1.5, 3.9)])
def test_the_width_of_an_edge_is_that_of_its_blur(sigma, width):
    """Of a Gaussian σ the edge spread function has the width √(2π) σ."""
    mask = ball(20, (1, 81, 81))
    values = ndimage.gaussian_filter(mask * 0.5, (0, sigma, sigma))
    found = measure_border(values, mask, (1.0, 1.0))
    assert found.width == pytest.approx(width, rel=0.2)
    assert found.contrast == pytest.approx(0.5, rel=0.15)


def test_the_edge_is_as_wide_in_pixels_that_are_not_square():
    mask = ball(20, (1, 61, 91), (1.0, 1.0, 0.7))
    values = ndimage.gaussian_filter(mask * 0.5, (0, 1.4 * 0.7, 1.4))
    found = measure_border(values, mask, (1.0, 0.7))
    assert found.width == pytest.approx(1.4 * math.sqrt(2 * math.pi), rel=0.25)


def test_contrast_is_the_step_and_noise_does_not_make_one():
    rng = np.random.default_rng(3)
    mask = np.repeat(ball(18, (1, 81, 81)), 5, axis=0)
    noise = rng.normal(0.3, 0.05, mask.shape)
    seen = measure_border(noise + 0.2 * mask, mask, (1.0, 1.0))
    none = measure_border(noise, mask, (1.0, 1.0))
    assert seen.contrast == pytest.approx(0.2, rel=0.1)
    assert none.contrast < 0.03


def test_an_object_between_dark_and_bright_has_contrast_on_both_sides():
    _, y, _ = grid((1, 81, 81))
    mask = ball(18, (1, 81, 81))
    values = np.where(y > 0, 0.2, 0.8)
    values[mask] = 0.5
    assert measure_border(values, mask, (1.0, 1.0)).contrast == pytest.approx(0.3, rel=0.15)


def test_a_thin_sheet_has_the_contrast_that_it_has():
    mask = np.zeros((1, 60, 60), bool)
    mask[0, 29:31, 5:55] = True
    assert measure_border(mask * 0.4, mask, (1.0, 1.0)).contrast == pytest.approx(0.4, rel=0.15)


def test_what_fills_the_slice_has_no_border():
    assert math.isnan(measure_border(np.ones((2, 9, 9)), np.ones((2, 9, 9), bool), (1, 1)).contrast)


def test_texture_inside_and_round_it():
    rng = np.random.default_rng(5)
    mask = np.repeat(ball(15, (1, 61, 61)), 6, axis=0)
    values = np.where(mask, rng.normal(0.5, 0.02, mask.shape), rng.normal(0.5, 0.08, mask.shape))
    inside, around = factors.textures(values, mask, (1.0, 1.0))
    assert inside == pytest.approx(0.02, rel=0.1)
    assert around == pytest.approx(0.08, rel=0.1)


def test_the_margin_leaves_out_an_axis_of_one_voxel():
    assert factors.margin(Box3D(0, 3, 4, 1, 9, 9), (1, 20, 30)) == 3
    assert factors.margin(Box3D(2, 3, 4, 9, 9, 30), (20, 20, 30)) == 0


def test_looseness_is_what_a_box_holds_beside_the_object():
    mask = np.zeros((9, 20, 20), bool)
    mask[2:6, 5:10, 5:15] = True
    block = Box3D(2, 5, 5, 6, 15, 15)
    assert factors.looseness(ObjectPrompts(blocks=(block,)), mask) == pytest.approx(0.5)
    box = BoxPrompt(0, 3, Box2D(5, 5, 10, 15))
    assert factors.looseness(ObjectPrompts(boxes=(box,)), mask) == 0
    assert math.isnan(factors.looseness(ObjectPrompts(points=(PointPrompt((3, 6, 6)),)), mask))


def test_all_factors_of_an_object_in_a_volume():
    mask = ball(9, (13, 51, 57), SPACING)
    volume = volume_of((mask * 40 + 20).astype(np.float32))
    found = factors.measure(volume, mask, WINDOW, 0)
    voxels = int(mask.sum())
    assert found.voxels == voxels
    assert found.volume_ml == pytest.approx(voxels * math.prod(SPACING) / 1000)
    assert found.slices == mask.any(axis=(1, 2)).sum()
    assert found.contrast == pytest.approx(0.4, rel=0.1)
    assert found.edge_width == pytest.approx(1, abs=0.5)
    assert found.texture == found.texture_around == 0
    assert found.anisotropy == pytest.approx(2.5 / 0.7)
    assert found.pixel_mm == pytest.approx(0.7)
    assert found.thickness == pytest.approx(9 / 0.7, rel=0.15)
    assert found.components == 1
    assert found.margin == factors.margin(Box3D.from_mask(mask), mask.shape)


def test_slices_across_another_axis_are_the_same_object():
    mask = ball(9, (13, 51, 57), SPACING)
    values = (mask * 40 + 20).astype(np.float32)
    one = factors.measure(volume_of(values), mask, WINDOW, 0)
    turned = volume_of(values.transpose(1, 0, 2), (0.8, 2.5, 0.7))
    other = factors.measure(turned, mask.transpose(1, 0, 2), WINDOW, 1)
    for name in factors.NAMES:
        assert getattr(one, name) == pytest.approx(getattr(other, name)), name


def test_of_a_colour_picture_the_strongest_channel_counts():
    mask = ball(15, (1, 61, 61))
    voxels = np.full((1, 61, 61, 3), 100, np.uint8)
    voxels[mask, 1] = 151
    found = factors.measure(volume_of(voxels), mask, COLOUR_WINDOW, 0)
    assert found.contrast == pytest.approx(0.2, rel=0.1)
    assert found.anisotropy == 1


def test_a_single_voxel_has_factors():
    mask = np.zeros((5, 9, 9), bool)
    mask[2, 4, 4] = True
    found = factors.measure(volume_of(mask.astype(np.float32) * 50), mask, WINDOW, 0)
    assert found.voxels == found.slices == found.components == found.solidity == 1
    assert found.thickness > 0
