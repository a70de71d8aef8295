"""compact's network: a U-Net that sees image and prompts together, and its input planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from sammed.models.compact.layers import ConvNorm, residuals
from sammed.models.compact.weight_files import TaggedArchitecture

PREPROCESSING = "compact-input/1"
"""Name of the way `input_planes` encodes a view and its prompt; changes with it."""

POINT_SIGMA = 2.5
"""Deviation in view px of the spot that marks a point."""

PLANES = 16
"""Number of input planes."""

MASK_SOFTNESS = 4.0
"""A mask prompt enters as ``tanh(logit / MASK_SOFTNESS)``."""


Features = list[Tensor]
"""Channels at full size, from the way down, and at a half, a quarter, an eighth, from the way up;
at a sixteenth, where it turns."""


@dataclass(frozen=True)
class Architecture(TaggedArchitecture):
    """Everything that decides the shape of the network's weights.

    Attributes
    ----------
    widths
        Channels at a half, a quarter, an eighth and a sixteenth of the view's size.
    blocks
        Residual blocks at each of these on the way down.
    rising
        The same on the way up, at the first three.
    fine
        Channels at full size.
    candidates
        Masks that the network proposes.
    view
        Side in px of the views that the weights were trained on.
    """

    family: ClassVar[str] = "compact-unet/3"
    preprocessing: ClassVar[str] = PREPROCESSING

    widths: tuple[int, int, int, int] = (32, 64, 128, 256)
    blocks: tuple[int, int, int, int] = (2, 3, 2, 2)
    rising: tuple[int, int, int] = (2, 2, 2)
    fine: int = 16
    candidates: int = 3
    view: int = 96


@dataclass(frozen=True)
class Prompts:
    """Views and their prompts as tensors, one row each.

    Attributes
    ----------
    image : (n, 3, s, s)
        Grey: slices before, this, after. Colour: red, green, blue. In [0, 1].
    colour : (n,) bool
        Which of the two.
    box : (n, 4)
        ``(row0, col0, row1, col1)`` in view edge coordinates; NaN where there is none.
    points : (n, p, 2)
        ``(row, col)`` in view edge coordinates; NaN where there is none.
    positive : (n, p) bool
        Foreground or background point.
    mask : (n, s, s)
        Logits of the mask prompt; ignored where ``has_mask`` is False.
    has_mask : (n,) bool
        Whether there is one.
    depth : (n,)
        Where the slice lies between the ends of a 3D box: -1 and 1 at its faces, 0 in the middle
        and where no 3D box is given.
    """

    image: Tensor
    colour: Tensor
    box: Tensor
    points: Tensor
    positive: Tensor
    mask: Tensor
    has_mask: Tensor
    depth: Tensor


def input_planes(p: Prompts) -> Tensor:
    """Encode views and prompts as the planes that the network sees.

    Brightness enters as it is and standardised by mean and deviation inside the box (else of the
    view's middle half), since a window is wide and contrasts are small. The box enters as its
    inside, as coordinates relative to it, and as its inscribed ellipse: of a 3D box, the section of
    its inscribed ellipsoid.

    Returns
    -------
    (n, PLANES, s, s) float32
    """
    n, _, size, _ = p.image.shape
    axis = torch.arange(size, dtype=torch.float32, device=p.image.device) + 0.5
    luma = torch.where(p.colour[:, None, None], p.image.mean(1), p.image[:, 1])
    before = torch.where(p.colour[:, None, None], luma, p.image[:, 0])
    after = torch.where(p.colour[:, None, None], luma, p.image[:, 2])
    has_box = torch.isfinite(p.box).all(1)
    middle = p.box.new_tensor([0.25, 0.25, 0.75, 0.75]) * size
    box = torch.where(has_box[:, None], p.box, middle)
    rows = torch.clamp(torch.minimum(axis - box[:, :1], box[:, 2:3] - axis) + 0.5, 0, 1)
    cols = torch.clamp(torch.minimum(axis - box[:, 1:2], box[:, 3:] - axis) + 0.5, 0, 1)
    inside = rows[:, :, None] * cols[:, None, :]
    total = inside.sum((1, 2)).clamp_min(1.0)
    mean = ((luma * inside).sum((1, 2)) / total)[:, None, None]
    variance = ((luma - mean).square() * inside).sum((1, 2)) / total
    scale = 0.5 / (variance.sqrt()[:, None, None] + 0.02)

    def standard(plane: Tensor) -> Tensor:
        return ((plane - mean) * scale).clamp(-2, 2)

    centre = (box[:, :2] + box[:, 2:]) / 2
    half = ((box[:, 2:] - box[:, :2]) / 2).clamp_min(0.5)
    v = ((axis - centre[:, :1]) / half[:, :1])[:, :, None].expand(n, size, size)
    u = ((axis - centre[:, 1:]) / half[:, 1:])[:, None, :].expand(n, size, size)
    t = p.depth[:, None, None].clamp(-1, 1)
    ellipse = (1 - (u.square() + v.square() + t.square()).sqrt()).clamp(-1, 1)
    there = has_box.float()[:, None, None]
    given = p.has_mask.float()[:, None, None]
    chroma = p.colour.float()[:, None, None] * 2
    planes = [
        luma * 2 - 1,
        standard(luma),
        standard(before),
        standard(after),
        (p.image[:, 0] - luma) * chroma,
        (p.image[:, 2] - luma) * chroma,
        (inside * 2 - 1) * there,
        v.clamp(-1.5, 1.5) * there,
        u.clamp(-1.5, 1.5) * there,
        ellipse * there,
        _spots(p.points, p.positive, axis),
        _spots(p.points, ~p.positive, axis),
        torch.tanh(p.mask / MASK_SOFTNESS) * given,
        given.expand(n, size, size),
        (torch.minimum(before, after) - luma) * 2,
        (torch.maximum(before, after) - luma) * 2,
    ]
    return torch.stack(planes, 1)


def _spots(points: Tensor, wanted: Tensor, axis: Tensor) -> Tensor:
    n = points.shape[0]
    if points.shape[1] == 0:
        return axis.new_zeros((n, len(axis), len(axis)))
    known = wanted & torch.isfinite(points).all(2)
    position = torch.where(known[..., None], points, torch.full_like(points, -1e3))
    falloff = -0.5 / POINT_SIGMA**2
    rows = torch.exp((axis - position[..., :1]).square() * falloff)
    cols = torch.exp((axis - position[..., 1:]).square() * falloff)
    return torch.einsum("npr,npc->nprc", rows, cols).amax(1)


def _dense_gradient(x: Tensor) -> Tensor:
    """The same tensor; its gradient is laid out channels last, which training is slow without."""
    if x.requires_grad:
        x.register_hook(lambda g: g.contiguous(memory_format=torch.channels_last))
    return x


def certainty(logits: Tensor) -> Tensor:
    """IoU that each mask would have if its probabilities were right, (n, k), centred on 0.

    The gradient stops here: masks are not made certain to please the judge.
    """
    chance = torch.sigmoid(logits.detach().float())
    inside = (chance > 0.5).float()
    both = (chance * inside).sum((2, 3))
    either = torch.maximum(chance, inside).sum((2, 3))
    return ((both + 1) / (either + 1) - 0.7) * 4


class CompactNet(nn.Module):
    """Planes in; candidate mask logits, predicted IoU (logits) and presence (logit) out."""

    def __init__(self, architecture: Architecture | None = None) -> None:
        super().__init__()
        self.architecture = a = architecture or Architecture()
        w = a.widths
        self.fine = ConvNorm(PLANES, a.fine)
        self.stem = ConvNorm(PLANES, w[0], 2)
        self.down = nn.ModuleList([ConvNorm(w[i], w[i + 1], 2) for i in range(3)])
        self.encoder = nn.ModuleList([residuals(w[i], a.blocks[i]) for i in range(4)])
        self.lateral = nn.ModuleList([nn.Conv2d(w[i + 1], w[i], 1) for i in range(3)])
        self.decoder = nn.ModuleList([residuals(w[i], a.rising[i]) for i in range(3)])
        self.up = nn.Conv2d(w[0], a.fine, 1)
        self.merge = ConvNorm(2 * a.fine, a.fine)
        self.masks = nn.Conv2d(a.fine, a.candidates, 1)
        self.judge = nn.Sequential(
            nn.Linear(2 * w[3] + w[0] + a.candidates, 128),
            nn.ReLU(),
            nn.Linear(128, a.candidates + 1),
        )

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the network.

        Parameters
        ----------
        planes : (n, PLANES, s, s)
            From `input_planes`; ``s`` a multiple of 16.

        Returns
        -------
        logits : (n, k, s, s)
        iou : (n, k)
            Logits of the predicted IoU.
        present : (n,)
            Logit of the object being on this slice.
        """
        return self.answer(self.look(planes))

    def look(self, planes: Tensor) -> Features:
        """What the network has made of views and prompts where only the fine edge is missing."""
        fine = functional.relu(self.fine(planes))
        y = functional.relu(self.stem(planes))
        skips: list[Tensor] = []
        for level, stage in enumerate(self.encoder):
            if level:
                y = functional.relu(self.down[level - 1](y))
            y = stage(y)
            skips.append(y)
        seen = [y]
        for level in (2, 1, 0):
            y = functional.interpolate(self.lateral[level](y), scale_factor=2.0, mode="nearest")
            y = self.decoder[level](y + skips[level])
            seen.append(y)
        return [fine, *seen[::-1]]

    def answer(self, seen: Features) -> tuple[Tensor, Tensor, Tensor]:
        """What follows from that: logits, predicted IoU and presence, as `forward`."""
        fine, y, deepest = seen[0], seen[1], seen[-1]
        deep = torch.cat((deepest.mean((2, 3)), deepest.amax((2, 3))), 1)
        summary = torch.cat((deep, y.mean((2, 3))), 1)
        y = functional.interpolate(self.up(y), scale_factor=2.0, mode="bilinear")
        y = torch.cat((_dense_gradient(y), _dense_gradient(fine)), 1)
        y = _dense_gradient(functional.relu(self.merge(y)))
        logits = self.masks(y)
        verdict = self.judge(torch.cat((summary, certainty(logits)), 1))
        return logits, verdict[:, :-1], verdict[:, -1]
