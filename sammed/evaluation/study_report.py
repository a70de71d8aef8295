"""What a study found: tables, curves with intervals, and the files of its folder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sammed.errors import EvaluationError
from sammed.evaluation import html
from sammed.evaluation.figures import Curve, Drawing, curves
from sammed.evaluation.report import environment
from sammed.evaluation.results import Row, to_csv
from sammed.evaluation.statistics import Mean, average
from sammed.evaluation.studies import CEILING, Study, varied
from sammed.evaluation.tables import Table, interval
from sammed.io import atomic_text

FORMAT = "sammed-study/1"

OUTPUTS = ("study.csv", "summary.json", "report.html")
"""What `write_study` writes."""

ABSCISSAE = {
    "boxes": "slices with a box",
    "clicks": "clicks",
    "in plane": "voxels so many times as large in the plane of the slices",
    "across": "voxels so many times as large across the slices",
}

METHODS = {
    "prompts": "Boxes: the tight box of the reference on slices evenly spaced over the object; of "
    "one, the largest slice. What lies between and beyond is the engine's own. Clicks: the first "
    "in the middle of the largest slice, each further one in the middle of the largest error.",
    "resolution": "The scan with larger voxels (means of what lies in each), segmented from the "
    "tight 3D box of the reference there, and scored on the scan's own grid. “reference” is the "
    "reference itself on the coarser grid and back: no mask of that grid can do better.",
}


def study_tables(rows: Sequence[Row]) -> list[Table]:
    """Dice of each model by what was varied, mean over cases with its interval.

    Only objects count that have all amounts: pictures have no second slice for a box.
    """
    found = []
    for name, amounts in varied(rows).items():
        kept = complete(rows, [variant for _, variant in amounts])
        lines = [
            (model, *(interval(_mean(kept, model, variant)) for _, variant in amounts))
            for model in dict.fromkeys(row.model for row in kept)
        ]
        heads = [f"{amount:g}" for amount, _ in amounts]
        objects = len({(row.case, row.object) for row in kept})
        caption = f"Dice by {ABSCISSAE[name]}, mean over cases [95 % CI]; {objects} objects."
        found.append(Table(("Model", *heads), tuple(lines), caption=caption))
    return found


def complete(rows: Sequence[Row], variants: Sequence[str]) -> list[Row]:
    """Rows of these variants, of objects that a model has all of them of."""
    kept = [row for row in rows if row.scored and row.variant in variants]
    counts = Counter((row.case, row.object, row.model) for row in kept)
    return [row for row in kept if counts[row.case, row.object, row.model] == len(variants)]


def _mean(rows: Sequence[Row], model: str, variant: str) -> Mean:
    return average((r for r in rows if (r.model, r.variant) == (model, variant)), "dice")


def study_figures(rows: Sequence[Row]) -> list[Drawing]:
    """The same as curves with bands."""
    drawn = []
    for name, amounts in varied(rows).items():
        lines = []
        kept = complete(rows, [variant for _, variant in amounts])
        for model in dict.fromkeys(row.model for row in kept):
            at, variants = zip(*amounts, strict=True)
            of = [_mean(kept, model, variant) for variant in variants]
            band = tuple(m.low for m in of), tuple(m.high for m in of)
            lines.append(Curve(model, at, tuple(m.mean for m in of), *band))
        caption = f"Dice by {ABSCISSAE[name]}; bands: 95 % intervals, subjects resampled."
        drawn.append(Drawing(caption, curves(lines, ABSCISSAE[name], "Dice"), narrow=True))
    return drawn


def write_study(
    study: Study, rows: Sequence[Row], errors: Sequence[str], out: Path, command: str, title: str
) -> dict[str, Any]:
    """Write `OUTPUTS` into an existing folder, and give the summary.

    Raises
    ------
    EvaluationError
        If nothing could be scored.
    """
    if not any(row.scored and row.model != CEILING for row in rows):
        reasons = [*errors, *(row.error for row in rows if row.error), "no object is there"]
        raise EvaluationError(f"no object could be scored; the first reason: {reasons[0]}")
    unscored = [f"{r.case}: {r.object}: {r.error}" for r in rows if not r.scored]
    weights = {n: m.spec.weights_hash[:16] or "none" for n, m in study.models.items()}
    facts = {
        **environment(),
        "command": command,
        "study": study.kind,
        "weights (SHA-256, start)": ", ".join(f"{n} {w}" for n, w in weights.items()),
        "limit": f"{study.limit} objects of each case" if study.limit else "none",
    }
    summary = {
        "format": FORMAT,
        "facts": facts,
        "results": _results(rows),
        "errors": list(errors),
        "not_scored": unscored,
    }
    atomic_text(out / "study.csv", to_csv(rows), force=True)
    atomic_text(out / "summary.json", json.dumps(summary, indent=1, allow_nan=False), force=True)
    page = html.study_page(
        METHODS[study.kind],
        study_tables(rows),
        study_figures(rows),
        facts,
        [*errors, *unscored],
        title,
    )
    atomic_text(out / "report.html", page, force=True)
    return summary


def _results(rows: Sequence[Row]) -> list[dict[str, Any]]:
    found = []
    for amounts in varied(rows).values():
        kept = complete(rows, [variant for _, variant in amounts])
        groups = dict.fromkeys((row.model, row.variant) for row in kept)
        found += [_json(kept, model, variant) for model, variant in groups]
    return found


def _json(rows: Sequence[Row], model: str, variant: str) -> dict[str, Any]:
    mean = _mean(rows, model, variant)
    values = {k: None if v != v else v for k, v in vars(mean).items()}
    return {"model": model, "variant": variant, "dice": values}
