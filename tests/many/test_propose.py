"""``sammed propose`` by several workers, and beside people who work in the same project."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sammed import cli
from sammed.learning.course import Wishes, learn, model_path
from sammed.learning.proposing import propose
from sammed.many.record import Record
from sammed.project.folder import Project
from sammed.project.importing import import_labels, pair
from sammed.project.lease import take
from tests.project.folders import make_project

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of six cases is learned from."""
    folder = tmp_path_factory.mktemp("learned")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    project = make_project(folder, 6)
    files, _ = pair(project, folder / "labels")
    import_labels(project, dict(list(files.items())[:1]))
    learn(project, Wishes(steps=3, what="segmenter"))
    torch.set_num_threads(before)
    return folder


@pytest.fixture
def project(learned: Path, tmp_path: Path) -> Project:
    shutil.copytree(learned, tmp_path / "copy")
    return Project(tmp_path / "copy" / "study")


def label_maps(project: Project) -> dict[str, np.ndarray]:
    found = {}
    for case in project.cases():
        if case.record.state == "proposed":
            labels = case.labels(case.volume(), project.description.names)
            assert labels is not None
            found[case.id] = labels.voxels
    return found


def test_two_workers_propose_the_same_and_go_on(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed", reason="pip install 'sammed[cluster]'")
    folder = str(project.folder)
    (project.folder.parent / "scans" / "p5.nii.gz").unlink()
    assert cli.main(["propose", folder, "--threads", "1"]) == 5
    alone = label_maps(project)
    assert set(alone) == {"p1", "p2", "p3", "p4"}
    for id in alone:
        with project.case(id).held() as lease:
            project.case(id).commit(lease, "forget", {"model": "another", "state": "proposed"})
    estimated = {id: dict(project.case(id).record.estimated) for id in alone}
    capsys.readouterr()
    assert cli.main(["propose", folder, "--threads", "1", "--workers", "2"]) == 5
    together = label_maps(project)
    for id, voxels in alone.items():
        np.testing.assert_array_equal(together[id], voxels)
        assert dict(project.case(id).record.estimated) == estimated[id]
        assert project.case(id).record.history[-1]["what"] == "propose"
    err = capsys.readouterr().err
    assert "1 of 5 cases failed" in err
    assert "p5 failed: the scan" in err
    found = propose(project)
    assert sorted(found.skipped) == ["p1", "p2", "p3", "p4"]
    assert [one.case for one in found.proposals] == ["p5"]
    assert "is gone" in Record(project.folder / "record").entry("p5").error


def test_a_case_that_a_person_has_open_is_told_and_left_alone(project: Project) -> None:
    lease = take(project.case("p3").folder)
    found = {one.case: one.error for one in propose(project).proposals}
    assert "p3 is in work" in found.pop("p3")
    assert set(found.values()) == {""}
    lease.give_back()
    assert project.case("p3").record.state == "todo"
    assert [one.case for one in propose(project).proposals] == ["p3"]
    assert model_path(project).is_file()
