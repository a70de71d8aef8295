"""segment-anything's attention with relative positions, without its detours.

The logit of query ``(h, w)`` for key ``(i, j)`` is ``q·k / sqrt(d) + q·Rh[h - i] + q·Rw[w - j]``
(Li et al. 2022, MViTv2, doi:10.1109/CVPR52688.2022.00476). segment-anything writes all logits,
adds both terms in two more passes over them, and takes the softmax in a fourth; for 64 x 64 tokens
and twelve heads each pass goes over 805 MB. Here they are computed a band of queries at a time,
small enough to stay in the cache.
"""

from __future__ import annotations

import torch
from segment_anything.modeling.image_encoder import get_rel_pos
from torch import Tensor
from torch.nn import functional

from sammed.models.sam.packed_linear import fused, fused_add, has_onednn

BAND_BYTES = 1 << 20
"""Logits that one thread holds at a time: about half of a core's own cache."""

BANDED_FROM = 1024
"""With fewer tokens than this all logits fit into the cache at once."""

HEADS_AT_ONCE = 16
"""Where bands do not pay (a GPU), the biases of this many heads are held at a time."""


class RelativePositions:
    """Tables of relative positions for a grid of tokens.

    Parameters
    ----------
    rel_pos_h, rel_pos_w : (2 * n - 1, d)
        segment-anything's parameters, interpolated if made for another grid.
    grid
        Rows and columns of tokens.
    """

    def __init__(self, rel_pos_h: Tensor, rel_pos_w: Tensor, grid: tuple[int, int]) -> None:
        self.grid = grid
        self._rows = get_rel_pos(grid[0], grid[0], rel_pos_h).detach().contiguous()
        self._cols = get_rel_pos(grid[1], grid[1], rel_pos_w).detach().contiguous()

    def terms(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """The two terms of the logits for queries (n, h * w, d).

        Returns
        -------
        (n, h * w, h, 1), (n, h * w, 1, w)
            Their sum broadcasts to the keys' grid.
        """
        (h, w), (n, _, d) = self.grid, q.shape
        by_place = q.reshape(n, h, w, d)
        rows = torch.einsum("nhwc,hkc->nhwk", by_place, self._rows.to(q.dtype))
        cols = torch.einsum("nhwc,wkc->nhwk", by_place, self._cols.to(q.dtype))
        return rows.reshape(n, h * w, h, 1), cols.reshape(n, h * w, 1, w)


def attend(q: Tensor, k: Tensor, v: Tensor, positions: RelativePositions) -> Tensor:
    """Attention over a grid of tokens with relative positions.

    Parameters
    ----------
    q, k, v : (n, h * w, d)
        ``n`` counts heads, windows and images alike.
    positions
        Tables for the grid.

    Returns
    -------
    (n, h * w, d)
        The values, weighted.
    """
    if q.shape[1] < BANDED_FROM:
        return _attend_at_once(q, k, v, positions)
    on_cpu = q.device.type == "cpu" and q.dtype == torch.float32
    if on_cpu and not torch.compiler.is_compiling():
        return _attend_in_bands(q, k, v, positions)
    parts = (slice(start, start + HEADS_AT_ONCE) for start in range(0, len(q), HEADS_AT_ONCE))
    return torch.cat([_attend_at_once(q[p], k[p], v[p], positions) for p in parts])


def _attend_at_once(q: Tensor, k: Tensor, v: Tensor, positions: RelativePositions) -> Tensor:
    rows, cols = positions.terms(q)
    bias = (rows + cols).flatten(2)
    return functional.scaled_dot_product_attention(q[None], k[None], v[None], bias[None])[0]


def _attend_in_bands(q: Tensor, k: Tensor, v: Tensor, positions: RelativePositions) -> Tensor:
    """One head and one band of queries at a time."""
    n, tokens, d = q.shape
    band = max(1, BAND_BYTES * torch.get_num_threads() // (4 * tokens))
    rows, cols = positions.terms(q)
    scaled = q * d**-0.5
    out = torch.empty_like(q)
    logits = q.new_empty(min(band, tokens), tokens)
    weigh = _weigh_onednn if has_onednn() else _weigh
    for head in range(n):
        keys, values = k[head].contiguous(), v[head].t().contiguous()
        for start in range(0, tokens, band):
            part = slice(start, min(start + band, tokens))
            bias = logits[: part.stop - start]
            grid = bias.view(len(bias), *positions.grid)
            torch.add(rows[head, part], cols[head, part], out=grid)
            out[head, part] = weigh(scaled[head, part], keys, values, bias)
    return out


def _weigh(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Softmax of ``q @ keys.T + bias`` times the values (given as (d, tokens))."""
    return torch.softmax(torch.addmm(bias, q, keys.t()), dim=-1) @ values.t()


def _weigh_onednn(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    return fused(torch.softmax(fused_add(q, keys, None, bias), dim=-1), values)
