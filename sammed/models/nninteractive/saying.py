"""What was said of an object, as nnInteractive's session is told it.

The session knows voxels alone: an array whose three axes it calls x, y, z. Its network was trained
on scans as nnU-Net's ``NibabelIOWithReorient`` reads them, so that the array's axes lead to S, A
and R. Sammed's lead to S, P and L: the last two are mirrored on the way in and on the way back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.imaging.boxes import Box3D
from sammed.prompts import (
    BoxPrompt,
    Interaction,
    LassoPrompt,
    MaskPrompt,
    PointPrompt,
    ScribblePrompt,
)
from sammed.prompts.strokes import lasso_mask

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Step:
    """One thing that is said.

    Attributes
    ----------
    said
        What.
    predict
        Whether the network is asked at once.
    """

    said: Interaction
    predict: bool = True


def steps_of(interactions: Sequence[Interaction], *, refines: bool) -> list[Step]:
    """In which order all that was said of an object is told.

    What is painted comes first: the session forgets all else when it is given a mask. By itself it
    is what the network is to make more of; with other prompts it is what they correct.

    Parameters
    ----------
    interactions
        All that was said, in order.
    refines
        Whether the network makes more of a mask by itself.

    Examples
    --------
    >>> painted, click = MaskPrompt(np.ones((1, 2, 3), bool)), PointPrompt((0, 1, 2))
    >>> [step.said is painted for step in steps_of([click, painted], refines=True)]
    [True, False]
    """
    masks = [said for said in interactions if isinstance(said, MaskPrompt)]
    others = [Step(said) for said in interactions if not isinstance(said, MaskPrompt)]
    if not masks:
        return others
    painted = masks[0]
    if len(masks) > 1:
        painted = MaskPrompt(np.logical_or.reduce([mask.voxels for mask in masks]))
    return [Step(painted, predict=refines and not others), *others]


def turned(array: NDArray[Any]) -> NDArray[Any]:
    """An array (z, y, x) in the session's frame, or one of the session's in ours: a view.

    Examples
    --------
    >>> turned(np.arange(6).reshape(1, 2, 3)).tolist()
    [[[5, 4, 3], [2, 1, 0]]]
    """
    return array[:, ::-1, ::-1]


def turned_block(block: Box3D, shape: Shape) -> list[list[int]]:
    """A block as the session's half-open intervals along its three axes.

    Examples
    --------
    >>> turned_block(Box3D(0, 1, 2, 1, 3, 5), (4, 10, 20))
    [[0, 1], [7, 9], [15, 18]]
    """
    _, rows, cols = shape
    return [
        [block.z0, block.z1],
        [rows - block.y1, rows - block.y0],
        [cols - block.x1, cols - block.x0],
    ]


def turned_voxel(at: Shape, shape: Shape) -> Shape:
    """A voxel (z, y, x) in the session's frame."""
    z, y, x = at
    return z, shape[1] - 1 - y, shape[2] - 1 - x


def tell(session: Any, step: Step, shape: Shape, thickness: Shape) -> None:
    """Tell the session one thing.

    Parameters
    ----------
    session
        nnInteractive's, with an image.
    step
        What is said.
    shape
        Of the volume, (z, y, x).
    thickness
        Of strokes, in voxels along z, y, x.
    """
    said, predict = step.said, step.predict
    if isinstance(said, BoxPrompt | Box3D):
        block = said.block if isinstance(said, BoxPrompt) else said
        session.add_bbox_interaction(turned_block(block, shape), True, run_prediction=predict)
    elif isinstance(said, PointPrompt):
        at = turned_voxel(said.at, shape)
        session.add_point_interaction(at, said.positive, run_prediction=predict)
    elif isinstance(said, MaskPrompt):
        mask = np.ascontiguousarray(turned(said.voxels)).astype(np.uint8)
        session.add_initial_seg_interaction(mask, run_prediction=predict)
    else:
        lasso = isinstance(said, LassoPrompt)
        add = session.add_lasso_interaction if lasso else session.add_scribble_interaction
        drawn, block = _drawn(said, shape, thickness)
        crop = np.ascontiguousarray(turned(drawn)).astype(np.uint8)
        where = turned_block(block, shape)
        add(crop, said.positive, run_prediction=predict, interaction_bbox=where)


def _drawn(
    said: ScribblePrompt | LassoPrompt, shape: Shape, thickness: Shape
) -> tuple[NDArray[np.bool_], Box3D]:
    """A stroke as voxels of a block, and the block in the volume."""
    if isinstance(said, LassoPrompt):
        block = said.block.clip(shape)
        inside = lasso_mask(said)
        low = said.box
        rows = slice(block.across(said.axis).r0 - low.r0, block.across(said.axis).r1 - low.r0)
        cols = slice(block.across(said.axis).c0 - low.c0, block.across(said.axis).c1 - low.c0)
        return np.expand_dims(inside[rows, cols], said.axis), block
    return thick(said.voxels, shape, thickness)


def thick(
    voxels: NDArray[np.intp], shape: Shape, thickness: Shape
) -> tuple[NDArray[np.bool_], Box3D]:
    """A line of voxels, drawn as thick as the network saw strokes; on one slice within that slice.

    Parameters
    ----------
    voxels : (n, 3)
        Where it passes, canonical.
    shape
        Of the volume.
    thickness
        Voxels along z, y, x; the line is at one end of an even number of them.

    Returns
    -------
    (z, y, x) bool, Box3D
        The stroke, and where in the volume it is.

    Examples
    --------
    >>> drawn, block = thick(np.array([(3, 1, 1), (3, 1, 2)]), (5, 7, 9), (2, 2, 2))
    >>> block, drawn.astype(int).tolist()
    (Box3D(z0=3, y0=1, x0=1, z1=4, y1=3, x1=4), [[[1, 1, 1], [1, 1, 1]]])
    """
    low, high = voxels.min(0), voxels.max(0)
    wide = [1 if a == b else n for a, b, n in zip(low, high, thickness, strict=True)]
    if sum(a == b for a, b in zip(low, high, strict=True)) > 1:  # a dot, or along an axis
        flat = int(np.argmin(high - low))
        wide = [1 if axis == flat else n for axis, n in enumerate(thickness)]
    steps = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) // 2 for n in wide)), -1).reshape(-1, 3)
    drawn = (voxels[:, None] + steps).reshape(-1, 3)
    drawn = drawn[((drawn >= 0) & (drawn < shape)).all(1)]
    low, high = drawn.min(0), drawn.max(0) + 1
    block = Box3D(*low.tolist(), *high.tolist())
    mask = np.zeros(block.shape, bool)
    mask[tuple((drawn - low).T)] = True
    return mask, block
