"""Planes of a volume as pictures: true proportions, radiological orientation, labels on top."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from sammed.imaging.intensity import Window
from sammed.imaging.volume import FileGrid, LabelVolume, OnGrid, Volume

PALETTE = (
    (255, 92, 92), (82, 190, 255), (110, 220, 120), (255, 200, 70), (200, 130, 255),
    (255, 150, 60), (90, 225, 210), (255, 130, 190), (170, 200, 90), (150, 160, 255),
)  # fmt: skip
"""Colours of labels 1, 2, ... where the label map brings none."""

FILL = 0.28
"""Opacity of a label's interior on an image; its outline is opaque."""

FILL_ALONE = 0.6
"""The same on black, where there is no image to be seen through it."""

BACKGROUND = (16, 16, 18)
TEXT_COLOUR = (235, 235, 235)
LETTER_COLOUR = (255, 224, 130)
CAPTION_PX = 20
GAP_PX = 8
SMALLEST_PX = 8
"""No side of a panel is shorter, however thin the volume."""

_NAMES = ("axial", "coronal", "sagittal")
_LETTERS = (("A", "P", "R", "L"), ("S", "I", "R", "L"), ("S", "I", "A", "P"))
"""By canonical axis: what lies at the top, bottom, left and right of a panel."""

Colour = tuple[int, int, int]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Scene:
    """What is drawn: an image, a label map, or a label map on its image.

    Attributes
    ----------
    image, labels
        On one grid; at least one of them.
    window
        How to show the image's intensities.
    """

    image: Volume | None = None
    labels: LabelVolume | None = None
    window: Window | None = None

    @property
    def anything(self) -> OnGrid:
        """The image or the labels: whichever says where the voxels are."""
        there = self.image if self.image is not None else self.labels
        if there is None:
            raise ValueError("a scene without an image or labels has no place")
        return there

    @property
    def grid(self) -> FileGrid:
        """The file's grid, for captions."""
        return self.anything.grid

    def axes(self) -> list[int]:
        """Canonical axes across which there is a plane worth showing."""
        shape = self.anything.shape
        planes = [a for a in range(3) if min(np.delete(shape, a)) > 1]
        return planes or [int(np.argmin(shape))]  # a line of voxels

    def size_mm(self, axis: int) -> tuple[float, float]:
        """(height, width) in mm of the planes across an axis."""
        there = self.anything
        height, width = (there.shape[a] * there.spacing[a] for a in range(3) if a != axis)
        return height, width

    def busiest(self, axis: int) -> int:
        """The slice across an axis with the most label on it, the middle one without labels."""
        if self.labels is None:
            return self.anything.shape[axis] // 2
        others = tuple(a for a in range(3) if a != axis)
        areas = np.count_nonzero(self.labels.voxels, axis=others)
        return int(np.argmax(areas)) if areas.any() else len(areas) // 2


def draw_panel(
    scene: Scene,
    axis: int,
    index: int,
    px_per_mm: float,
    mark: Callable[[Image.Image], None] | None = None,
) -> Image.Image:
    """One plane with a caption that names the file's own slice.

    Superior or anterior is up, the patient's right on the left; letters say so where the volume
    has directions (a photograph has none).

    Parameters
    ----------
    scene
        What to draw.
    axis, index
        Canonical axis (0 z, 1 y, 2 x), and which slice across it.
    px_per_mm
        Scale.
    mark
        Draws more on the plane, before it is turned: rows and columns still run as in the array.

    Examples
    --------
    >>> from sammed.io import read
    >>> scene = Scene(read("sample_data/phantom_ct.nii.gz"), window=Window(-160, 240, "abdomen"))
    >>> draw_panel(scene, axis=0, index=44, px_per_mm=0.5).size  # 380 x 320 mm and a caption
    (190, 180)
    """
    size = _pixels(scene.size_mm(axis), px_per_mm)
    panel = Image.fromarray(_draw_slice(scene, axis, index, size))
    if mark is not None:
        mark(panel)
    if axis != 0:  # rows run towards superior: show superior up
        panel = panel.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    if scene.grid.format != "image":
        _draw_letters(panel, axis)
    framed = Image.new("RGB", (panel.width, panel.height + CAPTION_PX), BACKGROUND)
    framed.paste(panel, (0, CAPTION_PX))
    ImageDraw.Draw(framed).text((2, 3), _caption(scene.grid, axis, index), fill=TEXT_COLOUR)
    return framed


def side_by_side(panels: Sequence[Image.Image], below: int = 0) -> Image.Image:
    """Panels on one sheet, with ``below`` px left free under them."""
    width = sum(panel.width for panel in panels) + GAP_PX * (len(panels) + 1)
    height = max(panel.height for panel in panels) + 2 * GAP_PX + below
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    left = GAP_PX
    for panel in panels:
        sheet.paste(panel, (left, GAP_PX))
        left += panel.width + GAP_PX
    return sheet


def colour_of(labels: LabelVolume, value: int) -> Colour:
    """Colour of a label: its own, else the palette's.

    Examples
    --------
    >>> from sammed.io import read_labels
    >>> colour_of(read_labels("sample_data/phantom_labels.nii.gz"), 2)
    (82, 190, 255)
    """
    return labels.colours.get(value) or PALETTE[(value - 1) % len(PALETTE)]


def _pixels(size_mm: tuple[float, float], px_per_mm: float) -> tuple[int, int]:
    height, width = (max(round(mm * px_per_mm), SMALLEST_PX) for mm in size_mm)
    return width, height


def _draw_slice(scene: Scene, axis: int, index: int, size: tuple[int, int]) -> Pixels:
    """(height, width, 3), rows and columns as in the array."""
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    if scene.image is not None and scene.window is not None:
        levels = scene.window.apply(np.take(scene.image.voxels, index, axis=axis))
        grey = Image.fromarray(np.rint(levels * 255).astype(np.uint8)).convert("RGB")
        picture = np.asarray(grey.resize(size, Image.Resampling.BILINEAR))
    if scene.labels is None:
        return picture
    values = np.take(scene.labels.voxels, index, axis=axis).astype(np.int32)
    shown = Image.fromarray(values, mode="I").resize(size, Image.Resampling.NEAREST)
    return _overlay(picture, np.asarray(shown, np.int32), scene)


def _overlay(picture: Pixels, shown: NDArray[np.int32], scene: Scene) -> Pixels:
    if scene.labels is None:
        return picture
    out = picture.astype(np.float32)
    fill = FILL if scene.image is not None else FILL_ALONE
    for value in np.unique(shown[shown > 0]):
        mask = shown == value
        colour = np.array(colour_of(scene.labels, int(value)), np.float32)
        out[mask] = (1 - fill) * out[mask] + fill * colour
        out[mask & ~ndimage.binary_erosion(mask)] = colour
    return np.rint(out).astype(np.uint8)


def _draw_letters(panel: Image.Image, axis: int) -> None:
    """Directions at the edges, where the panel is large enough to keep them apart."""
    if min(panel.size) < 4 * CAPTION_PX:
        return
    top, bottom, left, right = _LETTERS[axis]
    middle, centre = panel.width / 2, panel.height / 2
    places = (
        (top, (middle, 2), "mt"),
        (bottom, (middle, panel.height - 3), "mb"),
        (left, (4, centre), "lm"),
        (right, (panel.width - 4, centre), "rm"),
    )
    draw = ImageDraw.Draw(panel)
    for letter, at, anchor in places:
        draw.text(at, letter, LETTER_COLOUR, anchor=anchor, stroke_width=1, stroke_fill=BACKGROUND)


def _caption(grid: FileGrid, axis: int, index: int) -> str:
    name = grid.file_axis(axis)
    zyx = np.zeros(3)
    zyx[axis] = index
    at = round(float(grid.file_index(zyx)["ijk".index(name)]))
    return f"{_NAMES[axis]}  {name} = {at}"
