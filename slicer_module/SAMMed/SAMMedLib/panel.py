"""The panel: shows what the workflow says and hands the user's clicks to it. No algorithm here."""

from __future__ import annotations

import qt
import slicer

from . import geometry, prompts, segmentation, wording
from .tables import QualityTable, SegmentTable, swatch

PLANES = (
    ("auto", "as the box was drawn"),
    ("axial", "axial"),
    ("coronal", "coronal"),
    ("sagittal", "sagittal"),
    ("all", "all three, then fused (slower)"),
)
OVERLAPS = (
    (segmentation.ALLOW, "may overlap other segments"),
    (segmentation.OTHERS_KEEP, "leaves other segments their voxels"),
)
MEANINGS = (
    (prompts.SLICE, "on one slice; the ends are found"),
    (prompts.LIMITS, "the limits of the whole object"),
)
MODELS = ("compact", "two_class", "medsam", "vit_b", "vit_l", "vit_h", "ellipse", "box")

_RED = "#c0392b"
_NEXT = (
    "background-color: palette(highlight); color: palette(highlighted-text); "
    "border-radius: 3px; padding: 4px 8px; font-weight: bold;"
)


class Panel:
    """Widgets on one side, the workflow on the other.

    Parameters
    ----------
    ui
        The widgets of ``SAMMed.ui`` by name.
    workflow
        See `workflow.Workflow`.
    actions
        Functions of the module: ``install()`` and ``python(path)``.
    """

    def __init__(self, ui, workflow, actions):
        self.ui = ui
        self.workflow = workflow
        self.actions = actions
        self._updating = False
        self._segments = SegmentTable(ui.segmentTable, workflow, self._parameters, self.update)
        self._quality = QualityTable(ui.qualityTable, ui.stopLabel, workflow)
        self._fill()
        self._connect()
        workflow.on_change = self.update

    # -- once --------------------------------------------------------------------------------

    def _fill(self):
        ui = self.ui
        for box, choices in (
            (ui.planeBox, PLANES),
            (ui.overlapBox, OVERLAPS),
            (ui.meaningBox, MEANINGS),
            (ui.modelBox, [(name, name) for name in MODELS]),
        ):
            for value, text in choices:
                box.addItem(text, value)
        for button, role in (
            (ui.boxButton, prompts.BOX),
            (ui.positiveButton, prompts.POSITIVE),
            (ui.negativeButton, prompts.NEGATIVE),
        ):
            button.setIcon(swatch(prompts.COLOURS[role], 9))

    def _connect(self):
        ui = self.ui
        for name, slot in (
            ("addSegmentButton", self.onAdd),
            ("removeSegmentButton", self.onRemove),
            ("boxButton", self.onBox),
            ("positiveButton", self.onPositive),
            ("negativeButton", self.onNegative),
            ("rightButton", self.workflow.confirm_slice),
            ("startButton", self.workflow.confirm_all),
            ("clearButton", self.workflow.clear_prompts),
            ("segmentButton", self.onSegment),
            ("undoButton", self.workflow.undo),
            ("redoButton", self.workflow.redo),
            ("alignButton", self.onAlign),
            ("windowButton", self.workflow.copy_window),
            ("browseButton", self.onBrowse),
            ("checkButton", self.onCheck),
            ("installButton", self.onInstall),
            ("stopButton", self.onStop),
        ):
            getattr(ui, name).connect("clicked()", slot)
        for name in ("planeBox", "overlapBox", "meaningBox", "modelBox"):
            getattr(ui, name).connect("currentIndexChanged(int)", self.onChoice)
        for name in ("volumeSelector", "segmentationSelector"):
            getattr(ui, name).connect("currentNodeChanged(vtkMRMLNode*)", self.onNode)
        ui.autoCheck.connect("toggled(bool)", self.onAuto)
        ui.windowEdit.connect("editingFinished()", self.onWindow)
        ui.pythonEdit.connect("editingFinished()", self.onPythonEdited)

    def connectParameters(self, parameters):
        """Show another parameter node; ``None`` while there is no scene."""
        self.workflow.parameters = parameters
        self._segments.forget()
        self._quality.forget()
        self.update()

    def showPython(self, path):
        """Show which Python runs the engine."""
        self.ui.pythonEdit.setText(path)

    # -- what the user does ------------------------------------------------------------------

    def onNode(self, node=None):
        """Another volume or segmentation was chosen."""
        parameters = self._parameters()
        if parameters is None:
            return
        parameters.volume = self.ui.volumeSelector.currentNode()
        chosen = self.ui.segmentationSelector.currentNode()
        if chosen is not parameters.segmentation:
            parameters.segmentation = chosen
            ids = segmentation.ids(chosen)
            parameters.segmentID = ids[0] if ids else ""
        if chosen is not None and not segmentation.ids(chosen) and parameters.volume is not None:
            segmentation.attach(chosen, parameters.volume)
        self.update()

    def onChoice(self, index=0):
        """Something was chosen in a combo box."""
        parameters = self._parameters()
        if parameters is None:
            return
        parameters.plane = _value(self.ui.planeBox)
        parameters.overlap = _value(self.ui.overlapBox)
        parameters.boxMeaning = _value(self.ui.meaningBox)
        parameters.model = _value(self.ui.modelBox)
        self.update()

    def onAuto(self, checked=False):
        """Auto-update was switched."""
        if self._parameters() is not None:
            self.workflow.parameters.autoUpdate = bool(checked)

    def onWindow(self):
        """A window was typed."""
        if self._parameters() is not None:
            self.workflow.parameters.window = self.ui.windowEdit.text.strip()

    def onAdd(self):
        """Add a segment."""
        self.workflow.add_segment()

    def onRemove(self):
        """Remove the chosen segment."""
        self.workflow.remove_segment()

    def onBox(self):
        """Draw a box, or stop drawing."""
        self._place(prompts.BOX)

    def onPositive(self):
        """Click points inside, or stop."""
        self._place(prompts.POSITIVE)

    def onNegative(self):
        """Click points outside, or stop."""
        self._place(prompts.NEGATIVE)

    def _place(self, role):
        if self.workflow.placing.role == role:
            self.workflow.placing.end()
        elif self.workflow.parameters is not None and self.workflow.volume is not None:
            self.workflow.place(role, self.workflow.parameters.boxMeaning)
        self.update()

    def onSegment(self):
        """Segment, or cancel what runs."""
        if self.workflow.busy:
            self.workflow.cancel()
        else:
            self.workflow.segment()

    def onAlign(self):
        """Turn the views into the volume's planes."""
        if self.workflow.parameters is not None and self.workflow.volume is not None:
            geometry.align_views(self.workflow.volume)

    def onBrowse(self):
        """Choose a Python."""
        path = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), "The Python of sammed")
        if path:
            self.ui.pythonEdit.setText(path)
            self.onPythonEdited()

    def onPythonEdited(self):
        """Another Python was chosen."""
        self.actions["python"](self.ui.pythonEdit.text.strip())

    def onCheck(self):
        """Start the engine to see whether it works."""
        self.workflow.check()

    def onInstall(self):
        """Install sammed; the module asks first."""
        self.actions["install"]()

    def onStop(self):
        """End the engine."""
        self.workflow.engine.stop()
        self.update()

    # -- what the user sees ------------------------------------------------------------------

    def update(self):
        """Show the state of everything."""
        if self._updating:
            return
        self._updating = True
        try:
            self._show()
        finally:
            self._updating = False

    def _show(self):
        ui, workflow = self.ui, self.workflow
        parameters = workflow.parameters
        there = parameters is not None
        ui.hintLabel.setText(wording.hint(workflow) if there else "")
        self._show_engine()
        if not there:
            return
        ui.volumeSelector.setCurrentNode(parameters.volume)
        ui.segmentationSelector.setCurrentNode(parameters.segmentation)
        for box, value in (
            (ui.planeBox, parameters.plane),
            (ui.overlapBox, parameters.overlap),
            (ui.meaningBox, parameters.boxMeaning),
            (ui.modelBox, parameters.model),
        ):
            _choose(box, value)
        ui.autoCheck.setChecked(parameters.autoUpdate)
        if not ui.windowEdit.hasFocus():
            ui.windowEdit.setText(parameters.window)
        self._segments.show(parameters.segmentation, parameters.segmentID)
        self._show_prompts()
        self._show_progress()
        self._show_next()
        self._quality.show()

    def _show_prompts(self):
        ui, workflow = self.ui, self.workflow
        node, segment_id = workflow.parameters.segmentation, workflow.parameters.segmentID
        there = workflow.key is not None
        name = node.GetSegmentation().GetSegment(segment_id).GetName() if there else ""
        ui.promptGroup.setTitle(f"Prompts of {name}" if there else "Prompts")
        ui.promptLabel.setText(wording.prompts_long(node, segment_id) if there else "")
        ready = workflow.volume is not None
        role = workflow.placing.role
        for button, its_role in (
            (ui.boxButton, prompts.BOX),
            (ui.positiveButton, prompts.POSITIVE),
            (ui.negativeButton, prompts.NEGATIVE),
        ):
            button.setEnabled(ready)
            button.setChecked(role == its_role)
        for button in (ui.rightButton, ui.startButton):
            button.setEnabled(ready and there and not workflow.busy)
        ui.clearButton.setEnabled(there and not workflow.busy)
        ui.removeSegmentButton.setEnabled(there)
        ui.addSegmentButton.setEnabled(ready)

    def _show_next(self):
        """Give the button that comes next the colour of the hint."""
        ui, workflow = self.ui, self.workflow
        wanted = None
        if workflow.volume is not None and not workflow.busy and workflow.placing.role is None:
            if workflow.key is None:
                wanted = ui.addSegmentButton
            elif not workflow.has_start:
                wanted = ui.boxButton
            elif not workflow.history.run(workflow.key) or workflow.prompts_changed:
                wanted = ui.segmentButton
        for button in (ui.addSegmentButton, ui.boxButton, ui.segmentButton):
            style = _NEXT if button is wanted else ""
            if button.styleSheet != style:
                button.setStyleSheet(style)

    def _show_progress(self):
        ui, workflow = self.ui, self.workflow
        state = workflow.engine.state
        busy = workflow.busy
        ui.segmentButton.setText(
            "Segment" if not busy else "Cancelling..." if state == "cancelling" else "Cancel"
        )
        ui.segmentButton.setEnabled(state != "cancelling" and (busy or not workflow.problem()))
        ui.undoButton.setEnabled(workflow.can_undo)
        ui.redoButton.setEnabled(workflow.can_redo)
        ui.progressBar.setVisible(busy)
        message = workflow.message
        if busy:
            done, total, text = wording.progress(workflow.engine, workflow.most_slices)
            ui.progressBar.setMaximum(total)
            ui.progressBar.setValue(done)
            message = f"{wording.sentence(text)} {message}".strip()
        ui.messageLabel.setText(message)
        ui.messageLabel.setStyleSheet(f"color: {_RED}" if workflow.failed else "")

    def _show_engine(self):
        ui, engine = self.ui, self.workflow.engine
        ui.stateLabel.setText(wording.engine_state(engine))
        ui.stopButton.setEnabled(engine.state not in ("off", "failed"))
        ui.checkButton.setEnabled(not engine.busy)
        log = "\n".join(engine.log)
        if ui.logText.plainText != log:
            ui.logText.setPlainText(log)

    def _parameters(self):
        """The parameters, unless it is the panel itself that changes the widgets."""
        return None if self._updating else self.workflow.parameters


def _value(box):
    return box.itemData(box.currentIndex)


def _choose(box, value):
    index = box.findData(value)
    if index < 0:
        box.addItem(value, value)
        index = box.count - 1
    box.setCurrentIndex(index)
