"""Strokes as boxes and points, for models that know no strokes.

A scribble becomes points on each slice that it crosses: its ends, and more in between, evenly
spaced. A lasso becomes its box and a point deep inside it; one round what does not belong to the
object becomes a negative point there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from sammed.imaging.boxes import Box2D
from sammed.prompts.objects import (
    BoxPrompt,
    Interaction,
    LassoPrompt,
    ObjectPrompts,
    PointPrompt,
    ScribblePrompt,
)

POINTS_ON_SLICE = 3
"""Points that stand for a scribble on each slice that it crosses."""


def without_strokes(obj: ObjectPrompts) -> ObjectPrompts:
    """The same object with boxes and points in place of strokes; itself if it has none.

    Examples
    --------
    >>> line = ScribblePrompt(np.array([(4, 9, x) for x in range(20, 31)]))
    >>> [p.at for p in without_strokes(ObjectPrompts("liver", scribbles=[line])).points]
    [(4, 9, 20), (4, 9, 25), (4, 9, 30)]
    """
    if not obj.scribbles and not obj.lassos:
        return obj
    said: list[Interaction] = []
    for one in obj.interactions:
        if isinstance(one, ScribblePrompt):
            said += scribble_points(one)
        elif isinstance(one, LassoPrompt):
            said += lasso_prompts(one)
        else:
            said.append(one)
    return obj.replaced(interactions=tuple(said))


def scribble_points(scribble: ScribblePrompt, most: int = POINTS_ON_SLICE) -> list[PointPrompt]:
    """Points of a scribble: up to ``most`` on each slice across the axis that it leaves least.

    Parameters
    ----------
    scribble
        Its voxels in drawing order.
    most
        Points on each slice.
    """
    voxels = scribble.voxels
    counts = [len(np.unique(voxels[:, axis])) for axis in range(3)]
    axis = int(np.argmin(counts))
    points = []
    for index in np.unique(voxels[:, axis]):
        drawn = voxels[voxels[:, axis] == index]
        picks = np.unique(np.linspace(0, len(drawn) - 1, min(most, len(drawn))).round().astype(int))
        for z, y, x in drawn[picks]:
            points.append(PointPrompt((int(z), int(y), int(x)), scribble.positive))
    return points


def lasso_prompts(lasso: LassoPrompt) -> list[Interaction]:
    """A lasso's box and a point deep inside it; of a negative one the point alone."""
    inside = lasso_mask(lasso)
    box = lasso.box
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    row, col = (int(v) for v in np.unravel_index(int(np.argmax(depth)), depth.shape))
    at = [row + box.r0, col + box.c0]
    at.insert(lasso.axis, lasso.index)
    point = PointPrompt((at[0], at[1], at[2]), lasso.positive)
    if not lasso.positive:
        return [point]
    rows, cols = np.nonzero(inside)
    tight = Box2D(
        int(rows.min()) + box.r0, int(cols.min()) + box.c0,
        int(rows.max()) + 1 + box.r0, int(cols.max()) + 1 + box.c0,
    )  # fmt: skip
    return [BoxPrompt(lasso.axis, lasso.index, tight), point]


def lasso_mask(lasso: LassoPrompt) -> NDArray[np.bool_]:
    """Pixels inside a lasso, (height, width) bool on its `LassoPrompt.box`; never empty."""
    box = lasso.box
    picture = Image.new("1", (box.shape[1], box.shape[0]))
    corners = [(col - box.c0 - 0.5, row - box.r0 - 0.5) for row, col in lasso.outline]
    ImageDraw.Draw(picture).polygon(corners, fill=1, outline=1)
    inside = np.array(picture, bool)
    if not inside.any():
        inside[tuple(n // 2 for n in inside.shape)] = True
    return inside
