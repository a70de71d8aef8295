"""Lesions then and now, side by side, each in the slice that shows most of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from sammed.imaging.boxes import Box2D
from sammed.imaging.intensity import Window, resolve_window
from sammed.imaging.pictures import (
    BACKGROUND,
    GAP_PX,
    side_by_side,
)
from sammed.imaging.volume import LabelVolume, Volume
from sammed.reporting.cutting import cut_out, titled

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
        titled(then, f"{change.name}, then: {change.before_ml:.3g} ml")
        grown = f"{change.now_ml:.3g} ml ({change.percent:+.0f} %)"
        titled(now, f"now: {'gone' if change.state == 'gone' else grown}")
        rows.append(side_by_side([then, now]))
    return _grid(rows)


def _panel(volume: Volume, labels: LabelVolume, window: Window, centre: np.ndarray) -> Image.Image:
    """The axial slice through a place, cut out round it."""
    low, high = [], []
    for at, size, mm in zip(centre[1:], volume.shape[1:], volume.spacing[1:], strict=True):
        reach = round(AROUND_MM / mm)
        low.append(max(0, round(at) - reach))
        high.append(min(size, round(at) + reach + 1))
    index = min(max(round(centre[0]), 0), volume.shape[0] - 1)
    region = Box2D(*low, *high)
    return cut_out(volume, labels, window, 0, index, region, PANEL_PX / (2 * AROUND_MM))


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
