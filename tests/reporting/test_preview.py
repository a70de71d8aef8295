from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.intensity import COLOUR_WINDOW, Window
from sammed.imaging.pictures import PALETTE, colour_of
from sammed.imaging.volume import LabelVolume, Volume
from sammed.prompts import BoxPrompt, ObjectPrompts
from sammed.reporting.preview import PANEL_PX, draw_preview
from tests.phantoms import ORGAN, ORGAN_SHAPE, STRAIGHT, ellipsoid, image_of, in_all_orders

WINDOW = Window(-160, 240, "soft-tissue")
FRONT_LEFT_HIGH = ellipsoid(ORGAN_SHAPE, (13, 8, 42), (2.5, 5, 6))
"""An object in front, on the patient's left, high up."""


def a_volume(mask: np.ndarray = ORGAN) -> Volume:
    return Volume.from_array(image_of(mask), STRAIGHT)


def labels_of(mask: np.ndarray, volume: Volume, value: int = 1, **about: object) -> LabelVolume:
    voxels = np.where(mask, value, 0).astype(np.uint16)
    return LabelVolume(voxels, volume.grid, {value: "organ"}, **about)


def coloured(picture: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """Pixels of exactly that colour above the legend, (row, col) positions."""
    pixels = np.asarray(picture)[:-28]
    return np.argwhere((pixels == colour).all(axis=-1))


def test_three_planes_in_true_proportions():
    volume = a_volume()
    picture = draw_preview(volume, labels_of(ORGAN, volume), WINDOW)
    z, y, x = np.array(ORGAN_SHAPE) * [2.5, 0.8, 0.7]
    widths = [round(PANEL_PX * min(1, across / down)) for across, down in [(x, y), (x, z), (y, z)]]
    assert picture.width == sum(widths) + 4 * 8
    assert picture.mode == "RGB"


def test_the_outline_lies_on_the_organ():
    volume = a_volume()
    picture = draw_preview(volume, labels_of(ORGAN, volume), WINDOW)
    found = coloured(picture, PALETTE[0])
    assert len(found) > 300
    first = found[found[:, 1] < PANEL_PX]
    rows, cols = first[:, 0] - 28, first[:, 1] - 8
    box = Box2D.from_mask(ORGAN[np.argmax(ORGAN.sum(axis=(1, 2)))])
    scale = PANEL_PX / (52 * 0.7)
    assert rows.min() == pytest.approx(box.r0 * 0.8 * scale, abs=5)
    assert rows.max() == pytest.approx(box.r1 * 0.8 * scale, abs=5)
    assert cols.min() == pytest.approx(box.c0 * 0.7 * scale, abs=5)
    assert cols.max() == pytest.approx(box.c1 * 0.7 * scale, abs=5)


def test_radiological_orientation():
    """Superior and anterior up, the patient's left on the right."""
    volume = a_volume(FRONT_LEFT_HIGH)
    picture = draw_preview(volume, labels_of(FRONT_LEFT_HIGH, volume), WINDOW)
    found = coloured(picture, PALETTE[0])
    axial = found[found[:, 1] < 8 + PANEL_PX]
    scale = PANEL_PX / (52 * 0.7)
    axial_height = 40 * 0.8 * scale
    assert axial[:, 0].mean() < 28 + axial_height / 2  # in front: up
    assert axial[:, 1].mean() > 8 + PANEL_PX / 2  # left: on the right
    others = found[found[:, 1] > 8 + PANEL_PX]
    assert others[:, 0].mean() < 28 + PANEL_PX / 2  # high: up


def test_all_48_files_look_alike():
    reference = None
    for volume in list(in_all_orders(image_of(FRONT_LEFT_HIGH), STRAIGHT))[::7]:
        picture = np.array(draw_preview(volume, labels_of(FRONT_LEFT_HIGH, volume), WINDOW))
        picture[8:28] = 0  # captions name the file's own slice
        reference = picture if reference is None else reference
        np.testing.assert_array_equal(picture, reference)


def test_prompt_boxes_are_drawn_on_their_slice():
    volume = a_volume()
    labels = labels_of(ORGAN, volume)
    box = ObjectPrompts(boxes=(BoxPrompt(0, 5, Box2D(2, 3, 30, 40)),))
    with_box = coloured(draw_preview(volume, labels, WINDOW, [box]), (255, 255, 255))
    without = coloured(draw_preview(volume, labels, WINDOW), (255, 255, 255))
    assert len(without) == 0
    scale = PANEL_PX / (52 * 0.7)
    np.testing.assert_allclose(
        with_box.min(axis=0) - [28, 8], [2 * 0.8 * scale, 3 * 0.7 * scale], atol=2
    )
    np.testing.assert_allclose(
        with_box.max(axis=0) - [28, 8], [30 * 0.8 * scale, 40 * 0.7 * scale], atol=3
    )
    block = ObjectPrompts(blocks=(Box3D(2, 3, 4, 15, 30, 40),))
    in_all = coloured(draw_preview(volume, labels, WINDOW, [block]), (255, 255, 255))
    assert len({int(c) // (PANEL_PX + 8) for c in in_all[:, 1]}) == 3


def test_an_empty_label_map_shows_the_middle():
    volume = a_volume()
    picture = draw_preview(volume, labels_of(np.zeros_like(ORGAN), volume), WINDOW)
    assert len(coloured(picture, PALETTE[0])) == 0


def test_a_single_slice_is_one_panel():
    image = Volume.from_array(image_of(ORGAN)[8:9], np.eye(4)[:, [2, 1, 0, 3]])
    picture = draw_preview(image, labels_of(ORGAN[8:9], image), WINDOW)
    assert picture.width == PANEL_PX + 16


@pytest.mark.parametrize("shape", [(1, 1, 9), (4, 1, 1), (1, 1, 1), (1, 6, 1)])
def test_lines_and_points_have_a_preview_too(shape):
    image = Volume.from_array(np.arange(np.prod(shape)).reshape(shape), STRAIGHT)
    labels = labels_of(np.ones(shape, bool), image)
    assert draw_preview(image, labels, WINDOW).width > 8


def test_boxes_smaller_than_a_pixel_of_the_panel_are_drawn():
    image = Volume.from_array(np.zeros((1, 900, 1000)), np.eye(4)[:, [2, 1, 0, 3]])
    box = ObjectPrompts(boxes=(BoxPrompt(0, 0, Box2D(400, 500, 401, 501)),))
    labels = labels_of(np.zeros((1, 900, 1000), bool), image)
    assert len(coloured(draw_preview(image, labels, WINDOW, [box]), (255, 255, 255))) > 0


def test_colour_images_keep_their_colours():
    colour = np.zeros((1, 30, 40, 3), np.uint8)
    colour[..., 0] = 200
    image = Volume.from_array(colour, np.eye(4)[:, [2, 1, 0, 3]])
    picture = draw_preview(image, labels_of(np.zeros((1, 30, 40), bool), image), COLOUR_WINDOW)
    assert picture.getpixel((100, 100)) == (200, 0, 0)


def test_large_labels_have_colours():
    volume = a_volume()
    labels = labels_of(ORGAN, volume, 40_000)
    assert colour_of(labels, 40_000) == PALETTE[(40_000 - 1) % len(PALETTE)]
    assert len(coloured(draw_preview(volume, labels, WINDOW), colour_of(labels, 40_000))) > 100
    own = labels_of(ORGAN, volume, colours={1: (1, 2, 3)})
    assert len(coloured(draw_preview(volume, own, WINDOW), (1, 2, 3))) > 100
