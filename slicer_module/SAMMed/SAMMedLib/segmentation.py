"""Segments: made, named, read, and written only where they change."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

from . import geometry, terms
from .work import EngineError

ALLOW, OTHERS_KEEP = "allow", "keep"
"""What happens where a segment meets others: it may overlap them, or leaves them their voxels."""


def _logic():
    """The class of the Segmentations module, which may be loaded after this one is imported."""
    return slicer.vtkSlicerSegmentationsModuleLogic


def ids(node):
    """Segment IDs of a segmentation; none if there is no segmentation."""
    return list(node.GetSegmentation().GetSegmentIDs()) if node is not None else []


def make(volume):
    """A new segmentation on a volume's grid, beside it in the subject hierarchy."""
    name = f"{volume.GetName()} segmentation"
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    attach(node, volume)
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if tree is not None:
        beside, item = tree.GetItemByDataNode(volume), tree.GetItemByDataNode(node)
        if beside and item:
            tree.SetItemParent(item, tree.GetItemParent(beside))
    return node


def attach(node, volume):
    """Give a segmentation that is still empty the volume's grid and parent transform."""
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())


def problem(node, volume):
    """Why segments of this volume cannot go into a segmentation; empty if they can."""
    if node.GetParentTransformNode() is not volume.GetParentTransformNode():
        return _(
            "{name} is not under the same transform as {volume}; move it there, or choose another "
            "segmentation"
        ).format(name=repr(node.GetName()), volume=repr(volume.GetName()))
    return ""


def add(node, name=""):
    """Add a segment with a color of its own and, for known organs, its terminology."""
    segmentation = node.GetSegmentation()
    if not name:
        name = _free_name(segmentation)
    segment_id = segmentation.AddEmptySegment("", name)
    rename(node, segment_id, name)
    return segment_id


def _free_name(segmentation):
    names = {segmentation.GetSegment(i).GetName() for i in segmentation.GetSegmentIDs()}
    return next(f"Segment {n}" for n in range(1, len(names) + 2) if f"Segment {n}" not in names)


def rename(node, segment_id, name):
    """Name a segment; a name that is known brings its terminology."""
    segment = node.GetSegmentation().GetSegment(segment_id)
    segment.SetName(name)
    terms.give(segment)


def set_value(node, segment_id, value):
    """Give a segment that is still empty a value of its own, in label maps that hold it alone.

    On a layer that it shares the value may be another's: it leaves the layer first.
    """
    _leave_layer(node.GetSegmentation(), segment_id)
    node.GetSegmentation().GetSegment(segment_id).SetLabelValue(int(value))


def exists(node, segment_id):
    """Whether the segmentation is in the scene and has that segment."""
    if node is None or not slicer.mrmlScene.IsNodePresent(node):
        return False
    return bool(segment_id) and node.GetSegmentation().GetSegment(segment_id) is not None


# Representation ---------------------------------------------------------------------------


def not_writable(node):
    """Why voxels cannot be written to a segmentation; empty if they can.

    What is written beside another source representation is lost: it is not saved, and made anew
    from the source.
    """
    if _source(node) == _labelmap_name():
        return ""
    return _("{name} is kept as a {kind}, which holds no voxels").format(
        name=repr(node.GetName()), kind=_source(node).lower()
    )


def conversion_question(node):
    """What to ask before a segmentation is converted to voxels; empty if nothing gets lost."""
    segments = node.GetSegmentation()
    if not not_writable(node):
        return ""
    if not any(
        segments.GetSegment(i).GetRepresentation(_source(node)) is not None for i in ids(node)
    ):
        return ""
    return _(
        "{name} is kept as a {kind}, on which no voxels can be edited. Converting it to a binary "
        "labelmap may lose details of the surface.\n\nConvert it to a binary labelmap?"
    ).format(name=repr(node.GetName()), kind=_source(node).lower())


def to_labelmap(node, volume):
    """Make voxels the source representation, on a volume's grid.

    Raises
    ------
    EngineError
        If it cannot be converted; it is as it was then.
    """
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segments = node.GetSegmentation()
    name = _labelmap_name()
    made = not ids(node) or segments.CreateRepresentation(name, True)
    if not made:
        words = _("{name} could not be converted to voxels").format(name=repr(node.GetName()))
        raise EngineError("source", words)
    segments.SetSourceRepresentationName(name)


def _source(node):
    return node.GetSegmentation().GetSourceRepresentationName()


def _labelmap_name():
    return slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()


# Voxels -------------------------------------------------------------------------------------


def read(node, segment_id, volume):
    """A segment's voxels as (tight block, bool array); (``None``, ``None``) if it is empty.

    The block is one of the volume's array, whatever grid the segment is stored on.
    """
    block, mask = _stored(node, segment_id, volume)
    if block is None:
        return None, None
    block, mask = _inside(block, mask, geometry.shape_of(volume))
    return (None, None) if block is None else geometry.crop(block, mask)


def on_block(node, segment_id, volume, block):
    """The segment's voxels on a block of the volume's array, bool."""
    return geometry.laid_on(block, *_stored(node, segment_id, volume))


def same(a, b):
    """Whether two (tight block, mask) are the same voxels."""
    return a[0] == b[0] and (a[0] is None or bool((a[1] == b[1]).all()))


def write(node, segment_id, volume, block, voxels):
    """Set a segment's voxels on a block; elsewhere, and in other segments, nothing changes.

    Parameters
    ----------
    node, segment_id
        The segment.
    volume
        Whose array the block belongs to.
    block
        Where.
    voxels : bool
        On the block.

    Raises
    ------
    EngineError
        If the segmentation's source is not voxels.
    """
    refused = not_writable(node)
    if refused:
        raise EngineError("source", refused)
    segments = node.GetSegmentation()
    modified = node.StartModify()
    try:
        segment = segments.GetSegment(segment_id)
        _leave_layer(segments, segment_id)
        if not _write_inside(segment, volume, block, voxels):
            own, mask = _stored(node, segment_id, volume)
            whole = geometry.union(own, block)
            voxels = geometry.laid_over(whole, own, mask, block, voxels)
            image = _image(volume, whole, voxels, segment.GetLabelValue())
            segment.AddRepresentation(_labelmap_name(), image)
        if _logic().GetSegmentStatus(segment) == _logic().NotStarted:
            _logic().SetSegmentStatus(segment, _logic().InProgress)
    finally:
        node.EndModify(modified)


def _leave_layer(segments, segment_id):
    """Give a segment an image of its own, so that writing does not touch others on its layer.

    Slicer's own way goes through the layer as a whole several times.
    """
    there = list(segments.GetSegmentIDsForLayer(segments.GetLayerIndex(segment_id)))
    if len(there) < 2:
        return
    segment = segments.GetSegment(segment_id)
    image = segment.GetRepresentation(_labelmap_name())
    array, first = _array(image)
    value = segment.GetLabelValue()
    own, mask = geometry.crop_label(first, array, value)
    if own is None:
        own, mask = [*first, *(n + 1 for n in first)], np.zeros((1, 1, 1), bool)
    alone, matrix = slicer.vtkOrientedImageData(), vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    _fill(alone, matrix, own, mask, value)
    if mask.any():
        whole = [*first, *(n + size for n, size in zip(first, array.shape))]
        array[geometry.inside(own, whole)][mask] = 0
        fresh = _renewed(image)
        for other in there:
            segments.GetSegment(other).AddRepresentation(_labelmap_name(), fresh)
    segment.AddRepresentation(_labelmap_name(), alone)


def _renewed(image):
    """The same voxels as another object: what is modified in place loses its surface."""
    fresh = slicer.vtkOrientedImageData()
    fresh.ShallowCopy(image)
    fresh.GetPointData().GetScalars().Modified()
    return fresh


def _write_inside(segment, volume, block, voxels):
    """Write into the image that a segment has; false if the block is not inside it.

    Slicer's own way to write makes all surfaces anew, each time; see `surfaces.Surfaces`.
    """
    image = segment.GetRepresentation(_labelmap_name())
    if image is None:
        return False
    array, first = _voxels(image, volume)
    if array is None or array.base is None:
        return False
    stored = [*first, *(n + size for n, size in zip(first, array.shape))]
    if geometry.common(stored, block) != [int(n) for n in block]:
        return False
    kind = array.dtype.type
    array[geometry.inside(block, stored)] = voxels * kind(segment.GetLabelValue())
    segment.AddRepresentation(_labelmap_name(), _renewed(image))
    return True


def others(node, segment_id, volume, block):
    """Voxels of a block that belong to any other segment, bool; each layer is read once."""
    taken = np.zeros([block[a + 3] - block[a] for a in range(3)], bool)
    segments = node.GetSegmentation()
    mine = segments.GetSegment(segment_id)
    for layer in range(segments.GetNumberOfLayers()):
        there = [i for i in segments.GetSegmentIDsForLayer(layer) if i != segment_id]
        if not there:
            continue
        image = segments.GetLayerDataObject(layer, _labelmap_name())
        labels = geometry.labels_on(block, *_labels(image, volume))
        found = labels != 0
        if len(segments.GetSegmentIDsForLayer(layer)) > len(there):
            found &= labels != mine.GetLabelValue()
        taken |= found
    return taken


def allowed(node, segment_id, volume, part, overlap):
    """The voxels of a result or of a slice that the overlap policy lets a segment have.

    Parameters
    ----------
    node, segment_id, volume
        The segment and the volume.
    part
        A `work.Result` or `work.SlicePart`.
    overlap
        `ALLOW` or `OTHERS_KEEP`.

    Returns
    -------
    array of bool or None
        On the part's block; ``None`` if it has none.
    """
    if part.block is None:
        return None
    voxels = part.voxels != 0
    if overlap == OTHERS_KEEP:
        voxels = leave_others(node, segment_id, volume, part.block, voxels)
    return voxels


def leave_others(node, segment_id, volume, block, voxels):
    """The voxels, bool on a block, without those that belong to any other segment."""
    return voxels & ~others(node, segment_id, volume, block)


def millilitres(volume, mask):
    """Volume in ml of a mask's voxels; 0 if there is no mask."""
    if mask is None:
        return 0.0
    voxel_mm3 = abs(np.linalg.det(geometry.ras_from_ijk(volume)[:3, :3]))
    return float(np.count_nonzero(mask)) * voxel_mm3 / 1000.0


def _extent(block):
    k0, j0, i0, k1, j1, i1 = block
    return [i0, i1 - 1, j0, j1 - 1, k0, k1 - 1]


def _image(volume, block, voxels, value):
    """An oriented image of the block on the volume's grid, ``value`` where voxels are true."""
    image = slicer.vtkOrientedImageData()
    matrix = slicer.util.vtkMatrixFromArray(geometry.ras_from_ijk(volume))
    _fill(image, matrix, block, voxels, value)
    return image


def _fill(image, matrix, block, voxels, value):
    image.SetExtent(_extent(block))
    kind = vtk.VTK_UNSIGNED_CHAR if value <= 255 else vtk.VTK_SHORT
    image.AllocateScalars(kind, 1)
    image.SetGeometryFromImageToWorldMatrix(matrix)
    scalars = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    np.multiply(np.ascontiguousarray(voxels).ravel(), scalars.dtype.type(value), out=scalars)


def _stored(node, segment_id, volume):
    """A segment's voxels: (tight block of the volume, bool array), ``None`` if there are none."""
    segment = node.GetSegmentation().GetSegment(segment_id)
    image = segment.GetRepresentation(_labelmap_name())
    if image is None:
        return None, None
    block, labels = _labels(image, volume)
    return geometry.crop_label(block[:3], labels, segment.GetLabelValue())


def _labels(image, volume):
    """A layer's labels: (block of the volume, array)."""
    labels, first = _voxels(image, volume)
    if labels is None:
        labels, first = _resampled(image, volume), [0, 0, 0]
    first = [int(n) for n in first]
    return [*first, *(n + size for n, size in zip(first, labels.shape))], labels


def _array(image):
    """An image's array (k, j, i), a view, and its first voxel (k, j, i)."""
    extent = image.GetExtent()
    low, high = extent[::2], extent[1::2]
    if any(h < n for n, h in zip(low, high)) or image.GetPointData().GetScalars() is None:
        return np.zeros((1, 1, 1), np.uint8), [0, 0, 0]
    shape = [h - n + 1 for n, h in zip(low, high)][::-1]
    scalars = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    return scalars.reshape(shape), list(low[::-1])


def _voxels(image, volume):
    """An image's array and its first voxel (k, j, i) in the volume; ``None`` if grids differ."""
    array, first = _array(image)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    to_ijk = np.linalg.inv(geometry.ras_from_ijk(volume)) @ geometry.as_array(matrix)
    offset = np.rint(to_ijk[:3, 3])
    low = np.array(first[::-1], float)
    corners = np.array([low, low + array.shape[::-1] - 1])
    moved = corners @ to_ijk[:3, :3].T + to_ijk[:3, 3] - corners - offset
    spacing = np.linalg.norm(geometry.ras_from_ijk(volume)[:3, :3], axis=0)
    if (np.abs(moved) * spacing).max() > geometry.SAME_GRID_MM:
        return None, None
    return array, (low + offset)[::-1].astype(int)


def _resampled(image, volume):
    """An oriented image on a volume's whole grid, nearest voxels; (k, j, i)."""
    whole = [0, 0, 0, *geometry.shape_of(volume)]
    reference = _image(volume, whole, np.zeros(geometry.shape_of(volume), bool), 1)
    there = slicer.vtkOrientedImageData()
    resample = slicer.vtkOrientedImageDataResample
    resample.ResampleOrientedImageToReferenceOrientedImage(image, reference, there)
    scalars = numpy_support.vtk_to_numpy(there.GetPointData().GetScalars())
    return scalars.reshape(geometry.shape_of(volume))


def stamp(node, segment_id):
    """Changes with a segment's voxels."""
    image = node.GetSegmentation().GetSegment(segment_id).GetRepresentation(_labelmap_name())
    return None if image is None else (image.GetAddressAsString(""), image.GetMTime())


def labelmap(node, segment_id):
    """A segment as it is stored: its voxels (k, j, i) uint8 with a rim, the first, the matrix."""
    segment = node.GetSegmentation().GetSegment(segment_id)
    image = segment.GetRepresentation(_labelmap_name())
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    array, first = _array(image)
    own, mask = geometry.crop_label(first, array, segment.GetLabelValue())
    if own is None:
        own, mask = [*first, *first], np.zeros((1, 1, 1), bool)
    rim = np.pad(mask.astype(np.uint8), 1)
    return rim, [n - 1 for n in own[:3]], geometry.as_array(matrix)


def lies_on(node, segment_id, grid):
    """Whether a segment is stored on a grid's voxels; so is one that has none."""
    image = node.GetSegmentation().GetSegment(segment_id).GetRepresentation(_labelmap_name())
    return image is None or _voxels(image, grid)[0] is not None


def _inside(block, mask, shape):
    """What of a block lies in the volume."""
    part = geometry.common(block, [0, 0, 0, *shape])
    if part is None:
        return None, None
    return part, mask[geometry.inside(part, block)]
