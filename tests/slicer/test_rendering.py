"""Left is left and up is up, to the pixel: drawn by Slicer's own slice renderer, offscreen."""

import os
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: run by make test-slicer")

from SAMMedLib import geometry, prompts, segmentation  # noqa: E402

from tests.slicer.conftest import ROOT, phantom, run  # noqa: E402

BOX = [11, 12, 32, 12, 44, 72]
PICTURES = os.environ.get("SAMMED_PICTURES")
SAMPLE = ROOT / "sample_data" / "phantom_ct.nii.gz"
GREEN = (0.1, 0.9, 0.2)
"""Slicer draws colours by chance: one may be as grey as what it lies on."""


@pytest.fixture
def red(scene, drawing):
    return slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed")


def drawn(node, volume, centre, segmentation=None, width=400, height=360, extent_mm=90):
    from standin.slice_view import SliceView

    if segmentation is not None:
        segmentation.GetDisplayNode().SetVisibility(False)
    view = SliceView(node, width, height)
    view.show(volume, centre, extent_mm)
    without = view.pixels().astype(int)
    if segmentation is not None:
        segmentation.GetDisplayNode().SetVisibility(True)
    with_segment = view.pixels().astype(int)
    view.close()
    return without, with_segment


def pixel_of(node, point):
    """(row, column) of a RAS point in the picture."""
    to_ras = geometry.as_array(node.GetXYToRAS())
    x, y = (np.linalg.inv(to_ras) @ [*point, 1])[:2]
    return node.GetDimensions()[1] - 1 - y, x


def segmented(workflow):
    workflow.add_segment("organ")
    node, segment_id = workflow.parameters.segmentation, workflow.parameters.segmentID
    prompts.place_box(node, segment_id, workflow.volume, BOX, 0)
    workflow.segment()
    run(workflow)
    assert not workflow.failed, workflow.message
    prompts.clear(node, segment_id)
    node.GetSegmentation().GetSegment(segment_id).SetColor(*GREEN)
    return node


def test_the_segment_lies_on_the_organ_to_the_pixel(workflow, red):
    node = segmented(workflow)
    red.RotateToVolumePlane(workflow.volume)
    centre = geometry.slice_centre(workflow.volume, 0, 11)
    without, with_segment = drawn(red, workflow.volume, centre, node)
    organ = without.mean(axis=2) > 120
    overlay = np.abs(with_segment - without).max(axis=2) > 12
    assert organ.sum() > 2000
    common = (organ & overlay).sum() / (organ | overlay).sum()
    assert common > 0.85
    for mirrored in (organ[::-1], organ[:, ::-1], organ[::-1, ::-1]):
        assert (mirrored & overlay).sum() / (mirrored | overlay).sum() < 0.7


@pytest.mark.parametrize("beyond", [False, True])
def test_what_is_written_is_drawn(workflow, red, beyond):
    """Also voxels that are written into the image that is there, as slices shown early are."""
    node = segmented(workflow)
    red.RotateToVolumePlane(workflow.volume)
    centre = geometry.slice_centre(workflow.volume, 0, 11)
    from standin.slice_view import SliceView

    view = SliceView(red, 400, 360)
    view.show(workflow.volume, centre, 90)
    before = view.pixels().astype(int)
    block = [11, 4, 8, 12, 12, 24] if beyond else [11, 20, 44, 12, 36, 60]
    voxels = np.full([block[a + 3] - block[a] for a in range(3)], beyond)
    segmentation.write(node, workflow.parameters.segmentID, workflow.grid, block, voxels)
    changed = np.abs(view.pixels().astype(int) - before).max(axis=2) > 12
    view.close()
    assert changed.sum() > 500


def test_the_patients_left_is_on_the_right_of_the_picture(scene, red):
    """A bright block at the patient's left, front and top of a volume in RAS order."""
    voxels = np.full((20, 60, 60), 30, np.int16)
    voxels[14:18, 40:52, 6:16] = 200  # k up, j to the front, i small: R is low, so left
    volume = slicer.util.addVolumeFromArray(voxels, np.diag([1.0, 1.0, 3.0, 1.0]))
    volume.CreateDefaultDisplayNodes()
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevel(200, 110)
    picture, _ = drawn(red, volume, (30, 30, 48), extent_mm=70)
    rows, columns = np.nonzero(picture.mean(axis=2) > 180)
    assert columns.mean() > 200 + 60
    assert rows.mean() < 180 - 40
    row, column = pixel_of(red, (10.5, 45.5, 48))
    assert abs(rows.mean() - row) < 3
    assert abs(columns.mean() - column) < 3


def test_the_phantom_has_no_symmetry_to_hide_behind():
    organ = phantom()[1]
    for flipped in (organ[::-1], organ[:, ::-1], organ[:, :, ::-1]):
        assert (flipped & organ).sum() / (flipped | organ).sum() < 0.9


if PICTURES:  # drawn for the manual, not tested

    def test_picture_for_the_manual(workflow, red, scene):
        from PIL import Image

        logic = slicer.modules.volumes.logic()
        volume = logic.AddArchetypeVolume(str(SAMPLE), "phantom_ct", 0)
        volume.GetDisplayNode().AutoWindowLevelOff()
        volume.GetDisplayNode().SetWindowLevel(400, 40)
        workflow.parameters.volume = volume
        workflow.parameters.model = "compact"
        workflow.add_segment("liver")
        node, segment_id = workflow.parameters.segmentation, workflow.parameters.segmentID
        axis = geometry.axis_of(volume, "axial")
        prompts.place_box(node, segment_id, volume, [46, 25, 23, 47, 92, 97], axis)
        red.RotateToVolumePlane(volume)
        centre = geometry.slice_centre(volume, axis, 46)
        before, _ = drawn(red, volume, centre, None, 520, 420, 330)
        workflow.segment()
        run(workflow, 600)
        _, after = drawn(red, volume, centre, node, 520, 420, 330)
        both = np.concatenate([before, np.full((420, 8, 3), 255), after], axis=1).astype(np.uint8)
        Image.fromarray(both).save(str(Path(PICTURES) / "slicer_slice.png"), optimize=True)
