"""segment-anything's mask decoder with half of the multiplications and the same result.

Seven or so tokens and 4096 places of a view look at each other. segment-anything makes keys,
queries and values of all places, and sums of values into what each place takes up. As all of that
is linear, the few tokens can be moved to where the places are: ``(x @ K.T) @ q == x @ (K.T @ q)``,
``(w @ x) @ V.T == w @ (x @ V.T)``, and ``w @ (v @ O.T)`` for ``(w @ v) @ O.T``. What a bias adds to
all logits of a softmax alike is left out.

The masks are then made place by place, as products of matrices: a transposed convolution whose
windows do not overlap is nothing else.

HQ-SAM, MobileSAM and SAM 2 have the same transformer in packages of their own. Weights are read
from the modules at each call, so that nothing here is stale when they change; where another module
stands for one of the linear layers (an adapter), the decoder's own way is gone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from sammed.models.sam.packed_linear import is_for_onednn, product, product_add

SAFE_LOGIT = 60.0
"""Exponentials of logits up to here, either way, and sums of them, fit into float32."""

Module = TypeVar("Module", bound=nn.Module)


def lean_decoder(decoder: Module) -> Module:
    """A mask decoder that shares the weights of another, which stays as it is.

    Parameters
    ----------
    decoder
        ``MaskDecoder`` of segment-anything, or ``MaskDecoderHQ``.
    """
    return replaced(
        decoder,
        transformer=_with_forward(decoder.transformer, LeanTransformer(decoder.transformer)),
        output_upscaling=_with_forward(
            decoder.output_upscaling, LeanUpscaling(decoder.output_upscaling)
        ),
    )


def with_lean_decoder(network: Module) -> Module:
    """A network that shares all weights with another and decodes by `lean_decoder`."""
    decoder: Any = network.mask_decoder
    return replaced(network, mask_decoder=lean_decoder(decoder))


def replaced(module: Module, **parts: Any) -> Module:
    """A module with other parts in it; all else is shared.

    Parameters
    ----------
    module
        Stays as it is.
    **parts
        Submodules by the names that they have in it.
    """
    made = copy.copy(module)
    made._modules = {**module._modules, **parts}
    return made


def _with_forward(module: Any, forward: Any) -> Any:
    made = copy.copy(module)
    made.forward = forward
    return made


class LeanTransformer:
    """The forward pass of a ``TwoWayTransformer``.

    Parameters
    ----------
    transformer
        The module; where the short way is not quicker (a GPU, no oneDNN) or would not lead to the
        same result (layers that are not linear, gradients), its own way is gone.
    """

    def __init__(self, transformer: Any) -> None:
        self._of = transformer
        self._own = type(transformer).forward

    def __call__(self, image: Tensor, positions: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """As ``TwoWayTransformer.forward``.

        Parameters
        ----------
        image, positions : (b, c, h, w)
            The view, and where its places are.
        tokens : (b, t, c)
            Of the prompt and of what is asked.

        Returns
        -------
        (b, t, c), (b, h * w, c)
            Tokens and places after they have looked at each other.
        """
        if not (is_for_onednn(image) and all(type(p) is nn.Linear for p in self._projections())):
            own: tuple[Tensor, Tensor] = self._own(self._of, image, positions, tokens)
            return own
        pairs = [
            self._look(_as_rows(seen), _as_rows(where), asked)
            for seen, where, asked in zip(image, positions, tokens, strict=True)
        ]
        queries, places = zip(*pairs, strict=True)
        return torch.stack(queries), places[0][None] if len(places) == 1 else torch.stack(places)

    def _projections(self) -> Iterator[Any]:
        """The layers that are taken apart."""
        looks = [self._of.final_attn_token_to_image]
        for layer in self._of.layers:
            looks += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
        for look in looks:
            yield from (look.q_proj, look.k_proj, look.v_proj, look.out_proj)

    def _look(self, places: Tensor, where: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (t, c) and places (n, c) of one prompt."""
        queries = tokens
        for layer in self._of.layers:
            queries = layer.norm1(_among_themselves(layer, queries, tokens))
            placed = places + where
            seen = _look_at_places(
                layer.cross_attn_token_to_image, queries + tokens, placed, places
            )
            queries = layer.norm2(queries + seen)
            queries = layer.norm3(queries + layer.mlp(queries))
            places = layer.norm4(
                _look_at_tokens(
                    layer.cross_attn_image_to_token, placed, queries + tokens, queries, places
                )
            )
        seen = _look_at_places(
            self._of.final_attn_token_to_image, queries + tokens, places + where, places
        )
        return self._of.norm_final_attn(queries + seen), places


class LeanUpscaling:
    """The forward pass of a mask decoder's ``output_upscaling``.

    Parameters
    ----------
    upscaling
        The module: transposed convolution, norm, GELU, transposed convolution, GELU.
    """

    def __init__(self, upscaling: Any) -> None:
        self._of = upscaling
        self._own = type(upscaling).forward

    def __call__(self, image: Tensor) -> Tensor:
        """Features (b, c, h, w) as (b, c / 8, 4 * h, 4 * w), channels last in memory."""
        if not (is_for_onednn(image) and all(_is_apart(self._of[i]) for i in (0, 3))):
            own: Tensor = self._own(self._of, image)
            return own
        first, norm, _, second, _ = self._of
        b, c, h, w = image.shape
        x = _enlarged(image.permute(0, 2, 3, 1).reshape(-1, c), first)
        x = functional.gelu(functional.layer_norm(x, x.shape[1:], norm.weight, norm.bias, norm.eps))
        x = _enlarged(x, second, gelu=True)
        shape = (b, h, w, 2, 2, 2, 2, x.shape[1])  # row and column, and twice where within
        x = x.view(shape).permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(b, 4 * h, 4 * w, -1)
        return x.permute(0, 3, 1, 2)


def _is_apart(convolution: Any) -> bool:
    """Whether the windows of a transposed convolution do not overlap."""
    return (
        type(convolution) is nn.ConvTranspose2d
        and convolution.kernel_size == convolution.stride == (2, 2)
        and convolution.padding == convolution.output_padding == (0, 0)
        and convolution.groups == 1
    )


def _as_rows(image: Tensor) -> Tensor:
    """(c, h, w) as (h * w, c)."""
    return image.flatten(1).t().contiguous()


def _enlarged(rows: Tensor, convolution: Any, *, gelu: bool = False) -> Tensor:
    """Places (n, c) through a transposed convolution of windows 2 x 2: (4 * n, c')."""
    weight = convolution.weight.permute(2, 3, 1, 0).reshape(-1, rows.shape[1])
    made = product(rows, weight, convolution.bias.repeat(4), gelu=gelu)
    return made.view(-1, convolution.out_channels)


def _among_themselves(layer: Any, queries: Tensor, tokens: Tensor) -> Tensor:
    if layer.skip_first_layer_pe:
        alone: Tensor = layer.self_attn(queries[None], queries[None], queries[None])[0]
        return alone
    asked = (queries + tokens)[None]
    seen: Tensor = layer.self_attn(asked, asked, queries[None])[0]
    return queries + seen


def _look_at_places(attention: Any, queries: Tensor, placed: Tensor, places: Tensor) -> Tensor:
    """What queries (t, c) see of places (n, c), which are told apart by ``placed``."""
    asked = _from_heads(_in_heads(attention.q_proj(queries), attention), attention.k_proj)
    weights = torch.softmax(product(asked, placed), dim=-1)
    seen = product(weights, places.t()).view(attention.num_heads, len(queries), -1)
    made = torch.bmm(seen, _by_head(attention.v_proj, attention).transpose(1, 2))
    result: Tensor = attention.out_proj(made.transpose(0, 1).flatten(1) + attention.v_proj.bias)
    return result


def _look_at_tokens(
    attention: Any, placed: Tensor, asked: Tensor, told: Tensor, places: Tensor
) -> Tensor:
    """Places (n, c) with what they take up of tokens (t, c), found by ``asked``."""
    keys = _in_heads(attention.k_proj(asked), attention)
    bias = torch.bmm(keys, attention.q_proj.bias.view(attention.num_heads, -1, 1))
    logits = product(placed, _from_heads(keys, attention.q_proj), bias.flatten())
    weights = _shares(logits.view(len(places), attention.num_heads, -1)).flatten(1)
    values = attention.v_proj(told).unflatten(1, (attention.num_heads, -1)).transpose(0, 1)
    out = attention.out_proj.weight.unflatten(1, (attention.num_heads, -1)).permute(1, 2, 0)
    said = torch.bmm(values, out).flatten(0, 1)
    return product_add(weights, said.t().contiguous(), attention.out_proj.bias, places)


def _in_heads(projected: Tensor, attention: Any) -> Tensor:
    """(t, heads * d) as (heads, t, d), scaled as logits are."""
    split = projected.unflatten(1, (attention.num_heads, -1)).transpose(0, 1)
    return split * split.shape[-1] ** -0.5


def _by_head(linear: Any, attention: Any) -> Tensor:
    """Weights (heads * d, c) as (heads, d, c)."""
    split: Tensor = linear.weight.unflatten(0, (attention.num_heads, -1))
    return split


def _from_heads(split: Tensor, linear: Any) -> Tensor:
    """What (heads, t, d) are compared with, as seen before a linear layer: (heads * t, c)."""
    weight = linear.weight.unflatten(0, (len(split), -1))
    return torch.bmm(split, weight).flatten(0, 1)


def _shares(logits: Tensor) -> Tensor:
    """Softmax over the last axis, of a few; PyTorch's own is ten times slower on so few."""
    if float(logits.abs().max()) >= SAFE_LOGIT:
        return torch.softmax(logits, dim=-1)
    weights = logits.exp_()
    return weights.div_(weights.sum(dim=-1, keepdim=True))
