"""Prompts and masks of one object on one slice, in slice pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.imaging.boxes import Box2D
from sammed.models.protocols import ViewMask
from sammed.views.slices import OUTSIDE_LOGIT

Float = NDArray[np.float32]


SPECK = 0.02
"""Parts smaller than this share of the largest part do not widen the box of a mask."""


@dataclass(frozen=True)
class ClickedPoint:
    """A point on a slice, (row, col) pixel indices."""

    row: int
    col: int
    positive: bool = True


@dataclass(frozen=True, eq=False)
class SliceStroke:
    """What a scribble passes on one slice.

    Attributes
    ----------
    pixels : (n, 2) int
        (row, col) of the slice, in drawing order.
    positive
        Whether they belong to the object.
    """

    pixels: NDArray[np.intp]
    positive: bool = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SliceStroke) and (
            self.positive == other.positive and np.array_equal(self.pixels, other.pixels)
        )

    def __hash__(self) -> int:
        return hash((self.positive, self.pixels.tobytes()))

    @property
    def box(self) -> Box2D:
        """Smallest box that holds it."""
        (r0, c0), (r1, c1) = self.pixels.min(0), self.pixels.max(0) + 1
        return Box2D(int(r0), int(c0), int(r1), int(c1))


@dataclass(frozen=True, eq=False)
class SliceResult:
    """The mask of one object on one slice, with what the model thought of it.

    Attributes
    ----------
    index
        The slice.
    region
        The pixels that ``logits`` covers; elsewhere the object is absent.
    logits : (height, width) float32
        On the region; > 0 is foreground.
    predicted_iou, stability, present
        The model's own measures, see `sammed.models.protocols.ViewMask`.
    prompt
        What the model was given, in words: ``"box"``, ``"box + mask"``, ``"points"``, ...
    retries
        How many prompts were rejected before this one.
    answered
        The answer that this is, as the model gave it, of a model that remembers slices; ``None`` of
        what was made of several answers, or painted.
    """

    index: int
    region: Box2D
    logits: Float
    predicted_iou: float = 1.0
    stability: float = 1.0
    present: float = 1.0
    prompt: str = ""
    retries: int = 0
    answered: ViewMask | None = None

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """(height, width) bool on the region."""
        return self.logits > 0

    @cached_property
    def area(self) -> int:
        """Number of foreground pixels."""
        return int(np.count_nonzero(self.mask))

    @cached_property
    def box(self) -> Box2D:
        """Box of the mask without specks, in slice px; empty if the mask is."""
        if not self.area:
            return Box2D(0, 0, 0, 0)
        parts, n = ndimage.label(self.mask)
        mask = self.mask
        if n > 1:
            sizes = np.bincount(parts.ravel())
            sizes[0] = 0
            mask = (sizes >= SPECK * sizes.max())[parts] & mask
        tight = Box2D.from_mask(mask)
        r, c = self.region.r0, self.region.c0
        return Box2D(tight.r0 + r, tight.c0 + c, tight.r1 + r, tight.c1 + c)

    @cached_property
    def centroid(self) -> tuple[float, float]:
        """(row, col) of the mask's centre in slice px; of the region if the mask is empty."""
        if not self.area:
            return self.region.centre
        row, col = (float(v.mean()) for v in np.nonzero(self.mask))
        return row + self.region.r0, col + self.region.c0

    def on(self, region: Box2D) -> Float:
        """Logits on another region of the same slice, `OUTSIDE_LOGIT` where nothing is known."""
        logits = np.full(region.shape, OUTSIDE_LOGIT, np.float32)
        common = self.region.intersection(region)
        if not common.is_empty:
            r, c = common.r0 - region.r0, common.c0 - region.c0
            h, w = common.shape
            dr, dc = common.r0 - self.region.r0, common.c0 - self.region.c0
            logits[r : r + h, c : c + w] = self.logits[dr : dr + h, dc : dc + w]
        return logits


@dataclass(frozen=True)
class SlicePrompt:
    """One object's prompt on one slice, in slice pixels.

    Attributes
    ----------
    box
        Where the object is; ``None`` if points or the prior say it.
    points
        Clicked pixels.
    prior
        A mask that the object is expected to resemble: the neighbour's, or an earlier answer.
    name
        What the prompt is called in the report.
    depth
        Of a box that is the outline of a 3D box: where the slice lies in it, see `ViewPrompt`.
    mirrored
        Whether the model is to see its view in a mirror.
    share
        Side of the view as a share of the usual one; the box stays in it.
    final
        Whether the box was drawn for this slice and no chain starts from the answer.
    candidate
        Which of the model's candidates is meant, from 1; 0: the engine chooses.
    strokes
        Scribbles on the slice, for models that know them; points along them are among ``points``.
    """

    box: Box2D | None = None
    points: tuple[ClickedPoint, ...] = ()
    prior: SliceResult | None = field(default=None, compare=False)
    name: str = "box"
    depth: float = 0.0
    mirrored: bool = False
    share: float = 1.0
    final: bool = False
    candidate: int = 0
    strokes: tuple[SliceStroke, ...] = ()

    @property
    def shown(self) -> list[Box2D]:
        """Boxes of what was clicked or stroked in the object."""
        clicked = [Box2D(p.row, p.col, p.row + 1, p.col + 1) for p in self.points if p.positive]
        return clicked + [stroke.box for stroke in self.strokes if stroke.positive]


def overlap(a: SliceResult, b: SliceResult) -> tuple[float, float]:
    """IoU of two masks in slice pixels, and the share of the smaller one that they have in common.

    Both are 0 if either mask is empty.
    """
    region = a.region.union(b.region)
    common = int(np.count_nonzero((a.on(region) > 0) & (b.on(region) > 0)))
    smaller = min(a.area, b.area)
    if not smaller:
        return 0.0, 0.0
    return common / (a.area + b.area - common), common / smaller


def unite(results: Sequence[SliceResult]) -> SliceResult:
    """Union of masks of one object on one slice; its measures are those of the worst part."""
    if len(results) == 1:
        return results[0]
    region = results[0].region
    for other in results[1:]:
        region = region.union(other.region)
    worst = min(results, key=lambda r: r.predicted_iou)
    logits = np.max([r.on(region) for r in results], axis=0)
    present = max(r.present for r in results)
    return replace(worst, region=region, logits=logits, present=present, answered=None)


def painted(index: int, mask: NDArray[np.bool_]) -> SliceResult:
    """A slice that the user painted, (height, width) bool, as a result that needs no model."""
    region = Box2D.from_mask(mask)
    logits = np.where(mask[region.slices], -OUTSIDE_LOGIT, OUTSIDE_LOGIT).astype(np.float32)
    return SliceResult(index, region, logits, prompt="painted")


def blend(
    forward: SliceResult | None, backward: SliceResult | None, share: float
) -> SliceResult | None:
    """Join two answers for one slice between two prompted ones.

    Parameters
    ----------
    forward, backward
        From the chain of either side; ``None`` where it did not get there.
    share
        Weight in [0, 1] of the backward answer: the slice's distance from the forward start over
        the length of the span.
    """
    if forward is None or backward is None:
        return forward or backward
    region = forward.region.union(backward.region)
    logits = (1 - share) * forward.on(region) + share * backward.on(region)
    nearer = forward if share < 0.5 else backward
    return replace(
        nearer,
        region=region,
        logits=np.asarray(logits, np.float32),
        predicted_iou=(1 - share) * forward.predicted_iou + share * backward.predicted_iou,
        present=max(forward.present, backward.present),
        answered=None,
    )
