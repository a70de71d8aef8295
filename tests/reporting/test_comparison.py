"""Several models on one scan: what one cannot do is said, and does not stop the others."""

from __future__ import annotations

import csv
import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

from sammed import api, io
from sammed.cli import main
from sammed.errors import LabelError, SegmentationError
from sammed.imaging.volume import LabelVolume
from sammed.models import registry
from sammed.reporting.comparison import compare_models, draw_comparison, table, truths
from tests.phantoms import ORGAN, SAMPLE, StubModel, dice, organ_volume

SPLEEN = "spleen=99,56,131,97@44"
BOX, WALKER = (partial(registry.build, name) for name in ("box", "random_walker"))


def compared(models, reference=None, volume=None, prompts=None):
    volume = volume or organ_volume()
    objects = prompts or api.gather_prompts(volume, boxes=["organ=9,6,40,29@7"])
    return compare_models(volume, objects, models, reference=reference)


TRUE = {"organ": ORGAN}


def test_each_model_is_scored_and_compared_with_the_others():
    found = compared({"stub": lambda: StubModel(52), "box": BOX}, TRUE)
    stub, box = found.entries
    assert stub.dice == pytest.approx(dice(found.labels["stub"].voxels, ORGAN))
    assert stub.dice > 0.97 > box.dice
    both = dice(found.labels["stub"].voxels, found.labels["box"].voxels)
    assert stub.agreement == box.agreement == pytest.approx(both)
    voxel_ml = float(np.prod(organ_volume().spacing)) / 1000
    assert stub.volume_ml == pytest.approx((found.labels["stub"].voxels > 0).sum() * voxel_ml)


def test_what_a_model_cannot_do_is_in_the_table_and_the_others_go_on():
    found = compared({"stub": lambda: StubModel(52), "random_walker": WALKER})
    assert found.entries[0].volume_ml > 0
    assert found.entries[0].agreement is None
    assert "does not know boxes on slices" in found.entries[1].error
    assert list(found.labels) == ["stub"]
    assert any("does not know boxes" in line for line in table(found))


def test_if_none_finds_anything_that_is_an_error():
    with pytest.raises(SegmentationError, match="no model found anything; random_walker: "):
        compared({"random_walker": WALKER})


def test_the_picture_shows_each_model_beside_the_reference():
    models = {"stub": lambda: StubModel(52), "box": BOX}
    alone, beside = (draw_comparison(compared(models, ref)) for ref in (None, TRUE))
    assert beside.width > 1.4 * alone.width
    pixels = np.asarray(beside).reshape(-1, 3)
    for colour in ((110, 220, 120), (255, 92, 92)):  # outlines of the reference, of the models
        assert (pixels == colour).all(1).any()


def test_a_3d_box_and_points_have_a_place_in_the_picture_too():
    volume = organ_volume()
    session_objects = api.gather_prompts(volume, points=["organ=24,17,7"])
    found = compared({"stub": lambda: StubModel(52)}, prompts=session_objects)
    assert draw_comparison(found).width >= 240


def test_a_reference_is_matched_by_name_or_by_what_is_stated_never_by_chance():
    volume = organ_volume()
    objects = api.gather_prompts(volume, boxes=["organ=9,6,40,29@7"])
    voxels = np.where(ORGAN, 2, 0).astype(np.uint8)
    named = LabelVolume(voxels, volume.grid, {2: "organ"})
    counted = LabelVolume(voxels, volume.grid, {2: "label_2"})
    np.testing.assert_array_equal(truths(named, objects, {})["organ"], ORGAN)
    np.testing.assert_array_equal(truths(counted, objects, {"organ": 2})["organ"], ORGAN)
    for reference, values in ((counted, {}), (named, {"organ": 1})):
        with pytest.raises(LabelError, match=r"is not in the reference.*--label organ=VALUE"):
            truths(reference, objects, values)


@pytest.mark.slow
def test_compare_writes_its_files_whole_and_overwrites_nothing(tmp_path, capsys):
    given = [
        str(SAMPLE / "phantom_ct.nii.gz"),
        *("--box", SPLEEN, "--models", "two_class,ellipse,vit_b"),
        *("--reference", str(SAMPLE / "phantom_labels.nii.gz"), "--label", "spleen=2"),
        *("-o", str(tmp_path / "both")),
    ]
    assert main(["compare", *given, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [e["model"] for e in document["entries"]] == ["two_class", "ellipse", "vit_b"]
    out = tmp_path / "both"
    rows = list(csv.DictReader((out / "comparison.csv").open()))
    assert float(rows[0]["dice"]) > float(rows[1]["dice"]) > 0.5
    assert rows[2]["error"]
    labels = io.read_labels(out / "two_class.nii.gz")
    assert labels.names == {1: "spleen"}
    assert Image.open(out / "comparison.png").width > 400
    assert main(["compare", *given]) == 1
    assert "--force" in capsys.readouterr().err
