"""The report of where and why a run fails."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from sammed.cli import main
from sammed.evaluation.cohort import Plan, run_cohort
from sammed.evaluation.factor_figures import coefficient_figure, dependence_figure
from sammed.evaluation.factor_run import FactorsOfRun, measure_run
from sammed.evaluation.failures import (
    Failing,
    analyse,
    coefficient_table,
    factor_tables,
    failing_json,
    worst_of_each_kind,
)
from sammed.evaluation.manifest import read_manifest
from sammed.evaluation.parts import PartStore
from sammed.evaluation.report import FACTOR_OUTPUTS, write_outputs
from sammed.reporting.ridge import expit

from .conftest import Bright, write_cohort
from .test_explaining import judged


def cohort_of(subjects, seed=1):
    """Objects whose Dice depends on their thickness alone, under two protocols."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(subjects):
        thick, contrast = 2.0 ** rng.uniform(0, 5), 10 ** rng.uniform(-2, -0.3)
        dice = float(expit(np.array(-1 + 1.5 * np.log10(thick) / 0.45 + rng.normal(0, 0.2))))
        one = judged(number, thickness=thick, contrast=contrast, dice=dice)
        found += [one, replace(one, protocol="A", dice=min(dice + 0.01, 1.0))]
    return FactorsOfRun(tuple(found))


def test_what_dice_depends_on_is_at_the_top_of_the_table():
    analysis = analyse(cohort_of(40), "m")
    assert set(analysis.objects) == {"B", "A"}
    table = coefficient_table(analysis.objects, "What.")
    assert table.columns == ("Factor", "B", "A")
    assert table.lines[0][0] == "thickness (voxels)"
    assert table.lines[0][1].startswith("+1.")
    low = float(table.lines[0][1].split("[")[1].split(",")[0])
    assert low > 0.5
    assert [line[0] for line in table.lines[-2:]] == [
        "subjects / observations",
        "R² on unseen subjects",
    ]
    assert table.lines[-2][1] == "40 / 40"


def test_figures_are_drawn_of_it():
    found = cohort_of(25)
    analysis = analyse(found, "m")
    for drawing in (
        coefficient_figure(analysis.objects),
        dependence_figure(analysis.objects, found, "m"),
    ):
        assert drawing.svg.startswith("<svg")
        assert len(drawing.svg) < 400_000


def test_numbers_for_the_summary():
    (found, *_) = failing_json([Failing("m", analyse(cohort_of(40), "m"))])
    assert found["model"] == "m"
    assert found["subjects"] == 40
    value, low, high = found["coefficients"]["thickness"]
    assert low < value < high
    json.dumps(found, allow_nan=False)


def test_tables_are_printed_of_each_model():
    table, thirds = factor_tables(cohort_of(40))
    assert table.lines[0][0] == "thickness (voxels)"
    by = {line[0]: line[1] for line in thirds.lines}
    low, middle, high = map(float, by["thickness (voxels)"].split(" / "))
    assert low < middle < high
    assert by["solidity"] == "–"  # it is the same of all
    assert len(factor_tables(cohort_of(5))) == 1


def test_few_subjects_are_said_and_nothing_is_drawn():
    analysis = analyse(cohort_of(9), "m")
    assert not analysis.objects
    assert any("9 subjects: too few" in reason for reason in analysis.reasons)


def test_the_worst_of_each_kind_is_hard_in_that_way_and_shown_once():
    every = [judged(i, dice=0.9, thickness=float(10 + i)) for i in range(20)]
    every[4] = judged(4, dice=0.2, thickness=1.0, contrast=0.01)
    every[7] = judged(7, dice=0.4, contrast=0.02)
    every[9] = judged(9, dice=0.1)
    chosen = dict(worst_of_each_kind(every))
    assert chosen["thickness (voxels)"] == 4
    assert chosen["contrast (of the window)"] == 7
    assert 9 not in chosen.values()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("failing")
    cases = tuple(read_manifest(write_cohort(folder / "data")))
    plan = Plan(cases, {"bright": Bright()}, ("A", "B"), jitters=(0.05,))
    out = folder / "out"
    out.mkdir()
    parts = run_cohort(plan, PartStore(out))
    write_outputs(plan, parts, out, "sammed evaluate", "Test", measure_run(plan, parts, out))
    return out


@pytest.mark.thorough
def test_the_report_has_the_section_and_its_files(run):
    text = (run / "report.html").read_text()
    assert "Where and why bright fails" in text
    assert "2 subjects: too few" in text
    assert "The worst of each kind" in text
    for name in FACTOR_OUTPUTS:
        assert (run / name).stat().st_size > 200
    assert json.loads((run / "summary.json").read_text())["factors"] == []


@pytest.mark.thorough
def test_without_factors_nothing_is_said_of_them(run, tmp_path):
    folder = run.parent
    cases = tuple(read_manifest(folder / "data" / "cases.json"))
    plan = Plan(cases, {"bright": Bright()}, ("A", "B"), jitters=(0.05,))
    parts = run_cohort(plan, PartStore(run))
    write_outputs(plan, parts, tmp_path, "sammed evaluate", "Test")
    assert "Where and why" not in (tmp_path / "report.html").read_text()
    assert not any((tmp_path / name).exists() for name in FACTOR_OUTPUTS)


@pytest.mark.thorough
def test_the_command_measures_factors(tmp_path, capsys):
    cohort = write_cohort(tmp_path / "data")
    out = tmp_path / "out"
    arguments = ["evaluate", "--cases", str(cohort), "--case", "one", "--protocol", "B", "--model"]
    arguments += ["compact", "--no-baselines", "--threads", "1", "--factors", "--out", str(out)]
    assert main(arguments) == 0
    assert "factors.csv" in capsys.readouterr().err
    lines = (out / "factors.csv").read_text().splitlines()
    assert len(lines) == 3
    assert "Where and why compact fails" in (out / "report.html").read_text()


def test_factors_of_baselines_alone_are_said_to_be_none(tmp_path, capsys):
    cohort = write_cohort(tmp_path / "data")
    arguments = ["evaluate", "--cases", str(cohort), "--case", "one", "--protocol", "B", "--model"]
    arguments += ["two_class", "--no-baselines", "--factors", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert "baselines alone have none" in capsys.readouterr().err
