"""The project's commands, as they are typed."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace

import pytest

from sammed import cli, io
from sammed.project.case import clear_left_over
from sammed.project.exporting import export
from sammed.project.folder import Project, overview
from sammed.project.importing import import_labels
from sammed.project.sources import Found
from tests.project.folders import write_scans

pytestmark = pytest.mark.usefixtures("console")


def said(capsys, *words: object, code: int = 0) -> str:
    assert cli.main([str(word) for word in words]) == code
    out, err = capsys.readouterr()
    return out + err


@pytest.mark.thorough
def test_all_commands(tmp_path, capsys):
    write_scans(tmp_path, 3)
    study, scans, labels = (tmp_path / name for name in ("study", "scans", "labels"))
    told = said(capsys, "project", "new", study, "--images", scans / "p[01].nii.gz",
                "--structures", "ball,box")  # fmt: skip
    assert "2 cases, structures ball = 1, box = 2" in told
    assert "is a project already" in said(capsys, "project", "new", study, "--images", scans,
                                          "--structures", "ball", code=1)  # fmt: skip
    first = said(capsys, "project", "next", study).strip()
    assert first in ("p0", "p1")
    assert "has no label map to accept" in said(capsys, "project", "accept", study, first, code=1)
    labelled = said(
        capsys, "project", "accept", study, first, "--labels", labels / f"{first}.nii.gz"
    )
    assert f"{first}: accepted" in labelled
    told = said(capsys, "project", "add", study, "--images", scans, "--structures", "gut=9")
    assert "1 new cases, 2 were there already" in told
    told = said(capsys, "project", "import", study, labels, "--propose")
    assert f"{first}: not taken; it has an accepted label map already" in told
    assert "p2: to be looked at; has no gut" in told
    assert "refused" in said(capsys, "project", "refuse", study, "p2", "--why", "moved")
    assert "p2: proposed" in said(capsys, "project", "refuse", study, "p2", "--undo")
    table = said(capsys, "project", "status", study)
    assert "1 accepted, 2 proposed" in table or "2 proposed, 1 accepted" in table
    lines = json.loads(said(capsys, "project", "status", study, "--json"))["cases"]
    assert {line["state"] for line in lines} == {"accepted", "proposed"}
    assert "1 of 1 cases" in said(capsys, "project", "export", study, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "labels.json").read_text()) == {
        "1": "ball", "2": "box", "9": "gut",
    }  # fmt: skip


def test_what_cannot_be_done_is_one_line(tmp_path, capsys):
    write_scans(tmp_path, 1)
    study = tmp_path / "study"
    for words, line in (
        (("new", study, "--images", tmp_path / "scans"), "a project needs a structure"),
        (("new", study, "--structures", "a=x"), "cannot read the structure 'a=x'"),
        (("new", study, "--images", "nothing/*", "--structures", "a"), "means no scan"),
        (("status", study), "is no project"),
    ):
        assert line in said(capsys, "project", *words, code=1)
    assert not study.exists()
    said(capsys, "project", "new", study, "--images", tmp_path / "scans", "--structures", "ball")
    for words, line in (
        (("accept", study, "../p0"), "has no case '../p0'"),
        (("export", study, tmp_path / "out"), "no case that is accepted"),
        (("export", study, tmp_path / "out", "--as", "paper"), "unknown layout 'paper'"),
        (("import", study, tmp_path / "scans" / "p0.nii.gz"), "no label map was taken"),
        (("add", study), "nothing to add"),
        (("add", study, "--structures", "Ball"), "there is a structure 'Ball' already"),
    ):
        assert line in said(capsys, "project", *words, code=1), words


@pytest.mark.thorough
def test_one_case_that_cannot_be_read_does_not_stop_the_others(tmp_path, capsys):
    write_scans(tmp_path, 3)
    study, out = tmp_path / "study", tmp_path / "out"
    said(capsys, "project", "new", study, "--images", tmp_path / "scans",
         "--structures", "ball,box")  # fmt: skip
    labels = tmp_path / "labels"
    for id in ("p0", "p1"):
        said(capsys, "project", "accept", study, id, "--labels", labels / f"{id}.nii.gz")
    state = study / "cases" / "p1" / "state.json"
    state.write_text('{"state": "acc')
    assert "p2" in said(capsys, "project", "next", study)
    table = said(capsys, "project", "status", study)
    assert [line.split()[:2] for line in table.splitlines()[1:3]] == [
        ["p0", "accepted"],
        ["p1", "unreadable"],
    ], "not squeezed by what is said of it"
    (line,) = [one for one in overview(Project(study)) if one.id == "p1"]
    assert "without it, the case is to do" in line.note
    told = said(capsys, "project", "export", study, out)
    assert "1 of 2 cases" in told
    assert f"p1: {state} cannot be read" in told
    assert (out / "p0.nii.gz").is_file()
    state.unlink()
    assert "p1" in json.dumps([case.id for case in Project(study).queue()])


def test_an_export_of_nothing_leaves_no_folder(tmp_path, capsys):
    write_scans(tmp_path, 1)
    study, out = tmp_path / "study", tmp_path / "out"
    said(capsys, "project", "new", study, "--images", tmp_path / "scans",
         "--structures", "ball,box")  # fmt: skip
    labels = tmp_path / "labels" / "p0.nii.gz"
    unnamed = tmp_path / "unnamed.nii.gz"
    io.write_labels(replace(io.read_labels(labels), names={}), unnamed)
    refused = said(capsys, "project", "accept", study, "p0", "--labels", unnamed, code=1)
    assert "with --names '1=liver;2=spleen'" in refused
    for words in (("accept", study, "p0", "--labels"), ("import", study)):
        told = said(capsys, "project", *words, labels, "--names", "1=ball;2=box",
                    *(["--force"] if words[0] == "import" else []))  # fmt: skip
        assert "p0: accepted" in told
    told = said(capsys, "project", "export", study, out, "--as", "dicom-seg", code=1)
    assert "is no DICOM" in told
    assert not out.exists()


def test_a_folder_that_was_renamed_keeps_its_model(tmp_path):
    project = Project.create(tmp_path / "study", {"ball": 0})
    assert project.model_file == tmp_path / "study" / "study.sammed"
    project.model_file.write_text("x")
    project.folder.rename(tmp_path / "other")
    moved = Project(tmp_path / "other")
    assert moved.model_file == tmp_path / "other" / "study.sammed"
    (tmp_path / "other" / "other.sammed").write_text("x")
    assert moved.model_file == tmp_path / "other" / "other.sammed"


def test_bids_names_keep_their_entities(tmp_path):
    write_scans(tmp_path, 3)
    project = Project.create(tmp_path / "study", {"ball": 0, "box": 0})
    ids = ("sub-01_T1w", "sub-01_T2w", "scan_7")
    files = [tmp_path / "scans" / f"p{n}.nii.gz" for n in range(3)]
    project.add(Found(f, id, "sub-01") for f, id in zip(files, ids, strict=True))
    for n, id in enumerate(ids):
        import_labels(project, {id: tmp_path / "labels" / f"p{n}.nii.gz"})
    assert not any(one.error for one in export(project, tmp_path / "out", "bids"))
    names = sorted(p.name for p in (tmp_path / "out" / "sub-01" / "anat").glob("*.nii.gz"))
    assert names == [
        "sub-01_desc-T2w_dseg.nii.gz",
        "sub-01_desc-scan7_dseg.nii.gz",
        "sub-01_dseg.nii.gz",
    ]


def test_what_killed_programs_left_is_removed_later(tmp_path):
    new, old = tmp_path / ".sammed-new", tmp_path / ".sammed-old"
    for folder in (new, old):
        folder.mkdir()
    os.utime(old, (time.time() - 7200,) * 2)
    clear_left_over(tmp_path)
    assert new.exists()
    assert not old.exists()


@pytest.mark.thorough
def test_what_a_person_decided_is_not_undone_by_chance(tmp_path, capsys):
    write_scans(tmp_path, 3)
    study, labels = tmp_path / "study", tmp_path / "labels"
    said(capsys, "project", "new", study, "--images", tmp_path / "scans",
         "--structures", "ball,box")  # fmt: skip
    project = Project(study)
    own = {id: labels / f"{id}.nii.gz" for id in ("p0", "p1", "p2")}
    said(capsys, "project", "refuse", study, "p1", "--why", "moved")
    told = said(capsys, "project", "import", study, labels)
    assert "p1: not taken; it was refused (moved); --force takes it back" in told
    assert project.case("p1").record.note == "moved"
    assert project.case("p0").record.state == "accepted"
    before = (project.case("p0").folder / project.case("p0").record.labels).read_bytes()
    told = said(capsys, "project", "accept", study, "p0", "--labels", own["p2"], code=1)
    assert "p0 is not accepted: it has an accepted label map already; --force replaces it" in told
    assert (project.case("p0").folder / project.case("p0").record.labels).read_bytes() == before
    for words in (("--labels", own["p1"]), ()):
        told = said(capsys, "project", "accept", study, "p1", *words, code=1)
        assert "it was refused (moved); --force takes it back" in told
    told = said(capsys, "project", "refuse", study, "p0", "--undo", code=1)
    assert "p0 is accepted, not refused" in told
    assert project.case("p0").record.state == "accepted"
    for id in ("p0", "p1"):
        told = said(capsys, "project", "accept", study, id, "--labels", own[id], "--force")
        assert f"{id}: accepted" in told
    assert "p0: accepted" in said(capsys, "project", "accept", study, "p0")
    said(capsys, "project", "refuse", study, "p2")
    assert "p2: accepted" in said(capsys, "project", "import", study, labels, "--force")
