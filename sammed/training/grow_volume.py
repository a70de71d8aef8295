"""The network for volumes grown from a locator: to a 3D box it answers at first as that does.

What it has beyond the locator begins as nothing: its last layers multiply by zero (Chen, Goodfellow
and Shlens 2016, Net2Net, arXiv:1511.05641). So what was learned of 3D boxes is the start for all
other prompts.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from sammed.models.compact.field_prompts import PROMPTS
from sammed.models.compact.layers import ConvNorm
from sammed.models.compact.locator_net import HEARD, LocatorNet
from sammed.models.compact.volume_net import VolumeNet
from sammed.models.compact.weight_files import fold_norms

CONV_NORM = ("0.weight", "1.weight", "1.bias")
"""Names of a convolution's kernel, and of its norm's scale and shift."""

FILLED = 34
"""Samples along each side that a 3D box fills in the middle of training, of fields of 48."""


def can_grow(net: VolumeNet, locator: LocatorNet) -> bool:
    """Whether a network has room for a locator's layers."""
    large, small = net.architecture, locator.architecture
    return (
        large.widths[:2] == small.widths[:2]
        and large.widths[2] >= small.widths[2]
        and large.blocks[:2] == small.blocks[:2]
        and large.blocks[2] >= small.blocks[2]
    )


@torch.no_grad()
def grow_from_locator(net: VolumeNet, locator: LocatorNet, filled: float = FILLED) -> None:
    """Overwrite a network's weights so that it answers to 3D boxes as a locator does.

    Parameters
    ----------
    net
        With random weights; changed.
    locator
        Not changed.
    filled
        Samples along each side of a field that a 3D box is taken to fill.

    Raises
    ------
    ValueError
        If the network has no room for the locator's layers, see `can_grow`.
    """
    if not can_grow(net, locator):
        raise ValueError(f"{net.architecture.tag} cannot grow from {locator.architecture.tag}")
    small = fold_norms(copy.deepcopy(locator).eval())
    have: dict[str, Tensor] = dict(small.named_parameters())
    for name, module in net.named_modules():
        if isinstance(module, ConvNorm) and f"{name}.0.weight" in have:
            weight = have[f"{name}.0.weight"]
            kernel, scale, shift = (dict(module.named_parameters())[n] for n in CONV_NORM)
            _put(kernel, _stem(weight, filled) if name == "stem" else weight)
            scale[: len(weight)] = 1
            shift[: len(weight)] = have[f"{name}.0.bias"]
        elif isinstance(module, nn.Conv3d) and f"{name}.weight" in have and module.bias is not None:
            _put(module.weight, have[f"{name}.weight"])
            module.bias.copy_(have[f"{name}.bias"])
    nn.init.zeros_(net.prompts.weight)
    for number, name in enumerate(HEARD):
        own, theirs = 8 * PROMPTS.index(name), 8 * number
        heard = have["heard.weight"][:, theirs : theirs + 8]
        net.prompts.weight[: len(heard), own : own + 8] = heard
    for level, count in enumerate(locator.architecture.blocks):
        for block in list(net.encoder[level].children())[count:]:
            _silence(block, locator.architecture.widths[level])
    for values in net.lateral[2].parameters():
        nn.init.zeros_(values)
    _silence(net.decoder[2], net.architecture.widths[2])


def _stem(weight: Tensor, filled: float) -> Tensor:
    """The locator's first kernels for the planes of `field_planes`.

    Positions are halved there, and resolution is told by the size of a voxel in samples instead of
    the number of voxels in the 3D box: what lies between the two is carried by the constant that
    says that there is a box.
    """
    seen, place, extent, voxels = weight.split((24, 4, 3, 3), 1)
    place = place * torch.tensor([2.0, 2.0, 2.0, 1.0]).reshape(1, 4, 1, 1, 1)
    boxed = voxels.sum(1, keepdim=True) * (math.log2(filled / 16) / 4)
    return torch.cat((seen, place, extent, voxels * -0.75, boxed), 1)


def _put(large: Tensor, small: Tensor) -> None:
    """A kernel in the corner of a larger one; the rest of its outputs is not touched."""
    outputs, inputs = small.shape[:2]
    large[:outputs] = 0
    large[:outputs, :inputs] = small


def _silence(block: nn.Module, width: int) -> None:
    """Let a residual block add nothing to its first channels."""
    dict(block.named_parameters())["second.1.weight"][:width] = 0
