"""What the module must never do without a word: lose a segment, or write it to the wrong place."""

import types

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: run by make test-slicer")

import vtk  # noqa: E402
from SAMMedLib import geometry, prompts, segmentation  # noqa: E402

from tests.slicer.conftest import dice, phantom, run  # noqa: E402
from tests.slicer.workflows import (  # noqa: E402
    BOX,
    ORGAN,
    add_box,
    chosen,
    mask_of,
    moved,
    paint,
    segment,
    segment_until_shown,
    segment_with,
    show_slice,
)


def world_centre(workflow):
    """Centre of the segment in the world, through its own transform; Slicer resamples nothing."""
    node, segment_id = chosen(workflow)
    image = slicer.vtkOrientedImageData()
    assert node.GetBinaryLabelmapRepresentation(segment_id, image)
    slicer.vtkSlicerSegmentationsModuleLogic.ApplyParentTransformToOrientedImageData(node, image)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    from vtk.util import numpy_support

    low, high = image.GetExtent()[::2], image.GetExtent()[1::2]
    shape = [h - n + 1 for n, h in zip(low, high, strict=True)][::-1]
    voxels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape)
    ijk = np.argwhere(voxels).mean(axis=0)[::-1] + low
    return geometry.as_array(matrix)[:3] @ [*ijk, 1]


# A surface is the source ---------------------------------------------------------------------


@pytest.fixture
def surface(workflow):
    """An imported surface, as from an STL or an RTSTRUCT: nothing else is in the segmentation."""
    drawn = segmentation.make(workflow.volume)
    segment_id = segmentation.add(drawn, "organ")
    array = np.zeros(ORGAN.shape, np.uint8)
    array[9:12] = ORGAN[9:12]
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, drawn, segment_id, workflow.volume)
    drawn.CreateClosedSurfaceRepresentation()
    mesh = vtk.vtkPolyData()
    drawn.GetClosedSurfaceRepresentation(segment_id, mesh)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "imported")
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(workflow.volume.GetTransformNodeID())
    node.SetSourceRepresentationToClosedSurface()
    node.AddSegmentFromClosedSurfaceRepresentation(mesh, "organ", (1.0, 0.0, 0.0))
    slicer.mrmlScene.RemoveNode(drawn)
    workflow.parameters.segmentation = node
    workflow.parameters.segmentID = node.GetSegmentation().GetNthSegmentID(0)
    return workflow


def test_a_surface_is_not_written_to_without_a_yes(surface):
    prompts.place_box(*chosen(surface), surface.volume, BOX, 0)
    surface.segment()
    run(surface)
    assert surface.failed
    assert "is kept as a closed surface" in surface.message
    assert "'imported'" in surface.message
    node = surface.parameters.segmentation
    assert node.GetSegmentation().GetSourceRepresentationName() == "Closed surface"


def test_a_surface_is_converted_after_a_yes_and_keeps_its_segment(surface, tmp_path):
    asked = []
    surface.ask = lambda question: asked.append(question) or True
    prompts.place_box(*chosen(surface), surface.volume, BOX, 0)
    found = segment(surface)
    assert "Convert it to a binary labelmap?" in asked[0]
    assert len(asked) == 1
    assert dice(found, ORGAN) > 0.9
    path = str(tmp_path / "organ.seg.nrrd")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(path)
    assert storage.WriteData(surface.parameters.segmentation)
    again = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert storage.ReadData(again)
    again.SetAndObserveTransformNodeID(surface.volume.GetTransformNodeID())
    segment_id = again.GetSegmentation().GetNthSegmentID(0)
    read = slicer.util.arrayFromSegmentBinaryLabelmap(again, segment_id, surface.volume)
    assert np.array_equal(read > 0, found)


def test_a_surface_can_be_a_prompt(surface):
    surface.ask = lambda question: True
    surface.confirm_all()
    assert not surface.failed, surface.message
    assert prompts.right_slices(*chosen(surface))[1] == [9, 10, 11]


def test_a_segmentation_that_becomes_a_surface_while_it_runs(slow):
    slow.parameters.model = "slow:0.1"
    segment_until_shown(slow)
    node = slow.parameters.segmentation
    node.CreateClosedSurfaceRepresentation()
    node.SetSourceRepresentationToClosedSurface()
    run(slow)
    assert slow.failed
    assert "is kept as a closed surface" in slow.message
    assert "dropped" in slow.message


# The volume moves ---------------------------------------------------------------------------


def harden(node):
    assert node.HardenTransform()


def test_a_transform_hardened_while_it_runs_does_not_move_the_result(slow):
    slow.parameters.model = "slow:0.1"
    segment_until_shown(slow)
    expected = world_centre(slow)
    harden(slow.volume)  # the segmentation stays under its transform
    run(slow)
    assert np.linalg.norm(world_centre(slow)[:2] - expected[:2]) < 0.2 * 36
    ours = segmentation.read(*chosen(slow), slow.grid)[0]
    assert ours[1:3] + ours[4:] == [12, 32, 44, 72]  # the box, in the volume's own voxels


def test_when_both_are_hardened_the_result_is_dropped_and_the_preview_goes(slow):
    first = segment_with(slow, "slow:0.001")
    box = prompts.nodes(*chosen(slow), prompts.BOX)[0]
    geometry.fit_roi(slow.volume, box, [11, 30, 40, 12, 50, 60])
    slow.parameters.model = "slow:0.1"
    segment_until_shown(slow)
    assert np.array_equal(mask_of(slow)[11], moved())
    harden(slow.volume)
    harden(slow.parameters.segmentation)
    run(slow)
    assert slow.failed
    assert "was moved (its transform was changed or hardened) meanwhile" in slow.message
    assert "the segment is as it was" in slow.message
    assert np.array_equal(mask_of(slow), first)


def test_a_volume_that_is_moved_away_while_it_runs(slow):
    slow.parameters.model = "slow:0.1"
    segment_until_shown(slow)
    slow.volume.SetAndObserveTransformNodeID(None)
    run(slow)
    assert slow.failed
    assert "'phantom' was moved" in slow.message
    assert segmentation.read(*chosen(slow), slow.grid) == (None, None)


def test_a_patient_that_is_moved_as_a_whole_disturbs_nothing(slow):
    slow.parameters.model = "slow:0.1"
    segment_until_shown(slow)
    shift = vtk.vtkTransform()
    shift.Translate(40, 5, -3)
    slow.volume.GetParentTransformNode().ApplyTransform(shift)
    run(slow)
    assert not slow.failed, slow.message
    assert mask_of(slow).any()


def test_cancel_leaves_the_segment_where_it_was(slow):
    first = segment_with(slow, "slow:0.001")
    before = world_centre(slow)
    box = prompts.nodes(*chosen(slow), prompts.BOX)[0]
    geometry.fit_roi(slow.volume, box, [11, 30, 40, 12, 50, 60])
    slow.parameters.model = "slow:0.1"
    segment_until_shown(slow)
    harden(slow.volume)
    slow.cancel()
    run(slow)
    assert "as it was" in slow.message
    np.testing.assert_allclose(world_centre(slow), before, atol=1e-6)
    assert mask_of(slow).sum() == first.sum()


@pytest.mark.parametrize("both", [False, True])
def test_undo_and_redo_never_shift(workflow, both):
    add_box(workflow)
    segment(workflow)
    prompts.place_box(*chosen(workflow), workflow.volume, [14, 15, 40, 15, 40, 60], 0)
    segment(workflow)
    workflow.undo()
    first = world_centre(workflow)
    workflow.redo()
    second = world_centre(workflow)
    harden(workflow.volume)
    if both:
        harden(workflow.parameters.segmentation)
        workflow.undo()
        assert workflow.failed
        assert "wrong place" in workflow.message
        np.testing.assert_allclose(world_centre(workflow), second, atol=1e-6)
        return
    workflow.undo()
    np.testing.assert_allclose(world_centre(workflow), first, atol=1e-6)
    workflow.redo()
    np.testing.assert_allclose(world_centre(workflow), second, atol=1e-6)


# The volume is replaced ---------------------------------------------------------------------


def other_voxels(volume):
    slicer.util.arrayFromVolume(volume)[...] = phantom()[0][:, ::-1]
    slicer.util.arrayFromVolumeModified(volume)


def another_size(volume):
    slicer.util.updateVolumeFromArray(volume, phantom((20, 60, 70))[0])


@pytest.mark.parametrize(
    ("replace", "said"), [(other_voxels, "voxels of 'phantom'"), (another_size, "another size")]
)
def test_the_result_of_a_volume_that_was_replaced_is_dropped(slow, replace, said):
    slow.parameters.model = "slow:0.1"
    segment_until_shown(slow)
    replace(slow.volume)
    run(slow)
    assert slow.failed
    assert said in slow.message
    assert segmentation.read(*chosen(slow), slow.grid) == (None, None)


def sequence(volume, frames):
    """A browser over frames of a volume; the volume shows the frame that is chosen."""
    scene = slicer.mrmlScene
    kept = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "frames")
    for number, voxels in enumerate(frames):
        frame = slicer.util.addVolumeFromArray(voxels, geometry.ras_from_ijk(volume))
        kept.SetDataNodeAtValue(frame, str(number))
        scene.RemoveNode(frame)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.SetAndObserveMasterSequenceNodeID(kept.GetID())
    browser.AddProxyNode(volume, kept, False)

    def go(number):
        browser.SetSelectedItemNumber(number)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)

    go(0)
    return browser, go


def test_the_result_of_another_frame_is_dropped(slow):
    slow.volume.SetAndObserveTransformNodeID(None)
    slow.parameters.segmentation.SetAndObserveTransformNodeID(None)
    box = prompts.nodes(*chosen(slow), prompts.BOX)[0]
    geometry.fit_roi(slow.volume, box, BOX)
    _, go = sequence(slow.volume, [phantom()[0], phantom()[0][:, ::-1].copy()])
    slow.parameters.model = "slow:0.1"
    segment_until_shown(slow)
    go(1)
    run(slow)
    assert slow.failed
    assert "shows another frame" in slow.message
    assert segmentation.read(*chosen(slow), slow.grid) == (None, None)


# A box on an oblique volume -----------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0, 5, 10, 20, 33, 45, 70])
def test_a_box_drawn_by_two_clicks_is_exact_at_every_angle(workflow, degrees):
    turn = vtk.vtkTransform()
    turn.RotateWXYZ(degrees, 0.2, 0.3, 0.9)
    matrix = geometry.as_array(turn.GetMatrix()) @ np.diag([-0.8, -0.9, 2.5, 1.0])
    volume = slicer.util.addVolumeFromArray(phantom()[0], matrix)
    workflow.parameters.volume = volume
    workflow.add_segment("organ")
    show_slice(workflow, 0, 11)
    workflow.place(prompts.BOX)
    run(workflow)
    roi = prompts.nodes(*chosen(workflow), prompts.BOX)[0]
    for corner in ([31.5, 11.5, 11], [71.5, 43.5, 11]):  # outer corners of the voxels, i j k
        roi.AddControlPointWorld(*geometry.world_from_ijk(volume, [corner])[0])
    interaction = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    workflow.poll()
    asked, problems = prompts.read(volume, *chosen(workflow))
    assert problems == []
    assert asked["boxes"] == [{"axis": 0, "block": BOX}]


# What is kept -------------------------------------------------------------------------------


def smooth(workflow):
    """What Smoothing or Margin does: every slice looks a little different."""
    array = mask_of(workflow)
    array[:, 1:] |= array[:, :-1].copy()
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        array.astype(np.uint8), *chosen(workflow), workflow.volume
    )
    return array


def test_it_says_when_all_is_kept_and_lets_all_be_released(workflow):
    add_box(workflow)
    first = segment(workflow)
    smoothed = smooth(workflow)
    box = prompts.nodes(*chosen(workflow), prompts.BOX)[0]
    geometry.fit_roi(workflow.volume, box, [11, 16, 44, 12, 40, 60])
    assert np.array_equal(segment(workflow), smoothed)
    assert "segmented" in workflow.message
    assert workflow.message.startswith("Nothing was segmented: all")
    assert "Release" in workflow.message
    workflow.release_all()
    assert "no longer kept" in workflow.message
    after = segment(workflow)
    assert not np.array_equal(after, smoothed)
    assert prompts.right_slices(*chosen(workflow)) == (None, [])
    assert after.sum() < first.sum()  # the smaller box counts


def test_one_slice_is_released(workflow):
    add_box(workflow)
    segment(workflow)
    smoothed = smooth(workflow)
    segment(workflow)
    kept = prompts.right_slices(*chosen(workflow))[1]
    assert 9 in kept
    show_slice(workflow, 0, 9)
    workflow.release_slice()
    assert "Slice 9 is no longer kept" in workflow.message
    after = segment(workflow)
    assert prompts.right_slices(*chosen(workflow))[1] == [i for i in kept if i != 9]
    assert f"1 slice segmented, {len(kept) - 1} slices kept" in workflow.message
    assert not np.array_equal(after[9], smoothed[9])
    assert np.array_equal(np.delete(after, 9, axis=0), np.delete(smoothed, 9, axis=0))


def test_a_mask_of_another_frame_is_no_correction(workflow):
    workflow.volume.SetAndObserveTransformNodeID(None)
    _, go = sequence(workflow.volume, [phantom()[0], phantom()[0][:, ::-1].copy()])
    add_box(workflow)
    segment(workflow)
    go(1)
    smooth(workflow)  # the mask that this frame has of its own
    box = prompts.nodes(*chosen(workflow), prompts.BOX)[0]
    geometry.fit_roi(workflow.volume, box, [11, 72 - 44, 32, 12, 72 - 12, 72])
    found = segment(workflow)
    assert prompts.right_slices(*chosen(workflow)) == (None, [])
    assert dice(found, ORGAN[:, ::-1]) > 0.9


# One history --------------------------------------------------------------------------------


@pytest.fixture
def editor(workflow):
    """Slicer's own Segment Editor, below its widget, on the workflow's segmentation."""
    from SAMMedLib import editing

    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    logic.SetSegmentEditorNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
    add_box(workflow)
    logic.SetSegmentationNode(workflow.parameters.segmentation)
    logic.SetSourceVolumeNode(workflow.volume)
    workflow.history.editor = editing.EditorHistory(logic)
    return logic


def brush(workflow, editor, index):
    """Paint a slice by the Segment Editor, which saves the state before."""
    editor.SaveStateForUndo()
    painted = np.zeros(ORGAN.shape[1:], np.uint8)
    painted[24:33, 46:60] = 1
    paint(workflow, index, painted)
    return mask_of(workflow)


def test_the_segment_editors_undo_takes_our_step_back_with_its_prompts(workflow, editor):
    first = segment(workflow)
    prompts.place_box(*chosen(workflow), workflow.volume, [14, 15, 40, 15, 40, 60], 0)
    second = segment(workflow)
    painted = brush(workflow, editor, 9)
    editor.Undo()
    workflow.poll()
    assert np.array_equal(mask_of(workflow), second)
    assert prompts.count(*chosen(workflow))[0] == 2
    editor.Undo()
    workflow.poll()
    assert np.array_equal(mask_of(workflow), first)
    assert prompts.count(*chosen(workflow))[0] == 1
    assert workflow.can_redo
    workflow.redo()
    assert np.array_equal(mask_of(workflow), second)
    assert prompts.count(*chosen(workflow))[0] == 2
    workflow.redo()
    assert np.array_equal(mask_of(workflow), painted)
    workflow.undo()
    workflow.undo()
    workflow.undo()
    assert not mask_of(workflow).any()
    assert workflow.history.run(workflow.key) is None


def test_after_the_segment_editors_undo_no_slice_is_right(workflow, editor):
    segment(workflow)
    box = prompts.nodes(*chosen(workflow), prompts.BOX)[0]
    geometry.fit_roi(workflow.volume, box, [11, 16, 44, 12, 40, 60])
    segment(workflow)
    editor.Undo()
    workflow.poll()
    box = prompts.nodes(*chosen(workflow), prompts.BOX)[0]
    geometry.fit_roi(workflow.volume, box, [11, 16, 44, 12, 40, 60])
    second = segment(workflow)
    assert prompts.right_slices(*chosen(workflow)) == (None, [])
    assert "segmented" in workflow.message
    assert not workflow.message.startswith("Nothing")
    assert second[11].any()


def test_the_undo_of_the_module_segment_editor_takes_back_no_more_than_our_step(
    workflow, editor, monkeypatch
):
    """Slicer's own module has an editor of its own, beside the one in our panel."""
    own = slicer.vtkSlicerSegmentEditorLogic()
    own.SetMRMLScene(slicer.mrmlScene)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    own.SetSegmentEditorNode(node)
    own.SetSegmentationNode(workflow.parameters.segmentation)
    widget = types.SimpleNamespace(
        segmentationNode=own.GetSegmentationNode, saveStateForUndo=own.SaveStateForUndo
    )
    module = types.SimpleNamespace(editor=widget)
    monkeypatch.setattr(slicer.modules, "SegmentEditorWidget", module, raising=False)
    painted = brush(workflow, own, 9)
    prompts.set_right_slices(*chosen(workflow), 0, [9])
    segment(workflow)
    own.Undo()
    workflow.poll()
    assert np.array_equal(mask_of(workflow), painted)  # what was painted before stays
    assert workflow.history.run(workflow.key) is None
    own.Undo()
    assert not mask_of(workflow).any()


def test_undo_is_of_the_segmentation_that_is_chosen(workflow):
    add_box(workflow)
    found = segment(workflow)
    first = chosen(workflow)
    workflow.parameters.segmentation, workflow.parameters.segmentID = None, ""
    workflow.add_segment("other")
    assert not workflow.can_undo
    workflow.undo()
    kept = slicer.util.arrayFromSegmentBinaryLabelmap(*first, workflow.volume) > 0
    assert np.array_equal(kept, found)


# Odd input ----------------------------------------------------------------------------------


def test_a_label_map_is_no_input(workflow):
    logic = slicer.modules.volumes.logic()
    labels = logic.CreateAndAddLabelVolume(slicer.mrmlScene, workflow.volume, "organs")
    workflow.parameters.volume = labels
    add_box(workflow)
    workflow.segment()
    run(workflow)
    assert workflow.failed
    assert "'organs' is a label map, not an image: choose the CT or MR" in workflow.message


def test_voxels_that_are_no_number_are_told_and_taken_as_the_lowest(workflow):
    voxels = phantom()[0].astype(np.float32)
    voxels[0, :3, :4] = np.nan
    voxels[1, 2, 3] = np.inf
    slicer.util.updateVolumeFromArray(workflow.volume, voxels)
    add_box(workflow)
    found = segment(workflow)
    assert dice(found, ORGAN) > 0.9
    assert "13 voxels hold no number (NaN or infinite)" in workflow.message
    kept = slicer.util.arrayFromVolume(workflow.volume)
    assert np.array_equal(np.isfinite(kept), np.isfinite(voxels))  # the volume is not changed


def test_a_volume_without_a_number_is_refused(workflow):
    slicer.util.updateVolumeFromArray(workflow.volume, np.full(ORGAN.shape, np.nan, np.float32))
    add_box(workflow)
    workflow.segment()
    run(workflow)
    assert "no voxel of the volume holds a number" in workflow.message.lower()
    assert "sammed.read" not in workflow.message


def test_errors_name_segments_not_nodes(slow, tmp_path):
    blind = tmp_path / "blind"
    blind.touch()
    slow.parameters.model = f"blind:{blind}"
    slow.segment()
    run(slow)
    assert "organ" in slow.message
    assert "vtkMRML" not in slow.message
