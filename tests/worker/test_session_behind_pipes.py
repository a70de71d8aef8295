"""The worker's masks are the session's masks, in the client's own indices."""

import json

import numpy as np
import pytest

from sammed.engine.settings import Settings
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.volume import Volume
from sammed.io import read_labels
from sammed.models.registry import build
from sammed.prompts import BoxPrompt, MaskPrompt, ObjectPrompts, PointPrompt
from sammed.session import Session
from sammed.worker.exchange import Exchange, digest
from sammed.worker.messages import RequestError, parse
from sammed.worker.service import Service
from tests.worker.conftest import read_array

BOX = {"axis": 0, "block": [5, 13, 7, 6, 32, 22]}
ORGAN = {"name": "organ", "boxes": [BOX]}


class Shown:
    """What a client shows: it applies every answer to its own masks."""

    def __init__(self, shape):
        self.shape = shape
        self.masks = {}

    def apply(self, answer):
        assert answer["event"] == "done", answer
        for entry in answer["masks"]:
            k0, j0, i0, k1, j1, i1 = entry["block"]
            if entry["removed"]:
                del self.masks[entry["name"]]
                continue
            if entry["replace"]:
                self.masks[entry["name"]] = np.zeros(self.shape, bool)
            if entry["data"]:
                self.masks[entry["name"]][k0:k1, j0:j1, i0:i1] = read_array(entry["data"])
        return answer


@pytest.fixture
def ready(client, phantom, affine):
    """A worker with the phantom and the two-class floor."""
    client.hello()
    assert client.volume(phantom[0], affine)["known"] is False
    assert client.ask("settings", model="two_class", options={"window": "200/60"})["renewed"]
    return client


def direct(phantom, affine, *objects, **settings):
    """The same through a session in this process."""
    volume = Volume.from_array(phantom[0], affine)
    session = Session(volume, build("two_class"), Settings(window="200/60", **settings))
    for obj in objects:
        session.put(obj)
    session.segment()
    return session


@pytest.mark.thorough
def test_one_box_gives_the_sessions_mask(ready, phantom, affine):
    shown = Shown(phantom[1].shape)
    assert ready.ask("put", object=ORGAN)["objects"] == ["organ"]
    answer = shown.apply(ready.ask("segment"))

    # canonical axes of this affine: k stays z, j stays y, i is flipped
    box = Box2D(13, 41 - 22, 32, 41 - 7)
    session = direct(phantom, affine, ObjectPrompts("organ", boxes=(BoxPrompt(0, 5, box),)))
    assert session.volume.grid.reorientation.flips == (False, False, True)
    assert np.array_equal(shown.masks["organ"], session.object_mask("organ")[:, :, ::-1])
    both = 2 * np.count_nonzero(shown.masks["organ"] & phantom[1])
    assert both / (shown.masks["organ"].sum() + phantom[1].sum()) > 0.9
    block = Box3D(*answer["changed"])
    assert Box3D.from_mask(shown.masks["organ"]) == block

    run = answer["runs"]["organ"]
    assert (run["plane"], run["axis"], run["prompted"]) == ("axial", 0, [5])
    record = next(r for r in run["slices"] if r["index"] == 5)
    k, j, i = record["centroid"]
    assert (k, round(j), round(i)) == (5, 22, 14)
    assert [s["index"] for s in run["stops"]] == [block.z0, block.z1 - 1]
    assert all(stop["text"] for stop in run["stops"])
    assert answer["window"].startswith("200/60")


def test_an_edit_sends_only_what_changed_and_undo_takes_it_back(ready, phantom):
    shown = Shown(phantom[1].shape)
    ready.ask("put", object=ORGAN)
    shown.apply(ready.ask("segment"))
    before = shown.masks["organ"].copy()

    painted = phantom[1][7:8, 18:30, 9:20].astype(np.uint8)
    painted[0, 0] = 0
    mask = [{"block": [7, 18, 9, 8, 30, 20], "data": ready.array(painted, "painted.raw")}]
    assert ready.ask("put", object={**ORGAN, "mask": mask})["changed"]
    assert not (ready.exchange / "painted.raw").exists()
    answer = shown.apply(ready.ask("segment"))
    assert answer["changed"][0] >= 5  # slices before the box are not touched
    assert np.array_equal(shown.masks["organ"][7, 18:30, 9:20], painted[0].astype(bool))
    after = shown.masks["organ"].copy()

    undone = shown.apply(ready.ask("undo"))
    assert np.array_equal(shown.masks["organ"], before)
    assert undone["prompts"][0]["mask"] is None
    assert undone["can_redo"]
    redone = shown.apply(ready.ask("redo"))
    assert np.array_equal(shown.masks["organ"], after)
    assert redone["prompts"][0]["mask"][0] == 7


def test_points_and_limits_mean_the_clients_own_voxels(ready, phantom, affine):
    shown = Shown(phantom[1].shape)
    asked = {
        "name": "organ",
        "label": 3,
        "boxes": [BOX],
        "blocks": [{"block": [3, 10, 5, 8, 34, 25]}],
        "points": [{"at": [5, 22, 14]}, {"at": [5, 14, 21], "positive": False}],
        "propagate": "auto",
        "candidate": 0,
    }
    assert ready.ask("put", object=asked)["event"] == "done"
    shown.apply(ready.ask("segment"))
    told = ready.ask("objects")["prompts"][0]
    assert told["label"] == 3
    assert told["boxes"] == [BOX]
    assert told["blocks"] == asked["blocks"]
    assert told["points"] == [{"at": [5, 22, 14], "positive": True}, asked["points"][1]]
    found = np.flatnonzero(shown.masks["organ"].any(axis=(1, 2)))
    assert (found[0], found[-1]) == (3, 7)
    session = direct(
        phantom,
        affine,
        ObjectPrompts(
            "organ",
            3,
            (BoxPrompt(0, 5, Box2D(13, 19, 32, 34)),),
            (Box3D(3, 10, 16, 8, 34, 36),),
            (PointPrompt((5, 22, 26)), PointPrompt((5, 14, 19), False)),
        ),
    )
    assert np.array_equal(shown.masks["organ"], session.object_mask("organ")[:, :, ::-1])


def test_a_mask_alone_is_a_prompt(ready, phantom, affine):
    shown = Shown(phantom[1].shape)
    slices = phantom[1][4:6].astype(np.uint8)
    part = {"block": [4, 0, 0, 6, 37, 41], "data": ready.array(slices)}
    ready.ask("put", object={"name": "organ", "mask": [part]})
    shown.apply(ready.ask("segment"))
    painted = np.zeros_like(phantom[1])
    painted[4:6] = phantom[1][4:6]
    session = direct(
        phantom, affine, ObjectPrompts("organ", mask=MaskPrompt(painted[:, :, ::-1].copy()))
    )
    assert np.array_equal(shown.masks["organ"], session.object_mask("organ")[:, :, ::-1])


def test_objects_may_overlap_or_be_resolved(ready, phantom):
    other = {"name": "other", "boxes": [{"axis": 0, "block": [5, 18, 10, 6, 36, 30]}]}
    shown = Shown(phantom[1].shape)
    ready.ask("put", object=ORGAN)
    ready.ask("put", object=other)
    shown.apply(ready.ask("segment"))
    assert (shown.masks["organ"] & shown.masks["other"]).any()
    mine = shown.masks["organ"].copy()

    ready.ask("settings", model="two_class", masks="resolved", options={"window": "200/60"})
    shown.apply(ready.ask("segment"))
    assert not (shown.masks["organ"] & shown.masks["other"]).any()
    assert np.array_equal(shown.masks["organ"], mine)  # overlap "keep": the first keeps its own

    answer = shown.apply(ready.ask("remove", name="organ"))
    assert answer["objects"] == ["other"]
    shown.apply(ready.ask("segment"))
    assert list(shown.masks) == ["other"]
    shown.apply(ready.ask("undo"))
    assert np.array_equal(shown.masks["organ"], mine)


def test_the_same_prompts_again_are_no_step(ready):
    ready.ask("put", object=ORGAN)
    ready.ask("segment")
    again = ready.ask("put", object=ORGAN)
    assert again["changed"] is False
    assert ready.ask("segment")["masks"] == []
    ready.ask("undo")
    assert ready.ask("undo")["error"]["code"] == "nothing_to_undo"


def test_a_client_that_lost_a_mask_gets_it_in_full(ready, phantom):
    shown = Shown(phantom[1].shape)
    ready.ask("put", object=ORGAN)
    shown.apply(ready.ask("segment"))
    mask = shown.masks.pop("organ")
    answer = shown.apply(ready.ask("segment", whole=["organ", "unknown"]))
    assert answer["masks"][0]["replace"]
    assert np.array_equal(shown.masks["organ"], mask)


def test_a_volume_is_sent_once_and_sessions_are_kept(ready, phantom, affine):
    ready.ask("put", object=ORGAN)
    other = np.ascontiguousarray(phantom[0][:, ::-1])
    assert ready.volume(other, affine)["known"] is False
    assert ready.ask("segment")["error"]["code"] == "no_settings"
    ready.ask("settings", model="box")
    assert ready.ask("objects")["objects"] == []

    known = ready.volume(phantom[0], affine)
    assert known["known"] is True
    assert known["objects"] == ["organ"]
    turned = affine.copy()
    turned[0, 3] += 1
    assert ready.volume(phantom[0], turned)["known"] is False


def test_a_volume_without_its_voxels_is_asked_for(client, phantom, affine):
    client.hello()
    answer = client.ask(
        "volume", hash="0" * 64, shape=[11, 37, 41], dtype="<i2", affine=affine.tolist()
    )
    assert answer["known"] is False
    assert client.ask("put", object=ORGAN)["error"]["code"] == "no_volume"


def test_new_settings_keep_the_prompts(ready, phantom):
    shown = Shown(phantom[1].shape)
    ready.ask("put", object=ORGAN)
    shown.apply(ready.ask("segment"))
    answer = ready.ask("settings", model="box")
    assert answer["renewed"]
    assert answer["objects"] == ["organ"]
    shown.apply(ready.ask("segment"))
    assert shown.masks["organ"][5, 13:32, 7:22].all()
    assert not ready.ask("settings", model="box")["renewed"]


@pytest.mark.thorough
def test_saving_writes_the_clients_grid(ready, phantom, affine, tmp_path):
    shown = Shown(phantom[1].shape)
    ready.ask("put", object={**ORGAN, "label": 4})
    shown.apply(ready.ask("segment"))
    path = tmp_path / "organ.nii.gz"
    assert ready.ask("save", path=str(path))["path"] == str(path)
    labels = read_labels(path)
    np.testing.assert_allclose(labels.grid.affine, affine, atol=1e-4)
    assert np.array_equal(labels.file_array() == 4, shown.masks["organ"])
    again = ready.ask("save", path=str(path))
    assert again["error"]["kind"] == "OutputError"
    assert ready.ask("save", path=str(path), force=True)["event"] == "done"


def test_answers_last_until_the_next_request(ready):
    ready.ask("put", object=ORGAN)
    entry = ready.ask("segment")["masks"][0]
    assert read_array(entry["data"]).any()
    ready.ask("objects")
    assert sorted(p.name for p in ready.exchange.iterdir()) == ["volume.raw"]
    ready.ask("close")
    assert list(ready.exchange.iterdir()) == []


def events(client, **fields):
    """All lines of a ``segment`` request but the progress."""
    request = client.send("segment", **fields)
    lines = []
    while not lines or lines[-1]["event"] == "partial":
        line = client.next()
        assert line["id"] == request
        if line["event"] != "progress":
            lines.append(line)
    return lines


def test_the_prompted_slice_comes_first_if_it_is_wanted(ready, phantom):
    shown = Shown(phantom[1].shape)
    ready.ask("put", object=ORGAN)
    partial, answer = events(ready, partial=True)
    assert (partial["name"], partial["axis"], partial["index"]) == ("organ", 0, 5)
    shown.apply(answer)
    k0, j0, i0, k1, j1, i1 = partial["block"]
    assert (k0, k1) == (5, 6)
    early = np.zeros_like(shown.masks["organ"])
    early[k0:k1, j0:j1, i0:i1] = read_array(partial["data"])
    assert np.array_equal(early[5], shown.masks["organ"][5])

    ready.ask("put", object={**ORGAN, "points": [{"at": [7, 14, 14], "positive": False}]})
    partial, answer = events(ready, partial=True)
    assert partial["index"] == 7
    before = shown.masks["organ"].copy()
    shown.apply(answer)  # told against the last answer, whatever the partial line said
    assert not np.array_equal(shown.masks["organ"], before)
    assert [line["event"] for line in events(ready, partial=True)] == ["done"]


def test_no_slice_comes_first_unasked_or_where_it_is_not_known(ready):
    ready.ask("put", object=ORGAN)
    assert [line["event"] for line in events(ready)] == ["done"]
    settings = {"model": "two_class", "masks": "resolved"}
    for more in (settings, {"model": "two_class", "options": {"plane": "all"}}):
        ready.ask("settings", **more)
        ready.ask("put", object={**ORGAN, "boxes": [{"axis": 0, "block": [6, 13, 7, 7, 32, 22]}]})
        assert [line["event"] for line in events(ready, partial=True)] == ["done"]


def test_an_answer_that_could_not_be_written_is_not_taken_for_told(tmp_path, phantom, affine):
    class Full(Exchange):
        room = True

        def write(self, array):
            if not self.room:
                raise RequestError("disk_full", "no room")
            return super().write(array)

    exchange = Full(tmp_path)
    service = Service(exchange)

    def ask(do, **fields):
        request = parse(json.dumps({"id": 1, "do": do, **fields}).encode())
        return service.handle(request, lambda *_: None, lambda: False)

    ask("hello", protocol=1)
    path = exchange.folder / "volume.raw"
    phantom[0].tofile(path)
    described = {"dtype": "<i2", "shape": list(phantom[0].shape)}
    ask(
        "volume",
        hash=digest(phantom[0]),
        affine=affine.tolist(),
        data={"path": str(path), **described},
        **described,
    )
    ask("settings", model="two_class")
    ask("put", object=ORGAN)
    exchange.room = False
    with pytest.raises(RequestError, match="no room"):
        ask("segment")
    exchange.room = True
    assert read_array(ask("segment")["masks"][0]["data"]).any()
    service.close()
