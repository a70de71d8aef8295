"""The slice that was corrected is shown before those that depend on it."""

import os
import signal

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: run by make test-slicer")

from SAMMedLib import geometry, prompts, segmentation, wording  # noqa: E402

from tests.slicer.conftest import (  # noqa: E402
    run,
)
from tests.slicer.workflows import (  # noqa: E402
    ORGAN,
    chosen,
    mask_of,
    moved,
    paint,
    poll_until,
    segment,
    segment_until_shown,
    segment_with,
    steps,
)


@pytest.fixture
def corrected(slow):
    """A segment, its box then moved: slice 11 has been shown already, the others not yet."""
    slow.first = segment_with(slow, "slow:0.001")
    box = prompts.nodes(*chosen(slow), prompts.BOX)[0]
    geometry.fit_roi(slow.volume, box, [11, 30, 40, 12, 50, 60])
    slow.parameters.model = "slow:0.1"
    segment_until_shown(slow)
    return slow


def test_the_corrected_slice_is_shown_before_the_others(corrected):
    early = mask_of(corrected)
    assert np.array_equal(early[11], moved())
    others = np.arange(len(early)) != 11
    assert np.array_equal(early[others], corrected.first[others])
    assert corrected.busy
    assert "The slice is done" in wording.hint(corrected)
    assert not corrected.can_undo

    run(corrected)
    final = mask_of(corrected)
    assert np.array_equal(final[10:13], np.stack([moved()] * 3))
    assert steps(corrected) == 2
    corrected.undo()
    assert np.array_equal(mask_of(corrected), corrected.first)
    corrected.redo()
    assert np.array_equal(mask_of(corrected), final)


def test_cancel_takes_the_slice_back_and_keeps_the_prompt(corrected):
    corrected.cancel()
    assert run(corrected) < 0.5
    assert "the segment is as it was" in corrected.message
    assert np.array_equal(mask_of(corrected), corrected.first)
    asked, _ = prompts.read(corrected.volume, *chosen(corrected))
    assert asked["boxes"][0]["block"] == [11, 30, 40, 12, 50, 60]
    assert steps(corrected) == 1
    corrected.parameters.model = "slow:0.001"
    again = segment(corrected)
    assert np.array_equal(again[11], moved())
    assert prompts.right_slices(*chosen(corrected)) == (None, [])  # nothing was done by hand
    corrected.undo()
    assert np.array_equal(mask_of(corrected), corrected.first)


def test_a_worker_that_dies_takes_the_slice_with_it(corrected):
    os.kill(corrected.engine._process.pid, signal.SIGKILL)
    run(corrected)
    assert "ended unexpectedly" in corrected.message
    assert np.array_equal(mask_of(corrected), corrected.first)


def test_what_is_painted_meanwhile_is_never_written_over(corrected):
    painted = np.zeros(ORGAN.shape[1:], np.uint8)
    painted[5:9, 5:9] = 1
    paint(corrected, 13, painted)
    run(corrected)
    found = mask_of(corrected)
    assert np.array_equal(found[13], painted > 0)
    assert np.array_equal(found[12], moved())
    corrected.undo()
    assert np.array_equal(mask_of(corrected)[13], painted > 0)
    corrected.redo()
    corrected.parameters.model = "slow:0.001"
    corrected.segment()
    run(corrected)
    assert prompts.right_slices(*chosen(corrected)) == (0, [13])  # a correction like any other
    assert np.array_equal(mask_of(corrected)[13], painted > 0)


def test_a_slice_painted_over_before_it_is_cancelled_stays(corrected):
    painted = moved().astype(np.uint8)
    painted[30] = 0
    paint(corrected, 11, painted)
    corrected.cancel()
    run(corrected)
    assert np.array_equal(mask_of(corrected)[11], painted > 0)


def test_another_change_leaves_the_slice_up_until_its_own(corrected):
    corrected.parameters.autoUpdate = True
    box = prompts.nodes(*chosen(corrected), prompts.BOX)[0]
    geometry.fit_roi(corrected.volume, box, [11, 30, 40, 12, 50, 70])
    corrected.placing.watch()
    box.InvokeEvent(slicer.vtkMRMLMarkupsNode.PointEndInteractionEvent)
    states = []

    def follow():
        states.append(int(mask_of(corrected)[11].sum()))
        return states[-1] == 20 * 30

    poll_until(corrected, follow)
    assert set(states) == {20 * 20, 20 * 30}  # never the first segment again
    run(corrected)
    assert mask_of(corrected)[10].sum() == 20 * 30
    assert prompts.right_slices(*chosen(corrected)) == (None, [])
    assert steps(corrected) == 2
    corrected.undo()
    assert np.array_equal(mask_of(corrected), corrected.first)


def test_a_segment_that_goes_while_a_slice_is_shown(corrected):
    corrected.remove_segment()
    run(corrected)
    assert corrected.parameters.segmentID == ""
    assert not corrected.shows_early


@pytest.mark.parametrize("overlap", ["allow", "keep"])
def test_a_slice_shown_early_minds_the_others(slow, overlap):
    node = slow.parameters.segmentation
    mine = slow.parameters.segmentID
    other = segmentation.add(node, "other")
    drawn = np.zeros(ORGAN.shape, np.uint8)
    drawn[11, 20:30, 40:50] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, node, other, slow.volume)
    slow.parameters.segmentID = mine
    slow.parameters.overlap = overlap
    slow.parameters.model = "slow:0.1"
    segment_until_shown(slow)
    assert (mask_of(slow)[11] & (drawn[11] > 0)).any() == (overlap == "allow")
    assert np.array_equal(mask_of(slow, other), drawn > 0)
    slow.cancel()
    run(slow)
    assert not mask_of(slow).any()
    assert np.array_equal(mask_of(slow, other), drawn > 0)
