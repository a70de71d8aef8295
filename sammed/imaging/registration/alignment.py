"""Images of one kind brought together: affine by their correlation, deformable by demons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy import ndimage

from sammed.imaging import geometry
from sammed.imaging.geometry import Affine, Shape3
from sammed.imaging.registration.pictures import (
    NOTHING,
    Grey,
    at_most,
    itk_image,
    shrunk,
    smoothed,
)

MIDDLE = 64**3
"""Voxels at most while whole images are brought together by an affine transform."""

FINE = 96**3
"""Voxels at most while the neighbourhood of objects is deformed: a tenth of a second a step."""

LEAST_OVERLAP = 0.3
"""Share of the smaller image that the other must cover for a place to count."""

ROUNDS = 40
"""Steps of the demons on each level; 60 and 120 changed Dice of hippocampi by 0.003."""

AT_A_TIME = 8
"""Steps between two questions whether to go on: the filter itself cannot be stopped. They take a
quarter of a second at most, and give what all in one go would give."""

SMOOTH = 1.0
"""Voxels; the field of the demons is smoothed by so much after each step. Hippocampi, 80 pairs:
five examples 0.8576 with 1.0, 0.8545 with 1.3."""

STILL = 1.1
"""Voxels by which two scans of one person are smoothed before a lesion is followed by bending the
one onto the other: see `followed`."""

FOLLOWED = 56
"""Steps of the demons then; they come to rest before."""

CONTRAST_MM = 5.0
"""Images are brought to a local mean of 0 and deviation of 1 over so many mm before they are
deformed: of 60 pairs of hippocampi one example had 0.809 with it and 0.803 without."""

FLATTEST = 0.02
"""Deviation, of a window of 1, below which a neighbourhood is taken for flat."""

THREADS = 1
"""Of each filter: sums over several would depend on how many there are. Who has more cores aligns
several examples at a time."""

_SEED = 20


@dataclass(frozen=True, eq=False)
class Alignment:
    """Takes points of the fixed image to points of the moving one.

    Attributes
    ----------
    transform
        SimpleITK's, from LPS mm to LPS mm.
    similarity
        Correlation of the two where they overlap, after it, from -1 to 1.
    deforms
        Whether it bends.
    flat
        See `Grey`.
    """

    transform: Any
    similarity: float
    deforms: bool = False
    flat: int = -1

    def carry(
        self,
        voxels: NDArray[np.generic],
        affine: Affine,
        onto: Affine,
        shape: Shape3,
        *,
        nearest: bool = False,
        outside: float = NOTHING,
    ) -> NDArray[Any]:
        """Values of the moving image on the fixed one's grid.

        Parameters
        ----------
        voxels : (z, y, x)
            On the moving image's grid.
        affine : (4, 4)
            Of that grid, index (z, y, x) to LPS mm.
        onto, shape
            The grid to take.
        nearest
            Take the nearest voxel's value, not a mixture.
        outside
            The value where it shows nothing.

        Returns
        -------
        (z, y, x)
            Of the type of ``voxels``.
        """
        grid = itk_image(np.zeros(shape, np.uint8), onto, self.flat)
        moving = itk_image(voxels, affine, self.flat)
        kind = sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear
        moved = sitk.Resample(moving, grid, self.transform, kind, outside)
        return np.asarray(sitk.GetArrayFromImage(moved)).reshape(shape)

    def moved_mm(self, affine: Affine, shape: Shape3) -> float:
        """How far it moves the points of a grid, in mm: the mean over a coarse net of them."""
        axes = [np.linspace(0, n - 1, min(n, 7)) for n in shape]
        index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        points = geometry.apply_affine(affine, index)
        if self.flat >= 0:
            return float("nan")
        there = np.array([self.transform.TransformPoint([float(v) for v in p]) for p in points])
        return float(np.linalg.norm(there - points, axis=1).mean())

    def stretch(self, onto: Affine, shape: Shape3) -> NDArray[np.float32]:
        """How much a neighbourhood grows on its way to the moving image, (z, y, x): the Jacobian.

        1 where volumes are kept, 0 and less where space is folded.
        """
        reference = itk_image(np.zeros(shape, np.uint8), onto, self.flat)
        size, origin = reference.GetSize(), reference.GetOrigin()
        field = sitk.TransformToDisplacementField(
            self.transform, sitk.sitkVectorFloat64, size, origin, reference.GetSpacing(),
            reference.GetDirection(),
        )  # fmt: skip
        found = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field))
        return np.asarray(found, np.float32).reshape(shape)


def affine(
    fixed: Grey,
    moving: Grey,
    start: Alignment,
    *,
    region: Any = None,
    rigid: bool = False,
    check: Callable[[], None] | None = None,
) -> Alignment:
    """Bring two images of one kind together by an affine transform, by their correlation.

    Parameters
    ----------
    fixed, moving
        The images.
    start
        From where.
    region
        A part of the fixed image; by default all of it.
    rigid
        Turn and shift alone.
    check
        Called at each step; may raise.
    """
    wanted = at_most(fixed.image if region is None else region, MIDDLE)
    source = at_most(moving.image, MIDDLE * 2)
    begin = _as_affine(start.transform, wanted, rigid)
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(THREADS)
    method.SetMetricAsCorrelation()
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(_share(wanted, 40_000), _SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 0.01, 100, 0.5, 1e-5)
    method.SetOptimizerScalesFromPhysicalShift()
    levels = (2, 1) if min(wanted.GetSize()) >= 16 else (1,)
    method.SetShrinkFactorsPerLevel(levels)
    method.SetSmoothingSigmasPerLevel([0.5 * max(wanted.GetSpacing()) * n for n in levels])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(begin, True)
    stopped = watched(method, check)
    try:
        method.Execute(wanted, source)
    except RuntimeError:
        raise_stopped(stopped)
        return start  # too little overlap for the metric: what there was stays
    raise_stopped(stopped)
    found = Alignment(begin, correlation_of(wanted, source, begin), flat=fixed.flat)
    before = correlation_of(wanted, source, start.transform)
    return found if found.similarity > before else Alignment(
        start.transform, before, start.deforms, start.flat
    )  # fmt: skip


def deformed(
    fixed: Grey,
    moving: Grey,
    start: Alignment,
    *,
    region: Any = None,
    check: Callable[[], None] | None = None,
    contrast: bool = True,
) -> Alignment:
    """Bend one image onto the other, by symmetric-forces demons on two levels.

    Thirion 1998, doi:10.1016/S1361-8415(98)80022-4; Vercauteren et al. 2009,
    doi:10.1016/j.neuroimage.2008.10.040.

    Parameters
    ----------
    fixed, moving, start, region, check
        As `affine`.
    contrast
        Whether images are brought to one local contrast first: not where values mean the same in
        both, as in CT (20 organs of synthetic abdomens: 0.85 without, 0.76 with it).
    """
    wanted = at_most(fixed.image if region is None else region, FINE)
    first, second = _to_bend(wanted, moving, start, contrast)
    field: Any = None
    for shrink in (2, 1):
        low = shrunk(first, shrink)
        other = sitk.Resample(smoothed(second, shrink), low)
        if field is not None:
            field = sitk.Resample(field, low)
        field = _demons(low, other, field, ROUNDS, check)
    return _bent(start, field, wanted, fixed, moving)


def followed(
    fixed: Grey,
    moving: Grey,
    start: Alignment,
    region: Any,
    *,
    check: Callable[[], None] | None = None,
    contrast: bool = True,
) -> Alignment:
    """Bend the neighbourhood of something that has grown or shrunk until its borders meet.

    As `deformed`, but on the voxels as they are, both smoothed by `STILL` voxels first.

    Parameters
    ----------
    fixed, moving, start, region, check, contrast
        As of `deformed`.
    """
    wanted = at_most(region, FINE)
    first, second = _to_bend(wanted, moving, start, contrast)
    if min(wanted.GetSize()) >= 4:
        width = [STILL * s for s in wanted.GetSpacing()]
        first, second = (sitk.SmoothingRecursiveGaussian(one, width) for one in (first, second))
    field = _demons(first, second, None, FOLLOWED, check)
    return _bent(start, field, wanted, fixed, moving)


def _to_bend(wanted: Any, moving: Grey, start: Alignment, contrast: bool) -> tuple[Any, Any]:
    """Both images on one grid, of one local contrast if that is wished."""
    moved = sitk.Resample(moving.image, wanted, start.transform, sitk.sitkLinear, NOTHING)
    return (_locally(wanted), _locally(moved)) if contrast else (wanted, moved)


def _bent(start: Alignment, field: Any, wanted: Any, fixed: Grey, moving: Grey) -> Alignment:
    """A transform, and a field after it."""
    bent = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    whole = sitk.CompositeTransform([start.transform, bent])
    return Alignment(whole, correlation_of(wanted, moving.image, whole), True, fixed.flat)


def _demons(
    fixed: Any, moving: Any, field: Any, steps: int, check: Callable[[], None] | None
) -> Any:
    """Some steps of the demons, from a field or from none."""
    for _ in range(steps // AT_A_TIME):
        if check is not None:
            check()
        field = _some_demons(fixed, moving, field)
    return field


def _some_demons(fixed: Any, moving: Any, field: Any) -> Any:
    demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
    demons.SetNumberOfThreads(THREADS)
    demons.SetNumberOfIterations(AT_A_TIME)
    demons.SetSmoothDisplacementField(True)
    demons.SetStandardDeviations(SMOOTH)
    return demons.Execute(fixed, moving, *(() if field is None else (field,)))


def local_likeness(
    a: NDArray[np.float32], b: NDArray[np.float32], spacing: Sequence[float], mm: float
) -> NDArray[np.float32]:
    """Correlation of two images round each voxel, within a Gaussian of so many mm, -1 to 1."""
    width = [mm / s if n > 1 else 0.0 for s, n in zip(spacing, a.shape, strict=True)]

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(ndimage.gaussian_filter(values, width), np.float32)

    mean_a, mean_b = mean(a), mean(b)
    floor = FLATTEST**2
    spread = (mean(a * a) - mean_a**2 + floor) * (mean(b * b) - mean_b**2 + floor)
    found = (mean(a * b) - mean_a * mean_b) / np.sqrt(np.maximum(spread, floor**2))
    return np.asarray(np.clip(found, -1, 1), np.float32)


def _locally(image: Any) -> Any:
    """Local mean 0 and deviation 1, so that the same edge has the same height in both."""
    values: NDArray[np.float32] = sitk.GetArrayFromImage(image)
    width = [CONTRAST_MM / s for s in image.GetSpacing()[::-1]]
    mean = ndimage.gaussian_filter(values, width)
    spread = ndimage.gaussian_filter(values * values, width) - mean * mean
    height = np.sqrt(np.maximum(spread, 0) + FLATTEST**2)
    even = np.asarray((values - mean) / height)
    found = sitk.GetImageFromArray(even.astype(np.float32))
    found.CopyInformation(image)
    return found


def _as_affine(transform: Any, wanted: Any, rigid: bool) -> Any:
    """A transform that may be optimised, which begins where another stands."""
    size = wanted.GetDimension()
    middle = wanted.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in wanted.GetSize()])
    step = np.eye(size)
    there = np.array(transform.TransformPoint(middle))
    if rigid:
        turn: Any = sitk.Euler3DTransform() if size == 3 else sitk.Euler2DTransform()
    else:
        turn = sitk.AffineTransform(size)
        columns = [np.array(transform.TransformPoint(np.array(middle) + e)) - there for e in step]
        turn.SetMatrix([float(v) for v in np.stack(columns, axis=1).ravel()])
    turn.SetCenter(middle)
    turn.SetTranslation([float(v) for v in there - np.array(middle)])
    return turn


def correlation_of(fixed: Any, moving: Any, transform: Any) -> float:
    """Of the values of two images where both show something."""
    moved = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkLinear, -1.0))
    values = sitk.GetArrayFromImage(fixed)
    both = moved > -0.5
    if np.count_nonzero(both) < max(8, LEAST_OVERLAP / 3 * both.size):
        return 0.0
    a, b = values[both], moved[both]
    if a.std() < 1e-6 or b.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _share(image: Any, points: int) -> float:
    size = int(np.prod(image.GetSize(), dtype=np.int64))
    return min(1.0, points / max(1, size))


def watched(method: Any, check: Callable[[], None] | None) -> list[BaseException]:
    """Let a filter be stopped between its steps; what stopped it is kept in the list.

    Ctrl-C is among that: Python sees it in here, and not before the filter has ended.
    """
    stopped: list[BaseException] = []

    def look() -> None:
        try:
            if check is not None:
                check()
        except BaseException as error:  # raised again by `raise_stopped`, once the filter is out
            stopped.append(error)
            getattr(method, "StopRegistration", method.Abort)()

    method.AddCommand(sitk.sitkIterationEvent, look)
    return stopped


def raise_stopped(stopped: list[BaseException]) -> None:
    """Go on with what stopped a filter."""
    if stopped:
        raise stopped[0]
