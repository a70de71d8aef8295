"""An object seen in several channels or phases of one scan: each by itself, then joined.

Each channel has its own window and is asked with the same prompts, which lie in millimetres of the
first one's grid. Answers count by how sure the model is of them and by how clear a border they have
in their own channel: a phase in which an object does not stand out has little to say. They are
joined where they mean the same thing; one that differs from the surest by more is left out, since
the mean of two objects is neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from sammed.engine.object_volume import NOWHERE, ObjectVolume, dice_of
from sammed.engine.progress import Reporter
from sammed.engine.results import ObjectRun, finished
from sammed.engine.settings import Settings
from sammed.engine.strategy import Scene, Strategy
from sammed.imaging.masks import border_step
from sammed.models.recipe import Recipe
from sammed.prompts import ObjectPrompts
from sammed.views.slices import SliceStack

LOUDEST = 6.0
"""Logits count up to so much, so that no channel can shout the others down."""

FULL_STEP = 2.0
"""Deviations across a border from which on it counts as clear as any."""


LEAST_AGREEMENT = 0.7
"""Dice with the surest channel's answer below which another means something else, as in
`sammed.examples.look`: it does not count."""


@dataclass(frozen=True, eq=False)
class ChannelView:
    """An object in one channel.

    Attributes
    ----------
    volume
        What was found there.
    weight
        How much it counts beside the others, [0, 1]; 0: it means something else.
    agreement
        Dice with the joined object.
    error
        Why nothing was found, or ``""``.
    """

    volume: ObjectVolume
    weight: float
    agreement: float
    error: str


class ChannelsStrategy:
    """Finds an object in each channel and joins the answers.

    Parameters
    ----------
    parts
        Channel → the scene, with its own volume and window, and the strategy there; the first is
        the one whose grid all have.
    settings
        Of the session.
    recipe
        Of the model.
    """

    def __init__(
        self, parts: Mapping[str, tuple[Scene, Strategy]], settings: Settings, recipe: Recipe
    ) -> None:
        self._parts, self._settings, self._recipe = parts, settings, recipe

    @property
    def _first(self) -> Strategy:
        return next(iter(self._parts.values()))[1]

    def check(self, obj: ObjectPrompts) -> None:
        """See `sammed.engine.strategy.Strategy`."""
        self._first.check(obj)

    def slices_to_come(self, objects: Sequence[ObjectPrompts]) -> int | None:
        """See `sammed.engine.strategy.Strategy`."""
        count = self._first.slices_to_come(objects)
        return None if count is None else count * len(self._parts)

    def segment(
        self, obj: ObjectPrompts, former: ObjectRun | None, reporter: Reporter
    ) -> ObjectRun:
        """See `sammed.engine.strategy.Strategy`; what each channel shows is in ``channels``."""
        runs: dict[str, ObjectRun] = {}
        for name, (_, strategy) in self._parts.items():
            before = former.by_channel.get(name) if former is not None else None
            runs[name] = strategy.segment(obj, before, reporter)
        weights = {n: self._weight(n, run) for n, run in runs.items() if not run.error}
        if not any(weights.values()):
            weights = dict.fromkeys(weights, 1.0)
        if not weights:
            return replace(runs[next(iter(runs))], by_channel=runs)
        best = max(weights, key=lambda n: weights[n])
        surest = runs[best].volume
        for n in weights:
            if dice_of(runs[n].volume, surest) < LEAST_AGREEMENT:
                weights[n] = 0.0
        joined = _joined([(runs[n].volume, w) for n, w in weights.items() if w])
        views = {
            n: ChannelView(
                run.volume, round(weights.get(n, 0.0), 4), dice_of(run.volume, joined), run.error
            )
            for n, run in runs.items()
        }
        run, scene = runs[best], self._parts[best][0]
        stack = SliceStack(scene.volume, run.plane, scene.window())
        done = finished(obj, run.trace, joined, stack, self._settings.cleanup, self._recipe.quality)
        return replace(done, channels=views, by_channel=runs, memos=run.memos)

    @property
    def timings(self) -> Mapping[str, float]:
        """See `sammed.engine.strategy.Strategy`."""
        seconds: dict[str, float] = {}
        for _, strategy in self._parts.values():
            for stage, spent in strategy.timings.items():
                seconds[stage] = seconds.get(stage, 0.0) + spent
        return seconds

    @property
    def counts(self) -> Mapping[str, int]:
        """See `sammed.engine.strategy.Strategy`."""
        counts: dict[str, int] = {}
        for _, strategy in self._parts.values():
            for what, number in strategy.counts.items():
                counts[what] = counts.get(what, 0) + number
        return counts

    def _weight(self, name: str, run: ObjectRun) -> float:
        """How sure the model is of it, times how clear its border is in this channel."""
        scene = self._parts[name][0]
        areas = np.array([record.area_mm2 for record in run.slices])
        sure = np.array([max(record.predicted_iou, 0.0) for record in run.slices])
        iou = float(np.average(sure, weights=areas)) if areas.sum() > 0 else 0.0
        block = run.volume.block
        values = scene.window().apply(scene.volume.voxels[block.slices])
        values = values.mean(axis=3) if values.ndim == 4 else values
        return iou * min(1.0, border_step(values, run.volume.mask) / FULL_STEP)


def agreement(views: Mapping[str, ChannelView]) -> float | None:
    """Mean Dice of the channels' own masks with each other; ``None`` of a single one."""
    found = [view.volume for view in views.values() if not view.error]
    if len(found) < 2:
        return None
    return float(np.mean([dice_of(a, b) for a, b in combinations(found, 2)]))


def _joined(parts: Sequence[tuple[ObjectVolume, float]]) -> ObjectVolume:
    block = NOWHERE
    for volume, _ in parts:
        block = block.union(volume.block)
    total = np.zeros(block.shape, np.float32)
    for volume, weight in parts:
        total += weight * np.clip(volume.on(block), -LOUDEST, LOUDEST)
    whole = sum(weight for _, weight in parts)
    return ObjectVolume(block, np.asarray(total / whole, np.float16))
