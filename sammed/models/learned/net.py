"""The network of a look: MONAI's residual U-Net (Kerfoot et al. 2018, the one of its tutorials).

Its first level halves the samples at once, so that most of the work is at a quarter or an eighth
of them; on a processor it learns more in a minute than networks that are finer there, see the
notebook.
"""

from __future__ import annotations

from typing import Any

import torch
from monai.networks.nets.unet import UNet
from torch import nn

from sammed.models.learned.plan import Look


def build_net(look: Look, colours: int, classes: int) -> nn.Module:
    """A network, (n, colours, [z,] y, x) to (n, classes, [z,] y, x) logits.

    Parameters
    ----------
    look
        Says how deep and wide.
    colours, classes
        Channels of images and answers.
    """
    halved = halvings(look)
    flat = look.flat_axis is not None
    strides: Any = [steps[1:] if flat else steps for steps in halved]
    return UNet(
        spatial_dims=2 if flat else 3,
        in_channels=colours,
        out_channels=classes,
        channels=[min(look.width * 2**level, look.widest) for level in range(look.levels)],
        strides=strides,
        num_res_units=2,
        norm="instance",
    )


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
