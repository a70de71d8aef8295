"""A slice view drawn offscreen by Slicer's own displayable managers."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

MANAGERS = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
)


class SliceView:
    """One slice view of the scene.

    Parameters
    ----------
    node
        The slice node.
    width, height
        In px.
    """

    def __init__(self, node, width, height):
        application = slicer.app.applicationLogic()
        self.node = node
        node.SetDimensions(width, height, 1)
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(application)
        self.logic.SetMRMLScene(slicer.mrmlScene)
        self.logic.SetSliceNode(node)
        application.GetSliceLogics().AddItem(self.logic)
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(width, height)
        self.image, self.overlay = vtk.vtkRenderer(), vtk.vtkRenderer()
        self.window.SetNumberOfLayers(2)
        for layer, renderer in enumerate((self.image, self.overlay)):
            renderer.SetLayer(layer)
            self.window.AddRenderer(renderer)
            renderer.GetActiveCamera().ParallelProjectionOn()
        self.interactor = vtk.vtkGenericRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(application)
        for manager in MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self.group = factory.InstantiateDisplayableManagers(self.overlay)
        self.group.SetMRMLDisplayableNode(node)
        mapper = vtk.vtkImageMapper()
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        self.mapper = mapper
        self.actor = vtk.vtkActor2D()
        self.actor.SetMapper(mapper)
        self.image.AddViewProp(self.actor)

    def show(self, volume, centre, extent_mm):
        """Show a volume, centred on a RAS point, this many mm wide."""
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
        width, height, _ = self.node.GetDimensions()
        self.node.SetFieldOfView(extent_mm, extent_mm * height / width, 1)
        self.node.JumpSliceByCentering(*centre)
        self.node.UpdateMatrices()
        self.logic.UpdatePipeline()
        self.mapper.SetInputConnection(self.logic.GetImageDataConnection())

    def pixels(self):
        """(height, width, 3) uint8, the first row at the top."""
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.ReadFrontBufferOff()
        grab.Update()
        image = grab.GetOutput()
        width, height, _ = image.GetDimensions()
        values = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
        return np.ascontiguousarray(values.reshape(height, width, 3)[::-1])

    def close(self):
        """Let go of the window."""
        self.group.SetMRMLDisplayableNode(None)
        slicer.app.applicationLogic().GetSliceLogics().RemoveItem(self.logic)
        self.window.Finalize()
