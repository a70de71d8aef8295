"""Scripts, batches, sequences, and what segments are called: beyond one box in one volume."""

import csv

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: run by make test-slicer")

from SAMMedLib import geometry, prompts, scripting, terms  # noqa: E402
from SAMMedLib.work import EngineError  # noqa: E402

from tests.slicer.conftest import MODULE, ROOT, dice, phantom, run  # noqa: E402
from tests.slicer.test_never_silent import sequence  # noqa: E402
from tests.slicer.workflows import BOX, ORGAN, add_box, chosen, mask_of  # noqa: E402


def array_of(place, volume):
    return slicer.util.arrayFromSegmentBinaryLabelmap(*place, volume) > 0


def test_a_script_segments_and_waits(workflow):
    place = scripting.segment(workflow, workflow.volume, [BOX], name="left kidney")
    assert dice(array_of(place, workflow.volume), ORGAN) > 0.9
    assert np.array_equal(scripting.mask(workflow), array_of(place, workflow.volume))
    segment = place[0].GetSegmentation().GetSegment(place[1])
    assert segment.GetName() == "left kidney"
    with pytest.raises(EngineError, match="Draw a box"):
        scripting.segment(workflow, workflow.volume)
    with pytest.raises(EngineError, match=r"unknown argument modle; expected some of .*model"):
        scripting.segment(workflow, workflow.volume, [BOX], modle="compact")


def test_a_script_takes_limits_points_and_regions_of_interest(workflow):
    volume = workflow.volume
    limits = scripting.segment(workflow, volume, [geometry.tight(ORGAN)], model="compact")
    assert dice(array_of(limits, volume), ORGAN) > 0.85
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    geometry.fit_roi(volume, roi, BOX)
    inside = geometry.world_from_ijk(volume, [[52, 28, 11]])
    place = scripting.segment(workflow, volume, [roi], inside=inside, model="two_class")
    assert dice(array_of(place, volume), ORGAN) > 0.9
    assert prompts.count(*place) == (1, 1, 0)


def test_a_batch_goes_through_the_volumes_of_a_scene(workflow):
    first = workflow.volume
    second = slicer.util.addVolumeFromArray(phantom()[0].copy(), geometry.ras_from_ijk(first))
    empty = slicer.util.addVolumeFromArray(np.full(ORGAN.shape, np.nan, np.float32))
    logic = slicer.modules.volumes.logic()
    labels = logic.CreateAndAddLabelVolume(slicer.mrmlScene, first, "labels")
    results = scripting.segment_all(workflow, [BOX], name="organ")
    assert set(results) == {first.GetID(), second.GetID(), empty.GetID()}
    assert labels.GetID() not in results
    for volume in (first, second):
        assert dice(array_of(results[volume.GetID()], volume), ORGAN) > 0.9
    assert "no voxel of the volume holds a number" in str(results[empty.GetID()]).lower()


def test_the_device_is_sent(workflow):
    asked, send = [], workflow.engine._send
    workflow.engine._send = lambda do, fields: (asked.append((do, fields)), send(do, fields))[1]
    workflow.parameters.device = "cpu"
    scripting.segment(workflow, workflow.volume, [BOX])
    workflow.parameters.device = "auto"
    scripting.segment(workflow, workflow.volume, [BOX])
    workflow.engine._send = send
    devices = [fields["device"] for do, fields in asked if do == "settings"]
    assert devices == ["cpu", "auto"]


def test_a_device_that_is_not_there_is_said_so(workflow):
    workflow.parameters.device = "cuda"
    add_box(workflow)
    workflow.parameters.model = "compact"
    workflow.segment()
    run(workflow)
    if not workflow.failed:
        pytest.skip("this machine has an NVIDIA GPU")
    assert "'cuda' is not available" in workflow.message


# Sequences ----------------------------------------------------------------------------------


@pytest.fixture
def beating(workflow):
    """Four frames, in which the organ is darker, then gone, then there again."""
    workflow.volume.SetAndObserveTransformNodeID(None)
    voxels, organ = phantom()
    gone = np.random.default_rng(4).normal(30, 6, organ.shape).astype(np.int16)
    dark = np.where(organ, voxels - 20, voxels).astype(np.int16)
    shifted = np.where(np.roll(organ, 2, axis=1), 110, 30).astype(np.int16)
    workflow.browser, workflow.go = sequence(workflow.volume, [voxels, dark, gone, shifted])
    workflow.organs = [organ, organ, None, np.roll(organ, 2, axis=1)]
    return workflow


def test_all_frames_come_from_one_box_on_one_frame(beating):
    beating.go(1)
    assert beating.is_sequence
    add_box(beating)
    beating.segment_frames()
    assert beating.busy
    run(beating, 120)
    assert beating.message.endswith("of 4 frames segmented."), beating.message
    assert beating.browser.GetSelectedItemNumber() == 1
    for number, organ in enumerate(beating.organs):
        beating.go(number)
        beating.poll()
        assert prompts.count(*chosen(beating))[0] == 1  # the box stays, whichever is shown
        if organ is not None:
            assert dice(mask_of(beating), organ) > 0.8, number
    beating.go(3)
    assert not beating.can_undo  # a step of another frame would be written into this one


def test_frames_that_were_not_reached_are_empty_not_copied(beating):
    beating.go(0)
    add_box(beating)
    taken = []
    take = beating._take
    beating._take = lambda state, result: (taken.append(1), take(state, result))[1]
    beating.segment_frames()
    from tests.slicer.workflows import poll_until

    poll_until(beating, lambda: len(taken) == 1)
    beating.cancel()
    run(beating)
    assert "1 of 4 frames are done" in beating.message
    assert dice(mask_of(beating), ORGAN) > 0.9
    beating.go(3)
    assert not mask_of(beating).any()


def test_a_volume_of_no_sequence_has_no_frames(workflow):
    add_box(workflow)
    assert not workflow.is_sequence
    workflow.segment_frames()
    assert workflow.failed
    assert "not a frame of a sequence" in workflow.message


# Names --------------------------------------------------------------------------------------


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_whole_table_of_the_package_is_known():
    rows = rows_of(MODULE / "Resources" / "terminology.csv")
    assert len(rows) > 200
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    for row in rows:
        for name in filter(None, f"{row['names']}|{row.get('german_latin') or ''}".split("|")):
            entry = slicer.vtkSlicerTerminologyEntry()
            assert logic.DeserializeTerminologyEntry(terms.entry(name), entry), name
            assert entry.GetTypeObject().GetCodeValue(), name
        for name in row["names"].split("|"):
            logic.DeserializeTerminologyEntry(terms.entry(name), entry)
            assert entry.GetTypeObject().GetCodeValue() == row["code"], name
            assert entry.GetTypeObject().GetCodeMeaning() == row["meaning"], name


def test_the_table_is_that_of_the_package():
    theirs = ROOT / "sammed" / "io" / "terminology.csv"
    if not theirs.exists():
        pytest.skip("not sammed's own checkout: this is the package")
    codes = [
        {(r["names"], r["code"]) for r in rows_of(p)}
        for p in (theirs, MODULE / "Resources" / "terminology.csv")
    ]
    assert codes[0] <= codes[1], "copy sammed/io/terminology.csv into the module's Resources"


@pytest.mark.parametrize(
    ("name", "type_", "side", "region"),
    [
        ("kidney_left", "Kidney", "Left", ""),
        ("Left Kidney 2", "Kidney", "Left", ""),
        ("right lung tumor", "Neoplasm", "", "Lung"),
        ("tumor of the liver", "Neoplasm", "", "Liver"),
        ("Spleens", "Spleen", "", ""),
    ],
)
def test_sides_numbers_and_findings_in_organs(scene, name, type_, side, region):
    entry = slicer.vtkSlicerTerminologyEntry()
    logic = slicer.modules.terminologies.logic()
    assert logic.DeserializeTerminologyEntry(terms.entry(name), entry)
    assert entry.GetTypeObject().GetCodeMeaning() == type_
    assert (entry.GetTypeModifierObject().GetCodeMeaning() or "") == side
    assert (entry.GetRegionObject().GetCodeMeaning() or "") == region


def test_a_name_that_is_not_known_has_no_codes():
    assert terms.entry("Segment 1") == ""
    assert terms.entry("") == ""


def test_a_name_given_in_slicers_table_brings_its_codes_with_the_next_result(workflow):
    add_box(workflow, "Segment_1")
    segment = chosen(workflow)[0].GetSegmentation().GetSegment(chosen(workflow)[1])
    tag = segment.GetTerminologyEntryTagName()
    general = "Segmentation category and type - 3D Slicer General Anatomy list"
    tissue = f"{general}~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~Anatomic codes~^^~^^"
    segment.SetTag(tag, tissue)  # what Slicer gives a new segment
    segment.SetName("Liver")
    workflow.segment()
    run(workflow)
    assert "10200004^Liver" in prompts.get_tag(segment, tag)


def test_codes_that_the_user_chose_stay(workflow):
    workflow.add_segment("spleen")
    segment = chosen(workflow)[0].GetSegmentation().GetSegment(chosen(workflow)[1])
    tag = segment.GetTerminologyEntryTagName()
    own = prompts.get_tag(segment, tag).replace("Spleen", "Spleen of mine")
    segment.SetTag(tag, own)
    terms.give(segment)
    assert prompts.get_tag(segment, tag) == own


# The Data tree ------------------------------------------------------------------------------


def test_prompts_lie_below_their_segmentation_in_the_data_tree(workflow):
    box = add_box(workflow)
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = tree.GetItemByDataNode(box)
    assert tree.GetItemParent(item) == tree.GetItemByDataNode(workflow.parameters.segmentation)
