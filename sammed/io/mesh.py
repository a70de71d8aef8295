"""Surfaces of labels in millimetres: STL, OBJ and PLY.

Coordinates are LPS mm, as 3D Slicer writes and expects them, and the files say so in a comment.
Surfaces are closed, also where an object touches the border of the volume, and face outward. One
label gives the named file; several give one file each (STL, PLY) or one group each (OBJ).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from sammed.errors import BackendUnavailableError, OutputError, SammedWarning
from sammed.imaging import geometry
from sammed.imaging.geometry import Affine
from sammed.imaging.volume import LabelVolume
from sammed.io.colours import default_colour
from sammed.io.output import PathLike, atomic_outputs

COMMENT = "SPACE=LPS"
"""How 3D Slicer marks the frame of a surface file."""

SMOOTHING_STEPS = 10
"""Steps that take the voxels' staircase away; 0 leaves it, and lone voxels their size."""

SHRINK, INFLATE = 0.5, -0.53
"""The two factors of a step of Taubin smoothing, https://doi.org/10.1145/218380.218473."""


@dataclass(frozen=True)
class Surface:
    """A closed surface of triangles.

    Attributes
    ----------
    name, colour
        Of the label; colour is (r, g, b) in 0..255.
    vertices : (n, 3) float64
        LPS mm.
    triangles : (m, 3) int32
        Indices of vertices, counter-clockwise seen from outside.
    """

    name: str
    colour: tuple[int, int, int]
    vertices: NDArray[np.float64]
    triangles: NDArray[np.int32]

    @property
    def volume_ml(self) -> float:
        """Enclosed volume in ml."""
        a, b, c = (self.vertices[self.triangles[:, n]] for n in range(3))
        return float(np.einsum("ij,ij->", a, np.cross(b, c))) / 6000.0


def surfaces(labels: LabelVolume, smoothing: int = SMOOTHING_STEPS) -> list[Surface]:
    """The surface of each label that has voxels, in the order of label values.

    Marching cubes (Lewiner's, https://doi.org/10.1080/10867651.2003.10487582) at one half,
    then Taubin smoothing in millimetres, which hardly changes the volume and moves no point by
    more than half a voxel along each axis.

    Parameters
    ----------
    labels
        The label map.
    smoothing
        Number of smoothing steps.

    Raises
    ------
    BackendUnavailableError
        If scikit-image is not installed.
    """
    found = ndimage.find_objects(labels.voxels)
    present = [(value, box) for value, box in enumerate(found, 1) if box is not None]
    return [_surface(labels, value, box, smoothing) for value, box in present]


def surface_of_mask(
    mask: NDArray[np.bool_],
    spacing: tuple[float, float, float],
    most_triangles: int = 60_000,
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """The surface of a mask to look at: smoothed, and coarser where it would be too large.

    Parameters
    ----------
    mask : (z, y, x) bool
        The object.
    spacing
        mm along z, y, x.
    most_triangles
        About how many there may be.

    Returns
    -------
    vertices : (n, 3) float64
        Indices (z, y, x) of the mask.
    triangles : (m, 3) int32
        Facing outward where the axes are right-handed.

    Raises
    ------
    BackendUnavailableError
        If scikit-image is not installed.

    Examples
    --------
    >>> cube = np.zeros((9, 9, 9), bool)
    >>> cube[2:7, 2:7, 2:7] = True
    >>> vertices, triangles = surface_of_mask(cube, (1.0, 1.0, 1.0))
    >>> vertices.mean(axis=0).round(6).tolist()
    [4.0, 4.0, 4.0]
    """
    if not mask.any():
        return np.zeros((0, 3)), np.zeros((0, 3), np.int32)
    faces = sum(int(np.count_nonzero(np.diff(mask.view(np.int8), axis=a))) for a in range(3))
    step = max(1, int(np.ceil(np.sqrt(2 * faces / most_triangles))))
    step = min(step, max(1, min(mask.shape) // 3))
    padded = np.pad(mask, step)
    vertices, triangles = _marching_cubes(padded, step)
    coarse = tuple(step * float(s) for s in spacing)
    smooth = _smooth(
        vertices * spacing, triangles, SMOOTHING_STEPS, (coarse[0], coarse[1], coarse[2])
    )
    return smooth / spacing - step, triangles


def write_labels(
    labels: LabelVolume,
    path: PathLike,
    *,
    force: bool = False,
    smoothing: int = SMOOTHING_STEPS,
) -> None:
    """Write the surfaces of all labels.

    Parameters
    ----------
    labels
        The label map; labels without voxels are left out, with a warning.
    path
        ``.stl``, ``.ply`` or ``.obj``. Several labels in ``organs.stl`` become
        ``organs_liver.stl`` and so on; an ``.obj`` gets its colours in an ``.mtl`` beside it.
    force
        Whether existing files may be replaced.
    smoothing
        See `surfaces`.

    Raises
    ------
    OutputError
        If no label has voxels, or the files cannot be written.
    BackendUnavailableError
        If scikit-image is not installed.
    """
    path = Path(path)
    made = surfaces(labels, smoothing)
    if not made:
        raise OutputError(f"cannot write {path}: no label has voxels, so there is no surface")
    if empty := set(labels.names.values()) - {surface.name for surface in made}:
        text = f"{path}: no surface for {', '.join(sorted(empty))}, which have no voxels"
        warnings.warn(text, SammedWarning, stacklevel=2)
    if path.suffix.lower() == ".obj":
        with atomic_outputs([path], force=force) as (temporary,):
            _write_obj(made, temporary)
        return
    write: Callable[[Surface, Path], None] = (
        _write_stl if path.suffix.lower() == ".stl" else _write_ply
    )
    with atomic_outputs(files([s.name for s in made], path), force=force) as temporaries:
        for surface, temporary in zip(made, temporaries, strict=True):
            write(surface, temporary)


def _surface(
    labels: LabelVolume, value: int, box: tuple[slice, slice, slice], smoothing: int
) -> Surface:
    mask = np.pad(labels.voxels[box] == value, 1)  # a rim of nothing closes it at borders
    vertices, triangles = _marching_cubes(mask)
    smooth = _smooth(vertices * labels.spacing, triangles, smoothing, labels.spacing)
    index = smooth / labels.spacing + [axis.start - 1 for axis in box]
    return Surface(
        labels.names.get(value, f"label_{value}"),
        labels.colours.get(value, default_colour(value)),
        geometry.apply_affine(labels.affine, index),
        _outward(triangles, labels.affine),
    )


def _marching_cubes(
    mask: NDArray[np.bool_], step: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Vertices in indices (z, y, x) and triangles."""
    try:
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise BackendUnavailableError(
            "surfaces need scikit-image; install it: pip install 'sammed[mesh]'"
        ) from error
    vertices, triangles, _, _ = marching_cubes(mask.astype(np.float32), 0.5, step_size=step)
    return vertices.astype(np.float64), triangles.astype(np.int32)


def _outward(triangles: NDArray[np.int32], affine: Affine) -> NDArray[np.int32]:
    """Triangles that face outward in the world; the order of vertices turns with a mirror."""
    mirrored = np.linalg.det(affine[:3, :3]) < 0
    return triangles if mirrored else triangles[:, ::-1]


def _smooth(
    vertices: NDArray[np.float64],
    triangles: NDArray[np.int32],
    steps: int,
    spacing: tuple[float, float, float],
) -> NDArray[np.float64]:
    """Taubin's filter: move vertices towards their neighbours' mean, then back a little more.

    Vertices are in mm along the voxel axes, and stay within half a voxel of where they were.
    """
    if steps <= 0:
        return vertices
    low, high = vertices - np.array(spacing) / 2, vertices + np.array(spacing) / 2
    count = len(vertices)
    ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    ones = np.ones(2 * len(ends))
    rows, columns = np.concatenate([ends, ends[:, ::-1]]).T
    neighbours = sparse.csr_matrix((ones, (rows, columns)), shape=(count, count))
    neighbours.data[:] = 1
    mean = sparse.diags(1 / np.asarray(neighbours.sum(axis=1)).ravel()) @ neighbours
    for _ in range(steps):
        for factor in (SHRINK, INFLATE):
            vertices = np.clip(vertices + factor * (mean @ vertices - vertices), low, high)
    return np.asarray(vertices, np.float64)


def files(names: Sequence[str], path: PathLike) -> list[Path]:
    """The files of surfaces so named: one a surface, but for an OBJ; a single one as given.

    Examples
    --------
    >>> [file.name for file in files(["left kidney", "right kidney"], "organs.stl")]
    ['organs_left_kidney.stl', 'organs_right_kidney.stl']
    """
    path = Path(path)
    if len(names) <= 1 or path.suffix.lower() == ".obj":
        return [path]
    return [path.with_name(f"{path.stem}_{name}{path.suffix}") for name in _unique_names(names)]


def _unique_names(names: Sequence[str]) -> list[str]:
    """Names fit for files and groups, all different."""
    plain = [_plain(name) for name in names]
    taken = {name for name in plain if plain.count(name) == 1}
    unique = []
    for name in plain:
        others = (f"{name}_{n}" for n in count(1))
        free = name if plain.count(name) == 1 else next(n for n in others if n not in taken)
        taken.add(free)
        unique.append(free)
    return unique


def _plain(name: str) -> str:
    """A label's name as a part of a file's, or of an OBJ group's."""
    return re.sub(r"[^\w.-]+", "_", name).strip("_.") or "label"


def _write_stl(surface: Surface, path: Path) -> None:
    """Binary STL: normal, three vertices and two bytes of nothing a triangle."""
    corners = surface.vertices[surface.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    block = np.zeros(len(corners), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("", "<u2")])
    block["normal"] = normals / np.where(lengths > 0, lengths, 1)
    block["corners"] = corners
    header = f"sammed {_plain(surface.name)[:50]} {COMMENT}".encode("ascii", "replace")
    with open(path, "wb") as file:
        file.write(header.ljust(80) + len(block).to_bytes(4, "little"))
        block.tofile(file)


def _write_ply(surface: Surface, path: Path) -> None:
    """Binary PLY with the label's colour at each vertex."""
    vertices = np.zeros(len(surface.vertices), [("at", "<f4", 3), ("colour", "u1", 3)])
    vertices["at"], vertices["colour"] = surface.vertices, surface.colour
    faces = np.zeros(len(surface.triangles), [("n", "u1"), ("corners", "<i4", 3)])
    faces["n"], faces["corners"] = 3, surface.triangles
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment sammed {_plain(surface.name)} {COMMENT}",
        f"element vertex {len(vertices)}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {colour}" for colour in ("red", "green", "blue")),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header\n",
    ]
    with open(path, "wb") as file:
        file.write("\n".join(header).encode("ascii", "replace"))
        vertices.tofile(file)
        faces.tofile(file)


def _write_obj(made: list[Surface], path: Path) -> None:
    """One group a surface, with colours in a material file beside it."""
    materials = path.with_suffix(".mtl")
    names = _unique_names([surface.name for surface in made])
    first = 1
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(f"# sammed {COMMENT}\nmtllib {materials.name}\n")
        for surface, name in zip(made, names, strict=True):
            file.write(f"g {name}\nusemtl {name}\n")
            np.savetxt(file, surface.vertices, "v %.5f %.5f %.5f")
            np.savetxt(file, surface.triangles + first, "f %d %d %d")
            first += len(surface.vertices)
    lines = [
        f"newmtl {name}\nKd {' '.join(f'{c / 255:.4f}' for c in surface.colour)}\n"
        for surface, name in zip(made, names, strict=True)
    ]
    materials.write_text("\n".join(lines), encoding="utf-8", newline="\n")
