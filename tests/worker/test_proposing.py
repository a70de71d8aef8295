"""What nobody prompted becomes objects of the session behind the pipes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("skimage", reason="everything mode needs scikit-image, the extra 'everything'")

pytestmark = pytest.mark.thorough

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])[[2, 1, 0, 3]]


def ready(client, phantom):
    client.hello()
    client.volume(phantom[0], AFFINE)
    assert client.ask("settings", model="compact")["event"] == "done"


def test_things_become_objects_that_can_be_segmented_and_undone(client, phantom):
    ready(client, phantom)
    told = client.ask("propose", max=2, within="image")
    assert told["event"] == "done"
    names = [thing["name"] for thing in told["things"]]
    assert told["objects"] == names == told["stale"]
    k, j, i = np.nonzero(phantom[1])
    block = told["things"][0]["block"]
    assert block == pytest.approx([k.min(), j.min(), i.min(), k.max(), j.max(), i.max()], abs=3)
    assert client.ask("segment")["runs"][names[0]]["error"] == ""
    again = client.ask("propose", max=1, within=[0, 0, 0, 11, 37, 41], like=[names[0]])
    assert again["things"][0]["name"] not in names
    assert client.ask("undo")["objects"] == names


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"within": "head"}, "'within' must be"),
        ({"min_ml": "much"}, "'min_ml' must be a number"),
        ({"like": ["liver"]}, "no object is called 'liver'"),
        ({"max": 0}, "at most 0 things"),
    ],
)
def test_what_makes_no_sense_is_said(client, phantom, fields, message):
    ready(client, phantom)
    answer = client.ask("propose", **fields)
    assert answer["event"] == "error"
    assert message in str(answer)
