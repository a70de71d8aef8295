"""Run models over cases under protocols: resumable, and one broken case does not stop the rest."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed import io, metrics
from sammed.embeddings import EmbeddingStore
from sammed.errors import EvaluationError, SammedError
from sammed.evaluation.manifest import Case
from sammed.evaluation.memory import peak_memory_mb, reset_peak_memory
from sammed.evaluation.parts import Part, PartStore, fingerprint
from sammed.evaluation.protocols import JITTERS, Condition, conditions, headline, unsuited
from sammed.evaluation.results import Row
from sammed.evaluation.trial import Step, Target, profile, run_trial
from sammed.models.base import SliceModel
from sammed.session import Settings
from sammed.volume import Volume

logger = logging.getLogger(__name__)

RESULTS_VERSION = 1
"""Raised whenever the same case, model and protocol would be scored otherwise."""

KEEP_MASKS = ("A", "B", "B2", "C", "P")
"""Protocols whose predicted masks are kept, for the pictures of the report."""


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes
    ----------
    cases
        On which images.
    models
        By name, in the order of the tables.
    protocols
        See `sammed.evaluation.protocols`.
    seeds, jitters
        Repetitions, and the ladder of protocol A.
    tolerance_mm
        Of NSD.
    settings
        Of the engine, the same for all.
    limit
        At most this many objects of each case, 0 for all: for a quick look.
    """

    cases: tuple[Case, ...]
    models: Mapping[str, SliceModel]
    protocols: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    jitters: tuple[float, ...] = JITTERS
    tolerance_mm: float = metrics.TOLERANCE_MM
    settings: Settings = field(default_factory=Settings)
    limit: int = 0

    def conditions(self, protocol: str, model: str) -> list[Condition]:
        """All conditions of a protocol in this plan, for one of its models."""
        return conditions(protocol, self.models[model].spec, self.seeds, self.jitters)


@dataclass(frozen=True)
class Advance:
    """How far a run is.

    Attributes
    ----------
    done, total
        Parts (a case, a model, a protocol).
    text
        What is done now.
    seconds_left
        By the mean of what was computed so far; ``None`` before the first.
    """

    done: int
    total: int
    text: str
    seconds_left: float | None


def run_cohort(
    plan: Plan, store: PartStore, progress: Callable[[Advance], None] | None = None
) -> list[Part]:
    """Run a plan; finished parts of an earlier run with the same fingerprint are taken over.

    Parameters
    ----------
    plan
        What to run.
    store
        Where parts are kept.
    progress
        Called before each part.

    Returns
    -------
    list of Part
        In the order of cases, models, protocols; a part that could not be run has an ``error``.

    Raises
    ------
    EvaluationError
        If no model can take part in any of the protocols.
    """
    jobs = _jobs(plan)
    parts: dict[tuple[str, str, str], Part] = {}
    for key, mark in jobs.items():
        kept = store.load(*key, mark)
        if kept is not None:
            parts[key] = kept
    began, kept_count = time.perf_counter(), len(parts)
    for case in plan.cases:
        wanted = [key for key in jobs if key[0] == case.id and key not in parts]
        if not wanted:
            continue
        loaded = _load(case, plan.limit)
        for key in wanted:
            if progress:
                computed = len(parts) - kept_count
                each = (time.perf_counter() - began) / computed if computed else None
                left = each * (len(jobs) - len(parts)) if each else None
                progress(Advance(len(parts), len(jobs), " ".join(key), left))
            part, masks = _run_part(plan, case, loaded, key[1], key[2], jobs[key])
            store.save(part, masks)
            parts[key] = part
    if progress:
        progress(Advance(len(jobs), len(jobs), "done", 0.0))
    return [parts[key] for key in jobs]


def _jobs(plan: Plan) -> dict[tuple[str, str, str], str]:
    """Fingerprint of each part by (case, model, protocol)."""
    jobs = {}
    for case in plan.cases:
        for name, model in plan.models.items():
            for protocol in plan.protocols:
                if unsuited(protocol, model.spec):
                    continue
                jobs[case.id, name, protocol] = fingerprint(
                    RESULTS_VERSION,
                    {**vars(case), "labels": {str(k): v for k, v in case.labels.items()}},
                    [_file_state(p) for p in (case.image, case.label, case.prompt_source)],
                    vars(model.spec),
                    [vars(c) for c in plan.conditions(protocol, name)],
                    [plan.tolerance_mm, plan.limit, plan.settings],
                )
    if not jobs:
        why = {unsuited(p, m.spec) for p in plan.protocols for m in plan.models.values()}
        raise EvaluationError("nothing to run: " + "; ".join(sorted(why)))
    return jobs


def _file_state(path: Path) -> list[Any]:
    try:
        state = path.stat()
    except OSError:
        return [path.name]
    return [path.name, state.st_size, state.st_mtime_ns]


@dataclass(frozen=True, eq=False)
class _Loaded:
    volume: Volume | None = None
    targets: tuple[Target, ...] = ()
    absent: tuple[tuple[int, str], ...] = ()
    read_s: float = 0.0
    error: str = ""


def _load(case: Case, limit: int) -> _Loaded:
    """Image and reference; a case that cannot be read has an error instead."""
    began = time.perf_counter()
    try:
        volume = io.read(case.image)
        if case.modality and not volume.modality:
            volume = replace(volume, modality=case.modality)
        labels = io.read_labels(case.label, like=volume)
        told = io.read_labels(case.prompts, like=volume) if case.prompts else labels
    except Exception as error:
        logger.warning("case %s cannot be read: %s", case.id, error)
        return _Loaded(error=_line(error))
    wanted = case.labels or {
        int(v): labels.names.get(int(v), f"label_{v}") for v in np.unique(labels.voxels) if v
    }
    targets, absent = [], []
    for value, name in list(wanted.items())[: limit or None]:
        reference = labels.voxels == value
        prompts_from = told.voxels == value if case.prompts else reference
        if reference.any() and prompts_from.any():
            targets.append(Target(name, value, reference, prompts_from))
        else:
            absent.append((value, name))
    return _Loaded(volume, tuple(targets), tuple(absent), time.perf_counter() - began)


def _run_part(
    plan: Plan, case: Case, loaded: _Loaded, name: str, protocol: str, mark: str
) -> tuple[Part, dict[str, NDArray[np.bool_]]]:
    part = Part(case.id, name, protocol, mark, read_s=loaded.read_s, prompts=_source(case))
    if loaded.volume is None:
        return replace(part, error=loaded.error), {}
    reset_peak_memory()
    model = plan.models[name]
    wanted = plan.conditions(protocol, name)
    stands_for = headline(protocol, wanted)
    store = EmbeddingStore() if model.spec.zoom is None else None
    rows: list[Row] = []
    profiles: dict[str, list[list[float]]] = {}
    masks: dict[str, NDArray[np.bool_]] = {}
    for value, label in loaded.absent:
        error = "the label is absent from the reference"
        rows.append(replace(_blank(case, label, value, name, wanted[0]), error=error))
    for target in loaded.targets:
        for condition in wanted:
            last = None
            for row, step in _rows(plan, case, loaded.volume, target, name, condition, store):
                rows.append(row)
                last = step or last
            if condition == stands_for and last is not None and protocol in KEEP_MASKS:
                profiles[target.name] = profile(last.mask, target.reference, last.axis)
                masks[target.name] = last.mask
    part = replace(part, rows=tuple(rows), profiles=profiles, peak_mb=peak_memory_mb())
    return part, masks


def _rows(
    plan: Plan,
    case: Case,
    volume: Volume,
    target: Target,
    name: str,
    condition: Condition,
    store: EmbeddingStore | None,
) -> Iterator[tuple[Row, Step | None]]:
    """Scores of each step; an engine that breaks leaves a row with its error."""
    blank = _blank(case, target.name, target.label, name, condition)
    model = plan.models[name]
    try:
        for step in run_trial(volume, target, model, condition, plan.settings, store, case.id):
            yield _scored(blank, step, target, volume.spacing, plan.tolerance_mm), step
    except Exception as error:
        logger.warning("%s, %s, %s: %s", case.id, target.name, condition.protocol, error)
        yield replace(blank, error=_line(error)), None


def _blank(case: Case, label: str, value: int, model: str, condition: Condition) -> Row:
    return Row(
        case=case.id,
        subject=case.subject or case.id,
        area=case.area,
        modality=case.modality,
        truth=case.truth,
        object=label,
        label=value,
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


def _source(case: Case) -> str:
    if case.prompts:
        return f"simulated from another label map, {case.prompts.name}"
    return "simulated from the reference that is scored"


def _line(error: Exception) -> str:
    """An error as one line; of what is no `SammedError` the type as well."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, SammedError) else f"{type(error).__name__}: {text}"
