"""Two label map files, resampling, and the commands."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from sammed import io
from sammed.cli.evaluate import app
from sammed.errors import (
    EvaluationError,
    GridMismatchError,
    InputError,
    OutputError,
    PartlyFailedError,
    SammedError,
)
from sammed.evaluation.label_maps import score_files
from sammed.evaluation.metrics import score_labels
from sammed.evaluation.objects import Wanted
from sammed.imaging.masks import dice
from sammed.imaging.volume import LabelVolume, Volume, make_grid
from sammed.io.resample import resample_labels, resample_to_union

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
    if not isinstance(result.exception, SystemExit | PartlyFailedError | None):
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


def part_of(labels, block):
    """What a file holds that keeps only a block of the grid."""
    affine = labels.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.array([s.start for s in block])
    voxels = labels.voxels[block].copy()
    return LabelVolume(voxels, make_grid(affine, voxels.shape), labels.names)


BLOCK = np.s_[1:8, 4:38, 3:42]


@pytest.mark.parametrize("suffix", [".nii.gz", ".seg.nrrd"])
def test_what_lies_beyond_a_cropped_reference_counts(tmp_path, labels, suffix):
    """Segmentations may hold only the slices in which something is: those beyond are empty."""
    voxels = labels.voxels.copy()
    voxels[0:2, 5:30, 5:30] = 1
    prediction, whole, cropped = (tmp_path / f"{n}.nii.gz" for n in ("prediction", "ref", "cut"))
    cropped = cropped.with_name(f"cut{suffix}")
    io.write_labels(replace(labels, voxels=voxels), prediction)
    io.write_labels(labels, whole)
    io.write_labels(part_of(labels, BLOCK), cropped)
    expected = score_files(prediction, whole)
    found = score_files(prediction, cropped, resample=True)
    for key, scores in expected.scores.items():
        numbers, others = (
            {k: v for k, v in one.as_dict().items() if k != "outcome"}
            for one in (scores, found.scores[key])
        )
        assert others == pytest.approx(numbers, rel=1e-5)
    assert found.scores[1].dice < 0.8
    beyond = np.count_nonzero(voxels) - np.count_nonzero(voxels[BLOCK])
    assert any(f"{beyond:,} of its labelled voxels" in note for note in found.notes)
    back = score_files(cropped, prediction, resample=True)  # the reference is the larger one
    assert back.scores[1].dice == expected.scores[1].dice
    assert not any("lie beyond" in note for note in back.notes)
    with pytest.raises(GridMismatchError, match="--resample"):
        score_files(prediction, cropped)


def test_a_union_holds_all_that_is_labelled_of_turned_and_coarse_maps(labels):
    source = coarse(labels)
    source.voxels[-1, -1, -1] = 7
    reference = part_of(labels, np.s_[3:6, 10:20, 10:20])
    moved, whole = resample_to_union(source, reference)
    assert moved.shape == whole.shape
    np.testing.assert_allclose(moved.affine, whole.affine)
    assert np.count_nonzero(whole.voxels) == np.count_nonzero(reference.voxels)
    for value in (1, 2, 7):
        ml = np.count_nonzero(source.voxels == value) * 8
        assert np.count_nonzero(moved.voxels == value) == pytest.approx(ml, rel=0.15)
    far = labels.affine.copy()
    far[:3, 3] += 1e6
    grid = make_grid(far, labels.shape)
    with pytest.raises(GridMismatchError, match=r"too far .* are they of one scan"):
        resample_to_union(LabelVolume(labels.voxels, grid, {}), labels)


def test_nothing_labelled_needs_no_larger_grid(labels):
    empty = replace(coarse(labels), voxels=coarse(labels).voxels * 0)
    moved, whole = resample_to_union(empty, labels)
    assert moved.shape == whole.shape == labels.shape
    assert not moved.voxels.any()


def test_regions_are_objects_of_several_values(tmp_path, pair, labels):
    found = score_files(*pair, names=Wanted({(1, 2): "both", 2: "long"}))
    assert list(found.scores) == [2, (1, 2)]
    assert found.names == {2: "long", (1, 2): "both"}
    scored, true = (io.read_labels(path).voxels for path in pair)
    assert found.scores[1, 2].dice == dice(np.isin(scored, (1, 2)), np.isin(true, (1, 2)))
    assert [line["label"] for line in found.as_json()["labels"]] == [2, (1, 2)]
    assert found.csv().splitlines()[2].startswith("1+2,both,")
    dataset = tmp_path / "dataset.json"
    content = {
        "labels": {"background": 0, "both": [1, 2], "long": 2},
        "regions_class_order": [1, 2],
    }
    dataset.write_text(json.dumps(content))
    shown = json.loads(run(*pair, "--labels", dataset, "--json").stdout)
    assert [(one["label"], one["name"]) for one in shown["labels"]] == [
        (2, "long"),
        ([1, 2], "both"),
    ]


def test_voxels_that_nobody_judged_are_left_out(tmp_path, labels):
    voxels = labels.voxels.copy()
    voxels[:, :13][voxels[:, :13] == 1] = 9
    reference, prediction = tmp_path / "r.nii.gz", tmp_path / "p.nii.gz"
    io.write_labels(replace(labels, voxels=voxels), reference)
    io.write_labels(labels, prediction)
    assert score_files(prediction, reference, names={1: "round"}).scores[1].dice < 0.8
    found = score_files(prediction, reference, names=Wanted({1: "round"}, ignored=9))
    assert found.scores[1].dice == 1
    count = np.count_nonzero(voxels == 9)
    assert f"{count} voxels have label 9, 'ignore', in the reference: left out" in found.notes


def frames_file(path, labels, frames, dtype=np.uint8):
    import nibabel

    stored = np.stack([f.astype(dtype) for f in frames], -1)
    affine = Volume(labels.voxels, labels.grid).ras_affine
    nibabel.save(nibabel.Nifti1Image(stored, affine), path)
    return path


def in_file_order(labels):
    return labels.ijk_array()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_frame_for_each_label_is_a_label_map(tmp_path, pair, labels, dtype):
    stored = in_file_order(io.read_labels(pair[0]))
    frames = [stored == value for value in (0, 1, 2, 3, 4, 5)]
    path = frames_file(tmp_path / "onehot.nii.gz", io.read_labels(pair[0]), frames, dtype)
    found = score_files(path, pair[1])
    expected = score_files(*pair)
    assert {k: s.dice for k, s in found.scores.items()} == {
        k: s.dice for k, s in expected.scores.items()
    }
    assert found.names == {1: "round", 2: "long", 5: "label_5"}
    note = "onehot.nii.gz: 6 frames were read as one label map: frame N is label N, frame 0"
    assert any(text.startswith(note) for text in found.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", r"holds 3 frames: \d+ voxels are in none of them and 0 in several"),
        ("overlap", r"holds 3 frames: 0 voxels are in none of them and \d+ in several"),
        ("probabilities", "holds 3 frames, no label maps: .*whole"),
        ("labels", "holds 3 frames, and frame 1 reaches 2"),
    ],
)
def test_frames_that_are_no_label_map_get_words_that_fit(tmp_path, pair, labels, change, message):
    stored = in_file_order(io.read_labels(pair[1]))
    frames = [(stored == value).astype(np.float32) for value in (0, 1, 2)]
    if change == "missing":
        frames[1] *= 0
    elif change == "overlap":
        frames[1] += frames[2]
    elif change == "probabilities":
        frames[1] *= 0.7
    else:
        frames[1] *= 2
    path = frames_file(tmp_path / "f.nii.gz", io.read_labels(pair[1]), frames, np.float32)
    with pytest.raises(EvaluationError, match=message) as error:
        score_files(path, pair[1])
    assert "--frame N --labels -o one.nii.gz" in str(error.value)
    assert "choose one with --frame" not in str(error.value)


def test_labels_that_have_nothing_in_common_are_told(tmp_path, labels):
    one, other = tmp_path / "p.nii.gz", tmp_path / "r.nii.gz"
    io.write_labels(replace(labels, voxels=(labels.voxels == 1) * np.uint8(255), names={}), one)
    io.write_labels(replace(labels, voxels=(labels.voxels == 1) * np.uint8(1), names={}), other)
    found = score_files(one, other)
    assert found.outcomes == {"missed": 1, "invented": 1}
    (hint,) = found.notes
    assert "the prediction has the labels 255, the reference 1, and none in common" in hint
    names = tmp_path / "names.json"
    names.write_text(re.search(r"\{.*\}", hint)[0])
    content = json.loads(run(one, other, "--labels", names, "--json").stdout)
    assert [label["dice"] for label in content["labels"]] == [1]
    assert content["notes"] == []


def test_objects_that_are_nowhere_are_told(pair):
    found = score_files(*pair, names={1: "round", 7: "seven", (8, 9): "eight"})
    assert found.outcomes["both-empty"] == 2
    assert (
        "2 of 3 objects are in neither file, which counts as a Dice of 1 in the mean: 7 (seven), "
        "8+9 (eight)"
    ) in found.notes


def test_a_folder_of_masks_gets_words_that_fit(tmp_path, pair):
    folder = tmp_path / "segmentations"
    folder.mkdir()
    with pytest.raises(InputError, match="segmentations"):
        score_files(folder, pair[1])
    for name in ("liver", "spleen"):
        (folder / f"{name}.nii.gz").write_bytes(pair[0].read_bytes())
    with pytest.raises(
        EvaluationError, match=r"a folder of 2 files such as liver\.nii\.gz, and no"
    ):
        score_files(folder, pair[1])


def test_one_value_with_two_names_is_told(tmp_path, labels):
    one, other = tmp_path / "p.seg.nrrd", tmp_path / "r.seg.nrrd"
    io.write_labels(replace(labels, names={1: "liver", 2: "Spleen"}), one)
    io.write_labels(replace(labels, names={1: "spleen", 2: "spleen"}), other)
    notes = [note for note in score_files(one, other).notes if "compared by their values" in note]
    assert notes == [
        "label 1 is 'liver' in the prediction and 'spleen' in the reference: labels are compared "
        "by their values, not by their names"
    ]


def test_notes_are_told_unless_quiet_and_recorded(tmp_path, pair, labels):
    path = tmp_path / "coarse.nii.gz"
    io.write_labels(coarse(labels), path)
    loud = run(path, pair[1], "--resample", "--json")
    assert "note: the prediction: resampled by nearest neighbour" in loud.stderr
    content = json.loads(loud.stdout)
    assert content["prediction"] == str(path)
    assert content["reference"] == str(pair[1])
    assert content["notes"]
    out = tmp_path / "out"
    assert run(path, pair[1], "--resample", "-q", "--out", out).stderr == ""
    assert "resampled by nearest neighbour" in (out / "report.html").read_text()
    assert json.loads((out / "summary.json").read_text())["notes"] == content["notes"]


def test_a_folder_that_cannot_be_is_told_before_anything_is_read(pair):
    with pytest.raises(OutputError, match="is a file; give a folder"):
        run("none.nii.gz", "none.nii.gz", "--out", pair[0])


def test_a_grid_that_differs_by_rounding_is_noted(tmp_path, labels):
    moved = labels.affine.copy()
    moved[2, 3] += 0.002
    near = LabelVolume(labels.voxels, make_grid(moved, labels.shape), labels.names)
    paths = tmp_path / "p.nrrd", tmp_path / "r.nrrd"
    io.write_labels(near, paths[0])
    io.write_labels(labels, paths[1])
    found = score_files(*paths)
    assert found.scores[1].dice == 1
    assert any("the prediction: its voxels lie up to 0.002 mm" in note for note in found.notes)


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


@pytest.mark.thorough
def test_a_cohort_by_the_command_and_a_comparison(cohort, tmp_path):
    out = tmp_path / "out"
    base = ["--cases", cohort, "--model", "ellipse", "--no-baselines", "--protocol", "A,B"]
    result = run(*base, "--jitter", "0,0.25", "--out", out, "--same-subject", "one,two")
    assert isinstance(result.exception, PartlyFailedError), result.output
    assert "1 of 3 cases could not be run" in str(result.exception)
    assert "| ellipse" in result.stdout
    assert "case broken could not be run" in result.stderr
    assert {p.name for p in out.iterdir()} == {
        "parts",
        "record",
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


@pytest.mark.thorough
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
