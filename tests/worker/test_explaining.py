"""The worker's client names other scans that explain the one in hand."""

from __future__ import annotations

import pytest

from sammed import io
from tests.examples.scans import body

pytestmark = pytest.mark.thorough


@pytest.fixture
def study(tmp_path):
    """An example on the disk, as a client names it."""
    volume, labels = body(41)
    io.write_volume(volume, tmp_path / "a.nii.gz")
    io.write_labels(labels, tmp_path / "a_labels.nii.gz")
    return tmp_path


def ready(client):
    volume = body(40)[0]
    client.hello()
    array, affine = volume.grid.reorientation.invert(volume.voxels), volume.grid.affine
    client.volume(array.copy(), affine)


def test_examples_give_objects_without_a_prompt(client, study):
    ready(client)
    pair = f"{study / 'a.nii.gz'},{study / 'a_labels.nii.gz'}"
    told = client.ask(
        "settings", model="ellipse", explain={"examples": [pair], "objects": ["Milz"]}
    )
    assert told["structures"] == {"spleen": 2}
    assert client.ask("put", object={"name": "spleen"})["event"] == "done"
    done = client.ask("segment")
    assert done["explained"]["examples"][0]["example"] == "a"
    assert done["explained"]["objects"]["spleen"]["missing"] is None
    assert [mask["name"] for mask in done["masks"]] == ["spleen"]


@pytest.mark.parametrize(
    ("explain", "message"),
    [
        ({}, "expected either 'examples'"),
        ({"examples": ["a"], "prior": "a,b"}, "expected either 'examples'"),
        ({"example": ["a"]}, "no field 'example'"),
        ({"prior": "a,b", "days": -1}, "'days' must be a number from 0"),
        ({"examples": ["/nowhere"]}, "there is no folder of examples"),
    ],
)
def test_what_cannot_be_understood_is_said(client, explain, message):
    ready(client)
    answer = client.ask("settings", model="ellipse", explain=explain)
    assert answer["event"] == "error"
    assert message in str(answer)
