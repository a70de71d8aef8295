from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from sammed import io
from sammed.errors import BackendUnavailableError, OutputError, SammedWarning
from sammed.imaging import geometry
from sammed.imaging.volume import LabelVolume, Volume

from .conftest import oblique_affine

pytest.importorskip("skimage", reason="surfaces need scikit-image, the extra 'mesh'")
from sammed.io import mesh

SHAPE = (22, 50, 60)
RADIUS_MM = 15.0


def edges(triangles: np.ndarray) -> np.ndarray:
    """Directed edges of all triangles."""
    return np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])


def is_closed(triangles: np.ndarray) -> bool:
    """Whether each directed edge is met by its opposite as often."""
    count = int(triangles.max()) + 1
    forward, backward = (
        np.sort(ends @ np.array([count, 1]))
        for ends in (edges(triangles), edges(triangles)[:, ::-1])
    )
    return bool(np.array_equal(forward, backward))


@pytest.fixture
def labels() -> LabelVolume:
    """A ball of 15 mm, a block at the volume's corner, and a label without voxels."""
    volume = Volume.from_array(np.zeros(SHAPE, np.int16), oblique_affine())
    index = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), axis=-1)
    centre = np.array(volume.shape) // 2
    distance = np.linalg.norm((index - centre) * volume.spacing, axis=-1)
    voxels = (distance < RADIUS_MM).astype(np.uint8)
    voxels[:4, :6, :5] = 3
    return LabelVolume(
        voxels, volume.grid, {1: "ball", 3: "corner <block>", 9: "none"}, {1: (200, 100, 50)}
    )


@pytest.fixture
def ball(labels) -> LabelVolume:
    return LabelVolume((labels.voxels == 1).astype(np.uint8), labels.grid, {1: "ball"})


@pytest.mark.parametrize("smoothing", [0, mesh.SMOOTHING_STEPS])
def test_ball_is_where_it_is_and_as_large(labels, smoothing):
    ball = mesh.surfaces(labels, smoothing)[0]
    centre = geometry.apply_affine(labels.affine, np.array(labels.shape) // 2)
    distance = np.linalg.norm(ball.vertices - centre, axis=1)
    assert np.abs(ball.vertices.mean(axis=0) - centre).max() < 0.1
    assert abs(distance.mean() - RADIUS_MM) < 0.3
    assert np.abs(distance - RADIUS_MM).max() < 2.5
    assert ball.volume_ml == pytest.approx(labels.volume_ml(1), rel=0.03)


def test_smoothing_takes_the_staircase_away(labels):
    centre = geometry.apply_affine(labels.affine, np.array(labels.shape) // 2)

    def tilt(steps: int) -> float:
        """Mean angle in degrees between the faces of the ball and a true sphere."""
        ball = mesh.surfaces(labels, steps)[0]
        corners = ball.vertices[ball.triangles]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        outward = corners.mean(axis=1) - centre
        lengths = np.linalg.norm(normals, axis=1) * np.linalg.norm(outward, axis=1)
        return float(np.degrees(np.arccos((normals * outward).sum(axis=1) / lengths)).mean())

    assert tilt(mesh.SMOOTHING_STEPS) < 0.6 * tilt(0)


def test_smoothing_moves_less_than_half_a_voxel(labels):
    before, after = mesh.surfaces(labels, 0)[0], mesh.surfaces(labels, 50)[0]
    inverse = np.linalg.inv(labels.affine)
    moved = geometry.apply_affine(inverse, after.vertices) - geometry.apply_affine(
        inverse, before.vertices
    )
    assert np.abs(moved).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("smoothing", [0, mesh.SMOOTHING_STEPS])
def test_surfaces_are_closed_and_face_outward(labels, smoothing):
    for surface in mesh.surfaces(labels, smoothing):
        assert is_closed(surface.triangles)
        assert surface.volume_ml > 0
    corner = mesh.surfaces(labels, 0)[1]
    assert corner.volume_ml == pytest.approx(labels.volume_ml(3), rel=0.15)


def test_mirrored_axes_face_outward_too(ball):
    mirrored = ball.affine @ np.diag([1, 1, -1, 1])
    grid = Volume.from_array(ball.voxels, mirrored).grid
    straight = LabelVolume(ball.voxels, grid, ball.names)
    assert mesh.surfaces(straight)[0].volume_ml > 0


def test_noise_is_closed(labels):
    noise = np.random.default_rng(0).random(labels.shape) < 0.3
    speckled = LabelVolume(noise.astype(np.uint8), labels.grid, {1: "noise"})
    assert is_closed(mesh.surfaces(speckled)[0].triangles)


def read_stl(path: Path) -> tuple[bytes, np.ndarray, np.ndarray]:
    data = path.read_bytes()
    block = np.frombuffer(
        data[84:], [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("rest", "<u2")]
    )
    assert len(block) == int.from_bytes(data[80:84], "little")
    return data[:80], block["normal"], block["corners"]


def test_stl(tmp_path, ball):
    io.write_labels(ball, tmp_path / "a.stl")
    header, normals, corners = read_stl(tmp_path / "a.stl")
    assert header.startswith(b"sammed ball SPACE=LPS")
    surface = mesh.surfaces(ball)[0]
    np.testing.assert_allclose(corners, surface.vertices[surface.triangles], atol=1e-3)
    outward = corners.mean(axis=1) - corners.mean(axis=(0, 1))
    assert ((normals * outward).sum(axis=1) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)


def test_ply(tmp_path, ball):
    io.write_labels(ball, tmp_path / "a.ply")
    head, _, body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")
    lines = head.decode().splitlines()
    assert lines[:3] == ["ply", "format binary_little_endian 1.0", "comment sammed ball SPACE=LPS"]
    surface = mesh.surfaces(ball)[0]
    assert f"element vertex {len(surface.vertices)}" in lines
    assert f"element face {len(surface.triangles)}" in lines
    kind = np.dtype([("at", "<f4", 3), ("colour", "u1", 3)])
    vertices = np.frombuffer(body, kind, len(surface.vertices))
    np.testing.assert_allclose(vertices["at"], surface.vertices, atol=1e-3)
    assert vertices["colour"][0].tolist() == list(surface.colour)
    faces = np.frombuffer(
        body, [("n", "u1"), ("corners", "<i4", 3)], offset=len(surface.vertices) * kind.itemsize
    )
    np.testing.assert_array_equal(faces["corners"], surface.triangles)


def test_obj_has_a_group_and_a_colour_for_each_label(tmp_path, labels):
    with pytest.warns(SammedWarning, match="no surface for none"):
        io.write_labels(labels, tmp_path / "a.obj")
    lines = (tmp_path / "a.obj").read_text().splitlines()
    assert lines[:2] == ["# sammed SPACE=LPS", "mtllib a.mtl"]
    assert [line for line in lines if line.startswith("g ")] == ["g ball", "g corner_block"]
    made = mesh.surfaces(labels)
    vertices = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
    np.testing.assert_allclose(vertices, np.concatenate([s.vertices for s in made]), atol=1e-4)
    faces = np.array([line.split()[1:] for line in lines if line.startswith("f ")], int)
    second = made[1].triangles + len(made[0].vertices) + 1
    np.testing.assert_array_equal(faces[len(made[0].triangles) :], second)
    assert "newmtl ball\nKd 0.7843 0.3922 0.1961\n" in (tmp_path / "a.mtl").read_text()


@pytest.mark.parametrize("suffix", [".stl", ".ply"])
def test_a_file_for_each_label(tmp_path, labels, suffix):
    with pytest.warns(SammedWarning, match="no surface for none"):
        io.write_labels(labels, tmp_path / f"organs{suffix}")
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == [f"organs_ball{suffix}", f"organs_corner_block{suffix}"]


def test_equal_names_get_different_files(tmp_path, labels):
    twins = LabelVolume(labels.voxels, labels.grid, {1: "rib", 3: "rib"})
    io.write_labels(twins, tmp_path / "a.stl")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a_rib_1.stl", "a_rib_2.stl"]


def test_no_name_takes_the_file_of_another():
    found = mesh.files(["rib", "rib_1", "rib", "a/b"], "x.ply")
    assert [file.name for file in found] == [
        "x_rib_2.ply",
        "x_rib_1.ply",
        "x_rib_3.ply",
        "x_a_b.ply",
    ]
    assert [file.name for file in mesh.files(["rib", "liver"], "x.obj")] == ["x.obj"]
    assert [file.name for file in mesh.files(["rib"], "x.stl")] == ["x.stl"]


def test_one_of_several_is_in_the_way(tmp_path, labels):
    (tmp_path / "organs_ball.stl").write_text("precious")
    with pytest.warns(SammedWarning), pytest.raises(OutputError, match="exists already"):
        io.write_labels(labels, tmp_path / "organs.stl")
    assert [file.name for file in tmp_path.iterdir()] == ["organs_ball.stl"]
    assert (tmp_path / "organs_ball.stl").read_text() == "precious"


def test_no_voxels(tmp_path, labels):
    empty = LabelVolume(np.zeros_like(labels.voxels), labels.grid, {1: "ball"})
    with pytest.raises(OutputError, match="no label has voxels"):
        io.write_labels(empty, tmp_path / "a.stl")


def test_without_scikit_image(tmp_path, labels, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.measure", None)
    with pytest.raises(BackendUnavailableError, match=r"pip install 'sammed\[mesh\]'"):
        io.write_labels(labels, tmp_path / "a.stl")
    assert list(tmp_path.iterdir()) == []
