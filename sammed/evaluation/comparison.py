"""Two runs, condition by condition."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sammed.errors import EvaluationError
from sammed.evaluation.results import Row
from sammed.evaluation.statistics import Comparison, compare
from sammed.evaluation.tables import COMPARISON_COLUMNS, Table, comparison_cells


@dataclass(frozen=True)
class Key:
    """What two runs must share to be compared."""

    protocol: str
    variant: str
    step: int

    def __str__(self) -> str:
        step = f"click {self.step}" if self.step else ""
        return " ".join(part for part in (self.protocol, self.variant, step) if part)


def compare_runs(
    first: Iterable[Row], second: Iterable[Row], score: str = "dice"
) -> list[tuple[Key, Comparison]]:
    """Paired comparison under every condition that both runs have.

    Parameters
    ----------
    first, second
        Rows of one model each.
    score
        Which column.

    Raises
    ------
    EvaluationError
        If they share no condition, or under one of them no object.
    """
    before, after = _by_key(first), _by_key(second)
    shared = [key for key in before if key in after]
    if not shared:
        raise EvaluationError(
            f"the runs share no protocol: {_names(before)} and {_names(after)}; expected the same"
        )
    return [(key, compare(before[key], after[key], score)) for key in shared]


def comparison_table(
    found: Sequence[tuple[Key, Comparison]], score: str, names: str = "second – first"
) -> Table:
    """As texts, one line a condition."""
    columns = ("Condition", "First", "Second", *COMPARISON_COLUMNS[1:])
    lines = tuple(
        (str(key), f"{c.first:.3f}", f"{c.second:.3f}", *comparison_cells(c)) for key, c in found
    )
    return Table(columns, lines, caption=f"Paired difference in {score}: {names}.")


def comparison_json(found: Sequence[tuple[Key, Comparison]]) -> list[dict[str, Any]]:
    """As numbers, one entry a condition; what is undefined is ``None``."""
    return [
        {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in {**vars(key), **vars(result)}.items()
        }
        for key, result in found
    ]


def _by_key(rows: Iterable[Row]) -> dict[Key, list[Row]]:
    groups: defaultdict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        groups[Key(row.protocol, row.variant, row.step)].append(row)
    return dict(groups)


def _names(keys: Iterable[Key]) -> str:
    return ", ".join(dict.fromkeys(key.protocol for key in keys)) or "nothing"
