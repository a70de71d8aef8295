"""Slices as SAM 2 sees them: stretched to a square; masks there and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Frame:
    """An encoded slice.

    Attributes
    ----------
    coarse : (1, 256, g, g)
        What memories are made of and compared with.
    fine : [(1, 32, 4 * g, 4 * g), (1, 64, 2 * g, 2 * g)]
        What the mask decoder looks at beside it.
    extent
        Height and width of the view, before it was stretched.
    """

    coarse: Tensor
    fine: list[Tensor]
    extent: tuple[int, int]

    @property
    def sequence(self) -> Tensor:
        """``coarse`` as tokens, (g * g, 1, 256)."""
        return self.coarse.flatten(2).permute(2, 0, 1)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of ``coarse``."""
        h, w = self.coarse.shape[-2:]
        return h, w


def prepare(pixels: Tensor, size: int) -> Tensor:
    """A view in [0, 1], (1, c, h, w), as the network's normalised square, (1, 3, size, size)."""
    if pixels.shape[2:] != (size, size):
        pixels = functional.interpolate(pixels, (size, size), mode="bilinear", align_corners=False)
    mean, std = (pixels.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (pixels - mean) / std


def from_network(logits: Float, extent: tuple[int, int]) -> Float:
    """Logits (k, m, m) over the network's square as logits over the padded view square."""
    if extent[0] == extent[1]:
        return logits
    return _resampled(logits, tuple(side / max(extent) for side in extent), inverse=True)


def to_network(logits: Float, extent: tuple[int, int]) -> Float:
    """Logits (k, m, m) over the padded view square as logits over the network's square."""
    if extent[0] == extent[1]:
        return logits
    return _resampled(logits, tuple(side / max(extent) for side in extent), inverse=False)


def _resampled(logits: Float, shares: tuple[float, ...], *, inverse: bool) -> Float:
    """Stretch the top left part that rows and columns share with the square to all of it."""
    m = logits.shape[-1]
    cells = (torch.arange(m) + 0.5) / m
    rows, cols = (2 * (cells / s if inverse else cells * s) - 1 for s in shares)
    grid = torch.stack(torch.meshgrid(cols, rows, indexing="xy"), dim=-1)
    tensor = torch.from_numpy(np.ascontiguousarray(logits, np.float32))[None]
    moved = functional.grid_sample(
        tensor, grid[None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return moved[0].numpy()
