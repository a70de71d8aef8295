"""Boxes of label maps: COCO there and back, ROIs that Slicer and sammed read, a table."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from sammed import api, io
from sammed.cli import main
from sammed.errors import GeometryError, UnreadableFileError, UnsupportedFormatError
from sammed.imaging.volume import LabelVolume, Volume
from sammed.io.boxes import coco, from_run_lengths, read_coco, run_lengths, write_boxes
from sammed.io.conversion import convert
from tests.phantoms import OBLIQUE, in_all_orders, organ_volume


def as_pycocotools(mask: np.ndarray) -> list[int]:
    """Run lengths one pixel after the other, as maskApi.c's rleEncode counts them."""
    counts, run, before = [], 0, False
    for pixel in mask.T.ravel():
        if bool(pixel) != before:
            counts.append(run)
            run, before = 0, bool(pixel)
        run += 1
    return [*counts, run]


@pytest.fixture
def organs() -> LabelVolume:
    voxels = np.zeros((5, 7, 11), np.uint8)
    voxels[1:4, 2:6, 3:9] = 3
    voxels[2, 0, 0] = 1
    voxels[4, 6, 10] = 1
    volume = Volume.from_array(voxels, OBLIQUE)
    return LabelVolume(volume.voxels, volume.grid, {1: "spleen", 3: "liver", 9: "gone"})


def test_run_lengths_are_those_of_pycocotools():
    rng = np.random.default_rng(0)
    masks = [rng.random((4, 6)) < p for p in (0.0, 0.2, 0.8, 1.0)]
    for mask in masks:
        assert run_lengths(mask) == as_pycocotools(mask)
        np.testing.assert_array_equal(from_run_lengths(run_lengths(mask), mask.shape), mask)
    with pytest.raises(ValueError, match="23 pixels"):
        from_run_lengths([3, 20], (4, 6))


def test_coco_says_where_things_are_on_slices(organs):
    document = coco(organs)
    stored = organs.file_array()
    assert [image["id"] for image in document["images"]] == [1, 2, 3, 4]
    assert {c["id"]: c["name"] for c in document["categories"]} == {1: "spleen", 3: "liver"}
    for one in document["annotations"]:
        mask = stored[one["image_id"]] == one["category_id"]
        x, y, width, height = one["bbox"]
        assert mask[y : y + height, x : x + width].sum() == one["area"] == mask.sum()
        assert one["segmentation"]["size"] == [7, 11]


@pytest.mark.thorough
def test_coco_comes_back_in_every_orientation(tmp_path, organs):
    for n, volume in enumerate(in_all_orders(organs.voxels)):
        labels = LabelVolume(volume.voxels, volume.grid, organs.names)
        path = tmp_path / f"{n}.json"
        write_boxes(labels, path)
        back = read_coco(path)
        np.testing.assert_array_equal(back.voxels, labels.voxels)
        np.testing.assert_allclose(back.grid.affine, labels.grid.affine, atol=1e-6)
        assert back.names == {1: "spleen", 3: "liver"}


def test_rois_are_the_boxes_when_read_as_prompts(tmp_path, organs):
    for n, volume in enumerate(in_all_orders(organs.voxels)):
        labels = LabelVolume(np.where(volume.voxels == 3, 3, 0), volume.grid, {3: "liver"})
        path = tmp_path / f"{n}.mrk.json"
        write_boxes(labels, path)
        (roi,) = json.loads(path.read_text())["markups"]
        assert np.linalg.det(np.reshape(roi["orientation"], (3, 3))) == pytest.approx(1)
        (obj,) = api.gather_prompts(volume, files=(path,))
        inside = np.zeros(volume.shape, bool)
        inside[obj.blocks[0].slices] = True
        np.testing.assert_array_equal(inside, volume.voxels == 3)


def test_the_table_is_in_the_files_voxels(tmp_path, organs):
    write_boxes(organs, tmp_path / "b.csv")
    liver = next(r for r in csv.DictReader((tmp_path / "b.csv").open()) if r["name"] == "liver")
    i, j, k = organs.grid.file_index(np.argwhere(organs.voxels == 3)).round().astype(int).T
    assert [int(liver[c]) for c in ("i0", "j0", "k0")] == [i.min(), j.min(), k.min()]
    assert [int(liver[c]) for c in ("i1", "j1", "k1")] == [i.max() + 1, j.max() + 1, k.max() + 1]


def test_what_is_no_such_file_is_said(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("[]")
    with pytest.raises(UnreadableFileError, match="no COCO document"):
        read_coco(path)
    document = {"images": [], "annotations": [], "categories": []}
    path.write_text(json.dumps(document))
    with pytest.raises(GeometryError, match="--like IMAGE"):
        read_coco(path)
    like = organ_volume()
    polygon = {"id": 1, "image_id": 0, "category_id": 1, "segmentation": [[0, 0, 1, 1, 0, 1]]}
    path.write_text(json.dumps({**document, "annotations": [polygon]}))
    with pytest.raises(UnsupportedFormatError, match="polygons"):
        read_coco(path, like)
    wrong = {**polygon, "segmentation": {"size": [2, 2], "counts": [1, 3]}}
    path.write_text(json.dumps({**document, "annotations": [wrong]}))
    with pytest.raises(UnreadableFileError, match="does not fit"):
        read_coco(path, like)


@pytest.mark.usefixtures("console")
def test_the_command_goes_there_and_back(tmp_path, organs, capsys):
    io.write_labels(organs, tmp_path / "organs.nii.gz")
    files = [tmp_path / "b.json", tmp_path / "b.mrk.json", tmp_path / "b.csv"]
    options = [text for file in files for text in ("-o", str(file))]
    assert main(["convert", str(tmp_path / "organs.nii.gz"), *options, "-q"]) == 0
    assert main(["convert", str(files[0]), "-o", str(tmp_path / "again.nii.gz"), "-q"]) == 0
    again = io.read_labels(tmp_path / "again.nii.gz")
    np.testing.assert_array_equal(again.voxels, organs.voxels)
    assert main(["convert", str(files[0]), "-o", str(files[2]), "-q"]) == 1
    assert "--force" in capsys.readouterr().err
    assert main(["convert", str(files[0]), "-o", str(tmp_path / "a.csv"), "--only", "liver"]) == 1
    assert "boxes" in capsys.readouterr().err


def test_boxes_alone_are_written_of_what_is_labels(tmp_path):
    io.write_volume(organ_volume(), tmp_path / "ct.nii.gz")
    with pytest.raises(Exception, match="label"):
        convert(tmp_path / "ct.nii.gz", [tmp_path / "b.json"])


@pytest.mark.thorough
@pytest.mark.usefixtures("console")
def test_a_sloppy_box_becomes_the_box_of_its_mask(tmp_path, capsys):
    voxels = np.random.default_rng(3).normal(20, 3, (14, 30, 34))
    voxels[4:10, 8:22, 9:25] = 120
    volume = Volume.from_array(voxels.astype(np.int16), np.diag([2, 2, 2, 1.0])[[2, 1, 0, 3]])
    io.write_volume(volume, tmp_path / "ct.nii.gz")
    sloppy = np.zeros(volume.shape, np.uint8)
    sloppy[3:11, 6:24, 7:27] = 1
    true = np.zeros(volume.shape, np.uint8)
    true[4:10, 8:22, 9:25] = 1
    for name, mask in (("sloppy", sloppy), ("true", true)):
        write_boxes(LabelVolume(mask, volume.grid, {1: "a"}), tmp_path / f"{name}.mrk.json")
    asked = ["convert", str(tmp_path / "sloppy.mrk.json"), "--refine-boxes", "-q"]
    tight = ["-o", str(tmp_path / "tight.mrk.json")]
    assert main([*asked, *tight]) == 1
    assert "--like IMAGE" in capsys.readouterr().err
    assert main([*asked, "--like", str(tmp_path / "ct.nii.gz"), *tight]) == 0
    sizes = {
        name: np.array(
            json.loads((tmp_path / f"{name}.mrk.json").read_text())["markups"][0]["size"]
        )
        for name in ("sloppy", "tight", "true")
    }
    errors = {name: np.abs(sizes[name] - sizes["true"]).sum() for name in ("sloppy", "tight")}
    assert errors["tight"] < errors["sloppy"]
