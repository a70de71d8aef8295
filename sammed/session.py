"""One volume, one model, many objects: add, edit, undo, segment, result.

The one stateful class. The command line, the worker and the Slicer module are thin shells round
it. Prompts and masks are values: an edit makes a new state, and undo brings back the old one,
masks and all.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.engine.history import History, Work
from sammed.engine.label_map import LabelMap
from sammed.engine.progress import OnPrompted, Progress, Reporter
from sammed.engine.recipes import strategy_for
from sammed.engine.results import ObjectRun
from sammed.engine.settings import Settings
from sammed.engine.strategy import Scene, Strategy
from sammed.errors import InputError
from sammed.imaging.boxes import Box3D
from sammed.imaging.intensity import Window, resolve_window
from sammed.imaging.volume import LabelVolume, Volume
from sammed.models.protocols import Model
from sammed.prompts import Interaction, ObjectPrompts, with_labels, with_object
from sammed.prompts.naming import with_values
from sammed.prompts.placing import box_prompt, point_prompt, scribble_prompt
from sammed.prompts.strokes import lasso_on_slice
from sammed.views.embeddings import EmbeddingStore, content_hash

__all__ = ["Session", "Settings"]


class Session:
    """Segments objects of one volume with one model.

    Parameters
    ----------
    volume
        The image; never changed.
    model
        Any model that follows one of `sammed.models.protocols`.
    settings
        How to segment; fixed for the session.
    store
        Where embeddings are kept; a private one in memory by default.
    """

    def __init__(
        self,
        volume: Volume,
        model: Model,
        settings: Settings | None = None,
        store: EmbeddingStore | None = None,
    ) -> None:
        self.volume = volume
        self.model = model
        self.settings = settings or Settings()
        self._history = History(Work())
        self._labels = LabelMap(volume.shape, self.settings.overlap)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        shared = store is not None
        self._strategy: Strategy = strategy_for(
            model,
            Scene(
                volume,
                self.settings,
                window=lambda: self.window,
                store=store or EmbeddingStore(),
                volume_hash=lambda: self.volume_hash if shared else "",
            ),
        )

    # -- prompts ---------------------------------------------------------------------------

    @property
    def objects(self) -> tuple[ObjectPrompts, ...]:
        """Prompts of all objects, in order, with their label values."""
        return self._history.now.objects

    def put(self, *prompts: ObjectPrompts) -> None:
        """Add objects, or replace those of their names; one step of undo for all of them.

        Raises
        ------
        PromptError
            If the prompts make no sense on this volume.
        LabelError
            If a label is taken.
        """
        objects = self.objects
        for one in prompts:
            one.check(self.volume.shape, self.model.spec.structures)
            self._strategy.check(one)
            objects = with_object(objects, one)
        changed = with_values(objects, self.model.spec.structures)
        self._history.advance(replace(self._history.now, objects=with_labels(changed)))

    def add(self, name: str, *interactions: Interaction) -> None:
        """Say more of an object, or name a new one; one step of undo.

        Parameters
        ----------
        name
            Of the object.
        *interactions
            Prompts in canonical voxels. The methods below take the file's own indices.

        Raises
        ------
        PromptError
            If the prompts make no sense on this volume.
        """
        known = {obj.name: obj for obj in self.objects}
        self.put(known.get(name, ObjectPrompts(name)).with_(*interactions))

    def add_box(
        self,
        name: str,
        box: Any,
        *,
        slice: float | None = None,
        axis: str = "k",
        space: str = "voxel",
    ) -> None:
        """Give an object a box; one step of undo.

        Parameters
        ----------
        name
            Of the object, which need not be there yet.
        box
            ``(i0, j0, i1, j1)`` with a ``slice``, half-open as image viewers show voxel indices;
            ``(i0, j0, k0, i1, j1, k1)``: a 3D box, which the object does not leave.
        slice, axis
            Which slice, along ``"i"``, ``"j"`` or ``"k"``.
        space
            ``"voxel"``: the file's own indices; ``"ras"`` or ``"lps"``: millimetres.

        Raises
        ------
        PromptError
            If it is no box, or does not lie on the volume.

        Examples
        --------
        >>> from sammed import Session, load_model, read
        >>> session = Session(read("sample_data/phantom_ct.nii.gz"), load_model("ellipse"))
        >>> session.add_box("spleen", (99, 56, 131, 97), slice=44)
        >>> session.objects
        (ObjectPrompts('spleen', label 1, 1 box),)
        """
        self.add(name, box_prompt(self.volume, box, slice=slice, axis=axis, space=space))

    def add_point(
        self, name: str, at: Any, *, positive: bool | None = None, space: str = "voxel"
    ) -> None:
        """Say of a voxel ``(i, j, k)`` that it belongs to an object, or does not.

        Parameters
        ----------
        name, space
            See `add_box`.
        at
            The file's own voxel indices.
        positive
            Whether it belongs to the object; by default it does.

        Raises
        ------
        PromptError
            If it lies outside the volume, or nothing else says where the object is.
        """
        self.add(name, point_prompt(self.volume, at, positive=positive, space=space))

    def add_scribble(
        self, name: str, voxels: Any, *, positive: bool = True, space: str = "voxel"
    ) -> None:
        """Draw a stroke through an object, or beside it.

        Models that know no strokes get points of it, see `sammed.prompts.strokes`.

        Parameters
        ----------
        name, space
            See `add_box`.
        voxels : (n, 3) or (i, j, k) bool
            The file's own voxel indices in drawing order, or an array of the file's shape.
        positive
            Whether they belong to the object.

        Raises
        ------
        PromptError
            If it leaves the volume, or nothing else says where the object is.
        """
        self.add(name, scribble_prompt(self.volume, voxels, positive=positive, space=space))

    def add_lasso(
        self,
        name: str,
        outline: Any,
        *,
        slice: int,
        axis: str = "k",
        positive: bool = True,
    ) -> None:
        """Draw a closed outline round a part of an object, or round what is beside it.

        Parameters
        ----------
        name
            See `add_box`.
        outline : (n, 2)
            Corners along the file's two other axes; voxel i covers i to i + 1, as in boxes.
        slice, axis
            See `add_box`.
        positive
            Whether what it surrounds belongs to the object.

        Raises
        ------
        PromptError
            If it leaves the volume, or nothing else says where the object is.
        """
        self.add(name, lasso_on_slice(outline, axis, slice, self.volume, positive))

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
        runs = {n: run for n, run in self._history.now.runs.items() if n != name}
        self._history.advance(Work(objects, runs))

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
        runs = dict(self._history.now.runs)
        if name in runs:
            run = runs.pop(name)
            runs[new] = replace(run, prompts=replace(run.prompts, name=new))
        self._history.advance(Work(objects, runs))

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return self._history.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether a step was taken back."""
        return self._history.can_redo

    def undo(self) -> Box3D:
        """Take back the last edit, prompts and masks together; the changed block.

        Masks of steps that lie far back are not kept: `segment` computes them again.

        Raises
        ------
        InputError
            If there is nothing to take back.
        """
        self._history.undo()
        return self._repaint()

    def redo(self) -> Box3D:
        """Do again what `undo` took back; the changed block.

        Raises
        ------
        InputError
            If nothing was taken back.
        """
        self._history.redo()
        return self._repaint()

    def begin(self, objects: Iterable[ObjectPrompts]) -> None:
        """Begin anew with some objects; there is no step back to what was before."""
        self._history = History(Work())
        for prompts in objects:
            self.put(prompts)
        self._history.forget()
        self._repaint()

    # -- segmentation ----------------------------------------------------------------------

    def segment(
        self,
        progress: Callable[[Progress], None] | None = None,
        cancel: Callable[[], bool] | None = None,
        prompted: OnPrompted | None = None,
        every: bool = False,
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
        every
            ``prompted`` is called with each slice of the object's plane, as the chains reach it.

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
        former = self._history.now.runs
        stale = self.stale
        total = self._strategy.slices_to_come([o for o in self.objects if o.name in stale])
        early = None if self.settings.plane == "all" else prompted
        reporter = Reporter(progress, cancel, total, early, every)
        runs = {
            obj.name: self._strategy.segment(obj, former.get(obj.name), reporter)
            if obj.name in stale
            else former[obj.name]
            for obj in self.objects
        }
        self._history.now = replace(self._history.now, runs=runs)
        return self._repaint()

    @property
    def stale(self) -> list[str]:
        """Names of the objects that `segment` would compute."""
        return [obj.name for obj in self.objects if self._is_stale(obj)]

    def _is_stale(self, obj: ObjectPrompts) -> bool:
        """Whether its prompts have changed since its run (label values do not matter)."""
        run = self._history.now.runs.get(obj.name)
        return run is None or not run.prompts.says_as(obj, self.model.spec.ordered)

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
        return dict(self._history.now.runs)

    @property
    def timings(self) -> dict[str, float]:
        """Seconds spent so far by stage: window, render, encode, decode, resize, propagate, ..."""
        seconds = defaultdict(float, self._seconds)
        for stage, spent in self._strategy.timings.items():
            seconds[stage] += spent
        return dict(seconds)

    @property
    def counts(self) -> dict[str, int]:
        """How many views were encoded and how many prompts decoded so far."""
        return dict(self._strategy.counts)

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
        if name not in self._history.now.runs:
            raise InputError(f"no object called {name!r} has been segmented")
        return self._history.now.runs[name].volume.mask_in(self.volume.shape)

    def show(self, name: str = "") -> Any:
        """The volume in a notebook, to drag boxes on: see `sammed.notebook.show_session`."""
        from sammed.notebook import show_session

        return show_session(self, name)

    def result(self) -> LabelVolume:
        """A copy of the label map, on the grid of the volume's file."""
        probabilities = {}
        if self.settings.probabilities:
            for obj in self.objects:
                run = self._history.now.runs.get(obj.name)
                if run is not None and not run.volume.block.is_empty:
                    probabilities[obj.label] = run.volume.probabilities_in(self.volume.shape)
        names = {obj.label: obj.name for obj in self.objects}
        voxels = self._labels.voxels.copy()
        return LabelVolume(
            voxels, self.volume.grid, names, probabilities=probabilities, image=self.volume
        )

    def _repaint(self) -> Box3D:
        """Bring the label map up to date with the runs; the block in which it changed."""
        started = time.perf_counter()
        runs = self._history.now.runs
        wanted = {o.name: (o.label, runs[o.name].volume) for o in self.objects if o.name in runs}
        changed = self._labels.update(wanted)
        self._seconds["fusion"] += time.perf_counter() - started
        return changed
