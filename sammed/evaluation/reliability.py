"""How well predicted IoU tells the true one, over the slices of a run."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sammed.evaluation.slice_scores import SliceScore
from sammed.evaluation.tables import Group, Results, Table, number, signed


@dataclass(frozen=True)
class Reliability:
    """Predicted against true IoU.

    Attributes
    ----------
    slices
        How many, of all objects and cases together.
    pearson_r
        Correlation of the two over these slices; NaN where one of them is the same everywhere.
    mean_error
        Predicted minus true; NaN without slices.
    """

    slices: int
    pearson_r: float
    mean_error: float


def reliability(scores: Sequence[SliceScore]) -> Reliability:
    """Of slices that are pooled: each counts the same, whatever it is a slice of."""
    if not scores:
        return Reliability(0, math.nan, math.nan)
    predicted = np.array([s.predicted_iou for s in scores])
    true = np.array([s.true_iou for s in scores])
    vary = np.ptp(predicted) > 0 and np.ptp(true) > 0
    r = float(np.corrcoef(predicted, true)[0, 1]) if vary else math.nan
    return Reliability(len(scores), r, float((predicted - true).mean()))


def judged(results: Results) -> list[tuple[Group, list[SliceScore]]]:
    """The groups of a run with the slices of their results; without models that predict no IoU."""
    slices: defaultdict[tuple[str, str, str, int], list[SliceScore]] = defaultdict(list)
    for part in results.parts:
        for s in part.slices:
            slices[s.model, s.protocol, s.variant, s.step].append(s)
    groups = ((g, slices.get((g.model, g.protocol, g.variant, g.step))) for g in results.groups)
    return [(group, found) for group, found in groups if found]


def headlines(results: Results) -> list[tuple[Group, list[SliceScore]]]:
    """Of `judged` the groups that stand for their protocols."""
    return [(g, s) for g, s in judged(results) if g is results.headline(g.protocol, g.model)]


def reliability_table(results: Results) -> Table | None:
    """By protocol (its headline condition) and model; ``None`` if no model predicts an IoU."""
    lines = []
    for group, scores in headlines(results):
        found = reliability(scores)
        name = f"{results.headline_name(group.protocol)}, {group.model}"
        figures = number(found.pearson_r), signed(found.mean_error)
        lines.append((name, str(found.slices), *figures))
    columns = ("Protocol, model", "Slices", "Pearson r", "Predicted – true")
    caption = "Predicted against true IoU, per slice."
    return Table(columns, tuple(lines), caption=caption) if lines else None


def reliability_json(results: Results) -> list[dict[str, Any]]:
    """The same of every condition and step, as numbers; what is undefined is ``None``."""
    return [
        {
            "protocol": group.protocol,
            "variant": group.variant,
            "step": group.step,
            "model": group.model,
            **{k: None if math.isnan(v) else v for k, v in vars(reliability(scores)).items()},
        }
        for group, scores in judged(results)
    ]
