"""A MRML scene with the logics that the module needs, without the Slicer application.

slicer-core brings the real MRML nodes, logics, displayable managers and ``slicer.util``; it has no
``slicer.app``, ``slicer.mrmlScene`` or ``slicer.modules``. This makes them.
"""

from __future__ import annotations

import types

import slicer
import vtk

from . import i18n

VIEWS = (
    ("Red", (0.9, 0.3, 0.3), "Axial"),
    ("Yellow", (0.9, 0.8, 0.2), "Sagittal"),
    ("Green", (0.3, 0.7, 0.3), "Coronal"),
)


def _logics(scene, application):
    """The module logics that ``slicer.modules.<name>.logic()`` gives in Slicer."""
    logics = {
        "colors": slicer.vtkMRMLColorLogic(),
        "volumes": slicer.vtkSlicerVolumesLogic(),
        "markups": slicer.vtkSlicerMarkupsLogic(),
        "segmentations": slicer.vtkSlicerSegmentationsModuleLogic(),
        "subjecthierarchy": slicer.vtkSlicerSubjectHierarchyModuleLogic(),
        "terminologies": slicer.vtkSlicerTerminologiesModuleLogic(),
        "sequences": slicer.vtkSlicerSequencesLogic(),
    }
    for name, logic in logics.items():
        logic.SetMRMLApplicationLogic(application)
        logic.SetMRMLScene(scene)
        application.SetModuleLogic(name.capitalize(), logic)
    return logics


def start():
    """Make the scene and the application object; returns the application's stand-in."""
    i18n.install()
    vtk.vtkObject.GlobalWarningDisplayOff()
    scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    slices, views = vtk.vtkCollection(), vtk.vtkCollection()
    application.SetSliceLogics(slices)
    application.SetViewLogics(views)
    logics = _logics(scene, application)
    slicer.mrmlScene = scene
    slicer.modules = types.SimpleNamespace(
        **{name: types.SimpleNamespace(logic=lambda it=logic: it) for name, logic in logics.items()}
    )
    slicer.app = types.SimpleNamespace(
        applicationLogic=lambda: application,
        mrmlScene=lambda: scene,
        processEvents=lambda: None,
        temporaryPath=None,
        slicerHome="",
        applicationName="stand-in",
    )
    fill(scene)
    # Python holds what C++ holds in Slicer
    slicer.app.kept = (application, logics, slices, views)
    return slicer.app


def fill(scene):
    """The singleton nodes that Slicer has in every scene."""
    for name in ("vtkMRMLSelectionNode", "vtkMRMLInteractionNode", "vtkMRMLCrosshairNode"):
        node = getattr(slicer, name)()
        node.SetSingletonTag("Singleton" if "Crosshair" not in name else "default")
        scene.AddNode(node)
    for name, colour, _ in VIEWS:
        node = slicer.vtkMRMLSliceNode()
        node.SetName(name)
        node.SetLayoutName(name)
        node.SetLayoutColor(*colour)
        node.SetSingletonTag(name)
        scene.AddNode(node)
    reset_views(scene)


def reset_views(scene):
    """Turn the views to where Slicer has them at first; clearing the scene resets them oddly."""
    for name, _, orientation in VIEWS:
        node = scene.GetNodeByID(f"vtkMRMLSliceNode{name}")
        for preset in ("Axial", "Sagittal", "Coronal"):
            matrix = vtk.vtkMatrix3x3()  # one each: the node keeps it
            getattr(node, f"Get{preset}SliceToRASMatrix")(matrix)
            if not node.HasSliceOrientationPreset(preset):
                node.AddSliceOrientationPreset(preset, matrix)
        node.SetOrientation(orientation)
        node.JumpSliceByCentering(0, 0, 0)
