"""Where and why a run fails: what Dice depends on, and the worst objects of each kind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sammed.evaluation.explaining import Explained, explain, titles_by_strength, too_few
from sammed.evaluation.factor_run import FactorsOfRun
from sammed.evaluation.factors import Judged, of_headline
from sammed.evaluation.features import (
    EXTREME,
    OBJECT_FEATURES,
    SLICE_FEATURES,
    Feature,
    hardness,
    observe,
    sentence,
)
from sammed.evaluation.figures import Drawing
from sammed.evaluation.manifest import Case
from sammed.evaluation.parts import PartStore
from sammed.evaluation.pictures import Picture, draw_rows
from sammed.evaluation.results import Row
from sammed.evaluation.tables import Results, Table, number, signed

SHOWN = ("B", "A", "B2")
"""Of the first of these protocols that were run, the worst objects are shown."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """Regressions of a model's results, by protocol; and why there are none of the others."""

    objects: Mapping[str, Explained] = field(default_factory=dict)
    slices: Mapping[str, Explained] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failing:
    """What a report says of where and why a model fails.

    Attributes
    ----------
    model
        Which.
    analysis
        Regressions by protocol, and why there are none of some.
    figures
        Coefficients, and curves of partial dependence.
    worst
        The worst object of each kind, with its kind and its sentence.
    thirds
        See `thirds_table`.
    """

    model: str
    analysis: Analysis
    figures: tuple[Drawing, ...] = ()
    worst: tuple[Picture, ...] = ()
    thirds: Table | None = None

    @property
    def tables(self) -> list[Table]:
        """Coefficients of objects and of slices by protocol, as far as there are any; thirds."""
        captions = (
            (self.analysis.objects, f"What the Dice of {self.model} depends on."),
            (self.analysis.slices, f"The same of single slices, {self.model}."),
        )
        made = [coefficient_table(found, caption) for found, caption in captions if found]
        return made if self.thirds is None else [*made, self.thirds]


def analyse(found: FactorsOfRun, model: str) -> Analysis:
    """What the Dice of a model's objects and slices depends on, under each protocol."""
    objects: dict[str, Explained] = {}
    slices: dict[str, Explained] = {}
    reasons: dict[str, list[str]] = {}
    for protocol in dict.fromkeys(j.protocol for j in found.objects if j.model == model):
        judged = of_headline(found.objects, model, protocol)
        own = [s for s in found.slices if (s.model, s.protocol) == (model, protocol)]
        for what, seen, kept in (
            ("objects", observe(judged, OBJECT_FEATURES), objects),
            ("slices", observe(own, SLICE_FEATURES), slices),
        ):
            if not len(seen.dice):
                continue  # pictures have no slices
            if reason := too_few(seen):
                reasons.setdefault(reason, []).append(f"{what} of {protocol}")
            else:
                kept[protocol] = explain(seen)
    said = (f"{', '.join(where)}: {why}" for why, where in reasons.items())
    return Analysis(objects, slices, tuple(said))


def factor_tables(found: FactorsOfRun) -> list[Table]:
    """Of each model that has factors the tables of what its Dice depends on."""
    tables = []
    for model in dict.fromkeys(j.model for j in found.objects):
        tables += Failing(model, analyse(found, model), thirds=thirds_table(found, model)).tables
    return tables


def thirds_table(found: FactorsOfRun, model: str) -> Table:
    """Mean Dice of a model over thirds of the objects by each factor, lowest, middle, highest."""
    protocols = list(dict.fromkeys(j.protocol for j in found.objects if j.model == model))
    judged = {p: of_headline(found.objects, model, p) for p in protocols}
    lines = [
        (feature.title, *(_thirds(judged[p], feature) for p in protocols))
        for feature in OBJECT_FEATURES
    ]
    caption = f"Dice of {model} by thirds of its objects, those with least / middling / most of it."
    return Table(("Factor", *protocols), tuple(lines), caption=caption)


def _thirds(judged: Sequence[Judged], feature: Feature[Judged]) -> str:
    values = np.array([feature.value(j) for j in judged], float)
    dice = np.array([j.dice for j in judged])[np.isfinite(values)]
    values = values[np.isfinite(values)]
    if len(np.unique(values)) < 3:
        return "–"
    cuts = np.quantile(values, [1 / 3, 2 / 3])
    third = np.digitize(values, cuts, right=True)
    means = [dice[third == n].mean() if (third == n).any() else math.nan for n in range(3)]
    return " / ".join(number(float(mean), 2) for mean in means)


def failing(
    found: FactorsOfRun,
    results: Results,
    cases: Sequence[Case],
    store: PartStore,
    window: str = "auto",
) -> list[Failing]:
    """The section of a report on each model that has factors.

    Parameters
    ----------
    found
        Factors of the run.
    results
        Of the same run.
    cases
        Its cases, for pictures.
    store
        Where the masks are.
    window
        The intensity window's text.
    """
    from sammed.evaluation.factor_figures import coefficient_figure, dependence_figure

    sections, by_id = [], {case.id: case for case in cases}
    for model in dict.fromkeys(j.model for j in found.objects):
        analysis = analyse(found, model)
        drawn = []
        if analysis.objects:
            drawn.append(coefficient_figure(analysis.objects))
            drawn.append(dependence_figure(analysis.objects, found, model))
        worst = _worst(found, results, by_id, store, window, model)
        thirds = thirds_table(found, model)
        sections.append(Failing(model, analysis, tuple(drawn), worst, thirds))
    return sections


def coefficient_table(explained: Mapping[str, Explained], caption: str) -> Table:
    """Coefficients with their intervals, factors as lines, protocols as columns.

    Parameters
    ----------
    explained
        By protocol, at least one.
    caption
        What it shows; how to read it is added.
    """
    lines = [
        (title, *(_cell(e, name) for e in explained.values()))
        for name, title in titles_by_strength(explained).items()
    ]
    counts = (f"{e.subjects} / {len(e.seen.dice)}" for e in explained.values())
    lines.append(("subjects / observations", *counts))
    lines.append(("R² on unseen subjects", *(f"{e.r2:.2f}" for e in explained.values())))
    caption += (
        " Change of the logit of Dice by one standard deviation [95 % CI, subjects resampled]."
    )
    return Table(("Factor", *explained), tuple(lines), caption=caption)


def _cell(explained: Explained, name: str) -> str:
    if name not in explained.seen.names:
        return "–"
    at = explained.seen.names.index(name)
    spread = f"[{signed(explained.low[at])}, {signed(explained.high[at])}]"
    return f"{signed(float(explained.model.coefficients[at]))} {spread}"


def worst_of_each_kind(judged: Sequence[Judged]) -> list[tuple[str, int]]:
    """By kind of difficulty the object with the lowest Dice among the hardest of that kind.

    Returns
    -------
    list of (title of the factor, index)
        Each object once, the kinds in the order of `OBJECT_FEATURES`.
    """
    found = hardness(judged)
    dice = np.array([j.dice for j in judged])
    taken: list[tuple[str, int]] = []
    for feature in OBJECT_FEATURES:
        hard = [int(i) for i in np.flatnonzero(found[feature.name] >= EXTREME)]
        new = [i for i in hard if i not in {index for _, index in taken}]
        if new:
            taken.append((feature.title, min(new, key=lambda i: dice[i])))
    return taken


def _worst(
    found: FactorsOfRun,
    results: Results,
    cases: Mapping[str, Case],
    store: PartStore,
    window: str,
    model: str,
) -> tuple[Picture, ...]:
    there = [p for p in SHOWN if of_headline(found.objects, model, p)]
    if not there:
        return ()
    judged = of_headline(found.objects, model, there[0])
    chosen = worst_of_each_kind(judged)
    rows = {_key(row): row for row in results.rows}
    wanted = [rows[_key(judged[index])] for _, index in chosen]
    drawn = {p.title: p for p in draw_rows(wanted, cases, store, window)}
    shown = []
    for (kind, index), row in zip(chosen, wanted, strict=True):
        picture = drawn.get(f"{row.case}: {row.object}")
        if picture is not None:
            note = f"{kind.capitalize()}: Dice {row.dice:.2f}. {sentence(judged, index)}"
            shown.append(replace(picture, note=note))
    return tuple(shown)


def _key(one: Row | Judged) -> tuple[Any, ...]:
    return one.case, one.object, one.model, one.protocol, one.variant, one.seed, one.step


def failing_json(sections: Sequence[Failing]) -> list[dict[str, Any]]:
    """The coefficients of each model and protocol as numbers, for ``summary.json``."""
    return [
        {
            "model": one.model,
            "protocol": protocol,
            "of": what,
            "subjects": explained.subjects,
            "observations": len(explained.seen.dice),
            "r2_unseen_subjects": round(explained.r2, 4),
            "coefficients": {
                name: [_rounded(v) for v in values]
                for name, *values in zip(
                    explained.seen.names,
                    explained.model.coefficients,
                    explained.low,
                    explained.high,
                    strict=True,
                )
            },
        }
        for one in sections
        for what, found in (("objects", one.analysis.objects), ("slices", one.analysis.slices))
        for protocol, explained in found.items()
    ]


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 4)
