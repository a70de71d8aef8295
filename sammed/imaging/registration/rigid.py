"""Images of one person, of whatever kind: turned and shifted by their mutual information, guarded.

Mutual information (Viola and Wells 1997, doi:10.1023/A:1007958904918; Mattes et al. 2003,
doi:10.1109/TMI.2003.809072) needs no likeness of intensities. It is no more exact than scanners'
own positions are where the person lay still, so that the header is believed unless much speaks
against it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from sammed.imaging.registration.alignment import (
    THREADS,
    Alignment,
    correlation_of,
    raise_stopped,
    watched,
)
from sammed.imaging.registration.pictures import Grey, at_most, check_pair
from sammed.imaging.volume import OnGrid

BELIEVED_MM = 1.5
"""The header stays unless registration moves the image farther than this, on the mean. Of seven
pairs of MR channels five were moved by less, and had been nearer to the truth before; two people
had moved by 3.0 and 5.5 mm."""

GAIN = 0.01
"""By so much, as a share, mutual information has to rise for the image to be moved."""

MOST_VOXELS = 128**3
_BINS = 50
_SHARE = 0.1
_SEED = 20


@dataclass(frozen=True, eq=False)
class Moved:
    """What became of an image that was to be aligned.

    Attributes
    ----------
    alignment
        To be used: what was found, or the header's.
    found_mm
        How far registration would move it, on the mean over the fixed image.
    before, after
        Mutual information by the header, and after it was moved.
    taken
        Whether it was moved.
    """

    alignment: Alignment
    found_mm: float
    before: float
    after: float
    taken: bool

    def say(self) -> str:
        """What was done, in words."""
        gain = f"mutual information {self.before:.3f} → {self.after:.3f}"
        if self.taken:
            return f"moved by {self.found_mm:.1f} mm ({gain})"
        return f"left where the header has it (would move {self.found_mm:.1f} mm; {gain})"


def header(flat: int = -1) -> Alignment:
    """Where the files say that things are."""
    return Alignment(sitk.Transform(2 if flat >= 0 else 3, sitk.sitkIdentity), 0.0, flat=flat)


def guarded_rigid(
    fixed: Grey,
    moving: Grey,
    on: OnGrid,
    *,
    always: bool = False,
    check: Callable[[], None] | None = None,
) -> Moved:
    """Turn and shift an image of the same person onto another, if that is called for.

    Parameters
    ----------
    fixed, moving
        The images.
    on
        The grid over which it is measured how far the image is moved.
    always
        Move it in any case.
    check
        Called at each step; may raise.
    """
    check_pair(fixed, moving)
    still, other = at_most(fixed.image, MOST_VOXELS), at_most(moving.image, MOST_VOXELS)
    stays = header(fixed.flat)
    before = _information(still, other, stays.transform)
    turn = _registered(still, other, check)
    after = _information(still, other, turn)
    found = Alignment(turn, correlation_of(still, other, turn), flat=fixed.flat)
    mm = found.moved_mm(on.affine, on.shape)
    better = after > before * (1 + GAIN)
    taken = always or (better and mm > BELIEVED_MM)
    return Moved(found if taken else stays, mm, before, after, taken)


def _registered(still: Any, other: Any, check: Callable[[], None] | None) -> Any:
    flat = still.GetDimension() == 2
    turn: Any = sitk.Euler2DTransform() if flat else sitk.Euler3DTransform()
    middle = [(n - 1) / 2 for n in still.GetSize()]
    turn.SetCenter(still.TransformContinuousIndexToPhysicalPoint(middle))
    method = _method(still)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 200, 0.5, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel((4, 2, 1))
    method.SetSmoothingSigmasPerLevel((2, 1, 0))
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(turn, True)
    stopped = watched(method, check)
    try:
        method.Execute(still, other)
    except RuntimeError:
        raise_stopped(stopped)
        return sitk.Transform(still.GetDimension(), sitk.sitkIdentity)
    raise_stopped(stopped)
    return turn


def _method(still: Any) -> Any:
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(THREADS)
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricSamplingStrategy(method.REGULAR)
    points = np.prod(still.GetSize(), dtype=np.int64)
    method.SetMetricSamplingPercentage(float(min(1.0, max(_SHARE, 20_000 / points))), _SEED)
    method.SetInterpolator(sitk.sitkLinear)
    return method


def information(fixed: Grey, moving: Grey, alignment: Alignment) -> float:
    """Mutual information of two images after an alignment."""
    still, other = at_most(fixed.image, MOST_VOXELS), at_most(moving.image, MOST_VOXELS)
    moved = sitk.Resample(other, still, alignment.transform, sitk.sitkLinear, 0.0)
    return _information(still, moved, sitk.Transform(still.GetDimension(), sitk.sitkIdentity))


def _information(still: Any, other: Any, transform: Any) -> float:
    """Mutual information of two images where both show something."""
    method = _method(still)
    method.SetInitialTransform(sitk.Transform(transform))
    try:
        return -float(method.MetricEvaluate(still, other))
    except RuntimeError:
        return 0.0
