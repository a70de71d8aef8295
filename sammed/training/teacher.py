"""A trained network that a run stays close to: it learns something new and forgets less.

The targets are the teacher's probabilities (Hinton, Vinyals and Dean 2015, arXiv:1503.02531), as in
Learning without Forgetting (Li and Hoiem 2016, doi:10.1007/978-3-319-46493-0_37), beside the true
ones.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sammed.models.compact import load_net
from sammed.models.compact_net import Prompts, input_planes
from sammed.models.own_weights import fold_norms


class Teacher:
    """A network whose candidates a run is to answer as well.

    Parameters
    ----------
    weights
        Its weights file.
    """

    def __init__(self, weights: Path) -> None:
        net = fold_norms(load_net(weights)[0])
        self._net = net.to(memory_format=torch.channels_last)

    @torch.no_grad()
    def logits(self, prompts: Prompts, half: bool) -> Tensor:
        """Candidates' logits, (n, k, s, s); ``half``: computed in bfloat16."""
        planes = input_planes(prompts).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits: Tensor = self._net(planes)[0]
        return logits.float()
