"""Baselines: honest baselines without weights that any network must beat.

All three answer to a box alone (points and masks beside it are ignored) with one candidate whose
logits are a signed distance to the outline in view px, clipped to ``LOGIT_LIMIT``: straight edges
then come back to the slice's own pixels exactly. They have no opinion of their own quality, so
their predicted IoU is 1 and never a reason to reject a mask.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.models.protocols import (
    BOX_ONLY,
    Embedding,
    ModelSpec,
    ViewBatch,
    ViewMask,
    ViewPrompt,
    check_prompts,
)
from sammed.models.recipe import BLUNT

VIEW_SIZE = 512
"""Side of a view in px: boxes of up to 341 slice px (``VIEW_SIZE / ZOOM``) come back exactly."""

ZOOM = 1.5
"""Side of a view over the longer side of the box."""

LOGIT_LIMIT = 16.0
"""Distances are cut at this many view px, so that logits stay in a network's usual range."""

FRAME = 0.1
"""Width of the frame round the box that shows the background, as a share of the box's sides."""

CORE = 0.5
"""Axes of the ellipse that shows the object, as a share of the box's sides."""

LEVELS = 256
"""Grey levels into which intensities are counted before they are split in two classes."""

Float = NDArray[np.float32]
_Span = tuple[int, int]


class _Baseline(ABC):
    """What the baselines share: no weights, one candidate, a box as prompt."""

    name: str

    @property
    def spec(self) -> ModelSpec:
        """What the engine needs to know of this model."""
        return ModelSpec(
            name=self.name,
            view_size=VIEW_SIZE,
            mask_size=VIEW_SIZE,
            zoom=ZOOM,
            prompts=BOX_ONLY,
            calibrated=False,
            recipe=BLUNT,
            license="Apache-2.0 (no weights)",
        )

    def encode(self, views: ViewBatch) -> list[Embedding]:
        """Keep what `decode` needs of each view; the outlines need nothing but its extent."""
        extent = (views.pixels.shape[2], views.pixels.shape[3])
        return [Embedding(self._keep(pixels), extent) for pixels in views.pixels]

    def decode(self, embedding: Embedding, prompts: Sequence[ViewPrompt]) -> list[ViewMask]:
        """One mask a prompt, in order.

        Raises
        ------
        PromptError
            If a prompt has no box.
        """
        check_prompts(self.spec, prompts)
        return [self._answer(embedding, prompt.box) for prompt in prompts if prompt.box is not None]

    def _keep(self, pixels: Float) -> dict[str, NDArray[Any]]:
        return {}

    def _answer(self, embedding: Embedding, box: Float) -> ViewMask:
        logits = np.clip(self._distance(embedding, box), -LOGIT_LIMIT, LOGIT_LIMIT)
        return ViewMask(np.asarray(logits[None], np.float32), np.ones(1, np.float32))

    @abstractmethod
    def _distance(self, embedding: Embedding, box: Float) -> Float:
        """Signed distance to the outline in view px, positive inside, (m, m) float32."""


class BoxBaseline(_Baseline):
    """The whole box is the object."""

    name = "box"

    def _distance(self, embedding: Embedding, box: Float) -> Float:
        rows, cols = _centres()
        r0, c0, r1, c1 = box
        inside_rows = np.minimum(rows - r0, r1 - rows)
        inside_cols = np.minimum(cols - c0, c1 - cols)
        return np.minimum(inside_rows[:, None], inside_cols[None])


class EllipseBaseline(_Baseline):
    """The ellipse inscribed in the box is the object."""

    name = "ellipse"

    def _distance(self, embedding: Embedding, box: Float) -> Float:
        semi_axes = max(min(box[2] - box[0], box[3] - box[1]) / 2, np.float32(1e-3))
        return np.asarray((1 - _radius(box)) * semi_axes, np.float32)


class TwoClassBaseline(_Baseline):
    """The intensities of the box's middle against those round the box.

    Two-class k-means of the intensities in and just round the box, started from the means of the
    middle and of the surroundings; of the pixels in the box that belong to the middle's class the
    largest connected component is kept and its holes are filled. Where the two means do not
    differ, the inscribed ellipse is the answer.
    """

    name = "two_class"

    def _keep(self, pixels: Float) -> dict[str, NDArray[Any]]:
        grey = np.clip(pixels.mean(axis=0) * LEVELS, 0, LEVELS - 1)
        return {"levels": grey.astype(np.uint8)}

    def _distance(self, embedding: Embedding, box: Float) -> Float:
        levels = np.asarray(embedding.arrays["levels"], np.int64)
        r0, c0, r1, c1 = box
        rows, cols = _pixels(r0, r1, levels.shape[0]), _pixels(c0, c1, levels.shape[1])
        inside = np.zeros(levels.shape, bool)
        inside[slice(*rows), slice(*cols)] = True
        mask = _object(levels, inside, box)
        return _ellipse(box) if mask is None else _signed_distance(mask, rows, cols)


def _centres() -> tuple[Float, Float]:
    """Edge coordinates of the logits' rows and columns."""
    along = np.arange(VIEW_SIZE, dtype=np.float32) + np.float32(0.5)
    return along, along


def _radius(box: Float, shape: tuple[int, int] = (VIEW_SIZE, VIEW_SIZE)) -> Float:
    """Elliptic radius of each pixel: 0 in the middle of the box, 1 on the inscribed ellipse."""
    r0, c0, r1, c1 = (float(v) for v in box)
    rows = (np.arange(shape[0]) + 0.5 - (r0 + r1) / 2) / max((r1 - r0) / 2, 1e-3)
    cols = (np.arange(shape[1]) + 0.5 - (c0 + c1) / 2) / max((c1 - c0) / 2, 1e-3)
    return np.sqrt(rows[:, None] ** 2 + cols[None] ** 2).astype(np.float32)


def _ellipse(box: Float) -> Float:
    return EllipseBaseline()._distance(Embedding({}, (VIEW_SIZE, VIEW_SIZE)), box)


def _pixels(low: float, high: float, n: int) -> _Span:
    """Pixels of a view whose centres lie between two edge coordinates, at least one."""
    first = min(max(int(np.ceil(low - 0.5)), 0), n - 1)
    return first, max(min(int(np.ceil(high - 0.5)), n), first + 1)


def _object(
    levels: NDArray[np.int64], inside: NDArray[np.bool_], box: Float
) -> NDArray[np.bool_] | None:
    """Pixels of the object, or ``None`` if middle and surroundings look the same."""
    r0, c0, r1, c1 = box
    dr, dc = FRAME * (r1 - r0), FRAME * (c1 - c0)
    frame = np.zeros_like(inside)
    frame[
        slice(*_pixels(r0 - dr, r1 + dr, levels.shape[0])),
        slice(*_pixels(c0 - dc, c1 + dc, levels.shape[1])),
    ] = True
    radius = _radius(box, (levels.shape[0], levels.shape[1]))
    core, rim = levels[inside & (radius < CORE)], levels[frame & (radius > 1)]
    if not core.size or not rim.size:
        return None
    cut = _two_means(np.bincount(levels[frame], minlength=LEVELS), core.mean(), rim.mean())
    if cut is None:
        return None
    mask = inside & ((levels > cut) if core.mean() > rim.mean() else (levels < cut))
    labels, n = ndimage.label(mask)
    if not n:
        return None
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    return _filled(largest)


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask without holes; as SciPy's ``binary_fill_holes``, but in one pass."""
    ground, n = ndimage.label(~mask)
    border = np.concatenate([ground[0], ground[-1], ground[:, 0], ground[:, -1]])
    outside = np.zeros(n + 1, bool)
    outside[border] = True
    outside[0] = False
    return np.asarray(~outside[ground], bool)


def _two_means(counts: NDArray[np.int64], a: float, b: float) -> float | None:
    """Threshold between two classes of a histogram by Lloyd's iteration from two means."""
    level = np.arange(len(counts))
    for _ in range(50):
        if abs(a - b) < 1:
            return None
        near_a = abs(level - a) < abs(level - b)
        groups = [counts * near_a, counts * ~near_a]
        if not all(g.sum() for g in groups):
            break
        before = (a, b)
        a, b = (float((g * level).sum() / g.sum()) for g in groups)
        if before == (a, b):
            break
    return (a + b) / 2


def _signed_distance(mask: NDArray[np.bool_], rows: _Span, cols: _Span) -> Float:
    """Distance of pixel centres to the mask's outline, (VIEW_SIZE, VIEW_SIZE) float32.

    Only as far as `LOGIT_LIMIT` round the box, beyond which it is cut anyway.
    """
    margin = int(LOGIT_LIMIT) + 1
    region = (
        slice(max(rows[0] - margin, 0), rows[1] + margin),
        slice(max(cols[0] - margin, 0), cols[1] + margin),
    )
    part = mask[region]
    distance = np.full((VIEW_SIZE, VIEW_SIZE), -LOGIT_LIMIT, np.float32)
    outward, inward = (_distance_to(other) for other in (part, ~part))
    distance[: mask.shape[0], : mask.shape[1]][region] = np.where(part, inward - 0.5, 0.5 - outward)
    return distance


def _distance_to(mask: NDArray[np.bool_]) -> Float:
    """Distance in px from each pixel centre to the nearest one of a mask."""
    if not mask.any():
        return np.full(mask.shape, 2 * LOGIT_LIMIT, np.float32)
    return np.asarray(ndimage.distance_transform_edt(~mask), np.float32)
