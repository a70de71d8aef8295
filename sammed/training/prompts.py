"""Prompts of a training batch: which of box, points and mask each sample gets, and how bad."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from sammed.models.compact.net import Prompts
from sammed.synthesis.views import VIEW_SIZE, Sample

MAX_POINTS = 6
"""Points of a prompt in training, at most."""

NO_MASK_LOGIT = -8.0


def disturbed(rng: np.random.Generator, mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A neighbour's mask as logits: shifted, grown or shrunk, leaked, eaten at, soft or hard."""
    soft = mask.astype(np.float32)
    if rng.random() < 0.35:
        soft = _frayed(rng, soft)
    if rng.random() < 0.5:
        extent = np.sqrt(max(float(mask.sum()), 1.0))
        shift = rng.normal(0, 0.06 * extent + 0.5, 2).round().astype(int)
        soft = np.roll(soft, (int(shift[0]), int(shift[1])), (0, 1))
    width = int(rng.choice((1, 3, 5, 9, 13)))
    level = 0.5
    if width > 1:
        soft = ndimage.uniform_filter(soft, width)
        level = float(rng.uniform(0.2, 0.8)) if rng.random() < 0.5 else 0.5
    sharpness = float(np.exp(rng.uniform(np.log(8.0), np.log(30.0))))
    return np.asarray(np.clip((soft - level) * sharpness, -10, 10), np.float32)


def _frayed(rng: np.random.Generator, soft: NDArray[np.float32]) -> NDArray[np.float32]:
    """A mask that has leaked here and lost a piece there, as masks do on their way."""
    cells = int(rng.integers(3, 9))
    coarse = rng.normal(0, float(rng.uniform(0.15, 0.45)), (cells, cells)).astype(np.float32)
    wave = ndimage.zoom(coarse, VIEW_SIZE / cells, order=1, grid_mode=True, mode="nearest")
    wide = ndimage.uniform_filter(soft, int(rng.choice((7, 11, 15))))
    frayed = np.asarray(wide + wave * (wide > 0.02) > 0.5, np.float32)
    return frayed if frayed.any() else soft


def _wrong(rng: np.random.Generator, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    shift = rng.integers(-VIEW_SIZE // 3, VIEW_SIZE // 3, 2)
    return np.roll(mask, (int(shift[0]), int(shift[1])), (0, 1))


def inner_point(rng: np.random.Generator, mask: NDArray[np.generic]) -> tuple[float, float] | None:
    """A point inside a mask, more often far from its border."""
    rows, cols = np.nonzero(mask)
    if len(rows) == 0:
        return None
    if rng.random() < 0.5:
        pick = rng.integers(len(rows), size=8)
        r, c = rows[pick], cols[pick]
        middle = np.abs(r - rows.mean()) + np.abs(c - cols.mean())
        best = int(np.argmin(middle))
        return float(r[best] + rng.random()), float(c[best] + rng.random())
    best = int(rng.integers(len(rows)))
    return float(rows[best] + rng.random()), float(cols[best] + rng.random())


def first_prompts(
    rng: np.random.Generator, samples: Sequence[Sample], boxes_only: bool = False
) -> Prompts:
    """What the engine might ask first, sample by sample.

    Parameters
    ----------
    rng
        Source of randomness.
    samples
        The batch.
    boxes_only
        Every sample gets its box and nothing else.
    """
    n = len(samples)
    box = np.full((n, 4), np.nan, np.float32)
    points = np.full((n, MAX_POINTS, 2), np.nan, np.float32)
    positive = np.zeros((n, MAX_POINTS), bool)
    mask = np.full((n, VIEW_SIZE, VIEW_SIZE), NO_MASK_LOGIT, np.float32)
    has_mask = np.zeros(n, bool)
    for i, sample in enumerate(samples):
        with_box, with_mask, count = (True, False, 0) if boxes_only else _choice(rng, sample)
        if with_box:
            box[i] = sample.box
        if with_mask:
            shown = sample.previous
            if sample.mode == "own" and rng.random() < 0.06:
                shown = _wrong(rng, shown)
            mask[i] = disturbed(rng, shown)
            has_mask[i] = True
        _place(rng, sample, points[i], positive[i], count)
    return Prompts(
        image=torch.from_numpy(np.stack([s.image for s in samples]).astype(np.float32)),
        colour=torch.tensor([s.colour for s in samples]),
        box=torch.from_numpy(box),
        points=torch.from_numpy(points),
        positive=torch.from_numpy(positive),
        mask=torch.from_numpy(mask),
        has_mask=torch.from_numpy(has_mask),
        depth=torch.tensor([s.depth for s in samples], dtype=torch.float32),
    )


def _choice(rng: np.random.Generator, sample: Sample) -> tuple[bool, bool, int]:
    """Whether box and mask are given, and the number of points."""
    known = bool(sample.previous.any())
    draw = rng.random()
    if sample.mode == "free":
        with_mask = known and draw < 0.25
        return False, with_mask, int(rng.integers(0 if with_mask else 1, 4))
    points = int(rng.integers(1, 4)) if rng.random() < 0.12 else 0
    if sample.mode == "absent":
        return draw < 0.9, known, 0
    if sample.mode == "next":
        return draw < 0.9, known and draw > 0.06, points if rng.random() < 0.3 else 0
    if sample.mode == "whole":
        return True, known and draw < 0.4, points
    return (draw < 0.93 or not known), known and draw > 0.72, points


def _place(
    rng: np.random.Generator,
    sample: Sample,
    points: NDArray[np.float32],
    positive: NDArray[np.bool_],
    count: int,
) -> None:
    for j in range(count):
        inside = j == 0 or rng.random() < 0.6
        r0, c0, r1, c1 = (
            int(np.clip(v, 0, VIEW_SIZE)) for v in (sample.box + np.array((-8, -8, 8, 8)))
        )
        area = np.zeros_like(sample.target)
        area[r0:r1, c0:c1] = 1
        region = sample.target if inside else area * (1 - sample.target)
        at = inner_point(rng, region)
        if at is not None:
            points[j] = at
            positive[j] = inside


def add_clicks(
    rng: np.random.Generator,
    prompts: Prompts,
    targets: NDArray[np.uint8],
    logits: NDArray[np.float32],
) -> Prompts:
    """The next round: the answer becomes the mask prompt, a click goes into its largest error.

    Parameters
    ----------
    rng
        Source of randomness.
    prompts
        Prompts of the round before.
    targets : (n, s, s) uint8
        What was asked for.
    logits : (n, s, s) float32
        What was answered.
    """
    points, positive = prompts.points.clone(), prompts.positive.clone()
    box = prompts.box.clone()
    for i in range(len(targets)):
        free = torch.isnan(points[i, :, 0]).nonzero()
        error = (logits[i] > 0) != (targets[i] > 0)
        if len(free) and error.any():
            labels, count = ndimage.label(error)
            largest = 1 + int(np.argmax(np.bincount(labels.ravel())[1:])) if count > 1 else 1
            at = _click(rng, labels == largest)
            slot = int(free[0, 0])
            points[i, slot] = torch.tensor(at)
            positive[i, slot] = bool(targets[i, int(at[0]), int(at[1])] > 0)
        if rng.random() < 0.15:
            box[i] = float("nan")
    return Prompts(
        prompts.image,
        prompts.colour,
        box,
        points,
        positive,
        torch.from_numpy(logits),
        torch.ones(len(targets), dtype=torch.bool),
        prompts.depth,
    )


def _click(rng: np.random.Generator, region: NDArray[np.bool_]) -> tuple[float, float]:
    """Where a person would click in an error region: its deepest point, or anywhere in it."""
    if rng.random() < 0.7:
        inner = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
        row, col = np.unravel_index(int(np.argmax(inner)), inner.shape)
        return float(row) + 0.5, float(col) + 0.5
    rows, cols = np.nonzero(region)
    pick = int(rng.integers(len(rows)))
    return float(rows[pick]) + 0.5, float(cols[pick]) + 0.5
