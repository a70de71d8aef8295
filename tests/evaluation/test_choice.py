"""Which model to take: the quickest of those that nothing tells apart from the best."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from sammed.evaluation.choice import LEAST_SUBJECTS, choice_table, choices
from sammed.evaluation.results import Row
from sammed.evaluation.tables import Results

CASES = 12
NOISE = np.random.default_rng(3).normal(0, 0.05, CASES)


def rows(model, dice, seconds, area="abdomen", cases=CASES):
    return [
        Row(
            case=f"{area}{n}", subject=f"{area}{n}", area=area, modality="CT", truth="", object="x",
            label="1", model=model, protocol="B", dice=float(dice + NOISE[n]), seconds=seconds,
        )
        for n in range(cases)
    ]  # fmt: skip


def results(*groups):
    parts = [SimpleNamespace(model=g[0].model, protocol="B", rows=g) for g in groups]
    return Results(parts)


def jittered(model, dice, seconds):
    """As good on the mean, better here and worse there."""
    own = rows(model, dice, seconds)
    shift = np.resize([0.04, -0.04], CASES)
    return [
        Row.from_dict({**r.as_dict(), "dice": r.dice + s}) for r, s in zip(own, shift, strict=True)
    ]


def test_a_model_that_is_ahead_everywhere_is_taken():
    (choice,) = choices(results(rows("slow", 0.9, 9.0), rows("quick", 0.8, 1.0)))
    assert (choice.best, choice.take) == ("slow", "slow")
    assert choice.why == "better than every other"
    assert choice.seconds == 9.0


def test_what_nothing_tells_apart_is_decided_by_time():
    (choice,) = choices(results(jittered("slow", 0.901, 9.0), rows("quick", 0.9, 1.0)))
    assert (choice.best, choice.take) == ("slow", "quick")
    assert "not told apart from slow, the highest, and 9.0 times as fast" in choice.why
    (other,) = choices(results(jittered("slow", 0.899, 9.0), rows("quick", 0.9, 1.0)))
    assert (other.best, other.take) == ("quick", "quick")
    assert "slow not told apart from it, but not quicker" in other.why


def test_each_area_has_its_own_advice():
    groups = (
        rows("a", 0.9, 1.0) + rows("a", 0.6, 1.0, "brain"),
        rows("b", 0.7, 1.0) + rows("b", 0.8, 1.0, "brain"),
    )
    found = {c.area: c.take for c in choices(results(*groups))}
    assert found["abdomen"] == "a"
    assert found["brain"] == "b"
    assert "" in found


def test_few_subjects_are_no_ground_for_advice():
    few = LEAST_SUBJECTS - 1
    (choice,) = choices(results(rows("a", 0.9, 1.0, cases=few), rows("b", 0.2, 1.0, cases=few)))
    assert choice.take == ""
    assert "too few to advise" in choice.why


def test_one_model_needs_no_choice():
    assert choice_table(results(rows("a", 0.9, 1.0))) is None
    table = choice_table(results(rows("a", 0.9, 1.0), rows("b", 0.2, 1.0)))
    assert table.lines[0][:3] == ("B", "all", "a")
