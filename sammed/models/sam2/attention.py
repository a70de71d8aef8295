"""SAM 2's look at its memory, with a third less work and the same result.

Each of 4096 places of a slice looks at seven slices of memory. What is remembered of a place are 64
numbers; SAM 2 makes 256 of them before it weighs them. Weighing the 64 and making 256 of the sum is
the same, as both are linear: ``softmax(l) @ (m @ W.T + b) == (softmax(l) @ m) @ W.T + b``. The sum
of the weights comes out of the same product, by a column of ones; and where logits cannot be large,
their maximum need not be sought.

Products of matrices are oneDNN's where it is there, in the rest of the network as well: PyTorch's
own ones take twice as long on some processors.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sammed.models.sam.lean_decoder import LeanTransformer
from sammed.models.sam.packed_linear import product, quicken

SAFE_LOGIT = 60.0
"""Exponentials of smaller logits, and sums of many of them, fit into float32."""

QUERIES, KEYS = 512, 2048
"""How many are multiplied at once: their logits stay in the cache."""


def make_lean(network: Any) -> None:
    """Let a network's attention and linear layers work so; it keeps its weights."""
    quicken(network)
    for layer in network.memory_attention.layers:
        layer.self_attn.forward = LeanSelfAttention(layer.self_attn)
        layer.cross_attn_image.forward = LeanCrossAttention(layer.cross_attn_image)
    transformer = network.sam_mask_decoder.transformer
    transformer.forward = LeanTransformer(transformer)


class _Lean:
    """The forward pass of one of SAM 2's ``RoPEAttention`` modules.

    Parameters
    ----------
    attention
        The module; where the short way does not lead to the same result (a GPU, several heads), its
        own way is gone.
    """

    def __init__(self, attention: Any) -> None:
        self._of = attention
        self._own = type(attention).forward

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, num_k_exclude_rope: int = 0) -> Tensor:
        """As ``RoPEAttention.forward``, of one object: (1, n, 256)."""
        if self._of.num_heads == len(q) == 1 and q.device.type == "cpu":
            queries, keys = self._rotated(q[0], k[0], num_k_exclude_rope)
            seen: Tensor = self._of.out_proj(self._weighed(queries, keys, v[0]))
            return seen[None]
        own: Tensor = self._own(self._of, q, k, v, num_k_exclude_rope=num_k_exclude_rope)
        return own

    def _weighed(self, queries: Tensor, keys: Tensor, v: Tensor) -> Tensor:
        raise NotImplementedError

    def _rotated(self, q: Tensor, k: Tensor, without: int) -> tuple[Tensor, Tensor]:
        """Queries (n, 256), scaled, and keys (m, 256); the last ``without`` keys have no place."""
        queries, keys = self._of.q_proj(q), self._of.k_proj(k)
        turns, places = self._of.freqs_cis, len(queries)
        if len(turns) != places:
            side = math.isqrt(places)
            turns = self._of.freqs_cis = self._of.compute_cis(end_x=side, end_y=side)
        for rows in (queries, keys[: len(keys) - without]):
            pairs = rows.view(-1, places, rows.shape[1] // 2, 2)
            torch.view_as_complex(pairs).mul_(turns)
        return queries.mul_(queries.shape[1] ** -0.5), keys


class LeanCrossAttention(_Lean):
    """A look at a memory: (1, n, 256), (1, m, 64), (1, m, 64) to (1, n, 256)."""

    def _weighed(self, queries: Tensor, keys: Tensor, v: Tensor) -> Tensor:
        made: Tensor = self._of.v_proj(weigh(queries, keys, v))
        return made


class LeanSelfAttention(_Lean):
    """A slice's look at itself."""

    def _weighed(self, queries: Tensor, keys: Tensor, v: Tensor) -> Tensor:
        return weigh(queries, keys, self._of.v_proj(v))


def weigh(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Softmax of ``queries @ keys.T`` times the values.

    Parameters
    ----------
    queries : (n, d)
        Scaled.
    keys : (m, d)
        What they are compared with.
    values : (m, c)
        What is weighed.

    Returns
    -------
    (n, c)
        The values' weighted means.
    """
    longest = float(queries.norm(dim=1).max() * keys.norm(dim=1).max())
    add_up = _add_up if longest < SAFE_LOGIT else _add_up_any
    counted = functional.pad(values, (0, 1), value=1.0).split(KEYS)
    known = [(k, v.t().contiguous()) for k, v in zip(keys.split(KEYS), counted, strict=True)]
    sums = torch.cat([add_up(band, known) for band in queries.split(QUERIES)])
    return sums[:, :-1] / sums[:, -1:]


def _add_up(queries: Tensor, known: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Sums of values and of ones, (n, c + 1), if no logit exceeds `SAFE_LOGIT`."""
    sums = queries.new_zeros(len(queries), len(known[0][1]))
    for keys, values in known:
        sums += product(product(queries, keys).exp_(), values)
    return sums


def _add_up_any(queries: Tensor, known: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The same for any logits, up to a factor: what is largest so far is taken off."""
    sums = queries.new_zeros(len(queries), len(known[0][1]))
    largest = queries.new_full((len(queries), 1), -math.inf)
    for keys, values in known:
        logits = product(queries, keys)
        before, largest = largest, torch.maximum(largest, logits.amax(dim=1, keepdim=True))
        sums = sums * (before - largest).exp_() + product(logits.sub_(largest).exp_(), values)
    return sums
