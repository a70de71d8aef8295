"""A phantom of two organs, and sessions on it."""

from __future__ import annotations

import numpy as np

from sammed.engine.settings import Settings
from sammed.imaging.volume import Volume
from sammed.prompts import ObjectPrompts
from sammed.session import Session
from tests.phantoms import (
    ORGAN,
    ORGAN_SHAPE,
    STRAIGHT,
    StubModel,
    ellipsoid,
    image_of,
    slice_box,
)

A = ellipsoid(ORGAN_SHAPE, (7.6, 15.3, 13.2), (5.2, 8.5, 8.8))
B = ellipsoid(ORGAN_SHAPE, (9.1, 22.3, 36.2), (5.6, 9.5, 10.8))
TWO = Volume.from_array(image_of(A | B), STRAIGHT, modality="CT")
PUT_A = ObjectPrompts("a", boxes=(slice_box(A, 8),))
PUT_B = ObjectPrompts("b", boxes=(slice_box(B, 8),))
ORGAN_BOX = ObjectPrompts("organ", boxes=(slice_box(ORGAN, 8),))


def session(
    *objects: ObjectPrompts,
    volume: Volume = TWO,
    model: StubModel | None = None,
    **settings: object,
) -> Session:
    made = Session(volume, model or StubModel(52), Settings(**settings))  # type: ignore[arg-type]
    for obj in objects:
        made.put(obj)
    return made


def labels(made: Session) -> np.ndarray:
    return made.result().voxels
