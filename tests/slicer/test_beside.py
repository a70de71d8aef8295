"""What other scans show becomes segments: one step, nothing replaced unasked, dropped if stale."""

import time

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: run by make test-slicer")

from SAMMedLib import changes, errands, geometry, labelled, prompts, segmentation  # noqa: E402

from tests.slicer.conftest import dice, load_scene, phantom, run, save_scene  # noqa: E402
from tests.slicer.others import (  # noqa: E402
    ORGANS,
    add_segmentation,
    add_volume,
    lesions,
    make_bodies,
    mask_of,
    names_of,
    segment_named,
    thing,
)
from tests.slicer.workflows import add_box, poll_until, segment  # noqa: E402

SOME = {1: "liver", 2: "spleen"}


@pytest.fixture(scope="session")
def bodies(tmp_path_factory):
    return make_bodies(tmp_path_factory.mktemp("bodies"))


@pytest.fixture
def scans(workflow, bodies):
    """A body to segment, chosen, and a labelled one of somebody else: (volume, its labels)."""
    new, other = bodies[7], bodies[12]
    workflow.parameters.volume = add_volume(new["voxels"], new["affine"], "new")
    workflow.parameters.model = "ellipse"
    example = add_volume(other["voxels"], other["affine"], "example")
    return example, add_segmentation(example, other["labels"], SOME)


def pair(scans):
    return scans[0].GetID(), scans[1].GetID()


def take(workflow, scans, *arguments, **choices):
    workflow.take([pair(scans)], *arguments, **choices)
    run(workflow)
    return workflow.parameters.segmentation


def steps(workflow):
    return workflow._steps._history.GetNumberOfStates()


def test_what_a_labelled_scan_shows_becomes_segments_in_one_step(workflow, scans, bodies):
    node = take(workflow, scans)
    assert not workflow.failed, workflow.message
    assert workflow.message.startswith("2 found: liver, spleen.")
    assert names_of(node) == ["liver", "spleen"]
    truth = bodies[7]["labels"]
    for value, name in SOME.items():
        assert dice(mask_of(node, name, workflow.volume), truth == value) > 0.85, name
    segments, drawn = node.GetSegmentation(), scans[1].GetSegmentation()
    for value, name in SOME.items():
        mine, theirs = (s.GetSegment(s.GetSegmentIdBySegmentName(name)) for s in (segments, drawn))
        assert mine.GetLabelValue() == value
        assert mine.GetColor() == pytest.approx(theirs.GetColor())
    assert workflow.parameters.segmentID == segment_named(node, "liver")
    assert steps(workflow) == 1
    workflow.undo()
    assert names_of(node) == []
    assert workflow.key is None
    assert not workflow.can_undo
    workflow.redo()
    assert names_of(node) == ["liver", "spleen"]
    assert not workflow.can_redo


def test_what_was_found_is_edited_like_any_other_segment(workflow, scans):
    node = take(workflow, scans)
    before = mask_of(node, "liver", workflow.volume)
    axis, kept = prompts.right_slices(*workflow.target)
    assert kept == [int(i) for i in np.flatnonzero(before.any(axis=(1, 2)))]
    assert axis == 0
    assert not workflow.prompts_changed
    index = kept[len(kept) // 2]
    middle = np.argwhere(before[index]).mean(axis=0).round().astype(int)
    point = geometry.world_from_ijk(workflow.volume, [[middle[1], middle[0], index]])[0]
    prompts.add_point(*workflow.target, prompts.NEGATIVE, point)
    assert workflow.prompts_changed
    workflow.parameters.model = "compact"
    workflow.segment()
    run(workflow)
    assert not workflow.failed, workflow.message
    after = mask_of(node, "liver", workflow.volume)
    changed = np.flatnonzero((after != before).any(axis=(1, 2)))
    assert list(changed) == [index]  # all other slices stay as they were found
    assert not after[index, middle[0], middle[1]]
    assert workflow.message.startswith("1 slice segmented")
    workflow.undo()
    assert np.array_equal(mask_of(node, "liver", workflow.volume), before)
    assert names_of(node) == ["liver", "spleen"]


def test_nothing_of_the_users_is_replaced_unasked(workflow, scans):
    workflow.add_segment("liver")
    mine = np.zeros(geometry.shape_of(workflow.volume), np.uint8)
    mine[8:10, 10:20, 10:20] = 1
    node, liver = workflow.target
    slicer.util.updateSegmentBinaryLabelmapFromArray(mine, node, liver, workflow.volume)
    workflow.add_segment("spleen")  # empty: there is nothing to lose
    take(workflow, scans)
    assert names_of(node) == ["liver", "spleen"]
    assert np.array_equal(mask_of(node, "liver", workflow.volume), mine > 0)
    assert mask_of(node, "spleen", workflow.volume).sum() > 20
    assert "There already, and left as it was: liver." in workflow.message

    box = prompts.place_box(node, liver, workflow.volume, [8, 10, 10, 9, 20, 20], 0)
    take(workflow, scans, replace=True)
    assert mask_of(node, "liver", workflow.volume).sum() > 200
    assert not slicer.mrmlScene.IsNodePresent(box)
    workflow.undo()
    assert np.array_equal(mask_of(node, "liver", workflow.volume), mine > 0)
    assert prompts.count(node, liver)[0] == 1  # what was drawn for it comes back as well


def test_segments_of_others_keep_their_voxels_if_so_chosen(workflow, scans):
    workflow.add_segment("mine")
    mine = np.zeros(geometry.shape_of(workflow.volume), np.uint8)
    mine[:, :, :20] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mine, *workflow.target, workflow.volume)
    workflow.parameters.overlap = segmentation.OTHERS_KEEP
    node = take(workflow, scans, "liver")
    found = mask_of(node, "liver", workflow.volume) if segment_named(node, "liver") else None
    assert found is not None, workflow.message
    assert not (found & (mine > 0)).any()
    assert found.any()
    assert np.array_equal(mask_of(node, "mine", workflow.volume), mine > 0)


def test_a_value_that_another_segment_has_takes_nothing_from_it(workflow, scans):
    workflow.add_segment("mine")  # its value is 1, as the liver's is
    mine = np.zeros(geometry.shape_of(workflow.volume), np.uint8)
    mine[2:5] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mine, *workflow.target, workflow.volume)
    node = take(workflow, scans, "liver")
    assert names_of(node) == ["mine", "liver"]
    assert np.array_equal(mask_of(node, "mine", workflow.volume), mine > 0)


def test_what_is_missing_is_told_with_its_reason(workflow, bodies):
    new, other = bodies[7], bodies[12]
    voxels = new["voxels"].copy()
    gone = new["labels"] == 4
    rng = np.random.default_rng(7)
    voxels[gone] = np.rint(rng.normal(-80, 12, np.count_nonzero(gone))).astype(voxels.dtype)
    workflow.parameters.volume = add_volume(voxels, new["affine"], "new")
    workflow.parameters.model = "ellipse"
    example = add_volume(other["voxels"], other["affine"], "example")
    drawn = add_segmentation(example, other["labels"], {3: "kidney_right", 4: "kidney_left"})
    take(workflow, (example, drawn))
    assert names_of(workflow.parameters.segmentation) == ["kidney_right"]
    assert "Not found: kidney_left (" in workflow.message
    assert "stands out" in workflow.message
    assert not workflow.failed


def test_names_are_understood_or_refused_in_words(workflow, scans):
    node = take(workflow, scans, "Milz")
    assert names_of(node) == ["spleen"]
    take(workflow, scans, "left kidney")
    assert workflow.failed
    assert "left kidney" in workflow.message
    assert "there is only liver, spleen" in workflow.message
    assert "--" not in workflow.message  # no options of a command line
    workflow.take([], "left kidney")
    run(workflow)
    assert workflow.failed
    assert "without an example there is nothing" in workflow.message
    assert "--" not in workflow.message
    assert names_of(node) == ["spleen"]
    assert steps(workflow) == 1


def test_the_other_side_counts_only_if_it_is_ticked(workflow, bodies):
    new, other = bodies[7], bodies[12]
    workflow.parameters.volume = add_volume(new["voxels"], new["affine"], "new")
    workflow.parameters.model = "ellipse"
    example = add_volume(other["voxels"], other["affine"], "example")
    one = example, add_segmentation(example, other["labels"], {3: "kidney_right"})
    take(workflow, one, "left kidney")
    assert workflow.failed
    assert "tick 'Other side as well'" in workflow.message
    node = take(workflow, one, "left kidney", mirror=True)
    assert not workflow.failed, workflow.message
    assert names_of(node) == ["kidney_left"]
    found = mask_of(node, "kidney_left", workflow.volume)
    assert dice(found, new["labels"] == 4) > 0.6
    assert not (found & (new["labels"] == 3)).any()


def test_a_label_map_and_files_are_examples_too(workflow, bodies, tmp_path):
    new, other = bodies[7], bodies[12]
    workflow.parameters.volume = add_volume(new["voxels"], new["affine"], "new")
    workflow.parameters.model = "ellipse"
    example = add_volume(other["voxels"], other["affine"], "example")
    kept = np.where(other["labels"] == 2, 2, 0).astype(np.uint8)
    drawn = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    drawn.CopyOrientation(example)
    slicer.util.updateVolumeFromArray(drawn, kept)
    assert labelled.labels_of(example) is drawn
    node = take(workflow, (example, drawn))
    assert names_of(node) == ["label_2"], workflow.message
    first = mask_of(node, "label_2", workflow.volume)
    assert dice(first, new["labels"] == 2) > 0.85
    paths = []
    for one, name in ((example, "a.nii.gz"), (drawn, "a_labels.nii.gz")):
        storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
        storage.SetFileName(str(tmp_path / name))
        assert storage.WriteData(one)
        paths.append(str(tmp_path / name))
    workflow.undo()
    for chosen in (",".join(paths), str(tmp_path)):
        workflow.take([chosen], "spleen")
        run(workflow)
        assert not workflow.failed, workflow.message
        assert dice(mask_of(node, "spleen", workflow.volume), first) > 0.95
        workflow.undo()


def test_what_cannot_be_an_example_is_said(workflow, scans):
    example, drawn = scans
    workflow.take([])
    assert "choose a labelled scan" in workflow.message.lower()
    workflow.take([(workflow.volume.GetID(), drawn.GetID())])
    assert "is the volume itself" in workflow.message
    empty = add_segmentation(example, np.zeros(geometry.shape_of(example), np.uint8), {})
    workflow.take([(example.GetID(), empty.GetID())])
    assert "holds nothing on 'example'" in workflow.message
    wrong = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "other grid")
    slicer.util.updateVolumeFromArray(wrong, np.ones((3, 4, 5), np.uint8))
    workflow.take([(example.GetID(), wrong.GetID())])
    assert "is not on the grid of 'example'" in workflow.message
    slicer.mrmlScene.RemoveNode(wrong)
    workflow.take([(example.GetID(), wrong.GetID() or "gone")])
    assert "was removed from the scene" in workflow.message
    assert not workflow.busy
    assert workflow.parameters.segmentation is None


def test_it_is_cancelled_within_half_a_second(workflow, scans):
    workflow.take([pair(scans)])
    assert workflow.errand == errands.TAKE
    poll_until(workflow, lambda: (workflow.engine.progress or {}).get("done", 0) > 0)
    started = time.monotonic()
    workflow.cancel()
    run(workflow)
    assert time.monotonic() - started < 0.5
    assert workflow.message == "Cancelled; nothing was changed."
    assert workflow.errand == ""
    assert workflow.parameters.segmentation is None
    workflow.segment()
    assert not workflow.busy  # nothing is drawn; but the workflow goes on


def test_an_answer_that_fits_no_more_is_dropped_with_a_word(workflow, scans):
    volume = workflow.volume
    workflow.take([pair(scans)])
    poll_until(workflow, lambda: workflow.engine._pending is not None)
    array = slicer.util.arrayFromVolume(volume)
    array[:2] += 1
    slicer.util.arrayFromVolumeModified(volume)
    run(workflow)
    assert workflow.failed
    assert "the voxels of 'new' were changed meanwhile" in workflow.message.lower()
    assert "is dropped" in workflow.message
    assert workflow.parameters.segmentation is None

    workflow.add_segment("mine")
    workflow.take([pair(scans)])
    move = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[0, 3] = 30
    move.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    volume.SetAndObserveTransformNodeID(move.GetID())
    run(workflow)
    assert "was moved" in workflow.message
    assert names_of(workflow.parameters.segmentation) == ["mine"]
    volume.SetAndObserveTransformNodeID(None)

    workflow.take([pair(scans)])
    slicer.mrmlScene.RemoveNode(workflow.parameters.segmentation)
    workflow.parameters.segmentation = None
    run(workflow)
    assert "the volume or the segment was removed meanwhile" in workflow.message.lower()


def test_a_box_that_is_drawn_meanwhile_does_not_end_it(workflow, scans):
    workflow.parameters.autoUpdate = True
    add_box(workflow, "mine", [9, 10, 10, 10, 20, 20])
    workflow.take([pair(scans)])
    workflow._prompt_settled()
    poll_until(workflow, lambda: not workflow.errand)
    assert names_of(workflow.parameters.segmentation) == ["mine", "liver", "spleen"]
    workflow._due = None


# -- an earlier scan -------------------------------------------------------------------------


@pytest.fixture
def then_and_now(workflow):
    before, drawn, affine = lesions((8, 8, 7), 1)
    after, truth, _ = lesions((9.5, 6.5, 0), 2)
    earlier = add_volume(before, affine, "then")
    node = add_segmentation(earlier, drawn, {10 * n: f"lesion {n}" for n in (1, 2, 3)})
    workflow.parameters.volume = add_volume(after, affine, "now")
    workflow.parameters.model = "ellipse"
    return earlier, node, truth


def test_lesions_keep_their_names_and_a_table_says_what_became_of_them(
    workflow, then_and_now, tmp_path
):
    earlier, drawn, truth = then_and_now
    workflow.compare(earlier, drawn, 60)
    run(workflow)
    assert not workflow.failed, workflow.message
    node = workflow.parameters.segmentation
    assert names_of(node) == ["lesion 1", "lesion 2"]
    assert "2 there: lesion 1, lesion 2." in workflow.message
    assert "Not there now: lesion 3 (" in workflow.message
    value = node.GetSegmentation().GetSegment(segment_named(node, "lesion 2")).GetLabelValue()
    assert value == 20
    table = changes.of(workflow.volume)
    assert table.GetClassName() == "vtkMRMLTableNode"
    assert table.GetName() == "now compared with then"
    rows = {row["lesion"]: row for row in changes.rows(table)}
    grown, shrunk, gone = (rows[f"lesion {n}"] for n in (1, 2, 3))
    assert grown["now_ml"] == pytest.approx((truth == 10).sum() * 4.5e-3, rel=0.1)
    assert grown["change_ml"] == pytest.approx(grown["now_ml"] - grown["then_ml"], abs=1e-3)
    assert grown["change_percent"] > 40
    assert grown["doubling_days"] > 0 > shrunk["doubling_days"]
    assert (gone["state"], gone["now_ml"]) == ("gone", 0)
    voxel = geometry.voxel_at(workflow.volume, [gone[name] for name in "RAS"])
    assert np.abs(np.subtract(voxel, (10, 40, 18))).max() <= 2  # where it was
    workflow.undo()
    assert names_of(node) == []
    assert changes.is_undone(table)
    assert table.GetHideFromEditors()  # one step of undo for all of it
    workflow.redo()
    assert names_of(node) == ["lesion 1", "lesion 2"]
    assert not table.GetHideFromEditors()

    path = save_scene(tmp_path)
    slicer.mrmlScene.Clear(0)
    load_scene(path)
    again = changes.of(slicer.util.getNode("now"))
    assert again.GetName() == "now compared with then"
    assert changes.about(again)["days"] == 60
    assert len(changes.rows(again)) == len(rows)


def test_a_table_goes_with_lesions_that_were_replaced_and_the_one_before_comes_back(
    workflow, then_and_now
):
    earlier, drawn, _ = then_and_now
    workflow.compare(earlier, drawn, 60)
    run(workflow)
    first = changes.of(workflow.volume)
    workflow.compare(earlier, drawn, 90)
    run(workflow)
    assert "There already, and left as it was: lesion 1, lesion 2." in workflow.message
    assert changes.about(changes.of(workflow.volume))["days"] == 90  # it says how things are
    slicer.mrmlScene.RemoveNode(changes.of(workflow.volume))
    workflow.compare(earlier, drawn, 120, replace=True)
    run(workflow)
    second = changes.of(workflow.volume)
    assert changes.about(second)["days"] == 120
    workflow.undo()
    assert changes.is_undone(second)
    assert changes.of(workflow.volume) is first
    workflow.redo()
    assert changes.of(workflow.volume) is second


def test_what_was_found_on_another_volume_is_not_gone_to(workflow, then_and_now):
    earlier, drawn, _ = then_and_now
    workflow.compare(earlier, drawn, 60)
    run(workflow)
    found, now = workflow.parameters.segmentation, workflow.volume
    workflow.parameters.volume, workflow.parameters.segmentation = earlier, drawn
    workflow.parameters.segmentID = segment_named(drawn, "lesion 3")
    workflow.show_found("lesion 1")
    assert workflow.target == (drawn, segment_named(drawn, "lesion 3"))
    workflow.parameters.volume = now
    workflow.show_found("lesion 1")
    assert workflow.target == (found, segment_named(found, "lesion 1"))


def test_all_lesions_gone_is_a_result_and_no_error(workflow, then_and_now):
    earlier, drawn, _ = then_and_now
    after, _, affine = lesions((0, 0, 0), 3)
    workflow.parameters.volume = add_volume(after, affine, "free")
    workflow.compare(earlier, drawn)
    run(workflow)
    assert not workflow.failed
    assert workflow.message.startswith("None of the lesions is there now.")
    assert workflow.parameters.segmentation is None
    table = changes.of(workflow.volume)
    assert [row["state"] for row in changes.rows(table)] == ["gone"] * 3
    assert not changes.is_undone(table)


def test_the_volume_itself_is_no_earlier_scan(workflow, then_and_now):
    _, drawn, _ = then_and_now
    workflow.compare(workflow.volume, drawn)
    assert "choose the earlier scan" in workflow.message
    workflow.compare(None, None)
    assert "choose the other scan" in workflow.message.lower()


# -- proposals -------------------------------------------------------------------------------


def test_proposals_are_segments_with_boxes_that_can_be_changed(workflow):
    voxels, organ = thing()
    workflow.parameters.volume = add_volume(voxels, np.diag([2.5, 1, 1, 1])[[2, 1, 0, 3]], "thing")
    workflow.parameters.model = "compact"
    workflow.propose(3, 0.5, within="image")
    assert workflow.errand == errands.PROPOSE
    run(workflow, 300)
    assert not workflow.failed, workflow.message
    node = workflow.parameters.segmentation
    names = names_of(node)
    assert 1 <= len(names) <= 3
    assert "proposed: thing 1" in workflow.message
    assert dice(mask_of(node, "thing 1", workflow.volume), organ) > 0.85
    assert prompts.count(*workflow.target)[0] == 1
    shown = [n for n in slicer.util.getNodesByClass("vtkMRMLMarkupsROINode")]
    assert len(shown) == len(names)
    assert sum(n.GetDisplayNode().GetVisibility() for n in shown) == 1  # no clutter
    scores = [one.account["score"] for one in workflow.findings.found]
    assert scores == sorted(scores, reverse=True)
    assert dice(segment(workflow), organ) > 0.7  # from its box, as any other
    workflow.undo()
    workflow.undo()
    assert names_of(node) == []

    workflow.redo()
    workflow.propose(3, 0.5, within="image")
    run(workflow, 300)
    assert names_of(node) == names  # what is a segment already is not proposed again
    assert "a segment already" in workflow.message or "segments already" in workflow.message


def test_nothing_to_propose_is_said_in_one_line(workflow):
    noise = np.random.default_rng(1).normal(0, 20, (12, 30, 34)).astype(np.int16)
    workflow.parameters.volume = add_volume(noise, np.diag([2.0, 1, 1, 1])[[2, 1, 0, 3]], "noise")
    workflow.parameters.model = "compact"
    workflow.propose(5, within="image")
    run(workflow, 300)
    assert workflow.message.lower().startswith("no thing was found")
    assert "\n" not in workflow.message
    assert workflow.parameters.segmentation is None


# -- channels --------------------------------------------------------------------------------


def channel_beside(workflow, name="venous", shift=0.0):
    """The phantom with other contrast, under the same transform, moved by some mm."""
    _, organ = phantom()
    noise = np.random.default_rng(5).normal(0, 6, organ.shape)
    node = slicer.util.addVolumeFromArray((np.where(organ, 10, 90) + noise).astype(np.int16))
    node.SetName(name)
    node.CopyOrientation(workflow.volume)
    matrix = geometry.ras_from_ijk(node).copy()
    matrix[0, 3] += shift
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(workflow.volume.GetTransformNodeID())
    return node


def test_prompts_go_to_all_channels_and_the_answers_are_joined(workflow):
    workflow.parameters.model = "compact"
    workflow.parameters.align = "rigid"
    workflow.add_channel(channel_beside(workflow, shift=4.0))
    workflow.rename_channel(0, "arterial")
    add_box(workflow)
    found = segment(workflow)
    assert dice(found, phantom()[1]) > 0.85
    views = workflow.history.run(workflow.key)["channels"]
    assert set(views) == {"arterial", "venous"}
    assert all(view["weight"] > 0.3 for view in views.values())
    assert workflow.engine.aligned[0]["moved_mm"] == pytest.approx(4, abs=1.5)
    assert "Channel venous: moved by " in workflow.message
    assert "Channels agree by " in workflow.message

    sent = workflow.engine._count
    workflow.segment()
    run(workflow)
    assert workflow.engine._count - sent <= 2  # channels that the engine has are not sent again
    workflow.remove_channel(1)
    segment(workflow)
    assert "channels" not in workflow.history.run(workflow.key)


def test_channels_are_kept_with_the_scene(workflow, tmp_path):
    from SAMMedLib import phases

    workflow.add_channel(channel_beside(workflow))
    workflow.add_channel(channel_beside(workflow, "late"))
    workflow.rename_channel(1, "ven")
    path = save_scene(tmp_path)
    slicer.mrmlScene.Clear(0)
    load_scene(path)
    volume = slicer.util.getNode("phantom")
    told = [(name, node.GetName()) for name, node in phases.listed(volume)]
    assert told == [("ven", "venous"), ("late", "late")]
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("venous"))
    assert [name for name, _node in phases.listed(volume)] == ["late"]  # under its own name
    assert phases.gone(volume) == ["ven"]
    phases.remove(volume, 1)
    assert (phases.listed(volume), phases.gone(volume)) == ([], [])


def test_a_channel_that_is_gone_is_told(workflow):
    node = channel_beside(workflow)
    workflow.add_channel(node)
    slicer.mrmlScene.RemoveNode(node)
    add_box(workflow)
    segment(workflow)
    assert "Channel venous was removed from the scene and is not looked at." in workflow.message


def test_what_cannot_be_a_channel_is_said(workflow):
    workflow.add_channel(workflow.volume)
    assert "is the volume itself" in workflow.message
    node = channel_beside(workflow)
    workflow.add_channel(node)
    workflow.add_channel(node)
    assert "is a channel already" in workflow.message
    workflow.rename_channel(1, "first")
    assert "cannot both be called 'first'" in workflow.message
    workflow.rename_channel(1, "  ")
    assert "needs a name" in workflow.message
    far = channel_beside(workflow, "far", shift=900.0)
    workflow.remove_channel(1)
    workflow.add_channel(far)
    add_box(workflow)
    workflow.segment()
    run(workflow)
    assert workflow.failed
    assert "'far'" in workflow.message or "far" in workflow.message
    assert "--" not in workflow.message


def test_a_channel_that_changes_meanwhile_drops_the_result(workflow):
    node = channel_beside(workflow)
    workflow.parameters.align = "header"
    workflow.add_channel(node)
    add_box(workflow)
    workflow.segment()
    array = slicer.util.arrayFromVolume(node)
    array[:2] += 1
    slicer.util.arrayFromVolumeModified(node)
    run(workflow)
    assert workflow.failed
    assert "the channel 'venous' was changed meanwhile" in workflow.message.lower()


def test_an_engine_that_is_too_old_says_so(workflow, scans):
    workflow.check()
    run(workflow)
    told = workflow.engine.hello
    workflow.engine.hello = {**told, "requests": ["segment"]}
    try:
        workflow.take([pair(scans)])
        run(workflow)
        assert workflow.failed
        assert "install a newer one" in workflow.message
    finally:
        workflow.engine.hello = told


def test_overlapping_segments_are_sent_with_the_smaller_on_top(workflow, scans):
    from SAMMedLib.volumes import Volumes

    example, node = scans
    inner = np.zeros(geometry.shape_of(example), np.uint8)
    block = segmentation.read(node, segment_named(node, "liver"), example)[0]
    middle = [(block[a] + block[a + 3]) // 2 for a in range(3)]
    inner[middle[0], middle[1], middle[2]] = 1
    lesion = segmentation.add(node, "lesion")
    slicer.util.updateSegmentBinaryLabelmapFromArray(inner, node, lesion, example)
    told = labelled.read(Volumes(), example, node)
    assert sorted(told.names.values()) == ["lesion", "liver", "spleen"]
    assert told.names[int(told.labels[tuple(middle)])] == "lesion"
    assert set(ORGANS.values()) >= {"liver", "spleen"}


def test_scripts_take_compare_and_propose_and_wait(workflow, scans):
    from SAMMedLib import scripting
    from SAMMedLib.work import EngineError

    new = workflow.volume
    node, ids = scripting.take(workflow, new, [scans], objects=["Leber"], model="ellipse")
    assert list(ids) == ["liver"]
    assert mask_of(node, "liver", new).any()
    with pytest.raises(EngineError, match="left kidney"):
        scripting.take(workflow, new, [scans], objects=["left kidney"])
    with pytest.raises(EngineError, match="unknown argument mode"):
        scripting.propose(workflow, new, mode="compact")
    before, drawn, affine = lesions((8, 8, 7), 1)
    earlier = add_volume(before, affine, "then")
    labels = add_segmentation(earlier, drawn, {10: "one", 20: "two"})
    now = add_volume(lesions((9.5, 0, 7), 2)[0], affine, "now")
    node, ids = scripting.compare(workflow, now, earlier, labels, days=30)
    assert list(ids) == ["one"]
    assert [row["state"] for row in changes.rows(changes.of(now))][:2] == ["there", "gone"]


def test_a_script_segments_in_several_channels(workflow):
    from SAMMedLib import phases, scripting
    from SAMMedLib.work import EngineError

    volume, other = workflow.volume, channel_beside(workflow)
    box = [11, 12, 32, 12, 44, 72]
    choices = {"model": "two_class", "align": "header"}
    scripting.segment(workflow, volume, [box], channels={"ven": other}, **choices)
    assert set(workflow.history.run(workflow.key)["channels"]) == {"first", "ven"}
    with pytest.raises(EngineError, match="is the volume itself"):
        scripting.segment(workflow, volume, [box], channels={"ven": volume}, **choices)
    scripting.segment(workflow, volume, [box], channels={}, **choices)
    assert phases.listed(volume) == []
    assert "channels" not in workflow.history.run(workflow.key)
