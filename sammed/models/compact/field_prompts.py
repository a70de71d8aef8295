"""Prompts as channels on a field: the same drawing in training and in use.

Everything is in samples of the field, edge coordinates: sample ``i`` covers ``[i, i + 1)``. Rows of
a batch are drawn at once; ``n`` is their number, ``s`` the samples along a side.
"""

from __future__ import annotations

import torch
from torch import Tensor

PROMPTS = ("box", "slab", "click in", "click out", "painted", "stroke in", "stroke out", "former")
"""The channels, in order.

Of a 3D box: 1 inside, -1 outside. Of boxes on slices and of painted slices: 1 inside and -1 outside
on the slice, 0 elsewhere. Clicks: spots; strokes: lines. The former answer: ``tanh(logit / 4)``. A
channel of which nothing was said is 0 throughout.
"""

BOX, SLAB, CLICK_IN, CLICK_OUT, PAINTED, STROKE_IN, STROKE_OUT, FORMER = range(len(PROMPTS))

CLICK_REACH = 2
"""Samples round a click's that its spot reaches."""


def no_prompts(count: int, size: int, device: torch.device | str = "cpu") -> Tensor:
    """Channels of which nothing was said, (count, len(PROMPTS), size, size, size) float32."""
    return torch.zeros(count, len(PROMPTS), size, size, size, device=device)


def intervals(spans: Tensor, size: int) -> Tensor:
    """Which samples lie in intervals: those whose centres do, at least the nearest.

    Parameters
    ----------
    spans : (..., 2)
        Ends in samples; of NaN and beyond the field nothing is in.
    size
        Samples along the axis.

    Returns
    -------
    (..., size) bool

    Examples
    --------
    >>> intervals(torch.tensor([[1.0, 3.0], [1.6, 2.4], [-9.0, -1.0]]), 4).int().tolist()
    [[0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    """
    low, high = spans[..., :1], spans[..., 1:]
    index = torch.arange(size, device=spans.device)
    centres = index + 0.5
    nearest = index == ((low + high) / 2).nan_to_num(-1.0).floor()
    return ((centres >= low) & (centres < high)) | nearest


def blocks(spans: Tensor, size: int) -> Tensor:
    """Which samples lie in blocks.

    Parameters
    ----------
    spans : (n, 3, 2)
        Edges in samples along z, y, x; NaN: no block.
    size
        Samples along each side.

    Returns
    -------
    (n, s, s, s) bool
    """
    z, y, x = intervals(spans, size).unbind(1)
    return z[:, :, None, None] & y[:, None, :, None] & x[:, None, None, :]


def signed(inside: Tensor, given: Tensor) -> Tensor:
    """1 inside and -1 outside where something was said, 0 elsewhere; both bool."""
    return torch.where(given, torch.where(inside, 1.0, -1.0), 0.0)


def joined(given: Tensor, more: Tensor) -> Tensor:
    """Two things said on one channel: inside if either says so, nothing where neither did.

    Examples
    --------
    >>> joined(torch.tensor([0.0, -1.0, 1.0, 0.0]), torch.tensor([-1.0, 1.0, -1.0, 0.0])).tolist()
    [-1.0, 1.0, 1.0, 0.0]
    """
    return torch.where(more == 0, given, torch.where(given == 0, more, torch.maximum(given, more)))


def box_channel(spans: Tensor, size: int) -> Tensor:
    """The channel of 3D boxes, (n, s, s, s); ``spans`` as in `blocks`."""
    given = spans.isfinite().flatten(1).all(1)[:, None, None, None]
    return signed(blocks(spans, size), given.expand(-1, size, size, size))


def slab_channel(spans: Tensor, axis: Tensor, size: int) -> Tensor:
    """The channel of one box on a slice each.

    Parameters
    ----------
    spans : (n, 3, 2)
        As in `blocks`; one voxel thick along the axis.
    axis : (n,) int
        Across which the slice lies.
    size
        Samples along each side.

    Returns
    -------
    (n, s, s, s)
    """
    whole = spans.clone()
    others = torch.arange(3, device=spans.device) != axis[:, None]
    given = others & spans.isfinite().flatten(1).all(1)[:, None]
    whole[..., 0] = torch.where(given, torch.zeros_like(spans[..., 0]), spans[..., 0])
    whole[..., 1] = torch.where(given, torch.full_like(spans[..., 1], float(size)), spans[..., 1])
    return signed(blocks(spans, size), blocks(whole, size))


def spots(points: Tensor, size: int, reach: int) -> Tensor:
    """Spots that fade in cubes: 1 at the samples that hold a point, then less by equal steps.

    Parameters
    ----------
    points : (n, k, 3)
        In samples; those beyond the field, and NaN, are left out.
    size
        Samples along each side.
    reach
        Samples beyond a point's that get something.

    Returns
    -------
    (n, s, s, s) float32

    Examples
    --------
    >>> spots(torch.tensor([[[0.5, 1.9, 1.0], [0.0, -0.1, 0.0]]]), 2, 0).nonzero().tolist()
    [[0, 0, 1, 1]]
    """
    n = len(points)
    steps = torch.arange(-reach, reach + 1, device=points.device)
    around = torch.cartesian_prod(steps, steps, steps).reshape(-1, 3)
    levels = 1 - around.abs().amax(1) / (reach + 1)
    known = ((points >= 0) & (points < size)).all(2)[..., None]
    at = points.nan_to_num(0.0).floor().long()[:, :, None] + around
    known = known & ((at >= 0) & (at < size)).all(3)
    z, y, x = at.unbind(3)
    nowhere = size**3
    flat = torch.where(known, (z * size + y) * size + x, nowhere).flatten(1)
    values = levels.expand(known.shape).flatten(1)
    drawn = torch.zeros(n, nowhere + 1, device=points.device)
    drawn.scatter_reduce_(1, flat, values, "amax")
    return drawn[:, :nowhere].reshape(n, size, size, size)


def click_channel(points: Tensor, size: int) -> Tensor:
    """The channel of clicks, (n, s, s, s); arguments as in `spots`."""
    return spots(points, size, CLICK_REACH)


def stroke_channel(points: Tensor, size: int) -> Tensor:
    """The channel of strokes, given by the points that they pass, (n, s, s, s)."""
    return spots(points, size, 1)


def former_channel(logits: Tensor) -> Tensor:
    """The channel of a former answer, whose logits are on the field."""
    return torch.tanh(logits / 4)
