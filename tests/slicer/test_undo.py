"""Undo takes prompts and masks back together."""

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: run by make test-slicer")

from SAMMedLib import geometry, prompts  # noqa: E402

from tests.slicer.workflows import (  # noqa: E402
    ORGAN,
    add_box,
    chosen,
    mask_of,
    paint,
    segment,
)


def test_undo_takes_prompts_and_masks_back_together(workflow):
    add_box(workflow)
    first = segment(workflow)
    node, segment_id = chosen(workflow)
    prompts.place_box(node, segment_id, workflow.volume, [14, 15, 40, 15, 40, 60], 0)
    second = segment(workflow)
    assert not np.array_equal(first, second)

    workflow.undo()
    assert np.array_equal(mask_of(workflow), first)
    assert len(prompts.nodes(node, segment_id, prompts.BOX)) == 1
    workflow.undo()
    assert not mask_of(workflow).any()
    assert prompts.nodes(node, segment_id) == []
    assert not workflow.can_undo
    workflow.redo()
    assert np.array_equal(mask_of(workflow), first)
    workflow.redo()
    assert np.array_equal(mask_of(workflow), second)
    assert len(prompts.nodes(node, segment_id, prompts.BOX)) == 2
    assert not workflow.can_redo

    workflow.undo()
    assert np.array_equal(segment(workflow), first)  # the engine is of the same mind


def test_undo_brings_the_table_back_and_hands_still_count(workflow):
    add_box(workflow)
    first = segment(workflow)
    run_before = workflow.history.run(workflow.key)
    prompts.place_box(*chosen(workflow), workflow.volume, [14, 15, 40, 15, 40, 60], 0)
    segment(workflow)
    workflow.undo()
    assert workflow.history.run(workflow.key) is run_before
    painted = np.zeros(ORGAN.shape[1:], np.uint8)
    painted[24:33, 46:60] = 1
    paint(workflow, 14, painted)
    after = segment(workflow)
    assert prompts.right_slices(*chosen(workflow)) == (0, [14])
    assert np.array_equal(after[14], painted > 0)
    assert np.array_equal(after[:11], first[:11])


def test_undo_takes_back_a_prompt_that_was_not_segmented_yet(workflow):
    add_box(workflow)
    first = segment(workflow)
    node, segment_id = chosen(workflow)
    prompts.add_point(node, segment_id, prompts.NEGATIVE, (0, 0, 0))
    workflow.undo()
    assert prompts.count(node, segment_id) == (1, 0, 0)
    assert np.array_equal(mask_of(workflow), first)
    workflow.redo()
    assert prompts.count(node, segment_id) == (1, 0, 1)


def test_work_by_hand_is_a_step_of_its_own(workflow):
    add_box(workflow)
    first = segment(workflow)
    paint(workflow, 11, np.zeros(ORGAN.shape[1:], np.uint8))
    edited = mask_of(workflow)
    workflow.undo()
    assert "changed by hand is taken back" in workflow.message
    assert np.array_equal(mask_of(workflow), first)
    assert prompts.count(*chosen(workflow))[0] == 1
    workflow.redo()
    assert np.array_equal(mask_of(workflow), edited)
    workflow.undo()
    workflow.undo()
    assert not mask_of(workflow).any()
    assert prompts.count(*chosen(workflow))[0] == 0


def test_what_no_history_reaches_is_forgotten(workflow, monkeypatch):
    from SAMMedLib import history

    monkeypatch.setattr(history, "MOST_STATES", 3)
    box = add_box(workflow)
    for n in range(5):
        geometry.fit_roi(workflow.volume, box, [11, 12, 32 + n, 12, 44, 72])
        segment(workflow)
    assert len(workflow.history._states) == 3
    assert workflow.history.run(workflow.key) is not None
    workflow.undo()
    assert workflow.history.run(workflow.key) is not None
