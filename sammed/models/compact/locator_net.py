"""compact's locator: a small 3D U-Net that finds what fills a 3D box, and its input planes.

A slice shows a 3D box's object among its neighbours, and not which of them reaches from face to
face. The locator sees all slices at once, coarsely: the 3D box and a margin, resampled to a cube.
What else is said of the object, and a former answer, it hears by an entry of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from sammed.models.compact.cubes import BOX_SHARE
from sammed.models.compact.layers import ConvNorm, Residual, residuals
from sammed.models.compact.weight_files import TaggedArchitecture

BLOCK_SIZE = 40
"""Samples along each side of the cube."""

PREPROCESSING = "locator-input/1"
"""Name of the way `block_planes` encodes a block; changes with it."""

CONSTANTS = 6
"""Numbers that describe a block as a whole."""

PLANES = 3 * 8 + 4 + CONSTANTS
"""Channels of what is to be seen, at half the cube's resolution."""

HEARD = ("click in", "click out", "painted", "former")
"""What is said besides, each on the cube as `sammed.models.compact.field_prompts` draws it."""


@dataclass(frozen=True)
class Blocks:
    """What lies round 3D boxes, as tensors, one row each; ``s`` is `BLOCK_SIZE`.

    Attributes
    ----------
    image : (n, s, s, s)
        Brightness in [0, 1] on the cube of `sammed.models.compact.cubes`; 0 beyond the image.
    inside : (n, s, s, s)
        1 within the image, else 0.
    extent : (n, 3)
        Size of the 3D box (z, y, x) in any unit of length.
    voxels : (n, 3)
        The same in voxels.
    """

    image: Tensor
    inside: Tensor
    extent: Tensor
    voxels: Tensor


def block_planes(blocks: Blocks) -> Tensor:
    """Encode blocks as the network sees them.

    Brightness as it is, standardised by mean and deviation inside the 3D box, and where the image
    is, each cube of 2 x 2 x 2 samples as 8 channels; position relative to the 3D box and its
    inscribed ellipsoid; proportions and numbers of voxels as constants.

    Returns
    -------
    (n, PLANES, s / 2, s / 2, s / 2) float32
    """
    n, size = len(blocks.image), blocks.image.shape[-1]
    half = size // 2
    margin = round(size * (1 - BOX_SHARE) / 2)
    part = slice(margin, size - margin)
    core = blocks.image[:, part, part, part].flatten(1)
    mean = core.mean(1)[:, None, None, None]
    spread = core.std(1)[:, None, None, None]
    standard = ((blocks.image - mean) * (0.5 / (spread + 0.02))).clamp(-2, 2)
    fine = torch.stack((blocks.image * 2 - 1, standard * blocks.inside, blocks.inside), 1)
    packed = cells(fine)
    axis = (torch.arange(half, dtype=torch.float32) + 0.5) / half * 2 - 1
    axis = axis / BOX_SHARE
    position = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"))
    ellipsoid = (1 - position.square().sum(0, keepdim=True).sqrt()).clamp(-1, 1)
    where = torch.cat((position, ellipsoid)).expand(n, 4, half, half, half)
    longest = blocks.extent.amax(1, keepdim=True)
    constants = torch.cat(
        (torch.log2(blocks.extent / longest) / 3, torch.log2(blocks.voxels / 16) / 4), 1
    ).clamp(-1.5, 1.5)
    constant = constants[:, :, None, None, None].expand(n, CONSTANTS, half, half, half)
    return torch.cat((packed, where, constant), 1)


def cells(fine: Tensor) -> Tensor:
    """(n, c, s, s, s) samples as (n, 8 c, s / 2, s / 2, s / 2): each 2 x 2 x 2 as channels."""
    n, count, half = len(fine), fine.shape[1], fine.shape[-1] // 2
    split = fine.reshape(n, count, half, 2, half, 2, half, 2).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return split.reshape(n, 8 * count, half, half, half)


def samples(packed: Tensor) -> Tensor:
    """(n, 8, h, h, h) cells as (n, 2 h, 2 h, 2 h) samples: back from `cells`."""
    n, half = len(packed), packed.shape[-1]
    split = packed.reshape(n, 2, 2, 2, half, half, half).permute(0, 4, 1, 5, 2, 6, 3)
    return split.reshape(n, 2 * half, 2 * half, 2 * half)


@dataclass(frozen=True)
class LocatorArchitecture(TaggedArchitecture):
    """Everything that decides the shape of the locator's weights.

    Attributes
    ----------
    widths
        Channels at a half, a quarter and an eighth of the cube's resolution.
    blocks
        Residual blocks at each of these on the way down.
    """

    family: ClassVar[str] = "locator-unet/2"
    preprocessing: ClassVar[str] = PREPROCESSING

    widths: tuple[int, int, int] = (32, 64, 64)
    blocks: tuple[int, int, int] = (1, 2, 1)


class LocatorNet(nn.Module):
    """Planes of a block, and what was said, in; the object's logits on the whole cube out."""

    def __init__(self, architecture: LocatorArchitecture | None = None) -> None:
        super().__init__()
        self.architecture = a = architecture or LocatorArchitecture()
        w = a.widths
        self.stem = ConvNorm(PLANES, w[0], dims=3)
        self.heard = nn.Conv3d(8 * len(HEARD), w[0], 1, bias=False)
        nn.init.zeros_(self.heard.weight)
        self.down = nn.ModuleList([ConvNorm(w[i], w[i + 1], 2, dims=3) for i in range(2)])
        self.encoder = nn.ModuleList([residuals(w[i], a.blocks[i], dims=3) for i in range(3)])
        self.lateral = nn.ModuleList([nn.Conv3d(w[i + 1], w[i], 1) for i in range(2)])
        self.decoder = nn.ModuleList([Residual(w[i], dims=3) for i in range(2)])
        self.masks = nn.Conv3d(w[0], 8, 1)

    def forward(self, planes: Tensor, said: Tensor | None = None) -> Tensor:
        """Run the network.

        Parameters
        ----------
        planes : (n, PLANES, s / 2, s / 2, s / 2)
            From `block_planes`; ``s`` a multiple of 8.
        said : (n, len(HEARD), s, s, s)
            What was said besides the 3D boxes; ``None``: nothing.

        Returns
        -------
        (n, s, s, s)
            Logits.
        """
        y = self.stem(planes)
        if said is not None:
            y = y + self.heard(cells(said))
        y = functional.relu(y)
        skips: list[Tensor] = []
        for level, stage in enumerate(self.encoder):
            if level:
                y = functional.relu(self.down[level - 1](y))
            y = stage(y)
            skips.append(y)
        for level in (1, 0):
            y = functional.interpolate(self.lateral[level](y), scale_factor=2.0, mode="nearest")
            y = self.decoder[level](y + skips[level])
        return samples(self.masks(y))
