"""One case: read it, run a model over its objects, collect rows and masks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sammed import io
from sammed.engine.settings import Settings
from sammed.errors import SammedError
from sammed.evaluation import metrics
from sammed.evaluation.manifest import Case
from sammed.evaluation.memory import peak_memory_mb, reset_peak_memory
from sammed.evaluation.objects import Key, key_text, mask_of
from sammed.evaluation.parts import PackedMask, Part, pack
from sammed.evaluation.protocols import Condition, headline
from sammed.evaluation.results import Row
from sammed.evaluation.slice_scores import SliceScore, true_ious
from sammed.evaluation.trial import Step, Target, profile, run_trial
from sammed.imaging.volume import LabelVolume, Volume
from sammed.models.protocols import ImageModel, Model
from sammed.views.embeddings import EmbeddingStore
from sammed.views.slices import PLANES

logger = logging.getLogger(__name__)

KEEP_MASKS = ("A", "B", "B2", "C", "P", "S", "N", "X")
"""Protocols whose predicted masks are kept, for the pictures of the report."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """A case in memory.

    Attributes
    ----------
    case
        Which.
    volume, reference, told
        Image, the labels that are scored against, and those that prompts are simulated from;
        ``None`` if the case cannot be read.
    read_s
        Seconds to read them.
    error
        Why the case cannot be read, or ``""``.
    notes
        What the readers decided or found odd.
    """

    case: Case
    volume: Volume | None = None
    reference: LabelVolume | None = None
    told: LabelVolume | None = None
    read_s: float = 0.0
    error: str = ""
    notes: tuple[str, ...] = ()

    def objects(self, limit: int) -> list[tuple[Key, str]]:
        """Value or region, and name, of the first ``limit`` objects to evaluate; 0: of all."""
        if self.reference is None:
            return []
        wanted = self.case.labels
        if not wanted:
            names, values = self.reference.names, np.unique(self.reference.voxels)
            wanted = {int(v): names.get(int(v), f"label_{v}") for v in values if v}
        return list(wanted.items())[: limit or None]

    def target(self, value: Key, name: str) -> Target | None:
        """An object, or ``None`` if the reference (or the prompts' label map) lacks it."""
        if self.reference is None or self.told is None:
            return None
        reference = mask_of(self.reference.voxels, value)
        told = reference if self.told is self.reference else mask_of(self.told.voxels, value)
        return Target(name, value, reference, told) if reference.any() and told.any() else None


def load(case: Case) -> Loaded:
    """Image and labels of a case; whatever goes wrong is kept as its error."""
    began = time.perf_counter()
    try:
        volume = io.read(case.image)
        if case.modality and not volume.modality:
            volume = replace(volume, modality=case.modality)
        reference = io.read_labels(case.label, like=volume)
        told = io.read_labels(case.prompts, like=volume) if case.prompts else reference
    except Exception as error:  # a broken file must not stop a cohort, whatever its reader raises
        logger.warning("case %s cannot be read: %s", case.id, error)
        return Loaded(case, error=_line(error))
    notes = {case.image: volume.notes, case.label: reference.notes, case.prompt_source: told.notes}
    told_notes = [f"{path.name}: {note}" for path, texts in notes.items() for note in texts]
    if case.note:
        told_notes.insert(0, case.note)
    seconds = time.perf_counter() - began
    return Loaded(case, volume, reference, told, seconds, notes=tuple(told_notes))


@dataclass(frozen=True)
class Task:
    """What is to be done with every object of a case.

    Attributes
    ----------
    name, model
        The model.
    protocol, conditions
        The protocol and all its conditions.
    settings, tolerance_mm, limit
        See `sammed.evaluation.cohort.Plan`.
    others
        Variant → what makes the model that takes the place of ``model`` under it (X).
    """

    name: str
    model: ImageModel
    protocol: str
    conditions: tuple[Condition, ...]
    settings: Settings
    tolerance_mm: float
    limit: int
    others: Mapping[str, Callable[[], Model]] = field(default_factory=dict)

    def model_for(self, condition: Condition) -> Any:
        """The model that segments under a condition."""
        made = self.others.get(condition.variant)
        return made() if made else self.model


@dataclass
class Harvest:
    """Rows, slices, profiles and masks of a part in the making."""

    rows: list[Row] = field(default_factory=list)
    slices: list[SliceScore] = field(default_factory=list)
    profiles: dict[str, list[list[float]]] = field(default_factory=dict)
    masks: dict[str, PackedMask] = field(default_factory=dict)

    def add(self, row: Row, target: Target, step: Step | None) -> None:
        """Add a row, and the slices of the result that it scores."""
        self.rows.append(row)
        if step is not None:
            self.slices += _slices(row, target, step)

    def keep(self, target: Target, step: Step) -> None:
        """Keep an object's profile and mask, for the report."""
        self.profiles[target.name] = profile(step.mask, target.reference, step.axis)
        self.masks[target.name] = pack(step.mask)

    def part(self, part: Part) -> Part:
        """The part with what was harvested."""
        slices = tuple(self.slices)
        return replace(part, rows=tuple(self.rows), slices=slices, profiles=self.profiles)


def run_case(loaded: Loaded, task: Task, part: Part) -> tuple[Part, Harvest, Harvest]:
    """Run a task over the objects of a case.

    Parameters
    ----------
    loaded
        The case.
    task
        What to do.
    part
        The part to fill: which case, model and protocol.

    Returns
    -------
    part, harvest
        Filled, and with the masks of the headline condition.
    start
        Of protocol C the start before any click, which is all of protocol B.
    """
    part = replace(
        part,
        read_s=loaded.read_s,
        prompts=_source(loaded.case),
        error=loaded.error,
        notes=loaded.notes,
    )
    harvest, start = Harvest(), Harvest()
    if loaded.volume is None:
        return part, harvest, start
    reset_peak_memory()
    stands_for = headline(task.protocol, list(task.conditions))
    store = EmbeddingStore() if task.model.spec.zoom is None else None
    for value, name in loaded.objects(task.limit):
        target = loaded.target(value, name)
        if target is None:
            blank = _blank(loaded.case, name, value, task.name, task.conditions[0])
            lacking = replace(blank, error="the label is absent from the reference")
            harvest.rows.append(lacking)
            start.rows.append(replace(lacking, protocol="B"))
            continue
        for condition in task.conditions:
            last = None
            for row, step in _rows(loaded, target, task, condition, store):
                harvest.add(row, target, step)
                last = step or last
                if task.protocol == "C" and row.step == 0:
                    start.add(replace(row, protocol="B"), target, step)
                    if step is not None:
                        start.keep(target, step)
            if condition == stands_for and last is not None and task.protocol in KEEP_MASKS:
                harvest.keep(target, last)
    return replace(harvest.part(part), peak_mb=peak_memory_mb()), harvest, start


def _rows(
    loaded: Loaded,
    target: Target,
    task: Task,
    condition: Condition,
    store: EmbeddingStore | None,
) -> Iterator[tuple[Row, Step | None]]:
    """Scores of each step; an engine that breaks leaves a row with its error."""
    case, volume = loaded.case, loaded.volume
    blank = _blank(case, target.name, target.label, task.name, condition)
    if volume is None:
        return
    try:
        for step in run_trial(
            volume, target, task.model_for(condition), condition, task.settings, store, case.id
        ):
            yield _scored(blank, step, target, volume.spacing, task.tolerance_mm), step
    except Exception as error:  # recorded; the other objects go on
        logger.warning("%s, %s, %s: %s", case.id, target.name, condition.protocol, error)
        yield replace(blank, error=_line(error)), None


def _blank(case: Case, label: str, value: Key, model: str, condition: Condition) -> Row:
    return Row(
        case=case.id,
        subject=case.subject or case.id,
        area=case.area,
        modality=case.modality,
        truth=case.truth,
        object=label,
        label=key_text(value),
        model=model,
        protocol=condition.protocol,
        variant=condition.variant,
        seed=condition.seed,
    )


def _scored(
    blank: Row,
    step: Step,
    target: Target,
    spacing: tuple[float, float, float],
    tolerance_mm: float,
) -> Row:
    scores = metrics.score(step.mask, target.reference, spacing, tolerance_mm).as_dict()
    values: dict[str, Any] = dict(scores)
    return replace(
        blank,
        **values,
        step=step.number,
        boxes=len(step.prompts.boxes),
        blocks=len(step.prompts.blocks),
        points=len(step.prompts.points),
        seconds=step.seconds,
        encode_s=step.encode_s,
        decode_s=step.decode_s,
        stops="; ".join(step.stops),
        error=step.error,
    )


def _slices(row: Row, target: Target, step: Step) -> list[SliceScore]:
    of = row.case, row.object, row.model, row.protocol, row.variant, row.seed, row.step
    plane = list(PLANES)[step.axis]
    found = true_ious(step.predicted, step.mask, target.reference, step.axis)
    return [SliceScore(*of, plane, *line) for line in found]


def _source(case: Case) -> str:
    if case.prompts:
        return f"simulated from another label map, {case.prompts.name}"
    return "simulated from the reference that is scored"


def _line(error: Exception) -> str:
    """An error as one line; of what is no `SammedError` the type as well."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, SammedError) else f"{type(error).__name__}: {text}"
