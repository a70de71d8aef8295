"""What Dice depends on, where it is known; and the words for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sammed.evaluation.explaining import explain, too_few
from sammed.evaluation.factors import Judged, JudgedSlice
from sammed.evaluation.features import (
    OBJECT_FEATURES,
    SLICE_FEATURES,
    Observations,
    hardness,
    observe,
    sentence,
)
from sammed.reporting.factors import Factors
from sammed.reporting.ridge import expit, logit

EASY = Factors(4000, 9.0, 20, 14.0, 0.2, 0.95, 1, 0.4, 1.5, 0.05, 0.05, 12, 2.0, 0.8)


def judged(number=0, subject="", dice=0.9, **changed):
    """An easy object, but for what is changed."""
    about = {"modality": changed.pop("modality", "CT"), "looseness": changed.pop("looseness", 0.4)}
    return Judged(
        f"case{number}", subject or f"s{number}", "", about["modality"], "", f"o{number}", "m", "B",
        "", 0, 0, 1, dice, replace(EASY, **changed), looseness=about["looseness"],
    )  # fmt: skip


def observations(effect, subjects=30, each=4, noise=0.3, seed=0):
    """Three columns of which the first has an effect, with an offset for each subject."""
    rng = np.random.default_rng(seed)
    groups = np.repeat([f"s{i}" for i in range(subjects)], each)
    x = rng.normal(size=(len(groups), 3)) * [1.0, 5.0, 0.2] + [0, 10, 1]
    own = np.repeat(rng.normal(0, noise, subjects), each)
    y = 1.0 + effect * x[:, 0] + own + rng.normal(0, noise, len(groups))
    return Observations(("a", "b", "c"), ("a", "b", "c"), x, expit(y), groups)


def test_what_has_an_effect_is_found_and_what_has_none_is_not():
    seen = observations(0.8)
    found = explain(seen)
    assert found.order[0] == 0
    assert found.low[0] < 0.8 * seen.x[:, 0].std() < found.high[0]
    assert found.low[0] > 0.5
    for column in (1, 2):
        assert found.low[column] < 0 < found.high[column]
    assert found.r2 > 0.6


def test_without_an_effect_unseen_subjects_are_not_predicted():
    found = explain(observations(0.0, seed=4))
    assert found.r2 < 0.1
    assert all(found.low[c] < 0.05 and found.high[c] > -0.05 for c in range(3))


def test_intervals_are_over_subjects_and_not_over_objects():
    """Ten times the same objects of each subject make no narrower intervals."""
    seen = observations(0.5, subjects=15, each=1)
    many = Observations(
        seen.names,
        seen.titles,
        np.repeat(seen.x, 10, axis=0),
        np.repeat(seen.dice, 10),
        np.repeat(seen.groups, 10),
    )
    one, ten = explain(seen), explain(many)
    assert ten.high[0] - ten.low[0] == pytest.approx(one.high[0] - one.low[0], rel=0.02)


def test_partial_dependence_is_the_curve_that_made_the_data():
    found = explain(observations(0.8, noise=0.05))
    mean, low, high = found.dependence(0, (-1.0, 0.0, 1.0))
    np.testing.assert_allclose(mean, expit(1.0 + 0.8 * np.array([-1, 0, 1])), atol=0.03)
    assert np.all((low <= mean) & (mean <= high))
    flat, _, _ = found.dependence(1, (0.0, 20.0))
    assert abs(flat[0] - flat[1]) < 0.03


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (observations(0.5, subjects=9), "9 subjects"),
        (replace(observations(0.5, subjects=10, each=1), x=np.ones((10, 6))), "10 objects for 6"),
        (replace(observations(0.5), dice=np.full(120, 0.9)), "the same of all"),
        (replace(observations(0.5), x=np.ones((120, 0))), "0 factors"),
    ],
)
def test_too_few_are_too_few(seen, said):
    assert said in too_few(seen)


def test_enough_are_enough():
    assert too_few(observations(0.5)) == ""


def test_a_perfect_dice_is_no_infinity():
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()


def test_columns_that_do_not_vary_are_left_out_and_gaps_are_filled():
    every = [judged(i, thickness=2.0**i, looseness=float("nan")) for i in range(4)]
    every[2] = judged(2, thickness=4.0, looseness=0.3, modality="MR")
    seen = observe(every, OBJECT_FEATURES)
    assert seen.names == ("thickness", "modality MR")
    assert "against CT" in seen.titles[1]
    every[1] = judged(1, thickness=2.0, looseness=0.5)
    seen = observe(every, OBJECT_FEATURES)
    loose = seen.x[:, seen.names.index("looseness")]
    np.testing.assert_allclose(loose, [0.4, 0.5, 0.3, 0.4])


def test_slices_have_the_distance_to_the_end():
    every = [
        JudgedSlice("c", f"s{i}", "CT", "o", "m", "B", "", i, i, 0.8, replace(EASY, voxels=10 + i))
        for i in range(3)
    ]
    seen = observe(every, SLICE_FEATURES)
    assert seen.names == ("voxels", "to_end")
    np.testing.assert_allclose(seen.x[:, 1], np.log10([1, 2, 3]))


def test_hardness_is_the_share_of_easier_objects():
    every = [judged(i, thickness=float(i + 1)) for i in range(5)]
    np.testing.assert_allclose(hardness(every)["thickness"], [1, 0.75, 0.5, 0.25, 0])
    assert not hardness(every)["contrast"].any()


def test_an_object_is_described_by_what_makes_it_hard():
    every = [judged(i) for i in range(10)]
    every[3] = judged(3, thickness=2.1, thinness=0.7, contrast=0.02)
    assert sentence(every, 3) == (
        "Thin (2.1 voxels) and of hardly any contrast (0.02 of the window)."
    )
    every[4] = judged(4, components=5, voxels=40, margin=0, looseness=0.9)
    assert sentence(every, 4) == "Small (40 voxels), in 5 parts and at the edge of the image."
    assert sentence(every, 0) == "Nothing that was measured stands out."
