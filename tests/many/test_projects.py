"""A project where scans are asked for: its cases' scans are meant, never its label maps."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sammed import cli, io
from sammed.errors import EvaluationError, InputError
from sammed.evaluation.accepted import accepted_cases
from sammed.imaging.volume import LabelVolume
from sammed.many.embedding import is_many
from sammed.many.manifest import read_scans
from sammed.many.record import Record
from sammed.many.segmenting import batch
from sammed.project.folder import Project
from tests.project.folders import make_project, scan, write_scans


def accept(project: Project, number: int) -> None:
    volume, labels = scan(number)
    project.accept(f"p{number}", LabelVolume(labels, volume.grid, {1: "ball", 2: "box"}))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Four cases: two accepted, one refused, one to do."""
    project = make_project(tmp_path, 4)
    accept(project, 0)
    accept(project, 1)
    project.refuse("p2", "moved")
    return project.folder


def named(source: str | Path) -> list[tuple[str, str]]:
    return [(one.id, one.image.name) for one in read_scans(source).scans]


def test_a_project_means_the_scans_of_its_cases(study: Path) -> None:
    found = read_scans(study)
    assert named(study) == [("p0", "p0.nii.gz"), ("p1", "p1.nii.gz"), ("p3", "p3.nii.gz")]
    assert found.notes == (
        f"{study} is a project: the scans of its 3 cases are taken; refused ones are left out: p2",
    )
    assert is_many(study)
    with pytest.raises(InputError, match="has no case; 'sammed project add"):
        read_scans(Project.create(study.with_name("empty"), {"ball": 0}).folder)


def test_a_case_that_cannot_be_read_has_failed_and_the_record_says_why(study: Path) -> None:
    scans = study.parent / "scans"
    (scans / "p1.nii.gz").unlink()
    shutil.copy(scans / "p0.nii.gz", scans / "p3.nii.gz")
    shutil.copytree(study / "cases" / "p0", study / "cases" / "p9")
    (study / "cases" / "p9" / "case.json").write_text("{")
    said: list[str] = []
    outcomes = batch(study, study.parent / "out", model="box", say=said.append)
    failed = {one.id: one.error for one in outcomes if one.state == "failed"}
    assert failed.keys() == {"p0", "p1", "p3", "p9"}
    assert "prompt" in failed["p0"]  # it was read: this model asks for prompts
    assert "is gone; bring it back" in failed["p1"]
    assert "is not the scan that was added as case p3" in failed["p3"]
    assert "case.json cannot be read" in failed["p9"]
    record = Record(study.parent / "out" / "record")
    entries = [record.entry(id) for id in failed]
    assert [entry and entry.error for entry in entries] == list(failed.values())
    assert any("is a project" in line for line in said)


@pytest.mark.parametrize("pattern", ["", "**/*.nii.gz", "*/**/*.nii.gz"])
def test_a_project_inside_a_folder_is_left_out_of_it(tmp_path: Path, pattern: str) -> None:
    project = make_project(tmp_path / "inside", 2)
    accept(project, 0)
    write_scans(tmp_path / "loose", 1)
    shutil.rmtree(tmp_path / "loose" / "labels")
    shutil.rmtree(tmp_path / "inside" / "labels")
    source = str(tmp_path / pattern) if pattern else str(tmp_path)
    found = read_scans(source)
    assert [one.image.parent.name for one in found.scans] == ["scans"] * 3
    (note,) = found.notes
    assert "1 files in projects are left out" in note
    assert str(project.folder) in note


def test_what_lies_beside_the_cases_may_be_asked_for_by_name(tmp_path: Path) -> None:
    project = make_project(tmp_path, 1)
    accept(project, 0)
    shutil.copytree(tmp_path / "scans", project.folder / "more")
    assert named(project.folder / "more") == [("p0", "p0.nii.gz")]
    assert named(str(project.folder / "**" / "*.nii.gz")) == [("p0", "p0.nii.gz")]
    with pytest.raises(InputError, match="holds no scan but files of the project"):
        read_scans(str(project.folder / "c*" / "**" / "*.nii.gz"))


def test_the_accepted_cases_of_a_project_are_a_cohort(study: Path) -> None:
    found = accepted_cases(study)
    assert found.notes == (f"{study} is a project: 2 of its 4 cases are accepted and taken",)
    one = found.cases[0]
    assert (one.id, one.subject, one.labels) == ("p0", "p0", {1: "ball", 2: "box"})
    assert io.read_labels(one.label).voxels.any()
    (study.parent / "scans" / "p0.nii.gz").unlink()
    found = accepted_cases(study)
    assert [case.id for case in found.cases] == ["p1"]
    assert "case p0 is left out: the scan" in found.notes[1]
    next((study / "cases" / "p1").glob("labels-*")).unlink()
    with pytest.raises(EvaluationError, match="no accepted case among its 4 that can be read"):
        accepted_cases(study)


@pytest.mark.thorough
@pytest.mark.usefixtures("console")
def test_a_model_is_scored_on_a_project(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = study.parent / "results"
    asked = ["evaluate", "--cases", str(study), "--out", str(out)]
    asked += ["--protocol", "B", "--model", "box", "--no-baselines"]
    assert cli.main(asked) == 0
    assert "2 of its 4 cases are accepted and taken" in capsys.readouterr().err
    rows = (out / "results.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 2
    assert cli.main(["evaluate", "--cases", str(study.parent), "--out", str(out)]) == 1
    assert "or a project's folder" in capsys.readouterr().err
