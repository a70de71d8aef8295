"""compact's network for volumes: a 3D U-Net that takes any mix of prompts on a field.

It is the locator (`sammed.models.compact.locator_net`), wider and a level deeper, with one more
entry for what was said: a locator's weights can be grown into it. Cells of 2 x 2 x 2 samples are
channels from the start, so that most of the work is done where processors are good at it. The
statistics of its norms are never learned: an answer depends on no other of its batch, a batch may
be learned piece by piece, and in use the norms vanish into the convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from sammed.models.compact.field_prompts import (
    BOX,
    CLICK_IN,
    FORMER,
    PAINTED,
    PROMPTS,
    SLAB,
    STROKE_IN,
)
from sammed.models.compact.layers import ConvNorm, Residual, residuals
from sammed.models.compact.locator_net import cells, samples
from sammed.models.compact.weight_files import TaggedArchitecture

PREPROCESSING = "field-input/2"
"""Name of the way `field_planes` encodes a field; changes with it."""

CONSTANTS = 7
"""Numbers that describe a field as a whole."""

SHOWN = 3 * 8 + 4 + CONSTANTS
"""Channels of what is to be seen: image, standardised image, where it is; place; constants."""

PLANES = SHOWN + 8 * len(PROMPTS)
"""Channels of the network's input, at half the field's resolution; the last ones the prompts."""

FACES = ("z low", "z high", "y low", "y high", "x low", "x high")
"""Order of the answers whether the object goes on beyond the field."""


@dataclass(frozen=True)
class Fields:
    """What is seen on fields, as tensors, one row each; ``s`` is a multiple of 16.

    Attributes
    ----------
    image : (n, s, s, s)
        Brightness in [0, 1]; 0 beyond the image.
    inside : (n, s, s, s)
        1 within the image, else 0.
    prompts : (n, len(PROMPTS), s, s, s)
        As `sammed.models.compact.field_prompts` draws them.
    block : (n, 3, 2)
        Edges of the 3D box in samples; NaN if there is none.
    step : (n, 3)
        From one sample to the next (z, y, x), in any unit of length.
    voxel : (n, 3)
        Size of the image's voxels in samples.
    """

    image: Tensor
    inside: Tensor
    prompts: Tensor
    block: Tensor
    step: Tensor
    voxel: Tensor


def mirrored(fields: Fields, axes: tuple[int, ...]) -> Fields:
    """The same fields with some of their axes (0 z, 1 y, 2 x) running the other way."""
    size = fields.image.shape[-1]
    block = fields.block.clone()
    for axis in axes:
        block[:, axis] = size - block[:, axis].flip(-1)
    dims = [axis - 3 for axis in axes]
    image, inside, prompts = (t.flip(dims) for t in (fields.image, fields.inside, fields.prompts))
    return Fields(image, inside, prompts, block, fields.step, fields.voxel)


def mirrored_faces(faces: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Answers for `FACES` of fields whose axes run the other way.

    Examples
    --------
    >>> mirrored_faces(torch.arange(6.0)[None], (0, 2)).tolist()
    [[1.0, 0.0, 2.0, 3.0, 5.0, 4.0]]
    """
    pairs = faces.reshape(-1, 3, 2).clone()
    for axis in axes:
        pairs[:, axis] = pairs[:, axis].flip(-1)
    return pairs.flatten(1)


def field_planes(fields: Fields) -> Tensor:
    """Encode fields as the network sees them.

    Brightness as it is, standardised by mean and deviation where the object is said to be, and
    where the image is, each cell of 2 x 2 x 2 samples as 8 channels; position relative to the 3D
    box and its inscribed ellipsoid (0 without a box); proportions, resolution and whether there is
    a box as constants; the prompts, in cells as well.

    Returns
    -------
    (n, PLANES, s / 2, s / 2, s / 2) float32
    """
    n, size = len(fields.image), fields.image.shape[-1]
    half = size // 2
    image, standard = fields.image * 2 - 1, _standardised(fields)
    seen = cells(torch.stack((image, standard, fields.inside), 1))
    boxed = fields.block.isfinite().flatten(1).all(1)
    longest = fields.step.amax(1, keepdim=True)
    constants = torch.cat(
        (
            torch.log2(fields.step / longest) / 3,
            torch.log2(fields.voxel) / 3,
            boxed[:, None].float(),
        ),
        1,
    ).clamp(-1.5, 1.5)
    constant = constants[:, :, None, None, None].expand(n, CONSTANTS, half, half, half)
    where = _place(fields.block, half)
    return torch.cat((seen, where, constant, cells(fields.prompts)), 1)


def _standardised(fields: Fields) -> Tensor:
    """Brightness against mean and deviation of where the object is said to be."""
    said = fields.prompts[:, (BOX, SLAB, CLICK_IN, PAINTED, STROKE_IN, FORMER)] > 0
    weight = said.any(1) * fields.inside
    weight = torch.where((weight.sum((1, 2, 3)) > 0)[:, None, None, None], weight, fields.inside)
    total = weight.sum((1, 2, 3)).clamp_min(1)
    mean = ((fields.image * weight).sum((1, 2, 3)) / total)[:, None, None, None]
    square = (((fields.image - mean) ** 2 * weight).sum((1, 2, 3)) / total)[:, None, None, None]
    standard = (fields.image - mean) * (0.5 / (square.sqrt() + 0.02))
    return standard.clamp(-2, 2) * fields.inside


def _place(block: Tensor, half: int) -> Tensor:
    """Position relative to the 3D box, -1 and 1 at its faces, and its inscribed ellipsoid."""
    middle, reach = block.mean(2), ((block[..., 1] - block[..., 0]) / 2).clamp_min(0.5)
    centres = 2 * torch.arange(half, device=block.device) + 1.0
    along = (centres - middle[..., None]) / reach[..., None]
    z, y, x = along.unbind(1)
    shape = (len(block), half, half, half)
    position = torch.stack(
        (
            z[:, :, None, None].expand(shape),
            y[:, None, :, None].expand(shape),
            x[:, None, None, :].expand(shape),
        ),
        1,
    )
    ellipsoid = 1 - position.square().sum(1, keepdim=True).sqrt()
    return torch.cat((position / 2, ellipsoid), 1).clamp(-1, 1).nan_to_num(0.0)


@dataclass(frozen=True)
class VolumeArchitecture(TaggedArchitecture):
    """Everything that decides the shape of the weights.

    Attributes
    ----------
    widths
        Channels at a half, a quarter, an eighth and a sixteenth of the field's resolution.
    blocks
        Residual blocks at each of these on the way down.
    """

    family: ClassVar[str] = "volume-unet/2"
    preprocessing: ClassVar[str] = PREPROCESSING

    widths: tuple[int, int, int, int] = (32, 64, 128, 160)
    blocks: tuple[int, int, int, int] = (1, 2, 2, 1)


class VolumeNet(nn.Module):
    """Planes of a field in; mask, its predicted IoU, and what goes on beyond the faces out."""

    def __init__(self, architecture: VolumeArchitecture | None = None) -> None:
        super().__init__()
        self.architecture = a = architecture or VolumeArchitecture()
        w = a.widths
        self.stem = ConvNorm(SHOWN, w[0], dims=3)
        self.prompts = nn.Conv3d(PLANES - SHOWN, w[0], 1, bias=False)
        self.down = nn.ModuleList([ConvNorm(w[i], w[i + 1], 2, dims=3) for i in range(3)])
        self.encoder = nn.ModuleList([residuals(w[i], a.blocks[i], dims=3) for i in range(4)])
        self.lateral = nn.ModuleList([nn.Conv3d(w[i + 1], w[i], 1) for i in range(3)])
        self.decoder = nn.ModuleList([Residual(w[i], dims=3) for i in range(3)])
        self.masks = nn.Conv3d(w[0], 8, 1)
        self.judge = nn.Sequential(nn.Linear(w[3] + w[0] + 1, 64), nn.ReLU(), nn.Linear(64, 1))
        self.faces = nn.Sequential(nn.Linear(w[0] + 2, 32), nn.ReLU(), nn.Linear(32, 1))
        self.train()

    def train(self, mode: bool = True) -> VolumeNet:
        """As usual, but for the statistics of the norms, which stay what they are."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.eval()
        return self

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the network.

        Parameters
        ----------
        planes : (n, PLANES, s / 2, s / 2, s / 2)
            From `field_planes`.

        Returns
        -------
        logits : (n, s, s, s)
            Of the object.
        iou : (n,)
            Logit of the IoU that the mask is expected to have.
        faces : (n, 6)
            Logit that the object goes on beyond each of `FACES`.
        """
        y = functional.relu(self.stem(planes[:, :SHOWN]) + self.prompts(planes[:, SHOWN:]))
        skips: list[Tensor] = []
        for level, stage in enumerate(self.encoder):
            if level:
                y = functional.relu(self.down[level - 1](y))
            y = stage(y)
            skips.append(y)
        deepest = y.mean((2, 3, 4))
        for level in (2, 1, 0):
            y = functional.interpolate(self.lateral[level](y), scale_factor=2.0, mode="nearest")
            y = self.decoder[level](y + skips[level])
        folded = self.masks(y)
        chance = torch.sigmoid(folded.detach().float())
        return samples(folded), self._judged(y, chance, deepest), self._beyond(y, chance)

    def _judged(self, y: Tensor, chance: Tensor, deepest: Tensor) -> Tensor:
        """How right the mask is: by what was seen in it, and by how sure it is of itself."""
        inside = (chance > 0.5).float()
        either = torch.maximum(chance, inside).flatten(1).sum(1)
        certain = (chance * inside).flatten(1).sum(1) / either.clamp_min(1e-3)
        weight = chance.amax(1, keepdim=True).to(y.dtype)
        seen = (y * weight).sum((2, 3, 4)) / weight.sum((2, 3, 4)).clamp_min(1e-3)
        features = torch.cat((deepest, seen, certain[:, None].to(y.dtype)), 1)
        judged: Tensor = self.judge(features)[:, 0]
        return judged

    def _beyond(self, y: Tensor, chance: Tensor) -> Tensor:
        """The same for each face, by what is seen and found in the outermost cells."""
        most = chance.amax(1, keepdim=True).to(y.dtype)
        rows = []
        for axis in (2, 3, 4):
            for end in (0, y.shape[axis] - 1):
                seen, found = (t.select(axis, end).flatten(2) for t in (y, most))
                rows.append(torch.cat((seen.amax(2), found.amax(2), found.mean(2)), 1))
        beyond: Tensor = self.faces(torch.stack(rows, 1))[..., 0]
        return beyond
