"""A program: a labelmap in, its surface out, by Slicer's own conversion, in a process of its own.

    python surface_maker.py IN.npz OUT.npz

In: ``voxels`` (k, j, i) uint8, ``first`` (k, j, i), ``matrix`` (4, 4) and ``parameters``, pairs of
name and value. Out: ``points``, ``polys`` (as VTK keeps them) and, if there are any, ``normals``.
"""

import sys

import numpy as np


def core():
    """Slicer's classes of segmentations: of the application, or of slicer-core."""
    try:
        import vtkSegmentationCorePython as found
    except ImportError:
        from slicer_core import vtkSegmentationCore as found
    return found


def make(source, target):
    """Read, convert, write."""
    import vtk
    from vtk.util import numpy_support

    classes = core()
    with np.load(source, allow_pickle=False) as given:
        voxels, first, matrix = given["voxels"], given["first"], given["matrix"]
        parameters = given["parameters"]
    image = classes.vtkOrientedImageData()
    k, j, i = (int(n) for n in first)
    size = voxels.shape
    image.SetExtent(i, i + size[2] - 1, j, j + size[1] - 1, k, k + size[0] - 1)
    scalars = numpy_support.numpy_to_vtk(voxels.ravel(), deep=True)
    image.GetPointData().SetScalars(scalars)
    to_world = vtk.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            to_world.SetElement(row, column, matrix[row, column])
    image.SetGeometryFromImageToWorldMatrix(to_world)
    segment = classes.vtkSegment()
    segment.SetLabelValue(1)
    segment.AddRepresentation("Binary labelmap", image)
    rule = classes.vtkBinaryLabelmapToClosedSurfaceConversionRule()
    for name, value in parameters:
        if rule.HasConversionParameter(str(name)):
            rule.SetConversionParameter(str(name), str(value))
    if not rule.Convert(segment):
        raise SystemExit("the surface could not be made")
    surface = segment.GetRepresentation("Closed surface")
    normals = surface.GetPointData().GetNormals()
    polys = vtk.vtkIdTypeArray()
    surface.GetPolys().ExportLegacyFormat(polys)
    points = surface.GetPoints()
    arrays = {
        "points": numpy_support.vtk_to_numpy(points.GetData()) if points else np.zeros((0, 3)),
        "polys": numpy_support.vtk_to_numpy(polys),
    }
    if normals is not None:
        arrays["normals"] = numpy_support.vtk_to_numpy(normals)
    np.savez(target, **arrays)


if __name__ == "__main__":
    make(*sys.argv[1:3])
