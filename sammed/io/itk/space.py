"""What NRRD and MetaImage headers say of places and values, and ITK does not heed.

ITK takes every number for millimetres and every frame that is not RAS or LAS for LPS.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from sammed.errors import OrientationError
from sammed.imaging import geometry
from sammed.imaging.geometry import Affine
from sammed.io.itk.header import Header
from sammed.io.voxels import Notes

_IN_MM = {
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1.0),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometre"), 1e-3),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre"), 10.0),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1e3),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-6),
    **dict.fromkeys(("in", "inch", "inches"), 25.4),
}

_PATIENT = ("ras", "las", "lps", "rast", "last", "lpst")
"""Spaces whose axes are a patient's, by their letters."""

_SIZES = ("spacings", "spacedirections", "axismins", "elementspacing", "elementsize")
"""Fields that give voxel sizes."""

_NOT_SPATIAL = re.compile(
    r"(list|point|vector|covariant-vector|normal|stub|scalar|complex|quaternion)$"
    r"|.*(-vector|-color|-normal|-gradient|-matrix|-point)$|(rgb|hsv|xyz)|time$"
)
"""Kinds of a NRRD's axes along which there is no distance."""

_ASSUMED = "left, posterior and superior were assumed"


def placed(affine: Affine, header: Header, notes: Notes) -> Affine:
    """ITK's map of the stored index (k, j, i) to LPS mm, with what else the header says.

    Parameters
    ----------
    affine
        As ITK has it.
    header
        The file's.
    notes
        Receives what was converted and what was assumed.

    Raises
    ------
    OrientationError
        If the header's numbers describe no grid.
    """
    if not any(key in header.fields for key in _SIZES):
        notes.note("it has no voxel size: 1 mm was assumed")
    if header.is_nrrd:
        _note_space(header, notes)
        return _in_mm(affine, header, notes) @ _by_limits(header, notes)
    _note_orientation(affine, header, notes)
    factor = _factor(header.fields.get("distanceunits", ""), notes)
    return np.asarray(np.diag([factor, factor, factor, 1.0]) @ affine)


def intensity(header: Header, notes: Notes) -> tuple[float, float]:
    """Slope and intercept that a MetaImage header states: real value = slope * stored + intercept.

    Parameters
    ----------
    header
        The file's; 1 and 0 if it is NRRD.
    notes
        Receives that values were rescaled.
    """
    slope, intercept = (
        _number(header.fields.get(f"elementtointensityfunction{name}", ""), default)
        for name, default in (("slope", 1.0), ("offset", 0.0))
    )
    if header.is_nrrd:
        if limits := [key for key in ("oldmin", "oldmax") if key in header.fields]:
            said = ", ".join(header.fields[key] for key in limits)
            notes.warn(
                f"its values were once others (old min and max {said}); the stored ones are used, "
                "as in ITK and 3D Slicer"
            )
        return 1.0, 0.0
    if (slope, intercept) == (1.0, 0.0):
        return 1.0, 0.0
    if slope == 0 or not np.isfinite([slope, intercept]).all():
        notes.warn(f"its ElementToIntensityFunction, {slope:g} and {intercept:g}, does not count")
        return 1.0, 0.0
    notes.warn(
        f"values are {slope:g} times the stored ones, plus {intercept:g}, as its "
        "ElementToIntensityFunction says; ITK and 3D Slicer show the stored ones"
    )
    return slope, intercept


def _note_space(header: Header, notes: Notes) -> None:
    """Say it when the frame is not a patient's."""
    space = header.fields.get("space", "").lower()
    letters = "".join(word[0] for word in space.split("-") if word)
    if space in _PATIENT or (letters in _PATIENT and "-" in space):
        return
    why = f"its space is {space!r}" if space else "it has no space"
    if len(_spatial_axes(header)) > 2:
        tell = notes.note if "spacedirections" in header.fields else notes.warn
        tell(f"{why}, which does not say where its axes point; {_ASSUMED}")


def _in_mm(affine: Affine, header: Header, notes: Notes) -> Affine:
    """With lengths in mm: along the axes of the space, or of the voxels."""
    along_world = re.findall(r'"([^"]*)"', header.fields.get("spaceunits", ""))[:3]
    if along_world:
        scale = [_factor(unit, notes) for unit in along_world]
        return np.asarray(np.diag([*scale, *[1.0] * (4 - len(scale))]) @ affine)
    units = re.findall(r'"([^"]*)"', header.fields.get("units", ""))
    scale = [_factor(units[axis], notes) for axis in _spatial_axes(header) if axis < len(units)]
    if not scale or "spacedirections" in header.fields:
        return affine
    # without directions, the axes of the voxels are those of the space
    return np.asarray(np.diag([*scale, *[1.0] * (4 - len(scale))]) @ affine)


def _by_limits(header: Header, notes: Notes) -> Affine:
    """Voxel sizes that only the limits of the axes give; ITK heeds them for the origin alone."""
    fields = header.fields
    if "axismins" not in fields or "spacedirections" in fields:
        return np.eye(4)
    sizes, low, high, spacing = (
        dict(enumerate(_number(word, np.nan) for word in fields.get(key, "").split()))
        for key in ("sizes", "axismins", "axismaxs", "spacings")
    )
    centers = fields.get("centerings", fields.get("centers", "")).split()
    scale = np.ones(3)
    for index, axis in enumerate(_spatial_axes(header)):
        limits = high.get(axis, np.nan) - low.get(axis, np.nan)
        if np.isfinite(spacing.get(axis, np.nan)) or not np.isfinite(limits):
            continue
        steps = sizes[axis] - (centers[axis : axis + 1] == ["node"])
        if not (steps > 0 and limits != 0):
            raise OrientationError(f"{header.path} has limits of its axes that give no voxel size")
        scale[index] = limits / steps
    if (scale != 1).any():
        notes.note("its voxel sizes were computed from the limits of its axes")
    return np.diag([*scale[::-1], 1.0])


def _spatial_axes(header: Header) -> list[int]:
    """The first three axes of a NRRD along which there is distance."""
    kinds = header.fields.get("kinds", "").lower().split()
    count = len(header.fields.get("sizes", "").split())
    kinds += ["domain"] * (count - len(kinds))
    return [n for n, kind in enumerate(kinds[:count]) if not _NOT_SPATIAL.match(kind)][:3]


def _note_orientation(affine: Affine, header: Header, notes: Notes) -> None:
    """Say what of a MetaImage header ITK passes over, and what it assumes."""
    fields = header.fields
    turns = [key for key in ("transformmatrix", "rotation", "orientation") if key in fields]
    if len(fields.get("dimsize", "").split()) < 3:
        return
    if not turns:
        notes.note(f"it does not say where its axes point; {_ASSUMED}")
    said = fields.get("anatomicalorientation", "").upper()
    swap = str.maketrans("RLAPIS", "LRPASI")
    if sorted(said.translate(str.maketrans("RAS", "LPI"))) == sorted("LPI"):
        used = geometry.axis_codes(geometry.check_affine(affine, str(header.path)))[::-1]
        if used != said.translate(swap):  # MetaImage's letters say where axes come from
            notes.note(
                f"its AnatomicalOrientation {said} contradicts its TransformMatrix, which means "
                f"{used.translate(swap)} and is used"
            )
    centre = [_number(word, 0.0) for word in fields.get("centerofrotation", "").split()]
    if any(centre) and turns and not _is_identity(fields[turns[0]]):
        notes.note("its CenterOfRotation was not heeded, as in ITK")


def _is_identity(text: str) -> bool:
    matrix: NDArray[np.float64] = np.array([_number(word, np.nan) for word in text.split()])
    n = round(matrix.size**0.5)
    return matrix.size == n * n and bool(np.array_equal(matrix.reshape(n, n), np.eye(n)))


def _factor(unit: str, notes: Notes) -> float:
    """Millimetres of a unit of length; an unknown one counts as a millimetre, with a warning."""
    unit = unit.strip()
    if unit in ("", "?", "???"):
        return 1.0
    factor = _IN_MM.get(unit.lower())
    if factor is None:
        text = f"its unit of length, {unit!r}, is unknown; millimetres were assumed"
    elif factor == 1.0:
        return 1.0
    else:
        text = f"its unit of length is {unit}; positions were converted to mm"
    if text not in notes.texts:
        notes.warn(text)
    return factor or 1.0


def _number(text: str, default: float) -> float:
    try:
        return float(text)
    except ValueError:
        return default
