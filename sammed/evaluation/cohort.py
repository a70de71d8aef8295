"""Run models over cases under protocols: resumable, and one broken case does not stop the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from sammed.engine.settings import Settings
from sammed.errors import EvaluationError
from sammed.evaluation import case_run, metrics
from sammed.evaluation.case_run import Harvest, Loaded, load, run_case
from sammed.evaluation.from_examples import chosen, models_for, source_hash
from sammed.evaluation.manifest import Case
from sammed.evaluation.parts import Part, PartStore
from sammed.evaluation.protocols import JITTERS, Condition, conditions, unsuited
from sammed.many.content import fingerprint, is_same, look
from sammed.many.crew import Crew, Tell
from sammed.many.memory import needed
from sammed.many.runner import Told, run_many
from sammed.many.task import Entry, Task, Watch
from sammed.models import registry
from sammed.models.catalogue import BASELINES
from sammed.models.protocols import ImageModel, Model

ENGINE_FILES = (
    "engine", "imaging", "prompts", "views", "session.py", "evaluation/case_run.py",
    "evaluation/metrics.py", "evaluation/protocols.py", "evaluation/slice_scores.py",
    "evaluation/trial.py",
)  # fmt: skip
"""Baselines and rooms on which scores depend: results of other code are not taken over."""

Key = tuple[str, str, str]
"""Case, model, protocol."""

Build = Callable[[], Mapping[str, ImageModel]]
"""Gives models by name."""

OVER_VOLUME = 12
"""A worker's peak over the bytes of an image: masks, references, distance maps in float64."""


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
class CohortJob:
    """A plan as its workers know it; see `sammed.many.task.Job`.

    Attributes
    ----------
    plan
        What to run. Its models stay behind if they can be built where they are needed.
    folder
        Of the results.
    mark
        Hash of all parts that there are to be.
    build
        Gives the models by name, in the process that runs them.
    """

    plan: Plan
    folder: Path
    mark: str
    build: Build | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What travels: models only if nothing says how to build them."""
        plan = self.plan if self.build is None else replace(self.plan, models={})
        return {**vars(self), "plan": plan}

    @property
    def record(self) -> Path:
        """Where it is kept what became of each case."""
        return self.folder / "record"

    def prepare(self) -> Plan:
        """The plan, with models that can run."""
        if self.plan.models or self.build is None:
            return self.plan
        return replace(self.plan, models=self.build())

    def memory(self) -> int:
        """See `sammed.many.task.Job`."""
        return needed((case.image for case in self.plan.cases), OVER_VOLUME)

    def finished(self, task: Task, entry: Entry | None) -> Mapping[str, Any] | None:
        """The result, if all parts of a case are there, of the files as they are now."""
        case, marks = task.what
        inputs = {} if entry is None else entry.result.get("inputs", {})
        if not all(is_same(path, inputs.get(role)) for role, path in _files(case).items()):
            return None
        store, now = PartStore(self.folder), _of_content(marks, inputs)
        if any(store.load(*key, mark) is None for key, mark in now.items()):
            return None
        return {"inputs": inputs}

    def begin(self, task: Task, entry: Entry | None) -> Mapping[str, Any]:
        """Nothing: parts replace none but their own."""
        return {} if entry is None else {"inputs": entry.result.get("inputs", {})}

    def work(self, tools: Plan, task: Task, entry: Entry | None, watch: Watch) -> Mapping[str, Any]:
        """Run all models under all protocols on a case, part by part."""
        case, marks = task.what
        known = {} if entry is None else entry.result.get("inputs", {})
        inputs = {role: look(path, known.get(role)) for role, path in _files(case).items()}
        now, store = _of_content(marks, inputs), PartStore(self.folder)
        there = {key for key, mark in now.items() if store.load(*key, mark) is not None}
        loaded = load(case)
        for key in sorted(now.keys() - there, key=lambda k: (k[2] != "C", list(now).index(k))):
            if key in there:
                continue  # C brings B along
            watch.check()
            watch.tell(" ".join(key[1:]))
            for part, harvest in _run(tools, loaded, key, now):
                store.save(part, harvest.masks)
                there.add((part.case, part.model, part.protocol))
        return {"inputs": inputs, **({"error": loaded.error} if loaded.error else {})}


def run_cohort(
    plan: Plan,
    store: PartStore,
    progress: Told = lambda advance: None,
    *,
    crew: Crew = Crew(),  # noqa: B008 - a value
    build: Build | None = None,
    say: Tell = lambda line: None,
) -> list[Part]:
    """Run a plan; finished parts of an earlier run with the same fingerprint are taken over.

    Results do not depend on who does the work, nor on how many there are.

    Parameters
    ----------
    plan
        What to run.
    store
        Where parts are kept.
    progress
        Called whenever something has changed.
    crew
        Who does the work.
    build
        Gives the plan's models in a worker; without it they travel there as they are.
    say
        Takes lines for the user.

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
    tasks = [
        Task(case.id, (case, {key: mark for key, mark in jobs.items() if key[0] == case.id}))
        for case in plan.cases
    ]
    job = CohortJob(plan, store.folder.parent.absolute(), fingerprint(list(jobs.values())), build)
    about = {"job": "evaluate", "models": list(plan.models), "protocols": plan.protocols}
    outcomes = run_many(job, tasks, crew, about=about, told=progress, say=say)
    parts: list[Part] = []
    for task, outcome in zip(tasks, outcomes, strict=True):
        _, marks = task.what
        for key, mark in _of_content(marks, outcome.result.get("inputs", {})).items():
            part = store.load(*key, mark, failed=True)
            parts.append(part or Part(*key, mark, error=outcome.error))
    return parts


def build_models(
    wanted: Mapping[str, str], device: str, threads: int | None
) -> dict[str, ImageModel]:
    """Models by the names that tables show.

    Parameters
    ----------
    wanted
        Name in tables → registry name or weights file.
    device, threads
        Where they run.

    Raises
    ------
    InputError, ModelError
        See `sammed.models.registry.build`.
    """
    built: dict[str, Any] = {
        shown: registry.build(name, device=device, threads=threads)
        for shown, name in wanted.items()
    }
    return built


def idle_baselines(
    models: Mapping[str, ImageModel], asked: Collection[str], protocols: Collection[str]
) -> list[str]:
    """Baselines that nobody asked for by name and that have no part in any of the protocols."""
    spare = [name for name in models if name in BASELINES and name not in asked]
    return [n for n in spare if all(unsuited(p, models[n].spec) for p in protocols)]


def _files(case: Case) -> dict[str, Path]:
    """The files on which the results of a case depend, by what they are."""
    files = {"image": case.image, "label": case.label, "prompts": case.prompt_source}
    return {role: path.absolute() for role, path in files.items()}


def _of_content(
    marks: Mapping[Key, str], inputs: Mapping[str, Mapping[str, str]]
) -> dict[Key, str]:
    """Fingerprints of parts, with the content of the case's files in them."""
    content = {role: state["sha256"] for role, state in inputs.items()}
    return {key: fingerprint(mark, content) for key, mark in marks.items()}


def _run(
    plan: Plan, loaded: Loaded, key: Key, jobs: Mapping[Key, str]
) -> Iterator[tuple[Part, Harvest]]:
    """The part of a key; with one of protocol C that of B, which is its start."""
    _, model, protocol = key
    task = case_run.Task(
        model,
        plan.models[model],
        protocol,
        tuple(plan.conditions(protocol, model)),
        plan.settings,
        plan.tolerance_mm,
        plan.limit,
        _explained(plan, loaded.case, model) if protocol == "X" else {},
    )
    part, harvest, start = run_case(loaded, task, Part(*key, jobs[key]))
    yield part, harvest
    twin = (part.case, model, "B")
    if protocol == "C" and twin in jobs:
        yield start.part(replace(part, protocol="B", fingerprint=jobs[twin])), start


def _explained(plan: Plan, case: Case, model: str) -> Mapping[str, Callable[[], Model]]:
    return models_for(case, plan.cases, plan.models[model], plan.seeds[0])


def _examples(plan: Plan, case: Case) -> list[Any]:
    """What the answers of protocol X depend on beside the case."""
    others = chosen(case, plan.cases, plan.seeds[0])
    return [source_hash(), [_described(one) for one in others]]


def _jobs(plan: Plan) -> dict[Key, str]:
    """Fingerprint of each part by (case, model, protocol), but for the content of its files."""
    jobs: dict[Key, str] = {}
    for case in plan.cases:
        for name, model in plan.models.items():
            for protocol in plan.protocols:
                if unsuited(protocol, model.spec):
                    continue
                jobs[case.id, name, protocol] = fingerprint(
                    engine_hash(name in BASELINES, protocol == "D"),
                    _described(case),
                    vars(model.spec),
                    [vars(c) for c in plan.conditions(protocol, name)],
                    [plan.tolerance_mm, plan.limit, plan.settings],
                    *(_examples(plan, case) if protocol == "X" else ()),
                )
    if not jobs:
        why = {
            f"{name} {unsuited(p, model.spec)}"
            for p in plan.protocols
            for name, model in plan.models.items()
        }
        raise EvaluationError("nothing to run: " + "; ".join(sorted(why)))
    return jobs


def _described(case: Case) -> dict[str, Any]:
    """What a manifest says of a case; its files count by what they hold, not by where they lie."""
    names = {"image": case.image.name, "label": case.label.name}
    prompts = case.prompts.name if case.prompts else None
    labels = {str(k): v for k, v in case.labels.items()}
    return {**vars(case), **names, "prompts": prompts, "labels": labels}


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
    baselines = [models / "baselines.py", models / "stroke_baselines.py"]
    files += baselines if baseline else _sources(models)
    if disturbed:
        files.append(package / "evaluation" / "distortion.py")
    return files


def _sources(room: Path) -> list[Path]:
    """A module, or all modules of a package and of those in it."""
    return sorted(room.rglob("*.py")) if room.is_dir() else [room]
