"""The real .ui and panel under PySide6, clicked through; a picture of it for the documentation."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: run by make test-slicer")
pytest.importorskip(
    "PySide6.QtWidgets",
    reason="PySide6-Essentials, or a system library that it needs, is not installed",
    exc_type=ImportError,
)
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtWidgets  # noqa: E402
from SAMMedLib import geometry, prompts  # noqa: E402

from tests.slicer.conftest import (  # noqa: E402
    ROOT,
    SAMMED_PYTHON,
    dice,
    load_scene,
    phantom,
    save_scene,
)

ORGAN = phantom()[1]
BOX = [11, 12, 32, 12, 44, 72]
PICTURES = os.environ.get("SAMMED_PICTURES")


@pytest.fixture(scope="session")
def qt_application(application, tmp_path_factory):
    from standin import slicer_module

    made = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    made.setStyle("Fusion")
    made.qt = slicer_module.install(tmp_path_factory.mktemp("settings") / "settings.ini")
    return made


def release(parent):
    from standin import widgets

    widgets.release(parent)


@pytest.fixture
def module(qt_application, volume, engine):
    """The module's widget as Slicer makes it, on the phantom."""
    sys.modules.pop("SAMMed", None)
    import SAMMed

    widget = SAMMed.SAMMedWidget()
    slicer.util.said.clear()
    widget.setup()
    widget.logic.python = SAMMED_PYTHON
    widget.logic.workflow.engine = engine
    widget.logic.workflow.parameters.model = "two_class"
    widget.parent.resize(460, 980)
    widget.parent.show()
    widget.panel.update()
    yield widget
    widget.logic.workflow.engine = type(engine)(engine._launch)
    widget.cleanup()
    release(widget.parent)
    if engine.busy:
        engine.stop()


def click(ui, name):
    button = getattr(ui, name)
    assert button.enabled, f"{name} cannot be pressed"
    button.click()


def next_button(ui):
    """The button in the colour of the hint."""
    names = ("addSegmentButton", "boxButton", "segmentButton")
    return "".join(name for name in names if "highlight" in getattr(ui, name).styleSheet)


def rest(module, look=lambda: None):
    """Let the timer work until the engine rests, as in Slicer."""
    end = time.monotonic() + 60
    while module.logic.workflow.engine.busy:
        QtWidgets.QApplication.processEvents()
        look()
        time.sleep(0.005)
        assert time.monotonic() < end


def draw_box(module, block=BOX):
    """What two clicks in a slice view do to the markups node."""
    workflow = module.logic.workflow
    node, segment_id = workflow.parameters.segmentation, workflow.parameters.segmentID
    roi = prompts.nodes(node, segment_id, prompts.BOX)[-1]
    geometry.fit_roi(workflow.volume, roi, block)
    roi.InvokeEvent(slicer.vtkMRMLMarkupsNode.PointPositionDefinedEvent)
    interaction = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    end = time.monotonic() + 1
    while time.monotonic() < end and workflow.placing.role is not None:
        QtWidgets.QApplication.processEvents()


def mask_of(module):
    parameters = module.logic.workflow.parameters
    return (
        slicer.util.arrayFromSegmentBinaryLabelmap(
            parameters.segmentation, parameters.segmentID, parameters.volume
        )
        > 0
    )


def cells(table, row):
    return [table.item(row, c).text() for c in range(table.columnCount)]


def picture(module, name, title="rendered in the test harness, not in Slicer"):
    """Keep a picture, marked for what it is."""
    from PySide6 import QtGui

    module.parent.adjustSize()
    module.parent.resize(460, module.parent.sizeHint().height())
    for _ in range(5):
        QtWidgets.QApplication.processEvents()
    grabbed = module.parent.grab()
    canvas = QtGui.QPixmap(grabbed.width(), grabbed.height() + 22)
    canvas.fill(QtGui.QColor("#f4f4f4"))
    painter = QtGui.QPainter(canvas)
    painter.drawPixmap(0, 0, grabbed)
    painter.setPen(QtGui.QColor("#777777"))
    painter.drawText(8, canvas.height() - 7, title)
    painter.end()
    canvas.save(str(Path(PICTURES) / name))


def test_everything_at_hand_is_connected(module):
    ui = module.panel.ui
    assert ui.hintLabel.text == "Add a segment for the organ or lesion."
    assert ui.volumeSelector.currentNode() is module.logic.workflow.volume
    assert not ui.segmentButton.enabled
    assert module.logic.workflow.engine.state in ("off", "ready")


def test_opening_the_module_starts_nothing(qt_application, volume):
    sys.modules.pop("SAMMed", None)
    import SAMMed

    widget = SAMMed.SAMMedWidget()
    widget.setup()
    assert widget.logic.workflow.engine.state == "off"
    assert widget.logic.workflow.engine._process is None
    widget.cleanup()
    release(widget.parent)


def test_the_whole_use(module):
    ui, workflow = module.panel.ui, module.logic.workflow

    assert next_button(ui) == "addSegmentButton"
    click(ui, "addSegmentButton")
    assert next_button(ui) == "boxButton"
    assert cells(ui.segmentTable, 0)[1] == "Segment 1"
    ui.segmentTable.item(0, 1).setText("liver")
    segment_id = workflow.parameters.segmentID
    segment = workflow.parameters.segmentation.GetSegmentation().GetSegment(segment_id)
    assert segment.GetName() == "liver"
    assert ui.promptGroup.title == "Prompts of liver"
    assert ui.hintLabel.text.startswith("Draw a box round it")

    click(ui, "boxButton")
    assert ui.boxButton.checked
    assert ui.hintLabel.text.startswith("Draw the box")
    draw_box(module)
    assert not ui.boxButton.checked
    assert ui.promptLabel.text == "1 box"
    assert ui.hintLabel.text == "Press Segment."
    assert next_button(ui) == "segmentButton"

    click(ui, "segmentButton")
    assert ui.segmentButton.text == "Cancel"
    assert ui.progressBar.isVisible()
    assert not ui.undoButton.enabled
    assert next_button(ui) == ""
    told = set()
    rest(module, lambda: told.add(ui.messageLabel.text))
    assert any(" done, at most " in text and text.endswith(" left.") for text in told), told
    assert ui.segmentButton.text == "Segment"
    assert ui.hintLabel.text.startswith("Look through the slices")
    assert next_button(ui) == ""
    assert not ui.progressBar.isVisible()
    assert dice(mask_of(module), ORGAN) > 0.9
    first = mask_of(module)
    assert cells(ui.segmentTable, 0)[2:] == [
        "1□",
        f"{workflow.history.ml(workflow.key):.1f} ml",
    ]
    lines = workflow.history.run(workflow.key)["slices"]
    assert ui.qualityTable.rowCount == len(lines)
    assert "Slice" in ui.stopLabel.text

    row = next(n for n, line in enumerate(lines) if line["index"] == 8)
    geometry.align_views(workflow.volume)
    ui.qualityTable.cellClicked.emit(row, 0)
    red = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed")
    shown = [
        geometry.shown_slice(workflow.volume, n)
        for n in slicer.util.getNodesByClass("vtkMRMLSliceNode")
    ]
    assert (0, 8) in shown
    assert red is not None
    click(ui, "rightButton")
    assert "kept: 8" in ui.promptLabel.text
    assert next_button(ui) == "segmentButton"
    assert ui.hintLabel.text.startswith("Press Segment: what depends on the change")

    painted = first.copy()
    painted[14] = False
    painted[14, 24:33, 46:60] = True
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        painted.astype(np.uint8), workflow.parameters.segmentation, segment_id, workflow.volume
    )
    click(ui, "segmentButton")
    rest(module)
    assert np.array_equal(mask_of(module)[14], painted[14])
    assert np.array_equal(mask_of(module)[8], first[8])
    ui.qualityButton.collapsed = False
    module.panel.update()

    click(ui, "undoButton")
    assert ui.redoButton.enabled
    click(ui, "redoButton")
    assert np.array_equal(mask_of(module)[14], painted[14])


if PICTURES:  # drawn for the manual, not tested

    def test_pictures_for_the_manual(module):
        ui, workflow = module.panel.ui, module.logic.workflow
        logic = slicer.modules.volumes.logic()
        sample = ROOT / "sample_data" / "phantom_ct.nii.gz"
        volume = logic.AddArchetypeVolume(str(sample), "phantom_ct", 0)
        volume.GetDisplayNode().AutoWindowLevelOff()
        volume.GetDisplayNode().SetWindowLevel(400, 40)
        ui.volumeSelector.setCurrentNode(volume)
        workflow.parameters.model = "compact"
        for name, block in (
            ("spleen", [44, 56, 99, 45, 97, 131]),
            ("liver", [46, 25, 23, 47, 92, 97]),
        ):
            click(ui, "addSegmentButton")
            row = ui.segmentTable.rowCount - 1
            ui.segmentTable.item(row, 1).setText(name)
            if name == "liver":
                picture(module, "slicer_panel_start.png")
            click(ui, "boxButton")
            draw_box(module, block)
            click(ui, "segmentButton")
            if name == "liver":
                end = time.monotonic() + 60
                while not (workflow.engine.progress or {}).get("done", 0) > 9:
                    QtWidgets.QApplication.processEvents()
                    assert time.monotonic() < end
                picture(module, "slicer_panel_busy.png")
            rest(module)
        ui.qualityButton.collapsed = False
        module.panel.update()
        picture(module, "slicer_panel.png")


def test_cancel_is_a_press_of_the_same_button(module):
    ui = module.panel.ui
    click(ui, "addSegmentButton")
    click(ui, "boxButton")
    draw_box(module)
    click(ui, "segmentButton")
    click(ui, "segmentButton")
    assert ui.segmentButton.text == "Cancelling..."
    rest(module)
    assert ui.segmentButton.text == "Segment"
    assert ui.messageLabel.text.startswith("Cancelled")
    assert not mask_of(module).any()


def test_points_are_clicked_and_everything_is_cleared(module):
    ui, workflow = module.panel.ui, module.logic.workflow
    click(ui, "addSegmentButton")
    node, segment_id = workflow.parameters.segmentation, workflow.parameters.segmentID
    for name, role, voxel in (
        ("positiveButton", prompts.POSITIVE, [52, 28, 11]),
        ("negativeButton", prompts.NEGATIVE, [20, 60, 11]),
    ):
        click(ui, name)
        assert getattr(ui, name).checked
        assert ui.hintLabel.text.startswith("Click points")
        world = geometry.world_from_ijk(workflow.volume, [voxel])[0]
        prompts.add_point(node, segment_id, role, world)  # what a click in a view does
        click(ui, name)
        assert not getattr(ui, name).checked
    rest(module)
    assert ui.promptLabel.text == "2 points (1 +, 1 −)"
    workflow.parameters.model = "compact"
    click(ui, "segmentButton")
    rest(module)
    assert mask_of(module)[11, 28, 52], ui.messageLabel.text
    click(ui, "startButton")
    assert "slices of the segment are taken as they are" in ui.messageLabel.text
    click(ui, "clearButton")
    assert ui.promptLabel.text == "No prompts yet"
    assert mask_of(module).any()


def test_auto_update_needs_no_press(module):
    ui = module.panel.ui
    click(ui, "addSegmentButton")
    ui.autoCheck.setChecked(True)
    click(ui, "boxButton")
    draw_box(module)
    end = time.monotonic() + 30
    while not mask_of(module).any():
        QtWidgets.QApplication.processEvents()
        assert time.monotonic() < end
    rest(module)
    assert dice(mask_of(module), ORGAN) > 0.9


def test_choices_go_to_the_scene_and_come_back(module):
    ui, parameters = module.panel.ui, module.logic.workflow.parameters
    ui.planeBox.setCurrentIndex(ui.planeBox.findData("coronal"))
    ui.overlapBox.setCurrentIndex(1)
    ui.meaningBox.setCurrentIndex(1)
    ui.modelBox.setCurrentIndex(ui.modelBox.findData("ellipse"))
    ui.autoCheck.setChecked(True)
    ui.windowEdit.setText("400/40")
    ui.windowEdit.editingFinished.emit()
    assert (parameters.plane, parameters.overlap, parameters.boxMeaning) == (
        "coronal",
        "keep",
        "limits",
    )
    assert (parameters.model, parameters.window) == ("ellipse", "400/40")
    assert parameters.autoUpdate is True
    parameters.plane, parameters.autoUpdate = "axial", False
    module.panel.update()
    assert ui.planeBox.currentText == "axial"
    assert not ui.autoCheck.checked
    click(ui, "windowButton")
    assert ui.windowEdit.text == "160/70"


def test_segments_are_listed_coloured_hidden_and_removed(module):
    ui, workflow = module.panel.ui, module.logic.workflow
    for _ in range(2):
        click(ui, "addSegmentButton")
    node = workflow.parameters.segmentation
    first, second = segmentation_ids = list(node.GetSegmentation().GetSegmentIDs())
    assert workflow.parameters.segmentID == second
    ui.segmentTable.setCurrentCell(0, 1)
    assert workflow.parameters.segmentID == first
    ui.segmentTable.item(0, 1).setCheckState(QtCore.Qt.Unchecked)
    assert not node.GetDisplayNode().GetSegmentVisibility(first)

    from PySide6 import QtGui

    module_qt = sys.modules["qt"]
    module_qt.QColorDialog.chosen = QtGui.QColor(255, 0, 0)
    ui.segmentTable.cellDoubleClicked.emit(1, 0)
    assert node.GetSegmentation().GetSegment(second).GetColor() == (1.0, 0.0, 0.0)
    click(ui, "removeSegmentButton")
    assert list(node.GetSegmentation().GetSegmentIDs()) == segmentation_ids[1:]
    assert ui.segmentTable.rowCount == 1


def test_bad_news_is_red_and_says_what_to_do(module):
    ui, workflow = module.panel.ui, module.logic.workflow
    click(ui, "addSegmentButton")
    click(ui, "rightButton")
    assert "holds nothing" in ui.messageLabel.text or "Align views" in ui.messageLabel.text
    assert "color" in ui.messageLabel.styleSheet
    workflow.parameters.model = "vit_h"
    click(ui, "boxButton")
    draw_box(module)
    rest(module)
    click(ui, "segmentButton")
    rest(module)
    assert "vit_h" in ui.messageLabel.text


def test_the_engine_is_checked_and_stopped(module):
    ui = module.panel.ui
    click(ui, "checkButton")
    rest(module)
    assert ui.messageLabel.text.startswith("The engine works: sammed")
    assert ui.stateLabel.text.startswith("ready")
    click(ui, "stopButton")
    assert ui.stateLabel.text.startswith("not started")


def test_another_python_is_remembered(module):
    ui = module.panel.ui
    stopped = module.logic.workflow.engine
    module.logic.workflow.engine = type(stopped)(stopped._launch)
    ui.pythonEdit.setText("/somewhere/python")
    ui.pythonEdit.editingFinished.emit()
    import SAMMed

    assert SAMMed.SAMMedLogic().python == "/somewhere/python"
    module.logic.python = SAMMED_PYTHON


def test_nothing_is_installed_without_a_yes(module):
    click(module.panel.ui, "installButton")
    assert len(slicer.util.said) == 1
    assert "Install now?" in slicer.util.said[0]


def test_a_closed_scene_leaves_the_panel_empty_and_usable(module):
    ui, workflow = module.panel.ui, module.logic.workflow
    click(ui, "addSegmentButton")
    click(ui, "boxButton")
    draw_box(module)
    click(ui, "segmentButton")
    slicer.mrmlScene.Clear(0)
    rest(module)
    assert ui.hintLabel.text == "Choose the volume to segment."
    assert ui.segmentTable.rowCount == 0
    assert not ui.segmentButton.enabled
    assert not workflow.can_undo
    node = slicer.util.addVolumeFromArray(phantom()[0])
    ui.volumeSelector.setCurrentNode(node)
    click(ui, "addSegmentButton")
    click(ui, "boxButton")
    draw_box(module)
    workflow.parameters.model = "two_class"
    click(ui, "segmentButton")
    rest(module)
    assert mask_of(module).any()


def test_a_saved_scene_comes_back_as_it_was_left(module, tmp_path):
    ui = module.panel.ui
    click(ui, "addSegmentButton")
    ui.segmentTable.item(0, 1).setText("spleen")
    click(ui, "boxButton")
    draw_box(module)
    ui.overlapBox.setCurrentIndex(1)
    ui.autoCheck.setChecked(True)
    click(ui, "segmentButton")
    rest(module)
    found, said = mask_of(module), ui.promptLabel.text
    path = save_scene(tmp_path)
    slicer.mrmlScene.Clear(0)
    assert ui.segmentTable.rowCount == 0
    load_scene(path)
    QtWidgets.QApplication.processEvents()
    assert ui.volumeSelector.currentNode().GetName() == "phantom"
    assert cells(ui.segmentTable, 0)[1] == "spleen"
    assert (ui.promptLabel.text, ui.windowEdit.text) == (said, "160/70")
    assert ui.overlapBox.currentIndex == 1
    assert ui.modelBox.currentText == "two_class"
    assert ui.autoCheck.checked
    assert np.array_equal(mask_of(module), found)
    click(ui, "segmentButton")
    rest(module)
    assert np.array_equal(mask_of(module), found)


def test_a_volume_that_is_removed_while_it_runs_cancels(module):
    ui, workflow = module.panel.ui, module.logic.workflow
    click(ui, "addSegmentButton")
    click(ui, "boxButton")
    draw_box(module)
    click(ui, "segmentButton")
    slicer.mrmlScene.RemoveNode(workflow.volume)
    rest(module)
    assert ui.hintLabel.text == "Choose the volume to segment."


def test_the_selftest_of_the_module_passes(qt_application, scene, engine, monkeypatch):
    sys.modules.pop("SAMMed", None)
    import SAMMed

    monkeypatch.setattr(SAMMed.SAMMedLogic, "python", SAMMED_PYTHON)
    test = SAMMed.SAMMedTest()
    test.runTest()
    assert test.messages[-1] == "All cases passed"
    assert len(test.messages) == 7


def test_the_panel_needs_no_more_width_than_slicers(module):
    assert module.parent.minimumSizeHint().width() <= 460
