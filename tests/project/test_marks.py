"""Scans are known again by what they hold, also in projects of older versions."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest

from sammed import cli, io
from sammed.errors import InputError
from sammed.imaging.volume import Volume
from sammed.project.folder import Project
from sammed.project.importing import import_labels
from sammed.project.marks import CONTENT, is_marked, mark_of, older_mark_of
from sammed.project.sources import Found, find_scans
from tests.phantoms import affine_of
from tests.project.folders import make_project, write_scans


def padded(value: int) -> Volume:
    """A scan with empty margins larger than what older marks looked at."""
    voxels = np.zeros((40, 200, 200), np.float32)
    voxels[18:22, 50:150, 50:150] = value
    return Volume.from_array(voxels, affine_of())


def added(folder, scans):
    return Project.create(folder / "study", {"ball": 0}).add(find_scans([str(scans)]))


def make_older(project):
    """As versions before marks of the content left it."""
    for case in project.cases():
        path = case.folder / "case.json"
        said = json.loads(path.read_text())
        said["mark"] = older_mark_of(case.image, said["series"])
        path.write_text(json.dumps(said))


def test_folders_with_slices_of_equal_names_and_sizes_are_several_scans(tmp_path):
    scans = []
    for number in range(3):
        folder = tmp_path / "scans" / f"p{number}"
        folder.mkdir(parents=True)
        for n in range(4):
            (folder / f"{n}.dcm").write_bytes(bytes([number, n] * 500))
        scans.append(Found(folder, f"p{number}", f"p{number}"))
    project = Project.create(tmp_path / "study", {"ball": 0})
    assert project.add(scans).new == ("p0", "p1", "p2")
    renamed = tmp_path / "again"
    renamed.mkdir()
    for n in range(4):
        shutil.copy(tmp_path / "scans" / "p1" / f"{n}.dcm", renamed / f"slice{9 - n}")
    (renamed / ".hidden").write_text("of the system")
    again = project.add([Found(renamed, "x", "x")])
    assert again.same == ((renamed, "p1"),)


def test_scans_that_differ_in_the_middle_alone_are_several(tmp_path):
    (tmp_path / "scans").mkdir()
    for number in range(3):
        io.write_volume(padded(number + 1), tmp_path / "scans" / f"p{number}.nii")
    assert len(added(tmp_path, tmp_path / "scans").new) == 3


@pytest.mark.parametrize("ending", [".nhdr", ".mhd"])
def test_headers_count_with_the_voxels_that_they_name(tmp_path, ending):
    for number in range(3):
        (tmp_path / "scans" / f"p{number}").mkdir(parents=True)
        io.write_volume(padded(number + 1), tmp_path / "scans" / f"p{number}" / f"ct{ending}")
    assert len(added(tmp_path, tmp_path / "scans").new) == 3


@pytest.mark.parametrize("older", [False, True])
def test_a_swapped_scan_is_noticed_at_accepting(tmp_path, older):
    project = make_project(tmp_path, 2)
    if older:
        make_older(project)
    scan, other = (tmp_path / "scans" / f"p{n}.nii.gz" for n in (0, 1))
    (taken,) = import_labels(project, {"p0": tmp_path / "labels" / "p0.nii.gz"}, accept=False)
    assert taken.done
    times = scan.stat()
    shutil.copy(other, scan)
    os.utime(scan, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(InputError, match="is not the scan that was added as case p0"):
        project.accept("p0")
    (refused,) = import_labels(project, {"p0": tmp_path / "labels" / "p0.nii.gz"})
    assert "is not the scan that was added as case p0" in refused.note
    assert project.case("p0").record.state == "proposed"


def test_a_swapped_scan_of_one_size_and_one_margin_is_noticed(tmp_path):
    scan = tmp_path / "ct.nii"
    io.write_volume(padded(1), scan)
    project = Project.create(tmp_path / "study", {"ball": 0})
    project.add(find_scans([str(scan)]))
    io.write_volume(padded(2), scan, force=True)
    with pytest.raises(InputError, match="is not the scan that was added as case ct"):
        project.case("ct").volume()


def test_projects_of_older_versions_go_on(tmp_path):
    project = make_project(tmp_path, 2)
    assert all(case.scan.mark.startswith(CONTENT) for case in project.cases())
    make_older(project)
    assert not any(case.scan.mark.startswith(CONTENT) for case in project.cases())
    assert [case.volume().shape for case in project.cases()] == [(12, 20, 24)] * 2
    again = project.add(find_scans([str(tmp_path / "scans")]))
    assert (again.new, sorted(again.known), again.same) == ((), ["p0", "p1"], ())


def test_what_an_older_mark_took_for_one_scan_is_added_now(tmp_path):
    for number in range(2):
        io.write_volume(padded(number + 1), tmp_path / f"p{number}.nii")
    project = Project.create(tmp_path / "study", {"ball": 0})
    project.add(find_scans([str(tmp_path / "p0.nii")]))
    make_older(project)
    assert older_mark_of(tmp_path / "p0.nii") == older_mark_of(tmp_path / "p1.nii")
    assert project.add(find_scans([str(tmp_path / "*.nii")])).new == ("p1",)


def test_each_series_of_a_folder_is_known_again(tmp_path):
    folder = tmp_path / "both"
    folder.mkdir()
    (folder / "1.dcm").write_bytes(b"1" * 500)
    for of in (mark_of, older_mark_of):
        first, second = (of(folder, f"uid:{n}") for n in (1, 2))
        assert first != second
        assert is_marked(folder, first, "uid:1")
        assert not is_marked(folder, first, "uid:2")
    project = Project.create(tmp_path / "study", {"ball": 0})
    project.add(Found(folder, f"s{n}", "s", series=f"uid:{n}") for n in (1, 2))
    assert [case.check_scan().name for case in project.cases()] == ["both"] * 2


@pytest.mark.usefixtures("console")
def test_what_is_the_same_scan_is_said(tmp_path, capsys):
    write_scans(tmp_path, 2)
    for name in ("a", "b"):
        (tmp_path / "copies" / name).mkdir(parents=True)
        shutil.copy(tmp_path / "scans" / "p1.nii.gz", tmp_path / "copies" / name / "ct.nii.gz")
    study = str(tmp_path / "study")
    images = [w for s in ("scans", "copies") for w in ("--images", str(tmp_path / s))]
    assert cli.main(["project", "new", study, *images, "--structures", "ball"]) == 0
    told = "".join(capsys.readouterr())
    assert "the same as ones that are there: b/ct.nii.gz = a-ct, scans/p1.nii.gz = a-ct\n" in told
    assert cli.main(["project", "add", study, "--images", str(tmp_path / "scans")]) == 0
    told = "".join(capsys.readouterr())
    assert "1 scan is the same as one that is there: scans/p1.nii.gz = a-ct\n" in told
    assert "0 new cases, 2 were there already" in told


@pytest.mark.usefixtures("console")
def test_a_broken_case_stops_neither_adding_nor_importing(tmp_path, capsys):
    project = make_project(tmp_path, 2)
    broken = project.case("p0").folder / "case.json"
    broken.write_text("{")
    study = str(project.folder)
    shutil.copy(tmp_path / "scans" / "p0.nii.gz", tmp_path / "p2.nii.gz")
    assert cli.main(["project", "add", study, "--images", str(tmp_path / "p2.nii.gz")]) == 0
    told = "".join(capsys.readouterr())
    assert f"case p0 is left out: {broken} cannot be read" in told
    assert "1 new cases" in told
    assert cli.main(["project", "import", study, str(tmp_path / "labels")]) == 0
    told = "".join(capsys.readouterr())
    assert f"p0: not taken; {broken} cannot be read" in told
    assert "p1: accepted" in told
