"""The dense network: a small U-Net that finds the borders of whatever there is, unprompted.

It is compact's in layers and in its packing of samples, in three dimensions or (of pictures) in
two. What it answers of each voxel is what a search for things wants to know: is it part of a thing,
is it at the border of one, how far inside is it. (A dense decoder as the source of seeds for a
promptable model: Archit et al. 2025, Segment Anything for Microscopy,
doi:10.1038/s41592-024-02580-4.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from sammed.models.compact.layers import ConvNorm, Residual, residuals
from sammed.models.compact.weight_files import TaggedArchitecture

PREPROCESSING = "dense-input/1"
"""Name of the way `dense_planes` encodes an image; changes with it."""

OUTPUTS = ("thing", "border", "inner", "depth")
"""Of each voxel, as logits: part of a thing; at the border of the largest things; at the border of
any part; distance to the border of the largest thing it is in, as a share of the deepest."""

SALIENT = "salient"
"""Answered of pictures besides: part of what a person would outline, were there one thing to do."""

KINDS = (
    "none", "background", "wall", "vertebra", "disc", "sacrum", "hip", "femur", "bone", "cord",
    "artery", "vein", "portal vein", "back muscle", "iliopsoas", "gluteus maximus",
    "gluteus medius", "muscle", "liver", "spleen", "kidney", "pancreas", "stomach", "duodenum",
    "small bowel", "colon", "gallbladder", "bladder", "lung", "heart", "other",
)  # fmt: skip
"""What a voxel of a trunk can be; answered of volumes besides."""

NO_THING = 3
"""The first so many of these are no things."""

LEVELS = 4
"""Resolutions that the network works at; the coarsest has `STRIDE` voxels a side."""

STRIDE = 2**LEVELS
"""Extents of what it sees are multiples of this."""


@dataclass(frozen=True)
class DenseArchitecture(TaggedArchitecture):
    """Everything that decides the shape of the dense network's weights.

    Attributes
    ----------
    dims
        3 of volumes, 2 of pictures and single slices.
    channels
        Of the image: 1, of colour pictures 3.
    widths
        Channels at a half, a quarter, an eighth and a sixteenth of the resolution.
    blocks
        Residual blocks at each of these on the way down.
    kinds
        How many of `KINDS` it tells apart; 0: none.
    """

    family: ClassVar[str] = "dense-unet/1"
    preprocessing: ClassVar[str] = PREPROCESSING

    dims: int = 3
    channels: int = 1
    widths: tuple[int, int, int, int] = (32, 48, 64, 80)
    blocks: tuple[int, int, int, int] = (1, 1, 2, 1)
    kinds: int = 0

    @classmethod
    def from_tag(cls, tag: str) -> DenseArchitecture:
        """The architecture that a tag describes; of old ones, which say nothing of kinds, too.

        Raises
        ------
        ValueError
            If the tag is not one of this family, or of another preprocessing.
        """
        family, text, *rest = tag.split(" ")
        whole = text if text.count("-") > 3 else f"{text}-0"
        return super().from_tag(" ".join((family, whole, *rest)))

    @property
    def planes(self) -> int:
        """Channels of the network's input, at half the resolution."""
        return (2 * self.channels + 1) * 2**self.dims + self.dims

    @property
    def outputs(self) -> tuple[str, ...]:
        """What it answers."""
        return OUTPUTS if self.dims == 3 else (*OUTPUTS, SALIENT)


OF_VOLUMES = DenseArchitecture(kinds=len(KINDS))
OF_PICTURES = DenseArchitecture(2, 3, (16, 32, 64, 96), (1, 1, 2, 3))
"""Deeper where it sees far: what is salient is told by all of a picture."""


def dense_planes(image: Tensor, standard: Tensor, inside: Tensor, stretch: Tensor) -> Tensor:
    """Encode images as the network sees them: 2 samples a side are packed into channels.

    Parameters
    ----------
    image : (n, c, ...)
        Brightness in [0, 1]; two or three axes of even extent.
    standard : (n, c, ...)
        The same, standardised locally, see `sammed.models.dense.borders.standardised`.
    inside : (n, ...)
        1 within the image, else 0.
    stretch : (n, d)
        Size of a voxel along each of the ``d`` axes, in units of the shortest side.

    Returns
    -------
    (n, PLANES, ...) float32
        Extents halved.
    """
    within = inside[:, None]
    shown = torch.cat(((image * 2 - 1) * within, standard * within, within), 1)
    packed = pack(shown)
    constant = (torch.log2(stretch) / 2).clamp(0, 1.5)
    sizes = packed.shape[2:]
    constant = constant.reshape(*constant.shape, *[1] * len(sizes)).expand(-1, -1, *sizes)
    return torch.cat((packed, constant), 1)


def pack(samples: Tensor) -> Tensor:
    """Two samples a side as channels: (n, c, ...) to (n, c * 2**d, ... / 2)."""
    n, c, *sizes = samples.shape
    d = len(sizes)
    split = samples.reshape(n, c, *[v for size in sizes for v in (size // 2, 2)])
    order = (0, 1, *range(3, 3 + 2 * d, 2), *range(2, 2 + 2 * d, 2))
    return split.permute(order).reshape(n, c * 2**d, *[size // 2 for size in sizes])


def unpack(channels: Tensor) -> Tensor:
    """What undoes `pack`."""
    n, packed, *halves = channels.shape
    d = len(halves)
    c = packed // 2**d
    split = channels.reshape(n, c, *[2] * d, *halves)
    order = (0, 1, *[axis for k in range(d) for axis in (2 + d + k, 2 + k)])
    return split.permute(order).reshape(n, c, *[2 * half for half in halves])


class DenseNet(nn.Module):
    """Planes of an image in; `DenseArchitecture.outputs` at its full resolution out."""

    def __init__(self, architecture: DenseArchitecture | None = None) -> None:
        super().__init__()
        self.architecture = a = architecture or DenseArchitecture()
        w, d = a.widths, a.dims
        plain = {2: nn.Conv2d, 3: nn.Conv3d}[d]
        self.stem = ConvNorm(a.planes, w[0], dims=d)
        self.down = nn.ModuleList([ConvNorm(w[i], w[i + 1], 2, dims=d) for i in range(3)])
        self.encoder = nn.ModuleList([residuals(w[i], a.blocks[i], dims=d) for i in range(4)])
        self.lateral = nn.ModuleList([plain(w[i + 1], w[i], 1) for i in range(3)])
        self.decoder = nn.ModuleList([Residual(w[i], dims=d) for i in range(3)])
        self.answer = plain(w[0], len(a.outputs) * 2**d, 1)
        self.kind = plain(sum(w[:3]), a.kinds * 2**d, 1) if a.kinds else None

    def forward(self, planes: Tensor) -> Tensor:
        """Run the network.

        Parameters
        ----------
        planes : (n, PLANES, ...)
            From `dense_planes`; extents are multiples of ``STRIDE / 2``.

        Returns
        -------
        (n, len(outputs) + kinds, ...)
            Logits; extents doubled.
        """
        features = self.features(planes)
        answers = unpack(self.answer(features[0]))
        if self.kind is None:
            return answers
        return torch.cat((answers, unpack(self.kind(together(features)))), 1)

    def features(self, planes: Tensor) -> list[Tensor]:
        """What the last layers answer from, at a half, a quarter, an eighth of the resolution."""
        y = functional.relu(self.stem(planes))
        skips: list[Tensor] = []
        for level, stage in enumerate(self.encoder):
            if level:
                y = functional.relu(self.down[level - 1](y))
            y = stage(y)
            skips.append(y)
        found: list[Tensor] = []
        for level in (2, 1, 0):
            y = functional.interpolate(self.lateral[level](y), scale_factor=2.0, mode="nearest")
            y = self.decoder[level](y + skips[level])
            found.insert(0, y)
        return found


def together(features: list[Tensor]) -> Tensor:
    """Features of all resolutions at that of the first, as channels."""
    finest = features[0].shape[2:]
    return torch.cat([functional.interpolate(f, finest) for f in features], 1)
