"""Means with confidence intervals, and paired comparisons.

A score is first averaged over the seeds of an object, then over the objects of a case, then over
cases. Confidence intervals resample subjects (all their cases at once), since objects of one
person are not independent.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sammed.errors import EvaluationError
from sammed.evaluation.results import Row

RESAMPLES = 5000
CONFIDENCE = 0.95
SEED = 20230405

_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True)
class Mean:
    """A mean over cases.

    Attributes
    ----------
    mean, sd
        Over the means of cases; the standard deviation is the sample's (n - 1).
    low, high
        95 % percentile bootstrap interval (Efron and Tibshirani 1993, ISBN 0-412-04231-2),
        subjects resampled; NaN with fewer than two subjects.
    cases, objects, subjects
        How many there are with a defined score.
    undefined
        Objects whose score is not defined, left out of the mean.
    """

    mean: float
    sd: float
    low: float
    high: float
    cases: int
    objects: int
    subjects: int
    undefined: int = 0


@dataclass(frozen=True)
class Comparison:
    """Paired difference, second minus first, over the cases that both have.

    Attributes
    ----------
    first, second
        Means over those cases.
    difference, low, high
        Mean difference and its 95 % bootstrap interval, subjects resampled.
    p
        Two-sided Wilcoxon signed-rank test over subjects (Wilcoxon 1945, doi:10.2307/3001968);
        1 if all differences are 0, NaN with fewer than two subjects.
    better, worse, equal
        Cases in which the second is higher, lower, the same.
    cases, subjects, objects
        How many are compared.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    better: int
    worse: int
    equal: int
    cases: int
    subjects: int
    objects: int


def average(rows: Iterable[Row], score: str) -> Mean:
    """Mean of a score over cases, see the module's docstring.

    Parameters
    ----------
    rows
        Of one model, protocol, variant and step; rows without scores are left out.
    score
        A column of numbers.
    """
    rows = [row for row in rows if row.scored]
    objects = object_means(rows, score)
    per_object = {k: v for k, v in objects.items() if not math.isnan(v)}
    undefined = len(objects) - len(per_object)
    cases = _by_case(per_object)
    subjects = {row.case: row.subject for row in rows}
    nan = math.nan
    if not cases:
        return Mean(nan, nan, nan, nan, 0, 0, 0, undefined)
    values = np.array(list(cases.values()))
    sd = float(values.std(ddof=1)) if len(values) > 1 else nan
    low, high, count = _interval(cases, subjects)
    return Mean(float(values.mean()), sd, low, high, len(cases), len(per_object), count, undefined)


def object_means(rows: Iterable[Row], score: str) -> dict[tuple[str, str], float]:
    """Mean over seeds by (case, object); NaN where it is undefined with every seed."""
    values: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        values[row.case, row.object].append(getattr(row, score))
    return {key: _mean(found) for key, found in values.items()}


def case_means(rows: Iterable[Row], score: str) -> dict[str, float]:
    """Mean over objects (of means over seeds) by case, undefined ones left out."""
    objects = object_means((row for row in rows if row.scored), score)
    return _by_case({k: v for k, v in objects.items() if not math.isnan(v)})


def compare(first: Sequence[Row], second: Sequence[Row], score: str = "dice") -> Comparison:
    """Compare two sets of rows object by object.

    Parameters
    ----------
    first, second
        Rows of one protocol, variant and step each.
    score
        Which column.

    Raises
    ------
    EvaluationError
        If they have no object in common.
    """
    a = object_means((r for r in first if r.scored), score)
    b = object_means((r for r in second if r.scored), score)
    both = [k for k in a if k in b and not math.isnan(a[k]) and not math.isnan(b[k])]
    if not both:
        raise EvaluationError("the two runs have no object in common; nothing to compare")
    before, after = _by_case({k: a[k] for k in both}), _by_case({k: b[k] for k in both})
    differences = {case: after[case] - before[case] for case in before}
    values = np.array(list(differences.values()))
    subjects = {row.case: row.subject for row in first}
    low, high, count = _interval(differences, subjects)
    by_subject = _grouped(differences, subjects)
    return Comparison(
        first=float(np.mean(list(before.values()))),
        second=float(np.mean(list(after.values()))),
        difference=float(values.mean()),
        low=low,
        high=high,
        p=_wilcoxon([_mean(v) for v in by_subject.values()]),
        better=int((values > 0).sum()),
        worse=int((values < 0).sum()),
        equal=int((values == 0).sum()),
        cases=len(values),
        subjects=count,
        objects=len(both),
    )


def _wilcoxon(differences: list[float]) -> float:
    from scipy.stats import wilcoxon

    if len(differences) < 2:
        return math.nan
    if not any(differences):
        return 1.0
    return float(wilcoxon(differences).pvalue)


def _interval(cases: Mapping[str, float], subjects: Mapping[str, str]) -> tuple[float, float, int]:
    """Bootstrap interval of the mean over cases, and the number of subjects."""
    groups = list(_grouped(cases, subjects).values())
    if len(groups) < 2:
        return math.nan, math.nan, len(groups)
    sums = np.array([sum(g) for g in groups])
    counts = np.array([len(g) for g in groups])
    drawn = np.random.default_rng(SEED).integers(0, len(groups), (RESAMPLES, len(groups)))
    means: NDArray[np.float64] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high), len(groups)


def _grouped(cases: Mapping[str, float], subjects: Mapping[str, str]) -> dict[str, list[float]]:
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for case, value in cases.items():
        groups[subjects.get(case) or case].append(value)
    return dict(groups)


def _by_case(objects: Mapping[tuple[str, str], float]) -> dict[str, float]:
    cases: defaultdict[str, list[float]] = defaultdict(list)
    for (case, _), value in objects.items():
        cases[case].append(value)
    return {case: _mean(values) for case, values in cases.items()}


def _mean(values: Sequence[float]) -> float:
    """Mean of what is defined; NaN if nothing is."""
    defined = [v for v in values if not math.isnan(v)]
    return sum(defined) / len(defined) if defined else math.nan
