"""Trained networks that a run stays close to: it learns something new and forgets less.

The targets are the teachers' probabilities (Hinton, Vinyals and Dean 2015, arXiv:1503.02531), as in
Learning without Forgetting (Li and Hoiem 2016, doi:10.1007/978-3-319-46493-0_37), beside the true
ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from sammed.models.compact import load_net
from sammed.models.compact_net import Prompts, input_planes
from sammed.models.own_weights import fold_norms


def in_mirror(p: Prompts) -> Prompts:
    """The same views and prompts with left and right exchanged."""
    size = p.image.shape[-1]
    row0, col0, row1, col1 = p.box.unbind(1)
    return replace(
        p,
        image=p.image.flip(-1),
        mask=p.mask.flip(-1),
        box=torch.stack((row0, size - col1, row1, size - col0), 1),
        points=torch.stack((p.points[..., 0], size - p.points[..., 1]), -1),
    )


class Teachers:
    """Networks whose candidates are what a run is to answer as well.

    Parameters
    ----------
    paths
        Weights files. The first teaches every sample; where a box is given and no mask prompt, the
        mean of all does: chains of masks follow one network, single slices gain from several.
        Every second one sees its views in a mirror.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._nets = [_frozen(path) for path in paths]

    @torch.no_grad()
    def logits(self, prompts: Prompts, half: bool) -> Tensor:
        """Candidates' logits, (n, k, s, s); ``half``: computed in bfloat16."""
        first, *others = self._nets
        taught = _answered(first, prompts, half)
        free = ~prompts.has_mask & torch.isfinite(prompts.box).all(1)
        if not others or not free.any():
            return taught
        rows = {f.name: getattr(prompts, f.name)[free] for f in fields(prompts)}
        some, total = Prompts(**rows), taught[free]
        for number, net in enumerate(others, 1):
            if number % 2:
                total += _answered(net, in_mirror(some), half).flip(-1)
            else:
                total += _answered(net, some, half)
        taught[free] = total / len(self._nets)
        return taught


def _frozen(path: Path) -> nn.Module:
    return fold_norms(load_net(path)[0]).to(memory_format=torch.channels_last)


def _answered(net: nn.Module, prompts: Prompts, half: bool) -> Tensor:
    planes = input_planes(prompts).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        logits: Tensor = net(planes)[0]
    return logits.float()
