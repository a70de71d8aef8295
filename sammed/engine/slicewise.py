"""Objects found slice by slice: traced in one plane or in several, seen again, joined, repaired.

Which of these steps a model's answers go through, its recipe says; which an object needs, its
prompts say.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from sammed.engine.at_once import Together, at_once, one_by_one, threads_for, walking
from sammed.engine.decoding import SliceDecoder
from sammed.engine.fusion import PlaneView, balanced, fuse_planes, weigh_planes
from sammed.engine.held import held
from sammed.engine.local_edits import repair
from sammed.engine.memo import Memo
from sammed.engine.multiplanar import Consensus, PlaneTrace, refine, tells_the_same
from sammed.engine.object_volume import ObjectVolume, keep_slices, stack, with_slices
from sammed.engine.plane_choice import Planes, flattened, is_block
from sammed.engine.progress import Reporter
from sammed.engine.prompted_slices import SlicePrompts, check_plane, check_ranges, slice_prompts
from sammed.engine.ranges import only_limits, opening, ranges_of
from sammed.engine.results import Memos, ObjectRun, finished, not_found
from sammed.engine.second_thought import Seen, heard, weighed_in, within_reach
from sammed.engine.strategy import Scene
from sammed.engine.stroke_walk import walked
from sammed.engine.tracing import REMEMBERED, Trace, Tracer
from sammed.engine.tracking import TrackingTracer
from sammed.errors import SegmentationError
from sammed.imaging.boxes import Box3D
from sammed.models.protocols import (
    ImageModel,
    TrackingModel,
    VolumeImage,
    VolumeMask,
    VolumeModel,
    VolumeState,
)
from sammed.prompts import Interaction, MaskPrompt, ObjectPrompts
from sammed.prompts.strokes import without_strokes
from sammed.views.slices import PLANES, SliceStack

_Value = TypeVar("_Value")


class SlicewiseStrategy:
    """Finds objects slice by slice.

    Parameters
    ----------
    model
        Answers prompts on views; if it is a `TrackingModel`, chains go by its memory.
    scene
        The volume, and how to segment.
    """

    def __init__(self, model: ImageModel, scene: Scene) -> None:
        self._model = model
        self._scene = scene
        self._recipe = model.spec.recipe
        sees = isinstance(model, VolumeModel) and min(scene.volume.shape) > 1
        self._sees_volumes = sees and self._recipe.locate is not None
        self._planes = Planes(scene.volume, scene.settings.plane, self._recipe, self._sees_volumes)
        self._consensus = Consensus(self._recipe)
        self._decoders: dict[int, SliceDecoder] = {}
        self._memos: dict[str, Memos] = {}
        self._volume: VolumeState | None = None
        self._seconds: defaultdict[str, float] = defaultdict(float)

    # -- what the session asks -----------------------------------------------------------------

    def check(self, obj: ObjectPrompts) -> None:
        """See `sammed.engine.strategy.Strategy`."""
        said, plane = self._pointed(obj), self._scene.settings.plane
        if plane in PLANES:
            check_plane(said, PLANES[plane])
        check_ranges(said, self._planes.axis(self._seen(obj)))

    def slices_to_come(self, objects: Sequence[ObjectPrompts]) -> int | None:
        """See `sammed.engine.strategy.Strategy`."""
        return self._planes.slices_to_come([self._seen(obj) for obj in objects])

    def segment(
        self, obj: ObjectPrompts, former: ObjectRun | None, reporter: Reporter
    ) -> ObjectRun:
        """See `sammed.engine.strategy.Strategy`; of an edited object only what is stale."""
        started = time.perf_counter()
        kept = former.memos if former else None
        memos = self._memos.setdefault(obj.name, {}) if kept is None else kept
        said = self._seen(obj)
        axis = self._planes.axis(said)
        slices = self._decoder(axis).stack
        try:
            if is_block(said) and not only_limits(said, said.blocks[0], slices):
                trace, seen = self._trace_block(said, memos, reporter)
            else:
                trace, seen = self._trace_chains(said, axis, memos, reporter)
        except SegmentationError as error:
            return replace(not_found(obj, slices.plane, str(error)), memos=memos)
        self._seconds["propagate"] += time.perf_counter() - started
        volume = seen.volume
        if self._scene.settings.plane == "all":
            volume = self._in_all_planes(said, axis, trace, volume, reporter)
        volume = held(self._heard_everywhere(volume, obj, slices, reporter), obj)
        started = time.perf_counter()
        run = finished(
            obj,
            trace,
            volume,
            slices,
            self._scene.settings.cleanup,
            self._recipe.quality,
            seen.opinions,
        )
        self._seconds["fusion"] += time.perf_counter() - started
        return replace(run, memos=memos)

    def _heard_everywhere(
        self, volume: ObjectVolume, obj: ObjectPrompts, slices: SliceStack, reporter: Reporter
    ) -> ObjectVolume:
        """The object with its strokes heard by all slices, if the recipe wants it."""
        if self._recipe.walk is None:
            return volume
        window, walk = slices.window, self._recipe.walk
        return walked(volume, obj, self._scene.volume, window, walk, reporter.check)

    @property
    def timings(self) -> Mapping[str, float]:
        """See `sammed.engine.strategy.Strategy`."""
        seconds = defaultdict(float, self._seconds)
        for decoder in self._decoders.values():
            for stage, spent in decoder.seconds.items():
                seconds[stage] += spent
        return dict(seconds)

    @property
    def counts(self) -> Mapping[str, int]:
        """See `sammed.engine.strategy.Strategy`."""
        decoders = self._decoders.values()
        return {what: sum(d.counts[what] for d in decoders) for what in ("encode", "decode")}

    def _seen(self, obj: ObjectPrompts) -> ObjectPrompts:
        """The object as slices show it: boxes and points for strokes and for flat 3D boxes."""
        said = self._pointed(obj)
        shape, plane = self._scene.volume.shape, self._scene.settings.plane
        return flattened(said, self._planes.axis(said), shape, plane not in PLANES)

    def _pointed(self, obj: ObjectPrompts) -> ObjectPrompts:
        """Points for strokes, with the strokes themselves if the model knows them."""
        return without_strokes(obj, keep="scribble" in self._model.spec.prompts)

    # -- one plane -----------------------------------------------------------------------------

    def _trace(
        self,
        obj: ObjectPrompts,
        axis: int,
        memos: Memos,
        reporter: Reporter,
        located: ObjectVolume | None = None,
        stride: int = 1,
        together: Together = one_by_one,
    ) -> Trace:
        reporter.begin(obj.name, axis, slice_prompts(obj, axis))
        across = partial(self._across, axis, reporter)
        memo = memos.setdefault(axis, Memo(REMEMBERED))
        settings = self._scene.settings
        kind = TrackingTracer if isinstance(self._model, TrackingModel) else Tracer
        stride = max(stride, settings.stride)
        decoder = self._checked(axis, reporter)
        tracer = kind(decoder, settings.accept_rules, stride, memo, together)
        return tracer.trace(obj, reporter.on_slice, located, across)

    def _trace_chains(
        self, obj: ObjectPrompts, axis: int, memos: Memos, reporter: Reporter
    ) -> tuple[Trace, Seen]:
        """An object without a 3D box: chains along one axis, seen as a whole; then corrected."""
        together = walking(threads_for(self._model.spec), reporter)
        first = opening(obj, axis)
        if first is not obj:
            with suppress(SegmentationError):  # clicks may tell what the first does not
                trace = self._trace(first, axis, memos, reporter, together=together)
                seen = self._seen_whole(first, axis, trace, memos, reporter)
                if seen.thought is not None:
                    told = slice_prompts(first, axis)
                    said = {i: p for i, p in slice_prompts(obj, axis).items() if i not in told}
                    return self._repaired(obj, axis, said, trace, seen, reporter)
        trace = self._trace(obj, axis, memos, reporter, together=together)
        return trace, self._seen_whole(obj, axis, trace, memos, reporter)

    def _seen_whole(
        self, obj: ObjectPrompts, axis: int, trace: Trace, memos: Memos, reporter: Reporter
    ) -> Seen:
        """What chains along one axis found, seen as a whole and once more from all sides."""
        found, locate = stack(trace.slices, axis), self._recipe.locate
        if locate is None or not self._planes.seen_whole(obj, found.block):
            return Seen(found)

        def seen() -> Seen:
            fusion, prompted = self._recipe.fusion, trace.prompted
            painted = keep_slices(found, axis, prompted).mask_in(self._scene.volume.shape)
            told = (MaskPrompt(painted),)
            thought = self._think(reporter, found.tight, found, *obj.points, *told)
            if thought is None:
                return Seen(found)
            volume = weighed_in(found, thought, locate.chained, fusion.loudest)
            strides = self._planes.looks(found.tight, axis)
            looks = self._look(reporter, strides, volume, tuple(strides))
            volume = keep_slices(weigh_planes(looks, fusion), axis, trace.slices)
            return Seen(with_slices(volume, found, axis, prompted), thought, found, told)

        return memos[axis].remember(("seen whole", trace, obj.points), seen)

    def _checked(self, axis: int, reporter: Reporter) -> SliceDecoder:
        """The decoder across an axis, which asks before each slice whether to go on."""
        return self._decoder(axis).checked(reporter.check)

    def _decoder(self, axis: int) -> SliceDecoder:
        if axis not in self._decoders:
            scene = self._scene
            self._decoders[axis] = SliceDecoder(
                SliceStack(scene.volume, list(PLANES)[axis], scene.window()),
                self._model,
                scene.store,
                scene.volume_hash(),
                scene.settings.zoom,
                scene.settings.multimask,
            )
        return self._decoders[axis]

    # -- several planes ------------------------------------------------------------------------

    def _trace_block(
        self, obj: ObjectPrompts, memos: Memos, reporter: Reporter
    ) -> tuple[Trace, Seen]:
        """A 3D box: its trace in its own plane, and the volume on which all planes agree."""
        axes, block = self._planes.traced(obj), obj.blocks[0]
        axis, bare = axes[0], obj.replaced(points=(), mask=None)
        located = self._consensus.located(block, partial(self._locate, reporter))
        strides = {plane: self._planes.stride(block, plane, axis) for plane in axes}
        traces = self._traces(bare, strides, memos, located, reporter)
        if len(traces) > 1:
            axes = tuple(one.axis for one in traces)
        own = [one.trace for one in traces if one.axis == axis]
        if not own:  # points and painted slices may tell what the box did not
            trace = self._trace(obj, axis, memos, reporter)
            return trace, Seen(stack(trace.slices, axis))
        look = partial(self._look, reporter, self._planes.looks(block, axis))
        think = partial(self._think, reporter, block)
        agreed = self._consensus.of(traces, axes, located, block, look, think)
        clicked = slice_prompts(obj, axis)
        if clicked and agreed.volume.mask.any():
            told = replace(agreed, told=(obj.mask,) if obj.mask else ())
            return self._repaired(obj, axis, clicked, own[0], told, reporter)
        return own[0], agreed

    def _traces(
        self,
        bare: ObjectPrompts,
        strides: Mapping[int, int],
        memos: Memos,
        located: ObjectVolume | None,
        reporter: Reporter,
    ) -> list[PlaneTrace]:
        """The traces of a 3D box: in all its planes, unless that in its own plane tells enough."""

        def traced(
            plane: int, reporter: Reporter, together: Together = one_by_one
        ) -> list[PlaneTrace]:
            stride = strides[plane]
            with suppress(SegmentationError):  # nothing is found there
                trace = self._trace(bare, plane, memos, reporter, located, stride, together)
                return [PlaneTrace(plane, trace)]
            return []

        own, *others = strides
        threads = threads_for(self._model.spec)
        traces = traced(own, reporter, walking(threads, reporter))
        if traces and located is not None and tells_the_same(traces[0], located, self._recipe):
            reporter.spare(self._planes.spared(bare))
            return traces
        for plane in others:
            self._decoder(plane)  # made here: those who work at the same time share it
        each = at_once([partial(traced, plane) for plane in others], threads, reporter)
        return [*traces, *(trace for of_plane in each for trace in of_plane)]

    def _whole(self) -> VolumeState | None:
        """The volume as the model sees it as a whole; ``None`` if it cannot."""
        if self._volume is None and self._sees_volumes and isinstance(self._model, VolumeModel):
            self._volume = self._model.open(VolumeImage(self._scene.volume, self._scene.window()))
        return self._volume

    def _locate(self, reporter: Reporter, block: Box3D) -> ObjectVolume | None:
        """What the model finds in a 3D box as a whole."""
        whole = self._whole()
        if whole is None:
            return None
        answer = whole.answer((block,), None, reporter=reporter)
        found = ObjectVolume(answer.block, answer.logits)
        border = self._recipe.locate.border if self._recipe.locate else None
        return balanced(found, border) if border else found

    def _repaired(
        self,
        obj: ObjectPrompts,
        axis: int,
        clicked: Mapping[int, SlicePrompts],
        trace: Trace,
        seen: Seen,
        reporter: Reporter,
    ) -> tuple[Trace, Seen]:
        """An object, corrected where it was clicked or painted."""
        seen, decoder = self._heard(obj, seen, reporter), self._checked(axis, reporter)
        limits = ranges_of(obj, decoder.stack)[0][0]
        reporter.begin(obj.name, axis, clicked)
        volume, found = repair(decoder, seen.volume, clicked, limits, reporter.on_slice)
        prompted = trace.prompted | frozenset(found)
        trace = replace(trace, slices={**trace.slices, **found}, prompted=prompted)
        return trace, replace(seen, volume=volume)

    def _think(
        self, reporter: Reporter, block: Box3D, volume: ObjectVolume, *said: Interaction
    ) -> VolumeMask | None:
        """What the model thinks of an object in a 3D box that it is shown, and of what was said."""
        whole = self._whole()
        if whole is None:
            return None
        shown = VolumeMask(volume.block, volume.logits)
        return whole.answer((block, *said), shown, reporter=reporter)

    def _heard(self, obj: ObjectPrompts, seen: Seen, reporter: Reporter) -> Seen:
        """An object, changed where clicks change the model's mind of it."""
        before, shown, locate = seen.thought, seen.shown, self._recipe.locate
        if before is None or shown is None or locate is None:
            return Seen(seen.volume)
        block = before.block
        if not obj.blocks:
            block = within_reach(block, obj.points, self._scene.volume.shape)
        after = self._think(reporter, block, shown, *obj.points, *seen.told)
        if after is None:
            return Seen(seen.volume, before)
        loudest = self._recipe.fusion.loudest
        return Seen(heard(seen.volume, before, after, locate.convinced, loudest), after)

    def _look(
        self,
        reporter: Reporter,
        strides: Mapping[int, int],
        volume: ObjectVolume,
        axes: Sequence[int],
    ) -> list[PlaneView]:
        together = walking(threads_for(self._model.spec), reporter)

        def seen(axis: int) -> PlaneView:
            with reporter.across(axis):
                decoder = self._checked(axis, reporter)
                return refine(volume, decoder, reporter.on_slice, strides.get(axis, 1), together)

        return [seen(axis) for axis in axes]

    def _across(
        self, axis: int, reporter: Reporter, volume: ObjectVolume, block: Box3D
    ) -> list[PlaneView]:
        return self._look(reporter, {}, volume, self._planes.across(block, axis))

    def _in_all_planes(
        self,
        obj: ObjectPrompts,
        axis: int,
        trace: Trace,
        volume: ObjectVolume,
        reporter: Reporter,
    ) -> ObjectVolume:
        """The mean of the object and of what is seen of it in the other planes."""
        others = [a for a in range(3) if a != axis and self._scene.volume.shape[a] > 1]
        seen = (refine(volume, self._checked(a, reporter)).volume for a in others)
        volume = fuse_planes([volume, *seen])
        if obj.blocks or obj.propagate != "auto":
            volume = keep_slices(volume, axis, trace.slices)
        return volume
