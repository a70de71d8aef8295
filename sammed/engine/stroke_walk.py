"""Corrections that every slice hears: random walks from strokes, with the object as a prior.

A corrective stroke moves its own slice and, fading, those near it. But what was stroked looks like
something, and so do other voxels. Each voxel takes after its neighbours, the more the less their
brightness differs; after what was found of the object, a little; and stroked voxels are what the
stroke says. That is Grady's random walker with a prior (Grady 2005, Multilabel random walker image
segmentation using prior models, doi:10.1109/CVPR.2005.239), the minimum of

    sum_ij w_ij (x_i - x_j)² + trust * sum_i (x_i - p_i)²,  w_ij = exp(-stiffness (v_i - v_j)² / s)

which one linear system gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, cg
from scipy.special import expit, logit

from sammed.engine.object_volume import ObjectVolume
from sammed.imaging.boxes import Box3D
from sammed.imaging.intensity import Window
from sammed.imaging.volume import Volume
from sammed.models.recipe import Walk
from sammed.prompts import ObjectPrompts
from sammed.prompts.interactions import ScribblePrompt

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

MARGIN = 12
"""Voxels beyond object and strokes that are looked at."""

MOST_VOXELS = 500_000
"""A larger block is looked at with every second voxel, every third, and so on."""

ENOUGH = 2
"""Strokes from which all slices hear them: a first one alone moves nothing for the better."""

LOUDEST = 6.0
"""Logits beyond this count as this."""

TOLERANCE, MOST_STEPS = 1e-3, 150
"""When the system counts as solved; steps of conjugate gradients, at most."""


def walked(
    found: ObjectVolume,
    obj: ObjectPrompts,
    volume: Volume,
    window: Window,
    walk: Walk,
    check: Callable[[], None] = lambda: None,
) -> ObjectVolume:
    """An object as its strokes are heard everywhere; itself before any stroke corrects another.

    Parameters
    ----------
    found
        The object so far.
    obj
        What was said. Painted slices are taken as they are, so that nothing moves beside them; a 3D
        box, and slices beyond which nothing is propagated, stay limits.
    volume, window
        What is seen.
    walk
        How far strokes are heard.
    check
        Called again and again; it may raise to stop.
    """
    strokes = [said for said in obj.interactions if isinstance(said, ScribblePrompt)]
    if len(strokes) < ENOUGH or obj.mask is not None or found.block.is_empty:
        return found
    block = _region(found, obj, strokes).clip(volume.shape)
    image = window.apply(volume.voxels[block.slices])
    grey = image if image.ndim == 3 else image.mean(-1)
    inside, outside = np.zeros(block.shape, bool), np.zeros(block.shape, bool)
    for stroke in strokes:
        at = stroke.voxels - np.array(block.low)
        where = tuple(at[((at >= 0) & (at < block.shape)).all(1)].T)
        inside[where], outside[where] = stroke.positive, not stroke.positive
    logits = np.clip(found.on(block), -LOUDEST, LOUDEST)
    thin = _steps(block.shape)
    every = tuple(slice(None, None, n) for n in thin)
    inside, outside = _any(inside, thin), _any(outside, thin)
    chance = _System(np.asarray(grey[every], np.float32), walk).solved(
        expit(logits[every] / walk.doubt), inside, outside, check
    )
    change = walk.doubt * logit(np.clip(chance, 1e-4, 1 - 1e-4)) - logits[every]
    for axis, n in enumerate(thin):
        change = np.repeat(change, n, axis)
    logits += change[tuple(slice(n) for n in block.shape)]
    return ObjectVolume(block, logits.astype(np.float16))


def _region(found: ObjectVolume, obj: ObjectPrompts, strokes: list[ScribblePrompt]) -> Box3D:
    """Where voxels may change."""
    if obj.propagate != "auto":
        return found.block
    block = found.block
    for stroke in strokes:
        block = block.union(stroke.block) if stroke.positive else block
    block = Box3D(*(n - MARGIN for n in block.low), *(n + MARGIN for n in block.high))
    for limit in obj.blocks[:1]:
        block = block.intersection(limit)
    return block


def _steps(shape: tuple[int, ...]) -> tuple[int, ...]:
    step = int(np.ceil((np.prod(shape) / MOST_VOXELS) ** (1 / 3)))
    return tuple(min(step, max(1, n // 8)) for n in shape)


def _any(mask: Bool, steps: tuple[int, ...]) -> Bool:
    """Thinned, and True where any of the voxels that are left out is."""
    for axis, n in enumerate(steps):
        if n > 1:
            mask = np.logical_or.reduceat(mask, np.arange(0, mask.shape[axis], n), axis=axis)
    return mask


@dataclass
class _System:
    """Voxels (z, y, x) and how much neighbours take after each other."""

    grey: Float
    walk: Walk

    def solved(self, prior: Float, inside: Bool, outside: Bool, check: Callable[[], None]) -> Float:
        """Each voxel's chance to be of the object, given the prior and what is known."""
        shape, free = prior.shape, ~(inside | outside)
        weights = [self._likeness(low, high) for low, high in self._pairs()]
        held = np.full(shape, self.walk.trust, np.float32)
        for (low, high), weight in zip(self._pairs(), weights, strict=True):
            held[low] += weight
            held[high] += weight

        def apply(values: NDArray[np.floating]) -> Float:
            x = np.asarray(values, np.float32).reshape(shape)
            y = held * x
            for (low, high), weight in zip(self._pairs(), weights, strict=True):
                y[low] -= weight * x[high]
                y[high] -= weight * x[low]
            return np.asarray(y * free, np.float32).ravel()

        start = np.where(inside, 1, np.where(outside, 0, prior)).astype(np.float32)
        wanted = (self.walk.trust * prior * free).ravel() - apply(start.ravel())
        size = (prior.size, prior.size)
        change, _ = cg(
            LinearOperator(size, matvec=apply, dtype=np.float32),
            wanted,
            rtol=TOLERANCE,
            maxiter=MOST_STEPS,
            callback=lambda _: check(),
            M=LinearOperator(size, matvec=lambda v: v.ravel() / held.ravel(), dtype=np.float32),
        )
        return np.asarray(start + change.reshape(shape) * free, np.float32)

    def _pairs(self) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
        """Voxels and their neighbours along each axis."""
        for axis, n in enumerate(self.grey.shape):
            if n > 1:
                before, after = [slice(None)] * 3, [slice(None)] * 3
                before[axis], after[axis] = slice(0, -1), slice(1, None)
                yield tuple(before), tuple(after)

    def _likeness(self, low: tuple[slice, ...], high: tuple[slice, ...]) -> Float:
        scale = self.walk.stiffness / (10 * float(self.grey.std()) + 1e-6)
        steps = (self.grey[low] - self.grey[high]) ** 2
        return np.asarray(np.exp(-scale * steps) + 1e-6, np.float32)
