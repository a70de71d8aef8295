"""SAMMed for 3D Slicer: one box on one slice in, a 3D segment out; on this computer's CPU.

File-scope imports are Slicer, vtk and the standard library. sammed itself runs in a process of its
own, which is started when the first prompt is placed.
"""

import logging
import os

import qt
import slicer
import vtk
from SAMMedLib import dependencies, prompts
from SAMMedLib.panel import Panel
from SAMMedLib.work import EngineError
from SAMMedLib.workflow import Workflow
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

POLL_MS = 20
PYTHON_SETTING = "SAMMed/Python"


class SAMMed(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "SAMMed"
        parent.categories = ["Segmentation"]
        parent.dependencies = []
        parent.contributors = ["The sammed developers"]
        parent.helpText = (
            "Segment an organ or a lesion of a CT or MR from one box on one slice. "
            "Everything is computed on this computer; nothing leaves it. "
            'See the <a href="https://github.com/sammed/sammed/tree/main/slicer_module">'
            "tutorial</a>. Not a medical device: for research only."
        )
        parent.acknowledgementText = (
            "sammed follows segment-anything (Kirillov et al. 2023, "
            "doi:10.1109/ICCV51070.2023.00371). Licence: Apache-2.0."
        )


@parameterNodeWrapper
class SAMMedParameterNode:
    """What is chosen in the panel; saved with the scene."""

    volume: slicer.vtkMRMLScalarVolumeNode
    segmentation: slicer.vtkMRMLSegmentationNode
    segmentID: str = ""
    boxMeaning: str = prompts.SLICE
    plane: str = "auto"
    window: str = ""
    model: str = "compact"
    overlap: str = "allow"
    autoUpdate: bool = False


class SAMMedWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Life of the panel: made, entered, left, removed; and the scene's comings and goings."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self._timer = None

    def setup(self):
        """Build the panel; starts nothing."""
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/SAMMed.ui"))
        self.layout.addWidget(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = SAMMedLogic()
        self.panel = Panel(
            slicer.util.childWidgetVariables(widget),
            self.logic.workflow,
            {
                "install": self.onInstall,
                "python": self.onPython,
            },
        )
        self.panel.showPython(self.logic.python)
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
        if self.logic is not None:
            self.logic.workflow.close()

    def enter(self):
        """The module is opened."""
        self.initializeParameterNode()
        self._timer.start()

    def exit(self):
        """Another module is opened: leave place mode; what runs goes on."""
        self.logic.workflow.placing.end()

    def initializeParameterNode(self):
        """Take the scene's parameter node, with a volume chosen if there is just one."""
        if slicer.mrmlScene is None:
            return
        parameters = self.logic.getParameterNode()
        self.logic.workflow.parameters = parameters
        if parameters.volume is None:
            volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            plain = [v for v in volumes if v.GetClassName() == "vtkMRMLScalarVolumeNode"]
            if len(plain) == 1:
                parameters.volume = plain[0]
        self.logic.workflow.adopt()
        self.panel.connectParameters(parameters)

    def onSceneStartClose(self, caller, event):
        """Let go of nodes that are about to vanish."""
        self.panel.connectParameters(None)
        self.logic.workflow.reset()

    def onSceneEnd(self, caller, event):
        """A scene was closed or loaded: take up what it holds."""
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
        except Exception as error:
            logging.exception("SAMMed")
            self.logic.workflow.cancel()
            self.logic.workflow.message = f"Unexpected error: {error}"
            self.panel.update()

    def onPython(self, path):
        """The user chose another Python for the engine; remembered on this computer."""
        self.logic.python = path
        self.logic.workflow.engine.stop()
        self.panel.update()

    def onInstall(self):
        """Install sammed into Slicer's Python, after a question."""
        try:
            with slicer.util.WaitCursor():
                done = self.logic.install(self.resourcePath("requirements.txt"))
        except EngineError as error:
            slicer.util.errorDisplay(str(error), windowTitle="SAMMed")
            return
        if done:
            self.logic.workflow.engine.stop()
            self.panel.update()


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
        return SAMMedParameterNode(super().getParameterNode())

    @property
    def python(self):
        """The Python that runs the engine; empty for Slicer's own."""
        return qt.QSettings().value(PYTHON_SETTING, dependencies.SLICER) or dependencies.SLICER

    @python.setter
    def python(self, path):
        qt.QSettings().setValue(PYTHON_SETTING, path)

    def install(self, requirementsFile):
        """Ask, then install sammed into Slicer's Python; whether that was done."""
        wanted = dependencies.requirements(requirementsFile, os.path.realpath(__file__))
        return dependencies.install(wanted, slicer.util.confirmOkCancelDisplay)

    def nodeRemoved(self, node):
        """Cancel what runs on a node that was removed, and forget it."""
        parameters = self.workflow.parameters
        if parameters is None or node is None:
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
        """Run all cases."""
        from SAMMedLib import selftest

        for case in selftest.CASES:
            self.setUp()
            self.delayDisplay(case.__doc__.strip())
            logic = SAMMedLogic()
            logic.workflow.parameters = logic.getParameterNode()
            try:
                case(logic.workflow)
            finally:
                logic.workflow.close()
        self.delayDisplay("All cases passed")
