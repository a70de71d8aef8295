"""A segment that is called as something that the model was taught is answered by what it learned.

The worker's model ``taught.sammed`` answers boxes of what it was tuned to, ``organ`` and ``cyst``,
by ellipses, and all others by boxes; see tests/worker/slow_worker.py.
"""

import os

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: run by make test-slicer")

from SAMMedLib import geometry, prompts, scripting, wording  # noqa: E402
from SAMMedLib.engine import Engine  # noqa: E402
from SAMMedLib.work import structure_called  # noqa: E402

from tests.slicer.conftest import SAMMED_PYTHON, run  # noqa: E402
from tests.slicer.workflows import BOX, SLOW, add_box, chosen, mask_of, segment  # noqa: E402

WHOLE = (BOX[4] - BOX[1]) * (BOX[5] - BOX[2])
"""Voxels of the box on its slice."""


@pytest.fixture(scope="module")
def taught_engine():
    made = Engine(lambda: ([SAMMED_PYTHON, SLOW], dict(os.environ)))
    yield made
    made.stop()


@pytest.fixture
def taught(workflow, taught_engine):
    """The workflow with a model that was taught an organ, and two that differ in case alone."""
    shared, workflow.engine = workflow.engine, taught_engine
    workflow.parameters.model = "taught.sammed"
    yield workflow
    workflow.engine = shared


def rename(workflow, name):
    """As the Segment Editor's table does."""
    node, segment_id = chosen(workflow)
    node.GetSegmentation().GetSegment(segment_id).SetName(name)


def is_ellipse(mask):
    """Whether the network that was tuned has answered the box."""
    area = np.count_nonzero(mask[BOX[0]])
    assert area in range(int(0.7 * WHOLE), int(0.85 * WHOLE)) or area == WHOLE
    return area < WHOLE


@pytest.mark.parametrize(
    ("name", "structure"),
    [
        ("organ", "organ"),
        (" Organ ", "organ"),
        ("twin", "twin"),
        (" Twin", "Twin"),
        ("TWIN", ""),  # either might be meant
        ("organ (2)", ""),
        ("", ""),
    ],
)
def test_names_are_compared_as_they_are_but_for_blanks_and_case(name, structure):
    assert structure_called(name, ["organ", "Twin", "twin"]) == structure


def test_a_box_is_answered_by_what_was_learned_of_the_name(taught):
    add_box(taught, "Organ")
    assert is_ellipse(segment(taught))
    assert "Answered by what was learned of organ." in taught.message
    assert wording.learned(taught) == "Answered by what was learned of organ."
    add_box(taught, "spleen")
    assert not is_ellipse(segment(taught))
    assert "learned" not in taught.message
    assert wording.learned(taught) == ""


def test_what_is_not_found_without_a_prompt_is_a_learned_name_too(taught):
    """As of a file that learned to answer prompts, and nothing else."""
    add_box(taught, "cyst")
    assert is_ellipse(segment(taught))
    assert "Answered by what was learned of cyst." in taught.message


def test_it_is_told_where_what_was_learned_has_no_answer(taught):
    add_box(taught, "twin")
    assert not is_ellipse(segment(taught))
    assert "What was learned of twin has no answer to this: the untuned" in taught.message


def test_a_click_is_what_was_found_by_the_name(taught):
    taught.add_segment("organ")
    middle = geometry.world_from_ijk(taught.volume, [(42, 36, 12)])[0]
    prompts.add_point(*chosen(taught), prompts.POSITIVE, middle)
    mask = segment(taught)
    expected = np.zeros_like(mask)
    expected[8:16, 24:48, 28:56] = True
    unclicked = np.arange(len(mask)) != 12
    assert np.array_equal(mask[unclicked], expected[unclicked])
    assert "Answered by what was learned of organ." in taught.message


def test_another_name_makes_it_stale_and_the_same_box_is_answered_anew(taught):
    add_box(taught, "mine")
    plain = segment(taught)
    assert not taught.is_behind
    rename(taught, "organ")
    assert taught.is_behind
    assert "Press Segment" in wording.hint(taught)
    assert wording.learned(taught).startswith("organ was learned: Segment asks")
    tuned = segment(taught)
    assert is_ellipse(tuned)
    assert not taught.is_behind
    rename(taught, "mine again")
    assert taught.is_behind
    assert wording.learned(taught) == ""
    assert np.array_equal(segment(taught), plain)
    assert "learned" not in taught.message


def test_a_name_that_means_the_same_changes_nothing(taught):
    add_box(taught, "organ")
    segment(taught)
    rename(taught, "Organ")
    assert not taught.is_behind
    rename(taught, "mine")
    rename(taught, "organ")
    assert not taught.is_behind


def test_a_new_name_is_no_step_and_undo_knows_whose_answer_it_was(taught):
    add_box(taught, "mine")
    plain = segment(taught)
    rename(taught, "organ")
    assert not taught.prompts_changed  # undo takes back the segmentation, not the name
    tuned = segment(taught)
    taught.undo()
    assert np.array_equal(mask_of(taught), plain)
    assert taught.is_behind == (taught.called == "organ")
    taught.redo()
    assert np.array_equal(mask_of(taught), tuned)
    assert not taught.is_behind
    assert wording.learned(taught) == "Answered by what was learned of organ."


def test_two_segments_of_one_name_are_both_that_structure(taught):
    add_box(taught, "organ")
    first = segment(taught)
    add_box(taught, "organ")
    assert np.array_equal(segment(taught), first)
    assert is_ellipse(first)


def test_other_models_have_learned_nothing(taught):
    add_box(taught, "organ")
    segment(taught)
    taught.parameters.model = "box"
    assert not is_ellipse(segment(taught))
    assert wording.learned(taught) == ""
    taught.parameters.model = "taught.sammed"
    assert is_ellipse(segment(taught))


def test_an_engine_that_knows_objects_by_their_names_alone_is_told_nothing(taught, taught_engine):
    add_box(taught, "organ")
    taught.check()
    run(taught)
    told = taught_engine.hello
    taught_engine._taught.clear()
    taught_engine._settings = None
    taught_engine.hello = {name: value for name, value in told.items() if name != "structure"}
    try:
        assert not is_ellipse(segment(taught))
        assert wording.learned(taught) == ""
        assert not taught.is_behind
    finally:
        taught_engine.stop()


def test_scripts_name_the_segment(taught):
    scripting.segment(taught, taught.volume, [BOX], name="organ")
    assert is_ellipse(mask_of(taught))
    assert "learned of organ" in taught.message
