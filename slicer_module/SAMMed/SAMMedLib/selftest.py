"""Cases that run inside the Slicer application and in the test harness alike.

They use a synthetic phantom, the built-in network, and for speed a floor that needs no weights;
nothing is downloaded. A case raises `AssertionError` if it fails.
"""

from __future__ import annotations

import time

import numpy as np
import slicer

from . import geometry, prompts, segmentation

SHAPE = (24, 72, 84)
BOX = [11, 12, 32, 12, 44, 72]
SECONDS = 120


def make_phantom():
    """An oblique volume with an ellipsoid in noise; (volume node, organ mask)."""
    k, j, i = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    organ = ((k - 11) / 7.5) ** 2 + ((j - 28) / 15.0) ** 2 + ((i - 52) / 19.0) ** 2 <= 1
    box = [4, 13, 33, 19, 44, 72]
    noise = np.random.default_rng(11).normal(0, 6, SHAPE)
    voxels = (np.where(organ, 110, 30) + noise).astype(np.int16)
    angle = np.radians(12)
    turned = np.array(
        [
            [-np.cos(angle), np.sin(angle), 0.0],
            [-np.sin(angle), -np.cos(angle), 0.0],
            [0.0, 0.0, 1.0],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turned * (0.8, 0.9, 2.5)
    matrix[:3, 3] = (21, 35, -40)
    volume = slicer.util.addVolumeFromArray(voxels, matrix)
    volume.SetName("SAMMed phantom")
    volume.CreateDefaultDisplayNodes()
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevel(160, 70)
    assert geometry.tight(organ) == box
    return volume, organ


def box_to_segment(workflow):
    """One box gives the organ where it is."""
    organ = _prepare(workflow)
    found = _segment(workflow)
    overlap = 2 * (found & organ).sum() / (found.sum() + organ.sum())
    assert overlap >= 0.9, f"Dice is {overlap:.3f}"


def network_between_limits(workflow):
    """The built-in network runs, and finds the object within its box."""
    organ = _prepare(workflow)
    node, segment_id = workflow.parameters.segmentation, workflow.parameters.segmentID
    prompts.clear(node, segment_id)
    prompts.place_box(node, segment_id, workflow.volume, geometry.tight(organ))
    workflow.parameters.model = "compact"
    found = _segment(workflow)
    overlap = 2 * (found & organ).sum() / (found.sum() + organ.sum())
    assert overlap >= 0.9, f"Dice is {overlap:.3f}"


def corrected_slice(workflow):
    """A slice that was painted by hand is kept when it is segmented again."""
    _prepare(workflow)
    found = _segment(workflow)
    found[14] = False
    found[14, 24:33, 46:60] = True
    node, segment_id = workflow.parameters.segmentation, workflow.parameters.segmentID
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        found.astype(np.uint8), node, segment_id, workflow.volume
    )
    assert (_segment(workflow)[14] == found[14]).all()


def undo_and_redo(workflow):
    """Undo takes the segment and its box back, redo brings both again."""
    _prepare(workflow)
    found = _segment(workflow)
    workflow.undo()
    assert not _mask(workflow).any()
    assert prompts.count(workflow.parameters.segmentation, workflow.parameters.segmentID)[0] == 0
    workflow.redo()
    assert (_mask(workflow) == found).all()


def cancelled_in_time(workflow):
    """Cancel takes less than half a second and leaves the segment as it was."""
    _prepare(workflow)
    found = _segment(workflow)
    node, segment_id = workflow.parameters.segmentation, workflow.parameters.segmentID
    prompts.place_box(node, segment_id, workflow.volume, [14, 15, 40, 15, 40, 60], 0)
    workflow.segment()
    started = time.monotonic()
    workflow.cancel()
    while workflow.engine.busy:
        workflow.poll()
        time.sleep(0.01)
    assert time.monotonic() - started < 0.5
    assert (_mask(workflow) == found).all()
    assert prompts.count(node, segment_id)[0] == 2


def neighbors_are_kept(workflow):
    """A segment that was there before is not changed."""
    _prepare(workflow)
    node = workflow.parameters.segmentation
    other = segmentation.add(node, "other")
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[9:13, 20:40, 50:80] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, node, other, workflow.volume)
    _segment(workflow)
    now = slicer.util.arrayFromSegmentBinaryLabelmap(node, other, workflow.volume)
    assert (now == drawn).all()


CASES = (
    box_to_segment,
    network_between_limits,
    corrected_slice,
    undo_and_redo,
    cancelled_in_time,
    neighbors_are_kept,
)


def _prepare(workflow):
    """The phantom with a segment and a box; returns the organ."""
    volume, organ = make_phantom()
    workflow.parameters.volume = volume
    workflow.parameters.model = "two_class"
    workflow.add_segment("organ")
    prompts.place_box(
        workflow.parameters.segmentation, workflow.parameters.segmentID, volume, BOX, 0
    )
    return organ


def _segment(workflow):
    workflow.segment()
    end = time.monotonic() + SECONDS
    while workflow.engine.busy:
        workflow.poll()
        slicer.app.processEvents()
        time.sleep(0.01)
        assert time.monotonic() < end, "the engine did not finish"
    assert not workflow.failed, workflow.message
    return _mask(workflow)


def _mask(workflow):
    node, segment_id = workflow.parameters.segmentation, workflow.parameters.segmentID
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, workflow.volume) > 0
