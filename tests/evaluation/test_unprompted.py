"""Protocol E: what is counted as found, the floors, and the command."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("skimage", reason="everything mode needs scikit-image, the extra 'everything'")

from sammed import io
from sammed.cli import main
from sammed.evaluation.manifest import Case
from sammed.evaluation.unprompted import (
    Object,
    Outcome,
    Trial,
    components,
    random_boxes,
    run,
    supervoxels,
)
from sammed.everything.regions import Region
from sammed.imaging.volume import LabelVolume, Volume
from tests.everything.test_slices import Bright, two_columns


def an_object(*ious: float, ml: float = 9.0) -> Object:
    return Object("a", "a", "liver", ml, np.array(ious), False)


def test_average_recall_counts_steps_of_iou_within_the_first_proposals():
    late = [0.0] * 10 + [0.72]
    outcome = Outcome("a", "m", (an_object(0.5, 0.97), an_object(*late, ml=1.0)), 11, 3)
    everything, large = Trial([outcome]).scores()
    assert everything.recall[10] == pytest.approx((10 / 10 + 0) / 2)
    assert everything.recall[50] == pytest.approx((10 / 10 + 5 / 10) / 2)
    assert (everything.found, everything.found_well) == (1.0, 0.5)
    assert everything.best == pytest.approx((0.97 + 0.72) / 2)
    assert (large.group, large.objects, large.best) == ("from 5 ml", 1, 0.97)


def test_broken_cases_do_not_count():
    good = Outcome("a", "m", (an_object(0.6),), 1, 0)
    scores = Trial([good, Outcome("b", "", error="cannot read it")]).scores()
    assert [score.objects for score in scores] == [1]


def test_floors_are_what_they_say():
    volume = two_columns()
    columns = [
        (slice(1, 7), slice(5, 20), slice(5, 20)),
        (slice(3, 9), slice(25, 38), slice(30, 46)),
    ]
    for where in columns:
        mask = np.zeros(volume.shape, bool)
        mask[where] = True
        found = [region.iou(Region.of(mask)) for region in components(volume)]
        assert max(found) > 0.95
    parts = supervoxels(volume)
    whole = sum(part.size for part in parts)
    assert len(parts) > 20
    assert whole == pytest.approx(np.prod(volume.shape), rel=0.1)
    boxes = random_boxes(volume, [(2, 3, 4), (5, 5, 5)], 6, np.random.default_rng(0))
    assert [box.block.shape for box in boxes] == [(2, 3, 4), (5, 5, 5)] * 3


@pytest.fixture
def case(tmp_path):
    volume = two_columns()
    labels = np.zeros(volume.shape, np.uint8)
    labels[1:7, 5:20, 5:20] = 1
    labels[0, 0, 0] = 2
    io.write_volume(volume, tmp_path / "a.nii.gz")
    written = LabelVolume(labels, volume.grid, {1: "left", 2: "speck"})
    io.write_labels(written, tmp_path / "a_labels.nii.gz")
    return Case("a", tmp_path / "a.nii.gz", tmp_path / "a_labels.nii.gz")


def test_a_model_that_sees_it_beats_boxes_by_chance(case):
    told = []
    trial = run([case], {"bright": Bright()}, True, lambda *about: told.append(about))
    by_source = {score.source: score for score in trial.scores() if score.group == "all"}
    assert by_source["bright"].found == 0.5  # one column, and no speck
    assert by_source["bright"].recall[10] == pytest.approx(0.5)
    assert by_source["bright"].false == 1  # the other column has no reference
    assert by_source["random boxes"].recall[10] < 0.5
    assert told == [("a", 0, 1)]


def test_nothing_found_is_an_answer(tmp_path):
    noise = np.random.default_rng(1).normal(0, 9, (12, 20, 22)).astype(np.int16)
    volume = Volume.from_array(noise, np.eye(4)[[2, 1, 0, 3]])
    labels = np.zeros(noise.shape, np.uint8)
    labels[2:5, 3:9, 4:9] = 1
    io.write_volume(volume, tmp_path / "n.nii.gz")
    io.write_labels(LabelVolume(labels, volume.grid, {1: "a"}), tmp_path / "l.nii.gz")
    one = Case("n", tmp_path / "n.nii.gz", tmp_path / "l.nii.gz")
    (outcome,) = run([one], {"bright": Bright()}, False, lambda *_: None).outcomes
    assert (outcome.error, outcome.proposals, outcome.objects[0].best()) == ("", 0, 0.0)


@pytest.mark.usefixtures("console")
def test_the_command(case, tmp_path, capsys):
    entry = {"id": "a", "image": case.image.name, "label": case.label.name}
    manifest = tmp_path / "cases.json"
    manifest.write_text(json.dumps({"format": "sammed-cases/1", "cases": [entry]}))
    out = tmp_path / "out"
    asked = ["evaluate", "--cases", str(manifest), "--protocol", "E", "--threads", "1"]
    asked += ["--max", "6"]
    assert main([*asked, "--out", str(out), "-q", "--json"]) == 0
    sources = [s["source"] for s in json.loads((out / "summary.json").read_text())["scores"]]
    assert sources == ["compact", "components", "supervoxels", "random boxes"]
    assert "Nothing was prompted" in (out / "report.html").read_text()
    lines = (out / "objects.csv").read_text().splitlines()
    assert len(lines) == 1 + 4 * 2
    assert all(int(line.split(",")[-1]) <= 6 for line in lines[1:])
    capsys.readouterr()
    assert main([*asked, "-q"]) == 1
    assert "--out FOLDER" in capsys.readouterr().err
    assert main([*asked, "--out", str(out), "--workers", "2"]) == 1
    assert "protocol E is done by one program" in capsys.readouterr().err
