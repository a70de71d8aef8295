"""One slice at a time: a prompt in slice pixels in, a mask in slice pixels out.

Chooses the view, embeds it once, asks the model, picks among its candidates and brings the
logits back to the slice's own pixels.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace

import numpy as np

from sammed.engine.candidates import (
    choose_candidate,
    chosen_candidate,
    mean_candidate,
    several_candidates,
)
from sammed.engine.slice_mask import Float, SlicePrompt, SliceResult, SliceStroke
from sammed.engine.told_memory import KeptAnswers, Step, ToldMemory
from sammed.imaging.boxes import Box2D
from sammed.models.protocols import (
    Embedding,
    ImageModel,
    Memory,
    TrackingModel,
    ViewMask,
    ViewPrompt,
)
from sammed.models.recipe import Recipe
from sammed.views.embeddings import EmbeddingStore, view_key
from sammed.views.prefetch import ViewRenderer
from sammed.views.slices import OUTSIDE_LOGIT, SliceStack, View
from sammed.views.strokes import stroke_plane

KEEP_ABOVE_LOGIT = -6.0
"""Logits below this are not kept: their probability is under 0.3 %."""


LEAST_ZOOM = 1.1
"""A view that is closer than usual still shows this much more than the box."""

POINT_VIEW_MM = (24.0, 48.0, 96.0, 192.0, 384.0)
"""Sides of the views that are tried where points alone say where the object is."""

FIT = (0.2, 0.9)
"""A mask found from points should span this share of its view to be believed as it is."""


class SliceDecoder:
    """Answers prompts on the slices of one stack with one model; embeds every view once.

    If the model is ``concurrent``, several threads may ask.

    Parameters
    ----------
    stack
        The slices.
    model
        Any model that follows the protocol.
    store
        Where embeddings are kept.
    volume_hash
        Identity of the voxels, for the store's keys.
    zoom
        Overrides the model's own preference: a factor, or ``None`` for the whole slice;
        ``"auto"`` leaves it to the model.
    multimask
        See `sammed.engine.settings.Settings`.
    """

    def __init__(
        self,
        stack: SliceStack,
        model: ImageModel,
        store: EmbeddingStore,
        volume_hash: str = "",
        zoom: float | str | None = "auto",
        multimask: bool = False,
    ) -> None:
        self.stack = stack
        self.model = model
        self.store = store
        self.volume_hash = volume_hash
        self.zoom = model.spec.zoom if isinstance(zoom, str) else zoom
        self.multimask = multimask
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._check: Callable[[], None] | None = None
        self._tracks = isinstance(model, TrackingModel)
        self._renderer = ViewRenderer(stack, model.spec)

    @property
    def recipe(self) -> Recipe:
        """What is done with the model's answers."""
        return self.model.spec.recipe

    def checked(self, check: Callable[[], None]) -> SliceDecoder:
        """The same decoder, which calls ``check`` before each slice; it may raise to stop."""
        twin = copy(self)
        twin._check = check
        return twin

    def decode(self, index: int, prompts: Sequence[SlicePrompt]) -> list[SliceResult]:
        """Answer any number of prompts on one slice, in order.

        Prompts that share a view are decoded in one batch.
        """
        if self._check:
            self._check()
        answers: dict[int, SliceResult] = {}
        by_view: dict[View, list[int]] = {}
        for number, prompt in enumerate(prompts):
            if self._needs_search(prompt):
                answers[number] = self._search(index, prompt)
            else:
                by_view.setdefault(self.view(index, prompt), []).append(number)
        for view, numbers in by_view.items():
            found = self._decode_view(view, [prompts[n] for n in numbers])
            answers.update(zip(numbers, found, strict=True))
        return [answers[n] for n in range(len(prompts))]

    def view(self, index: int, prompt: SlicePrompt) -> View:
        """The view in which a prompt is answered."""
        view = self._upright(index, prompt)
        return replace(view, mirrored=True) if prompt.mirrored else view

    def _upright(self, index: int, prompt: SlicePrompt) -> View:
        if self.zoom is None:
            return View.whole(index, self.stack.shape, self.model.spec.view_size)
        box = prompt.box
        if box is None and prompt.prior is not None:
            box = prompt.prior.box
        box = box or Box2D(0, 0, *self.stack.shape)
        for shown in prompt.shown:
            box = box.union(shown)
        size = self.model.spec.view_size
        zoom = max(self.zoom * prompt.share, min(self.zoom, LEAST_ZOOM))
        return View.zoomed(index, box, zoom, self.stack.pixel_mm, size)

    def intensity(self, result: SliceResult) -> tuple[float, float]:
        """Mean and standard deviation of the windowed slice inside a mask, in [0, 1]."""
        rows, cols = result.region.slices
        values = self.stack.image(result.index)[:, rows, cols].mean(axis=0)[result.mask]
        return (float(values.mean()), float(values.std())) if values.size else (0.0, 0.0)

    def _needs_search(self, prompt: SlicePrompt) -> bool:
        return self.zoom is not None and prompt.box is None and prompt.prior is None

    def _search(self, index: int, prompt: SlicePrompt) -> SliceResult:
        """Points alone, zoomed model: try views of several sizes, then look again round the best.

        The best is the one with the highest predicted IoU among those whose mask neither fills
        its view nor is lost in it.
        """
        best: SliceResult | None = None
        best_score = -1.0
        for view in self._point_views(index, prompt):
            result = self._decode_view(view, [prompt])[0]
            score = result.predicted_iou * result.present + self._fits(result, view)
            if score > best_score:
                best, best_score = result, score
        if best is None or not best.area:
            return best or _nothing(index, prompt.name)
        again = replace(prompt, prior=best, candidate=0)
        refined = self._decode_view(self.view(index, again), [again])[0]
        return refined if refined.area else best

    def _point_views(self, index: int, prompt: SlicePrompt) -> list[View]:
        box = Box2D(0, 0, 0, 0)
        for shown in prompt.shown:
            box = box.union(shown)
        row_mm, col_mm = self.stack.pixel_mm
        span = max(box.shape[0] * row_mm, box.shape[1] * col_mm)
        whole = max(self.stack.shape[0] * row_mm, self.stack.shape[1] * col_mm)
        smallest = max(1.5 * span, 12 * min(row_mm, col_mm))
        sides = [s for s in POINT_VIEW_MM if smallest <= s < whole] or [min(2 * smallest, whole)]
        size = self.model.spec.view_size
        zooms = [side / max(span, 1e-6) for side in sides]
        return [View.zoomed(index, box, z, self.stack.pixel_mm, size) for z in zooms]

    def _fits(self, result: SliceResult, view: View) -> float:
        """1 if the mask spans a believable share of its view, else 0."""
        (rows, cols), (per_row, per_col) = result.box.shape, view.scale
        share = max(rows * per_row / view.extent[0], cols * per_col / view.extent[1])
        return float(FIT[0] <= share <= FIT[1])

    def _decode_view(self, view: View, prompts: Sequence[SlicePrompt]) -> list[SliceResult]:
        embedding = self.embed(view)
        asked = [self._view_prompt(view, p) for p in prompts]
        started = time.perf_counter()
        masks = self.model.decode(embedding, asked)
        self._spent("decode", started, len(prompts))
        started = time.perf_counter()
        results = [
            self._result(view, mask, seen, prompt)
            for mask, seen, prompt in zip(masks, asked, prompts, strict=True)
        ]
        self._spent("resize", started)
        return results

    def whole(self, index: int) -> View:
        """The view of a whole slice."""
        return View.whole(index, self.stack.shape, self.model.spec.view_size)

    def beginning(self) -> ToldMemory:
        """A tracking model's memory of nothing."""
        return ToldMemory.of_nothing(self._tracking.begin(len(self.stack)))

    def remember(self, memory: ToldMemory, result: SliceResult, *, prompted: bool) -> ToldMemory:
        """A tracking model's memory with an object's mask on one more slice."""
        view, mask = self.whole(result.index), result.answered
        if mask is None:
            logits = view.mask_prompt(result.logits, result.region, self.model.spec.view_size)
            judged = np.array([result.predicted_iou], np.float32)
            mask = ViewMask(logits[None], judged, result.present)
        return memory.told(Step(result.index, mask, prompted))

    def track(self, memory: ToldMemory, index: int, direction: int) -> SliceResult:
        """The object on a slice, from what a tracking model remembers of it."""
        if self._check:
            self._check()
        view, prompt = self.whole(index), SlicePrompt(name="memory")
        kept, (key,) = KeptAnswers(self.store, self.model.spec.weights_hash), self._keys([view])
        mask = kept.get(key, memory, direction)
        if mask is None:
            embedding = self.embed(view)
            started = time.perf_counter()
            told = memory.made(self._tell)
            mask = self._tracking.track(told, index, embedding, direction=direction)
            self._spent("decode", started, 1)
            kept.put(key, memory, direction, mask)
        return self._result(view, mask, ViewPrompt(), prompt)

    def _tell(self, memory: Memory, step: Step) -> Memory:
        embedding = self.embed(self.whole(step.index))
        return self._tracking.remember(
            memory, step.index, embedding, step.mask, prompted=step.prompted
        )

    @property
    def _tracking(self) -> TrackingModel:
        if not isinstance(self.model, TrackingModel):
            raise TypeError(f"model {self.model.spec.name!r} remembers no slices")
        return self.model

    def embed(self, view: View) -> Embedding:
        """The view's embedding, from the store if it is there."""
        return self.embed_batch([view])[0]

    def embed_batch(self, views: Sequence[View]) -> list[Embedding]:
        """Embeddings of views of equal extent; what the store lacks is encoded in one call."""
        keys = self._keys(views)
        found = {key: kept for key in keys if (kept := self.store.get(key)) is not None}
        missing = [n for n, key in enumerate(keys) if key not in found]
        if missing:
            encoded = self._encode([views[n] for n in missing])
            for n, embedding in zip(missing, encoded, strict=True):
                found[keys[n]] = self.store.put(keys[n], embedding)
        return [found[key] for key in keys]

    def _keys(self, views: Sequence[View]) -> list[str]:
        about = (self.volume_hash, self.stack.plane, self.stack.window)
        return [view_key(*about, view, self.model.spec) for view in views]

    def _encode(self, views: Sequence[View]) -> list[Embedding]:
        started = time.perf_counter()
        batch = self._renderer.render(views)
        self._spent("render", started)
        if self.zoom is None and self.model.spec.expensive_encode:
            self._renderer.expect_next(views)
        started = time.perf_counter()
        embeddings = self.model.encode(batch)
        self._spent("encode", started, len(views))
        return embeddings

    def _spent(self, stage: str, started: float, done: int = 0) -> None:
        """Count the seconds since a stage began, and what was done in them."""
        with self._lock:
            self.seconds[stage] += time.perf_counter() - started
            if done:
                self.counts[stage] += done

    def _view_prompt(self, view: View, prompt: SlicePrompt) -> ViewPrompt:
        kinds = self.model.spec.prompts
        box = view.box(prompt.box) if prompt.box is not None and "box" in kinds else None
        mask = None
        if prompt.prior is not None and prompt.prior.area and "mask" in kinds:
            prior = prompt.prior
            mask = view.mask_prompt(prior.logits, prior.region, self.model.spec.mask_size)
        wanted = "points" in kinds or (box is None and mask is None)  # the model says what it lacks
        strokes = self._stroke_planes(view, prompt.strokes) if "scribble" in kinds else None
        asked = ViewPrompt(
            box=box, mask=mask, depth=prompt.depth, final=prompt.final, strokes=strokes
        )
        if not prompt.points or not wanted:
            return asked
        centres = np.array([(p.row + 0.5, p.col + 0.5) for p in prompt.points])
        positive = np.array([p.positive for p in prompt.points], bool)
        return replace(asked, points=view.points(centres), positive=positive)

    def _stroke_planes(self, view: View, strokes: Sequence[SliceStroke]) -> Float | None:
        """Scribbles in the object and beside it as the view shows them; ``None`` without any."""
        if not strokes:
            return None
        planes = []
        for positive in (True, False):
            own = [stroke.pixels for stroke in strokes if stroke.positive == positive]
            pixels = np.concatenate(own) if own else np.empty((0, 2), np.intp)
            planes.append(stroke_plane(view, pixels, self.model.spec.mask_size))
        return np.stack(planes)

    def _result(
        self, view: View, mask: ViewMask, asked: ViewPrompt, prompt: SlicePrompt
    ) -> SliceResult:
        alike = self.model.spec.candidates == "same object"
        if prompt.candidate and asked.mask is None:
            mask = chosen_candidate(mask, prompt.candidate)
        elif self.multimask:
            mask = several_candidates(mask)
        elif alike and self.recipe.mean and asked.box is not None and asked.mask is None:
            mask = mean_candidate(mask, self.recipe.mean)
        chosen = choose_candidate(mask, asked.mask)
        low_res = mask.low_res_logits[chosen]
        cells = Box2D.from_mask(low_res > KEEP_ABOVE_LOGIT)
        region = view.reach(cells, view.slice_region(self.stack.shape), low_res.shape[-1])
        logits = view.to_slice(low_res, region)
        np.clip(logits, OUTSIDE_LOGIT, -OUTSIDE_LOGIT, out=logits)
        keep = Box2D.from_mask(logits > KEEP_ABOVE_LOGIT)
        return SliceResult(
            index=view.index,
            region=Box2D(
                region.r0 + keep.r0,
                region.c0 + keep.c0,
                region.r0 + keep.r1,
                region.c0 + keep.c1,
            ),
            logits=np.ascontiguousarray(logits[keep.slices]),
            predicted_iou=float(mask.predicted_iou[chosen]),
            stability=float(mask.stability[chosen]),
            present=float(mask.present),
            prompt=prompt.name,
            answered=mask.only(chosen) if self._tracks else None,
        )


def _nothing(index: int, prompt: str) -> SliceResult:
    empty = np.zeros((0, 0), np.float32)
    return SliceResult(index, Box2D(0, 0, 0, 0), empty, 0.0, 0.0, 0.0, prompt)
