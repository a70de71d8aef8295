"""Which of a model's candidate masks is taken, or their mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sammed.errors import PromptError
from sammed.models.protocols import ViewMask
from sammed.models.recipe import Mean
from sammed.prompts.objects import MOST_CANDIDATES

Float = NDArray[np.float32]


AGREEMENT_WEIGHT = 0.5
"""How much IoU with the expected mask counts beside predicted IoU when candidates are ranked."""


def mean_candidate(mask: ViewMask, mean: Mean) -> ViewMask:
    """The candidates' mean as the only one, each weighted by how good the model says it is.

    For boxes: a chain of means was measured to grow, so not where a mask prompt says which of them
    is meant; and what points alone mean is less clear.
    """
    weights = np.maximum(mask.predicted_iou, 1e-3) ** mean.power
    weights /= weights.sum()
    logits = np.tensordot(weights, mask.low_res_logits, 1)[None]
    judged = np.array([weights @ mask.predicted_iou], np.float32)
    return ViewMask(logits.astype(np.float32), judged, mask.present)


def chosen_candidate(mask: ViewMask, number: int) -> ViewMask:
    """The candidate that the user chose as the only one.

    Parameters
    ----------
    mask
        The model's candidates. Where there are four, as segment-anything's, the first is its answer
        to prompts that leave no doubt, and not among those to choose from.
    number
        From 1.

    Raises
    ------
    PromptError
        If the model has not so many.
    """
    offered = _offered(mask)
    if number > len(offered):
        raise PromptError(
            f"candidate {number} is chosen, but the model has {len(offered)}; expected 1 to "
            f"{len(offered)}, or 0 to leave the choice to the engine"
        )
    return mask.only(offered[number - 1])


def several_candidates(mask: ViewMask) -> ViewMask:
    """The candidates to choose from, none of them preferred.

    What segment-anything answers with ``multimask_output`` (Kirillov et al. 2023,
    doi:10.1109/ICCV51070.2023.00371): the best of its three is then the best by predicted IoU.

    Parameters
    ----------
    mask
        The model's candidates.

    Examples
    --------
    >>> iou = np.array([0.9, 0.2, 0.5, 0.4], np.float32)
    >>> several = several_candidates(ViewMask(np.zeros((4, 1, 1), np.float32), iou, preferred=0))
    >>> several.best, several.predicted_iou.tolist() == iou[1:].tolist()
    (1, True)
    """
    at = _offered(mask)
    tokens = None if mask.tokens is None else mask.tokens[at]
    return ViewMask(mask.low_res_logits[at], mask.predicted_iou[at], mask.present, None, tokens)


def _offered(mask: ViewMask) -> list[int]:
    """Indices of candidates to choose from."""
    count = len(mask.predicted_iou)
    return list(range(1, count) if count > MOST_CANDIDATES else range(count))


def choose_candidate(mask: ViewMask, expected: Float | None) -> int:
    """Index of the candidate with the best predicted IoU, helped by the expected mask.

    Parameters
    ----------
    mask
        The model's candidates.
    expected : (m, m) float32 or None
        Logits of the mask prompt in the same frame; agreement with it counts
        `AGREEMENT_WEIGHT` as much as predicted IoU.
    """
    if expected is None or len(mask.predicted_iou) == 1:
        return mask.best
    if expected.shape != mask.low_res_logits.shape[1:]:
        return mask.best
    want = expected > 0
    have = mask.low_res_logits > 0
    common = np.count_nonzero(have & want, axis=(1, 2))
    either = np.count_nonzero(have | want, axis=(1, 2))
    agreement = common / np.maximum(either, 1)
    return int(np.argmax(mask.predicted_iou + AGREEMENT_WEIGHT * agreement))
