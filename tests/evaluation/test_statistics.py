from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sammed.errors import EvaluationError
from sammed.evaluation import statistics
from sammed.evaluation.results import Row


def row(case, name, dice, seed=0, subject="", **more):
    return Row(
        case=case,
        subject=subject or case,
        area="",
        modality="",
        truth="",
        object=name,
        label="1",
        model="m",
        protocol="B",
        seed=seed,
        dice=dice,
        **more,
    )


def test_seeds_then_objects_then_cases():
    rows = [
        row("a", "x", 0.2, seed=0),
        row("a", "x", 0.4, seed=1),
        row("a", "y", 0.9),
        row("b", "x", 0.8),
    ]
    found = statistics.average(rows, "dice")
    assert found.mean == pytest.approx(((0.3 + 0.9) / 2 + 0.8) / 2)
    assert found.sd == pytest.approx(np.std([0.6, 0.8], ddof=1))
    assert (found.cases, found.objects, found.subjects) == (2, 3, 2)
    assert statistics.case_means(rows, "dice") == pytest.approx({"a": 0.6, "b": 0.8})


def test_undefined_scores_are_left_out_and_counted():
    rows = [
        row("a", "x", 0.0),
        row("a", "y", 0.5, hd95_mm=4.0),
        row("b", "x", math.nan),
    ]
    found = statistics.average(rows, "hd95_mm")
    assert (found.mean, found.cases, found.objects, found.undefined) == (4.0, 1, 1, 1)
    assert math.isnan(found.low)
    nothing = statistics.average([rows[2]], "dice")
    assert math.isnan(nothing.mean)
    assert nothing.cases == 0


def test_the_interval_is_that_of_all_resamples():
    """With five subjects the bootstrap can be enumerated: 3125 resamples, equally likely."""
    values = {"a": 0.1, "b": 0.5, "c": 0.62, "d": 0.83, "e": 0.9}
    found = statistics.average([row(c, "x", v) for c, v in values.items()], "dice")
    means = [np.mean(draw) for draw in itertools.product(values.values(), repeat=5)]
    assert found.low == pytest.approx(np.percentile(means, 2.5), abs=0.02)
    assert found.high == pytest.approx(np.percentile(means, 97.5), abs=0.02)


def test_cases_of_one_subject_are_drawn_together():
    """Ten equal cases of one person are one observation, not ten."""
    apart = [row(f"a{i}", "x", 0.2) for i in range(10)] + [row("b", "x", 0.8)]
    together = [row(f"a{i}", "x", 0.2, subject="a") for i in range(10)] + [row("b", "x", 0.8)]
    wide, narrow = (statistics.average(rows, "dice") for rows in (together, apart))
    assert wide.mean == pytest.approx(narrow.mean)
    assert wide.subjects == 2
    assert wide.high == pytest.approx(0.8)
    assert narrow.high < 0.5


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_intervals_hold_the_mean_and_stay_in_range(values):
    found = statistics.average([row(str(i), "x", v) for i, v in enumerate(values)], "dice")
    assert min(values) - 1e-9 <= found.low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= found.high <= max(values) + 1e-9


def test_paired_differences():
    rng = np.random.default_rng(2)
    first = [row(str(i), "x", v) for i, v in enumerate(rng.uniform(0.3, 0.6, 12))]
    second = [row(r.case, "x", r.dice + 0.1 + 0.01 * i) for i, r in enumerate(first)]
    found = statistics.compare(first, [*second, row("only here", "x", 0.0)])
    assert found.difference == pytest.approx(np.mean(0.1 + 0.01 * np.arange(12)))
    assert found.second - found.first == pytest.approx(found.difference)
    assert found.low < found.difference < found.high
    assert found.p == pytest.approx(2 / 2**12)  # all signs alike: the exact test's least value
    assert (found.better, found.worse, found.equal, found.cases) == (12, 0, 0, 12)
    back = statistics.compare(second, first)
    assert back.difference == pytest.approx(-found.difference)
    assert back.p == pytest.approx(found.p)


def test_equal_runs_do_not_differ():
    rows = [row(str(i), "x", 0.5) for i in range(5)]
    found = statistics.compare(rows, rows)
    assert (found.difference, found.low, found.high, found.p, found.equal) == (0, 0, 0, 1, 5)


def test_runs_without_a_common_object_are_refused():
    with pytest.raises(EvaluationError, match="no object in common"):
        statistics.compare([row("a", "x", 0.5)], [row("b", "x", 0.5)])
