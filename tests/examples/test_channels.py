"""Channels are moved only with good reason, each is seen by itself, the answers are joined."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from sammed import cli, io
from sammed.api import gather_prompts, load_model, make_session
from sammed.engine.channelwise import agreement
from sammed.errors import InputError
from sammed.examples import channels
from sammed.examples.channels import parse_channel, with_channels
from sammed.imaging.volume import FileGrid, Volume
from tests.examples.scans import body, dice

pytestmark = pytest.mark.thorough


def phases(shift_mm: float = 0.0) -> tuple[Volume, Volume]:
    """A body, and the same with other intensities, whose header is wrong by so much."""
    volume, _ = body(40)
    values = volume.voxels.astype(np.float32)
    other = np.rint(np.sqrt(np.clip(values + 1000, 0, None)) * -7 + 300).astype(np.int16)
    affine = volume.affine.copy()
    affine[:3, 3] += [shift_mm, 0, 0]
    return replace(volume, modality="MR"), Volume.from_array(other, affine, modality="MR")


def test_the_header_is_believed_where_it_is_right():
    first, other = phases()
    volume, (line,) = with_channels(first, {"b": other}, name="a")
    assert (line.how, line.moved_mm) == ("header", 0)
    assert "left where the header has it" in line.said
    assert volume.channels[0].voxels is other.voxels or np.array_equal(
        volume.channels[0].voxels, other.voxels
    )


def test_a_channel_that_moved_is_moved_back():
    first, other = phases(12.0)
    volume, (line,) = with_channels(first, {"b": other}, name="a")
    assert line.how == "rigid"
    assert line.moved_mm == pytest.approx(12, abs=2)
    still = phases()[1].voxels.astype(float)
    inside = ndimage.binary_erosion(np.ones(still.shape, bool), iterations=4)
    moved = volume.channels[0].voxels
    assert np.corrcoef(moved[inside], still[inside])[0, 1] > 0.97
    left, (said,) = with_channels(first, {"b": other}, name="a", align="header")
    assert said.moved_mm == 0
    assert np.corrcoef(left.channels[0].voxels[inside], still[inside])[0, 1] < 0.97


def test_phases_of_two_people_are_refused():
    first, other = phases()

    def of(volume: Volume, who: str) -> Volume:
        native = SimpleNamespace(header=SimpleNamespace(PatientID=who))
        grid = FileGrid(volume.grid.affine, volume.grid.reorientation, "dicom", native)
        return replace(volume, grid=grid)

    with pytest.raises(InputError, match=r"channel b shows another patient .*PatientID differs"):
        with_channels(of(first, "1"), {"b": of(other, "2")})
    channels.check_same_person(of(first, "1"), of(other, "1"), "b")


def test_no_overlap_is_said():
    first, other = phases(2000.0)
    with pytest.raises(InputError, match="channel b shows 0% of the first channel's grid"):
        with_channels(first, {"b": other}, align="header")


def test_none_needs_one_grid():
    first, other = phases()
    small = Volume.from_array(other.voxels[:-1], other.affine, modality="MR")
    with pytest.raises(InputError, match="without alignment they must be one grid"):
        with_channels(first, {"b": small}, align="none")
    with pytest.raises(InputError, match="unknown alignment 'magic'"):
        with_channels(first, {"b": other}, align="magic")


@pytest.mark.parametrize("text", ["art", "=a.nii", "art="])
def test_what_is_no_channel_is_said(text: str):
    with pytest.raises(InputError, match="is no NAME=FILE"):
        parse_channel(text)


def test_each_channel_is_seen_and_the_answers_are_joined():
    volume, truth = body(40)
    dull = replace(volume, voxels=np.where(truth.voxels == 2, 45, volume.voxels))
    both, _ = with_channels(volume, {"dull": dull}, name="bright", align="none")
    spleen = truth.voxels == 2
    low, high = (np.argwhere(spleen).min(0), np.argwhere(spleen).max(0) + 1)
    z0, y0, x0, z1, y1, x1 = (*map(int, low), *map(int, high))
    prompts = gather_prompts(both, boxes=[f"spleen={x0},{y0},{z0},{x1},{y1},{z1}"])
    session = make_session(both, load_model("two_class"), prompts)
    session.segment()
    run = session.runs["spleen"]
    assert set(run.channels) == {"bright", "dull"}
    assert run.channels["bright"].weight > run.channels["dull"].weight
    assert 0 <= agreement(run.channels) <= 1
    assert dice(session.object_mask("spleen"), spleen) > 0.7


def test_a_channel_that_shows_something_else_is_left_out():
    """Two bright balls, the second in the second channel alone, far larger and not so clear."""
    rng = np.random.default_rng(2)
    shape = (12, 48, 48)
    grid = np.indices(shape)
    away = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, (6, 24, 24), strict=True)))
    small, large = away < 5, away < 11
    values = [
        rng.normal(0, noise, shape) + 100 * where for noise, where in ((3, small), (30, large))
    ]
    one, two = (Volume.from_array(v.astype(np.float32), np.eye(4), modality="MR") for v in values)
    both, _ = with_channels(one, {"b": two}, name="a", align="none")
    objects = gather_prompts(one, boxes=["ball=12,12,36,36@6"])
    session = make_session(both, load_model("two_class"), objects)
    session.segment()
    views = session.runs["ball"].channels
    assert views["a"].weight > 0
    assert views["b"].weight == 0
    assert views["b"].agreement < 0.7
    alone = make_session(one, load_model("two_class"), objects)
    alone.segment()
    assert np.array_equal(session.object_mask("ball"), alone.object_mask("ball"))


def test_the_command_line_writes_each_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    first, other = phases()
    io.write_volume(first, tmp_path / "a.nii.gz")
    io.write_volume(other, tmp_path / "b.nii.gz")
    command = ["segment", "--channel", "art=a.nii.gz", "--channel", "ven=b.nii.gz", "--per-channel",
               "--box", "10,10,3,30,25,12", "--model", "ellipse", "-o", "o.nii.gz"]  # fmt: skip
    assert cli.main(command) == 0, capsys.readouterr().err
    said = capsys.readouterr().err
    assert "channel ven: left where the header has it" in said
    assert (tmp_path / "o.art.nii.gz").exists()
    assert (tmp_path / "o.ven.nii.gz").exists()
    (line,) = json.loads((tmp_path / "o.report.json").read_text())["objects"]
    assert set(line["channels"]) == {"art", "ven"}
    assert 0 <= line["agreement"] <= 1


def test_nothing_that_is_read_or_was_there_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """It is said before anything is computed, and an input not even with --force."""
    monkeypatch.chdir(tmp_path)
    for name, volume in zip(("a.nii.gz", "b.nii.gz"), phases(), strict=True):
        io.write_volume(volume, tmp_path / name)
    before = (tmp_path / "b.nii.gz").read_bytes()
    command = ["segment", "--channel", "art=a.nii.gz", "--channel", "ven=b.nii.gz", "--per-channel",
               "--box", "10,10,3,30,25,12", "--model", "ellipse", "-o"]  # fmt: skip
    assert cli.main([*command, "b.nii.gz", "--force"]) == 1
    assert "cannot write b.nii.gz: it is one of the inputs" in capsys.readouterr().err
    assert (tmp_path / "b.nii.gz").read_bytes() == before
    (tmp_path / "o.ven.nii.gz").write_bytes(b"mine")
    assert cli.main([*command, "o.nii.gz"]) == 1
    assert "o.ven.nii.gz" in capsys.readouterr().err
    assert (tmp_path / "o.ven.nii.gz").read_bytes() == b"mine"
    assert not (tmp_path / "o.nii.gz").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument: give an image, or channels"),
        (["a.nii.gz", "--per-channel"], "--per-channel needs channels"),
        (["a.nii.gz", "--mirror"], "--mirror is about examples"),
        (["a.nii.gz", "--prior", "a,b", "--example", "a,b"], "not both"),
        (["--channel", "a=a.nii.gz", "--example", "a,b"], "channels are segmented from prompts"),
    ],
)
def test_what_makes_no_sense_together_is_said(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["segment", *arguments, "-o", "o.nii.gz"]) == (1 if arguments else 2)
    said = capsys.readouterr().err.replace("│", " ")
    assert message in " ".join(said.split())
