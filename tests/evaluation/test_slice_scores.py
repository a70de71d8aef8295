"""Predicted against true IoU, slice by slice."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from sammed.cli.evaluate import app
from sammed.engine.settings import Settings
from sammed.evaluation import reliability
from sammed.evaluation.parts import Part
from sammed.evaluation.protocols import Condition
from sammed.evaluation.results import Row
from sammed.evaluation.slice_scores import SliceScore, to_csv, true_ious
from sammed.evaluation.tables import Results
from sammed.evaluation.trial import Target, run_trial
from sammed.imaging.volume import Volume
from sammed.models import registry
from sammed.models.baselines import BoxBaseline
from sammed.models.protocols import ViewMask
from sammed.views.slices import PLANES

from .conftest import SHAPE, Bright, oblique


def one(index, iou):
    return range(index, index + 1), iou


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_prediction_meets_the_truth_of_its_own_slice(axis):
    """Worked out by hand on four slices of 2 x 3 px."""
    mask, reference = np.zeros((4, 2, 3), bool), np.zeros((4, 2, 3), bool)
    mask[0, 0], reference[0, 0] = [1, 1, 1], [1, 1, 0]  # 2 of 3
    mask[1, 0] = True  # invented: 0
    reference[2, 0] = True  # found by nobody, but the engine reports the slice: 0
    mask[3], reference[3, 1] = True, True  # 3 of 6
    mask, reference = np.moveaxis(mask, 0, axis), np.moveaxis(reference, 0, axis)
    predicted = [one(0, 0.9), one(1, 0.3), one(2, 0.2), one(3, 0.6)]
    found = true_ious(predicted, mask, reference, axis)
    assert found == [(0, 0.9, pytest.approx(2 / 3)), (1, 0.3, 0), (2, 0.2, 0), (3, 0.6, 0.5)]
    assert true_ious(predicted[3:], mask, reference, axis) == [(3, 0.6, 0.5)]
    assert true_ious([(range(2, 4), 0.6)], mask, reference, axis) == [(2, 0.6, 3 / 9)]
    assert true_ious([(range(3, 6), 0.6)], mask, reference, axis) == [(3, 0.6, 0.5)]  # cut short


def test_slices_without_anything_do_not_count():
    nothing = np.zeros((4, 2, 3), bool)
    assert true_ious([one(1, 0.9)], nothing, nothing, 0) == []
    assert true_ious([one(1, math.nan)], ~nothing, ~nothing, 0) == []


class Oracle(BoxBaseline):
    """Fills the box, and reads off the image how right that is."""

    @property
    def spec(self):
        return replace(super().spec, name="oracle", calibrated=True, expensive_encode=True)

    def _keep(self, pixels):
        return {"grey": pixels[0]}

    def _answer(self, embedding, box):
        logits = super()._answer(embedding, box).low_res_logits
        row, col = int((box[0] + box[2]) / 2), int((box[1] + box[3]) / 2)
        return ViewMask(logits, embedding.arrays["grey"][None, row, col])


def told(axis):
    """An image whose slices say what share of their tight box the reference fills."""
    reference = np.zeros((10, 11, 12), bool)
    voxels = np.zeros(reference.shape, np.float32)
    for index in range(2, 8):
        section, shown = (np.moveaxis(a, axis, 0)[index] for a in (reference, voxels))
        section[2, 3:9] = section[2:6, 3] = section[3, 4 : 2 + index] = True  # 9 to 14 of 24 px
        shown[:] = section.sum() / 24
    return voxels, reference


@pytest.mark.parametrize("plane", list(PLANES))
def test_predictions_and_truth_are_of_the_same_slice(plane):
    """Every prediction is exactly right; a slice further it would not be."""
    axis = PLANES[plane]
    voxels, reference = told(axis)
    settings = Settings(plane=plane, window="1/0.5")
    target = Target("x", 1, reference, reference)
    volume = Volume.from_array(voxels, oblique())
    (step,) = run_trial(volume, target, Oracle(), Condition("A"), settings)
    assert step.axis == axis
    found = np.array(true_ious(step.predicted, step.mask, reference, axis))
    assert found[:, 0].tolist() == list(range(2, 8))
    np.testing.assert_allclose(found[:, 1], found[:, 2], atol=1e-5)
    assert np.abs(np.diff(found[:, 2])).min() > 0.02
    later = [np.roll(a, 1, axis) for a in (step.mask, reference)]
    moved = true_ious(step.predicted, *later, axis)
    assert max(abs(p - t) for _, p, t in moved) > 0.02


@pytest.mark.parametrize("distortion", ["axes 1", "slices x2", "slices x3"])
def test_a_disturbed_image_is_compared_on_the_undisturbed_grid(volume, labels, distortion):
    """A thick slice stands for those that it was averaged from."""
    reference = labels.voxels == 1
    target = Target("round", 1, reference, reference)
    (step,) = run_trial(volume, target, Bright(), Condition("D", distortion=distortion))
    factor = int(distortion[-1]) if distortion.startswith("slices") else 1
    assert all(s.start % factor == 0 and len(s) == factor for s, _ in step.predicted)
    found = true_ious(step.predicted, step.mask, reference, step.axis)
    for index, _, true in found:
        at = slice(index, index + factor)
        common, either = step.mask[at] & reference[at], step.mask[at] | reference[at]
        assert true == pytest.approx(common.sum() / either.sum())
    assert {i // factor for i in np.flatnonzero(step.mask.any(axis=(1, 2)))} == {
        index // factor for index, *_ in found
    }


def test_a_3d_box_is_compared_with_the_volume_on_which_planes_agree(volume, labels):
    reference = labels.voxels == 2
    (step,) = run_trial(volume, Target("x", 2, reference, reference), Bright(), Condition("B"))
    for index, _, true in true_ious(step.predicted, step.mask, reference, 0):
        common, either = step.mask[index] & reference[index], step.mask[index] | reference[index]
        assert true == pytest.approx(common.sum() / either.sum())


def test_floors_predict_nothing(volume, labels):
    reference = labels.voxels == 1
    target = Target("round", 1, reference, reference)
    (step,) = run_trial(volume, target, registry.build("ellipse"), Condition("A"))
    assert step.predicted == ()
    assert step.mask.any()


def score(predicted, true, model="m", protocol="B", variant="", step=0):
    return SliceScore("a", "x", model, protocol, variant, 0, step, "axial", 3, predicted, true)


def test_correlation_and_error_by_hand():
    """Deviations (-0.2, 0, 0.2) and (-0.3, 0.1, 0.2): r = 0.1 / sqrt(0.08 * 0.14)."""
    found = reliability.reliability([score(0.6, 0.4), score(0.8, 0.8), score(1.0, 0.9)])
    assert found.slices == 3
    assert found.pearson_r == pytest.approx(0.1 / math.sqrt(0.08 * 0.14))
    assert found.mean_error == pytest.approx(0.1)
    always = reliability.reliability([score(1, 0.4), score(1, 0.8)])
    assert math.isnan(always.pearson_r)
    assert always.mean_error == pytest.approx(0.4)
    assert reliability.reliability([]).slices == 0


def part(model, protocol, scores, variant="", step=0):
    row = Row("a", "a", "", "", "", "x", 1, model, protocol, variant, step=step, dice=0.5)
    return Part("a", model, protocol, "", (row,), tuple(scores))


def test_the_table_shows_headlines_and_leaves_floors_out():
    pair = [(0.5, 0.4), (0.7, 0.7)]
    results = Results(
        [
            part("m", "A", [score(p, t, "m", "A", "jitter 0.05") for p, t in pair], "jitter 0.05"),
            part("m", "A", [score(p, p, "m", "A", "jitter 0") for p, _ in pair], "jitter 0"),
            part("m", "B", [score(0.9, 0.6)]),
            part("box", "B", []),
        ]
    )
    table = reliability.reliability_table(results)
    assert table.lines == (
        ("A, jitter 0.05, m", "2", "1.000", "+0.050"),
        ("B, m", "1", "–", "+0.300"),
    )
    numbers = reliability.reliability_json(results)
    assert [(n["protocol"], n["variant"], n["slices"]) for n in numbers] == [
        ("A", "jitter 0.05", 2),
        ("A", "jitter 0", 2),
        ("B", "", 1),
    ]
    assert numbers[2]["pearson_r"] is None
    assert reliability.reliability_table(Results([part("box", "B", [])])) is None


def test_slices_as_csv():
    assert to_csv([score(1 / 3, 0.5)]).splitlines() == [
        "case,object,model,protocol,variant,seed,step,plane,slice,predicted_iou,true_iou",
        "a,x,m,B,,0,0,axial,3,0.333333,0.5",
    ]


@pytest.mark.thorough
@pytest.mark.usefixtures("console")
def test_the_command_writes_every_slice_and_prints_the_correlation(cohort, tmp_path):
    arguments = ["--cases", str(cohort), "--case", "one", "--case", "two", "--jitter", "0.05"]
    arguments += [
        "--protocol",
        "A",
        "--model",
        "compact",
        "--model",
        "box",
        "--no-baselines",
        "--out",
        str(tmp_path),
        "-q",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    with (tmp_path / "slices.csv").open(newline="") as handle:
        lines = list(csv.DictReader(handle))
    assert {line["model"] for line in lines} == {"compact"}
    assert {line["plane"] for line in lines} == {"axial"}
    assert all(0 <= int(line["slice"]) < SHAPE[0] for line in lines)
    assert len({(line["case"], line["object"], line["slice"]) for line in lines}) == len(lines)
    predicted, true = (
        np.array([float(line[c]) for line in lines]) for c in ("predicted_iou", "true_iou")
    )
    r = f"{np.corrcoef(predicted, true)[0, 1]:.3f}"
    error = f"{(predicted - true).mean():+.3f}"
    (printed,) = [x for x in result.stdout.splitlines() if x.startswith("| A, jitter")]
    assert [cell.strip() for cell in printed.strip("|").split("|")] == [
        "A, jitter 0.05, compact", str(len(lines)), r, error,
    ]  # fmt: skip
    page = (tmp_path / "report.html").read_text()
    assert "<h2>Predicted and true IoU</h2>" in page
    assert f"<td>{error}</td>" in page
    assert "True against predicted IoU of single slices" in page
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [n["slices"] for n in summary["predicted_iou"]] == [len(lines)]
    before = (tmp_path / "slices.csv").read_text()
    assert CliRunner().invoke(app, arguments).exit_code == 0  # everything is taken over
    assert (tmp_path / "slices.csv").read_text() == before
