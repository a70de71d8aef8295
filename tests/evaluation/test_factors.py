"""Factors of a run: what is measured, what is kept, and what goes to CSV and back."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest

from sammed.errors import UnreadableFileError
from sammed.evaluation import factor_run
from sammed.evaluation.cohort import Plan, run_cohort
from sammed.evaluation.factor_run import measure_run
from sammed.evaluation.factors import (
    COLUMNS,
    SLICE_COLUMNS,
    Judged,
    of_headline,
    read_csv,
    slices_to_csv,
    to_csv,
)
from sammed.evaluation.manifest import read_manifest
from sammed.evaluation.parts import PartStore
from sammed.models import registry

from .conftest import Bright, write_cohort


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A plan, its parts, their folder, and the factors; not to be changed."""
    folder = tmp_path_factory.mktemp("factors")
    cases = tuple(read_manifest(write_cohort(folder / "data")))
    models = {"bright": Bright(), "box": registry.build("box")}
    plan = Plan(cases, models, ("A", "B"), jitters=(0.05, 0.25))
    (folder / "out").mkdir()
    parts = run_cohort(plan, PartStore(folder / "out"))
    return plan, parts, folder / "out", measure_run(plan, parts, folder / "out")


def test_every_scored_result_of_a_model_has_factors(finished):
    _, parts, _, found = finished
    rows = [r for p in parts for r in p.rows if r.scored and r.model == "bright"]
    assert len(found.objects) == len(rows) == 2 * 2 * 3
    assert {j.dice for j in found.objects} == {r.dice for r in rows}
    assert all(j.model == "bright" for j in found.objects)


def test_factors_are_those_of_the_reference_and_of_the_result(finished):
    *_, found = finished
    for judged in of_headline(found.objects, "bright", "A"):
        assert judged.variant == "jitter 0.05"
        assert judged.found is not None
        assert (judged.found == judged.reference) == (judged.dice == 1)
        assert judged.reference.contrast > 0.1
        assert 0 < judged.looseness < 1
        assert 0 < judged.found_looseness < 1
    assert any(j.found != j.reference for j in found.objects if j.headline)
    wide = [j for j in found.objects if j.variant == "jitter 0.25"]
    assert wide
    assert all(j.found is None and math.isnan(j.found_looseness) for j in wide)


def test_a_3d_box_is_looser_than_boxes_on_every_slice(finished):
    *_, found = finished
    by = {(j.case, j.object): j.looseness for j in of_headline(found.objects, "bright", "B")}
    for judged in of_headline(found.objects, "bright", "A"):
        assert judged.looseness < by[judged.case, judged.object]


def test_slices_are_those_of_the_reference(finished):
    *_, found = finished
    own = [s for s in found.slices if (s.case, s.object, s.protocol) == ("one", "round", "B")]
    (judged,) = [j for j in of_headline(found.objects, "bright", "B") if j.case == "one"][:1]
    assert len(own) == judged.reference.slices
    assert [s.to_end for s in own] == [min(i, len(own) - 1 - i) for i in range(len(own))]
    assert sum(s.factors.voxels for s in own) == judged.reference.voxels
    assert np.mean([s.dice for s in own]) > 0.7


def test_what_was_measured_is_kept(finished, monkeypatch):
    plan, parts, out, found = finished
    monkeypatch.setattr(factor_run, "_measured", lambda *_: pytest.fail("measured again"))
    again = measure_run(plan, parts, out)
    assert to_csv(again.objects) == to_csv(found.objects)
    assert slices_to_csv(again.slices) == slices_to_csv(found.slices)


def test_what_was_measured_of_other_results_is_measured_again(finished, monkeypatch):
    plan, parts, out, _ = finished
    seen = []
    monkeypatch.setattr(factor_run, "source_hash", lambda: "other code")
    measured = factor_run._measured
    monkeypatch.setattr(
        factor_run, "_measured", lambda *a: seen.append(a[1].case.id) or measured(*a)
    )
    held = {p: p.read_bytes() for p in (out / "factors").iterdir()}
    measure_run(plan, parts, out)
    for path, content in held.items():
        path.write_bytes(content)
    assert seen == ["one", "two"]


def test_to_csv_and_back(finished, tmp_path):
    *_, found = finished
    path = tmp_path / "factors.csv"
    path.write_text(to_csv(found.objects))
    again = read_csv(path)
    assert len(again) == len(found.objects)
    for one, other in zip(again, found.objects, strict=True):
        assert (one.case, one.object, one.headline) == (other.case, other.object, other.headline)
        assert one.reference.thickness == pytest.approx(other.reference.thickness, rel=1e-5)
        assert (one.found is None) == (other.found is None)
    head = path.read_text().splitlines()[0].split(",")
    assert tuple(head) == COLUMNS
    assert tuple(slices_to_csv(()).strip().split(",")) == SLICE_COLUMNS


@pytest.mark.parametrize("text", ["case,object\na,b\n", "", None])
def test_what_is_no_table_of_factors_is_said(tmp_path, text):
    path = tmp_path / "factors.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UnreadableFileError) as caught:
        read_csv(path)
    assert os.path.basename(path) in str(caught.value)


def test_a_number_that_is_none_is_said(finished, tmp_path):
    *_, found = finished
    values = found.objects[0].as_dict()
    with pytest.raises(ValueError, match="could not convert"):
        Judged.from_dict({**values, "dice": "good"})
