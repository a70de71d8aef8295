from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest

from sammed import io
from sammed.errors import EvaluationError, UnreadableFileError
from sammed.evaluation import cohort as cohort_module
from sammed.evaluation import tables
from sammed.evaluation.cohort import Plan, run_cohort
from sammed.evaluation.manifest import read_manifest
from sammed.evaluation.parts import PartStore, pack
from sammed.evaluation.report import write_outputs
from sammed.evaluation.results import Row, read_csv, to_csv
from sammed.evaluation.tables import Results
from sammed.models import registry

from .conftest import Bright, write_cohort


def make_plan(manifest):
    models = {"bright": Bright(), "box": registry.build("box")}
    return Plan(tuple(read_manifest(manifest)), models, ("A", "B", "B2", "C"), jitters=(0.0, 0.05))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A plan, its parts, and the folder that they lie in; not to be changed."""
    folder = tmp_path_factory.mktemp("cohort")
    plan = make_plan(write_cohort(folder / "data"))
    (folder / "out").mkdir()
    return plan, run_cohort(plan, PartStore(folder / "out")), folder


@pytest.fixture
def plan(finished):
    return finished[0]


@pytest.fixture
def run(finished, tmp_path):
    """Parts, and a copy of their folder."""
    shutil.copytree(finished[2] / "out", tmp_path, dirs_exist_ok=True)
    return finished[1], PartStore(tmp_path)


def of(parts, case, model, protocol):
    (part,) = [p for p in parts if (p.case, p.model, p.protocol) == (case, model, protocol)]
    return part


@pytest.mark.thorough
def test_every_object_gets_its_rows(run):
    parts, _ = run
    assert len(parts) == 3 * 2 * 4
    a = of(parts, "one", "bright", "A")
    assert [(r.object, r.variant) for r in a.rows if r.scored] == [
        (name, f"jitter {j:g}") for name in ("round", "long") for j in (0, 0.05)
    ]
    assert all(r.dice > 0.8 for r in a.rows if r.scored)
    assert a.rows[0].reference_ml == pytest.approx(a.rows[1].reference_ml)
    c = of(parts, "one", "bright", "C")
    assert [r.step for r in c.rows if r.object == "round"] == list(range(6))
    assert c.peak_mb > 0
    floor = of(parts, "one", "box", "C")
    assert [r.step for r in floor.rows if r.scored] == [0, 0]


def test_every_result_gets_its_slices(run):
    parts, _ = run
    for protocol in ("A", "B", "C"):
        part = of(parts, "one", "bright", protocol)
        rows = {(r.object, r.variant, r.step) for r in part.rows if r.scored}
        assert {(s.object, s.variant, s.step) for s in part.slices} == rows
        assert {(s.case, s.model, s.protocol) for s in part.slices} == {("one", "bright", protocol)}
    assert not any(p.slices for p in parts if p.model == "box" or p.error)


def test_a_label_that_the_reference_lacks_is_named(run):
    parts, _ = run
    for protocol in ("A", "B"):
        rows = of(parts, "two", "bright", protocol).rows
        (absent,) = [r for r in rows if r.object == "nowhere"]
        assert "absent" in absent.error
        assert not absent.scored
        assert not absent.failed


def test_a_broken_case_is_recorded_and_does_not_stop_the_rest(run):
    parts, _ = run
    broken = [p for p in parts if p.case == "broken"]
    assert len(broken) == 8
    assert all("broken.nii.gz" in p.error and not p.rows for p in broken)
    assert not any(p.error for p in parts if p.case != "broken")


def test_the_start_of_c_is_b(run, plan, tmp_path):
    """Taken from C where both are wanted; the same as if B is run by itself."""
    parts, store = run
    alone = tmp_path / "alone"
    alone.mkdir()
    again = run_cohort(replace(plan, protocols=("B",), cases=plan.cases[:1]), PartStore(alone))
    scores = ("object", "dice", "nsd", "hd95_mm", "outcome", "blocks", "points", "protocol")
    for model in plan.models:
        joint, single = of(parts, "one", model, "B"), of(again, "one", model, "B")
        for a, b in zip(joint.rows, single.rows, strict=True):
            assert [str(getattr(a, s)) for s in scores] == [str(getattr(b, s)) for s in scores]
        assert joint.fingerprint == single.fingerprint
        assert joint.slices == single.slices
        masks = [s.mask("one", model, "B", "round", (9, 40, 44)) for s in (store, PartStore(alone))]
        np.testing.assert_array_equal(*masks)


def test_finished_parts_are_not_run_again(run, plan, monkeypatch):
    parts, store = run
    again = run_cohort(plan, store)
    assert to_csv(r for p in again for r in p.rows) == to_csv(r for p in parts for r in p.rows)
    assert [p.slices for p in again] == [p.slices for p in parts]
    assert reloaded(plan, store, monkeypatch) == ["broken"]  # a broken case is tried again
    store.path("one", "box", "A", ".json").unlink()
    store.path("two", "box", "B", ".json").write_text("{")
    assert reloaded(plan, store, monkeypatch) == ["one", "two", "broken"]


@pytest.mark.parametrize("change", ["tolerance", "engine"])
def test_stale_parts_are_run_again(run, plan, monkeypatch, change):
    _, store = run
    if change == "tolerance":
        plan = replace(plan, tolerance_mm=1.0)
    else:
        monkeypatch.setattr(cohort_module, "engine_hash", lambda *_: "other")
    assert reloaded(replace(plan, protocols=("A",)), store, monkeypatch) == ["one", "two", "broken"]


def test_a_case_whose_label_file_changes_is_run_again(cohort, tmp_path, monkeypatch):
    plan = replace(make_plan(cohort), protocols=("B",))
    store = PartStore(tmp_path)
    run_cohort(plan, store)
    label = cohort.parent / "one_label.nii.gz"
    io.write_labels(io.read_labels(cohort.parent / "two_label.nii.gz"), label, force=True)
    assert reloaded(plan, store, monkeypatch) == ["one", "broken"]


def reloaded(plan, store, monkeypatch):
    """Which cases a run reads."""
    asked = []
    load = cohort_module.load
    monkeypatch.setattr(cohort_module, "load", lambda c: asked.append(c.id) or load(c))
    run_cohort(plan, store)
    monkeypatch.setattr(cohort_module, "load", load)
    return asked


def test_an_engine_that_breaks_leaves_its_error(cohort, tmp_path):
    class Moody(Bright):
        def decode(self, embedding, prompts):
            raise RuntimeError("out\nof luck")

    plan = Plan(tuple(read_manifest(cohort))[:1], {"moody": Moody()}, ("B",))
    (part,) = run_cohort(plan, PartStore(tmp_path))
    assert [r.error for r in part.rows][:2] == ["RuntimeError: out of luck"] * 2
    assert part.error == ""


def test_progress_counts_cases_and_estimates_the_time_left(plan, tmp_path):
    told = []
    run_cohort(replace(plan, protocols=("A",)), PartStore(tmp_path), told.append)
    assert [done for done, _ in groupby(a.done for a in told)] == [0, 1, 2, 3]
    assert told[0].seconds_left is None
    assert next(a for a in told if a.done == 1).seconds_left > 0
    assert {"one bright A", "one box A", "two box A"} <= {a.text for a in told}
    assert (told[-1].done, told[-1].seconds_left, told[-1].failed) == (3, 0, 1)


def test_box_models_have_no_part_in_points(plan, tmp_path):
    parts = run_cohort(replace(plan, protocols=("P",)), PartStore(tmp_path))
    assert {p.model for p in parts} == {"bright"}
    baselines = {"box": plan.models["box"]}
    with pytest.raises(EvaluationError, match="takes boxes only"):
        run_cohort(replace(plan, protocols=("P",), models=baselines), PartStore(tmp_path))


def test_masks_come_back_as_they_were(run, tmp_path):
    rng = np.random.default_rng(3)
    mask = np.zeros((5, 7, 11), bool)
    mask[1:4, 2:6, 3:10] = rng.random((3, 4, 7)) < 0.5
    np.testing.assert_array_equal(pack(mask).unpack(mask.shape), mask)
    assert not pack(mask & False).unpack(mask.shape).any()
    _, store = run
    assert store.mask("one", "bright", "A", "round", (9, 40, 44)).any()
    assert store.mask("one", "bright", "A", "none", (9, 40, 44)) is None
    assert store.mask("none", "bright", "A", "round", (9, 40, 44)) is None


def test_rows_survive_csv(run, tmp_path):
    parts, _ = run
    rows = [r for p in parts for r in p.rows]
    path = tmp_path / "rows.csv"
    path.write_text(to_csv(rows))
    back = read_csv(path)
    assert len(back) == len(rows)
    for a, b in zip(rows, back, strict=True):
        assert (a.case, a.object, a.variant, a.step, a.outcome, a.error, a.stops) == (
            b.case, b.object, b.variant, b.step, b.outcome, b.error, b.stops,
        )  # fmt: skip
        assert b.dice == pytest.approx(a.dice, abs=1e-5, nan_ok=True)
    path.write_text("case,object\na,b\n")
    with pytest.raises(UnreadableFileError, match="no column dice, model, protocol"):
        read_csv(path)
    with pytest.raises(UnreadableFileError, match="cannot read"):
        read_csv(tmp_path / "none.csv")


@pytest.mark.thorough
def test_outputs_hold_everything_and_open_offline(run, plan, tmp_path):
    parts, _ = run
    results = write_outputs(plan, parts, tmp_path, "sammed evaluate ...")
    page = (tmp_path / "report.html").read_text()
    for outside in ("http://", "https://www", "<script", "<link", 'src="/', "@import"):
        assert outside not in page.replace("http://www.w3.org", "").replace(
            "http://purl.org", ""
        ).replace("http://creativecommons.org", ""), outside
    assert page.count("<svg") >= 4
    assert page.count("data:image/png;base64,") >= 8
    assert "simulated from the reference that is scored" in page
    assert "know the object's true extent" in page
    assert "broken" in page
    assert "the label is absent from the reference" in page
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["format"] == "sammed-evaluation/1"
    assert summary["prompts_from_scored_label"] is True
    assert [e[0] for e in summary["errors"]] == ["broken"]
    (b,) = [r for r in summary["results"] if (r["protocol"], r["model"]) == ("B", "bright")]
    rows = [r for r in read_csv(tmp_path / "results.csv") if r.protocol == "B" and r.scored]
    dice = [r.dice for r in rows if r.model == "bright"]
    assert b["scores"]["dice"]["mean"] == pytest.approx(np.mean(dice), abs=1e-4)
    assert b["outcomes"] == {"found": 4}
    assert b["not_scored"] == 2
    assert results.models == ("bright", "box")


def test_a_second_readers_prompts_need_no_warning(plan, tmp_path):
    cases = tuple(replace(c, prompts=c.label) for c in plan.cases[:1])
    plan = replace(plan, cases=cases, protocols=("B",))
    parts = run_cohort(plan, PartStore(tmp_path))
    write_outputs(plan, parts, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "simulated from another label map, one_label.nii.gz" in page
    assert "know the object's true extent" not in page


def test_tables_show_floors_beside_the_model(run):
    results = Results(run[0])
    overview = tables.overview(results)
    assert overview.columns == ("Model", "A, jitter 0.05", "B", "B2", "C, 5 clicks")
    assert [line[0] for line in overview.lines] == ["bright", "box"]
    assert overview.faint == (False, True)
    ladder = tables.ladder_table(results, "A")
    assert ladder.columns == ("Model", "0", "0.05")
    clicks = tables.ladder_table(results, "C")
    assert clicks.columns[1:] == (*(f"{n} clicks" for n in range(6)), "AUC (max 4)")
    assert clicks.lines[1][2:] == ("–",) * 6
    assert tables.ladder_table(results, "B") is None
    assert tables.difference_table(results, "B").lines[0][0] == "bright – box"
    assert tables.area_table(results, "B").lines[0][:2] == ("phantom", "2 / 4")
    assert len(tables.object_table(results, "B").lines) == 6
    text = overview.markdown().splitlines()
    assert len({len(line) for line in text[2:]}) == 1


def test_the_area_under_clicks_is_that_of_trapezoids():
    def row(step, dice):
        return Row("a", "a", "", "", "", "x", 1, "m", "C", step=step, dice=dice)

    class Part:
        model, protocol, rows = "m", "C", tuple(row(i, 0.1 * i) for i in range(6))

    auc = tables.click_auc(Results([Part()]), "m")
    assert auc == pytest.approx(np.trapezoid([0.1, 0.2, 0.3, 0.4, 0.5]))
    assert math.isnan(tables.click_auc(Results([Part()]), "other"))


def test_disturbances_are_compared_over_the_same_objects():
    """A disturbance that does not suit an easy object must not look harmful for lacking it."""

    def row(case, variant, dice):
        return Row(case, case, "", "", "", "x", 1, "m", "D", variant, dice=dice)

    class Part:
        model, protocol = "m", "D"
        rows = (
            row("easy", "undisturbed", 0.9),
            row("hard", "undisturbed", 0.5),
            row("hard", "slices x2", 0.45),
        )

    table = tables.disturbance_table(Results([Part()]))
    assert table.columns == ("Model", "undisturbed", "slices x2")
    assert table.lines == (("m", "0.700", "-0.050"),)


def test_a_run_without_any_score_says_why(plan, tmp_path):
    plan = replace(plan, cases=plan.cases[2:], protocols=("B",))
    parts = run_cohort(plan, PartStore(tmp_path))
    with pytest.raises(EvaluationError, match=r"no object could be scored.*broken\.nii\.gz"):
        write_outputs(plan, parts, tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["errors"][0][0] == "broken"


def test_costs_add_up(run):
    results = Results(run[0])
    for cost in tables.cost_json(results):
        engine = cost["encode_s"] + cost["decode_s"] + cost["rest_s"]
        assert cost["total_s"] == pytest.approx(cost["read_s"] + engine)
        assert cost["rest_s"] > 0
        assert cost["objects"] == 2
    assert len(tables.cost_table(results).lines) == 8


@pytest.mark.thorough
def test_results_are_known_again_in_another_process():
    """What a set prints as depends on the process; a fingerprint must not."""
    program = (
        "from sammed.many.content import fingerprint\n"
        "print(fingerprint({'prompts': frozenset({'box', 'mask', 'points'})}))"
    )
    marks = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(4)
    }
    assert len(marks) == 1
    assert len(marks.pop().strip()) == 16
