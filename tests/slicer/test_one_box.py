"""One box gives a segment, where it is and as the engine gave it."""

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: run by make test-slicer")

import vtk  # noqa: E402
from SAMMedLib import geometry, prompts, segmentation  # noqa: E402

from tests.slicer.conftest import (  # noqa: E402
    dice,
    run,
)
from tests.slicer.workflows import (  # noqa: E402
    BOX,
    ORGAN,
    add_box,
    chosen,
    segment,
)


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
    assert workflow.history.run(workflow.key)["axis"] == axis
    extent = geometry.tight(ORGAN)
    indices = [line["index"] for line in workflow.history.run(workflow.key)["slices"]]
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
