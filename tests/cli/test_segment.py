from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from sammed import cli, io
from sammed.imaging import geometry
from sammed.imaging.boxes import Box2D
from sammed.imaging.volume import LabelVolume, Volume
from sammed.models import registry
from tests.phantoms import (
    OBLIQUE,
    ORGAN,
    ROOT,
    SAMPLE,
    dice,
    ellipsoid,
    image_of,
    reordered,
    save_nifti,
)

pytestmark = pytest.mark.usefixtures("console")

SECOND = ellipsoid(ORGAN.shape, (9.1, 32.3, 44.2), (3.6, 5.5, 5.8))
BOTH = ORGAN | SECOND
STORED, AFFINE = reordered(image_of(BOTH), OBLIQUE, (2, 0, 1), (-1, 1, -1))
"""The file's i is -y, its j is z, its k is -x."""


class Result:
    """What a command gave back."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run ``sammed segment`` on the phantom in the test's own folder."""
    monkeypatch.chdir(tmp_path)
    save_nifti(tmp_path / "ct.nii.gz", STORED, AFFINE)

    def segment(*arguments: object, image: str = "ct.nii.gz", model: str = "two_class") -> Result:
        command = ["segment", image, "--model", model, *map(str, arguments)]
        code = cli.main(command)
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return segment


def typed(mask: np.ndarray, index: int = 8, loose: int = 1) -> str:
    """A box on an axial slice in the file's indices."""
    box = Box2D.from_mask(mask[index]).expand(loose)
    rows, cols = (40 - box.r1, 40 - box.r0), (52 - box.c1, 52 - box.c0)
    return f"{rows[0]},{cols[0]},{rows[1]},{cols[1]}@j={index}"


def found(path: str = "o.nii.gz") -> LabelVolume:
    return io.read_labels(path, like=io.read("ct.nii.gz"))


def report(path: str = "o.report.json") -> dict[str, Any]:
    data: dict[str, Any] = json.loads(Path(path).read_text())
    return data


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()} - {"ct.nii.gz"}


# -- the main job ----------------------------------------------------------------------------


def test_one_box_gives_a_label_map_on_the_files_grid(run, tmp_path):
    result = run("--box", f"liver={typed(ORGAN)}", "-o", "o.nii.gz", "--preview", "p.png")
    assert result.code == 0, result.err
    assert result.out == ""
    assert names(tmp_path) == {"o.nii.gz", "o.report.json", "o.prompts.json", "p.png"}
    image, labels = nibabel.load("ct.nii.gz"), nibabel.load("o.nii.gz")
    assert labels.shape == image.shape
    for field in ("qform_code", "sform_code", "srow_x", "srow_y", "srow_z", "quatern_b"):
        assert labels.header[field].tobytes() == image.header[field].tobytes()
    np.testing.assert_array_equal(labels.affine, image.affine)
    assert labels.get_data_dtype() == np.uint8
    assert dice(found().voxels, ORGAN) > 0.95
    assert found().names == {1: "liver"}
    assert Image.open("p.png").width > 300


def test_the_summary_is_on_stderr(run):
    result = run("--box", f"liver={typed(ORGAN)}", "-o", "o.nii.gz")
    ml = np.count_nonzero(found().voxels) * 2.5 * 0.8 * 0.7 / 1000
    assert f"liver (label 1): {ml:.4g} ml on" in result.err
    assert result.err.count("stopped at axial slice") == 2
    assert re.search(r"two_class, window p0\.5-99\.5 \[-9\d, 1\d\d\]: \d+ views in", result.err)
    assert "wrote o.nii.gz, o.report.json, o.prompts.json" in result.err
    assert result.out == ""


def test_what_is_taken_for_granted_is_told_and_recorded(run, tmp_path):
    lps = geometry.apply_affine(io.read("ct.nii.gz").affine, np.array([0, 1, 1])).tolist()
    points = {"type": "Fiducial", "name": "organ outside", "controlPoints": [{"position": lps}]}
    (tmp_path / "organ.mrk.json").write_text(json.dumps({"markups": [points]}))
    options = ("--box", f"organ={typed(ORGAN)}", "--prompts", "organ.mrk.json", "-o", "o.nii.gz")
    result = run(*options, model="compact")
    assert result.code == 0, result.err
    note = "organ.mrk.json: its point is taken as outside the object, since their list is called"
    assert f"note: {note}" in result.err
    assert any(text.startswith(note) for text in report()["notes"])


def test_quiet_says_nothing(run):
    result = run("--box", typed(ORGAN), "-o", "o.nii.gz", "-q")
    assert (result.code, result.out, result.err) == (0, "", "")


def test_json_is_the_report_and_needs_no_output(run, tmp_path):
    result = run("--box", typed(ORGAN), "--json")
    assert result.code == 0
    printed = json.loads(result.out)
    assert printed["format"] == "sammed-report/1"
    assert printed["objects"][0]["volume_ml"] > 0
    assert names(tmp_path) == set()
    result = run("--box", typed(ORGAN), "--json", "-o", "o.nii.gz")
    assert json.loads(result.out) == report()
    assert result.err == ""


def test_the_report(run):
    run("--box", f"liver={typed(ORGAN)}", "-o", "o.nii.gz", "--report", "other.json")
    told = report("other.json")
    assert Path("other.prompts.json").is_file()
    assert not Path("o.report.json").exists()
    assert told["input"]["source"] == "ct.nii.gz"
    assert told["input"]["shape_ijk"] == [40, 17, 52]
    assert told["output"] == "o.nii.gz"
    assert {"read", "write", "encode"} <= set(told["timings_s"])
    (liver,) = told["objects"]
    assert [s["axis"] for s in liver["stops"]] == ["j", "j"]
    seen = [s["j"] for s in liver["slices"]]
    mask = np.asarray(nibabel.load("o.nii.gz").dataobj)
    assert seen == np.flatnonzero(mask.any(axis=(0, 2))).tolist()
    centre = [float(v.mean()) for v in np.nonzero(mask[:, 8])]
    by_slice = {s["j"]: s for s in liver["slices"]}
    np.testing.assert_allclose(by_slice[8]["centroid_ijk"], [centre[0], 8, centre[1]], atol=0.01)


@pytest.mark.parametrize("zoom", ["off", "2"])
def test_the_run_can_be_replayed_from_its_prompt_file(run, zoom):
    run(
        "--box", f"liver={typed(ORGAN)}", "--box", f"cyst={typed(SECOND, 9)}",
        "--label", "cyst=7", "-o", "o.nii.gz", "--zoom", zoom,
    )  # fmt: skip
    result = run("--prompts", "o.prompts.json", "-o", "again.nii.gz", "--zoom", zoom)
    assert result.code == 0, result.err
    assert Path("again.nii.gz").read_bytes() == Path("o.nii.gz").read_bytes()
    first, second = report()["prompts"], report("again.report.json")["prompts"]
    assert first["objects"] == second["objects"]
    assert first["format"] == "sammed-prompts/1"
    told = json.loads(Path("o.prompts.json").read_text())
    assert told["objects"] == first["objects"]
    assert told["image"]["source"] == "ct.nii.gz"


def test_a_run_from_a_painted_mask_can_be_replayed_from_another_folder(run, tmp_path):
    painted = np.zeros(ORGAN.shape, np.uint8)
    painted[8][ORGAN[8]] = 1
    stored, _ = reordered(painted, OBLIQUE, (2, 0, 1), (-1, 1, -1))
    save_nifti(tmp_path / "painted.nii.gz", stored, AFFINE)
    (tmp_path / "results").mkdir()
    result = run("--mask", "liver=painted.nii.gz", "-o", "results/o.nii.gz")
    assert result.code == 0, result.err
    entry = json.loads(Path("results/o.prompts.json").read_text())["objects"][0]
    assert entry["mask"] == "../painted.nii.gz"
    again = run("--prompts", "results/o.prompts.json", "-o", "again.nii.gz")
    assert again.code == 0, again.err
    np.testing.assert_array_equal(found("again.nii.gz").voxels, found("results/o.nii.gz").voxels)
    np.testing.assert_array_equal(found("again.nii.gz").voxels[8] > 0, ORGAN[8])


# -- prompts ---------------------------------------------------------------------------------


def test_several_objects_with_labels_of_their_own(run):
    result = run(
        "--box", f"liver={typed(ORGAN)}", "--box", f"cyst={typed(SECOND, 9)}",
        "--label", "cyst=300", "-o", "o.nii.gz",
    )  # fmt: skip
    assert result.code == 0, result.err
    labels = found()
    assert labels.names == {1: "liver", 300: "cyst"}
    assert labels.voxels.dtype == np.uint16
    assert dice(labels.voxels == 1, ORGAN) > 0.95
    assert dice(labels.voxels == 300, SECOND) > 0.85


def test_millimetres(run):
    volume = io.read("ct.nii.gz")
    corners = geometry.apply_affine(volume.affine, np.array([[8, 6, 9], [8, 28, 40]])) * [-1, -1, 1]
    low, high = corners.min(axis=0), corners.max(axis=0)
    centre = geometry.apply_affine(volume.affine, np.array([8, 17, 24]))[2]
    text = f"{low[0]:.3f},{low[1]:.3f},{high[0]:.3f},{high[1]:.3f}@{centre:.3f}"
    result = run("--box", f"liver={text}", "--space", "ras", "-o", "o.nii.gz")
    assert result.code == 0, result.err
    assert dice(found().voxels, ORGAN) > 0.8


@pytest.mark.parametrize(("propagate", "slices"), [("off", [6, 10]), ("between", range(6, 11))])
def test_propagation_is_told(run, propagate, slices):
    run(
        "--box", typed(ORGAN, 6), "--box", typed(ORGAN, 10),
        "--propagate", propagate, "-o", "o.nii.gz",
    )  # fmt: skip
    assert np.flatnonzero(found().voxels.any(axis=(1, 2))).tolist() == list(slices)
    assert report()["prompts"]["objects"][0]["propagate"] == propagate


def test_options_reach_the_session(run):
    result = run(
        "--box", typed(ORGAN), "-o", "o.nii.gz", "--window", "300/20", "--overlap", "score",
        "--components", "largest", "--fill-holes", "--smooth", "1.5", "--plane", "axial",
        "--zoom", "off",
    )  # fmt: skip
    assert result.code == 0, result.err
    told = report()
    assert told["window"] == {"low": -130, "high": 170, "name": "300/20"}
    settings = told["settings"]
    assert settings["overlap"] == "score"
    assert settings["cleanup"] == {"components": "largest", "fill_holes": True, "smooth_mm": 1.5}
    assert (settings["plane"], settings["zoom"]) == ("axial", None)
    assert settings["probabilities"] is False


def test_an_object_that_is_not_there_is_a_warning_beside_others(run, monkeypatch):
    from tests.phantoms import StubModel

    monkeypatch.setattr(registry, "build", lambda *_, **__: StubModel(52))
    result = run("--box", f"a={typed(ORGAN)}", "--box", "none=1,1,6,8@j=0", "-o", "o.nii.gz")
    assert result.code == 0
    assert "warning: nothing was segmented for 'none'" in result.err
    assert dice(found().voxels == 1, ORGAN) > 0.99
    assert report()["objects"][1]["error"].startswith("nothing was segmented")


# -- formats ---------------------------------------------------------------------------------


def test_several_outputs(run):
    result = run("--box", typed(ORGAN), "-o", "o.nii.gz", "-o", "o.nrrd")
    assert result.code == 0, result.err
    other = sitk.GetArrayFromImage(sitk.ReadImage("o.nrrd"))
    assert np.count_nonzero(other) == np.count_nonzero(found().voxels)
    assert "wrote o.nii.gz, o.nrrd" in result.err


def test_another_format_in_and_out(run, tmp_path):
    sitk.WriteImage(sitk.ReadImage("ct.nii.gz"), "ct.nrrd")
    result = run("--box", typed(ORGAN), "-o", "o.mha", image="ct.nrrd")
    assert result.code == 0, result.err
    image, labels = sitk.ReadImage("ct.nrrd"), sitk.ReadImage("o.mha")
    assert labels.GetSize() == image.GetSize()
    np.testing.assert_allclose(labels.GetDirection(), image.GetDirection(), atol=1e-9)
    np.testing.assert_allclose(labels.GetOrigin(), image.GetOrigin(), atol=1e-6)


def test_a_picture_is_a_volume_of_one_slice(run):
    grey = np.where(ORGAN[8], 200, 40).astype(np.uint8)
    Image.fromarray(np.stack([grey, grey, grey // 2], axis=-1)).save("p.png")
    box = Box2D.from_mask(ORGAN[8]).expand(1)
    result = run(
        "--box", f"{box.c0},{box.r0},{box.c1},{box.r1}@0", "-o", "o.png", "--preview", "see.png",
        image="p.png",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert dice(np.asarray(Image.open("o.png")), ORGAN[8]) > 0.97


def test_one_frame_of_a_4d_file(run, tmp_path):
    frames = np.stack([np.zeros_like(STORED), STORED], axis=-1).transpose(2, 1, 0, 3)
    nibabel.save(nibabel.Nifti1Image(frames, geometry.affine_to_ras(AFFINE)), "4d.nii.gz")
    result = run("--frame", 1, "--box", typed(ORGAN), "-o", "o.nii.gz", image="4d.nii.gz")
    assert result.code == 0, result.err
    assert nibabel.load("o.nii.gz").shape == (40, 17, 52)
    assert "frame 1 of 2 was read" in report()["input"]["notes"]
    assert np.count_nonzero(np.asarray(nibabel.load("o.nii.gz").dataobj)) > 0.9 * ORGAN.sum()


def test_force_replaces_what_is_there(run):
    for name in ("o.nii.gz", "o.report.json", "o.prompts.json", "p.png"):
        Path(name).write_text("old")
    result = run("--box", typed(ORGAN), "-o", "o.nii.gz", "--preview", "p.png", "--force")
    assert result.code == 0, result.err
    assert dice(found().voxels, ORGAN) > 0.95
    assert report()["format"] == "sammed-report/1"


# -- the console -----------------------------------------------------------------------------


def test_the_progress_bar_tells_slices_and_pace(monkeypatch, capsys):
    from rich.console import Console

    from sammed.cli.console import progress_bar
    from sammed.engine.progress import Progress

    monkeypatch.setattr(Console, "is_terminal", True)
    with progress_bar(quiet=False) as show:
        assert show is not None
        show(Progress(3, 10, "liver", "axial", 7, 0.25, 3700.0))
        show(Progress(4, None, "liver", "axial", 8, 0.25, None))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "liver (axial 8)" in shown.err
    with progress_bar(quiet=True) as show:
        assert show is None


# -- the built-in network --------------------------------------------------------------------


@pytest.mark.skipif(not registry.info("compact").available, reason="compact's weights are missing")
def test_the_demo(run):
    """What ``make demo`` does: one box on the sample's spleen."""
    (box,) = re.findall(r"--box spleen=(\S+)", (ROOT / "Makefile").read_text())
    sample = SAMPLE / "phantom_ct.nii.gz"
    result = run(
        "--box", f"spleen={box}", "-o", "spleen.nii.gz", "--preview", "spleen.png",
        image=str(sample), model="compact",
    )  # fmt: skip
    assert result.code == 0, result.err
    image: Volume = io.read(sample)
    spleen = io.read_labels("spleen.nii.gz", like=image).voxels
    truth = io.read_labels(SAMPLE / "phantom_labels.nii.gz", like=image).voxels
    assert dice(spleen, truth == 2) >= 0.90
    assert report("spleen.report.json")["model"]["weights_hash"]
