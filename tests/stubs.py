"""Small models of each kind whose answers are known: with a memory of slices, of volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.imaging.boxes import Box3D
from sammed.models.protocols import (
    VOLUME_PROMPTS,
    Embedding,
    ModelSpec,
    ViewMask,
    VolumeImage,
    VolumeMask,
    Watch,
)
from sammed.models.recipe import PLAIN
from sammed.prompts import (
    BoxPrompt,
    Interaction,
    LassoPrompt,
    MaskPrompt,
    PointPrompt,
    ScribblePrompt,
)
from tests.phantoms import StubModel

Seen = tuple[int, NDArray[np.bool_], bool]


class StubTracker(StubModel):
    """Remembers masks; on a new slice, the bright parts that touch the nearest of them."""

    def __init__(self, view_size: int = 64, **spec: object) -> None:
        super().__init__(view_size, **{"recipe": PLAIN, **spec})  # type: ignore[arg-type]
        self.remembered: list[tuple[int, bool]] = []
        self.tracked: list[int] = []

    def begin(self, length: int) -> tuple[Seen, ...]:
        return ()

    def remember(
        self,
        memory: tuple[Seen, ...],
        index: int,
        embedding: Embedding,
        mask: ViewMask,
        *,
        prompted: bool,
    ) -> tuple[Seen, ...]:
        self.remembered.append((index, prompted))
        size = self.spec.view_size
        shown = mask.low_res_logits[mask.best] > 0
        shown = np.kron(shown, np.ones((-(-size // len(shown)),) * 2, bool))[:size, :size]
        return (*memory, (index, shown, prompted))

    def track(
        self,
        memory: tuple[Seen, ...],
        index: int,
        embedding: Embedding,
        *,
        direction: int,
    ) -> ViewMask:
        self.tracked.append(index)
        nearest = min(memory, key=lambda seen: abs(seen[0] - index))
        size = self.spec.view_size
        grey = np.zeros((size, size), np.float32)
        view = np.asarray(embedding.arrays["grey"])
        grey[: view.shape[0], : view.shape[1]] = view
        parts, _ = ndimage.label(grey > self.threshold)
        found = np.isin(parts, np.unique(parts[nearest[1]])) & (parts > 0)
        logits = np.where(found, 8, -8).astype(np.float32)
        return ViewMask(logits[None], np.array([0.9], np.float32))


class StubVolumeModel:
    """Bright parts of the whole volume that positive prompts touch and negative ones do not."""

    def __init__(self, **spec: object) -> None:
        about = {"name": "whole", "prompts": VOLUME_PROMPTS, "ordered": True, **spec}
        self._spec = ModelSpec(**about)  # type: ignore[arg-type]
        self.opened = 0
        self.asked: list[tuple[tuple[Interaction, ...], bool]] = []

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    def open(self, image: VolumeImage) -> StubVolumeState:
        self.opened += 1
        bright = image.window.apply(image.volume.voxels) > 0.5
        parts, _ = ndimage.label(bright, np.ones((3, 3, 3)))
        return StubVolumeState(self, parts)


@dataclass
class StubVolumeState:
    """A volume's bright parts."""

    model: StubVolumeModel
    parts: NDArray[np.int32]
    steps: int = field(default=10)

    def answer(
        self, interactions: Sequence[Interaction], previous: VolumeMask | None, *, reporter: Watch
    ) -> VolumeMask:
        self.model.asked.append((tuple(interactions), previous is not None))
        for step in range(self.steps):
            reporter.check()
            reporter.advance(step + 1, self.steps)
        wanted: set[int] = set()
        for said in interactions:
            here = set(np.unique(self._under(said)).tolist()) - {0}
            wanted = wanted | here if getattr(said, "positive", True) else wanted - here
        logits = np.where(np.isin(self.parts, list(wanted)), 6, -6).astype(np.float16)
        return VolumeMask(Box3D(0, 0, 0, *self.parts.shape), logits, 0.8)

    def _under(self, said: Interaction) -> NDArray[np.int32]:
        if isinstance(said, Box3D):
            return self.parts[said.slices]
        if isinstance(said, (BoxPrompt, LassoPrompt)):
            return self.parts[said.block.slices]
        if isinstance(said, PointPrompt):
            return self.parts[said.at]
        if isinstance(said, MaskPrompt):
            return self.parts[said.voxels]
        assert isinstance(said, ScribblePrompt)
        return self.parts[tuple(said.voxels.T)]
