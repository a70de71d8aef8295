"""Between the world (RAS mm), a volume's voxels, and what the worker expects.

Blocks are half-open voxel boxes ``(k0, j0, i0, k1, j1, i1)`` of the volume's own array, as
``slicer.util.arrayFromVolume`` gives it. Axes are 0 (k), 1 (j), 2 (i). Positions go through the
parent transforms of both nodes, linear or not.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import slicer
import vtk

EDGE_TOLERANCE = 1e-3
"""A corner that is less than this many voxels beyond a voxel's face counts as on it."""

SAME_GRID_MM = 1e-3
"""Grids whose voxels lie this close together are the same."""

PARALLEL = 0.9962
"""A view whose normal is within 5 degrees of an axis shows slices across that axis."""

_PLANES = {0: "sagittal", 1: "coronal", 2: "axial"}  # by the world axis R, A, S of the normal


def as_array(matrix):
    """A vtkMatrix4x4 as a (4, 4) array."""
    return slicer.util.arrayFromVTKMatrix(matrix)


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """Where voxels lie, independent of what becomes of the volume that they were taken from.

    Stands wherever a volume does that is only asked for its grid.

    Attributes
    ----------
    matrix : (4, 4)
        Voxel (i, j, k, 1) to RAS mm of the segmentation, without its parent transforms.
    shape
        Extents (k, j, i).
    """

    matrix: np.ndarray
    shape: tuple

    def fits(self, other):
        """Whether another grid has the same voxels in the same places."""
        if other is None or tuple(self.shape) != tuple(other.shape):
            return False
        ends = np.array(list(itertools.product(*((0, n - 1) for n in self.shape[::-1]))), float)
        moved = ends @ (self.matrix - other.matrix)[:3, :3].T + (self.matrix - other.matrix)[:3, 3]
        return bool(np.linalg.norm(moved, axis=1).max() <= SAME_GRID_MM)


def grid_of(volume, segmentation=None):
    """A volume's grid as a segmentation sees it, through the transforms between the two.

    Returns
    -------
    Grid or None
        ``None`` if the volume is empty, or a transform that is not linear lies between them.
    """
    if volume.GetImageData() is None:
        return None
    matrix = ras_from_ijk(volume)
    source = volume.GetParentTransformNode()
    target = source if segmentation is None else segmentation.GetParentTransformNode()
    if source is not target:
        between = vtk.vtkMatrix4x4()
        nodes = slicer.vtkMRMLTransformNode
        if not nodes.GetMatrixTransformBetweenNodes(source, target, between):
            return None
        matrix = as_array(between) @ matrix
    return Grid(matrix, tuple(shape_of(volume)))


def ras_from_ijk(volume):
    """(4, 4): voxel (i, j, k, 1) to RAS mm of a volume, without its parent transforms."""
    if isinstance(volume, Grid):
        return volume.matrix
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return as_array(matrix)


def lps_from_kji(volume):
    """(4, 4): array index (k, j, i, 1) to LPS mm, as the worker wants it."""
    ras = ras_from_ijk(volume)
    return (np.diag([-1.0, -1.0, 1.0, 1.0]) @ ras)[:, [2, 1, 0, 3]]


def shape_of(volume):
    """Extents (k, j, i) of a volume."""
    if isinstance(volume, Grid):
        return volume.shape
    i, j, k = volume.GetImageData().GetDimensions()
    return k, j, i


def carry(points, source, target):
    """Points (n, 3) from one transform node's frame to another's; ``None`` is the world."""
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(source, target, transform)
    return np.array([transform.TransformPoint(p) for p in np.asarray(points, float)]).reshape(-1, 3)


def ijk_from_world(volume, points):
    """Continuous voxel coordinates (n, 3), order i j k, of RAS world points."""
    local = carry(points, None, volume.GetParentTransformNode())
    to_ijk = np.linalg.inv(ras_from_ijk(volume))
    return local @ to_ijk[:3, :3].T + to_ijk[:3, 3]


def world_from_ijk(volume, ijk):
    """RAS world points (n, 3) of continuous voxel coordinates, order i j k."""
    matrix = ras_from_ijk(volume)
    local = np.atleast_2d(np.asarray(ijk, float)) @ matrix[:3, :3].T + matrix[:3, 3]
    return carry(local, volume.GetParentTransformNode(), None)


def voxel_at(volume, point):
    """The voxel [k, j, i] that holds a RAS world point; ``None`` if it is outside."""
    voxel = np.rint(ijk_from_world(volume, [point])[0]).astype(int)[::-1]
    if (voxel < 0).any() or (voxel >= shape_of(volume)).any():
        return None
    return [int(v) for v in voxel]


def roi_corners(roi):
    """All eight corners of a ROI in RAS world coordinates, (8, 3)."""
    matrix = as_array(roi.GetObjectToNodeMatrix())
    half = np.array(roi.GetSize()) / 2
    corners = np.array(list(itertools.product((-1, 1), repeat=3))) * half
    local = corners @ matrix[:3, :3].T + matrix[:3, 3]
    return carry(local, roi.GetParentTransformNode(), None)


def roi_block(volume, roi):
    """The smallest block that holds a ROI, however it is turned, inside the volume; or ``None``."""
    corners = ijk_from_world(volume, roi_corners(roi))[:, ::-1]
    low = np.floor(corners.min(axis=0) + 0.5 + EDGE_TOLERANCE).astype(int)
    high = np.ceil(corners.max(axis=0) + 0.5 - EDGE_TOLERANCE).astype(int)
    low = np.clip(low, 0, shape_of(volume))
    high = np.clip(np.maximum(high, low), 0, shape_of(volume))
    if (high <= low).any():
        return None
    return [int(v) for v in (*low, *high)]


def slice_block(volume, roi, axis):
    """The slice through a ROI's middle: its block, one voxel thick along the axis; or ``None``."""
    block = roi_block(volume, roi)
    if block is None:
        return None
    middle = ijk_from_world(volume, roi_corners(roi)).mean(axis=0)[::-1][axis]
    index = int(np.clip(round(middle), block[axis], block[axis + 3] - 1))
    block[axis], block[axis + 3] = index, index + 1
    return block


def fit_roi(volume, roi, block):
    """Lay a ROI exactly round a block of voxels, along the volume's own axes."""
    matrix = ras_from_ijk(volume)
    low, high = np.array(block[:3][::-1]) - 0.5, np.array(block[3:][::-1]) - 0.5
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    turn_roi(volume, roi, matrix[:3, :3] @ ((low + high) / 2) + matrix[:3, 3])
    roi.SetSize(*(float(v) for v in (high - low) * spacing))


def turn_roi(volume, roi, centre=(0.0, 0.0, 0.0)):
    """Turn a ROI to a volume's own axes, under its transform; its centre is in that frame.

    Slicer lays a ROI along the world's axes unless it is turned before its first point.
    """
    matrix = ras_from_ijk(volume)
    placed = np.eye(4)
    placed[:3, :3] = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    if np.linalg.det(placed[:3, :3]) < 0:  # a box is its own mirror image; a frame is not
        placed[:3, 0] *= -1
    placed[:3, 3] = centre
    parent = volume.GetParentTransformNode()
    roi.SetAndObserveTransformNodeID(parent.GetID() if parent else None)
    roi.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(placed))


def axis_across(volume, normal):
    """The array axis that runs closest along a world direction at the volume's middle."""
    return max(range(3), key=lambda axis: abs(_cosine(volume, axis, normal)))


def _cosine(volume, axis, normal):
    """Cosine between an array axis, in the world, and a direction."""
    middle = (np.array(shape_of(volume))[::-1] - 1) / 2
    step = np.eye(3)[2 - axis]
    first, last = world_from_ijk(volume, [middle, middle + step])
    normal = np.asarray(normal, float)
    return float((last - first) @ normal / np.linalg.norm(last - first) / np.linalg.norm(normal))


def plane_of(volume, axis):
    """Anatomical name of the slices across an array axis, from the volume's own orientation."""
    step = ras_from_ijk(volume)[:3, 2 - axis]
    return _PLANES[int(np.argmax(np.abs(step)))]


def axis_of(volume, plane):
    """The array axis whose slices are of that plane."""
    return next((a for a in range(3) if plane_of(volume, a) == plane), 0)


def shown_slice(volume, slice_node):
    """(axis, index) of the slice that a view shows; ``(None, None)`` if it cuts across slices.

    The index may be outside the volume.
    """
    to_ras = as_array(slice_node.GetSliceToRAS())
    axis = axis_across(volume, to_ras[:3, 2])
    if abs(_cosine(volume, axis, to_ras[:3, 2])) < PARALLEL:
        return None, None
    ijk = ijk_from_world(volume, [to_ras[:3, 3]])[0]
    return axis, round(float(ijk[2 - axis]))


def align_views(volume):
    """Turn all slice views into the volume's own planes."""
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        node.RotateToVolumePlane(volume)


def slice_centre(volume, axis, index, near=None):
    """RAS world point on a slice; beside ``near`` (continuous k, j, i) if given."""
    kji = (np.array(shape_of(volume)) - 1) / 2 if near is None else np.array(near, float)
    kji[axis] = index
    return world_from_ijk(volume, [kji[::-1]])[0]


def inside(part, block):
    """Slices of ``part`` in an array that holds ``block``; both are blocks."""
    return tuple(slice(part[a] - block[a], part[a + 3] - block[a]) for a in range(3))


def common(a, b):
    """The block that two blocks share; ``None`` if they share nothing."""
    low = [max(p, q) for p, q in zip(a[:3], b[:3])]
    high = [min(p, q) for p, q in zip(a[3:], b[3:])]
    return [*low, *high] if all(h > n for n, h in zip(low, high)) else None


def tight(mask):
    """The smallest block that holds all true voxels of an array; ``None`` if there are none.

    Each axis is looked at only where the ones before have something.
    """
    found, rest = [], mask
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        hits = np.flatnonzero(rest.any(axis=others))
        if not len(hits):
            return None
        low, high = int(hits[0]), int(hits[-1]) + 1
        found.append((low, high))
        rest = rest[tuple(slice(low, high) if a == axis else slice(None) for a in range(3))]
    return [r[0] for r in found] + [r[1] for r in found]


def crop_label(first, labels, value):
    """The tight block of a label in an array that begins at ``first``, and where it is, bool."""
    slices = [k for k, plane in enumerate(labels) if (plane == value).any()]
    if not slices:
        return None, None
    low, high = slices[0], slices[-1] + 1
    block = [first[0] + low, *first[1:], first[0] + high]
    block += [n + size for n, size in zip(first[1:], labels.shape[1:])]
    return crop([int(n) for n in block], labels[low:high] == value)


def crop(block, mask):
    """The tight block of a mask that fills a block, and its voxels; ``None`` twice if empty."""
    found = tight(mask)
    if found is None:
        return None, None
    voxels = mask[tuple(slice(found[a], found[a + 3]) for a in range(3))]
    return [n + block[a % 3] for a, n in enumerate(found)], voxels


def union(a, b):
    """The smallest block that holds both; either may be ``None``."""
    if a is None or b is None:
        return a or b
    low = [min(p, q) for p, q in zip(a[:3], b[:3])]
    return low + [max(p, q) for p, q in zip(a[3:], b[3:])]


def laid_on(block, own, mask):
    """A mask that fills its own block, on another block; ``own`` is ``None`` if it is empty."""
    voxels = np.zeros([block[a + 3] - block[a] for a in range(3)], bool)
    shared = common(own, block) if own else None
    if shared:
        voxels[inside(shared, block)] = mask[inside(shared, own)]
    return voxels


def labels_on(block, own, labels):
    """Labels that fill their own block, on another block; 0 where they have none."""
    laid = np.zeros([block[a + 3] - block[a] for a in range(3)], labels.dtype)
    shared = common(own, block)
    if shared:
        laid[inside(shared, block)] = labels[inside(shared, own)]
    return laid


def laid_over(whole, own, mask, block, voxels):
    """A mask that fills its own block, on a larger one, with its voxels on a third set anew."""
    laid = laid_on(whole, own, mask)
    laid[inside(block, whole)] = voxels
    return laid


def overlaid(own, block, voxels):
    """A (tight block, mask) with its voxels on a block set anew."""
    whole = union(own[0], block)
    return crop(whole, laid_over(whole, *own, block, voxels))


def count(block):
    """Number of voxels of a block."""
    return int(np.prod([block[a + 3] - block[a] for a in range(3)]))


def range_block(volume, axis, low, high):
    """The slices ``low`` to ``high - 1`` of a volume across an axis, in full."""
    block = [0, 0, 0, *shape_of(volume)]
    block[axis], block[axis + 3] = low, high
    return block
