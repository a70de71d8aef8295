"""Markups of 3D Slicer: ROIs, lists of points, and what is neither."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sammed.errors import GeometryError, PromptError, UnreadableFileError
from sammed.imaging import geometry
from sammed.imaging.boxes import Box3D
from sammed.imaging.volume import Volume
from sammed.prompts import ObjectPrompts, PointPrompt
from sammed.prompts.files import read_prompts
from sammed.prompts.markups import words
from tests.phantoms import OBLIQUE, SHAPE, in_all_orders

VOXELS = np.zeros(SHAPE, np.int16)
TURNED = Volume.from_array(VOXELS, OBLIQUE)


def no_mask(path: Path, value: int | None) -> np.ndarray:
    raise AssertionError(f"no mask was named, but {path} {value} was read")


def save(folder: Path, data: object, name: str = "p.mrk.json") -> Path:
    path = folder / name
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def roi(centre: np.ndarray, size: np.ndarray, axes: np.ndarray, system: str) -> dict[str, object]:
    sign = np.diag([-1.0, -1, 1]) if system == "RAS" else np.eye(3)
    return {
        "type": "ROI",
        "coordinateSystem": system,
        "roiType": "Box",
        "center": (sign @ centre).tolist(),
        "orientation": (sign @ axes).ravel().tolist(),
        "size": size.tolist(),
    }


@pytest.mark.parametrize("system", ["LPS", "RAS"])
def test_a_roi_along_the_volumes_own_oblique_axes_is_its_block(tmp_path, system):
    """Carried by its eight corners with its orientation; by its axis-aligned hull it would grow."""
    block = Box3D(1, 2, 3, 4, 6, 9)
    corners = block.corners(OBLIQUE)
    axes = geometry.direction(OBLIQUE)[:, [2, 1, 0]]
    size = np.array([6 * 0.7, 4 * 0.8, 3 * 2.5])
    data = {"markups": [roi(corners.mean(axis=0), size, axes, system)]}
    for volume in list(in_all_orders(VOXELS))[::11]:
        (obj,) = read_prompts(save(tmp_path, data, "tumour.mrk.json"), volume, no_mask)
        assert obj == ObjectPrompts("tumour", blocks=(block,))
    hull = geometry.index_from_world(
        OBLIQUE, np.array(np.meshgrid(*np.sort(corners, axis=0)[[0, -1]].T)).reshape(3, -1).T
    )
    assert Box3D.from_index_corners(hull).clip(SHAPE) != block


@pytest.mark.parametrize("system", ["LPS", "RAS"])
def test_a_turned_roi_is_held_by_its_block(tmp_path, system):
    axes = Rotation.from_euler("xyz", [12, -25, 33], degrees=True).as_matrix()
    centre = geometry.apply_affine(OBLIQUE, np.array([2.2, 3.1, 4.7]))
    size = np.array([3.1, 1.9, 4.2])
    data = {"markups": [roi(centre, size, axes, system)]}
    (obj,) = read_prompts(save(tmp_path, data), TURNED, no_mask)
    (block,) = obj.blocks
    inside = np.random.default_rng(0).uniform(-0.5, 0.5, (4000, 3)) * size
    index = geometry.index_from_world(OBLIQUE, centre + inside @ axes.T)
    index = index[((index > -0.5) & (index < np.array(SHAPE) - 0.5)).all(axis=1)]
    voxels = np.rint(index).astype(int)
    assert (voxels >= block.low).all()
    assert (voxels < block.high).all()
    assert (voxels.min(axis=0) - block.low <= 1).all()
    assert (np.array(block.high) - 1 - voxels.max(axis=0) <= 1).all()


def points_list(name: str, *points: dict[str, object], system: str = "LPS") -> dict[str, object]:
    return {
        "type": "Fiducial",
        "name": name,
        "coordinateSystem": system,
        "controlPoints": list(points),
    }


def control(at: tuple[int, int, int], system: str = "LPS", **words: object) -> dict[str, object]:
    sign = np.array([-1, -1, 1]) if system == "RAS" else np.ones(3)
    position = geometry.apply_affine(OBLIQUE, np.array(at) + 0.3) * sign
    return {"position": position.tolist(), "positionStatus": "defined", **words}


@pytest.mark.parametrize("system", ["LPS", "RAS"])
def test_control_points(tmp_path, system):
    data = {
        "markups": [
            points_list(
                "F",
                control((1, 2, 3), system, label="F-1"),
                control((2, 3, 4), system, label="-2"),
                control((3, 4, 5), system, label="F-3", description="negative"),
                control((4, 5, 6), system, label="F-4", positionStatus="undefined"),
                system=system,
            ),
            points_list("Negatives", control((0, 1, 1), system, label="N-1"), system=system),
        ]
    }
    (obj,) = read_prompts(save(tmp_path, data, "F.mrk.json"), TURNED, no_mask)
    assert obj.name == "F"
    assert obj.points == (
        PointPrompt((1, 2, 3), True),
        PointPrompt((2, 3, 4), False),
        PointPrompt((3, 4, 5), False),
        PointPrompt((0, 1, 1), False),
    )


def test_points_outside_are_refused(tmp_path):
    data = {"markups": [points_list("F", control((1, 2, 33)))]}
    with pytest.raises(PromptError, match="lies outside the volume"):
        read_prompts(save(tmp_path, data), TURNED, no_mask)


@pytest.mark.parametrize(
    ("name", "label", "description", "positive"),
    [
        ("BoneGraft", "BG-1", "", True),
        ("Implant", "negro-1", "", True),
        ("F", "negligible", "nonnegative", True),
        ("F", "F-1", "uptake is negative", True),
        ("F", "neg1", "", False),
        ("F", "F-1", "Negative: vessel", False),
        ("F", "-", "", False),
        ("neg", "F-1", "", False),
        ("liver outside", "F-1", "", False),  # as the 3D Slicer module names it
        ("liver inside", "F-1", "", True),
        ("LiverNeg_2", "F-1", "", False),
    ],
)
def test_words_that_make_points_negative_are_whole_and_told(
    tmp_path, name, label, description, positive
):
    point = control((1, 2, 3), label=label, description=description)
    found = read_prompts(save(tmp_path, {"markups": [points_list(name, point)]}), TURNED, no_mask)
    ((only,),) = (obj.points for obj in found)
    assert only.positive == positive
    if positive:
        assert found.notes == ()
    else:
        (note,) = found.notes
        assert note.startswith("p.mrk.json: its point is taken as outside the object, ")


def test_words():
    assert words("MR-neg2 BoneGraft_éÉ") == ["mr", "neg", "bone", "graft", "éé"]


@pytest.mark.parametrize("unit", ["mm", "cm", "um", "m", ["UCUM", "cm", "centimeter"]])
def test_units_are_heeded(tmp_path, unit):
    block = Box3D(1, 2, 3, 4, 6, 9)
    size = np.array([6 * 0.7, 4 * 0.8, 3 * 2.5])
    mm = {"mm": 1, "cm": 10, "um": 1e-3, "m": 1000}[unit if isinstance(unit, str) else unit[1]]
    centre = block.corners(OBLIQUE).mean(axis=0)
    axes = geometry.direction(OBLIQUE)[:, [2, 1, 0]]
    box = roi(centre / mm, size / mm, axes, "LPS")
    points = points_list("F", {"position": (centre / mm).tolist()})
    data = {"markups": [{**m, "coordinateUnits": unit} for m in (box, points)]}
    (obj,) = read_prompts(save(tmp_path, data), TURNED, no_mask)
    assert obj.blocks == (block,)
    assert len(obj.points) == 1


def test_unknown_units_are_refused(tmp_path):
    data = {"markups": [{**points_list("F", control((1, 2, 3))), "coordinateUnits": "inch"}]}
    with pytest.raises(PromptError, match=r"p\.mrk\.json: unknown coordinateUnits 'inch'.*mm, cm"):
        read_prompts(save(tmp_path, data), TURNED, no_mask)


@pytest.mark.parametrize("kind", ["Plane", "ClosedCurve", "Angle"])
def test_markups_that_are_no_prompts_are_refused(tmp_path, kind):
    data = {"markups": [{**points_list("cut", control((1, 2, 3))), "type": kind}]}
    with pytest.raises(
        PromptError, match=rf"'cut', a {kind}, which says neither .* expected a ROI"
    ):
        read_prompts(save(tmp_path, data), TURNED, no_mask)


def test_points_along_a_line_are_points_with_a_note(tmp_path):
    ends = points_list("vessel", control((1, 2, 3)), control((2, 3, 4)))
    found = read_prompts(save(tmp_path, {"markups": [{**ends, "type": "Line"}]}), TURNED, no_mask)
    ((first, second),) = (obj.points for obj in found)
    assert (first.at, second.at) == ((1, 2, 3), (2, 3, 4))
    assert "the 2 control points of 'vessel', a Line, are taken as points" in found.notes[0]


# -- the former format -----------------------------------------------------------------------

HEADER = "# Markups fiducial file version = 4.11\n# CoordinateSystem = {}\n"
COLUMNS = "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"


def fcsv(system: str, *lines: str, columns: str = COLUMNS) -> str:
    return HEADER.format(system) + columns + "\n".join(lines) + "\n"


def line(at: tuple[int, int, int], system: str, label: str = "F-1", more: str = "") -> str:
    if system in ("2", "IJK"):
        position = np.array(at[::-1], float)
    else:
        sign = np.array([-1, -1, 1]) if system in ("0", "RAS") else np.ones(3)
        position = geometry.apply_affine(OBLIQUE, np.array(at) + 0.3) * sign
    x, y, z = position.tolist()
    return f"1,{x},{y},{z},0,0,0,1,1,1,0,{label},,vtkMRMLScalarVolumeNode1{more}"


@pytest.mark.parametrize("system", ["0", "RAS", "1", "LPS", "2", "IJK"])
def test_fiducials_of_older_slicers(tmp_path, system):
    text = fcsv(
        system,
        line((1, 2, 3), system),
        line((2, 3, 4), system, '"neg, vessel"'),
        line((3, 3, 4), system, more=",2,0"),
        line((4, 3, 4), system, more=",0,0"),  # not placed
    )
    found = read_prompts(save(tmp_path, text, "tumour.fcsv"), TURNED, no_mask)
    (obj,) = found
    assert obj.name == "tumour"
    assert obj.points == (
        PointPrompt((1, 2, 3)),
        PointPrompt((2, 3, 4), positive=False),
        PointPrompt((3, 3, 4)),
    )
    assert found.notes == (
        "tumour.fcsv: 1 of its points are taken as outside the object, as their labels or "
        "descriptions say",
    )


def test_columns_are_found_by_their_names(tmp_path):
    x, y, z = line((1, 2, 3), "LPS").split(",")[1:4]
    text = fcsv("LPS", f"F-1,{x},{y},{z},1,1", columns="# columns = label,x,y,z,sel,vis\n")
    (obj,) = read_prompts(save(tmp_path, text, "f.fcsv"), TURNED, no_mask)
    assert obj.points == (PointPrompt((1, 2, 3)),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (fcsv("scanner"), "unknown CoordinateSystem 'scanner'; expected RAS"),
        (fcsv("LPS", "1,a,2,3"), "cannot read the point '1,a,2,3'; expected the columns id, x"),
        (fcsv("LPS", "1,2"), "cannot read the point '1,2'"),
        (fcsv("LPS", "1,nan,2,3"), "cannot read the point '1,nan,2,3'"),
        (fcsv("LPS", line((0, 0, 40), "LPS")), "f.fcsv: the point .* lies outside the volume"),
        (fcsv("LPS"), "neither a ROI nor a placed control point"),
        ("", "neither a ROI nor a placed control point"),
    ],
)
def test_fiducials_that_make_no_sense(tmp_path, text, message):
    with pytest.raises(PromptError, match=message) as error:
        read_prompts(save(tmp_path, text, "f.fcsv"), TURNED, no_mask)
    assert "\n" not in str(error.value)


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "f.fcsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UnreadableFileError, match=r"f\.fcsv is no text"):
        read_prompts(tmp_path / "f.fcsv", TURNED, no_mask)
    data = {"markups": [points_list("F", control((1, 2, 3)), system="scanner")]}
    with pytest.raises(GeometryError, match="unknown space 'scanner'"):
        read_prompts(save(tmp_path, data), TURNED, no_mask)
