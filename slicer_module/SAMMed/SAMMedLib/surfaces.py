"""Surfaces for the 3D view, made anew beside what goes on, once a segment has settled.

Slicer makes them in the same moment in which voxels are written, for each slice that is shown
early as well: seconds in which nothing moves.
"""

from __future__ import annotations

import threading

import slicer

from . import segmentation

_PARAMETERS = (
    "Smoothing factor",
    "Decimation factor",
    "Compute surface normals",
    "Conversion method",
    "SurfaceNets smoothing",
)
_JOINT = "Joint smoothing"


def _names():
    converter = slicer.vtkSegmentationConverter
    return (
        converter.GetSegmentationBinaryLabelmapRepresentationName(),
        converter.GetSegmentationClosedSurfaceRepresentationName(),
    )


class Surfaces:
    """Segments whose surface is to be made anew.

    Where a segmentation has no surfaces, none are made. A surface that is not shown is made as
    well: it would be shown as it was.
    """

    def __init__(self):
        self._due = []
        self._thread = None
        self.made = 0

    @property
    def busy(self):
        """Whether a surface is being made or waits to be."""
        return bool(self._due or self._thread)

    def refresh(self, node, segment_id):
        """The voxels of a segment have changed for good."""
        key = node.GetID(), segment_id
        if node.GetSegmentation().ContainsRepresentation(_names()[1]) and key not in self._due:
            self._due.append(key)

    def poll(self):
        """Show what is made, and begin with the next; called by a timer."""
        if self._thread is not None:
            if self._thread.is_alive():
                return
            self._show(*self._asked)
            self._thread = None
        while self._due and self._thread is None:
            self._begin(*self._due.pop(0))

    def forget(self):
        """The scene was closed."""
        self._due = []

    def _begin(self, node_id, segment_id):
        node = slicer.mrmlScene.GetNodeByID(node_id)
        labelmap, surface = _names()
        if not segmentation.exists(node, segment_id) or segmentation.not_writable(node):
            return
        segments = node.GetSegmentation()
        if not segments.ContainsRepresentation(surface):
            return
        if float(segments.GetConversionParameter(_JOINT) or 0) > 0:  # of all segments together
            segments.CreateRepresentation(surface, True)
            self.made += 1
            return
        source = segments.GetSegment(segment_id)
        image = slicer.vtkOrientedImageData()
        node.GetBinaryLabelmapRepresentation(segment_id, image)
        copy = slicer.vtkSegment()
        copy.SetLabelValue(1)
        copy.AddRepresentation(labelmap, image)
        rule = slicer.vtkBinaryLabelmapToClosedSurfaceConversionRule()
        for name in _PARAMETERS:
            value = segments.GetConversionParameter(name)
            if value and rule.HasConversionParameter(name):
                rule.SetConversionParameter(name, value)
        stamp = source.GetRepresentation(labelmap).GetMTime()
        self._asked = node_id, segment_id, stamp, copy
        self._thread = threading.Thread(target=rule.Convert, args=(copy,), daemon=True)
        self._thread.start()

    def _show(self, node_id, segment_id, stamp, copy):
        node = slicer.mrmlScene.GetNodeByID(node_id)
        labelmap, surface = _names()
        if not segmentation.exists(node, segment_id):
            return
        segment = node.GetSegmentation().GetSegment(segment_id)
        if segment.GetRepresentation(labelmap).GetMTime() != stamp:
            self.refresh(node, segment_id)  # changed meanwhile
            return
        made = copy.GetRepresentation(surface)
        if made is not None:
            segment.AddRepresentation(surface, made)
            self.made += 1
