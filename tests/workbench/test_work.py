"""The page asks, and gets what a session in this process gives."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sammed.io import read
from sammed.session import Session
from tests.phantoms import OBLIQUE, ORGAN, StubModel, dice, image_of, reordered, save_nifti
from tests.workbench.conftest import BOX, painted


def shown(masks, shape):
    """What a page shows: every answer applied to its own masks."""
    found = {}
    for entry in masks:
        if entry["removed"]:
            found.pop(entry["name"], None)
            continue
        if entry["replace"] or entry["name"] not in found:
            found[entry["name"]] = np.zeros(shape, bool)
        if entry["data"] is not None:
            z0, y0, x0, z1, y1, x1 = entry["block"]
            found[entry["name"]][z0:z1, y0:y1, x0:x1] = entry["data"]
    return found


def test_the_page_is_told_what_is_open(start, scan):
    page = start(scan).page()
    hello = page.hello()
    told = hello["scan"]
    assert hello["role"] == "works"
    assert (told["name"], told["where"]) == ("ct.nii.gz", str(scan.parent))
    assert told["shape"] == [17, 40, 52]
    assert told["output"] == {"folder": str(scan.parent), "stem": "ct.labels"}
    assert told["codes"] == "SPL"
    assert told["window"] == [-90.0, 107.0]
    assert told["shown"] == {"dtype": "<i2", "shape": [17, 40, 52], "step": [1, 1, 1], "note": None}
    assert told["restored"] is None
    assert not told["dirty"]
    assert (told["model"], told["options"]) == ("compact", {})
    assert {"liver", "spleen"} <= {entry["name"] for entry in hello["names"]}
    assert len(hello["colours"][0]) == 3
    kinds = {entry["id"]: entry for entry in hello["formats"]}
    assert kinds["nifti"]["available"]
    assert not kinds["dicom-seg"]["available"]
    assert "no DICOM" in kinds["dicom-seg"]["why"]
    assert not {"volume", "close", "shutdown"} & set(hello["requests"])
    json.dumps(hello)


@pytest.mark.parametrize(("order", "flips"), [((0, 1, 2), (1, 1, 1)), ((2, 0, 1), (-1, 1, -1))])
def test_the_voxels_are_the_canonical_ones_whatever_the_file(start, tmp_path, order, flips):
    voxels = np.arange(5 * 7 * 11, dtype=np.int16).reshape(5, 7, 11)
    turned, affine = reordered(voxels, OBLIQUE, order, flips)
    path = save_nifti(tmp_path / "turned.nii.gz", turned, affine)
    page = start(path).page()
    told = page.hello()["scan"]
    status, headers, body = page.get("/api/volume")
    assert status == 200
    assert int(headers["content-length"]) == len(body) == voxels.nbytes
    volume = read(path)
    assert np.array_equal(np.frombuffer(body, told["shown"]["dtype"]).reshape(5, 7, 11), voxels)
    np.testing.assert_allclose(told["affine"], volume.affine)
    at = np.array(told["to_file"]) @ [3, 5, 9, 1]
    assert np.allclose(at[:3], volume.grid.file_index(np.array([3, 5, 9])))
    assert told["oblique_degrees"] > 5


def test_a_box_gives_the_sessions_mask_and_edits_send_what_changed(page, scan):
    put = page.ask("put", object={"name": "organ", "boxes": [BOX]})
    assert (put["stale"], put["dirty"]) == (["organ"], True)
    answer = page.ask("segment", partial=True)
    masks = shown(answer["masks"], ORGAN.shape)
    assert answer["stale"] == []
    early = [m for m in page.pushed if m["event"] == "partial"]
    assert (early[0]["name"], early[0]["axis"], early[0]["index"]) == ("organ", 0, 8)
    session = Session(read(scan), StubModel())
    session.add_box("organ", (8, 6, 40, 29), slice=8)
    session.segment()
    assert np.array_equal(masks["organ"], session.object_mask("organ"))
    assert dice(masks["organ"], ORGAN) > 0.9
    assert answer["runs"]["organ"]["prompted"] == [8]

    renamed = page.ask("rename", name="organ", to="liver")
    assert renamed["objects"] == ["liver"]
    assert [(e["name"], e["removed"]) for e in renamed["masks"]] == [
        ("organ", True),
        ("liver", False),
    ]
    assert page.ask("segment")["masks"] == []
    undone = page.ask("undo")
    assert undone["objects"] == ["organ"]
    assert page.ask("undo")["objects"] == []
    assert page.ask("undo")["error"]["code"] == "nothing_to_undo"
    page.ask("redo")
    everything = page.ask("show")
    assert np.array_equal(shown(everything["masks"], ORGAN.shape)["organ"], masks["organ"])
    assert everything["prompts"][0]["boxes"] == [BOX]


def test_painted_slices_stay_and_parts_replace_the_slices_that_they_cover(page):
    first, part = painted((4, 10, 10, 6, 20, 22))
    page.ask("put", [first], object={"name": "a", "mask": [part], "propagate": "off"})
    assert shown(page.ask("segment")["masks"], ORGAN.shape)["a"].sum() == 2 * 10 * 12
    frame, part = painted((5, 0, 0, 6, 3, 3))
    kept = {"name": "a", "mask": [part], "propagate": "off"}
    page.ask("put", [frame], object=kept, keep_mask=True)
    page.ask("segment")
    found = shown(page.ask("show")["masks"], ORGAN.shape)["a"]
    assert found[4].sum() == 10 * 12
    assert found[5].sum() == 9
    again = page.ask("put", object={"name": "a", "propagate": "off"}, keep_mask=True)
    assert again["changed"] is False
    frame, part = painted((5, 0, 0, 6, 40, 52), 0)
    page.ask("put", [frame], object={**kept, "mask": [part]}, keep_mask=True)
    page.ask("segment")
    found = shown(page.ask("show")["masks"], ORGAN.shape)["a"]
    assert np.flatnonzero(found.any((1, 2))).tolist() == [4]


def test_a_part_says_across_which_axis_it_replaces(page):
    first, part = painted((2, 3, 4, 9, 12, 14))
    page.ask("put", [first], object={"name": "a", "mask": [part], "propagate": "off"})
    frame, part = painted((2, 5, 4, 9, 6, 6))
    mask = [{**part, "axis": 1}]
    page.ask("put", [frame], object={"name": "a", "mask": mask, "propagate": "off"}, keep_mask=True)
    assert page.ask("show")["prompts"][0]["mask"] == [2, 3, 4, 9, 12, 14]
    page.ask("settings", model="stub", options={"plane": "coronal"})
    page.ask("segment")
    found = shown(page.ask("show")["masks"], ORGAN.shape)["a"]
    assert found[:, 5].sum() == 7 * 2
    assert found[:, 4].sum() == 7 * 10


def test_what_the_model_sees_is_told_and_asking_does_not_choose_it(page):
    before = page.ask("window")
    assert (before["low"], before["high"], before["chosen"]) == (-90.0, 107.0, False)
    page.ask("put", object={"name": "organ", "boxes": [BOX]})
    page.ask("segment")
    assert page.ask("window")["chosen"]


def test_an_object_is_a_surface_in_the_same_indices(page):
    pytest.importorskip("skimage")
    page.ask("put", object={"name": "organ", "boxes": [BOX]})
    page.ask("segment")
    surface = page.ask("surface", name="organ")
    low, high = surface["vertices"].min(0), surface["vertices"].max(0)
    inside = np.argwhere(ORGAN)
    assert np.abs(low - inside.min(0)).max() < 2
    assert np.abs(high - inside.max(0)).max() < 2
    assert page.ask("surface", name="none")["event"] == "error"


def test_a_colour_picture_is_shown_as_it_is(start, tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(1).integers(0, 255, (7, 11, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    page = start(tmp_path / "photo.png").page()
    told = page.hello()["scan"]
    assert (told["colour"], told["single_slice"]) == (True, True)
    assert told["shown"]["shape"] == [1, 7, 11, 3]
    assert page.get("/api/volume")[2] == pixels.tobytes()


def test_large_numbers_are_sent_as_floats_and_large_volumes_coarser(monkeypatch, start, tmp_path):
    from sammed.workbench import scan as scans

    monkeypatch.setattr(scans, "LONGEST_SIDE", 8)
    voxels = (np.arange(5 * 7 * 11) * 1000).astype(np.int32).reshape(5, 7, 11)
    page = start(save_nifti(tmp_path / "large.nii.gz", voxels)).page()
    told = page.hello()["scan"]
    assert told["shown"]["dtype"] == "<f4"
    assert told["shown"]["step"] == [1, 1, 2]
    assert told["shown"]["shape"] == [5, 7, 6]
    assert "all of them are segmented" in told["shown"]["note"]
    body = np.frombuffer(page.get("/api/volume")[2], "<f4").reshape(5, 7, 6)
    assert np.array_equal(body, voxels[:, :, ::2])
    assert page.ask("put", object={"name": "a", "points": [{"at": [4, 6, 10]}]})["event"] == "done"


def test_labels_become_objects_that_stay_as_they_are(start, scan, tmp_path):
    labels = np.where(ORGAN, 3, 0).astype(np.uint8)
    labels[:, :5, :5] = 7
    before = save_nifti(tmp_path / "before.nii.gz", labels)
    page = start(scan, labels=(before,)).page()
    page.hello()
    told = page.ask("show")
    assert told["objects"] == ["label_3", "label_7"]
    assert told["stale"] == ["label_3", "label_7"]
    assert not told["dirty"]
    assert not told["can_undo"]
    page.ask("segment")
    masks = shown(page.ask("show")["masks"], ORGAN.shape)
    assert np.array_equal(masks["label_3"], labels == 3)
    assert np.array_equal(masks["label_7"], labels == 7)
    assert [p["label"] for p in page.ask("objects")["prompts"]] == [3, 7]


def test_a_prompt_file_is_there_from_the_beginning(start, scan, tmp_path):
    boxes = [{"axis": "k", "index": 8, "box": [8, 6, 40, 29]}]
    prompts = {"format": "sammed-prompts/1", "objects": [{"name": "organ", "boxes": boxes}]}
    (tmp_path / "p.json").write_text(json.dumps(prompts))
    page = start(scan, prompts=(tmp_path / "p.json",)).page()
    page.hello()
    assert page.ask("show")["prompts"][0]["boxes"] == [BOX]


def test_noise_does_not_reach_the_page_as_numbers_that_json_lacks(start, tmp_path):
    voxels = image_of(ORGAN).astype(np.float32)
    voxels[0, 0, 0] = np.nan
    page = start(save_nifti(tmp_path / "nan.nii.gz", voxels)).page()
    told = page.hello()["scan"]
    assert np.isfinite(told["range"]).all()
