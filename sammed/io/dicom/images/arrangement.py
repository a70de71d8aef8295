"""Where the slices of a stack lie: spacing, gaps, gantry tilt, and the grid they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammed.errors import (
    GantryTiltError,
    GeometryError,
    IrregularSpacingError,
    OrientationError,
)
from sammed.imaging.geometry import Affine
from sammed.io.dicom.images.planes import Plane
from sammed.io.dicom.images.stacks import Stack, check_geometry, distances

EVEN_SHARE = 0.01
"""Slices this share of their spacing off even positions are as good as even."""

ROUNDED_MM = 0.06
"""Slices off by no more may have positions rounded to 0.1 mm: read as even, with a note."""

ROUNDED_SHARE = 0.1
MULTIPLE_SHARE = 0.05
"""A gap this near to a multiple of the spacing means missing slices."""

STRAIGHT = 0.9e-3
"""Largest sideways shift per mm of a stack that counts as straight (0.05 degrees)."""

STRAIGHT_PIXELS = 0.1
MAX_TILT_DEGREES = 45.0
SAME_SPACING = 1e-4
MAX_SHOWN = 8
MAX_MIXED = 4
MIN_MIXED = 3
"""Stacks whose slices are alternately at uneven distances, and slices that each must have."""

MAX_STRETCH = 4
"""Gaps are filled up to this many times the number of slices."""


@dataclass(frozen=True)
class Arrangement:
    """The grid of a stack of slices, as acquired.

    Attributes
    ----------
    affine : (4, 4) float64
        Index (k, j, i) to LPS mm of an orthogonal grid: the slices' own if they are regular, else
        the one to resample to.
    shape : (int, int, int)
        Extents of that grid.
    affines : (n, 4, 4) float64
        Per slice the map of (0, row, column) to LPS mm.
    offsets : (n, 3) float64 or None
        Where on the grid (k, j, i) the first pixel of each slice lies, if slices must be resampled
        to it; None if slice s simply is k = s.
    notes
        What was decided.
    """

    affine: Affine
    shape: tuple[int, int, int]
    affines: NDArray[np.float64]
    offsets: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()


def arrange(stack: Stack, allow_gaps: bool = False) -> Arrangement:
    """Find the grid of a stack.

    Parameters
    ----------
    stack
        Sorted along its normal, no two slices at one position.
    allow_gaps
        Resample missing or unevenly spaced slices to an even grid instead of refusing them.

    Raises
    ------
    GeometryError
        If slices differ in matrix size or pixel spacing.
    IrregularSpacingError
        If slices are missing or unevenly spaced, and that is not allowed.
    GantryTiltError
        If the stack is sheared by more than `MAX_TILT_DEGREES`.
    OrientationError
        If a position or the orientation is missing or malformed.
    """
    planes = stack.planes
    _check_sizes(planes)
    if stack.is_picture:
        return _picture(planes[0])
    check_geometry(planes)
    _check_pixel_spacing(planes)
    frame = _Frame(planes)
    d = distances(planes)
    step, notes = _step(planes, d, allow_gaps)
    affines = frame.affines(step)
    even = not _gaps(d, step)
    sideways, note = _sideways(frame, d)
    if note:
        notes += (note,)
    if even and sideways is None:
        return Arrangement(frame.grid(step), (len(planes), *planes[0].size), affines, None, notes)
    along = np.arange(len(d), dtype=np.float64) if even else np.asarray((d - d[0]) / step)
    return _resampled(frame, along, step, sideways, affines, notes)


class _Frame:
    """In-plane axes, pixel spacing and positions of a stack, as numbers."""

    def __init__(self, planes: Sequence[Plane]) -> None:
        o = np.asarray(planes[0].orientation, np.float64)
        self.i = o[:3] / np.linalg.norm(o[:3])  # along a row: columns are counted
        j = o[3:] - (o[3:] @ self.i) * self.i
        self.j = j / np.linalg.norm(j)
        self.k = np.cross(self.i, self.j)
        self.size = planes[0].size
        row, column = planes[0].spacing or (1.0, 1.0)
        self.spacing = np.array([row, column])
        self.positions = np.array([p.position for p in planes], np.float64)

    def lateral(self) -> NDArray[np.float64]:
        """Sideways positions relative to the first slice, (n, 2) float64, mm along j and i."""
        return np.asarray((self.positions - self.positions[0]) @ np.stack([self.j, self.i], 1))

    def affine(
        self, origin: NDArray[np.float64], step: float, along: NDArray[np.float64] | None = None
    ) -> Affine:
        affine = np.eye(4)
        affine[:3, 0] = self.k * step if along is None else along
        affine[:3, 1] = self.j * self.spacing[0]
        affine[:3, 2] = self.i * self.spacing[1]
        affine[:3, 3] = origin
        return affine

    def affines(self, step: float) -> NDArray[np.float64]:
        return np.stack([self.affine(position, step) for position in self.positions])

    def grid(self, step: float) -> Affine:
        """Affine of an even, straight stack: from the first position straight to the last."""
        n = len(self.positions)
        along = (self.positions[-1] - self.positions[0]) / (n - 1) if n > 1 else None
        return self.affine(self.positions[0], step, along)


def _check_sizes(planes: Sequence[Plane]) -> None:
    odd = next((p for p in planes if p.size != planes[0].size), None)
    if odd is not None:
        sizes = sorted({p.size for p in planes})
        shown = ", ".join(f"{r}x{c}" for r, c in sizes[:MAX_SHOWN])
        raise GeometryError(
            f"slices have different matrix sizes (rows x columns): {shown}; first differing: "
            f"{odd.name}; give a folder with one of them, or choose another series"
        )


def _check_pixel_spacing(planes: Sequence[Plane]) -> None:
    first = np.asarray(planes[0].spacing)
    for p in planes:
        if np.abs(np.asarray(p.spacing) / first - 1).max() > SAME_SPACING:
            raise GeometryError(
                f"slices have different pixel spacing: {_mm(first)} mm in {planes[0].name}, "
                f"{_mm(p.spacing or ())} mm in {p.name}; they form no volume"
            )


def _picture(plane: Plane) -> Arrangement:
    """A picture without a place: at the origin, axial."""
    row, column = plane.spacing if plane.spacing and min(plane.spacing) > 0 else (1.0, 1.0)
    affine = np.eye(4)[:, [2, 1, 0, 3]] * np.array([1.0, row, column, 1.0])
    notes: tuple[str, ...] = ("the picture does not say where it lies: put at the origin, axial",)
    if not plane.spacing:
        notes += ("it has no PixelSpacing: 1 mm taken",)
    return Arrangement(affine, (1, *plane.size), affine[None], None, notes)


def _step(
    planes: Sequence[Plane], d: NDArray[np.float64], allow_gaps: bool
) -> tuple[float, tuple[str, ...]]:
    """Distance between slices in mm, and what there is to say about it."""
    if len(planes) == 1:
        if planes[0].thickness is None:
            return 1.0, ("a single slice of unknown thickness: 1 mm taken",)
        return planes[0].thickness, ("a single slice: its spacing is its thickness",)
    mean = float(d[-1] - d[0]) / (len(d) - 1)
    off = float(np.abs(d - (d[0] + mean * np.arange(len(d)))).max())
    if off <= EVEN_SHARE * mean:
        return mean, ()
    if off <= min(ROUNDED_MM, ROUNDED_SHARE * mean):
        return mean, (
            f"slice positions are up to {off:.3f} mm off even spacing of {mean:.4g} mm, "
            "as by rounding; taken as even",
        )
    step = float(np.median(np.diff(d)))
    problem = _irregular(d, step)
    _refuse_a_mixture(planes, d)
    if not allow_gaps:
        raise IrregularSpacingError(
            f"{problem}; export the series again completely, or pass --allow-gaps to interpolate"
        )
    if d[-1] - d[0] > MAX_STRETCH * step * len(d):
        raise IrregularSpacingError(
            f"{problem}; far more slices are missing than there are, so none are interpolated"
        )
    return _even_step(d, step), (f"{problem}; interpolated to an even grid",)


def _refuse_a_mixture(planes: Sequence[Plane], d: NDArray[np.float64]) -> None:
    """Refuse stacks that are even and as far apart as stated, but lie between each other."""
    stated = planes[0].thickness
    for count in range(2, 1 + min(MAX_MIXED, len(d) // MIN_MIXED)):
        gaps = np.concatenate([np.diff(d[n::count]) for n in range(count)])
        if stated and np.abs(gaps - stated).max() <= max(EVEN_SHARE * stated, ROUNDED_MM):
            raise IrregularSpacingError(
                f"{count} stacks of {stated:.4g} mm spacing lie between each other, and nothing in "
                "their headers says which slice belongs to which; interpolation would mix them: "
                "export each by itself, or give a folder with one of them"
            )


def _even_step(d: NDArray[np.float64], step: float) -> float:
    """Spacing near ``step`` that leads exactly from the first position to the last."""
    length = float(d[-1] - d[0])
    return length / max(1, round(length / step))


def _gaps(d: NDArray[np.float64], step: float) -> bool:
    """Whether the positions are not simply first + k * step."""
    off = np.abs(d - (d[0] + step * np.arange(len(d)))).max()
    return bool(off > max(EVEN_SHARE * step, min(ROUNDED_MM, ROUNDED_SHARE * step)) * 1.0001)


def _irregular(d: NDArray[np.float64], step: float) -> str:
    gaps = np.diff(d)
    counts = np.rint(gaps / step)
    whole = (counts >= 1) & (np.abs(gaps - counts * step) <= MULTIPLE_SHARE * step)
    odd = np.flatnonzero(np.abs(gaps - step) > EVEN_SHARE * step)
    shown = ", ".join(f"{d[g]:.2f} to {d[g + 1]:.2f}" for g in odd[:MAX_SHOWN])
    more = f" and {len(odd) - MAX_SHOWN} more" if len(odd) > MAX_SHOWN else ""
    missing = int((counts - 1).sum())
    if whole.all() and missing:
        return (
            f"{missing} slice{'' if missing == 1 else 's'} missing: slices are {step:.4g} mm "
            f"apart, but not from {shown}{more} (mm along the stack)"
        )
    return (
        f"slices are unevenly spaced, {gaps.min():.4g} to {gaps.max():.4g} mm, mostly "
        f"{step:.4g} mm, but not from {shown}{more} (mm along the stack)"
    )


def _sideways(frame: _Frame, d: NDArray[np.float64]) -> tuple[NDArray[np.float64] | None, str]:
    """Sideways shift of each slice, (n, 2) pixels along j and i; None if the stack is straight."""
    if len(d) < 2:
        return None, ""
    shift = frame.lateral()
    along = d - d[0]
    slope = (along @ shift) / float(along @ along)
    residual = np.abs(shift - along[:, None] * slope) / frame.spacing
    straight = float(np.abs(slope).max()) <= STRAIGHT
    if straight and residual.max() <= STRAIGHT_PIXELS:
        return None, ""
    degrees = float(np.degrees(np.arctan(np.linalg.norm(slope))))
    if degrees > MAX_TILT_DEGREES:
        raise GantryTiltError(
            f"the stack is sheared by {degrees:.0f} degrees, more than {MAX_TILT_DEGREES:.0f}: "
            "its images do not form a volume"
        )
    if residual.max() <= STRAIGHT_PIXELS:
        note = f"the stack is sheared by {degrees:.2f} degrees (gantry tilt)"
    else:
        most = float(np.linalg.norm(shift, axis=1).max())
        note = f"slices are shifted sideways by up to {most:.2f} mm"
        _check_overlap(shift / frame.spacing, frame.size)
    note += "; corrected by shifting each slice within its plane, with linear interpolation"
    return shift / frame.spacing, note


def _check_overlap(shift: NDArray[np.float64], size: tuple[int, int]) -> None:
    extent = np.ptp(shift, axis=0)
    if (extent > np.array(size)).any():
        raise OrientationError(
            f"slices do not lie above each other: they are shifted sideways by up to "
            f"{extent[0]:.0f} rows and {extent[1]:.0f} columns, more than the images are large"
        )


def _resampled(
    frame: _Frame,
    along: NDArray[np.float64],
    step: float,
    sideways: NDArray[np.float64] | None,
    affines: NDArray[np.float64],
    notes: tuple[str, ...],
) -> Arrangement:
    """Orthogonal grid that holds all slices; the middle slice's pixels lie on it exactly.

    ``along`` is where the slices lie, in slice distances; whole numbers if they are (as good as)
    even, so that neighbours are never mixed because positions were rounded.
    """
    n = len(along)
    offsets = np.zeros((n, 3))
    offsets[:, 0] = along
    if sideways is not None:
        offsets[:, 1:] = sideways - sideways[n // 2]
    first = np.floor(offsets[:, 1:].min(axis=0) + 1e-6)
    last = np.ceil(offsets[:, 1:].max(axis=0) - 1e-6)
    offsets[:, 1:] -= first
    rows, columns = (int(v) for v in np.array(frame.size) + last - first)
    depth = round(float(offsets[-1, 0])) + 1
    middle = frame.affine(frame.positions[n // 2], step)
    affine = middle.copy()
    affine[:3, 3] = (middle @ np.append(-offsets[n // 2], 1.0))[:3]
    return Arrangement(affine, (depth, rows, columns), affines, offsets, notes)


def _mm(values: Sequence[float] | NDArray[np.float64]) -> str:
    return "x".join(f"{v:.4g}" for v in values)
