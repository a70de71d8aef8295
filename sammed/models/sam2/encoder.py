"""SAM 2's image encoder (Hiera) with quicker products of matrices and the same result.

The blocks that see the whole slice weigh its places as `sammed.models.sam2.attention` does, a band
at a time; GELU is applied while a product is still in the cache. Windows are left as they are.

The two finest levels go through two linear layers one after the other, from 96 numbers a place by
256 to 32; made one, 4 GFLOP and 130 MB are never needed. The encodings of positions that SAM 2
computes with its features are constant and known to the model.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sammed.models.sam.packed_linear import is_for_onednn, product
from sammed.models.sam2.attention import weigh

WHOLE = 1024
"""Places from which attention is worth its bands."""


def make_lean_encoder(network: Any) -> None:
    """Let the blocks of a network's image encoder work so; they keep their weights."""
    for block in network.image_encoder.trunk.blocks:
        if not block.window_size and block.attn.q_pool is None:
            block.attn.forward = partial(_attend, block.attn)
        if isinstance(getattr(block.mlp, "act", None), nn.GELU) and block.mlp.num_layers == 2:
            block.mlp.forward = partial(_dense, block.mlp)


def levels(network: Any, image: Tensor) -> list[Tensor]:
    """Features of an image (1, 3, size, size), the finest first.

    Returns
    -------
    [(1, 32, 4 * g, 4 * g), (1, 64, 2 * g, 2 * g), (1, 256, g, g)]
        As ``SAM2Base.forward_image`` has them in ``"backbone_fpn"``.
    """
    encoder, decoder = network.image_encoder, network.sam_mask_decoder
    neck = encoder.neck
    way = neck.fpn_top_down_levels, neck.fpn_interp_model, neck.fuse_type, encoder.scalp
    usual = way == ([2, 3], "nearest", "sum", 1) and network.use_high_res_features_in_sam
    layers = [convs.conv for convs in neck.convs][::-1]
    projected = [decoder.conv_s0, decoder.conv_s1] if usual else []
    if not (usual and is_for_onednn(image) and all(map(_is_dense, [*layers, *projected]))):
        found: list[Tensor] = network.forward_image(image)["backbone_fpn"]
        return found
    seen = encoder.trunk(image)
    finer = [
        _project(x, *_joined(first, then))
        for x, first, then in zip(seen, layers, projected, strict=False)
    ]
    coarse, coarsest = (
        _project(x, layer.weight.flatten(1), layer.bias)
        for x, layer in zip(seen[2:], layers[2:], strict=True)
    )
    return [*finer, coarse + functional.interpolate(coarsest, scale_factor=2.0, mode="nearest")]


def _is_dense(layer: Any) -> bool:
    return type(layer) is nn.Conv2d and layer.kernel_size == layer.stride == (1, 1)


def _joined(first: Any, then: Any) -> tuple[Tensor, Tensor]:
    """Weights and bias of two layers of 1 x 1 in one."""
    weight = then.weight.flatten(1)
    return weight @ first.weight.flatten(1), weight @ first.bias + then.bias


def _project(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Each place of (b, c, h, w) through a linear layer."""
    places = x.permute(0, 2, 3, 1)
    made = product(places.reshape(-1, places.shape[-1]), weight, bias)
    return made.view(*places.shape[:-1], -1).permute(0, 3, 1, 2)


def _attend(attention: Any, x: Tensor) -> Tensor:
    """As ``MultiScaleAttention.forward`` of places (b, h, w, c) that are not pooled."""
    b, h, w, _ = x.shape
    if not is_for_onednn(x) or h * w < WHOLE:
        own: Tensor = type(attention).forward(attention, x)
        return own
    split = attention.qkv(x).reshape(b, h * w, 3, attention.num_heads, -1)
    scale = split.shape[-1] ** -0.5
    seen = torch.stack(
        [
            torch.cat(
                [weigh(q * scale, k, v) for q, k, v in one.permute(2, 1, 0, 3).contiguous()], dim=1
            )
            for one in split
        ]
    )
    made: Tensor = attention.proj(seen.view(b, h, w, -1))
    return made


def _dense(mlp: Any, x: Tensor) -> Tensor:
    """As ``MLP.forward`` of two layers with a GELU between them."""
    plain = mlp.act.approximate == "none" and all(type(one) is nn.Linear for one in mlp.layers)
    if not (plain and is_for_onednn(x)):
        own: Tensor = type(mlp).forward(mlp, x)
        return own
    first, second = mlp.layers
    rows = product(x.reshape(-1, x.shape[-1]), first.weight, first.bias, gelu=True)
    return product(rows, second.weight, second.bias).view(*x.shape[:-1], -1)
