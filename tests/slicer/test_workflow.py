"""Box to segment on real MRML nodes: oblique volume, parent transform, real worker."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: run by make test-slicer")

import vtk  # noqa: E402
from SAMMedLib import geometry, placing, prompts, segmentation, wording  # noqa: E402
from SAMMedLib.engine import Engine  # noqa: E402

from tests.slicer.conftest import (  # noqa: E402
    MODULE,
    ROOT,
    SAMMED_PYTHON,
    dice,
    load_scene,
    phantom,
    run,
    save_scene,
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


# One box ------------------------------------------------------------------------------------


def test_one_box_gives_the_organ_where_it_is(workflow):
    add_box(workflow)
    found = segment(workflow)
    assert dice(found, ORGAN) > 0.9
    assert "slices segmented" in workflow.message
    node, segment_id = chosen(workflow)
    assert node.GetTransformNodeID() == workflow.volume.GetTransformNodeID()
    assert node.GetNodeReferenceID("referenceImageGeometryRef") == workflow.volume.GetID()
    status = slicer.vtkSlicerSegmentationsModuleLogic.GetSegmentStatus(
        node.GetSegmentation().GetSegment(segment_id)
    )
    assert status == slicer.vtkSlicerSegmentationsModuleLogic.InProgress


def test_the_built_in_network_finds_the_organ_from_one_box(workflow):
    workflow.parameters.model = "compact"
    add_box(workflow)
    assert dice(segment(workflow), ORGAN) >= 0.9


def test_the_segment_survives_its_file(workflow, tmp_path):
    workflow.parameters.model = "compact"
    add_box(workflow)
    segment(workflow)
    path = str(tmp_path / "organ.seg.nrrd")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(path)
    assert storage.WriteData(workflow.parameters.segmentation)
    again = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert storage.ReadData(again)
    again.SetAndObserveTransformNodeID(workflow.volume.GetTransformNodeID())
    segment_id = again.GetSegmentation().GetNthSegmentID(0)
    assert again.GetSegmentation().GetSegment(segment_id).GetName() == "organ"
    read = slicer.util.arrayFromSegmentBinaryLabelmap(again, segment_id, workflow.volume) > 0
    assert dice(read, ORGAN) >= 0.9
    block, voxels = segmentation.read(again, segment_id, workflow.volume)
    whole = np.zeros(ORGAN.shape, bool)
    whole[geometry.inside(block, [0, 0, 0, *ORGAN.shape])] = voxels
    assert np.array_equal(whole, read)


def test_the_mask_is_the_engines_own_to_the_voxel(workflow):
    """The same prompts through the worker by hand, in the array's own frame."""
    add_box(workflow)
    found = segment(workflow)
    result = []
    work = workflow._work()
    work.name = "again"
    work.prompts = {"boxes": [{"axis": 0, "block": BOX}], "blocks": [], "points": []}
    workflow.engine.segment(work, lambda kind, value: result.append((kind, value)))
    run(workflow)
    assert [kind for kind, _ in result] == ["partial", "done"]
    answer = result[1][1]
    assert np.array_equal(found[geometry.inside(answer.block, [0] * 6)], answer.voxels > 0)
    assert found.sum() == answer.voxels.sum()


def test_a_turned_box_means_all_its_eight_corners(workflow):
    workflow.add_segment("organ")
    roi = prompts.make(*chosen(workflow), prompts.BOX, prompts.LIMITS)
    turn = vtk.vtkTransform()
    turn.Translate(*geometry.slice_centre(workflow.volume, 0, 11, (11, 28, 52)))
    turn.RotateWXYZ(37, 0.2, 0.7, 0.4)
    roi.SetAndObserveObjectToNodeMatrix(turn.GetMatrix())
    roi.SetSize(30.0, 26.0, 22.0)
    block = geometry.roi_block(workflow.volume, roi)
    corners = []
    for x in (-15, 15):
        for y in (-13, 13):
            for z in (-11, 11):
                world = turn.TransformPoint((x, y, z))
                corners.append(geometry.ijk_from_world(workflow.volume, [world])[0][::-1])
    corners = np.array(corners)
    assert np.all(np.array(block[:3]) - 0.5 <= corners.min(axis=0) + 1e-6)
    assert np.all(np.array(block[3:]) - 0.5 >= corners.max(axis=0) - 1e-6)
    assert np.all(np.array(block[3:]) - corners.max(axis=0) < 1.5 + 1e-6)
    found = segment(workflow)
    inside = geometry.inside(block, [0] * 6)
    assert found.any()
    assert found[inside].sum() == found.sum()


@pytest.mark.parametrize(("plane", "axis"), [("coronal", 1), ("sagittal", 2), ("all", 0)])
def test_the_plane_is_the_one_that_was_chosen(workflow, plane, axis):
    workflow.parameters.plane = plane
    workflow.parameters.model = "compact"
    workflow.add_segment("organ")
    prompts.place_box(*chosen(workflow), workflow.volume, geometry.tight(ORGAN))
    assert dice(segment(workflow), ORGAN) > 0.8
    assert workflow.history.runs[workflow.key]["axis"] == axis
    extent = geometry.tight(ORGAN)
    indices = [line["index"] for line in workflow.history.runs[workflow.key]["slices"]]
    assert extent[axis] <= indices[0] < indices[-1] < extent[axis + 3]


def test_points_inside_and_outside_reach_the_engine(workflow):
    box = add_box(workflow)
    node, segment_id = chosen(workflow)
    world = geometry.world_from_ijk(workflow.volume, [[52, 28, 11], [71, 33, 11]])
    prompts.add_point(node, segment_id, prompts.POSITIVE, world[0])
    prompts.add_point(node, segment_id, prompts.NEGATIVE, world[1])
    asked, problems = prompts.read(workflow.volume, node, segment_id)
    assert problems == []
    assert asked["boxes"] == [{"axis": 0, "block": BOX}]
    assert asked["points"] == [
        {"at": [11, 28, 52], "positive": True},
        {"at": [11, 33, 71], "positive": False},
    ]
    assert segment(workflow).any()
    assert box.GetName() == "organ box"


def test_a_box_beyond_the_volume_is_said_so(workflow):
    box = add_box(workflow)
    box.SetAndObserveTransformNodeID(None)
    far = vtk.vtkMatrix4x4()
    far.SetElement(0, 3, 4000)
    box.SetAndObserveObjectToNodeMatrix(far)
    workflow.segment()
    assert workflow.failed
    assert "lies outside the volume" in workflow.message
    assert not workflow.engine.busy


def test_it_says_what_is_missing(workflow, parameters):
    volume, parameters.volume = parameters.volume, None
    assert workflow.problem() == "Choose the volume to segment."
    parameters.volume = volume
    assert workflow.problem() == "Add a segment for the organ or lesion."
    workflow.add_segment()
    assert workflow.problem().startswith("Draw a box")
    parameters.segmentation.SetAndObserveTransformNodeID(None)
    assert "not under the same transform" in workflow.problem()


# Fix a slice, press again -------------------------------------------------------------------


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


# A 3D box, segmented in whichever plane -----------------------------------------------------


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
        assert workflow.history.runs[workflow.key]["axis"] == 1
        assert placing.default_axis(workflow.volume, "auto") == 0
    return workflow


def test_the_table_of_a_3d_box_shows_its_slices(from_limits):
    workflow = from_limits
    run_of = workflow.history.runs[workflow.key]
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
    assert workflow.history.runs[workflow.key]["axis"] == axis
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
    line = workflow.history.runs[workflow.key]["slices"][3]
    at = [round(c) for c in line["centroid"]]
    world = geometry.world_from_ijk(workflow.volume, [at[::-1]])[0]
    prompts.add_point(*chosen(workflow), prompts.NEGATIVE, world)
    after = segment(workflow)
    axis = workflow.axis
    lines = workflow.history.runs[workflow.key]["slices"]
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


# Undo ---------------------------------------------------------------------------------------


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
    run_before = workflow.history.runs[workflow.key]
    prompts.place_box(*chosen(workflow), workflow.volume, [14, 15, 40, 15, 40, 60], 0)
    segment(workflow)
    workflow.undo()
    assert workflow.history.runs[workflow.key] is run_before
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


def test_undo_does_not_undo_work_by_hand(workflow):
    add_box(workflow)
    segment(workflow)
    paint(workflow, 11, np.zeros(ORGAN.shape[1:], np.uint8))
    edited = mask_of(workflow)
    workflow.undo()
    assert workflow.failed
    assert "changed by hand" in workflow.message
    assert np.array_equal(mask_of(workflow), edited)


# The slice that was corrected comes first ------------------------------------------------------


@pytest.fixture
def corrected(slow):
    """A segment, its box then moved: slice 11 has been shown already, the others not yet."""
    slow.first = segment_with(slow, "slow:0.001")
    box = prompts.nodes(*chosen(slow), prompts.BOX)[0]
    geometry.fit_roi(slow.volume, box, [11, 30, 40, 12, 50, 60])
    slow.parameters.model = "slow:0.1"
    segment_until_shown(slow)
    return slow


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
    assert len(corrected.history.past) == 2
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
    assert len(corrected.history.past) == 1
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
    assert len(corrected.history.past) == 2
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


# Several segments and volumes ---------------------------------------------------------------


@pytest.fixture
def neighbours(workflow):
    """Two segments drawn by hand on one shared layer, and ours, empty, as the third."""
    node = segmentation.make(workflow.volume)
    workflow.parameters.segmentation = node
    drawn = {}
    for name, corner in (("vessel", (9, 20, 60)), ("bone", (2, 2, 2))):
        segment_id = segmentation.add(node, name)
        array = np.zeros(ORGAN.shape, np.uint8)
        k, j, i = corner
        array[k : k + 5, j : j + 12, i : i + 12] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, segment_id, workflow.volume)
        drawn[segment_id] = array > 0
    node.GetSegmentation().CollapseBinaryLabelmaps(False)
    return drawn


@pytest.mark.parametrize("overlap", ["allow", "keep"])
def test_other_segments_are_never_damaged(workflow, neighbours, overlap):
    workflow.parameters.overlap = overlap
    add_box(workflow)
    found = segment(workflow)
    for segment_id, drawn in neighbours.items():
        assert np.array_equal(mask_of(workflow, segment_id), drawn)
    assert dice(found, ORGAN) > 0.75
    assert (found & next(iter(neighbours.values()))).any() == (overlap == "allow")
    workflow.undo()
    for segment_id, drawn in neighbours.items():
        assert np.array_equal(mask_of(workflow, segment_id), drawn)


@pytest.mark.parametrize("whole", [0, 10**9])
def test_a_block_is_written_exactly_whichever_way_is_faster(
    workflow, neighbours, whole, monkeypatch
):
    monkeypatch.setattr(segmentation, "WHOLE_VOXELS", whole)
    monkeypatch.setattr(segmentation, "WHOLE_SHARE", 0)
    random = np.random.default_rng(3)
    workflow.add_segment("organ")
    node, segment_id = chosen(workflow)
    expected = np.zeros(ORGAN.shape, bool)
    for block in ([2, 5, 7, 9, 30, 40], [5, 1, 20, 22, 12, 60], [7, 8, 30, 8, 10, 50], [0] * 6):
        block = [a + (n > 2) for n, a in enumerate(block)]
        part = geometry.inside(block, [0] * 6)
        for voxels in (random.random(expected[part].shape) > 0.5, np.zeros_like(expected[part])):
            expected[part] = voxels
            segmentation.write(node, segment_id, workflow.volume, block, voxels)
            assert np.array_equal(mask_of(workflow), expected)
    for other, drawn in neighbours.items():
        assert np.array_equal(mask_of(workflow, other), drawn)


def test_segments_have_prompts_of_their_own(workflow):
    add_box(workflow, "organ")
    first_id = workflow.parameters.segmentID
    first = segment(workflow)
    add_box(workflow, "part", [11, 26, 50, 12, 36, 66])
    second = segment(workflow)
    assert np.array_equal(mask_of(workflow, first_id), first)
    assert second.any()
    assert prompts.count(*chosen(workflow)) == (1, 0, 0)
    workflow.remove_segment()
    assert workflow.parameters.segmentID == first_id
    assert len(slicer.util.getNodesByClass("vtkMRMLMarkupsROINode")) == 1
    assert np.array_equal(mask_of(workflow), first)


def test_changed_settings_do_not_touch_other_segments(workflow):
    add_box(workflow, "organ")
    first_id = workflow.parameters.segmentID
    first = segment(workflow)
    workflow.parameters.model = "box"
    add_box(workflow, "part", [11, 26, 50, 12, 36, 66])
    segment(workflow)
    assert np.array_equal(mask_of(workflow, first_id), first)


def test_volumes_are_kept_apart_and_sent_once(workflow):
    add_box(workflow)
    first = segment(workflow)
    phantom_volume, first_node = workflow.volume, workflow.parameters.segmentation
    flipped = np.ascontiguousarray(phantom()[0][:, ::-1])
    workflow.parameters.volume = slicer.util.addVolumeFromArray(
        flipped, geometry.ras_from_ijk(phantom_volume)
    )
    workflow.parameters.segmentation = None
    workflow.parameters.segmentID = ""
    j0, j1 = 72 - BOX[4], 72 - BOX[1]
    add_box(workflow, "organ", [11, j0, 32, 12, j1, 72])
    assert dice(segment(workflow), ORGAN[:, ::-1]) > 0.9

    workflow.parameters.volume, workflow.parameters.segmentation = phantom_volume, first_node
    workflow.parameters.segmentID = first_node.GetSegmentation().GetNthSegmentID(0)
    asked = []
    send = workflow.engine._send
    workflow.engine._send = lambda do, fields: (asked.append((do, fields)), send(do, fields))[1]
    assert np.array_equal(segment(workflow), first)
    volumes = [fields for do, fields in asked if do == "volume"]
    assert len(volumes) == 1
    assert "data" not in volumes[0]


def test_a_volume_whose_voxels_were_changed_is_sent_anew(workflow):
    add_box(workflow)
    segment(workflow)
    voxels = slicer.util.arrayFromVolume(workflow.volume)
    voxels[ORGAN] = 30
    voxels[9:14, 20:36, 44:60] = 110
    slicer.util.arrayFromVolumeModified(workflow.volume)
    expected = np.zeros_like(ORGAN)
    expected[9:14, 20:36, 44:60] = True
    assert dice(segment(workflow), expected) > 0.9


# Trouble ------------------------------------------------------------------------------------


@pytest.fixture
def slow(workflow):
    """A worker whose model takes its time; see tests/worker/slow_worker.py."""
    workflow.engine = Engine(lambda: ([SAMMED_PYTHON, SLOW], dict(os.environ)))
    add_box(workflow)
    return workflow


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


@pytest.mark.parametrize("model", ["slow:0.05", "slow:30"])
def test_cancel_takes_less_than_half_a_second(slow, model):
    start(slow, model)
    assert slow.engine.busy
    slow.cancel()
    assert run(slow) < 0.5
    assert "Cancelled" in slow.message
    assert not mask_of(slow).any()
    slow.parameters.model = "two_class"
    assert dice(segment(slow), ORGAN) > 0.9


def test_cancel_while_it_starts(workflow):
    workflow.engine = Engine(workflow.engine._launch)
    add_box(workflow)
    workflow.segment()
    workflow.cancel()
    assert run(workflow) < 0.5
    assert segment(workflow).any()


def test_cancel_when_the_worker_has_just_said_hello(workflow):
    workflow.engine = Engine(workflow.engine._launch)
    add_box(workflow)
    workflow.segment()
    end = time.monotonic() + 30
    while workflow.engine._process._messages.empty():  # its hello is there, and not yet read
        time.sleep(0.01)
        assert time.monotonic() < end
    workflow.cancel()
    assert run(workflow) < 0.5
    assert segment(workflow).any()


@pytest.mark.parametrize("do", ["settings", "put", "segment"])
def test_prompts_taken_back_after_a_cancel_are_told_again(workflow, do):
    """The worker has done what was cancelled; the module must not think that it has not."""
    box = add_box(workflow)
    first = segment(workflow)
    geometry.fit_roi(workflow.volume, box, [12, 34, 34, 13, 42, 62])
    workflow.parameters.window = "300/60"
    asked, send = [], workflow.engine._send
    workflow.engine._send = lambda what, fields: (asked.append(what), send(what, fields))[1]
    workflow.segment()
    poll_until(workflow, lambda: do in asked)
    workflow.cancel()
    run(workflow)
    workflow.engine._send = send
    geometry.fit_roi(workflow.volume, box, BOX)
    workflow.parameters.window = "160/70"
    assert np.array_equal(segment(workflow), first)


def test_a_killed_worker_is_told_and_replaced(slow):
    start(slow, "slow:0.2")
    os.kill(slow.engine._process.pid, signal.SIGKILL)
    run(slow)
    assert slow.failed
    assert "ended unexpectedly" in slow.message
    slow.parameters.model = "two_class"
    assert dice(segment(slow), ORGAN) > 0.9


def test_closing_leaves_no_process_and_no_files(slow):
    start(slow, "slow:0.2")
    process, exchange = slow.engine._process, Path(slow.engine.hello["exchange"])
    assert exchange.exists()
    slow.close()
    assert process.wait(5)
    end = time.monotonic() + 5
    while exchange.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not exchange.exists()


def test_an_application_that_ends_leaves_no_process_and_no_files(tmp_path):
    code = f"""
import os, sys, time
sys.path.insert(0, {str(MODULE)!r})
from SAMMedLib.process import WorkerProcess
command = [{SAMMED_PYTHON!r}, "-m", "sammed.worker", "--exchange", {str(tmp_path)!r}]
worker = WorkerProcess(command, dict(os.environ))
worker.send({{"id": 1, "do": "hello", "protocol": 1}})
while not (messages := worker.poll()):
    time.sleep(0.01)
worker.exchange = messages[0]["exchange"]
assert os.path.isdir(worker.exchange)
worker.kill()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []


def test_a_volume_removed_while_it_runs(slow):
    start(slow, "slow:0.05")
    slicer.mrmlScene.RemoveNode(slow.parameters.volume)
    slow.parameters.volume = None
    run(slow)
    assert "removed meanwhile" in slow.message


def test_a_segment_removed_while_it_runs(slow):
    start(slow, "slow:0.05")
    node, segment_id = chosen(slow)
    node.GetSegmentation().RemoveSegment(segment_id)
    run(slow)
    assert "removed meanwhile" in slow.message


def test_a_segmentation_removed_while_it_runs(slow):
    start(slow, "slow:0.05")
    slicer.mrmlScene.RemoveNode(slow.parameters.segmentation)
    slow.parameters.segmentation = None
    run(slow)
    assert "removed meanwhile" in slow.message


def test_prompts_removed_while_it_runs_do_not_disturb(slow):
    start(slow, "slow:0.05")
    prompts.clear(*chosen(slow))
    run(slow)
    assert mask_of(slow).any()
    slow.undo()  # the prompts that were removed since
    assert prompts.count(*chosen(slow))[0] == 1
    slow.undo()
    assert not mask_of(slow).any()


def test_an_engine_of_another_time_says_which_to_update(workflow, monkeypatch):
    from SAMMedLib import engine

    monkeypatch.setattr(engine, "PROTOCOL", 99)
    workflow.engine = Engine(workflow.engine._launch)
    add_box(workflow)
    workflow.segment()
    run(workflow)
    assert workflow.failed
    assert "speaks protocol 1, not 99: update the sammed package" in workflow.message
    assert workflow.engine._process is None


def test_a_python_without_sammed_is_said_so(workflow, tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {SAMMED_PYTHON} -I -S "$@"\n')
    bare.chmod(0o755)
    workflow.engine = Engine(lambda: ([str(bare), "-m", "sammed.worker"], dict(os.environ)))
    add_box(workflow)
    workflow.segment()
    run(workflow)
    assert "has no sammed; install it" in workflow.message


def test_nothing_found_leaves_the_segment_and_no_trace_in_the_next(slow, tmp_path):
    blind = tmp_path / "blind"
    first = segment_with(slow, f"blind:{blind}")
    box = prompts.nodes(*chosen(slow), prompts.BOX)[0]
    blind.touch()
    geometry.fit_roi(slow.volume, box, [11, 30, 40, 12, 50, 60])
    slow.segment()
    run(slow)
    assert "nothing was segmented" in slow.message.lower()
    assert np.array_equal(mask_of(slow), first)
    blind.unlink()
    geometry.fit_roi(slow.volume, box, [11, 30, 40, 12, 48, 60])
    second = segment(slow)
    assert geometry.tight(second)[1:3] + geometry.tight(second)[4:] == [30, 40, 48, 60]


def test_what_the_engine_refuses_is_shown(workflow):
    workflow.parameters.model = "vit_h"
    add_box(workflow)
    workflow.segment()
    run(workflow)
    assert workflow.failed
    assert "vit_h" in workflow.message


def test_a_second_segmentation_waits_for_the_first(slow):
    start(slow, "slow:0.05")
    slow.segment()
    assert "Another segmentation is running" in slow.message
    run(slow)
    assert mask_of(slow).any()


# Prompts that are drawn ---------------------------------------------------------------------


def test_a_drawn_box_becomes_one_slice_across_its_view(workflow):
    workflow.add_segment("organ")
    show_slice(workflow, 0, 11)
    workflow.place(prompts.BOX)
    run(workflow)
    interaction = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    node, segment_id = chosen(workflow)
    roi = prompts.nodes(node, segment_id, prompts.BOX)[0]
    centre = geometry.slice_centre(workflow.volume, 0, 11, (11, 27.5, 51.5))
    roi.SetCenterWorld(centre)
    roi.SetSize(33.0, 15.0, 20.0)
    roi.InvokeEvent(slicer.vtkMRMLMarkupsNode.PointPositionDefinedEvent)
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    workflow.poll()
    asked, _ = prompts.read(workflow.volume, node, segment_id)
    block = asked["boxes"][0]["block"]
    assert asked["boxes"][0]["axis"] == 0
    assert (block[0], block[3]) == (11, 12)
    assert geometry.roi_block(workflow.volume, roi) == block  # what you see is what it means


def test_points_are_placed_one_after_the_other(workflow):
    workflow.add_segment("organ")
    workflow.place(prompts.POSITIVE)
    interaction = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    selection = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    assert interaction.GetPlaceModePersistence() == 1
    node = prompts.nodes(*chosen(workflow), prompts.POSITIVE)[0]
    assert selection.GetActivePlaceNodeID() == node.GetID()
    workflow.place(prompts.NEGATIVE)
    other = prompts.nodes(*chosen(workflow), prompts.NEGATIVE)[0]
    assert selection.GetActivePlaceNodeID() == other.GetID()
    workflow.placing.end()
    assert interaction.GetPlaceModePersistence() == 0
    run(workflow)


def test_a_box_that_was_not_drawn_is_not_left_behind(workflow):
    workflow.add_segment("organ")
    workflow.place(prompts.BOX)
    workflow.placing.end()
    assert prompts.nodes(*chosen(workflow)) == []
    run(workflow)


def test_auto_update_segments_once_the_hand_rests(workflow):
    workflow.parameters.autoUpdate = True
    box = add_box(workflow)
    workflow.placing.watch()
    for _ in range(5):
        box.InvokeEvent(slicer.vtkMRMLMarkupsNode.PointEndInteractionEvent)
        workflow.poll()
        time.sleep(0.05)
        assert not workflow.engine.busy
    end = time.monotonic() + 2
    while not workflow.engine.busy and time.monotonic() < end:
        workflow.poll()
        time.sleep(0.01)
    run(workflow)
    assert mask_of(workflow).any()
    assert len(workflow.history.past) == 1


def test_a_box_drawn_again_moves_the_segment(workflow):
    box = add_box(workflow)
    first = segment(workflow)
    geometry.fit_roi(workflow.volume, box, [12, 34, 34, 13, 42, 62])
    second = segment(workflow)
    assert not np.array_equal(first, second)


# Window, slices, scene ----------------------------------------------------------------------


def test_the_window_is_copied_from_the_display_once(workflow):
    add_box(workflow)
    segment(workflow)
    assert workflow.parameters.window == "160/70"
    workflow.volume.GetDisplayNode().SetWindowLevel(10, 5)
    segment(workflow)
    assert workflow.parameters.window == "160/70"
    workflow.copy_window()
    assert workflow.parameters.window == "10/5"
    assert np.array_equal(slicer.util.arrayFromVolume(workflow.volume), phantom()[0])


def test_a_line_of_the_table_shows_its_slice(workflow):
    add_box(workflow)
    segment(workflow)
    lines = workflow.history.runs[workflow.key]["slices"]
    assert [line["index"] for line in lines] == sorted(line["index"] for line in lines)
    line = next(line for line in lines if line["index"] == 9)
    show_slice(workflow, 0, 3)
    workflow.jump(line)
    red = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed")
    assert geometry.shown_slice(workflow.volume, red) == (0, 9)
    origin = geometry.as_array(red.GetSliceToRAS())[:3, 3]
    voxel = geometry.ijk_from_world(workflow.volume, [origin])[0][::-1]
    np.testing.assert_allclose(voxel, line["centroid"], atol=0.01)


def test_prompts_come_back_with_the_scene(workflow, tmp_path):
    add_box(workflow)
    found = segment(workflow)
    node, segment_id = chosen(workflow)
    prompts.set_right_slices(node, segment_id, 0, [11, 12])
    prompts.add_point(
        node, segment_id, prompts.NEGATIVE, geometry.slice_centre(workflow.volume, 0, 4)
    )
    asked, _ = prompts.read(workflow.volume, node, segment_id)
    path = save_scene(tmp_path)

    workflow.reset()
    slicer.mrmlScene.Clear(0)
    workflow.parameters.volume = workflow.parameters.segmentation = None
    assert slicer.util.getNodesByClass("vtkMRMLMarkupsROINode") == []
    load_scene(path)
    workflow.parameters.volume = slicer.mrmlScene.GetFirstNodeByName("phantom")
    workflow.parameters.segmentation = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")[0]
    workflow.parameters.segmentID = segment_id
    workflow.adopt()

    again, problems = prompts.read(workflow.volume, *chosen(workflow))
    assert problems == []
    assert again == asked
    assert prompts.right_slices(*chosen(workflow)) == (0, [11, 12])
    assert np.array_equal(mask_of(workflow), found)
    assert not workflow.can_undo
    segment(workflow)


def test_a_segmentation_lies_beside_its_volume(workflow):
    scene = slicer.mrmlScene
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patient = tree.CreateSubjectItem(tree.GetSceneItemID(), "patient")
    tree.CreateItem(patient, workflow.volume)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def added(caller, event, node):  # what the application's plugins do
        if node.IsA("vtkMRMLSegmentationNode"):
            tree.CreateItem(tree.GetSceneItemID(), node)

    tag = scene.AddObserver(scene.NodeAddedEvent, added)
    workflow.add_segment("organ")
    scene.RemoveObserver(tag)
    item = tree.GetItemByDataNode(workflow.parameters.segmentation)
    assert item
    assert tree.GetItemParent(item) == patient


def test_names_bring_terminology(workflow):
    workflow.add_segment("left kidney")
    node, segment_id = chosen(workflow)
    segment = node.GetSegmentation().GetSegment(segment_id)
    text = prompts.get_tag(segment, segment.GetTerminologyEntryTagName())
    entry = slicer.vtkSlicerTerminologyEntry()
    logic = slicer.modules.terminologies.logic()
    assert logic.DeserializeTerminologyEntry(text, entry)
    assert entry.GetTypeObject().GetCodeMeaning() == "Kidney"
    assert entry.GetTypeModifierObject().GetCodeMeaning() == "Left"
    assert entry.GetCategoryObject().GetCodeValue() == "123037004"
    assert segmentation.terminology("something else") == ""


def test_a_surface_that_is_shown_follows(workflow):
    add_box(workflow)
    segment(workflow)
    node, segment_id = chosen(workflow)
    name = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    assert not node.GetSegmentation().ContainsRepresentation(name)
    node.CreateClosedSurfaceRepresentation()
    size = node.GetClosedSurfaceInternalRepresentation(segment_id).GetNumberOfPoints()
    prompts.clear(node, segment_id)
    prompts.place_box(node, segment_id, workflow.volume, [11, 24, 48, 12, 32, 56], 0)
    segment(workflow)
    surface = node.GetClosedSurfaceInternalRepresentation(segment_id)
    assert surface is not None
    assert 0 < surface.GetNumberOfPoints() != size


class Spied:
    """A segmentation node that counts how often its surfaces are made."""

    def __init__(self, node):
        self.node, self.made = node, 0

    def __getattr__(self, name):
        return getattr(self.node, name)

    def CreateClosedSurfaceRepresentation(self):
        self.made += 1


@pytest.mark.parametrize(("shown", "exists", "made"), [(1, 1, 1), (0, 1, 0), (1, 0, 0)])
def test_no_surface_is_made_that_nobody_sees(workflow, shown, exists, made):
    add_box(workflow)
    segment(workflow)
    node, segment_id = chosen(workflow)
    if exists:
        node.CreateClosedSurfaceRepresentation()
    node.GetDisplayNode().SetVisibility3D(bool(shown))
    spied = Spied(node)
    segmentation.refresh_surface(spied, segment_id)
    assert spied.made == made
