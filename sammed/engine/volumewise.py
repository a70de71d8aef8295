"""Objects found by a model that takes the volume as a whole."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from sammed.engine.object_volume import ObjectVolume
from sammed.engine.progress import Reporter
from sammed.engine.prompted_slices import object_axis, slice_prompts
from sammed.engine.results import ObjectRun, finished, not_found
from sammed.engine.slice_mask import SliceResult
from sammed.engine.strategy import Scene
from sammed.engine.tracing import Trace
from sammed.errors import PromptError
from sammed.imaging.boxes import Box3D
from sammed.models.protocols import VolumeImage, VolumeMask, VolumeModel, VolumeState
from sammed.prompts import (
    BoxPrompt,
    Interaction,
    LassoPrompt,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
    ScribblePrompt,
)
from sammed.views.slices import PLANES, SliceStack, choose_plane

ASKED: dict[type[Interaction], tuple[str, str]] = {
    BoxPrompt: ("box", "boxes on slices"),
    Box3D: ("box3d", "3D boxes"),
    PointPrompt: ("points", "points"),
    MaskPrompt: ("mask", "painted slices"),
    ScribblePrompt: ("scribble", "scribbles"),
    LassoPrompt: ("lasso", "lassos"),
}
"""Of each kind of prompt its name in `ModelSpec.prompts`, and in words."""


class VolumewiseStrategy:
    """Finds objects by asking a `VolumeModel`, which sees all slices at once.

    Parameters
    ----------
    model
        Answers interactions.
    scene
        The volume, and how to clean up.
    """

    def __init__(self, model: VolumeModel, scene: Scene) -> None:
        self._model = model
        self._scene = scene
        self._state: VolumeState | None = None
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._asked = 0

    def check(self, obj: ObjectPrompts) -> None:
        """See `sammed.engine.strategy.Strategy`."""
        spec = self._model.spec
        for said in obj.interactions:
            kind, words = ASKED[type(said)]
            if kind not in spec.prompts:
                known = [w for k, w in ASKED.values() if k in spec.prompts]
                raise PromptError(
                    f"model {spec.name!r} does not know {words}; "
                    f"give {obj.name!r} {' or '.join(known)}, or choose another model"
                )

    def slices_to_come(self, objects: Sequence[ObjectPrompts]) -> int | None:
        """See `sammed.engine.strategy.Strategy`; a model says itself how far it is."""
        return None

    def segment(
        self, obj: ObjectPrompts, former: ObjectRun | None, reporter: Reporter
    ) -> ObjectRun:
        """See `sammed.engine.strategy.Strategy`.

        The former answer is handed on if all that it answered to was said again, and more.
        """
        axis = self._axis(obj)
        reporter.begin(obj.name, axis, ())
        reporter.check()
        started = time.perf_counter()
        found = self._opened().answer(obj.interactions, _previous(obj, former), reporter=reporter)
        self._asked += 1
        self._seconds["decode"] += time.perf_counter() - started
        slices = SliceStack(self._scene.volume, list(PLANES)[axis], self._scene.window())
        volume = within_limits(found, obj, self._scene.volume.shape)
        if not volume.mask.any():
            error = (
                f"nothing was segmented for {obj.name!r}: the model found no object; "
                "check the prompts, the window or the model"
            )
            return not_found(obj, slices.plane, error)
        trace = as_trace(volume, found.predicted_iou, axis, slice_prompts(obj, axis))
        cleanup, quality = self._scene.settings.cleanup, self._model.spec.recipe.quality
        return replace(finished(obj, trace, volume, slices, cleanup, quality), answer=found)

    @property
    def timings(self) -> Mapping[str, float]:
        """See `sammed.engine.strategy.Strategy`."""
        return dict(self._seconds)

    @property
    def counts(self) -> Mapping[str, int]:
        """See `sammed.engine.strategy.Strategy`."""
        return {"encode": int(self._state is not None), "decode": self._asked}

    def _opened(self) -> VolumeState:
        if self._state is None:
            started = time.perf_counter()
            self._state = self._model.open(VolumeImage(self._scene.volume, self._scene.window()))
            self._seconds["encode"] += time.perf_counter() - started
        return self._state

    def _axis(self, obj: ObjectPrompts) -> int:
        """Canonical axis of the slices in which the result is reported."""
        wanted = self._scene.settings.plane
        default = PLANES[choose_plane("auto", self._scene.volume)]
        if wanted in PLANES:
            return PLANES[wanted]
        several = len({box.axis for box in obj.boxes}) > 1  # which such a model may well take
        return default if several else object_axis(obj, default)


def _previous(obj: ObjectPrompts, former: ObjectRun | None) -> VolumeMask | None:
    """The former answer, if the prompts have only grown since."""
    if former is None or former.answer is None:
        return None
    said = former.prompts.interactions
    return former.answer if obj.interactions[: len(said)] == said else None


def within_limits(
    found: VolumeMask, obj: ObjectPrompts, shape: tuple[int, int, int]
) -> ObjectVolume:
    """The answer without what lies beyond the object's 3D boxes: they are a hard limit."""
    volume = ObjectVolume(found.block, np.asarray(found.logits, np.float16))
    if not obj.blocks or volume.block.is_empty:
        return volume
    limit = obj.limit(shape)
    return ObjectVolume(limit, np.asarray(volume.on(limit), np.float16))


def as_trace(
    volume: ObjectVolume, predicted_iou: float, axis: int, prompted: Mapping[int, object]
) -> Trace:
    """The answer as slices, for the per-slice table; where nothing was prompted, the largest."""
    slices: dict[int, SliceResult] = {}
    for index in range(*volume.block.range(axis)):
        section = volume.across(axis, index)
        if section.area:
            slices[index] = SliceResult(
                index, section.region, section.logits, predicted_iou, prompt="volume"
            )
    on = frozenset(index for index in prompted if index in slices)
    largest = max(slices, key=lambda index: slices[index].area)
    return Trace(slices, (), on or frozenset({largest}))
