"""What is opened is named at the start, chosen from a list, or dropped; no path of the page is."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import nibabel
import numpy as np
import pytest

from sammed.cli import main
from sammed.errors import SammedError
from sammed.workbench import uploads
from sammed.workbench.recent import recent
from tests.io.dicom.make_series import make_series, straight_affine
from tests.phantoms import ORGAN, image_of, save_nifti
from tests.workbench.conftest import BOX, journal_of


def series(folder, seed, **tags):
    """A DICOM series of the organ."""

    def edit(ds, k):
        for name, value in tags.items():
            setattr(ds, name, value)

    return make_series(
        folder, affine=straight_affine(), voxels=image_of(ORGAN), seed=seed, edit=edit
    )


@pytest.fixture
def two_series(tmp_path, home):
    folder = tmp_path / "scans"
    series(folder / "a", "1.1", SeriesNumber=3, SeriesDescription="thorax", StudyDate="20240229")
    series(folder / "b", "1.2", SeriesNumber=4, SeriesDescription="abdomen")
    return folder


def test_of_several_series_one_is_chosen(start, two_series):
    server = start(two_series)
    page = server.page()
    hello = page.hello()
    assert hello["scan"] is None
    assert page.ask("show")["error"]["code"] == "no_volume"
    assert page.get("/api/volume")[0] == 404
    first, second = hello["choices"]
    assert (first["number"], first["description"], first["modality"]) == (3, "thorax", "CT")
    assert first["shape"] == [17, 40, 52]
    assert np.allclose(first["spacing"], [2.5, 0.8, 0.7])
    assert first["date"] == "2024-02-29"
    kind, _, picture = first["thumbnail"].partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(picture).startswith(b"\x89PNG")
    answer = page.ask("choose", choice=second["id"])
    assert any(m.get("text", "").startswith("reading") for m in page.pushed)
    assert answer["scan"]["file"] == {"format": "dicom", "series": "4 abdomen"}
    assert answer["scan"]["output"]["stem"] == "scans-4.labels"
    assert len(page.get("/api/volume")[2]) == ORGAN.size * 2
    assert page.ask("put", object={"name": "a", "boxes": [BOX]})["changed"]


def test_the_series_may_be_said_at_the_start(start, two_series):
    page = start(two_series, series="number:3").page()
    assert page.hello()["scan"]["file"]["series"] == "3 thorax"


def test_of_several_volumes_in_a_file_one_is_chosen(start, tmp_path):
    voxels = np.stack([image_of(ORGAN), image_of(ORGAN, seed=2)])
    image = nibabel.Nifti1Image(voxels.transpose(3, 2, 1, 0), np.eye(4))
    nibabel.save(image, tmp_path / "four.nii.gz")
    page = start(tmp_path / "four.nii.gz").page()
    choices = page.hello()["choices"]
    assert [choice["note"] for choice in choices] == ["volume 0", "volume 1"]
    told = page.ask("choose", choice=choices[1]["id"])["scan"]
    assert told["output"]["stem"] == "four-1.labels"
    body = page.get("/api/volume")[2]
    sent = np.frombuffer(body, told["shown"]["dtype"])
    assert sent.sum() == voxels[1].sum()


def test_of_several_files_one_is_chosen(start, scan, tmp_path):
    other = save_nifti(tmp_path / "other.nii.gz", image_of(ORGAN, seed=3))
    page = start(scan, other).page()
    choices = page.hello()["choices"]
    assert [c["name"] for c in choices] == ["ct.nii.gz", "other.nii.gz"]
    assert page.ask("choose", choice="choice-1")["scan"]["name"] == "other.nii.gz"


def test_what_was_opened_is_offered_again_and_nothing_that_is_gone(start, scan, tmp_path):
    other = save_nifti(tmp_path / "other.nii.gz", image_of(ORGAN))
    for path in (scan, other):
        start(path).stop()
    page = start().page()
    hello = page.hello()
    assert hello["scan"] is None
    assert hello["choices"] is None
    assert [entry["name"] for entry in hello["recent"]] == ["other.nii.gz", "ct.nii.gz"]
    assert hello["recent"][1]["where"] == str(scan.parent)
    other.unlink()
    assert [entry["name"] for entry in page.hello()["recent"]] == ["ct.nii.gz"]
    gone = page.ask("choose", choice=hello["recent"][0]["id"])
    assert gone["error"]["code"] == "bad_request"
    answer = page.ask("choose", choice=hello["recent"][1]["id"])
    assert answer["scan"]["name"] == "ct.nii.gz"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"opened": 3}', '{"opened": [{}]}'])
def test_a_list_that_is_broken_is_an_empty_one(home, content):
    (home / "state").mkdir(parents=True)
    (home / "state" / "recent.json").write_text(content)
    assert recent() == []


def test_a_scan_that_cannot_be_read_leaves_the_one_that_is_there(start, scan, tmp_path):
    broken = save_nifti(tmp_path / "broken.nii.gz", image_of(ORGAN))
    start(broken).stop()
    page = start(scan).page()
    page.hello()
    page.ask("put", object={"name": "a", "boxes": [BOX]})
    broken.write_bytes(broken.read_bytes()[:5000])
    entry = next(e for e in page.hello()["recent"] if e["name"] == "broken.nii.gz")
    answer = page.ask("choose", choice=entry["id"])
    assert answer["error"]["code"] == "refused"
    assert "broken.nii.gz" in answer["error"]["message"]
    assert page.hello()["scan"]["name"] == "ct.nii.gz"
    assert page.ask("show")["objects"] == ["a"]
    assert page.ask("put", object={"name": "b", "boxes": [BOX]})["changed"]
    assert journal_of(scan).exists()


# What the command line refuses is refused in its words.

REFUSED = {
    "missing": lambda folder: folder / "none.nii.gz",
    "empty": lambda folder: _write(folder / "empty.nii.gz", b""),
    "no image": lambda folder: _write(folder / "a.nii.gz", b"no image at all" * 100),
    "unknown": lambda folder: _write(folder / "a.docx", b"words"),
    "constant": lambda folder: save_nifti(folder / "c.nii.gz", np.ones((5, 7, 11), np.int16)),
    "no dicom": lambda folder: folder,
}


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("what", REFUSED)
def test_what_segment_refuses_is_refused_in_its_words(what, start, tmp_path, console, capsys):
    (tmp_path / "x").mkdir()
    path = REFUSED[what](tmp_path / "x")
    box = ["--box", "1,1,4,4@2", "--model", "two_class"]
    code = main(["segment", str(path), *box, "-o", str(tmp_path / "o.nii.gz")])
    said = capsys.readouterr().err.strip().removeprefix("sammed: ")
    with pytest.raises(SammedError) as refused:
        start(path)
    assert " ".join(str(refused.value).split()) == said
    assert refused.value.exit_code == code


@pytest.mark.parametrize(
    ("option", "value"),
    [("--window", "nothing"), ("--plane", "up"), ("--model", "none"), ("--series", "3")],
)
def test_options_that_make_no_sense_are_refused_in_its_words(
    scan, tmp_path, console, capsys, option, value
):
    box = ["--box", "8,6,40,29@8", "--model", "two_class"]
    main(["segment", str(scan), *box, option, value, "-o", str(tmp_path / "o.nii.gz")])
    said = capsys.readouterr().err
    assert main(["open", str(scan), "--no-browser", option, value]) in (1, 3)
    assert capsys.readouterr().err == said


def test_labels_on_another_grid_are_refused_in_its_words(start, scan, tmp_path, console, capsys):
    other = save_nifti(tmp_path / "l.nii.gz", np.ones((5, 7, 11), np.uint8))
    out = str(tmp_path / "o.nii.gz")
    main(["segment", str(scan), "--mask", str(other), "--model", "two_class", "-o", out])
    said = capsys.readouterr().err.strip().removeprefix("sammed: ")
    with pytest.raises(SammedError) as refused:
        start(scan, labels=(other,))
    assert str(refused.value) == said
    empty = save_nifti(tmp_path / "empty.nii.gz", np.zeros(ORGAN.shape, np.uint8))
    with pytest.raises(SammedError, match="nothing is painted in it"):
        start(scan, labels=(empty,))


# What is dropped on the page.


def drop(page, files, drop="d1", **headers):
    """Send files as the page does; the answer to the last word."""
    for path, content in files.items():
        name = quote(Path(path).name or "x", safe="")
        given = {"X-Sammed-Drop": drop, "X-Sammed-Path": quote(path, safe=""), **headers}
        status, _, body = page.get(f"/api/upload/{name}", "POST", content, **given)
        answer = json.loads(body)
        if status != 200:
            return answer
    given = {"X-Sammed-Drop": drop, **headers}
    return json.loads(page.get("/api/upload-done", "POST", b"", **given)[2])


@pytest.fixture
def empty(start, tmp_path, monkeypatch):
    """A page without a scan, started in a folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "spool"))
    monkeypatch.setattr(uploads.tempfile, "tempdir", str(tmp_path / "spool"))
    (tmp_path / "spool").mkdir()
    page = start().page()
    page.hello()
    return page


def test_a_file_that_is_dropped_is_opened(empty, tmp_path):
    content = save_nifti(tmp_path / "mr.nii.gz", image_of(ORGAN)).read_bytes()
    answer = drop(empty, {"mr.nii.gz": content})
    told = answer["scan"]
    assert (told["name"], told["shape"], told["where"]) == ("mr.nii.gz", [17, 40, 52], "")
    assert told["output"] == {"folder": str(tmp_path / "here"), "stem": "mr.labels"}
    assert empty.hello()["recent"] == []
    empty.ask("put", object={"name": "a", "boxes": [BOX]})
    assert (tmp_path / "here" / "mr.labels.sammed-journal.jsonl").exists()
    again = drop(empty, {"mr.nii.gz": content}, "d2")
    assert again["scan"]["restored"]["objects"] == 1
    assert [p.name for p in next((tmp_path / "spool").iterdir()).iterdir()] == ["d2"]


def test_a_folder_that_is_dropped_is_opened_or_chosen_from(empty, two_series):
    files = {
        str(path.relative_to(two_series.parent)): path.read_bytes()
        for path in two_series.rglob("*")
        if path.is_file()
    }
    answer = drop(empty, files)
    assert answer["scan"] is None
    assert [c["description"] for c in answer["choices"]] == ["thorax", "abdomen"]
    told = empty.ask("choose", choice="choice-0")["scan"]
    assert (told["name"], told["output"]["stem"]) == ("scans", "scans-3.labels")


def test_a_header_and_its_voxels_are_one_image(empty, tmp_path):
    import SimpleITK

    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(image_of(ORGAN)), str(tmp_path / "scan.mhd"))
    files = {p.name: p.read_bytes() for p in (tmp_path / "scan.mhd", tmp_path / "scan.raw")}
    assert drop(empty, files)["scan"]["name"] == "scan.mhd"


def test_of_several_files_that_are_dropped_one_is_chosen(empty, tmp_path):
    content = save_nifti(tmp_path / "a.nii.gz", image_of(ORGAN)).read_bytes()
    answer = drop(empty, {"a.nii.gz": content, "b.nii.gz": content})
    assert [c["name"] for c in answer["choices"]] == ["a.nii.gz", "b.nii.gz"]
    assert empty.ask("choose", choice="choice-1")["scan"]["name"] == "b.nii.gz"


def test_what_is_dropped_and_cannot_be_read_is_refused_and_removed(empty, tmp_path):
    answer = drop(empty, {"a.docx": b"words"})
    assert answer["event"] == "error"
    assert "of no known kind" in answer["error"]["message"]
    assert drop(empty, {}, "d2")["error"]["message"].startswith("nothing was uploaded")
    assert not [p for p in (tmp_path / "spool").rglob("*") if p.is_file()]


@pytest.mark.parametrize(
    "path",
    [
        "../../../evil.nii.gz",
        "/etc/evil.nii.gz",
        "..\\..\\evil.nii.gz",
        "a/../../../evil.nii.gz",
        "%2e%2e/%2e%2e/evil.nii.gz",
        "a/" * 5000 + "evil.nii.gz",
        "x" * 5000 + ".nii.gz",
        "a\0b.nii.gz",
        "...",
        "C:\\evil.nii.gz",
    ],
)
def test_a_path_of_the_page_leads_nowhere_outside_the_spool(empty, tmp_path, path):
    before = {p for p in tmp_path.rglob("*") if "spool" not in p.parts}
    drop(empty, {path: b"1"})
    after = {p for p in tmp_path.rglob("*") if "spool" not in p.parts}
    assert after == before
    assert not Path("/etc/evil.nii.gz").exists()


@pytest.mark.parametrize("bad", ["", "../x", "a/b", "x" * 65, "."])
def test_a_drop_needs_a_proper_id(empty, bad):
    assert drop(empty, {"a.nii.gz": b"1"}, bad)["error"]["code"] == "bad_request"
    assert drop(empty, {}, bad)["error"]["code"] == "bad_request"


def test_uploads_are_bounded(empty, monkeypatch, tmp_path):
    monkeypatch.setattr(uploads, "MOST_BYTES", 2 * 2**20)
    answer = drop(empty, {"a.nii.gz": bytes(3 * 2**20)})
    assert answer["error"]["code"] == "too_large"
    assert not [p for p in (tmp_path / "spool").rglob("*") if p.is_file()]
    monkeypatch.setattr(uploads, "MOST_BYTES", 2**40)
    monkeypatch.setattr(uploads, "SPARE_BYTES", 2**60)
    assert drop(empty, {"a.nii.gz": b"1"})["error"]["code"] == "disk_full"
    monkeypatch.setattr(uploads, "SPARE_BYTES", 0)
    monkeypatch.setattr(uploads, "MOST_FILES", 0)
    assert drop(empty, {"a.nii.gz": b"1"})["error"]["code"] == "too_large"


def test_a_page_that_looks_on_drops_nothing(start, scan):
    server = start(scan)
    server.page("first").hello()
    second = server.page("second")
    second.hello()
    who = {"X-Sammed-Drop": "d1", "X-Sammed-Page": "second"}
    for path in ("/api/upload/a.nii.gz", "/api/upload-done"):
        status, _, body = second.get(path, "POST", b"1", **who)
        assert status == 400
        assert json.loads(body)["error"]["code"] == "looks_on"


def test_a_new_scan_is_told_to_the_page_that_looks_on(start, scan, tmp_path):
    server = start(scan)
    first, second = server.page("first"), server.page("second")
    first.hello()
    second.hello()
    content = save_nifti(tmp_path / "b.nii.gz", image_of(ORGAN)).read_bytes()
    drop(first, {"b.nii.gz": content})
    assert second.until("scan")["scan"]["name"] == "b.nii.gz"


def test_the_spool_goes_at_the_end(start, tmp_path, monkeypatch):
    monkeypatch.setattr(uploads.tempfile, "tempdir", str(tmp_path))
    server = start()
    page = server.page()
    page.hello()
    drop(page, {"a.docx": b"1"})
    folder = next(tmp_path.glob("sammed-open-*"))
    assert folder.stat().st_mode & 0o077 == 0
    server.stop()
    assert not folder.exists()
