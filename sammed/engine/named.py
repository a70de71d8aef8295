"""Objects found by their names, by a model that was taught them; all others by its companion."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sammed.engine.decoding import SliceDecoder
from sammed.engine.held import held
from sammed.engine.local_edits import repair
from sammed.engine.object_volume import ObjectVolume
from sammed.engine.progress import Reporter
from sammed.engine.prompted_slices import check_plane, slice_prompts
from sammed.engine.ranges import block_limits
from sammed.engine.results import ObjectRun, finished, not_found
from sammed.engine.slice_mask import SliceResult
from sammed.engine.strategy import Scene, Strategy
from sammed.engine.volumewise import as_trace, within_limits
from sammed.errors import PromptError
from sammed.models.protocols import ImageModel, StructureModel, VolumeImage, VolumeMask
from sammed.prompts import ObjectPrompts
from sammed.prompts.strokes import without_strokes
from sammed.views.slices import PLANES, SliceStack, choose_plane


class NamedStrategy:
    """Finds what a `StructureModel` knows by name, and leaves the rest to another strategy.

    An object that is called as a structure, or says that it is one, is that structure; clicks,
    strokes and painted slices mend it where they lie, and 3D boxes limit it. One that has a box
    on a slice, or another name, is what its prompts say, and so is one with a 3D box if the model
    has its own answer to that, one that was painted and is to be followed no further, and one of
    which the model finds nothing where a prompt says that it is there.

    Parameters
    ----------
    model
        Knows structures.
    scene
        The volume, and how to clean up.
    other
        Makes the strategy for objects with prompts that a model answers, when the first of them
        comes.
    """

    def __init__(
        self, model: StructureModel, scene: Scene, other: Callable[[ImageModel], Strategy]
    ) -> None:
        self._model, self._scene, self._make_other = model, scene, other
        self._others: dict[int, Strategy] = {}
        self._found: Mapping[str, VolumeMask] | None = None
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def check(self, obj: ObjectPrompts) -> None:
        """See `sammed.engine.strategy.Strategy`."""
        if self._by_name(obj):
            if self._scene.settings.plane in PLANES:
                check_plane(without_strokes(obj), PLANES[self._scene.settings.plane])
            return
        if not obj.interactions:
            raise PromptError(
                f"model {self._model.spec.name!r} knows no {obj.known_as!r}; it knows "
                f"{', '.join(self._model.spec.structures)}, and for others give a prompt"
            )
        self._prompted(obj).check(obj)

    def slices_to_come(self, objects: Sequence[ObjectPrompts]) -> int | None:
        """See `sammed.engine.strategy.Strategy`; what is known by name counts as nothing."""
        rest: dict[int, list[ObjectPrompts]] = defaultdict(list)
        for obj in objects:
            if not self._by_name(obj):
                rest[id(self._prompted(obj))].append(obj)
        counts = [self._prompted(some[0]).slices_to_come(some) for some in rest.values()]
        known = [count for count in counts if count is not None]
        return sum(known) if counts and len(known) == len(counts) else None

    def segment(
        self, obj: ObjectPrompts, former: ObjectRun | None, reporter: Reporter
    ) -> ObjectRun:
        """See `sammed.engine.strategy.Strategy`."""
        run = self._known(obj, reporter) if self._by_name(obj) else None
        return self._asked(obj, former, reporter) if run is None else run

    def _known(self, obj: ObjectPrompts, reporter: Reporter) -> ObjectRun | None:
        """What the model knows by name; ``None`` if it finds nothing and a prompt says where."""
        wanted = self._scene.settings.plane
        plane = wanted if wanted in PLANES else choose_plane("auto", self._scene.volume)
        axis = PLANES[plane]
        reporter.begin(obj.name, axis, ())
        reporter.check()
        found = self._all(reporter)[obj.known_as]
        volume = within_limits(found, obj, self._scene.volume.shape)
        if volume.block.is_empty or not volume.mask.any():
            if not obj.is_empty:
                return None
            why = f" ({found.reason})" if found.reason else ""
            error = f"the model found no {obj.known_as!r}{why}; if it is there, give it a prompt"
            return self._signed(obj, not_found(obj, plane, error))
        slices = SliceStack(self._scene.volume, plane, self._scene.window())
        volume, mended = self._mended(obj, volume, slices, reporter)
        volume = held(volume, obj)
        if not volume.mask.any():
            error = f"nothing is left of {obj.name!r} after the corrections"
            return self._signed(obj, not_found(obj, plane, error))
        trace = as_trace(volume, found.predicted_iou, axis, mended)
        cleanup = self._scene.settings.cleanup
        if cleanup.components == "prompted":  # there is no prompt that a part could reach
            cleanup = replace(cleanup, components="all")
        quality = self._model.spec.recipe.quality
        return self._signed(obj, finished(obj, trace, volume, slices, cleanup, quality))

    def _asked(self, obj: ObjectPrompts, former: ObjectRun | None, reporter: Reporter) -> ObjectRun:
        """What the prompts say; nothing is kept of what a network with other weights said."""
        weights = self._model.prompted(obj.known_as).spec.weights_hash
        kept = former if former is not None and former.weights == weights else None
        run = self._prompted(obj).segment(obj, kept, reporter)
        own = obj.known_as if obj.known_as in self._model.spec.tuned else ""
        return replace(run, structure=own, weights=weights)

    def _signed(self, obj: ObjectPrompts, run: ObjectRun) -> ObjectRun:
        """The run of an object that the model has found by itself."""
        return replace(run, structure=obj.known_as, weights=self._model.spec.weights_hash)

    @property
    def timings(self) -> Mapping[str, float]:
        """See `sammed.engine.strategy.Strategy`."""
        seconds = defaultdict(float, self._seconds)
        for other in self._others.values():
            for stage, spent in other.timings.items():
                seconds[stage] += spent
        return dict(seconds)

    @property
    def counts(self) -> Mapping[str, int]:
        """See `sammed.engine.strategy.Strategy`."""
        theirs = [other.counts for other in self._others.values()]
        counts = {what: sum(one.get(what, 0) for one in theirs) for what in ("encode", "decode")}
        return {**counts, "decode": counts["decode"] + int(self._found is not None)}

    def _by_name(self, obj: ObjectPrompts) -> bool:
        if obj.known_as not in self._model.spec.structures:
            return False
        if obj.mask is not None and obj.propagate == "off":
            return False  # it is what was painted, and nothing is added to it
        asks = bool(obj.blocks) and self._model.takes_blocks(obj.known_as)
        return not (asks or without_strokes(obj).boxes)

    def _mended(
        self, obj: ObjectPrompts, volume: ObjectVolume, slices: SliceStack, reporter: Reporter
    ) -> tuple[ObjectVolume, Mapping[int, SliceResult]]:
        """What was found, corrected where it was clicked or painted; and these slices."""
        model = self._model.prompted(obj.known_as)
        said = without_strokes(obj, keep="scribble" in model.spec.prompts)
        clicked = slice_prompts(said, slices.axis)
        if not clicked:
            return volume, {}
        scene = self._scene
        limit = said.limit(scene.volume.shape)
        decoder = SliceDecoder(slices, model, scene.store, scene.volume_hash(), scene.settings.zoom)
        reporter.begin(obj.name, slices.axis, clicked)
        return repair(
            decoder.checked(reporter.check), volume, clicked, block_limits(limit, slices),
            reporter.on_slice,
        )  # fmt: skip

    def _prompted(self, obj: ObjectPrompts) -> Strategy:
        model = self._model.prompted(obj.known_as)
        if id(model) not in self._others:
            self._others[id(model)] = self._make_other(model)
        return self._others[id(model)]

    def _all(self, reporter: Reporter) -> Mapping[str, VolumeMask]:
        if self._found is None:
            started = time.perf_counter()
            image = VolumeImage(self._scene.volume, self._scene.window())
            self._found = self._model.find(image, reporter=reporter)
            self._seconds["decode"] += time.perf_counter() - started
        return self._found
