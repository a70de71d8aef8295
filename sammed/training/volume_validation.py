"""Validation of the network for volumes on a fixed set: by what was said, and after clicks."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from sammed.synthesis.field_samples import FAMILIES
from sammed.synthesis.source import OF_LABELS, Source
from sammed.training.validation import SEED, roc_area
from sammed.training.volume_batches import FieldBatch, make_chunk, pack, unpack
from sammed.training.volume_prompts import corrected, first_prompts, shown
from sammed.training.volume_task import VolumeTask, reached_iou

PIECE = 4
CLICKS = 3
"""Corrective clicks whose gain is measured."""

COLUMNS = [
    "step",
    "views",
    "minutes",
    "rate",
    "views_per_second",
    "loss",
    "mask",
    "quality",
    "presence",
    "iou_chosen",
    "val_dice",
    *(f"val_{family}" for family in FAMILIES),
    "val_anatomy",
    "val_shapes",
    "val_clicked",
    "val_iou_r",
    "val_faces_auc",
]
"""Columns of a run's metrics.csv; ``presence`` is the entropy of the faces."""


@lru_cache(maxsize=2)
def fixed_set(count: int, size: int, source: Source) -> tuple[FieldBatch, tuple[str, ...]]:
    """The validation set, on maps that are held back, and the kind of each object."""
    samples = make_chunk(SEED, 0, count, size=size, source=Source(source.maps, held_back=True))
    return unpack(pack(np.random.default_rng(0), samples), "cpu"), tuple(s.kind for s in samples)


@torch.no_grad()
def validate_volumes(net: Any, task: VolumeTask, half: bool, count: int = 96) -> dict[str, float]:
    """Mean Dice on the fixed synthetic set: of all, by what was said, after three clicks.

    Parameters
    ----------
    net
        In evaluation mode.
    task
        Says how large fields are, and where volumes come from.
    half
        Whether to compute in bfloat16.
    count
        Number of samples.
    """
    batch, kinds = fixed_set(count, task.size, task.source)
    rng = np.random.default_rng(SEED)
    first, last, judged, faces = [], [], [], []
    for start in range(0, len(batch), PIECE):
        part = batch.rows(slice(start, start + PIECE))
        piece = FieldBatch(**{k: v.to(task.device) for k, v in vars(part).items()})
        prompts = first_prompts(rng, piece, alone=True)
        for clicks in range(CLICKS + 1):
            logits, iou, beyond = task.answer(net, shown(piece, prompts), half)
            reached = reached_iou(logits, piece.target).cpu()
            if clicks == 0:
                first.append(reached)
                judged.append(torch.sigmoid(iou).cpu())
                faces.append(beyond.cpu())
            if clicks < CLICKS:
                prompts = corrected(rng, piece, prompts, logits)
        last.append(reached)
    iou_first, iou_judged = torch.cat(first), torch.cat(judged)
    dice, clicked = ((2 * v / (1 + v)).numpy() for v in (iou_first, torch.cat(last)))
    result = {"dice": float(dice.mean()), "clicked": float(clicked.mean())}
    for number, family in enumerate(FAMILIES):
        result[family] = _mean(dice[batch.family.numpy() == number])
    labelled = np.isin(kinds, OF_LABELS)
    result |= {"anatomy": _mean(dice[labelled]), "shapes": _mean(dice[~labelled])}
    result["iou_r"] = float(np.corrcoef(iou_judged.numpy(), iou_first.numpy())[0, 1])
    ends = batch.beyond.flatten().numpy() > 0
    result["faces_auc"] = roc_area(torch.cat(faces).flatten().tolist(), ends.tolist())
    return result


def _mean(values: np.ndarray[Any, Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")
