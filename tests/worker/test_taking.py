"""What other scans show of the one in hand: taken, compared, seen beside; sent by the client."""

from __future__ import annotations

import numpy as np
import pytest

from sammed import io
from sammed.io.terminology import known_names
from tests.examples.scans import body, dice, only, without
from tests.examples.test_followup import scan as lesions
from tests.worker.conftest import read_array

pytestmark = pytest.mark.thorough


def stored(volume):
    """A volume's array and affine as its file has them."""
    grid = volume.grid
    return grid.reorientation.invert(volume.voxels).copy(), grid.affine


def ready(client, volume, model="ellipse", **fields):
    client.hello()
    client.volume(*stored(volume), **fields)
    assert client.ask("settings", model=model)["event"] == "done"


def sent(client, volume, labels, name="a"):
    """A labelled scan that the client sends instead of naming files."""
    array, affine = stored(volume)
    drawn = volume.grid.reorientation.invert(labels.voxels).copy()
    names = {str(value): called for value, called in labels.names.items()}
    return {
        "name": name,
        "affine": affine.tolist(),
        "data": client.array(array, f"{name}.raw"),
        "labels": {"data": client.array(drawn, f"{name}-labels.raw"), "names": names},
    }


def mask_of(line, volume):
    mask = np.zeros(stored(volume)[0].shape, bool)
    k0, j0, i0, k1, j1, i1 = line["block"]
    mask[k0:k1, j0:j1, i0:i1] = read_array(line["data"]) > 0
    return volume.grid.reorientation.apply(mask)


def test_a_labelled_scan_that_is_sent_shows_what_there_is_and_what_is_missing(client):
    new, (example, drawn) = without(7, "kidney_left"), body(12)
    ready(client, new)
    one = sent(client, example, only(drawn, "liver", "kidney_left"))
    told = client.ask("take", examples=[one], aside=True)
    assert told["event"] == "done", told
    found = {line["name"]: line for line in told["found"]}
    assert dice(mask_of(found["liver"], new), body(7)[1].voxels == 1) > 0.85
    assert found["liver"]["label"] == 1
    assert found["liver"]["by"] == "a"
    assert "stands out" in found["kidney_left"]["missing"]
    assert "data" not in found["kidney_left"]
    assert told["objects"] == []  # aside: the session is as it was
    assert not told["can_undo"]
    assert not [p.name for p in client.exchange.glob("a*.raw") if "answer" not in p.name]  # removed


def test_what_is_taken_is_one_step_and_replaces_nothing_unasked(client, tmp_path):
    (new, truth), (example, drawn) = body(7), body(12)
    ready(client, new)
    io.write_volume(example, tmp_path / "a.nii.gz")
    io.write_labels(only(drawn, "liver", "spleen"), tmp_path / "a_labels.nii.gz")
    pair = f"{tmp_path / 'a.nii.gz'},{tmp_path / 'a_labels.nii.gz'}"
    client.ask(
        "put", object={"name": "liver", "boxes": [{"axis": 0, "block": [9, 9, 9, 10, 20, 20]}]}
    )
    before = client.ask("objects")["prompts"]
    told = client.ask("take", examples=[pair])
    assert [line.get("left_alone") for line in told["found"]] == [True, None]
    assert told["objects"] == ["liver", "spleen"]
    assert client.ask("objects")["prompts"][0] == before[0]
    assert client.ask("undo")["objects"] == ["liver"]
    told = client.ask("take", examples=[pair], objects=["Leber"], replace=["liver"])
    assert [line["name"] for line in told["found"]] == ["liver"]
    mask = next(m for m in client.ask("segment")["masks"] if m["name"] == "liver")
    assert dice(mask_of(mask, new), truth.voxels == 1) > 0.85


def test_a_name_that_nothing_knows_is_refused_in_words(client):
    ready(client, body(7)[0])
    answer = client.ask("take", objects=["left kidney"])
    assert answer["error"]["code"] == "refused"
    assert "without an example there is nothing" in answer["error"]["message"]
    assert "left kidney" in answer["error"]["message"]
    assert "left kidney" not in known_names()  # the table has the organ and the side


@pytest.mark.parametrize(
    ("do", "fields", "message"),
    [
        ("take", {}, "expected 'examples', 'objects' or both"),
        ("take", {"examples": "a"}, "'examples' must be a list"),
        ("take", {"examples": [3]}, "expected a text, or an image with its labels"),
        ("take", {"examples": [{"name": "a"}]}, "'labels'"),
        ("take", {"examples": ["/nowhere"]}, "there is no folder of examples"),
        ("follow_up", {}, "expected 'earlier'"),
        ("follow_up", {"earlier": "a,b", "days": -1}, "'days' must be a number from 0"),
        ("channels", {"channels": [{"name": " "}]}, "needs a name"),
        ("channels", {"name": "a", "channels": [{"name": "a"}]}, "two channels are called 'a'"),
    ],
)
def test_what_cannot_be_understood_is_said(client, phantom, affine, do, fields, message):
    client.hello()
    client.volume(phantom[0], affine)
    client.ask("settings", model="ellipse")
    answer = client.ask(do, **fields)
    assert answer["event"] == "error"
    assert message in answer["error"]["message"]


def test_labels_of_another_shape_or_kind_are_refused(client, phantom, affine):
    client.hello()
    client.volume(phantom[0], affine)
    client.ask("settings", model="ellipse")
    for drawn, message in (
        (np.ones((2, 3, 4), np.uint8), "is not the image's"),
        (np.ones(phantom[0].shape, np.float32), "labels are whole numbers"),
        (-np.ones(phantom[0].shape, np.int8), "labels are whole numbers"),
    ):
        one = {
            "name": "a",
            "affine": affine.tolist(),
            "data": client.array(phantom[0], "a.raw"),
            "labels": {"data": client.array(drawn, "labels.raw")},
        }
        answer = client.ask("take", examples=[one])
        assert message in answer["error"]["message"]


def test_lesions_are_compared_with_an_earlier_scan(client):
    then, drawn = lesions((8, 8, 7), 1)
    now, truth = lesions((9.5, 6.5, 0), 2, shift=2)
    ready(client, now)
    told = client.ask("follow_up", earlier=sent(client, then, drawn, "then"), days=60, aside=True)
    assert told["event"] == "done", told
    rows = {row["name"]: row for row in told["table"]["rows"]}
    assert {n: row["state"] for n, row in rows.items()} == {
        "lesion 1": "there",
        "lesion 2": "there",
        "lesion 3": "gone",
    }
    assert told["table"]["days"] == 60
    grown, shrunk = rows["lesion 1"], rows["lesion 2"]
    assert grown["percent"] > 40
    assert grown["doubling_days"] > 0 > shrunk["doubling_days"]
    found = {line["name"]: line for line in told["found"]}
    assert (found["lesion 1"]["label"], found["lesion 2"]["label"]) == (10, 20)
    assert "gone" in found["lesion 3"]["missing"]
    block = found["lesion 1"]["block"]
    assert all(block[a] <= grown["at"][a] < block[a + 3] for a in range(3))
    assert told["objects"] == []
    assert dice(mask_of(found["lesion 1"], now), truth.voxels == 10) > 0.8


def test_channels_are_joined_and_taken_away_again(client, phantom, affine):
    voxels, organ = phantom
    client.hello()
    client.volume(voxels, affine)
    client.ask("settings", model="compact")
    flat = np.random.default_rng(3).normal(20, 8, organ.shape).astype(np.int16)
    flat[2:8, 5:12, 25:35] += 100
    channel = {"affine": affine.tolist(), "data": client.array(flat, "other.raw")}
    told = client.ask("channels", name="art", align="header", channels=[{"name": "ven", **channel}])
    assert told["event"] == "done", told
    assert told["channels"][0]["said"] == "left where its header has it"
    box = {"axis": 0, "block": [5, 13, 7, 6, 32, 22]}
    client.ask("put", object={"name": "organ", "boxes": [box]})
    run = client.ask("segment")["runs"]["organ"]
    assert set(run["channels"]) == {"art", "ven"}
    assert 0 <= run["agreement"] <= 1
    assert run["channels"]["art"]["weight"] > run["channels"]["ven"]["weight"]  # no border there
    again = client.volume(voxels, affine)
    assert again["channels"] == ["ven"]
    alone = client.ask("channels", channels=[])
    assert alone["channels"] == []
    assert alone["objects"] == ["organ"]
    assert "channels" not in client.ask("segment")["runs"]["organ"]


def test_a_channel_elsewhere_is_refused_and_the_volume_stays_as_it_was(client, phantom, affine):
    client.hello()
    client.volume(phantom[0], affine)
    client.ask("settings", model="ellipse")
    far = affine.copy()
    far[0, 3] += 900
    channel = {"name": "ven", "affine": far.tolist(), "data": client.array(phantom[0], "c.raw")}
    answer = client.ask("channels", align="header", channels=[channel])
    assert answer["error"]["code"] == "refused"
    assert client.volume(phantom[0], affine)["channels"] == []


def test_examples_look_at_the_volume_without_its_channels(client):
    (new, _), (example, drawn) = body(7), body(12)
    ready(client, new)
    array, affine = stored(new)
    channel = {"name": "b", "affine": affine.tolist(), "data": client.array(array, "b.raw")}
    client.ask("channels", align="none", channels=[channel])
    told = client.ask("take", examples=[sent(client, example, only(drawn, "liver"))], aside=True)
    assert told["found"][0]["ml"] > 500
