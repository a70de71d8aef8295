from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from sammed.engine.settings import Settings
from sammed.imaging import geometry
from sammed.imaging.boxes import Box2D
from sammed.imaging.volume import Volume
from sammed.prompts import BoxPrompt, MaskPrompt, ObjectPrompts, PointPrompt
from sammed.prompts.files import read_prompts
from sammed.reporting.run_report import (
    describe_geometry,
    prompt_document,
    run_report,
    worst_slices,
)
from sammed.session import Session
from tests.phantoms import (
    OBLIQUE,
    ORGAN,
    ORGAN_SHAPE,
    StubModel,
    image_of,
    in_all_orders,
    reordered,
    slice_box,
)

# A file whose i is -y, j is z and k is -x
STORED, AFFINE = reordered(image_of(ORGAN), OBLIQUE, (2, 0, 1), (-1, 1, -1))
VOLUME = Volume.from_array(
    STORED, AFFINE, modality="CT", source=Path("ct.nii.gz"), notes=("read with care",)
)


@pytest.fixture(scope="module")
def session() -> Session:
    made = Session(VOLUME, StubModel(52, engine="openvino"), Settings(overlap="score"))
    made.put(
        ObjectPrompts("organ", 5, boxes=(slice_box(ORGAN, 8),), points=(PointPrompt((9, 17, 24)),))
    )
    made.put(ObjectPrompts("none", boxes=(BoxPrompt(0, 0, Box2D(1, 2, 6, 9)),)))
    made.segment()
    return made


@pytest.fixture(scope="module")
def report(session: Session) -> dict:
    document = run_report(
        session, session.result(), output=Path("out.nii.gz"), timings={"read": 0.25}
    )
    assert json.loads(json.dumps(document)) == document
    return document


def test_where_it_came_from(report, session):
    told = report["input"]
    assert report["format"] == "sammed-report/1"
    assert told["source"] == "ct.nii.gz"
    assert told["voxels_sha256"] == session.volume_hash
    assert told["modality"] == "CT"
    assert told["notes"] == ["read with care"]
    assert report["output"] == "out.nii.gz"


def test_the_geometry_is_the_files(report):
    told = report["input"]
    assert told["shape_ijk"] == [40, 17, 52]
    np.testing.assert_allclose(told["spacing_mm_ijk"], [0.8, 2.5, 0.7])
    ras = geometry.affine_to_ras(AFFINE)
    np.testing.assert_allclose(told["affine_ijk_to_ras"], ras)
    assert told["orientation_ijk"] == "".join(nibabel.aff2axcodes(ras))


def test_geometry_in_all_orders():
    for volume in in_all_orders(image_of(ORGAN)):
        told = describe_geometry(volume)
        affine = np.array(told["affine_ijk_to_ras"])
        assert told["orientation_ijk"] == "".join(nibabel.aff2axcodes(affine))
        np.testing.assert_allclose(
            told["spacing_mm_ijk"], nibabel.affines.voxel_sizes(affine), atol=1e-6
        )
        assert tuple(told["shape_ijk"]) == volume.grid.shape[::-1]


def test_how_it_was_done(report):
    assert report["window"] == {"low": -160, "high": 240, "name": "soft-tissue"}
    assert report["model"]["name"] == "stub"
    assert report["model"]["weights_hash"] == "5" * 64
    assert report["model"]["engine"] == "openvino"
    assert report["settings"]["overlap"] == "score"
    assert report["settings"]["rules"]["max_growth"] > 1
    assert report["timings_s"]["read"] == 0.25
    assert {"window", "render", "encode", "decode", "propagate"} <= set(report["timings_s"])
    assert report["counts"]["encode"] > 0
    assert report["machine"]["python"]


def test_what_became_of_each_object(report, session):
    organ, none = report["objects"]
    assert (organ["name"], organ["label"], organ["plane"]) == ("organ", 5, "axial")
    assert organ["error"] is None
    volume = np.count_nonzero(session.object_mask("organ")) * 2.5 * 0.8 * 0.7 / 1000
    assert organ["volume_ml"] == pytest.approx(volume, abs=1e-4)
    assert "nothing was segmented for 'none'" in none["error"]
    assert none["slices"] == none["stops"] == none["look_first"] == []


def test_slices_are_named_in_the_files_indices(report, session):
    organ = report["objects"][0]
    run = session.runs["organ"]
    assert [s["axis"] for s in organ["slices"]] == ["j"] * len(run.slices)
    assert [s["j"] for s in organ["slices"]] == [r.index for r in run.slices]  # z runs along j
    by_slice = {s["j"]: s for s in organ["slices"]}
    assert by_slice[8]["prompt"] == "box"
    assert by_slice[9]["prompt"] == "box + mask + points"
    records = {r.index: r for r in run.slices}
    assert by_slice[8]["predicted_iou"] == round(records[8].predicted_iou, 4) > 0.9
    assert by_slice[8]["retries"] == 0
    mask = VOLUME.grid.reorientation.invert(session.object_mask("organ"))  # (k, j, i)
    for index, told in by_slice.items():
        k, i = (float(v.mean()) for v in np.nonzero(mask[:, index]))
        np.testing.assert_allclose(told["centroid_ijk"], [i, index, k], atol=0.006)
        assert told["area_mm2"] == pytest.approx(mask[:, index].sum() * 0.8 * 0.7, abs=0.006)


def test_stops_are_named_in_the_files_indices(report, session):
    stops = report["objects"][0]["stops"]
    filled = np.flatnonzero(session.object_mask("organ").any(axis=(1, 2)))
    assert [(s["axis"], s["j"], s["direction"]) for s in stops] == [
        ("j", filled[0], -1),
        ("j", filled[-1], 1),
    ]
    assert {s["reason"] for s in stops} == {"empty"}
    assert all(s["text"] for s in stops)


def test_slices_to_look_at_first():
    records = [
        {"k": k, "axis": "k", "predicted_iou": iou, "neighbour_iou": near}
        for k, iou, near in [(1, 0.9, 0.9), (2, 0.4, 0.9), (3, 0.9, 0.1), (4, 1, 1), (5, 0.8, 1)]
    ]
    assert [r["k"] for r in worst_slices(records, 3)] == [3, 2, 5]


def test_the_prompts_replay_the_run(report, session, tmp_path):
    path = tmp_path / "p.json"
    path.write_text(json.dumps(report["prompts"]))
    again = tuple(read_prompts(path, VOLUME, lambda *_: np.zeros(1, bool)))
    assert again == session.objects
    other = Session(VOLUME, StubModel(52))
    for obj in again:
        other.put(obj)
    other.segment()
    np.testing.assert_array_equal(other.result().voxels, session.result().voxels)


@pytest.mark.parametrize("suffix", ["", "#3"])
def test_masks_are_named_relative_to_the_prompt_file(tmp_path, suffix):
    source = tmp_path / "painted" / "m.nii.gz"
    mask = np.zeros(ORGAN_SHAPE, bool)
    mask[8] = ORGAN[8]
    made = Session(VOLUME, StubModel(52))
    made.put(ObjectPrompts("organ", mask=MaskPrompt(mask, f"{source}{suffix}")))
    folder = tmp_path / "results"
    folder.mkdir()
    (entry,) = prompt_document(made, folder)["objects"]
    assert entry["mask"] == f"../painted/m.nii.gz{suffix}"
    (entry,) = prompt_document(made)["objects"]
    assert entry["mask"] == f"{source}{suffix}"
    path = folder / "p.json"
    path.write_text(json.dumps(prompt_document(made, folder)))
    asked = []

    def reader(file: Path, value: int | None) -> np.ndarray:
        asked.append((file.resolve(), value))
        return mask

    read_prompts(path, VOLUME, reader)
    assert asked == [(source.resolve(), 3 if suffix else None)]


def test_a_volume_from_memory_has_no_source():
    made = Session(Volume.from_array(image_of(ORGAN), OBLIQUE), StubModel(52))
    made.put(ObjectPrompts("organ", boxes=(slice_box(ORGAN, 8),)))
    made.segment()
    told = run_report(made, made.result())
    assert told["input"]["source"] is None
    assert told["output"] is None
    assert json.loads(json.dumps(told)) == told


def test_notes_on_prompts_and_window_are_recorded(session):
    made = run_report(session, session.result(), notes=("a point is negative",))
    assert made["notes"] == ["a point is negative"]
