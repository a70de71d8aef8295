"""An object may be a structure that the model knows, whatever the client calls it."""

import sys
from pathlib import Path

import numpy as np
import pytest

from sammed.imaging.boxes import Box3D
from sammed.imaging.volume import Volume
from sammed.models.protocols import ModelSpec, VolumeMask
from sammed.models.registry import build
from sammed.session import Session
from sammed.worker.finding import from_names
from tests.worker.conftest import Client, read_array

WORKER = Path(__file__).with_name("slow_worker.py")
BOX = {"axis": 0, "block": [5, 13, 7, 6, 32, 22]}
NAME = "vtkMRMLSegmentationNode1/Segment_1"
DRAWN = {"name": NAME, "boxes": [BOX], "propagate": "off"}


@pytest.fixture
def client(phantom, affine):
    worker = Client(command=[sys.executable, str(WORKER)])
    assert worker.hello()["structure"] is True
    worker.volume(phantom[0], affine)
    told = worker.ask("settings", model="taught.sammed", options={"window": "200/60"})
    assert list(told["structures"]) == ["organ", "Twin", "twin"]
    assert told["tuned"] == ["cyst", "organ"]
    yield worker
    worker.stop()


def put(client, **said):
    answer = client.ask("put", object={**DRAWN, **said})
    assert answer["event"] == "done", answer
    return answer


def segment(client, whole=NAME):
    """(run, number of voxels) of the object."""
    answer = client.ask("segment", whole=[whole])
    assert answer["event"] == "done", answer
    entry = next(one for one in answer["masks"] if one["name"] == whole)
    return answer["runs"][whole], int(np.count_nonzero(read_array(entry["data"])))


def prompts(client):
    return client.ask("objects")["prompts"][0]


@pytest.mark.thorough
def test_who_answers_goes_by_the_structure_that_is_told(client):
    put(client)
    run, box = segment(client)
    assert box == 19 * 15
    assert "structure" not in run
    assert put(client, structure="organ")["stale"] == [NAME]
    run, ellipse = segment(client)
    assert ellipse < 0.85 * box
    assert run["structure"] == "organ"
    assert put(client, structure="")["stale"] == [NAME]
    run, again = segment(client)
    assert again == box
    assert "structure" not in run


def test_a_structure_is_given_back_and_stays_until_another_is_told(client):
    put(client, structure="organ")
    assert prompts(client)["structure"] == "organ"
    assert put(client, structure="organ")["changed"] is False
    put(client, points=[{"at": [5, 22, 14]}])  # by a client that knows nothing of it
    assert prompts(client)["structure"] == "organ"
    put(client, structure="")
    assert prompts(client)["structure"] == ""
    back = client.ask("undo")["prompts"][0]
    assert (back["structure"], len(back["points"])) == ("organ", 1)
    assert client.ask("redo")["prompts"][0]["structure"] == ""


def test_another_name_and_other_settings_keep_it(client):
    put(client, structure="organ")
    client.ask("rename", name=NAME, to="mine")
    assert prompts(client)["structure"] == "organ"
    told = client.ask("settings", model="box", options={"window": "200/60"})
    assert (told["structures"], told["tuned"]) == ({}, [])
    assert prompts(client)["structure"] == "organ"
    run, box = segment(client, "mine")
    assert (box, run.get("structure")) == (19 * 15, None)


def test_without_a_prompt_it_is_found_as_an_object_of_that_name_is(client):
    put(client, boxes=[], propagate="auto", structure="organ")
    run, voxels = segment(client)
    assert run["structure"] == "organ"
    assert voxels == 4 * 12 * 14


@pytest.mark.parametrize("structure", [3, ["organ"], True])
def test_a_structure_that_is_no_text_is_refused(client, structure):
    answer = client.ask("put", object={**DRAWN, "structure": structure})
    assert answer["error"]["code"] == "bad_request"
    assert "'structure' must be a string" in answer["error"]["message"]
    assert client.ask("objects")["objects"] == []


class Looks:
    """Finds the same wherever it looks, and remembers where it looked."""

    spec = ModelSpec(name="looks", structures={"organ": 1})

    def __init__(self):
        self.looked_at = []

    def prompted(self, name):
        return build("box")

    def takes_blocks(self, name):
        return False

    def find(self, image, *, reporter):
        self.looked_at.append(image.volume)
        return {"organ": VolumeMask(Box3D(1, 2, 3, 4, 5, 6), np.ones((3, 3, 3), np.float16), 0.9)}


def test_what_was_looked_for_once_need_not_be_looked_for_again(phantom, affine):
    """A learned model remembers what it found in a volume, by the volume that it was shown."""
    session = Session(Volume.from_array(phantom[0], affine), Looks())
    from_names(session, ["organ"], lambda *_told: None, lambda: False)
    assert session.model.looked_at[0] is session.volume
