"""SAMMed for 3D Slicer: one box on one slice in, a 3D segment out; on this computer's CPU.

File-scope imports are Slicer, vtk and the standard library. sammed itself runs in a process of its
own, which is started when the first prompt is placed.
"""

import logging
import os

import qt
import slicer
import vtk
from SAMMedLib import (
    dependencies,
    editing,
    installing,
    parameters,
    prompts,
    scripting,
    shortcuts,
    views,
)
from SAMMedLib.panel import Panel
from SAMMedLib.work import EngineError
from SAMMedLib.workflow import Workflow
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

POLL_MS = 20
PYTHON_SETTING = "SAMMed/Python"

SAMPLE = "https://raw.githubusercontent.com/sammed/sammed/main/sample_data/phantom_ct.nii.gz"
SAMPLE_SHA256 = "4dc32c4424f6a3db1d07cc16a68cf129fa890f4f0456fc911c30038719f2c6a2"


class SAMMed(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "SAMMed"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations", "Markups", "Sequences", "Terminologies"]
        parent.contributors = ["The sammed developers"]
        parent.helpText = _(
            "Segment an organ or a lesion of a CT or MR from one box on one slice. Everything is "
            "computed on this computer; nothing leaves it. See the "
            '<a href="https://github.com/sammed/SlicerSAMMed">tutorial</a>. '
            "Not a medical device: for research only."
        )
        parent.acknowledgementText = _(
            "sammed follows segment-anything (Kirillov et al. 2023, "
            "doi:10.1109/ICCV51070.2023.00371). License: Apache-2.0."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """The synthetic sample volume, in the module Sample Data."""
    import SampleData

    icons = os.path.join(os.path.dirname(__file__), "Resources", "Icons")
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="SAMMed",
        sampleName="SAMMedPhantomCT",
        uris=SAMPLE,
        fileNames="SAMMedPhantomCT.nii.gz",
        nodeNames="SAMMedPhantomCT",
        checksums="SHA256:" + SAMPLE_SHA256,
        thumbnailFileName=os.path.join(icons, "SAMMed.png"),
    )


class SAMMedWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Life of the panel: made, entered, left, removed; and the scene's comings and goings."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self.shortcuts = None
        self._timer = None

    def setup(self):
        """Build the panel; starts nothing."""
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/SAMMed.ui"))
        self.layout.addWidget(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = SAMMedLogic()
        workflow = self.logic.workflow
        workflow.ask = self.ask
        ui = slicer.util.childWidgetVariables(widget)
        self.editor = editing.SegmentEditor(ui.editorPlace.layout())
        workflow.history.editor = self.editor.history
        setup = installing.Setup(
            lambda: self.logic.requirements(self.resourcePath("requirements.txt")),
            self.ask,
            workflow.engine.stop,
        )
        icons = self.resourcePath("Icons")
        self.panel = Panel(ui, workflow, setup, self.editor, self.onPython, icons)
        self.panel.showPython(self.logic.python)
        self.shortcuts = shortcuts.Shortcuts(shortcuts.window(widget), self.panel.actions())
        self.shortcuts.enable(False)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEnd)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEnd)
        self.addObserver(scene, scene.NodeRemovedEvent, self.onNodeRemoved)
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self.onTimer)
        self.initializeParameterNode()
        self._timer.start()

    def cleanup(self):
        """The module goes: end the worker."""
        if self._timer is not None:
            self._timer.stop()
        self.removeObservers()
        if self.shortcuts is not None:
            self.shortcuts.release()
        if self.logic is not None:
            self.panel.connectParameters(None)
            self.logic.workflow.close()

    def enter(self):
        """The module is opened."""
        self.initializeParameterNode()
        self.editor.enter()
        self.logic.workflow.placing.strokes.watch(views.slice_views())
        self.shortcuts.enable(True)
        self._timer.start()

    def exit(self):
        """Another module is opened: tools are put away; what runs goes on."""
        self.logic.workflow.placing.end()
        self.logic.workflow.placing.strokes.release()
        self.editor.exit()
        self.shortcuts.enable(False)

    def initializeParameterNode(self):
        """Take the scene's parameter node, with a volume chosen if there is just one."""
        if slicer.mrmlScene is None:
            return
        chosen = self.logic.getParameterNode()
        self.logic.workflow.parameters = chosen
        if chosen.volume is None:
            volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            plain = [v for v in volumes if v.GetClassName() == "vtkMRMLScalarVolumeNode"]
            if len(plain) == 1:
                chosen.volume = plain[0]
        self.logic.workflow.adopt()
        self.panel.connectParameters(chosen)
        prompts.show_only(self.logic.workflow.key)

    def onSceneStartClose(self, caller, event):
        """Let go of nodes that are about to vanish."""
        self.panel.connectParameters(None)
        self.logic.workflow.reset()

    def onSceneEnd(self, caller, event):
        """A scene was closed or loaded: take up what it holds."""
        self.editor.connect()
        self.initializeParameterNode()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeRemoved(self, caller, event, node):
        """A volume or segmentation in use was removed: its result would have no home."""
        if not slicer.mrmlScene.IsClosing():
            self.logic.nodeRemoved(node)
            self.panel.update()

    def onTimer(self):
        """Let the workflow go on; an error here must not repeat fifty times a second."""
        try:
            self.logic.workflow.poll()
            self.panel.poll()
        except Exception as error:
            logging.exception("SAMMed")
            self.logic.workflow.cancel()
            self.logic.workflow.message = _("Unexpected error: {error}").format(error=error)
            self.panel.update()

    def onPython(self, path):
        """The user chose another Python for the engine; remembered on this computer."""
        self.logic.python = path
        self.logic.workflow.engine.stop()
        self.panel.update()

    def ask(self, question):
        """Put a question to the user."""
        return slicer.util.confirmYesNoDisplay(question, windowTitle="SAMMed")


class SAMMedLogic(ScriptedLoadableModuleLogic):
    """The module without its panel, for scripts as well.

    Attributes
    ----------
    workflow
        Does the work; see `SAMMedLib.workflow.Workflow`.
    """

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self.workflow = Workflow(lambda: dependencies.launcher(self.python))

    def getParameterNode(self):
        """The module's parameter node of this scene."""
        return parameters.of(super().getParameterNode())

    def segment(self, volume, boxes=(), **choices):
        """Segment one object of a volume and wait for it; see `SAMMedLib.scripting.segment`."""
        self._choose()
        return scripting.segment(self.workflow, volume, boxes, **choices)

    def segmentAll(self, boxes, volumes=None, **choices):
        """The same in several volumes of the scene; see `SAMMedLib.scripting.segment_all`."""
        self._choose()
        return scripting.segment_all(self.workflow, boxes, volumes, **choices)

    def takeFrom(self, volume, examples=(), **choices):
        """Take what labelled scans show, and wait for it; see `SAMMedLib.scripting.take`."""
        self._choose()
        return scripting.take(self.workflow, volume, examples, **choices)

    def compareWith(self, volume, earlier, labels, **choices):
        """Compare with an earlier scan, and wait; see `SAMMedLib.scripting.compare`."""
        self._choose()
        return scripting.compare(self.workflow, volume, earlier, labels, **choices)

    def propose(self, volume, **choices):
        """Have things proposed, and wait for them; see `SAMMedLib.scripting.propose`."""
        self._choose()
        return scripting.propose(self.workflow, volume, **choices)

    def _choose(self):
        """A script leaves what is chosen in the panel alone."""
        if self.workflow.parameters is None:
            self.workflow.parameters = parameters.free()

    @property
    def python(self):
        """The Python that runs the engine; empty for the environment of its own."""
        return qt.QSettings().value(PYTHON_SETTING, dependencies.OWN) or dependencies.OWN

    @python.setter
    def python(self, path):
        qt.QSettings().setValue(PYTHON_SETTING, path)

    def requirements(self, requirementsFile):
        """What pip is to install into the engine's environment."""
        return dependencies.requirements(requirementsFile, os.path.realpath(__file__))

    def nodeRemoved(self, node):
        """Cancel what runs on a node that was removed, and forget it."""
        if self.workflow.parameters is None or node is None:
            return
        used = node.IsA("vtkMRMLScalarVolumeNode") or node.IsA("vtkMRMLSegmentationNode")
        if used and self.workflow.engine.busy and self.workflow.volume is None:
            self.workflow.cancel()


class SAMMedTest(ScriptedLoadableModuleTest):
    """The module's own test: synthetic data, no download; runs in Slicer and in the stand-in."""

    def setUp(self):
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear(0)

    def runTest(self):
        """Run all cases.

        Raises
        ------
        unittest.SkipTest
            If there is no engine to run them with.
        """
        import unittest

        from SAMMedLib import selftest

        why = dependencies.missing(SAMMedLogic().python)
        if why:
            self.delayDisplay(_("Skipped: {why}").format(why=why))
            raise unittest.SkipTest(why)
        for case in selftest.CASES:
            self.setUp()
            self.delayDisplay(case.__doc__.strip())
            logic = SAMMedLogic()
            logic.workflow.parameters = logic.getParameterNode()
            try:
                case(logic.workflow)
            finally:
                logic.workflow.close()
        self.delayDisplay(_("All cases passed"))


__all__ = ["EngineError", "SAMMed", "SAMMedLogic", "SAMMedTest", "SAMMedWidget"]
