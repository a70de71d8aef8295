"""A second opinion on a proposal: what the promptable network makes of the proposal's own boxes.

It was trained on other things and sees slices one by one, so it makes other mistakes than the
segmenter; where both agree, the proposal is likely to be right. It is asked on some slices only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sammed.engine.settings import Settings
from sammed.imaging.boxes import Box2D
from sammed.imaging.masks import dice
from sammed.imaging.volume import Volume
from sammed.models.protocols import ImageModel
from sammed.prompts import BoxPrompt, ObjectPrompts
from sammed.session import Session
from sammed.views.embeddings import EmbeddingStore
from sammed.views.slices import PLANES, choose_plane

SLICES = 8
"""At most so many slices of a structure are asked about, evenly spread."""

Asked = Callable[[str], ImageModel]
"""The network that answers prompts of a structure, by its name."""


def second_opinion(
    volume: Volume,
    mask: NDArray[np.bool_],
    name: str,
    prompted: Asked,
    slices: int | None = None,
    store: EmbeddingStore | None = None,
) -> float:
    """Dice of a proposed structure with the promptable network's answer to its boxes.

    Parameters
    ----------
    volume
        The scan.
    mask : (z, y, x)
        What is proposed.
    name
        Of the structure.
    prompted
        Gives the network.
    slices
        At most so many are asked about; `SLICES` by default.
    store
        Where embeddings are kept; by default in memory, for this structure alone.

    Returns
    -------
    float
        On the slices that were asked about; 0 of an empty proposal.
    """
    plane = choose_plane("auto", volume)
    axis = PLANES[plane]
    drawn = np.moveaxis(mask, axis, 0)
    filled = np.flatnonzero(drawn.any((1, 2)))
    if not len(filled):
        return 0.0
    places = np.linspace(0, len(filled) - 1, slices or SLICES).round().astype(int)
    chosen = filled[np.unique(places)]
    boxes = tuple(BoxPrompt(axis, int(k), Box2D.from_mask(drawn[k])) for k in chosen)
    session = Session(volume, prompted(name), Settings(plane=plane), store)
    session.put(ObjectPrompts(name, boxes=boxes, propagate="off"))
    session.segment()
    answer = np.moveaxis(session.object_mask(name), axis, 0)
    return dice(answer[chosen], drawn[chosen])
