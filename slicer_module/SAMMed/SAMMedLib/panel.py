"""The panel: shows what the workflow says and hands the user's clicks to it. No algorithm here."""

from __future__ import annotations

import os

import qt
import slicer
from slicer.i18n import tr as _

from . import geometry, others_panel, prompts, segmentation, views, wording
from .tables import QualityTable

_RED = "#c0392b"
_NEXT = (
    "background-color: palette(highlight); color: palette(highlighted-text); "
    "border-radius: 3px; padding: 4px 8px; font-weight: bold;"
)
_TOOLS = (
    ("boxButton", prompts.BOX, "ToolBox.svg"),
    ("positiveButton", prompts.POSITIVE, "ToolInside.svg"),
    ("negativeButton", prompts.NEGATIVE, "ToolOutside.svg"),
    ("scribbleButton", prompts.SCRIBBLE, "ToolScribble.svg"),
    ("lassoButton", prompts.LASSO, "ToolLasso.svg"),
)


def _choices():
    """What can be chosen, by the name of the combo box: parameter, then values and words."""
    return {
        "meaningBox": (
            "boxMeaning",
            (prompts.SLICE, _("the organ on one slice")),
            (prompts.LIMITS, _("the whole organ (3D)")),
        ),
        "planeBox": (
            "plane",
            ("auto", _("as the box was drawn")),
            ("axial", _("axial")),
            ("coronal", _("coronal")),
            ("sagittal", _("sagittal")),
            ("all", _("all three, then fused (slower)")),
        ),
        "overlapBox": (
            "overlap",
            (segmentation.ALLOW, _("may overlap other segments")),
            (segmentation.OTHERS_KEEP, _("leaves other segments their voxels")),
        ),
        "deviceBox": (
            "device",
            ("auto", _("GPU if there is one, else CPU")),
            ("cpu", _("CPU")),
            ("cuda", _("NVIDIA GPU")),
            ("mps", _("Apple GPU")),
        ),
    }


class Panel:
    """Widgets on one side, the workflow on the other.

    Parameters
    ----------
    ui
        The widgets of ``SAMMed.ui`` by name.
    workflow
        See `workflow.Workflow`.
    setup
        See `installing.Setup`.
    editor
        See `editing.SegmentEditor`.
    onPython
        Called with the path of the Python that was chosen.
    icons
        The folder of the icons.
    """

    def __init__(self, ui, workflow, setup, editor, onPython, icons):
        self.ui, self.workflow, self.setup, self.editor = ui, workflow, setup, editor
        self._onPython = onPython
        self._updating = False
        self._connected = None
        self._known_models = None
        self._called = ""
        self._quality = QualityTable(ui.qualityTable, ui.stopLabel, workflow)
        self._others = others_panel.OthersPanel(ui, workflow)
        self._combos = {**_choices(), **others_panel.choices()}
        self._fill(icons)
        self._connect()
        workflow.on_change = self.update

    # -- once --------------------------------------------------------------------------------

    def _fill(self, icons):
        for name, (_parameter, *choices) in self._combos.items():
            for value, text in choices:
                getattr(self.ui, name).addItem(text, value)
        for name, _role, icon in _TOOLS:
            getattr(self.ui, name).setIcon(qt.QIcon(os.path.join(icons, icon)))

    def _connect(self):
        ui, workflow = self.ui, self.workflow
        for name, slot in (
            ("rightButton", workflow.confirm_slice),
            ("releaseButton", workflow.release_slice),
            ("releaseAllButton", workflow.release_all),
            ("nextButton", workflow.next_doubtful),
            ("startButton", workflow.confirm_all),
            ("clearButton", workflow.clear_prompts),
            ("segmentButton", self.onSegment),
            ("framesButton", workflow.segment_frames),
            ("undoButton", workflow.undo),
            ("redoButton", workflow.redo),
            ("alignButton", self.onAlign),
            ("windowButton", workflow.copy_window),
            ("browseButton", self.onBrowse),
            ("modelFileButton", self.onModelFile),
            ("checkButton", workflow.check),
            ("installButton", self.onInstall),
            ("removeButton", self.onRemove),
            ("stopButton", self.onStop),
        ):
            getattr(ui, name).connect("clicked()", slot)
        for name, role, _icon in _TOOLS:
            getattr(ui, name).connect("clicked()", lambda role=role: self.arm(role))
        for name in (*self._combos, "modelBox"):
            getattr(ui, name).connect("currentIndexChanged(int)", self.onChoice)
        for name in ("volumeSelector", "segmentationSelector"):
            getattr(ui, name).connect("currentNodeChanged(vtkMRMLNode*)", self.onNode)
        ui.pythonEdit.connect("editingFinished()", self.onPythonEdited)

    def actions(self):
        """What the module's keys do, by name."""
        workflow = self.workflow
        tools = ("box", "inside", "outside", "scribble", "lasso")
        armed = {
            name: lambda role=role: self.arm(role)
            for name, (_button, role, _icon) in zip(tools, _TOOLS)
        }
        return {
            **armed,
            "segment": self.onEnter,
            "cancel": self.onEscape,
            "undo": workflow.undo,
            "redo": workflow.redo,
            "next": workflow.next_doubtful,
        }

    def connectParameters(self, parameters):
        """Show another parameter node; ``None`` while there is no scene."""
        if self._connected is not None:
            self._connected[0].disconnectGui(self._connected[1])
        self._connected = None
        self.workflow.parameters = parameters
        if parameters is not None:
            self._connected = parameters, parameters.connectGui(self.ui)
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
        parameters.segmentation = chosen
        ids = segmentation.ids(chosen)
        if parameters.segmentID not in ids:
            parameters.segmentID = ids[0] if ids else ""
        if chosen is not None and not ids and parameters.volume is not None:
            segmentation.attach(chosen, parameters.volume)
        self.workflow.retarget()
        self.update()

    def onChoice(self, index=0):
        """Something was chosen in a combo box."""
        parameters = self._parameters()
        if parameters is None:
            return
        for name, (parameter, *_values) in self._combos.items():
            setattr(parameters, parameter, _value(getattr(self.ui, name)))
        parameters.model = _value(self.ui.modelBox) or parameters.model
        self.workflow.retarget()
        self.update()

    def arm(self, role):
        """Take a tool; pressing it again puts it away."""
        workflow = self.workflow
        if workflow.placing.role == role:
            workflow.placing.end()
        elif workflow.parameters is not None and workflow.volume is not None:
            self.editor.put_away()
            workflow.placing.strokes.watch(views.slice_views())  # the layout may be another
            workflow.place(role, workflow.parameters.boxMeaning)
        self.update()

    def onSegment(self):
        """Segment, or cancel what runs."""
        if self.workflow.busy:
            self.workflow.cancel()
        else:
            self.workflow.segment()

    def onEnter(self):
        """The key Enter: segment, if nothing runs."""
        if not self.workflow.busy and self.workflow.parameters is not None:
            self.workflow.segment()

    def onEscape(self):
        """The key Esc: cancel what runs, else put the tool away."""
        if self.workflow.busy:
            self.workflow.cancel()
        else:
            self.workflow.placing.end()
        self.update()

    def onAlign(self):
        """Turn the views into the volume's planes."""
        if self.workflow.parameters is not None and self.workflow.volume is not None:
            geometry.align_views(self.workflow.volume)

    def onBrowse(self):
        """Choose a Python."""
        title = _("The Python of sammed")
        path = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), title)
        if path:
            self.ui.pythonEdit.setText(path)
            self.onPythonEdited()

    def onModelFile(self):
        """Choose a file that sammed learned."""
        title, kinds = _("A file that sammed learned"), "sammed (*.sammed)"
        path = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), title, "", kinds)
        if path and self.workflow.parameters is not None:
            self.workflow.parameters.model = path
            self.workflow.retarget()
            self.update()

    def onPythonEdited(self):
        """Another Python was chosen."""
        self._onPython(self.ui.pythonEdit.text.strip())

    def onInstall(self):
        """Install the engine after a question, or cancel that."""
        self.setup.install()
        self.update()

    def onRemove(self):
        """Remove the engine after a question."""
        self.setup.remove()
        self.update()

    def onStop(self):
        """End the engine."""
        self.workflow.engine.stop()
        self.update()

    # -- what the user sees ------------------------------------------------------------------

    def poll(self):
        """See what was chosen in the Segment Editor, and how far an installation is."""
        parameters = self.workflow.parameters
        if self.setup.poll():
            self._show_engine()
        if parameters is None or self._updating:
            return
        if self.editor.is_active and self.workflow.placing.role is not None:
            self.workflow.placing.end()
            self.update()
        chosen = self.editor.show(self.workflow.volume, *self.workflow.target)
        if chosen is not None and chosen != parameters.segmentID:
            parameters.segmentID = chosen
            self.workflow.retarget()
            self.update()
        if self.workflow.called != self._called:  # its name says whether it was learned
            self._called = self.workflow.called
            self.update()

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
        self._others.show()
        if not there:
            return
        ui.volumeSelector.setCurrentNode(parameters.volume)
        ui.segmentationSelector.setCurrentNode(parameters.segmentation)
        self._show_models()
        for name, (parameter, *_values) in self._combos.items():
            _choose(getattr(ui, name), getattr(parameters, parameter))
        if not ui.windowEdit.hasFocus() and ui.windowEdit.text != parameters.window:
            ui.windowEdit.setText(parameters.window)
        self._show_prompts()
        self._show_progress()
        self._show_next()
        self._quality.show()

    def _show_models(self):
        """The models that the engine knows; before it has started, the one that is chosen."""
        hello = self.workflow.engine.hello
        models = hello["models"] if hello else self._known_models or []
        box = self.ui.modelBox
        if models != self._known_models:
            self._known_models = models
            box.clear()
            for number, model in enumerate(models):
                words = model["name"] if model["available"] else _("{name} (weights to be fetched)")
                box.addItem(words.format(name=model["name"]), model["name"])
                about = _("{what} License: {license}").format(
                    what=wording.sentence(model["description"]), license=model["license"]
                )
                box.setItemData(number, about, qt.Qt.ToolTipRole)
        model = self.workflow.parameters.model
        _choose(box, model, os.path.basename(model))

    def _show_prompts(self):
        ui, workflow = self.ui, self.workflow
        node, segment_id = workflow.target
        there, ready, role = workflow.key is not None, workflow.volume is not None, None
        title, drawn, kept = _("Draw in a slice view"), "", ""
        learned = wording.learned(workflow) if there else ""
        if there:
            title = _("Draw {name} in a slice view").format(name=workflow.called)
            drawn = wording.prompts_long(node, segment_id)
            kept = wording.kept_slices(node, segment_id)
        ui.promptGroup.setTitle(title)
        ui.promptLabel.setText(drawn)
        ui.keptLabel.setText(kept)
        ui.learnedLabel.setText(learned)
        ui.learnedLabel.setVisible(bool(learned))
        role = workflow.placing.role
        for name, its_role, _icon in _TOOLS:
            getattr(ui, name).setEnabled(ready)
            getattr(ui, name).setChecked(role == its_role)
        free = ready and there and not workflow.busy
        for button in (ui.rightButton, ui.startButton, ui.clearButton):
            button.setEnabled(free)
        held = free and (
            prompts.right_slices(*workflow.target)[1] or prompts.ends(node, segment_id)
        )
        ui.releaseButton.setEnabled(bool(held))
        ui.releaseAllButton.setEnabled(bool(held))
        ui.nextButton.setEnabled(
            bool(there and wording.doubtful(workflow.history.run(workflow.key)))
        )
        ui.framesButton.setVisible(workflow.is_sequence)
        ui.framesButton.setEnabled(bool(free and workflow.has_start))

    def _show_next(self):
        """Give the button that comes next the color of the hint."""
        ui, workflow = self.ui, self.workflow
        wanted = None
        if workflow.volume is not None and not workflow.busy and workflow.placing.role is None:
            if workflow.key is None or not workflow.has_start:
                wanted = ui.boxButton
            elif not workflow.history.run(workflow.key) or workflow.is_behind:
                wanted = ui.segmentButton
        for button in (ui.boxButton, ui.segmentButton):
            style = _NEXT if button is wanted else ""
            if button.styleSheet != style:
                button.setStyleSheet(style)

    def _show_progress(self):
        ui, workflow = self.ui, self.workflow
        state, busy = workflow.engine.state, workflow.busy
        cancel = _("Cancelling...") if state == "cancelling" else _("Cancel")
        ui.segmentButton.setText(cancel if busy else _("Segment"))
        ui.segmentButton.setEnabled(state != "cancelling" and (busy or not workflow.problem()))
        ui.undoButton.setEnabled(workflow.can_undo)
        ui.redoButton.setEnabled(workflow.can_redo)
        ui.progressBar.setVisible(busy)
        message = workflow.message
        if busy:
            done, total, text = wording.progress(
                workflow.engine, workflow.most_slices, workflow.errand
            )
            ui.progressBar.setMaximum(total)
            ui.progressBar.setValue(done)
            message = f"{wording.sentence(text)} {message}".strip()
        ui.messageLabel.setText(message)
        ui.messageLabel.setStyleSheet(f"color: {_RED}" if workflow.failed else "")

    def _show_engine(self):
        ui, engine, setup = self.ui, self.workflow.engine, self.setup
        words = setup.message if setup.running or setup.failed else wording.engine_state(engine)
        ui.stateLabel.setText(words)
        ui.installButton.setText(_("Cancel") if setup.running else _("Install engine..."))
        ui.removeButton.setText(setup.title)
        ui.removeButton.setEnabled(setup.is_installed)
        ui.stopButton.setEnabled(engine.state not in ("off", "failed"))
        ui.checkButton.setEnabled(not engine.busy and not setup.running)
        log = "\n".join(setup.log or engine.log)
        if ui.logText.plainText != log:
            ui.logText.setPlainText(log)

    def _parameters(self):
        """The parameters, unless it is the panel itself that changes the widgets."""
        return None if self._updating else self.workflow.parameters


def _value(box):
    return box.itemData(box.currentIndex)


def _choose(box, value, text=""):
    index = box.findData(value)
    if index < 0:
        box.addItem(text or value, value)
        box.setItemData(box.count - 1, value, qt.Qt.ToolTipRole)
        index = box.count - 1
    if box.currentIndex != index:
        box.setCurrentIndex(index)
