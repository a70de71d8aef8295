"""Lesions then and now, side by side, each in the slice that shows most of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from sammed.imaging import geometry
from sammed.imaging.intensity import Window, resolve_window
from sammed.imaging.pictures import (
    BACKGROUND,
    CAPTION_PX,
    GAP_PX,
    TEXT_COLOUR,
    Scene,
    draw_panel,
    side_by_side,
)
from sammed.imaging.volume import LabelVolume, OnGrid, Volume

if TYPE_CHECKING:
    from sammed.examples.followup import PriorModel

AROUND_MM = 45.0
"""From the middle of a lesion to each side of its picture."""

PANEL_PX = 220
MOST = 8
"""So many lesions are drawn, the largest first; the table has all."""


def draw_follow_up(model: PriorModel, volume: Volume, labels: LabelVolume) -> Image.Image:
    """A sheet of pairs, the earlier scan on the left of each.

    Parameters
    ----------
    model
        After it has found what is to be found in ``volume``.
    volume, labels
        The new scan and the result on its grid.
    """
    earlier, drawn = model.earlier.read
    windows = [resolve_window("auto", one) for one in (earlier, volume)]
    changes = sorted(model.account.changes, key=lambda one: -max(one.before_ml, one.now_ml))
    rows = []
    for change in changes[:MOST]:
        value = model.spec.structures[change.name]
        there = np.argwhere(drawn.voxels == value)
        if not len(there) or change.name not in model.places:
            continue
        then = _panel(earlier, drawn, windows[0], there.mean(axis=0))
        alike = replace(labels, colours=drawn.colours)
        now = _panel(volume, alike, windows[1], model.places[change.name])
        _caption(then, f"{change.name}, then: {change.before_ml:.3g} ml")
        grown = f"{change.now_ml:.3g} ml ({change.percent:+.0f} %)"
        _caption(now, f"now: {'gone' if change.state == 'gone' else grown}")
        rows.append(side_by_side([then, now]))
    return _grid(rows)


def _panel(volume: Volume, labels: LabelVolume, window: Window, centre: np.ndarray) -> Image.Image:
    """The axial slice through a place, cut out round it."""
    low, high = [], []
    for at, size, mm in zip(centre, volume.shape, volume.spacing, strict=True):
        reach = round(AROUND_MM / mm)
        low.append(max(0, round(at) - reach))
        high.append(min(size, round(at) + reach + 1))
    index = min(max(round(centre[0]), 0), volume.shape[0] - 1)
    cut = (slice(index, index + 1), slice(low[1], high[1]), slice(low[2], high[2]))
    affine = _moved(volume, (index, low[1], low[2]))
    part = Volume.from_array(volume.voxels[cut], affine, modality=volume.modality)
    drawn = LabelVolume(labels.voxels[cut], part.grid, labels.names, labels.colours)
    panel = draw_panel(Scene(part, drawn, window), 0, 0, PANEL_PX / (2 * AROUND_MM))
    return panel


def _moved(image: OnGrid, low: tuple[int, int, int]) -> np.ndarray:
    affine = image.affine.copy()
    affine[:3, 3] = geometry.apply_affine(image.affine, np.array(low, np.float64))
    return affine


def _caption(panel: Image.Image, text: str) -> None:
    draw = ImageDraw.Draw(panel)
    draw.rectangle((0, 0, panel.width, CAPTION_PX - 1), fill=BACKGROUND)
    draw.text((2, 3), text, fill=TEXT_COLOUR)


def _grid(rows: list[Image.Image]) -> Image.Image:
    """Pairs below each other, in two columns if there are more than three."""
    if not rows:
        return Image.new("RGB", (2 * PANEL_PX, PANEL_PX), BACKGROUND)
    columns = 1 if len(rows) <= 3 else 2
    width, height = (max(getattr(r, side) for r in rows) for side in ("width", "height"))
    lines = -(-len(rows) // columns)
    sheet = Image.new("RGB", (columns * width, lines * height + GAP_PX), BACKGROUND)
    for number, row in enumerate(rows):
        sheet.paste(row, ((number % columns) * width, (number // columns) * height))
    return sheet
