"""The module of a small package that adds a model to sammed, as test_plugins.py installs it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sammed.models.entry import BuildRequest, ModelEntry
from sammed.models.protocols import (
    BOX_ONLY,
    Embedding,
    ModelSpec,
    ViewBatch,
    ViewMask,
    ViewPrompt,
    check_prompts,
)

SIZE = 96


class TinyModel:
    """What is brighter than the view's mean, inside the box."""

    def __init__(self, steepness: float = 20.0) -> None:
        self.steepness = steepness
        self.spec = ModelSpec(
            "tiny", SIZE, SIZE, zoom=1.5, prompts=BOX_ONLY, variant="1", license="MIT"
        )

    def encode(self, views: ViewBatch) -> list[Embedding]:
        return [Embedding({"grey": v.mean(0)}, v.shape[1:]) for v in views.pixels]

    def decode(self, embedding: Embedding, prompts: Sequence[ViewPrompt]) -> list[ViewMask]:
        check_prompts(self.spec, prompts)
        grey = np.asarray(embedding.arrays["grey"], np.float32)
        return [self._mask(grey, p.box) for p in prompts if p.box is not None]

    def _mask(self, grey: np.ndarray, box: np.ndarray) -> ViewMask:
        logits = np.full((1, SIZE, SIZE), -9, np.float32)
        r0, c0, r1, c1 = np.clip(np.round(box), 0, SIZE).astype(int)
        bright = self.steepness * (grey - grey.mean())
        logits[0, : grey.shape[0], : grey.shape[1]][r0:r1, c0:c1] = bright[r0:r1, c0:c1]
        return ViewMask(logits, np.ones(1, np.float32))


def build(request: BuildRequest, steepness: float = 20.0) -> TinyModel:
    return TinyModel(steepness)


ENTRY = ModelEntry(
    "tiny",
    "what is bright in the box",
    "MIT",
    build,
    aliases=("tiny_bright",),
    options=("steepness",),
    uses_torch=False,
)
