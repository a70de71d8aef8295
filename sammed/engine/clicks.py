"""What a click says about the pixels around it.

Whoever corrects a mask clicks into the middle of what is wrong with it: the pixels around the
click, about as far as the mask's nearest border, are wrong as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sammed.engine.slice_mask import ClickedPoint, SliceResult
from sammed.imaging.boxes import Box2D
from sammed.models.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Push:
    """Logits that are added to a mask.

    Attributes
    ----------
    region
        The pixels that ``logits`` covers; elsewhere nothing is added.
    logits : (height, width) float32
        On the region.
    loudest
        Logits of the mask count up to this.
    """

    region: Box2D
    logits: NDArray[np.float32]
    loudest: float

    def on(self, result: SliceResult) -> SliceResult:
        """A mask with the push added to its logits, which count up to `loudest`."""
        region = result.region.union(self.region)
        logits = np.clip(result.on(region), -self.loudest, self.loudest)
        r, c = self.region.r0 - region.r0, self.region.c0 - region.c0
        h, w = self.region.shape
        logits[r : r + h, c : c + w] += self.logits
        return replace(result, region=region, logits=logits)


def push_of(result: SliceResult, points: Sequence[ClickedPoint], recipe: Recipe) -> Push:
    """What clicks add to the mask that they contradict, and to what the model answers to them.

    Each push falls evenly from ``recipe.clicks.push`` at the click to 0 at the mask's nearest
    border, at most at the radius of a disc as large as the mask: it turns more pixels the less sure
    the model was of them. Clicks that agree with the mask add nothing.

    Parameters
    ----------
    result
        The mask that was clicked on.
    points
        Clicked pixels of its slice.
    recipe
        Of the model that answered.
    """
    region = result.region
    for point in points:
        region = region.union(Box2D(point.row, point.col, point.row + 1, point.col + 1))
    inside = np.pad(result.on(region) > 0, 1)
    rows, cols = np.ogrid[region.r0 - 1 : region.r1 + 1, region.c0 - 1 : region.c1 + 1]
    widest = np.sqrt(max(result.area, 1) / np.pi)
    logits = np.zeros(inside.shape, np.float32)
    for point in points:
        distance = np.hypot(rows - point.row, cols - point.col)
        border = distance[inside == point.positive].min(initial=widest)
        if border:
            push = recipe.clicks.push * np.clip(1 - distance / (border + 0.5), 0, 1)
            logits += push if point.positive else -push
    return Push(region, logits[1:-1, 1:-1], recipe.fusion.loudest)


def as_said(result: SliceResult, points: Sequence[ClickedPoint]) -> tuple[float, float]:
    """How many of the points a mask agrees with, and how good the model thinks that it is."""

    def inside(point: ClickedPoint) -> bool:
        return bool(result.on(Box2D(point.row, point.col, point.row + 1, point.col + 1))[0, 0] > 0)

    agreeing = sum(inside(point) == point.positive for point in points)
    return agreeing, result.predicted_iou * result.present
