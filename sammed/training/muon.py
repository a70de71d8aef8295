"""Muon: momentum whose matrices are made orthogonal before each step, for convolutions.

Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/: every direction of a weight matrix
learns at the same speed, which takes fewer steps than Adam.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration that drives all singular values to about 1."""


def orthogonal(matrix: Tensor, rounds: int = 5) -> Tensor:
    """About the nearest matrix with equal singular values.

    Parameters
    ----------
    matrix : (n, m)
        Any 2D tensor.
    rounds
        Newton-Schulz iterations.
    """
    a, b, c = COEFFICIENTS
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(rounds):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Muon for tensors of two and more dimensions (convolutions as matrices).

    Parameters
    ----------
    parameters
        Weights; their first dimension counts outputs.
    lr
        Typical change of a weight matrix in a step, relative to an orthogonal one.
    momentum
        Nesterov momentum.
    weight_decay
        Decoupled.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step."""
        del closure
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                mean = state["momentum"]
                mean.lerp_(p.grad, 1 - group["momentum"])
                ahead = p.grad.lerp(mean, group["momentum"])
                flat = ahead.reshape(p.shape[0], -1)
                size = max(1.0, flat.shape[0] / flat.shape[1]) ** 0.5
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(orthogonal(flat).view_as(p), alpha=-group["lr"] * size)
