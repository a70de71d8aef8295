"""Validation on a fixed synthetic set, and the measures shared with the real cases."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sammed.imaging.masks import dice
from sammed.models.compact.net import CompactNet, Prompts, input_planes
from sammed.training.stream import Batch, make_chunk, pack, unpack

SEED = 987_654_321
"""Seed of the validation set; no training run uses it."""

Array = NDArray[np.float32]


def roc_area(scores: Sequence[float], wanted: Sequence[bool]) -> float:
    """Area under the ROC curve: the chance that a wanted one scores higher than another."""
    values, is_wanted = np.asarray(scores), np.asarray(wanted)
    good, bad = values[is_wanted], values[~is_wanted]
    if len(good) == 0 or len(bad) == 0:
        return float("nan")
    wins = (good[:, None] > bad[None]).mean() + 0.5 * (good[:, None] == bad[None]).mean()
    return float(wins)


@lru_cache(maxsize=2)
def fixed_batches(size: int) -> tuple[Batch, ...]:
    """The synthetic validation set."""
    samples = make_chunk(SEED, 0, size)
    rng = np.random.default_rng(SEED)
    return tuple(unpack(pack(rng, samples[i : i + 32])) for i in range(0, size, 32))


@torch.no_grad()
def answers(net: CompactNet, prompts: Prompts) -> tuple[Array, Array, Array]:
    """All candidates' logits (n, k, s, s), predicted IoU (n, k) and presence (n,)."""
    planes = input_planes(prompts).contiguous(memory_format=torch.channels_last)
    logits, iou, present = net(planes)
    return (
        logits.float().numpy(),
        torch.sigmoid(iou).float().numpy(),
        torch.sigmoid(present).float().numpy(),
    )


def inscribed_ellipse(box: Array, size: int) -> NDArray[np.bool_]:
    """The ellipse that fills a box (row0, col0, row1, col1), (size, size) bool."""
    axis = np.arange(size) + 0.5
    row, col = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    v = (axis - row) / max((box[2] - box[0]) / 2, 0.5)
    u = (axis - col) / max((box[3] - box[1]) / 2, 0.5)
    return np.asarray(v[:, None] ** 2 + u[None] ** 2 <= 1)


def validate_synthetic(net: CompactNet, size: int = 512) -> dict[str, float]:
    """Dice by mode, absence AUC and the IoU head's correlation on the fixed synthetic set.

    Parameters
    ----------
    net
        In evaluation mode.
    size
        Number of samples.
    """
    rows: list[dict[str, Any]] = []
    for batch in fixed_batches(size):
        logits, iou, present = answers(net, batch.prompts)
        for i, mode in enumerate(batch.modes):
            target = batch.target[i] > 0
            scores = [dice(candidate > 0, target) for candidate in logits[i]]
            row = {"mode": mode, "present": float(present[i]), "there": bool(target.any())}
            row |= {"dice": scores[int(np.argmax(iou[i]))], "single": scores[0]}
            row |= {"judged": float(iou[i].max())}
            box = batch.prompts.box[i].numpy()
            if mode == "own" and np.isfinite(box).all():
                row["ellipse"] = dice(inscribed_ellipse(box, target.shape[0]), target)
            rows.append(row)
    there = [r for r in rows if r["there"]]
    result = {
        "dice": float(np.mean([r["dice"] for r in there])),
        "dice_single": float(np.mean([r["single"] for r in there])),
        "dice_ellipse": float(np.mean([r["ellipse"] for r in there if "ellipse" in r])),
        "absence_auc": roc_area([r["present"] for r in rows], [r["there"] for r in rows]),
    }
    judged = np.array([r["judged"] for r in there])
    reached = np.array([r["dice"] / (2 - r["dice"]) for r in there])
    result["iou_r"] = float(np.corrcoef(judged, reached)[0, 1])
    for mode in ("own", "whole", "next", "free"):
        result[mode] = float(np.mean([r["dice"] for r in there if r["mode"] == mode]))
    return result
