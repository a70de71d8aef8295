"""Prompts that are drawn, views, windows, and what the scene file keeps."""

import time

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: run by make test-slicer")

import vtk  # noqa: E402
from SAMMedLib import geometry, prompts, terms  # noqa: E402

from tests.slicer.conftest import (  # noqa: E402
    load_scene,
    phantom,
    run,
    save_scene,
)
from tests.slicer.workflows import (  # noqa: E402
    add_box,
    chosen,
    mask_of,
    segment,
    segment_until_shown,
    segment_with,
    show_slice,
    steps,
)


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


def test_what_was_drawn_goes_with_its_segmentation(workflow):
    add_box(workflow)
    slicer.mrmlScene.RemoveNode(workflow.parameters.segmentation)
    workflow.parameters.segmentation = None
    end = time.monotonic() + 2
    while slicer.util.getNodesByClass("vtkMRMLMarkupsROINode") and time.monotonic() < end:
        workflow.poll()
        time.sleep(0.01)
    assert slicer.util.getNodesByClass("vtkMRMLMarkupsROINode") == []


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
    assert steps(workflow) == 1


def test_a_box_drawn_again_moves_the_segment(workflow):
    box = add_box(workflow)
    first = segment(workflow)
    geometry.fit_roi(workflow.volume, box, [12, 34, 34, 13, 42, 62])
    second = segment(workflow)
    assert not np.array_equal(first, second)


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
    lines = workflow.history.run(workflow.key)["slices"]
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
    assert terms.entry("something else") == ""


def settle(workflow):
    """Until the surfaces are as the segments are."""
    end = time.monotonic() + 30
    while workflow.surfaces.busy:
        workflow.poll()
        time.sleep(0.005)
        assert time.monotonic() < end


def surface_of(workflow):
    node, segment_id = chosen(workflow)
    return node.GetClosedSurfaceInternalRepresentation(segment_id)


@pytest.mark.parametrize("shown", [False, True])
def test_a_surface_follows_whether_it_is_shown_or_not(workflow, shown):
    add_box(workflow)
    segment(workflow)
    node, segment_id = chosen(workflow)
    assert surface_of(workflow) is None
    node.CreateClosedSurfaceRepresentation()
    node.GetDisplayNode().SetVisibility3D(shown)
    size = surface_of(workflow).GetNumberOfPoints()
    prompts.clear(node, segment_id)
    prompts.place_box(node, segment_id, workflow.volume, [11, 24, 48, 12, 32, 56], 0)
    segment(workflow)
    settle(workflow)
    ours = surface_of(workflow)
    assert 0 < ours.GetNumberOfPoints() < size
    node.CreateClosedSurfaceRepresentation()  # Slicer's own way gives the same
    slicers = surface_of(workflow)
    assert slicers.GetNumberOfPoints() == ours.GetNumberOfPoints()
    np.testing.assert_allclose(slicers.GetBounds(), ours.GetBounds(), atol=1e-6)
    workflow.undo()
    settle(workflow)
    assert surface_of(workflow).GetNumberOfPoints() == size


def test_no_surface_is_made_where_there_is_none(workflow):
    add_box(workflow)
    segment(workflow)
    settle(workflow)
    assert surface_of(workflow) is None
    assert workflow.surfaces.made == 0


def test_early_slices_make_no_surface_and_the_result_makes_one(slow):
    segment_with(slow, "slow:0.001")
    node, _ = chosen(slow)
    node.CreateClosedSurfaceRepresentation()
    before = surface_of(slow)
    stamp = before.GetMTime()
    box = prompts.nodes(*chosen(slow), prompts.BOX)[0]
    geometry.fit_roi(slow.volume, box, [11, 30, 40, 12, 50, 60])
    slow.parameters.model = "slow:0.1"
    segment_until_shown(slow)
    assert surface_of(slow) is before
    assert before.GetMTime() == stamp
    run(slow)
    settle(slow)
    assert slow.surfaces.made == slow.surfaces.beside == 1
    assert surface_of(slow).GetMTime() > stamp
