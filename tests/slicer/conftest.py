"""The module on real MRML (slicer-core), driving the real worker.

The worker runs in the Python named by SAMMED_PYTHON, which has sammed; this one has slicer-core.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
EXTENSION = ROOT / "slicer_module" if (ROOT / "slicer_module").is_dir() else ROOT
"""Where the extension lies: in sammed's source tree, or published as a repository of its own."""
MODULE = EXTENSION / "SAMMed"
SAMMED_PYTHON = os.environ.get("SAMMED_PYTHON", sys.executable)
HAS_SLICER = importlib.util.find_spec("slicer") is not None

sys.path[:0] = [str(MODULE), str(Path(__file__).parent)]

from standin import i18n  # noqa: E402

i18n.install()

OBLIQUE_RAS = np.array(
    [
        [-0.78, 0.10, 0.15, 21.0],
        [-0.11, -0.89, 0.20, 35.0],
        [0.03, -0.05, 2.48, -40.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


def orthogonal(matrix, spacing):
    """The nearest matrix with orthogonal columns of that spacing."""
    u, _, v = np.linalg.svd(matrix[:3, :3])
    return np.vstack([np.column_stack([(u @ v) * spacing, matrix[:3, 3]]), [0, 0, 0, 1]])


def phantom(shape=(24, 72, 84)):
    """(voxels (k, j, i) int16, organ): an ellipsoid off the centre in every direction, in noise."""
    k, j, i = np.ogrid[: shape[0], : shape[1], : shape[2]]
    organ = ((k - 11) / 7.5) ** 2 + ((j - 28) / 15.0) ** 2 + ((i - 52) / 19.0) ** 2 <= 1
    noise = np.random.default_rng(11).normal(0, 6, shape)
    return (np.where(organ, 110, 30) + noise).astype(np.int16), organ


def dice(a, b):
    """Overlap of two masks."""
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.fixture(scope="session")
def application():
    """The stand-in for the running application; one for all tests."""
    from standin import scene

    return scene.start()


DRAW = """
import vtk
window, renderer = vtk.vtkRenderWindow(), vtk.vtkRenderer()
window.SetOffScreenRendering(1)
window.SetMultiSamples(0)
window.SetSize(8, 8)
window.AddRenderer(renderer)
renderer.SetBackground(1, 0, 0)
window.Render()
pixel = vtk.vtkUnsignedCharArray()
window.GetPixelData(4, 4, 4, 4, 0, pixel, 0)
raise SystemExit(0 if pixel.GetValue(0) == 255 else 1)
"""


@pytest.fixture(scope="session")
def drawing():
    """Skips where nothing can be drawn offscreen; tried in a process of its own: it may crash."""
    tried = subprocess.run([sys.executable, "-c", DRAW], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("nothing can be drawn offscreen: EGL (libegl1, libegl-mesa0) is missing")


@pytest.fixture
def scene(application):
    """An empty scene."""
    import slicer
    from standin import scene as standin

    slicer.mrmlScene.Clear(0)
    standin.reset_views(slicer.mrmlScene)
    return slicer.mrmlScene


@pytest.fixture
def volume(scene):
    """The phantom, oblique, under a parent transform that turns and moves it."""
    import slicer
    import vtk

    voxels, _ = phantom()
    node = slicer.util.addVolumeFromArray(voxels, orthogonal(OBLIQUE_RAS, (0.8, 0.9, 2.5)))
    node.SetName("phantom")
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().AutoWindowLevelOff()
    node.GetDisplayNode().SetWindowLevel(160, 70)
    turn = vtk.vtkTransform()
    turn.RotateWXYZ(20, 0.3, 0.5, 0.8)
    turn.Translate(12, -7, 31)
    parent = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "patient")
    parent.SetMatrixTransformToParent(turn.GetMatrix())
    node.SetAndObserveTransformNodeID(parent.GetID())
    return node


@pytest.fixture
def parameters(volume):
    """What the module's parameter node holds."""
    from SAMMedLib import parameters as chosen

    return chosen.free(volume=volume, model="two_class")


@pytest.fixture(scope="session")
def engine():
    """One worker for most tests, as for most of a user's day; those about its end start others."""
    from SAMMedLib.dependencies import launcher
    from SAMMedLib.engine import Engine

    made = Engine(lambda: launcher(SAMMED_PYTHON))
    yield made
    made.stop()


@pytest.fixture
def workflow(parameters, engine):
    """The module's workflow with the real worker."""
    from SAMMedLib.workflow import Workflow

    made = Workflow(engine._launch)
    made.engine = engine
    made.parameters = parameters
    yield made
    made.placing.release()
    if made.engine is not engine:
        made.engine.stop()
    elif engine.busy:
        engine.stop()


@pytest.fixture
def slow(workflow):
    """A worker whose model takes its time; see tests/worker/slow_worker.py."""
    from SAMMedLib.engine import Engine

    from tests.slicer.workflows import SLOW, add_box

    workflow.engine = Engine(lambda: ([SAMMED_PYTHON, SLOW], dict(os.environ)))
    add_box(workflow)
    return workflow


def save_scene(folder):
    """Save the scene with its data as Slicer does; returns the scene file."""
    import slicer

    for number, node in enumerate(slicer.util.getNodesByClass("vtkMRMLStorableNode")):
        if node.GetClassName() == "vtkMRMLColorTableNode" or not node.GetSaveWithScene():
            continue
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
        if storage is not None:
            ending = storage.GetDefaultWriteFileExtension()
            storage.SetFileName(str(folder / f"{number}.{ending}"))
            assert storage.WriteData(node), node.GetName()
    path = str(folder / "scene.mrml")
    slicer.mrmlScene.SetURL(path)
    assert slicer.mrmlScene.Commit(path)
    return path


def load_scene(path):
    """Load a scene into the empty one."""
    import slicer

    slicer.mrmlScene.SetURL(path)
    assert slicer.mrmlScene.Import()


def run(workflow, seconds=60):
    """Poll until the engine rests; returns how long it took."""
    started = time.monotonic()
    while workflow.busy or workflow.engine.busy:
        workflow.poll()
        time.sleep(0.005)
        assert time.monotonic() - started < seconds, "the engine did not finish"
    return time.monotonic() - started
