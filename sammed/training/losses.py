"""compact's loss: focal + Dice of the first and the best candidate, IoU and presence heads."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

BEST_CANDIDATE, ALL_CANDIDATES = 0.4, 0.1
"""Weights of the best candidate's loss and of the mean of all, beside the first one's 1.

The first candidate answers for every sample, so that it becomes the best single guess; the others
may specialise.
"""


PRESENCE = 0.3
"""Weight of the presence head's cross-entropy."""


def mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Focal + Dice loss of every candidate.

    Parameters
    ----------
    logits : (n, k, s, s)
        Candidates.
    target : (n, s, s)
        0 or 1; where it is empty only the focal part counts.

    Returns
    -------
    (n, k)
    """
    wanted = target[:, None].expand_as(logits)
    entropy = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    chance = torch.sigmoid(logits)
    miss = (chance - wanted).abs()
    focal = ((0.3 + miss) * entropy).mean((2, 3))
    overlap = (chance * wanted).sum((2, 3))
    total = chance.sum((2, 3)) + wanted.sum((2, 3))
    dice = 1 - (2 * overlap + 4) / (total + 4)
    filled = target.amax((1, 2))[:, None]
    return 4 * focal + filled * dice


def true_iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of each candidate with the target, (n, k); 0 for an empty target."""
    inside, wanted = logits > 0, target[:, None] > 0
    both = (inside & wanted).sum((2, 3)).float()
    either = (inside | wanted).sum((2, 3)).float()
    return both / either.clamp_min(1)


def compact_loss(
    logits: Tensor, iou: Tensor, present: Tensor, target: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """The training loss and its parts.

    Parameters
    ----------
    logits, iou, present
        What the network answered.
    target : (n, s, s)
        What was asked for.
    """
    candidates = mask_loss(logits, target)
    masks = candidates[:, 0].mean() + BEST_CANDIDATE * candidates.amin(1).mean()
    masks = masks + ALL_CANDIDATES * candidates.mean()
    reached = true_iou(logits.detach(), target)
    judged = torch.sigmoid(iou)
    quality = functional.mse_loss(judged, reached)
    there = target.amax((1, 2))
    presence = functional.binary_cross_entropy_with_logits(present, there)
    loss = masks + quality + PRESENCE * presence
    chosen = reached.gather(1, judged.argmax(1, keepdim=True))[:, 0]
    filled = there > 0
    count = filled.sum().clamp_min(1)
    parts = {
        "loss": float(loss.detach()),
        "mask": float(masks.detach()),
        "quality": float(quality.detach()),
        "presence": float(presence.detach()),
        "iou_chosen": float((chosen * filled).sum() / count),
        "iou_best": float((reached.amax(1) * filled).sum() / count),
    }
    return loss, parts


def taught_loss(logits: Tensor, taught: Tensor, target: Tensor) -> Tensor:
    """How far the candidates are from what a teacher answers: cross-entropy of probabilities.

    Its probabilities are targets beside the true ones (Hinton, Vinyals and Dean 2015,
    arXiv:1503.02531), so that a run forgets less of what the teacher knows (Li and Hoiem 2016,
    doi:10.1007/978-3-319-46493-0_37). It is believed as much as it is right: each answer counts by
    the square of its IoU.

    Parameters
    ----------
    logits, taught : (n, k, s, s)
        What the network and its teacher answered; the first candidate counts most, as in
        `compact_loss`.
    target : (n, s, s)
        What was asked for.
    """
    entropy = functional.binary_cross_entropy_with_logits(
        logits, torch.sigmoid(taught), reduction="none"
    ).mean((2, 3))
    entropy = entropy * true_iou(taught, target).square()
    return 4 * (entropy[:, 0].mean() + 0.5 * entropy.mean())


def block_loss(logits: Tensor, target: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Focal + Dice loss of the locator, and its parts.

    Parameters
    ----------
    logits, target : (n, s, s, s)
        What the network answered; 0 or 1.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    chance = torch.sigmoid(logits)
    focal = ((0.3 + (chance - target).abs()) * entropy).mean()
    overlap = (chance * target).sum((1, 2, 3))
    total = chance.sum((1, 2, 3)) + target.sum((1, 2, 3))
    dice = (1 - (2 * overlap + 4) / (total + 4)).mean()
    loss = 4 * focal + dice
    reached = true_iou(logits.detach().flatten(1)[:, None, :, None], target.flatten(1)[..., None])
    parts = {
        "loss": float(loss.detach()),
        "mask": float(focal.detach()),
        "iou_chosen": float(reached.mean()),
    }
    return loss, parts
