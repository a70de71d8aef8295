"""How long a model takes on this computer."""

from __future__ import annotations

import time

import numpy as np

from sammed.models.protocols import ImageModel, Model, TrackingModel, ViewBatch, ViewPrompt

TRIES = 3
"""How often the shortest of is taken; the first of a network is slower than the others."""

ENOUGH_S = 4.0
"""After so many seconds it is not tried again."""


def seconds_a_slice(model: Model) -> float | None:
    """Seconds in which a model encodes a slice and answers one box on it, and tracks the next.

    Parameters
    ----------
    model
        Of any kind.

    Returns
    -------
    float or None
        ``None`` of models that see no slices.
    """
    if not isinstance(model, ImageModel):
        return None
    size, context = model.spec.view_size, model.spec.context
    pixels = np.random.default_rng(0).random((1, 1, size, size), np.float32)
    views = ViewBatch(pixels, np.repeat(pixels, 2 * context, axis=1) if context else None)
    quarter = size / 4
    box = ViewPrompt(box=np.array([quarter, quarter, 3 * quarter, 3 * quarter], np.float32))
    shortest, begun = float("inf"), time.perf_counter()
    for _ in range(TRIES):
        started = time.perf_counter()
        _one_slice(model, views, box)
        shortest = min(shortest, time.perf_counter() - started)
        if time.perf_counter() - begun > ENOUGH_S:
            break
    return shortest


def _one_slice(model: ImageModel, views: ViewBatch, box: ViewPrompt) -> None:
    (embedding,) = model.encode(views)
    (answer,) = model.decode(embedding, [box])
    if isinstance(model, TrackingModel):
        own = answer.only(answer.best)
        memory = model.remember(model.begin(2), 0, embedding, own, prompted=True)
        model.track(memory, 1, embedding, direction=1)
