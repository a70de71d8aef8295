"""A picture of the result: the mask on the organ in three planes, with the prompts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from sammed.imaging.boxes import Box2D
from sammed.imaging.pictures import (
    CAPTION_PX,
    GAP_PX,
    TEXT_COLOUR,
    Scene,
    colour_of,
    draw_panel,
    side_by_side,
)
from sammed.imaging.volume import LabelVolume, Volume
from sammed.prompts import ObjectPrompts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sammed.imaging.intensity import Window

PANEL_PX = 360
"""Longer side of a panel."""

_PROMPT_COLOUR = (255, 255, 255)


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
    scene = Scene(volume, labels, window)
    panels = []
    for axis in scene.axes():
        index = _shown_slice(scene, objects, axis)
        shape = tuple(n for a, n in enumerate(volume.shape) if a != axis)
        mark = partial(_draw_boxes, objects=objects, axis=axis, index=index, shape=shape)
        panels.append(draw_panel(scene, axis, index, PANEL_PX / max(scene.size_mm(axis)), mark))
    sheet = side_by_side(panels, below=CAPTION_PX)
    _legend(sheet, labels, sheet.height - CAPTION_PX - GAP_PX // 2)
    return sheet


def _shown_slice(scene: Scene, objects: Sequence[ObjectPrompts], axis: int) -> int:
    """The prompted slice with the most label on it, else the slice with the most."""
    prompted = [b.index for o in objects for b in o.boxes if b.axis == axis]
    if not prompted or scene.labels is None:
        return scene.busiest(axis)
    voxels = scene.labels.voxels
    return max(prompted, key=lambda i: int(np.count_nonzero(np.take(voxels, i, axis=axis))))


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
    left = GAP_PX
    volumes = labels.volumes_ml()
    for value, name in labels.names.items():
        text = f"{name}: {volumes[name]:.4g} ml"
        draw.rectangle((left, top + 2, left + 10, top + 12), fill=colour_of(labels, value))
        draw.text((left + 16, top), text, fill=TEXT_COLOUR)
        left += 16 + int(draw.textlength(text)) + 2 * GAP_PX
