"""The sections about other scans, phases and proposals, clicked through; a picture of them."""

import os
import re

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: run by make test-slicer")
pytest.importorskip(
    "PySide6.QtWidgets",
    reason="PySide6-Essentials, or a system library that it needs, is not installed",
    exc_type=ImportError,
)

from PySide6 import QtCore  # noqa: E402
from SAMMedLib import changes, errands, geometry, prompts  # noqa: E402
from SAMMedLib.engine import Engine  # noqa: E402

from tests.slicer.conftest import MODULE, SAMMED_PYTHON  # noqa: E402
from tests.slicer.others import (  # noqa: E402
    add_segmentation,
    add_volume,
    lesions,
    make_bodies,
    names_of,
    thing,
)
from tests.slicer.test_beside import channel_beside  # noqa: E402
from tests.slicer.test_panel import (  # noqa: E402
    click,
    draw_box,
    module,
    next_button,
    picture,
    press_key,
    process,
    qt_application,
    rest,
)
from tests.slicer.workflows import SLOW, add_box  # noqa: E402

PICTURES = os.environ.get("SAMMED_PICTURES")
FIXTURES = module, qt_application  # used by their names

SECTIONS = (
    "takeSectionButton",
    "followSectionButton",
    "phasesSectionButton",
    "proposeSectionButton",
)


@pytest.fixture(scope="session")
def bodies(tmp_path_factory):
    return make_bodies(tmp_path_factory.mktemp("bodies"))


@pytest.fixture
def scans(module, bodies):
    """The panel on a body, and a labelled one of somebody else in the scene."""
    new, other = bodies[7], bodies[12]
    module.panel.ui.volumeSelector.setCurrentNode(add_volume(new["voxels"], new["affine"], "new"))
    module.logic.workflow.parameters.model = "ellipse"
    example = add_volume(other["voxels"], other["affine"], "example")
    drawn = add_segmentation(example, other["labels"], {1: "liver", 2: "spleen"}, "example labels")
    module.panel.ui.segmentationSelector.setCurrentNode(None)
    return example, drawn


def shown(volume):
    """(axis, index) of the slices that the views show."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    return [geometry.shown_slice(volume, node) for node in nodes]


def test_the_sections_are_closed_and_every_control_has_a_tooltip(module):
    ui = module.panel.ui
    for name in SECTIONS:
        assert getattr(ui, name).collapsed
    text = (MODULE / "Resources" / "UI" / "SAMMed.ui").read_text()
    begin, end = text.index("takeSectionButton"), text.index('name="settingsButton"')
    told = re.findall(r'<widget class="(\w+)" name="(\w+)">', text[begin:end])
    controls = [
        name for kind, name in told if kind not in ("QLabel", "QWidget", "ctkCollapsibleButton")
    ]
    assert len(controls) > 25
    for name in controls:
        assert len(getattr(ui, name).toolTip) > 10, name
    for name in ("takeButton", "compareButton", "proposeButton"):
        assert "(Esc)" in getattr(ui, name).toolTip


def test_what_another_scan_shows_is_taken_by_two_choices_and_a_press(module, scans):
    ui, workflow = module.panel.ui, module.logic.workflow
    ui.takeSectionButton.collapsed = False
    assert not ui.takeButton.enabled
    ui.exampleSelector.setCurrentNode(scans[0])
    assert ui.exampleLabelsSelector.currentNode() is scans[1]  # it belongs to that volume
    click(ui, "takeButton")
    assert ui.takeButton.text == "Cancel"
    assert ui.segmentButton.text == "Cancel"
    assert not ui.proposeButton.enabled
    assert ui.hintLabel.text.startswith("Looking at what other scans show")
    told = set()
    rest(module, lambda: told.add(ui.messageLabel.text))
    assert any("step" in text for text in told), told
    assert ui.takeButton.text == "Take from it"
    assert not workflow.failed, workflow.message
    node = workflow.parameters.segmentation
    assert names_of(node) == ["liver", "spleen"]
    assert ui.segmentationSelector.currentNode() is node
    cells = [ui.foundTable.item(row, 0).text() for row in range(ui.foundTable.rowCount)]
    assert cells == ["liver", "spleen"]
    assert ui.foundTable.item(0, 2).text().endswith(" %")
    assert ui.stopLabel.text.startswith("Taken from example.")
    geometry.align_views(workflow.volume)
    ui.foundTable.cellClicked.emit(1, 0)
    assert workflow.parameters.segmentID == node.GetSegmentation().GetNthSegmentID(1)
    block = geometry.tight(
        slicer.util.arrayFromSegmentBinaryLabelmap(node, workflow.target[1], workflow.volume) > 0
    )
    axes = dict(shown(workflow.volume))
    assert all(block[a] <= axes[a] < block[a + 3] for a in range(3))
    press_key(module, QtCore.Qt.Key_Z, QtCore.Qt.ControlModifier)
    assert names_of(node) == []
    press_key(module, QtCore.Qt.Key_Y, QtCore.Qt.ControlModifier)
    assert names_of(node) == ["liver", "spleen"]


def test_the_same_press_and_esc_cancel(module, scans):
    ui, workflow = module.panel.ui, module.logic.workflow
    ui.exampleSelector.setCurrentNode(scans[0])
    for cancel in (lambda: click(ui, "takeButton"), module.panel.onEscape):
        click(ui, "takeButton")
        process(0.2)
        cancel()
        rest(module)
        assert workflow.message == "Cancelled; nothing was changed."
    assert workflow.parameters.segmentation is None


def test_a_list_of_labelled_scans_is_kept_and_changed(module, scans):
    import qt

    ui, workflow = module.panel.ui, module.logic.workflow
    ui.exampleSelector.setCurrentNode(scans[0])
    click(ui, "addExampleButton")
    assert ui.exampleSelector.currentNode() is None
    assert workflow.examples == [(scans[0].GetID(), scans[1].GetID())]
    qt.QFileDialog.chosen = ["a.nii.gz", "a_labels.nii.gz"]
    click(ui, "filesButton")
    qt.QFileDialog.chosen = "folder"
    click(ui, "folderButton")
    qt.QFileDialog.chosen = ""
    click(ui, "filesButton")  # thought better of it
    click(ui, "folderButton")
    listed = [ui.examplesList.item(n).text() for n in range(ui.examplesList.count)]
    assert listed == ["example + example labels", "a.nii.gz + a_labels.nii.gz", "folder"]
    ui.examplesList.setCurrentRow(1)
    click(ui, "dropExampleButton")
    assert workflow.examples[1:] == ["folder"]
    slicer.mrmlScene.Clear(0)
    process()
    assert workflow.examples == []
    assert ui.examplesList.count == 0


def test_lesions_then_and_now_are_a_table_to_click_in(module):
    ui, workflow = module.panel.ui, module.logic.workflow
    before, drawn, affine = lesions((8, 8, 7), 1)
    after, _, _ = lesions((9.5, 6.5, 0), 2)
    earlier = add_volume(before, affine, "then")
    add_segmentation(earlier, drawn, {10 * n: f"lesion {n}" for n in (1, 2, 3)})
    ui.volumeSelector.setCurrentNode(add_volume(after, affine, "now"))
    workflow.parameters.model = "ellipse"
    ui.segmentationSelector.setCurrentNode(None)
    ui.followSectionButton.collapsed = False
    assert not ui.compareButton.enabled
    ui.earlierSelector.setCurrentNode(earlier)
    ui.daysBox.setValue(60)
    click(ui, "compareButton")
    rest(module)
    assert not workflow.failed, workflow.message
    rows = ui.changesTable.rowCount
    cells = [[ui.changesTable.item(r, c).text() for c in range(7)] for r in range(rows)]
    assert [line[0] for line in cells[:3]] == ["lesion 1", "lesion 2", "lesion 3"]
    assert cells[0][4].startswith("+")
    assert cells[0][4].endswith(" %")
    assert cells[0][5].endswith(" d")
    assert cells[2][6] == "gone"
    assert "'then', 60 days before" in ui.changesLabel.text
    geometry.align_views(workflow.volume)
    ui.changesTable.cellClicked.emit(2, 0)  # gone: where it was
    axes = dict(shown(workflow.volume))
    assert [axes[a] for a in range(3)] == pytest.approx([10, 40, 18], abs=2)
    click(ui, "undoButton")
    process(0.2)
    assert ui.changesTable.rowCount == 0
    click(ui, "redoButton")
    process(0.2)
    assert ui.changesTable.rowCount == rows
    ui.volumeSelector.setCurrentNode(earlier)
    assert ui.changesTable.rowCount == 0  # another volume's
    assert changes.of(earlier) is None


def test_channels_are_added_named_and_removed(module):
    ui, workflow = module.panel.ui, module.logic.workflow
    node = channel_beside(workflow)
    ui.phasesSectionButton.collapsed = False
    assert not ui.addChannelButton.enabled
    ui.channelSelector.setCurrentNode(node)
    click(ui, "addChannelButton")
    assert ui.channelsTable.rowCount == 2
    assert ui.channelsTable.item(0, 0).text() == "first"
    assert ui.channelsTable.item(1, 1).text() == "venous"
    ui.channelsTable.item(1, 0).setText("ven")
    ui.channelsTable.item(0, 0).setText("ven")
    assert "cannot both be called 'ven'" in ui.messageLabel.text
    assert ui.channelsTable.item(0, 0).text() == "first"
    ui.alignBox.setCurrentIndex(ui.alignBox.findData("header"))
    assert workflow.parameters.align == "header"
    workflow.parameters.model = "compact"
    click(ui, "boxButton")
    draw_box(module)
    click(ui, "boxButton")
    click(ui, "segmentButton")
    rest(module)
    assert not workflow.failed, workflow.message
    assert set(workflow.history.run(workflow.key)["channels"]) == {"first", "ven"}
    assert ui.channelsTable.item(1, 2).text() == "left where its header has it"
    ui.channelsTable.setCurrentCell(1, 0)
    click(ui, "removeChannelButton")
    assert ui.channelsTable.rowCount == 0


def test_things_are_proposed_up_to_the_number_that_was_chosen(module):
    ui, workflow = module.panel.ui, module.logic.workflow
    ui.volumeSelector.setCurrentNode(add_volume(thing()[0], np.eye(4)[[2, 1, 0, 3]], "thing"))
    workflow.parameters.model = "compact"
    ui.proposeSectionButton.collapsed = False
    assert ui.mostBox.value == 10
    ui.mostBox.setValue(2)
    ui.withinBox.setCurrentIndex(1)
    click(ui, "proposeButton")
    assert workflow.errand == errands.PROPOSE
    rest(module, seconds=300)
    assert not workflow.failed, workflow.message
    rows = ui.thingsTable.rowCount
    assert 1 <= rows <= 2
    assert ui.thingsTable.item(0, 0).text() == "thing 1"
    assert 0 < float(ui.thingsTable.item(0, 1).text()) <= 1
    assert ui.stopLabel.text.startswith("Proposed with a score of ")
    assert ui.promptLabel.text == "1 box"
    ui.thingsTable.cellClicked.emit(0, 0)
    assert prompts.count(*workflow.target)[0] == 1


@pytest.mark.parametrize("name", SECTIONS)
def test_an_open_section_needs_no_more_width_than_slicers(module, name):
    getattr(module.panel.ui, name).collapsed = False
    process()
    assert module.parent.minimumSizeHint().width() <= 460


if PICTURES:  # drawn for the manual, not tested

    def test_picture_for_the_manual(module, scans):
        ui, workflow = module.panel.ui, module.logic.workflow
        workflow.parameters.model = "compact"
        ui.exampleSelector.setCurrentNode(scans[0])
        click(ui, "takeButton")
        rest(module)
        ui.takeSectionButton.collapsed = False
        process(0.3)
        picture(module, "slicer_panel_take.png")
        ui.takeSectionButton.collapsed = True
        before, drawn, affine = lesions((8, 8, 7), 1)
        after, _, _ = lesions((9.5, 6.5, 0), 2)
        earlier = add_volume(before, affine, "March")
        add_segmentation(earlier, drawn, {10 * n: f"lesion {n}" for n in (1, 2, 3)}, "March drawn")
        now = add_volume(after, affine, "June")
        ui.volumeSelector.setCurrentNode(now)
        ui.segmentationSelector.setCurrentNode(None)
        ui.earlierSelector.setCurrentNode(earlier)
        ui.daysBox.setValue(91)
        click(ui, "compareButton")
        rest(module)
        ui.followSectionButton.collapsed = False
        process(0.3)
        picture(module, "slicer_panel_compare.png")
        ui.followSectionButton.collapsed = True
        for name in ("phasesSectionButton", "proposeSectionButton"):
            getattr(ui, name).collapsed = False
        workflow.add_channel(earlier)
        workflow.rename_channel(0, "late")
        workflow.rename_channel(1, "early")
        click(ui, "proposeButton")
        rest(module, seconds=500)
        process(0.3)
        picture(module, "slicer_panel_propose.png")


def test_a_learned_file_is_chosen_and_asked(module, scans, tmp_path):
    import qt

    ui, workflow = module.panel.ui, module.logic.workflow
    assert ui.learnedButton.isHidden()
    qt.QFileDialog.chosen = ""
    click(ui, "modelFileButton")  # thought better of it
    assert workflow.parameters.model == "ellipse"
    qt.QFileDialog.chosen = str(tmp_path / "study.sammed")
    click(ui, "modelFileButton")
    assert workflow.parameters.model == str(tmp_path / "study.sammed")
    assert ui.modelBox.currentText == "study.sammed"
    assert not ui.learnedButton.isHidden()
    assert "Find learned" in ui.hintLabel.text
    if PICTURES:
        picture(module, "slicer_panel_learned.png")
    click(ui, "learnedButton")
    rest(module)
    assert workflow.failed
    assert "study.sammed" in ui.messageLabel.text  # it is not there
    click(ui, "checkButton")  # the engine is as good as before
    rest(module)
    assert workflow.engine.state == "ready"
    ui.modelBox.setCurrentIndex(ui.modelBox.findData("ellipse"))
    assert ui.learnedButton.isHidden()


def test_a_segment_that_is_called_as_something_learned_says_who_answers(module):
    ui, workflow = module.panel.ui, module.logic.workflow
    workflow.engine = engine = Engine(lambda: ([SAMMED_PYTHON, SLOW], dict(os.environ)))
    try:
        workflow.parameters.model = "taught.sammed"
        add_box(workflow, "mine")
        workflow.on_change()
        click(ui, "segmentButton")
        rest(module)
        assert ui.learnedLabel.isHidden()
        assert next_button(ui) == ""
        node, segment_id = workflow.target
        node.GetSegmentation().GetSegment(segment_id).SetName("Organ")
        process()  # the table of the Segment Editor tells nobody
        assert ui.promptGroup.title == "Draw Organ in a slice view"
        assert ui.learnedLabel.text.startswith("organ was learned: Segment asks what was learned")
        assert not ui.learnedLabel.isHidden()
        assert next_button(ui) == "segmentButton"
        click(ui, "segmentButton")
        rest(module)
        assert ui.learnedLabel.text == "Answered by what was learned of organ."
        assert "Answered by what was learned of organ." in ui.messageLabel.text
        assert next_button(ui) == ""
    finally:
        engine.stop()
