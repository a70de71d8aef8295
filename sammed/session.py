"""One volume, one model, many objects: add, edit, undo, segment, result.

The one stateful class. The command line, the worker and the Slicer module are thin shells round
it. Prompts and masks are values: an edit makes a new state, and undo brings back the old one,
masks and all.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from sammed.engine.blocks import locate, sees_blocks
from sammed.engine.cleanup import clean
from sammed.engine.decoding import SliceDecoder
from sammed.engine.fusion import PlaneView, fuse_planes
from sammed.engine.label_map import LabelMap
from sammed.engine.local_edits import repair
from sammed.engine.multiplanar import Consensus, refine
from sammed.engine.object_volume import NOTHING, ObjectVolume, keep_slices, stack
from sammed.engine.plane_choice import Planes, is_block
from sammed.engine.progress import OnPrompted, Progress, Reporter
from sammed.engine.prompted_slices import check_plane, check_ranges, slice_prompts
from sammed.engine.propagation import Rules
from sammed.engine.results import ObjectRun, on_prompted, slice_records
from sammed.engine.settings import Settings
from sammed.engine.tracing import Trace, Tracer, block_limits, only_limits
from sammed.errors import InputError, SegmentationError
from sammed.imaging.boxes import Box3D
from sammed.imaging.intensity import Window, resolve_window
from sammed.imaging.volume import LabelVolume, Volume
from sammed.models.protocols import ImageModel
from sammed.prompts import ObjectPrompts, with_labels
from sammed.views.embeddings import EmbeddingStore, content_hash
from sammed.views.slices import PLANES, SliceStack

__all__ = ["Session", "Settings"]


@dataclass(frozen=True)
class _State:
    objects: tuple[ObjectPrompts, ...] = ()
    runs: dict[str, ObjectRun] = field(default_factory=dict)


class Session:
    """Segments objects of one volume with one model.

    Parameters
    ----------
    volume
        The image; never changed.
    model
        Any model that follows `sammed.models.protocols.ImageModel`.
    settings
        How to segment; fixed for the session.
    store
        Where embeddings are kept; a private one in memory by default.

    Attributes
    ----------
    runs
        By object name, what became of it in the last `segment`.
    timings
        Seconds spent by stage.
    """

    def __init__(
        self,
        volume: Volume,
        model: ImageModel,
        settings: Settings | None = None,
        store: EmbeddingStore | None = None,
    ) -> None:
        self.volume = volume
        self.model = model
        self.settings = settings or Settings()
        self._shared_store = store is not None
        self._store = store or EmbeddingStore()
        self._state = _State()
        self._past: list[_State] = []
        self._future: list[_State] = []
        self._tracers: dict[tuple[str, int], Tracer] = {}
        self._decoders: dict[int, SliceDecoder] = {}
        self._consensus = Consensus()
        quick, whole = model.spec.looks_twice, sees_blocks(model, volume)
        self._planes = Planes(volume, self.settings.plane, quick, whole)
        self._labels = LabelMap(volume.shape, self.settings.overlap)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._progress: Reporter | None = None

    # -- prompts ---------------------------------------------------------------------------

    @property
    def objects(self) -> tuple[ObjectPrompts, ...]:
        """Prompts of all objects, in order, with their label values."""
        return self._state.objects

    def put(self, prompts: ObjectPrompts) -> None:
        """Add an object, or replace the one of that name; one step of undo.

        Raises
        ------
        PromptError
            If the prompts make no sense on this volume.
        LabelError
            If its label is taken.
        """
        prompts.check(self.volume.shape)
        if self.settings.plane in PLANES:
            check_plane(prompts, PLANES[self.settings.plane])
        check_ranges(prompts, self._planes.axis(prompts))
        known = [obj.name for obj in self.objects]
        if prompts.name in known:
            former = self.objects[known.index(prompts.name)]
            prompts = prompts if prompts.label else replace(prompts, label=former.label)
            changed = tuple(prompts if o.name == prompts.name else o for o in self.objects)
        else:
            changed = (*self.objects, prompts)
        self._advance(replace(self._state, objects=with_labels(changed)))

    def remove(self, name: str) -> None:
        """Remove an object; one step of undo.

        Raises
        ------
        InputError
            If there is none of that name.
        """
        if name not in [obj.name for obj in self.objects]:
            raise InputError(f"no object is called {name!r}")
        objects = tuple(obj for obj in self.objects if obj.name != name)
        runs = {n: run for n, run in self._state.runs.items() if n != name}
        self._advance(_State(objects, runs))

    def rename(self, name: str, new: str) -> None:
        """Give an object another name; one step of undo, and nothing is computed again.

        Raises
        ------
        InputError
            If there is none of that name.
        LabelError
            If another object has the new one.
        """
        if name not in [obj.name for obj in self.objects]:
            raise InputError(f"no object is called {name!r}")
        objects = with_labels(replace(o, name=new) if o.name == name else o for o in self.objects)
        runs = dict(self._state.runs)
        if name in runs:
            run = runs.pop(name)
            runs[new] = replace(run, prompts=replace(run.prompts, name=new))
        for axis in range(3):
            if (name, axis) in self._tracers:
                self._tracers[new, axis] = self._tracers[name, axis]
        self._advance(_State(objects, runs))

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether a step was taken back."""
        return bool(self._future)

    def undo(self) -> Box3D:
        """Take back the last edit, prompts and masks together; the changed block.

        Raises
        ------
        InputError
            If there is nothing to take back.
        """
        if not self._past:
            raise InputError("nothing to undo")
        self._future.append(self._state)
        self._state = self._past.pop()
        return self._repaint()

    def redo(self) -> Box3D:
        """Do again what `undo` took back; the changed block.

        Raises
        ------
        InputError
            If nothing was taken back.
        """
        if not self._future:
            raise InputError("nothing to redo")
        self._past.append(self._state)
        self._state = self._future.pop()
        return self._repaint()

    def _advance(self, state: _State) -> None:
        self._past.append(self._state)
        self._future.clear()
        self._state = state

    # -- segmentation ----------------------------------------------------------------------

    def segment(
        self,
        progress: Callable[[Progress], None] | None = None,
        cancel: Callable[[], bool] | None = None,
        prompted: OnPrompted | None = None,
    ) -> Box3D:
        """Compute what edits have made stale.

        Parameters
        ----------
        progress
            Called after each slice.
        cancel
            Asked before each slice; ``True`` stops the work.
        prompted
            Called with an object's name, the canonical axis and the mask of a prompted slice as
            soon as that is computed, before its neighbours follow. Not with ``plane="all"``.

        Returns
        -------
        Box3D
            The block in which the label map has changed; empty if nothing did. An object in
            which nothing was found has an ``error`` in its run.

        Raises
        ------
        Cancelled
            If ``cancel`` said so; the former result stays.
        """
        runs = {}
        stale = [obj for obj in self.objects if self._is_stale(obj)]
        total = self._planes.slices_to_come(stale)
        early = None if self.settings.plane == "all" else prompted
        self._progress = Reporter(progress, cancel, total, early)
        try:
            for obj in self.objects:
                runs[obj.name] = self._run(obj) if obj in stale else self._state.runs[obj.name]
        finally:
            self._progress = None
        self._state = replace(self._state, runs=runs)
        return self._repaint()

    def _is_stale(self, obj: ObjectPrompts) -> bool:
        """Whether its prompts have changed since its run (label values do not matter)."""
        run = self._state.runs.get(obj.name)
        return run is None or replace(run.prompts, label=0) != replace(obj, label=0)

    def _run(self, obj: ObjectPrompts) -> ObjectRun:
        started = time.perf_counter()
        axis = self._planes.axis(obj)
        decoder = self._decoder(axis)
        try:
            if is_block(obj) and not only_limits(obj, obj.blocks[0], decoder.stack):
                trace, volume = self._trace_block(obj)
            else:
                trace = self._trace(obj, axis)
                volume = stack(trace.slices, axis)
        except SegmentationError as error:
            nothing = Trace({}, (), frozenset())
            return ObjectRun(obj, decoder.stack.plane, nothing, (), NOTHING, str(error))
        self._seconds["propagate"] += time.perf_counter() - started
        if self.settings.plane == "all":
            others = [a for a in range(3) if a != axis and self.volume.shape[a] > 1]
            seen = (refine(volume, self._checked(a)).volume for a in others)
            volume = fuse_planes([volume, *seen])
            if obj.blocks or obj.propagate != "auto":
                volume = keep_slices(volume, axis, trace.slices)
        started = time.perf_counter()
        volume = clean(
            volume, self.settings.cleanup, self.volume.spacing, on_prompted(trace, volume, axis)
        )
        self._seconds["fusion"] += time.perf_counter() - started
        joined = self.model.spec.looks_twice
        records = tuple(slice_records(trace, decoder.stack, volume, joined))
        lost = "" if volume.mask.any() else f"nothing is left of {obj.name!r} after clean-up"
        return ObjectRun(obj, decoder.stack.plane, trace, records, volume, lost)

    def _trace(self, obj: ObjectPrompts, axis: int, located: ObjectVolume | None = None) -> Trace:
        decoder = self._checked(axis)
        new = Tracer(decoder, self._rules, self.settings.stride, self.model.spec.looks_twice)
        tracer = self._tracers.setdefault((obj.name, axis), new)
        reporter = self._progress
        if reporter:
            reporter.begin(obj.name, axis, slice_prompts(obj, axis))
        across = partial(self._across, axis)
        return tracer.trace(obj, reporter.on_slice if reporter else None, located, across)

    @property
    def _rules(self) -> Rules:
        rules = self.settings.rules
        return rules if self.model.spec.calibrated else replace(rules, spike=0.0, caution=0.0)

    def _trace_block(self, obj: ObjectPrompts) -> tuple[Trace, ObjectVolume]:
        """A 3D box: its trace in its own plane, and the volume on which all planes agree."""
        axes, bare = self._planes.traced(obj), replace(obj, points=(), mask=None)
        see = partial(locate, self.model, self.volume, self.window)
        axis, located = axes[0], self._consensus.located(obj.blocks[0], see)
        traces = []
        for plane in axes:
            for start in (None,) if located is None else (None, located):
                with suppress(SegmentationError):  # nothing was found from there
                    traces.append((plane, self._trace(bare, plane, start)))
        own = [trace for plane, trace in traces if plane == axis]
        if not own:  # points and painted slices may tell what the box did not
            trace = self._trace(obj, axis)
            return trace, stack(trace.slices, axis)
        volume = self._consensus.of(traces, located, obj.blocks[0], self._look)
        decoder, trace = self._decoder(axis), own[-1]
        limits = block_limits(obj.blocks[0], decoder.stack)
        clicked = slice_prompts(obj, axis)
        if not clicked or not volume.mask.any():
            return trace, volume
        if self._progress:
            self._progress.begin(obj.name, axis, clicked)
        on_slice = self._progress.on_slice if self._progress else None
        volume, found = repair(decoder, volume, clicked, limits, on_slice)
        prompted = trace.prompted | frozenset(found)
        return replace(trace, slices={**trace.slices, **found}, prompted=prompted), volume

    def _look(self, volume: ObjectVolume, axis: int) -> PlaneView:
        decoder, reporter = self._checked(axis), self._progress
        if not reporter:
            return refine(volume, decoder)
        with reporter.across(axis):
            return refine(volume, decoder, reporter.on_slice)

    def _across(self, axis: int, volume: ObjectVolume, block: Box3D) -> list[PlaneView]:
        return [self._look(volume, other) for other in self._planes.across(block, axis)]

    def _checked(self, axis: int) -> SliceDecoder:
        """The decoder across an axis, which asks before each slice whether to go on."""
        decoder = self._decoder(axis)
        if self._progress:
            decoder.before_decode = self._progress.check
        return decoder

    def _decoder(self, axis: int) -> SliceDecoder:
        if axis not in self._decoders:
            plane = list(PLANES)[axis]
            self._decoders[axis] = SliceDecoder(
                SliceStack(self.volume, plane, self.window),
                self.model,
                self._store,
                self.volume_hash if self._shared_store else "",
                self.settings.zoom,
            )
        return self._decoders[axis]

    @cached_property
    def window(self) -> Window:
        """The intensity window, chosen when first needed and then kept."""
        started = time.perf_counter()
        inside = [self.volume.voxels[obj.extent().slices].ravel() for obj in self.objects]
        region = np.concatenate(inside) if inside else None
        window = resolve_window(self.settings.window, self.volume, region)
        self._seconds["window"] += time.perf_counter() - started
        return window

    @cached_property
    def volume_hash(self) -> str:
        """SHA-256 (hex) of the canonical voxels with their shape and type."""
        return content_hash(self.volume.voxels)

    # -- results ---------------------------------------------------------------------------

    @property
    def runs(self) -> dict[str, ObjectRun]:
        """What became of each object in the last `segment`, by name."""
        return dict(self._state.runs)

    @property
    def timings(self) -> dict[str, float]:
        """Seconds spent so far by stage: window, render, encode, decode, resize, propagate, ..."""
        seconds = defaultdict(float, self._seconds)
        for decoder in self._decoders.values():
            for stage, spent in decoder.seconds.items():
                seconds[stage] += spent
        return dict(seconds)

    @property
    def counts(self) -> dict[str, int]:
        """How many views were encoded and how many prompts decoded so far."""
        decoders = self._decoders.values()
        return {what: sum(d.counts[what] for d in decoders) for what in ("encode", "decode")}

    def labels_in(self, block: Box3D) -> NDArray[np.unsignedinteger]:
        """A copy of the label map inside a block, (z, y, x)."""
        return np.array(self._labels.voxels[block.slices])

    def object_mask(self, name: str) -> NDArray[np.bool_]:
        """(z, y, x) bool of one object, before overlaps are resolved.

        Raises
        ------
        InputError
            If it has not been segmented.
        """
        if name not in self._state.runs:
            raise InputError(f"no object called {name!r} has been segmented")
        return self._state.runs[name].volume.mask_in(self.volume.shape)

    def result(self) -> LabelVolume:
        """A copy of the label map, on the grid of the volume's file."""
        probabilities = {}
        if self.settings.probabilities:
            for obj in self.objects:
                run = self._state.runs.get(obj.name)
                if run is not None and not run.volume.block.is_empty:
                    probabilities[obj.label] = run.volume.probabilities_in(self.volume.shape)
        names = {obj.label: obj.name for obj in self.objects}
        voxels = self._labels.voxels.copy()
        return LabelVolume(voxels, self.volume.grid, names, probabilities=probabilities)

    def _repaint(self) -> Box3D:
        """Bring the label map up to date with the runs; the block in which it changed."""
        started = time.perf_counter()
        runs = self._state.runs
        wanted = {o.name: (o.label, runs[o.name].volume) for o in self.objects if o.name in runs}
        changed = self._labels.update(wanted)
        self._seconds["fusion"] += time.perf_counter() - started
        return changed
