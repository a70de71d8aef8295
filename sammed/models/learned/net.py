"""The network of a look: MONAI's residual U-Net (Kerfoot et al. 2018, the one of its tutorials).

Its first level halves the samples at once, so that all of the work is at an eighth of them (a
quarter of a slice's); on a processor it learns more in a minute than networks that are finer there,
see the notebook. The answer on all samples comes from sub-pixel convolution (Shi et al. 2016,
arXiv:1609.05158): MONAI's own last level took four tenths of a step for its few channels.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from monai.networks.nets.unet import UNet
from torch import Tensor, nn

from sammed.models.learned.plan import Look


def build_net(look: Look, channels: int, classes: int) -> nn.Module:
    """A network, (n, channels, [z,] y, x) to (n, classes, [z,] y, x) logits.

    Parameters
    ----------
    look
        Says how deep and wide.
    channels, classes
        Channels of images and answers.
    """
    halved = halvings(look)
    flat = look.flat_axis is not None
    strides: Any = [steps[1:] if flat else steps for steps in halved]
    net = UNet(
        spatial_dims=2 if flat else 3,
        in_channels=channels,
        out_channels=classes,
        channels=[min(look.width * 2**level, look.widest) for level in range(look.levels)],
        strides=strides,
        num_res_units=2,
        act="leakyrelu",
        norm="instance",
    )
    conv: Any = nn.Conv2d if flat else nn.Conv3d
    whole: Any = net.model
    parts = conv(whole[2][0].conv.in_channels, classes * prod(strides[0]), 3, padding=1)
    whole[2] = nn.Sequential(parts, _Spread(strides[0]))
    return net


class _Spread(nn.Module):
    """Channels of one sample become the samples that it was halved from."""

    def __init__(self, steps: tuple[int, ...]) -> None:
        super().__init__()
        self._steps = steps

    def forward(self, parts: Tensor) -> Tensor:
        """(n, c x steps, ...) to (n, c, ... x steps)."""
        count = len(self._steps)
        order = [at for axis in range(count) for at in (2 + count + axis, 2 + axis)]
        split = parts.unflatten(1, (-1, *self._steps)).permute(0, 1, *order)
        whole = [n * by for n, by in zip(parts.shape[2:], self._steps, strict=True)]
        return split.reshape(*split.shape[:2], *whole)


def halvings(look: Look) -> list[tuple[int, int, int]]:
    """By how much each level has fewer samples, in the order of the look's axes.

    Thick axes wait until the others are as thick, as nnU-Net does it.

    Examples
    --------
    >>> halvings(Look((4.0, 1.0, 1.0), (16, 64, 64), levels=4))
    [(1, 2, 2), (1, 2, 2), (2, 2, 2)]
    """
    mm = [look.spacing[axis] or 1.0 for axis in look.order]
    left = list(look.patch)
    steps = []
    for _ in range(look.levels - 1):
        finest = min(mm)
        step = [2 if one < 1.9 * finest and n >= 4 else 1 for one, n in zip(mm, left, strict=True)]
        if look.flat_axis is not None:
            step = [1, 2, 2]
        steps.append((step[0], step[1], step[2]))
        mm = [one * by for one, by in zip(mm, step, strict=True)]
        left = [n // by for n, by in zip(left, step, strict=True)]
    return steps


def multiples(look: Look) -> tuple[int, int, int]:
    """What the extents of a patch must be multiples of, in the order of the look's axes."""
    of = [1, 1, 1]
    for step in halvings(look):
        of = [one * by for one, by in zip(of, step, strict=True)]
    return of[0], of[1], of[2]


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())
