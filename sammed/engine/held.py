"""What was stroked belongs to the object, or does not, whatever a model makes of it."""

from __future__ import annotations

import numpy as np

from sammed.engine.object_volume import ObjectVolume
from sammed.prompts import ObjectPrompts
from sammed.prompts.interactions import ScribblePrompt

HELD_LOGIT = 4.0
"""Of a stroked voxel: as sure as a network is well inside of an object."""


def held(volume: ObjectVolume, obj: ObjectPrompts) -> ObjectVolume:
    """An object in which every stroked voxel is what the stroke says; itself if none is drawn.

    Parameters
    ----------
    volume
        What a model found.
    obj
        What was said. Later strokes count more; points, boxes and lassos are left to the model.

    Examples
    --------
    >>> from sammed.imaging.boxes import Box3D
    >>> line = ScribblePrompt(np.array([(0, 1, 1), (0, 1, 2)]))
    >>> found = ObjectVolume(Box3D(0, 0, 0, 1, 2, 2), np.full((1, 2, 2), 1, np.float16))
    >>> held(found, ObjectPrompts("liver", scribbles=[line])).mask.astype(int).tolist()
    [[[1, 1, 0], [1, 1, 1]]]
    """
    strokes = [said for said in obj.interactions if isinstance(said, ScribblePrompt)]
    if not strokes:
        return volume
    block = volume.block
    for stroke in strokes:
        if stroke.positive:
            block = block.union(stroke.block)
    logits = volume.on(block)
    for stroke in strokes:
        at = stroke.voxels - np.array(block.low)
        at = at[((at >= 0) & (at < block.shape)).all(1)]  # beyond, nothing is the object anyway
        where = tuple(at.T)
        sure = np.abs(logits[where]).clip(HELD_LOGIT)
        logits[where] = sure if stroke.positive else -sure
    return ObjectVolume(block, logits.astype(np.float16))
