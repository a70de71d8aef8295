"""A model with a memory and a model of volumes, installed by name: command line and worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from sammed.models.contract import ContractError, check_model
from tests.phantoms import ORGAN, ROOT, STRAIGHT, StubModel, dice, image_of, save_nifti
from tests.stubs import StubTracker, StubVolumeModel
from tests.worker.conftest import Client, read_array

KINDS = ("tracker", "whole")
MODULE = """
import time
from sammed.models.entry import ModelEntry
from tests.stubs import StubTracker, StubVolumeModel, StubVolumeState

def tracker(request):
    return StubTracker(name="tracker")

def whole(request):
    return StubVolumeModel()

def slow(request):
    model = StubVolumeModel(name="slow")
    opened = model.open
    def open_slowly(image):
        state = opened(image)
        state.steps = 10_000_000
        return state
    model.open = open_slowly
    return model

ENTRIES = [
    ModelEntry(make.__name__, "for tests", "MIT", make, uses_torch=False)
    for make in (tracker, whole, slow)
]
"""
LOW, HIGH = np.argwhere(ORGAN).min(0), np.argwhere(ORGAN).max(0) + 1


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of programs that find the package with both models installed."""
    about = tmp_path / "site" / "kinds-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: kinds\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[sammed.models]\nkinds = kinds_of_models:ENTRIES\n")
    (tmp_path / "site" / "kinds_of_models.py").write_text(MODULE)
    return {**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{ROOT}"}


@pytest.fixture
def client(environment: dict[str, str]) -> Iterator[Client]:
    worker = Client(environment=environment)
    worker.hello()
    worker.volume(image_of(ORGAN), STRAIGHT, modality="CT")
    yield worker
    worker.stop()


def told(answer: dict) -> np.ndarray:
    """The whole mask of an answer that tells one object in full."""
    assert answer["event"] == "done", answer
    (entry,) = answer["masks"]
    mask = np.zeros(ORGAN.shape, bool)
    k0, j0, i0, k1, j1, i1 = entry["block"]
    mask[k0:k1, j0:j1, i0:i1] = read_array(entry["data"])
    return mask


@pytest.mark.parametrize("model", [StubTracker(), StubVolumeModel()])
def test_they_keep_the_contract(model):
    check_model(model)


class Misspelt(StubModel):
    def begin(self, length):
        return ()

    def remeber(self, memory, index, embedding, mask, *, prompted):
        return memory

    def track(self, memory, index, embedding, *, direction):
        raise NotImplementedError


class Forgetful(StubTracker):
    """Keeps one list for all memories."""

    def begin(self, length):
        return []

    def remember(self, memory, index, embedding, mask, *, prompted):
        memory[:] = super().remember(tuple(memory), index, embedding, mask, prompted=prompted)[-1:]
        return memory


class Short(StubTracker):
    def track(self, memory, index, embedding, *, direction):
        answer = super().track(memory, index, embedding, direction=direction)
        return replace(answer, low_res_logits=answer.low_res_logits[0])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Misspelt(64), "lacks remember; expected all of begin, remember and track"),
        (Forgetful(), "remember changes the memory"),
        (Short(), "low_res_logits are of shape"),
        (StubTracker(zoom=1.5), "sees whole slices"),
    ],
)
def test_the_contract_sees_what_is_amiss_with_a_memory(model, message):
    with pytest.raises(ContractError, match=message):
        check_model(model)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_the_command_line_segments_and_reports(kind, environment, tmp_path):
    image = save_nifti(tmp_path / "ct.nii.gz", image_of(ORGAN))
    (k0, j0, i0), (k1, j1, i1) = LOW, HIGH
    box = f"organ={i0},{j0},{k0},{i1},{j1},{k1}"
    subprocess.run(
        [sys.executable, "-m", "sammed", "segment", str(image), "--box", box, "--model", kind,
         "--window", "soft-tissue", "-o", str(tmp_path / "out.nii.gz"), "-q"],
        env=environment, check=True, cwd=ROOT,
    )  # fmt: skip
    labels = np.asarray(nibabel.load(tmp_path / "out.nii.gz").dataobj).T
    assert dice(labels.astype(bool), ORGAN) > 0.97
    report = json.loads((tmp_path / "out.report.json").read_text())
    assert report["model"]["name"] == kind
    assert len(report["objects"][0]["slices"]) == k1 - k0
    again = json.loads((tmp_path / "out.prompts.json").read_text())
    assert again["objects"][0]["boxes"][0]["box3d"] == [i0, j0, k0, i1, j1, k1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_worker_segments_edits_and_takes_back(kind, client):
    client.ask("settings", model=kind, options={"window": "soft-tissue"})
    block = [*(LOW - 1).clip(0).tolist(), *(HIGH + 1).clip(None, ORGAN.shape).tolist()]
    organ = {"name": "organ", "blocks": [{"block": block}]}
    assert client.ask("put", object=organ)["objects"] == ["organ"]
    first = client.ask("segment")
    assert dice(told(first), ORGAN) > 0.97
    assert first["runs"]["organ"]["slices"]
    clicked = {**organ, "points": [{"at": [8, 17, 24]}]}
    assert client.ask("put", object=clicked)["can_undo"]
    assert client.ask("segment")["event"] == "done"
    back = client.ask("undo", steps=1)
    assert back["prompts"][0]["points"] == []
    assert client.ask("segment")["masks"] == []


def test_strokes_reach_a_model_that_knows_them_through_the_worker(client):
    client.ask("settings", model="whole", options={"window": "soft-tissue"})
    stroke = {"voxels": [[8, 17, 20], [8, 17, 21]], "positive": True}
    ring = {"axis": 0, "index": 1, "outline": [[0, 0], [0, 3], [3, 3]], "positive": False}
    said = {
        "name": "organ",
        "scribbles": [stroke],
        "lassos": [ring],
        "order": ["lasso", "scribble"],
    }
    client.ask("put", object=said)
    assert dice(told(client.ask("segment")), ORGAN) > 0.97
    (told_back,) = client.ask("objects")["prompts"]
    assert told_back["scribbles"] == [stroke]
    assert told_back["lassos"] == [{**ring, "outline": [[0.0, 0.0], [0.0, 3.0], [3.0, 3.0]]}]
    assert told_back["order"] == ["lasso", "scribble"]
    wrong = client.ask("put", object={**said, "order": ["box"]})
    assert wrong["error"]["code"] == "bad_request"
    assert "its order says" in wrong["error"]["message"]


@pytest.mark.alone
def test_a_model_of_volumes_is_stopped_within_half_a_second(client):
    client.ask("settings", model="slow", options={"window": "soft-tissue"})
    client.ask("put", object={"name": "organ", "points": [{"at": [8, 17, 24]}]})
    running = client.send("segment")
    assert client.next()["event"] == "progress"
    started = time.monotonic()
    client.send("cancel", request=running)
    while True:
        answer = client.next()
        if answer["id"] == running and answer["event"] == "cancelled":
            break
        assert answer["event"] in ("progress", "done")
    assert time.monotonic() - started < 0.5


@pytest.mark.thorough
def test_what_it_does_not_know_is_said_in_one_line(environment, tmp_path):
    image = save_nifti(tmp_path / "ct.nii.gz", image_of(ORGAN))
    done = subprocess.run(
        [sys.executable, "-m", "sammed", "segment", str(image), "--box", "1,1,9,9@8",
         "--model", "whole", "--stride", "2", "-o", str(tmp_path / "out.nii.gz")],
        env=environment, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "sammed: model 'whole' sees the volume as a whole"
    )
    assert not (tmp_path / "out.nii.gz").exists()
