"""Objects found by their names, by a model that was taught them; all others by its companion."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sammed.engine.progress import Reporter
from sammed.engine.results import ObjectRun, finished, not_found
from sammed.engine.strategy import Scene, Strategy
from sammed.engine.volumewise import as_trace, within_limits
from sammed.errors import PromptError
from sammed.models.protocols import StructureModel, VolumeImage, VolumeMask
from sammed.prompts import ObjectPrompts
from sammed.views.slices import PLANES, SliceStack, choose_plane


class NamedStrategy:
    """Finds what a `StructureModel` knows by name, and leaves the rest to another strategy.

    An object that is called as a structure is, and has no prompt but perhaps 3D boxes, is the
    structure (within them). With any other prompt it is what the prompts say.

    Parameters
    ----------
    model
        Knows structures.
    scene
        The volume, and how to clean up.
    other
        Makes the strategy for objects with prompts, when the first of them comes.
    """

    def __init__(self, model: StructureModel, scene: Scene, other: Callable[[], Strategy]) -> None:
        self._model, self._scene, self._make_other = model, scene, other
        self._other: Strategy | None = None
        self._found: Mapping[str, VolumeMask] | None = None
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def check(self, obj: ObjectPrompts) -> None:
        """See `sammed.engine.strategy.Strategy`."""
        if self._by_name(obj):
            return
        if not obj.interactions:
            raise PromptError(
                f"model {self._model.spec.name!r} knows no {obj.name!r}; it knows "
                f"{', '.join(self._model.spec.structures)}, and for others give a prompt"
            )
        self._prompted.check(obj)

    def slices_to_come(self, objects: Sequence[ObjectPrompts]) -> int | None:
        """See `sammed.engine.strategy.Strategy`; what is known by name counts as nothing."""
        rest = [obj for obj in objects if not self._by_name(obj)]
        return self._prompted.slices_to_come(rest) if rest else None

    def segment(
        self, obj: ObjectPrompts, former: ObjectRun | None, reporter: Reporter
    ) -> ObjectRun:
        """See `sammed.engine.strategy.Strategy`."""
        if not self._by_name(obj):
            return self._prompted.segment(obj, former, reporter)
        wanted = self._scene.settings.plane
        plane = wanted if wanted in PLANES else choose_plane("auto", self._scene.volume)
        axis = PLANES[plane]
        reporter.begin(obj.name, axis, ())
        reporter.check()
        found = self._all(reporter)[obj.name]
        volume = within_limits(found, obj, self._scene.volume.shape)
        if volume.block.is_empty or not volume.mask.any():
            error = f"the model found no {obj.name!r}; if it is there, give it a prompt"
            return not_found(obj, plane, error)
        slices = SliceStack(self._scene.volume, plane, self._scene.window())
        trace = as_trace(volume, found.predicted_iou, axis, {})
        cleanup = self._scene.settings.cleanup
        if cleanup.components == "prompted":  # there is no prompt that a part could reach
            cleanup = replace(cleanup, components="all")
        return finished(obj, trace, volume, slices, cleanup, self._model.spec.recipe.quality)

    @property
    def timings(self) -> Mapping[str, float]:
        """See `sammed.engine.strategy.Strategy`."""
        seconds = defaultdict(float, self._seconds)
        for stage, spent in (self._other.timings if self._other else {}).items():
            seconds[stage] += spent
        return dict(seconds)

    @property
    def counts(self) -> Mapping[str, int]:
        """See `sammed.engine.strategy.Strategy`."""
        theirs = self._other.counts if self._other else {"encode": 0, "decode": 0}
        looked = int(self._found is not None)
        return {**theirs, "decode": theirs.get("decode", 0) + looked}

    def _by_name(self, obj: ObjectPrompts) -> bool:
        alone = len(obj.interactions) == len(obj.blocks)
        return alone and obj.name in self._model.spec.structures

    @property
    def _prompted(self) -> Strategy:
        if self._other is None:
            self._other = self._make_other()
        return self._other

    def _all(self, reporter: Reporter) -> Mapping[str, VolumeMask]:
        if self._found is None:
            started = time.perf_counter()
            image = VolumeImage(self._scene.volume, self._scene.window())
            self._found = self._model.find(image, reporter=reporter)
            self._seconds["decode"] += time.perf_counter() - started
        return self._found
