"""Planes as pictures: proportions, directions, labels; and how volumes show themselves."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sammed.errors import LabelError
from sammed.imaging.html import PANEL_PX
from sammed.imaging.intensity import Window
from sammed.imaging.pictures import (
    CAPTION_PX,
    GAP_PX,
    LETTER_COLOUR,
    PALETTE,
    Scene,
    draw_panel,
)
from sammed.imaging.volume import LabelVolume, Volume
from tests.phantoms import (
    ORGAN,
    ORGAN_SHAPE,
    SHAPE,
    STRAIGHT,
    ellipsoid,
    image_of,
    in_all_orders,
    organ_volume,
)

VOLUME = organ_volume()
FRONT_LEFT_HIGH = ellipsoid(ORGAN_SHAPE, (13, 8, 42), (2.5, 5, 6))


def labels_of(mask: np.ndarray, volume: Volume = VOLUME, **about: object) -> LabelVolume:
    return LabelVolume(mask.astype(np.uint8), volume.grid, {1: "a <b>"}, **about)


def shown(thing: Volume | LabelVolume) -> Image.Image:
    html = thing._repr_html_()
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


def coloured(picture: Image.Image, colour: tuple[int, int, int], tolerance: int = 0) -> np.ndarray:
    """Positions (row, col) of that colour."""
    apart = np.abs(np.asarray(picture, int) - colour)
    return np.argwhere((apart <= tolerance).all(axis=-1))


def letters_on(panel: Image.Image) -> np.ndarray:
    """Positions (row, col) of their strokes, which are drawn softly."""
    return coloured(panel, LETTER_COLOUR, 60)


# -- panels ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axis", "rows_up", "size_mm"),
    [(0, False, (32.0, 36.4)), (1, True, (42.5, 36.4)), (2, True, (42.5, 32.0))],
)
def test_a_plane_has_the_proportions_of_the_patient(axis, rows_up, size_mm):
    scene = Scene(labels=labels_of(FRONT_LEFT_HIGH))
    np.testing.assert_allclose(scene.size_mm(axis), size_mm)
    panel = draw_panel(scene, axis, scene.busiest(axis), 10.0)
    assert panel.size == (round(size_mm[1] * 10), round(size_mm[0] * 10) + CAPTION_PX)
    section = np.take(FRONT_LEFT_HIGH, scene.busiest(axis), axis=axis)
    rows, cols = np.argwhere(section).mean(axis=0) + 0.5
    height, width = section.shape
    middle = coloured(panel, PALETTE[0]).mean(axis=0)
    down = 1 - rows / height if rows_up else rows / height
    assert middle[0] - CAPTION_PX == pytest.approx(down * size_mm[0] * 10, abs=6)
    assert middle[1] == pytest.approx(cols / width * size_mm[1] * 10, abs=6)


def test_letters_stand_at_the_edges_of_patients_but_not_of_photographs():
    window = Window(2000, 3000, "")  # the image is black
    letters = [
        letters_on(draw_panel(Scene(VOLUME, window=window), axis, 5, 8.0)) for axis in range(3)
    ]
    assert all(len(found) > 10 for found in letters)
    height, width = np.array(VOLUME.shape[1:]) * VOLUME.spacing[1:] * 8
    for edge in (
        letters[0][:, 0].min() - CAPTION_PX,
        letters[0][:, 1].min(),
        height - letters[0][:, 0].max() + CAPTION_PX,
        width - letters[0][:, 1].max(),
    ):
        assert 0 < edge < 16
    photograph = replace(VOLUME, grid=replace(VOLUME.grid, format="image"))
    panel = draw_panel(Scene(photograph, window=window), 0, 5, 8.0)
    assert not len(letters_on(panel))


def test_small_panels_have_no_letters():
    panel = draw_panel(Scene(VOLUME, window=Window(2000, 3000, "")), 0, 5, 1.0)
    assert not len(letters_on(panel))


# -- in a notebook ---------------------------------------------------------------------------


def test_a_volume_shows_its_middle_in_three_planes_of_one_scale():
    picture = shown(VOLUME)
    z, y, x = np.array(VOLUME.shape) * VOLUME.spacing
    scale = PANEL_PX / max(x, y, z)
    assert picture.width == sum(round(mm * scale) for mm in (x, x, y)) + 4 * GAP_PX
    assert picture.height == round(z * scale) + CAPTION_PX + 2 * GAP_PX
    assert np.asarray(picture).std() > 20


def test_what_is_shown_does_not_depend_on_how_the_file_stores_it():
    pictures = [
        np.asarray(draw_panel(Scene(volume, window=Window(-160, 240, "")), 0, 8, 6.0))[CAPTION_PX:]
        for volume in list(in_all_orders(image_of(FRONT_LEFT_HIGH), STRAIGHT))[::9]
    ]
    for picture in pictures[1:]:
        np.testing.assert_array_equal(picture, pictures[0])


def test_labels_show_where_they_are_on_black_or_on_their_image():
    alone, on_image = labels_of(ORGAN), labels_of(ORGAN).on_grid_of(VOLUME)
    assert len(coloured(shown(alone), PALETTE[0])) > 100
    assert len(coloured(shown(on_image), PALETTE[0])) > 100
    black = [np.mean(np.asarray(shown(labels)) < 20) for labels in (alone, on_image)]
    assert black[0] > 0.5 > black[1]
    own = labels_of(ORGAN, colours={1: (1, 2, 3)})
    assert len(coloured(shown(own), (1, 2, 3))) > 100


def test_names_are_text_in_html():
    html = labels_of(ORGAN)._repr_html_()
    assert "a &lt;b&gt;: " in html
    assert "<b>" not in html
    assert "&lt;LabelVolume: 52 × 40 × 17 voxels (i, j, k)" in html
    assert VOLUME._repr_html_().startswith("<div>&lt;Volume: 52 × 40 × 17 voxels (i, j, k)")


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_images_in_which_there_is_nothing_to_see_say_so(value):
    blank = Volume.from_array(np.full(SHAPE, value, np.float32), STRAIGHT)
    html = blank._repr_html_()
    assert "<img" not in html
    assert "constant" in html or "NaN" in html
    labels = labels_of(np.ones(SHAPE, bool), blank, image=blank)
    assert len(coloured(shown(labels), PALETTE[0])) > 10


@pytest.mark.parametrize("shape", [(1, 6, 9), (1, 1, 9), (4, 1, 1), (1, 1, 1), (5, 6, 7, 3)])
def test_slices_lines_and_colours_show_themselves_too(shape):
    voxels = np.arange(np.prod(shape)).reshape(shape)
    volume = Volume.from_array(voxels.astype(np.uint8 if len(shape) == 4 else np.int16), STRAIGHT)
    assert volume._repr_html_()
    assert shown(labels_of(np.ones(shape[:3], bool), volume)).width > 8


# -- in one line -----------------------------------------------------------------------------


def test_a_volume_says_in_one_line_what_it_is():
    assert repr(VOLUME) == (
        "<Volume: 52 × 40 × 17 voxels (i, j, k) of 0.7 × 0.8 × 2.5 mm, LPS, CT, int16>"
    )
    colour = Volume.from_array(np.zeros((*SHAPE, 3), np.uint8), STRAIGHT)
    assert repr(colour).endswith("LPS, uint8 colour>")
    assert repr(VOLUME.grid).startswith("<FileGrid: 52 × 40 × 17")


def test_a_label_map_names_its_labels_with_their_volumes():
    labels = LabelVolume(ORGAN.astype(np.uint8), VOLUME.grid, {1: "liver", 2: "spleen"})
    ml = ORGAN.sum() * 0.7 * 0.8 * 2.5 / 1000
    assert repr(labels).endswith(f"LPS, uint8: liver {ml:.4g} ml, spleen 0 ml>")
    assert labels.volumes_ml() == pytest.approx({"liver": ml, "spleen": 0.0})
    assert labels.volume_ml("liver") == labels.volume_ml(1) == pytest.approx(ml)
    with pytest.raises(LabelError, match="no label is called 'lver'; the labels are liver, spleen"):
        labels.volume_ml("lver")
    many = LabelVolume(labels.voxels, VOLUME.grid, {n: f"n{n}" for n in range(1, 30)})
    assert repr(many).endswith("n8 0 ml, 21 more>")
    assert repr(LabelVolume(labels.voxels, VOLUME.grid, {})).endswith(": no label>")


def test_volumes_are_equal_only_to_themselves():
    other = organ_volume()
    assert VOLUME == VOLUME
    assert other != VOLUME
    assert len({VOLUME, other}) == 2
    assert VOLUME.grid != other.grid
    assert labels_of(ORGAN) != labels_of(ORGAN)
