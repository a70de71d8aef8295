"""Slices painted or confirmed by hand are kept, others follow; also those of a 3D box."""

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: run by make test-slicer")

from SAMMedLib import geometry, placing, prompts  # noqa: E402

from tests.slicer.conftest import (  # noqa: E402
    dice,
)
from tests.slicer.workflows import (  # noqa: E402
    ORGAN,
    add_box,
    chosen,
    mask_of,
    paint,
    segment,
    show_slice,
)


def test_a_slice_painted_by_hand_is_kept_and_others_follow(workflow):
    add_box(workflow)
    before = segment(workflow)
    painted = np.zeros(ORGAN.shape[1:], np.uint8)
    painted[24:33, 46:60] = 1
    paint(workflow, 14, painted)
    after = segment(workflow)
    assert np.array_equal(after[14], painted.astype(bool))
    assert prompts.right_slices(*chosen(workflow)) == (0, [14])
    assert np.array_equal(after[:11], before[:11])  # beyond the box nothing was stale
    assert not np.array_equal(after[12:14], before[12:14])


def test_this_slice_is_right_holds_it_against_the_model(workflow):
    add_box(workflow)
    before = segment(workflow)
    show_slice(workflow, 0, 8)
    workflow.confirm_slice()
    assert "Slice 8 is kept" in workflow.message
    assert prompts.right_slices(*chosen(workflow)) == (0, [8])
    assert np.array_equal(segment(workflow)[8], before[8])
    show_slice(workflow, 0, 23)
    workflow.confirm_slice()
    assert workflow.failed
    assert "Slice 23 holds nothing" in workflow.message


def test_a_slice_needs_a_view_that_shows_it(workflow):
    add_box(workflow)
    segment(workflow)
    workflow.confirm_slice()  # the volume lies askew in the world, and so in the views
    assert "press Align views first" in workflow.message
    geometry.align_views(workflow.volume)
    for view in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        view.JumpSliceByCentering(*geometry.slice_centre(workflow.volume, 0, 12, (12, 28, 52)))
    workflow.confirm_slice()
    assert "Slice 12 is kept" in workflow.message


def test_slices_emptied_at_an_end_end_the_object_there(workflow):
    add_box(workflow)
    before = segment(workflow)
    assert before[17].any()
    array = before.astype(np.uint8)
    array[15:] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, *chosen(workflow), workflow.volume)
    after = segment(workflow)
    assert not after[15:].any()
    assert after[14].any()
    low = int(np.flatnonzero(before.any(axis=(1, 2)))[0])
    assert prompts.ends(*chosen(workflow)) == (0, low, 15)


def test_a_segment_from_elsewhere_is_a_prompt(workflow):
    workflow.add_segment("organ")
    array = np.zeros(ORGAN.shape, np.uint8)
    array[9:12] = ORGAN[9:12]
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, *chosen(workflow), workflow.volume)
    workflow.confirm_all()
    assert prompts.right_slices(*chosen(workflow)) == (0, [9, 10, 11])
    found = segment(workflow)
    assert np.array_equal(found[9:12], ORGAN[9:12])
    assert found[13].any()
    workflow.undo()
    assert np.array_equal(mask_of(workflow), array > 0)


def add_limits(workflow, block=None):
    workflow.add_segment("organ")
    block = block or geometry.tight(ORGAN)
    return prompts.place_box(*chosen(workflow), workflow.volume, block)


@pytest.fixture(params=["auto", "coronal"])
def from_limits(request, workflow):
    """A segment from a 3D box, whose run came in the usual plane or in another; plane: auto."""
    workflow.parameters.plane = request.param
    add_limits(workflow)
    assert dice(segment(workflow), ORGAN) > 0.8
    workflow.parameters.plane = "auto"
    if request.param == "coronal":
        assert workflow.history.run(workflow.key)["axis"] == 1
        assert placing.default_axis(workflow.volume, "auto") == 0
    return workflow


def test_the_table_of_a_3d_box_shows_its_slices(from_limits):
    workflow = from_limits
    run_of = workflow.history.run(workflow.key)
    axis, extent = workflow.axis, geometry.tight(ORGAN)
    assert axis == run_of["axis"]
    assert workflow.most_slices == ORGAN.shape[axis]
    line = run_of["slices"][len(run_of["slices"]) // 2]
    assert extent[axis] <= line["index"] < extent[axis + 3]
    show_slice(workflow, axis, 3)
    workflow.jump(line)
    red = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed")
    assert geometry.shown_slice(workflow.volume, red) == (axis, line["index"])


def test_a_slice_of_a_3d_box_is_right(from_limits):
    workflow = from_limits
    axis, before = workflow.axis, mask_of(workflow)
    index = sum(geometry.tight(before)[axis::3]) // 2
    show_slice(workflow, (axis + 1) % 3, 30)  # the view in which the box was drawn, say
    workflow.confirm_slice()
    assert workflow.failed
    assert f"No view shows {geometry.plane_of(workflow.volume, axis)} slices" in workflow.message
    show_slice(workflow, axis, index)
    workflow.confirm_slice()
    assert prompts.right_slices(*chosen(workflow)) == (axis, [index])
    after = segment(workflow)
    assert workflow.history.run(workflow.key)["axis"] == axis
    assert np.array_equal(after.take(index, axis), before.take(index, axis))
    assert dice(after, ORGAN) > 0.7


def test_a_slice_of_a_3d_box_painted_by_hand_is_kept(from_limits):
    workflow = from_limits
    axis, array = workflow.axis, mask_of(workflow).astype(np.uint8)
    low, high = (geometry.tight(array)[a] for a in (axis, axis + 3))
    index = (low + high) // 2
    painted = array.take(index, axis).copy()
    painted[: np.flatnonzero(painted.any(axis=1)).mean().astype(int)] = 0
    np.moveaxis(array, axis, 0)[index] = painted
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, *chosen(workflow), workflow.volume)
    after = segment(workflow)
    assert prompts.right_slices(*chosen(workflow)) == (axis, [index])
    assert np.array_equal(after.take(index, axis), painted > 0)
    assert after.take(index + 3, axis).any()


def test_a_click_corrects_a_slice_of_a_3d_box(from_limits):
    workflow = from_limits
    before = mask_of(workflow)
    line = workflow.history.run(workflow.key)["slices"][3]
    at = [round(c) for c in line["centroid"]]
    world = geometry.world_from_ijk(workflow.volume, [at[::-1]])[0]
    prompts.add_point(*chosen(workflow), prompts.NEGATIVE, world)
    after = segment(workflow)
    axis = workflow.axis
    lines = workflow.history.run(workflow.key)["slices"]
    assert any("points" in own["prompt"] for own in lines if own["index"] == at[axis])
    assert not np.array_equal(after.take(at[axis], axis), before.take(at[axis], axis))


def test_slices_emptied_at_an_end_of_a_3d_box_end_the_object_there(from_limits):
    workflow = from_limits
    axis, array = workflow.axis, mask_of(workflow).astype(np.uint8)
    low, high = (geometry.tight(array)[a] for a in (axis, axis + 3))
    cut = high - (high - low) // 3
    np.moveaxis(array, axis, 0)[cut:] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, *chosen(workflow), workflow.volume)
    after = np.moveaxis(segment(workflow), axis, 0)
    assert prompts.ends(*chosen(workflow)) == (axis, low, cut)
    assert not after[cut:].any()
    assert after[cut - 1].any()
    box = geometry.tight(ORGAN)
    inside = geometry.inside(box, [0] * 6)
    assert np.moveaxis(after, 0, axis)[inside].sum() == after.sum()
