"""A file that was learned from the user's own cases: chosen, and asked without a prompt."""

import subprocess

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: run by make test-slicer")

from SAMMedLib import geometry, prompts, scripting, segmentation  # noqa: E402

from tests.slicer.conftest import SAMMED_PYTHON, dice, run  # noqa: E402
from tests.slicer.others import add_volume, make_bodies, mask_of, names_of  # noqa: E402

LEARN = """
import sys
from pathlib import Path
from sammed import cli, io
from sammed.synthesis.abdomens import make_abdomen
out = Path(sys.argv[1])
for folder in ("scans", "labels"):
    (out / folder).mkdir()
for seed in (12, 13, 14):
    volume, labels = make_abdomen(seed, slices=20)
    io.write_volume(volume, out / "scans" / f"{seed}.nii.gz")
    io.write_labels(labels, out / "labels" / f"{seed}.nii.gz")
study = str(out / "study")
for words in (
    ["project", "new", study, "--images", str(out / "scans"), "--structures", "liver"],
    ["project", "import", study, str(out / "labels")],
    ["learn", study, "--steps", "40", "--what", "segmenter", "--threads", "1"],
):
    if code := cli.main(words):
        sys.exit(code)
"""


@pytest.fixture(scope="session")
def bodies(tmp_path_factory):
    return make_bodies(tmp_path_factory.mktemp("bodies"))


@pytest.fixture(scope="session")
def learned(tmp_path_factory):
    """A file that learned the liver from three bodies, by the engine's Python."""
    folder = tmp_path_factory.mktemp("learned")
    subprocess.run([SAMMED_PYTHON, "-c", LEARN, str(folder)], check=True, capture_output=True)
    return str(folder / "study" / "study.sammed")


@pytest.fixture
def body(workflow, bodies, learned):
    """A body that it has not seen, chosen in the panel, and its liver."""
    new = bodies[7]
    workflow.parameters.volume = add_volume(new["voxels"], new["affine"], "new")
    workflow.parameters.model = learned
    return new["labels"] == 1


def test_what_was_learned_is_found_without_a_prompt_and_undone(workflow, body):
    assert workflow.is_learned
    workflow.find_learned()
    assert workflow.errand == "learned"
    run(workflow)
    assert not workflow.failed, workflow.message
    assert workflow.message.startswith("1 found: liver")
    node = workflow.parameters.segmentation
    assert names_of(node) == ["liver"]
    assert dice(mask_of(node, "liver", workflow.volume), body) > 0.6
    workflow.undo()
    assert not names_of(node)


def test_a_segment_of_the_same_name_is_left_as_it_is(workflow, body):
    node = segmentation.make(workflow.volume)
    workflow.parameters.segmentation = node
    drawn = segmentation.add(node, "liver")
    block, mine = [5, 5, 5, 8, 9, 10], np.ones((3, 4, 5), bool)
    segmentation.write(node, drawn, workflow.volume, block, mine)
    workflow.find_learned()
    run(workflow)
    assert "left as it was: liver" in workflow.message
    assert mask_of(node, "liver", workflow.volume).sum() == mine.sum()


def test_a_click_into_a_segment_that_is_called_so_finds_it(workflow, body):
    inside = np.argwhere(body)[len(np.argwhere(body)) // 2][::-1]
    point = geometry.world_from_ijk(workflow.volume, [inside])[0]
    for name, known in (("Liver", True), ("mine", False)):
        workflow.add_segment(name)
        prompts.add_point(*workflow.target, prompts.POSITIVE, point)
        workflow.segment()
        run(workflow)
        assert not workflow.failed, workflow.message
        assert ("Answered by what was learned of liver." in workflow.message) is known
        node, segment_id = workflow.target
        assert workflow.history.run((node.GetID(), segment_id))["asked"][1] == "liver" * known
        if known:
            assert dice(mask_of(node, name, workflow.volume), body) > 0.6


def test_an_organ_that_it_was_not_taught_is_what_its_box_says(workflow, body):
    workflow.add_segment("spleen")
    target = workflow.target
    prompts.place_box(*target, workflow.volume, [10, 12, 12, 11, 28, 30], 0)
    workflow.segment()
    run(workflow)
    assert not workflow.failed, workflow.message
    assert segmentation.read(*target, workflow.grid)[0] is not None


def test_scripts_ask_it(workflow, body, learned):
    node, ids = scripting.take(workflow, workflow.volume, model=learned)
    assert list(ids) == ["liver"]
    assert names_of(node) == ["liver"]


def test_a_model_that_was_taught_nothing_and_a_file_that_is_gone_are_told(workflow, body, tmp_path):
    workflow.parameters.model = str(tmp_path / "gone.sammed")
    workflow.find_learned()
    run(workflow)
    assert workflow.failed
    assert "gone.sammed" in workflow.message
    workflow.parameters.model = "ellipse"
    assert not workflow.is_learned
    workflow.take([])
    assert "choose a labelled scan" in workflow.message.lower()
