"""What is saved is what ``sammed segment`` writes; whole, or nothing."""

from __future__ import annotations

import errno
import json

import nibabel
import numpy as np
import pytest

from sammed.io import output, read, read_labels
from sammed.workbench import saving
from tests.io.dicom.make_series import make_series, straight_affine
from tests.phantoms import OBLIQUE, ORGAN, dice, image_of, reordered, save_nifti
from tests.workbench.conftest import BOX, painted

PUT = {"object": {"name": "spleen", "boxes": [BOX]}}
MASK = {"format": "nifti", "name": "ct.labels.nii.gz"}


def test_what_is_saved_lies_on_the_files_own_grid(start, tmp_path):
    turned, affine = reordered(image_of(ORGAN), OBLIQUE, (1, 2, 0), (-1, 1, 1))
    path = save_nifti(tmp_path / "ct.nii.gz", turned, affine)
    page = start(path).page()
    page.hello()
    page.ask("put", **PUT)
    answer = page.ask("save", files=[MASK])
    assert answer["written"] == [str(tmp_path / "ct.labels.nii.gz")]
    assert (answer["dirty"], answer["stale"]) == (False, [])
    assert answer["masks"][0]["name"] == "spleen"  # it was stale, so it was segmented first
    saved, image = nibabel.load(tmp_path / "ct.labels.nii.gz"), nibabel.load(path)
    assert np.array_equal(saved.affine, image.affine)
    organ, _ = reordered(ORGAN, OBLIQUE, (1, 2, 0), (-1, 1, 1))
    assert dice(np.asarray(saved.dataobj).transpose(2, 1, 0) == 1, organ) > 0.9
    assert read_labels(tmp_path / "ct.labels.nii.gz").names == {1: "spleen"}
    assert page.ask("put", **PUT)["dirty"] is False
    assert page.ask("remove", name="spleen")["dirty"] is True


def test_everything_at_once(page, scan):
    pytest.importorskip("skimage")
    page.ask("put", **PUT)
    kinds = {
        "nifti": "a.nii.gz",
        "seg.nrrd": "a.seg.nrrd",
        "stl": "a.stl",
        "prompts": "a.prompts.json",
        "report": "a.report.json",
        "preview": "a.png",
    }
    files = [{"format": kind, "name": name} for kind, name in kinds.items()]
    written = page.ask("save", files=files)["written"]
    assert sorted(written) == sorted(str(scan.parent / name) for name in kinds.values())
    report = json.loads((scan.parent / "a.report.json").read_text())
    assert report["output"] == str(scan.parent / "a.nii.gz")
    assert report["objects"][0]["name"] == "spleen"
    prompts = json.loads((scan.parent / "a.prompts.json").read_text())
    assert prompts["objects"][0]["boxes"][0]["box"] == [8, 6, 40, 29]
    assert (scan.parent / "a.png").read_bytes().startswith(b"\x89PNG")
    assert not [p for p in scan.parent.iterdir() if p.name.startswith(".sammed")]


def test_nothing_is_written_over_unasked_and_then_nothing_at_all(page, scan):
    page.ask("put", **PUT)
    (scan.parent / "b.png").write_text("mine")
    files = [{"format": "nifti", "name": "b.nii.gz"}, {"format": "preview", "name": "b.png"}]
    error = page.ask("save", files=files)["error"]
    assert (error["code"], error["files"]) == ("exists", ["b.png"])
    assert not (scan.parent / "b.nii.gz").exists()
    assert (scan.parent / "b.png").read_text() == "mine"
    assert page.ask("show")["dirty"]
    assert len(page.ask("save", files=files, force=True)["written"]) == 2
    assert (scan.parent / "b.png").read_bytes().startswith(b"\x89PNG")


def test_a_full_disk_leaves_everything_as_it_was(page, scan, monkeypatch):
    page.ask("put", **PUT)
    before = sorted(p.name for p in scan.parent.iterdir())
    monkeypatch.setattr(output, "_flush", full)
    files = [MASK, {"format": "report", "name": "r.report.json"}]
    error = page.ask("save", files=files)["error"]
    assert "no space is left on the disk" in error["message"]
    assert f"cannot write {scan.parent}/ct.labels.nii.gz" in error["message"]
    assert sorted(p.name for p in scan.parent.iterdir()) == before
    assert page.ask("show")["dirty"]
    monkeypatch.undo()
    assert len(page.ask("save", files=files)["written"]) == 2


def full(file):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "name",
    [
        "../a.nii.gz",
        "a/b.nii.gz",
        "/tmp/a.nii.gz",
        "..\\a.nii.gz",
        "C:a.nii.gz",
        ".a.nii.gz",
        "..",
        "",
        "a\0.nii.gz",
        "a\n.nii.gz",
        "a\u202e.nii.gz",
    ],
)
def test_a_name_leads_nowhere_else(page, scan, name):
    page.ask("put", **PUT)
    before = sorted(p.name for p in scan.parent.iterdir())
    assert page.ask("save", files=[{"format": "nifti", "name": name}])["event"] == "error"
    assert sorted(p.name for p in scan.parent.iterdir()) == before
    assert not list(scan.parent.parent.glob("*.nii.gz"))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([{"format": "nifti", "name": "ct.nii.gz"}], "it is the image itself"),
        ([MASK, {**MASK, "format": "nifti"}], "named twice"),
        ([{"format": "nifti", "name": "a.stl"}], "its name should end in"),
        ([{"format": "report", "name": "a.png"}], "its name should end in .json"),
        ([{"format": "dicom-seg", "name": "a.dcm"}], "this image is no DICOM"),
        ([{"format": "word", "name": "a.doc"}], "unknown format"),
        ([{"format": "nifti", "name": "a" * 300 + ".nii.gz"}], "the name is too long"),
    ],
)
def test_what_cannot_be_saved_is_said_in_the_words_of_the_command_line(page, files, says):
    page.ask("put", **PUT)
    assert says in page.ask("save", files=files, force=True)["error"]["message"]


def test_objects_are_saved_in_the_colours_of_the_page(page, scan):
    page.ask("put", **PUT)
    file = {"format": "seg.nrrd", "name": "a.seg.nrrd"}
    wrong = page.ask("save", files=[file], colours={"spleen": [1, 2, 256]})
    assert "0 to 255" in wrong["error"]["message"]
    assert not (scan.parent / "a.seg.nrrd").exists()
    page.ask("save", files=[file], colours={"spleen": [10, 200, 30], "gone": [1, 1, 1]})
    assert read_labels(scan.parent / "a.seg.nrrd").colours == {1: (10, 200, 30)}


def test_nothing_is_saved_of_nothing(page):
    assert "nothing to save" in page.ask("save", files=[MASK])["error"]["message"]


def test_slices_that_were_painted_come_with_the_prompts_that_name_them(page, scan):
    frame, part = painted((4, 10, 10, 6, 20, 22))
    page.ask("put", [frame], object={"name": "a", "mask": [part], "propagate": "off"})
    answer = page.ask("save", files=[{"format": "prompts", "name": "p.prompts.json"}])
    assert len(answer["written"]) == 2
    prompts = json.loads((scan.parent / "p.prompts.json").read_text())
    named = scan.parent / prompts["objects"][0]["mask"]
    assert np.count_nonzero(read_labels(named).voxels) == 2 * 10 * 12


@pytest.mark.thorough
def test_dicom_is_saved_as_dicom(start, tmp_path):
    pytest.importorskip("highdicom")
    make_series(tmp_path / "series", affine=straight_affine(), voxels=image_of(ORGAN))
    page = start(tmp_path / "series").page()
    hello = page.hello()
    assert hello["scan"]["file"]["format"] == "dicom"
    assert hello["scan"]["output"] == {"folder": str(tmp_path), "stem": "series.labels"}
    assert all(entry["available"] for entry in hello["formats"])
    page.ask("put", **PUT)
    files = [
        {"format": "dicom-seg", "name": "s.dcm"},
        {"format": "rtstruct", "name": "s.rtstruct.dcm"},
    ]
    assert len(page.ask("save", files=files)["written"]) == 2
    mask = read_labels(tmp_path / "s.dcm", like=read(tmp_path / "series")).voxels == 1
    assert dice(mask, ORGAN) > 0.9


def test_formats_say_which_package_they_lack(monkeypatch):
    monkeypatch.setattr(saving, "find_spec", lambda name: None)
    told = {entry["id"]: entry for entry in saving.formats_for(None)}
    assert told["stl"]["why"] == "it needs a package more: pip install 'sammed[mesh]'"
    assert told["nifti"]["available"]
