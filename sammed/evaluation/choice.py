"""Which model to take for what: the quickest of those that nothing tells apart from the best."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sammed.evaluation.results import Row
from sammed.evaluation.statistics import average, compare
from sammed.evaluation.tables import Group, Results, Table, engine_seconds, interval, number

LEAST_SUBJECTS = 5
"""With fewer, an interval says too little to advise anybody."""


@dataclass(frozen=True)
class Choice:
    """Advice for one protocol and one area.

    Attributes
    ----------
    protocol, area
        Of what; ``area`` is empty for all cases together.
    best
        The model with the highest mean Dice.
    take
        The quickest of those whose paired difference from the best has an interval that holds 0:
        the best itself if there is no other; empty with too few subjects.
    dice
        Mean of the one that is taken, else of the best, with its interval.
    seconds
        Engine seconds an object of the same.
    why
        In words.
    """

    protocol: str
    area: str
    best: str
    take: str
    dice: str
    seconds: float
    why: str


def choices(results: Results) -> list[Choice]:
    """Advice for every protocol: all cases together, and by area where there are several."""
    found = []
    for protocol in results.protocols:
        groups = [g for m in results.models if (g := results.headline(protocol, m)) is not None]
        if len(groups) < 2:
            continue
        areas = list(dict.fromkeys(row.area for group in groups for row in group.rows))
        for area in ("", *(areas if len(areas) > 1 else ())):
            choice = _choice(results, protocol, area, groups)
            if choice is not None:
                found.append(choice)
    return found


def choice_table(results: Results) -> Table | None:
    """`choices` as a table; ``None`` with one model only."""
    found = choices(results)
    if not found:
        return None
    lines = tuple(
        (c.protocol, c.area or "all", c.take or "–", c.dice, number(c.seconds, 2), c.why)
        for c in found
    )
    columns = ("Protocol", "Area", "Take", "Dice [95 % CI]", "s/object", "Why")
    return Table(columns, lines, caption="Which model to take for what.")


def _choice(results: Results, protocol: str, area: str, groups: list[Group]) -> Choice | None:
    rows = {g.model: [r for r in g.rows if area in ("", r.area)] for g in groups}
    means = {m: average(own, "dice") for m, own in rows.items() if any(r.scored for r in own)}
    means = {m: mean for m, mean in means.items() if not math.isnan(mean.mean)}
    if len(means) < 2:
        return None
    best = max(means, key=lambda m: means[m].mean)
    seconds = {g.model: engine_seconds(results, g) for g in groups}
    subjects = means[best].subjects
    if subjects < LEAST_SUBJECTS:
        why = f"{best} is highest, but {subjects} subjects are too few to advise"
        return Choice(protocol, area, best, "", interval(means[best]), seconds[best], why)
    alike = [m for m in means if m != best and not _apart(rows[m], rows[best])]
    quicker = [m for m in alike if seconds[m] < seconds[best]]
    take = min(quicker, key=lambda m: seconds[m]) if quicker else best
    return Choice(
        protocol, area, best, take, interval(means[take]), seconds[take],
        _why(best, take, alike, seconds),
    )  # fmt: skip


def _why(best: str, take: str, alike: list[str], seconds: dict[str, float]) -> str:
    if take != best:
        ratio = seconds[best] / max(seconds[take], 1e-9)
        return f"not told apart from {best}, the highest, and {ratio:.1f} times as fast"
    if alike:
        return f"highest; {', '.join(alike)} not told apart from it, but not quicker"
    return "better than every other"


def _apart(other: list[Row], best: list[Row]) -> bool:
    """Whether the best is ahead by more than chance: its interval lies above 0."""
    found = compare(other, best)
    return bool(found.low > 0)
