"""Labelled scans of the scene: a volume, and a segmentation or a label map on it."""

from __future__ import annotations

import numpy as np
import slicer
from slicer.i18n import tr as _

from . import geometry, segmentation, subject
from .errands import Labelled
from .work import EngineError

MOST_VALUES = 1024
"""A label map has no more values than this."""


def labels_of(volume):
    """The segmentation or label map that most likely belongs to a volume; ``None`` if unclear."""
    segmentations = [
        node
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        if node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume
        and segmentation.ids(node)
    ]
    maps = [
        node
        for node in slicer.util.getNodesByClass("vtkMRMLLabelMapVolumeNode")
        if node.GetImageData() is not None and geometry.grid_of(node).fits(geometry.grid_of(volume))
    ]
    found = segmentations or maps
    return found[0] if len(found) == 1 else None


def read(volumes, volume, labels, beside=None):
    """A labelled scan as the worker gets it.

    Parameters
    ----------
    volumes
        See `volumes.Volumes`.
    volume, labels
        The nodes: an image, and a segmentation or a label map.
    beside
        A volume of the same person, in whose frame it is told where this one lies.

    Raises
    ------
    EngineError
        If they are no labelled scan.
    """
    if volume is None or volume.GetImageData() is None:
        raise EngineError("scene", _("choose the other scan, a volume of the scene"))
    wrong = subject.problem(volume)
    if wrong:
        raise EngineError("scene", wrong)
    name = repr(volume.GetName())
    if labels is None:
        words = _("choose the segmentation or the label map of {name}")
        raise EngineError("scene", words.format(name=name))
    if labels.IsA("vtkMRMLSegmentationNode"):
        drawn, names = _of_segmentation(volume, labels)
    else:
        drawn, names = _of_map(volume, labels)
    if not names:
        words = _("{labels} holds nothing on {name}: choose what was labelled there")
        raise EngineError("scene", words.format(labels=repr(labels.GetName()), name=name))
    return Labelled(volume.GetName(), volumes.data(volume, beside), drawn, names)


def _of_segmentation(volume, node):
    """Segments as labels, larger ones first: where they overlap, the smaller one is kept."""
    refused = segmentation.not_writable(node)
    if refused:
        raise EngineError("source", refused)
    grid = geometry.grid_of(volume, node)
    if grid is None:
        words = _("{labels} is not under the same transform as {name}")
        told = words.format(labels=repr(node.GetName()), name=repr(volume.GetName()))
        raise EngineError("scene", told)
    segments = node.GetSegmentation()
    parts, taken, names = [], set(), {}
    for segment_id in segmentation.ids(node):
        block, mask = segmentation.read(node, segment_id, grid)
        if block is None:
            continue
        segment = segments.GetSegment(segment_id)
        value = segment.GetLabelValue()
        if value < 1 or value in taken:
            value = next(n for n in range(1, 65536) if n not in taken)
        taken.add(value)
        names[value] = segment.GetName()
        parts.append((np.count_nonzero(mask), value, block, mask))
    drawn = np.zeros(geometry.shape_of(volume), np.uint16)
    for _size, value, block, mask in sorted(parts, key=lambda part: -part[0]):
        drawn[tuple(slice(block[a], block[a + 3]) for a in range(3))][mask] = value
    return drawn, names


def _of_map(volume, node):
    if node.GetImageData() is None:
        raise EngineError("scene", _("{name} is empty").format(name=repr(node.GetName())))
    own, other = geometry.grid_of(node), geometry.grid_of(volume, node)
    if other is None or not other.fits(own):
        words = _("{labels} is not on the grid of {name}: choose the label map of that volume")
        told = words.format(labels=repr(node.GetName()), name=repr(volume.GetName()))
        raise EngineError("scene", told)
    drawn = np.asarray(slicer.util.arrayFromVolume(node))
    values = [int(value) for value in np.unique(drawn) if value]
    if drawn.dtype.kind not in "iu" or len(values) > MOST_VALUES or min(values, default=1) < 0:
        words = _("{name} holds no labels: expected whole numbers from 0")
        raise EngineError("scene", words.format(name=repr(node.GetName())))
    display = node.GetDisplayNode()
    colors = display.GetColorNode() if display is not None else None
    names = {value: _color_name(colors, value) for value in values}
    return drawn, names


def _color_name(colors, value):
    known = colors is not None and 0 <= value < colors.GetNumberOfColors()
    name = colors.GetColorName(value) if known else ""
    plain = not name or name in ("(none)", str(value))
    return f"label_{value}" if plain else name


def color_of(labels, name):
    """The color in which a segmentation shows what is called so; ``None`` if it does not."""
    if labels is None or not labels.IsA("vtkMRMLSegmentationNode"):
        return None
    segments = labels.GetSegmentation()
    found = segments.GetSegmentIdBySegmentName(name)
    return segments.GetSegment(found).GetColor() if found else None
