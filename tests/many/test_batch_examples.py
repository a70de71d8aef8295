"""``sammed batch --examples``: many scans explained by labelled ones, resumed by content."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import sammed
from sammed import cli, io
from sammed.errors import InputError
from sammed.many.explained import explaining
from sammed.many.segmenting import batch
from tests.examples.scans import body, dice, only, without

pytestmark = pytest.mark.thorough


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """What is kept between runs lies in the test's own folder."""
    monkeypatch.setenv("SAMMED_HOME", str(tmp_path / "home"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A scan with a liver, the example itself, and one that cannot be read; and the example."""
    scans, library = tmp_path / "scans", tmp_path / "labelled"
    scans.mkdir()
    library.mkdir()
    volume, labels = body(12)
    io.write_volume(volume, library / "a.nii.gz")
    io.write_labels(only(labels, "liver", "kidney_left"), library / "a_labels.nii.gz")
    io.write_volume(without(7, "kidney_left"), scans / "anna.nii.gz")
    io.write_volume(volume, scans / "itself.nii.gz")
    (scans / "torn.nii.gz").write_bytes(b"no scan")
    return tmp_path


def run(folder: Path, **options):
    given = {"examples": [folder / "labelled"], "objects": ["liver"], **options}
    return batch(str(folder / "scans"), folder / "out", model="ellipse", **given)


def test_scans_are_explained_and_one_that_fails_does_not_stop_the_others(folder):
    anna, itself, torn = run(folder)
    assert [one.state for one in (anna, itself, torn)] == ["done", "failed", "failed"]
    assert "the scan itself" in itself.error
    found = io.read_labels(folder / "out" / "anna.nii.gz")
    assert list(found.names.values()) == ["liver"]
    assert dice(found.voxels > 0, body(7)[1].voxels == 1) > 0.6
    report = json.loads((folder / "out" / "anna.report.json").read_text())
    assert report["examples"]["examples"][0]["example"] == "a"
    alone = sammed.segment(
        folder / "scans" / "anna.nii.gz", examples=folder / "labelled", objects=["liver"],
        model="ellipse",
    )  # fmt: skip
    np.testing.assert_array_equal(found.voxels, alone.voxels)


def test_what_is_missing_is_said_in_the_record(folder):
    (folder / "scans" / "itself.nii.gz").unlink()
    anna, _ = run(folder, objects=())
    assert anna.state == "done"
    assert any("kidney_left" in note and "stands out" in note for note in anna.result["notes"])


def test_examples_are_known_by_their_content(folder):
    (folder / "scans" / "itself.nii.gz").unlink()
    assert not run(folder)[0].kept
    (folder / "labelled" / "a_labels.nii.gz").touch()
    assert run(folder)[0].kept, "touched, and the same"
    assert not run(folder, objects=["kidney_left", "liver"])[0].kept, "another wish"
    assert not run(folder, mirror=True)[0].kept, "another way"
    labels = only(body(12)[1], "liver")
    labels.voxels[:, :10] = 0
    io.write_labels(labels, folder / "labelled" / "a_labels.nii.gz", force=True)
    assert not run(folder)[0].kept, "another example"
    assert run(folder)[0].kept
    pair = f"{folder}/labelled/a.nii.gz,{folder}/labelled/a_labels.nii.gz"
    assert run(folder, examples=[pair])[0].kept, "named one by one, and the same"


def test_the_command_and_its_exit_code(folder, capsys):
    arguments = ["batch", str(folder / "scans"), "-o", str(folder / "out"), "--model", "ellipse"]
    examples = ["--examples", str(folder / "labelled"), "--object", "liver"]
    assert cli.main([*arguments, *examples]) == 5
    told = capsys.readouterr()
    assert "the scan itself" in told.out + told.err
    assert (folder / "out" / "anna.nii.gz").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [(["a.nii.gz"], "there is no folder"), (["a.nii.gz,b.nii.gz"], "there is no file")],
)
def test_examples_that_are_not_there_are_refused_before_the_work(tmp_path, given, words):
    with pytest.raises(Exception, match=words):
        explaining(given)


def test_a_mirror_needs_an_example():
    with pytest.raises(InputError, match="--mirror is about examples"):
        explaining([], mirror=True)
