"""compact's branch for strokes: what a stroke says is added to the network for views.

The network for views stays as it is. The branch sees the strokes, what the network sees, and what
its encoder makes of it, and answers what is added to the encoder's features before the decoder
takes them up. Its last convolutions begin at zero (Zhang et al. 2023, ControlNet,
doi:10.1109/ICCV51070.2023.00355), and it is fed by the frozen network as a ladder is by its side
(Sung et al. 2022, arXiv:2206.06522): so it learns only what strokes add, and without strokes it is
not asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from sammed.models.compact.layers import ConvNorm, residuals
from sammed.models.compact.net import PLANES, Features
from sammed.models.compact.weight_files import TaggedArchitecture

STROKE_PLANES = 4
"""Planes that strokes add to those of the network for views."""


@dataclass(frozen=True)
class StrokeArchitecture(TaggedArchitecture):
    """Everything that decides the shape of the branch's weights.

    Attributes
    ----------
    widths
        Channels at a half, a quarter, an eighth and a sixteenth of the view's size.
    beside
        Channels of the network for views at the same sizes.
    """

    family: ClassVar[str] = "compact-strokes/1"
    preprocessing: ClassVar[str] = "stroke-planes/1"

    widths: tuple[int, int, int, int] = (24, 48, 72, 96)
    beside: tuple[int, int, int, int] = (32, 64, 128, 256)


class StrokeNet(nn.Module):
    """Strokes, input planes and features of the network for views in; what to add to them out."""

    def __init__(self, architecture: StrokeArchitecture | None = None) -> None:
        super().__init__()
        self.architecture = a = architecture or StrokeArchitecture()
        w = a.widths
        self.stem = ConvNorm(PLANES + STROKE_PLANES, w[0], 2)
        self.beside = nn.ModuleList([nn.Conv2d(a.beside[i], w[i], 1) for i in range(4)])
        self.down = nn.ModuleList([ConvNorm(w[i], w[i + 1], 2) for i in range(3)])
        self.encoder = nn.ModuleList([residuals(w[i], 1) for i in range(4)])
        self.lateral = nn.ModuleList([nn.Conv2d(w[i + 1], w[i], 1) for i in range(3)])
        self.decoder = nn.ModuleList([residuals(w[i], 1) for i in range(3)])
        self.on_half = nn.Conv2d(w[0], a.beside[0], 1)
        self.on_deepest = nn.Conv2d(w[3], a.beside[3], 1)
        for last in (self.on_half, self.on_deepest):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)

    def forward(self, planes: Tensor, seen: Features) -> Features:
        """The features of the network for views with strokes in mind.

        Parameters
        ----------
        planes : (n, PLANES + STROKE_PLANES, s, s)
            From `with_strokes`.
        seen
            What the network for views made of the first `PLANES` of them: `CompactNet.look`.
        """
        y = functional.relu(self.stem(planes))
        kept: list[Tensor] = []
        for level, stage in enumerate(self.encoder):
            if level:
                y = functional.relu(self.down[level - 1](y))
            y = stage(y + self.beside[level](seen[level + 1]))
            kept.append(y)
        deepest = seen[4] + self.on_deepest(y)
        for level in (2, 1, 0):
            y = functional.interpolate(self.lateral[level](y), scale_factor=2.0, mode="nearest")
            y = self.decoder[level](y + kept[level])
        return [seen[0], seen[1] + self.on_half(y), *seen[2:4], deepest]


def with_strokes(planes: Tensor, strokes: Tensor) -> Tensor:
    """The network's input planes and what strokes add to them.

    Beside the strokes themselves: how bright each pixel is against those that were stroked.

    Parameters
    ----------
    planes : (n, PLANES, s, s)
        From `input_planes`.
    strokes : (n, 2, s, s)
        In the object and beside it, in [0, 1]: `sammed.views.strokes.stroke_plane`.

    Returns
    -------
    (n, PLANES + STROKE_PLANES, s, s) float32
    """
    luma = (planes[:, :1] + 1) / 2
    total = strokes.sum((2, 3), keepdim=True)
    share = strokes / total.clamp_min(1e-6)
    mean = (luma * share).sum((2, 3), keepdim=True)
    spread = ((luma - mean).square() * share).sum((2, 3), keepdim=True).sqrt()
    against = ((luma - mean) * 0.5 / (spread + 0.03)).clamp(-2, 2) * (total > 0)
    return torch.cat((planes, strokes, against), 1)
