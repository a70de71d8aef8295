"""Prompts for segment-anything simulated on slices: boxes, masks of the slice before, clicks.

A box is off as people's are (`sammed.synthesis.views.jittered`); the mask of the slice before comes
with the box around it, as where an object is followed from slice to slice; a click alone means the
whole structure. Then clicks go into the model's own errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.imaging.boxes import Box2D
from sammed.learning.sam_slices import Mask, ShownSlice
from sammed.models.protocols import ModelSpec, ViewPrompt
from sammed.prompts.simulation import centre, wrong_part
from sammed.synthesis.views import jittered
from sammed.views.slices import OUTSIDE_LOGIT, View

Random = np.random.Generator
Float = NDArray[np.float32]

FOLLOWED, CLICKED = 0.25, 0.15
"""Shares of prompts that are the slice before's mask, and one or two clicks; the rest are boxes."""

PARTED = 0.3
"""Share of the boxes on a structure of several parts that mean one of them alone."""


@dataclass(frozen=True, eq=False)
class Question:
    """Prompts on one slice, and what they should be answered with.

    Attributes
    ----------
    shown
        The slice.
    prompts
        On its view.
    targets : (n, m, m) float32
        Share of each cell of the padded view square that is to be in the mask.
    """

    shown: ShownSlice
    prompts: Sequence[ViewPrompt]
    targets: Float


def question(rng: Random, slices: Sequence[ShownSlice], spec: ModelSpec, prompts: int) -> Question:
    """A structure by chance, a slice that shows it, and prompts for what is on that slice.

    Parameters
    ----------
    rng
        Source of randomness; the same state gives the same.
    slices
        From `make_slices`.
    spec
        The model, which may know boxes alone.
    prompts
        How many; the first is for the structure, others for any on the slice.
    """
    names = sorted({name for one in slices for name in one.masks})
    name = names[int(rng.integers(len(names)))]
    showing = [one for one in slices if name in one.masks]
    shown = showing[int(rng.integers(len(showing)))]
    there = sorted(shown.masks)
    wanted = [name, *(there[int(rng.integers(len(there)))] for _ in range(prompts - 1))]
    asked = [_asked(rng, shown, one, spec) for one in wanted]
    return Question(shown, [prompt for prompt, _ in asked], np.stack([mask for _, mask in asked]))


def _asked(rng: Random, shown: ShownSlice, name: str, spec: ModelSpec) -> tuple[ViewPrompt, Float]:
    mask, view, draw = shown.masks[name], shown.view, rng.random()
    if "mask" in spec.prompts and draw < FOLLOWED and name in shown.beside:
        before = shown.beside[name]
        given = view.mask_prompt(_roughly(rng, before), _all(before), spec.mask_size)
        prompt = ViewPrompt(box=_box(rng, view, before), mask=given)
    elif "points" in spec.prompts and draw > 1 - CLICKED:
        clicks = np.argwhere(mask)[rng.integers(np.count_nonzero(mask), size=rng.integers(1, 3))]
        positive = np.ones(len(clicks), bool)
        prompt = ViewPrompt(points=view.points(clicks + 0.5), positive=positive)
    else:
        mask = _part(rng, mask)
        prompt = ViewPrompt(box=_box(rng, view, mask))
    return prompt, shares(mask, view, spec.mask_size)


def _part(rng: Random, mask: Mask) -> Mask:
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    if count < 2 or rng.random() >= PARTED:
        return mask
    return np.asarray(labels == 1 + int(rng.integers(count)))


def _box(rng: Random, view: View, mask: Mask) -> Float:
    """The box of a mask as a person would draw it, on the view."""
    tight = Box2D.from_mask(mask)
    r0, c0, r1, c1 = jittered(rng, (tight.r0, tight.c0, tight.r1, tight.c1))
    corners = np.array([[r0, c0], [r1, c1]]).clip(0, mask.shape)
    return view.points(corners).reshape(4)


def _roughly(rng: Random, mask: Mask) -> Float:
    """A mask as logits of a model that is not quite sure of its border."""
    width = int(rng.choice((1, 3, 5)))
    soft = ndimage.uniform_filter(mask.astype(np.float32), width)
    logits = (soft - rng.uniform(0.3, 0.7)) * rng.uniform(8, 24)
    return np.asarray(logits.clip(OUTSIDE_LOGIT, -OUTSIDE_LOGIT), np.float32)


def _all(mask: Mask) -> Box2D:
    h, w = mask.shape
    return Box2D(0, 0, h, w)


def shares(mask: Mask, view: View, m: int) -> Float:
    """How much of each cell of the padded view square is in a mask.

    Parameters
    ----------
    mask : (h, w) bool
        On the slice.
    view
        All of it.
    m
        Side of the model's masks.

    Returns
    -------
    (m, m) float32
        In [0, 1].
    """
    (h, w), (down, across) = mask.shape, view.extent
    rows, cols = _overlaps(h * view.size / down, m, h), _overlaps(w * view.size / across, m, w)
    return np.asarray(rows @ mask.astype(np.float32) @ cols.T, np.float32)


def _overlaps(length: float, m: int, n: int) -> Float:
    """How much of each of ``m`` cells along a length lies on each of its first ``n`` pixels."""
    edges = np.linspace(0, length, m + 1)[:, None]
    first = np.arange(n)
    common = np.minimum(edges[1:], first + 1) - np.maximum(edges[:-1], first)
    return np.asarray(common.clip(0) * (m / length), np.float32)


def clicked(
    prompts: Sequence[ViewPrompt], answers: Float, targets: Float, view_size: int
) -> list[ViewPrompt]:
    """The next round: a click in the middle of the largest error, and the answer as the mask.

    Parameters
    ----------
    prompts
        Of the round before.
    answers : (n, m, m) float32
        Logits.
    targets : (n, m, m) float32
        See `Question`.
    view_size
        Side of the padded view square in view px.
    """
    following = []
    for prompt, answer, target in zip(prompts, answers, targets, strict=True):
        wrong = wrong_part(answer[None] > 0, target[None] > 0.5)
        if wrong is None:
            following.append(prompt)
            continue
        part, positive = wrong
        _, row, col = centre(part, (1.0, 1.0, 1.0))
        at = (np.array([[row, col]], np.float32) + 0.5) * (view_size / len(target))
        following.append(
            replace(
                prompt,
                points=np.concatenate([prompt.points, at.astype(np.float32)]),
                positive=np.append(prompt.positive, positive),
                mask=answer.clip(OUTSIDE_LOGIT, -OUTSIDE_LOGIT),
            )
        )
    return following
