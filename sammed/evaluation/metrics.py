"""How well one mask agrees with another: overlap, surface distances in mm, volumes in ml.

Rules for empty masks, the same everywhere: see `Scores.outcome`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sammed.errors import EvaluationError, GridMismatchError
from sammed.evaluation.objects import Key, key_order, mask_of
from sammed.imaging import geometry
from sammed.imaging.boxes import Box3D
from sammed.imaging.volume import LabelVolume

TOLERANCE_MM = 2.0
"""Deviation of a surface that NSD still counts as right (the CVPR 2024 challenge's value)."""

FAILURE_DICE = 0.1
"""An object whose Dice lies below this is a failure, and is listed."""

DISTANCE_SLACK_MM = 1e-4
"""A distance that exceeds the tolerance by less is within it."""

Bool3 = NDArray[np.bool_]
Outcome = Literal["found", "missed", "invented", "both-empty"]


@dataclass(frozen=True)
class Scores:
    """Agreement of one predicted mask with its reference.

    Attributes
    ----------
    dice, iou
        In [0, 1]; 1 if both masks are empty, 0 if one is.
    nsd
        Normalised surface Dice at a tolerance in mm, in [0, 1]; 1 if both are empty, 0 if one is.
    hd95_mm
        The larger of the two directed 95th percentiles of surface distance, in mm; 0 if both are
        empty, NaN (undefined) if one is.
    msd_mm
        Mean surface distance in mm, over both surfaces; 0 if both are empty, NaN if one is.
    sensitivity
        Share of the reference that was found, in [0, 1]; NaN if the reference is empty.
    precision
        Share of the prediction that is right, in [0, 1]; NaN if the prediction is empty.
    volume_ml, reference_ml
        Volumes in ml.
    outcome
        ``"found"``: neither is empty (they need not overlap); ``"missed"``: the prediction is
        empty; ``"invented"``: the reference is; ``"both-empty"``. Means leave NaN out, and count
        the outcomes apart.
    """

    dice: float
    iou: float
    nsd: float
    hd95_mm: float
    msd_mm: float
    sensitivity: float
    precision: float
    volume_ml: float
    reference_ml: float
    outcome: Outcome

    @property
    def difference_ml(self) -> float:
        """Predicted minus reference volume in ml."""
        return self.volume_ml - self.reference_ml

    @property
    def failed(self) -> bool:
        """Whether Dice is below `FAILURE_DICE`."""
        return self.dice < FAILURE_DICE

    def as_dict(self) -> dict[str, float | str]:
        """All values by name, ``difference_ml`` among them."""
        return {**asdict(self), "difference_ml": self.difference_ml}


def score(
    prediction: Bool3,
    reference: Bool3,
    spacing: tuple[float, float, float],
    tolerance_mm: float = TOLERANCE_MM,
) -> Scores:
    """Every score of one mask against its reference.

    Parameters
    ----------
    prediction, reference : (z, y, x) bool
        On one grid. A grid one voxel thick along an axis is a picture: its surfaces are outlines
        in that plane.
    spacing
        Voxel size (z, y, x) in mm.
    tolerance_mm
        For NSD, in mm.

    Raises
    ------
    GridMismatchError
        If the shapes differ.
    EvaluationError
        If the tolerance is negative.
    """
    if prediction.shape != reference.shape:
        raise GridMismatchError(
            f"prediction has shape {prediction.shape}, reference {reference.shape} (z, y, x); "
            "expected one grid"
        )
    if not tolerance_mm >= 0:
        raise EvaluationError(f"tolerance is {tolerance_mm} mm; expected 0 or more")
    n_pred, n_ref = int(np.count_nonzero(prediction)), int(np.count_nonzero(reference))
    common = int(np.count_nonzero(prediction & reference))
    outcome = _outcome(n_pred, n_ref)
    nsd, hd95, msd = _surface_scores(prediction, reference, spacing, tolerance_mm, outcome)
    voxel_ml = float(np.prod(spacing)) / 1000
    union = n_pred + n_ref - common
    return Scores(
        dice=2 * common / (n_pred + n_ref) if union else 1.0,
        iou=common / union if union else 1.0,
        nsd=nsd,
        hd95_mm=hd95,
        msd_mm=msd,
        sensitivity=common / n_ref if n_ref else math.nan,
        precision=common / n_pred if n_pred else math.nan,
        volume_ml=n_pred * voxel_ml,
        reference_ml=n_ref * voxel_ml,
        outcome=outcome,
    )


def _outcome(n_prediction: int, n_reference: int) -> Outcome:
    if n_prediction and n_reference:
        return "found"
    if n_reference:
        return "missed"
    return "invented" if n_prediction else "both-empty"


def _surface_scores(
    prediction: Bool3,
    reference: Bool3,
    spacing: tuple[float, float, float],
    tolerance_mm: float,
    outcome: Outcome,
) -> tuple[float, float, float]:
    """(NSD, HD95 in mm, mean surface distance in mm)."""
    if outcome == "both-empty":
        return 1.0, 0.0, 0.0
    if outcome != "found":
        return 0.0, math.nan, math.nan
    surfaces = surface_distances(prediction, reference, spacing)
    area = sum(s.area_mm2.sum() for s in surfaces)
    limit = tolerance_mm + DISTANCE_SLACK_MM
    within = sum(s.area_mm2[s.distance_mm <= limit].sum() for s in surfaces)
    mean = sum((s.area_mm2 * s.distance_mm).sum() for s in surfaces) / area
    return float(within / area), max(s.percentile(95) for s in surfaces), float(mean)


@dataclass(frozen=True)
class Surface:
    """The elements of one mask's surface and how far the other mask's surface is.

    Attributes
    ----------
    distance_mm : (n,) float64
        To the nearest element of the other surface.
    area_mm2 : (n,) float64
        Area of each element (length in mm on a picture); its weight in every statistic.
    """

    distance_mm: NDArray[np.float64]
    area_mm2: NDArray[np.float64]

    def percentile(self, percent: float) -> float:
        """Smallest distance in mm within which at least that percentage of the area lies."""
        order = np.argsort(self.distance_mm)
        share = np.cumsum(self.area_mm2[order])
        at = int(np.searchsorted(share, share[-1] * percent / 100 * (1 - 1e-9)))
        return float(self.distance_mm[order[min(at, len(order) - 1)]])


def surface_distances(
    prediction: Bool3, reference: Bool3, spacing: tuple[float, float, float]
) -> tuple[Surface, Surface]:
    """Surfaces of two masks that are not empty, each with its distances to the other.

    Elements lie between voxels where marching cubes cut, weighted by their area in mm2 (Nikolov et
    al. 2021, doi:10.2196/26151; as MONAI finds them). The edge of the grid closes a mask.

    Parameters
    ----------
    prediction, reference : (z, y, x) bool
        On one grid, each with at least one voxel.
    spacing
        Voxel size (z, y, x) in mm.

    Returns
    -------
    of_prediction, of_reference
        Distances from the prediction to the reference, and back.
    """
    from monai.metrics.utils import get_mask_edges
    from scipy.ndimage import distance_transform_edt

    region = Box3D.from_mask(prediction).union(Box3D.from_mask(reference)).slices
    axes = [a for a in range(3) if prediction.shape[a] > 1] or [1, 2]
    flat = tuple(a for a in range(3) if a not in axes)
    if len(axes) == 1:  # a line: keep one flat axis, lest there be no outline
        axes, flat = sorted({*axes, flat[-1]}), flat[:-1]
    masks = [np.squeeze(m[region], axis=flat) for m in (prediction, reference)]
    mm = tuple(spacing[a] for a in axes)
    edge_p, edge_r, area_p, area_r = (
        np.asarray(a) for a in get_mask_edges(masks[0], masks[1], spacing=mm)
    )
    edge_p, edge_r = edge_p.astype(bool), edge_r.astype(bool)
    to_p, to_r = (distance_transform_edt(~edge, sampling=mm) for edge in (edge_p, edge_r))
    return (
        Surface(to_r[edge_p], area_p[edge_p].astype(np.float64)),
        Surface(to_p[edge_r], area_r[edge_r].astype(np.float64)),
    )


def score_labels(
    prediction: LabelVolume,
    reference: LabelVolume,
    labels: Iterable[Key] | None = None,
    tolerance_mm: float = TOLERANCE_MM,
) -> dict[Key, Scores]:
    """Scores of each label of two label maps on one grid.

    Parameters
    ----------
    prediction, reference
        On the same canonical grid.
    labels
        Which values or regions; by default all values that occur in either.
    tolerance_mm
        For NSD, in mm.

    Returns
    -------
    dict
        Label value or region → its scores; values in ascending order, then regions.

    Raises
    ------
    GridMismatchError
        If the grids differ.
    EvaluationError
        If there is no label at all.
    """
    require_same_grid(prediction, reference)
    if labels is None:
        labels = {int(v) for one in (prediction, reference) for v in np.unique(one.voxels)}
    keys = sorted(set(labels) - {0}, key=key_order)
    if not keys:
        raise EvaluationError("neither label map holds any label; nothing to score")
    return {
        key: score(
            mask_of(prediction.voxels, key),
            mask_of(reference.voxels, key),
            reference.spacing,
            tolerance_mm,
        )
        for key in keys
    }


def require_same_grid(prediction: LabelVolume, reference: LabelVolume) -> None:
    """Make sure that two label maps lie on one canonical grid.

    Raises
    ------
    GridMismatchError
        If they do not, see `geometry.same_grid`.
    """
    grids = prediction.affine, prediction.shape, reference.affine, reference.shape
    if not geometry.same_grid(*grids):
        raise GridMismatchError(
            f"the prediction is not on the grid of the reference: "
            f"{geometry.describe_mismatch(*grids)}; resample the prediction (--resample does it)"
        )
