"""A picture of the result: the mask on the organ in three planes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from sammed.imaging.boxes import Box2D
from sammed.imaging.intensity import Window
from sammed.imaging.volume import LabelVolume, Volume
from sammed.prompts import ObjectPrompts
from sammed.views.slices import PLANES

if TYPE_CHECKING:
    from collections.abc import Sequence

PANEL_PX = 360
"""Longer side of a panel."""

PALETTE = (
    (255, 92, 92), (82, 190, 255), (110, 220, 120), (255, 200, 70), (200, 130, 255),
    (255, 150, 60), (90, 225, 210), (255, 130, 190), (170, 200, 90), (150, 160, 255),
)  # fmt: skip
"""Colours of labels 1, 2, ... where the label map brings none."""

FILL = 0.28
"""Opacity of a label's interior; its outline is opaque."""

_PROMPT_COLOUR = (255, 255, 255)
_TEXT_COLOUR = (235, 235, 235)
_CAPTION_PX = 20
_GAP_PX = 8

Colour = tuple[int, int, int]
Pixels = NDArray[np.uint8]


def draw_preview(
    volume: Volume,
    labels: LabelVolume,
    window: Window,
    objects: Sequence[ObjectPrompts] = (),
) -> Image.Image:
    """Axial, coronal and sagittal slice with the labels on them.

    Each panel shows the slice in which the labels' area is largest, in true proportions and
    radiological orientation (superior or anterior up, the patient's right on the left). Prompt
    boxes on a shown slice are drawn in white.

    Parameters
    ----------
    volume, labels
        On one grid.
    window
        How to show the intensities.
    objects
        Prompts to draw.
    """
    across = [a for a in range(3) if min(np.delete(volume.shape, a)) > 1]
    across = across or [int(np.argmin(volume.shape))]  # a line of voxels
    panels = [_panel(volume, labels, window, objects, axis) for axis in across]
    width = sum(p.width for p in panels) + _GAP_PX * (len(panels) + 1)
    height = max(p.height for p in panels) + 2 * _GAP_PX + _CAPTION_PX
    sheet = Image.new("RGB", (width, height), (16, 16, 18))
    left = _GAP_PX
    for panel in panels:
        sheet.paste(panel, (left, _GAP_PX))
        left += panel.width + _GAP_PX
    _legend(sheet, labels, height - _CAPTION_PX - _GAP_PX // 2)
    return sheet


def _panel(
    volume: Volume,
    labels: LabelVolume,
    window: Window,
    objects: Sequence[ObjectPrompts],
    axis: int,
) -> Image.Image:
    others = tuple(a for a in range(3) if a != axis)
    areas = np.count_nonzero(labels.voxels, axis=others)
    index = _shown_slice(areas, objects, axis)
    image = window.apply(np.take(volume.voxels, index, axis=axis))
    shown = np.take(labels.voxels, index, axis=axis)
    row_mm, col_mm = (volume.spacing[a] for a in others)
    scale = PANEL_PX / max(shown.shape[0] * row_mm, shown.shape[1] * col_mm)
    size = (
        max(round(shown.shape[1] * col_mm * scale), 8),
        max(round(shown.shape[0] * row_mm * scale), 8),
    )
    picture = _overlay(_resize_image(image, size), _resize_labels(shown, size), labels)
    panel = Image.fromarray(picture)
    _draw_boxes(panel, objects, axis, index, shown.shape)
    if others[0] == 0:  # rows run towards superior: show superior up
        panel = panel.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    framed = Image.new("RGB", (panel.width, panel.height + _CAPTION_PX), (16, 16, 18))
    framed.paste(panel, (0, _CAPTION_PX))
    name = list(PLANES)[axis]
    file_axis = volume.grid.file_axis(axis)
    zyx = np.zeros(3)
    zyx[axis] = index
    at = round(float(volume.grid.file_index(zyx)["ijk".index(file_axis)]))
    ImageDraw.Draw(framed).text((2, 3), f"{name}  {file_axis} = {at}", fill=_TEXT_COLOUR)
    return framed


def _shown_slice(areas: NDArray[np.intp], objects: Sequence[ObjectPrompts], axis: int) -> int:
    """The prompted slice with the most label on it, else the slice with the most."""
    prompted = [b.index for o in objects for b in o.boxes if b.axis == axis]
    if prompted:
        return max(prompted, key=lambda i: int(areas[i]))
    return int(np.argmax(areas)) if areas.any() else len(areas) // 2


def _resize_image(image: NDArray[np.float32], size: tuple[int, int]) -> Pixels:
    levels = np.rint(image * 255).astype(np.uint8)
    return np.asarray(
        Image.fromarray(levels).convert("RGB").resize(size, Image.Resampling.BILINEAR)
    )


def _resize_labels(labels: NDArray[np.unsignedinteger], size: tuple[int, int]) -> NDArray[np.int32]:
    values = Image.fromarray(labels.astype(np.int32), mode="I")
    return np.asarray(values.resize(size, Image.Resampling.NEAREST), np.int32)


def _overlay(picture: Pixels, labels: NDArray[np.int32], volume: LabelVolume) -> Pixels:
    out = picture.astype(np.float32)
    for value in np.unique(labels[labels > 0]):
        mask = labels == value
        colour = np.array(colour_of(volume, int(value)), np.float32)
        out[mask] = (1 - FILL) * out[mask] + FILL * colour
        out[mask & ~ndimage.binary_erosion(mask)] = colour
    return np.rint(out).astype(np.uint8)


def colour_of(labels: LabelVolume, value: int) -> Colour:
    """Colour of a label: its own, else the palette's."""
    return labels.colours.get(value) or PALETTE[(value - 1) % len(PALETTE)]


def _draw_boxes(
    panel: Image.Image,
    objects: Sequence[ObjectPrompts],
    axis: int,
    index: int,
    shape: tuple[int, ...],
) -> None:
    draw = ImageDraw.Draw(panel)
    per_row, per_col = panel.height / shape[0], panel.width / shape[1]
    boxes: list[Box2D] = []
    for obj in objects:
        boxes += [b.box for b in obj.boxes if (b.axis, b.index) == (axis, index)]
        boxes += [b.across(axis) for b in obj.blocks if b.low[axis] <= index < b.high[axis]]
    for box in boxes:
        left, top = box.c0 * per_col, box.r0 * per_row
        right, bottom = max(box.c1 * per_col - 1, left), max(box.r1 * per_row - 1, top)
        draw.rectangle((left, top, right, bottom), outline=_PROMPT_COLOUR)


def _legend(sheet: Image.Image, labels: LabelVolume, top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    left = _GAP_PX
    for value, name in labels.names.items():
        text = f"{name}: {labels.volume_ml(value):.4g} ml"
        draw.rectangle((left, top + 2, left + 10, top + 12), fill=colour_of(labels, value))
        draw.text((left + 16, top), text, fill=_TEXT_COLOUR)
        left += 16 + int(draw.textlength(text)) + 2 * _GAP_PX
