"""A part of one slice as a picture of its own, with the labels on it."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from sammed.imaging import geometry
from sammed.imaging.boxes import Box2D
from sammed.imaging.intensity import Window
from sammed.imaging.pictures import BACKGROUND, CAPTION_PX, TEXT_COLOUR, Scene, draw_panel
from sammed.imaging.volume import LabelVolume, Volume


def cut_out(
    volume: Volume,
    labels: LabelVolume,
    window: Window,
    axis: int,
    index: int,
    region: Box2D,
    px_per_mm: float,
) -> Image.Image:
    """What `sammed.imaging.pictures.draw_panel` shows, of a part of a slice.

    Parameters
    ----------
    volume, labels
        On one grid.
    window
        How to show the intensities.
    axis, index
        The slice.
    region
        In slice px, within the slice, not empty.
    px_per_mm
        Scale.
    """
    low = [region.r0, region.c0]
    high = [region.r1, region.c1]
    low.insert(axis, index)
    high.insert(axis, index + 1)
    where = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    affine = volume.affine.copy()
    affine[:3, 3] = geometry.apply_affine(volume.affine, np.array(low, np.float64))
    part = Volume.from_array(volume.voxels[where], affine, modality=volume.modality)
    drawn = LabelVolume(labels.voxels[where], part.grid, labels.names, labels.colours)
    return draw_panel(Scene(part, drawn, window), axis, 0, px_per_mm)


def titled(panel: Image.Image, text: str) -> Image.Image:
    """The same panel with another caption, in place."""
    draw = ImageDraw.Draw(panel)
    draw.rectangle((0, 0, panel.width, CAPTION_PX - 1), fill=BACKGROUND)
    draw.text((2, 3), text, fill=TEXT_COLOUR)
    return panel
