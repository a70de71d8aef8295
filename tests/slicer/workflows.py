"""What the tests of the workflow do over and over: prompts, masks, waiting."""

import time

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: run by make test-slicer")

from SAMMedLib import geometry, prompts  # noqa: E402

from tests.slicer.conftest import (  # noqa: E402
    ROOT,
    phantom,
    run,
)

ORGAN = phantom()[1]
BOX = [11, 12, 32, 12, 44, 72]
SLOW = str(ROOT / "tests" / "worker" / "slow_worker.py")


def mask_of(workflow, segment_id=None):
    """A segment on the whole volume, by Slicer's own way."""
    node = workflow.parameters.segmentation
    segment_id = segment_id or workflow.parameters.segmentID
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, workflow.volume) > 0


def chosen(workflow):
    return workflow.parameters.segmentation, workflow.parameters.segmentID


def add_box(workflow, name="organ", block=BOX):
    workflow.add_segment(name)
    return prompts.place_box(*chosen(workflow), workflow.volume, block, 0)


def segment(workflow):
    workflow.segment()
    run(workflow)
    assert not workflow.failed, workflow.message
    return mask_of(workflow)


def paint(workflow, index, voxels):
    """Change one slice as the Segment Editor does: another tool than ours."""
    array = mask_of(workflow).astype(np.uint8)
    array[index] = voxels
    node, segment_id = chosen(workflow)
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, segment_id, workflow.volume)


def show_slice(workflow, axis, index):
    """Turn the Red view to a slice of the volume, however it lies."""
    view = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed")
    ends = geometry.world_from_ijk(workflow.volume, np.vstack([[0, 0, 0], np.eye(3)]))
    steps = [e / np.linalg.norm(e) for e in ends[1:] - ends[0]]
    normal, across = steps[2 - axis], steps[0 if axis != 2 else 1]
    point = geometry.slice_centre(workflow.volume, axis, index)
    view.SetSliceToRASByNTP(*normal, *across, *point, 0)
    view.UpdateMatrices()


def steps(workflow):
    """How many steps can be taken back."""
    return workflow._steps._history.GetNumberOfStates()


def segment_with(workflow, model):
    workflow.parameters.model = model
    return segment(workflow)


def segment_until_shown(workflow):
    workflow.segment()
    poll_until(workflow, lambda: workflow.shows_early)


def poll_until(workflow, condition):
    end = time.monotonic() + 20
    while not condition():
        workflow.poll()
        time.sleep(0.005)
        assert time.monotonic() < end


def moved():
    expected = np.zeros(ORGAN.shape[1:], bool)
    expected[30:50, 40:60] = True
    return expected


def start(workflow, model):
    """Begin to segment and wait until the worker is at it."""
    workflow.parameters.model = model
    workflow.segment()
    end = time.monotonic() + 30
    while workflow.engine._pending is None or workflow.engine._settings is None:
        workflow.poll()
        time.sleep(0.005)
        assert time.monotonic() < end
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        workflow.poll()
        time.sleep(0.005)
