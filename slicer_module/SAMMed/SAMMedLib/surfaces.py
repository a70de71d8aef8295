"""Surfaces for the 3D view, made anew beside what goes on, once a segment has settled.

Slicer makes them in the same moment in which voxels are written, for each slice that is shown
early as well: seconds in which nothing moves. Here a process of its own makes them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from . import segmentation

_PARAMETERS = (
    "Smoothing factor",
    "Decimation factor",
    "Compute surface normals",
    "Conversion method",
    "SurfaceNets smoothing",
)
_JOINT = "Joint smoothing"


def _surface_name():
    return slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()


class Surfaces:
    """Segments whose surface is to be made anew.

    Where a segmentation has no surfaces, none are made. A surface that is not shown is made as
    well: it would be shown as it was.

    Attributes
    ----------
    made, beside
        How many were made, and how many of them by the process.
    """

    def __init__(self):
        self._due = []
        self._running = None
        self.made = self.beside = 0

    @property
    def busy(self):
        """Whether a surface is being made or waits to be."""
        return bool(self._due or self._running)

    def refresh(self, node, segment_id):
        """The voxels of a segment have changed for good."""
        key = node.GetID(), segment_id
        if node.GetSegmentation().ContainsRepresentation(_surface_name()) and key not in self._due:
            self._due.append(key)

    def poll(self):
        """Show what is made, and begin with the next; called by a timer."""
        if self._running is not None:
            if self._running.poll() is None:
                return
            running, self._running = self._running, None
            running.clear(self._show(running))
        while self._due and self._running is None:
            self._begin(*self._due.pop(0))

    def forget(self):
        """The scene was closed, or the application ends."""
        self._due = []
        if self._running is not None:
            self._running.kill()
            self._running = None

    def _begin(self, node_id, segment_id):
        node = slicer.mrmlScene.GetNodeByID(node_id)
        if not segmentation.exists(node, segment_id) or segmentation.not_writable(node):
            return
        segments = node.GetSegmentation()
        if not segments.ContainsRepresentation(_surface_name()):
            return
        if float(segments.GetConversionParameter(_JOINT) or 0) > 0:  # of all segments together
            self._at_once(node)
            return
        told = [(name, segments.GetConversionParameter(name)) for name in _PARAMETERS]
        try:
            self._running = _Process(node, segment_id, [pair for pair in told if pair[1]])
        except OSError:
            self._at_once(node)

    def _at_once(self, node):
        """Slicer's own way, which everything waits for: better than a surface that is not true."""
        node.GetSegmentation().CreateRepresentation(_surface_name(), True)
        self.made += 1

    def _show(self, running):
        """Take over what a process has made."""
        node = slicer.mrmlScene.GetNodeByID(running.key[0])
        if not segmentation.exists(node, running.key[1]):
            return
        if segmentation.stamp(node, running.key[1]) != running.stamp:
            self.refresh(node, running.key[1])  # changed meanwhile
            return
        surface = running.surface()
        if surface is None:
            self._at_once(node)
            return
        segment = node.GetSegmentation().GetSegment(running.key[1])
        segment.AddRepresentation(_surface_name(), surface)
        self.made += 1
        self.beside += 1


class _Process:
    """One surface on its way."""

    def __init__(self, node, segment_id, parameters):
        self.key = node.GetID(), segment_id
        self.stamp = segmentation.stamp(node, segment_id)
        self._folder = tempfile.mkdtemp(prefix="sammed-surface-")
        voxels, first, matrix = segmentation.labelmap(node, segment_id)
        source, self._target = (os.path.join(self._folder, f"{n}.npz") for n in ("in", "out"))
        np.savez(
            source,
            voxels=voxels,
            first=first,
            matrix=matrix,
            parameters=np.array(parameters, str).reshape(-1, 2),
        )
        program = os.path.join(os.path.dirname(__file__), "surface_maker.py")
        python = shutil.which("PythonSlicer") or sys.executable
        options = {"creationflags": subprocess.CREATE_NO_WINDOW} if os.name == "nt" else {}
        self._process = subprocess.Popen(
            [python, program, source, self._target],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **options,
        )

    def poll(self):
        """Its exit code once it has ended."""
        return self._process.poll()

    def kill(self):
        """End it."""
        self._process.kill()
        self._process.wait()
        self.clear()

    def clear(self, _done=None):
        """Remove its files."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def surface(self):
        """What it has made; ``None`` if it did not work."""
        if self._process.returncode:
            return None
        with contextlib.suppress(OSError, ValueError, KeyError):
            with np.load(self._target, allow_pickle=False) as made:
                arrays = {name: made[name] for name in made.files}
            points, polys = vtk.vtkPoints(), vtk.vtkCellArray()
            points.SetData(numpy_support.numpy_to_vtk(arrays["points"], deep=True))
            legacy = numpy_support.numpy_to_vtkIdTypeArray(arrays["polys"], deep=True)
            polys.ImportLegacyFormat(legacy)
            surface = vtk.vtkPolyData()
            surface.SetPoints(points)
            surface.SetPolys(polys)
            if "normals" in arrays:
                normals = numpy_support.numpy_to_vtk(arrays["normals"], deep=True)
                normals.SetName("Normals")
                surface.GetPointData().SetNormals(normals)
            return surface
        return None
