"""The network of a look: MONAI's residual U-Net on samples folded into channels.

Eight neighbouring samples (four, of slices) are channels of one place: the network works at half
the resolution and still answers at the full one, at a quarter of the cost (Shi et al. 2016,
arXiv:1609.05158).
"""

from __future__ import annotations

import torch
from monai.networks.nets.segresnet import SegResNet
from monai.networks.utils import pixelshuffle, pixelunshuffle
from torch import Tensor, nn

from sammed.models.learned.plan import Look

FOLD = 2
"""Samples along an axis that are one place."""


class LookNet(nn.Module):
    """Answers for patches, (n, colours, [z,] y, x) to (n, classes, [z,] y, x) logits.

    Parameters
    ----------
    look
        Says how deep and wide.
    colours, classes
        Channels of images and answers.
    """

    def __init__(self, look: Look, colours: int, classes: int) -> None:
        super().__init__()
        self.dims = 2 if look.flat_axis is not None else 3
        folded = FOLD**self.dims
        self.inner = SegResNet(
            spatial_dims=self.dims,
            init_filters=look.width,
            in_channels=colours * folded,
            out_channels=classes * folded,
            blocks_down=(1, *(2,) * (look.levels - 1)),
            blocks_up=(1,) * (look.levels - 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits of patches."""
        answer: Tensor = self.inner(pixelunshuffle(images, self.dims, FOLD))
        unfolded: Tensor = pixelshuffle(answer, self.dims, FOLD)
        return unfolded


def multiple_of(look: Look) -> int:
    """What the extents of a patch must be a multiple of."""
    return FOLD * 2 ** (look.levels - 1)


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())
