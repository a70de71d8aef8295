"""Index to world and back, axis codes, and canonical reorientation with its exact inverse.

World is LPS millimetres (DICOM's and ITK's patient frame). Arrays are ``(z, y, x)`` in C order
and an affine maps the homogeneous index ``(z, y, x, 1)`` to LPS. Voxel centres sit at integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sammed.errors import GeometryError, OrientationError

Affine = NDArray[np.float64]
AnyAffine = NDArray[np.floating]
Shape3 = tuple[int, int, int]
_Scalar = TypeVar("_Scalar", bound=np.generic)

RAS_FROM_LPS: Affine = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Turns LPS coordinates into RAS ones; its own inverse."""

GRID_TOLERANCE_VOXELS = 0.02
"""Two grids are the same where each voxel's centre lies this close, in voxels, to its fellow's.

The one tolerance of all commands and readers: headers round to a few decimals, and 0.005 mm of an
origin with two of them are 0.01 voxels of 0.5 mm.
"""

UNTOLD_MM = 1e-3
"""Grids that are the same but for less than this are not told to differ."""

ORTHOGONAL_TOLERANCE = 1e-3
"""Largest |cosine| between two axes that still counts as orthogonal (0.06 degrees)."""

TIE_TOLERANCE = 1e-9
"""Assignments of axes whose total cosines differ by less are ties."""

_CODES = (("R", "L"), ("A", "P"), ("I", "S"))  # by LPS axis: (towards minus, towards plus)


def apply_affine(
    affine: AnyAffine, points: NDArray[np.floating] | NDArray[np.integer]
) -> NDArray[np.float64]:
    """Map points by an affine.

    Parameters
    ----------
    affine : (4, 4) float64
        Any affine.
    points : (..., 3)
        Coordinates in the affine's source frame.

    Returns
    -------
    mapped : (..., 3) float64
        Coordinates in the affine's target frame.

    Examples
    --------
    >>> apply_affine(np.diag([2.0, 1.0, 1.0, 1.0]), np.array([1, 2, 3])).tolist()
    [2.0, 2.0, 3.0]
    """
    points = np.asarray(points, np.float64)
    return np.asarray(points @ affine[:3, :3].T + affine[:3, 3], np.float64)


def index_from_world(affine: AnyAffine, world: NDArray[np.floating]) -> NDArray[np.float64]:
    """Continuous indices of points in LPS mm, (..., 3) float64 in the affine's index order.

    Examples
    --------
    >>> index_from_world(np.diag([2.0, 1.0, 1.0, 1.0]), np.array([5.0, 2.0, 3.0])).tolist()
    [2.5, 2.0, 3.0]
    """
    return apply_affine(np.linalg.inv(affine), world)


def spacing(affine: AnyAffine) -> tuple[float, float, float]:
    """Distance in mm between voxel centres along each index axis.

    Examples
    --------
    >>> spacing(np.diag([2.5, 0.8, 0.7, 1.0]))
    (2.5, 0.8, 0.7)
    """
    a, b, c = np.sqrt((np.asarray(affine, np.float64)[:3, :3] ** 2).sum(axis=0))
    return float(a), float(b), float(c)


def direction(affine: AnyAffine) -> NDArray[np.float64]:
    """Unit vectors of the index axes in LPS, as the columns of a (3, 3) float64 matrix.

    Examples
    --------
    >>> direction(np.diag([2.5, -0.8, 0.7, 1.0])).diagonal().tolist()
    [1.0, -1.0, 1.0]
    """
    return np.asarray(affine[:3, :3] / np.array(spacing(affine)), np.float64)


def check_affine(affine: NDArray[np.floating], source: str = "the image") -> Affine:
    """Return the affine as float64 after making sure that it describes a real grid.

    Parameters
    ----------
    affine : (4, 4)
        Any affine.
    source
        Whose it is, for messages.

    Raises
    ------
    OrientationError
        If it is not finite, singular, or its axes are not orthogonal.

    Examples
    --------
    >>> check_affine(np.diag([2, 1, 1, 1])).dtype.name
    'float64'
    """
    affine = np.asarray(affine, np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise OrientationError(f"{source} has no finite 4x4 affine; found {affine.tolist()}")
    if min(spacing(affine)) <= 0 or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise OrientationError(
            f"{source} has a degenerate voxel size {_round(spacing(affine))} mm; "
            "expected three positive spacings: repair its header"
        )
    cosines = direction(affine).T @ direction(affine)
    worst = float(np.abs(cosines - np.eye(3)).max())
    if worst > ORTHOGONAL_TOLERANCE:
        raise OrientationError(
            f"{source} is sheared: two voxel axes meet at {np.degrees(np.arccos(worst)):.2f} "
            "degrees, expected 90; resample it to an orthogonal grid"
        )
    return np.asarray(affine, np.float64)


def axis_codes(affine: AnyAffine) -> str:
    """Anatomical direction in which each index axis grows, e.g. ``"SPL"``.

    Letters: R/L, A/P, I/S, for the closest anatomical axis.

    Examples
    --------
    >>> axis_codes(np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [1.0, 0, 0, 0], [0, 0, 0, 1]]))
    'SPL'
    """
    unit = direction(affine)
    codes = ["", "", ""]
    for world_axis, index_axis in enumerate(_closest_axes(unit)):
        codes[index_axis] = _CODES[world_axis][int(unit[world_axis, index_axis] > 0)]
    return "".join(codes)


def _closest_axes(unit: NDArray[np.float64]) -> tuple[int, ...]:
    """For each world axis L, P, S the index axis that runs closest along it, all different.

    A tie (axes half-way between two anatomical ones) is broken by where the axes then point, so
    that it does not matter in which order the file stores them.
    """
    orders = list(permutations(range(3)))
    scores = [sum(abs(unit[w, order[w]]) for w in range(3)) for order in orders]
    tied = [
        o for o, score in zip(orders, scores, strict=True) if score > max(scores) - TIE_TOLERANCE
    ]
    return tied[0] if len(tied) == 1 else max(tied, key=lambda order: _pointing(unit, order))


def _pointing(unit: NDArray[np.float64], order: tuple[int, ...]) -> list[float]:
    """Canonical axes of an assignment in LPS, rounded, to compare assignments by."""
    axes = unit[:, list(order)]
    signs = np.where(np.diagonal(axes) < 0, -1.0, 1.0)
    rounded: list[float] = np.rint(axes * signs / TIE_TOLERANCE).ravel().tolist()
    return rounded


@dataclass(frozen=True)
class Reorientation:
    """A permutation and flips of index axes, with its exact inverse.

    Attributes
    ----------
    axes : (int, int, int)
        Canonical axis ``a`` is the file's axis ``axes[a]``.
    flips : (bool, bool, bool)
        Whether canonical axis ``a`` runs against the file's.
    shape : (int, int, int)
        Shape of the file's array, so that flips know where indices end.
    """

    axes: Shape3
    flips: tuple[bool, bool, bool]
    shape: Shape3

    @property
    def canonical_shape(self) -> Shape3:
        """Shape of the canonical array."""
        a, b, c = (self.shape[axis] for axis in self.axes)
        return a, b, c

    @property
    def to_file(self) -> Affine:
        """(4, 4) float64 that maps a canonical index to the file's index."""
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        for a, (axis, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            matrix[axis, a] = -1 if flip else 1
            matrix[axis, 3] = self.shape[axis] - 1 if flip else 0
        return matrix

    def apply(self, array: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """Canonical view of a file array; trailing axes (colour) are kept. No copy."""
        rest = tuple(range(3, array.ndim))
        return array.transpose(*self.axes, *rest)[self._flip()]

    def invert(self, array: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """File view of a canonical array; trailing axes are kept. No copy."""
        rest = tuple(range(3, array.ndim))
        i, j, k = (int(i) for i in np.argsort(self.axes))
        return array[self._flip()].transpose(i, j, k, *rest)

    def apply_affine(self, affine: Affine) -> Affine:
        """Affine of the canonical array, given the file array's; exact for the columns."""
        return np.asarray(affine @ self.to_file)

    def _flip(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)


def canonical(affine: Affine, shape: Shape3) -> Reorientation:
    """How to bring an array to the canonical orientation, closest to (S, P, L).

    Parameters
    ----------
    affine : (4, 4) float64
        Maps the array's index to LPS mm.
    shape
        The array's first three extents.

    Returns
    -------
    Reorientation
        ``apply`` gives an array whose axes grow towards superior, posterior, left.

    Examples
    --------
    >>> stored = affine_from_ras(np.diag([0.7, 0.8, 2.5, 1.0]))  # of an array (k, j, i)
    >>> canonical(stored, (5, 7, 11)).flips  # RAS on disk: j and i run the other way
    (False, True, True)
    """
    unit = direction(affine)
    left, posterior, superior = _closest_axes(unit)
    axes = (superior, posterior, left)
    flips = tuple(bool(unit[2 - a, axis] < 0) for a, axis in enumerate(axes))
    return Reorientation(axes, (flips[0], flips[1], flips[2]), shape)


def same_grid(affine_a: Affine, shape_a: Shape3, affine_b: Affine, shape_b: Shape3) -> bool:
    """Whether two grids have the same shape and voxels, to within `GRID_TOLERANCE_VOXELS`.

    Examples
    --------
    >>> grid = np.diag([2.5, 0.8, 0.7, 1.0])
    >>> same_grid(grid, (5, 7, 11), grid, (5, 7, 11)), same_grid(grid, (5, 7, 11), grid, (5, 7, 9))
    (True, False)
    """
    if tuple(shape_a) != tuple(shape_b):
        return False
    return grid_distance(affine_a, shape_a, affine_b)[1] <= GRID_TOLERANCE_VOXELS


def grid_distance(affine_a: Affine, shape: Shape3, affine_b: Affine) -> tuple[float, float]:
    """How far voxels of one grid lie from those of the same index in another, at most.

    Parameters
    ----------
    affine_a, affine_b : (4, 4) float64
        Map the index (z, y, x) to LPS mm.
    shape
        Of both grids.

    Returns
    -------
    float, float
        In mm, and along the axis on which it is most in voxels of the second.

    Examples
    --------
    >>> grid = np.diag([2.5, 0.8, 0.5, 1.0])
    >>> moved = grid.copy()
    >>> moved[2, 3] += 0.25
    >>> grid_distance(moved, (5, 7, 11), grid)
    (0.25, 0.5)
    """
    corners = np.array([[z, y, x] for z in (0, 1) for y in (0, 1) for x in (0, 1)])
    corners = corners * (np.array(shape) - 1)
    apart = apply_affine(affine_a, corners) - apply_affine(affine_b, corners)
    voxels = apart @ np.linalg.inv(affine_b[:3, :3]).T
    return float(np.linalg.norm(apart, axis=1).max()), float(np.abs(voxels).max())


def describe_grid(affine: Affine, shape: Shape3) -> str:
    """Shape, spacing and place of a grid in one phrase, (z, y, x) and LPS mm."""
    size, first = ", ".join(f"{v:.5g}" for v in spacing(affine)), affine[:3, 3]
    at = ", ".join(f"{v:.7g}" for v in first)
    return f"shape {tuple(shape)}, spacing ({size}), first voxel at ({at})"


def describe_mismatch(
    affine: Affine, shape: Shape3, expected: Affine, expected_shape: Shape3
) -> str:
    """Two grids that are not the same in one phrase, with what parts them, for errors."""
    told = (
        f"{describe_grid(affine, shape)}, expected {describe_grid(expected, expected_shape)} "
        "(z, y, x; LPS mm)"
    )
    if tuple(shape) != tuple(expected_shape):
        return told
    mm, voxels = grid_distance(affine, shape, expected)
    return (
        f"{told}; voxels lie up to {mm:.3g} mm ({voxels:.3g} voxels) apart, at most "
        f"{GRID_TOLERANCE_VOXELS:g} voxels are taken as the same"
    )


def grid_note(affine: Affine, shape: Shape3, expected: Affine) -> tuple[str, ...]:
    """A note on two grids that are taken as the same though they differ; none if they do not."""
    mm, voxels = grid_distance(affine, shape, expected)
    if mm <= UNTOLD_MM:
        return ()
    return (
        f"its voxels lie up to {mm:.2g} mm ({voxels:.2g} voxels) from those of the image and were "
        "taken as the same",
    )


def voxel_volume_ml(affine: Affine) -> float:
    """Volume of one voxel in ml.

    Examples
    --------
    >>> round(voxel_volume_ml(np.diag([2.5, 0.8, 0.7, 1.0])), 6)
    0.0014
    """
    return abs(float(np.linalg.det(affine[:3, :3]))) / 1000.0


def affine_from_ras(affine_ijk_ras: NDArray[np.floating]) -> Affine:
    """NIfTI's affine (index i, j, k to RAS mm) as ours (index k, j, i to LPS mm).

    Examples
    --------
    >>> axis_codes(affine_from_ras(np.diag([0.7, 0.8, 2.5, 1.0])))  # of k, j, i
    'SAR'
    """
    affine = RAS_FROM_LPS @ np.asarray(affine_ijk_ras, np.float64)
    return np.asarray(affine[:, [2, 1, 0, 3]])


def affine_to_ras(affine: Affine) -> Affine:
    """Our affine (index k, j, i to LPS mm) as NIfTI's (index i, j, k to RAS mm).

    Examples
    --------
    >>> affine_to_ras(affine_from_ras(np.diag([0.7, 0.8, 2.5, 1.0]))).diagonal().tolist()
    [0.7, 0.8, 2.5, 1.0]
    """
    return np.asarray((RAS_FROM_LPS @ affine)[:, [2, 1, 0, 3]])


def world_to_lps(points: NDArray[np.floating], space: str) -> NDArray[np.float64]:
    """Points given in millimetres of ``"ras"`` or ``"lps"``, (..., 3), as LPS mm.

    Raises
    ------
    GeometryError
        If the space is neither.

    Examples
    --------
    >>> world_to_lps(np.array([10.0, 20.0, 30.0]), "ras").tolist()
    [-10.0, -20.0, 30.0]
    """
    points = np.asarray(points, np.float64)
    if space == "lps":
        return np.asarray(points, np.float64)
    if space == "ras":
        return points * np.array([-1.0, -1.0, 1.0])
    raise GeometryError(f"unknown space {space!r}; expected 'ras' or 'lps'")


def _round(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(v, 4) for v in values)
