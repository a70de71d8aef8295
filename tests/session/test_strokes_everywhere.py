"""A stroke reaches the built-in network's branch whichever way it is said: one mask for all."""

from __future__ import annotations

import json

import numpy as np
import pytest

import sammed
from sammed import cli
from sammed.io import read, read_labels
from sammed.models.registry import build
from sammed.prompts import ObjectPrompts, PointPrompt
from sammed.prompts.files import document
from sammed.prompts.scribbles import parse_scribble
from sammed.prompts.strokes import without_strokes
from sammed.reporting.run_report import run_report
from sammed.session import Session
from tests.models.test_stroke_net import branch_file
from tests.worker.conftest import Client, read_array

IMAGE = "sample_data/phantom_ct.nii.gz"
STROKE = "spleen=105,62;115,76;122,90@44"
CORRECTION = "spleen=98,60;104,58@40"

pytestmark = pytest.mark.usefixtures("console")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Of a branch that says something, though nothing sensible."""
    return branch_file(tmp_path_factory.mktemp("strokes") / "strokes.safetensors", noise=0.02)


@pytest.fixture(scope="module")
def volume():
    return read(IMAGE)


@pytest.fixture(scope="module")
def said(volume):
    strokes = [parse_scribble(text, volume).scribbles[0] for text in (STROKE, CORRECTION)]
    return ObjectPrompts("spleen", scribbles=strokes)


@pytest.fixture(scope="module")
def session(volume, said, weights):
    made = Session(volume, build(str(weights)))
    made.put(said)
    made.segment()
    return made


def mask_in(path):
    return read_labels(path).voxels > 0


def test_the_command_line_a_prompt_file_and_python_give_the_sessions_mask(
    session, volume, said, weights, tmp_path
):
    wanted = session.object_mask("spleen")
    out = tmp_path / "typed.nii.gz"
    command = ["segment", IMAGE, "--model", str(weights), "--quiet"]
    strokes = ["--scribble", STROKE, "--scribble", CORRECTION]
    assert cli.main([*command, *strokes, "-o", str(out)]) == 0
    np.testing.assert_array_equal(mask_in(out), wanted)
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps(document([said], volume)))
    filed = tmp_path / "filed.nii.gz"
    assert cli.main([*command, "--prompts", str(prompts), "-o", str(filed)]) == 0
    np.testing.assert_array_equal(mask_in(filed), wanted)
    labels = sammed.segment(IMAGE, scribble=[STROKE, CORRECTION], model=str(weights))
    np.testing.assert_array_equal(labels.voxels > 0, wanted)


def test_the_worker_hears_them_too(session, said, weights):
    """What the workbench and Slicer talk to."""
    wanted = session.object_mask("spleen")
    volume = session.volume
    client = Client()
    try:
        client.hello()
        client.volume(volume.voxels, volume.affine, modality="CT")
        client.ask("settings", model=str(weights))
        strokes = [{"voxels": s.voxels.tolist(), "positive": True} for s in said.scribbles]
        assert client.ask("put", object={"name": "spleen", "scribbles": strokes})["event"] == "done"
        client.send("segment")
        answer = client.next(120)
        while answer["event"] == "progress":
            answer = client.next(120)
        (entry,) = answer["masks"]
        k0, j0, i0, k1, j1, i1 = entry["block"]
        found = np.zeros(volume.shape, bool)
        found[k0:k1, j0:j1, i0:i1] = read_array(entry["data"])
    finally:
        client.stop()
    np.testing.assert_array_equal(found, wanted)


def test_the_branch_is_heard_and_the_report_says_so(session, volume, said):
    """Points in place of the strokes give another mask; the report tells which it was."""
    told = run_report(session, session.result())
    prompts = {row["prompt"] for row in told["objects"][0]["slices"]}
    assert prompts & {"strokes", "box + mask + strokes"}
    assert "scribble" in told["model"]["prompts"]
    pointed = Session(volume, session.model)
    points = [PointPrompt(p.at, p.positive) for p in without_strokes(said).points]
    pointed.put(ObjectPrompts("spleen", points=tuple(points)))
    pointed.segment()
    assert not np.array_equal(pointed.object_mask("spleen"), session.object_mask("spleen"))


def test_undo_brings_the_former_mask_back(volume, said, weights):
    made = Session(volume, build(str(weights)))
    made.put(ObjectPrompts("spleen", scribbles=said.scribbles[:1]))
    made.segment()
    first = made.object_mask("spleen").copy()
    made.put(said)
    made.segment()
    second = made.object_mask("spleen").copy()
    assert not np.array_equal(first, second)
    made.undo()
    np.testing.assert_array_equal(made.object_mask("spleen"), first)
    made.redo()
    np.testing.assert_array_equal(made.object_mask("spleen"), second)
