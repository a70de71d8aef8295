"""Scribbles as typed, as painted, as positions: the same stroke, on every orientation."""

from __future__ import annotations

import numpy as np
import pytest

from sammed import api, io
from sammed.cli import main
from sammed.errors import PromptError
from sammed.prompts.scribbles import parse_scribble, polyline
from tests.phantoms import ORDERS, SHAPE, STRAIGHT, affine_of, reordered, save_nifti


@pytest.fixture
def scan(tmp_path):
    voxels = np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32)
    path = tmp_path / "scan.nii.gz"
    save_nifti(path, voxels, STRAIGHT)
    return path


def painted(scan, tmp_path, **labels):
    """A label map on the scan's grid with strokes of the file's (i, j, k) voxels."""
    volume = io.read(scan)
    voxels = np.zeros(volume.grid.shape, np.uint8)
    for value, stroke in labels.items():
        voxels[tuple(np.array(stroke).T[::-1])] = int(value[1:])
    path = tmp_path / "strokes.nii.gz"
    save_nifti(path, voxels, STRAIGHT)
    return path


def test_a_typed_stroke_passes_every_voxel_between_its_corners(scan):
    volume = io.read(scan)
    (on_slice,) = parse_scribble("a=2,2;4,2;4,4@3", volume).scribbles
    (free,) = parse_scribble("2,2,3;4,2,3;4,4,3", volume).scribbles
    assert on_slice == free
    expected = volume.grid.canonical_index(np.array([(2, 2, 3), (3, 2, 3), (4, 2, 3),
                                                     (4, 3, 3), (4, 4, 3)]))  # fmt: skip
    np.testing.assert_array_equal(on_slice.voxels, expected)
    assert on_slice.positive
    assert not parse_scribble("2,2;4,2@3,-", volume).scribbles[0].positive
    assert not parse_scribble("2,2;4,2@3 -", volume).scribbles[0].positive
    (across,) = parse_scribble("2,1;4,3@i=3", volume).scribbles
    (typed,) = parse_scribble("3,2,1;3,4,3", volume).scribbles
    assert across == typed


@pytest.mark.parametrize("number", range(0, 48, 5))
def test_a_typed_stroke_lies_on_the_files_own_voxels(number, tmp_path):
    """What is typed in the indices of a file lies on its voxels, however these are stored."""
    voxels = np.zeros(SHAPE, np.float32)
    voxels[2, 3, 4:9] = 1
    file, affine = reordered(voxels, affine_of(), *ORDERS[number])
    volume = io.read(save_nifti(tmp_path / "turned.nii.gz", file, affine))
    ends = np.argwhere(file == 1)[[0, -1], ::-1]
    text = ";".join(",".join(map(str, end)) for end in ends)
    (stroke,) = parse_scribble(text, volume).scribbles
    assert len(stroke.voxels) == 5
    assert (volume.voxels[tuple(stroke.voxels.T)] == 1).all()


@pytest.mark.parametrize(
    "text", ["1,2", "1,2;3@4", "a;b@3", "1,2;3,4@m=3", "", "1,2;3,4@", "nan,1@2"]
)
def test_what_is_no_stroke_is_said_in_one_line(text, scan):
    with pytest.raises(PromptError, match=r"cannot read scribble .*expected i,j;i,j"):
        parse_scribble(text, io.read(scan))


def test_a_stroke_beyond_the_volume_is_said(scan):
    with pytest.raises(PromptError, match=r"corner of a scribble .* lies outside the volume"):
        parse_scribble("2,2;400,2@3", io.read(scan))


def test_a_painted_file_holds_strokes_inside_and_outside(scan, tmp_path):
    path = painted(scan, tmp_path, v1=[(2, 2, 3), (3, 2, 3), (4, 2, 3)], v2=[(6, 5, 3), (7, 5, 3)])
    objects = api.gather_prompts(io.read(scan), scribbles=[f"liver={path}"])
    (liver,) = objects
    assert liver.name == "liver"
    assert [(s.positive, len(s.voxels)) for s in liver.scribbles] == [(True, 3), (False, 2)]
    ends = {tuple(liver.scribbles[0].voxels[n]) for n in (0, -1)}
    volume = io.read(scan)
    assert ends == {tuple(volume.grid.canonical_index(np.array([at]))[0].astype(int))
                    for at in ((2, 2, 3), (4, 2, 3))}  # fmt: skip


def test_a_label_map_that_holds_no_strokes_is_said(scan, tmp_path):
    path = painted(scan, tmp_path, v5=[(2, 2, 3)])
    with pytest.raises(
        PromptError, match=r"holds 5 for 'object'; expected strokes: 1 .* use --mask"
    ):
        api.gather_prompts(io.read(scan), scribbles=str(path))


def test_positions_by_name_are_strokes(scan):
    volume = io.read(scan)
    given = {"liver": [(2, 2, 3), (3, 2, 3)], "spleen": [[(5, 5, 1), (5, 4, 1)], [(7, 1, 2)]]}
    objects = {obj.name: obj for obj in api.gather_prompts(volume, scribbles=given)}
    assert len(objects["liver"].scribbles) == 1
    assert [len(s.voxels) for s in objects["spleen"].scribbles] == [2, 1]


def test_a_line_is_drawn_voxel_by_voxel():
    line = polyline(np.array([(0, 0, 0), (0, 3, 7), (2, 3, 7)]))
    assert np.abs(np.diff(line, axis=0)).max() == 1
    assert line[0].tolist() == [0, 0, 0]
    assert line[-1].tolist() == [2, 3, 7]


def test_segment_takes_scribbles_on_the_command_line(tmp_path):
    out = tmp_path / "out.nii.gz"
    code = main([
        "segment", "sample_data/phantom_ct.nii.gz", "--scribble", "spleen=105,62;115,76;122,90@44",
        "--model", "stroke_classes", "-o", str(out), "--quiet",
    ])  # fmt: skip
    assert code == 0
    truth = io.read_labels("sample_data/phantom_labels.nii.gz").voxels == 2
    found = io.read_labels(out).voxels > 0
    assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.5
    prompts = (tmp_path / "out.prompts.json").read_text()
    assert '"scribbles"' in prompts
