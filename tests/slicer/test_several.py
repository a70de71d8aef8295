"""Several segments and volumes do not disturb each other."""

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: run by make test-slicer")

from SAMMedLib import geometry, prompts, segmentation  # noqa: E402

from tests.slicer.conftest import (  # noqa: E402
    dice,
    phantom,
)
from tests.slicer.workflows import (  # noqa: E402
    BOX,
    ORGAN,
    add_box,
    chosen,
    mask_of,
    segment,
)


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


def test_a_block_is_written_exactly_inside_and_beyond_what_is_there(workflow, neighbours):
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


def test_a_segment_leaves_a_shared_layer_whole_and_no_ghost_stays(workflow, neighbours):
    node = workflow.parameters.segmentation
    segments = node.GetSegmentation()
    vessel, bone = neighbours
    assert segments.GetNumberOfLayers() == 1
    node.CreateClosedSurfaceRepresentation()
    block = [9, 20, 60, 14, 26, 72]
    segmentation.write(node, vessel, workflow.volume, block, np.zeros((5, 6, 12), bool))
    expected = neighbours[vessel].copy()
    expected[geometry.inside(block, [0] * 6)] = False
    assert expected.any()
    assert np.array_equal(mask_of(workflow, vessel), expected)
    assert np.array_equal(mask_of(workflow, bone), neighbours[bone])
    assert segments.GetNumberOfLayers() == 2
    assert node.GetClosedSurfaceInternalRepresentation(bone) is not None
    layer = segments.GetLayerDataObject(segments.GetLayerIndex(bone), "Binary labelmap")
    from vtk.util import numpy_support

    labels = np.unique(numpy_support.vtk_to_numpy(layer.GetPointData().GetScalars()))
    assert labels.tolist() == [0, segments.GetSegment(bone).GetLabelValue()]


def test_segments_on_another_grid_keep_their_voxels(workflow):
    """A segment drawn on another volume's grid is resampled, not taken for empty."""
    node = segmentation.make(workflow.volume)
    workflow.parameters.segmentation = node
    matrix = geometry.ras_from_ijk(workflow.volume) @ np.diag([2.0, 2.0, 2.0, 1.0])
    coarse = slicer.util.addVolumeFromArray(np.zeros((12, 36, 42), np.int16), matrix)
    coarse.SetAndObserveTransformNodeID(workflow.volume.GetTransformNodeID())
    other = segmentation.add(node, "coarse")
    drawn = np.zeros((12, 36, 42), np.uint8)
    drawn[5:7, 10:16, 22:30] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, node, other, coarse)
    workflow.add_segment("organ")
    taken = segmentation.others(
        node, workflow.parameters.segmentID, workflow.grid, [0, 0, 0, *ORGAN.shape]
    )
    fine = mask_of(workflow, other)
    assert fine.sum() > 5 * drawn.sum()
    assert np.array_equal(taken, fine)


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
