"""Write what a run has found: two tables, ``summary.json`` and ``report.html``."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from sammed.errors import EvaluationError, OutputError
from sammed.evaluation import factors, failures, figures, html, slice_scores, tables
from sammed.evaluation.case_run import KEEP_MASKS
from sammed.evaluation.cohort import Plan
from sammed.evaluation.factor_run import FactorsOfRun
from sammed.evaluation.failures import Failing, failing_json
from sammed.evaluation.html import Background, Gallery
from sammed.evaluation.label_maps import LabelScores
from sammed.evaluation.parts import Part, PartStore
from sammed.evaluation.pictures import choose_rows, draw_rows
from sammed.evaluation.protocols import unsuited
from sammed.evaluation.reliability import reliability_json
from sammed.evaluation.results import to_csv
from sammed.evaluation.tables import Results
from sammed.io import atomic_text
from sammed.io.output import check_folder
from sammed.models.catalogue import BASELINES
from sammed.version import __version__

FORMAT = "sammed-evaluation/1"
LABELS_FORMAT = "sammed-label-scores/1"

OUTPUTS = ("results.csv", "slices.csv", "summary.json", "report.html")
"""What `write_outputs` writes."""

FACTOR_OUTPUTS = ("factors.csv", "factors_slices.csv")
"""What it writes beside them if factors were measured."""

PICTURES = 6
"""Worst and typical objects that are shown of each model and protocol."""


def write_outputs(
    plan: Plan,
    parts: Sequence[Part],
    out: Path,
    command: str = "",
    title: str = "Evaluation",
    found: FactorsOfRun | None = None,
) -> Results:
    """Write `OUTPUTS` into a folder; those of an earlier run are replaced.

    Parameters
    ----------
    plan, parts
        What was run, and what came of it.
    out
        An existing folder.
    command
        The command line, for the record.
    title
        Head of the report.
    found
        Factors of the objects, if they were measured: `FACTOR_OUTPUTS` are written, too.

    Returns
    -------
    Results
        For what else is to be shown.

    Raises
    ------
    EvaluationError
        If nothing could be scored; all but the report is written all the same.
    """
    results = Results(parts)
    facts = run_facts(plan, command)
    atomic_text(out / "results.csv", to_csv(results.rows), force=True)
    scores = (score for part in parts for score in part.slices)
    atomic_text(out / "slices.csv", slice_scores.to_csv(scores), force=True)
    failing: list[Failing] = []
    if found is not None:
        atomic_text(out / "factors.csv", factors.to_csv(found.objects), force=True)
        atomic_text(out / "factors_slices.csv", factors.slices_to_csv(found.slices), force=True)
        failing = _failing(found, results, plan, out)
    sources = Counter(part.prompts for part in {p.case: p for p in parts}.values())
    summary = {
        "format": FORMAT,
        "facts": facts,
        "prompts": dict(sources),
        "prompts_from_scored_label": _from_scored_label(plan),
        "results": tables.as_json(results),
        "predicted_iou": reliability_json(results),
        "factors": failing_json(failing),
        "cost": tables.cost_json(results),
        "errors": sorted({(p.case, p.error) for p in parts if p.error}),
        "notes": {p.case: list(p.notes) for p in parts if p.notes},
    }
    atomic_text(out / "summary.json", json.dumps(summary, indent=1, allow_nan=False), force=True)
    if not any(row.scored for row in results.rows):
        reasons = [p.error for p in parts if p.error] + [r.error for r in results.rows if r.error]
        raise EvaluationError(f"no object could be scored; the first reason: {reasons[0]}")
    background = Background(
        facts=facts,
        prompts=tuple(f"In {n} cases they were {text}." for text, n in sources.items()),
        from_scored_label=_from_scored_label(plan),
        left_out=_left_out(plan),
        tolerance_mm=plan.tolerance_mm,
        figures=figures.draw(results),
        galleries=_galleries(results, plan, PartStore(out)),
        failing=failing,
    )
    atomic_text(out / "report.html", html.page(results, background, title), force=True)
    return results


def _failing(found: FactorsOfRun, results: Results, plan: Plan, out: Path) -> list[Failing]:
    return failures.failing(found, results, plan.cases, PartStore(out), plan.settings.window)


def _galleries(results: Results, plan: Plan, store: PartStore) -> list[Gallery]:
    """Pictures of every model that is no baseline; of the first if all are."""
    cases = {case.id: case for case in plan.cases}
    shown = [m for m in results.models if m not in BASELINES] or list(results.models[:1])
    galleries = []
    for model in shown:
        for protocol in (p for p in results.protocols if p in KEEP_MASKS):
            group = results.headline(protocol, model)
            if group is None:
                continue
            seed = min(row.seed for row in group.rows)
            worst, typical = choose_rows((r for r in group.rows if r.seed == seed), PICTURES)
            drawn = [draw_rows(r, cases, store, plan.settings.window) for r in (worst, typical)]
            galleries.append(Gallery(f"{model}, {results.headline_name(protocol)}", *drawn))
    return galleries


def _from_scored_label(plan: Plan) -> bool:
    return any(case.prompts is None for case in plan.cases)


def _left_out(plan: Plan) -> tuple[str, ...]:
    """One sentence for each reason, naming the models."""
    models: dict[str, list[str]] = {}
    for protocol in plan.protocols:
        for name, model in plan.models.items():
            if reason := unsuited(protocol, model.spec):
                models.setdefault(reason, []).append(name)
    return tuple(f"{', '.join(names)}: {reason}" for reason, names in models.items())


def write_label_report(found: LabelScores, out: Path, command: str, title: str) -> None:
    """Write ``scores.csv``, ``summary.json`` and ``report.html`` of two label maps."""
    make_folder(out)
    files = {"prediction": found.prediction, "reference": found.reference}
    facts = {**environment(), "command": command, **files, "notes": "; ".join(found.notes) or "–"}
    atomic_text(out / "scores.csv", found.csv(), force=True)
    summary = {"format": LABELS_FORMAT, "facts": facts, **found.as_json()}
    atomic_text(out / "summary.json", json.dumps(summary, indent=1, allow_nan=False), force=True)
    page = html.labels_page(found.table(), facts, found.tolerance_mm, title)
    atomic_text(out / "report.html", page, force=True)


def make_folder(out: Path) -> None:
    """Make the output folder, if it is not there yet.

    Raises
    ------
    OutputError
        If it cannot be made.
    """
    try:
        check_folder(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {out}: {error.strerror}") from None


def run_facts(plan: Plan, command: str) -> dict[str, str]:
    """Versions, hardware and settings by name, as texts."""
    weights = {n: m.spec.weights_hash[:16] or "none" for n, m in plan.models.items()}
    return {
        **environment(),
        "command": command,
        "weights (SHA-256, start)": ", ".join(f"{n} {w}" for n, w in weights.items()),
        "protocols": ", ".join(plan.protocols),
        "seeds": ", ".join(map(str, plan.seeds)),
        "jitter": ", ".join(f"{j:g}" for j in plan.jitters),
        "NSD tolerance": f"{plan.tolerance_mm:g} mm",
        "plane, window, zoom": f"{plan.settings.plane}, {plan.settings.window}, "
        f"{plan.settings.zoom}",
        "limit": f"{plan.limit} objects of each case" if plan.limit else "none",
    }


def environment() -> dict[str, str]:
    """Versions and hardware by name, as texts."""
    facts = {
        "sammed": __version__,
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": f"{_processor()}, {os.cpu_count()} cores seen",
    }
    for package in ("torch", "numpy"):
        facts[package] = metadata.version(package)
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
