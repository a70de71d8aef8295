"""Which scans patterns, folders and tables mean, and what is said of the rest."""

from __future__ import annotations

import json
import shutil

import pytest

from sammed import cli
from sammed.errors import InputError, LabelError
from sammed.project.description import parse_structures
from sammed.project.sources import find_scans, look_for
from tests.project.folders import write_scans


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_as_spreadsheets_save_them(tmp_path, separator):
    write_scans(tmp_path, 2)
    table = tmp_path / "scans.csv"
    rows = [("Image", "id", "subject"), ("scans/p0.nii.gz", "a", "anna"), ("scans/p1.nii.gz", "b")]
    table.write_text("\n".join(separator.join(row) for row in rows))
    found = find_scans([str(table)])
    assert [(one.id, one.subject) for one in found] == [("a", "anna"), ("b", "p1")]


@pytest.mark.thorough
@pytest.mark.usefixtures("console")
def test_a_bad_line_of_a_table_is_named_and_the_others_are_taken(tmp_path, capsys):
    write_scans(tmp_path, 3)
    table = tmp_path / "scans.csv"
    table.write_text(
        "image,id,subject\nscans/p0.nii.gz,a,anna\nscans/gone.nii.gz,b,bert\n,c,carl\n"
        "scans/p0.nii.gz,a,dora\nscans/p1.nii.gz,A,emil\nscans/p2.nii.gz,f,anna\n"
    )
    found = look_for([str(table)])
    assert [one.subject for one in found.scans] == ["anna", "emil", "anna"]
    assert len({one.id.casefold() for one in found.scans}) == 3
    study = str(tmp_path / "study")
    words = ["project", "new", study, "--images", str(table), "--structures", "ball"]
    assert cli.main(words) == 0
    told = "".join(capsys.readouterr())
    for line in (
        "line 3 is left out: there is no image 'scans/gone.nii.gz'",
        "line 4 is left out: it names no image",
        "line 5 is left out: its image p0.nii.gz is that of line 2, its subject 'dora' is not",
        "line 6: its id 'A' is that of line 2, too",
        "3 cases, structures",
    ):
        assert line in told
    with pytest.raises(InputError, match="line 3 is left out"):
        find_scans([str(table)])
    table.write_text("image\nscans/gone.nii.gz\n")
    with pytest.raises(InputError, match="there is no image"):
        look_for([str(table)])


def test_nnunet_has_scans_to_label_and_further_channels(tmp_path):
    write_scans(tmp_path, 2)
    raw = tmp_path / "Dataset001_Balls"
    for folder in ("imagesTr", "imagesTs", "labelsTr"):
        (raw / folder).mkdir(parents=True)
    for name in ("imagesTr/a_0000", "imagesTr/a_0001", "imagesTs/b_0000", "labelsTr/a"):
        shutil.copy(tmp_path / "scans" / "p0.nii.gz", raw / f"{name}.nii.gz")
    (raw / "dataset.json").write_text(json.dumps({"file_ending": ".nii.gz"}))
    found = look_for([str(raw)])
    assert [(one.id, one.label is not None) for one in found.scans] == [("a", True), ("b", False)]
    (note,) = found.notes
    assert "1 files of further channels are left out, such as a_0001.nii.gz" in note
    shutil.rmtree(raw / "imagesTr")
    assert [one.id for one in find_scans([str(raw)])] == ["b"]


def test_bids_series_of_volumes_are_left_out(tmp_path):
    write_scans(tmp_path, 1)
    for name in ("anat/sub-01_T1w", "func/sub-01_task-rest_bold", "dwi/sub-01_dwi"):
        path = tmp_path / "bids" / "sub-01" / f"{name}.nii.gz"
        path.parent.mkdir(parents=True)
        shutil.copy(tmp_path / "scans" / "p0.nii.gz", path)
    (tmp_path / "bids" / "dataset_description.json").write_text("{}")
    found = look_for([str(tmp_path / "bids")])
    assert [one.id for one in found.scans] == ["sub-01_T1w"]
    (note,) = found.notes
    assert "2 files are left out, being series of volumes, such as sub-01_dwi.nii.gz" in note


def test_single_dicom_files_ask_for_their_folder(tmp_path):
    (tmp_path / "p0").mkdir()
    for n in range(3):
        (tmp_path / "p0" / f"{n}.dcm").write_bytes(bytes(200))
    with pytest.raises(InputError, match=r"means 3 single DICOM files.* give the folder .*p0$"):
        find_scans([str(tmp_path / "**" / "*.dcm")])


def test_the_background_is_no_structure():
    with pytest.raises(LabelError, match="'background' has the value 0, which is the background's"):
        parse_structures("liver,background=0")
