"""``sammed batch``: manifests, what is resumed, what is never replaced, exit codes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sammed
from sammed import cli, io
from sammed.errors import InputError, UnreadableFileError
from sammed.imaging.volume import LabelVolume
from sammed.many.manifest import read_scans
from sammed.many.record import Record
from sammed.many.segmenting import batch, check_untouched
from sammed.many.task import Entry, Outcome
from tests.project.folders import scan, write_scans

BOX = "ball=10,3,22,17@5"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three scans, and a table of them."""
    write_scans(tmp_path, 3)
    rows = "".join(f'scans/p{n}.nii.gz,p{n},"{BOX}"\n' for n in range(3))
    (tmp_path / "scans.csv").write_text(f"image,id,box\n{rows}")
    return tmp_path


def run(folder: Path, **options: Any) -> list[Outcome]:
    return batch(folder / "scans.csv", folder / "out", model="box", **options)


def states(outcomes: list[Outcome]) -> list[str]:
    return ["kept" if one.kept else one.state for one in outcomes]


def test_each_scan_gets_its_label_map_and_what_explains_it(folder: Path) -> None:
    outcomes = run(folder)
    assert states(outcomes) == ["done"] * 3
    assert outcomes[0].result["labels"] == {"ball": 1}
    alone = sammed.segment(folder / "scans" / "p1.nii.gz", box=BOX, model="box")
    written = io.read_labels(folder / "out" / "p1.nii.gz")
    np.testing.assert_array_equal(written.voxels, alone.voxels)
    assert written.names == {1: "ball"}
    report = json.loads((folder / "out" / "p1.report.json").read_text())
    assert report["model"]["name"] == "box"
    shutil.copytree(folder / "scans", folder / "out" / "scans")
    replayed = sammed.segment(
        folder / "scans" / "p1.nii.gz", prompts=folder / "out" / "p1.prompts.json", model="box"
    )
    np.testing.assert_array_equal(replayed.voxels, alone.voxels)


def test_only_what_has_changed_is_done_again(folder: Path) -> None:
    run(folder)
    (folder / "scans" / "p0.nii.gz").touch()
    assert states(run(folder)) == ["kept"] * 3
    io.write_volume(scan(7)[0], folder / "scans" / "p1.nii.gz", force=True)
    assert states(run(folder)) == ["kept", "done", "kept"]
    table = (folder / "scans.csv").read_text()
    (folder / "scans.csv").write_text(table.replace(BOX, "ball=10,3,22,16@5", 1))
    assert states(run(folder)) == ["done", "kept", "kept"]
    (folder / "out" / "p2.nii.gz").unlink()
    assert states(run(folder)) == ["kept", "kept", "done"]
    settings = sammed.Settings(window="200/100")
    assert states(run(folder, settings=settings)) == ["done"] * 3
    assert states(batch(folder / "scans.csv", folder / "out", model="ellipse")) == ["done"] * 3


def test_a_changed_prompt_file_and_a_changed_mask_count(folder: Path) -> None:
    volume, labels = scan(0)
    painted = np.zeros_like(labels)
    painted[5] = labels[5] == 1

    def paint(mask: np.ndarray[Any, Any]) -> None:
        mapped = LabelVolume(mask, volume.grid, {1: "ball"})
        io.write_labels(mapped, folder / "painted.nii.gz", force=True)

    paint(painted)
    ball = {"name": "ball", "mask": "painted.nii.gz"}
    prompts = {"format": "sammed-prompts/1", "objects": [ball]}
    (folder / "p.json").write_text(json.dumps(prompts))
    rows = [{"image": folder / "scans" / "p0.nii.gz", "prompts": folder / "p.json"}]

    def again() -> list[str]:
        return states(batch(rows, folder / "out", model="two_class"))

    assert again() == ["done"]
    assert again() == ["kept"]
    painted[5, 10] = 1
    paint(painted)
    assert again() == ["done"]
    ball["name"] = "sphere"
    (folder / "p.json").write_text(json.dumps(prompts))
    assert again() == ["done"]
    assert io.read_labels(folder / "out" / "p0.nii.gz").names == {1: "sphere"}


def test_what_others_wrote_is_never_replaced_without_being_asked(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "p0.nii.gz").write_bytes(b"somebody's work")
    outcomes = run(folder)
    assert states(outcomes) == ["failed", "done", "done"]
    assert "exists already" in outcomes[0].error
    assert (folder / "out" / "p0.nii.gz").read_bytes() == b"somebody's work"
    assert states(run(folder, force=True)) == ["done", "kept", "kept"]
    mended = LabelVolume(np.ones_like(scan(1)[1]), scan(1)[0].grid, {1: "ball"})
    io.write_labels(mended, folder / "out" / "p1.nii.gz", force=True)
    assert states(run(folder)) == ["kept"] * 3  # nothing has changed that it depends on
    io.write_volume(scan(8)[0], folder / "scans" / "p1.nii.gz", force=True)
    assert "exists already" in run(folder)[1].error
    assert io.read_labels(folder / "out" / "p1.nii.gz").voxels.all()


def test_work_by_hand_between_a_failure_and_the_next_run_is_kept(folder: Path) -> None:
    run(folder)
    whole = (folder / "scans" / "p0.nii.gz").read_bytes()
    (folder / "scans" / "p0.nii.gz").write_bytes(whole[:200])
    assert states(run(folder)) == ["failed", "kept", "kept"]
    io.write_volume(scan(9)[0], folder / "scans" / "p0.nii.gz", force=True)
    (folder / "out" / "p0.nii.gz").write_bytes(b"by hand")
    assert "exists already" in run(folder)[0].error
    assert (folder / "out" / "p0.nii.gz").read_bytes() == b"by hand"
    (folder / "out" / "p0.nii.gz").unlink()
    assert states(run(folder)) == ["done", "kept", "kept"]


def test_scans_and_results_can_move(folder: Path) -> None:
    run(folder)
    moved = folder.with_name("moved")
    folder.rename(moved)
    assert states(run(moved)) == ["kept"] * 3


def test_what_a_killed_worker_had_begun_is_its_own(folder: Path) -> None:
    """Label maps may be there before the record says so."""
    run(folder)
    record = Record(folder / "out" / "record")
    done = record.entry("p0")
    assert done is not None
    outputs = {path: {} for path in done.result["outputs"]}
    record.write(Entry("p0", "begun", {"outputs": outputs}))
    assert states(run(folder)) == ["done", "kept", "kept"]


def test_every_bad_line_is_a_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = f'scans/p0.nii.gz,good,"{BOX}",,\n'
    (folder / "broken.nii.gz").write_bytes(b"no image")
    lines = [
        ",none,,,\n",
        "scans/none.nii.gz,gone,,,\n",
        f'scans/p1.nii.gz,good,"{BOX}",,\n',
        f'scans/p1.nii.gz,a/b,"{BOX}",,\n',
        f'scans/p1.nii.gz,framed,"{BOX}",first,\n',
        'scans/p1.nii.gz,outside,"ball=10,3,99,17@5",,\n',
        "scans/p1.nii.gz,promptless,,,\n",
        f'broken.nii.gz,broken,"{BOX}",,\n',
        f'scans/p1.nii.gz,twin,"{BOX}",,out/good.nii.gz\n',
        f'scans/p1.nii.gz,kind,"{BOX}",,out/kind.docx\n',
        f'scans/p1.nii.gz,lost,"{BOX}",,nowhere/lost.nii.gz\n',
    ]
    (folder / "scans.csv").write_text("image,id,box,frame,output\n" + sound + "".join(lines))
    asked = ["batch", str(folder / "scans.csv"), "-o", str(folder / "out"), "--model", "box"]
    assert cli.main(asked) == 5
    said = capsys.readouterr().err.splitlines()
    expected = {
        "row-2": "scans.csv, row 2: there is no image",
        "gone": "there is no file",
        "row-4": "'good' is the id of an earlier row",
        "row-5": "'a/b' cannot name a file",
        "framed": "frame 'first' is no whole number",
        "outside": "reaches outside the volume",
        "promptless": "",
        "broken": "broken.nii.gz",
        "twin": "is the output of good already",
        "kind": "kind.docx",
        "lost": "nowhere does not exist",
    }
    for id, words in expected.items():
        (line,) = [line for line in said if line.startswith(f"{id} failed: ")]
        assert words in line
        assert len(line) > len(f"{id} failed: ")
    assert "11 of 12 scans failed" in said[-1]
    assert (folder / "out" / "good.nii.gz").is_file()
    assert Record(folder / "out" / "record").entry("gone").state == "failed"
    assert not any("Traceback" in line for line in said)


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("none.csv", None, UnreadableFileError, "there is no manifest"),
        ("a.csv", "image\n", InputError, "lists no scan"),
        ("a.csv", "file,id\na,b\n", InputError, "has no column 'image'; it has file, id"),
        ("a.json", "{", UnreadableFileError, "is not JSON"),
        ("a.json", '{"format": "other"}', UnreadableFileError, "'other', not sammed-scans/1"),
        ("a.json", '{"format": "sammed-scans/1"}', InputError, "lists no scan"),
        ("nothing/*.nii.gz", None, InputError, "means no scan"),
    ],
)
def test_a_manifest_that_is_none(
    tmp_path: Path, name: str, content: str | None, error: type[Exception], words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(error, match=words):
        read_scans(tmp_path / name)


def test_a_manifest_as_json_and_columns_that_mean_nothing(folder: Path) -> None:
    rows = [{"image": "scans/p0.nii.gz", "box": [BOX, "x=1,1,5,5@2"], "ward": "3B"}, "p1.nii.gz"]
    (folder / "s.json").write_text(json.dumps({"format": "sammed-scans/1", "scans": rows}))
    found = read_scans(folder / "s.json")
    assert found.notes == ("columns of s.json that are not used: ward",)
    assert found.scans[0].id == "p0"
    assert found.scans[0].boxes == (BOX, "x=1,1,5,5@2")
    assert "row 2: expected an object with 'image'" in found.scans[1].error


def test_a_scan_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    from sammed.many.content import look

    file = tmp_path / "a"
    file.write_text("one")
    before = {"image": look(file)}
    check_untouched({"image": file}, before)
    file.write_text("two")
    with pytest.raises(InputError, match="was changed while it was read"):
        check_untouched({"image": file}, before)


@pytest.mark.usefixtures("console")
def test_exit_codes_and_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["batch", str(folder / "scans.csv"), "-o", str(folder / "out"), "--model", "box"]
    assert cli.main(asked) == 0
    assert "3 done, 0 finished before, 0 failed" in capsys.readouterr().err
    assert cli.main([*asked, "--json", "-q"]) == 0
    out, err = capsys.readouterr()
    assert [one["kept"] for one in json.loads(out)] == [True] * 3
    assert err == ""
    for file in (folder / "scans").iterdir():
        file.unlink()
    assert cli.main([*asked, "-q"]) == 1
    assert "all 3 scans failed" in capsys.readouterr().err
    assert cli.main([*asked[:-1], "no-such-model"]) == 1
    assert cli.main([*asked, "--window", "0/40"]) == 1
    assert capsys.readouterr().err.endswith("W/L means width/level\n")
    assert cli.main([*asked, "--workers", "2", "--scheduler", "tcp://x:1"]) == 1
    assert "not both" in capsys.readouterr().err


@pytest.mark.thorough
@pytest.mark.usefixtures("console")
def test_many_are_embedded_and_what_is_kept_is_not_encoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from sammed.models.sam.network import ARCHITECTURES
    from tests.models.networks import TINY, random_sam

    monkeypatch.setitem(ARCHITECTURES, "vit_b", TINY)
    torch.save(random_sam(TINY, 1024).state_dict(), tmp_path / "tiny.pth")
    write_scans(tmp_path, 2)
    (tmp_path / "scans" / "broken.nii.gz").write_bytes(b"no image")
    asked = ["--model", str(tmp_path / "tiny.pth"), "--slices", "2:4", "--window", "200/100"]
    assert cli.main(["embed", str(tmp_path / "scans"), *asked]) == 5
    err = capsys.readouterr().err
    assert "4 slices encoded, 0 were kept already" in err
    assert "broken failed: " in err
    assert cli.main(["embed", str(tmp_path / "scans" / "p*.nii.gz"), *asked]) == 0
    assert "0 slices encoded, 4 were kept already" in capsys.readouterr().err
    one = str(tmp_path / "scans" / "p0.nii.gz")
    assert cli.main(["embed", one, *asked]) == 0
    assert "0 slices encoded, 2 were kept already" in capsys.readouterr().err
    assert cli.main(["embed", one, *asked, "--workers", "2"]) == 1
    assert "is one scan" in capsys.readouterr().err


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="Dask's workers are tested on POSIX")
def test_two_workers_write_the_same(folder: Path) -> None:
    pytest.importorskip("distributed", reason="pip install 'sammed[cluster]'")
    batch(folder / "scans.csv", folder / "one", model="two_class")
    outcomes = batch(folder / "scans.csv", folder / "two", model="two_class", workers=2)
    assert states(outcomes) == ["done"] * 3
    for n in range(3):
        one, two = (io.read_labels(folder / w / f"p{n}.nii.gz") for w in ("one", "two"))
        np.testing.assert_array_equal(one.voxels, two.voxels)


@pytest.mark.usefixtures("console")
@pytest.mark.parametrize("asked", [["a.nii.gz", "b.nii.gz"], ["--protocol", "L", "--out", "o"]])
def test_workers_that_would_have_nothing_to_share_are_refused(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", *asked, "--workers", "2"]) == 1
    assert "share the cases of a cohort" in capsys.readouterr().err
