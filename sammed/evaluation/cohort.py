"""Run models over cases under protocols: resumable, and one broken case does not stop the rest."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from sammed.engine.settings import Settings
from sammed.errors import EvaluationError
from sammed.evaluation import metrics
from sammed.evaluation.case_run import Harvest, Loaded, Task, load, run_case
from sammed.evaluation.manifest import Case
from sammed.evaluation.parts import Part, PartStore, fingerprint
from sammed.evaluation.protocols import JITTERS, Condition, conditions, unsuited
from sammed.models.catalogue import BASELINES
from sammed.models.protocols import ImageModel

ENGINE_FILES = (
    "engine", "imaging", "prompts", "views", "session.py", "evaluation/case_run.py",
    "evaluation/metrics.py", "evaluation/protocols.py", "evaluation/slice_scores.py",
    "evaluation/trial.py",
)  # fmt: skip
"""Baselines and rooms on which scores depend: results of other code are not taken over."""

Key = tuple[str, str, str]
"""Case, model, protocol."""


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
    models: Mapping[str, ImageModel]
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
    parts = {k: part for k, mark in jobs.items() if (part := store.load(*k, mark)) is not None}
    pace = _Pace(len(jobs), len(parts))
    for case in plan.cases:
        wanted = [key for key in jobs if key[0] == case.id and key not in parts]
        if not wanted:
            continue
        loaded = load(case)
        for key in sorted(wanted, key=lambda k: k[2] != "C"):  # C brings B along
            if key in parts:
                continue
            if progress:
                progress(pace.at(len(parts), " ".join(key)))
            for part, harvest in _run(plan, loaded, key, jobs):
                store.save(part, harvest.masks)
                parts[part.case, part.model, part.protocol] = part
    if progress:
        progress(pace.at(len(jobs), "done"))
    return [parts[key] for key in jobs]


def _run(
    plan: Plan, loaded: Loaded, key: Key, jobs: Mapping[Key, str]
) -> Iterator[tuple[Part, Harvest]]:
    """The part of a key; with one of protocol C that of B, which is its start."""
    _, model, protocol = key
    task = Task(
        model,
        plan.models[model],
        protocol,
        tuple(plan.conditions(protocol, model)),
        plan.settings,
        plan.tolerance_mm,
        plan.limit,
    )
    part, harvest, start = run_case(loaded, task, Part(*key, jobs[key]))
    yield part, harvest
    twin = (part.case, model, "B")
    if protocol == "C" and twin in jobs:
        yield start.part(replace(part, protocol="B", fingerprint=jobs[twin])), start


class _Pace:
    """Time left, by the mean of what was computed so far."""

    def __init__(self, total: int, kept: int) -> None:
        self.total, self.kept = total, kept
        self.began = time.perf_counter()

    def at(self, done: int, text: str) -> Advance:
        computed = done - self.kept
        spent = time.perf_counter() - self.began
        left = spent / computed * (self.total - done) if computed else None
        return Advance(done, self.total, text, left)


def _jobs(plan: Plan) -> dict[Key, str]:
    """Fingerprint of each part by (case, model, protocol)."""
    jobs: dict[Key, str] = {}
    for case in plan.cases:
        for name, model in plan.models.items():
            for protocol in plan.protocols:
                if unsuited(protocol, model.spec):
                    continue
                jobs[case.id, name, protocol] = fingerprint(
                    engine_hash(name in BASELINES, protocol == "D"),
                    {**vars(case), "labels": {str(k): v for k, v in case.labels.items()}},
                    [_file_state(p) for p in (case.image, case.label, case.prompt_source)],
                    vars(model.spec),
                    [vars(c) for c in plan.conditions(protocol, name)],
                    [plan.tolerance_mm, plan.limit, plan.settings],
                )
    if not jobs:
        why = {
            f"{name} {unsuited(p, model.spec)}"
            for p in plan.protocols
            for name, model in plan.models.items()
        }
        raise EvaluationError("nothing to run: " + "; ".join(sorted(why)))
    return jobs


@cache
def engine_hash(baseline: bool, disturbed: bool) -> str:
    """SHA-256 (hex) of the source on which scores depend.

    Parameters
    ----------
    baseline
        Of the models' code that of the baselines alone.
    disturbed
        With that of protocol D's disturbances.
    """
    digest = hashlib.sha256()
    for file in engine_files(baseline, disturbed):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def engine_files(baseline: bool, disturbed: bool) -> list[Path]:
    """The sources that `engine_hash` reads, with the same parameters."""
    package = Path(__file__).parents[1]
    files = [file for name in ENGINE_FILES for file in _sources(package / name)]
    models = package / "models"
    files += [models / "baselines.py"] if baseline else _sources(models)
    if disturbed:
        files.append(package / "evaluation" / "distortion.py")
    return files


def _sources(room: Path) -> list[Path]:
    """A module, or all modules of a package and of those in it."""
    return sorted(room.rglob("*.py")) if room.is_dir() else [room]


def _file_state(path: Path) -> list[Any]:
    try:
        state = path.stat()
    except OSError:
        return [path.name]
    return [path.name, state.st_size, state.st_mtime_ns]
