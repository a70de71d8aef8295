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
    """The module's widget as Slicer makes it, on the phantom, and opened."""
    sys.modules.pop("SAMMed", None)
    import SAMMed

    widget = SAMMed.SAMMedWidget()
    slicer.util.said.clear()
    widget.setup()
    widget.logic.python = SAMMED_PYTHON
    widget.logic.workflow.engine = engine
    widget.logic.workflow.parameters.model = "two_class"
    widget.parent.resize(480, 1100)
    widget.parent.show()
    widget.enter()
    widget.panel.update()
    yield widget
    widget.exit()
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
    """The button in the color of the hint."""
    names = ("boxButton", "segmentButton")
    return "".join(name for name in names if "highlight" in getattr(ui, name).styleSheet)


def process(seconds=0.08):
    """Let the timer work, as in Slicer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QtWidgets.QApplication.processEvents()
        time.sleep(0.002)


def rest(module, look=lambda: None, seconds=60):
    """Let the timer work until the engine rests, as in Slicer."""
    end = time.monotonic() + seconds
    while module.logic.workflow.busy or module.logic.workflow.engine.busy:
        QtWidgets.QApplication.processEvents()
        look()
        time.sleep(0.005)
        assert time.monotonic() < end


def show_slice(module, axis, index):
    from tests.slicer.workflows import show_slice as turn

    turn(module.logic.workflow, axis, index)


def mouse(module, ijks, control=False, view="Red"):
    """Press at the first voxel position (i, j, k), move through the others, release at the last."""
    interactor = slicer.app.layoutManager().interactors[view]
    node = slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{view}")
    world = geometry.world_from_ijk(module.logic.workflow.volume, ijks)
    to_xy = np.linalg.inv(geometry.as_array(node.GetXYToRAS()))
    pixels = [np.rint((to_xy @ [*point, 1])[:2]).astype(int) for point in world]
    events = (
        ["LeftButtonPressEvent"] + ["MouseMoveEvent"] * len(pixels) + ["LeftButtonReleaseEvent"]
    )
    for event, (x, y) in zip(events, [pixels[0], *pixels, pixels[-1]], strict=True):
        interactor.SetEventInformation(int(x), int(y), int(control), 0, chr(0), 0, None)
        interactor.InvokeEvent(event)
        QtWidgets.QApplication.processEvents()


def look_at(module, index, axis=0):
    """The Red view on a slice, large enough that a pixel is a fraction of a voxel."""
    node = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed")
    node.SetDimensions(900, 900, 1)
    node.SetFieldOfView(90, 90, 1)
    show_slice(module, axis, index)


def draw_box(module, block=BOX):
    """Drag a box in the Red view, from the outer corner of a voxel to that of another."""
    look_at(module, block[0])
    low = [block[2] - 0.45, block[1] - 0.45, block[0]]
    high = [block[5] - 0.55, block[4] - 0.55, block[0]]
    mouse(module, [low, np.add(low, high) / 2, high])


def segment_ids(module):
    node = module.logic.workflow.parameters.segmentation
    return list(node.GetSegmentation().GetSegmentIDs()) if node else []


def mask_of(module):
    parameters = module.logic.workflow.parameters
    return (
        slicer.util.arrayFromSegmentBinaryLabelmap(
            parameters.segmentation, parameters.segmentID, parameters.volume
        )
        > 0
    )


def picture(module, name, title="rendered in the test harness, not in Slicer"):
    """Keep a picture, marked for what it is."""
    from PySide6 import QtGui

    module.parent.adjustSize()
    module.parent.resize(480, module.parent.sizeHint().height())
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
    assert ui.hintLabel.text.startswith("Press Box and drag a box around the organ")
    assert next_button(ui) == "boxButton"
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

    click(ui, "boxButton")  # makes segmentation and segment as well
    process()
    assert ui.boxButton.checked
    assert ui.hintLabel.text.startswith("Drag a box")
    assert next_button(ui) == ""
    draw_box(module)
    asked, _ = prompts.read(workflow.volume, *workflow.target)
    assert asked["boxes"] == [{"axis": 0, "block": BOX}]
    assert ui.boxButton.checked  # the tool stays
    assert ui.promptLabel.text == "1 box"
    click(ui, "boxButton")
    assert not ui.boxButton.checked
    assert ui.hintLabel.text == "Press Segment."
    assert next_button(ui) == "segmentButton"
    assert ui.promptGroup.title == "Draw Segment 1 in a slice view"

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
    lines = workflow.history.run(workflow.key)["slices"]
    assert ui.qualityTable.rowCount == len(lines)
    assert ui.qualityTable.item(0, 1).text().endswith(" cm²")
    assert ui.stopLabel.text.startswith("Ends at slice ")
    assert "% of the window" not in ui.stopLabel.text  # words that a radiologist knows
    assert ui.qualityTable.item(0, 4).text() in ("box, slice beside it", "box")

    row = next(n for n, line in enumerate(lines) if line["index"] == 8)
    geometry.align_views(workflow.volume)
    ui.qualityTable.cellClicked.emit(row, 0)
    shown = [
        geometry.shown_slice(workflow.volume, n)
        for n in slicer.util.getNodesByClass("vtkMRMLSliceNode")
    ]
    assert (0, 8) in shown
    assert not ui.releaseButton.enabled
    click(ui, "rightButton")
    assert ui.keptLabel.text == "Kept as is: 1 (8)"
    assert ui.releaseButton.enabled
    assert next_button(ui) == "segmentButton"
    assert ui.hintLabel.text.startswith("Press Segment: what depends on the change")

    painted = first.copy()
    painted[14] = False
    painted[14, 24:33, 46:60] = True
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        painted.astype(np.uint8), *workflow.target, workflow.volume
    )
    click(ui, "segmentButton")
    rest(module)
    assert np.array_equal(mask_of(module)[14], painted[14])
    assert np.array_equal(mask_of(module)[8], first[8])
    assert ui.keptLabel.text == "Kept as is: 2 (8, 14)"

    click(ui, "undoButton")
    assert ui.redoButton.enabled
    click(ui, "redoButton")
    assert np.array_equal(mask_of(module)[14], painted[14])
    click(ui, "releaseAllButton")
    assert ui.keptLabel.text == "No slice is kept as is"


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
        picture(module, "slicer_panel_start.png")
        for name, block in (
            ("spleen", [44, 56, 99, 45, 97, 131]),
            ("liver", [46, 25, 23, 47, 92, 97]),
        ):
            workflow.add_segment(name)
            process()
            module.panel.arm(prompts.BOX)
            view = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed")
            view.SetDimensions(900, 900, 1)
            view.SetFieldOfView(330, 330, 1)
            show_slice(module, 0, block[0])
            low, high = [block[2], block[1], block[0]], [block[5] - 1, block[4] - 1, block[0]]
            mouse(module, [low, high])
            module.panel.onEscape()
            click(ui, "segmentButton")
            if name == "liver":
                end = time.monotonic() + 120
                while not (workflow.engine.progress or {}).get("done", 0) > 9:
                    QtWidgets.QApplication.processEvents()
                    assert time.monotonic() < end
                picture(module, "slicer_panel_busy.png")
            rest(module)
        ui.qualityButton.collapsed = False
        process()
        module.panel.update()
        picture(module, "slicer_panel.png")


def test_cancel_is_a_press_of_the_same_button(module):
    ui = module.panel.ui
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
    for name, role, voxel in (
        ("positiveButton", prompts.POSITIVE, [52, 28, 11]),
        ("negativeButton", prompts.NEGATIVE, [20, 60, 11]),
    ):
        click(ui, name)
        assert getattr(ui, name).checked
        assert ui.hintLabel.text.startswith("Click on what")
        world = geometry.world_from_ijk(workflow.volume, [voxel])[0]
        prompts.add_point(*workflow.target, role, world)  # what a click in a view does
        click(ui, name)
        assert not getattr(ui, name).checked
    rest(module)
    assert ui.promptLabel.text == "1 point inside, 1 point outside"
    workflow.parameters.model = "compact"
    click(ui, "segmentButton")
    rest(module)
    assert mask_of(module)[11, 28, 52], ui.messageLabel.text
    click(ui, "startButton")
    assert "slices of the segment are taken as they are" in ui.messageLabel.text
    click(ui, "clearButton")
    assert ui.promptLabel.text == "Nothing drawn yet"
    assert mask_of(module).any()


def test_a_box_by_two_clicks_and_one_that_is_thrown_away(module):
    ui, workflow = module.panel.ui, module.logic.workflow
    click(ui, "boxButton")
    look_at(module, 11)
    mouse(module, [[31.55, 11.55, 11]])
    assert prompts.count(*workflow.target)[0] == 0
    mouse(module, [[71.45, 43.45, 11]])
    asked, _ = prompts.read(workflow.volume, *workflow.target)
    assert asked["boxes"] == [{"axis": 0, "block": BOX}]
    mouse(module, [[40, 20, 11]])  # the first corner of another
    module.panel.onEscape()
    assert workflow.placing.role is None
    assert prompts.count(*workflow.target)[0] == 1
    mouse(module, [[40, 20, 11], [50, 30, 11]])  # no tool: the left button is Slicer's
    assert prompts.count(*workflow.target)[0] == 1


def test_a_box_outside_the_volume_is_said_so(module):
    ui = module.panel.ui
    click(ui, "boxButton")
    look_at(module, 11)
    mouse(module, [[-30, -40, 11], [-10, -20, 11]])
    assert "lies outside the volume" in ui.messageLabel.text


def test_a_box_for_the_whole_organ_is_deep(module):
    ui, workflow = module.panel.ui, module.logic.workflow
    ui.meaningBox.setCurrentIndex(1)
    click(ui, "boxButton")
    draw_box(module)
    asked, _ = prompts.read(workflow.volume, *workflow.target)
    assert asked["boxes"] == []
    block = asked["blocks"][0]["block"]
    assert block[1:3] + block[4:] == BOX[1:3] + BOX[4:]
    assert block[0] < 11 - 3
    assert block[3] > 12 + 3


def test_scribbles_and_lassos_reach_the_engine(module):
    ui, workflow = module.panel.ui, module.logic.workflow
    workflow.parameters.model = "compact"
    look_at(module, 11)
    click(ui, "scribbleButton")
    mouse(module, [[40, 28, 11], [46, 30, 11], [60, 28, 11]])
    mouse(module, [[10, 60, 11], [20, 62, 11]], control=True)
    click(ui, "lassoButton")
    mouse(module, [[38, 20, 11], [64, 20, 11], [66, 38, 11], [36, 36, 11]])
    asked, problems = prompts.read(workflow.volume, *workflow.target)
    assert problems == []
    inside, outside = asked["scribbles"]
    assert (inside["positive"], outside["positive"]) == (True, False)
    assert inside["voxels"][0] == [11, 28, 40]
    assert inside["voxels"][-1] == [11, 28, 60]
    assert [11, 30, 46] in inside["voxels"]
    steps = np.abs(np.diff(inside["voxels"], axis=0)).max(axis=1)
    assert steps.max() == 1  # no gap
    lasso = asked["lassos"][0]
    assert (lasso["axis"], lasso["index"], lasso["positive"]) == (0, 11, True)
    np.testing.assert_allclose(lasso["outline"][0], [20.5, 38.5], atol=0.2)
    assert ui.promptLabel.text == "2 scribbles, 1 lasso"
    assert workflow.has_start
    click(ui, "segmentButton")
    rest(module)
    assert dice(mask_of(module), ORGAN) > 0.7, ui.messageLabel.text
    before = prompts.snapshot(*workflow.target)
    click(ui, "undoButton")
    assert prompts.count_strokes(*workflow.target) == (0, 0)
    click(ui, "redoButton")
    assert prompts.same(prompts.snapshot(*workflow.target), before)


def test_what_is_drawn_outside_alone_says_not_where_the_organ_is(module):
    ui, workflow = module.panel.ui, module.logic.workflow
    look_at(module, 11)
    click(ui, "scribbleButton")
    mouse(module, [[10, 60, 11], [20, 62, 11]], control=True)
    assert not workflow.has_start
    assert not ui.segmentButton.enabled


def test_auto_update_needs_no_press_and_the_tool_stays(module):
    ui, workflow = module.panel.ui, module.logic.workflow
    ui.autoCheck.setChecked(True)
    click(ui, "boxButton")
    draw_box(module)
    end = time.monotonic() + 30
    while not mask_of(module).any():
        QtWidgets.QApplication.processEvents()
        assert time.monotonic() < end
    rest(module)
    assert dice(mask_of(module), ORGAN) > 0.9
    assert ui.boxButton.checked
    draw_box(module, [14, 16, 36, 15, 40, 68])
    process(0.4)
    rest(module)
    assert len(workflow.history.run(workflow.key)["prompted"]) == 2


def press_key(module, key, modifier=QtCore.Qt.NoModifier):
    from PySide6 import QtTest

    module.parent.activateWindow()
    module.parent.setFocus()
    process(0.03)
    QtTest.QTest.keyClick(module.parent, key, modifier)
    process(0.05)


def test_every_key_does_what_its_tooltip_says(module):
    from SAMMedLib import shortcuts

    ui, workflow = module.panel.ui, module.logic.workflow
    told = {
        "B": ui.boxButton,
        "P": ui.positiveButton,
        "O": ui.negativeButton,
        "S": ui.scribbleButton,
        "L": ui.lassoButton,
        "Enter": ui.segmentButton,
        "Esc": ui.segmentButton,
        "Ctrl+Z": ui.undoButton,
        "Ctrl+Y": ui.redoButton,
        "N": ui.nextButton,
    }
    assert {key for key, _ in shortcuts.KEYS} == {*told, "Return"}
    for key, button in told.items():
        assert f"({key})" in button.toolTip, key
    for key, name in (("B", "boxButton"), ("S", "scribbleButton"), ("L", "lassoButton")):
        press_key(module, getattr(QtCore.Qt, f"Key_{key}"))
        assert getattr(ui, name).checked, key
    for key, name in (("P", "positiveButton"), ("O", "negativeButton")):
        press_key(module, getattr(QtCore.Qt, f"Key_{key}"))
        assert getattr(ui, name).checked, key
    press_key(module, QtCore.Qt.Key_Escape)
    assert workflow.placing.role is None
    press_key(module, QtCore.Qt.Key_B)
    draw_box(module)
    press_key(module, QtCore.Qt.Key_Return)
    rest(module)
    assert mask_of(module).any()
    press_key(module, QtCore.Qt.Key_Z, QtCore.Qt.ControlModifier)
    assert not mask_of(module).any()
    press_key(module, QtCore.Qt.Key_Y, QtCore.Qt.ControlModifier)
    assert mask_of(module).any()
    press_key(module, QtCore.Qt.Key_N)
    assert "marked for a look" in ui.messageLabel.text or "to be checked" in ui.messageLabel.text


def test_keys_are_in_force_only_while_the_module_is_open(module):
    module.exit()
    press_key(module, QtCore.Qt.Key_B)
    assert module.logic.workflow.placing.role is None
    module.enter()


def test_choices_go_to_the_scene_and_come_back(module):
    ui, parameters = module.panel.ui, module.logic.workflow.parameters
    ui.planeBox.setCurrentIndex(ui.planeBox.findData("coronal"))
    ui.overlapBox.setCurrentIndex(1)
    ui.meaningBox.setCurrentIndex(1)
    ui.deviceBox.setCurrentIndex(ui.deviceBox.findData("cpu"))
    ui.autoCheck.setChecked(True)
    ui.windowEdit.setText("400/40")
    assert (parameters.plane, parameters.overlap, parameters.boxMeaning) == (
        "coronal",
        "keep",
        "limits",
    )
    assert (parameters.device, parameters.window) == ("cpu", "400/40")
    assert parameters.autoUpdate is True
    parameters.plane, parameters.autoUpdate = "axial", False
    module.panel.update()
    assert ui.planeBox.currentText == "axial"
    assert not ui.autoCheck.checked
    click(ui, "windowButton")
    assert ui.windowEdit.text == "160/70"


def test_the_models_are_those_that_the_engine_tells(module):
    ui, workflow = module.panel.ui, module.logic.workflow
    workflow.check()
    rest(module)
    module.panel.update()
    told = {model["name"]: model for model in workflow.engine.hello["models"]}
    listed = [ui.modelBox.itemData(n) for n in range(ui.modelBox.count)]
    assert listed == list(told)
    assert ui.modelBox.itemData(ui.modelBox.currentIndex) == "two_class"
    missing = next(name for name, model in told.items() if not model["available"])
    assert "weights to be fetched" in ui.modelBox.itemText(listed.index(missing))
    ui.modelBox.setCurrentIndex(listed.index("ellipse"))
    assert workflow.parameters.model == "ellipse"


def test_the_segment_editor_and_the_panel_are_about_the_same_segment(module):
    ui, workflow = module.panel.ui, module.logic.workflow
    click(ui, "boxButton")
    process()
    editor = module.editor.widget
    assert editor.segmentationNode() is workflow.parameters.segmentation
    assert editor.sourceVolumeNode() is workflow.volume
    first = workflow.parameters.segmentID
    assert editor.currentSegmentID() == first
    draw_box(module)
    widget = editor._object
    widget.findChild(QtWidgets.QPushButton, "Add").click()
    process()
    second = editor.currentSegmentID()
    assert second != first
    assert workflow.parameters.segmentID == second  # chosen in Slicer's own table
    boxes = prompts.nodes(workflow.parameters.segmentation, first, prompts.BOX)
    assert [box.GetDisplayNode().GetVisibility() for box in boxes] == [0]  # of another segment
    draw_box(module, [11, 14, 34, 12, 40, 70])  # the tool went on with the new segment
    assert prompts.count(workflow.parameters.segmentation, second)[0] == 1
    workflow.parameters.segmentID = first
    workflow.retarget()
    process()
    assert editor.currentSegmentID() == first
    assert boxes[0].GetDisplayNode().GetVisibility() == 1
    workflow.parameters.segmentation.GetSegmentation().RemoveSegment(second)
    process()
    process(0.5)
    assert len(slicer.util.getNodesByClass("vtkMRMLMarkupsROINode")) == 1  # its box went with it


def test_a_tool_of_the_segment_editor_puts_ours_away_and_the_other_way(module):
    ui, workflow = module.panel.ui, module.logic.workflow
    click(ui, "boxButton")
    process()
    module.editor.widget.setActiveEffect("Paint")
    process()
    assert workflow.placing.role is None
    assert not ui.boxButton.checked
    click(ui, "boxButton")
    assert module.editor.widget.activeEffect() is None


def test_undo_in_the_panel_and_in_the_segment_editor_is_one(module):
    ui, workflow = module.panel.ui, module.logic.workflow
    click(ui, "boxButton")
    draw_box(module)
    click(ui, "segmentButton")
    rest(module)
    found = mask_of(module)
    assert ui.undoButton.enabled
    module.editor.widget.undo()
    process()
    assert not mask_of(module).any()
    assert prompts.count(*workflow.target)[0] == 0
    assert ui.redoButton.enabled
    click(ui, "redoButton")
    assert np.array_equal(mask_of(module), found)
    assert prompts.count(*workflow.target)[0] == 1


def test_bad_news_is_red_and_says_what_to_do(module):
    ui, workflow = module.panel.ui, module.logic.workflow
    click(ui, "boxButton")
    click(ui, "rightButton")
    assert "holds nothing" in ui.messageLabel.text or "Align views" in ui.messageLabel.text
    assert "color" in ui.messageLabel.styleSheet
    workflow.parameters.model = "vit_h"
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
    assert not module.panel.ui.removeButton.enabled


def test_a_closed_scene_leaves_the_panel_empty_and_usable(module):
    ui, workflow = module.panel.ui, module.logic.workflow
    click(ui, "boxButton")
    draw_box(module)
    click(ui, "segmentButton")
    slicer.mrmlScene.Clear(0)
    rest(module)
    assert ui.hintLabel.text == "Choose the volume to segment."
    assert not ui.segmentButton.enabled
    assert not workflow.can_undo
    node = slicer.util.addVolumeFromArray(phantom()[0])
    ui.volumeSelector.setCurrentNode(node)
    workflow.placing.strokes.watch([])
    from SAMMedLib import views

    workflow.placing.strokes.watch(views.slice_views())
    click(ui, "boxButton")
    draw_box(module)
    workflow.parameters.model = "two_class"
    click(ui, "segmentButton")
    rest(module)
    assert mask_of(module).any()


def test_a_saved_scene_comes_back_as_it_was_left(module, tmp_path):
    ui = module.panel.ui
    module.logic.workflow.add_segment("spleen")
    click(ui, "boxButton")
    draw_box(module)
    click(ui, "boxButton")
    ui.overlapBox.setCurrentIndex(1)
    ui.autoCheck.setChecked(True)
    click(ui, "segmentButton")
    rest(module)
    found, said = mask_of(module), ui.promptLabel.text
    path = save_scene(tmp_path)
    slicer.mrmlScene.Clear(0)
    load_scene(path)
    QtWidgets.QApplication.processEvents()
    assert ui.volumeSelector.currentNode().GetName() == "phantom"
    assert ui.promptGroup.title == "Draw spleen in a slice view"
    assert (ui.promptLabel.text, ui.windowEdit.text) == (said, "160/70")
    assert ui.overlapBox.currentIndex == 1
    assert ui.modelBox.itemData(ui.modelBox.currentIndex) == "two_class"
    assert ui.autoCheck.checked
    assert np.array_equal(mask_of(module), found)
    click(ui, "segmentButton")
    rest(module)
    assert np.array_equal(mask_of(module), found)


def test_a_volume_that_is_removed_while_it_runs_cancels(module):
    ui, workflow = module.panel.ui, module.logic.workflow
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


def test_the_selftest_is_skipped_with_a_reason_without_an_engine(
    qt_application, scene, monkeypatch
):
    import unittest

    sys.modules.pop("SAMMed", None)
    import SAMMed

    monkeypatch.setattr(SAMMed.SAMMedLogic, "python", "")
    test = SAMMed.SAMMedTest()
    with pytest.raises(unittest.SkipTest, match="not installed"):
        test.runTest()
    assert test.messages[0].startswith("Skipped: the engine is not installed")


def test_a_script_leaves_the_panel_alone(module, engine):
    import SAMMed

    logic = SAMMed.SAMMedLogic()
    logic.workflow.engine = engine
    volume = module.logic.workflow.volume
    node, segment_id = logic.segment(volume, [BOX], name="spleen", model="two_class")
    found = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume) > 0
    assert dice(found, ORGAN) > 0.9
    assert module.logic.workflow.parameters.segmentation is None
    results = logic.segmentAll([BOX], name="spleen", model="two_class")
    assert list(results) == [volume.GetID()]


def test_the_sample_is_offered_in_sample_data(qt_application, monkeypatch):
    import hashlib
    import types

    sys.modules.pop("SAMMed", None)
    import SAMMed

    told = {}
    logic = types.SimpleNamespace(registerCustomSampleDataSource=lambda **how: told.update(how))
    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=logic))
    SAMMed.registerSampleData()
    assert told["category"] == "SAMMed"
    assert Path(told["thumbnailFileName"]).is_file()
    sample = ROOT / "sample_data" / "phantom_ct.nii.gz"
    if sample.exists():  # not in the package
        digest = hashlib.sha256(sample.read_bytes()).hexdigest()
        assert told["checksums"] == f"SHA256:{digest}"


def test_the_panel_needs_no_more_width_than_slicers(module):
    assert module.parent.minimumSizeHint().width() <= 460
