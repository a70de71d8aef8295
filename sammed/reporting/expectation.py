"""What objects like this reach: an expected Dice with an honest interval, without a reference.

A stored table holds what was measured of a model on public cases: the factors of each mask that
it found, its predicted IoU, and the Dice. Of a new mask the same factors are measured. A ridge
regression over the table gives the expected Dice; the interval is conformal: as wide as the
errors on people that were left out, in proportion to the errors on the examples nearby (Lei et al.
2018, doi:10.1080/01621459.2017.1307116). People count the same, whatever number of objects they
have, so that the interval holds for an object of another person (Dunn et al. 2023,
doi:10.1080/01621459.2022.2060112).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.prompts import ObjectPrompts
from sammed.reporting.factors import NAMES, Factors, on_scale
from sammed.reporting.ridge import Ridge, best_strength, expit, fit, left_out, logit

FORMAT = "sammed-expectation/1"

FOLDER = Path(__file__).parent / "expected"
"""Tables by the name of the model, ``compact.json``."""

LEVEL = 0.9
"""Share of objects whose Dice is to lie in its interval."""

NEIGHBOURS = 15
"""Examples nearby by whose errors an interval is wider or narrower than others."""

PRIOR = 5
"""So many examples with the mean error of all are counted beside those nearby."""

FAR = 0.95
"""An object farther from the table than this share of its own examples, each seen from other
people's, is like none of them."""

NAMED = 3
"""Nearest examples that are named."""

KINDS = ("3D box", "one box", "boxes on slices")
"""Kinds of prompts that were measured (protocols B, B2 and A of the evaluation)."""

COLUMNS = (*NAMES, "looseness", "predicted_iou")
"""What is known of an object without a reference."""

Float = NDArray[np.float64]


def kind_of(prompts: ObjectPrompts) -> str:
    """Which of `KINDS` the prompts of an object are, or ``""``: others were not measured."""
    said = prompts.interactions
    if len(said) == len(prompts.blocks) == 1:
        return "3D box"
    if not said or len(said) != len(prompts.boxes):
        return ""
    if prompts.propagate == "off":
        return "boxes on slices"
    return "one box" if len(said) == 1 and prompts.propagate == "auto" else ""


@dataclass(frozen=True)
class Example:
    """An object that was measured.

    Attributes
    ----------
    case, subject, object
        Which; objects of one subject are not independent.
    kind
        One of `KINDS`.
    dice
        In [0, 1].
    values
        What stands in `COLUMNS`, in its own unit; NaN is what cannot be told.
    """

    case: str
    subject: str
    object: str
    kind: str
    dice: float
    values: tuple[float, ...]


def values_of(factors: Factors, looseness: float, predicted_iou: float) -> tuple[float, ...]:
    """What stands in `COLUMNS` of an object."""
    return (*asdict(factors).values(), looseness, predicted_iou)


@dataclass(frozen=True)
class Expected:
    """What may be expected of an object.

    Attributes
    ----------
    dice, low, high
        The expected Dice and its 90 % interval, in [0, 1].
    nearest
        The nearest examples, each with its distance in standard deviations of the columns.
    """

    dice: float
    low: float
    high: float
    nearest: tuple[tuple[Example, float], ...]

    def __str__(self) -> str:
        return f"objects like this reach {self.dice:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True, eq=False)
class Examples:
    """The examples of one kind of prompts, and what was learned from them.

    Attributes
    ----------
    examples
        At least of three subjects.
    x : (n, columns) float64
        Their columns on the scale of the regression; gaps have the mean of the others.
    gaps : (columns,) float64
        Those means.
    groups : (n,) str
        Subjects.
    model
        The regression over all of them.
    errors : (n,) float64
        Absolute errors in logits, each by a regression without its subject.
    factor
        How many times its local error an interval reaches on either side.
    far
        Distance beyond which an object is like none.
    """

    examples: tuple[Example, ...]
    x: Float
    gaps: Float
    groups: NDArray[np.str_]
    model: Ridge
    errors: Float
    factor: float
    far: float

    def expect(self, values: Sequence[float]) -> Expected | None:
        """What may be expected of an object; ``None`` if it is like no example."""
        x = _on_scale(np.array([values], np.float64))
        x = np.where(np.isfinite(x), x, self.gaps)
        away = _distances(self.model, x, self.x)[0]
        order = np.argsort(away, kind="stable")
        if away[order[0]] > self.far:
            return None
        middle = self.model.predict(x)[0]
        reach = self.factor * _local(away, self.errors)
        dice, low, high = expit(np.array([middle, middle - reach, middle + reach]))
        nearest = tuple((self.examples[i], float(away[i])) for i in order[:NAMED])
        return Expected(float(dice), float(low), float(high), nearest)


def learn(examples: Sequence[Example]) -> Examples:
    """What can be learned from examples of one kind of prompts.

    Raises
    ------
    ValueError
        If they are of fewer than three subjects.
    """
    x = _on_scale(np.array([e.values for e in examples], np.float64))
    gaps = np.array([_mean(column) for column in x.T])
    x = np.where(np.isfinite(x), x, gaps)
    groups = np.array([e.subject for e in examples])
    if len(set(groups)) < 3:
        raise ValueError(f"the examples are of {len(set(groups))} subjects; expected 3 or more")
    y = logit(np.array([e.dice for e in examples]))
    strength = best_strength(x, y, groups)
    model = fit(x, y, strength)
    errors = np.abs(left_out(x, y, groups, strength) - y)
    away = _distances(model, x, x)
    away[groups[:, None] == groups[None, :]] = np.inf
    scores = errors / np.array([_local(row, errors) for row in away])
    return Examples(
        tuple(examples), x, gaps, groups, model, errors,
        conformal(scores, groups, LEVEL), float(np.quantile(away.min(axis=1), FAR)),
    )  # fmt: skip


def _on_scale(values: Float) -> Float:
    """Columns on the scale of the regression."""
    found = values.copy()
    for column, name in enumerate(COLUMNS):
        found[:, column] = [on_scale(name, float(v)) for v in values[:, column]]
    last = len(COLUMNS) - 1
    found[:, last] = logit(values[:, last])  # NaN stays NaN
    return found


def _mean(column: Float) -> float:
    known = column[np.isfinite(column)]
    return float(known.mean()) if len(known) else 0.0


def _distances(model: Ridge, x: Float, others: Float) -> Float:
    """Root mean square difference of standardised columns, (n, m)."""
    a, b = model.standardised(x), model.standardised(others)
    return np.asarray(np.sqrt(((a[:, None] - b[None]) ** 2).mean(axis=2)))


def _local(away: Float, errors: Float) -> float:
    """Mean error of the examples nearby, drawn to that of all; those at infinity do not count."""
    order = np.argsort(away, kind="stable")[:NEIGHBOURS]
    near = order[np.isfinite(away[order])]
    known = np.isfinite(away)
    return float((errors[near].sum() + PRIOR * errors[known].mean()) / (len(near) + PRIOR))


def conformal(scores: Float, groups: NDArray[np.str_], level: float) -> float:
    """The score that an object of another group does not exceed, with at least that chance.

    Each group has the same weight, and one more group is thought to lie at infinity.

    Examples
    --------
    >>> groups = np.array(list("abcdefghi"))
    >>> conformal(np.arange(9.0), groups, 0.5), conformal(np.arange(9.0), groups, 0.95)
    (4.0, inf)
    """
    names, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1 / counts[index] / (len(names) + 1)
    order = np.argsort(scores)
    reached = np.cumsum(weights[order]) >= level - 1e-9
    return float(scores[order][np.argmax(reached)]) if reached.any() else math.inf


@dataclass(frozen=True, eq=False)
class Table:
    """What was measured of a model.

    Attributes
    ----------
    model, weights
        Its name and the SHA-256 of its weights: the table says nothing of others.
    about
        Where it comes from, in words.
    kinds
        Examples by kind of prompts.
    """

    model: str
    weights: str
    about: str
    kinds: Mapping[str, Examples]

    def as_json(self) -> dict[str, Any]:
        """For a file; numbers to four digits."""
        rows = [
            [e.case, e.subject, e.object, e.kind, _short(e.dice), *map(_short, e.values)]
            for examples in self.kinds.values()
            for e in examples.examples
        ]
        return {
            "format": FORMAT,
            "model": self.model,
            "weights": self.weights,
            "about": self.about,
            "columns": ["case", "subject", "object", "kind", "dice", *COLUMNS],
            "rows": rows,
        }


def _short(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.4g}")


def table_of(model: str, weights: str, about: str, examples: Sequence[Example]) -> Table:
    """A table of examples; kinds with fewer than three subjects are left out."""
    kinds = {}
    for kind in KINDS:
        own = [e for e in examples if e.kind == kind]
        if len({e.subject for e in own}) >= 3:
            kinds[kind] = learn(own)
    return Table(model, weights, about, kinds)


@lru_cache(maxsize=4)
def read_table(path: Path) -> Table | None:
    """A stored table; ``None`` if there is none."""
    if not path.is_file():
        return None
    content = json.loads(path.read_text("utf-8"))
    if content["format"] != FORMAT or content["columns"][5:] != list(COLUMNS):
        return None
    examples = [
        Example(
            case, subject, name, kind, dice, tuple(math.nan if v is None else v for v in values)
        )
        for case, subject, name, kind, dice, *values in content["rows"]
    ]
    return table_of(content["model"], content["weights"], content["about"], examples)


def table_for(model: str, weights: str, folder: Path = FOLDER) -> Table | None:
    """The table of a model with these weights; ``None`` if it has none."""
    table = read_table(folder / f"{model}.json") if weights else None
    return table if table is not None and table.weights == weights else None
