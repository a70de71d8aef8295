"""Factors of all objects of a finished run, case by case: what was measured is not done again."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammed.evaluation.case_run import Loaded, load
from sammed.evaluation.cohort import Plan
from sammed.evaluation.factors import Judged, JudgedSlice
from sammed.evaluation.manifest import Case
from sammed.evaluation.parts import Part, PartStore
from sammed.evaluation.protocols import Condition, headline, start_prompts
from sammed.evaluation.results import Row
from sammed.evaluation.trial import Target
from sammed.imaging.boxes import Box3D
from sammed.imaging.intensity import Window
from sammed.imaging.masks import dice
from sammed.imaging.volume import Volume
from sammed.io import atomic_text
from sammed.many.content import fingerprint
from sammed.models.catalogue import BASELINES
from sammed.reporting import borders, factors
from sammed.reporting.factors import Factors, looseness, measure, window_for
from sammed.views.slices import PLANES, choose_plane

FORMAT = "sammed-factors/1"

BOXED = ("A", "B", "B2", "C")
"""Protocols whose prompts are boxes, of which it can be told how loose they are."""

Bool3 = NDArray[np.bool_]
Told = Callable[[str, int, int], None]


@dataclass(frozen=True)
class FactorsOfRun:
    """What may explain the results of a run.

    Attributes
    ----------
    objects
        A line for each scored result of a model that is no baseline.
    slices
        A line for each slice of the references, of results whose masks were kept.
    """

    objects: tuple[Judged, ...] = ()
    slices: tuple[JudgedSlice, ...] = ()


def measure_run(
    plan: Plan,
    parts: Sequence[Part],
    out: Path,
    told: Told = lambda case, done, total: None,
) -> FactorsOfRun:
    """Measure the factors of a run; what an earlier call measured of the same results is kept.

    Parameters
    ----------
    plan, parts
        What was run, and what came of it.
    out
        The run's folder; factors of each case are kept in ``factors/``.
    told
        Called with the case, how many are done and how many there are.

    Returns
    -------
    FactorsOfRun
        Without baselines, and without cases that could not be run.
    """
    store = PartStore(out)
    objects: list[Judged] = []
    slices: list[JudgedSlice] = []
    for number, case in enumerate(plan.cases):
        told(case.id, number, len(plan.cases))
        own = [p for p in parts if p.case == case.id and p.model not in BASELINES and not p.error]
        if own:
            found = _of_case(plan, case, own, store)
            objects += found.objects
            slices += found.slices
    return FactorsOfRun(tuple(objects), tuple(slices))


def _of_case(plan: Plan, case: Case, parts: Sequence[Part], store: PartStore) -> FactorsOfRun:
    path = store.folder.parent / "factors" / f"{case.id}.json"
    mark = fingerprint(FORMAT, source_hash(), [p.fingerprint for p in parts])
    kept = _kept(path, mark)
    if kept is not None:
        return kept
    found = _measured(plan, load(case), parts, store)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "format": FORMAT,
        "mark": mark,
        "objects": [one.as_dict() for one in found.objects],
        "slices": [one.as_dict() for one in found.slices],
    }
    atomic_text(path, json.dumps(content, allow_nan=False), force=True)
    return found


def _kept(path: Path, mark: str) -> FactorsOfRun | None:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if content.get("mark") != mark:
        return None
    objects = tuple(Judged.from_dict(values) for values in content["objects"])
    return FactorsOfRun(objects, tuple(JudgedSlice.from_dict(v) for v in content["slices"]))


@cache
def source_hash() -> str:
    """SHA-256 (hex) of the source on which factors depend."""
    digest = hashlib.sha256()
    for module in (borders.__file__, factors.__file__, __file__):
        digest.update(Path(module).read_bytes())
    return digest.hexdigest()


def _measured(plan: Plan, loaded: Loaded, parts: Sequence[Part], store: PartStore) -> FactorsOfRun:
    objects: list[Judged] = []
    slices: list[JudgedSlice] = []
    for value, name in loaded.objects(plan.limit):
        target = loaded.target(value, name)
        if target is None or loaded.volume is None:
            continue
        object_ = _Object(loaded.case, loaded.volume, target)
        for part in parts:
            stands_for = headline(part.protocol, plan.conditions(part.protocol, part.model))
            rows = [row for row in part.rows if row.object == name and row.scored]
            last = max((row.step for row in rows), default=0)
            for row in rows:
                is_headline = (row.variant, row.seed) == (stands_for.variant, stands_for.seed)
                mask = None
                if is_headline and row.step == last:
                    mask = _mask(store, row, loaded.volume)
                objects.append(object_.judged(row, part, plan, mask))
                if mask is not None:
                    slices += object_.slices(row, mask)
    return FactorsOfRun(tuple(objects), tuple(slices))


def _mask(store: PartStore, row: Row, volume: Volume) -> Bool3 | None:
    return store.mask(row.case, row.model, row.protocol, row.object, volume.shape)


class _Object:
    """An object of a case, with the factors of its reference and of each of its slices."""

    def __init__(self, case: Case, volume: Volume, target: Target) -> None:
        self.case = case
        self.volume = volume
        self.target = target
        self.axis = PLANES[choose_plane("auto", volume)]
        self.window: Window = window_for(volume, target.reference)
        self.factors = measure(volume, target.reference, self.window, self.axis)
        self._sections: dict[int, Factors] = {}

    def judged(self, row: Row, part: Part, plan: Plan, mask: Bool3 | None) -> Judged:
        """A result with its factors; those of its mask, where there is one."""
        predicted = [
            s.predicted_iou
            for s in part.slices
            if (s.object, s.variant, s.seed, s.step)
            == (row.object, row.variant, row.seed, row.step)
        ]
        own = {name: getattr(row, name) for name in _OF_ROW}
        judged = Judged(
            **own,
            headline=int(mask is not None),
            reference=self.factors,
            predicted_iou=float(np.mean(predicted)) if predicted else math.nan,
            looseness=self._looseness(row, plan, self.target.reference),
        )
        if mask is None or not mask.any():
            return judged
        return replace(
            judged,
            found=measure(self.volume, mask, window_for(self.volume, mask), self.axis),
            found_looseness=self._looseness(row, plan, mask),
        )

    def _looseness(self, row: Row, plan: Plan, mask: Bool3) -> float:
        condition = _condition(row, plan)
        if row.protocol not in BOXED or condition is None:
            return math.nan
        rng = condition.generator(self.case.id, self.target.name)
        prompts = start_prompts(
            condition, self.target.name, self.target.prompts_from, self.axis, rng
        )
        return looseness(prompts, mask)

    def slices(self, row: Row, mask: Bool3) -> Iterator[JudgedSlice]:
        """The slices of the reference, with what the result has on them."""
        if self.volume.shape[self.axis] == 1:
            return
        reference = self.target.reference
        others = tuple(a for a in range(3) if a != self.axis)
        there = np.flatnonzero(reference.any(axis=others))
        own = {name: getattr(row, name) for name in _OF_SLICE}
        for index in map(int, there):
            sections = (np.take(m, index, axis=self.axis) for m in (mask, reference))
            yield JudgedSlice(
                **own,
                slice=index,
                to_end=int(min(index - there[0], there[-1] - index)),
                dice=dice(*sections),
                factors=self._section(index),
            )

    def _section(self, index: int) -> Factors:
        """Factors of the reference's section on a slice, as of a picture."""
        if index not in self._sections:
            low, high = [0, 0, 0], list(self.volume.shape)
            low[self.axis], high[self.axis] = index, index + 1
            at = Box3D(*low, *high).slices
            self._sections[index] = factors.measure_array(
                self.volume.voxels[at],
                self.target.reference[at],
                self.volume.spacing,
                self.window,
                self.axis,
            )
        return self._sections[index]


_OF_ROW = (
    "case", "subject", "area", "modality", "truth", "object", "model", "protocol", "variant",
    "seed", "step", "dice",
)  # fmt: skip
_OF_SLICE = ("case", "subject", "modality", "object", "model", "protocol", "variant")


def _condition(row: Row, plan: Plan) -> Condition | None:
    """The condition under which a row was made."""
    every = plan.conditions(row.protocol, row.model)
    return next((c for c in every if (c.variant, c.seed) == (row.variant, row.seed)), None)
