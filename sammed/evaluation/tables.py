"""Tables of a run: computed once, shown as Markdown, HTML or JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from sammed.evaluation.metrics import FAILURE_DICE
from sammed.evaluation.parts import Part
from sammed.evaluation.protocols import HEADLINE_JITTER, PROTOCOLS, RUNGS, TITLES, rung
from sammed.evaluation.results import SCORES, Row
from sammed.evaluation.statistics import (
    Comparison,
    Mean,
    average,
    case_means,
    compare,
    object_means,
)
from sammed.models.catalogue import BASELINES


@dataclass(frozen=True)
class Group:
    """Rows of one model under one protocol, variant and step."""

    model: str
    protocol: str
    variant: str
    step: int
    rows: tuple[Row, ...]

    @property
    def is_baseline(self) -> bool:
        """Whether the model is a baseline without weights."""
        return self.model in BASELINES

    def mean(self, score: str) -> Mean:
        """See `sammed.evaluation.statistics.average`."""
        return average(self.rows, score)

    @property
    def failures(self) -> list[Row]:
        """Scored rows with Dice below `FAILURE_DICE`, worst first."""
        return sorted((r for r in self.rows if r.failed), key=lambda r: (r.dice, r.case))

    @property
    def failed_objects(self) -> int:
        """How many objects have a Dice, mean over seeds, below `FAILURE_DICE`."""
        return sum(d < FAILURE_DICE for d in object_means(self.rows, "dice").values())

    @property
    def outcomes(self) -> Counter[str]:
        """How often each `sammed.evaluation.metrics.Scores.outcome` occurred."""
        return Counter(r.outcome for r in self.rows if r.scored)


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes
    ----------
    columns
        Heads; the first column names the rows.
    lines
        Cells, as many as there are columns.
    faint
        Which lines are baselines, shown paler.
    caption
        What it shows.
    """

    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    faint: tuple[bool, ...] = ()
    caption: str = ""

    def markdown(self) -> str:
        """As a Markdown table, columns aligned."""
        cells = [self.columns, *self.lines]
        widths = [max(len(line[i]) for line in cells) for i in range(len(self.columns))]
        rule = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]

        def line(texts: Sequence[str]) -> str:
            first = [texts[0].ljust(widths[0])]
            padded = first + [t.rjust(w) for t, w in zip(texts[1:], widths[1:], strict=True)]
            return "| " + " | ".join(padded) + " |"

        body = "\n".join([line(self.columns), line(rule), *map(line, self.lines)])
        return f"{self.caption}\n\n{body}" if self.caption else body


class Results:
    """All rows of a run, grouped.

    Parameters
    ----------
    parts
        From `sammed.evaluation.cohort.run_cohort`.
    """

    def __init__(self, parts: Iterable[Part]) -> None:
        self.parts = tuple(parts)
        self.rows = tuple(row for part in self.parts for row in part.rows)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Groups in the order of protocols, variants, steps and models."""
        found: dict[tuple[str, str, int, str], list[Row]] = {}
        for row in self.rows:
            key = (row.protocol, row.variant, row.step, row.model)
            found.setdefault(key, []).append(row)
        order = {p: i for i, p in enumerate(PROTOCOLS)}
        variants = {key[1]: i for i, key in reversed(list(enumerate(found)))}
        models = {m: i for i, m in enumerate(self.models)}
        keys = sorted(found, key=lambda k: (order[k[0]], variants[k[1]], k[2], models[k[3]]))
        return tuple(Group(k[3], k[0], k[1], k[2], tuple(found[k])) for k in keys)

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Models in the order of the run, baselines last."""
        names = list(dict.fromkeys(part.model for part in self.parts))
        return tuple(sorted(names, key=lambda n: n in BASELINES))

    @cached_property
    def protocols(self) -> tuple[str, ...]:
        """Protocols of the run, in their usual order."""
        there = {part.protocol for part in self.parts}
        return tuple(p for p in PROTOCOLS if p in there)

    def of(self, protocol: str, model: str | None = None) -> list[Group]:
        """Groups of a protocol (and a model)."""
        return [g for g in self.groups if g.protocol == protocol and model in (None, g.model)]

    def headline(self, protocol: str, model: str) -> Group | None:
        """The group that stands for a protocol: 5 % jitter, the most points, the last click."""
        groups = self.of(protocol, model)
        if not groups:
            return None
        if protocol == "A":
            away = [abs(g.rows[0].jitter - HEADLINE_JITTER) for g in groups]
            return groups[int(np.argmin(away))]
        return groups[0] if protocol == "D" else groups[-1]

    def headline_name(self, protocol: str) -> str:
        """Protocol and condition for the head of a column: ``"A, jitter 0.05"``."""
        groups = [g for m in self.models if (g := self.headline(protocol, m)) is not None]
        if not groups:
            return protocol
        if protocol == "C":
            return f"C, {max(g.step for g in groups)} clicks"
        return f"{protocol}, {groups[0].variant}" if groups[0].variant else protocol


def overview(results: Results) -> Table:
    """Dice of every model under every protocol."""
    columns = ["Model", *(results.headline_name(p) for p in results.protocols)]
    lines = []
    for model in results.models:
        cells = [model]
        for protocol in results.protocols:
            group = results.headline(protocol, model)
            cells.append(interval(group.mean("dice")) if group else "–")
        lines.append(tuple(cells))
    return _table(columns, lines, "Dice, mean over cases [95 % CI].")


def protocol_table(results: Results, protocol: str) -> Table:
    """All scores of every model under one protocol, at its headline condition."""
    columns = (
        "Model", "Cases", "Objects", "Dice [95 % CI]", "SD", "NSD", "HD95 mm", "MSD mm",
        "Sens.", "Prec.", f"Dice < {FAILURE_DICE:g}", "Missed", "s/object",
    )  # fmt: skip
    lines = []
    for model in results.models:
        group = results.headline(protocol, model)
        if group is None:
            continue
        dice = group.mean("dice")
        lines.append(
            (
                model,
                str(dice.cases),
                str(dice.objects),
                interval(dice),
                number(dice.sd),
                *(number(group.mean(s).mean) for s in ("nsd",)),
                *(number(group.mean(s).mean, 1) for s in ("hd95_mm", "msd_mm")),
                *(number(group.mean(s).mean) for s in ("sensitivity", "precision")),
                str(group.failed_objects),
                str(group.outcomes["missed"]),
                number(engine_seconds(results, group), 2),
            )
        )
    name = results.headline_name(protocol)
    return _table(columns, lines, f"{TITLES[protocol]} ({name}).")


def ladder_table(results: Results, protocol: str) -> Table | None:
    """Dice by jitter, points or clicks; ``None`` if there is one condition only."""
    steps = list(dict.fromkeys((g.variant, g.step) for g in results.of(protocol)))
    if len(steps) < 2 or protocol == "D":
        return None
    by = {(g.model, g.variant, g.step): g for g in results.of(protocol)}
    columns = ["Model", *(rung(protocol, variant, step) for variant, step in steps)]
    if protocol == "C":
        columns.append("AUC (max 4)")
    lines = []
    for model in results.models:
        groups = [by.get((model, v, s)) for v, s in steps]
        if not any(groups):
            continue
        cells = [number(g.mean("dice").mean) if g else "–" for g in groups]
        if protocol == "C":
            cells.append(number(click_auc(results, model)))
        lines.append((model, *cells))
    return _table(columns, lines, f"Dice by {RUNGS[protocol]}.")


def disturbance_table(results: Results) -> Table:
    """Paired change in Dice by each disturbance of protocol D, over the objects that it suits."""
    variants = list(dict.fromkeys(g.variant for g in results.of("D")))
    lines = []
    for model in results.models:
        groups = {g.variant: g for g in results.of("D", model)}
        plain = groups.get(variants[0])
        if plain is None:
            continue
        cells = [number(plain.mean("dice").mean)]
        for variant in variants[1:]:
            group = groups.get(variant)
            scored = group is not None and any(r.scored for r in group.rows)
            cells.append(
                signed(compare(plain.rows, group.rows).difference) if group and scored else "–"
            )
        lines.append((model, *cells))
    caption = (
        "Dice undisturbed, and its change by each disturbance over the same objects (thicker "
        "slices do not apply to pictures, windows not to colour)."
    )
    return _table(["Model", *variants], lines, caption)


def click_auc(results: Results, model: str) -> float:
    """Area under Dice over clicks 1 to 5 (trapezoids, at most 4), as the CVPR 2025 challenge."""
    dice = [g.mean("dice").mean for g in results.of("C", model) if g.step]
    if len(dice) < 2:
        return math.nan
    return sum((a + b) / 2 for a, b in pairwise(dice))


def area_table(results: Results, protocol: str) -> Table:
    """Dice by area of the body, at the headline condition of a protocol."""
    groups = [g for m in results.models if (g := results.headline(protocol, m)) is not None]
    areas = list(dict.fromkeys(row.area for g in groups for row in g.rows))
    lines = []
    for area in areas:
        of_area = [[r for r in g.rows if r.area == area] for g in groups]
        means = [average(rows, "dice") for rows in of_area]
        count = f"{max(m.cases for m in means)} / {max(m.objects for m in means)}"
        lines.append((area or "–", count, *(number(m.mean) for m in means)))
    columns = ["Area", "Cases / objects", *(g.model for g in groups)]
    name = results.headline_name(protocol)
    return Table(tuple(columns), tuple(lines), caption=f"Dice by area ({name}).")


def object_table(results: Results, protocol: str) -> Table:
    """Dice of every object with every model, at the headline condition, mean over seeds."""
    groups = [g for m in results.models if (g := results.headline(protocol, m)) is not None]
    dice = [object_means(g.rows, "dice") for g in groups]
    volumes = object_means((r for g in groups for r in g.rows), "reference_ml")
    lines = [
        (
            f"{case}: {name}",
            number(volumes[case, name], 1),
            *(number(d.get((case, name), math.nan)) for d in dice),
        )
        for case, name in volumes
    ]
    columns = ("Object", "Reference ml", *(g.model for g in groups))
    return Table(columns, tuple(lines), caption="Dice of every object.")


def difference_table(results: Results, protocol: str) -> Table | None:
    """Each model's paired difference in Dice from every other; ``None`` if there is one only."""
    lines = []
    groups = [g for m in results.models if (g := results.headline(protocol, m)) is not None]
    for i, model in enumerate(groups):
        if model.is_baseline:
            continue
        for other in groups[i + 1 :]:
            found = compare(other.rows, model.rows)
            lines.append((f"{model.model} – {other.model}", *comparison_cells(found)))
    return _table(COMPARISON_COLUMNS, lines, "Paired differences in Dice.") if lines else None


COMPARISON_COLUMNS = (
    "Pair", "Cases", "Difference [95 % CI]", "Better", "Worse", "Equal", "Wilcoxon p",
)  # fmt: skip


def comparison_cells(found: Comparison) -> tuple[str, ...]:
    """Cells of `COMPARISON_COLUMNS` after the first."""
    spread = f"{found.difference:+.3f} [{signed(found.low)}, {signed(found.high)}]"
    p = "–" if np.isnan(found.p) else "< 0.001" if found.p < 0.001 else f"{found.p:.3f}"
    counts = (str(found.better), str(found.worse), str(found.equal))
    return str(found.cases), spread, *counts, p


def cost_table(results: Results) -> Table:
    """Seconds per case by stage, and peak memory, by protocol and model."""
    columns = (
        "Protocol, model", "Objects / case", "Read s", "Encode s", "Decode s", "Rest s",
        "Total s / case", "Peak MB",
    )  # fmt: skip
    lines = [
        (
            f"{cost['protocol']}, {cost['model']}",
            number(cost["objects"], 1),
            *(number(cost[c], 2) for c in ("read_s", "encode_s", "decode_s", "rest_s", "total_s")),
            number(cost["peak_mb"], 0),
        )
        for cost in cost_json(results)
    ]
    return _table(columns, lines, "Cost of one pass over a case, mean over cases.")


def cost_json(results: Results) -> list[dict[str, Any]]:
    """What `cost_table` shows, as numbers.

    One pass is every object once, under the headline condition with all its steps; means over the
    cases that could be run, except the peak, which is the highest.
    """
    costs = []
    for protocol in results.protocols:
        for model in results.models:
            parts = [p for p in results.parts if (p.protocol, p.model) == (protocol, model)]
            parts = [p for p in parts if not p.error]
            group = results.headline(protocol, model)
            if parts and group:
                cost = _cost(results, parts, group)
                costs.append({"protocol": protocol, "model": model, **cost})
    return costs


def _cost(results: Results, parts: Sequence[Part], group: Group) -> dict[str, float]:
    seed = min(row.seed for row in group.rows)
    rows = [r for r in _all_steps(results, group) if r.scored and r.seed == seed]
    n = len(parts)
    read = sum(p.read_s for p in parts) / n
    encode, decode, engine = (sum(getattr(r, c) for r in rows) / n for c in _SECONDS)
    return {
        "objects": len({(r.case, r.object) for r in rows}) / n,
        "read_s": read,
        "encode_s": encode,
        "decode_s": decode,
        "rest_s": engine - encode - decode,
        "total_s": read + engine,
        "peak_mb": max(p.peak_mb for p in parts),
    }


_SECONDS = ("encode_s", "decode_s", "seconds")


def _all_steps(results: Results, group: Group) -> list[Row]:
    groups = results.of(group.protocol, group.model)
    return [r for g in groups if g.variant == group.variant for r in g.rows]


def engine_seconds(results: Results, group: Group) -> float:
    """Mean engine seconds of an object, all steps together."""
    rows = [r for r in _all_steps(results, group) if r.scored]
    runs = {(r.case, r.object, r.seed) for r in rows}
    return sum(r.seconds for r in rows) / len(runs) if runs else math.nan


def as_json(results: Results) -> list[dict[str, Any]]:
    """Every group with its means, outcomes, failures and cases, for ``summary.json``."""
    return [
        {
            "protocol": g.protocol,
            "variant": g.variant,
            "step": g.step,
            "model": g.model,
            "floor": g.is_baseline,
            "scores": {s: _finite(vars(g.mean(s))) for s in SCORES},
            "outcomes": dict(g.outcomes),
            "not_scored": sum(not r.scored for r in g.rows),
            "failures": [
                {"case": r.case, "object": r.object, "seed": r.seed, "dice": r.dice}
                for r in g.failures
            ],
            "seconds_per_object": _finite({"s": engine_seconds(results, g)})["s"],
            "dice_by_case": case_means(g.rows, "dice"),
        }
        for g in results.groups
    ]


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {
        k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in values.items()
    }


def _table(columns: Sequence[str], lines: Sequence[tuple[str, ...]], caption: str) -> Table:
    faint = tuple(line[0].split(", ")[-1] in BASELINES for line in lines)
    return Table(tuple(columns), tuple(lines), faint, caption)


def number(value: float, digits: int = 3) -> str:
    """Fixed number of digits; a dash if undefined."""
    return "–" if np.isnan(value) else f"{value:.{digits}f}"


def signed(value: float) -> str:
    """Three digits with a sign; a dash if undefined."""
    return "–" if np.isnan(value) else f"{value:+.3f}"


def interval(mean: Mean) -> str:
    """Mean with its confidence interval, where there is one."""
    if np.isnan(mean.low):
        return number(mean.mean)
    return f"{mean.mean:.3f} [{mean.low:.3f}, {mean.high:.3f}]"
