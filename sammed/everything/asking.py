"""What the model makes of a candidate: two looks, and whether they agree.

The first look is prompted by the candidate's box alone; what comes back is like the candidate if
there is a thing, and like something else if there is none. The second is prompted by the candidate
itself on slices of all planes, and gives the mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.engine.at_once import threads_for, walking
from sammed.engine.decoding import SliceDecoder
from sammed.engine.fusion import PlaneView, promised_iou, weigh_planes
from sammed.engine.multiplanar import refine
from sammed.engine.object_volume import ObjectVolume
from sammed.engine.progress import Reporter
from sammed.engine.slice_mask import SlicePrompt, SliceResult, overlap
from sammed.errors import InputError
from sammed.everything.coarse import Coarse
from sammed.everything.regions import Region
from sammed.imaging.boxes import Box3D
from sammed.imaging.intensity import Window
from sammed.imaging.volume import Volume
from sammed.models.protocols import ImageModel, Model, VolumeImage, VolumeMask, VolumeModel
from sammed.views.embeddings import EmbeddingStore
from sammed.views.slices import PLANES, SliceStack, choose_plane

SECTIONS = 4
"""Cross-sections of a thing that are asked for in each plane; between two lies their mean."""

LEAST_SLICES = 3
"""A plane in which a thing has fewer slices is not looked at, if there is another."""


TOGETHER = 4
"""Boxes that are asked about in one batch: a fifth of a second."""


@runtime_checkable
class Glances(Protocol):
    """A volume that a model has opened, of which many 3D boxes can be asked about at once."""

    def glance(self, blocks: Sequence[Box3D]) -> list[VolumeMask]:
        """What each box holds, roughly."""
        ...


@dataclass(frozen=True, eq=False)
class Answer:
    """What came of a look.

    Attributes
    ----------
    region
        On the fine grid; of a first look ``None``.
    agreement
        IoU of the candidate and the first look; mean IoU of the second look's planes, or of both
        looks where there is one plane.
    predicted
        IoU that the model promises.
    """

    region: Region | None
    agreement: float
    predicted: float


class Asker:
    """Asks a model about candidates of one volume.

    Parameters
    ----------
    model
        Answers prompts on views; if it sees volumes as well, its first look is at the whole box.
    volume, window, coarse
        The image.
    check
        Called before each slice; may raise to stop.

    Raises
    ------
    InputError
        If the model cannot judge what it finds.
    """

    def __init__(
        self,
        model: Model,
        volume: Volume,
        window: Window,
        coarse: Coarse,
        check: Callable[[], None],
    ) -> None:
        if not isinstance(model, ImageModel) or not model.spec.calibrated:
            raise InputError(
                f"model {model.spec.name!r} cannot judge what it finds; things are found with "
                "compact or one of segment-anything's models"
            )
        self._model, self._volume, self._window, self._coarse = model, volume, window, coarse
        self._check = check
        self._store = EmbeddingStore()
        self._decoders: dict[int, SliceDecoder] = {}
        self._together = walking(threads_for(model.spec), Reporter(None, None, None))
        self._whole: Glances | None = None
        if isinstance(model, VolumeModel) and not coarse.is_flat:
            opened = model.open(VolumeImage(coarse.volume(), Window(0.0, 1.0, "coarse")))
            self._whole = opened if isinstance(opened, Glances) else None

    def first(self, regions: Sequence[Region]) -> list[Answer]:
        """Asked by boxes alone: how well what comes back agrees with each candidate."""
        self._check()
        if self._whole is None:
            return [self._middle(region) for region in regions]
        blocks = [region.block for region in regions]
        parts = [blocks[n : n + TOGETHER] for n in range(0, len(blocks), TOGETHER)]
        some = self._together([partial(self._whole.glance, part) for part in parts])
        found = [mask for masks in some for mask in masks]
        answers = []
        for region, mask in zip(regions, found, strict=True):
            seen = Region(mask.block, np.asarray(mask.logits > 0))
            answers.append(Answer(None, region.iou(seen), promised_iou(mask.logits)))
        return answers

    def again(self, regions: Sequence[Region]) -> list[Answer]:
        """`second` of each, on as many cores as the model may use; the same answers."""
        for axis in self._all_axes:
            self._decoder(axis)  # made here: those who work at the same time share it
        return self._together([partial(self.second, region) for region in regions])

    @property
    def _all_axes(self) -> list[int]:
        own = PLANES[choose_plane("auto", self._volume)]
        shape = self._volume.shape
        return [axis for axis in range(3) if axis == own or shape[axis] > 1]

    def second(self, region: Region) -> Answer:
        """Asked by the candidate itself, in all planes: the thing as the model sees it."""
        block, logits = self._coarse.to_fine(region)
        prior = ObjectVolume(block, logits)
        axes = self._axes(block)
        if self._coarse.is_flat:
            return self._flat(prior, axes[0])
        looks = [
            refine(prior, self._decoder(axis), stride=-(-block.shape[axis] // SECTIONS))
            for axis in axes
        ]
        fusion = self._model.spec.recipe.fusion
        joined = weigh_planes(looks, fusion)
        thing = _largest(joined, prior)
        masks = [Region(view.volume.block, view.volume.mask) for view in looks]
        pairs = list(combinations(masks, 2)) or [(masks[0], Region(block, prior.mask))]
        agreement = float(np.mean([a.iou(b) for a, b in pairs]))
        return Answer(thing, agreement, _mean_iou(looks, fusion.sharpness))

    def _axes(self, block: Box3D) -> list[int]:
        shape = self._volume.shape
        own = PLANES[choose_plane("auto", self._volume)]
        planes = self._model.spec.recipe.planes
        if self._coarse.is_flat or planes is None:
            return [own]
        axes = [own]
        for axis in range(3):
            sides = [s for a, s in enumerate(self._volume.spacing) if a != axis]
            straight = max(sides) <= planes.most_stretch * min(sides)
            if axis != own and straight and shape[axis] > 1 and block.shape[axis] >= LEAST_SLICES:
                axes.append(axis)
        return axes

    def _decoder(self, axis: int) -> SliceDecoder:
        if axis not in self._decoders:
            stack = SliceStack(self._volume, list(PLANES)[axis], self._window)
            decoder = SliceDecoder(stack, self._model, self._store)
            self._decoders[axis] = decoder.checked(self._check)
        return self._decoders[axis]

    def _middle(self, region: Region) -> Answer:
        """The box of the candidate's largest slice."""
        block, logits = self._coarse.to_fine(region)
        prior = ObjectVolume(block, logits)
        axis = self._axes(block)[0]
        low, high = block.range(axis)
        largest = max(range(low, high), key=lambda index: prior.across(axis, index).area)
        shown = prior.across(axis, largest)
        if not shown.area:
            return Answer(None, 0.0, 0.0)
        found = self._boxed(shown, axis)
        return Answer(None, overlap(found, shown)[0], found.predicted_iou * found.present)

    def _boxed(self, shown: SliceResult, axis: int) -> SliceResult:
        prompt = SlicePrompt(shown.box, final=True)
        return self._decoder(axis).decode(shown.index, [prompt])[0]

    def _flat(self, prior: ObjectVolume, axis: int) -> Answer:
        """A picture: both looks are at its one slice, and their mean is the mask."""
        shown = prior.across(axis, prior.block.low[axis])
        if not shown.area:
            return Answer(None, 0.0, 0.0)
        boxed = self._boxed(shown, axis)
        prompt = SlicePrompt(shown.box.expand(1).clip(self._decoder(axis).stack.shape), prior=shown)
        masked = self._decoder(axis).decode(shown.index, [prompt])[0]
        both = boxed.region.union(masked.region)
        mean = (boxed.on(both) + masked.on(both)) / 2
        block = Box3D.on_slice(both, axis, shown.index)
        joined = ObjectVolume(block, np.expand_dims(mean, axis).astype(np.float16))
        predicted = (
            boxed.predicted_iou * boxed.present + masked.predicted_iou * masked.present
        ) / 2
        return Answer(_largest(joined, prior), overlap(boxed, masked)[0], predicted)


def _largest(found: ObjectVolume, prior: ObjectVolume) -> Region | None:
    """The part of a mask that shares most with the candidate."""
    parts, count = ndimage.label(found.mask)
    if not count:
        return None
    there = np.bincount(parts[prior.mask_on(found.block)].ravel(), minlength=count + 1)
    there[0] = 0
    best = int(there.argmax()) or int(np.bincount(parts.ravel())[1:].argmax()) + 1
    return Region.of(parts == best, found.block.low)


def _mean_iou(looks: list[PlaneView], sharpness: float) -> float:
    """The model's own estimate, which the weights of slices are a power of."""
    weights: NDArray[np.float64] = np.array([w for view in looks for w in view.weights.values()])
    return float(np.mean(np.maximum(weights, 0) ** (1 / sharpness))) if len(weights) else 0.0
