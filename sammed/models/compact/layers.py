"""What our own networks are built of, in two and in three dimensions."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

_CONV = {2: nn.Conv2d, 3: nn.Conv3d}
_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class ConvNorm(nn.Sequential):
    """A convolution of width 3 and its batch norm, in ``dims`` dimensions."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, *, dims: int = 2) -> None:
        super().__init__(
            _CONV[dims](inputs, outputs, 3, stride, 1, bias=False), _NORM[dims](outputs)
        )


class Residual(nn.Module):
    """Two of them round which the input is carried; starts near the identity."""

    def __init__(self, width: int, *, dims: int = 2) -> None:
        super().__init__()
        self.first, self.second = (ConvNorm(width, width, dims=dims) for _ in range(2))
        norm = self.second[1]
        if isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.constant_(norm.weight, 0.2)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return functional.relu(x + self.second(functional.relu(self.first(x))))


def residuals(width: int, count: int, *, dims: int = 2) -> nn.Sequential:
    """Residual blocks one after the other."""
    return nn.Sequential(*[Residual(width, dims=dims) for _ in range(count)])
