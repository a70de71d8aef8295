"""Kernels in 8 or 4 bits, with a scale for each output channel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def eight_bit(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """A kernel as whole numbers and a scale for each output channel.

    Parameters
    ----------
    kernel : (outputs, ...)
        Of at least two dimensions.

    Returns
    -------
    numbers : (outputs, ...) int8
    scales : (outputs,) float32
        ``numbers * scales`` is the kernel, to half a step.
    """
    scales = kernel.flatten(1).abs().amax(1).clamp_min(1e-12) / 127
    shaped = scales.reshape(-1, *[1] * (kernel.ndim - 1))
    return torch.round(kernel / shaped).to(torch.int8).contiguous(), scales.contiguous()


def four_bit(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """A kernel as whole numbers from -7 to 7, two in a byte, and a scale for each output channel.

    The scale is the one with the least squared error: a few large values may be cut off.

    Parameters
    ----------
    kernel : (outputs, ...)
        Of at least two dimensions.

    Returns
    -------
    pairs : (outputs, ceil(n / 2)) uint8
        Of the ``n`` numbers of an output channel, each plus 8, the first in the upper half.
    scales : (outputs,) float32
        ``from_four_bit`` gives the kernel back, nearly.
    """
    rows = kernel.flatten(1)
    most = rows.abs().amax(1, keepdim=True).clamp_min(1e-12) / 7
    tried = [most * share for share in torch.linspace(0.4, 1.0, 13)]
    numbers = [torch.round(rows / scale).clamp(-7, 7) for scale in tried]
    errors = [(n * s - rows).square().sum(1) for n, s in zip(numbers, tried, strict=True)]
    best = torch.stack(errors).argmin(0)
    each = torch.arange(len(rows))
    chosen = (torch.stack(numbers)[best, each] + 8).to(torch.uint8)
    chosen = functional.pad(chosen, (0, rows.shape[1] % 2))
    return chosen[:, ::2] * 16 + chosen[:, 1::2], torch.stack(tried)[best, each, 0]


def from_four_bit(pairs: Tensor, scales: Tensor, shape: torch.Size) -> Tensor:
    """The kernel of `four_bit`, as float32 of a shape."""
    numbers = torch.stack((pairs // 16, pairs % 16), 2).flatten(1).float() - 8
    rows = numbers[:, : shape[1:].numel()] * scales[:, None]
    return rows.reshape(shape)
