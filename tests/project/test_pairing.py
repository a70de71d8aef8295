"""A label map goes to the case that it belongs to, or to none."""

from __future__ import annotations

import json
import shutil

import pytest

from sammed import cli, io
from sammed.errors import InputError
from sammed.imaging.volume import LabelVolume
from sammed.project.exporting import export
from sammed.project.folder import Project
from sammed.project.importing import import_labels, pair
from sammed.project.sources import find_scans
from tests.project.folders import make_project, scan, write_scans


def write_patients(folder, names, image="ct", label="ct_seg"):
    """Each scan and its label map in a folder of the patient's, called alike everywhere."""
    for number, name in enumerate(names):
        volume, labels = scan(number)
        for part in ("images", "maps"):
            (folder / part / name).mkdir(parents=True, exist_ok=True)
        io.write_volume(volume, folder / "images" / name / f"{image}.nii.gz")
        mapped = LabelVolume(labels, volume.grid, {1: "ball", 2: "box"})
        io.write_labels(mapped, folder / "maps" / name / f"{label}.nii.gz")


def project_of(folder, pattern):
    project = Project.create(folder / "study", {"ball": 0, "box": 0})
    project.add(find_scans([str(folder / pattern)]))
    return project


def paired(project, source):
    files, left = pair(project, source)
    return {id: path.parent.name for id, path in files.items()}, [one.note for one in left]


def test_folders_decide_where_names_do_not(tmp_path):
    write_patients(tmp_path, ["p0", "p1", "p2"])
    project = project_of(tmp_path, "images/*/ct.nii.gz")
    own = {f"p{n}-ct": f"p{n}" for n in range(3)}
    assert paired(project, tmp_path / "maps") == (own, [])
    assert paired(project, tmp_path / "maps" / "p2" / "ct_seg.nii.gz") == ({"p2-ct": "p2"}, [])
    assert paired(project, tmp_path / "maps" / "p1") == ({"p1-ct": "p1"}, [])
    for name in own.values():
        shutil.copy(tmp_path / "maps" / name / "ct_seg.nii.gz", tmp_path / "images" / name)
    assert paired(project, tmp_path / "images") == (own, []), "the scans are no label maps"
    assert all(one.done for one in import_labels(project, pair(project, tmp_path / "images")[0]))


def test_what_could_be_anothers_is_refused(tmp_path):
    write_patients(tmp_path, ["p0", "p1", "p2"])
    project = project_of(tmp_path, "images/*/ct.nii.gz")
    (tmp_path / "flat").mkdir()
    for name in ("ct_seg", "p1-ct_seg"):
        shutil.copy(
            tmp_path / "maps" / "p1" / "ct_seg.nii.gz", tmp_path / "flat" / f"{name}.nii.gz"
        )
    files, left = pair(project, tmp_path / "flat")
    assert list(files) == ["p1-ct"]
    assert [one.case for one in left] == ["ct_seg.nii.gz"]
    assert "could belong to any of the cases p0-ct, p1-ct, p2-ct; call it" in left[0].note


def test_a_later_case_of_the_same_name_keeps_its_own_label_map(tmp_path):
    write_patients(tmp_path, ["p0", "p1"], label="ct")
    project = project_of(tmp_path, "images/p0/ct.nii.gz")
    project.add(find_scans([str(tmp_path / "images" / "p1" / "ct.nii.gz")]))
    assert [case.id for case in project.cases()] == ["ct", "ct-2"]
    assert paired(project, tmp_path / "maps") == ({"ct": "p0", "ct-2": "p1"}, [])
    import_labels(project, pair(project, tmp_path / "maps")[0])
    export(project, tmp_path / "out")
    files, left = pair(project, tmp_path / "out")
    assert {id: path.name for id, path in files.items()} == {
        "ct": "ct.nii.gz", "ct-2": "ct-2.nii.gz",
    }  # fmt: skip
    assert not left


def test_patients_who_are_no_cases_give_nothing_to_those_who_are(tmp_path):
    write_patients(tmp_path, ["p0", "p1", "p2"])
    project = project_of(tmp_path, "images/p0/ct.nii.gz")
    files, notes = paired(project, tmp_path / "maps")
    assert files == {"ct": "p0"}
    assert len(notes) == 2
    beside = tmp_path / "images" / "p2"
    shutil.copy(tmp_path / "maps" / "p2" / "ct_seg.nii.gz", beside)
    files, (note,) = paired(project, beside)
    assert not files
    assert "ct.nii.gz beside it is not the scan of case ct" in note


def test_sessions_are_told_apart(tmp_path):
    names = ["sub-01/ses-1", "sub-01/ses-2", "sub-02/ses-1"]
    write_patients(tmp_path, names)
    project = project_of(tmp_path, "images/*/*/ct.nii.gz")
    files, left = pair(project, tmp_path / "maps")
    assert not left
    for id, path in files.items():
        assert path.parent.parts[-2:] == project.case(id).image.parent.parts[-2:]
    (tmp_path / "more" / "sub-02" / "ses-2").mkdir(parents=True)
    shutil.copy(tmp_path / "maps" / "sub-02" / "ses-1" / "ct_seg.nii.gz",
                tmp_path / "more" / "sub-02" / "ses-2")  # fmt: skip
    assert not pair(project, tmp_path / "more")[0], "of a session that is no case"


def test_two_label_maps_of_one_case_do_not_stop_the_others(tmp_path):
    project = make_project(tmp_path, 2)
    for name in ("p0_label", "p0_seg"):
        shutil.copy(tmp_path / "labels" / "p0.nii.gz", tmp_path / "labels" / f"{name}.nii.gz")
    (tmp_path / "labels" / "p0.nii.gz").unlink()
    files, left = pair(project, tmp_path / "labels")
    assert list(files) == ["p1"]
    assert [one.case for one in left] == ["p0_label.nii.gz", "p0_seg.nii.gz"]
    assert left[0].note == "case p0 could have p0_seg.nii.gz as well; leave one of them out"
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="is named as a case is"):
        pair(project, tmp_path / "none")


@pytest.mark.usefixtures("console")
def test_a_table_pairs_as_well(tmp_path, capsys):
    write_scans(tmp_path, 2)
    table = tmp_path / "scans.csv"
    table.write_text(
        "image;id;label\nscans/p0.nii.gz;anna;labels/p0.nii.gz\nscans/p1.nii.gz;bert;\n"
    )
    study = str(tmp_path / "study")
    words = ["project", "new", study, "--images", str(table), "--structures", "ball,box"]
    assert cli.main(words) == 0
    told = "".join(capsys.readouterr())
    assert f"1 scans come with a label map, which is not taken yet; 'sammed project import {study} "
    assert f"'sammed project import {study} {table}' takes it" in told
    assert cli.main(["project", "import", study, str(table)]) == 0
    assert "anna: accepted\n" in "".join(capsys.readouterr())


def write_bids(folder):
    names = [
        f"sub-{p}_ses-{s}_{kind}" for p in ("01", "02") for s in "12" for kind in ("T1w", "T2w")
    ]
    for number, name in enumerate(names):
        subject, session, _ = name.split("_")
        path = folder / subject / session / "anat" / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        volume, labels = scan(number)
        io.write_volume(volume, path)
        (folder / "maps").mkdir(exist_ok=True)
        mapped = LabelVolume(labels, volume.grid, {1: "ball", 2: "box"})
        io.write_labels(mapped, folder / "maps" / f"{name}_dseg.nii.gz")
    (folder / "dataset_description.json").write_text("{}")
    return names


def unnamed(folder):
    """As programs write label maps that keep no names in them."""
    for path in folder.rglob("*.nii.gz"):
        found = io.read_labels(path)
        io.write_labels(LabelVolume(found.voxels, found.grid, {}), path, force=True)


@pytest.mark.usefixtures("console")
@pytest.mark.parametrize("told", [True, False])
def test_bids_leads_back(tmp_path, capsys, told):
    names = write_bids(tmp_path / "bids")
    first = project_of(tmp_path, "bids")
    wanted = names if told else [name for name in names if name.endswith("T1w")]
    files = pair(first, tmp_path / "bids" / "maps")[0]
    import_labels(first, {id: files[id] for id in wanted})
    out = tmp_path / "out"
    assert not any(one.error for one in export(first, out, "bids"))
    anat = out / "sub-01" / "ses-2" / "anat"
    assert (anat / "sub-01_ses-2_dseg.nii.gz").is_file()
    assert (anat / "sub-01_ses-2_desc-T2w_dseg.nii.gz").is_file() == told
    unnamed(out)
    if not told:
        for path in anat.parent.parent.parent.rglob("*_dseg.json"):
            path.unlink()
    second = str(tmp_path / "second")
    images = tmp_path / "bids" if told else tmp_path / "bids" / "**" / "*_T1w.nii.gz"
    words = ["project", "new", second, "--images", str(images), "--structures", "box,ball"]
    assert cli.main(words) == 0
    assert cli.main(["project", "import", second, str(out)]) == 0
    assert "".join(capsys.readouterr()).count(": accepted\n") == len(wanted)
    again = Project(tmp_path / "second")
    for id in wanted:
        maps = [p.case(id).labels(p.case(id).volume(), {}).voxels for p in (first, again)]
        assert ((maps[0] == 1) == (maps[1] == 2)).all()


def test_a_source_in_another_dataset_is_understood(tmp_path):
    write_bids(tmp_path / "bids")
    project = project_of(tmp_path, "bids")
    maps = tmp_path / "bids" / "maps"
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(maps / "sub-01_ses-1_T1w_dseg.nii.gz", other / "x_dseg.nii.gz")
    said = {"Sources": ["bids:raw:sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz"]}
    (other / "x_dseg.json").write_text(json.dumps(said))
    assert list(pair(project, other)[0]) == ["sub-01_ses-1_T1w"]


def test_folders_above_the_source_and_elsewhere_in_a_path_tell_nothing(tmp_path):
    write_patients(tmp_path, ["1", "2"])
    project = project_of(tmp_path, "images/*/ct.nii.gz")
    stranger = tmp_path / "1" / "maps" / "5"
    stranger.mkdir(parents=True)
    shutil.copy(tmp_path / "maps" / "1" / "ct_seg.nii.gz", stranger)
    files, (left,) = pair(project, tmp_path / "1" / "maps")
    assert not files
    assert "could belong to any of the cases 1-ct, 2-ct" in left.note
    beside = tmp_path / "1" / "maps" / "5" / "ct_seg.json"
    for source, taken in (("/mnt/1/5/ct.nii.gz", []), ("/mnt/5/2/ct.nii.gz", ["2-ct"])):
        beside.write_text(json.dumps({"Sources": source}))
        assert list(pair(project, tmp_path / "1" / "maps")[0]) == taken
