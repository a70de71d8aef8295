"""Strokes as boxes and points: all that is said to models that know no strokes.

A scribble becomes points on each slice that it crosses: its ends, and more in between, evenly
spaced. A lasso becomes its box and a point deep inside it; one round what does not belong to the
object becomes a negative point there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from sammed.errors import PromptError
from sammed.imaging.boxes import Box2D
from sammed.imaging.volume import Volume
from sammed.prompts.interactions import (
    BoxPrompt,
    Interaction,
    LassoPrompt,
    PointPrompt,
    ScribblePrompt,
)
from sammed.prompts.objects import ObjectPrompts

POINTS_ON_SLICE = 3
"""Points that stand for a scribble on each slice that it crosses."""


def lasso_on_slice(
    outline: NDArray[np.float64], axis: str, index: int, volume: Volume, positive: bool = True
) -> LassoPrompt:
    """A lasso that is given in the file's own voxel indices.

    Parameters
    ----------
    outline : (n, 2) float64
        Corners on the slice, along the file's two other axes in the order i, j, k; voxel i covers
        [i, i + 1), as in boxes.
    axis, index
        The slice, along ``"i"``, ``"j"`` or ``"k"``.
    volume
        Whose file.
    positive
        Whether what it surrounds belongs to the object.

    Raises
    ------
    PromptError
        If the outline is none, or the slice is not there.
    """
    outline = np.asarray(outline, np.float64)
    if outline.ndim != 2 or outline.shape[1] != 2 or len(outline) < 3:
        raise PromptError(f"a lasso of shape {outline.shape} is none; expected n corners, (n, 2)")
    across = "ijk".index(axis)
    corners = np.insert(outline, across, index + 0.5, axis=1)
    zyx = volume.grid.canonical_index(corners - 0.5) + 0.5
    own = next(a for a in range(3) if volume.grid.file_axis(a) == axis)
    at = int(np.floor(zyx[0, own]))
    if not 0 <= at < volume.shape[own]:
        raise PromptError(f"the lasso's slice {axis} = {index} lies outside the volume")
    rows_cols = np.delete(zyx, own, axis=1).tolist()
    return LassoPrompt(own, at, tuple((row, col) for row, col in rows_cols), positive)


def lasso_in_file(lasso: LassoPrompt, volume: Volume) -> tuple[str, int, list[list[float]]]:
    """The file's axis, slice and outline of a lasso; `lasso_on_slice` the other way round."""
    zyx = np.insert(np.array(lasso.outline, np.float64), lasso.axis, lasso.index + 0.5, axis=1)
    corners = volume.grid.file_index(zyx - 0.5) + 0.5
    axis = volume.grid.file_axis(lasso.axis)
    across = "ijk".index(axis)
    outline = np.delete(corners, across, axis=1).round(3).tolist()
    return axis, int(np.floor(corners[0, across])), outline


def without_strokes(obj: ObjectPrompts, keep: bool = False) -> ObjectPrompts:
    """The same object with boxes and points in place of strokes; itself if it has none.

    What is said by strokes comes first: a stroke says more of the object than a click.

    Parameters
    ----------
    obj
        What was said.
    keep
        Whether points keep the scribble that they stand for, for models that know scribbles.

    Examples
    --------
    >>> line = ScribblePrompt(np.array([(4, 9, x) for x in range(20, 31)]))
    >>> [p.at for p in without_strokes(ObjectPrompts("liver", scribbles=[line])).points]
    [(4, 9, 20), (4, 9, 25), (4, 9, 30)]
    """
    if not obj.scribbles and not obj.lassos:
        return obj
    drawn: list[Interaction] = [
        replace(point, stroke=number, drawn=one if keep else None)
        for number, one in enumerate(obj.scribbles, 1)
        for point in scribble_points(one)
    ]
    drawn += [said for one in obj.lassos for said in lasso_prompts(one)]
    others = (i for i in obj.interactions if not isinstance(i, ScribblePrompt | LassoPrompt))
    return obj.replaced(interactions=(*drawn, *others))


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
