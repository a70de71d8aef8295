"""Dice against the number of prompts and the size of voxels."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from sammed.cli import main
from sammed.errors import EvaluationError, InputError
from sammed.evaluation import studies
from sammed.evaluation.coarsening import Coarser, shares
from sammed.evaluation.manifest import read_manifest
from sammed.evaluation.results import Row
from sammed.evaluation.studies import CEILING, Study, check_study, evenly_boxed, run_study, varied
from sammed.evaluation.study_report import study_tables, write_study
from sammed.imaging.volume import Volume
from sammed.models import registry

from .conftest import SHAPE, Bright, oblique, write_cohort

# -- coarser grids ---------------------------------------------------------------------------------


def test_a_coarser_voxel_is_the_mean_of_what_lies_in_it():
    voxels = np.arange(4 * 6 * 8, dtype=np.float32).reshape(4, 6, 8)
    volume = Volume.from_array(voxels, np.diag([1.0, 1, 1, 1])[[2, 1, 0, 3]])
    grid = Coarser(volume.shape, (2.0, 1.0, 2.0))
    coarse = grid.volume(volume)
    assert coarse.shape == grid.coarse == (2, 6, 4)
    np.testing.assert_allclose(
        coarse.voxels, volume.voxels.reshape(2, 2, 6, 4, 2).mean(axis=(1, 4)), rtol=1e-5
    )
    assert coarse.spacing == pytest.approx((2, 1, 2))


def test_the_grid_stays_where_it_was():
    volume = Volume.from_array(np.random.default_rng(0).random(SHAPE, np.float32), oblique())
    coarse = Coarser(volume.shape, (1.5, 3.0, 2.0)).volume(volume)
    for index in (np.zeros(3), np.ones(3)):
        corners = [(v.affine @ np.r_[index * v.shape - 0.5, 1.0])[:3] for v in (volume, coarse)]
        np.testing.assert_allclose(*corners, atol=1e-3)


def test_a_box_there_and_back_is_itself_where_voxels_fit():
    mask = np.zeros((4, 12, 12), bool)
    mask[0:2, 4:8, 2:10] = True
    grid = Coarser((4, 12, 12), (2.0, 2.0, 2.0))
    np.testing.assert_array_equal(grid.back(grid.there(mask)), mask)


def test_what_is_smaller_than_half_a_voxel_is_still_prompted():
    mask = np.zeros((9, 9, 9), bool)
    mask[4, 4, 4] = True
    assert Coarser((9, 9, 9), (3.0, 3.0, 3.0)).there(mask).sum() == 1
    assert not Coarser((9, 9, 9), (3.0, 3.0, 3.0)).there(np.zeros((9, 9, 9), bool)).any()


def test_colours_stay_colours():
    voxels = np.random.default_rng(0).integers(0, 255, (1, 9, 12, 3), np.uint8)
    volume = Volume.from_array(voxels, np.eye(4)[[2, 1, 0, 3]])
    coarse = Coarser(volume.shape, (1.0, 3.0, 3.0)).volume(volume)
    assert coarse.voxels.shape == (1, 3, 4, 3)
    assert coarse.voxels.dtype == np.uint8


@pytest.mark.parametrize(("fine", "coarse"), [(7, 3), (5, 5), (9, 1)])
def test_shares_are_means(fine, coarse):
    found = shares(fine, coarse)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(found.sum(axis=0), coarse / fine, rtol=1e-6)


# -- boxes -----------------------------------------------------------------------------------------


def test_boxes_are_spread_evenly_and_one_is_on_the_largest_slice():
    mask = np.zeros((20, 30, 30), bool)
    for z in range(4, 16):
        mask[z, 10 : 12 + z, 10:20] = True
    assert [b.index for b in evenly_boxed(mask, 0, 1)] == [15]
    assert [b.index for b in evenly_boxed(mask, 0, 2)] == [7, 13]
    assert [b.index for b in evenly_boxed(mask, 0, 3)] == [6, 10, 14]
    assert len(evenly_boxed(mask, 0, 9)) == 9
    assert len(evenly_boxed(mask[:, :, :][6:9], 0, 9)) == 3
    (box,) = evenly_boxed(mask, 0, 1)
    assert (box.box.r0, box.box.r1, box.box.c0, box.box.c1) == (10, 27, 10, 20)


def test_an_unknown_study_is_said():
    with pytest.raises(InputError, match="prompts or resolution"):
        check_study("speed")


# -- the run ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return tuple(read_manifest(write_cohort(tmp_path_factory.mktemp("studies") / "data")))


@pytest.fixture(scope="module")
def prompted(cohort, tmp_path_factory):
    models = {"bright": Bright(), "box": registry.build("box")}
    study = Study("prompts", cohort, models, limit=1)
    out = tmp_path_factory.mktemp("prompts")
    return study, out, *run_study(study, out)


def test_every_number_of_prompts_has_its_row(prompted):
    _, _, rows, errors = prompted
    own = [r for r in rows if (r.case, r.model) == ("one", "bright")]
    assert [r.variant for r in own] == [
        *(f"boxes {n}" for n in (1, 2, 3, 5, 9)),
        *(f"clicks {n}" for n in range(1, 10)),
    ]
    assert [r.boxes for r in own[:5]] == [1, 2, 3, 5, 7]  # the object has 7 slices
    assert [r.points for r in own[5:]] == sorted(r.points for r in own[5:])
    assert own[4].dice > 0.9
    assert {r.variant for r in rows if r.model == "box"} == {f"boxes {n}" for n in (1, 2, 3, 5, 9)}
    assert len(errors) == 1
    assert "broken" in errors[0]


def test_what_was_finished_is_taken_over(prompted, monkeypatch):
    study, out, rows, _ = prompted
    monkeypatch.setattr(studies, "_of_case", lambda *_: pytest.fail("done again"))
    again, errors = run_study(study, out)
    assert [r.as_dict() for r in again] == [r.as_dict() for r in rows]
    assert len(errors) == 1


def test_other_settings_are_another_study(prompted):
    study, *_ = prompted
    one = study.cases[0]
    other = Study("prompts", study.cases, study.models, limit=2)
    assert studies._mark(study, one) == studies._mark(study, one)
    assert studies._mark(study, one) != studies._mark(other, one)


@pytest.fixture(scope="module")
def coarsened(cohort, tmp_path_factory):
    study = Study("resolution", cohort[:2], {"bright": Bright()}, limit=1)
    out = tmp_path_factory.mktemp("resolution")
    return study, out, *run_study(study, out)


def test_coarser_voxels_cost_dice_and_nothing_beats_the_reference_itself(coarsened):
    _, _, rows, errors = coarsened
    assert not errors
    for case in ("one", "two"):
        dice = {r.variant: r.dice for r in rows if (r.case, r.model) == (case, "bright")}
        best = {r.variant: r.dice for r in rows if (r.case, r.model) == (case, CEILING)}
        assert set(dice) == set(best)
        assert best["in plane 1"] == best["across 1"] == 1
        assert best["across 3"] < best["across 2"] < 1
        assert dice["in plane 1"] == dice["across 1"] > 0.9
        assert dice["across 3"] < 0.9
        assert all(dice[v] <= best[v] + 0.02 for v in dice)


def test_a_model_that_breaks_is_recorded_and_the_rest_goes_on(cohort, tmp_path):
    class Broken(Bright):
        def decode(self, embedding, prompts):
            raise RuntimeError("no answer today")

    models = {"broken": Broken(), "box": registry.build("box")}
    study = Study("prompts", cohort[:1], models, limit=1)
    rows, _ = run_study(study, tmp_path)
    (row,) = [r for r in rows if r.model == "broken"]
    assert "no answer today" in row.error
    assert sum(r.model == "box" and r.scored for r in rows) == 5
    summary = write_study(study, rows, [], tmp_path, "", "Test")
    assert "no answer today" in summary["not_scored"][0]
    with pytest.raises(EvaluationError, match="no answer today"):
        write_study(study, [row], [], tmp_path, "", "Test")


def test_tables_have_an_interval_for_each_amount(prompted):
    boxes, clicks = study_tables(prompted[2])
    assert boxes.columns == ("Model", "1", "2", "3", "5", "9")
    assert [line[0] for line in boxes.lines] == ["bright", "box"]
    assert [line[0] for line in clicks.lines] == ["bright"]
    assert all("[" in cell for cell in boxes.lines[0][1:])
    assert list(varied(prompted[2])) == ["boxes", "clicks"]


def test_the_command_writes_a_report(cohort, tmp_path, capsys):
    manifest = cohort[0].image.parent / "cases.json"
    arguments = ["evaluate", "--cases", str(manifest), "--case", "one", "--study", "resolution"]
    arguments += ["--model", "two_class", "--no-baselines", "--limit", "1"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    assert "in the plane of the slices" in capsys.readouterr().out
    with (tmp_path / "out" / "study.csv").open(newline="") as handle:
        lines = list(csv.DictReader(handle))
    assert {line["model"] for line in lines} == {"two_class", CEILING}
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<svg") == 2
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert len(summary["results"]) == 2 * 8


def test_only_objects_with_all_amounts_count():
    """Else a curve would rise or fall by who is left."""
    row = Row("c", "s", "", "", "", "o", "1", "m", "prompts", "boxes 1", dice=0.4)
    rows = [row, replace(row, variant="boxes 2", dice=0.6), replace(row, case="picture", dice=0.9)]
    (table,) = study_tables(rows)
    assert table.lines == (("m", "0.400", "0.600"),)
    assert table.caption.endswith("1 objects.")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--study", "speed", "--out", "x"], "prompts or resolution"),
        (["--study", "prompts"], "--out"),
        (["--study", "prompts", "--workers", "2", "--out", "x"], "a study is"),
    ],
)
def test_what_makes_no_sense_is_said(cohort, more, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    manifest = cohort[0].image.parent / "cases.json"
    arguments = ["evaluate", "--cases", str(manifest), "--model", "box", "--no-baselines", *more]
    assert main(arguments) == 1
    assert said in capsys.readouterr().err
