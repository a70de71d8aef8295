"""Dense layers for inference on a CPU: weights packed once, the next operation fused in.

PyTorch multiplies float32 matrices with MKL; oneDNN, which it also carries, is up to twice as fast
on some processors and can add a residual or apply GELU while a result is still in the cache. It
is reached by the operators that ``torch.compile`` emits; where they are missing, or do not give
the right answer, the plain functions are used.
"""

from __future__ import annotations

from functools import lru_cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional


class PackedLinear:
    """A linear layer with its weights packed for a number of rows.

    Parameters
    ----------
    weight : (out, in)
        The weights; not changed.
    bias : (out,) or None
        What is added to each row.
    rows
        Number of rows of the inputs to come; others work too, more slowly.
    pack
        Pack the weights if oneDNN can.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, rows: int, pack: bool = True) -> None:
        self._weight = weight.detach()
        self.bias = None if bias is None else bias.detach()
        self._packed = pack and has_onednn() and _suits_onednn(self._weight)
        if self._packed:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(self._weight.contiguous(), rows)

    def __call__(self, x: Tensor, *, gelu: bool = False, add: Tensor | None = None) -> Tensor:
        """``x`` (rows, in) times the weights plus bias; then GELU or another tensor added.

        Parameters
        ----------
        x : (rows, in) float
            Contiguous.
        gelu
            Apply the exact (erf) GELU.
        add : (rows, out) float
            Added to the result; not with ``gelu``.
        """
        if self._packed:
            if add is not None:
                return fused_add(x, self._weight, self.bias, add)
            return fused(x, self._weight, self.bias, gelu=gelu)
        y = functional.linear(x, self._weight, self.bias)
        if gelu:
            return functional.gelu(y)
        return y if add is None else y.add_(add)


def fused(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, gelu: bool = False) -> Tensor:
    """OneDNN's ``x @ weight.T + bias`` with GELU fused; `has_onednn` must hold."""
    after, algorithm = ("gelu", "none") if gelu else ("none", "")
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, after, [], algorithm)
    return result


def fused_add(x: Tensor, weight: Tensor, bias: Tensor | None, add: Tensor) -> Tensor:
    """OneDNN's ``x @ weight.T + bias + add``; `has_onednn` must hold."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, add, weight, bias, "add")
    return result


WORTH_IT = 64
"""With fewer rows than this, what a product costs is reading its weights."""


def quicken(network: nn.Module) -> None:
    """Let the linear layers of a network multiply by oneDNN; they keep their weights."""
    if has_onednn():
        for module in network.modules():
            if type(module) is nn.Linear:
                module.forward = partial(_linear, module)  # type: ignore[method-assign]


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    if not is_for_onednn(x) or x.numel() < WORTH_IT * layer.in_features:
        return functional.linear(x, layer.weight, layer.bias)
    rows = x.reshape(-1, layer.in_features)
    return product(rows, layer.weight, layer.bias).view(*x.shape[:-1], -1)


def is_for_onednn(x: Tensor) -> bool:
    """Whether `product` may take it: float32 on a CPU, and no gradient is wanted."""
    wanted = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_grad_enabled()
    return wanted and has_onednn()


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, gelu: bool = False) -> Tensor:
    """``x @ weight.T + bias``, then GELU, by oneDNN if it can; nothing is packed or kept."""
    if has_onednn():
        return fused(x, weight, bias, gelu=gelu)
    y = functional.linear(x, weight, bias)
    return functional.gelu(y) if gelu else y


def product_add(x: Tensor, weight: Tensor, bias: Tensor | None, add: Tensor) -> Tensor:
    """``x @ weight.T + bias + add``, by oneDNN if it can; nothing is packed or kept."""
    if has_onednn():
        return fused_add(x, weight, bias, add)
    return functional.linear(x, weight, bias) + add


@lru_cache(maxsize=1)
def has_onednn() -> bool:
    """Whether oneDNN's fused operators are here and right, tried once on a small case."""
    if not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    x, weight, bias, add = (
        torch.randn(shape, generator=generator) for shape in ((8, 24), (16, 24), (16,), (8, 16))
    )
    try:
        with torch.inference_mode():
            packed = torch.ops.mkldnn._reorder_linear_weight(weight, 8)
            plain = fused(x, packed, bias, gelu=True)
            summed = fused_add(x, packed, bias, add)
            strided = fused(x, weight.t().contiguous().t(), bias)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
    expected = functional.linear(x, weight, bias)
    return (
        torch.allclose(plain, functional.gelu(expected), atol=1e-5)
        and torch.allclose(summed, expected + add, atol=1e-5)
        and torch.allclose(strided, expected, atol=1e-5)
    )


def _suits_onednn(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype == torch.float32
