"""What nobody prompted becomes objects of the session behind the pipes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.worker.conftest import read_array

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


def test_things_told_aside_come_with_their_voxels_and_leave_the_session_alone(client, phantom):
    ready(client, phantom)
    told = client.ask("propose", max=2, within="image", aside=True)
    assert (told["objects"], told["can_undo"]) == ([], False)
    best = told["things"][0]
    mask = np.zeros(phantom[1].shape, bool)
    k0, j0, i0, k1, j1, i1 = best["block"]
    mask[k0:k1, j0:j1, i0:i1] = read_array(best["data"]) > 0
    shared = np.count_nonzero(mask & phantom[1])
    assert 2 * shared / (mask.sum() + phantom[1].sum()) > 0.85


def test_what_makes_no_sense_is_said(client, phantom):
    ready(client, phantom)
    for fields, message in (
        ({"within": "head"}, "'within' must be"),
        ({"min_ml": "much"}, "'min_ml' must be a number"),
        ({"like": ["liver"]}, "no object is called 'liver'"),
        ({"max": 0}, "at most 0 things"),
    ):
        answer = client.ask("propose", **fields)
        assert answer["event"] == "error", fields
        assert message in str(answer)
