"""Baselines for strokes and clicks, without weights, that any network must beat.

Both look at a block round what was said to be inside, and take its faces for outside, since
whoever draws one stroke says nothing of what the object is not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.errors import BackendUnavailableError
from sammed.imaging.boxes import Box3D
from sammed.models.protocols import (
    ModelSpec,
    PromptKinds,
    VolumeImage,
    VolumeMask,
    VolumeState,
    Watch,
)
from sammed.models.recipe import BLUNT
from sammed.prompts import Interaction, LassoPrompt, MaskPrompt, PointPrompt, ScribblePrompt
from sammed.prompts.strokes import lasso_mask

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

STROKE_PROMPTS: PromptKinds = frozenset({"points", "scribble", "lasso", "mask"})

MARGIN = 1.0
"""Room round what was said to be inside, as a share of its longest side in mm."""

LEAST_MARGIN = 12
"""The same in voxels, at least."""

MOST_VOXELS = 300_000
"""A larger block is looked at with every second voxel, every third, and so on."""

BETA, TOLERANCE = 1000.0, 1e-4
"""Of random walks: how hard a step in brightness is (scikit-image's 130 finds an ellipsoid of clear
contrast no more from a stroke than from nothing); when to stop."""

LOGIT_LIMIT = 8.0
"""Logits are cut here, so that they stay in a network's usual range."""


@dataclass(frozen=True)
class Seeds:
    """What was said, on a block.

    Attributes
    ----------
    block
        Where.
    inside, outside : (z, y, x) bool
        Voxels of the block that belong to the object, and that do not.
    """

    block: Box3D
    inside: Bool
    outside: Bool


class _StrokeBaseline(ABC):
    """What the two share."""

    name: str

    @property
    def spec(self) -> ModelSpec:
        """What the engine needs to know of this model."""
        return ModelSpec(
            name=self.name,
            prompts=STROKE_PROMPTS,
            calibrated=False,
            recipe=BLUNT,
            license="Apache-2.0 (no weights)",
        )

    def open(self, image: VolumeImage) -> VolumeState:
        """Nothing is kept but the image."""
        return _Opened(self, image)

    @abstractmethod
    def logits(self, image: Float, seeds: Seeds, spacing: tuple[float, ...]) -> Float:
        """How much each voxel belongs to the object.

        Parameters
        ----------
        image : (z, y, x) float32
            Windowed, in [0, 1].
        seeds
            On the same voxels, not empty.
        spacing
            Their size in mm.
        """


@dataclass(frozen=True)
class _Opened:
    model: _StrokeBaseline
    image: VolumeImage

    def answer(
        self,
        interactions: Sequence[Interaction],
        previous: VolumeMask | None,
        *,
        reporter: Watch,
    ) -> VolumeMask:
        """One answer to all that was said; former answers do not count."""
        volume = self.image.volume
        seeds = gathered(interactions, volume.shape, volume.spacing)
        if not seeds.inside.any():
            return VolumeMask(seeds.block, np.zeros(seeds.block.shape, np.float16))
        seen = self.image.window.apply(volume.voxels[seeds.block.slices])
        grey = seen if seen.ndim == 3 else seen.mean(-1)
        step = int(np.ceil((grey.size / MOST_VOXELS) ** (1 / 3)))
        steps = tuple(min(step, max(1, n // 8)) for n in grey.shape)
        thin = tuple(slice(None, None, n) for n in steps)
        coarse = Seeds(seeds.block, _thinned(seeds.inside, steps), _thinned(seeds.outside, steps))
        spacing = tuple(s * n for s, n in zip(volume.spacing, steps, strict=True))
        reporter.check()
        logits = self.model.logits(np.asarray(grey[thin], np.float32), coarse, spacing)
        reporter.check()
        for axis, n in enumerate(steps):
            logits = np.repeat(logits, n, axis)
        logits = logits[tuple(slice(n) for n in grey.shape)].copy()
        logits[seeds.inside], logits[seeds.outside] = LOGIT_LIMIT, -LOGIT_LIMIT
        return VolumeMask(seeds.block, logits.astype(np.float16))


class RandomWalker(_StrokeBaseline):
    """Whether a random walk that shuns steps in brightness reaches inside before outside.

    Grady 2006, doi:10.1109/TPAMI.2006.233; scikit-image's.
    """

    name = "random_walker"

    def logits(self, image: Float, seeds: Seeds, spacing: tuple[float, ...]) -> Float:
        """See `_StrokeBaseline.logits`."""
        try:
            from skimage.segmentation import random_walker
        except ImportError as error:
            raise BackendUnavailableError(
                "random walks need scikit-image: pip install 'sammed[everything]'"
            ) from error
        labels = np.where(seeds.inside, 1, np.where(seeds.outside, 2, 0)).astype(np.int8)
        if not (labels == 2).any():  # a volume of a few voxels, all of which were stroked
            return np.full(image.shape, LOGIT_LIMIT, np.float32)
        chance = random_walker(
            image.astype(np.float64), labels, beta=BETA, mode="cg_j", tol=TOLERANCE,
            spacing=np.array(spacing) / min(spacing), return_full_prob=True, prob_tol=0.1,
        )[0]  # fmt: skip
        chance = np.clip(chance, 1e-6, 1 - 1e-6)
        return np.asarray(
            np.clip(np.log(chance / (1 - chance)), -LOGIT_LIMIT, LOGIT_LIMIT), np.float32
        )


class StrokeClasses(_StrokeBaseline):
    """Voxels that are more like what was stroked than like the block's faces, and touch a stroke.

    Each side is taken to be of one mean and deviation of brightness.
    """

    name = "stroke_classes"

    def logits(self, image: Float, seeds: Seeds, spacing: tuple[float, ...]) -> Float:
        """See `_StrokeBaseline.logits`."""
        sides = []
        for side in (seeds.inside, seeds.outside):
            values = image[side] if side.any() else image.ravel()
            deviation = max(float(values.std()), 0.02)
            sides.append(-(((image - values.mean()) / deviation) ** 2) / 2 - np.log(deviation))
        logits = np.clip(sides[0] - sides[1], -LOGIT_LIMIT, LOGIT_LIMIT)
        parts, _ = ndimage.label((logits > 0) | seeds.inside)
        touched = np.unique(parts[seeds.inside])
        return np.asarray(np.where(np.isin(parts, touched), logits, -LOGIT_LIMIT), np.float32)


def gathered(
    interactions: Sequence[Interaction],
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
) -> Seeds:
    """What was said, on a block round it.

    Parameters
    ----------
    interactions
        Points, scribbles, lassos and painted slices; others say nothing here.
    shape, spacing
        Of the volume, (z, y, x); mm.

    Examples
    --------
    >>> seeds = gathered([PointPrompt((20, 30, 30))], (40, 60, 60), (2.0, 1.0, 1.0))
    >>> seeds.block, int(seeds.inside.sum())
    (Box3D(z0=8, y0=18, x0=18, z1=33, y1=43, x1=43), 1)
    """
    inside, outside = np.zeros(shape, bool), np.zeros(shape, bool)
    for said in interactions:
        _draw(said, inside if getattr(said, "positive", True) else outside)
    around = Box3D.from_mask(inside)
    longest = max(n * s for n, s in zip(around.shape, spacing, strict=True))
    room = [max(LEAST_MARGIN, round(MARGIN * longest / s)) for s in spacing]
    low = [a - r for a, r in zip(around.low, room, strict=True)]
    high = [a + r for a, r in zip(around.high, room, strict=True)]
    block = Box3D(*low, *high).clip(shape)
    inside, outside = inside[block.slices], outside[block.slices]
    for axis in range(3):
        if block.shape[axis] > 2:
            np.moveaxis(outside, axis, 0)[[0, -1]] = True
    return Seeds(block, inside, outside & ~inside)


def _draw(said: Interaction, on: Bool) -> None:
    if isinstance(said, PointPrompt):
        on[said.at] = True
    elif isinstance(said, ScribblePrompt):
        on[tuple(said.voxels.T)] = True
    elif isinstance(said, MaskPrompt):
        on |= said.voxels
    elif isinstance(said, LassoPrompt):
        section = np.moveaxis(on, said.axis, 0)[said.index]
        section[said.box.slices] |= lasso_mask(said)


def _thinned(mask: Bool, steps: tuple[int, ...]) -> Bool:
    """Cells of voxels of which any is set."""
    for axis, n in enumerate(steps):
        mask = np.logical_or.reduceat(mask, np.arange(0, mask.shape[axis], n), axis)
    return mask
