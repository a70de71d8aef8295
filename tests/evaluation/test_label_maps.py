"""Two label map files, resampling, and the commands."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from sammed import io
from sammed.cli.evaluate import app
from sammed.errors import GridMismatchError, InputError, SammedError
from sammed.evaluation.label_maps import score_files
from sammed.evaluation.metrics import score_labels
from sammed.imaging.volume import LabelVolume, make_grid
from sammed.io.resample import resample_labels

from .conftest import SHAPE, oblique


@pytest.fixture
def pair(tmp_path, labels):
    """Reference, and a prediction moved by a voxel with one label missing and one too many."""
    moved = np.roll(labels.voxels, 1, axis=2)
    moved[moved == 2] = 0
    moved[0, :2, :2] = 5
    prediction = replace(labels, voxels=moved, names={1: "round", 5: "speck"})
    paths = tmp_path / "prediction.nii.gz", tmp_path / "reference.nii.gz"
    io.write_labels(prediction, paths[0])
    io.write_labels(labels, paths[1])
    return paths


def run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_each_label_and_their_mean(pair):
    found = score_files(*pair)
    assert list(found.scores) == [1, 2, 5]
    assert found.outcomes == {"found": 1, "missed": 1, "invented": 1}
    assert found.scores[1].dice > 0.8
    mean = found.overall()
    assert mean["dice"] == pytest.approx(found.scores[1].dice / 3)
    assert mean["hd95_mm"] == found.scores[1].hd95_mm  # undefined ones are left out
    table = found.table()
    assert [line[0] for line in table.lines][::2] == ["round", "speck"]
    assert table.lines[-1][0] == "mean of 3"
    assert len(found.csv().splitlines()) == 4


def test_named_labels_only(pair):
    found = score_files(*pair, names={1: "tumour"})
    assert found.names == {1: "tumour"}


def coarse(labels):
    """The same labels on every second voxel of a grid cut at one end."""
    affine = labels.affine.copy()
    affine[:3, :3] *= 2
    voxels = labels.voxels[::2, ::2, ::2][:, :, 3:]
    affine[:3, 3] += affine[:3, :3] @ np.array([0, 0, 3])
    return LabelVolume(voxels.copy(), make_grid(affine, voxels.shape), labels.names)


def test_resampling_takes_the_label_at_each_voxel_centre(labels):
    source = coarse(labels)
    found = resample_labels(source, labels)
    assert found.shape == labels.shape
    np.testing.assert_allclose(found.affine, labels.affine)
    np.testing.assert_array_equal(found.voxels[::2, ::2, 6::2], labels.voxels[::2, ::2, 6::2])
    assert not found.voxels[:, :, :5].any()  # beyond the source's grid
    assert "nearest neighbour" in found.notes[-1]
    assert score_labels(found, labels)[1].dice > 0.8
    np.testing.assert_array_equal(resample_labels(labels, labels).voxels, labels.voxels)


def test_resampling_follows_the_affine_not_the_axis_order(labels):
    flipped = oblique()
    flipped[:3, 3] += flipped[:3, 2] * (SHAPE[2] - 1)
    flipped[:3, 2] *= -1
    grid = make_grid(flipped, SHAPE)
    stored = labels.file_array()[:, :, ::-1]
    other = LabelVolume(grid.reorientation.apply(stored), grid, labels.names)
    np.testing.assert_array_equal(resample_labels(other, labels).voxels, labels.voxels)


def test_other_grids_need_resample(tmp_path, pair, labels):
    path = tmp_path / "coarse.nii.gz"
    io.write_labels(coarse(labels), path)
    with pytest.raises(GridMismatchError, match="--resample"):
        score_files(path, pair[1])
    with pytest.raises(GridMismatchError, match="--resample"):
        run(path, pair[1])
    found = score_files(path, pair[1], resample=True)
    assert found.scores[1].dice > 0.8
    assert found.scores[1].reference_ml == score_files(*pair).scores[1].reference_ml
    assert "resampled" in run(path, pair[1], "--resample").stderr


def test_the_command_prints_a_table_or_json(pair, tmp_path):
    result = run(*pair)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[2].startswith("| Label")
    names = tmp_path / "names.json"
    names.write_text('{"1": "tumour"}')
    content = json.loads(run(*pair, "--labels", names, "--json", "--tolerance", "0.5").stdout)
    assert [label["name"] for label in content["labels"]] == ["tumour"]
    assert content["tolerance_mm"] == 0.5
    out = tmp_path / "results"
    run(*pair, "--out", out)
    assert {p.name for p in out.iterdir()} == {"scores.csv", "summary.json", "report.html"}
    page = (out / "report.html").read_text()
    assert "from which prompts" in page
    assert "mean of 3" in page


def test_a_cohort_by_the_command_and_a_comparison(cohort, tmp_path):
    out = tmp_path / "out"
    base = ["--cases", cohort, "--model", "ellipse", "--no-baselines", "--protocol", "A,B"]
    result = run(*base, "--jitter", "0,0.25", "--out", out, "--same-subject", "one,two")
    assert result.exit_code == 0, result.output
    assert "| ellipse" in result.stdout
    assert "case broken could not be run" in result.stderr
    assert {p.name for p in out.iterdir()} == {
        "parts",
        "results.csv",
        "slices.csv",
        "summary.json",
        "report.html",
    }
    assert len((out / "slices.csv").read_text().splitlines()) == 1  # baselines predict no IoU
    assert "Predicted against true IoU" not in result.stdout
    other = tmp_path / "other"
    run(
        *base[:2], "--model", "two_class", "--no-baselines", "--protocol", "B", "--out", other, "-q"
    )
    table = run("compare", out / "results.csv", other / "results.csv").stdout
    assert "two_class – ellipse" in table
    assert table.splitlines()[4].startswith("| B ")
    content = json.loads(run("compare", out / "results.csv", out / "results.csv", "--json").stdout)
    assert [c["variant"] for c in content] == ["jitter 0", "jitter 0.25", ""]
    assert all(c["difference"] == 0 for c in content)
    assert all(c["p"] is None and c["low"] is None for c in content)  # one subject


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one.nii.gz"], "expected two"),
        (["a.nii.gz", "b.nii.gz", "--cases", "c.json"], "not both"),
        (["--protocol", "A"], "expected two label maps, --cases FILE"),
        (["--images", "here"], "--references DIR"),
        (["--cases", "none.json"], "no manifest"),
        (["--cases", "{cohort}", "--protocol", "Z"], "unknown protocol Z"),
        (["--cases", "{cohort}", "--jitter", "much"], "no list of numbers"),
        (["--cases", "{cohort}", "--seeds", "-1"], "no list of numbers"),
        (["--cases", "{cohort}", "--case", "none"], "no case none"),
        (["--cases", "{cohort}", "--model", "box"], "--out FOLDER"),
        (["compare", "a.csv", "b.csv", "--score", "beauty"], "unknown score"),
        (["compare", "a.csv", "b.csv"], "cannot read"),
    ],
)
def test_mistakes_get_one_line(cohort, arguments, message):
    with pytest.raises(SammedError, match=message) as caught:
        run(*(a.format(cohort=cohort) for a in arguments))
    assert "\n" not in str(caught.value)


def test_a_table_with_several_models_needs_a_choice(cohort, tmp_path):
    run("--cases", cohort, "--model", "box", "--protocol", "B", "--out", tmp_path / "o", "-q")
    table = tmp_path / "o" / "results.csv"
    with pytest.raises(InputError, match="choose with --model-a"):
        run("compare", table, table)
    with pytest.raises(InputError, match="no model 'vit_b'"):
        run("compare", table, table, "--model-a", "vit_b")
    found = run("compare", table, table, "--model-a", "box", "--model-b", "ellipse").stdout
    assert "ellipse – box" in found


def test_help_names_both_uses():
    text = run("--help").stdout
    assert "--protocol" in text
    assert "compare" in text
    assert "--model-a" in run("compare", "--help").stdout
