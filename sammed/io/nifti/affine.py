"""Where a NIfTI file's voxels are: its sform, its qform, or voxel sizes alone.

The sform counts where its code is set, else the qform, else voxel sizes alone. A sform that is
sheared or unusable gives way to a sound qform. Where both are set and disagree the sform is used
and the user is warned, for other readers may choose the qform.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nibabel.quaternions import quat2mat
from numpy.typing import NDArray

from sammed.errors import OrientationError
from sammed.imaging import geometry
from sammed.imaging.geometry import Affine
from sammed.io.voxels import Notes

DISAGREEMENT_MM = 0.1
"""A qform and a sform whose corners are further apart than this disagree."""

QUATERNION_EXCESS = 1e-4
"""By how much rounding may make a qform's quaternion longer than 1; the format's own library
normalises it, nibabel refuses from 2e-7 on."""

HALF_TURN = 1e-7
"""Squares of a quaternion's first number below this are rounding: the turn is by 180 degrees."""

SPACING_DISAGREEMENT = 1e-2
"""Relative difference between pixdim and the sform's voxel size that is worth a warning."""

_UNIT_IN_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 1e-3}


def choose_affine(header: Any, shape: tuple[int, int, int], path: Path, notes: Notes) -> Affine:
    """Map of the stored index to the patient, by the policy at the top of this module.

    Parameters
    ----------
    header
        A NIfTI header.
    shape
        Extents (i, j, k).
    path
        Named in messages.
    notes
        Receives what is odd.

    Returns
    -------
    (4, 4) float64
        From the stored index (k, j, i) to LPS mm.

    Raises
    ------
    OrientationError
        If no form is usable.
    """
    sform = _checked(header.get_sform(coded=True)[0])
    qform = _checked(_qform(header))
    if sform is None and qform is None:
        affine = _without_forms(header, path, notes)
    elif sform is None or qform is None:
        affine = _only_form(header, sform, qform, notes)
    else:
        affine = sform
        _warn_if_apart(sform, qform, shape, notes)
    _warn_of_pixdim(header, affine, notes)
    return geometry.check_affine(_in_mm(header, geometry.affine_from_ras(affine), notes), str(path))


def _qform(header: Any) -> NDArray[np.float64] | None:
    """The qform in double precision, as the format's own library computes it; None without one."""
    bcd = np.array([float(header[f"quatern_{axis}"]) for axis in "bcd"])
    length = float(np.linalg.norm(bcd))
    if int(header["qform_code"]) <= 0 or not length <= 1 + QUATERNION_EXCESS:
        return None
    rest = 1 - length**2
    quaternion = [0.0, *(bcd / length)] if rest < HALF_TURN else [np.sqrt(rest), *bcd]
    sizes = np.array(header["pixdim"][1:4], np.float64)
    sizes[2] *= -1 if float(header["pixdim"][0]) == -1 else 1
    form = np.eye(4)
    form[:3, :3] = quat2mat(quaternion) * sizes
    form[:3, 3] = [float(header[f"qoffset_{axis}"]) for axis in "xyz"]
    return form


def _checked(form: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """The form, or nothing if it is absent, singular or sheared."""
    if form is None:
        return None
    try:
        return geometry.check_affine(form)
    except OrientationError:
        return None


def _only_form(
    header: Any,
    sform: NDArray[np.float64] | None,
    qform: NDArray[np.float64] | None,
    notes: Notes,
) -> NDArray[np.float64]:
    if sform is not None:
        if int(header["qform_code"]) > 0:
            notes.warn("its qform is unusable; the sform is used")
        return sform
    if int(header["sform_code"]) > 0:
        notes.warn("its sform is sheared or unusable; the qform is used")
    return qform if qform is not None else np.eye(4)


def _without_forms(header: Any, path: Path, notes: Notes) -> NDArray[np.float64]:
    if int(header["sform_code"]) > 0:  # raises with what is wrong
        geometry.check_affine(header.get_sform(), str(path))
    if int(header["qform_code"]) > 0:
        raise OrientationError(f"{path} has a qform that is no rotation; repair its header")
    notes.warn(
        "it has neither a sform nor a qform, only voxel sizes: left and right are assumed as "
        "Analyze stored them (first axis towards the patient's left)"
    )
    return np.asarray(header.get_base_affine(), np.float64)


def _warn_if_apart(
    sform: NDArray[np.float64],
    qform: NDArray[np.float64],
    shape: tuple[int, int, int],
    notes: Notes,
) -> None:
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    corners = corners * (np.array(shape) - 1)
    moved = geometry.apply_affine(sform, corners) - geometry.apply_affine(qform, corners)
    furthest = float(np.linalg.norm(moved, axis=1).max())
    if furthest > DISAGREEMENT_MM:
        notes.warn(
            f"its sform and qform disagree by up to {furthest:.4g} mm; the sform is used, and "
            "other programs may use the qform"
        )


def _warn_of_pixdim(header: Any, affine: NDArray[np.float64], notes: Notes) -> None:
    said = np.array(header.get_zooms()[:3], np.float64)
    used = np.array(geometry.spacing(affine))[: said.size]
    if (np.abs(said - used) > SPACING_DISAGREEMENT * used).any():
        notes.warn(
            f"its voxel sizes {_mm(said)} contradict its affine, which gives {_mm(used)}; the "
            "affine is used, and other programs may use the voxel sizes"
        )


def _in_mm(header: Any, affine: Affine, notes: Notes) -> Affine:
    """The affine in mm, should the header state another unit of length."""
    factor = _UNIT_IN_MM.get(int(header["xyzt_units"]) % 8, 1.0)
    if factor == 1.0:
        return affine
    notes.warn(f"its unit of length is {factor:g} mm; positions were converted to mm")
    return np.asarray(np.diag([factor, factor, factor, 1.0]) @ affine)


def _mm(values: NDArray[np.float64]) -> str:
    return "x".join(f"{v:.4g}" for v in values) + " mm"
