"""The model's own look at what examples have found: joined by how sure each is, never chained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammed.engine.progress import Reporter
from sammed.engine.recipes import strategy_for
from sammed.engine.settings import Settings
from sammed.engine.strategy import Scene
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.intensity import Window
from sammed.imaging.masks import border_step, dice
from sammed.imaging.volume import Volume
from sammed.models.protocols import ImageModel
from sammed.prompts import BoxPrompt, ObjectPrompts
from sammed.views.embeddings import EmbeddingStore
from sammed.views.slices import PLANES, choose_plane

LEAST_EDGE = 1.0
"""Step across the border that the examples found, in deviations of the values on both sides: where
it is less, there is no edge that a model could see, and it is not asked."""

LEAST_OVERLAP = 0.7
"""Dice of both below which they mean different things: the examples' answer stays."""

MOST_SHARE = 0.5
"""The model counts at most as much as the examples."""

LOUDEST = 4.0
"""Logits count up to so much, so that none can shout the other down."""

Float3 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Joined:
    """What examples and model say together.

    Attributes
    ----------
    logits : (z, y, x) float32
        On the block.
    said
        What became of the model's look, in words.
    share
        How much it counted, [0, 1]; 0: not at all.
    """

    logits: Float3
    said: str
    share: float


def logit(chance: Float3) -> Float3:
    """Of a probability, up to `LOUDEST`."""
    inside = np.clip(chance, 1e-4, 1 - 1e-4)
    return np.asarray(np.clip(np.log(inside / (1 - inside)), -LOUDEST, LOUDEST), np.float32)


def joined(
    volume: Volume,
    name: str,
    block: Box3D,
    chance: Float3,
    sureness: float,
    values: Float3,
    model: ImageModel,
    window: Window,
    check: Callable[[], None],
) -> Joined:
    """The examples' answer, joined with what a model makes of boxes round it.

    Parameters
    ----------
    volume, name
        The scan, and the object.
    block, chance
        The examples' answer, see `sammed.examples.voting.Vote`.
    sureness
        How sure they are, [0, 1].
    values : (z, y, x)
        Of the whole scan, in [0, 1].
    model
        Answers boxes on slices.
    window
        With which it sees the scan.
    check
        Called often; may raise.
    """
    own = logit(chance)
    step = border_step(values[block.slices], chance > 0.5)
    if step < LEAST_EDGE:
        return Joined(own, f"not asked: no clear edge ({step:.1f} deviations)", 0.0)
    seen, promised = _seen(volume, name, block, chance > 0.5, model, window, check)
    overlap = dice(seen > 0, chance > 0.5)
    if overlap < LEAST_OVERLAP:
        return Joined(own, f"not heeded: it sees something else there (Dice {overlap:.2f})", 0.0)
    sure = promised * min(1.0, step / (2 * LEAST_EDGE))
    share = float(min(MOST_SHARE, sure / max(sure + sureness, 1e-6)))
    both = (1 - share) * own + share * np.clip(seen, -LOUDEST, LOUDEST)
    return Joined(np.asarray(both, np.float32), f"counts {share:.0%} (Dice {overlap:.2f})", share)


def _seen(
    volume: Volume,
    name: str,
    block: Box3D,
    mask: NDArray[np.bool_],
    model: ImageModel,
    window: Window,
    check: Callable[[], None],
) -> tuple[Float3, float]:
    """The model's logits on the block, of a box on every slice, and the IoU that it promises."""

    def stopped() -> bool:
        check()
        return False

    plane = choose_plane("auto", volume)
    axis = PLANES[plane]
    boxes = []
    for index in range(mask.shape[axis]):
        section = np.take(mask, index, axis=axis)
        if section.any():
            inside, at = Box2D.from_mask(section), [a for a in range(3) if a != axis]
            r, c = block.low[at[0]], block.low[at[1]]
            box = Box2D(inside.r0 + r, inside.c0 + c, inside.r1 + r, inside.c1 + c)
            boxes.append(BoxPrompt(axis, index + block.low[axis], box))
    scene = Scene(volume, Settings(plane=plane), lambda: window, EmbeddingStore())
    prompts = ObjectPrompts(name, boxes=tuple(boxes), propagate="off")
    run = strategy_for(model, scene).segment(prompts, None, Reporter(None, stopped, None))
    promised = [record.predicted_iou for record in run.slices]
    return run.volume.on(block), float(np.mean(promised)) if promised else 0.0
