"""Box to segment on real MRML nodes: oblique volume, parent transform, real worker."""

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed; see make test-slicer")

from SAMMedLib import geometry, prompts, segmentation  # noqa: E402

from tests.slicer.conftest import dice, phantom, run  # noqa: E402

ORGAN = phantom()[1]
BOX = [11, 12, 32, 12, 44, 72]


def mask(workflow):
    """The chosen segment on the whole volume."""
    node, segment_id = workflow.parameters.segmentation, workflow.parameters.segmentID
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, workflow.volume) > 0


def with_box(workflow, name="organ"):
    workflow.add_segment(name)
    prompts.place_box(
        workflow.parameters.segmentation, workflow.parameters.segmentID, workflow.volume, BOX, 0
    )


def segmented(workflow):
    with_box(workflow)
    workflow.segment()
    run(workflow)
    assert not workflow.failed, workflow.message
    return mask(workflow)


def test_one_box_gives_the_organ(workflow):
    found = segmented(workflow)
    assert dice(found, ORGAN) > 0.9
    assert "slices segmented" in workflow.message
