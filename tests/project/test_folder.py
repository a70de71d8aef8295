"""Projects: what comes in, what is kept, what comes out."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest

from sammed import io
from sammed.errors import InputError, LabelError, OutputError, UnreadableFileError
from sammed.imaging.volume import LabelVolume
from sammed.project.description import read_description
from sammed.project.exporting import export
from sammed.project.folder import Project, overview
from sammed.project.importing import import_labels, pair
from sammed.project.sources import find_scans
from tests.phantoms import DATA
from tests.project.folders import make_project, scan, write_scans


def test_from_new_to_exported(tmp_path):
    project = make_project(tmp_path)
    assert [line.state for line in overview(project)] == ["todo"] * 3
    files, left = pair(project, tmp_path / "labels")
    assert not left
    assert all(one.done for one in import_labels(project, {"p0": files["p0"]}))
    case = project.case("p0")
    assert case.record.state == "accepted"
    labels = case.labels(case.volume(), project.description.names)
    np.testing.assert_array_equal(labels.voxels, scan(0)[1])
    assert project.next().id in ("p1", "p2")
    project.refuse("p1", "moved")
    assert project.next().id == "p2"
    assert project.reopen("p1").state == "todo"
    assert [one.error for one in export(project, tmp_path / "out")] == [""]
    np.testing.assert_array_equal(io.read_labels(tmp_path / "out" / "p0.nii.gz").voxels, scan(0)[1])


def test_a_project_moves_with_its_scans(tmp_path):
    make_project(tmp_path / "here", 1)
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert Project(tmp_path / "there" / "study").case("p0").volume().shape == scan(0)[0].shape


def test_a_scan_that_has_changed_is_another_patient(tmp_path):
    project = make_project(tmp_path, 2)
    shutil.copy(tmp_path / "scans" / "p1.nii.gz", tmp_path / "scans" / "p0.nii.gz")
    with pytest.raises(InputError, match="is not the scan that was added as case p0"):
        project.case("p0").volume()
    (tmp_path / "scans" / "p1.nii.gz").unlink()
    with pytest.raises(UnreadableFileError, match="case p1 is gone"):
        project.case("p1").volume()


def test_the_same_scan_is_added_once(tmp_path):
    project = make_project(tmp_path, 2)
    again = project.add(find_scans([str(tmp_path / "scans")]))
    assert not again.new
    assert sorted(again.known) == ["p0", "p1"]


@pytest.mark.parametrize("layout", ["nnunet", "bids"])
def test_layouts_lead_back(tmp_path, layout):
    project = make_project(tmp_path, 2)
    import_labels(project, pair(project, tmp_path / "labels")[0])
    done = export(project, tmp_path / layout, layout)
    assert [one.error for one in done] == ["", ""]
    if layout == "nnunet":
        said = json.loads((tmp_path / layout / "dataset.json").read_text())
        assert said["labels"] == {"background": 0, "ball": 1, "box": 2}
        assert said["numTraining"] == 2
        again = find_scans([str(tmp_path / layout)])
        assert [one.id for one in again] == ["p0", "p1"]
        assert all(one.label is not None for one in again)
    else:
        one = tmp_path / layout / "sub-p0" / "anat"
        assert [p.name for p in sorted(one.iterdir())] == [
            "sub-p0_desc-p0_dseg.json",
            "sub-p0_desc-p0_dseg.nii.gz",
        ]
        assert (tmp_path / layout / "dseg.tsv").read_text().splitlines()[1] == "1\tball"


def test_exports_of_a_case_that_breaks_go_on(tmp_path):
    project = make_project(tmp_path, 2)
    import_labels(project, pair(project, tmp_path / "labels")[0])
    (tmp_path / "scans" / "p0.nii.gz").unlink()
    errors = {one.case: one.error for one in export(project, tmp_path / "out")}
    assert "is gone" in errors["p0"]
    assert errors["p1"] == ""
    with pytest.raises(OutputError, match="is not empty"):
        export(project, tmp_path / "out")
    assert "no DICOM" in export(project, tmp_path / "seg", "dicom-seg")[1].error


def test_names_map_to_the_values_of_the_project(tmp_path):
    write_scans(tmp_path, 1)
    project = Project.create(tmp_path / "study", {"box": 7, "lesion": 9, "ball": 0})
    project.add(find_scans([str(tmp_path / "scans")]))
    (done,) = import_labels(project, pair(project, tmp_path / "labels")[0])
    assert done.note == "has no lesion"
    case = project.case("p0")
    found = case.labels(case.volume(), project.description.names).voxels
    truth = scan(0)[1]
    assert project.description.structures == {"box": 7, "lesion": 9, "ball": 1}
    np.testing.assert_array_equal(found, np.select([truth == 1, truth == 2], [1, 7], 0))


def test_labels_without_a_name_are_not_guessed(tmp_path):
    write_scans(tmp_path, 1)
    project = Project.create(tmp_path / "study", {"liver": 1, "spleen": 2})
    project.add(find_scans([str(tmp_path / "scans")]))
    files = pair(project, tmp_path / "labels")[0]
    (refused,) = import_labels(project, files)
    assert not refused.done
    assert "none of which is named as a structure of the project" in refused.note
    (done,) = import_labels(project, files, {1: "spleen", 2: "tumour"})
    assert done.note == "left out, being no structure of the project: tumour (2); has no liver"
    case = project.case("p0")
    assert set(np.unique(case.labels(case.volume(), {}).voxels)) == {0, 2}


def test_labels_of_another_grid_and_strange_values_are_refused(tmp_path):
    project = make_project(tmp_path, 1)
    volume, labels = scan(1, (12, 20, 25))
    io.write_labels(LabelVolume(labels, volume.grid, {1: "ball"}), tmp_path / "p0.nii.gz")
    (one,) = import_labels(project, {"p0": tmp_path / "p0.nii.gz"})
    assert "not on the grid" in one.note
    volume, labels = scan(0)
    with pytest.raises(LabelError, match="has the value 5, which is no structure"):
        project.accept("p0", LabelVolume(np.where(labels == 1, 5, 0).astype(np.uint8),
                                         volume.grid, {}))  # fmt: skip
    with pytest.raises(InputError, match="no label map to accept"):
        project.accept("p0")


def test_an_accepted_label_map_is_not_replaced_by_chance(tmp_path):
    project = make_project(tmp_path, 1)
    files = pair(project, tmp_path / "labels")[0]
    assert import_labels(project, files)[0].done
    assert "--force" in import_labels(project, files)[0].note
    assert import_labels(project, files, force=True)[0].done
    assert len(list(project.case("p0").folder.glob("labels-*"))) == 1


def test_sources(tmp_path):
    write_scans(tmp_path, 2)
    bids = tmp_path / "bids"
    for name in ("sub-01/anat/sub-01_T1w.nii.gz", "sub-02/ses-a/anat/sub-02_ses-a_T1w.nii.gz"):
        (bids / name).parent.mkdir(parents=True)
        shutil.copy(tmp_path / "scans" / "p0.nii.gz", bids / name)
    (bids / "dataset_description.json").write_text("{}")
    assert [one.subject for one in find_scans([str(bids)])] == ["sub-01", "sub-02"]
    with (tmp_path / "list.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "subject", "id"])
        writer.writerow(["scans/p1.nii.gz", "anna", "first"])
        writer.writerow(["scans/p0.nii.gz", "anna", ""])
    found = find_scans([str(tmp_path / "list.csv")])
    assert [(one.id, one.subject) for one in found] == [("p0", "anna"), ("first", "anna")]
    assert len(find_scans([str(tmp_path / "**" / "*.nii.gz")])) == 6
    with pytest.raises(InputError, match="means no scan"):
        find_scans([str(tmp_path / "nothing" / "*.nii.gz")])


def test_scans_of_one_name_get_ids_of_their_own(tmp_path):
    write_scans(tmp_path / "a", 1)
    write_scans(tmp_path / "b", 1)
    found = find_scans([str(tmp_path / "*" / "scans" / "*.nii.gz")])
    assert len({one.id for one in found}) == 2
    assert len({one.subject for one in found}) == 2


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared volumes")
def test_dicom_folders(tmp_path):
    (found,) = find_scans([str(DATA / "torchio_dicom")])
    project = Project.create(tmp_path / "study", {"a": 0})
    assert len(project.add([found]).new) == 1
    assert project.cases()[0].volume().grid.format == "dicom"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("format = 'sammed-project/2'", "a newer sammed"),
        ("name = [", "cannot be read"),
        ("format='sammed-project/1'\nseed=0\n[structures]\na=1\nb=1", "taken"),
        ("format='sammed-project/1'\nseed=0\n[structures]\na='x'", "whole numbers"),
    ],
)
def test_broken_descriptions_are_one_line(tmp_path, text, words):
    (tmp_path / "project.toml").write_text(text)
    with pytest.raises(UnreadableFileError, match=words) as caught:
        read_description(tmp_path)
    assert "\n" not in str(caught.value)


def test_names_of_structures_survive_toml(tmp_path):
    names = {'quote "x" \\ y': 0, "Niere links": 3, "énorme": 0}
    project = Project.create(tmp_path / "study", names)
    assert Project(project.folder).description.structures == {
        'quote "x" \\ y': 1,
        "Niere links": 3,
        "énorme": 2,
    }


def test_a_broken_case_is_a_line_of_the_table(tmp_path):
    project = make_project(tmp_path, 2)
    (project.case("p0").folder / "state.json").write_text("{")
    lines = overview(project)
    assert lines[0].state == "unreadable"
    assert lines[1].state == "todo"
